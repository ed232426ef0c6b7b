//! Requests are recorded in a file and replayed from it: the innermost step of a client. Decides nothing about how requests
//! are sent; in replay it sends none.
//!
//! Record once against the real service, then test without it:
//!
//! ```no_run
//! use marmot::cassette::Cassette;
//! use marmot::prelude::*;
//!
//! // The first run records, all later ones replay.
//! let client = HttpClient::builder().cassette(Cassette::auto("tests/rates.jsonl")).build()?;
//! let rates = client.get("https://example.org/rates")?.text()?;
//! # Ok::<(), marmot::Error>(())
//! ```
//!
//! # The file
//!
//! Lines of JSON. The first one is a header, `{"marmot_cassette":1,"program":"marmot 0.1.0"}`; every other one is an
//! exchange: a single attempt or hop of a redirect, since recording happens inside of both.
//!
//! - `request`: `method`, `url`, `headers` as pairs, `body`;
//! - `response`: `status`, `version`, `headers`, `body` (after decompression), `trailers`;
//! - `error`: `kind` as [`ErrorKind::name`], `phase`, `detail`. Beside a response it is the body that failed;
//! - `head_us`, `total_us`: microseconds until the response's head and until the end.
//!
//! A `body` has `text`, or `base64` if it is not UTF-8. A request's body of unknown length is `streamed`; one beyond the
//! limit has only its `length` and `hash` (FNV-1a). A response's body that was dropped before its end is `partial`, and a
//! replay fails with [`ErrorKind::ResponseBodyTruncated`] for whoever reads further. A header's value that is not UTF-8 is
//! an object with `base64`. What is not there was empty.
//!
//! An entry is written in one piece when its response's body has ended or was dropped. A torn last line, as a crash leaves
//! it, is ignored.
//!
//! # Secrets
//!
//! They are replaced by `[redacted]` (a number by 0) before anything is written: `Authorization`, `Proxy-Authorization`,
//! cookies, headers marked as sensitive or named by
//! [`secret_headers`](crate::config::Configurable::secret_headers), and whatever has a name that sounds like a secret (`token`, `api_key`,
//! `password` and so on) in headers, URL queries, forms, multipart forms and JSON. User and password of URLs are left out.
//! A live request is cleaned in the same way before it is compared, so that a replay needs no secrets. What no name gives
//! away is not found: a key that is part of a path, or plain text. Look at a cassette before you publish it.
//!
//! # What is not recorded
//!
//! Transfers run with [`HttpClient::drive`](crate::HttpClient::drive); a client in replay refuses them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Request, Response};

use super::interceptor::{AttemptDeadline, Interceptor, InterceptorFuture, Next};
use super::redact::{Redaction, redaction_methods};
use super::tap::{Ending, Passed};
use super::timer::sleep;
use super::watch::{Exchange, Outcome, watch};
use crate::body::AsyncBody;
use crate::error::{Error, ErrorKind, TimeoutPhase};

mod entry;
mod matching;
mod played;
mod tape;

pub use entry::RecordedRequest;
pub use matching::Match;

use entry::{Content, Entry, Fields, RecordedError, RecordedResponse};
use matching::Matching;
use tape::Tape;

/// Bodies up to this size are recorded.
const LIMIT: usize = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Record,
    Replay,
    Auto,
}

/// A file of recorded exchanges, and how it is used. Given to
/// [`HttpClientBuilder::cassette`](crate::HttpClientBuilder::cassette); the file is opened when the client is built.
///
/// Clones share the file once it is open. Files are written by the thread that reads a response.
#[derive(Clone, Debug)]
#[must_use = "a cassette does nothing until a client has it"]
pub struct Cassette {
    path: PathBuf,
    mode: Mode,
    redaction: Redaction,
    matching: Matching,
    limit: usize,
    reuse: bool,
    keep_timing: bool,
    tape: Arc<Mutex<Option<Arc<Tape>>>>,
}

impl Cassette {
    /// Sends requests and records them. A file that is there is replaced.
    pub fn record(path: impl AsRef<Path>) -> Self {
        Self::new(path.as_ref(), Mode::Record)
    }

    /// Answers requests from the file and sends none. What is not recorded fails with [`ErrorKind::NoRecording`], whose
    /// text names the closest entry and what differs.
    pub fn replay(path: impl AsRef<Path>) -> Self {
        Self::new(path.as_ref(), Mode::Replay)
    }

