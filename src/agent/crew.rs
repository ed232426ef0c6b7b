//! The threads that run agents, shared by all clients of the process. Knows nothing of transfers.
//!
//! An agent needs a thread only while it has work. A thread whose agent has come to rest stays for a few seconds and takes
//! the next agent that somebody lends it, of whatever client: cheaper than a new thread, and no more of them than agents at
//! work at once.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

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
    /// Agents for the threads that were told to take one.
    jobs: VecDeque<Box<dyn Run>>,
    /// Threads that wait for an agent and were not told to take one.
    free: usize,
    /// The process that the threads are of.
    generation: u64,
}

static CREW: Mutex<Crew> = Mutex::new(Crew { jobs: VecDeque::new(), free: 0, generation: 0 });
static CALL: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Crew> {
    let mut crew = CREW.lock().unwrap_or_else(PoisonError::into_inner);
    let generation = fork::generation();
    if crew.generation != generation {
        // Threads do not live on in a forked child, and its parent's agents are not to be touched.
        let parents = std::mem::replace(&mut *crew, Crew { jobs: VecDeque::new(), free: 0, generation });
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
    let mut crew = lock();
    if crew.free > 0 {
        crew.free -= 1;
        crew.jobs.push_back(agent);
        drop(crew);
        CALL.notify_one();
        return Ok(());
    }
    drop(crew);
    // The agent crosses in a box that outlives a failure to start.
    let crossing = std::sync::Arc::new(Mutex::new(Some(agent)));
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
    let mut crew = lock();
    let mut since = Instant::now();
    crew.free += 1;
    loop {
        if let Some(agent) = crew.jobs.pop_front() {
            drop(crew);
            guarded(|| agent.run());
            crew = lock();
            crew.free += 1;
            since = Instant::now();
            continue;
        }
        if since.elapsed() >= LINGER {
            crew.free -= 1;
            return;
        }
        crew = CALL.wait_timeout(crew, LINGER).unwrap_or_else(PoisonError::into_inner).0;
    }
}
