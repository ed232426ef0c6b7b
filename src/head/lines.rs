//! The memory of a head, used again by another one. Knows nothing of its contents.

use std::sync::Mutex;

use http::{StatusCode, Version};

use super::Facts;
use super::parser::Framing;

/// Bytes of the fields that a usual head has, and the most that are kept.
const USUAL: usize = 512;
const MOST: usize = 4 << 10;
/// How many are kept.
const KEEP: usize = 128;

/// One thread writes a head and another one reads it. If the reader freed its memory, the two would wait for each other's
/// lock on the allocator: 5 to 8 % of the time of 64 requests at once.
///
/// Nobody waits for this lock either, not even where a fork left it locked.
#[allow(clippy::vec_box, reason = "what moves between threads is the box")]
static SPARE: Mutex<Vec<Box<Lines>>> = Mutex::new(Vec::new());

/// What a head holds.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) version: Version,
    pub(super) status: StatusCode,
    /// Field lines, each with its line feed.
    pub(super) fields: Vec<u8>,
    pub(super) framing: Framing,
    pub(super) content_length: Option<u64>,
    pub(super) facts: Option<Facts>,
}

impl Lines {
    /// Room for a head.
    pub(super) fn take() -> Box<Self> {
        let spare = SPARE.try_lock().ok().and_then(|mut spare| spare.pop());
        spare.unwrap_or_else(|| Box::new(Self { fields: Vec::with_capacity(USUAL), ..Self::default() }))
    }

    /// Keeps the memory for the next head.
    pub(super) fn keep(mut lines: Box<Self>) {
        lines.fields.clear();
        lines.framing = Framing::default();
        lines.content_length = None;
        lines.facts = None;
        if lines.fields.capacity() <= MOST
            && let Ok(mut spare) = SPARE.try_lock()
            && spare.len() < KEEP
        {
            spare.push(lines);
        }
    }
}
