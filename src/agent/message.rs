//! Messages to an agent and the way they take. Writes the wake-up only when the agent sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::task::{Wake, Waker};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use futures::channel::oneshot;

use crate::easy::Easy;
use crate::ffi::poll::Poll;

/// What an agent has at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) open: usize,
    pub(crate) in_use: usize,
    pub(crate) in_flight: usize,
    pub(crate) waiting: usize,
}

/// What all agents of a client have done so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) started: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) reused: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) enum Message {
    /// Start a transfer.
    Execute(Easy),
    /// Look after the transfer in this slot.
    Wake(usize),
    /// The client is gone: end when the last transfer has.
    Close,
    /// End everything at the deadline; `done` is dropped after that.
    ShutDown { deadline: Option<Instant>, done: oneshot::Sender<()> },
    /// Tell what is open and who waits.
    Report(oneshot::Sender<Report>),
    /// End by a panic, to test what happens then.
    #[cfg(test)]
    Panic,
}

/// The way to an agent.
#[derive(Clone)]
pub(super) struct Handle {
    sender: Sender<Message>,
    bell: Arc<Bell>,
}

/// What wakes the agent.
pub(super) struct Bell {
    poll: Poll,
    asleep: AtomicBool,
}

impl Handle {
    pub(super) fn new() -> std::io::Result<(Self, Receiver<Message>)> {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let bell = Arc::new(Bell { poll: Poll::new()?, asleep: AtomicBool::new(false) });
        Ok((Self { sender, bell }, receiver))
    }

    /// Hands a message to the agent, or gives it back if there is no agent any more.
    pub(super) fn send(&self, message: Message) -> Result<(), Message> {
        self.sender.send(message).map_err(|error| error.0)?;
        // Orders the message before the look at `asleep`; the agent does the reverse in `fall_asleep`.
        fence(Ordering::SeqCst);
        if self.bell.asleep.load(Ordering::SeqCst) && self.bell.asleep.swap(false, Ordering::SeqCst) {
            self.bell.poll.notify();
        }
        Ok(())
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.bell, &other.bell)
    }

    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// A waker for the transfer in a slot. It stays valid for whoever takes the slot next.
    pub(super) fn waker(&self, slot: usize) -> Waker {
        Arc::new(SlotWaker { handle: self.clone(), slot }).into()
    }
}

impl Bell {
    pub(super) fn poll(&self) -> &Poll {
        &self.poll
    }

    /// Announces that the agent is about to wait. Returns whether it may: no message came meanwhile.
    pub(super) fn fall_asleep(&self, messages: &Receiver<Message>) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let quiet = messages.is_empty();
        if !quiet {
            self.wake_up();
        }
        quiet
    }

    pub(super) fn wake_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }
}

struct SlotWaker {
    handle: Handle,
    slot: usize,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let _ = self.handle.send(Message::Wake(self.slot));
    }
}
