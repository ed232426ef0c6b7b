//! Looks after idle connections while nothing else does: closes dead ones, lets HTTP/2 hear its peer. Sends nothing.
//!
//! libcurl looks at idle connections only when it looks for one to use. A client that makes no request would keep
//! connections that their servers have closed for good. So when an idle agent hears something on an idle connection, it
//! makes libcurl look for one: with a transfer to nowhere, which is refused its socket and fails at once.

use std::time::{Duration, Instant};

use curl::easy::{Easy2, Handler};
use curl::multi::{Easy2Handle, Message, Multi};
use libc::c_int;

/// libcurl looks at its idle connections once a second at most.
const PAUSE: Duration = Duration::from_millis(1100);
/// What the sweep's transfer is called among the slots.
pub(super) const TOKEN: usize = usize::MAX;

#[derive(Default)]
pub(super) struct Sweeper {
    running: Option<Easy2Handle<Nowhere>>,
    last: Option<Instant>,
}

struct Nowhere;

impl Handler for Nowhere {
    fn open_socket(&mut self, _family: c_int, _kind: c_int, _protocol: c_int) -> Option<curl::multi::Socket> {
        None
    }
}

impl Sweeper {
    /// When the next sweep may be.
    pub(super) fn due(&self, now: Instant) -> Instant {
        self.last.map_or(now, |last| last + PAUSE)
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
            self.running = Some(easy);
        }
    }

    /// Whether the message says that the sweep is over.
    pub(super) fn is_over(&self, message: &Message<'_>) -> bool {
        self.running.as_ref().is_some_and(|easy| message.is_for2(easy))
    }

    pub(super) fn end(&mut self, multi: &Multi) {
        if let Some(easy) = self.running.take() {
            let _ = multi.remove2(easy);
        }
    }
}
