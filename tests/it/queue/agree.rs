//! The queue in memory and the one in Redis, asked the same things in an order that chance chooses: they answer the same.
//! Times are left out, and what depends on them.

use std::sync::Arc;

use marmot::queue::{
    Cause, EventKind, Filter, Job, JobId, Lease, MemoryQueue, NewEvent, Outcome, Priority, Queue, QueueError,
    RedisQueue, Settings, State,
};

use crate::support::redis::Redis;

use super::{job, value};

/// Both of them, with the jobs that have the same number.
struct Pair {
    queues: [Arc<dyn Queue>; 2],
    ids: Vec<[JobId; 2]>,
    /// Old ones among them.
    leases: Vec<[Lease; 2]>,
    random: fastrand::Rng,
}

/// What two answers have in common: the text, with numbers instead of names.
fn same<T: std::fmt::Debug>(ids: &[[JobId; 2]], answers: [T; 2], what: &str) {
    let texts = [0, 1].map(|side| {
        let mut text = format!("{:?}", answers[side]);
        for (number, id) in ids.iter().enumerate() {
            text = text.replace(&id[side].to_string(), &format!("job {number}"));
        }
        text
    });
    assert_eq!(texts[0], texts[1], "{what}");
}

fn timeless(job: Job) -> Job {
    Job { created_at: 0, started_at: job.started_at.map(|_| 0), finished_at: job.finished_at.map(|_| 0), ..job }
}

impl Pair {
    fn id(&mut self) -> [JobId; 2] {
        match self.random.choice(&self.ids) {
            // The last ones more often: the others have ended.
            Some(_) if self.random.bool() => self.ids[self.ids.len() - 1 - self.random.usize(..self.ids.len().min(6))],
            Some(id) => *id,
            None => [JobId::new(), JobId::new()],
        }
    }

    async fn submit(&mut self) {
        let mut new = job("anna", ["a", "b"][self.random.usize(..2)]);
        new.priority = Priority::ALL[self.random.usize(..3)];
        new.max_attempts = self.random.u32(1..4);
        if self.random.u8(..3) == 0 {
            new.idempotency_key = Some(self.random.u8(..8).to_string());
            new.priority = Priority::Normal;
        }
        new.not_before = (self.random.u8(..20) == 0).then(|| super::now() + 1_000_000_000);
        let [one, other] = [self.queues[0].submit(new.clone()).await, self.queues[1].submit(new).await];
        if let (Ok(one), Ok(other)) = (&one, &other)
            && !one.existed
        {
            self.ids.push([one.id, other.id]);
        }
        same(&self.ids, [one, other], "submit");
    }

    async fn lease(&mut self) {
        let worker = ["w1", "w2"][self.random.usize(..2)];
        let leases = [self.queues[0].lease(worker).await.unwrap(), self.queues[1].lease(worker).await.unwrap()];
        let jobs = leases.each_ref().map(|lease| lease.as_ref().map(|lease| timeless(lease.job.clone())));
        same(&self.ids, jobs, "lease");
        if let [Some(one), Some(other)] = leases {
            self.leases.push([one, other]);
        }
    }

    /// With a ticket, which may be an old one.
    async fn work(&mut self) {
        let Some(leases) = self.random.choice(&self.leases).cloned() else { return };
        let what = self.random.u8(..6);
        let outcome = match self.random.u8(..3) {
            0 => Outcome::failed(State::Failed, "thrown", "no luck"),
            1 => Outcome::failed(State::TimedOut, "time_limit", "too slow"),
            _ => value(vec![1, 2]),
        };
        let text = "x".repeat(self.random.usize(..200));
        let events: Vec<_> = (0..self.random.u64(..4))
            .map(|at| NewEvent { kind: EventKind::Log, at, data: text.clone().into() })
            .collect();
        let mut answers = Vec::new();
        for (queue, lease) in self.queues.iter().zip(&leases) {
            let ticket = &lease.ticket;
            answers.push(match what {
                0 | 1 => queue.complete(ticket, outcome.clone()).await.map(|()| String::new()),
                2 => queue.release(ticket).await.map(|()| String::new()),
                3 => queue.renew(ticket).await.map(|orders| format!("{orders:?}")),
                _ => queue.tell(ticket, events.clone()).await.map(|()| String::new()),
            });
        }
        let [one, other] = <[Result<String, QueueError>; 2]>::try_from(answers).unwrap();
        same(&self.ids, [one, other], "work");
    }

    async fn change(&mut self) {
        let ids = self.id();
        let (cause, cancels) = ([Cause::Cancelled, Cause::TimedOut][self.random.usize(..2)], self.random.bool());
        let mut answers = Vec::new();
        for (queue, id) in self.queues.iter().zip(ids) {
            let answer = if cancels { queue.cancel("anna", id, cause).await } else { queue.retry("anna", id).await };
            answers.push(answer.map(timeless));
        }
        same(&self.ids, <[_; 2]>::try_from(answers).unwrap(), "cancel or retry");
    }

    async fn look(&mut self) {
        let ids = self.id();
        let (from, most) = (self.random.u64(..8), self.random.usize(..5));
        let filter = |after| Filter {
            states: if most < 2 { vec![State::Queued, State::Failed] } else { Vec::new() },
            limit: Some(3),
            after,
            ..Filter::default()
        };
        let (mut looks, mut events, mut pages) = (Vec::new(), Vec::new(), Vec::new());
        for (queue, id) in self.queues.iter().zip(ids) {
            let mut stats = queue.stats(Some("anna")).await.unwrap();
            stats.oldest_ms = 0;
            looks.push((queue.job("anna", id).await.map(timeless), stats));
            let found = queue.events("anna", id, from, most).await;
            events.push(found.map(|mut found| {
                found.events.iter_mut().for_each(|event| event.at = 0);
                found
            }));
            let page = queue.list("anna", &filter((from > 3).then_some(id))).await.unwrap();
            let jobs = page.jobs.into_iter().map(|job| (job.id, job.state, job.title, job.attempts, job.error));
            pages.push((jobs.collect::<Vec<_>>(), page.next));
        }
        same(&self.ids, <[_; 2]>::try_from(looks).unwrap(), "job and stats");
        same(&self.ids, <[_; 2]>::try_from(events).unwrap(), "events");
        same(&self.ids, <[_; 2]>::try_from(pages).unwrap(), "list");
    }
}

#[test]
fn memory_and_redis_answer_the_same() {
    let redis = Redis::start();
    super::run(super::Place::memory(), |_| async move {
        for seed in 0..12 {
            let mut settings = Settings::default();
            (settings.waiting_per_tenant, settings.running_per_tenant, settings.events) = (12, 3, 7);
            let one = MemoryQueue::new(settings.clone());
            let other = RedisQueue::connect(&redis.url(), &format!("seed-{seed}"), settings).await.unwrap();
            let queues: [Arc<dyn Queue>; 2] = [Arc::new(one), Arc::new(other)];
            let random = fastrand::Rng::with_seed(seed);
            let mut pair = Pair { queues, ids: Vec::new(), leases: Vec::new(), random };
            println!("seed {seed}");
            for _ in 0..300 {
                match pair.random.u8(..10) {
                    0 | 1 => pair.submit().await,
                    2 | 3 => pair.lease().await,
                    4..=6 => pair.work().await,
                    7 => pair.change().await,
                    _ => pair.look().await,
                }
            }
            assert!(pair.ids.len() > 12 && pair.leases.len() > 12, "{} {}", pair.ids.len(), pair.leases.len());
        }
    });
}
