//! Waking a transfer from any thread. Holds no lock while it wakes.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::next::Wish;
use super::{Next, Ready};
use crate::body::exchange::Upstream;
use crate::error::{Error, ErrorKind};

const READ: u8 = 1;
const WRITE: u8 = 2;
const END: u8 = 4;
const REMOVE: u8 = 8;
/// The transfer itself asks the agent to look at it.
const LOOK: u8 = 16;
/// A timeout that is running ends, or is replaced.
const RESET: u8 = 32;
/// The transfer is over.
const OVER: u8 = 128;

/// Wakes a transfer whose handler waits. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Control(Arc<Shared>);

struct Shared {
    /// What was asked for and not yet taken.
    asked: AtomicU8,
    timeout: Mutex<Option<Duration>>,
    /// Reaches the agent; set when the transfer is handed to it.
    waker: OnceLock<Waker>,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { asked: AtomicU8::new(0), timeout: Mutex::new(None), waker: OnceLock::new() }))
    }

    /// Lets the transfer go on. Several calls before the agent looks add up.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`] if the transfer is over.
    pub fn ready(&self, ready: Ready) -> Result<(), Error> {
        if self.0.ask(ready) {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Cancelled).with_detail("the transfer is over"))
        }
    }

    /// Whether the transfer is over.
    pub fn is_over(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst) & OVER != 0
    }

    /// A waker that lets the transfer write.
    pub(crate) fn write_waker(&self) -> Waker {
        Arc::new(WriteWaker(self.0.clone())).into()
    }

    pub(crate) fn upstream(&self) -> Arc<dyn Upstream> {
        self.0.clone()
    }

    /// Connects the control with the agent. What was asked before is found by the agent's next [`take`](Self::take).
    pub(crate) fn attach(&self, waker: Waker) {
        let _ = self.0.waker.set(waker);
    }

    /// Makes the agent look at the transfer at its next turn.
    pub(crate) fn look(&self) {
        self.0.post(LOOK);
    }

    /// What was asked since the last call.
    pub(crate) fn take(&self) -> Option<Ready> {
        let asked = self.0.asked.fetch_and(OVER, Ordering::SeqCst) & !(OVER | LOOK);
        if asked == 0 {
            return None;
        }
        let wish = if asked & REMOVE != 0 {
            Wish::Remove
        } else if asked & END != 0 {
            Wish::End
        } else {
            Wish::Go { read: asked & READ != 0, write: asked & WRITE != 0 }
        };
        let timeout = self.0.timeout.lock().unwrap_or_else(PoisonError::into_inner).take();
        Some(Ready(Next { wish, timeout, keep: asked & RESET == 0 }))
    }

    pub(crate) fn set_over(&self) {
        self.0.asked.fetch_or(OVER, Ordering::SeqCst);
    }
}

impl Shared {
    /// Returns whether the transfer still stands.
    fn ask(&self, Ready(next): Ready) -> bool {
        if let Some(timeout) = next.timeout {
            *self.timeout.lock().unwrap_or_else(PoisonError::into_inner) = Some(timeout);
        }
        let wish = match next.wish {
            Wish::Go { read, write } => (u8::from(read) * READ) | (u8::from(write) * WRITE),
            Wish::End => END,
            Wish::Remove => REMOVE,
        };
        self.post(wish | (u8::from(!next.keep) * RESET))
    }

    fn post(&self, bits: u8) -> bool {
        let before = self.asked.fetch_or(bits, Ordering::SeqCst);
        // The first to ask wakes; the others find their wish taken along.
        if before == 0
            && let Some(waker) = self.waker.get()
        {
            waker.wake_by_ref();
        }
        before & OVER == 0
    }
}

impl Upstream for Shared {
    fn more(&self) {
        self.ask(Ready::read());
    }

    fn abandon_body(&self) {
        self.ask(Ready::end());
    }

    fn abandon_response(&self) {
        self.ask(Ready::remove());
    }
}

struct WriteWaker(Arc<Shared>);

impl Wake for WriteWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.ask(Ready::write());
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("over", &self.is_over()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn wishes_add_up_and_wake_once() {
        let control = Control::new();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        control.attach(count.clone().into());
        control.ready(Ready::read()).unwrap();
        control.ready(Ready::write().timeout(Duration::from_secs(1))).unwrap();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(control.take(), Some(Ready(Next::read_and_write().timeout(Duration::from_secs(1)))));
        assert_eq!(control.take(), None);
        control.ready(Ready::read()).unwrap();
        control.ready(Ready::remove()).unwrap();
        assert_eq!(control.take(), Some(Ready::remove()));
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn wakes_leave_a_timeout_alone_only_if_all_of_them_do() {
        let control = Control::new();
        control.ready(Ready::read().keeping()).unwrap();
        assert_eq!(control.take(), Some(Ready::read().keeping()));
        control.ready(Ready::read().keeping()).unwrap();
        control.ready(Ready::write()).unwrap();
        assert_eq!(control.take(), Some(Ready::read_and_write()));
    }

    #[test]
    fn what_is_asked_before_the_agent_knows_the_transfer_is_not_lost() {
        let control = Control::new();
        control.ready(Ready::remove()).unwrap();
        control.attach(Waker::noop().clone());
        assert_eq!(control.take(), Some(Ready::remove()));
    }

    #[test]
    fn a_control_of_a_finished_transfer_says_so() {
        let control = Control::new();
        control.set_over();
        assert_eq!(control.ready(Ready::read()).unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
