//! What a script gets for the response of an API: its value, or an error with what the server said. Sends nothing.

use http::header::CONTENT_TYPE;
use rhai::{Dynamic, Position};

use super::client::Finish;
use super::failure;
use super::promise::Outcome;
use super::reply::Reply;
use crate::error::Error;

/// The most characters of a body in an error, unless it is JSON.
const MAX_SHOWN: usize = 1_000;

/// What a script gets for a response of success.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// Its JSON, or `()` if there is none.
    Json,
    /// Its text.
    Text,
    /// The response itself.
    Response,
    /// What its content type tells: JSON, text, or a blob.
    ByType,
}

impl Answer {
    pub(super) fn finish(self) -> Finish {
        match self {
            Self::Json => |reply, at| checked(&reply, at, json),
            Self::Text => |reply, at| checked(&reply, at, |reply| reply.text().map(Dynamic::from)),
            Self::Response => |reply, at| checked(&reply, at, |reply| Ok(Dynamic::from(reply.clone()))),
            Self::ByType => |reply, at| checked(&reply, at, by_type),
        }
    }
}

/// What `raise()` throws for a status of 400 and above, with the body: its JSON, or the beginning of its text.
pub(super) fn refusal(reply: &Reply, at: Position) -> Option<Dynamic> {
    let mut map = reply.refusal(at)?;
    let text = || {
        let text = reply.text().unwrap_or_default();
        let end = text.char_indices().nth(MAX_SHOWN);
        end.map_or_else(|| text.clone(), |(end, _)| format!("{}…", &text[..end])).into()
    };
    map.insert("body".into(), json(reply).unwrap_or_else(|_| text()));
    Some(map.into())
}

fn checked(reply: &Reply, at: Position, value: fn(&Reply) -> Result<Dynamic, Error>) -> Outcome {
    match refusal(reply, at) {
        Some(thrown) => Err(thrown),
        None => value(reply).map_err(|error| failure::described(&error, at)),
    }
}

fn json(reply: &Reply) -> Result<Dynamic, Error> {
    if reply.body().is_empty() { Ok(Dynamic::UNIT) } else { reply.json() }
}

fn by_type(reply: &Reply) -> Result<Dynamic, Error> {
    let kind = reply.header(CONTENT_TYPE).unwrap_or("application/json").to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if reply.body().is_empty() || kind == "application/json" || kind.ends_with("+json") {
        json(reply)
    } else if kind.starts_with("text/") || kind.ends_with("xml") {
        reply.text().map(Dynamic::from)
    } else {
        Ok(Dynamic::from_blob(reply.body().to_vec()))
    }
}
