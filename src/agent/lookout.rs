//! One thread that listens to the idle connections of all agents at rest, of whatever client. Knows nothing of transfers.
//!
//! The agents stay where they rest, for any caller to take: only their pollers are listened to, from one of its own. An agent
//! that has something to hear is taken for a moment, and rests again. One that is to go when it has rested for long enough is
//! taken then, and goes.

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

    /// Nobody looks after it for now. It asks for that again when the agent comes to rest the next time.
    fn leave_alone(&self);
}

/// An answer of [`Place::look`].
pub(super) enum Seen {
    /// Somebody runs it, or there is nothing to look after. It says so itself when that changes.
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
    /// Whether it has something to do though nothing is heard.
    fn is_restless(&self) -> bool;

    /// Whether it goes when it has rested for long enough.
    fn is_to_go(&self) -> bool;

    /// Does what there is to do, without waiting for anything, and rests again, or goes.
    fn tend(self: Box<Self>);
}

struct Lookout {
    /// Places that the thread has yet to hear of.
    new: Vec<Weak<dyn Place>>,
    /// It is to look at its places once more, soon.
    called: bool,
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

const NOBODY: Lookout = Lookout { new: Vec::new(), called: false, thread: Thread::None, generation: 0 };

static LOOKOUT: Mutex<Lookout> = Mutex::new(NOBODY);

fn lock() -> MutexGuard<'static, Lookout> {
    let mut lookout = LOOKOUT.lock().unwrap_or_else(PoisonError::into_inner);
    let generation = fork::generation();
    if lookout.generation != generation {
        // Threads do not live on in a forked child, and its parent's places are not to be touched.
        std::mem::forget(std::mem::replace(&mut *lookout, Lookout { generation, ..NOBODY }));
    }
    lookout
}

/// Looks after the idle connections of the agent that rests there, from when it has rested for long enough until somebody
/// takes it.
pub(super) fn look_after(place: Weak<dyn Place>) {
    let mut lookout = lock();
    lookout.new.push(place);
    match lookout.thread {
        Thread::None => lookout.thread = Thread::Looks,
        _ => return lookout.call(),
    }
    drop(lookout);
    if thread::Builder::new().name("marmot-lookout".into()).spawn(watch).is_err() {
        give_up();
    }
}

/// Something has changed at a place that is looked after: it is gone, or has something to do.
pub(super) fn call() {
    lock().call();
}

impl Lookout {
    fn call(&mut self) {
        self.called = true;
        if let Thread::Waits(poll) = &self.thread {
            poll.notify();
            self.thread = Thread::Looks;
        }
    }
}

/// There is no thread. Idle connections wait for the next request, which finds out about them.
fn give_up() {
    let left = {
        let mut lookout = lock();
        lookout.thread = Thread::None;
        std::mem::take(&mut lookout.new)
    };
    left.iter().filter_map(Weak::upgrade).for_each(|place| place.leave_alone());
}

fn watch() {
    let Ok(poll) = Poll::get() else { return give_up() };
    let mut watched: Vec<Watched> = Vec::new();
    let mut heard = Vec::new();
    let mut since = Instant::now();
    loop {
        let patience = {
            let mut lookout = lock();
            watched.extend(lookout.new.drain(..).map(|place| Watched { place, listening: None }));
            let called = std::mem::take(&mut lookout.called);
            if !watched.is_empty() {
                since = Instant::now();
            } else if since.elapsed() >= LINGER {
                lookout.thread = Thread::None;
                return;
            }
            if !called && watched.iter().all(|watched| watched.listening.is_some()) {
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
        watched.retain_mut(|watched| match watched.look(&poll, &heard) {
            Seen::Away => false,
            Seen::Lately | Seen::Quiet => true,
            Seen::Due(agent) => {
                // Dropping an agent, panic or not, drops its transfers, and each tells its caller.
                let _ = catch_unwind(AssertUnwindSafe(|| agent.tend()));
                false
            }
        });
    }
}

struct Watched {
    place: Weak<dyn Place>,
    /// The place's poller, while it is listened to.
    listening: Option<Arc<Poll>>,
}

impl Watched {
    fn look(&mut self, poll: &Poll, heard: &[Heard]) -> Seen {
        let is_heard = |other: &Arc<Poll>| heard.iter().any(|heard| heard.socket == other.descriptor());
        let heard = self.listening.as_ref().is_some_and(is_heard);
        let place = self.place.upgrade();
        let seen = place.as_ref().map_or(Seen::Away, |place| place.look(heard));
        match (&seen, &place, &self.listening) {
            (Seen::Quiet, Some(place), None) => {
                if poll.register(place.poll().descriptor(), true, false).is_ok() {
                    self.listening = Some(place.poll().clone());
                }
            }
            (Seen::Quiet, ..) | (.., None) => {}
            (.., Some(other)) => {
                let _ = poll.unregister(other.descriptor());
                self.listening = None;
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::sync::mpsc;

    struct Rests {
        poll: Arc<Poll>,
        tended: mpsc::Sender<()>,
    }

    struct Works(mpsc::Sender<()>);

    impl Place for Rests {
        fn poll(&self) -> &Arc<Poll> {
            &self.poll
        }

        fn look(&self, heard: bool) -> Seen {
            if heard { Seen::Due(Box::new(Works(self.tended.clone()))) } else { Seen::Quiet }
        }

        fn leave_alone(&self) {}
    }

    impl Tend for Works {
        fn is_restless(&self) -> bool {
            false
        }

        fn is_to_go(&self) -> bool {
            false
        }

        fn tend(self: Box<Self>) {
            let _ = self.0.send(());
            // As a panic does, with less to say.
            std::panic::resume_unwind(Box::new("ends this agent and nothing else"));
        }
    }

    #[test]
    fn a_place_is_listened_to_until_something_is_heard_or_it_is_gone() {
        let long = Duration::from_secs(20);
        let wait_for = |poll: &Arc<Poll>, owners| {
            let end = Instant::now() + long;
            while Arc::strong_count(poll) != owners {
                assert!(Instant::now() < end, "{} and not {owners}", Arc::strong_count(poll));
                thread::sleep(Duration::from_millis(5));
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut here, _) = listener.accept().unwrap();
        let poll = Poll::get().unwrap();
        poll.register(here.as_raw_fd(), true, false).unwrap();
        let (tended, is_tended) = mpsc::channel();
        let place: Arc<dyn Place> = Arc::new(Rests { poll: poll.clone(), tended });
        for _ in 0..2 {
            look_after(Arc::downgrade(&place));
            wait_for(&poll, 3);
            assert!(is_tended.try_recv().is_err());
            there.write_all(b"x").unwrap();
            is_tended.recv_timeout(long).unwrap();
            wait_for(&poll, 2);
            here.read_exact(&mut [0]).unwrap();
        }
        look_after(Arc::downgrade(&place));
        wait_for(&poll, 3);
        drop(place);
        call();
        wait_for(&poll, 1);
    }
}
