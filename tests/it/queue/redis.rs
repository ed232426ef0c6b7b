//! What is particular to Redis: crashes, processes that share, what is left in it, and what is said of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use marmot::queue::{EventKind, NewEvent, Queue, QueueError, RedisQueue, Settings, State, wait_for_end};

use crate::support::redis::{Redis, RedisCluster};

use super::{job, keyed, lease, lease_in_time, tend_until, value};

fn run<F: Future<Output = ()>>(test: impl FnOnce(Redis) -> F) {
    let redis = Redis::start();
    super::run(super::Place::memory(), |_| test(redis));
}

async fn connect(redis: &Redis) -> Arc<dyn Queue> {
    Arc::new(RedisQueue::connect(&redis.url(), "test", Settings::default()).await.unwrap())
}

/// Calls until Redis is there again. Each failure is typed and quick.
async fn in_time<T, F: Future<Output = Result<T, QueueError>>>(mut call: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let begun = Instant::now();
        match call().await {
            Ok(answer) => return answer,
            Err(QueueError::Unavailable(_)) => {
                assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed())
            }
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < deadline, "it never works again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_crash_loses_nothing_and_calls_go_on_after_it() {
    run(|mut redis| async move {
        let (queue, client) = (connect(&redis).await, connect(&redis).await);
        let ids =
            [queue.submit(keyed("anna", "1", "k")).await.unwrap().id, queue.submit(job("anna", "2")).await.unwrap().id];
        let first = lease(&queue, "w1").await;
        let event = |text: &str| vec![NewEvent { kind: EventKind::Log, at: 1, data: text.into() }];
        queue.tell(&first.ticket, event("before")).await.unwrap();
        let waiter = client.clone();
        let waiting =
            tokio::spawn(
                async move { in_time(|| wait_for_end(&*waiter, "anna", ids[0], Duration::from_secs(30))).await },
            );
        while !format!("{:?}", client.bells()).contains("listened: 1") {
            tokio::task::yield_now().await;
        }
        redis.kill();
        for call in 0..3 {
            let begun = Instant::now();
            let failed = match call {
                0 => queue.submit(job("anna", "3")).await.map(drop),
                1 => queue.renew(&first.ticket).await.map(drop),
                _ => queue.stats(None).await.map(drop),
            };
            assert!(matches!(failed, Err(QueueError::Unavailable(_))), "{failed:?}");
            assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        }
        redis.start_again();
        // The lease has outlived the crash.
        in_time(|| queue.renew(&first.ticket)).await;
        queue.tell(&first.ticket, event("after")).await.unwrap();
        queue.complete(&first.ticket, value("done")).await.unwrap();
        let begun = Instant::now();
        let job = waiting.await.unwrap();
        assert_eq!((job.state, job.outcome.unwrap().value), (State::Succeeded, "done".into()));
        assert!(begun.elapsed() < Duration::from_secs(10), "it was not woken, but looked again: {:?}", begun.elapsed());
        let events = in_time(|| client.events("anna", ids[0], 1, 100)).await;
        assert_eq!(events.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(queue.submit(keyed("anna", "1", "k")).await.unwrap().id, ids[0]);
        let second = lease(&queue, "w1").await;
        assert_eq!((second.job.id, second.job.attempts), (ids[1], 1));
    });
}

#[test]
fn a_waiter_finds_the_end_that_came_while_its_connection_was_lost() {
    run(|redis| async move {
        let (worker, client) = (connect(&redis).await, connect(&redis).await);
        let id = client.submit(job("anna", "1")).await.unwrap().id;
        let lease = lease(&worker, "w1").await;
        for round in 0..20 {
            let mut listener = client.bells().listen(id);
            // All connections are cut, those of the readers too.
            redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            let event = NewEvent { kind: EventKind::Log, at: 1, data: round.into() };
            in_time(|| worker.tell(&lease.ticket, vec![event.clone()])).await;
            tokio::time::timeout(Duration::from_secs(5), listener.heard())
                .await
                .expect("it hears of it or looks again");
        }
        in_time(|| worker.complete(&lease.ticket, value(1))).await;
        assert!(wait_for_end(&*client, "anna", id, Duration::from_secs(5)).await.unwrap().state.has_ended());
    });
}

#[test]
fn more_news_than_the_feed_keeps_wakes_everybody() {
    run(|redis| async move {
        let (worker, client) = (connect(&redis).await, connect(&redis).await);
        let id = client.submit(job("anna", "1")).await.unwrap().id;
        let mut listener = client.bells().listen(id);
        // The numbers go on, and the entries between are gone.
        redis.command(&["HINCRBY", "marmot:{test}:counts", "feed", "500"]);
        worker.submit(job("bert", "2")).await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), listener.heard()).await.expect("it cannot know, so it looks");
    });
}

