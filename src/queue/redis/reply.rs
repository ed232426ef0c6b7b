//! What scripts answer, as jobs, events and reports. Asks nothing.

use std::collections::HashMap;
use std::vec::IntoIter;

use ::redis::Value;
use serde::de::DeserializeOwned;

use super::super::event::{Event, Events};
use super::super::job::{Job, NewJob, State};
use super::super::{JobId, QueueError};
use super::scripts::state;

/// An answer: a word, and what belongs to it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) word: String,
    rest: IntoIter<Value>,
}

impl Reply {
    pub(super) fn new(value: Value) -> Result<Self, QueueError> {
        let mut rest = Self::array(value).into_iter();
        let word = rest.next().as_ref().and_then(text).ok_or_else(strange)?;
        Ok(Self { word, rest })
    }

    /// The elements of an array; none of anything else.
    pub(super) fn array(value: Value) -> Vec<Value> {
        match value {
            Value::Array(values) => values,
            _ => Vec::new(),
        }
    }

    /// The next part.
    pub(super) fn value(&mut self) -> Result<Value, QueueError> {
        self.rest.next().ok_or_else(strange)
    }

    /// The same, as text.
    pub(super) fn text(&mut self) -> Result<String, QueueError> {
        text(&self.value()?).ok_or_else(strange)
    }

    /// The same, as a number or anything else that has a form.
    pub(super) fn parsed<T: std::str::FromStr>(&mut self) -> Result<T, QueueError> {
        self.text()?.parse().map_err(|_| strange())
    }

    /// All that is left.
    pub(super) fn rest(self) -> impl Iterator<Item = Value> {
        self.rest
    }
}

/// What other versions of this program, or other programs, may have written.
pub(super) fn strange() -> QueueError {
    QueueError::Unavailable("what Redis keeps of it cannot be understood".into())
}

/// A text or a number, as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Names and values that follow each other.
pub(super) fn pairs(value: Value) -> HashMap<String, String> {
    let texts: Vec<_> = Reply::array(value).iter().map(|value| text(value).unwrap_or_default()).collect();
    texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, QueueError> {
    serde_json::from_str(text).map_err(|_| strange())
}

/// A job from all fields that are kept of it.
pub(super) fn job(id: JobId, fields: &HashMap<String, String>) -> Result<Job, QueueError> {
    let field = |name: &str| fields.get(name).map(String::as_str);
    let number = |name: &str| field(name).and_then(|text| text.parse().ok());
    let mut new: NewJob = json(field("new").ok_or_else(strange)?)?;
    new.not_before = number("due");
    Ok(Job {
        id,
        new,
        state: field("state").and_then(state).ok_or_else(strange)?,
        attempts: field("attempts").and_then(|text| text.parse().ok()).ok_or_else(strange)?,
        created_at: number("created").ok_or_else(strange)?,
        started_at: number("started"),
        finished_at: number("finished"),
        worker: field("worker").map(str::to_owned),
        ending: field("ending").map(|cause| json(&format!("\"{cause}\""))).transpose()?,
        outcome: field("outcome").map(json).transpose()?,
    })
}

/// A job without its texts, from what `list.lua` returns of it. Nothing where it is forgotten meanwhile.
pub(super) fn brief(id: JobId, fields: Value) -> Result<Option<Job>, QueueError> {
    const NAMES: [&str; 7] = ["new", "state", "attempts", "created", "started", "finished", "outcome"];
    let values = Reply::array(fields);
    let named = NAMES.into_iter().zip(&values).filter_map(|(name, value)| Some((name.to_owned(), text(value)?)));
    let fields: HashMap<_, _> = named.collect();
    if fields.contains_key("new") { job(id, &fields).map(Some) } else { Ok(None) }
}

/// What stands in a list for a job: all but its texts.
pub(super) fn head(new: &NewJob) -> NewJob {
    NewJob { script: new.first_line(), args: serde_json::Value::Null, ..new.clone() }
}

/// Events from what `events.lua` returns.
pub(super) fn events(mut reply: Reply, from: u64) -> Result<Events, QueueError> {
    let state: State = state(&reply.text()?).ok_or_else(strange)?;
    let (last, kept): (u64, u64) = (reply.parsed()?, reply.parsed()?);
    let texts = Reply::array(reply.value()?);
    let first = (last + 1).saturating_sub(kept);
    let mut events = Vec::with_capacity(texts.len());
    for (seq, value) in (from.max(first)..).zip(&texts) {
        let text = text(value).ok_or_else(strange)?;
        let mut parts = text.splitn(3, ' ');
        let mut part = || parts.next().ok_or_else(strange);
        let at = part()?.parse().map_err(|_| strange())?;
        events.push(Event { seq, at, kind: json(&format!("\"{}\"", part()?))?, data: json(part()?)? });
    }
    let reached = events.last().map_or(from.saturating_sub(1), |event| event.seq);
    Ok(Events { missed: first.saturating_sub(from), ended: state.has_ended() && reached >= last, events })
}
