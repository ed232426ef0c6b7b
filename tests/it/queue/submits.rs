//! What is accepted, in which order it is delivered, and what is refused.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use marmot::queue::{Origin, Priority, Queue, QueueError, State};
use serde_json::json;

use super::{Place, is_unknown, job, keyed, lease, lease_in_time, now, suite, value};

suite! {
    a_job_is_kept_as_it_was_submitted,
    the_same_key_gives_the_same_job_and_never_another,
    submits_of_one_key_at_once_give_one_job,
    a_key_is_forgotten_after_its_time,
    a_full_queue_refuses_and_drops_nothing,
    what_can_never_run_is_refused,
    a_delayed_job_begins_at_its_time,
    urgent_jobs_come_first_and_equal_ones_in_order,
    tenants_take_turns,
    a_tenant_has_so_many_in_flight_at_most;
    cluster:
    a_job_is_kept_as_it_was_submitted,
    the_same_key_gives_the_same_job_and_never_another,
    submits_of_one_key_at_once_give_one_job,
    a_full_queue_refuses_and_drops_nothing,
    a_delayed_job_begins_at_its_time,
    urgent_jobs_come_first_and_equal_ones_in_order,
    tenants_take_turns,
    a_tenant_has_so_many_in_flight_at_most,
}

async fn a_job_is_kept_as_it_was_submitted(place: Place) {
    let queue = place.plain().await;
    let mut new = keyed("anna", "print(\"žluťoučký\n\u{1f980} \\\\ \\u0000\");", "ключ 1 / %");
    new.args = json!({ "large": u64::MAX, "small": -0.1, "deep": [[[null]]], "text": "\u{0}\"\\/\u{7f}" });
    new.name = Some("report@3".into());
    new.priority = Priority::Low;
    new.max_attempts = 7;
    new.trace_parent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    new.origin = Origin::Schedule("nightly".into());
    let before = now();
    let submitted = queue.submit(new.clone()).await.unwrap();
    assert!(!submitted.existed);
    let job = place.plain().await.job("anna", submitted.id).await.unwrap();
    assert_eq!((job.new, job.state, job.attempts), (new.clone(), State::Queued, 0));
    assert!((before..=now() + 1).contains(&job.created_at), "{}", job.created_at);
    assert_eq!((job.started_at, job.finished_at, job.worker, job.ending, job.outcome), (None, None, None, None, None));
    assert!(is_unknown(queue.job("bert", submitted.id).await));
    assert!(is_unknown(queue.job("anna", Default::default()).await));
    let leased = lease(&queue, "w1").await;
    assert_eq!((leased.job.new, leased.job.state, leased.job.attempts), (new, State::Running, 1));
    assert_eq!((leased.ticket.tenant.as_str(), leased.ticket.attempt), ("anna", 1));
    assert!(queue.lease("w1").await.unwrap().is_none());
}

async fn the_same_key_gives_the_same_job_and_never_another(place: Place) {
    let queue = place.plain().await;
    let first = queue.submit(keyed("anna", "1", "k")).await.unwrap();
    let again = queue.submit(keyed("anna", "1", "k")).await.unwrap();
    assert_eq!((again.id, again.existed), (first.id, true));
    let conflict = queue.submit(keyed("anna", "2", "k")).await;
    assert!(matches!(conflict, Err(QueueError::Conflict(id)) if id == first.id), "{conflict:?}");
    let other = queue.submit(keyed("bert", "1", "k")).await.unwrap();
    assert!(!other.existed && other.id != first.id);
    // A job with a time may be asked for again when that has passed.
    let mut timed = keyed("anna", "3", "timed");
    timed.not_before = Some(now() - 1_000);
    let first = queue.submit(timed.clone()).await.unwrap();
    assert_eq!(queue.submit(timed.clone()).await.unwrap().id, first.id);
    timed.not_before = Some(now() + 60_000);
    assert_eq!(queue.submit(timed).await.unwrap().id, first.id);
    // The key alone.
    let mut new = keyed("anna", "a", "hook");
    new.same_by_key = true;
    let first = queue.submit(new.clone()).await.unwrap();
    new.script = "b".into();
    assert_eq!(queue.submit(new).await.unwrap().id, first.id);
    assert_eq!(queue.job("anna", first.id).await.unwrap().new.script, "a");
    // A job that has ended is still the job of its key.
    let lease = lease(&queue, "w1").await;
    queue.complete(&lease.ticket, value(1)).await.unwrap();
    let again = queue.submit(lease.job.new.clone()).await.unwrap();
    assert_eq!((again.id, again.existed), (lease.job.id, true));
}

