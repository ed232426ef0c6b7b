//! One job: its script on a thread of its own, its lease, its events, its outcome.

use std::sync::Arc;
use std::time::Duration;

use rhai::Dynamic;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch as signal};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::Instrument;

use super::engines::Engines;
use super::watch::Watch;
use crate::queue::{
    Cause, Failure, Job, Lease, NewEvent, Orders, Outcome, Queue, QueueError, State, Ticket, millis, now,
};
use crate::script::{CancelToken, ScriptError, ScriptErrorKind, Usage, value};
use crate::telemetry::{Ended, Telemetry};

/// The most events that are told at once.
const AT_ONCE: usize = 256;
/// How long the queue is asked to take what became of a job, where it cannot be reached.
const COMPLETING: Duration = Duration::from_secs(60);

/// What a script sees of the arguments of its job.
const ARGS: &str = "ARGS";

/// Why a script is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// Somebody wants the job to end.
    Ordered(Cause),
    /// The job may be somebody else's by now.
    Lost,
    /// The worker stops.
    HandedBack,
}

/// Runs a job and tells the queue what became of it.
pub(super) async fn run(
    queue: &Arc<dyn Queue>,
    engines: &Arc<Engines>,
    telemetry: &Telemetry,
    lease: Lease,
    handing_back: signal::Receiver<bool>,
) {
    let Lease { job, ticket } = lease;
    let span = tracing::info_span!("job", job_id = %job.id, tenant = %job.new.tenant, attempt = job.attempts);
    let ready = job.created_at.max(job.new.not_before.unwrap_or_default());
    telemetry.wait.observe(seconds(now().saturating_sub(ready)));
    if job.attempts > 1 {
        telemetry.redeliveries.inc();
    }
    let begun = now();
    let state = work(queue, engines, telemetry, job, ticket, handing_back).instrument(span).await;
    telemetry.run.observe(seconds(now().saturating_sub(begun)));
    telemetry.ended.get_or_create(&Ended { state }).inc();
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

/// Returns the state of the job, or what else happened.
async fn work(
    queue: &Arc<dyn Queue>,
    engines: &Arc<Engines>,
    telemetry: &Telemetry,
    job: Job,
    ticket: Ticket,
    mut handing_back: signal::Receiver<bool>,
) -> &'static str {
    tracing::info!(name = job.new.name, "started");
    let cancel = CancelToken::new();
    let (events, told) = mpsc::unbounded_channel();
    let teller = tokio::spawn(tell(queue.clone(), ticket.clone(), told));
    let parent = job.new.trace_parent.as_deref();
    let watch = Arc::new(Watch::new(job.id, parent, telemetry.clone(), events));
    let (engines, token) = (engines.clone(), cancel.clone());
    let span = tracing::Span::current();
    let mut script = tokio::task::spawn_blocking(move || {
        let _entered = span.entered();
        evaluate(&engines, &job, &watch, token)
    });
    let mut orders = queue.bells().listen_for_orders(ticket.id);
    let lease = queue.settings().lease;
    let mut ends = Instant::now() + lease;
    let mut renewal = Instant::now() + lease / 3;
    let mut stopped = None;
    let ended = loop {
        tokio::select! {
            ended = &mut script => break ended,
            () = sleep_until(renewal) => {}
            () = orders.heard(), if stopped.is_none() => {}
            Ok(_) = handing_back.wait_for(|now| *now), if stopped.is_none() => {
                stopped = Some(Stopped::HandedBack);
                cancel.cancel();
                continue;
            }
        }
        // Renewed also while a stopped script ends, so that nobody else gets it meanwhile.
        let outcome = queue.renew(&ticket).await;
        renewal = Instant::now() + lease / 3;
        let stop = match outcome {
            Ok(orders) => {
                ends = Instant::now() + lease;
                match orders {
                    Orders::GoOn => None,
                    Orders::End(cause) => Some(Stopped::Ordered(cause)),
                }
            }
            Err(QueueError::LostLease(_) | QueueError::NotFound(_)) => Some(Stopped::Lost),
            Err(error) => {
                tracing::warn!(%error, "the lease is not renewed");
                renewal = Instant::now() + (lease / 10).min(Duration::from_secs(1));
                (Instant::now() >= ends).then_some(Stopped::Lost)
            }
        };
        if let (None, Some(stop)) = (stopped, stop) {
            tracing::info!(why = ?stop, "stopped");
            stopped = Some(stop);
            cancel.cancel();
        }
    };
    // What it told comes before its end.
    let _ = teller.await;
    let outcome = ended.unwrap_or_else(|error| Outcome::failed(State::Failed, "internal", error.to_string()));
    finish(queue, &ticket, outcome, stopped).await
}

