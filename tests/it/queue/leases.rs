//! Who has a job: leases, tickets, jobs that are delivered again, dead letters.

use std::collections::HashSet;
use std::time::Duration;

use marmot::queue::{Orders, Outcome, State, Ticket};

use super::{Place, is_lost, job, lease, lease_in_time, suite, tend_until, value};

suite! {
    workers_that_race_for_jobs_get_different_ones,
    a_lost_lease_is_refused_and_the_job_is_delivered_again,
    the_old_ticket_of_the_same_worker_is_refused,
    a_lease_that_is_renewed_lasts,
    a_job_that_no_worker_finishes_is_a_dead_letter,
    what_is_handed_back_keeps_its_place_and_its_attempt,
    the_end_told_twice_counts_once,
    a_ticket_of_somebody_else_changes_nothing,
    the_error_of_a_script_is_an_outcome;
    cluster:
    workers_that_race_for_jobs_get_different_ones,
    a_lost_lease_is_refused_and_the_job_is_delivered_again,
    a_job_that_no_worker_finishes_is_a_dead_letter,
    what_is_handed_back_keeps_its_place_and_its_attempt,
    the_end_told_twice_counts_once,
    a_ticket_of_somebody_else_changes_nothing,
}

/// Short enough to wait for, long enough for some calls on a busy machine.
const SHORT: Duration = Duration::from_secs(1);

async fn workers_that_race_for_jobs_get_different_ones(place: Place) {
    const JOBS: usize = 1_000;
    let queue = place.queue(|settings| settings.running_per_tenant = 10_000).await;
    let submits = (0..8).map(|part| {
        let queue = queue.clone();
        tokio::spawn(async move {
            for number in 0..JOBS / 8 {
                queue.submit(job(["anna", "bert"][number % 2], &format!("{part}.{number}"))).await.unwrap();
            }
        })
    });
    for submit in submits.collect::<Vec<_>>() {
        submit.await.unwrap();
    }
    let mut workers = Vec::new();
    for name in ["w1", "w2", "w3", "w4"] {
        let queue = place.queue(|settings| settings.running_per_tenant = 10_000).await;
        workers.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            while let Some(lease) = queue.lease(name).await.unwrap() {
                queue.complete(&lease.ticket, value(1)).await.unwrap();
                mine.push(lease.job.id);
            }
            mine
        }));
    }
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    assert_eq!(all.len(), JOBS);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), JOBS);
    let stats = queue.stats(None).await.unwrap();
    assert_eq!((stats.waiting, stats.running, stats.redelivered), (0, 0, 0));
}

async fn a_lost_lease_is_refused_and_the_job_is_delivered_again(place: Place) {
    let queue = place.queue(|settings| settings.lease = SHORT).await;
    let id = queue.submit(job("anna", "1")).await.unwrap().id;
    let first = lease(&queue, "w1").await;
    assert!(queue.lease("w2").await.unwrap().is_none());
    let second = lease_in_time(&queue, "w2").await;
    assert_eq!((second.job.id, second.job.attempts, second.ticket.attempt), (id, 2, 2));
    let old = &first.ticket;
    assert!(is_lost(queue.renew(old).await));
    assert!(is_lost(queue.tell(old, Vec::new()).await));
    assert!(is_lost(queue.release(old).await));
    assert!(is_lost(queue.complete(old, value("old")).await));
    queue.complete(&second.ticket, value("new")).await.unwrap();
    let job = queue.job("anna", id).await.unwrap();
    assert_eq!((job.state, job.outcome.unwrap().value), (State::Succeeded, "new".into()));
    assert!(is_lost(queue.complete(old, value("old")).await));
    assert_eq!(queue.stats(None).await.unwrap().redelivered, 1);
}

async fn the_old_ticket_of_the_same_worker_is_refused(place: Place) {
    let queue = place.queue(|settings| settings.lease = SHORT).await;
    queue.submit(job("anna", "1")).await.unwrap();
    let first = lease(&queue, "w1").await;
    let second = lease_in_time(&queue, "w1").await;
    assert!(is_lost(queue.complete(&first.ticket, value(1)).await));
    queue.release(&second.ticket).await.unwrap();
    let third = lease(&queue, "w1").await;
    // The same worker, the same number of the attempt, and yet another delivery.
    assert_eq!(third.ticket.attempt, second.ticket.attempt);
    assert!(is_lost(queue.complete(&second.ticket, value(2)).await));
    queue.complete(&third.ticket, value(3)).await.unwrap();
    assert_eq!(queue.job("anna", third.job.id).await.unwrap().outcome.unwrap().value, 3);
}

async fn a_lease_that_is_renewed_lasts(place: Place) {
    let queue = place.queue(|settings| settings.lease = Duration::from_millis(1_500)).await;
    queue.submit(job("anna", "1")).await.unwrap();
    let lease = lease(&queue, "w1").await;
    // Twice its time.
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(queue.renew(&lease.ticket).await.unwrap(), Orders::GoOn);
        assert!(queue.lease("w2").await.unwrap().is_none());
    }
    queue.complete(&lease.ticket, value(1)).await.unwrap();
    assert_eq!(queue.job("anna", lease.job.id).await.unwrap().attempts, 1);
}

