//! The one error type of the crate. No type of a dependency is public here.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use http::{Response, StatusCode, Uri};

use crate::secret::{without_credentials, without_secrets};

/// What went wrong, as a class that a program can decide on.
///
/// The list grows; match with a wildcard arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The agent thread that owned the transfer ended unexpectedly. The client starts a new one for the next request.
    AgentLost,
    /// The server refused the client's certificate, or the certificate could not be used.
    BadClientCertificate,
    /// The server's certificate was not accepted: untrusted, expired, or made for another name.
    BadServerCertificate,
    /// The transfer was cancelled, by a [`Control`](crate::handler::Control), a cancel token or a dropped future.
    Cancelled,
    /// The client was shut down with [`HttpClient::shutdown`](crate::HttpClient::shutdown).
    ClientShutDown,
    /// The WebSocket was closed, by this side or the other, and takes no more messages.
    Closed,
    /// The TCP connection (or the socket) could not be made.
    ConnectionFailed,
    /// An [`EgressPolicy`](crate::config::EgressPolicy) refuses the target; the detail names the rule.
    EgressDenied,
    /// A request handler panicked. Only its own transfer ends.
    HandlerPanicked,
    /// The client's configuration cannot be used: a bad value, or one that the linked libcurl lacks.
    InvalidConfiguration,
    /// The body's `Content-Encoding` is unknown or its data is damaged.
    InvalidContentEncoding,
    /// The request cannot be sent as it is: a bad URL, header or combination of the two.
    InvalidRequest,
    /// The response's body is not what the caller asked it to be read as: text of a charset, or JSON.
    InvalidResponseBody,
    /// Reading or writing failed on this side or on the connection.
    Io,
    /// The host's name was not found.
    NameResolution,
    /// A client that replays a cassette was asked for what is not recorded.
    NoRecording,
    /// A redirect is refused: from https to http, to another scheme, or by a custom policy.
    NotAllowed,
    /// The server broke the protocol.
    ProtocolViolation,
    /// The proxy answered that it does not do its work: it wants other credentials, forbids the target or cannot reach
    /// it.
    ProxyRefused,
    /// The request's body failed while it was read, or was shorter or longer than declared.
    RequestBody,
    /// A redirect needs the request's body again, and the body can be read only once.
    RequestBodyNotRewindable,
    /// The response's body ended before its declared end.
    ResponseBodyTruncated,
    /// A limit of this client was passed: headers, decompressed size, compression ratio or body size.
    TooLarge,
    /// More redirects than the policy allows.
    TooManyRedirects,
    /// A time limit was reached; [`Error::timeout_phase`] tells which.
    Timeout,
    /// TLS failed for another reason than a certificate.
    Tls,
    /// The server answered with a status that the caller cannot go on with; [`Error::status`] tells which. Only what
    /// needs a certain answer fails with it, such as an event stream: a plain request takes any status.
    UnexpectedStatus,
    /// The server did not switch to a WebSocket; [`Error::response`] is what it answered instead.
    UpgradeRefused,
}

