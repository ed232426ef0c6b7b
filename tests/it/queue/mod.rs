//! The queue: one suite for all that can be one, and what is particular to each. No script runs here.

#[cfg(feature = "redis")]
mod agree;
mod endings;
mod events;
mod journal;
mod leases;
mod lists;
#[cfg(feature = "redis")]
mod redis;
mod submits;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use marmot::queue::{Lease, MemoryQueue, NewJob, Outcome, Queue, QueueError, Settings};
use serde_json::Value;

/// No test takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs each test in memory, in memory with a journal, in Redis, and those behind `cluster:` in a cluster too.
macro_rules! suite {
    ($($name:ident),+ $(; cluster: $($also:ident),+)? $(,)?) => {
        mod memory {
            $(#[test] fn $name() { crate::queue::run(crate::queue::Place::memory(), super::$name) })+
        }
        mod with_journal {
            $(#[test] fn $name() { crate::queue::run(crate::queue::Place::journal(), super::$name) })+
        }
        #[cfg(feature = "redis")]
        mod in_redis {
            $(#[test] fn $name() { crate::queue::run(crate::queue::Place::redis(), super::$name) })+
        }
        $(#[cfg(feature = "redis")]
        #[test]
        fn the_same_in_a_cluster() {
            crate::queue::run(crate::queue::Place::cluster(), |place| async move {
                $(
                    $also(place.emptied()).await;
                )+
            });
        })?
    };
}
use suite;

/// Where a test has its queue.
#[derive(Clone)]
pub(crate) struct Place(Arc<Kind>, usize);

enum Kind {
    Memory(std::sync::Mutex<Option<Arc<dyn Queue>>>),
    Journal(tempfile::TempDir, std::sync::Mutex<Option<Arc<dyn Queue>>>),
    #[cfg(feature = "redis")]
    Redis(crate::support::redis::Redis),
    #[cfg(feature = "redis")]
    Cluster(crate::support::redis::RedisCluster, std::sync::atomic::AtomicUsize),
}

impl Place {
    pub(crate) fn memory() -> Self {
        Self(Arc::new(Kind::Memory(Default::default())), 0)
    }

    pub(crate) fn journal() -> Self {
        Self(Arc::new(Kind::Journal(tempfile::tempdir().unwrap(), Default::default())), 0)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn redis() -> Self {
        Self(Arc::new(Kind::Redis(crate::support::redis::Redis::start())), 0)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn cluster() -> Self {
        Self(Arc::new(Kind::Cluster(crate::support::redis::RedisCluster::start(), Default::default())), 0)
    }

    /// The same cluster with a queue that nobody has used.
    #[cfg(feature = "redis")]
    pub(crate) fn emptied(&self) -> Self {
        let number = match &*self.0 {
            Kind::Cluster(_, used) => used.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
            _ => panic!("only a cluster is used for several tests"),
        };
        Self(self.0.clone(), number)
    }

    /// The queue, as a process has it that comes new to it. One in memory has one process only.
    pub(crate) async fn queue(&self, change: impl FnOnce(&mut Settings)) -> Arc<dyn Queue> {
        let mut settings = Settings::default();
        change(&mut settings);
        match &*self.0 {
            Kind::Memory(kept) => {
                kept.lock().unwrap().get_or_insert_with(|| Arc::new(MemoryQueue::new(settings))).clone()
            }
            Kind::Journal(dir, kept) => {
                let open = || Arc::new(MemoryQueue::with_journal(settings, dir.path().join("journal")).unwrap()) as _;
                kept.lock().unwrap().get_or_insert_with(open).clone()
            }
            #[cfg(feature = "redis")]
            Kind::Redis(redis) => {
                Arc::new(marmot::queue::RedisQueue::connect(&redis.url(), "test", settings).await.unwrap())
            }
            #[cfg(feature = "redis")]
            Kind::Cluster(cluster, _) => {
                let name = format!("test-{}", self.1);
                Arc::new(marmot::queue::RedisQueue::connect(&cluster.url(), &name, settings).await.unwrap())
            }
        }
    }

    /// The same with the default settings.
    pub(crate) async fn plain(&self) -> Arc<dyn Queue> {
        self.queue(|_| {}).await
    }

    pub(crate) fn name(&self) -> &'static str {
        match &*self.0 {
            Kind::Memory(_) => "memory",
            Kind::Journal(..) => "journal",
            #[cfg(feature = "redis")]
            Kind::Redis(_) => "redis",
            #[cfg(feature = "redis")]
            Kind::Cluster(..) => "cluster",
        }
    }
}

/// Runs a test to its end, or until its time is over.
pub(crate) fn run<F: Future<Output = ()>>(place: Place, test: impl FnOnce(Place) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, test(place)).await.expect("the test ends in time") });
}

pub(crate) fn job(tenant: &str, script: &str) -> NewJob {
    NewJob::new(tenant, script, 60_000)
}

pub(crate) fn keyed(tenant: &str, script: &str, key: &str) -> NewJob {
    let mut job = job(tenant, script);
    job.idempotency_key = Some(key.to_owned());
    job
}

/// The next job, which there is.
pub(crate) async fn lease(queue: &Arc<dyn Queue>, worker: &str) -> Lease {
    queue.lease(worker).await.unwrap().expect("a job waits")
}

/// The next job, as soon as there is one: nothing but the time makes it one.
pub(crate) async fn lease_in_time(queue: &Arc<dyn Queue>, worker: &str) -> Lease {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(lease) = queue.lease(worker).await.unwrap() {
            return lease;
        }
        assert!(Instant::now() < deadline, "no job");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Tends the queue until something is so.
pub(crate) async fn tend_until<F: Future<Output = bool>>(queue: &Arc<dyn Queue>, mut so: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        queue.tend().await.unwrap();
        if so().await {
            return;
        }
        assert!(Instant::now() < deadline, "it never is so");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn value(value: impl Into<Value>) -> Outcome {
    Outcome { value: value.into(), ..Outcome::default() }
}

pub(crate) fn is_lost<T: std::fmt::Debug>(result: Result<T, QueueError>) -> bool {
    matches!(result, Err(QueueError::LostLease(_)))
}

pub(crate) fn is_unknown<T: std::fmt::Debug>(result: Result<T, QueueError>) -> bool {
    matches!(result, Err(QueueError::NotFound(_)))
}

pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
