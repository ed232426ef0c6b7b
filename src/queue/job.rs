//! What jobs are: plain data, and the checks that each one passes before it is accepted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{QueueError, Settings};
use crate::hex;

/// The most bytes of an idempotency key, as payment services have it.
const MAX_KEY: usize = 255;
/// The most bytes of the names of tenants and scripts.
const MAX_NAME: usize = 100;

/// The name of a job: those of later ones sort behind it (RFC 9562, version 7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(Uuid);

impl JobId {
    /// One that no other job has.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for JobId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = QueueError;

    fn from_str(text: &str) -> Result<Self, QueueError> {
        Uuid::try_parse(text).map(Self).map_err(|_| QueueError::NotFound("job"))
    }
}

impl TryFrom<String> for JobId {
    type Error = QueueError;

    fn try_from(text: String) -> Result<Self, QueueError> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

/// Which jobs come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// The default.
    #[default]
    Normal,
    /// After all others.
    Low,
}

impl Priority {
    /// All of them, the first one first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Its name, as JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// What a job came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A client has asked for it.
    #[default]
    Client,
    /// A schedule of that name.
    Schedule(String),
    /// A webhook of that name.
    Hook(String),
}

/// A job to be submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewJob {
    /// Whose it is.
    pub tenant: String,
    /// The text of the script.
    pub script: String,
    /// The name of the script in the library, with its version: `report@3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the script finds in its constant `ARGS`.
    #[serde(default)]
    pub args: Value,
    /// Default: normal.
    #[serde(default)]
    pub priority: Priority,
    /// The most milliseconds that it may run.
    pub timeout_ms: u64,
    /// How often it is delivered at most, where workers die with it. Default: 3.
    #[serde(default = "three")]
    pub max_attempts: u32,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    /// The same key with the same job gives the same job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The trace that it belongs to (W3C Trace Context, `traceparent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_parent: Option<String>,
    /// What it came from.
    #[serde(default)]
    pub origin: Origin,
    /// The idempotency key alone tells which job it is: another one with the same key is taken for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_by_key: bool,
}

fn three() -> u32 {
    3
}

impl NewJob {
    /// A job with the defaults.
    pub fn new(tenant: impl Into<String>, script: impl Into<String>, timeout_ms: u64) -> Self {
        Self {
            tenant: tenant.into(),
            script: script.into(),
            name: None,
            args: Value::Null,
            priority: Priority::default(),
            timeout_ms,
            max_attempts: three(),
            not_before: None,
            idempotency_key: None,
            trace_parent: None,
            origin: Origin::Client,
            same_by_key: false,
        }
    }

    /// Refuses what can never run.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), QueueError> {
        let invalid = |why: String| Err(QueueError::Invalid(why));
        check_name("a tenant", &self.tenant)?;
        if self.timeout_ms == 0 || self.max_attempts == 0 {
            return invalid("a job has a time limit and a number of attempts above zero".into());
        }
        if let Some(key) = &self.idempotency_key
            && (key.is_empty() || key.len() > MAX_KEY)
        {
            return invalid(format!("an idempotency key has 1 to {MAX_KEY} bytes"));
        }
        let size = self.size();
        if size > settings.job_size {
            return invalid(format!("the job has {size} bytes, and {} are allowed", settings.job_size));
        }
        Ok(())
    }

    /// What stands for the script in a list.
    pub(super) fn first_line(&self) -> String {
        let line = self.script.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        line.chars().take(80).collect()
    }

    fn size(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |text| text.len())
    }

    /// What tells this job from another one under the same idempotency key: what it does, not when and for whom.
    pub(super) fn fingerprint(&self) -> String {
        if self.same_by_key {
            return "the key".into();
        }
        let what = (&self.script, &self.name, &self.args, self.priority, self.timeout_ms);
        let text = serde_json::to_vec(&what).unwrap_or_default();
        hex::encode(&Sha256::digest(&text))
    }
}

/// Names are parts of keys, addresses and file names, so they are plain.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), QueueError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        return Err(QueueError::Invalid(format!(
            "the name of {what} has 1 to {MAX_NAME} letters, digits and `-_.`, unlike `{}`",
            name.chars().take(MAX_NAME).collect::<String>().escape_debug()
        )));
    }
    Ok(())
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its time has not come.
    Delayed,
    /// It could run.
    Queued,
    /// A worker has it.
    Running,
    /// The script has reached its end.
    Succeeded,
    /// The script has ended with an error of its own.
    Failed,
    /// It has taken too long.
    TimedOut,
    /// Somebody has cancelled it.
    Cancelled,
    /// It was delivered as often as it may be, and no worker has finished it: a dead letter.
    Dead,
}

impl State {
    /// Whether nothing will happen to it any more, unless somebody lets it run again.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Delayed | Self::Queued | Self::Running)
    }

    /// Its name, as JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delayed => "delayed",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }
}

/// Why a job is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Somebody does not want it any more.
    Cancelled,
    /// Whoever waits for it has waited long enough.
    TimedOut,
}