impl ErrorKind {
    /// The kind in the words of a message: `"name resolution failed"`.
    pub fn description(self) -> &'static str {
        match self {
            Self::AgentLost => "the agent thread ended unexpectedly",
            Self::BadClientCertificate => "the client certificate was not accepted",
            Self::BadServerCertificate => "the server certificate was not accepted",
            Self::Cancelled => "the request was cancelled",
            Self::ClientShutDown => "the client was shut down",
            Self::Closed => "the WebSocket is closed",
            Self::ConnectionFailed => "connection failed",
            Self::EgressDenied => "the egress policy refuses it",
            Self::HandlerPanicked => "the request handler panicked",
            Self::InvalidConfiguration => "the configuration cannot be used",
            Self::InvalidContentEncoding => "the response's content encoding is unknown or damaged",
            Self::InvalidRequest => "invalid request",
            Self::InvalidResponseBody => "the response body is not valid",
            Self::Io => "input or output failed",
            Self::NameResolution => "name resolution failed",
            Self::NoRecording => "no recording matches the request",
            Self::NotAllowed => "the redirect is not allowed",
            Self::ProtocolViolation => "the server violated the protocol",
            Self::ProxyRefused => "the proxy refused",
            Self::RequestBody => "the request body failed",
            Self::RequestBodyNotRewindable => "the request body cannot be sent again",
            Self::ResponseBodyTruncated => "the response body ended too early",
            Self::TooLarge => "a size limit was passed",
            Self::TooManyRedirects => "too many redirects",
            Self::Timeout => "timed out",
            Self::Tls => "the TLS connection failed",
            Self::UnexpectedStatus => "the server answered with an unexpected status",
            Self::UpgradeRefused => "the server refused the WebSocket",
        }
    }

    /// The kind as one snake_case word, stable for scripts and logs: `"name_resolution"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AgentLost => "agent_lost",
            Self::BadClientCertificate => "bad_client_certificate",
            Self::BadServerCertificate => "bad_server_certificate",
            Self::Cancelled => "cancelled",
            Self::ClientShutDown => "client_shut_down",
            Self::Closed => "closed",
            Self::ConnectionFailed => "connection_failed",
            Self::EgressDenied => "egress_denied",
            Self::HandlerPanicked => "handler_panicked",
            Self::InvalidConfiguration => "invalid_configuration",
            Self::InvalidContentEncoding => "invalid_content_encoding",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidResponseBody => "invalid_response_body",
            Self::Io => "io",
            Self::NameResolution => "name_resolution",
            Self::NoRecording => "no_recording",
            Self::NotAllowed => "not_allowed",
            Self::ProtocolViolation => "protocol_violation",
            Self::ProxyRefused => "proxy_refused",
            Self::RequestBody => "request_body",
            Self::RequestBodyNotRewindable => "request_body_not_rewindable",
            Self::ResponseBodyTruncated => "response_body_truncated",
            Self::TooLarge => "too_large",
            Self::TooManyRedirects => "too_many_redirects",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::UnexpectedStatus => "unexpected_status",
            Self::UpgradeRefused => "upgrade_refused",
        }
    }
}

#[cfg(feature = "record")]
impl ErrorKind {
    /// All kinds. The test `every_kind_is_found_by_its_name` tells if one is missing.
    const ALL: &[Self] = &[
        Self::AgentLost,
        Self::BadClientCertificate,
        Self::BadServerCertificate,
        Self::Cancelled,
        Self::ClientShutDown,
        Self::ConnectionFailed,
        Self::HandlerPanicked,
        Self::InvalidConfiguration,
        Self::InvalidContentEncoding,
        Self::InvalidRequest,
        Self::InvalidResponseBody,
        Self::Io,
        Self::NameResolution,
        Self::NoRecording,
        Self::NotAllowed,
        Self::ProtocolViolation,
        Self::RequestBody,
        Self::RequestBodyNotRewindable,
        Self::ResponseBodyTruncated,
        Self::TooLarge,
        Self::TooManyRedirects,
        Self::Timeout,
        Self::Tls,
        Self::EgressDenied,
        Self::ProxyRefused,
        Self::UnexpectedStatus,
        Self::Closed,
        Self::UpgradeRefused,
    ];

    /// The kind of this [`name`](Self::name).
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

/// What a transfer was doing when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutPhase {
    /// Waiting for the host's name to be resolved.
    NameResolution,
    /// Making the connection, TLS included.
    Connect,
    /// Sending the request.
    Send,
    /// Waiting for the head of the response.
    Response,
    /// Receiving the body of the response.
    Body,
    /// Nothing moved for longer than the stall limit.
    Stall,
    /// Slower than the low speed limit for longer than allowed.
    LowSpeed,
    /// Waiting for a handler's own event: [`Next::timeout`](crate::handler::Next::timeout).
    Handler,
    /// Waiting for the caller's own deadline, such as a script's time limit.
    Deadline,
    /// Waiting for the answer to a WebSocket's ping.
    Pong,
    /// Waiting for the other side to close the WebSocket too.
    Close,
}

impl TimeoutPhase {
    /// The phase in words: `"while connecting"`.
    pub fn description(self) -> &'static str {
        match self {
            Self::NameResolution => "while resolving the name",
            Self::Connect => "while connecting",
            Self::Send => "while sending the request",
            Self::Response => "while waiting for the response",
            Self::Body => "while receiving the body",
            Self::Stall => "while nothing moved",
            Self::LowSpeed => "below the low speed limit",
            Self::Handler => "while the handler waited",
            Self::Deadline => "at the caller's deadline",
            Self::Pong => "while waiting for a pong",
            Self::Close => "while closing the WebSocket",
        }
    }
}

#[cfg(feature = "record")]
impl TimeoutPhase {
    const ALL: [Self; 11] = [
        Self::Pong,
        Self::Close,
        Self::Stall,
        Self::NameResolution,
        Self::Connect,
        Self::Send,
        Self::Response,
        Self::Body,
        Self::LowSpeed,
        Self::Handler,
        Self::Deadline,
    ];

