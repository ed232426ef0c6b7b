//! Sleeping without a runtime: one thread for the process wakes whoever's time has come. Runs nothing but wakers.
//!
//! The thread starts with the first sleeper and ends when nobody has slept for a while. It waits on a condition variable
//! until the earliest deadline, so that sleepers cost nothing while they sleep.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// How long the thread stays when nobody sleeps.
const IDLE: Duration = Duration::from_secs(5);
/// How often a sleeper looks at the clock by itself when the system gives no thread.
const WITHOUT_THREAD: Duration = Duration::from_millis(1);

/// Completes after `time`, under any executor.
pub(crate) fn sleep(time: Duration) -> Sleep {
    static TIMER: LazyLock<Timer> = LazyLock::new(|| Timer::new(IDLE));
    TIMER.sleep(time)
}

/// Completes when its time has come. Dropping it forgets it; it may be polled from any thread.
#[derive(Debug)]
#[must_use = "a sleep does nothing until it is awaited"]
pub(crate) struct Sleep {
    timer: Timer,
    /// `None`: later than the clock can tell.
    deadline: Option<Instant>,
    /// Its place among the sleepers, while it has one.
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(deadline) = this.deadline else { return Poll::Pending };
        if deadline <= Instant::now() {
            this.forget();
            return Poll::Ready(());
        }
        this.timer.register(deadline, &mut this.number, cx.waker());
        Poll::Pending
    }
}

impl Sleep {
    fn forget(&mut self) {
        if let (Some(deadline), Some(number)) = (self.deadline, self.number.take()) {
            let waker = self.timer.0.lock().sleepers.remove(&(deadline, number));
            // The waker is the caller's code: it is dropped with the lock released.
            drop(waker);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The sleepers and their thread.
#[derive(Clone, Debug)]
struct Timer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The earliest deadline has changed.
    changed: Condvar,
    idle: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// By deadline; the number keeps those of one deadline apart, in the order in which they came.
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next_number: u64,
    running: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that could panic halfway runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer {
    fn new(idle: Duration) -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), idle }))
    }

    fn sleep(&self, time: Duration) -> Sleep {
        Sleep { timer: self.clone(), deadline: Instant::now().checked_add(time), number: None }
    }

    /// Puts the waker among the sleepers, in the place of the one that this sleep had there before.
    fn register(&self, deadline: Instant, number: &mut Option<u64>, waker: &Waker) {
        let waker = waker.clone();
        let mut state = self.0.lock();
        let key = *number.get_or_insert_with(|| {
            state.next_number += 1;
            state.next_number
        });
        let earliest = state.sleepers.first_key_value().is_none_or(|((first, _), _)| deadline < *first);
        let before = state.sleepers.insert((deadline, key), waker);
        if state.running {
            drop(state);
            if earliest {
                self.0.changed.notify_one();
            }
        } else {
            // Started under the lock, so that two first sleepers do not start two threads.
            let shared = self.0.clone();
            let started = thread::Builder::new().name("marmot-timer".into()).spawn(move || run(&shared));
            state.running = started.is_ok();
            let alone = match started {
                Ok(_) => None,
                Err(_) => state.sleepers.remove(&(deadline, key)),
            };
            drop(state);
            if let Some(waker) = alone {
                // No thread is to be had now. The sleeper asks again and again: slow, but it wakes.
                thread::sleep(WITHOUT_THREAD);
                waker.wake();
            }
        }
        drop(before);
    }
}

