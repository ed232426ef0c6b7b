//! What passes through a client, exported as an HTTP Archive (HAR 1.2), which browsers and debugging proxies open. Keeps the
//! latest requests in memory, within bounds; sends nothing and answers nothing.
//!
//! ```no_run
//! use marmot::har::HarRecorder;
//! use marmot::prelude::*;
//!
//! let recorder = HarRecorder::new();
//! let client = HttpClient::builder().har(recorder.clone()).build()?;
//! let text = client.get("https://example.org/")?.text()?;
//! recorder.save("session.har")?;
//! # Ok::<(), marmot::Error>(())
//! ```
//!
//! Each attempt and each hop of a redirect is an entry, complete when its response's body has ended or was dropped. Secrets
//! are replaced as in a [cassette](crate::cassette#secrets). Transfers run with
//! [`HttpClient::drive`](crate::HttpClient::drive) are not seen.
//!
//! Times are those of [`Metrics`](crate::Metrics), in milliseconds: `blocked` is the time before libcurl began and the way of the
//! answer to the caller; `send` ends when the request is about to go out, and sending it is part of `wait`, because libcurl
//! tells no more. Without a transfer (a replayed request, a failed one) only `wait` and `receive` are known.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::Request;
use serde_json::{Value, json};

use super::interceptor::{Interceptor, InterceptorFuture, Next};
use super::redact::{Redaction, redaction_methods};
use super::watch::watch;
use crate::body::AsyncBody;
use crate::config::RequestConfig;
use crate::error::{Error, ErrorKind};

mod entry;

/// The most entries that are kept.
const ENTRIES: usize = 1000;
/// The largest body that is kept.
const BODY: usize = 1 << 20;

/// Keeps requests and responses for export. Given to [`HttpClientBuilder::har`](crate::HttpClientBuilder::har); clones share
/// what they keep, those of several clients too.
#[derive(Clone, Debug)]
#[must_use = "a recorder does nothing until a client has it"]
pub struct HarRecorder {
    redaction: Redaction,
    max_entries: usize,
    max_body: usize,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// In the order in which they ended.
    entries: VecDeque<(SystemTime, Value)>,
    dropped: u64,
}

impl Default for HarRecorder {
    fn default() -> Self {
        Self::new()
    }
}

impl HarRecorder {
    /// A recorder that keeps the latest 1,000 requests, with bodies up to 1 MiB.
    pub fn new() -> Self {
        Self { redaction: Redaction::default(), max_entries: ENTRIES, max_body: BODY, kept: Arc::default() }
    }

    redaction_methods!();

    /// The most requests that are kept; beyond it the oldest is dropped. Default: 1,000.
    pub fn max_entries(mut self, most: usize) -> Self {
        self.max_entries = most;
        self
    }

    /// The largest body that is kept, in bytes. Of a larger one there is only its size. Default: 1 MiB.
    pub fn max_body_size(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// How many requests are kept.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether no request is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all requests.
    pub fn clear(&self) {
        *self.lock() = Kept::default();
    }

    /// The archive, as JSON text. Entries are in the order in which their requests began.
    pub fn to_json(&self) -> String {
        let (mut entries, dropped) = {
            let kept = self.lock();
            (Vec::from_iter(kept.entries.iter().cloned()), kept.dropped)
        };
        entries.sort_by_key(|(began, _)| *began);
        let mut log = json!({
            "version": "1.2",
            "creator": { "name": "marmot", "version": env!("CARGO_PKG_VERSION") },
            "entries": entries.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>(),
        });
        if dropped > 0 {
            log["comment"] = format!("{dropped} older entries were dropped").into();
        }
        json!({ "log": log }).to_string()
    }

    /// Writes the archive to a file. One that is there is replaced.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] for those of the file system.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        std::fs::write(path, self.to_json()).map_err(|error| {
            Error::new(ErrorKind::Io).with_detail(format!("the archive `{}`", path.display())).with_source(error)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // No code that could panic halfway runs under the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, began: SystemTime, entry: Value) {
        let mut kept = self.lock();
        kept.entries.push_back((began, entry));
        while kept.entries.len() > self.max_entries {
            kept.entries.pop_front();
            kept.dropped += 1;
        }
    }
}

impl Interceptor for HarRecorder {
    fn intercept<'a>(&'a self, mut request: Request<AsyncBody>, next: Next<'a>) -> InterceptorFuture<'a> {
        let redaction = self.redaction.of_request(&next, request.extensions());
        // The request's own settings win over the client's: this one is measured whatever they say.
        request.extensions_mut().get_or_insert_default::<RequestConfig>().metrics = Some(true);
        let recorder = self.clone();
        Box::pin(watch(request, next, redaction, self.max_body, move |exchange, outcome| {
            let (began, entry) = entry::of(exchange, outcome);
            recorder.keep(began, entry);
        }))
    }
}
