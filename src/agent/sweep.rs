//! Makes libcurl look again: at idle connections, and at transfers that wait for one. Sends nothing.
//!
//! Both are done by a transfer to nowhere, which is refused its socket and fails at once. On its way libcurl looks for a
//! connection that it could use, and lets one of those who wait try again.
//!
//! libcurl looks at idle connections only when it looks for one to use. A client that makes no request would keep
//! connections that their servers have closed for good. So when an idle agent hears something on an idle connection, it
//! sweeps.
//!
//! A request that may share a connection (`CURLOPT_PIPEWAIT`) waits while the first one is made. When that turns out to
//! be HTTP/1.1, or fails, libcurl tells nobody: who waits would wait until the response ahead is complete. The questions
//! of DNS over HTTPS, transfers of libcurl's own, wait in the same way. [`Waiting`] keeps an eye on them.

use std::ops::Deref;
use std::time::{Duration, Instant};

use curl::easy::{Easy2, Handler};
use curl::multi::Message;
use libc::c_int;

use crate::ffi::multi::{Attached, Multi};

/// libcurl looks at its idle connections once a second at most.
const PAUSE: Duration = Duration::from_millis(1100);
/// How soon those who wait for a connection are looked after first, and how seldom at most.
const SOON: Duration = Duration::from_millis(25);
const SELDOM: Duration = Duration::from_secs(1);
/// What the sweep's transfer is called among the slots.
pub(super) const TOKEN: usize = usize::MAX;

#[derive(Default)]
pub(super) struct Sweeper {
    running: Option<Attached<Nowhere>>,
    last: Option<Instant>,
}

struct Nowhere;

impl Handler for Nowhere {
    fn open_socket(&mut self, _family: c_int, _kind: c_int, _protocol: c_int) -> Option<curl::multi::Socket> {
        None
    }
}

impl Sweeper {
    /// When the next sweep may be: at any time if there has been none.
    pub(super) fn due(&self) -> Option<Instant> {
        self.last.map(|last| last + PAUSE)
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts a sweep. What fails here is tried again a second later.
    pub(super) fn start(&mut self, multi: &Multi, now: Instant) {
        self.last = Some(now);
        let mut easy = Easy2::new(Nowhere);
        let ready = easy.url("http://127.0.0.1:9/").and_then(|()| easy.proxy(""));
        let ready = ready.and_then(|()| easy.timeout(Duration::from_secs(1)));
        if ready.is_ok()
            && let Ok(mut easy) = multi.add2(easy)
        {
            let _ = easy.set_token(TOKEN);
            self.running = Some(Attached::new(easy));
        }
    }

    /// Whether the message says that the sweep is over.
    pub(super) fn is_over(&self, message: &Message<'_>) -> bool {
        self.running.as_ref().is_some_and(|easy| message.is_for2(easy))
    }

    pub(super) fn end(&mut self, multi: &Multi) {
        if let Some(easy) = self.running.take() {
            let _ = multi.remove2(easy.into_inner());
        }
    }
}

/// Transfers that may wait for a connection that is being made.
#[derive(Default)]
pub(super) struct Waiting {
    slots: Vec<usize>,
    /// When to look, and how long to wait after that.
    next: Option<(Instant, Duration)>,
}

impl Waiting {
    pub(super) fn add(&mut self, slot: usize, now: Instant) {
        self.slots.push(slot);
        // A new one is looked after soon, however long the others have been waiting; but a stream of new ones does not
        // put the look off.
        let soon = now + SOON;
        self.next = Some((self.next.map_or(soon, |(at, _)| at.min(soon)), SOON));
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.next.map(|(at, _)| at)
    }

    /// Looks at the transfers, if it is time: forgets those that `waits` no longer holds of. Returns whether some are left. Asks
    /// for the time only if there are any.
    pub(super) fn look(&mut self, now: &impl Deref<Target = Instant>, waits: impl Fn(usize) -> bool) -> bool {
        let Some((at, pause)) = self.next.filter(|(at, _)| *at <= **now) else { return false };
        self.slots.retain(|slot| waits(*slot));
        let pause = (pause * 2).min(SELDOM);
        self.next = (!self.slots.is_empty()).then(|| (at.max(**now) + pause, pause));
        self.next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_wait_are_looked_after_ever_more_seldom_until_none_is_left() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut waiting = Waiting::default();
        assert_eq!(waiting.due(), None);
        waiting.add(1, start);
        waiting.add(2, start);
        assert!(!waiting.look(&&at(24), |_| true));
        assert!(waiting.look(&&at(25), |_| true));
        assert_eq!(waiting.due(), Some(at(75)));
        assert!(waiting.look(&&at(75), |slot| slot == 2));
        assert_eq!(waiting.due(), Some(at(175)));
        waiting.add(3, at(150));
        assert_eq!(waiting.due(), Some(at(175)));
        waiting.add(4, at(170));
        assert_eq!(waiting.due(), Some(at(175)), "new ones do not put it off");
        assert!(!waiting.look(&&at(175), |_| false));
        assert_eq!(waiting.due(), None);
    }
}
