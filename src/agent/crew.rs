//! The threads that run agents, shared by all clients of the process. Knows nothing of transfers.
//!
//! An agent needs a thread only while it has work. A thread whose agent has come to rest stays for a few seconds and takes
//! the next agent that somebody lends it, of whatever client: cheaper than a new thread, and no more of them than agents at
//! work at once.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::ffi::fork;

/// How long a thread stays without an agent.
const LINGER: Duration = Duration::from_secs(5);

/// What a thread runs: an agent.
pub(super) trait Run: Send {
    /// Whether a message waits for it.
    fn is_called(&self) -> bool;

    /// Works until there is nothing to do.
    fn run(self: Box<Self>);
}

struct Crew {
    /// Threads that wait for an agent. The one that came last is the next to get one, as its memory is in the cache still;
    /// those that are not needed get none, and end.
    free: Vec<Arc<Place>>,
    /// The process that the threads are of.
    generation: u64,
}

/// Where a thread waits for an agent.
#[derive(Default)]
struct Place {
    agent: Mutex<Option<Box<dyn Run>>>,
    call: Condvar,
}

static CREW: Mutex<Crew> = Mutex::new(Crew { free: Vec::new(), generation: 0 });

fn lock() -> MutexGuard<'static, Crew> {
    let mut crew = CREW.lock().unwrap_or_else(PoisonError::into_inner);
    let generation = fork::generation();
    if crew.generation != generation {
        // Threads do not live on in a forked child, and its parent's agents are not to be touched.
        let parents = std::mem::replace(&mut *crew, Crew { free: Vec::new(), generation });
        std::mem::forget(parents);
    }
    crew
}

/// Lends an agent to a thread.
///
/// # Errors
///
/// No thread is free and the system gives no new one; the agent is given back.
pub(super) fn lend<R: Run + 'static>(agent: Box<R>) -> Result<(), (io::Error, Box<R>)> {
    let free = lock().free.pop();
    if let Some(place) = free {
        place.give(agent);
        return Ok(());
    }
    // The agent crosses in a box that outlives a failure to start.
    let crossing = Arc::new(Mutex::new(Some(agent)));
    let other = crossing.clone();
    let started = start(move || {
        let agent = other.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(agent) = agent {
            guarded(|| agent.run());
        }
    });
    let back = |error| {
        let agent = crossing.lock().unwrap_or_else(PoisonError::into_inner).take();
        agent.map_or(Ok(()), |agent| Err((error, agent)))
    };
    started.or_else(back)
}

/// Starts a thread that works and then waits for agents.
fn start(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name("marmot-agent".into()).spawn(move || {
        work();
        stay();
    });
    thread.map(drop)
}

/// Dropping an agent, panic or not, drops its transfers, and each tells its caller.
fn guarded(run: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(run));
}

/// Takes agents until there has been none for a while.
fn stay() {
    let place = Arc::new(Place::default());
    loop {
        lock().free.push(place.clone());
        let Some(agent) = place.wait() else { return };
        guarded(|| agent.run());
    }
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Run>>> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, agent: Box<dyn Run>) {
        *self.lock() = Some(agent);
        self.call.notify_one();
    }

    /// Waits for an agent, for [`LINGER`] at most.
    fn wait(self: &Arc<Self>) -> Option<Box<dyn Run>> {
        let mut agent = self.lock();
        loop {
            let waited = self.call.wait_timeout_while(agent, LINGER, |agent| agent.is_none());
            agent = waited.unwrap_or_else(PoisonError::into_inner).0;
            if let Some(agent) = agent.take() {
                return Some(agent);
            }
            drop(agent);
            let mut crew = lock();
            if let Some(at) = crew.free.iter().position(|place| Arc::ptr_eq(place, self)) {
                crew.free.remove(at);
                return None;
            }
            // Somebody is about to give it one.
            drop(crew);
            agent = self.lock();
        }
    }
}
