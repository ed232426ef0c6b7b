//! A thread that waits for a response runs the agent itself meanwhile. Waits for nothing else.
//!
//! The way to an agent's thread and back costs a blocking call two changes of threads. When the agent is at rest, nobody
//! runs it: the caller takes it along, and no other thread is needed. Everybody else's transfers go on with it. When the
//! caller has what it waited for, the agent rests again, or gets a thread of the crew if there is more to do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use super::run::Agent;
use super::seat::Visitor;
use crate::body::wake;

/// An agent in the hands of a thread that waits.
pub(crate) struct Visit {
    agent: Option<Box<Agent>>,
    visitor: Arc<Visitor<Agent>>,
}

impl Visit {
    pub(super) fn new(agent: Box<Agent>) -> Self {
        let visitor = agent.visitor();
        Self { agent: Some(agent), visitor }
    }

    /// Ends a [`wait`](Self::wait), from any thread.
    pub(crate) fn waker(&self) -> Waker {
        self.visitor.clone().into()
    }

    /// Runs the agent until the waker is used or the deadline has passed.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) {
        let Some(mut agent) = self.agent.take() else {
            // It ended by accident, and told all who wait for it. What else is waited for is looked at again and again.
            thread::sleep(Duration::from_millis(1));
            return;
        };
        let visitor = &self.visitor;
        // Outside of what may panic: whoever is told that the agent is lost finds it gone.
        let _deferring = wake::defer();
        // Dropping the agent, after a panic, drops its transfers, and each tells its caller.
        self.agent = catch_unwind(AssertUnwindSafe(move || {
            agent.visit(visitor, deadline);
            agent
        }))
        .ok();
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.leave();
        }
    }
}
