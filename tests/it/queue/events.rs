//! What is told of jobs while they run: numbers, bounds, and who hears of it.

use std::time::Duration;

use marmot::queue::{EventKind, NewEvent};
use serde_json::json;

use super::{Place, is_unknown, job, lease, suite, value};

suite! {
    events_have_numbers_without_gaps,
    events_are_read_from_a_number_on,
    events_are_kept_within_bounds_and_what_was_missed_is_counted,
    large_events_push_out_others_but_never_the_last,
    who_listens_hears_of_each;
    cluster:
    events_have_numbers_without_gaps,
    events_are_read_from_a_number_on,
    events_are_kept_within_bounds_and_what_was_missed_is_counted,
    who_listens_hears_of_each,
}

fn log(text: &str) -> NewEvent {
    NewEvent { kind: EventKind::Log, at: 17, data: json!({ "text": text }) }
}

async fn events_have_numbers_without_gaps(place: Place) {
    let queue = place.plain().await;
    let id = queue.submit(job("anna", "1")).await.unwrap().id;
    let lease = lease(&queue, "w \"1\"").await;
    let request = NewEvent { kind: EventKind::Http, at: 18, data: json!({ "url": "http://a/ b", "n": [1.5, null] }) };
    queue.tell(&lease.ticket, vec![log("one\ntwo 3"), request.clone()]).await.unwrap();
    queue.tell(&lease.ticket, Vec::new()).await.unwrap();
    let running = queue.events("anna", id, 0, 100).await.unwrap();
    assert_eq!((running.ended, running.missed), (false, 0));
    queue.complete(&lease.ticket, value(json!({ "a": "ü" }))).await.unwrap();
    let all = queue.events("anna", id, 1, 100).await.unwrap();
    assert_eq!((all.ended, all.missed), (true, 0));
    assert_eq!(all.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    use EventKind::{Http, Log, Queued, Result, Started};
    assert_eq!(all.events.iter().map(|event| event.kind).collect::<Vec<_>>(), [Queued, Started, Log, Http, Result]);
    assert_eq!(all.events[..4], running.events);
    assert_eq!(all.events[1].data, json!({ "worker": "w \"1\"", "attempt": 1 }));
    assert_eq!((all.events[2].at, &all.events[2].data), (17, &json!({ "text": "one\ntwo 3" })));
    assert_eq!(all.events[3].data, request.data);
    let result = &all.events[4].data;
    assert_eq!((&result["state"], &result["value"]), (&json!("succeeded"), &json!({ "a": "ü" })));
    let job = queue.job("anna", id).await.unwrap();
    assert_eq!(Some(all.events[4].at), job.finished_at);
    assert_eq!((all.events[0].at, Some(all.events[1].at)), (job.created_at, job.started_at));
    assert!(is_unknown(queue.events("bert", id, 1, 100).await));
}

async fn events_are_read_from_a_number_on(place: Place) {
    let queue = place.plain().await;
    let id = queue.submit(job("anna", "1")).await.unwrap().id;
    let lease = lease(&queue, "w1").await;
    queue.tell(&lease.ticket, (0..7).map(|n| log(&n.to_string())).collect()).await.unwrap();
    queue.complete(&lease.ticket, value(1)).await.unwrap();
    let numbers = async |from, most| {
        let events = queue.events("anna", id, from, most).await.unwrap();
        assert_eq!(events.missed, 0);
        (events.events.iter().map(|event| event.seq).collect::<Vec<_>>(), events.ended)
    };
    assert_eq!(numbers(1, 3).await, (vec![1, 2, 3], false));
    assert_eq!(numbers(4, 3).await, (vec![4, 5, 6], false));
    assert_eq!(numbers(8, 3).await, (vec![8, 9, 10], true));
    assert_eq!(numbers(10, 3).await, (vec![10], true));
    assert_eq!(numbers(11, 3).await, (vec![], true));
    assert_eq!(numbers(u64::MAX, 3).await, (vec![], true));
    assert_eq!(numbers(5, 0).await, (vec![], false));
}

async fn events_are_kept_within_bounds_and_what_was_missed_is_counted(place: Place) {
    let queue = place.queue(|settings| settings.events = 10).await;
    let id = queue.submit(job("anna", "1")).await.unwrap().id;
    let lease = lease(&queue, "w1").await;
    for part in 0..4 {
        queue.tell(&lease.ticket, (0..5).map(|n| log(&format!("{part}.{n}"))).collect()).await.unwrap();
    }
    let events = queue.events("anna", id, 1, 100).await.unwrap();
    assert_eq!((events.missed, events.events.len(), events.events[0].seq), (12, 10, 13));
    assert_eq!(events.events[9].data["text"], "3.4");
    let events = queue.events("anna", id, 10, 2).await.unwrap();
    assert_eq!((events.missed, events.events.len(), events.events[0].seq), (3, 2, 13));
    queue.complete(&lease.ticket, value(1)).await.unwrap();
    let events = queue.events("anna", id, 15, 100).await.unwrap();
    assert_eq!((events.missed, events.ended, events.events.len()), (0, true, 9));
    assert_eq!(events.events[8].kind, EventKind::Result);
}

async fn large_events_push_out_others_but_never_the_last(place: Place) {
    let queue = place.queue(|settings| settings.event_bytes = 1_000).await;
    let id = queue.submit(job("anna", "1")).await.unwrap().id;
    let lease = lease(&queue, "w1").await;
    queue.tell(&lease.ticket, (0..3).map(|n| log(&n.to_string())).collect()).await.unwrap();
    queue.complete(&lease.ticket, value("x".repeat(5_000))).await.unwrap();
    let events = queue.events("anna", id, 1, 100).await.unwrap();
    assert_eq!((events.missed, events.events.len(), events.events[0].seq), (5, 1, 6));
    assert_eq!(events.events[0].kind, EventKind::Result);
}

async fn who_listens_hears_of_each(place: Place) {
    let (queue, client) = (place.plain().await, place.plain().await);
    let id = queue.submit(job("anna", "1")).await.unwrap().id;
    let mut listener = client.bells().listen(id);
    let mut other = client.bells().listen(marmot::queue::JobId::new());
    let lease = lease(&queue, "w1").await;
    let mut next = 1;
    for round in 0..20 {
        if round > 1 {
            queue.tell(&lease.ticket, vec![log("more")]).await.unwrap();
        }
        // Rung for each change, and for several at once where they come so fast.
        while client.events("anna", id, next, 100).await.unwrap().events.is_empty() {
            listener.heard().await;
        }
        next += 1;
    }
    queue.complete(&lease.ticket, value(1)).await.unwrap();
    while !client.events("anna", id, next, 100).await.unwrap().ended {
        listener.heard().await;
    }
    let silence = tokio::time::timeout(Duration::from_millis(20), other.heard()).await;
    assert!(silence.is_err(), "a bell of another job");
}
