//! WebSockets of scripts: messages are sent and waited for in turns. The protocol is the client's.

use std::any::TypeId;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::Method;
use rhai::{Blob, Dynamic, INT, ImmutableString, Map, Module, NativeCallContext, Position};

use super::client::{Client, begin};
use super::failure::{self, Problem};
use super::meter::{Slot, stopped};
use super::spec::Spec;
use super::{Space, Thrown, run, steps, value};
use crate::client::websocket::{Message, Options, WebSocket};
use crate::error::Error;
use crate::secret::Concealed;

/// An open WebSocket. Clones are the same one.
#[derive(Clone)]
struct Socket(Arc<Mutex<Option<Open>>>);

struct Open {
    socket: WebSocket,
    /// Counts what goes and comes.
    slot: Slot,
    concealed: Concealed,
}

impl Open {
    async fn send(&mut self, message: Message) -> Result<Reached, Error> {
        self.slot.meter().send(length(&message)).map_err(|ended| stopped(&ended))?;
        self.socket.send(message).await?;
        Ok(Reached::Open(Dynamic::UNIT))
    }

    async fn receive(&mut self) -> Result<Reached, Error> {
        loop {
            let Some(message) = self.socket.next().await.transpose()? else { return Ok(Reached::End) };
            let bytes = length(&message);
            steps::count(bytes as usize);
            // A message is the response here: the size of one is limited, not that of all.
            self.slot.meter().receive(bytes, bytes).map_err(|ended| stopped(&ended))?;
            match message {
                Message::Text(text) => {
                    let clean = self.concealed.scrub(text.as_bytes());
                    return Ok(Reached::Open(String::from_utf8_lossy(&clean).into_owned().into()));
                }
                Message::Binary(bytes) => {
                    return Ok(Reached::Open(Dynamic::from_blob(self.concealed.scrub(&bytes).into_owned())));
                }
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Close(_) => return Ok(Reached::End),
            }
        }
    }
}

fn length(message: &Message) -> u64 {
    let length = match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 2,
    };
    length as u64
}

impl Socket {
    /// Lends the socket to a future, unless it has ended. It has ended when the future says so or fails.
    fn with<F: AsyncFnOnce(&mut Open) -> Result<Reached, Error>>(
        &self,
        deadline: Option<Instant>,
        at: Position,
        work: F,
    ) -> Result<Option<Dynamic>, Thrown> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut socket) = lock().take() else { return Ok(None) };
        match run::wait_until(work(&mut socket), deadline)? {
            None => {
                *lock() = Some(socket);
                Ok(None)
            }
            Some(Ok(Reached::Open(value))) => {
                *lock() = Some(socket);
                Ok(Some(value))
            }
            Some(Ok(Reached::End)) => Ok(None),
            Some(Err(error)) => Err(failure::thrown(&error, at)),
        }
    }

    fn is_open(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn send(&self, given: &Dynamic, at: Position) -> Result<(), Thrown> {
        let message = message(given).map_err(|message| failure::invalid(&message, at))?;
        let sent = self.with(None, at, async |socket| socket.send(message).await)?;
        match sent {
            Some(_) => Ok(()),
            None => Err(failure::invalid("the WebSocket is closed", at)),
        }
    }

    /// The next message; `None` at the end, or when the time is up.
    fn receive(&self, deadline: Option<Instant>, at: Position) -> Result<Option<Dynamic>, Thrown> {
        self.with(deadline, at, async |socket| socket.receive().await)
    }

    fn close(&self, code: u16, reason: &str, at: Position) -> Result<(), Thrown> {
        self.with(None, at, async |socket| socket.socket.close_with(code, reason).await.map(|_| Reached::End)).map(drop)
    }
}

/// How far a socket came.
enum Reached {
    Open(Dynamic),
    End,
}

/// The messages of a socket, one after another. Leaving the loop leaves it open.
struct Messages(Socket);

