//! One thread that listens to the idle connections of all agents at rest, of whatever client. Knows nothing of transfers.
//!
//! The agents stay where they rest, for any caller to take: only their pollers are listened to, from one of its own. An agent
//! that has something to hear is taken for a moment, and rests again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::ffi::fork;
use crate::ffi::poll::{Heard, Poll};

/// How long the thread stays without a place to look after.
const LINGER: Duration = Duration::from_secs(5);
/// How often it looks whether agents have rested for long enough.
const LOOK: Duration = Duration::from_secs(1);

/// Where an agent rests.
pub(super) trait Place: Send + Sync {
    /// Of the agent's sockets.
    fn poll(&self) -> &Arc<Poll>;

    /// What is to be done for the agent there, of whose sockets something was `heard`.
    fn look(&self, heard: bool) -> Seen;
}

/// An answer of [`Place::look`].
pub(super) enum Seen {
    /// Somebody runs it. It says so itself when it comes to rest.
    Away,
    /// It has come to rest lately.
    Lately,
    /// Its sockets are to be listened to.
    Quiet,
    /// It has something to do, and was taken away for it.
    Due(Box<dyn Tend>),
}

/// What has something to do now and then while it rests: an agent.
pub(super) trait Tend: Send {
    /// Whether it has something to do though nothing was heard.
    fn is_due(&self) -> bool;

    /// Does it, without waiting for anything, and rests again.
    fn tend(self: Box<Self>);
}

struct Lookout {
    /// Places that the thread has yet to hear of.
    new: Vec<Weak<dyn Place>>,
    thread: Thread,
    /// The process that the thread is of.
    generation: u64,
}

enum Thread {
    None,
    /// It looks for new places by itself, soon.
    Looks,
    /// Until this poller's bell rings.
    Waits(Arc<Poll>),
}

static LOOKOUT: Mutex<Lookout> = Mutex::new(Lookout { new: Vec::new(), thread: Thread::None, generation: 0 });

fn lock() -> MutexGuard<'static, Lookout> {
    let mut lookout = LOOKOUT.lock().unwrap_or_else(PoisonError::into_inner);
    let generation = fork::generation();
    if lookout.generation != generation {
        // Threads do not live on in a forked child, and its parent's places are not to be touched.
        let childs = Lookout { new: Vec::new(), thread: Thread::None, generation };
        std::mem::forget(std::mem::replace(&mut *lookout, childs));
    }
    lookout
}

/// Looks after the idle connections of the agent that rests there, from when it has rested for long enough until somebody
/// takes it.
pub(super) fn look_after(place: Weak<dyn Place>) {
    let mut lookout = lock();
    lookout.new.push(place);
    if !lookout.wake() {
        lookout.thread = Thread::Looks;
        drop(lookout);
        // Without a thread idle connections wait for the next request, which finds out about them.
        if thread::Builder::new().name("marmot-lookout".into()).spawn(watch).is_err() {
            lock().thread = Thread::None;
        }
    }
}

/// A place is gone that was looked after.
pub(super) fn forget() {
    lock().wake();
}

impl Lookout {
    /// Makes the thread look at its places, soon. Returns whether there is one.
    fn wake(&mut self) -> bool {
        match std::mem::replace(&mut self.thread, Thread::Looks) {
            Thread::Looks => true,
            Thread::Waits(poll) => {
                poll.notify();
                true
            }
            Thread::None => {
                self.thread = Thread::None;
                false
            }
        }
    }
}

fn watch() {
    let Ok(poll) = Poll::get() else {
        lock().thread = Thread::None;
        return;
    };
    let mut watched: Vec<Watched> = Vec::new();
    let mut heard = Vec::new();
    let mut since = Instant::now();
    loop {
        let patience = {
            let mut lookout = lock();
            watched.extend(lookout.new.drain(..).map(|place| Watched { place, listening: None }));
            if !watched.is_empty() {
                since = Instant::now();
            } else if since.elapsed() >= LINGER {
                lookout.thread = Thread::None;
                return;
            }
            if watched.iter().all(|watched| watched.listening.is_some()) {
                lookout.thread = Thread::Waits(poll.clone());
                watched.is_empty().then_some(LINGER)
            } else {
                lookout.thread = Thread::Looks;
                Some(LOOK)
            }
        };
        if poll.wait(&mut heard, patience).is_err() {
            // Interrupted or out of memory: try again, but not in a hot loop.
            thread::yield_now();
        }
        let mut due = Vec::new();
        watched.retain_mut(|watched| watched.look(&poll, &heard, &mut due));
        for agent in due {
            // Dropping an agent, panic or not, drops its transfers, and each tells its caller.
            let _ = catch_unwind(AssertUnwindSafe(|| agent.tend()));
        }
    }
}

struct Watched {
    place: Weak<dyn Place>,
    /// The place's poller, while it is listened to.
    listening: Option<Arc<Poll>>,
}

impl Watched {
    /// Returns whether to look again later.
    fn look(&mut self, poll: &Poll, heard: &[Heard], due: &mut Vec<Box<dyn Tend>>) -> bool {
        let is_heard = |other: &Arc<Poll>| heard.iter().any(|heard| heard.socket == other.descriptor());
        let heard = self.listening.as_ref().is_some_and(is_heard);
        let seen = self.place.upgrade().map(|place| (place.look(heard), place));
        if let Some((Seen::Quiet, place)) = &seen {
            if self.listening.is_none() && poll.register(place.poll().descriptor(), true, false).is_ok() {
                self.listening = Some(place.poll().clone());
            }
            return true;
        }
        if let Some(other) = self.listening.take() {
            let _ = poll.unregister(other.descriptor());
        }
        match seen {
            Some((Seen::Lately, _)) => true,
            Some((Seen::Due(agent), _)) => {
                due.push(agent);
                false
            }
            _ => false,
        }
    }
}
