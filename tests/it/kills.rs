//! Workers and Redis that die in the middle of 1,000 jobs: each job has one result, and what it did twice says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use marmot::config::Configurable as _;
use marmot::http::Request;
use marmot::{HttpClient, ReadResponseExt as _};
use serde_json::{Value, json};

use crate::support::Server;
use crate::support::redis::Redis;

const JOBS: usize = 1_000;
const WORKERS: usize = 4;
/// All of it is over by then.
const END: Duration = Duration::from_secs(240);

/// A process that is killed when dropped.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// SIGKILL: nothing of it runs on.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn marmot(arguments: &[&str], common: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marmot"));
    command.args(arguments).args(common).stderr(Stdio::null());
    command
}

/// A service, and how to call it.
struct Service {
    _process: Process,
    client: HttpClient,
    url: String,
}

impl Service {
    fn start(common: &[String]) -> Self {
        let mut command = marmot(&["serve", "--listen", "127.0.0.1:0", "--workers", "0"], common);
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let client = HttpClient::builder().timeout(Duration::from_secs(60)).build().unwrap();
        Self { _process: process, client, url: format!("{}rpc", line.trim()) }
    }

    /// A call, made again until the queue can be reached.
    fn call(&self, method: &str, params: &Value) -> Value {
        let end = Instant::now() + END;
        loop {
            let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
            let request = Request::post(&self.url).header("content-type", "application/json").body(body).unwrap();
            let answer: Value = self.client.send(request).unwrap().json().unwrap();
            if answer["error"].is_null() {
                return answer["result"].clone();
            }
            // The queue is away, or the job has not ended yet.
            let code = answer["error"]["code"].as_i64().unwrap();
            assert!(matches!(code, -32007 | -32005 | -32002), "{method}: {answer}");
            assert!(Instant::now() < end, "{method} {params}: {answer}");
            if code != -32002 {
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

#[test]
fn a_thousand_jobs_survive_workers_and_a_redis_that_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Redis::start();
    let effects = Server::start(|_, responder| responder.text(200, "done"));
    let config = folder.path().join("marmot.toml");
    std::fs::write(&config, "[jobs]\nlease = \"2s\"\n").unwrap();
    let common: Vec<String> = [
        ("--queue", store.url()),
        ("--config", config.display().to_string()),
        ("--allow", effects.origin()),
        ("--allow-address", "127.0.0.1".into()),
        ("--allow-method", "POST".into()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect();
    let service = Service::start(&common);
    let worker = || Process::start(marmot(&["worker", "--concurrency", "4"], &common).stdout(Stdio::null()));

    let done = AtomicBool::new(false);
    let kills = AtomicUsize::new(0);
    let ids = thread::scope(|scope| {
        scope.spawn(|| {
            let mut workers: Vec<Process> = (0..WORKERS).map(|_| worker()).collect();
            while !done.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(fastrand::u64(200..600)));
                let victim = fastrand::usize(..WORKERS);
                workers[victim].kill();
                workers[victim] = worker();
                kills.fetch_add(1, Ordering::SeqCst);
            }
        });
        let ended = scope.spawn(|| {
            let script = format!(
                "let reply = http_post(\"{}/effect/\" + ARGS.number, \"payment of \" + ARGS.number).raise(); \
                 sleep(0.02); ARGS.number * 2",
                effects.origin()
            );
            let mut ids = Vec::new();
            for number in 0..JOBS {
                let params = json!({
                    "script": script, "args": { "number": number }, "idempotency_key": format!("job-{number}"),
                    "max_attempts": 50, "timeout_ms": 30_000,
                });
                let submitted = service.call("job.submit", &params);
                ids.push(submitted["job_id"].as_str().unwrap().to_owned());
            }
            for (number, id) in ids.iter().enumerate() {
                let job = service.call("job.wait", &json!({ "job_id": id, "timeout_ms": 20_000 }));
                assert_eq!(job["state"], "succeeded", "{job}");
                assert_eq!(job["outcome"]["value"], number * 2, "{job}");
            }
            ids
        });
        // Redis dies twice while all that goes on.
        for _ in 0..2 {
            thread::sleep(Duration::from_secs(4));
            store.kill();
            thread::sleep(Duration::from_millis(300));
            store.start_again();
        }
        let ids = ended.join();
        done.store(true, Ordering::SeqCst);
        ids.unwrap()
    });

    let different: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(different.len(), JOBS);
    // Nothing is there beside them: no job was made twice.
    let (mut listed, mut after) = (0, Value::Null);
    loop {
        let page = service.call("job.list", &json!({ "limit": 200, "after": after }));
        listed += page["jobs"].as_array().unwrap().len();
        if page["next"].is_null() {
            break;
        }
        after = page["next"].clone();
    }
    assert_eq!(listed, JOBS);
    let stats = service.call("queue.stats", &json!({}));
    assert_eq!((&stats["waiting"], &stats["running"], &stats["dead"]), (&json!(0), &json!(0), &json!(0)), "{stats}");

    // What was done twice carries the same key, by which a server can tell.
    let mut keys = BTreeMap::<String, Vec<String>>::new();
    for request in effects.requests() {
        let key = request.header("idempotency-key").unwrap().to_owned();
        keys.entry(request.path().to_owned()).or_default().push(key);
    }
    assert_eq!(keys.len(), JOBS, "each job had its effect");
    let twice: usize = keys.values().map(|keys| keys.len() - 1).sum();
    for (path, keys) in &keys {
        assert!(keys.iter().all(|key| *key == keys[0]), "{path}: {keys:?}");
    }
    println!("{} workers were killed, {twice} of {JOBS} effects were repeated", kills.load(Ordering::SeqCst));
    assert!(kills.load(Ordering::SeqCst) >= 10);
}
