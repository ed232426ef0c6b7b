//! Errors on their way into a script, as maps that it can catch, and out of it, with the line that failed.

use std::any::Any;
use std::fmt;

use rhai::{Dynamic, EvalAltResult, Map, ParseError, Position};

use super::run;
use crate::error::{Error, panic_text};

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
    map.into()
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
pub(super) fn status(code: u16, reason: &str, url: &str, at: Position) -> Box<EvalAltResult> {
    let message = format!("the server answered {code} {reason} ({url})");
    let mut map = describe("status", message.trim(), Some(url), at);
    map.insert("status".into(), i64::from(code).into());
    Box::new(EvalAltResult::ErrorRuntime(map.into(), at))
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
    /// A function that it has called panicked, the language's own or one that was registered.
    Panicked,
}

/// A script ended with an error. `Display` is one line; [`render`](Self::render) shows the line of code.
#[derive(Clone, Debug)]
pub struct ScriptError(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ScriptErrorKind,
    message: String,
    value: Option<Dynamic>,
    line: Option<usize>,
    column: Option<usize>,
    /// The name of the script and the line of code.
    place: Option<(String, String)>,
}

impl ScriptError {
    pub(super) fn parse(error: &ParseError, name: &str, source: &str) -> Self {
        Self::new(ScriptErrorKind::Parse, error.err_type().to_string(), None, error.position(), name, source)
    }

    pub(super) fn runtime(error: EvalAltResult, name: &str, source: &str) -> Self {
        // The innermost call tells what went wrong; the outer ones only how the script got there.
        let mut error = error;
        while let EvalAltResult::ErrorInFunctionCall(_, _, inner, _) = error {
            error = *inner;
        }
        let at = error.position();
        match error {
            EvalAltResult::ErrorTerminated(reason, _) => {
                let cancelled = reason.read_lock::<rhai::ImmutableString>().is_some_and(|text| *text == run::CANCELLED);
                let (kind, message) = if cancelled {
                    (ScriptErrorKind::Cancelled, "the script was cancelled")
                } else {
                    (ScriptErrorKind::TimeLimit, "the script's time limit was reached")
                };
                Self::new(kind, message.into(), None, at, name, source)
            }
            EvalAltResult::ErrorRuntime(value, _) => {
                let message = match value.read_lock::<Map>() {
                    Some(map) => map.get("message").map_or_else(|| value.to_string(), ToString::to_string),
                    None => value.to_string(),
                };
                Self::new(ScriptErrorKind::Runtime, message, Some(value), at, name, source)
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
        let line = at.line();
        let code = line.and_then(|line| source.lines().nth(line.checked_sub(1)?));
        let place = code.map(|code| (name.to_owned(), code.to_owned()));
        // One line, whatever a script or a server put into it.
        let message = message.lines().collect::<Vec<_>>().join(" ");
        Self(Box::new(Inner { kind, message, value, line, column: at.position(), place }))
    }

    /// Why it ended.
    pub fn kind(&self) -> ScriptErrorKind {
        self.0.kind
    }

    /// What went wrong, without the place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The line of the script, from 1.
    pub fn line(&self) -> Option<usize> {
        self.0.line
    }

    /// The column in that line, from 1, in characters.
    pub fn column(&self) -> Option<usize> {
        self.0.column
    }

    /// What the script has thrown: for an error of a request a map with `kind`, `message`, `url`, `status` and `line`.
    pub fn value(&self) -> Option<&Dynamic> {
        self.0.value.as_ref()
    }

    /// The error with the line of code and a caret below the place, in several lines without an end of line.
    pub fn render(&self) -> String {
        let mut text = format!("error: {}", self.0.message);
        let (Some(line), Some((name, code))) = (self.0.line, &self.0.place) else { return text };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let column = self.0.column.unwrap_or(1);
        // Tabs stay tabs, so that the caret stands where the eye looks for it.
        let before: String =
            code.chars().take(column.saturating_sub(1)).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        text.push_str(&format!("\n{margin}--> {name}:{line}:{column}"));
        text.push_str(&format!("\n{margin} |\n{number} | {code}\n{margin} | {before}^"));
        text
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match (self.0.line, self.0.column) {
            (Some(line), Some(column)) => write!(f, " (line {line}, column {column})"),
            (Some(line), None) => write!(f, " (line {line})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ScriptError {}