    /// The phase of this [`description`](Self::description).
    pub(crate) fn from_description(words: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.description() == words)
    }
}

/// An error of a request, a response or a client.
///
/// `Display` is one line: what failed, the detail, and the URL without its credentials. The cause, where another
/// error is the cause, is in [`source`](StdError::source) and is not repeated in the line, so that a printed chain says
/// each thing once. Cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    phase: Option<TimeoutPhase>,
    /// How often the request was sent, where that was more than once.
    attempts: Option<u32>,
    status: Option<StatusCode>,
    detail: Option<Box<str>>,
    url: Option<Box<str>>,
    response: Option<Box<Response<()>>>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Arc::new(Inner {
            kind,
            phase: None,
            attempts: None,
            status: None,
            detail: None,
            url: None,
            response: None,
            source: None,
        }))
    }

    pub(crate) fn invalid_request(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest).with_detail(detail)
    }

    pub(crate) fn timeout(phase: TimeoutPhase) -> Self {
        let mut error = Self::new(ErrorKind::Timeout);
        error.inner().phase = Some(phase);
        error
    }

    pub(crate) fn unexpected_status(status: StatusCode) -> Self {
        let mut error = Self::new(ErrorKind::UnexpectedStatus).with_detail(status.to_string());
        error.inner().status = Some(status);
        error
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        // What the detail quotes must not look like another line of a log.
        if detail.contains(char::is_control) {
            let quoted = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
            detail = detail.chars().map(quoted).collect();
        }
        self.inner().detail = Some(detail.into_boxed_str());
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner().source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: u32) -> Self {
        self.inner().attempts = Some(attempts);
        self
    }

    /// Names the URL, without its secrets. The first URL that was named stays.
    pub(crate) fn with_url(mut self, url: &Uri) -> Self {
        if self.0.url.is_none() {
            self.inner().url = Some(without_secrets(url).into_boxed_str());
        }
        self
    }

    pub(crate) fn with_response(mut self, response: Response<()>) -> Self {
        self.inner().response = Some(Box::new(response));
        self
    }

    fn inner(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the transfer was doing when its time was up; `None` unless the kind is [`ErrorKind::Timeout`].
    pub fn timeout_phase(&self) -> Option<TimeoutPhase> {
        self.0.phase
    }

    /// How often the request was sent before it failed for good. 1 without retries.
    pub fn attempts(&self) -> u32 {
        self.0.attempts.unwrap_or(1)
    }

    /// The status that the server answered with; `None` unless the kind is [`ErrorKind::UnexpectedStatus`].
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// What is known beside the kind.
    #[cfg(feature = "record")]
    pub(crate) fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The URL of the request, without user and password, and without the values of parameters whose name tells that
    /// they are secrets (`api_key=REDACTED`).
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// The head of the response that is the reason; `None` unless the kind is [`ErrorKind::UpgradeRefused`].
    pub fn response(&self) -> Option<&Response<()>> {
        self.0.response.as_deref()
    }

    /// Whether a time limit was reached.
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::Timeout
    }

    /// Whether the network or the other side is at fault, so that a later try could succeed.
    pub fn is_network(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::ConnectionFailed | ErrorKind::Io | ErrorKind::NameResolution | ErrorKind::Timeout
        )
    }

    /// Whether the request cannot have reached the server.
    pub(crate) fn is_unsent(&self) -> bool {
        match self.kind() {
            ErrorKind::ConnectionFailed | ErrorKind::NameResolution => true,
            ErrorKind::Timeout => {
                matches!(self.timeout_phase(), Some(TimeoutPhase::NameResolution | TimeoutPhase::Connect))
            }
            _ => false,
        }
    }

    /// Whether the reason may be gone the next time that the request is sent.
    pub(crate) fn may_pass(&self) -> bool {
        match self.kind() {
            ErrorKind::Timeout => self.timeout_phase() != Some(TimeoutPhase::Deadline),
            ErrorKind::ConnectionFailed
            | ErrorKind::NameResolution
            | ErrorKind::Io
            | ErrorKind::AgentLost
            | ErrorKind::ResponseBodyTruncated => true,
            _ => false,
        }
    }

    /// Whether TLS or a certificate is at fault.
    pub fn is_tls(&self) -> bool {
        matches!(self.kind(), ErrorKind::Tls | ErrorKind::BadClientCertificate | ErrorKind::BadServerCertificate)
    }

    /// The error and its causes in one line, each once, joined by `": "`.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            line.push_str(": ");
            line.push_str(&cause.to_string());
            next = cause.source();
        }
        line
    }
}