    /// Answers from the file what is there; sends and records the rest.
    pub fn auto(path: impl AsRef<Path>) -> Self {
        Self::new(path.as_ref(), Mode::Auto)
    }

    fn new(path: &Path, mode: Mode) -> Self {
        Self {
            path: path.to_owned(),
            mode,
            redaction: Redaction::default(),
            matching: Matching::Parts(Match::ALL),
            limit: LIMIT,
            reuse: false,
            keep_timing: false,
            tape: Arc::default(),
        }
    }

    redaction_methods!();

    /// What must be the same for an entry to answer a request. Default: method, URL and body ([`Match::ALL`]).
    pub fn match_on(mut self, parts: Match) -> Self {
        self.matching = Matching::Parts(parts);
        self
    }

    /// A rule of your own instead: whether the first request, which is to be answered, is the second, a recorded one.
    /// Both are without their secrets.
    pub fn match_with(
        mut self,
        rule: impl Fn(&RecordedRequest, &RecordedRequest) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.matching = Matching::Rule(Arc::new(rule));
        self
    }

    /// Whether an entry may answer more than one request. Default: no; equal requests take their entries in the order in
    /// which those ended when they were recorded. If allowed, the last of them answers all further ones.
    pub fn allow_reuse(mut self, allow: bool) -> Self {
        self.reuse = allow;
        self
    }

    /// Whether a replay takes as long as the exchange took when it was recorded. Default: no. Time limits of requests hold
    /// until the response's head.
    pub fn keep_timing(mut self, keep: bool) -> Self {
        self.keep_timing = keep;
        self
    }

