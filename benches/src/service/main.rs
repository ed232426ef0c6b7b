//! What a job costs beside its script: queues, calls over HTTP and WebSockets, next to the bare engine in one process.
//!
//! ```text
//! cargo bench -p marmot-bench --bench service          all ways, about 2 minutes; results/service.json
//! cargo bench -p marmot-bench --bench service -- queue  those whose name begins with that; writes no file
//! ```
//!
//! All of it runs in this process, clients included, but Redis and the server that scripts ask: where the cores are full,
//! each part slows the others down.

mod redis;
mod ways;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use marmot_bench::page;
use marmot_bench::results::{Part, Table};
use marmot_bench::server::{self, Server};

use ways::Way;

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long each way has its turn, and how often.
const SLICE: Duration = Duration::from_millis(800);
const ROUNDS: usize = 5;
/// Clients at once.
const CLIENTS: [usize; 3] = [1, 16, 256];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some(server::FLAG) => server::serve().map_err(Into::into),
        only => measure(only),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was measured of one way with so many clients.
struct Seen {
    per_second: Vec<f64>,
    latencies: Histogram<u64>,
}

impl Seen {
    fn median(&self) -> f64 {
        let mut rates = self.per_second.clone();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    }
}

fn measure(only: Option<&str>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let server = Server::start()?;
    let mut part = Part::new("The service");
    part.notes.push(
        "A job is a script from its submission until its caller has the result. `engine` is the script engine alone, on as \
         many threads as there are clients, no more than cores. The others are beside it in the same process and in the \
         same rounds: `queue` submits to the queue and waits, `rpc` calls `play` over HTTP, `websocket` over a WebSocket \
         each; `redis` has the queue in a Redis with its append-only file on, `journal` in a file that is synced."
            .into(),
    );
    for (title, script) in [
        ("A script without requests: play(\"1+1\")", "1+1".to_owned()),
        ("A script with one request", format!("http_get(\"{}/small\").status", server.base())),
    ] {
        part.tables.push(table(&runtime, &server, title, &script, only)?);
    }
    if only.is_none() {
        part.save("service")?;
        page::write()?;
    }
    Ok(())
}

fn table(
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    title: &str,
    script: &str,
    only: Option<&str>,
) -> Outcome<Table> {
    let ways = runtime.block_on(Way::all(script, server.base(), only))?;
    let mut seen: Vec<Vec<Seen>> = Vec::new();
    for _ in &ways {
        let new = |_| Ok(Seen { per_second: Vec::new(), latencies: Histogram::new(3)? });
        seen.push(CLIENTS.iter().map(new).collect::<Outcome<_>>()?);
    }
    for round in 0..ROUNDS {
        eprintln!("{title}: round {} of {ROUNDS}", round + 1);
        for at in 0..ways.len() {
            // Each round another one begins.
            let at = (at + round) % ways.len();
            for (seen, clients) in seen[at].iter_mut().zip(CLIENTS) {
                let start = Instant::now();
                let (done, latencies) = runtime.block_on(ways[at].drive(clients, start + SLICE))?;
                seen.per_second.push(f64::from(done) / start.elapsed().as_secs_f64());
                seen.latencies.add(latencies)?;
            }
        }
    }
    let columns = ["way", "clients", "jobs per second", "x engine", "p50 us", "p99 us", "added p50 us"];
    let mut table = Table::new(title, &columns);
    for (way, seen_of_way) in ways.iter().zip(&seen) {
        for ((clients, of_clients), engine) in CLIENTS.iter().zip(seen_of_way).zip(&seen[0]) {
            let micros = |seen: &Seen, quantile| seen.latencies.value_at_quantile(quantile) as f64 / 1e3;
            table.row([
                way.name.into(),
                u32::try_from(*clients)?.into(),
                of_clients.median().round().into(),
                (of_clients.median() / engine.median()).into(),
                micros(of_clients, 0.5).into(),
                micros(of_clients, 0.99).into(),
                (micros(of_clients, 0.5) - micros(engine, 0.5)).into(),
            ]);
        }
    }
    println!("{title}\n{table}");
    Ok(table)
}
