//! The queue that several processes share, in Redis 6.2 or newer or in a cluster of it. Keeps nothing itself: every change
//! is one script that runs within Redis, by Redis' own clock.
//!
//! # Keys
//!
//! All begin with `marmot:{NAME}:`, where NAME is that of the queue. The braces keep them on one node of a cluster.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `job:ID` | hash | a job: `new` as it was submitted, `head` without its texts, `state`, `attempts`, `max`, `created`, `due`, `started`, `finished`, `worker`, `delivery`, `entry` (its id in the stream), `ending`, `outcome`, `brief`, `key`, `told` and `bytes` (of its events). Removed when it has ended and was kept long enough, dead letters not; expires a minute later where no process is there to do that. |
//! | `events:ID` | list | `TIME KIND JSON`, the last ones. Expires with the job. |
//! | `jobs:PRIORITY:TENANT` | stream | an entry for each job that could run or runs; group `workers`, a consumer for each worker; `-` has those that were handed back. What has ended is acknowledged and deleted. |
//! | `turns:PRIORITY` | sorted set | tenants with jobs that could run; the lowest is next |
//! | `queued`, `queued:TENANT` | sorted set | jobs that could run, by the time since when |
//! | `delayed` | sorted set | jobs by the time that they wait for |
//! | `leases` | sorted set | jobs that run, by the time when their lease ends |
//! | `all:TENANT` | sorted set | all jobs of a tenant, by name, which is by age |
//! | `ended`, `ended:TENANT` | sorted set | jobs by the time of their end; the first one as `TENANT/ID`, without dead letters |
//! | `key:TENANT:KEY` | string | an idempotency key: job and fingerprint; expires |
//! | `counts` | hash | `queued`, `delayed`, `running`, `dead`, and the same with `/TENANT`; `redelivered`; the last numbers of `deliveries`, `turn` and `feed` |
//! | `feed` | stream | who is to be woken: `news` and `orders` with jobs, `work` with a number; the last 10,000 or so |
//! | `workers`, `seen` | hash, sorted set | reports of workers, and when they said so |
//! | `consumers:WORKER`, `gone` | sets | streams in which a worker is a consumer; workers whose consumers can be removed |
//! | `records:KIND`, `records:KIND:TENANT` | set, hash | tenants with records; those by name |
//!
//! # Who has a job
//!
//! A worker has a job while the group says that the entry is pending for it *and* the hash says that this is the delivery
//! of its ticket; each script asks for both before it changes anything. A renewal is `XCLAIM … JUSTID`, which sets the
//! entry's idle time to zero and counts no delivery. A lease that has ended is found in `leases`; the entry goes to the
//! consumer `-`, at its old place in the stream, and is claimed from there by the next worker, which counts.
//!
//! # What Redis may lose
//!
//! Without `appendonly yes` a crash loses all since the last snapshot, and with a `maxmemory-policy` other than `noeviction`
//! a full memory loses jobs: the queue warns of both. With the default `appendfsync everysec` a crash loses what was
//! accepted within the last second or two; with `always` nothing. A replica that takes over may lack the last changes, as it
//! is written to later; no setting of Redis prevents that.
//!
//! # Files
//!
//! - `address`: what is connected to. `connection`: how. `scripts`, `lua/`: what runs within Redis; `lua/common.lua` first.
//! - `reply`: what scripts answer. `feed`: who is woken.

mod address;
mod connection;
mod feed;
mod reply;
mod scripts;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::task::AbortHandle;

use self::address::Address;
use self::connection::{Calls, Connector, unavailable};
use self::feed::Reader;
use self::reply::{Reply, pairs, strange};
use self::scripts::{Script, Scripts, Told};
use super::bells::Bells;
use super::event::{Events, NewEvent};
use super::job::{
    Cause, Filter, Job, JobId, Lease, NewJob, Orders, Outcome, Page, Submitted, Summary, Ticket, check_name,
};
use super::ledger::FULL;
use super::record::{Record, RecordKind};
use super::{Queue, QueueError, Settings, Stats, WorkerReport};

/// How many jobs a list looks at in one call.
const CHUNK: usize = 200;
/// Lua counts in floating point: whole numbers up to here are exact.
const EXACT: u64 = 1 << 53;
/// The consumer of what was handed back, as `common.lua` has it.
const NOBODY: &str = "-";

/// A queue in Redis, which several processes may share.
///
/// It needs a Tokio runtime, which is to live as long as the queue: the connections are tasks of it. When Redis is away,
/// calls end with [`QueueError::Unavailable`] within five seconds, and work again when it is back.
pub struct RedisQueue {
    calls: Calls,
    bells: Bells,
    settings: Settings,
    name: String,
    /// Hosts and ports.
    place: String,
    reader: AbortHandle,
}