impl Iterator for Messages {
    type Item = Result<Dynamic, Thrown>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.receive(None, Position::NONE).transpose()
    }
}

fn message(given: &Dynamic) -> Result<Message, String> {
    if let Some(text) = given.read_lock::<ImmutableString>() {
        return Ok(Message::text(text.as_str()));
    }
    if let Some(blob) = given.read_lock::<Blob>() {
        return Ok(Message::binary(Bytes::copy_from_slice(&blob)));
    }
    if given.is_map() || given.is_array() {
        return Ok(Message::text(value::to_json(given)?));
    }
    Err(format!("a message is a string, a blob, a map or an array, not {}", given.type_name()))
}

impl Client {
    fn connect(&self, at: Position, spec: Result<Spec<'_>, Problem>) -> Result<Socket, Thrown> {
        let invalid = |problem: Problem| problem.thrown(at);
        let spec = spec.map_err(invalid)?;
        let limit = usize::try_from(spec.max_size()).unwrap_or(usize::MAX);
        let mut request = spec.into_endless_request().map_err(invalid)?;
        if !request.body().is_empty() {
            return Err(invalid("the request of a WebSocket has no body".into()));
        }
        let slot = begin(&mut request).map_err(run::terminated)?;
        let concealed = request.extensions().get::<Concealed>().cloned().unwrap_or_default();
        let request = request.map(|_| Options::new().max_message_size(limit));
        let socket = run::wait(self.http(), || self.http().websocket_with(request))?;
        let socket = socket.map_err(|error| failure::thrown(&error, at))?;
        Ok(Socket(Arc::new(Mutex::new(Some(Open { socket, slot, concealed })))))
    }
}

/// `ws_connect`, and `http::websocket`.
pub(super) fn register(module: &mut Module, client: &Client, space: Space) {
    let (space, name) = match space {
        Space::Http => (space, "websocket"),
        _ => (Space::Plain, "ws_connect"),
    };
    let own = client.clone();
    space.function(name).set_into_module(module, move |ctx: NativeCallContext, url: &str| {
        own.connect(ctx.call_position(), own.spec(&Method::GET, url, None, None))
    });
    let own = client.clone();
    space.function(name).set_into_module(module, move |ctx: NativeCallContext, url: &str, options: Map| {
        own.connect(ctx.call_position(), own.spec(&Method::GET, url, None, Some(&options)))
    });
}

/// WebSockets and what they can.
pub(super) fn register_type(module: &mut Module) {
    module.set_custom_type::<Socket>("WebSocket");
    module.set_iter_result(TypeId::of::<Socket>(), |socket| Box::new(Messages(socket.cast::<Socket>())));
    module.set_getter_fn("open", |socket: &mut Socket| Ok(socket.is_open()));
    let space = Space::Plain;
    space.function("send").set_into_module(module, |ctx: NativeCallContext, socket: &mut Socket, given: Dynamic| {
        socket.send(&given, ctx.call_position())
    });
    space.function("recv").set_into_module(module, |ctx: NativeCallContext, socket: &mut Socket| {
        socket.receive(None, ctx.call_position()).map(Option::unwrap_or_default)
    });
    let within = |ctx: NativeCallContext, socket: &mut Socket, milliseconds: INT| {
        let time = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
        socket.receive(Instant::now().checked_add(time), ctx.call_position()).map(Option::unwrap_or_default)
    };
    space.function("recv").set_into_module(module, within);
    space.function("close").set_into_module(module, |ctx: NativeCallContext, socket: &mut Socket| {
        socket.close(1000, "", ctx.call_position())
    });
    let close = |ctx: NativeCallContext, socket: &mut Socket, code: INT, reason: &str| {
        let at = ctx.call_position();
        let code = u16::try_from(code).map_err(|_| failure::invalid("a close code is a number of 16 bits", at))?;
        socket.close(code, reason, at)
    };
    space.function("close").set_into_module(module, close);
}
