//! Server-sent events for a thread that may block: an iterator. Connects to nothing itself.

use std::time::{Duration, Instant};

use futures::stream::FusedStream;

use super::blocking::{CancelToken, Patience, block_on_with};
use super::events::EventStream;
use super::sse::Event;
use crate::error::Error;

/// Server-sent events, as an `Iterator` that blocks the thread for each. See [`EventStream`], of which
/// [`EventStream::blocking`] makes one.
///
/// # Examples
///
/// ```no_run
/// use marmot::HttpClient;
///
/// for event in HttpClient::new()?.events_blocking("https://example.org/news")? {
///     println!("{}", event?.data);
/// }
/// # Ok::<(), marmot::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked"]
pub struct BlockingEvents {
    stream: EventStream,
    patience: Patience,
}

impl BlockingEvents {
    pub(super) fn new(stream: EventStream) -> Self {
        Self { stream, patience: Patience::default() }
    }

    /// Ends the stream with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) when the token is cancelled, within a wait too.
    pub fn cancel_token(mut self, token: CancelToken) -> Self {
        self.patience.cancel = Some(token);
        self
    }

    /// Ends the stream with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) at this time. Default: never.
    pub fn deadline(mut self, deadline: impl Into<Option<Instant>>) -> Self {
        self.patience.deadline = deadline.into();
        self
    }

    /// Waits for the next event, but no longer than `limit`; `None` is the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of the stream, which end it; and [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) after `limit`, which does not: the next call goes
    /// on where this one stopped.
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<Event>, Error> {
        let mut patience = self.patience.clone();
        let own = Instant::now().checked_add(limit);
        patience.deadline = patience.deadline.into_iter().chain(own).min();
        match self.wait(&patience) {
            Err(error) if self.patience.check().is_ok() => Err(error),
            Err(_) => self.next().transpose(),
            Ok(item) => item.transpose(),
        }
    }

    /// The id after which the stream would go on now. See [`EventStream::last_event_id`].
    pub fn last_event_id(&self) -> &str {
        self.stream.last_event_id()
    }

    fn wait(&mut self, patience: &Patience) -> Result<Option<Result<Event, Error>>, Error> {
        if self.stream.is_terminated() {
            return Ok(None);
        }
        // A stream that always has something would never come to ask.
        self.patience.check()?;
        block_on_with(std::future::poll_fn(|cx| self.stream.poll_event(cx)), patience)
    }
}

impl Iterator for BlockingEvents {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let patience = self.patience.clone();
        self.wait(&patience).unwrap_or_else(|error| {
            self.stream.end();
            Some(Err(error.with_url(self.stream.url())))
        })
    }
}

impl std::iter::FusedIterator for BlockingEvents {}