impl RedisQueue {
    /// Whether these could be an address and a name. Connects to nothing.
    ///
    /// # Errors
    ///
    /// [`QueueError::Invalid`].
    pub fn check(address: &str, name: &str) -> Result<(), QueueError> {
        check_name("a queue", name)?;
        Address::parse(address).map(drop)
    }

    /// Connects to the queue of a name: letters, digits and `-_.`. All processes that share it give the same settings.
    ///
    /// Addresses: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` for one server; several of these with commas between them, or
    /// `redis+cluster://[USER:PASSWORD@]HOST[:PORT],…`, for a cluster. TLS is not supported.
    ///
    /// # Errors
    ///
    /// [`QueueError::Invalid`] where the address or the name makes no sense, [`QueueError::Unavailable`] where Redis cannot
    /// be reached or refuses the password.
    pub async fn connect(address: &str, name: &str, settings: Settings) -> Result<Self, QueueError> {
        Self::check(address, name)?;
        let address = Address::parse(address)?;
        let connector = Arc::new(Connector::new(&address, feed::BLOCK)?);
        let feed = format!("marmot:{{{name}}}:feed");
        // Before the first call, so that nothing happens unheard.
        let reader = Reader::connect(&connector, &feed).await.map_err(unavailable)?;
        let bells = Bells::default();
        let calls = Calls::new(connector.clone(), Scripts::new(&settings), feed);
        let reader = tokio::spawn(feed::follow(reader, connector, bells.clone())).abort_handle();
        let (name, place) = (name.to_owned(), address.to_string());
        let queue = Self { calls, bells, settings, name, place, reader };
        // Scripts may be forbidden, or the server too old: better said now than by the first job.
        queue.tend().await?;
        queue.bells.ring_for_work();
        Ok(queue)
    }

    async fn ask(&self, script: Script, args: &[&str]) -> Result<Reply, QueueError> {
        let mut reply = Reply::new(self.calls.run(script, args).await?)?;
        match reply.word.as_str() {
            "full" => Err(QueueError::Full { retry_after: FULL }),
            "conflict" => Err(QueueError::Conflict(reply.parsed()?)),
            _ => Ok(reply),
        }
    }

    async fn ask_with_ticket(&self, script: Script, ticket: &Ticket, more: &[&str]) -> Result<Reply, QueueError> {
        let id = ticket.id.to_string();
        let args = [&[id.as_str(), ticket.worker.as_str(), ticket.entry.as_str()], more].concat();
        let reply = self.ask(script, &args).await?;
        if reply.word == "lost" { Err(QueueError::LostLease(ticket.id)) } else { Ok(reply) }
    }

    /// The answer is a job.
    async fn ask_for_job(&self, script: Script, tenant: &str, id: JobId, more: &[&str]) -> Result<Job, QueueError> {
        let text = id.to_string();
        let mut reply = self.ask(script, &[&[tenant, text.as_str()], more].concat()).await?;
        match reply.word.as_str() {
            "none" => Err(QueueError::NotFound("job")),
            "invalid" => Err(super::ledger::not_again(&reply.text()?)),
            _ => reply::job(id, &pairs(reply.value()?)),
        }
    }
}

#[async_trait]
impl Queue for RedisQueue {
    async fn submit(&self, mut job: NewJob) -> Result<Submitted, QueueError> {
        job.check(&self.settings)?;
        let id = JobId::new();
        let fingerprint = job.fingerprint();
        // By the clock of Redis: the script decides whether that has passed.
        let due = job.not_before.take().map(|due| due.to_string()).unwrap_or_default();
        let (whole, head) = (json!(job).to_string(), json!(reply::head(&job)).to_string());
        let (own, attempts) = (id.to_string(), job.max_attempts.to_string());
        let key = job.idempotency_key.as_deref().unwrap_or_default();
        let args = [&own, job.tenant.as_str(), job.priority.name(), &whole, &head, &attempts, &due, key, &fingerprint];
        let mut reply = self.ask(Script::Submit, &args).await?;
        match reply.word.as_str() {
            "existed" => Ok(Submitted { id: reply.parsed()?, existed: true }),
            _ => Ok(Submitted { id, existed: false }),
        }
    }

    async fn job(&self, tenant: &str, id: JobId) -> Result<Job, QueueError> {
        self.ask_for_job(Script::Job, tenant, id, &[]).await
    }

