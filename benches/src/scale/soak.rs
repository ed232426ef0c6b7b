//! Sends requests on a fixed schedule for minutes, whether the earlier ones were answered or not. Judges nothing but errors
//! and growth.
//!
//! A load that waits for its answers sends nothing while the client stalls, and so measures one slow request where many
//! would have been slow ("coordinated omission"). Here each latency counts from the moment at which the request was due.

use std::error::Error;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use marmot::AsyncReadResponseExt as _;
use marmot_bench::results::{Cell, Curve, Table, curve};
use marmot_bench::server::SMALL;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::process::{COLUMNS, Usage};
use crate::{Found, Outcome};

/// In flight while the most that a client can do is measured.
const LANES: usize = 64;
const MEASURING: Duration = Duration::from_secs(10);
/// A client that cannot keep up is not given more than this at once. What is late for that reason counts as late.
const MOST_IN_FLIGHT: usize = 1000;
/// What there may be more of when all is answered than before: connections of a burst that are kept (256 by each of two
/// agents, and those that the burst had in use), what they and `malloc` keep of it, and a thread that waits a few seconds
/// for another agent to run.
const ALLOWED: Usage =
    Usage { resident: 32 << 10, allocated: 16 << 10, threads: 1, descriptors: 2 * (256 + MOST_IN_FLIGHT) as u64 };

pub const COLUMNS_OF_CLIENTS: [&str; 9] =
    ["client", "most per second", "sent per second", "minutes", "p50 us", "p90 us", "p99 us", "p99.9 us", "longest us"];

/// What became of a client's soak.
#[derive(Debug, Serialize, Deserialize)]
pub struct Soaked {
    pub found: Found,
    /// Of [`COLUMNS_OF_CLIENTS`].
    pub row: Vec<Cell>,
    pub curve: Curve,
    /// Requests per second.
    pub rate: f64,
}

/// What is asked of a soak.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    pub client: String,
    pub url: String,
    pub minutes: u32,
    /// Requests per second. `None`: half of what this client can do.
    pub rate: Option<f64>,
}

type Answer = Result<usize, Box<dyn Error + Send + Sync>>;

pub fn run(plan: &Plan) -> Outcome<Soaked> {
    let url = plan.url.clone();
    match plan.client.as_str() {
        "marmot" => {
            let client = marmot::HttpClient::new()?;
            soak(plan, move || {
                let response = client.get_async(&url);
                async move { Ok(response.await?.bytes().await?.len()) }
            })
        }
        "reqwest-mt" => {
            let client = reqwest::Client::new();
            soak(plan, move || {
                let response = client.get(&url).send();
                async move { Ok(response.await?.bytes().await?.len()) }
            })
        }
        "isahc" => {
            let client = isahc::HttpClient::new()?;
            soak(plan, move || {
                let (client, url) = (client.clone(), url.clone());
                async move {
                    let mut response = client.get_async(url).await?;
                    Ok(isahc::AsyncReadResponseExt::bytes(&mut response).await?.len())
                }
            })
        }
        other => Err(format!("no client is called {other}").into()),
    }
}

fn soak<F, A>(plan: &Plan, fetch: F) -> Outcome<Soaked>
where
    F: Fn() -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let most = most(&runtime, &fetch)?;
    let rate = plan.rate.unwrap_or(most / 2.0);
    let mut table = Table::new(
        &format!("{}: {} minutes at half load", plan.client, plan.minutes),
        &[&["minute", "answers", "errors", "longest us", "most in flight"][..], &COLUMNS].concat(),
    );
    let state = Arc::new(State::new()?);
    let mut all = histogram()?;
    let mut errors = 0;
    let mut look = |when: Cell, part: &Histogram<u64>, failed: u64| -> Outcome<Usage> {
        let usage = Usage::now()?;
        eprintln!("{}: {when}: {} requests, {failed} errors, {usage:?}", plan.client, part.len());
        let in_flight = state.most_in_flight.swap(0, Ordering::Relaxed);
        let figures = [part.len() as f64, failed as f64, part.max() as f64, in_flight as f64].map(Cell::from);
        table.row([when].into_iter().chain(figures).chain(usage.cells()));
        all.add(part)?;
        errors += failed;
        Ok(usage)
    };
    let before = look("before".into(), &histogram()?, 0)?;
    let start = Instant::now();
    let mut sent = 0;
    for minute in 1..=plan.minutes {
        sent = send(&runtime, &fetch, &state, start, sent, rate, start + Duration::from_secs(60) * minute);
        let (part, failed) = state.take();
        look(minute.into(), &part, failed)?;
    }
    let end = Instant::now() + Duration::from_secs(10);
    while state.in_flight.load(Ordering::Acquire) > 0 && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    let (part, failed) = state.take();
    let after = look("all answered".into(), &part, failed)?;
    let mut broken = after.grown(before, ALLOWED);
    if errors > 0 {
        broken.push(format!("{errors} errors, such as: {}", state.first_error()));
    }
    if all.len() + errors != sent {
        broken.push(format!("{sent} requests were sent, {} answered", all.len()));
    }
    let shown = [0.5, 0.9, 0.99, 0.999].map(|quantile| Cell::from(all.value_at_quantile(quantile) as f64));
    let row = [plan.client.as_str().into(), most.into(), rate.into(), plan.minutes.into()];
    let row = row.into_iter().chain(shown).chain([Cell::from(all.max() as f64)]).collect();
    let points = (0..).map(|step| 10_f64.powf(f64::from(step) / 8.0)).take_while(|one_in| *one_in <= all.len() as f64);
    let curve = curve(&plan.client, points.map(|one_in| (one_in, all.value_at_quantile(1.0 - 1.0 / one_in) as f64)));
    Ok(Soaked { found: Found { table, broken }, row, curve, rate })
}

