//! Drives any client through a load, all of them the same way: lanes, executors, the check of each length. Names no
//! peer, reads no clock.

use std::future::Future;
use std::sync::Arc;
use std::thread;

use futures::executor::block_on;
use futures::stream::{FuturesUnordered, TryStreamExt};
use marmot_bench::load::{Failure, Load, Verb};
use tokio::runtime::{Builder, Runtime};

pub type Outcome<T = ()> = Result<T, Failure>;

/// A peer that is ready: does a load each time that it is called, on the client that it holds.
pub type Slice = Box<dyn FnMut(&Load) -> Outcome>;

/// An asynchronous client. Every request answers a length, and reads the whole body for it.
pub trait AsyncClient: Clone + Send + Sync + 'static {
    /// A client with its defaults, but for the authority and the version of HTTP that the load asks for.
    fn fresh(load: &Load) -> Outcome<Self>;
    fn fetch(&self, url: &str) -> impl Future<Output = Outcome<u64>> + Send;
    fn discard(&self, url: &str) -> impl Future<Output = Outcome<u64>> + Send;
    fn upload(&self, url: &str, body: &'static [u8]) -> impl Future<Output = Outcome<u64>> + Send;
    /// Runs a future on the caller's thread as the client itself does, if it has a way to.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        block_on(future)
    }
}

/// A blocking client, shared by threads.
pub trait BlockingClient: Sync + Sized + 'static {
    /// As for [`AsyncClient::fresh`].
    fn fresh(load: &Load) -> Outcome<Self>;
    fn fetch(&self, url: &str) -> Outcome<u64>;
    fn discard(&self, url: &str) -> Outcome<u64>;
    fn upload(&self, url: &str, body: &'static [u8]) -> Outcome<u64>;
}

/// What runs the futures of a peer.
pub enum Executor {
    /// Tokio with worker threads; each lane is a task of its own, but for [`Load::on_main`].
    TokioMany(Runtime),
    /// The same, and every lane is a task.
    TokioTasks(Runtime),
    /// Tokio on the caller's thread.
    TokioOne(Runtime),
    /// The caller's thread, no runtime: all lanes in one set of futures.
    Plain,
    /// The same by [`AsyncClient::block_on`].
    Own,
    /// The same again, but all lanes have to end with a request before any goes on with the next.
    Rounds,
}

impl Executor {
    pub fn tokio_many(load: &Load) -> Outcome<Self> {
        many(load).map(Self::TokioMany)
    }

    pub fn tokio_tasks(load: &Load) -> Outcome<Self> {
        many(load).map(Self::TokioTasks)
    }

    pub fn tokio_one() -> Outcome<Self> {
        Ok(Self::TokioOne(Builder::new_current_thread().enable_all().build()?))
    }

    fn run<C: AsyncClient>(&self, client: &C, load: &Arc<Load>) -> Outcome {
        let lanes = || (0..load.lanes).map(|_| lane(client.clone(), Arc::clone(load)));
        let single = || lane(client.clone(), Arc::clone(load));
        match self {
            Self::TokioOne(runtime) if load.lanes == 1 => runtime.block_on(single()),
            Self::TokioMany(runtime) if load.lanes == 1 && load.on_main => runtime.block_on(single()),
            Self::TokioMany(runtime) | Self::TokioTasks(runtime) | Self::TokioOne(runtime) => runtime.block_on(async {
                let tasks: Vec<_> = lanes().map(tokio::spawn).collect();
                for task in tasks {
                    task.await??;
                }
                Ok(())
            }),
            Self::Plain if load.lanes == 1 => block_on(single()),
            Self::Plain => block_on(lanes().collect::<FuturesUnordered<_>>().try_collect()),
            Self::Own | Self::Rounds if load.lanes == 1 => client.block_on(single()),
            Self::Own => client.block_on(lanes().collect::<FuturesUnordered<_>>().try_collect()),
            Self::Rounds => {
                let round = Arc::new(Load { requests: load.lanes, ..Load::clone(load) });
                (0..load.requests / load.lanes).try_for_each(|_| Self::Own.run(client, &round))
            }
        }
    }
}

fn many(load: &Load) -> Outcome<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if load.threads > 0 {
        builder.worker_threads(load.threads);
    }
    Ok(builder.enable_all().build()?)
}

/// Makes an asynchronous peer ready.
pub fn asynchronous<C: AsyncClient>(load: &Load, executor: Executor) -> Outcome<Slice> {
    let client = C::fresh(load)?;
    Ok(Box::new(move |load| executor.run(&client, &Arc::new(load.clone()))))
}

/// Makes a blocking peer ready.
pub fn blocking<C: BlockingClient>(load: &Load) -> Outcome<Slice> {
    let client = C::fresh(load)?;
    Ok(Box::new(move |load| in_threads(load, (0..load.lanes).map(|_| || blocking_lane(&client, load)))))
}

/// Runs each lane on a thread of its own; a single one stays on the caller's.
pub fn in_threads<L>(load: &Load, mut lanes: impl Iterator<Item = L>) -> Outcome
where
    L: FnOnce() -> Outcome + Send,
{
    if load.lanes == 1 {
        return lanes.next().map_or(Ok(()), |lane| lane());
    }
    thread::scope(|scope| {
        let threads: Vec<_> = lanes.map(|lane| scope.spawn(lane)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a lane panicked")?)
    })
}

async fn lane<C: AsyncClient>(client: C, load: Arc<Load>) -> Outcome {
    for _ in 0..load.requests / load.lanes {
        let got = if load.fresh { once(&C::fresh(&load)?, &load).await } else { once(&client, &load).await };
        load.settle(got)?;
    }
    Ok(())
}

async fn once<C: AsyncClient>(client: &C, load: &Load) -> Outcome<u64> {
    match load.verb {
        Verb::Fetch => client.fetch(&load.url).await,
        Verb::Discard => client.discard(&load.url).await,
        Verb::Upload => client.upload(&load.url, load.body()).await,
    }
}

fn blocking_lane<C: BlockingClient>(client: &C, load: &Load) -> Outcome {
    for _ in 0..load.requests / load.lanes {
        let got = if load.fresh { blocking_once(&C::fresh(load)?, load) } else { blocking_once(client, load) };
        load.settle(got)?;
    }
    Ok(())
}

fn blocking_once<C: BlockingClient>(client: &C, load: &Load) -> Outcome<u64> {
    match load.verb {
        Verb::Fetch => client.fetch(&load.url),
        Verb::Discard => client.discard(&load.url),
        Verb::Upload => client.upload(&load.url, load.body()),
    }
}