async fn submits_of_one_key_at_once_give_one_job(place: Place) {
    let (one, other) = (place.plain().await, place.plain().await);
    let submits = (0..40).map(|number| {
        let queue: Arc<dyn Queue> = if number % 2 == 0 { one.clone() } else { other.clone() };
        tokio::spawn(async move { queue.submit(keyed("anna", "1", "k")).await.unwrap() })
    });
    let mut results = Vec::new();
    for submit in submits.collect::<Vec<_>>() {
        results.push(submit.await.unwrap());
    }
    assert_eq!(results.iter().map(|submitted| submitted.id).collect::<HashSet<_>>().len(), 1);
    assert_eq!(results.iter().filter(|submitted| !submitted.existed).count(), 1);
    assert_eq!(one.stats(None).await.unwrap().waiting, 1);
}

async fn a_key_is_forgotten_after_its_time(place: Place) {
    let queue = place.queue(|settings| settings.remember = Duration::from_millis(100)).await;
    let first = queue.submit(keyed("anna", "1", "k")).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    // Nothing but the time ends it.
    let second = loop {
        match queue.submit(keyed("anna", "2", "k")).await {
            Ok(second) => break second,
            Err(QueueError::Conflict(id)) => assert_eq!(id, first.id),
            Err(error) => panic!("{error}"),
        }
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(!second.existed && second.id != first.id);
    assert_eq!(queue.job("anna", first.id).await.unwrap().new.script, "1");
}

async fn a_full_queue_refuses_and_drops_nothing(place: Place) {
    let queue = place.queue(|settings| (settings.waiting_per_tenant, settings.waiting) = (3, 5)).await;
    let mut later = job("anna", "later");
    later.not_before = Some(now() + 60_000);
    queue.submit(later.clone()).await.unwrap();
    queue.submit(keyed("anna", "1", "k")).await.unwrap();
    queue.submit(job("anna", "2")).await.unwrap();
    for new in [job("anna", "3"), later] {
        let full = queue.submit(new).await;
        assert!(matches!(full, Err(QueueError::Full { retry_after }) if !retry_after.is_zero()), "{full:?}");
    }
    // What is there already is no more of it.
    assert!(queue.submit(keyed("anna", "1", "k")).await.unwrap().existed);
    queue.submit(job("bert", "1")).await.unwrap();
    queue.submit(job("bert", "2")).await.unwrap();
    assert!(matches!(queue.submit(job("carl", "1")).await, Err(QueueError::Full { .. })));
    let stats = queue.stats(None).await.unwrap();
    assert_eq!((stats.waiting, stats.delayed), (4, 1));
    // One that runs does not wait.
    let first = lease(&queue, "w1").await;
    assert_eq!(first.job.new.tenant, "anna");
    queue.submit(job("anna", "3")).await.unwrap();
    assert!(matches!(queue.submit(job("anna", "4")).await, Err(QueueError::Full { .. })));
    // All that was accepted is delivered.
    let mut scripts = vec![first.job.new.script];
    while let Some(lease) = queue.lease("w1").await.unwrap() {
        scripts.push(format!("{} {}", lease.job.new.tenant, lease.job.new.script));
    }
    scripts[1..].sort_unstable();
    assert_eq!(scripts, ["1", "anna 2", "anna 3", "bert 1", "bert 2"]);
}

async fn what_can_never_run_is_refused(place: Place) {
    let queue = place.queue(|settings| settings.job_size = 1_000).await;
    let mut timeless = job("anna", "1");
    timeless.timeout_ms = 0;
    let mut never = job("anna", "1");
    never.max_attempts = 0;
    let large = job("anna", &"x".repeat(1_000));
    let wrong = [job("", "1"), job("a/b", "1"), job("a{b}", "1"), keyed("anna", "1", ""), timeless, never, large];
    for new in wrong.into_iter().chain([keyed("anna", "1", &"k".repeat(256))]) {
        let refused = queue.submit(new).await;
        assert!(matches!(refused, Err(QueueError::Invalid(_))), "{refused:?}");
    }
    queue.submit(keyed("anna", "1", &"k".repeat(255))).await.unwrap();
    assert_eq!(queue.stats(None).await.unwrap().waiting, 1);
}

async fn a_delayed_job_begins_at_its_time(place: Place) {
    let queue = place.plain().await;
    let mut new = job("anna", "later");
    let due = now() + 1_000;
    new.not_before = Some(due);
    let id = queue.submit(new).await.unwrap().id;
    let job_now = queue.job("anna", id).await.unwrap();
    assert_eq!((job_now.state, job_now.new.not_before), (State::Delayed, Some(due)));
    assert!(queue.lease("w1").await.unwrap().is_none());
    let next = queue.tend().await.unwrap().expect("a job is delayed");
    assert!(next <= Duration::from_secs(1), "{next:?}");
    let stats = queue.stats(Some("anna")).await.unwrap();
    assert_eq!((stats.waiting, stats.delayed), (0, 1));
    let lease = lease_in_time(&queue, "w1").await;
    assert!(lease.job.id == id && now() + 1 >= due, "{} ms too early", due - now());
    assert_eq!(queue.tend().await.unwrap(), None);
    // A time that has passed is none.
    let mut new = job("anna", "now");
    new.not_before = Some(due);
    let id = queue.submit(new).await.unwrap().id;
    let job = queue.job("anna", id).await.unwrap();
    assert_eq!((job.state, job.new.not_before), (State::Queued, None));
}

async fn urgent_jobs_come_first_and_equal_ones_in_order(place: Place) {
    let queue = place.plain().await;
    for (script, priority) in [
        ("1", Priority::Low),
        ("2", Priority::Normal),
        ("3", Priority::High),
        ("4", Priority::Normal),
        ("5", Priority::High),
        ("6", Priority::Low),
    ] {
        let mut new = job("anna", script);
        new.priority = priority;
        queue.submit(new).await.unwrap();
    }
    let mut scripts = String::new();
    while let Some(lease) = queue.lease("w1").await.unwrap() {
        scripts += &lease.job.new.script;
    }
    assert_eq!(scripts, "352416");
}

async fn tenants_take_turns(place: Place) {
    let queue = place.queue(|settings| settings.running_per_tenant = 100).await;
    for (tenant, jobs) in [("anna", 20), ("bert", 3), ("carl", 2)] {
        for number in 0..jobs {
            queue.submit(job(tenant, &number.to_string())).await.unwrap();
        }
    }
    let mut order = Vec::new();
    while let Some(lease) = queue.lease("w1").await.unwrap() {
        order.push(format!("{}{}", &lease.job.new.tenant[..1], lease.job.new.script));
    }
    assert_eq!(order[..9], ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "a3"]);
    assert_eq!(order.len(), 25);
}

async fn a_tenant_has_so_many_in_flight_at_most(place: Place) {
    let queue = place.queue(|settings| settings.running_per_tenant = 2).await;
    for number in 0..4 {
        queue.submit(job("anna", &number.to_string())).await.unwrap();
    }
    let mut urgent = job("anna", "urgent");
    urgent.priority = Priority::High;
    let (one, _two) = (lease(&queue, "w1").await, lease(&queue, "w2").await);
    // The limit is that of all priorities together.
    queue.submit(urgent).await.unwrap();
    assert!(queue.lease("w3").await.unwrap().is_none());
    queue.submit(job("bert", "b")).await.unwrap();
    assert_eq!(lease(&queue, "w3").await.job.new.tenant, "bert");
    assert!(queue.lease("w3").await.unwrap().is_none());
    queue.complete(&one.ticket, value(1)).await.unwrap();
    assert_eq!(lease(&queue, "w3").await.job.new.script, "urgent");
    assert!(queue.lease("w3").await.unwrap().is_none());
    let stats = queue.stats(Some("anna")).await.unwrap();
    assert_eq!((stats.running, stats.waiting), (2, 2));
}