impl Cause {
    /// How a job stands that has ended so.
    pub fn state(self) -> State {
        match self {
            Self::Cancelled => State::Cancelled,
            Self::TimedOut => State::TimedOut,
        }
    }
}

/// A job, as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What was submitted.
    #[serde(flatten)]
    pub new: NewJob,
    /// Where it stands.
    pub state: State,
    /// How often it was delivered.
    pub attempts: u32,
    /// When it was submitted.
    pub created_at: u64,
    /// When it was delivered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<u64>,
    /// Who has or had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Why it is to end, where somebody wants that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Cause>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// What became of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why it has no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The last value of the script.
    #[serde(default)]
    pub value: Value,
    /// The type of that, where it is none of JSON; it is null then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_type: Option<String>,
    /// What it printed.
    #[serde(default)]
    pub output: String,
    /// How long it ran, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// What it has used, by the names of the budgets.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub usage: Map<String, Value>,
}

impl Outcome {
    /// One without a value.
    pub fn failed(state: State, kind: &str, message: impl Into<String>) -> Self {
        let failure = Failure {
            state,
            kind: kind.to_owned(),
            message: message.into(),
            line: None,
            column: None,
            rendered: None,
            value: None,
        };
        Self { failure: Some(failure), ..Self::default() }
    }

    /// How the job stands with it.
    pub fn state(&self) -> State {
        self.failure.as_ref().map_or(State::Succeeded, |failure| failure.state)
    }

    /// Leaves out a value that is too large.
    pub(super) fn bounded(mut self, settings: &Settings) -> Self {
        let size = serde_json::to_vec(&self.value).map_or(usize::MAX, |text| text.len());
        if size > settings.value_size {
            let message = format!("the value has {size} bytes, and {} are kept", settings.value_size);
            let mut failed = Self::failed(State::Failed, "too_large", message);
            (failed.output, failed.duration_ms, failed.usage) = (self.output, self.duration_ms, self.usage);
            self = failed;
        }
        self
    }
}

/// Why a job has no value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// How the job stands.
    pub state: State,
    /// The kind of error, in one word.
    pub kind: String,
    /// What went wrong.
    pub message: String,
    /// The line of the script, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The column in that line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// The message with the line of code, in several lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
    /// What the script has thrown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// What was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The job.
    pub id: JobId,
    /// Whether it was there already, by its idempotency key.
    pub existed: bool,
}

/// Shows that a worker has a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The job.
    pub id: JobId,
    /// Whose it is.
    pub tenant: String,
    /// Who has it.
    pub worker: String,
    /// The delivery that it is valid for.
    pub attempt: u32,
    /// What the queue calls this delivery.
    pub entry: String,
}

/// A job that a worker has for some time.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The job.
    pub job: Job,
    /// What shows that it is this worker's.
    pub ticket: Ticket,
}

/// What a worker is told when it renews its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orders {
    /// The job is still wanted.
    GoOn,
    /// It is to be ended.
    End(Cause),
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Those in one of these states. Default: all.
    pub states: Vec<State>,
    /// Those of the script of this name, in whatever version.
    pub name: Option<String>,
    /// Those submitted at this time or later.
    pub since: Option<u64>,
    /// Those submitted before this time.
    pub before: Option<u64>,
    /// Those behind this one, which is the `next` of the page before.
    pub after: Option<JobId>,
    /// So many at most: 1 to 200. Default: 50.
    pub limit: Option<u32>,
    /// Those that came from there.
    pub origin: Option<Origin>,
}

impl Filter {
    /// How many at most.
    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(50).clamp(1, 200) as usize
    }

    /// Whether a job is to be listed.
    pub(super) fn takes(&self, job: &Job) -> bool {
        (self.states.is_empty() || self.states.contains(&job.state))
            && self.since.is_none_or(|since| job.created_at >= since)
            && self.before.is_none_or(|before| job.created_at < before)
            && self.origin.as_ref().is_none_or(|origin| job.new.origin == *origin)
            && self.name.as_deref().is_none_or(|wanted| {
                job.new.name.as_deref().is_some_and(|name| name == wanted || name.split('@').next() == Some(wanted))
            })
    }
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The newest first.
    pub jobs: Vec<Summary>,
    /// What the next page is after; nothing where this is the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<JobId>,
}

/// A job in a list, without its texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Its name.
    pub id: JobId,
    /// Where it stands.
    pub state: State,
    /// The name of its script, or the first line of that.
    pub title: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What it came from.
    pub origin: Origin,
    /// How often it was delivered.
    pub attempts: u32,
    /// When it was submitted.
    pub created_at: u64,
    /// When it was delivered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<u64>,
    /// How long it ran, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<&Job> for Summary {
    fn from(job: &Job) -> Self {
        Self {
            id: job.id,
            state: job.state,
            title: job.new.name.clone().unwrap_or_else(|| job.new.first_line()),
            priority: job.new.priority,
            origin: job.new.origin.clone(),
            attempts: job.attempts,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            duration_ms: job.outcome.as_ref().map(|outcome| outcome.duration_ms),
            error: job.outcome.as_ref().and_then(|outcome| Some(outcome.failure.as_ref()?.message.clone())),
        }
    }
}
