//! A queue in memory with a journal: what a restart keeps, and what a damaged file does.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use marmot::queue::{Cause, MemoryQueue, Outcome, Queue, Record, RecordKind, Settings, State};

use super::{is_lost, is_unknown, job, keyed, lease, now, value};

/// Tests without a place of their own.
fn run<F: Future<Output = ()>>(test: impl FnOnce(std::path::PathBuf) -> F) {
    let dir = tempfile::tempdir().unwrap();
    super::run(super::Place::memory(), |_| test(dir.path().join("journal")));
}

fn open(path: &std::path::Path) -> Arc<dyn Queue> {
    Arc::new(MemoryQueue::with_journal(Settings::default(), path).unwrap())
}

#[test]
fn a_restart_keeps_what_was_accepted() {
    run(|path| async move {
        let queue = open(&path);
        let mut later = job("anna", "later");
        later.not_before = Some(now() + 60_000);
        let delayed = queue.submit(later).await.unwrap().id;
        let done = queue.submit(keyed("anna", "done", "k")).await.unwrap().id;
        queue.complete(&lease(&queue, "w1").await.ticket, value("the value")).await.unwrap();
        let failed = queue.submit(job("anna", "failed")).await.unwrap().id;
        let outcome = Outcome::failed(State::Failed, "thrown", "no luck");
        queue.complete(&lease(&queue, "w1").await.ticket, outcome.clone()).await.unwrap();
        let again = queue.submit(job("anna", "again")).await.unwrap().id;
        queue.complete(&lease(&queue, "w1").await.ticket, outcome.clone()).await.unwrap();
        queue.retry("anna", again).await.unwrap();
        let unwanted = queue.submit(job("bert", "unwanted")).await.unwrap().id;
        let runs = queue.submit(job("carl", "runs")).await.unwrap().id;
        let (mut leases, mut scripts) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let lease = lease(&queue, "w1").await;
            scripts.push(lease.job.new.script.clone());
            leases.push(lease);
        }
        scripts.sort_unstable();
        assert_eq!(scripts, ["again", "runs", "unwanted"]);
        let back = leases.iter().find(|lease| lease.job.id == again).unwrap();
        queue.release(&back.ticket).await.unwrap();
        queue.cancel("bert", unwanted, Cause::Cancelled).await.unwrap();
        let waits = queue.submit(job("anna", "waits")).await.unwrap().id;
        let record = Record { kind: RecordKind::Script, tenant: "anna".into(), name: "a".into(), body: "1".into() };
        queue.put(record.clone()).await.unwrap();
        queue.put(Record { name: "b".into(), ..record.clone() }).await.unwrap();
        queue.remove(RecordKind::Script, "anna", "b").await.unwrap();
        drop(queue);

        let queue = open(&path);
        let state = async |tenant: &str, id| queue.job(tenant, id).await.unwrap().state;
        assert_eq!(state("anna", delayed).await, State::Delayed);
        assert_eq!(state("anna", waits).await, State::Queued);
        let kept = queue.job("anna", done).await.unwrap();
        assert_eq!((kept.state, kept.outcome.unwrap().value), (State::Succeeded, "the value".into()));
        assert_eq!(queue.job("anna", failed).await.unwrap().outcome, Some(outcome));
        let released = queue.job("anna", again).await.unwrap();
        assert_eq!((released.state, released.attempts), (State::Queued, 0));
        // Its worker has gone with the process.
        assert_eq!(state("bert", unwanted).await, State::Cancelled);
        let lost = queue.job("carl", runs).await.unwrap();
        assert_eq!((lost.state, lost.attempts), (State::Queued, 1));
        for old in &leases {
            assert!(is_lost(queue.complete(&old.ticket, value("old")).await));
        }
        assert_eq!(queue.submit(keyed("anna", "done", "k")).await.unwrap().id, done);
        assert_eq!(queue.records(RecordKind::Script, None).await.unwrap(), [record]);
        let events = queue.events("anna", done, 1, 10).await.unwrap();
        assert!(events.ended && events.events.last().unwrap().data["value"] == "the value", "{events:?}");
        assert!(queue.warnings().await.unwrap().is_empty());
        let mut scripts = Vec::new();
        while let Some(lease) = queue.lease("w1").await.unwrap() {
            scripts.push((lease.job.new.script, lease.job.attempts));
        }
        scripts.sort_unstable();
        assert_eq!(scripts, [("again".into(), 1), ("runs".into(), 2), ("waits".into(), 1)]);
    });
}

#[test]
fn a_job_that_kills_its_process_each_time_is_a_dead_letter() {
    run(|path| async move {
        let id = open(&path).submit(job("anna", "1")).await.unwrap().id;
        for attempt in 1..=3 {
            assert_eq!(lease(&open(&path), "w1").await.ticket.attempt, attempt);
        }
        let job = open(&path).job("anna", id).await.unwrap();
        assert_eq!((job.state, job.attempts), (State::Dead, 3));
    });
}