async fn a_job_that_no_worker_finishes_is_a_dead_letter(place: Place) {
    let queue = place.queue(|settings| settings.lease = Duration::from_millis(50)).await;
    let mut new = job("anna", "1");
    new.max_attempts = 2;
    let id = queue.submit(new).await.unwrap().id;
    let first = lease(&queue, "w1").await;
    let second = lease_in_time(&queue, "w\"2\\%1/").await;
    assert_eq!((first.ticket.attempt, second.ticket.attempt), (1, 2));
    tend_until(&queue, async || queue.job("anna", id).await.unwrap().state == State::Dead).await;
    let job = queue.job("anna", id).await.unwrap();
    let failure = job.outcome.unwrap().failure.unwrap();
    assert_eq!((failure.state, failure.kind.as_str(), job.attempts), (State::Dead, "dead", 2));
    assert!(failure.message.contains("deliveries: 2"), "{}", failure.message);
    assert!(failure.message.ends_with("the last one was w\"2\\%1/"), "{}", failure.message);
    assert!(job.finished_at.is_some() && is_lost(queue.complete(&second.ticket, value(1)).await));
    assert!(queue.lease("w3").await.unwrap().is_none());
    let stats = queue.stats(Some("anna")).await.unwrap();
    assert_eq!((stats.dead, stats.redelivered, stats.running), (1, 1, 0));
    // Somebody has looked at it.
    let again = queue.retry("anna", id).await.unwrap();
    assert_eq!((again.state, again.attempts, again.outcome), (State::Queued, 0, None));
    assert_eq!(lease(&queue, "w3").await.ticket.attempt, 1);
    assert_eq!(queue.stats(None).await.unwrap().dead, 0);
}

async fn what_is_handed_back_keeps_its_place_and_its_attempt(place: Place) {
    let queue = place.plain().await;
    for script in ["1", "2", "3", "4"] {
        queue.submit(job("anna", script)).await.unwrap();
    }
    let (first, second) = (lease(&queue, "w1").await, lease(&queue, "w1").await);
    queue.release(&second.ticket).await.unwrap();
    queue.release(&first.ticket).await.unwrap();
    let back = queue.job("anna", first.job.id).await.unwrap();
    assert_eq!((back.state, back.attempts), (State::Queued, 0));
    for lease in [&first, &second] {
        assert!(is_lost(queue.release(&lease.ticket).await));
        assert!(is_lost(queue.complete(&lease.ticket, value(1)).await));
    }
    let mut scripts = String::new();
    while let Some(lease) = queue.lease("w2").await.unwrap() {
        assert_eq!(lease.ticket.attempt, 1);
        scripts += &lease.job.new.script;
    }
    assert_eq!(scripts, "1234");
    assert_eq!(queue.stats(None).await.unwrap().redelivered, 0);
}

async fn the_end_told_twice_counts_once(place: Place) {
    let queue = place.plain().await;
    queue.submit(job("anna", "1")).await.unwrap();
    let lease = lease(&queue, "w1").await;
    queue.complete(&lease.ticket, value("first")).await.unwrap();
    queue.complete(&lease.ticket, value("second")).await.unwrap();
    let job = queue.job("anna", lease.job.id).await.unwrap();
    assert_eq!(job.outcome.unwrap().value, "first");
    let events = queue.events("anna", lease.job.id, 1, 100).await.unwrap();
    assert_eq!(events.events.len(), 3);
}

async fn a_ticket_of_somebody_else_changes_nothing(place: Place) {
    let queue = place.plain().await;
    queue.submit(job("anna", "1")).await.unwrap();
    let lease = lease(&queue, "w1").await;
    let right = &lease.ticket;
    let wrong = [
        Ticket { worker: "w2".into(), ..right.clone() },
        Ticket { entry: "0".into(), ..right.clone() },
        Ticket { entry: String::new(), ..right.clone() },
        Ticket { id: Default::default(), ..right.clone() },
    ];
    for ticket in &wrong {
        assert!(is_lost(queue.renew(ticket).await), "{ticket:?}");
        assert!(is_lost(queue.complete(ticket, value(1)).await));
        assert!(is_lost(queue.release(ticket).await));
    }
    assert_eq!(queue.renew(right).await.unwrap(), Orders::GoOn);
}

async fn the_error_of_a_script_is_an_outcome(place: Place) {
    let queue = place.plain().await;
    queue.submit(job("anna", "1")).await.unwrap();
    let lease = lease(&queue, "w1").await;
    let mut outcome = Outcome::failed(State::Failed, "thrown", "out of \"luck\"");
    outcome.output = "so far\n".into();
    outcome.duration_ms = 12;
    outcome.usage.insert("requests".into(), 3.into());
    queue.complete(&lease.ticket, outcome.clone()).await.unwrap();
    let job = queue.job("anna", lease.job.id).await.unwrap();
    assert_eq!((job.state, job.outcome, job.attempts), (State::Failed, Some(outcome), 1));
    assert!(queue.lease("w1").await.unwrap().is_none());
}
