//! Errors on their way into a script, as maps that it can catch, and out of it, with the line that failed.

use std::any::Any;
use std::fmt;

use rhai::{Dynamic, EvalAltResult, Map, ParseError, Position};

use super::meter::{Budget, Ended};
use super::sandbox::{CALL_DEPTH, Denied, Limits};
use super::value::{MAX_DEPTH, is_shallow};
use crate::error::{Error, ErrorKind, panic_text};

/// What a script is thrown for an error of the client.
pub(super) fn thrown(error: &Error, at: Position) -> Box<EvalAltResult> {
    again(described(error, at), at)
}

/// The value that it catches then.
pub(super) fn described(error: &Error, at: Position) -> Dynamic {
    let mut map = describe(error.kind().name(), &error.chain(), error.url(), at);
    if let Some(phase) = error.timeout_phase() {
        map.insert("phase".into(), phase.description().into());
    }
    if error.kind() == ErrorKind::EgressDenied {
        map.insert("permission".into(), "host".into());
    }
    map.into()
}

/// What a script is thrown for something that its sandbox does not allow.
pub(super) fn denied(permission: &str, message: &str, what: Option<&str>, at: Position) -> Box<EvalAltResult> {
    let mut map = describe("denied", message, None, at);
    map.insert("permission".into(), permission.into());
    map.insert("what".into(), what.map_or(Dynamic::UNIT, |what| what.to_owned().into()));
    again(map.into(), at)
}

/// Throws such a value.
pub(crate) fn again(value: Dynamic, at: Position) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(value, at))
}

/// What a script is thrown for a wrong argument.
pub(crate) fn invalid(message: &str, at: Position) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(describe("invalid_request", message, None, at).into(), at))
}

/// What `raise()` throws for a response.
pub(super) fn status(code: u16, reason: &str, url: &str, at: Position) -> Map {
    let message = format!("the server answered {code} {reason} ({url})");
    let mut map = describe("status", message.trim(), Some(url), at);
    map.insert("status".into(), i64::from(code).into());
    map
}

/// Why a request of a script is not made.
#[derive(Debug)]
pub(super) enum Problem {
    Invalid(String),
    Denied { permission: &'static str, message: String, what: String },
}

impl Problem {
    pub(super) fn denied(denied: &Denied, what: &str) -> Self {
        let Denied { permission, message } = denied;
        Self::Denied { permission, message: message.clone(), what: what.to_owned() }
    }

    /// A secret that is not for that host.
    pub(super) fn secret(message: String, name: &str) -> Self {
        Self::Denied { permission: "secret", message, what: name.to_owned() }
    }

    /// The same, with what it is about before its message.
    pub(super) fn about(mut self, name: &str) -> Self {
        let (Self::Invalid(message) | Self::Denied { message, .. }) = &mut self;
        *message = format!("{name}: {message}");
        self
    }

    /// What the script is thrown.
    pub(super) fn thrown(&self, at: Position) -> Box<EvalAltResult> {
        match self {
            Self::Invalid(message) => invalid(message, at),
            Self::Denied { permission, message, what } => denied(permission, message, Some(what), at),
        }
    }
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Self::Invalid(message)
    }
}

impl From<&str> for Problem {
    fn from(message: &str) -> Self {
        Self::Invalid(message.to_owned())
    }
}

pub(crate) fn describe(kind: &str, message: &str, url: Option<&str>, at: Position) -> Map {
    let line = at.line().and_then(|line| i64::try_from(line).ok());
    Map::from_iter([
        ("kind".into(), kind.into()),
        ("message".into(), message.into()),
        ("url".into(), url.map_or(Dynamic::UNIT, |url| url.to_owned().into())),
        ("status".into(), Dynamic::UNIT),
        ("line".into(), line.map_or(Dynamic::UNIT, Dynamic::from)),
    ])
}

