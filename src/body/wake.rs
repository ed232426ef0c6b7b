//! Wakes that wait for the end of a turn. Never runs a waker while a lock of this crate is held.
//!
//! An agent handles many events in one turn and would wake the same caller several times, each a system call and a
//! context switch. On an agent's thread a wake is therefore noted and run once, when the turn ends and the agent holds
//! no lock. On every other thread a wake runs at once.

use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Wakers that a thread keeps room for.
const MOST_SPARE: usize = 256;

thread_local! {
    /// `Some` on a thread that defers.
    static LATER: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) };
    /// An empty list of this thread's, for its memory.
    static SPARE: Cell<Vec<Waker>> = const { Cell::new(Vec::new()) };
    /// This thread runs wakes that are due.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Defers the wakes of this thread from now on, until the guard drops. [`flush`] runs them.
pub(crate) fn defer() -> Deferring {
    let spare = SPARE.try_with(Cell::take).unwrap_or_default();
    Deferring(LATER.replace(Some(spare)))
}

/// Whether this thread can defer wakes: it is not about to end.
pub(crate) fn may_defer() -> bool {
    LATER.try_with(|_| ()).is_ok()
}

/// See [`defer`].
pub(crate) struct Deferring(
    /// What an agent has deferred whose callback runs another agent.
    Option<Vec<Waker>>,
);

impl Drop for Deferring {
    fn drop(&mut self) {
        let mut rest = LATER.replace(self.0.take()).unwrap_or_default();
        rest.drain(..).for_each(wake);
        rest.shrink_to(MOST_SPARE);
        let _ = SPARE.try_with(|spare| spare.set(rest));
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
pub(crate) fn flush(due: &Due) {
    loop {
        let list = LATER.with_borrow_mut(|later| later.as_mut().filter(|later| !later.is_empty()).map(mem::take));
        let Some(mut list) = list else { return };
        match list.len() {
            1 => list.drain(..).for_each(wake),
            _ => {
                due.add(&mut list);
                due.run();
            }
        }
        // The list goes back, for its memory.
        LATER.with_borrow_mut(|later| {
            if let Some(later) = later
                && later.is_empty()
            {
                *later = list;
            }
        });
    }
}

/// Wakes of an agent that are being run.
///
/// The first one may put its thread in the place of the agent's at once, which then gets no further until that thread, with
/// no other wake to work on, sleeps again: two changes of threads for each wake. So a thread that was woken runs the others
/// as soon as it comes by.
#[derive(Default)]
pub(crate) struct Due {
    list: Mutex<Vec<Waker>>,
    any: AtomicBool,
}

impl Due {
    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, wakers: &mut Vec<Waker>) {
        self.lock().append(wakers);
        self.any.store(true, Ordering::Relaxed);
    }

    fn next(&self) -> Option<Waker> {
        let mut list = self.lock();
        let next = list.pop();
        self.any.store(!list.is_empty(), Ordering::Relaxed);
        next
    }

    /// Runs them on the agent's thread.
    fn run(&self) {
        let before = RUNNING.replace(true);
        while let Some(waker) = self.next() {
            wake(waker);
        }
        RUNNING.set(before);
    }

    /// Runs those that are left, unless this is called by one of them. Call it with no lock held.
    pub(crate) fn help(&self) {
        if !self.any.load(Ordering::Relaxed) || RUNNING.replace(true) {
            return;
        }
        let mut rest = mem::take(&mut *self.lock());
        self.any.store(false, Ordering::Relaxed);
        rest.drain(..).for_each(wake);
        // The list goes back, for its memory.
        rest.shrink_to(MOST_SPARE);
        let mut list = self.lock();
        if list.is_empty() && list.capacity() < rest.capacity() {
            *list = rest;
        }
        drop(list);
        RUNNING.set(false);
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
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Does what a thread does that is woken, and comes by before the waking thread gets further.
    struct ComesBy {
        due: Arc<Due>,
        others: Arc<Count>,
        /// How many of the others were woken by then.
        found: AtomicUsize,
    }
    impl Wake for ComesBy {
        fn wake(self: Arc<Self>) {
            std::thread::scope(|scope| scope.spawn(|| self.due.help()).join()).unwrap();
            self.found.store(self.others.0.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }

    #[test]
    fn a_thread_that_was_woken_runs_the_other_wakes() {
        let (due, others) = (Arc::new(Due::default()), Arc::new(Count(AtomicUsize::new(0))));
        let woken = Arc::new(ComesBy { due: due.clone(), others: others.clone(), found: AtomicUsize::new(0) });
        let _guard = defer();
        for _ in 0..3 {
            later(others.clone().into());
        }
        // The one that is added last is run first.
        later(woken.clone().into());
        flush(&due);
        assert_eq!(woken.found.load(Ordering::SeqCst), 3);
        assert_eq!(others.0.load(Ordering::SeqCst), 3, "each is run once");
    }

    #[test]
    fn a_deferring_thread_wakes_at_the_flush_and_others_at_once() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        later(count.clone().into());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let guard = defer();
        later(count.clone().into());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        flush(&Due::default());
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        later(count.clone().into());
        drop(guard);
        assert_eq!(count.0.load(Ordering::SeqCst), 3, "nothing is lost when the thread stops deferring");
    }
}
