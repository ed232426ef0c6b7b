//! Bodies that a script reads piece by piece, as they come: lines, chunks, events. A slow script slows its server.

use std::any::TypeId;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Response};
use rhai::{Dynamic, INT, Map, Module, NativeCallContext, Position};

use super::client::{Client, begin};
use super::failure::{self, Problem};
use super::meter::{Slot, stopped};
use super::spec::Spec;
use super::{Space, Thrown, run, steps};
use crate::body::AsyncBody;
use crate::body::exchange::too_large;
use crate::client::{Event, EventStream, HttpClient, ResponseExt};
use crate::error::Error;
use crate::secret::Concealed;

/// What a script loops over. Clones are the same stream; it ends for all of them when a loop over it does.
#[derive(Clone)]
pub(super) struct Stream(Arc<Mutex<Option<Source>>>);

/// A stream that has not ended.
struct Source {
    client: HttpClient,
    pieces: Pieces,
    at: Position,
    /// Counts what comes.
    slot: Slot,
    received: u64,
    concealed: Concealed,
    /// Bytes that could be the beginning of a secret.
    held_back: Vec<u8>,
}

impl Source {
    /// The next piece as the script may see it, and counted.
    async fn next(&mut self) -> Result<Option<Dynamic>, Error> {
        loop {
            let Some(piece) = self.pieces.next().await? else {
                let rest = std::mem::take(&mut self.held_back);
                return Ok((!rest.is_empty()).then(|| Dynamic::from_blob(rest)));
            };
            self.received += piece.length();
            steps::count(piece.length() as usize);
            self.slot.meter().receive(piece.length(), self.received).map_err(|ended| stopped(&ended))?;
            match piece {
                Piece::Text(text) => return Ok(Some(self.clean(text).into())),
                Piece::Event(Event { kind, data, id, .. }) => {
                    return Ok(Some(event(kind, self.clean(data), id)));
                }
                Piece::Bytes(bytes) if self.concealed.is_empty() => return Ok(Some(Dynamic::from_blob(bytes.into()))),
                Piece::Bytes(bytes) => {
                    let mut all = std::mem::take(&mut self.held_back);
                    all.extend_from_slice(&bytes);
                    let mut all = self.concealed.scrub(&all).into_owned();
                    self.held_back = all.split_off(all.len() - self.concealed.begun(&all));
                    if !all.is_empty() {
                        return Ok(Some(Dynamic::from_blob(all)));
                    }
                }
            }
        }
    }

    fn clean(&self, text: String) -> String {
        match self.concealed.scrub(text.as_bytes()) {
            Cow::Borrowed(_) => text,
            Cow::Owned(clean) => String::from_utf8_lossy(&clean).into_owned(),
        }
    }
}

/// What comes, before the script sees it.
enum Piece {
    Text(String),
    Bytes(Bytes),
    Event(Event),
}

impl Piece {
    fn length(&self) -> u64 {
        let length = match self {
            Self::Text(text) => text.len() + 1,
            Self::Bytes(bytes) => bytes.len(),
            Self::Event(event) => event.data.len() + event.kind.len(),
        };
        length as u64
    }
}

enum Pieces {
    Lines { body: AsyncBody, line: Vec<u8>, limit: u64 },
    Chunks(AsyncBody),
    Events(Box<EventStream>),
}

/// How a body is taken apart.
#[derive(Clone, Copy)]
enum Kind {
    Lines,
    Chunks,
    Events,
}

impl Stream {
    fn lock(&self) -> MutexGuard<'_, Option<Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Source> {
        self.lock().take()
    }

    /// Waits for the next piece: `None` at the end, or at the deadline. Nothing is lost then.
    fn next(&self, deadline: Option<Instant>) -> Result<Option<Dynamic>, Thrown> {
        let Some(mut source) = self.take() else { return Ok(None) };
        let client = source.client.clone();
        let next = match deadline {
            Some(_) => run::wait_until(source.next(), deadline)?,
            None => Some(run::wait(&client, || source.next())?),
        };
        let piece = match next {
            None => None,
            Some(Ok(Some(piece))) => Some(piece),
            Some(Ok(None)) => return Ok(None),
            Some(Err(error)) => return Err(failure::thrown(&error, source.at)),
        };
        *self.lock() = Some(source);
        Ok(piece)
    }
}

/// A loop over a stream. Leaving it ends the transfer.
struct Loop(Stream);

impl Iterator for Loop {
    type Item = Result<Dynamic, Thrown>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next(None).transpose()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Piece>, Error> {
        match self {
            Self::Lines { body, line, limit } => {
                let some = std::future::poll_fn(|cx| poll_line(body, line, *limit, cx)).await?;
                Ok(some.then(|| Piece::Text(text(std::mem::take(line)))))
            }
            Self::Chunks(body) => Ok(body.next().await.transpose()?.map(Piece::Bytes)),
            Self::Events(events) => Ok(events.next().await.transpose()?.map(Piece::Event)),
        }
    }
}