/// Why a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScriptErrorKind {
    /// The text is not a script.
    Parse,
    /// An error that the script did not catch, thrown by itself or by what it called.
    Runtime,
    /// The time limit was reached.
    TimeLimit,
    /// It was cancelled.
    Cancelled,
    /// A budget of its sandbox was used up. [`ScriptError::used`] and [`ScriptError::limit`] tell how much that was.
    Budget(Budget),
    /// A function that it has called panicked, the language's own or one that was registered.
    Panicked,
}

/// What it is called outside, and the numbers of a budget.
fn kind_of(ended: &Ended) -> (ScriptErrorKind, Option<(u64, u64)>) {
    match *ended {
        Ended::Time(_) => (ScriptErrorKind::TimeLimit, None),
        Ended::Cancelled => (ScriptErrorKind::Cancelled, None),
        Ended::Budget { budget, limit, used } => (ScriptErrorKind::Budget(budget), Some((limit, used))),
    }
}

/// A thrown value as text, within bounds.
fn shown(value: &Dynamic) -> String {
    if value.is_array() || value.is_map() {
        return super::value::to_json(value).unwrap_or_else(|problem| format!("{}: {problem}", value.type_name()));
    }
    value.to_string()
}

/// A script ended with an error. `Display` is one line; [`render`](Self::render) shows the line of code.
#[derive(Clone, Debug)]
pub struct ScriptError(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ScriptErrorKind,
    message: String,
    value: Option<Dynamic>,
    place: Place,
    /// Of a budget: what it was, and what was used.
    budget: Option<(u64, u64)>,
}

/// Where something is in a script.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// From 1.
    pub(super) line: Option<usize>,
    /// From 1, in characters.
    pub(super) column: Option<usize>,
    /// The name of the script and the line of code.
    code: Option<(String, String)>,
}

impl Place {
    pub(super) fn new(at: Position, name: &str, source: &str) -> Self {
        let line = at.line();
        let code = line.and_then(|line| source.lines().nth(line.checked_sub(1)?));
        Self { line, column: at.position(), code: code.map(|code| (name.to_owned(), code.to_owned())) }
    }

    /// A message with the line of code below it and a caret below the place, in several lines without an end of line.
    pub(super) fn render(&self, message: &str) -> String {
        let (Some(line), Some((name, code))) = (self.line, &self.code) else { return message.to_owned() };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let column = self.column.unwrap_or(1);
        // Tabs stay tabs, so that the caret stands where the eye looks for it.
        let before: String =
            code.chars().take(column.saturating_sub(1)).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        format!("{message}\n{margin}--> {name}:{line}:{column}\n{margin} |\n{number} | {code}\n{margin} | {before}^")
    }
}

impl ScriptError {
    pub(super) fn parse(error: &ParseError, name: &str, source: &str) -> Self {
        Self::new(ScriptErrorKind::Parse, error.err_type().to_string(), None, error.position(), name, source)
    }

    /// The text of a script is larger than is allowed.
    pub(super) fn too_long(bytes: usize, most: u64) -> Self {
        let message = format!("the script has {bytes} bytes, and {most} are allowed");
        Self::new(ScriptErrorKind::Parse, message, None, Position::NONE, "", "")
    }

    /// The value of a script is nested too deeply to be handed on.
    pub(super) fn too_deep() -> Self {
        let message = format!("the value of the script is nested deeper than {MAX_DEPTH} levels");
        Self::new(ScriptErrorKind::Runtime, message, None, Position::NONE, "", "")
    }

    /// An error that has no place yet, and no reason.
    pub(super) fn placeless() -> Self {
        Self::new(ScriptErrorKind::Runtime, String::new(), None, Position::NONE, "", "")
    }

    /// The same place, where the run had to end for this reason.
    pub(super) fn because(mut self, ended: &Ended) -> Self {
        let (kind, budget) = kind_of(ended);
        let inner = &mut *self.0;
        (inner.kind, inner.budget, inner.message, inner.value) = (kind, budget, ended.to_string(), None);
        self
    }

