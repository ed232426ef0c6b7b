//! Time limits that libcurl has not: for resolving, for the response, for a stall. Pure: time and progress are parameters.

use std::time::{Duration, Instant};

use crate::config::RequestConfig;
use crate::error::TimeoutPhase;

/// How often in the course of a limit progress is looked at: a limit is kept to one part in so many.
const LOOKS: u32 = 10;
const SHORTEST_LOOK: Duration = Duration::from_millis(5);

/// Watches one transfer. Exists only where one of its limits is set.
#[derive(Debug)]
pub(super) struct Watch {
    resolve: Option<Duration>,
    response: Option<Duration>,
    stall: Option<Duration>,
    started: Instant,
    /// The start of the clock of resolving.
    resolving: Instant,
    /// What had moved when it was looked at last, and when it was seen to have changed.
    moved: u64,
    changed: Instant,
    /// A stall was seen at the last look. It counts at the next one only: a thread that was kept from running for a while
    /// looks at its clock before it looks at its sockets.
    suspected: bool,
    next: Instant,
}

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// It waits for a connection to become free.
    pub(crate) waiting: bool,
    pub(crate) resolved: bool,
    /// How long after its start the transfer had sent the request to its end.
    pub(crate) sent: Option<Duration>,
    /// Bytes moved in both directions.
    pub(crate) moved: u64,
    /// The request goes out on a connection.
    pub(crate) connected: bool,
}

impl Watch {
    pub(super) fn new(config: &RequestConfig, now: impl FnOnce() -> Instant) -> Option<Self> {
        let resolve = config.resolve_timeout.flatten();
        let response = config.response_timeout.flatten();
        let stall = config.stall_timeout.flatten();
        let first = [resolve, response, stall].into_iter().flatten().min()?;
        let now = now();
        let next = now.checked_add(first)?;
        Some(Self {
            resolve,
            response,
            stall,
            started: now,
            resolving: now,
            moved: 0,
            changed: now,
            suspected: false,
            next,
        })
    }