/// Adds to a line until it is whole. Not so at the end of the body.
fn poll_line(body: &mut AsyncBody, line: &mut Vec<u8>, limit: u64, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
    loop {
        let piece = ready!(body.poll_fill_typed(cx))?;
        if piece.is_empty() {
            return Poll::Ready(Ok(!line.is_empty()));
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let length = end.unwrap_or(piece.len());
        line.extend_from_slice(&piece[..length]);
        body.consume_typed(end.map_or(length, |end| end + 1));
        if line.len() as u64 > limit {
            return Poll::Ready(Err(too_large(limit)));
        }
        if end.is_some() {
            // An empty line is one, too.
            return Poll::Ready(Ok(true));
        }
    }
}

fn text(mut line: Vec<u8>) -> String {
    line.pop_if(|last| *last == b'\r');
    String::from_utf8(line).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn event(kind: String, data: String, id: String) -> Dynamic {
    Dynamic::from_map(Map::from_iter([
        ("kind".into(), kind.into()),
        ("data".into(), data.into()),
        ("id".into(), id.into()),
    ]))
}

impl Client {
    fn open(&self, at: Position, spec: Result<Spec<'_>, Problem>, kind: Kind) -> Result<Stream, Thrown> {
        let invalid = |problem: Problem| problem.thrown(at);
        let spec = spec.map_err(invalid)?;
        let limit = spec.max_size();
        let mut request = spec.into_endless_request().map_err(invalid)?;
        let slot = begin(&mut request).map_err(run::terminated)?;
        let concealed = request.extensions().get::<Concealed>().cloned().unwrap_or_default();
        let http = self.http().clone();
        let pieces = if let Kind::Events = kind {
            // Connects with the first event that is asked for, and again by itself.
            Pieces::Events(Box::new(http.events_with(request)))
        } else {
            let response = run::wait(&http, || http.send_async(request))?;
            let body = successful(response.map_err(|error| failure::thrown(&error, at))?, at)?;
            match kind {
                Kind::Lines => Pieces::Lines { body, line: Vec::new(), limit },
                _ => Pieces::Chunks(body),
            }
        };
        let source = Source { client: http, pieces, at, slot, received: 0, concealed, held_back: Vec::new() };
        Ok(Stream(Arc::new(Mutex::new(Some(source)))))
    }
}

/// What comes with another status is no part of the stream.
fn successful(response: Response<AsyncBody>, at: Position) -> Result<AsyncBody, Thrown> {
    let status = response.status();
    if status.is_success() {
        return Ok(response.into_body());
    }
    let url = response.effective_uri().map(crate::secret::without_credentials).unwrap_or_default();
    let thrown = failure::status(status.as_u16(), status.canonical_reason().unwrap_or_default(), &url, at);
    Err(failure::again(thrown.into(), at))
}

const KINDS: [(&str, Kind); 3] = [("lines", Kind::Lines), ("chunks", Kind::Chunks), ("events", Kind::Events)];

/// `http_lines` and its relatives.
pub(super) fn register(module: &mut Module, client: &Client, space: Space) {
    for (name, kind) in KINDS {
        let own = client.clone();
        space.function(name).set_into_module(module, move |ctx: NativeCallContext, url: &str| {
            own.open(ctx.call_position(), own.spec(&Method::GET, url, None, None), kind)
        });
        let own = client.clone();
        space.function(name).set_into_module(module, move |ctx: NativeCallContext, url: &str, options: Map| {
            own.open(ctx.call_position(), own.spec(&Method::GET, url, None, Some(&options)), kind)
        });
        let own = client.clone();
        space.function(name).set_into_module(module, move |ctx: NativeCallContext, options: Map| {
            own.open(ctx.call_position(), own.spec_of(&options), kind)
        });
    }
}

/// Streams, and the methods of clients that open them.
pub(super) fn register_type(module: &mut Module) {
    for (name, kind) in KINDS {
        let open = move |ctx: NativeCallContext, own: &mut Client, path: &str| {
            own.open(ctx.call_position(), own.spec(&Method::GET, path, None, None), kind)
        };
        Space::Plain.function(name).set_into_module(module, open);
        let open = move |ctx: NativeCallContext, own: &mut Client, path: &str, options: Map| {
            own.open(ctx.call_position(), own.spec(&Method::GET, path, None, Some(&options)), kind)
        };
        Space::Plain.function(name).set_into_module(module, open);
    }
    module.set_custom_type::<Stream>("Stream");
    module.set_iter_result(TypeId::of::<Stream>(), |stream| Box::new(Loop(stream.cast::<Stream>())));
    module.set_getter_fn("open", |stream: &mut Stream| Ok(stream.lock().is_some()));
    let next = |stream: &mut Stream| stream.next(None).map(Option::unwrap_or_default);
    Space::Plain.function("next").set_into_module(module, next);
    let within = |stream: &mut Stream, milliseconds: INT| {
        let time = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
        stream.next(Instant::now().checked_add(time)).map(Option::unwrap_or_default)
    };
    Space::Plain.function("next").set_into_module(module, within);
    let close = |stream: &mut Stream| -> Result<(), Thrown> {
        drop(stream.take());
        Ok(())
    };
    Space::Plain.function("close").set_into_module(module, close);
}