    /// The largest body that is recorded, in bytes, and so the memory for one. Default: 16 MiB.
    ///
    /// The caller gets a larger response all the same, but it is not recorded: [`check`](Self::check) tells.
    /// Of a larger request's body the length and a hash are recorded; the hash is of the body as it was sent, so do not set a
    /// limit that is smaller than bodies with short secrets.
    pub fn max_body_size(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Whether all exchanges that have ended were recorded.
    ///
    /// # Errors
    ///
    /// The reason why the first of those that are missing is: [`ErrorKind::TooLarge`] for a body beyond the limit,
    /// [`ErrorKind::Io`] for the file.
    pub fn check(&self) -> Result<(), Error> {
        match self.opened().as_ref().and_then(|tape| tape.failure()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// How many of the entries that were in the file have answered no request yet. 0 before a client has the cassette.
    pub fn unused(&self) -> usize {
        self.opened().as_ref().map_or(0, |tape| tape.unused())
    }

    /// Whether requests are never sent.
    pub(super) fn is_offline(&self) -> bool {
        self.mode == Mode::Replay
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, Option<Arc<Tape>>> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file, unless a clone has, and makes the step.
    pub(super) fn step(self) -> Result<impl Interceptor, Error> {
        let tape = {
            let mut opened = self.opened();
            match &*opened {
                Some(tape) => tape.clone(),
                None => opened.insert(Arc::new(Tape::open(&self.path, self.mode)?)).clone(),
            }
        };
        Ok(Step { cassette: self, tape })
    }
}

struct Step {
    cassette: Cassette,
    tape: Arc<Tape>,
}

impl Interceptor for Step {
    fn intercept<'a>(&'a self, request: Request<AsyncBody>, next: Next<'a>) -> InterceptorFuture<'a> {
        let redaction = self.cassette.redaction.of_request(&next, request.extensions());
        match self.cassette.mode {
            Mode::Record => Box::pin(self.record(request, next, redaction)),
            Mode::Replay | Mode::Auto => Box::pin(self.replay(request, next, redaction)),
        }
    }
}

impl Step {
    /// Sends a request and has it recorded when its response has ended.
    async fn record(
        &self,
        request: Request<AsyncBody>,
        next: Next<'_>,
        redaction: Redaction,
    ) -> Result<Response<AsyncBody>, Error> {
        let (tape, limit) = (self.tape.clone(), self.cassette.limit);
        let learn = self.cassette.mode == Mode::Auto && self.cassette.reuse;
        watch(request, next, redaction, limit, move |exchange, outcome| match entry_of(exchange, outcome, limit) {
            Ok(entry) => {
                tape.append(&entry);
                if learn {
                    tape.learn(entry);
                }
            }
            Err(error) => tape.fail(error),
        })
        .await
    }

    /// Answers a request from the tape. What is not there is sent, or fails.
    async fn replay(
        &self,
        request: Request<AsyncBody>,
        next: Next<'_>,
        redaction: Redaction,
    ) -> Result<Response<AsyncBody>, Error> {
        let cassette = &self.cassette;
        let (parts, body) = request.into_parts();
        let failed = |error: Error| Error::new(ErrorKind::RequestBody).with_source(error).with_url(&parts.uri);
        let read = match cassette.matching.needs_body() {
            true => played::read(body, cassette.limit, cassette.is_offline()).await.map_err(failed)?,
            false => played::Read { passed: Some(Passed::all_of(&[], 0)), body },
        };
        let mut found = None;
        if let Some(passed) = read.passed {
            let live = live(&parts, &passed, &redaction);
            found = self.tape.take(&live, &cassette.matching, cassette.reuse);
            if found.is_none() && cassette.is_offline() {
                return Err(self.tape.explain(&live, &cassette.matching));
            }
        }
        match found {
            Some(entry) => {
                let deadline = [next.deadline(), parts.extensions.get().map(|AttemptDeadline(at)| *at)];
                self.answer(&entry, &parts, deadline.into_iter().flatten().min()).await
            }
            None => self.record(Request::from_parts(parts, read.body), next, redaction).await,
        }
    }

    async fn answer(
        &self,
        entry: &Entry,
        request: &Parts,
        deadline: Option<Instant>,
    ) -> Result<Response<AsyncBody>, Error> {
        let mut body_delay = None;
        if self.cassette.keep_timing {
            let wait = Duration::from_micros(entry.head_us);
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            match left.filter(|left| *left < wait) {
                Some(left) => {
                    sleep(left).await;
                    return Err(Error::timeout(TimeoutPhase::Response).with_url(&request.uri));
                }
                None => sleep(wait).await,
            }
            body_delay = Some(Duration::from_micros(entry.total_us.saturating_sub(entry.head_us)));
        }
        let error = entry.error.as_ref().map(|error| error.to_error().with_url(&request.uri));
        match (&entry.response, error) {
            (Some(response), error) => played::response(response, error, request, body_delay),
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::new(ErrorKind::InvalidConfiguration)
                .with_detail("the recorded exchange has neither a response nor an error")
                .with_url(&request.uri)),
        }
    }
}

/// The request as it is compared with recorded ones.
fn live(parts: &Parts, passed: &Passed, redaction: &Redaction) -> RecordedRequest {
    let body = Content::new(passed, &parts.headers, redaction);
    entry::request(&parts.method, redaction.url(&parts.uri), &parts.headers, body, redaction)
}

/// The entry of a request that is over.
fn entry_of(exchange: &Exchange, outcome: Outcome<'_>, limit: usize) -> Result<Entry, Error> {
    let redaction = &exchange.redaction;
    let (method, uri, headers) = (exchange.request.method(), exchange.request.uri(), exchange.request.headers());
    let (response, error) = match outcome {
        Outcome::Failed(error) => (None, Some(error)),
        Outcome::Responded(_, passed) if passed.is_over() => {
            let detail = format!("the response has more than the {limit} bytes that are recorded");
            return Err(Error::new(ErrorKind::TooLarge).with_detail(detail).with_url(uri));
        }
        Outcome::Responded(head, passed) => {
            let (trailers, error) = match &passed.ending {
                Ending::Whole(trailers) => (trailers.as_ref(), None),
                Ending::Failed(error) => (None, Some(error)),
                Ending::Open => (None, None),
            };
            let response = RecordedResponse {
                status: head.status().as_u16(),
                version: entry::version_name(head.version()),
                headers: Fields(redaction.headers(head.headers())),
                body: Content::new(passed, head.headers(), redaction),
                trailers: trailers.map(|trailers| Fields(redaction.headers(trailers))),
            };
            (Some(response), error)
        }
    };
    let body =
        exchange.look_at_body(|passed, streamed| Content { streamed, ..Content::new(passed, headers, redaction) });
    Ok(Entry {
        request: entry::request(method, redaction.url(uri), headers, body, redaction),
        response,
        error: error.map(|error| RecordedError::new(error, redaction)),
        head_us: micros(exchange.head_time),
        total_us: micros(exchange.elapsed()),
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