    async fn list(&self, tenant: &str, filter: &Filter) -> Result<Page, QueueError> {
        let (limit, mut page) = (filter.limit(), Page::default());
        let chunk = if *filter == (Filter { after: filter.after, limit: filter.limit, ..Filter::default() }) {
            limit + 1
        } else {
            CHUNK
        };
        let mut after = filter.after.map(|id| id.to_string()).unwrap_or_default();
        loop {
            let reply = self.ask(Script::List, &[tenant, &after, &chunk.to_string()]).await?;
            let (mut seen, mut oldest) = (0, None);
            for entry in reply.rest() {
                let mut parts = Reply::array(entry).into_iter();
                let id = parts.next().as_ref().and_then(reply::text).ok_or_else(strange)?;
                (seen, after) = (seen + 1, id.clone());
                let job = reply::brief(id.parse()?, parts.next().ok_or_else(strange)?)?;
                let Some(job) = job else { continue };
                oldest = Some(job.created_at);
                if filter.takes(&job) {
                    if page.jobs.len() == limit {
                        page.next = page.jobs.last().map(|last| last.id);
                        return Ok(page);
                    }
                    page.jobs.push(Summary::from(&job));
                }
            }
            // Names are in the order of time but for the clocks of the processes, which may differ by some seconds.
            let too_old = oldest.zip(filter.since).is_some_and(|(oldest, since)| oldest.saturating_add(60_000) < since);
            if seen < chunk || too_old {
                return Ok(page);
            }
        }
    }

    async fn cancel(&self, tenant: &str, id: JobId, cause: Cause) -> Result<Job, QueueError> {
        self.ask_for_job(Script::Cancel, tenant, id, &[cause.state().name()]).await
    }

    async fn retry(&self, tenant: &str, id: JobId) -> Result<Job, QueueError> {
        self.ask_for_job(Script::Retry, tenant, id, &[]).await
    }

    async fn lease(&self, worker: &str) -> Result<Option<Lease>, QueueError> {
        if worker.is_empty() || worker == NOBODY {
            return Err(QueueError::Invalid(format!("a worker has a name other than `{NOBODY}`")));
        }
        let mut reply = self.ask(Script::Lease, &[worker]).await?;
        if reply.word == "empty" {
            return Ok(None);
        }
        let (id, entry): (JobId, String) = (reply.parsed()?, reply.text()?);
        let job = reply::job(id, &pairs(reply.value()?))?;
        let (tenant, worker) = (job.new.tenant.clone(), worker.to_owned());
        let ticket = Ticket { id, tenant, worker, attempt: job.attempts, entry };
        Ok(Some(Lease { job, ticket }))
    }

    async fn renew(&self, ticket: &Ticket) -> Result<Orders, QueueError> {
        let mut reply = self.ask_with_ticket(Script::Renew, ticket, &[]).await?;
        Ok(match reply.text()?.as_str() {
            "" => Orders::GoOn,
            "cancelled" => Orders::End(Cause::Cancelled),
            "timed_out" => Orders::End(Cause::TimedOut),
            _ => return Err(strange()),
        })
    }

    async fn tell(&self, ticket: &Ticket, events: Vec<NewEvent>) -> Result<(), QueueError> {
        let texts = events
            .iter()
            .flat_map(|event| [event.kind.name().to_owned(), event.at.to_string(), event.data.to_string()]);
        let texts: Vec<String> = texts.collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.ask_with_ticket(Script::Tell, ticket, &texts).await.map(drop)
    }

    async fn complete(&self, ticket: &Ticket, outcome: Outcome) -> Result<(), QueueError> {
        let outcome = outcome.bounded(&self.settings);
        let Told { outcome: whole, brief, result } = Told::new(&outcome);
        let args = [outcome.state().name(), &whole, &brief, &result];
        self.ask_with_ticket(Script::Complete, ticket, &args).await.map(drop)
    }

    async fn release(&self, ticket: &Ticket) -> Result<(), QueueError> {
        self.ask_with_ticket(Script::Release, ticket, &[]).await.map(drop)
    }

    async fn events(&self, tenant: &str, id: JobId, from: u64, most: usize) -> Result<Events, QueueError> {
        let from = from.clamp(1, EXACT);
        let most = most.min(self.settings.events.max(1));
        let reply = self.ask(Script::Events, &[tenant, &id.to_string(), &from.to_string(), &most.to_string()]).await?;
        if reply.word == "none" { Err(QueueError::NotFound("job")) } else { reply::events(reply, from) }
    }

    async fn tend(&self) -> Result<Option<Duration>, QueueError> {
        loop {
            let mut reply = self.ask(Script::Tend, &[]).await?;
            let (more, next) = (reply.text()? == "1", reply.text()?);
            if !more {
                return Ok(next.parse().ok().map(Duration::from_millis));
            }
        }
    }

    async fn beat(&self, worker: &WorkerReport) -> Result<(), QueueError> {
        self.ask(Script::Beat, &[&worker.name, &json!(worker).to_string()]).await.map(drop)
    }

    async fn leave(&self, worker: &str) -> Result<(), QueueError> {
        self.ask(Script::Leave, &[worker]).await.map(drop)
    }

