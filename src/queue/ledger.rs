//! The rules of the memory queue: who is next, whose lease has ended, what is kept. Never reads the clock, writes no file
//! and wakes nobody: it tells what to write and whom to wake.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use serde_json::json;

use super::event::{EventKind, EventLog, Events, NewEvent};
use super::job::{
    Cause, Filter, Job, JobId, Lease, NewJob, Orders, Outcome, Page, Priority, State, Submitted, Summary, Ticket,
};
use super::journal::Line;
use super::record::{Record, RecordKind};
use super::time::millis;
use super::{QueueError, Settings, Stats, WorkerReport};

/// Workers that have said nothing for this long are gone.
pub(super) const WORKER_GONE: u64 = 30_000;
/// When those who find the queue full may try again.
pub(super) const FULL: Duration = Duration::from_secs(1);

/// What a change means for the world outside.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// To be written, in this order.
    pub(super) lines: Vec<Line>,
    /// Jobs of which something is new.
    pub(super) rings: Vec<JobId>,
    /// Running jobs that are to end.
    pub(super) orders: Vec<JobId>,
    /// Jobs that workers could take now.
    pub(super) work: usize,
}

#[derive(Debug)]
struct Entry {
    job: Job,
    log: EventLog,
    /// Its place in its line: what came first has the lowest.
    order: u64,
    /// The number of its last delivery.
    delivery: u64,
    /// When its lease ends.
    until: Option<u64>,
    /// Its bytes, once it has ended.
    weight: u64,
}

/// What is known of a tenant.
#[derive(Debug, Default)]
struct Tenant {
    jobs: BTreeSet<JobId>,
    /// Delayed ones among them.
    waiting: u64,
    running: u64,
    /// By the time of their end.
    ended: BTreeSet<(u64, JobId)>,
    /// The bytes of those.
    weight: u64,
}

/// The jobs of one priority that could run.
#[derive(Debug, Default)]
struct Queued {
    /// Tenants with jobs here; the first is next.
    turns: VecDeque<String>,
    jobs: HashMap<String, BTreeSet<(u64, JobId)>>,
}

#[derive(Debug)]
struct Key {
    id: JobId,
    fingerprint: String,
    until: u64,
}

#[derive(Debug)]
pub(super) struct Ledger {
    settings: Settings,
    jobs: BTreeMap<JobId, Entry>,
    tenants: HashMap<String, Tenant>,
    queued: [Queued; Priority::ALL.len()],
    delayed: BTreeSet<(u64, JobId)>,
    leases: BTreeSet<(u64, JobId)>,
    /// What has ended, by the time of that. Without dead letters, which are there to be looked at.
    ended: BTreeSet<(u64, JobId)>,
    keys: HashMap<(String, String), Key>,
    records: BTreeMap<(RecordKind, String, String), String>,
    workers: BTreeMap<String, WorkerReport>,
    waiting: u64,
    orders: u64,
    deliveries: u64,
    redelivered: u64,
    effects: Effects,
}

