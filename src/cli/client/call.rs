//! A connection to a service: calls and what comes beside their answers. Knows no method.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use marmot::config::{CaCertificates, Configurable};
use marmot::http::{Request, Uri, header};
use marmot::script::CancelToken;
use marmot::websocket::{BlockingWebSocket, Message};
use marmot::{ErrorKind, HttpClient};
use serde_json::{Value, json};

/// How long the answer to a call may take.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);

/// Where a service is, and how one is known there.
pub(super) struct Place {
    client: HttpClient,
    url: Uri,
    token: Option<String>,
}

impl Place {
    pub(super) fn new(url: &str, token: Option<String>, ca: Option<PathBuf>) -> Result<Self, String> {
        let wrong = || format!("`{url}` is no address of a service, such as ws://127.0.0.1:8787");
        // As it is written in other places: the address that the service shows is one of http.
        let text = match url.split_once("://") {
            Some(("http", rest)) => format!("ws://{rest}"),
            Some(("https", rest)) => format!("wss://{rest}"),
            Some(("ws" | "wss", _)) => url.to_owned(),
            Some(_) => return Err(wrong()),
            None => format!("ws://{url}"),
        };
        let mut uri: Uri = text.parse().map_err(|_| wrong())?;
        if matches!(uri.path(), "/" | "") {
            let authority = uri.authority().ok_or_else(wrong)?;
            let scheme = uri.scheme_str().unwrap_or("ws");
            uri = format!("{scheme}://{authority}/ws/").parse().map_err(|_| wrong())?;
        }
        let mut builder = HttpClient::builder().connect_timeout(CONNECT).timeout(CONNECT);
        if let Some(path) = ca {
            builder = builder.ca_certificates(CaCertificates::file(path));
        }
        let client = builder.build().map_err(|error| error.chain())?;
        Ok(Self { client, url: uri, token })
    }
}

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The service cannot be reached, or not any more.
    Lost(String),
    /// It refuses this client.
    Refused(String),
    /// The call has failed.
    Call(Value),
    /// Somebody does not want to wait any more.
    Interrupted,
}

impl Failure {
    pub(super) fn message(&self) -> String {
        match self {
            Self::Lost(message) | Self::Refused(message) => message.clone(),
            Self::Call(error) => {
                format!("{} ({})", error["message"].as_str().unwrap_or("the call has failed"), error["code"])
            }
            Self::Interrupted => "interrupted".into(),
        }
    }
}

pub(super) struct Connection {
    socket: BlockingWebSocket,
    last: u64,
    /// What came while an answer was waited for.
    aside: VecDeque<Value>,
}

impl Connection {
    pub(super) fn open(place: &Place) -> Result<Self, Failure> {
        let mut request = Request::builder().uri(&place.url);
        if let Some(token) = &place.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(()).map_err(|error| Failure::Refused(format!("the token is no header: {error}")))?;
        match place.client.websocket_blocking_with(request) {
            Ok(socket) => Ok(Self { socket, last: 0, aside: VecDeque::new() }),
            Err(error) if error.kind() == ErrorKind::UpgradeRefused => {
                let status = error.response().map_or(0, |response| response.status().as_u16());
                Err(Failure::Refused(match status {
                    401 => "the service wants a valid token: MARMOT_TOKEN=... or --token-file FILE".into(),
                    403 => "the service does not let this client in (403)".into(),
                    429 => "the service has too many connections or wrong tokens from here (429); try again".into(),
                    status => format!("{} is no service of marmot: it answered {status}", place.url),
                }))
            }
            Err(error) => Err(Failure::Lost(error.chain())),
        }
    }

    /// Ends waiting when the token is cancelled.
    pub(super) fn cancelled_by(mut self, token: CancelToken) -> Self {
        self.socket = self.socket.cancelled_by(token);
        self
    }

    /// Calls a method and waits for its result.
    pub(super) fn call(&mut self, method: &str, params: &Value) -> Result<Value, Failure> {
        self.last += 1;
        let id = self.last;
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.socket.send(message.to_string()).map_err(|error| lost(&error))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut answer = self.read(deadline)?;
            if answer["id"] != id {
                self.aside.push_back(answer);
                continue;
            }
            return match answer.get_mut("error") {
                Some(error) => Err(Failure::Call(error.take())),
                None => Ok(answer["result"].take()),
            };
        }
    }

    /// The next notification.
    pub(super) fn next(&mut self) -> Result<Value, Failure> {
        match self.aside.pop_front() {
            Some(message) => Ok(message),
            None => self.read(Instant::now() + Duration::from_secs(24 * 60 * 60)),
        }
    }

    fn read(&mut self, deadline: Instant) -> Result<Value, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.socket.recv_timeout(left) {
            Ok(Some(Message::Text(text))) => serde_json::from_str(&text)
                .map_err(|error| Failure::Lost(format!("the service sent what is no JSON: {error}"))),
            Ok(Some(_)) => Err(Failure::Lost("the service sent something that is no text".into())),
            Ok(None) => Err(Failure::Lost("the service has closed the connection".into())),
            Err(error) => Err(lost(&error)),
        }
    }
}

fn lost(error: &marmot::Error) -> Failure {
    match error.kind() {
        ErrorKind::Cancelled => Failure::Interrupted,
        _ => Failure::Lost(error.chain()),
    }
}
