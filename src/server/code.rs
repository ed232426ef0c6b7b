//! Errors of calls: their codes, and what they carry. Decides nothing.

use std::time::Duration;

use jsonrpsee_types::ErrorObjectOwned;
use serde_json::{Value, json};

use crate::queue::{Job, JobId, QueueError, State, millis};

pub(super) const PARSE: i32 = -32700;
pub(super) const INVALID_REQUEST: i32 = -32600;
pub(super) const METHOD: i32 = -32601;
pub(super) const PARAMS: i32 = -32602;
/// A script has ended with an error.
pub(super) const SCRIPT: i32 = -32000;
pub(super) const AUTHENTICATION: i32 = -32001;
pub(super) const TIMEOUT: i32 = -32002;
pub(super) const NOT_FOUND: i32 = -32004;
pub(super) const FULL: i32 = -32005;
pub(super) const CANCELLED: i32 = -32006;
pub(super) const BACKEND: i32 = -32007;
pub(super) const LIMIT: i32 = -32008;
pub(super) const FORBIDDEN: i32 = -32009;
pub(super) const CONFLICT: i32 = -32010;

/// All codes and what they mean, for those who ask the server what it can do.
pub(super) const ALL: &[(i32, &str)] = &[
    (PARSE, "the message is no JSON"),
    (INVALID_REQUEST, "the message is no request of JSON-RPC 2.0"),
    (METHOD, "there is no such method"),
    (PARAMS, "the parameters are not those of the method"),
    (SCRIPT, "the script has ended with an error"),
    (AUTHENTICATION, "a valid token is needed"),
    (TIMEOUT, "the time was over; the script was stopped"),
    (NOT_FOUND, "there is nothing of that name"),
    (FULL, "the queue is full; try again after retry_after_ms"),
    (CANCELLED, "the job was cancelled"),
    (BACKEND, "the queue cannot be reached now; try again"),
    (LIMIT, "a limit of the connection, of the tenant or of the message was reached"),
    (FORBIDDEN, "that is not allowed"),
    (CONFLICT, "the idempotency key was used for another job"),
];

pub(super) fn error(code: i32, message: impl Into<String>, data: Option<Value>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, data)
}

/// The parameters are wrong.
pub(super) fn params(message: impl Into<String>) -> ErrorObjectOwned {
    error(PARAMS, message, None)
}

/// Some limit was reached.
pub(super) fn limit(message: impl Into<String>, retry_after: Option<Duration>) -> ErrorObjectOwned {
    error(LIMIT, message, retry_after.map(|after| json!({ "retry_after_ms": millis(after) })))
}

/// What a queue says, as callers hear it.
pub(super) fn of_queue(failed: &QueueError) -> ErrorObjectOwned {
    let text = failed.to_string();
    match failed {
        QueueError::Conflict(id) => error(CONFLICT, text, Some(json!({ "job_id": id }))),
        QueueError::Full { retry_after } => error(FULL, text, Some(json!({ "retry_after_ms": millis(*retry_after) }))),
        QueueError::NotFound(what) => error(NOT_FOUND, text, Some(json!({ "what": what }))),
        QueueError::Invalid(_) => params(text),
        QueueError::LostLease(_) | QueueError::Unavailable(_) => error(BACKEND, text, None),
    }
}

/// The time of a call was over.
pub(super) fn timeout(id: JobId, state: State) -> ErrorObjectOwned {
    error(TIMEOUT, "the time was over", Some(json!({ "job_id": id, "state": state })))
}

/// What became of a job that has no value.
pub(super) fn of_job(job: &Job) -> Option<ErrorObjectOwned> {
    let outcome = job.outcome.as_ref()?;
    let failure = outcome.failure.as_ref()?;
    Some(match failure.state {
        State::TimedOut => error(
            TIMEOUT,
            failure.message.clone(),
            Some(json!({ "job_id": job.id, "state": job.state, "output": outcome.output, "line": failure.line })),
        ),
        State::Cancelled => error(CANCELLED, failure.message.clone(), Some(json!({ "job_id": job.id }))),
        _ => error(
            SCRIPT,
            failure.message.clone(),
            Some(json!({
                "job_id": job.id,
                "kind": failure.kind,
                "line": failure.line,
                "column": failure.column,
                "rendered": failure.rendered,
                "value": failure.value,
                "output": outcome.output,
            })),
        ),
    })
}
