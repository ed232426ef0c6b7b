//! What the caller's side of a WebSocket and its transfer share: two bounded queues. Knows no frame; never blocks.
//!
//! As in the exchange of a response's body, a queue above its high mark stops the side that fills it, and one wake lets it
//! go on below the low mark. A wake of the transfer leaves its running timeouts alone (`Ready::keeping`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::Response;

use super::message::{Message, closed};
use crate::body::wake;
use crate::error::{Error, ErrorKind};
use crate::handler::{Control, Ready};

/// A queue of this weight takes no more.
const HIGH: usize = 1 << 20;
/// Below this weight it takes some again.
const LOW: usize = 256 << 10;

/// Makes both ends.
pub(super) fn link(control: Control) -> (Port, Link) {
    let shared = Arc::new(Shared { state: Mutex::default(), control });
    (Port { shared: shared.clone() }, Link { shared })
}

struct Shared {
    state: Mutex<State>,
    control: Control,
}

#[derive(Default)]
struct State {
    /// The answer to the opening handshake, until it is taken.
    head: Option<Result<Response<()>, Error>>,
    received: Queue,
    /// How receiving ended, after what is in the queue.
    received_end: Option<Result<(), Error>>,
    sending: Queue,
    /// The weight of the message that is being written.
    writing: usize,
    /// What was queued has not all been handed to the system yet.
    unflushed: bool,
    /// The transfer waits for messages to send.
    write_parked: bool,
    /// Why nothing can be sent any more.
    send_end: Option<Error>,
    /// The caller has queued a close, to be answered until then.
    close_by: Option<Instant>,
    /// The end is under way: the transfer sees to it by itself.
    ending: bool,
    /// The server broke a rule.
    failure: Option<Error>,
    /// A message was queued and will not be sent.
    lost: bool,
    /// Both sides have closed, or the transfer is over.
    finished: Option<Result<(), Error>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    weight: usize,
    /// Whoever fills it waits.
    stopped: bool,
}

impl Queue {
    fn push(&mut self, message: Message) {
        self.weight += message.weight();
        self.messages.push_back(message);
    }