fn run(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        let now = Instant::now();
        let Some(((first, _), _)) = state.sleepers.first_key_value() else {
            let (back, waited) =
                shared.changed.wait_timeout(state, shared.idle).unwrap_or_else(PoisonError::into_inner);
            state = back;
            if waited.timed_out() && state.sleepers.is_empty() {
                state.running = false;
                return;
            }
            continue;
        };
        if let Some(rest) = first.checked_duration_since(now).filter(|rest| !rest.is_zero()) {
            state = shared.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let later = state.sleepers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.sleepers, later);
        // Wake after unlock: a waker may poll at once, and take this lock.
        drop(state);
        for waker in due.into_values() {
            // A waker is the caller's code. Its panic must not end the others' sleep for ever.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        state = shared.lock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;
    use std::task::Wake;

    use futures::executor::block_on;
    use futures::future::join_all;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn counter() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        (count.clone(), count.into())
    }

    fn poll(sleep: &mut Sleep, waker: &Waker) -> Poll<()> {
        Pin::new(sleep).poll(&mut Context::from_waker(waker))
    }

    #[test]
    fn a_sleep_is_never_too_short() {
        for millis in [0, 1, 15] {
            let (begun, time) = (Instant::now(), Duration::from_millis(millis));
            block_on(sleep(time));
            assert!(begun.elapsed() >= time);
        }
    }

    #[test]
    fn many_sleepers_wake_in_the_order_of_their_deadlines() {
        struct Say(usize, mpsc::Sender<usize>);
        impl Wake for Say {
            fn wake(self: Arc<Self>) {
                self.1.send(self.0).unwrap();
            }
        }
        let timer = Timer::new(Duration::from_millis(10));
        let (said, hear) = mpsc::channel();
        // The longest is asked for first, so that each of the others becomes the earliest in its turn.
        let sleeps: Vec<_> = (0..200)
            .rev()
            .map(|number| {
                let mut sleep = timer.sleep(Duration::from_millis(100 + number as u64 / 4));
                let waker = Arc::new(Say(number, said.clone())).into();
                assert!(poll(&mut sleep, &waker).is_pending());
                sleep
            })
            .collect();
        let mut deadlines = vec![None; 200];
        for (place, sleep) in sleeps.iter().enumerate() {
            deadlines[199 - place] = sleep.deadline;
        }
        drop(said);
        let order: Vec<_> = (0..200).map(|_| deadlines[hear.recv().unwrap()]).collect();
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(timer.0.lock().sleepers.len(), 0);
    }

    #[test]
    fn thousands_of_sleepers_of_many_threads_all_wake() {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                thread::spawn(move || {
                    let sleeps = (0..1000).map(|n| sleep(Duration::from_micros((n * 37 + thread * 11) % 20_000)));
                    block_on(join_all(sleeps)).len()
                })
            })
            .collect();
        assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 4000);
    }

    #[test]
    fn a_dropped_sleep_is_forgotten_and_wakes_nobody() {
        let timer = Timer::new(Duration::from_millis(1));
        let (count, waker) = counter();
        let mut dropped = timer.sleep(Duration::from_millis(5));
        assert!(poll(&mut dropped, &waker).is_pending());
        assert_eq!(timer.0.lock().sleepers.len(), 1);
        drop(dropped);
        assert_eq!(timer.0.lock().sleepers.len(), 0);
        block_on(timer.sleep(Duration::from_millis(20)));
        assert_eq!(count.0.load(SeqCst), 0);
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1, "its waker is not kept");
    }

    #[test]
    fn the_latest_waker_is_the_one_that_is_woken() {
        let timer = Timer::new(Duration::from_millis(1));
        let (first, first_waker) = counter();
        let (second, second_waker) = counter();
        let mut sleep = timer.sleep(Duration::from_millis(30));
        assert!(poll(&mut sleep, &first_waker).is_pending());
        assert!(poll(&mut sleep, &second_waker).is_pending());
        block_on(timer.sleep(Duration::from_millis(60)));
        assert_eq!((first.0.load(SeqCst), second.0.load(SeqCst)), (0, 1));
        assert!(poll(&mut sleep, &first_waker).is_ready());
    }

    #[test]
    fn the_thread_ends_when_idle_and_starts_again() {
        let timer = Timer::new(Duration::from_millis(1));
        for _ in 0..3 {
            block_on(timer.sleep(Duration::from_millis(1)));
            let end = Instant::now() + Duration::from_secs(10);
            while timer.0.lock().running {
                assert!(Instant::now() < end, "the thread stays");
                thread::yield_now();
            }
        }
    }

    #[test]
    fn a_waker_that_panics_harms_nobody_else() {
        struct Bomb;
        impl Wake for Bomb {
            fn wake(self: Arc<Self>) {
                panic!("on purpose");
            }
        }
        let timer = Timer::new(Duration::from_millis(1));
        let mut bomb = timer.sleep(Duration::from_millis(1));
        assert!(poll(&mut bomb, &Arc::new(Bomb).into()).is_pending());
        block_on(timer.sleep(Duration::from_millis(10)));
    }

    #[test]
    fn a_sleep_beyond_the_clock_sleeps_on() {
        let (_, waker) = counter();
        assert!(poll(&mut sleep(Duration::MAX), &waker).is_pending());
    }
}
