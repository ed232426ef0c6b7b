//! The only place that blocks: a thread sleeps, or runs the agent, until a future is ready, its time is up, or it is
//! cancelled.

use std::cell::Cell;
use std::io::{self, Read};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use futures::io::AsyncRead;

use crate::agent::{Agents, Visit, withdraw};
use crate::body::Body;
use crate::error::{Error, ErrorKind, TimeoutPhase};

/// Sleeps until the future is ready. Works inside any runtime and inside itself.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    endless(block_on_with(future, &Patience::default()))
}

/// The result of endless patience.
pub(crate) fn endless<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| unreachable!("endless patience ended: {error}"))
}

/// How long to wait at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience {
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancel: Option<CancelToken>,
}

impl Patience {
    /// Whether it has ended.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.cancel.as_ref().is_some_and(CancelToken::is_cancelled) {
            return Err(Error::new(ErrorKind::Cancelled));
        }
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Error::timeout(TimeoutPhase::Deadline));
        }
        Ok(())
    }
}

/// Sleeps until the future is ready or patience ends. The future is dropped then, which ends its transfer.
pub(crate) fn block_on_with<F: Future>(future: F, patience: &Patience) -> Result<F::Output, Error> {
    let mut outer = withdraw();
    let mut sleeping = Sleeping::default();
    let (sleeper, waker) = sleeping.get();
    let mut future = pin!(future);
    let mut cx = Context::from_waker(waker);
    let _watch = patience.cancel.as_ref().map(|cancel| cancel.watch(waker));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Ok(output);
        }
        patience.check()?;
        outer.release();
        sleeper.sleep(patience.deadline);
    }
}

/// As [`block_on_with`] for a future that is yet to be made. As soon as a transfer starts for which an agent is free, this
/// thread runs that instead of sleeping.
pub(crate) fn block_on_offering<F: Future>(
    agents: &Agents,
    start: impl FnOnce() -> F,
    patience: &Patience,
) -> Result<F::Output, Error> {
    // An agent that this thread has along further up is not run here.
    let mut outer = withdraw();
    outer.release();
    let mut sleeping = Sleeping::default();
    let (future, mut visit) = agents.offer(None, start);
    // It goes before the visit: what its end asks of the agent belongs to that.
    let mut future = pin!(future);
    let mut watch: Option<Watch<'_>> = None;
    loop {
        let visits = visit.is_some();
        let waker = visit.as_mut().map_or_else(|| sleeping.get().1.clone(), Visit::waker);
        if let Some(cancel) = &patience.cancel
            && watch.as_ref().is_none_or(|watch| !watch.waker.will_wake(&waker))
        {
            watch = Some(cancel.watch(&waker));
        }
        let (poll, along) = agents.offer(visit.take(), || future.as_mut().poll(&mut Context::from_waker(&waker)));
        visit = along.filter(|visit| !visit.is_lost());
        if let Poll::Ready(output) = poll {
            return Ok(output);
        }
        patience.check()?;
        match &mut visit {
            Some(visit) if visit.is_awaited() => visit.serve(patience.deadline),
            None if !visits => sleeping.get().0.sleep(patience.deadline),
            // An agent came along, or is gone: the future has a waker that does not wake this thread from now on, or has done
            // so while somebody else visited the same agent.
            _ => {}
        }
    }
}

/// This thread's sleeper and its waker, once somebody sleeps. A wait inside a wait has its own.
#[derive(Default)]
struct Sleeping(Option<(Arc<Sleeper>, Waker)>);

thread_local! {
    /// Kept for the next wait of this thread.
    static SLEEPER: Cell<Option<(Arc<Sleeper>, Waker)>> = const { Cell::new(None) };
}

impl Sleeping {
    fn get(&mut self) -> &(Arc<Sleeper>, Waker) {
        self.0.get_or_insert_with(|| SLEEPER.try_with(Cell::take).ok().flatten().unwrap_or_else(Sleeper::new))
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        if let Some(kept) = self.0.take() {
            let _ = SLEEPER.try_with(|sleeper| sleeper.set(Some(kept)));
        }
    }
}

struct Sleeper {
    thread: Thread,
    woken: AtomicBool,
}

impl Sleeper {
    fn new() -> (Arc<Self>, Waker) {
        let sleeper = Arc::new(Self { thread: thread::current(), woken: AtomicBool::new(false) });
        (sleeper.clone(), sleeper.into())
    }

    /// Returns when woken, or at the deadline.
    fn sleep(&self, deadline: Option<Instant>) {
        while !self.woken.swap(false, Ordering::Acquire) {
            match deadline {
                None => thread::park(),
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    Some(rest) if !rest.is_zero() => thread::park_timeout(rest),
                    _ => return,
                },
            }
        }
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

/// Ends waiting from another thread. Clones share the state; cancelling cannot be taken back.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<Token>);

#[derive(Debug, Default)]
struct Token {
    cancelled: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels: whoever waits with this token stops waiting at once.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    fn watch(&self, waker: &Waker) -> Watch<'_> {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(waker.clone());
        Watch { token: self, waker: waker.clone() }
    }
}

/// Ends a thread's wait when the future that waits for the thread is dropped.
pub(super) struct CancelOnDrop(CancelToken);

impl CancelOnDrop {
    pub(super) fn new(token: CancelToken) -> Self {
        Self(token)
    }

    pub(super) fn token(&self) -> &CancelToken {
        &self.0
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Takes its waker out of the token again.
struct Watch<'a> {
    token: &'a CancelToken,
    waker: Waker,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut waiting = self.token.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = waiting.iter().position(|waker| waker.will_wake(&self.waker)) {
            waiting.swap_remove(index);
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let body = self.as_async();
        block_on(std::future::poll_fn(|cx| Pin::new(&mut *body).poll_read(cx, buffer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn blocking_inside_blocking_loses_no_wake() {
        let (sender, receiver) = futures::channel::oneshot::channel();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            sender.send(7).unwrap();
        });
        let value = block_on(async {
            let inner = block_on(std::future::ready(1));
            receiver.await.unwrap() + inner
        });
        assert_eq!(value, 8);
        thread.join().unwrap();
    }

    #[test]
    fn a_deadline_and_a_token_end_a_wait() {
        let never = std::future::pending::<()>;
        let deadline = Some(Instant::now() + Duration::from_millis(10));
        let error = block_on_with(never(), &Patience { deadline, cancel: None }).unwrap_err();
        assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));

        let cancel = CancelToken::new();
        let other = cancel.clone();
        let thread = thread::spawn(move || other.cancel());
        let error = block_on_with(never(), &Patience { deadline: None, cancel: Some(cancel) }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        thread.join().unwrap();
    }
}
