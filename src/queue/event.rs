//! What is told of a job while it runs, in numbered events. Keeps the last of them, within bounds.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Settings;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The job waits.
    Queued,
    /// A worker has begun with it: `{worker, attempt}`.
    Started,
    /// The script has printed: `{text}`; by `debug`: `{text, debug: true}`.
    Log,
    /// A request of the script has ended.
    Http,
    /// The job has ended: its outcome and state.
    Result,
}

impl EventKind {
    /// Its name, as JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Started => "started",
            Self::Log => "log",
            Self::Http => "http",
            Self::Result => "result",
        }
    }
}

/// An event, before it has a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// What it is about.
    pub kind: EventKind,
    /// When it was.
    pub at: u64,
    /// What it says.
    pub data: Value,
}

/// An event of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number among those of the job, from 1, without gaps.
    pub seq: u64,
    /// What it is about.
    pub kind: EventKind,
    /// When it was.
    pub at: u64,
    /// What it says.
    pub data: Value,
}

/// Some events of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Events {
    /// In order.
    pub events: Vec<Event>,
    /// How many before these were asked for and are not kept any more.
    pub missed: u64,
    /// The job has ended, and nothing comes after these.
    pub ended: bool,
}

/// The last events of a job.
#[derive(Clone, Debug, Default)]
pub(super) struct EventLog {
    kept: VecDeque<(Event, usize)>,
    bytes: usize,
    last: u64,
}

impl EventLog {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, event: NewEvent, settings: &Settings) {
        self.last += 1;
        let size = serde_json::to_vec(&event.data).map_or(0, |text| text.len()) + 64;
        let NewEvent { kind, at, data } = event;
        self.kept.push_back((Event { seq: self.last, kind, at, data }, size));
        self.bytes += size;
        // The last one is always kept: it may be the result.
        while self.kept.len() > 1 && (self.kept.len() > settings.events || self.bytes > settings.event_bytes) {
            if let Some((_, size)) = self.kept.pop_front() {
                self.bytes -= size;
            }
        }
    }

    /// Those from a number on. `ended`: nothing comes behind what is kept.
    pub(super) fn from(&self, from: u64, most: usize, ended: bool) -> Events {
        let from = from.max(1);
        let first = self.kept.front().map_or(self.last + 1, |(event, _)| event.seq);
        let skipped = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let events: Vec<Event> = self.kept.iter().skip(skipped).take(most).map(|(event, _)| event.clone()).collect();
        let reached = events.last().map_or(from.saturating_sub(1), |event| event.seq);
        Events { missed: first.saturating_sub(from), ended: ended && reached >= self.last, events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: u64, settings: &Settings) -> EventLog {
        let mut log = EventLog::default();
        for line in 1..=lines {
            log.push(NewEvent { kind: EventKind::Log, at: 0, data: line.into() }, settings);
        }
        log
    }

    #[test]
    fn events_are_kept_within_bounds_and_what_was_missed_is_counted() {
        let settings = Settings { events: 10, ..Settings::default() };
        let log = log(25, &settings);
        let events = log.from(1, 100, false);
        assert_eq!(events.missed, 15);
        assert_eq!(events.events.iter().map(|event| event.seq).collect::<Vec<_>>(), (16..=25).collect::<Vec<_>>());
        let page = log.from(18, 3, true);
        assert_eq!((page.missed, page.events[0].seq, page.events.len(), page.ended), (0, 18, 3, false));
        assert!(log.from(23, 3, true).ended);
        assert!(log.from(26, 3, true).events.is_empty() && log.from(26, 3, true).ended);
    }

    #[test]
    fn large_events_push_out_others_but_never_themselves() {
        let settings = Settings { event_bytes: 1_000, ..Settings::default() };
        let mut log = log(3, &settings);
        log.push(NewEvent { kind: EventKind::Result, at: 0, data: "x".repeat(5_000).into() }, &settings);
        assert_eq!(log.from(1, 9, true).events.iter().map(|event| event.seq).collect::<Vec<_>>(), [4]);
    }
}
