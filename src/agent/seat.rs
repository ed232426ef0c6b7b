//! An agent's place and the way to it: messages, the bell, and the agent itself while nobody runs it. Runs nothing.
//!
//! An agent is *awake* while a thread runs it, *asleep* while that thread waits for sockets, *at rest* while it has no
//! thread because it has nothing to do, and *gone* in the end. A message rings for a sleeping agent and gets a resting one a thread.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::crew::{self, Run};
use super::lookout::{self, Place, Seen, Tend};
use super::message::Message;
use super::meter::{WINDOW, Work};
use crate::body::wake::Due;
use crate::ffi::poll::Poll;

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const AT_REST: u8 = 2;
const GONE: u8 = 3;

const NOBODY: usize = 0;

/// A number for this thread that no other one has as long as it lives.
pub(super) fn here() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.try_with(|here| std::ptr::from_ref(here).addr()).unwrap_or(NOBODY)
}

/// The way to an agent.
pub(super) struct Handle<A>(Arc<Seat<A>>);

struct Seat<A> {
    sender: Sender<Message>,
    poll: Arc<Poll>,
    /// See [`AWAKE`], [`ASLEEP`], [`AT_REST`] and [`GONE`].
    state: AtomicU8,
    resting: Mutex<Option<Resting<A>>>,
    /// How long the agent rests before somebody looks after it.
    rest: Duration,
    /// The thread that has the agent in its hands, as [`here`] calls it.
    holder: AtomicUsize,
    /// Wakes that the agent is running.
    due: Due,
    /// Somebody looks at the seat now and then.
    looked_after: AtomicBool,
    /// See [`Load`].
    transfers: AtomicUsize,
    rate: AtomicU64,
    saturated: AtomicBool,
}

/// What an agent said last of its work.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// In flight, and on their way.
    pub(super) transfers: usize,
    pub(super) work: Work,
}

struct Resting<A> {
    agent: Box<A>,
    since: Instant,
    /// There is something to look after.
    looked_after: bool,
}

impl<A> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A> Drop for Seat<A> {
    fn drop(&mut self) {
        // The agent held this seat, and closed its sockets when it went.
        Poll::keep(&self.poll);
    }
}

impl<A> Seat<A> {
    fn lock(&self) -> MutexGuard<'_, Option<Resting<A>>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the agent if it is asleep.
    fn ring(&self) {
        // One ring is enough.
        if self.state.compare_exchange(ASLEEP, AWAKE, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.poll.notify();
        }
    }

    /// Takes the agent, if it is at rest, for a thread to run.
    fn take(&self) -> Option<Box<A>> {
        if self.state.load(Ordering::SeqCst) != AT_REST {
            return None;
        }
        let resting = self.lock().take()?;
        self.state.store(AWAKE, Ordering::SeqCst);
        // What it carried before is not what it carries.
        if self.rate.load(Ordering::Relaxed) > 0 && resting.since.elapsed() >= WINDOW {
            self.rate.store(0, Ordering::Relaxed);
        }
        Some(resting.agent)
    }
}

