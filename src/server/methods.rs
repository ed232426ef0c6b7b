//! The methods: what clients can ask for, and how it is answered. Knows no connection.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{FuturesOrdered, StreamExt as _};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use jsonrpsee_types::ErrorObjectOwned;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::auth::Tickets;
use super::options::ServerOptions;
use super::protocol::{self, Item, Message};
use super::schedule::Schedule;
use super::session::{Census, Line};
use super::{code, discover, library, schedule};
use crate::queue::{Cause, Filter, Job, JobId, NewJob, Origin, Priority, Queue, State, millis, wait_for_end};
use crate::telemetry::{Call, Telemetry};

/// How long after its time a job has to say itself that it was over, before it is told to end.
const GRACE: Duration = Duration::from_millis(250);
/// How long a job that was told to end may take for that.
const ENDING: Duration = Duration::from_secs(2);
/// The longest time of `job.wait`.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);
/// The most events of `job.events`.
const MOST_EVENTS: usize = 1_000;
/// What the idempotency keys of clients may not begin with: those of the server do.
const OWN_KEYS: [&str; 2] = ["schedule:", "hook:"];

/// How often a network may be wrong about its token in a second.
const WRONG_TOKENS: u32 = 10;

/// What a call takes of the 128 units that a task has until others have their turn: there is no await in most calls, and a
/// batch or a WebSocket has many.
const COST: usize = 32;

/// Who calls.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) tenant: String,
    /// The trace of the call, where it belongs to one.
    pub(super) trace_parent: Option<String>,
}

/// What answers.
pub(super) struct Service {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) options: ServerOptions,
    pub(super) telemetry: Telemetry,
    pub(super) tickets: Tickets,
    pub(super) census: Census,
    /// Calls of tenants.
    rate: DefaultKeyedRateLimiter<String>,
    /// Wrong tokens of networks.
    pub(super) wrong: DefaultKeyedRateLimiter<IpAddr>,
}

type Answer = Result<Value, ErrorObjectOwned>;

/// A method: its name, the order of its parameters, and what it does.
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) params: &'static [&'static str],
    pub(super) summary: &'static str,
}