    /// When to look.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Looks. `held_up` tells that this side does not want to read or has nothing to write now. Returns the limit that
    /// was passed.
    pub(super) fn look(
        &mut self,
        now: Instant,
        progress: Progress,
        responded: bool,
        held_up: bool,
    ) -> Option<(TimeoutPhase, Duration)> {
        if progress.waiting {
            // The clock of resolving starts with the connection.
            self.resolving = now;
        }
        if progress.moved != self.moved || held_up || !progress.connected {
            self.moved = progress.moved;
            self.changed = now;
            self.suspected = false;
        }
        let mut next: Option<Duration> = None;
        let mut ask_again = |left: Duration| next = Some(next.map_or(left, |next| next.min(left)));
        if let Some(limit) = self.resolve.filter(|_| !progress.resolved) {
            match limit.checked_sub(now.saturating_duration_since(self.resolving)) {
                None | Some(Duration::ZERO) => return Some((TimeoutPhase::NameResolution, limit)),
                Some(left) => ask_again(left),
            }
        }
        if let Some(limit) = self.response.filter(|_| !responded) {
            let since = |sent| now.saturating_duration_since(self.started + sent);
            match limit.checked_sub(progress.sent.map_or(Duration::ZERO, since)) {
                None | Some(Duration::ZERO) => return Some((TimeoutPhase::Response, limit)),
                Some(left) => ask_again(if progress.sent.is_some() { left } else { limit / LOOKS }),
            }
        }
        if let Some(limit) = self.stall {
            let still = now.saturating_duration_since(self.changed);
            match limit.checked_sub(still) {
                None | Some(Duration::ZERO) if self.suspected => return Some((TimeoutPhase::Stall, limit)),
                None | Some(Duration::ZERO) => {
                    self.suspected = true;
                    ask_again(limit / LOOKS);
                }
                Some(left) => ask_again(left.min(limit / LOOKS)),
            }
        }
        // With nothing left to watch it looks no more.
        let wait = next.map_or(Duration::from_secs(1 << 30), |next| next.max(SHORTEST_LOOK));
        self.next = now + wait;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch(change: impl FnOnce(&mut RequestConfig), now: Instant) -> Watch {
        let mut config = RequestConfig::default();
        change(&mut config);
        Watch::new(&config, || now).unwrap()
    }

    #[test]
    fn without_limits_there_is_no_watch() {
        assert!(Watch::new(&RequestConfig::default(), Instant::now).is_none());
    }

    #[test]
    fn a_name_must_be_resolved_in_time() {
        let start = Instant::now();
        let mut watch = watch(|config| config.resolve_timeout = Some(Some(SECOND)), start);
        assert_eq!(watch.next(), start + SECOND);
        let unresolved = Progress::default();
        assert_eq!(watch.look(start + SECOND / 2, unresolved, false, false), None);
        assert_eq!(watch.look(start + SECOND, unresolved, false, false), Some((TimeoutPhase::NameResolution, SECOND)));
        let resolved = Progress { resolved: true, ..unresolved };
        assert_eq!(watch.look(start + 9 * SECOND, resolved, false, false), None);
        assert!(watch.next() > start + 1000 * SECOND);
        let waiting = Progress { waiting: true, ..unresolved };
        assert_eq!(watch.look(start + 10 * SECOND, waiting, false, false), None, "waiting is not resolving");
    }

    #[test]
    fn the_response_is_due_after_the_request_was_sent() {
        let start = Instant::now();
        let mut watch = watch(|config| config.response_timeout = Some(Some(SECOND)), start);
        let sending = Progress { resolved: true, connected: true, ..Progress::default() };
        assert_eq!(watch.look(start + 60 * SECOND, sending, false, false), None, "a long upload is no late response");
        assert!(watch.next() <= start + 61 * SECOND);
        let sent = Progress { sent: Some(60 * SECOND + SECOND / 2), ..sending };
        assert_eq!(watch.look(start + 61 * SECOND, sent, false, false), None);
        assert_eq!(watch.next(), start + 61 * SECOND + SECOND / 2);
        let late = watch.look(start + 61 * SECOND + SECOND / 2, sent, false, false);
        assert_eq!(late, Some((TimeoutPhase::Response, SECOND)));
        assert_eq!(watch.look(start + 63 * SECOND, sent, true, false), None);
    }

    #[test]
    fn a_stall_is_a_time_in_which_nothing_moved_and_nobody_held_it_up() {
        let start = Instant::now();
        let mut watch = watch(|config| config.stall_timeout = Some(Some(SECOND)), start);
        let at = |moved| Progress { moved, connected: true, ..Progress::default() };
        assert_eq!(watch.look(start + SECOND / 2, at(10), false, false), None);
        assert_eq!(watch.look(start + SECOND, at(20), true, false), None);
        assert_eq!(watch.look(start + SECOND * 3 / 2, at(20), true, false), None);
        assert_eq!(watch.look(start + SECOND * 2, at(20), true, true), None, "the reader pauses");
        assert_eq!(watch.look(start + SECOND * 29 / 10, at(20), true, false), None);
        assert_eq!(watch.look(start + SECOND * 3, at(20), true, false), None, "once is a suspicion");
        assert_eq!(watch.next(), start + SECOND * 31 / 10);
        assert_eq!(watch.look(start + SECOND * 31 / 10, at(20), true, false), Some((TimeoutPhase::Stall, SECOND)));
        // A thread that was kept from running for long, and what came meanwhile.
        assert_eq!(watch.look(start + SECOND * 4, at(30), true, false), None);
        assert_eq!(watch.look(start + SECOND * 8, at(30), true, false), None);
        assert_eq!(watch.look(start + SECOND * 81 / 10, at(40), true, false), None);
        assert_eq!(watch.look(start + SECOND * 9, at(40), true, false), None);
        let connecting = Progress { connected: false, ..at(20) };
        assert_eq!(watch.look(start + SECOND * 9, connecting, false, false), None, "that is connect_timeout's");
    }
}
