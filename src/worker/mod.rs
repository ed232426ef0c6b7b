//! Workers: they take jobs from a queue, run their scripts, and say what became of them. Know no clients and no connections.
//!
//! A [`Worker`] leases one job for each free place, runs its script on a thread of its own, renews the lease meanwhile on
//! a thread that no script can block, tells the queue what the script prints and asks for, and completes the job. Where the
//! lease is lost, or somebody cancels the job, the script is stopped, with its requests in flight. A worker that is asked to
//! stop takes no more, waits for the rest, and hands back what is left at its deadline.
//!
//! # What is delivered twice
//!
//! A job whose worker dies is run again from its beginning, so its requests may be made twice. Those that write carry an
//! `Idempotency-Key` made of the job, the number of the write within the run, and a hash of the request, the same in each
//! run, where the script has given none. That keeps a server that honours the header (Stripe for instance) from doing the
//! same thing twice, as long as the script makes the same writes in the same order: one that depends on the time, on chance
//! or on an answer that has changed makes other requests, with other keys. Servers that do not know the header are not helped.
//!
//! # Files
//!
//! - `engines`: an engine for each tenant. `run`: one job. `watch`: what a script does, as events; marks its requests.

mod engines;
mod run;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch as signal};
use tokio::task::JoinSet;

pub use self::engines::Engines;
use crate::queue::{Lease, Queue, WorkerReport, now};
use crate::telemetry::Telemetry;

/// How often a worker says that it lives.
const BEAT: Duration = Duration::from_secs(5);
/// How often a worker looks for work without being woken: for jobs whose worker has died.
const LOOK: Duration = Duration::from_secs(1);
/// How long a worker waits after the queue has failed; doubled each time.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
const AFTER_FAILURES: Duration = Duration::from_secs(5);

/// Runs the jobs of a queue.
#[derive(Debug)]
pub struct Worker {
    queue: Arc<dyn Queue>,
    engines: Arc<Engines>,
    telemetry: Telemetry,
    name: String,
    concurrency: usize,
    started_at: u64,
    running: AtomicU64,
    finished: AtomicU64,
}

impl Worker {
    /// A worker that runs so many jobs at once. The name is its own among all workers of the queue.
    pub fn new(queue: Arc<dyn Queue>, engines: Arc<Engines>, name: impl Into<String>, concurrency: usize) -> Self {
        Self {
            queue,
            engines,
            telemetry: Telemetry::new(),
            name: name.into(),
            concurrency: concurrency.max(1),
            started_at: now(),
            running: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        }
    }

    /// Counts here.
    #[must_use]
    pub fn telemetry(mut self, telemetry: Telemetry) -> Self {
        self.telemetry = telemetry;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes and runs jobs until `stop` completes, and then no longer than `drain` waits for those that run: what is left is
    /// handed back to the queue.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()>, drain: Duration) {
        let places = Arc::new(Semaphore::new(self.concurrency));
        let (hand_back, handing_back) = signal::channel(false);
        let mut jobs = JoinSet::new();
        let beating = tokio::spawn(self.clone().beat());
        tokio::pin!(stop);
        loop {
            let next = async {
                let place = places.clone().acquire_owned().await;
                (place, self.next().await)
            };
            tokio::select! {
                biased;
                () = &mut stop => break,
                (place, lease) = next => {
                    let (this, handing_back) = (self.clone(), handing_back.clone());
                    jobs.spawn(async move {
                        let _place = place;
                        this.work(lease, handing_back).await;
                    });
                }
            }
            while jobs.try_join_next().is_some() {}
        }
        tracing::info!(worker = self.name, running = self.running.load(Ordering::Relaxed), "no more jobs are taken");
        let rest = async { while jobs.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, rest).await.is_err() {
            let _ = hand_back.send(true);
            // Scripts end within milliseconds of that; what waits for the queue does not for ever.
            let rest = async { while jobs.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(Duration::from_secs(10), rest).await;
        }
        beating.abort();
        if let Err(error) = self.queue.leave(&self.name).await {
            tracing::warn!(worker = self.name, %error, "the queue was not told of the end");
        }
    }

    /// The next job, as soon as there is one.
    async fn next(&self) -> Lease {
        let mut pause = AFTER_FAILURE;
        loop {
            match self.queue.lease(&self.name).await {
                Ok(Some(lease)) => return lease,
                Ok(None) => {
                    pause = AFTER_FAILURE;
                    let _ = tokio::time::timeout(LOOK, self.queue.bells().work()).await;
                }
                Err(error) => {
                    tracing::warn!(worker = self.name, %error, "no job can be taken");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AFTER_FAILURES);
                }
            }
        }
    }

    async fn work(&self, lease: Lease, handing_back: signal::Receiver<bool>) {
        self.running.fetch_add(1, Ordering::Relaxed);
        run::run(&self.queue, &self.engines, &self.telemetry, lease, handing_back).await;
        self.running.fetch_sub(1, Ordering::Relaxed);
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    /// Says that it lives, and does what is due.
    async fn beat(self: Arc<Self>) {
        loop {
            let report = WorkerReport {
                name: self.name.clone(),
                concurrency: self.concurrency as u64,
                running: self.running.load(Ordering::Relaxed),
                finished: self.finished.load(Ordering::Relaxed),
                started_at: self.started_at,
                seen_at: 0,
            };
            if let Err(error) = self.queue.beat(&report).await {
                tracing::debug!(worker = self.name, %error, "the queue does not hear of this worker");
            }
            tokio::time::sleep(BEAT).await;
        }
    }
}
