//! Server-sent events (WHATWG HTML 9.2): a stream that connects again by itself. Parses nothing itself, starts no thread
//! but the timer's, and needs no runtime.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use futures::stream::{FusedStream, Stream};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, Uri};

use super::backoff::{self, Backoff};
use super::events_blocking::BlockingEvents;
use super::sse::{Event, Parser};
use super::timer::{Sleep, sleep};
use super::{HttpClient, Inner, ResponseFuture, to_uri};
use crate::body::AsyncBody;
use crate::config::{RedirectPolicy, RequestConfig};
use crate::error::{Error, ErrorKind, TimeoutPhase};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: &str = "text/event-stream";
/// Before the stream says another with `retry`.
const RETRY: Duration = Duration::from_secs(3);
const MOST_RETRY: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 10;
const EVENT_SIZE: usize = 1 << 20;
const REDIRECTS: u32 = 10;
/// Pieces without an event that one poll reads before it lets others go first: a stream may be all comments.
const PIECES: usize = 32;

impl HttpClient {
    /// The events of a URL, from now on. The request starts when the stream is first polled.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] for what is no URL.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::StreamExt;
    /// use marmot::HttpClient;
    ///
    /// # async fn example() -> Result<(), marmot::Error> {
    /// let mut events = HttpClient::new()?.events("https://example.org/news")?;
    /// while let Some(event) = events.next().await {
    ///     println!("{}", event?.data);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn events<U>(&self, uri: U) -> Result<EventStream, Error>
    where
        Uri: TryFrom<U>,
        <Uri as TryFrom<U>>::Error: Into<http::Error>,
    {
        let mut request = Request::new(());
        *request.uri_mut() = to_uri(uri)?;
        Ok(self.events_with(request))
    }

    /// The events that the response to a request brings: one with headers, settings, or a method and a body of its own.
    ///
    /// A body that can be read only once allows no second attempt.
    pub fn events_with<B: Into<AsyncBody>>(&self, request: Request<B>) -> EventStream {
        let (parts, body) = request.into_parts();
        EventStream::new(self.inner.clone(), parts, body.into())
    }

    /// As [`events`](Self::events), for a thread that may block.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn events_blocking<U>(&self, uri: U) -> Result<BlockingEvents, Error>
    where
        Uri: TryFrom<U>,
        <Uri as TryFrom<U>>::Error: Into<http::Error>,
    {
        self.events(uri).map(EventStream::blocking)
    }
}

/// Server-sent events, as a `Stream` under any executor. It connects again by itself, and goes on after the last event.
///
/// - A connection that ends or breaks is made again after the delay that the server has asked for (`retry`), with
///   `Last-Event-ID`.
/// - An attempt that fails, or is answered with 429 or 5xx, is made again after a delay that doubles each time, varies by
///   chance, and is no shorter than `Retry-After` asks.
/// - Status 204 ends the stream. Any other status or media type, and what a later attempt cannot mend (a certificate, a
///   policy), is an error, and the last item.
///
/// Redirects are followed, at most 10, unless the request or its client says otherwise. The client's time limit, low
/// speed limit and decompression do not apply, unless the request itself sets them: a stream has no end, is often
/// silent, and a compressor may hold events back. Dropping the stream ends its connection at once.
#[must_use = "a stream does nothing until it is polled"]
pub struct EventStream {
    client: Arc<Inner>,
    parts: Parts,
    /// `None` once a body that can be read only once has been.
    body: Option<AsyncBody>,
    state: State,
    last_id: String,
    backoff: Backoff,
    /// Failed attempts in a row.
    failures: u32,
    most_failures: Option<u32>,
    reconnect: bool,
    event_size: usize,
    idle_timeout: Option<Duration>,
    /// When something last came, or an attempt began.
    heard: Instant,
    /// Runs out at the earliest moment at which the silence could have been too long.
    watch: Option<Sleep>,
}

enum State {
    Idle,
    Connecting(ResponseFuture),
    Open(Box<Open>),
    Waiting(Sleep),
    Ended,
}

struct Open {
    body: AsyncBody,
    parser: Parser,
}

