//! The ways to have a script run, each driven by so many clients at once. Draws no conclusions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, try_join_all};
use futures::{SinkExt as _, StreamExt as _};
use hdrhistogram::Histogram;
use marmot::http::Request;
use marmot::queue::{MemoryQueue, NewJob, Queue, Settings, State, wait_for_end};
use marmot::script::{Sandbox, ScriptEngine};
use marmot::server::{Server, ServerOptions};
use marmot::telemetry::Telemetry;
use marmot::websocket::Message;
use marmot::worker::{Engines, Worker};
use marmot::{AsyncReadResponseExt as _, HttpClient};

use crate::Outcome;
use crate::redis::Redis;

/// A job may take this long.
const MOST: Duration = Duration::from_secs(30);

type Client = Box<dyn FnMut() -> BoxFuture<'static, Outcome> + Send>;

/// One way.
pub struct Way {
    pub name: &'static str,
    /// Gives the calls of one client.
    client: Box<dyn Fn() -> BoxFuture<'static, Outcome<Client>>>,
    /// The most clients that are of use.
    most: usize,
    /// What has to live as long.
    _kept: Vec<Box<dyn std::any::Any>>,
}

impl Way {
    /// All ways whose name begins so; the engine is always the first. Scripts may ask the server at `base`.
    pub async fn all(script: &str, base: &str, only: Option<&str>) -> Outcome<Vec<Self>> {
        let mut ways = vec![Self::engine(script, base)?];
        let wanted = |name: &str| only.is_none_or(|only| name.starts_with(only));
        let folder = tempfile::tempdir()?;
        let memory: Arc<dyn Queue> = Arc::new(MemoryQueue::new(settings()));
        let journal: Arc<dyn Queue> = Arc::new(MemoryQueue::with_journal(settings(), folder.path().join("journal"))?);
        work(&memory, base)?;
        work(&journal, base)?;
        if wanted("queue") {
            ways.push(Self::queue("queue", memory.clone(), script));
        }
        if wanted("journal") {
            ways.push(Self::queue("journal", journal, script).keep(folder));
        }
        if wanted("redis")
            && let Some(redis) = Redis::start()?
        {
            let queue = redis.queue(settings()).await?;
            work(&queue, base)?;
            ways.push(Self::queue("redis", queue, script).keep(redis));
        }
        let mut options = ServerOptions::default();
        options.calls_per_second = u32::MAX;
        let server = Server::bind(([127, 0, 0, 1], 0).into(), memory, options, Telemetry::new()).await?;
        let address = server.address()?;
        tokio::spawn(server.serve(std::future::pending()));
        if wanted("rpc") {
            ways.push(Self::rpc(&format!("http://{address}/rpc"), script)?);
        }
        if wanted("websocket") {
            ways.push(Self::websocket(&format!("ws://{address}/ws/"), script)?);
        }
        Ok(ways)
    }

    fn new(name: &'static str, client: impl Fn() -> BoxFuture<'static, Outcome<Client>> + 'static) -> Self {
        Self { name, client: Box::new(client), most: usize::MAX, _kept: Vec::new() }
    }

    fn keep(mut self, kept: impl std::any::Any) -> Self {
        self._kept.push(Box::new(kept));
        self
    }