/// The URL as the response may show it: without credentials.
pub(crate) fn shown(uri: Uri) -> Uri {
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => without_credentials(&uri).parse().unwrap_or_default(),
        _ => uri,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.description())?;
        if let Some(phase) = self.0.phase {
            write!(f, " {}", phase.description())?;
        }
        if let Some(detail) = &self.0.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(url) = &self.0.url {
            write!(f, " ({url})")?;
        }
        if let Some(attempts) = self.0.attempts {
            write!(f, ", after {attempts} attempts")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("Error");
        s.field("kind", &self.0.kind);
        if let Some(phase) = &self.0.phase {
            s.field("phase", phase);
        }
        if let Some(detail) = &self.0.detail {
            s.field("detail", detail);
        }
        if let Some(url) = &self.0.url {
            s.field("url", url);
        }
        if let Some(source) = &self.0.source {
            s.field("source", source);
        }
        s.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl PartialEq<ErrorKind> for Error {
    fn eq(&self, kind: &ErrorKind) -> bool {
        self.kind() == *kind
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            ErrorKind::ConnectionFailed => io::ErrorKind::ConnectionRefused,
            ErrorKind::ResponseBodyTruncated => io::ErrorKind::UnexpectedEof,
            ErrorKind::InvalidContentEncoding | ErrorKind::InvalidResponseBody | ErrorKind::ProtocolViolation => {
                io::ErrorKind::InvalidData
            }
            ErrorKind::InvalidRequest | ErrorKind::InvalidConfiguration => io::ErrorKind::InvalidInput,
            ErrorKind::NotAllowed | ErrorKind::EgressDenied => io::ErrorKind::PermissionDenied,
            ErrorKind::Cancelled | ErrorKind::ClientShutDown => io::ErrorKind::ConnectionAborted,
            ErrorKind::Io => {
                let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
                cause.map_or(io::ErrorKind::Other, io::Error::kind)
            }
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// An [`Error`] that travelled inside an [`io::Error`] comes back as itself; any other becomes [`ErrorKind::Io`].
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(ours) => ours,
            Err(error) => Self::new(ErrorKind::Io).with_source(error),
        }
    }
}

impl From<http::Error> for Error {
    fn from(error: http::Error) -> Self {
        Self::new(ErrorKind::InvalidRequest).with_source(error)
    }
}

/// What a panic said, if that was text.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_line_without_credentials_and_without_the_cause() {
        let url: Uri = "http://user:secret@example.org/a?b=c".parse().unwrap();
        let error = Error::new(ErrorKind::ConnectionFailed)
            .with_detail("connection refused")
            .with_source(io::Error::other("libcurl says so"))
            .with_url(&url);
        assert_eq!(error.to_string(), "connection failed: connection refused (http://example.org/a?b=c)");
        assert_eq!(error.chain(), format!("{error}: libcurl says so"));
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[cfg(feature = "record")]
    #[test]
    fn every_kind_is_found_by_its_name() {
        let words = |of: &str| {
            let text = include_str!("error.rs").split(of).nth(1).unwrap().split("\n    }\n").next().unwrap();
            text.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        };
        let names = words("pub fn name(self)");
        assert!(names.len() > 20);
        for name in names {
            assert_eq!(ErrorKind::from_name(&name).map(ErrorKind::name), Some(name.as_str()));
        }
        let phases = words("/// The phase in words");
        assert!(phases.len() > 8);
        for phase in phases {
            assert_eq!(TimeoutPhase::from_description(&phase).map(TimeoutPhase::description), Some(phase.as_str()));
        }
    }

    #[test]
    fn a_detail_stays_on_its_line() {
        let error = Error::invalid_request("the host `a\r\n2026-01-01 ERROR paid: \u{1b}[2J\0é`");
        assert_eq!(error.to_string(), "invalid request: the host `a\\r\\n2026-01-01 ERROR paid: \\u{1b}[2J\\u{0}é`");
    }

    #[test]
    fn an_error_survives_the_way_through_io() {
        let there = io::Error::from(Error::timeout(TimeoutPhase::Body));
        assert_eq!(there.kind(), io::ErrorKind::TimedOut);
        let back = Error::from(there);
        assert_eq!(back.timeout_phase(), Some(TimeoutPhase::Body));
        let there = io::Error::from(Error::from(io::Error::from(io::ErrorKind::BrokenPipe)));
        assert_eq!(there.kind(), io::ErrorKind::BrokenPipe, "the kind of a cause is not lost");
    }
}
