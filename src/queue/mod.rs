//! Jobs that wait for workers, and what became of them. Runs no script and knows no connection.
//!
//! [`Queue`] is the contract; [`MemoryQueue`] keeps it within one process, `RedisQueue` (feature `redis`) for several. What
//! all promise:
//!
//! - A job that was accepted is kept until it has ended, and its [`Outcome`] for a time after that.
//! - It is delivered *at least once*: a [`Lease`] lasts some time and is renewed; where that fails, the job is delivered again,
//!   at most [`NewJob::max_attempts`] times, and is a dead letter then.
//! - A worker that has lost its lease can change nothing of the job any more: its [`Ticket`] is refused.
//! - A script's own error is an outcome, not a reason to deliver again.
//! - Who waits listens to [`Bells`] and is woken; nobody asks again and again.
//! - Tenants take turns, and each has so many jobs in flight at most.
//!
//! Times are milliseconds since the Unix epoch, by the clock of the queue.
//!
//! # Files
//!
//! - `job`: what jobs are. `event`: what is told of one while it runs. `record`: what else a queue keeps.
//! - `bells`: who is woken. `wait`: waiting for the end of a job.
//! - `ledger`: the rules of the memory queue, without a clock. `memory`: the queue around it. `journal`: its file.
//! - `redis`: the queue that processes share, with the same rules as scripts that run within Redis.

mod bells;
mod event;
mod job;
mod journal;
mod ledger;
mod memory;
mod record;
#[cfg(feature = "redis")]
pub mod redis;
mod settings;
mod time;
mod wait;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

pub use self::bells::{Bells, Listener};
pub use self::event::{Event, EventKind, Events, NewEvent};
#[cfg(feature = "server")]
pub(crate) use self::job::check_name;
pub use self::job::{
    Cause, Failure, Filter, Job, JobId, Lease, NewJob, Orders, Origin, Outcome, Page, Priority, State, Submitted,
    Summary, Ticket,
};
pub use self::memory::MemoryQueue;
pub use self::record::{Record, RecordKind};
#[cfg(feature = "redis")]
pub use self::redis::RedisQueue;
pub use self::settings::Settings;
#[cfg(any(feature = "worker", feature = "server"))]
pub(crate) use self::time::millis;
#[cfg(feature = "worker")]
pub(crate) use self::time::now;
pub use self::wait::wait_for_end;

