//! What a script has started and not waited for. Polled while the script waits for anything, and now and then while it
//! computes; waits for nothing itself.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::stream::FuturesUnordered;

type Work = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Dropping it ends all that is under way.
#[derive(Default)]
pub(super) struct Tasks {
    /// Absent while it is polled: a task that waits itself finds none of the others.
    running: RefCell<Option<FuturesUnordered<Work>>>,
    started: RefCell<Vec<Work>>,
    ended: Cell<u64>,
    failed: Cell<u64>,
}

impl Tasks {
    /// Takes work that is under way. It answers whether it was done well.
    pub(super) fn start(&self, work: impl Future<Output = bool> + Send + 'static) {
        self.started.borrow_mut().push(Box::pin(work));
    }

    /// How many have ended so far, and how many of those not well.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.ended.get(), self.failed.get())
    }

    /// Goes on with those that can.
    pub(super) fn poll(&self, cx: &mut Context<'_>) {
        let none_started = self.started.borrow().is_empty();
        let Some(mut running) = self.running.take().or_else(|| (!none_started).then(FuturesUnordered::new)) else {
            return;
        };
        loop {
            // Not taken: the list keeps its memory.
            running.extend(self.started.borrow_mut().drain(..));
            match running.poll_next_unpin(cx) {
                Poll::Ready(Some(well)) => {
                    self.ended.set(self.ended.get() + 1);
                    self.failed.set(self.failed.get() + u64::from(!well));
                }
                Poll::Ready(None) => return,
                Poll::Pending => break,
            }
        }
        // Those that a task has started and waited for itself.
        let nested = self.running.replace(Some(running));
        self.started.borrow_mut().extend(nested.into_iter().flatten());
    }

    /// Waits for a future, and goes on with these meanwhile.
    pub(super) async fn beside<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            self.poll(cx);
            future.as_mut().poll(cx)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::channel::oneshot;
    use futures::executor::block_on;

    #[test]
    fn tasks_go_on_while_something_is_waited_for() {
        let tasks = Tasks::default();
        let (first, first_seen) = oneshot::channel();
        let (second, second_seen) = oneshot::channel();
        tasks.start(async { first.send(1).is_ok() });
        tasks.start(async move { first_seen.await.is_ok_and(|one| second.send(one + 1).is_ok()) });
        tasks.start(async { false });
        assert_eq!(block_on(tasks.beside(second_seen)), Ok(2));
        assert_eq!(tasks.counts(), (3, 1));
    }

    #[test]
    fn dropping_tasks_ends_them() {
        let tasks = Tasks::default();
        let (held, gone) = oneshot::channel::<()>();
        tasks.start(async move {
            let _held = held;
            std::future::pending().await
        });
        tasks.poll(&mut Context::from_waker(std::task::Waker::noop()));
        drop(tasks);
        assert!(block_on(gone).is_err());
    }
}