#[test]
fn a_last_line_that_was_not_written_to_its_end_is_left_out() {
    run(|path| async move {
        let first = open(&path).submit(job("anna", "1")).await.unwrap().id;
        let whole = fs::read(&path).unwrap();
        // Cut anywhere, what was there before is there.
        let text = String::from_utf8(whole.clone()).unwrap();
        let line = text.lines().last().unwrap().as_bytes();
        for cut in [1, line.len() / 2, line.len()] {
            fs::write(&path, [&whole[..], &line[..cut]].concat()).unwrap();
            let queue = open(&path);
            assert_eq!(queue.job("anna", first).await.unwrap().state, State::Queued);
            // And what comes behind it is not lost to it.
            let second = queue.submit(job("anna", "2")).await.unwrap().id;
            drop(queue);
            assert_eq!(open(&path).job("anna", second).await.unwrap().new.script, "2");
        }
        // Not even the first line.
        fs::write(&path, &whole[..7]).unwrap();
        let queue = open(&path);
        assert!(is_unknown(queue.job("anna", first).await));
        let id = queue.submit(job("anna", "3")).await.unwrap().id;
        drop(queue);
        assert!(open(&path).job("anna", id).await.is_ok());
    });
}

#[test]
fn a_damaged_line_is_an_error_that_names_it_and_changes_nothing() {
    run(|path| async move {
        let queue = open(&path);
        for script in ["1", "2", "3"] {
            queue.submit(job("anna", script)).await.unwrap();
        }
        drop(queue);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() >= 4, "{text}");
        let damaged = text.replacen(lines[2], &lines[2][..10], 1);
        fs::write(&path, &damaged).unwrap();
        let error = MemoryQueue::with_journal(Settings::default(), &path).unwrap_err();
        assert!(error.kind() == std::io::ErrorKind::InvalidData && error.to_string().contains("line 3"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        // Mended, it is as it was.
        fs::write(&path, &text).unwrap();
        assert_eq!(open(&path).stats(None).await.unwrap().waiting, 3);
        fs::write(&path, "something else\n").unwrap();
        let error = MemoryQueue::with_journal(Settings::default(), &path).unwrap_err();
        assert!(error.to_string().contains("no journal"), "{error}");
    });
}

#[test]
fn a_journal_belongs_to_one_process_at_a_time() {
    run(|path| async move {
        let queue = open(&path);
        queue.submit(job("anna", "1")).await.unwrap();
        // As if the first one were in the middle of a line.
        let whole = fs::read(&path).unwrap();
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"half").unwrap();
        let error = MemoryQueue::with_journal(Settings::default(), &path).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
        assert_eq!(fs::read(&path).unwrap().len(), whole.len() + 6, "it was cut off by the one that was refused");
        drop(queue);
        assert_eq!(open(&path).stats(None).await.unwrap().waiting, 1);
    });
}

#[test]
fn a_journal_is_written_anew_when_most_of_it_is_of_no_use() {
    run(|path| async move {
        let mut settings = Settings::default();
        settings.kept_per_tenant = 2;
        let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::with_journal(settings, &path).unwrap());
        let waits = queue.submit(job("bert", "waits")).await.unwrap().id;
        let text = "x".repeat(200 << 10);
        let (mut largest, mut last) = (0, None);
        for _ in 0..100 {
            last = Some(queue.submit(job("anna", &text)).await.unwrap().id);
            queue.cancel("anna", last.unwrap(), Cause::Cancelled).await.unwrap();
            largest = largest.max(fs::metadata(&path).unwrap().len());
        }
        drop(queue);
        let length = fs::metadata(&path).unwrap().len();
        assert!(largest > 10 << 20 && length < 10 << 20, "{largest} bytes, and {length} at the end");
        let queue = open(&path);
        assert_eq!(queue.job("bert", waits).await.unwrap().state, State::Queued);
        assert_eq!(queue.job("anna", last.unwrap()).await.unwrap().state, State::Cancelled);
        assert_eq!(queue.list("anna", &Default::default()).await.unwrap().jobs.len(), 2);
    });
}

#[test]
fn a_queue_in_memory_warns_that_a_restart_loses_it() {
    super::run(super::Place::memory(), |place| async move {
        let warnings = place.plain().await.warnings().await.unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains("a restart loses"), "{warnings:?}");
    });
}

#[test]
fn what_is_confirmed_is_in_the_file() {
    run(|path| async move {
        let queue = open(&path);
        for number in 0..50 {
            let id = queue.submit(job("anna", &number.to_string())).await.unwrap().id;
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(&id.to_string()) && text.ends_with('\n'));
        }
        // Without a drop: another process would find all of it.
        let copy = path.with_file_name("copy");
        fs::copy(&path, &copy).unwrap();
        assert_eq!(open(&copy).stats(None).await.unwrap().waiting, 50);
        let next = tokio::time::timeout(Duration::from_secs(5), queue.lease("w1")).await.unwrap();
        assert!(next.unwrap().is_some());
    });
}