/// How many requests per second a client can do.
fn most<F, A>(runtime: &Runtime, fetch: &F) -> Outcome<f64>
where
    F: Fn() -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let over = Arc::new(AtomicBool::new(false));
    let lane = || {
        let (fetch, over) = (fetch.clone(), Arc::clone(&over));
        runtime.spawn(async move {
            let mut done = 0;
            while !over.load(Ordering::Relaxed) {
                check(fetch().await)?;
                done += 1;
            }
            Outcome::Ok(done)
        })
    };
    let start = Instant::now();
    let lanes: Vec<_> = (0..LANES).map(|_| lane()).collect();
    thread::sleep(MEASURING);
    over.store(true, Ordering::Relaxed);
    let mut done = 0;
    for lane in lanes {
        done += runtime.block_on(lane)??;
    }
    Ok(f64::from(done) / start.elapsed().as_secs_f64())
}

/// Sends what is due until `end`, on the caller's thread. `sent` goes on where the last call ended.
fn send<F, A>(
    runtime: &Runtime,
    fetch: &F,
    state: &Arc<State>,
    start: Instant,
    mut sent: u64,
    rate: f64,
    end: Instant,
) -> u64
where
    F: Fn() -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    loop {
        let due = start + Duration::from_secs_f64(sent as f64 / rate);
        if due >= end {
            return sent;
        }
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            thread::sleep(early);
        }
        while state.in_flight.load(Ordering::Acquire) >= MOST_IN_FLIGHT {
            thread::sleep(Duration::from_micros(100));
        }
        let in_flight = state.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        state.most_in_flight.fetch_max(in_flight, Ordering::Relaxed);
        sent += 1;
        let (state, request) = (Arc::clone(state), fetch());
        runtime.spawn(async move {
            let answer = check(request.await);
            state.end(due.elapsed(), answer);
        });
    }
}

fn check(answer: Answer) -> Outcome {
    match answer? {
        length if length == SMALL.len() => Ok(()),
        length => Err(format!("{length} bytes instead of {}", SMALL.len()).into()),
    }
}

/// Of microseconds, up to an hour, with three digits.
fn histogram() -> Outcome<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 3_600_000_000, 3)?)
}

/// What the requests report to.
struct State {
    in_flight: AtomicUsize,
    /// Since somebody looked.
    most_in_flight: AtomicUsize,
    errors: AtomicU64,
    first_error: Mutex<Option<String>>,
    latencies: Mutex<Histogram<u64>>,
}

impl State {
    fn new() -> Outcome<Self> {
        Ok(Self {
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            errors: AtomicU64::new(0),
            first_error: Mutex::default(),
            latencies: Mutex::new(histogram()?),
        })
    }

    fn end(&self, latency: Duration, answer: Outcome) {
        match answer {
            Ok(()) => {
                let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
                latencies.saturating_record((latency.as_micros() as u64).max(1));
            }
            Err(error) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                let mut first = self.first_error.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| error.to_string());
            }
        }
        self.in_flight.fetch_sub(1, Ordering::Release);
    }

    /// What there was since the last call: latencies and a number of errors.
    fn take(&self) -> (Histogram<u64>, u64) {
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let part = latencies.clone();
        latencies.reset();
        (part, self.errors.swap(0, Ordering::Relaxed))
    }

    fn first_error(&self) -> String {
        let first = self.first_error.lock().unwrap_or_else(PoisonError::into_inner);
        first.clone().unwrap_or_default()
    }
}