const fn method(name: &'static str, params: &'static [&'static str], summary: &'static str) -> Method {
    Method { name, params, summary }
}

const PLAY: &[&str] =
    &["script", "args", "timeout_ms", "idempotency_key", "name", "priority", "not_before", "max_attempts"];

/// All methods.
pub(super) const METHODS: &[Method] = &[
    method("play", PLAY, "Runs a script and waits for what becomes of it: {output, value, job_id, duration_ms}"),
    method("job.submit", PLAY, "Accepts a script to be run: {job_id, existed}"),
    method("job.get", &["job_id"], "A job as it stands"),
    method("job.wait", &["job_id", "timeout_ms"], "Waits until a job has ended; error -32002 where it has not by then"),
    method(
        "job.list",
        &["states", "name", "since", "before", "after", "limit", "origin"],
        "The newest jobs first: {jobs, next}; `next` is the `after` of the next page",
    ),
    method("job.cancel", &["job_id"], "Ends a job; a running one within milliseconds, with its requests"),
    method("job.retry", &["job_id"], "Lets a job that has ended badly run again, under its id"),
    method("job.events", &["job_id", "from_seq", "limit"], "What was told of a job: {events, missed, ended}"),
    method(
        "job.subscribe",
        &["job_id", "from_seq"],
        "Tells what happens to a job in notifications `job.event`; over WebSockets only. Returns the subscription",
    ),
    method("job.unsubscribe", &["subscription"], "Ends a subscription; whether there was one"),
    method("dead.retry", &["job_ids"], "Lets these dead letters run again, or all where none is named: {retried}"),
    method(
        "script.put",
        &["name", "script", "schema", "description"],
        "Keeps a script under a name, in a new version: {name, version}",
    ),
    method("script.get", &["name", "version"], "A script of the library, in its newest version or the one named"),
    method("script.list", &[], "The scripts of the library"),
    method("script.remove", &["name", "version"], "Forgets a script, or one version of it: {removed}"),
    method(
        "schedule.put",
        &["name", "cron", "time_zone", "script", "library", "args", "overlap", "timeout_ms", "enabled"],
        "Runs a script at times, as cron has them",
    ),
    method("schedule.get", &["name"], "A schedule, with its next times"),
    method("schedule.list", &[], "All schedules, with their next times"),
    method("schedule.remove", &["name"], "Forgets a schedule: {removed}"),
    method("queue.stats", &[], "How much waits and runs"),
    method("worker.list", &[], "The workers that live"),
    method("session.ticket", &[], "A ticket to open one WebSocket with, as `/ws/?ticket=...`, within 30 seconds"),
    method("whoami", &[], "Who the caller is, and the limits"),
    method("rpc.discover", &[], "This description, as OpenRPC has it"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Play {
    script: Option<String>,
    name: Option<String>,
    #[serde(default)]
    args: Value,
    timeout_ms: Option<u64>,
    idempotency_key: Option<String>,
    #[serde(default)]
    priority: Priority,
    not_before: Option<u64>,
    max_attempts: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    job_id: JobId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    job_id: JobId,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct From {
    job_id: JobId,
    from_seq: Option<u64>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsubscribe {
    subscription: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dead {
    job_ids: Option<Vec<JobId>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Service {
    pub(super) fn new(queue: Arc<dyn Queue>, options: ServerOptions, telemetry: Telemetry) -> Self {
        let quota = |rate: u32| Quota::per_second(rate.try_into().unwrap_or(NonZeroU32::MIN));
        let (calls, wrong) = (quota(options.calls_per_second), quota(WRONG_TOKENS));
        Self {
            queue,
            options,
            telemetry,
            tickets: Tickets::default(),
            census: Census::default(),
            rate: RateLimiter::keyed(calls),
            wrong: RateLimiter::keyed(wrong),
        }
    }

    /// Forgets those who have not called for a while: there is no end to the addresses of the world.
    pub(super) fn sweep(&self) {
        self.rate.retain_recent();
        self.rate.shrink_to_fit();
        self.wrong.retain_recent();
        self.wrong.shrink_to_fit();
    }

    /// The answer to a message, if it has one.
    pub(super) async fn answer(self: &Arc<Self>, caller: &Caller, line: Option<&Line>, text: &[u8]) -> Option<String> {
        match protocol::read(text, self.options.batch) {
            Message::Wrong(error) => Some(protocol::answer(jsonrpsee_types::Id::Null, Err(error))),
            Message::One(item) => self.item(caller, line, item).await,
            Message::Batch(items) => {
                // Begun together, answered in order. The answers wait for one another, so they are bounded together.
                let size = self.options.backlog();
                let used = AtomicUsize::new(0);
                let refused = |id| {
                    let message = format!("the answers to a batch have at most {size} bytes; ask for fewer at once");
                    Some(protocol::answer(id, Err(code::limit(message, None))))
                };
                let answers = items.into_iter().map(|item| async {
                    let id = item.id();
                    if used.load(Ordering::Relaxed) > size {
                        return refused(id);
                    }
                    let answer = self.item(caller, line, item).await?;
                    if used.fetch_add(answer.len(), Ordering::Relaxed) > size {
                        return refused(id);
                    }
                    Some(answer)
                });
                let answers: Vec<_> = answers.collect::<FuturesOrdered<_>>().collect().await;
                protocol::answers(&answers.into_iter().flatten().collect::<Vec<String>>())
            }
        }
    }

    async fn item(self: &Arc<Self>, caller: &Caller, line: Option<&Line>, item: Item) -> Option<String> {
        match item {
            Item::Wrong(id, error) => Some(protocol::answer(id, Err(error))),
            Item::Call { id, method, params } => {
                for _ in 0..COST {
                    tokio::task::coop::consume_budget().await;
                }
                let answer = self.call(caller, line, &method, params.as_deref()).await;
                let known = METHODS.iter().find(|known| known.name == method).map_or("unknown", |known| known.name);
                let code = answer.as_ref().err().map_or(0, ErrorObjectOwned::code);
                self.telemetry.calls.get_or_create(&Call { method: known, code }).inc();
                id.map(|id| protocol::answer(id, answer))
            }
        }
    }

    async fn call(
        self: &Arc<Self>,
        caller: &Caller,
        line: Option<&Line>,
        method: &str,
        params: Option<&RawValue>,
    ) -> Answer {
        let Some(known) = METHODS.iter().find(|known| known.name == method) else {
            let message = format!("there is no method `{}`; `rpc.discover` lists them", shortened(method));
            return Err(code::error(code::METHOD, message, None));
        };
        if let Err(until) = self.rate.check_key(&caller.tenant) {
            let wait = until.wait_time_from(governor::clock::Clock::now(self.rate.clock()));
            let message = format!("more than {} calls in a second", self.options.calls_per_second);
            return Err(code::limit(message, Some(wait.max(Duration::from_millis(1)))));
        }
        let names = known.params;
        let tenant = caller.tenant.as_str();
        let queue = &*self.queue;
        let of_queue = |error| code::of_queue(&error);
        match known.name {
            "play" => self.play(caller, protocol::params(params, names)?).await,
            "job.submit" => {
                let job = self.job(caller, protocol::params(params, names)?).await?;
                let submitted = queue.submit(job).await.map_err(of_queue)?;
                Ok(json!({ "job_id": submitted.id, "existed": submitted.existed }))
            }
            "job.get" => {
                let Named { job_id } = protocol::params(params, names)?;
                queue.job(tenant, job_id).await.map(|job| json!(job)).map_err(of_queue)
            }
            "job.wait" => {
                let Wait { job_id, timeout_ms } = protocol::params(params, names)?;
                let most = timeout_ms.map_or(self.options.task_timeout, Duration::from_millis).min(LONGEST_WAIT);
                let job = wait_for_end(queue, tenant, job_id, most).await.map_err(of_queue)?;
                if job.state.has_ended() { Ok(json!(job)) } else { Err(code::timeout(job_id, job.state)) }
            }
            "job.list" => {
                let filter: Filter = protocol::params(params, names)?;
                queue.list(tenant, &filter).await.map(|page| json!(page)).map_err(of_queue)
            }
            "job.cancel" => {
                let Named { job_id } = protocol::params(params, names)?;
                let job = queue.cancel(tenant, job_id, Cause::Cancelled).await.map_err(of_queue)?;
                Ok(json!({ "job_id": job_id, "state": job.state, "ending": job.ending.is_some() }))
            }
            "job.retry" => {
                let Named { job_id } = protocol::params(params, names)?;
                let job = queue.retry(tenant, job_id).await.map_err(of_queue)?;
                Ok(json!({ "job_id": job_id, "state": job.state }))
            }
            "job.events" => {
                let From { job_id, from_seq, limit } = protocol::params(params, names)?;
                let limit = limit.unwrap_or(MOST_EVENTS).clamp(1, MOST_EVENTS);
                let events = queue.events(tenant, job_id, from_seq.unwrap_or(1), limit).await.map_err(of_queue)?;
                Ok(json!({ "events": events.events, "missed": events.missed, "ended": events.ended }))
            }
            "job.subscribe" => {
                let From { job_id, from_seq, limit: _ } = protocol::params(params, names)?;
                let line = line.ok_or_else(only_websockets)?;
                // Of a job that is not there nothing will ever be told.
                queue.job(tenant, job_id).await.map_err(of_queue)?;
                let number = line.subscribe(self, caller, job_id, from_seq.unwrap_or(1)).await;
                let most = self.options.subscriptions_per_session;
                number.map(Value::from).ok_or_else(|| code::limit(format!("{most} subscriptions are open"), None))
            }
            "job.unsubscribe" => {
                let Unsubscribe { subscription } = protocol::params(params, names)?;
                let line = line.ok_or_else(only_websockets)?;
                Ok(line.unsubscribe(subscription).await.into())
            }
            "dead.retry" => self.retry_dead(tenant, protocol::params(params, names)?).await,
            "script.put" => library::put(queue, tenant, protocol::params(params, names)?).await,
            "script.get" => library::get(queue, tenant, protocol::params(params, names)?).await,
            "script.list" => {
                let Nothing {} = protocol::params(params, names)?;
                library::list(queue, tenant).await
            }
            "script.remove" => library::remove(queue, tenant, protocol::params(params, names)?).await,
            "schedule.put" => {
                let schedule: Schedule = protocol::params(params, names)?;
                schedule::put(self, tenant, schedule).await
            }
            "schedule.get" => schedule::get(queue, tenant, protocol::params(params, names)?).await,
            "schedule.list" => {
                let Nothing {} = protocol::params(params, names)?;
                schedule::list(queue, tenant).await
            }
            "schedule.remove" => schedule::remove(queue, tenant, protocol::params(params, names)?).await,
            "queue.stats" => {
                let Nothing {} = protocol::params(params, names)?;
                queue.stats(Some(tenant)).await.map(|stats| json!(stats)).map_err(of_queue)
            }
            "worker.list" => {
                let Nothing {} = protocol::params(params, names)?;
                queue.workers().await.map(|workers| json!(workers)).map_err(of_queue)
            }
            "session.ticket" => {
                let Nothing {} = protocol::params(params, names)?;
                let ticket = self.tickets.issue(tenant, Instant::now());
                ticket.map(|ticket| json!({ "ticket": ticket })).ok_or_else(|| code::limit("too many tickets", None))
            }
            "whoami" => {
                let Nothing {} = protocol::params(params, names)?;
                Ok(json!({
                    "tenant": tenant,
                    "version": env!("CARGO_PKG_VERSION"),
                    "task_timeout_ms": millis(self.options.task_timeout),
                    "longest_task_ms": millis(self.options.longest_task),
                    "message_size": self.options.message_size,
                    "batch": self.options.batch,
                    "calls_per_second": self.options.calls_per_second,
                }))
            }
            _ => Ok(discover::document(METHODS)),
        }
    }

    /// The job that somebody asks for.
    async fn job(&self, caller: &Caller, play: Play) -> Result<NewJob, ErrorObjectOwned> {
        let Play { script, name, args, timeout_ms, idempotency_key, priority, not_before, max_attempts } = play;
        let (script, name) = match (script, name) {
            (Some(script), None) => (script, None),
            (None, Some(name)) => {
                let found = library::resolve(&*self.queue, &caller.tenant, &name, &args).await?;
                (found.script, Some(found.full_name))
            }
            _ => return Err(code::params("either `script`, its text, or `name`, that of one in the library")),
        };
        if let Some(key) = &idempotency_key
            && let Some(own) = OWN_KEYS.iter().find(|own| key.starts_with(**own))
        {
            return Err(code::params(format!("an idempotency key does not begin with `{own}`")));
        }
        let longest = self.options.longest_task;
        let timeout = timeout_ms.map_or(self.options.task_timeout, Duration::from_millis);
        if timeout.is_zero() || timeout > longest {
            return Err(code::params(format!("`timeout_ms` is 1 to {}", longest.as_millis())));
        }
        let timeout_ms = millis(timeout);
        let mut job = NewJob::new(&caller.tenant, script, timeout_ms);
        (job.name, job.args, job.priority) = (name, args, priority);
        (job.not_before, job.idempotency_key) = (not_before, idempotency_key);
        job.max_attempts = max_attempts.unwrap_or(job.max_attempts).clamp(1, 100);
        job.trace_parent.clone_from(&caller.trace_parent);
        Ok(job)
    }

    async fn play(&self, caller: &Caller, play: Play) -> Answer {
        if play.not_before.is_some() {
            return Err(code::params("`play` begins at once; `job.submit` takes `not_before`"));
        }
        let job = self.job(caller, play).await?;
        let (queue, tenant) = (&*self.queue, caller.tenant.as_str());
        let of_queue = |error| code::of_queue(&error);
        let most = Duration::from_millis(job.timeout_ms) + GRACE;
        let id = queue.submit(job).await.map_err(of_queue)?.id;
        let mut job = wait_for_end(queue, tenant, id, most).await.map_err(of_queue)?;
        if !job.state.has_ended() {
            // It waits still, or its worker is busy with something that nothing can stop.
            queue.cancel(tenant, id, Cause::TimedOut).await.map_err(of_queue)?;
            job = wait_for_end(queue, tenant, id, ENDING).await.map_err(of_queue)?;
        }
        result(&job)
    }

    async fn retry_dead(&self, tenant: &str, dead: Dead) -> Answer {
        let of_queue = |error| code::of_queue(&error);
        let mut retried = Vec::new();
        match dead.job_ids {
            Some(ids) => {
                for id in ids {
                    self.queue.retry(tenant, id).await.map_err(of_queue)?;
                    retried.push(id);
                }
            }
            None => loop {
                let filter = Filter { states: vec![State::Dead], limit: Some(200), ..Filter::default() };
                let page = self.queue.list(tenant, &filter).await.map_err(of_queue)?;
                for job in &page.jobs {
                    self.queue.retry(tenant, job.id).await.map_err(of_queue)?;
                    retried.push(job.id);
                }
                if page.next.is_none() {
                    break;
                }
            },
        }
        Ok(json!({ "retried": retried }))
    }

    /// A job for a script of the library, by the server itself.
    pub(super) async fn own_job(
        &self,
        tenant: &str,
        script: (Option<&str>, Option<&str>),
        args: Value,
        timeout_ms: Option<u64>,
        origin: Origin,
        key: String,
    ) -> Result<NewJob, ErrorObjectOwned> {
        let caller = Caller { tenant: tenant.to_owned(), trace_parent: None };
        let play = Play {
            script: script.0.map(str::to_owned),
            name: script.1.map(str::to_owned),
            args,
            timeout_ms,
            idempotency_key: None,
            priority: Priority::Normal,
            not_before: None,
            max_attempts: None,
        };
        let mut job = self.job(&caller, play).await?;
        (job.origin, job.idempotency_key) = (origin, Some(key));
        Ok(job)
    }
}

/// What `play` answers.
fn result(job: &Job) -> Answer {
    if !job.state.has_ended() {
        return Err(code::timeout(job.id, job.state));
    }
    if let Some(error) = code::of_job(job) {
        return Err(error);
    }
    let outcome = job.outcome.clone().unwrap_or_default();
    let mut answer = json!({
        "output": outcome.output,
        "value": outcome.value,
        "job_id": job.id,
        "duration_ms": outcome.duration_ms,
    });
    if let Some(kind) = outcome.value_type {
        answer["value_type"] = kind.into();
    }
    Ok(answer)
}

fn only_websockets() -> ErrorObjectOwned {
    code::error(code::INVALID_REQUEST, "subscriptions need a WebSocket; `job.events` works without", None)
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}