impl Ledger {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            jobs: BTreeMap::new(),
            tenants: HashMap::new(),
            queued: Default::default(),
            delayed: BTreeSet::new(),
            leases: BTreeSet::new(),
            ended: BTreeSet::new(),
            keys: HashMap::new(),
            records: BTreeMap::new(),
            workers: BTreeMap::new(),
            waiting: 0,
            orders: 0,
            deliveries: 0,
            redelivered: 0,
            effects: Effects::default(),
        }
    }

    /// What the changes since the last call mean.
    pub(super) fn effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn submit(&mut self, mut new: NewJob, now: u64) -> Result<Submitted, QueueError> {
        new.check(&self.settings)?;
        let key = new.idempotency_key.clone().map(|key| (new.tenant.clone(), key));
        if let Some(known) = key.as_ref().and_then(|key| self.keys.get(key)).filter(|known| known.until > now) {
            return if known.fingerprint == new.fingerprint() {
                Ok(Submitted { id: known.id, existed: true })
            } else {
                Err(QueueError::Conflict(known.id))
            };
        }
        let waits = self.tenants.get(&new.tenant).map_or(0, |tenant| tenant.waiting);
        if waits >= self.settings.waiting_per_tenant || self.waiting >= self.settings.waiting {
            return Err(QueueError::Full { retry_after: FULL });
        }
        new.not_before = new.not_before.filter(|time| *time > now);
        let job = Job {
            id: JobId::new(),
            state: if new.not_before.is_some() { State::Delayed } else { State::Queued },
            new,
            attempts: 0,
            created_at: now,
            started_at: None,
            finished_at: None,
            worker: None,
            ending: None,
            outcome: None,
        };
        let id = job.id;
        self.effects.lines.push(Line::Job(Box::new(job.clone())));
        self.insert(job);
        self.told(id, EventKind::Queued, now, json!({}));
        Ok(Submitted { id, existed: false })
    }

    /// Puts a job where its state says it belongs.
    fn insert(&mut self, job: Job) {
        let id = job.id;
        if let Some(key) = &job.new.idempotency_key {
            let until = job.created_at.saturating_add(millis(self.settings.remember));
            let known = Key { id, fingerprint: job.new.fingerprint(), until };
            self.keys.insert((job.new.tenant.clone(), key.clone()), known);
        }
        self.tenants.entry(job.new.tenant.clone()).or_default().jobs.insert(id);
        self.orders += 1;
        let order = self.orders;
        let log = EventLog::default();
        let weight = job.outcome.as_ref().map_or(0, |outcome| weight(&job.new, outcome, &log));
        self.jobs.insert(id, Entry { job, log, order, delivery: 0, until: None, weight });
        self.enter(id);
    }

    /// Counts a job by its state.
    fn enter(&mut self, id: JobId) {
        let Some(entry) = self.jobs.get(&id) else { return };
        let job = &entry.job;
        let tenant = self.tenants.entry(job.new.tenant.clone()).or_default();
        match job.state {
            State::Delayed => {
                tenant.waiting += 1;
                self.waiting += 1;
                self.delayed.insert((job.new.not_before.unwrap_or_default(), id));
            }
            State::Queued => {
                tenant.waiting += 1;
                self.waiting += 1;
                let queued = &mut self.queued[job.new.priority as usize];
                if !queued.jobs.contains_key(&job.new.tenant) {
                    queued.turns.push_back(job.new.tenant.clone());
                }
                queued.jobs.entry(job.new.tenant.clone()).or_default().insert((entry.order, id));
                self.effects.work += 1;
            }
            State::Running => {
                tenant.running += 1;
                self.leases.insert((entry.until.unwrap_or_default(), id));
            }
            state => {
                let place = (job.finished_at.unwrap_or_default(), id);
                tenant.ended.insert(place);
                tenant.weight += entry.weight;
                if state != State::Dead {
                    self.ended.insert(place);
                }
            }
        }
    }

    /// Uncounts it, before its state changes.
    fn exit(&mut self, id: JobId) {
        let Some(entry) = self.jobs.get(&id) else { return };
        let job = &entry.job;
        let tenant = self.tenants.entry(job.new.tenant.clone()).or_default();
        match job.state {
            State::Delayed => {
                tenant.waiting -= 1;
                self.waiting -= 1;
                self.delayed.remove(&(job.new.not_before.unwrap_or_default(), id));
            }
            State::Queued => {
                tenant.waiting -= 1;
                self.waiting -= 1;
                let queued = &mut self.queued[job.new.priority as usize];
                if let Some(jobs) = queued.jobs.get_mut(&job.new.tenant) {
                    jobs.remove(&(entry.order, id));
                    if jobs.is_empty() {
                        queued.jobs.remove(&job.new.tenant);
                        queued.turns.retain(|turn| *turn != job.new.tenant);
                    }
                }
            }
            State::Running => {
                tenant.running -= 1;
                self.leases.remove(&(entry.until.unwrap_or_default(), id));
            }
            _ => {
                let place = (job.finished_at.unwrap_or_default(), id);
                tenant.ended.remove(&place);
                tenant.weight -= entry.weight;
                self.ended.remove(&place);
            }
        }
    }

    /// Changes a job, and what is counted of it.
    fn change(&mut self, id: JobId, change: impl FnOnce(&mut Entry)) {
        self.exit(id);
        if let Some(entry) = self.jobs.get_mut(&id) {
            change(entry);
        }
        self.enter(id);
    }

    fn told(&mut self, id: JobId, kind: EventKind, at: u64, data: serde_json::Value) {
        if let Some(entry) = self.jobs.get_mut(&id) {
            entry.log.push(NewEvent { kind, at, data }, &self.settings);
        }
        self.effects.rings.push(id);
    }

    fn entry(&self, tenant: &str, id: JobId) -> Result<&Entry, QueueError> {
        self.jobs.get(&id).filter(|entry| entry.job.new.tenant == tenant).ok_or(QueueError::NotFound("job"))
    }

    pub(super) fn job(&self, tenant: &str, id: JobId) -> Result<Job, QueueError> {
        self.entry(tenant, id).map(|entry| entry.job.clone())
    }

    pub(super) fn state(&self, tenant: &str, id: JobId) -> Result<State, QueueError> {
        self.entry(tenant, id).map(|entry| entry.job.state)
    }

    pub(super) fn list(&self, tenant: &str, filter: &Filter) -> Page {
        let Some(jobs) = self.tenants.get(tenant).map(|tenant| &tenant.jobs) else { return Page::default() };
        let end = filter.after.map_or(Bound::Unbounded, Bound::Excluded);
        let limit = filter.limit();
        let mut found = jobs
            .range((Bound::Unbounded, end))
            .rev()
            .filter_map(|id| self.jobs.get(id))
            .map(|entry| &entry.job)
            .filter(|job| filter.takes(job));
        let jobs: Vec<Summary> = found.by_ref().take(limit).map(Summary::from).collect();
        let next = found.next().and(jobs.last()).map(|last| last.id);
        Page { jobs, next }
    }

    pub(super) fn cancel(&mut self, tenant: &str, id: JobId, cause: Cause, now: u64) -> Result<Job, QueueError> {
        match self.entry(tenant, id)?.job.state {
            State::Delayed | State::Queued => self.end(id, ended_by(cause), now),
            State::Running => {
                if let Some(entry) = self.jobs.get_mut(&id)
                    && entry.job.ending.is_none()
                {
                    entry.job.ending = Some(cause);
                    self.effects.lines.push(Line::Ending { id, cause });
                    self.effects.orders.push(id);
                }
            }
            _ => {}
        }
        self.job(tenant, id)
    }

    pub(super) fn retry(&mut self, tenant: &str, id: JobId, now: u64) -> Result<Job, QueueError> {
        let state = self.entry(tenant, id)?.job.state;
        if !state.has_ended() || state == State::Succeeded {
            return Err(not_again(state.name()));
        }
        self.orders += 1;
        let order = self.orders;
        self.change(id, |entry| {
            let job = &mut entry.job;
            // The ticket of the run before is worth nothing any more.
            (entry.order, entry.delivery, entry.until) = (order, 0, None);
            job.state = State::Queued;
            (job.attempts, job.started_at, job.finished_at) = (0, None, None);
            (job.ending, job.outcome) = (None, None);
        });
        let job = self.job(tenant, id)?;
        self.effects.lines.push(Line::Job(Box::new(job.clone())));
        self.told(id, EventKind::Queued, now, json!({ "again": true }));
        Ok(job)
    }

    pub(super) fn lease(&mut self, worker: &str, now: u64) -> Option<Lease> {
        self.tend(now);
        let id = self.next()?;
        self.deliveries += 1;
        let (delivery, until) = (self.deliveries, now.saturating_add(millis(self.settings.lease)));
        self.change(id, |entry| {
            let job = &mut entry.job;
            job.state = State::Running;
            job.attempts += 1;
            job.started_at = Some(now);
            job.worker = Some(worker.to_owned());
            (entry.delivery, entry.until) = (delivery, Some(until));
        });
        let job = self.jobs.get(&id)?.job.clone();
        self.effects.lines.push(Line::Started { id, worker: worker.to_owned(), at: now, attempts: job.attempts });
        self.told(id, EventKind::Started, now, json!({ "worker": worker, "attempt": job.attempts }));
        let ticket = Ticket {
            id,
            tenant: job.new.tenant.clone(),
            worker: worker.to_owned(),
            attempt: job.attempts,
            entry: delivery.to_string(),
        };
        Some(Lease { job, ticket })
    }

    /// The job whose turn it is. Its tenant goes to the end.
    fn next(&mut self) -> Option<JobId> {
        for queued in &mut self.queued {
            for _ in 0..queued.turns.len() {
                let tenant = queued.turns.pop_front()?;
                let running = self.tenants.get(&tenant).map_or(0, |tenant| tenant.running);
                let first = queued.jobs.get(&tenant).and_then(|jobs| jobs.first());
                let found = first.filter(|_| running < self.settings.running_per_tenant).map(|(_, id)| *id);
                queued.turns.push_back(tenant);
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    /// The job of a ticket, if it is valid still.
    fn leased(&self, ticket: &Ticket) -> Result<&Entry, QueueError> {
        let entry = self.jobs.get(&ticket.id).filter(|entry| {
            entry.delivery.to_string() == ticket.entry
                && entry.job.state == State::Running
                && entry.job.worker.as_deref() == Some(&ticket.worker)
        });
        entry.ok_or(QueueError::LostLease(ticket.id))
    }

    pub(super) fn renew(&mut self, ticket: &Ticket, now: u64) -> Result<Orders, QueueError> {
        self.tend(now);
        let orders = self.leased(ticket)?.job.ending.map_or(Orders::GoOn, Orders::End);
        let until = now.saturating_add(millis(self.settings.lease));
        self.change(ticket.id, |entry| entry.until = Some(until));
        Ok(orders)
    }

    pub(super) fn tell(&mut self, ticket: &Ticket, events: Vec<NewEvent>) -> Result<(), QueueError> {
        self.leased(ticket)?;
        for NewEvent { kind, at, data } in events {
            self.told(ticket.id, kind, at, data);
        }
        Ok(())
    }

    pub(super) fn complete(&mut self, ticket: &Ticket, outcome: Outcome, now: u64) -> Result<(), QueueError> {
        let again = self.jobs.get(&ticket.id).is_some_and(|entry| {
            entry.delivery.to_string() == ticket.entry && entry.job.state.has_ended() && entry.until.is_none()
        });
        if again {
            return Ok(());
        }
        self.leased(ticket)?;
        let outcome = outcome.bounded(&self.settings);
        self.change(ticket.id, |entry| entry.until = None);
        self.end(ticket.id, outcome, now);
        Ok(())
    }

    pub(super) fn release(&mut self, ticket: &Ticket, now: u64) -> Result<(), QueueError> {
        self.leased(ticket)?;
        self.put_back(ticket.id, true, now);
        Ok(())
    }

    /// Puts a running job back into its line, at its old place.
    fn put_back(&mut self, id: JobId, uncount: bool, now: u64) {
        let Some(cause) = self.jobs.get(&id).map(|entry| entry.job.ending) else { return };
        if let Some(cause) = cause {
            return self.end(id, ended_by(cause), now);
        }
        self.change(id, |entry| {
            entry.job.state = State::Queued;
            entry.job.attempts -= u32::from(uncount);
            entry.delivery = 0;
        });
        let attempts = self.jobs.get(&id).map_or(0, |entry| entry.job.attempts);
        self.effects.lines.push(Line::Back { id, attempts });
        self.told(id, EventKind::Queued, now, json!({ "again": true }));
    }

    fn end(&mut self, id: JobId, outcome: Outcome, now: u64) {
        let state = outcome.state();
        self.effects.lines.push(Line::Ended { id, at: now, outcome: Box::new(outcome.clone()) });
        self.change(id, |entry| {
            entry.job.state = state;
            entry.job.finished_at = Some(now);
            entry.weight = weight(&entry.job.new, &outcome, &entry.log);
            entry.job.outcome = Some(outcome);
        });
        let Some(entry) = self.jobs.get(&id) else { return };
        let outcome = entry.job.outcome.as_ref();
        let (data, tenant) = (outcome.map(result).unwrap_or_default(), entry.job.new.tenant.clone());
        self.told(id, EventKind::Result, now, data);
        // The oldest make room for the newest.
        while let Some(tenant) = self.tenants.get(&tenant)
            && (tenant.ended.len() as u64 > self.settings.kept_per_tenant
                || (tenant.weight > self.settings.kept_bytes_per_tenant && tenant.ended.len() > 1))
            && let Some((_, oldest)) = tenant.ended.first().copied()
        {
            self.forget(oldest);
        }
        // One of its tenant may run now that there is one less.
        self.effects.work += 1;
    }

    fn forget(&mut self, id: JobId) {
        self.exit(id);
        let Some(entry) = self.jobs.remove(&id) else { return };
        let new = entry.job.new;
        if let Some(tenant) = self.tenants.get_mut(&new.tenant) {
            tenant.jobs.remove(&id);
            if tenant.jobs.is_empty() {
                self.tenants.remove(&new.tenant);
            }
        }
        if let Some(key) = new.idempotency_key {
            let key = (new.tenant, key);
            if self.keys.get(&key).is_some_and(|known| known.id == id) {
                self.keys.remove(&key);
            }
        }
        self.effects.lines.push(Line::Gone { id });
        self.effects.rings.push(id);
    }

    pub(super) fn events(&self, tenant: &str, id: JobId, from: u64, most: usize) -> Result<Events, QueueError> {
        let entry = self.entry(tenant, id)?;
        Ok(entry.log.from(from, most, entry.job.state.has_ended()))
    }

    /// Does what is due. Returns how long it is until the next job is.
    pub(super) fn tend(&mut self, now: u64) -> Option<Duration> {
        while let Some(&(due, id)) = self.delayed.first()
            && due <= now
        {
            self.orders += 1;
            let order = self.orders;
            self.change(id, |entry| (entry.job.state, entry.order) = (State::Queued, order));
        }
        while let Some(&(until, id)) = self.leases.first()
            && until <= now
        {
            self.lose(id, now);
        }
        self.forget_the_old(now);
        self.delayed.first().map(|(due, _)| Duration::from_millis(due.saturating_sub(now)))
    }

    /// The lease of a job has ended.
    fn lose(&mut self, id: JobId, now: u64) {
        let Some(job) = self.jobs.get(&id).map(|entry| &entry.job) else { return };
        if job.attempts >= job.new.max_attempts && job.ending.is_none() {
            let worker = job.worker.as_deref().unwrap_or("its worker");
            let outcome = given_up(&job.attempts.to_string(), worker);
            return self.end(id, outcome, now);
        }
        self.redelivered += u64::from(job.ending.is_none());
        self.put_back(id, false, now);
    }

    fn forget_the_old(&mut self, now: u64) {
        let oldest = now.saturating_sub(millis(self.settings.keep));
        while let Some(&(finished, id)) = self.ended.first()
            && finished <= oldest
        {
            self.forget(id);
        }
        self.workers.retain(|_, worker| worker.seen_at.saturating_add(WORKER_GONE) > now);
    }

    pub(super) fn beat(&mut self, worker: &WorkerReport, now: u64) {
        self.workers.insert(worker.name.clone(), WorkerReport { seen_at: now, ..worker.clone() });
    }

    pub(super) fn leave(&mut self, worker: &str) {
        self.workers.remove(worker);
    }

    pub(super) fn workers(&self) -> Vec<WorkerReport> {
        self.workers.values().cloned().collect()
    }

    pub(super) fn stats(&self, tenant: Option<&str>, now: u64) -> Stats {
        let mut stats = Stats { redelivered: self.redelivered, ..Stats::default() };
        let mine = |job: &Job| tenant.is_none_or(|tenant| job.new.tenant == tenant);
        for entry in self.jobs.values().filter(|entry| mine(&entry.job)) {
            match entry.job.state {
                State::Delayed => stats.delayed += 1,
                State::Queued => {
                    stats.waiting += 1;
                    let since = entry.job.created_at.max(entry.job.new.not_before.unwrap_or_default());
                    stats.oldest_ms = stats.oldest_ms.max(now.saturating_sub(since));
                }
                State::Running => stats.running += 1,
                State::Dead => stats.dead += 1,
                _ => {}
            }
        }
        stats
    }

    pub(super) fn put(&mut self, record: Record) -> Result<(), QueueError> {
        let Record { kind, tenant, name, body } = record.clone();
        let key = (kind, tenant, name);
        let same = |other: &&(RecordKind, String, String)| other.0 == kind && other.1 == key.1;
        if !self.records.contains_key(&key) && self.records.keys().filter(same).count() as u64 >= self.settings.records
        {
            return Err(QueueError::Full { retry_after: FULL });
        }
        self.effects.lines.push(Line::Put(record));
        self.records.insert(key, body);
        Ok(())
    }

    pub(super) fn add(&mut self, record: Record) -> Result<bool, QueueError> {
        let free = self.record(record.kind, &record.tenant, &record.name).is_err();
        if free {
            self.put(record)?;
        }
        Ok(free)
    }

    pub(super) fn record(&self, kind: RecordKind, tenant: &str, name: &str) -> Result<Record, QueueError> {
        let body = self.records.get(&(kind, tenant.to_owned(), name.to_owned()));
        let body = body.ok_or(QueueError::NotFound(kind.name()))?;
        Ok(Record { kind, tenant: tenant.to_owned(), name: name.to_owned(), body: body.clone() })
    }

    pub(super) fn records(&self, kind: RecordKind, tenant: Option<&str>) -> Vec<Record> {
        let wanted = |(key, _): &(&(RecordKind, String, String), &String)| {
            key.0 == kind && tenant.is_none_or(|tenant| key.1 == tenant)
        };
        let record = |((kind, tenant, name), body): (&(RecordKind, String, String), &String)| Record {
            kind: *kind,
            tenant: tenant.clone(),
            name: name.clone(),
            body: body.clone(),
        };
        self.records.iter().filter(wanted).map(record).collect()
    }

    pub(super) fn record_names(&self, kind: RecordKind, tenant: &str) -> Vec<String> {
        let wanted = |key: &&(RecordKind, String, String)| key.0 == kind && key.1 == tenant;
        self.records.keys().filter(wanted).map(|(_, _, name)| name.clone()).collect()
    }

    pub(super) fn remove(&mut self, kind: RecordKind, tenant: &str, name: &str) -> bool {
        let there = self.records.remove(&(kind, tenant.to_owned(), name.to_owned())).is_some();
        if there {
            self.effects.lines.push(Line::Removed { kind, tenant: tenant.to_owned(), name: name.to_owned() });
        }
        there
    }

    /// What a journal says has happened. Jobs that ran then have lost their workers.
    pub(super) fn replay(&mut self, lines: Vec<Line>, now: u64) {
        let mut jobs = BTreeMap::<JobId, Job>::new();
        for line in lines {
            match line {
                Line::Job(job) => drop(jobs.insert(job.id, *job)),
                Line::Gone { id } => drop(jobs.remove(&id)),
                Line::Started { id, worker, at, attempts } => {
                    if let Some(job) = jobs.get_mut(&id) {
                        (job.state, job.attempts) = (State::Running, attempts);
                        (job.worker, job.started_at) = (Some(worker), Some(at));
                    }
                }
                Line::Back { id, attempts } => {
                    if let Some(job) = jobs.get_mut(&id) {
                        (job.state, job.attempts) = (State::Queued, attempts);
                    }
                }
                Line::Ending { id, cause } => {
                    if let Some(job) = jobs.get_mut(&id) {
                        job.ending = Some(cause);
                    }
                }
                Line::Ended { id, at, outcome } => {
                    if let Some(job) = jobs.get_mut(&id) {
                        job.state = outcome.state();
                        (job.finished_at, job.outcome) = (Some(at), Some(*outcome));
                    }
                }
                Line::Put(Record { kind, tenant, name, body }) => {
                    self.records.insert((kind, tenant, name), body);
                }
                Line::Removed { kind, tenant, name } => drop(self.records.remove(&(kind, tenant, name))),
            }
        }
        for (id, job) in jobs {
            let (running, ended) = (job.state == State::Running, job.state.has_ended());
            let (created, finished) = (job.created_at, job.finished_at.unwrap_or(now));
            self.insert(job);
            self.told(id, EventKind::Queued, created, json!({}));
            if running {
                self.lose(id, now);
            } else if ended && let Some(entry) = self.jobs.get(&id) {
                let data = entry.job.outcome.as_ref().map(result).unwrap_or_default();
                self.told(id, EventKind::Result, finished, data);
            }
        }
        self.tend(now);
        self.effects = Effects { work: self.effects.work, ..Effects::default() };
    }

    /// All that a journal has to say to make this ledger anew.
    pub(super) fn snapshot(&self) -> Vec<Line> {
        let jobs = self.jobs.values().map(|entry| Line::Job(Box::new(entry.job.clone())));
        let records = self.records.iter().map(|((kind, tenant, name), body)| {
            Line::Put(Record { kind: *kind, tenant: tenant.clone(), name: name.clone(), body: body.clone() })
        });
        jobs.chain(records).collect()
    }
}

/// The outcome of a job that somebody ended before it could.
pub(super) fn ended_by(cause: Cause) -> Outcome {
    match cause {
        Cause::Cancelled => Outcome::failed(State::Cancelled, "cancelled", "cancelled before it had run"),
        Cause::TimedOut => Outcome::failed(State::TimedOut, "time_limit", "its time was over before it had run"),
    }
}

/// The bytes that a job takes after its end. Its value is in the last event as well.
fn weight(new: &NewJob, outcome: &Outcome, log: &EventLog) -> u64 {
    let value = serde_json::to_vec(&outcome.value).map_or(0, |text| text.len());
    (new.script.len() + outcome.output.len() + 2 * value + log.bytes() + 1_024) as u64
}

/// The outcome of a dead letter.
pub(super) fn given_up(attempts: &str, worker: &str) -> Outcome {
    let message = format!("no worker has finished it (deliveries: {attempts}); the last one was {worker}");
    Outcome::failed(State::Dead, "dead", message)
}

/// Why a job that has not ended badly cannot be retried.
pub(super) fn not_again(state: &str) -> QueueError {
    QueueError::Invalid(format!("a job that is {state} cannot run again; submit it anew"))
}

/// What is told of the end of a job.
pub(super) fn result(outcome: &Outcome) -> serde_json::Value {
    json!({
        "state": outcome.state(),
        "value": outcome.value,
        "failure": outcome.failure,
        "duration_ms": outcome.duration_ms,
        "usage": outcome.usage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_jobs_are_kept_within_their_bytes_and_the_newest_always() {
        let settings = Settings { kept_bytes_per_tenant: 10_000, ..Settings::default() };
        let mut ledger = Ledger::new(settings);
        let mut ids = Vec::new();
        for number in 0..10 {
            let id = ledger.submit(NewJob::new("a", format!("{number}"), 1_000), number).unwrap().id;
            let lease = ledger.lease("w", number).unwrap();
            let bytes = if number == 9 { 50_000 } else { 1_500 };
            let outcome = Outcome { output: "x".repeat(bytes), ..Outcome::default() };
            ledger.complete(&lease.ticket, outcome, number).unwrap();
            ids.push(id);
            let kept = ids.iter().filter(|id| ledger.job("a", **id).is_ok()).count();
            assert!(kept <= 4, "{kept} after {number}");
        }
        let kept: Vec<_> = ids.iter().filter(|id| ledger.job("a", **id).is_ok()).collect();
        assert_eq!(kept, [&ids[9]]);
        assert!(ledger.tenants["a"].weight > 50_000);
    }
}
