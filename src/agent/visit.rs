//! A thread that waits for a response runs the agent itself meanwhile. Waits for nothing else.
//!
//! The way to an agent's thread and back costs a blocking call two changes of threads. When the agent is at rest, nobody
//! runs it: the caller takes it along, and no other thread is needed. Everybody else's transfers go on with it. When the
//! caller has what it waited for, the agent rests again, or gets a thread of the crew if there is more to do.
//!
//! Such a caller is a [`Host`]. It offers to run an agent while it starts and polls what it waits for; the first transfer
//! that begins then brings its agent along, if that one is at rest.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use super::crew::Run as _;
use super::run::Agent;
use super::seat::{Handle, Visitor};
use crate::body::wake;

thread_local! {
    /// What the thread has along; `None` while it does not offer to run an agent.
    static OFFER: Cell<Option<Option<Visit>>> = const { Cell::new(None) };
}

/// A thread that waits, and the agent that it runs meanwhile, if there is one.
#[derive(Default)]
pub(crate) struct Host(Option<Visit>);

impl Host {
    /// Offers to run an agent as long as `start` takes.
    pub(crate) fn offer<R>(&mut self, start: impl FnOnce() -> R) -> R {
        // A wait inside a wait makes an offer of its own. A thread that is about to end makes none.
        let Ok(before) = OFFER.try_with(Cell::take) else { return start() };
        OFFER.set(Some(self.0.take()));
        let _end = OnEnd { host: self, before };
        start()
    }

    pub(crate) fn has_agent(&self) -> bool {
        self.0.is_some()
    }

    /// Ends a [`wait`](Self::wait), from any thread. `None` without an agent.
    pub(crate) fn waker(&self) -> Option<Waker> {
        self.0.as_ref().map(|visit| visit.visitor.clone().into())
    }

    /// Runs the agent until the waker is used or the deadline has passed. Returns at once if there is no agent.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) {
        if let Some(visit) = &mut self.0 {
            visit.wait(deadline);
        }
    }
}

/// Ends an offer, even by a panic.
struct OnEnd<'a> {
    host: &'a mut Host,
    before: Option<Option<Visit>>,
}

impl Drop for OnEnd<'_> {
    fn drop(&mut self) {
        self.host.0 = OFFER.replace(self.before.take()).flatten();
    }
}

/// Calls `choose` with what this thread has along, if it offers to run an agent.
pub(super) fn with_offer<R>(choose: impl FnOnce(Option<&mut Option<Visit>>) -> R) -> R {
    let mut offer = OFFER.try_with(Cell::take).ok().flatten();
    let result = choose(offer.as_mut());
    if offer.is_some() {
        OFFER.set(offer);
    }
    result
}

/// An agent in the hands of a thread that waits.
pub(super) struct Visit {
    agent: Option<Box<Agent>>,
    visitor: Arc<Visitor<Agent>>,
}

impl Visit {
    pub(super) fn new(agent: Box<Agent>) -> Self {
        let visitor = agent.visitor();
        visitor.handle().set_held(true);
        Self { agent: Some(agent), visitor }
    }

    /// Whether it is the agent of that handle.
    pub(super) fn is_of(&self, handle: &Handle<Agent>) -> bool {
        self.visitor.handle().is_same(handle)
    }

    /// Runs the agent for one turn: it takes its messages, and waits for nothing.
    pub(super) fn turn(&mut self) {
        self.run(|agent, _| agent.turn_once());
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        if self.agent.is_none() {
            // It ended by accident, and told all who wait for it. What else is waited for is looked at again and again.
            thread::sleep(Duration::from_millis(1));
        }
        self.run(|agent, visitor| agent.visit(visitor, deadline));
    }

    fn run(&mut self, work: impl FnOnce(&mut Agent, &Visitor<Agent>)) {
        let Some(mut agent) = self.agent.take() else { return };
        let visitor = &self.visitor;
        // Outside of what may panic: whoever is told that the agent is lost finds it gone.
        let _deferring = wake::defer();
        // Dropping the agent, after a panic, drops its transfers, and each tells its caller.
        self.agent = catch_unwind(AssertUnwindSafe(move || {
            work(&mut agent, visitor);
            agent
        }))
        .ok();
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.agent.as_ref().is_some_and(|agent| agent.is_called()) {
            // Most likely that the transfer of the caller's future, which is gone, is to end.
            self.turn();
        }
        self.visitor.handle().set_held(false);
        if let Some(agent) = self.agent.take() {
            agent.leave();
        }
    }
}
