//! Lists of jobs, records, workers, and what is counted.

use std::collections::HashSet;
use std::time::Duration;

use marmot::queue::{Cause, Filter, Origin, Outcome, QueueError, Record, RecordKind, State, WorkerReport};

use super::{Place, is_unknown, job, lease, now, suite, value};

suite! {
    jobs_are_listed_in_pages_the_newest_first,
    jobs_are_listed_by_what_they_are,
    what_waits_and_runs_is_counted,
    records_are_kept_by_name,
    workers_are_known_until_they_leave;
    cluster:
    jobs_are_listed_in_pages_the_newest_first,
    jobs_are_listed_by_what_they_are,
    what_waits_and_runs_is_counted,
    records_are_kept_by_name,
    workers_are_known_until_they_leave,
}

async fn jobs_are_listed_in_pages_the_newest_first(place: Place) {
    let queue = place.plain().await;
    let mut ids = Vec::new();
    for number in 0..25 {
        ids.push(queue.submit(job("anna", &format!("\n  let a = {number};\nb"))).await.unwrap().id);
    }
    queue.submit(job("bert", "1")).await.unwrap();
    ids.reverse();
    let mut filter = Filter { limit: Some(10), ..Filter::default() };
    let mut seen = Vec::new();
    for length in [10, 10, 5] {
        let page = queue.list("anna", &filter).await.unwrap();
        assert_eq!(page.jobs.len(), length);
        assert_eq!(page.next.is_some(), length == 10);
        seen.extend(page.jobs.iter().map(|job| job.id));
        filter.after = page.next;
    }
    assert_eq!(seen, ids);
    let exact = queue.list("anna", &Filter { limit: Some(25), ..Filter::default() }).await.unwrap();
    assert_eq!((exact.jobs.len(), exact.next), (25, None));
    assert_eq!(exact.jobs[0].title, "let a = 24;");
    assert_eq!(queue.list("nobody", &Filter::default()).await.unwrap(), Default::default());
}

async fn jobs_are_listed_by_what_they_are(place: Place) {
    let queue = place.plain().await;
    let mut named = job("anna", "1");
    named.name = Some("report@3".into());
    named.origin = Origin::Schedule("nightly".into());
    let named = queue.submit(named).await.unwrap().id;
    let failing = queue.submit(job("anna", "fails")).await.unwrap().id;
    let (first, second) = (lease(&queue, "w1").await, lease(&queue, "w1").await);
    let done = Outcome { duration_ms: 7, output: "much".into(), ..value("large") };
    queue.complete(&first.ticket, done).await.unwrap();
    let failed = Outcome::failed(State::Failed, "thrown", "no luck");
    queue.complete(&second.ticket, failed).await.unwrap();
    let cancelled = queue.submit(job("anna", "3")).await.unwrap().id;
    queue.cancel("anna", cancelled, Cause::Cancelled).await.unwrap();
    let waits = queue.submit(job("anna", "4")).await.unwrap().id;
    let ids = async |filter: Filter| -> HashSet<_> {
        queue.list("anna", &filter).await.unwrap().jobs.iter().map(|job| job.id).collect()
    };
    let states = |states: &[State]| Filter { states: states.to_vec(), ..Filter::default() };
    assert_eq!(ids(states(&[State::Queued])).await, [waits].into());
    assert_eq!(ids(states(&[State::Failed, State::Cancelled])).await, [failing, cancelled].into());
    assert!(ids(states(&[State::Dead])).await.is_empty());
    let name = |name: &str| Filter { name: Some(name.into()), ..Filter::default() };
    assert_eq!(ids(name("report")).await, [named].into());
    assert_eq!(ids(name("report@3")).await, [named].into());
    assert!(ids(name("report@2")).await.is_empty());
    let origin = Filter { origin: Some(Origin::Schedule("nightly".into())), ..Filter::default() };
    assert_eq!(ids(origin).await, [named].into());
    let at = queue.job("anna", failing).await.unwrap().created_at;
    let times = |since, before| Filter { since, before, ..Filter::default() };
    assert!(ids(times(Some(at), None)).await.is_superset(&[failing, cancelled, waits].into()));
    assert!(!ids(times(None, Some(at))).await.contains(&failing));
    assert!(ids(times(Some(at + 100_000), None)).await.is_empty());
    // A filter and pages together.
    let mut filter = Filter { limit: Some(1), ..states(&[State::Succeeded, State::Failed]) };
    let page = queue.list("anna", &filter).await.unwrap();
    assert_eq!((page.jobs[0].id, page.next), (failing, Some(failing)));
    assert_eq!(page.jobs[0].error.as_deref(), Some("no luck"));
    filter.after = page.next;
    let page = queue.list("anna", &filter).await.unwrap();
    assert_eq!((page.jobs[0].id, page.next, page.jobs[0].duration_ms), (named, None, Some(7)));
    assert_eq!((page.jobs[0].title.as_str(), page.jobs[0].error.as_deref()), ("report@3", None));
    assert!(page.jobs[0].started_at.is_some() && page.jobs[0].finished_at.is_some());
}