    fn ended_at(ended: &Ended, at: Position, name: &str, source: &str) -> Self {
        Self::new(ScriptErrorKind::Runtime, String::new(), None, at, name, source).because(ended)
    }

    pub(super) fn runtime(error: EvalAltResult, limits: &Limits, name: &str, source: &str) -> Self {
        // The innermost call tells what went wrong; the outer ones only how the script got there.
        let mut error = error;
        while let EvalAltResult::ErrorInFunctionCall(_, _, inner, _) = error {
            error = *inner;
        }
        let at = error.position();
        match error {
            EvalAltResult::ErrorTerminated(reason, _) => match reason.read_lock::<Ended>() {
                Some(ended) => Self::ended_at(&ended, at, name, source),
                None => Self::new(ScriptErrorKind::Cancelled, format!("terminated: {reason}"), None, at, name, source),
            },
            EvalAltResult::ErrorStackOverflow(_) => {
                let limit = limits.call_depth.unwrap_or(CALL_DEPTH as u64);
                let ended = Ended::Budget { budget: Budget::CallDepth, limit, used: limit + 1 };
                Self::ended_at(&ended, at, name, source)
            }
            EvalAltResult::ErrorRuntime(value, _) => {
                let message = match value.read_lock::<Map>() {
                    Some(map) => map.get("message").map_or_else(|| shown(&value), shown),
                    None => shown(&value),
                };
                // Whoever drops it later may have less of a stack.
                let value = is_shallow(&value, MAX_DEPTH).then_some(value);
                Self::new(ScriptErrorKind::Runtime, message, value, at, name, source)
            }
            EvalAltResult::ErrorParsing(kind, _) => {
                Self::new(ScriptErrorKind::Parse, kind.to_string(), None, at, name, source)
            }
            mut other => {
                other.clear_position();
                Self::new(ScriptErrorKind::Runtime, other.to_string(), None, at, name, source)
            }
        }
    }

    /// Something that the script has called panicked.
    pub(super) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let said = panic_text(panic).unwrap_or("no message");
        let message = format!("a function of the script panicked: {said}");
        Self::new(ScriptErrorKind::Panicked, message, None, Position::NONE, "", "")
    }

    fn new(
        kind: ScriptErrorKind,
        message: String,
        value: Option<Dynamic>,
        at: Position,
        name: &str,
        source: &str,
    ) -> Self {
        // One line, whatever a script or a server put into it.
        let message = message.lines().collect::<Vec<_>>().join(" ");
        Self(Box::new(Inner { kind, message, value, place: Place::new(at, name, source), budget: None }))
    }

    /// Why it ended.
    pub fn kind(&self) -> ScriptErrorKind {
        self.0.kind
    }

    /// How much of a budget was used, with what went beyond it.
    pub fn used(&self) -> Option<u64> {
        self.0.budget.map(|(_, used)| used)
    }

    /// How much of a budget there was.
    pub fn limit(&self) -> Option<u64> {
        self.0.budget.map(|(limit, _)| limit)
    }

    /// What went wrong, without the place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The line of the script, from 1.
    pub fn line(&self) -> Option<usize> {
        self.0.place.line
    }

    /// The column in that line, from 1, in characters.
    pub fn column(&self) -> Option<usize> {
        self.0.place.column
    }

    /// What the script has thrown: for an error of a request a map with `kind`, `message`, `url`, `status` and `line`.
    pub fn value(&self) -> Option<&Dynamic> {
        self.0.value.as_ref()
    }

    /// The error with the line of code and a caret below the place, in several lines without an end of line.
    pub fn render(&self) -> String {
        self.0.place.render(&format!("error: {}", self.0.message))
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match (self.0.place.line, self.0.place.column) {
            (Some(line), Some(column)) => write!(f, " (line {line}, column {column})"),
            (Some(line), None) => write!(f, " (line {line})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ScriptError {}