impl<A: Run + Tend + 'static> Handle<A> {
    /// A seat for an agent that is yet to be made; it is awake until it [rests](Self::rest). After so much `rest` somebody
    /// looks after it.
    pub(super) fn new(rest: Duration) -> std::io::Result<(Self, Receiver<Message>)> {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let seat = Seat {
            sender,
            poll: Poll::get()?,
            state: AtomicU8::new(AWAKE),
            resting: Mutex::new(None),
            rest,
            holder: AtomicUsize::new(NOBODY),
            due: Due::default(),
            looked_after: AtomicBool::new(false),
            transfers: AtomicUsize::new(0),
            rate: AtomicU64::new(0),
            saturated: AtomicBool::new(false),
        };
        Ok((Self(Arc::new(seat)), receiver))
    }

    /// Hands a message to the agent, or gives it back if there is no agent any more.
    pub(super) fn send(&self, message: Message) -> Result<(), Message> {
        let seat = &*self.0;
        seat.sender.send(message).map_err(|error| error.0)?;
        // Orders the message before the look at the state; the agent does the reverse in `fall_asleep` and `rest`.
        fence(Ordering::SeqCst);
        match seat.state.load(Ordering::SeqCst) {
            ASLEEP => seat.ring(),
            AT_REST => {
                if let Some(agent) = seat.take() {
                    // Without a thread the agent is dropped, and tells all who wait for it.
                    let _ = crew::lend(agent);
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn due(&self) -> &Due {
        &self.0.due
    }

    /// The agent tells how many transfers it has.
    pub(super) fn tell_transfers(&self, transfers: usize) {
        self.0.transfers.store(transfers, Ordering::Relaxed);
    }

    /// One is on its way. The agent's next turn tells how many there are.
    pub(super) fn expect_transfer(&self) {
        self.0.transfers.fetch_add(1, Ordering::Relaxed);
    }

    /// The agent tells how much it does.
    pub(super) fn tell_work(&self, Work { rate, saturated }: Work) {
        self.0.rate.store(rate, Ordering::Relaxed);
        self.0.saturated.store(saturated, Ordering::Relaxed);
    }

    pub(super) fn load(&self) -> Load {
        // One at rest has nobody who would tell.
        let rate = if self.has_rested(WINDOW) { 0 } else { self.0.rate.load(Ordering::Relaxed) };
        Load { transfers: self.transfers(), work: Work { rate, saturated: self.is_saturated() } }
    }

    /// Those in flight at the end of its last turn, and those it expects since.
    pub(super) fn transfers(&self) -> usize {
        self.0.transfers.load(Ordering::Relaxed)
    }

    /// Whether it has any, as [`transfers`](Self::transfers) tells.
    pub(super) fn has_transfers(&self) -> bool {
        self.transfers() > 0
    }

    pub(super) fn is_saturated(&self) -> bool {
        self.0.saturated.load(Ordering::Relaxed)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn poll(&self) -> &Poll {
        &self.0.poll
    }

    /// Announces that the agent is about to wait. Returns whether it may: `is_quiet` still holds.
    pub(super) fn fall_asleep(&self, is_quiet: impl FnOnce() -> bool) -> bool {
        self.0.state.store(ASLEEP, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let quiet = is_quiet();
        if !quiet {
            self.wake_up();
        }
        quiet
    }

    pub(super) fn wake_up(&self) {
        self.0.state.store(AWAKE, Ordering::SeqCst);
    }

    /// Puts the agent to rest. It is given back if a message has come meanwhile.
    ///
    /// `looked_after`: whether somebody should look after it once it has rested for long enough.
    pub(super) fn rest(&self, agent: Box<A>, looked_after: bool) -> Option<Box<A>> {
        let mut place = self.0.lock();
        self.0.state.store(AT_REST, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if agent.is_called() {
            self.wake_up();
            return Some(agent);
        }
        let restless = agent.is_restless();
        *place = Some(Resting { agent, since: Instant::now(), looked_after });
        drop(place);
        if looked_after {
            if !self.0.looked_after.swap(true, Ordering::Relaxed) {
                lookout::look_after(Arc::downgrade(&(self.0.clone() as Arc<dyn Place>)));
            } else if restless {
                // What it has heard nobody else hears any more.
                lookout::call();
            }
        }
        None
    }

    /// The calling thread has the agent in its hands from now on, or nobody has.
    pub(super) fn set_held(&self, held: bool) {
        self.0.holder.store(if held { here() } else { NOBODY }, Ordering::Relaxed);
    }

    /// Whether the calling thread has the agent in its hands, further up.
    pub(super) fn is_held_here(&self) -> bool {
        let holder = self.0.holder.load(Ordering::Relaxed);
        holder != NOBODY && holder == here()
    }

    /// The agent tells that it goes.
    pub(super) fn leave(&self) {
        self.0.state.store(GONE, Ordering::SeqCst);
        if self.0.looked_after.swap(false, Ordering::Relaxed) {
            lookout::call();
        }
    }

    pub(super) fn is_left(&self) -> bool {
        self.0.state.load(Ordering::SeqCst) == GONE
    }

    /// Takes the agent, if it is at rest, for the calling thread to run or to drop.
    pub(super) fn take(&self) -> Option<Box<A>> {
        self.0.take()
    }

    /// Looks at the agent if it is at rest.
    pub(super) fn at_rest<R>(&self, look: impl FnOnce(&mut A) -> R) -> Option<R> {
        self.0.lock().as_mut().map(|resting| look(&mut resting.agent))
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.0.state.load(Ordering::SeqCst) == AT_REST
    }

    /// Whether the agent has been at rest for that long.
    pub(super) fn has_rested(&self, time: Duration) -> bool {
        self.0.lock().as_ref().is_some_and(|resting| resting.since.elapsed() >= time)
    }

    /// A waker for the transfer in a slot. It stays valid for whoever takes the slot next.
    pub(super) fn waker(&self, slot: usize) -> Waker {
        Arc::new(SlotWaker { handle: self.clone(), slot }).into()
    }
}

impl<A: Run + Tend + 'static> Place for Seat<A> {
    fn poll(&self) -> &Arc<Poll> {
        &self.poll
    }

    fn look(&self, heard: bool) -> Seen {
        let mut place = self.lock();
        match &*place {
            Some(resting) if resting.looked_after => {
                if resting.since.elapsed() < self.rest {
                    return Seen::Lately;
                }
                if !heard && !resting.agent.is_restless() && !resting.agent.is_to_go() {
                    return Seen::Quiet;
                }
            }
            _ => {
                self.leave_alone();
                return Seen::Away;
            }
        }
        self.leave_alone();
        let Some(resting) = place.take() else { return Seen::Away };
        self.state.store(AWAKE, Ordering::SeqCst);
        // What it carried before is not what it carries.
        self.rate.store(0, Ordering::Relaxed);
        Seen::Due(resting.agent)
    }

    fn leave_alone(&self) {
        self.looked_after.store(false, Ordering::Relaxed);
    }
}

struct SlotWaker<A> {
    handle: Handle<A>,
    slot: usize,
}

impl<A: Run + Tend + 'static> Wake for SlotWaker<A> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let _ = self.handle.send(Message::Wake(self.slot));
    }
}

/// Wakes the thread that runs an agent while it waits for something itself.
pub(super) struct Visitor<A> {
    handle: Handle<A>,
    woken: AtomicBool,
}

impl<A: Run + Tend + 'static> Visitor<A> {
    pub(super) fn new(handle: Handle<A>) -> Arc<Self> {
        Arc::new(Self { handle, woken: AtomicBool::new(false) })
    }

    pub(super) fn handle(&self) -> &Handle<A> {
        &self.handle
    }

    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// Whether it was woken since the last call.
    pub(super) fn take_wake(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }
}

impl<A: Run + Tend + 'static> Wake for Visitor<A> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            fence(Ordering::SeqCst);
            self.handle.0.ring();
        }
    }
}