/// Tells the queue what became of a job.
async fn finish(
    queue: &Arc<dyn Queue>,
    ticket: &Ticket,
    mut outcome: Outcome,
    stopped: Option<Stopped>,
) -> &'static str {
    let was_cancelled = outcome.failure.as_ref().is_some_and(|failure| failure.state == State::Cancelled);
    // A script that has reached its end nevertheless has an outcome.
    let stopped = stopped.filter(|stopped| was_cancelled || *stopped == Stopped::Lost);
    match stopped {
        Some(Stopped::Lost) => {
            tracing::warn!("the lease was lost: what became of the job is not told");
            return "lost";
        }
        Some(Stopped::HandedBack) => {
            return match queue.release(ticket).await {
                Ok(()) => "handed_back",
                Err(error) => {
                    tracing::warn!(%error, "the job is not handed back; it is delivered again when its lease ends");
                    "lost"
                }
            };
        }
        Some(Stopped::Ordered(cause)) => {
            if let Some(failure) = &mut outcome.failure {
                failure.state = cause.state();
                if cause == Cause::TimedOut {
                    (failure.kind, failure.message) = ("time_limit".into(), "its time was over".into());
                }
            }
        }
        None => {}
    }
    let state = outcome.state().name();
    let message = outcome.failure.as_ref().map(|failure| failure.message.clone());
    let deadline = Instant::now() + COMPLETING;
    let mut pause = Duration::from_millis(50);
    loop {
        match queue.complete(ticket, outcome.clone()).await {
            Ok(()) => {
                tracing::info!(state, error = message, duration_ms = outcome.duration_ms, "ended");
                return state;
            }
            Err(error @ QueueError::Unavailable(_)) if Instant::now() < deadline => {
                tracing::warn!(%error, "what became of the job cannot be told yet");
                // Kept by renewing it, so that it is not run again for nothing.
                let _ = queue.renew(ticket).await;
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
            Err(error) => {
                tracing::warn!(%error, "what became of the job was not taken");
                return "lost";
            }
        }
    }
}

/// Hands on what a script tells, as it comes.
async fn tell(queue: Arc<dyn Queue>, ticket: Ticket, mut events: mpsc::UnboundedReceiver<NewEvent>) {
    let mut batch = Vec::new();
    while events.recv_many(&mut batch, AT_ONCE).await > 0 {
        if let Err(error) = queue.tell(&ticket, std::mem::take(&mut batch)).await {
            tracing::debug!(%error, "events were not told");
        }
    }
}

/// Runs the script.
fn evaluate(engines: &Engines, job: &Job, watch: &Arc<Watch>, cancel: CancelToken) -> Outcome {
    let engine = match engines.of(&job.new.tenant) {
        Ok(engine) => engine,
        Err(message) => return Outcome::failed(State::Failed, "configuration", message),
    };
    let args = match &job.new.args {
        Value::Null => Ok(Dynamic::from(rhai::Map::new())),
        args => value::from_value(args.clone()),
    };
    let args = match args {
        Ok(args) => args,
        Err(message) => return Outcome::failed(State::Failed, "arguments", message),
    };
    let name = job.new.name.as_deref().unwrap_or("script");
    let (result, usage) = match engine.compile(name, &job.new.script) {
        Ok(script) => script
            .constant(ARGS, args)
            .time_limit(Duration::from_millis(job.new.timeout_ms))
            .cancel(cancel)
            .observer(watch.clone())
            .run_with_usage(),
        Err(error) => (Err(error), Usage::default()),
    };
    let mut outcome = match result {
        Ok(value) => {
            let (value, value_type) = as_json(&value);
            Outcome { value, value_type, ..Outcome::default() }
        }
        Err(error) => Outcome { failure: Some(failure(&error)), ..Outcome::default() },
    };
    outcome.output = watch.output();
    outcome.duration_ms = millis(usage.time);
    outcome.usage = used(&usage);
    outcome
}

/// The last value of a script; of one that JSON cannot say, the type.
fn as_json(value: &Dynamic) -> (Value, Option<String>) {
    let text = value::to_json(value);
    match text.ok().and_then(|text| serde_json::from_str(&text).ok()) {
        Some(value) => (value, None),
        None => (Value::Null, Some(value.type_name().to_owned())),
    }
}

fn failure(error: &ScriptError) -> Failure {
    let (state, kind) = match error.kind() {
        ScriptErrorKind::Parse => (State::Failed, "parse"),
        ScriptErrorKind::Runtime => (State::Failed, "runtime"),
        ScriptErrorKind::TimeLimit => (State::TimedOut, "time_limit"),
        ScriptErrorKind::Cancelled => (State::Cancelled, "cancelled"),
        ScriptErrorKind::Budget(_) => (State::Failed, "budget"),
        ScriptErrorKind::Panicked => (State::Failed, "panicked"),
    };
    let number = |at: Option<usize>| at.and_then(|at| u64::try_from(at).ok());
    Failure {
        state,
        kind: kind.to_owned(),
        message: error.message().to_owned(),
        line: number(error.line()),
        column: number(error.column()),
        rendered: Some(error.render()),
        value: error.value().map(|thrown| as_json(thrown).0),
    }
}

fn used(usage: &Usage) -> Map<String, Value> {
    let numbers = [
        ("operations", usage.operations),
        ("memory", usage.memory),
        ("requests", usage.requests),
        ("sent", usage.sent),
        ("received", usage.received),
    ];
    numbers.into_iter().map(|(name, number)| (name.to_owned(), number.into())).collect()
}
