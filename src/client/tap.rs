//! A body that is watched while it passes. Keeps no more than a limit; changes nothing of what passes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::stream::Stream;
use http::HeaderMap;

use crate::body::{AsyncBody, Source};
use crate::error::Error;

/// What has passed of a body.
#[derive(Debug)]
pub(super) struct Passed {
    /// What was kept; nothing once more than the limit has passed.
    pub(super) bytes: Vec<u8>,
    limit: usize,
    pub(super) total: u64,
    /// Of all that has passed, kept or not.
    pub(super) hash: Hash,
    pub(super) ending: Ending,
}

/// How far a body was read.
#[derive(Debug)]
pub(super) enum Ending {
    /// Not to its end.
    Open,
    Whole(Option<HeaderMap>),
    Failed(Error),
}

impl Passed {
    fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, total: 0, hash: Hash::default(), ending: Ending::Open }
    }

    pub(super) fn add(&mut self, data: &[u8]) {
        self.total += data.len() as u64;
        self.hash.update(data);
        if self.is_over() {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(data);
        }
    }

    /// Whether more has passed than is kept.
    pub(super) fn is_over(&self) -> bool {
        self.total > self.limit as u64
    }

    /// Of a body in memory.
    pub(super) fn all_of(bytes: &[u8], limit: usize) -> Self {
        let mut passed = Self { ending: Ending::Whole(None), ..Self::new(limit) };
        passed.add(bytes);
        passed
    }
}

/// FNV-1a of 64 bits: small, and the same in every version. It tells bodies apart and guards nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn update(&mut self, data: &[u8]) {
        for byte in data {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Looks at what has passed so far, from outside.
#[derive(Clone, Debug)]
pub(super) struct View(Arc<Mutex<Passed>>);

impl View {
    pub(super) fn lock(&self) -> MutexGuard<'_, Passed> {
        // No code that could panic halfway runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Tap<F: FnOnce(&Passed)> {
    body: AsyncBody,
    /// How long the body was before the first of it passed.
    length: Option<u64>,
    passed: View,
    done: Option<F>,
}

/// Watches a body. `done` is called once: at its end, its failure, or when it is dropped before.
pub(super) fn tap<F: FnOnce(&Passed) + Send + 'static>(body: AsyncBody, limit: usize, done: F) -> (AsyncBody, View) {
    let passed = View(Arc::new(Mutex::new(Passed::new(limit))));
    let length = body.left();
    let tap = Tap { body, length, passed: passed.clone(), done: Some(done) };
    (AsyncBody::from_source(tap), passed)
}

impl<F: FnOnce(&Passed)> Tap<F> {
    fn end(&mut self, ending: Ending) {
        if let Some(done) = self.done.take() {
            let mut passed = self.passed.lock();
            // Whoever knows the length need not ask for the end.
            let all_came = self.length == Some(passed.total);
            passed.ending = match ending {
                Ending::Open if all_came => Ending::Whole(None),
                ending => ending,
            };
            done(&passed);
        }
    }
}

impl<F: FnOnce(&Passed) + Send> Source for Tap<F> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let next = ready!(Pin::new(&mut self.body).poll_next(cx)).transpose().map_err(Error::from);
        match &next {
            Ok(Some(chunk)) => self.passed.lock().add(chunk),
            Ok(None) => self.end(Ending::Whole(self.body.trailers())),
            Err(error) => self.end(Ending::Failed(error.clone())),
        }
        Poll::Ready(next)
    }

    fn length(&self) -> Option<u64> {
        self.length
    }

    fn trailers(&self) -> Option<HeaderMap> {
        self.body.trailers()
    }
}

impl<F: FnOnce(&Passed)> Drop for Tap<F> {
    fn drop(&mut self) {
        self.end(Ending::Open);
    }
}