    async fn workers(&self) -> Result<Vec<WorkerReport>, QueueError> {
        let reply = self.ask(Script::Workers, &[]).await?;
        let report = |entry: ::redis::Value| {
            let parts: Vec<_> = Reply::array(entry).iter().map(reply::text).collect();
            let [Some(report), Some(seen)] = parts.as_slice() else { return None };
            let report: WorkerReport = serde_json::from_str(report).ok()?;
            Some(WorkerReport { seen_at: seen.parse().ok()?, ..report })
        };
        let mut reports: Vec<_> = reply.rest().filter_map(report).collect();
        reports.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(reports)
    }

    async fn stats(&self, tenant: Option<&str>) -> Result<Stats, QueueError> {
        let mut reply = self.ask(Script::Stats, &[tenant.unwrap_or_default()]).await?;
        Ok(Stats {
            waiting: reply.parsed()?,
            delayed: reply.parsed()?,
            running: reply.parsed()?,
            dead: reply.parsed()?,
            oldest_ms: reply.parsed()?,
            redelivered: reply.parsed()?,
        })
    }

    async fn put(&self, record: Record) -> Result<(), QueueError> {
        let Record { kind, tenant, name, body } = &record;
        self.ask(Script::Put, &[kind.name(), tenant, name, body, "1"]).await.map(drop)
    }

    async fn add(&self, record: Record) -> Result<bool, QueueError> {
        let Record { kind, tenant, name, body } = &record;
        Ok(self.ask(Script::Put, &[kind.name(), tenant, name, body, "0"]).await?.word != "existed")
    }

    async fn record(&self, kind: RecordKind, tenant: &str, name: &str) -> Result<Record, QueueError> {
        let mut reply = self.ask(Script::Record, &[kind.name(), tenant, name]).await?;
        if reply.word == "none" {
            return Err(QueueError::NotFound(kind.name()));
        }
        Ok(Record { kind, tenant: tenant.to_owned(), name: name.to_owned(), body: reply.text()? })
    }

    async fn records(&self, kind: RecordKind, tenant: Option<&str>) -> Result<Vec<Record>, QueueError> {
        let one = if tenant.is_some() { "1" } else { "0" };
        let reply = self.ask(Script::Records, &[kind.name(), one, tenant.unwrap_or_default()]).await?;
        let mut records = Vec::new();
        for entry in reply.rest() {
            let mut parts = Reply::array(entry).into_iter();
            let tenant = parts.next().as_ref().and_then(reply::text).ok_or_else(strange)?;
            for (name, body) in pairs(parts.next().ok_or_else(strange)?) {
                records.push(Record { kind, tenant: tenant.clone(), name, body });
            }
        }
        records.sort_by(|one, other| (&one.tenant, &one.name).cmp(&(&other.tenant, &other.name)));
        Ok(records)
    }

    async fn record_names(&self, kind: RecordKind, tenant: &str) -> Result<Vec<String>, QueueError> {
        let reply = self.ask(Script::Names, &[kind.name(), tenant]).await?;
        let mut names: Vec<String> = reply.rest().filter_map(|name| reply::text(&name)).collect();
        names.sort();
        Ok(names)
    }

    async fn remove(&self, kind: RecordKind, tenant: &str, name: &str) -> Result<bool, QueueError> {
        Ok(self.ask(Script::Remove, &[kind.name(), tenant, name]).await?.word != "none")
    }

    fn bells(&self) -> &Bells {
        &self.bells
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn warnings(&self) -> Result<Vec<String>, QueueError> {
        let mut reply = self.ask(Script::Info, &[]).await?;
        let info = [reply.text()?, reply.text()?].concat();
        let said = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let mut warnings = Vec::new();
        match said("maxmemory_policy") {
            Some("noeviction") => {}
            Some(policy) => warnings.push(format!(
                "Redis removes keys when its memory is full (maxmemory-policy {policy}), jobs that wait among them; \
                 set maxmemory-policy to noeviction"
            )),
            None => warnings
                .push("Redis does not say what it does when its memory is full: see that it is noeviction".into()),
        }
        match said("aof_enabled") {
            Some("1") => {}
            Some(_) => warnings.push(
                "Redis keeps no append-only file: a crash loses all jobs since its last snapshot; set appendonly to yes"
                    .into(),
            ),
            None => warnings.push("Redis does not say whether it keeps an append-only file: see that appendonly is yes".into()),
        }
        Ok(warnings)
    }
}

impl Drop for RedisQueue {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl fmt::Debug for RedisQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, place, settings, .. } = self;
        let mut debug = f.debug_struct("RedisQueue");
        debug.field("name", name).field("place", place).field("settings", settings).finish_non_exhaustive()
    }
}