impl EventStream {
    fn new(client: Arc<Inner>, mut parts: Parts, body: AsyncBody) -> Self {
        let default = |headers: &mut HeaderMap, name: HeaderName, value: &'static str| {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        };
        default(&mut parts.headers, ACCEPT, EVENT_STREAM);
        default(&mut parts.headers, CACHE_CONTROL, "no-store");
        let config = parts.extensions.get_or_insert_default::<RequestConfig>();
        config.timeout.get_or_insert(None);
        config.low_speed.get_or_insert(None);
        config.decompress.get_or_insert(false);
        if client.config.request.redirect_policy.is_none() {
            config.redirect_policy.get_or_insert(RedirectPolicy::Limit(REDIRECTS));
        }
        Self {
            client,
            parts,
            body: Some(body),
            state: State::Idle,
            last_id: String::new(),
            backoff: Backoff { base: RETRY, most: MOST_RETRY },
            failures: 0,
            most_failures: Some(ATTEMPTS),
            reconnect: true,
            event_size: EVENT_SIZE,
            idle_timeout: None,
            heard: Instant::now(),
            watch: None,
        }
    }

    /// Whether to connect again. Without it the stream ends with its first response, and every failure is an error.
    /// Default: yes.
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// The delay before connecting again, until the server asks for another. Default: 3 seconds.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.backoff.base = delay;
        self
    }

    /// The delay that the doubling after failures does not go beyond. What the server asks for is obeyed all the same.
    /// Default: 60 seconds.
    pub fn max_retry_delay(mut self, delay: Duration) -> Self {
        self.backoff.most = delay;
        self
    }

    /// How many attempts in a row may fail: the error of the last one ends the stream. `None`: any number; 0 is 1.
    /// Default: 10.
    pub fn max_attempts(mut self, most: impl Into<Option<u32>>) -> Self {
        self.most_failures = most.into();
        self
    }

    /// The most bytes of one event, and of one line of the stream. A larger one is
    /// [`ErrorKind::TooLarge`] and ends the stream. Default: 1 MiB.
    pub fn max_event_size(mut self, bytes: usize) -> Self {
        self.event_size = bytes;
        self
    }

    /// Gives a connection up on which nothing came for this long, not even a comment, and connects again. Default: off.
    pub fn idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = limit.into();
        self
    }

    /// Goes on after the event of this id, known from an earlier run. An id that a header cannot carry is not sent.
    /// Default: from now on.
    pub fn resume_after(mut self, id: impl Into<String>) -> Self {
        self.last_id = id.into();
        self
    }

    /// The id after which the stream would go on now; empty if the server has set none.
    pub fn last_event_id(&self) -> &str {
        match &self.state {
            State::Open(open) => open.parser.last_id(),
            _ => &self.last_id,
        }
    }

    pub(super) fn url(&self) -> &Uri {
        &self.parts.uri
    }

    /// The same events for a thread that may block.
    pub fn blocking(self) -> BlockingEvents {
        BlockingEvents::new(self)
    }

    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        for _ in 0..PIECES {
            let step = match &mut self.state {
                State::Idle => self.connect(),
                State::Waiting(delay) => {
                    ready!(Pin::new(delay).poll(cx));
                    self.state = State::Idle;
                    Ok(None)
                }
                State::Connecting(future) => match Pin::new(future).poll(cx) {
                    Poll::Ready(Ok(response)) => self.open(response),
                    Poll::Ready(Err(error)) => self.fail(error, None),
                    Poll::Pending => {
                        ready!(self.poll_silence(cx));
                        self.fail(Error::timeout(TimeoutPhase::Response).with_url(&self.parts.uri), None)
                    }
                },
                State::Open(open) => match open.body.poll_fill_typed(cx) {
                    Poll::Ready(Ok(&[])) => self.lose(Ok(())),
                    Poll::Ready(Ok(mut data)) => {
                        let here = data.len();
                        let event = open.parser.next(&mut data);
                        let used = here - data.len();
                        open.body.consume_typed(used);
                        if let Some(delay) = open.parser.take_retry() {
                            self.backoff.base = delay;
                        }
                        self.heard = Instant::now();
                        event
                    }
                    Poll::Ready(Err(error)) => self.lose(Err(error)),
                    Poll::Pending => {
                        ready!(self.poll_silence(cx));
                        self.lose(Err(Error::timeout(TimeoutPhase::Body)))
                    }
                },
                State::Ended => return Poll::Ready(None),
            };
            match step {
                Ok(None) => {}
                Ok(Some(event)) => return Poll::Ready(Some(Ok(event))),
                Err(error) => {
                    self.end();
                    return Poll::Ready(Some(Err(error.with_url(&self.parts.uri))));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when nothing came for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.idle_timeout else { return Poll::Pending };
        loop {
            let rest = limit.saturating_sub(self.heard.elapsed());
            if rest.is_zero() {
                self.watch = None;
                return Poll::Ready(());
            }
            ready!(Pin::new(self.watch.get_or_insert_with(|| sleep(rest))).poll(cx));
            self.watch = None;
        }
    }

    fn connect(&mut self) -> Result<Option<Event>, Error> {
        let again = self.body.as_ref().and_then(AsyncBody::again);
        let body = match again {
            Some(again) => again.make().map_err(|error| Error::new(ErrorKind::RequestBody).with_source(error))?,
            None => self.body.take().ok_or_else(|| Error::new(ErrorKind::RequestBodyNotRewindable))?,
        };
        let mut parts = self.parts.clone();
        if !self.last_id.is_empty()
            && let Ok(id) = HeaderValue::from_bytes(self.last_id.as_bytes())
        {
            parts.headers.insert(LAST_EVENT_ID, id);
        }
        self.heard = Instant::now();
        self.state = State::Connecting(ResponseFuture::start(self.client.clone(), Request::from_parts(parts, body)));
        Ok(None)
    }

    fn open(&mut self, response: Response<AsyncBody>) -> Result<Option<Event>, Error> {
        let (head, body) = response.into_parts();
        match head.status {
            StatusCode::OK if is_event_stream(&head.headers) => {
                self.failures = 0;
                self.heard = Instant::now();
                let parser = Parser::new(self.event_size, std::mem::take(&mut self.last_id));
                self.state = State::Open(Box::new(Open { body, parser }));
                Ok(None)
            }
            StatusCode::OK => {
                let found = head
                    .headers
                    .get(CONTENT_TYPE)
                    .map_or("nothing".into(), |value| format!("`{}`", value.as_bytes().escape_ascii()));
                Err(Error::new(ErrorKind::InvalidResponseBody)
                    .with_detail(format!("the content type of an event stream is `{EVENT_STREAM}`, not {found}")))
            }
            StatusCode::NO_CONTENT => {
                self.state = State::Ended;
                Ok(None)
            }
            status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                let delay = backoff::retry_after(&head.headers, SystemTime::now());
                self.fail(Error::unexpected_status(status), Some(delay.unwrap_or_default()))
            }
            status => Err(Error::unexpected_status(status)),
        }
    }

    /// An attempt has failed. The next one follows, no sooner than after `least`; which also says that the failure, by
    /// its nature, may pass.
    fn fail(&mut self, error: Error, least: Option<Duration>) -> Result<Option<Event>, Error> {
        self.failures += 1;
        let enough = self.most_failures.is_some_and(|most| self.failures >= most);
        if !self.reconnect || enough || (least.is_none() && !may_pass(&error)) {
            return Err(error);
        }
        let delay = self.backoff.delay(self.failures, fastrand::f64());
        self.state = State::Waiting(sleep(delay.max(least.unwrap_or_default())));
        Ok(None)
    }

    /// An open connection has ended or broken.
    fn lose(&mut self, how: Result<(), Error>) -> Result<Option<Event>, Error> {
        self.close();
        match how {
            Ok(()) if !self.reconnect => {
                self.state = State::Ended;
                Ok(None)
            }
            Err(error) if !self.reconnect || !may_pass(&error) => Err(error),
            _ => {
                self.state = State::Waiting(sleep(self.backoff.delay(0, 0.0)));
                Ok(None)
            }
        }
    }

    /// Ends the connection, if there is one, and keeps what it has set.
    fn close(&mut self) {
        if let State::Open(open) = std::mem::replace(&mut self.state, State::Idle) {
            self.last_id = open.parser.last_id().to_owned();
            open.body.abort();
        }
    }

    /// Ends the stream for good, and its connection at once.
    pub(super) fn end(&mut self) {
        self.close();
        self.watch = None;
        self.state = State::Ended;
    }
}

/// Whether another attempt could succeed where this one failed.
fn may_pass(error: &Error) -> bool {
    error.may_pass() || matches!(error.kind(), ErrorKind::ProtocolViolation | ErrorKind::Tls)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(EVENT_STREAM)
}

impl Stream for EventStream {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(cx)
    }
}

impl FusedStream for EventStream {
    fn is_terminated(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Idle => "idle",
            State::Connecting(_) => "connecting",
            State::Open(..) => "open",
            State::Waiting(_) => "waiting",
            State::Ended => "ended",
        };
        f.debug_struct("EventStream").field("state", &state).field("failures", &self.failures).finish_non_exhaustive()
    }
}