async fn what_waits_and_runs_is_counted(place: Place) {
    let queue = place.plain().await;
    let mut later = job("bert", "1");
    later.not_before = Some(now() + 60_000);
    queue.submit(later).await.unwrap();
    for tenant in ["anna", "anna", "bert"] {
        queue.submit(job(tenant, "1")).await.unwrap();
    }
    let first = lease(&queue, "w1").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let all = queue.stats(None).await.unwrap();
    assert_eq!((all.waiting, all.delayed, all.running, all.dead), (2, 1, 1, 0));
    assert!((20..60_000).contains(&all.oldest_ms), "{}", all.oldest_ms);
    let anna = queue.stats(Some("anna")).await.unwrap();
    assert_eq!((anna.waiting, anna.delayed, anna.running), (1, 0, 1));
    queue.complete(&first.ticket, value(1)).await.unwrap();
    while let Some(lease) = queue.lease("w1").await.unwrap() {
        queue.complete(&lease.ticket, value(1)).await.unwrap();
    }
    let all = queue.stats(None).await.unwrap();
    assert_eq!((all.waiting, all.delayed, all.running, all.oldest_ms), (0, 1, 0, 0));
    assert_eq!(queue.stats(Some("nobody")).await.unwrap(), Default::default());
}

async fn records_are_kept_by_name(place: Place) {
    let queue = place.queue(|settings| settings.records = 2).await;
    let record = |kind, tenant: &str, name: &str, body: &str| Record {
        kind,
        tenant: tenant.into(),
        name: name.into(),
        body: body.into(),
    };
    use RecordKind::{Schedule, Script};
    queue.put(record(Script, "anna", "b@1", "{\"é\":\"\\n\"}")).await.unwrap();
    queue.put(record(Script, "bert", "a", "2")).await.unwrap();
    assert!(queue.add(record(Script, "anna", "a", "3")).await.unwrap());
    assert!(!queue.add(record(Script, "anna", "a", "4")).await.unwrap());
    assert_eq!(queue.record(Script, "anna", "a").await.unwrap().body, "3");
    queue.put(record(Script, "anna", "a", "5")).await.unwrap();
    let all = [record(Script, "anna", "a", "5"), record(Script, "anna", "b@1", "{\"é\":\"\\n\"}")];
    assert_eq!(queue.records(Script, Some("anna")).await.unwrap(), all);
    assert_eq!(queue.records(Script, None).await.unwrap().len(), 3);
    assert!(queue.records(Schedule, None).await.unwrap().is_empty());
    assert_eq!(queue.record_names(Script, "anna").await.unwrap(), ["a", "b@1"]);
    assert!(queue.record_names(Schedule, "anna").await.unwrap().is_empty());
    // Too many, of this kind and tenant only.
    assert!(matches!(queue.put(record(Script, "anna", "c", "6")).await, Err(QueueError::Full { .. })));
    assert!(matches!(queue.add(record(Script, "anna", "c", "6")).await, Err(QueueError::Full { .. })));
    assert!(!queue.add(record(Script, "anna", "a", "6")).await.unwrap());
    queue.put(record(Schedule, "anna", "a", "7")).await.unwrap();
    assert!(queue.remove(Script, "anna", "a").await.unwrap());
    assert!(!queue.remove(Script, "anna", "a").await.unwrap());
    assert!(is_unknown(queue.record(Script, "anna", "a").await));
    assert_eq!(queue.record(Schedule, "anna", "a").await.unwrap().body, "7");
    assert!(queue.remove(Script, "bert", "a").await.unwrap());
    assert_eq!(queue.records(Script, None).await.unwrap().len(), 1);
}

async fn workers_are_known_until_they_leave(place: Place) {
    let queue = place.plain().await;
    let report =
        |name: &str, running| WorkerReport { name: name.into(), concurrency: 4, running, ..Default::default() };
    let before = now();
    queue.beat(&report("w2", 1)).await.unwrap();
    queue.beat(&report("w1", 2)).await.unwrap();
    queue.beat(&report("w2", 3)).await.unwrap();
    queue.tend().await.unwrap();
    let workers = place.plain().await.workers().await.unwrap();
    let known: Vec<_> = workers.iter().map(|worker| (worker.name.as_str(), worker.running)).collect();
    assert_eq!(known, [("w1", 2), ("w2", 3)]);
    assert!(workers.iter().all(|worker| (before..=now() + 1).contains(&worker.seen_at) && worker.concurrency == 4));
    queue.leave("w1").await.unwrap();
    queue.leave("nobody").await.unwrap();
    assert_eq!(queue.workers().await.unwrap().len(), 1);
    queue.tend().await.unwrap();
}