/// Where jobs wait, and where their outcomes are kept.
#[async_trait]
pub trait Queue: Send + Sync + fmt::Debug + 'static {
    /// Accepts a job. With an idempotency key that the tenant has used lately, the same job gives the one that there is.
    ///
    /// # Errors
    ///
    /// [`QueueError::Conflict`] where the key was used for another job, [`QueueError::Full`] where too many wait already,
    /// [`QueueError::Invalid`] for a job that can never run.
    async fn submit(&self, job: NewJob) -> Result<Submitted, QueueError>;

    /// A job, whatever its state.
    ///
    /// # Errors
    ///
    /// [`QueueError::NotFound`], also for the job of another tenant.
    async fn job(&self, tenant: &str, id: JobId) -> Result<Job, QueueError>;

    /// Where a job stands.
    ///
    /// # Errors
    ///
    /// As for [`job`](Self::job).
    async fn state(&self, tenant: &str, id: JobId) -> Result<State, QueueError> {
        self.job(tenant, id).await.map(|job| job.state)
    }

    /// The tenant's jobs, the newest first.
    async fn list(&self, tenant: &str, filter: &Filter) -> Result<Page, QueueError>;

    /// Ends a job that waits, and asks the worker of a running one to end it. One that has ended stays as it is.
    ///
    /// # Errors
    ///
    /// [`QueueError::NotFound`].
    async fn cancel(&self, tenant: &str, id: JobId, cause: Cause) -> Result<Job, QueueError>;

    /// Lets a job that has ended badly run again, under its id and with its attempts counted anew.
    ///
    /// # Errors
    ///
    /// [`QueueError::NotFound`], and [`QueueError::Invalid`] where the job has not ended, or has ended well.
    async fn retry(&self, tenant: &str, id: JobId) -> Result<Job, QueueError>;

    /// Takes the next job for a worker, if there is one. Does not wait: see [`Bells::work`].
    async fn lease(&self, worker: &str) -> Result<Option<Lease>, QueueError>;

    /// Makes a lease last for its whole time again, and says whether the job is still wanted.
    ///
    /// # Errors
    ///
    /// [`QueueError::LostLease`].
    async fn renew(&self, ticket: &Ticket) -> Result<Orders, QueueError>;

    /// Tells those who listen what a running job does.
    ///
    /// # Errors
    ///
    /// [`QueueError::LostLease`].
    async fn tell(&self, ticket: &Ticket, events: Vec<NewEvent>) -> Result<(), QueueError>;

    /// The job has ended. Told twice for the same ticket, the second is ignored.
    ///
    /// # Errors
    ///
    /// [`QueueError::LostLease`].
    async fn complete(&self, ticket: &Ticket, outcome: Outcome) -> Result<(), QueueError>;

    /// Hands a job back unfinished, because its worker stops. The attempt is not counted.
    ///
    /// # Errors
    ///
    /// [`QueueError::LostLease`].
    async fn release(&self, ticket: &Ticket) -> Result<(), QueueError>;

    /// What was told of a job, from a number on, so many at most.
    ///
    /// # Errors
    ///
    /// [`QueueError::NotFound`].
    async fn events(&self, tenant: &str, id: JobId, from: u64, most: usize) -> Result<Events, QueueError>;

    /// Does what is due by now: jobs whose time has come, leases that were lost, outcomes that were kept long enough. To be
    /// called about once a second by each process. Says how long it is until the next job is due, if that is known.
    async fn tend(&self) -> Result<Option<Duration>, QueueError>;

    /// A worker lives. To be said every few seconds.
    async fn beat(&self, worker: &WorkerReport) -> Result<(), QueueError>;

    /// A worker has stopped.
    async fn leave(&self, worker: &str) -> Result<(), QueueError>;

    /// Workers that live.
    async fn workers(&self) -> Result<Vec<WorkerReport>, QueueError>;

    /// How much waits, runs, and has ended: of one tenant, or of all.
    async fn stats(&self, tenant: Option<&str>) -> Result<Stats, QueueError>;

    /// Keeps a record in place of the one with its name.
    ///
    /// # Errors
    ///
    /// [`QueueError::Full`] where the tenant has too many already.
    async fn put(&self, record: Record) -> Result<(), QueueError>;

    /// Keeps a record unless there is one with its name. Returns whether it is kept.
    ///
    /// # Errors
    ///
    /// [`QueueError::Full`] where the tenant has too many already.
    async fn add(&self, record: Record) -> Result<bool, QueueError>;

    /// A record.
    ///
    /// # Errors
    ///
    /// [`QueueError::NotFound`].
    async fn record(&self, kind: RecordKind, tenant: &str, name: &str) -> Result<Record, QueueError>;

    /// All records of a kind, by tenant and name: of one tenant, or of all.
    async fn records(&self, kind: RecordKind, tenant: Option<&str>) -> Result<Vec<Record>, QueueError>;

    /// The names of a tenant's records of a kind, in order, without what they say.
    async fn record_names(&self, kind: RecordKind, tenant: &str) -> Result<Vec<String>, QueueError>;

    /// Forgets a record. Returns whether there was one.
    async fn remove(&self, kind: RecordKind, tenant: &str, name: &str) -> Result<bool, QueueError>;

    /// Who is woken when something happens.
    fn bells(&self) -> &Bells;

    /// The limits and times that it keeps.
    fn settings(&self) -> &Settings;

    /// What an operator should know of it, such as that it loses jobs at a restart.
    async fn warnings(&self) -> Result<Vec<String>, QueueError>;
}

/// Why a queue did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The idempotency key belongs to a job that is another one.
    #[error("the idempotency key was used for another job, {0}")]
    Conflict(JobId),
    /// As many wait as may.
    #[error("the queue is full; try again in {} ms", .retry_after.as_millis())]
    Full {
        /// When there may be room again.
        retry_after: Duration,
    },
    /// There is nothing of that name.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The lease has ended, and the job may be somebody else's.
    #[error("the lease of the job {0} has ended")]
    LostLease(JobId),
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// What keeps the jobs cannot be reached, or fails.
    #[error("the queue cannot be used now: {0}")]
    Unavailable(String),
}

/// What a worker tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WorkerReport {
    /// Its name, which no other one has.
    pub name: String,
    /// How many jobs it runs at once, at most.
    pub concurrency: u64,
    /// How many it runs now.
    pub running: u64,
    /// How many it has finished.
    pub finished: u64,
    /// When it was started.
    pub started_at: u64,
    /// When it said so.
    pub seen_at: u64,
}

/// How much there is of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// Jobs that could run now.
    pub waiting: u64,
    /// Jobs whose time has not come.
    pub delayed: u64,
    /// Jobs that run.
    pub running: u64,
    /// Dead letters.
    pub dead: u64,
    /// How long the oldest of those that wait has waited, in milliseconds.
    pub oldest_ms: u64,
    /// Jobs that were delivered again because a lease was lost, since the queue was made.
    pub redelivered: u64,
}