    /// Takes a message. Its weight is taken off by [`release`](Self::release).
    fn pop(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    /// Takes weight off. Returns whether a side that waits may go on.
    fn release(&mut self, weight: usize) -> bool {
        self.weight -= weight;
        self.weight <= LOW && std::mem::take(&mut self.stopped)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl State {
    fn stop_sending(&mut self) {
        self.sending.clear();
        self.writing = 0;
        self.unflushed = false;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nudge(&self, ready: Ready) {
        let _ = self.control.ready(ready.keeping());
    }
}

/// The transfer's end.
pub(super) struct Port {
    shared: Arc<Shared>,
}

impl Port {
    /// The server has switched over.
    pub(super) fn open(&mut self, head: Response<()>) {
        let mut state = self.shared.lock();
        state.head = Some(Ok(head));
        state.write_parked = true;
        wake(state, true, false);
    }

    /// Hands a message to the caller. Returns whether there is room for another.
    pub(super) fn push(&mut self, message: Message) -> bool {
        let mut state = self.shared.lock();
        let queue = &mut state.received;
        queue.push(message);
        queue.stopped = queue.weight >= HIGH;
        let room = !queue.stopped;
        wake(state, true, false);
        room
    }

    /// Whether the caller has to read before there is room for more.
    pub(super) fn is_full(&self) -> bool {
        self.shared.lock().received.stopped
    }

    /// The next message to send, after the one before was written. `None` parks the writing.
    pub(super) fn next(&mut self) -> Option<Message> {
        let mut state = self.shared.lock();
        let before = std::mem::take(&mut state.writing);
        let go_on = state.sending.release(before);
        let message = state.sending.pop();
        state.writing = message.as_ref().map_or(0, Message::weight);
        state.write_parked = message.is_none();
        wake(state, false, go_on);
        message
    }

    /// Everything that was written has been tried to be sent, and there was room for more.
    pub(super) fn flushed(&mut self) {
        let mut state = self.shared.lock();
        if state.sending.messages.is_empty() && std::mem::replace(&mut state.unflushed, false) {
            wake(state, false, true);
        }
    }

    /// When the caller's close must have been answered.
    pub(super) fn close_by(&self) -> Option<Instant> {
        self.shared.lock().close_by
    }

    /// Nothing more is received: after a close, or for that error.
    pub(super) fn end_receiving(&mut self, result: Result<(), Error>) {
        let mut state = self.shared.lock();
        state.ending = true;
        if state.received_end.is_none() {
            state.failure = result.as_ref().err().cloned();
            state.send_end.get_or_insert_with(|| result.clone().err().unwrap_or_else(closed));
            state.received_end = Some(result);
        }
        wake(state, true, true);
    }

    /// This side's close is out: nothing more is sent.
    pub(super) fn end_sending(&mut self) {
        let mut state = self.shared.lock();
        state.lost = !state.sending.messages.is_empty();
        state.stop_sending();
        state.send_end.get_or_insert_with(closed);
        wake(state, false, true);
    }

    /// Both sides have closed, or the transfer is over.
    pub(super) fn finish(&mut self, result: Result<(), Error>) {
        let mut state = self.shared.lock();
        if state.finished.is_some() {
            return;
        }
        let result = state.failure.clone().map_or(result, Err);
        state.finished = Some(result.clone());
        state.ending = true;
        // Where both sides have closed, all that was written before this side's close has been sent.
        state.lost |= if result.is_ok() { !state.sending.messages.is_empty() } else { state.unflushed };
        state.stop_sending();
        if let Err(error) = &result
            && state.head.is_none()
        {
            state.head = Some(Err(error.clone()));
        }
        state.send_end.get_or_insert_with(|| result.clone().err().unwrap_or_else(closed));
        state.received_end.get_or_insert(result);
        wake(state, true, true);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.finish(Err(Error::new(ErrorKind::AgentLost)));
    }
}

/// Wakes one or both of the caller's tasks.
fn wake(mut state: MutexGuard<'_, State>, reader: bool, writer: bool) {
    let reader = if reader { state.reader.take() } else { None };
    let writer = if writer { state.writer.take() } else { None };
    // Wake after unlock: the woken thread takes this lock.
    drop(state);
    [reader, writer].into_iter().flatten().for_each(wake::later);
}

/// The caller's end. Dropping it ends the transfer at once, unless both sides are closing already.
pub(super) struct Link {
    shared: Arc<Shared>,
}

impl Link {
    /// Waits for the answer to the opening handshake.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Error>> {
        let mut state = self.shared.lock();
        match state.head.take() {
            Some(head) => Poll::Ready(head),
            None => {
                set_waker(&mut state.reader, cx);
                Poll::Pending
            }
        }
    }

    /// Waits for a message. `None` comes after a close, and from then on.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let mut state = self.shared.lock();
        if let Some(message) = state.received.pop() {
            let more = state.received.release(message.weight());
            drop(state);
            if more {
                self.shared.nudge(Ready::read());
            }
            return Poll::Ready(Some(Ok(message)));
        }
        match &state.received_end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => {
                let error = error.clone();
                // Told once.
                state.received_end = Some(Ok(()));
                Poll::Ready(Some(Err(error)))
            }
            None => {
                set_waker(&mut state.reader, cx);
                Poll::Pending
            }
        }
    }

    /// Waits for room to send.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.shared.lock();
        if let Some(error) = &state.send_end {
            return Poll::Ready(Err(error.clone()));
        }
        let queue = &mut state.sending;
        queue.stopped |= queue.weight >= HIGH;
        if !queue.stopped {
            return Poll::Ready(Ok(()));
        }
        set_waker(&mut state.writer, cx);
        Poll::Pending
    }

    /// Queues a message. A close must be answered within the timeout.
    pub(super) fn send(&mut self, message: Message, close_timeout: Duration) -> Result<(), Error> {
        message.check()?;
        let close = message.is_close();
        let mut state = self.shared.lock();
        if let Some(error) = &state.send_end {
            return Err(error.clone());
        }
        if close {
            state.send_end = Some(closed());
            state.close_by = Instant::now().checked_add(close_timeout);
        }
        state.sending.push(message);
        state.unflushed = true;
        let parked = std::mem::take(&mut state.write_parked);
        drop(state);
        if close {
            // The transfer may be stuck with what was sent before, and is told of the time limit here.
            let _ = self.shared.control.ready(Ready::write().timeout(close_timeout));
        } else if parked {
            self.shared.nudge(Ready::write());
        }
        Ok(())
    }

    /// Waits until all that was queued is handed to the system.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.shared.lock();
        if !state.unflushed {
            let lost = std::mem::take(&mut state.lost);
            return Poll::Ready(if lost { Err(state.send_end.clone().unwrap_or_else(closed)) } else { Ok(()) });
        }
        set_waker(&mut state.writer, cx);
        Poll::Pending
    }

    /// Waits until both sides have closed.
    pub(super) fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.shared.lock();
        if let Some(result) = &state.finished {
            return Poll::Ready(result.clone());
        }
        set_waker(&mut state.writer, cx);
        Poll::Pending
    }

    /// Whether a close can still be queued.
    pub(super) fn is_open(&self) -> bool {
        self.shared.lock().send_end.is_none()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.received.clear();
        let ending = state.ending;
        drop(state);
        if !ending {
            let _ = self.shared.control.ready(Ready::remove());
        }
    }
}

fn set_waker(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}
