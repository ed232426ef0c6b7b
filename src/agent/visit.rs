//! A thread that waits for a response runs the agent itself meanwhile. Waits for nothing else.
//!
//! The way to an agent's thread and back costs a blocking call two changes of threads. When the agent is at rest, nobody
//! runs it: the caller takes it along, and no other thread is needed. Everybody else's transfers go on with it. When the
//! caller has what it waited for, the agent rests again, or gets a thread of the crew if there is more to do.
//!
//! Such a caller offers that while it starts its request ([`offer`]), or while it polls a future of any kind: the first
//! transfer of the same client that begins then brings an agent along, if one is at rest. A caller who does not wait
//! runs such an agent only until libcurl has begun with the request ([`Visit::begin`]).

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::Agents;
use super::crew::{self, Run as _};
use super::run::Agent;
use super::seat::{Handle, Visitor};
use crate::body::wake;
use crate::ffi::fork;

thread_local! {
    static OFFER: Cell<Option<Offer>> = const { Cell::new(None) };
}

/// What a thread has along that offers to run an agent of one client.
struct Offer {
    /// The client's agents, by their address.
    of: usize,
    visit: Option<Visit>,
}

/// Offers to run one of those agents as long as `start` takes: the one that the thread has `along` already, or any. Returns
/// the one that came along.
pub(super) fn offer<R>(of: &Agents, along: Option<Visit>, start: impl FnOnce() -> R) -> (R, Option<Visit>) {
    let of = ptr::from_ref(of).addr();
    // A thread that is about to end makes no offer.
    let Ok(before) = OFFER.try_with(Cell::take) else { return (start(), along) };
    OFFER.set(Some(Offer { of, visit: along }));
    let mut visit = None;
    let end = OnEnd { visit: &mut visit, before };
    let result = start();
    drop(end);
    (result, visit)
}

/// Takes what came along, and puts back what was offered before, even by a panic.
struct OnEnd<'a> {
    visit: &'a mut Option<Visit>,
    before: Option<Offer>,
}

impl Drop for OnEnd<'_> {
    fn drop(&mut self) {
        *self.visit = OFFER.replace(self.before.take()).and_then(|offer| offer.visit);
    }
}

/// Calls `choose` with what this thread has along, if it offers to run one of those agents.
pub(super) fn with_offer<R>(of: &Agents, choose: impl FnOnce(Option<&mut Option<Visit>>) -> R) -> R {
    let of = ptr::from_ref(of).addr();
    aside(|offer| choose(offer.as_mut().filter(|offer| offer.of == of).map(|offer| &mut offer.visit)))
}

/// What this thread offers further up, where it polls a future that now waits here: out of sight, so that nothing that
/// starts meanwhile is left to an agent which this thread does not run.
pub(crate) struct Withdrawn(Option<Offer>);

/// Takes back what this thread offers, until the guard drops.
pub(crate) fn withdraw() -> Withdrawn {
    Withdrawn(OFFER.try_with(Cell::take).ok().flatten())
}

impl Withdrawn {
    /// This thread is about to sleep, or to run another agent. The one that it has along goes on without it.
    pub(crate) fn release(&mut self) {
        if let Some(offer) = &mut self.0 {
            offer.visit = None;
        }
    }
}

impl Drop for Withdrawn {
    fn drop(&mut self) {
        if let Some(offer) = self.0.take() {
            OFFER.set(Some(offer));
        }
    }
}

/// Calls `work` while this thread offers nothing, with its offer.
fn aside<R>(work: impl FnOnce(&mut Option<Offer>) -> R) -> R {
    work(&mut withdraw().0)
}

/// An agent in the hands of a caller.
pub(crate) struct Visit {
    agent: Option<Box<Agent>>,
    visitor: Arc<Visitor<Agent>>,
    awaited: bool,
    /// Of the process.
    generation: u64,
}

impl Visit {
    pub(super) fn new(mut agent: Box<Agent>) -> Self {
        let visitor = agent.receive_visitor();
        Self { agent: Some(agent), visitor, awaited: false, generation: fork::generation() }
    }

    /// Takes an agent along that is at rest, unless this thread is about to end.
    pub(super) fn of(handle: &Handle<Agent>) -> Option<Self> {
        if wake::may_defer() { handle.take().map(Self::new) } else { None }
    }

    /// Whether it is the agent of that handle.
    pub(super) fn is_of(&self, handle: &Handle<Agent>) -> bool {
        self.visitor.handle().is_same(handle)
    }

    /// Runs the agent for one turn: it takes its messages, and waits for nothing.
    pub(super) fn turn(&mut self) {
        self.run(|agent, _| agent.turn_once());
    }

    /// Ends [`serve`](Self::serve), from any thread.
    pub(crate) fn waker(&mut self) -> Waker {
        self.awaited = true;
        self.visitor.clone().into()
    }

    /// Whether somebody has its waker. That of an earlier visit to the same agent may have been used during another one.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// Runs the agent until the waker is used or the deadline has passed. If the waker was used already, as by a future that
    /// never sleeps, the agent has its turn all the same.
    pub(crate) fn serve(&mut self, deadline: Option<Instant>) {
        if self.visitor.is_woken() {
            self.run(|agent, _| agent.pass());
        }
        self.run(|agent, visitor| agent.visit(visitor, deadline));
    }

    /// Whether the agent ended by accident.
    pub(crate) fn is_lost(&self) -> bool {
        self.agent.is_none()
    }

    /// The agent, if this is still the process that it belongs to.
    fn take_agent(&mut self) -> Option<Box<Agent>> {
        let agent = self.agent.take()?;
        if self.generation == fork::generation() {
            return Some(agent);
        }
        // Its sockets are the parent's.
        std::mem::forget(agent);
        None
    }

    fn run(&mut self, work: impl FnOnce(&mut Agent, &Visitor<Agent>)) {
        let Some(mut agent) = self.take_agent() else { return };
        let visitor = &self.visitor;
        // What callbacks start is not what this thread waits for.
        let agent = aside(|_| {
            // Outside of what may panic: whoever is told that the agent is lost finds it gone.
            let _deferring = wake::defer();
            // Dropping the agent, after a panic, drops its transfers, and each tells its caller.
            catch_unwind(AssertUnwindSafe(move || {
                work(&mut agent, visitor);
                agent
            }))
            .ok()
        });
        if agent.is_none() {
            self.visitor.handle().set_held(false);
        }
        self.agent = agent;
    }

    /// Lets the agent begin with the transfer that was sent to it, and leaves the rest to others.
    pub(super) fn begin(mut self) {
        self.run(|agent, _| agent.begin());
        self.leave();
    }

    /// Leaves the agent to the crew with all that it has to do, and runs nothing of it. Returns whether a thread could be had:
    /// if not, it stays here.
    pub(super) fn lend(&mut self) -> bool {
        let Some(agent) = self.take_agent() else { return true };
        let handle = self.visitor.handle();
        handle.set_held(false);
        match crew::lend(agent) {
            Ok(()) => true,
            Err((_, agent)) => {
                handle.set_held(true);
                self.agent = Some(agent);
                false
            }
        }
    }

    fn leave(&mut self) {
        if let Some(agent) = self.take_agent() {
            self.visitor.handle().set_held(false);
            agent.leave();
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.agent.as_ref().is_some_and(|agent| agent.is_called()) {
            // Most likely that the transfer of the caller's future, which is gone, is to end.
            self.turn();
        }
        self.leave();
    }
}