    fn engine(script: &str, base: &str) -> Outcome<Self> {
        let engine = Arc::new(engine(base)?);
        let script = script.to_owned();
        let mut way = Self::new("engine", move || {
            let (engine, script) = (engine.clone(), script.clone());
            let call = move || -> BoxFuture<'static, Outcome> {
                let (engine, script) = (engine.clone(), script.clone());
                // On this thread: a client is a thread here.
                Box::pin(async move {
                    let run = || engine.compile("script", &script)?.time_limit(MOST).run();
                    tokio::task::block_in_place(run).map(drop).map_err(Into::into)
                })
            };
            let client: Client = Box::new(move || call());
            Box::pin(async { Ok(client) })
        });
        way.most = std::thread::available_parallelism()?.get();
        Ok(way)
    }

    fn queue(name: &'static str, queue: Arc<dyn Queue>, script: &str) -> Self {
        let script = script.to_owned();
        Self::new(name, move || {
            let (queue, script) = (queue.clone(), script.clone());
            let client: Client = Box::new(move || {
                let (queue, job) = (queue.clone(), NewJob::new("bench", &script, 30_000));
                Box::pin(async move {
                    let id = queue.submit(job).await?.id;
                    let job = wait_for_end(&*queue, "bench", id, MOST).await?;
                    if job.state == State::Succeeded { Ok(()) } else { Err(format!("{job:?}").into()) }
                })
            });
            Box::pin(async { Ok(client) })
        })
    }

    fn rpc(url: &str, script: &str) -> Outcome<Self> {
        let client = HttpClient::builder().build()?;
        let (url, body) = (url.to_owned(), play(script));
        Ok(Self::new("rpc", move || {
            let (http, url, body) = (client.clone(), url.clone(), body.clone());
            let client: Client = Box::new(move || {
                let request = Request::post(&url).header("content-type", "application/json").body(body.clone());
                let sent = request.map(|request| http.send_async(request));
                Box::pin(async move { has_result(&sent?.await?.text().await?) })
            });
            Box::pin(async { Ok(client) })
        }))
    }

    fn websocket(url: &str, script: &str) -> Outcome<Self> {
        let client = HttpClient::builder().build()?;
        let (url, body) = (url.to_owned(), play(script));
        Ok(Self::new("websocket", move || {
            let (http, url, body) = (client.clone(), url.clone(), body.clone());
            Box::pin(async move {
                let socket = Arc::new(tokio::sync::Mutex::new(http.websocket(url).await?));
                let client: Client = Box::new(move || {
                    let (socket, body) = (socket.clone(), body.clone());
                    Box::pin(async move {
                        let mut socket = socket.lock().await;
                        socket.send(Message::Text(body)).await?;
                        match socket.next().await.transpose()? {
                            Some(Message::Text(text)) => has_result(&text),
                            other => Err(format!("{other:?}").into()),
                        }
                    })
                });
                Ok(client)
            })
        }))
    }

    /// Calls until then, by so many clients at once. Returns how many calls, and how long each took, in nanoseconds.
    pub async fn drive(&self, clients: usize, until: Instant) -> Outcome<(u32, Histogram<u64>)> {
        let clients = try_join_all((0..clients.min(self.most)).map(|_| (self.client)())).await?;
        let tasks = clients.into_iter().map(|mut client| {
            tokio::spawn(async move {
                let mut latencies = Histogram::<u64>::new(3)?;
                let mut done = 0_u32;
                while Instant::now() < until {
                    let start = Instant::now();
                    client().await?;
                    latencies.record(u64::try_from(start.elapsed().as_nanos())?)?;
                    done += 1;
                }
                Outcome::Ok((done, latencies))
            })
        });
        let mut all = (0, Histogram::<u64>::new(3)?);
        for task in try_join_all(tasks).await? {
            let (done, latencies) = task?;
            all.0 += done;
            all.1.add(latencies)?;
        }
        Ok(all)
    }
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.running_per_tenant = u64::MAX;
    settings.kept_per_tenant = 1_000;
    settings
}

fn engine(base: &str) -> Outcome<ScriptEngine> {
    // A budget for memory needs another allocator in this program.
    let sandbox = Sandbox::new().hosts([base]).addresses(["127.0.0.1"]).max_memory(None);
    Ok(ScriptEngine::builder().client(HttpClient::new()?).sandbox(sandbox).build()?)
}

/// Jobs of this queue are run here from now on.
fn work(queue: &Arc<dyn Queue>, base: &str) -> Outcome {
    let base = base.to_owned();
    let engines = Engines::new(move |_| engine(&base).map_err(|error| error.to_string()));
    let jobs = 4 * std::thread::available_parallelism()?.get();
    let worker = Worker::new(queue.clone(), Arc::new(engines), "bench", jobs);
    tokio::spawn(Arc::new(worker).run(std::future::pending(), Duration::ZERO));
    Ok(())
}

fn play(script: &str) -> String {
    serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "play", "params": [script] }).to_string()
}

fn has_result(answer: &str) -> Outcome {
    if answer.contains("\"result\"") { Ok(()) } else { Err(answer.to_owned().into()) }
}
