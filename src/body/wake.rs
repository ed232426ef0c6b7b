//! Wakes that wait for the end of a turn. Never runs a waker while a lock of this crate is held.
//!
//! An agent handles many events in one turn and would wake the same caller several times, each a system call and a
//! context switch. On an agent's thread a wake is therefore noted and run once, when the turn ends and the agent holds
//! no lock. On every other thread a wake runs at once.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

thread_local! {
    /// `Some` on a thread that defers.
    static LATER: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) };
}

/// Defers the wakes of this thread from now on, until the guard drops. [`flush`] runs them.
pub(crate) fn defer() -> Deferring {
    Deferring(LATER.replace(Some(Vec::new())))
}

/// See [`defer`].
pub(crate) struct Deferring(
    /// What an agent has deferred whose callback runs another agent.
    Option<Vec<Waker>>,
);

impl Drop for Deferring {
    fn drop(&mut self) {
        let rest = LATER.replace(self.0.take());
        rest.into_iter().flatten().for_each(wake);
    }
}

/// Wakes at the end of the turn, or at once on a thread that does not defer. Call it with no lock held.
pub(crate) fn later(waker: Waker) {
    let waker = LATER.try_with(|later| match later.borrow_mut().as_mut() {
        Some(list) => {
            list.push(waker);
            None
        }
        None => Some(waker),
    });
    if let Ok(Some(waker)) = waker {
        waker.wake();
    }
}

/// Runs the deferred wakes of this thread. A wake may defer more of them; those run too.
pub(crate) fn flush() {
    while let Some(waker) = LATER.with_borrow_mut(|later| later.as_mut().and_then(Vec::pop)) {
        wake(waker);
    }
}

/// A waker is the caller's code. Its panic must not end the agent, and with it everybody else's transfers.
fn wake(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_deferring_thread_wakes_at_the_flush_and_others_at_once() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        later(count.clone().into());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let guard = defer();
        later(count.clone().into());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        flush();
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        later(count.clone().into());
        drop(guard);
        assert_eq!(count.0.load(Ordering::SeqCst), 3, "nothing is lost when the thread stops deferring");
    }
}
