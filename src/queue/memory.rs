//! The queue of one process: the ledger behind a lock, with a clock, bells, and a journal where one is wanted.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::bells::Bells;
use super::event::{Events, NewEvent};
use super::job::{Cause, Filter, Job, JobId, Lease, NewJob, Orders, Outcome, Page, State, Submitted, Ticket};
use super::journal::{Journal, Receipt};
use super::ledger::Ledger;
use super::record::{Record, RecordKind};
use super::time::now;
use super::{Queue, QueueError, Settings, Stats, WorkerReport};

/// A queue within this process.
///
/// Without a journal a restart loses all of it. With one, what was accepted is on the disk before it is confirmed, and jobs
/// that ran when the process ended are delivered again; of their events only the result is kept.
pub struct MemoryQueue {
    inner: Mutex<Inner>,
    bells: Bells,
    settings: Settings,
}

struct Inner {
    ledger: Ledger,
    journal: Option<Journal>,
}

impl MemoryQueue {
    /// A queue without a journal.
    pub fn new(settings: Settings) -> Self {
        let inner = Inner { ledger: Ledger::new(settings.clone()), journal: None };
        Self { inner: Mutex::new(inner), bells: Bells::default(), settings }
    }

    /// A queue with a journal, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read or written, is no journal, is damaged, or is used by another process.
    pub fn with_journal(settings: Settings, path: impl AsRef<Path>) -> io::Result<Self> {
        let (mut journal, lines) = Journal::open(path.as_ref())?;
        let mut ledger = Ledger::new(settings.clone());
        ledger.replay(lines, now());
        journal.rewrite(&ledger.snapshot());
        let queue =
            Self { inner: Mutex::new(Inner { ledger, journal: Some(journal) }), bells: Bells::default(), settings };
        queue.bells.ring_for_work();
        Ok(queue)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the ledger at this moment. The receipt tells when that is on the disk.
    fn change<T>(&self, change: impl FnOnce(&mut Ledger, u64) -> T) -> (T, Receipt) {
        let mut guard = self.lock();
        let Inner { ledger, journal } = &mut *guard;
        let changed = change(ledger, now());
        let effects = ledger.effects();
        let receipt = match journal {
            Some(journal) => {
                let receipt = journal.append(&effects.lines);
                if journal.has_grown() {
                    journal.rewrite(&ledger.snapshot());
                }
                receipt
            }
            None => Receipt::none(),
        };
        drop(guard);
        // Woken after the lock is free: whoever wakes takes it.
        for id in effects.rings {
            self.bells.ring(id);
        }
        for id in effects.orders {
            self.bells.ring_for_orders(id);
        }
        for _ in 0..effects.work {
            self.bells.ring_for_work();
        }
        (changed, receipt)
    }

    /// Changes the ledger, and waits until that is on the disk.
    async fn change_for_good<T>(
        &self,
        change: impl FnOnce(&mut Ledger, u64) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let (changed, receipt) = self.change(change);
        // What failed has changed nothing.
        let changed = changed?;
        receipt.synced().await?;
        Ok(changed)
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn submit(&self, job: NewJob) -> Result<Submitted, QueueError> {
        self.change_for_good(|ledger, now| ledger.submit(job, now)).await
    }

    async fn job(&self, tenant: &str, id: JobId) -> Result<Job, QueueError> {
        self.lock().ledger.job(tenant, id)
    }

    async fn state(&self, tenant: &str, id: JobId) -> Result<State, QueueError> {
        self.lock().ledger.state(tenant, id)
    }

    async fn list(&self, tenant: &str, filter: &Filter) -> Result<Page, QueueError> {
        Ok(self.lock().ledger.list(tenant, filter))
    }

    async fn cancel(&self, tenant: &str, id: JobId, cause: Cause) -> Result<Job, QueueError> {
        self.change_for_good(|ledger, now| ledger.cancel(tenant, id, cause, now)).await
    }

    async fn retry(&self, tenant: &str, id: JobId) -> Result<Job, QueueError> {
        self.change_for_good(|ledger, now| ledger.retry(tenant, id, now)).await
    }

    async fn lease(&self, worker: &str) -> Result<Option<Lease>, QueueError> {
        Ok(self.change(|ledger, now| ledger.lease(worker, now)).0)
    }

    async fn renew(&self, ticket: &Ticket) -> Result<Orders, QueueError> {
        self.change(|ledger, now| ledger.renew(ticket, now)).0
    }

    async fn tell(&self, ticket: &Ticket, events: Vec<NewEvent>) -> Result<(), QueueError> {
        self.change(|ledger, _| ledger.tell(ticket, events)).0
    }

    async fn complete(&self, ticket: &Ticket, outcome: Outcome) -> Result<(), QueueError> {
        self.change_for_good(|ledger, now| ledger.complete(ticket, outcome, now)).await
    }

    async fn release(&self, ticket: &Ticket) -> Result<(), QueueError> {
        self.change_for_good(|ledger, now| ledger.release(ticket, now)).await
    }

    async fn events(&self, tenant: &str, id: JobId, from: u64, most: usize) -> Result<Events, QueueError> {
        self.lock().ledger.events(tenant, id, from, most)
    }

    async fn tend(&self) -> Result<Option<Duration>, QueueError> {
        let (next, _) = self.change(|ledger, now| ledger.tend(now));
        let broken = self.lock().journal.as_ref().is_some_and(Journal::is_broken);
        if broken { Err(super::journal::broken()) } else { Ok(next) }
    }

    async fn beat(&self, worker: &WorkerReport) -> Result<(), QueueError> {
        self.change(|ledger, now| ledger.beat(worker, now));
        Ok(())
    }

    async fn leave(&self, worker: &str) -> Result<(), QueueError> {
        self.change(|ledger, _| ledger.leave(worker));
        Ok(())
    }

    async fn workers(&self) -> Result<Vec<WorkerReport>, QueueError> {
        Ok(self.lock().ledger.workers())
    }

    async fn stats(&self, tenant: Option<&str>) -> Result<Stats, QueueError> {
        Ok(self.lock().ledger.stats(tenant, now()))
    }

    async fn put(&self, record: Record) -> Result<(), QueueError> {
        self.change_for_good(|ledger, _| ledger.put(record)).await
    }

    async fn add(&self, record: Record) -> Result<bool, QueueError> {
        self.change_for_good(|ledger, _| ledger.add(record)).await
    }

    async fn record(&self, kind: RecordKind, tenant: &str, name: &str) -> Result<Record, QueueError> {
        self.lock().ledger.record(kind, tenant, name)
    }

    async fn records(&self, kind: RecordKind, tenant: Option<&str>) -> Result<Vec<Record>, QueueError> {
        Ok(self.lock().ledger.records(kind, tenant))
    }

    async fn record_names(&self, kind: RecordKind, tenant: &str) -> Result<Vec<String>, QueueError> {
        Ok(self.lock().ledger.record_names(kind, tenant))
    }

    async fn remove(&self, kind: RecordKind, tenant: &str, name: &str) -> Result<bool, QueueError> {
        self.change_for_good(|ledger, _| Ok(ledger.remove(kind, tenant, name))).await
    }

    fn bells(&self) -> &Bells {
        &self.bells
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn warnings(&self) -> Result<Vec<String>, QueueError> {
        let without = self.lock().journal.is_none();
        let warning = "the queue is in memory only: a restart loses the jobs that wait; --journal FILE keeps them";
        Ok(without.then(|| warning.to_owned()).into_iter().collect())
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryQueue").field("settings", &self.settings).finish_non_exhaustive()
    }
}