#[test]
fn what_was_flushed_is_gone_and_the_queue_goes_on() {
    run(|redis| async move {
        let queue = connect(&redis).await;
        for number in 0..20 {
            queue.submit(job("anna", &number.to_string())).await.unwrap();
        }
        let lost = lease(&queue, "w1").await;
        redis.command(&["FLUSHALL"]);
        redis.command(&["SCRIPT", "FLUSH"]);
        assert!(super::is_lost(queue.renew(&lost.ticket).await));
        let id = queue.submit(job("anna", "1")).await.unwrap().id;
        let mut listener = queue.bells().listen(id);
        let lease = lease(&queue, "w1").await;
        queue.complete(&lease.ticket, value(1)).await.unwrap();
        // The numbers of the feed went back, which its reader sees when it has waited in vain.
        tokio::time::timeout(Duration::from_secs(15), listener.heard()).await.expect("it looks again");
    });
}

#[test]
fn nothing_is_left_of_jobs_that_are_forgotten() {
    run(|redis| async move {
        let mut settings = Settings::default();
        settings.keep = Duration::from_millis(50);
        settings.lease = Duration::from_millis(50);
        let queue: Arc<dyn Queue> = Arc::new(RedisQueue::connect(&redis.url(), "test", settings).await.unwrap());
        for number in 0..30 {
            let mut new = keyed(["anna", "bert", "carl"][number % 3], "1", &number.to_string());
            new.max_attempts = 1_000;
            new.not_before = (number % 4 == 0).then(|| super::now() + 20);
            let submitted = queue.submit(new).await.unwrap();
            if number % 5 == 0 {
                queue
                    .cancel(["anna", "bert", "carl"][number % 3], submitted.id, marmot::queue::Cause::Cancelled)
                    .await
                    .unwrap();
            }
        }
        for number in 0..24 {
            let lease = lease_in_time(&queue, "w1").await;
            match number % 3 {
                0 => queue.release(&lease.ticket).await.unwrap_or_default(),
                1 => queue.complete(&lease.ticket, value(1)).await.unwrap_or_default(),
                _ => {}
            }
        }
        while queue.stats(None).await.unwrap().waiting + queue.stats(None).await.unwrap().running > 0 {
            if let Some(lease) = queue.lease("w1").await.unwrap() {
                queue.complete(&lease.ticket, value(1)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        queue.leave("w1").await.unwrap();
        let left = |redis: &Redis| {
            let answer = redis.command(&["KEYS", "*"]);
            let keys = answer.lines().filter(|line| line.starts_with("marmot:{test}:"));
            let mut keys: Vec<_> = keys.map(|key| key["marmot:{test}:".len()..].to_owned()).collect();
            keys.sort_unstable();
            keys
        };
        // The keys of idempotency go with their jobs.
        tend_until(&queue, async || left(&redis) == ["counts", "feed"]).await;
        let counts = redis.command(&["HGETALL", "marmot:{test}:counts"]);
        assert!(!counts.contains('/'), "{counts}");
        let stats = queue.stats(None).await.unwrap();
        assert_eq!((stats.waiting, stats.delayed, stats.running, stats.dead), (0, 0, 0, 0));
    });
}

#[test]
fn an_entry_whose_job_was_removed_by_hand_is_passed_over() {
    run(|redis| async move {
        let queue = connect(&redis).await;
        let first = queue.submit(job("anna", "1")).await.unwrap().id;
        let second = queue.submit(job("anna", "2")).await.unwrap().id;
        redis.command(&["DEL", &format!("marmot:{{test}}:job:{first}")]);
        let lease = lease(&queue, "w1").await;
        assert_eq!(lease.job.id, second);
        queue.complete(&lease.ticket, value(1)).await.unwrap();
        assert!(queue.lease("w1").await.unwrap().is_none());
        assert!(redis.command(&["EXISTS", "marmot:{test}:jobs:normal:anna"]).starts_with(":0"));
    });
}

#[test]
fn queues_of_different_names_share_nothing() {
    run(|redis| async move {
        let one = connect(&redis).await;
        let other = RedisQueue::connect(&redis.url(), "other", Settings::default()).await.unwrap();
        let id = one.submit(job("anna", "1")).await.unwrap().id;
        assert!(other.lease("w1").await.unwrap().is_none() && super::is_unknown(other.job("anna", id).await));
        assert_eq!(lease(&one, "w1").await.job.id, id);
        let wrong = RedisQueue::connect(&redis.url(), "a}b", Settings::default()).await;
        assert!(matches!(wrong, Err(QueueError::Invalid(_))), "{wrong:?}");
        assert!(matches!(one.lease("-").await, Err(QueueError::Invalid(_))));
    });
}

#[test]
fn what_could_be_lost_is_said() {
    run(|redis| async move {
        let queue = connect(&redis).await;
        assert!(queue.warnings().await.unwrap().is_empty());
        redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
        redis.command(&["CONFIG", "SET", "appendonly", "no"]);
        let warnings = queue.warnings().await.unwrap();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("allkeys-lru") && warnings[0].contains("set maxmemory-policy to noeviction"));
        assert!(warnings[1].contains("set appendonly to yes"), "{warnings:?}");
    });
}

#[test]
fn a_redis_whose_memory_is_full_refuses_and_half_changes_nothing() {
    run(|redis| async move {
        let queue = connect(&redis).await;
        queue.submit(job("anna", "1")).await.unwrap();
        redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
        let refused = queue.submit(job("anna", "2")).await;
        assert!(matches!(&refused, Err(QueueError::Unavailable(why)) if why.contains("OOM")), "{refused:?}");
        redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
        assert_eq!(queue.stats(None).await.unwrap().waiting, 1);
        assert_eq!(queue.list("anna", &Default::default()).await.unwrap().jobs.len(), 1);
    });
}

#[test]
fn a_password_is_never_shown() {
    let redis = Redis::start_with(&["--requirepass", "geheim"]);
    super::run(super::Place::memory(), |_| async move {
        let with = |login: &str| format!("redis://{login}127.0.0.1:{}", redis.port());
        let queue = RedisQueue::connect(&with(":geheim@"), "test", Settings::default()).await.unwrap();
        queue.submit(job("anna", "1")).await.unwrap();
        let shown = format!("{queue:?}");
        assert!(shown.contains(&redis.port().to_string()) && !shown.contains("geheim"), "{shown}");
        for login in ["", ":falsch@"] {
            let error = RedisQueue::connect(&with(login), "test", Settings::default()).await.unwrap_err();
            let (text, debug) = (error.to_string(), format!("{error:?}"));
            assert!(matches!(error, QueueError::Unavailable(_)), "{text}");
            assert!(!text.contains("falsch") && !debug.contains("falsch"), "{text} {debug}");
        }
    });
}

#[test]
fn where_there_is_no_redis_a_connection_fails_soon() {
    let mut redis = Redis::start();
    redis.kill();
    super::run(super::Place::memory(), |_| async move {
        let begun = Instant::now();
        let error = RedisQueue::connect(&redis.url(), "test", Settings::default()).await.unwrap_err();
        assert!(matches!(error, QueueError::Unavailable(_)) && begun.elapsed() < Duration::from_secs(6), "{error}");
    });
}

#[test]
fn a_redis_that_is_silent_fails_a_call_in_time() {
    run(|redis| async move {
        let queue = connect(&redis).await;
        redis.command(&["CLIENT", "PAUSE", "8000", "ALL"]);
        let begun = Instant::now();
        let failed = queue.submit(job("anna", "1")).await;
        assert!(matches!(failed, Err(QueueError::Unavailable(_))), "{failed:?}");
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        in_time(|| queue.stats(None)).await;
    });
}

#[test]
fn a_node_of_a_cluster_asked_as_if_it_were_alone_says_what_to_do() {
    let cluster = RedisCluster::start();
    super::run(super::Place::memory(), |_| async move {
        let alone = cluster.url().replace("redis+cluster", "redis");
        // One of these names is not on that node.
        let mut said = Vec::new();
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            if let Err(error) = RedisQueue::connect(&alone, name, Settings::default()).await {
                said.push(error.to_string());
            }
        }
        assert!(!said.is_empty() && said.iter().all(|error| error.contains("redis+cluster://")), "{said:?}");
    });
}

#[test]
fn a_node_of_a_cluster_that_crashes_comes_back_with_its_jobs() {
    let mut cluster = RedisCluster::start();
    super::run(super::Place::memory(), |_| async move {
        let connect = async || RedisQueue::connect(&cluster.url(), "test", Settings::default()).await.unwrap();
        let (queue, client): (Arc<dyn Queue>, Arc<dyn Queue>) = (Arc::new(connect().await), Arc::new(connect().await));
        let id = queue.submit(job("anna", "1")).await.unwrap().id;
        let lease = lease(&queue, "w1").await;
        for node in cluster.nodes() {
            node.kill();
            node.start_again();
        }
        let waiter = client.clone();
        let waiting =
            tokio::spawn(async move { in_time(|| wait_for_end(&*waiter, "anna", id, Duration::from_secs(20))).await });
        in_time(|| queue.complete(&lease.ticket, value(1))).await;
        assert_eq!(waiting.await.unwrap().state, State::Succeeded);
    });
}
