//! How the cost grows: with the requests at once, the size of bodies, the threads. Draws nothing.

use marmot_bench::load::{Load, MIB, Origins};
use marmot_bench::record::median;
use marmot_bench::results::{Axis, Cell, Curves, Part, Table, curve, digits, software};

use crate::drive::Outcome;
use crate::harness::{Plan, alone};
use crate::peers;

const ROUNDS: usize = 3;

/// Requests at once, and how many there are in all.
const AT_ONCE: [(usize, usize); 5] = [(1, 2_000), (10, 5_000), (100, 10_000), (1_000, 20_000), (10_000, 30_000)];

/// Threads are no way to wait for 10,000 requests.
const MOST_THREADS: usize = 1_000;

/// Sizes of bodies in KiB.
const SIZES: [u32; 6] = [1, 16, 256, 4 << 10, 64 << 10, 1 << 20];

/// How much is fetched of each size in KiB, if that takes no more than so many requests.
const BULK: u32 = 256 << 10;
const MOST_REQUESTS: u32 = 2_000;

const THREADS: [usize; 3] = [1, 2, 4];

/// Requests at once for any number of threads, and how many there are in all: a second of work and more, as a client that looks
/// at its load before it takes another thread needs some tenths of one for that.
const THREADED: (usize, usize) = (64, 64 * 1_500);

/// Downloads over TLS at once for any number of threads, how many each lane makes (only the next ones go to another thread), and
/// the size of each.
const TLS: usize = 8;
const TLS_EACH: usize = 4;
const TLS_SIZE: u64 = 64 * MIB;

const MANY: &[&str] = &["hyper-mt", "reqwest-mt", "marmot", "marmot-apart", "marmot-blocking"];
const ASYNC: &[&str] = &["raw-poll", "hyper", "reqwest-ct", "isahc", "marmot"];
const BLOCKING: &[&str] = &["ureq", "marmot-blocking"];

/// A point of a curve and how to measure it.
struct Point {
    peer: &'static str,
    x: f64,
    load: Work,
}

type Work = Box<dyn Fn(&Origins) -> Option<Load>>;

/// Medians of seconds per request.
struct Cost {
    wall: f64,
    cpu: f64,
}

pub fn run(plan: &Plan) -> Outcome<Part> {
    let mut part = Part::new("How the cost grows");
    let rounds = plan.rounds.unwrap_or(ROUNDS);
    part.notes = vec![
        software(),
        format!("Medians of {rounds} rounds; each point has a process of its own, and a server of its own."),
        "The threads are marmot's agents, and tokio's workers for the others; the server has its own on the same cores."
            .to_owned(),
    ];

    let costs = measure(plan, rounds, at_once(), &mut part.notes);
    let x = Axis::log("small GETs at once");
    // A lane always has a request under way: the time of a slice, once for each lane, is that of all its requests.
    let latency = costs.iter().map(|(point, cost)| (point.peer, point.x, cost.wall * 1e6 * point.x));
    let y = Axis::log("microseconds, mean of all requests (less is better)");
    show(&mut part, "Latency by requests at once", &x, y, latency);
    let cpu = costs.iter().map(|(point, cost)| (point.peer, point.x, cost.cpu * 1e6));
    let y = Axis::log("microseconds of the client's CPU for a request (less is better)");
    show(&mut part, "CPU by requests at once", &x, y, cpu);

    let costs = measure(plan, rounds, sizes(), &mut part.notes);
    let throughput = costs.iter().map(|(point, cost)| (point.peer, point.x, point.x * 1024.0 / 1e6 / cost.wall));
    let x = Axis::log("KiB in each body, streamed and discarded, one after the other");
    show(&mut part, "Throughput by size", &x, Axis::log("MB/s (more is better)"), throughput);

    let costs = measure(plan, rounds, threads(small), &mut part.notes);
    let rate = costs.iter().map(|(point, cost)| (point.peer, point.x, 1.0 / cost.wall));
    let x = Axis::log("threads that drive the transfers");
    show(&mut part, "Requests per second by threads", &x, Axis::linear("small GETs a second (more is better)"), rate);

    let costs = measure(plan, rounds, threads(tls), &mut part.notes);
    let rate = costs.iter().map(|(point, cost)| (point.peer, point.x, TLS_SIZE as f64 / 1e6 / cost.wall));
    let y = Axis::linear("MB/s of 8 downloads at once, HTTP/1.1 over TLS (more is better)");
    show(&mut part, "Throughput over TLS by threads", &x, y, rate);
    let rate = costs.iter().map(|(point, cost)| (point.peer, point.x, cost.cpu * 1e9 / TLS_SIZE as f64));
    let y = Axis::linear("seconds of the client's CPU for 1 GB of them (less is better)");
    show(&mut part, "CPU over TLS by threads", &x, y, rate);
    Ok(part)
}

fn at_once() -> Vec<Point> {
    let point = |peer, (lanes, requests)| Point {
        peer,
        x: lanes as f64,
        load: Box::new(move |to| Some(Load { lanes, requests, ..to.small()? })),
    };
    let asynchronous = ASYNC.iter().flat_map(|peer| AT_ONCE.map(|work| point(peer, work)));
    let blocking = BLOCKING.iter().flat_map(|peer| AT_ONCE.map(|work| point(peer, work)));
    asynchronous.chain(blocking.filter(|point| point.x <= MOST_THREADS as f64)).collect()
}

fn sizes() -> Vec<Point> {
    let point = |peer, size: u32| {
        let requests = (BULK / size).clamp(1, MOST_REQUESTS) as usize;
        let load = move |to: &Origins| Some(Load { requests, ..to.stream(u64::from(size) << 10)? });
        Point { peer, x: size.into(), load: Box::new(load) }
    };
    ASYNC.iter().chain(BLOCKING).flat_map(|peer| SIZES.map(|size| point(peer, size))).collect()
}

/// A load on any number of threads.
fn threads(work: fn(&Origins) -> Option<Load>) -> Vec<Point> {
    let point = |peer, threads| {
        let load = move |to: &Origins| Some(Load { threads, ..work(to)? });
        Point { peer, x: threads as f64, load: Box::new(load) }
    };
    MANY.iter().flat_map(|peer| THREADS.map(|threads| point(peer, threads))).collect()
}

fn small(to: &Origins) -> Option<Load> {
    let (lanes, requests) = THREADED;
    Some(Load { lanes, requests, ..to.small()? })
}

fn tls(to: &Origins) -> Option<Load> {
    Some(Load { lanes: TLS, requests: TLS * TLS_EACH, http1: true, ..to.stream_tls(TLS_SIZE)? })
}

/// Measures all points in each round. Those that fail are noted and left out.
fn measure(plan: &Plan, rounds: usize, points: Vec<Point>, notes: &mut Vec<String>) -> Vec<(Point, Cost)> {
    let points = points.into_iter().filter(|point| plan.wants(point.peer));
    let mut measured: Vec<_> = points.map(|point| (point, Vec::new(), Vec::new())).collect();
    for round in 0..rounds {
        eprintln!("curves: round {} of {rounds}", round + 1);
        for (point, walls, cpus) in &mut measured {
            let peer = peers::find(point.peer).expect("a curve is of a peer in the list");
            match alone(peer, plan.other.as_ref(), &point.load) {
                Ok((requests, sample)) => {
                    walls.push(sample.wall / requests as f64);
                    cpus.push(sample.cpu / requests as f64);
                }
                Err(error) => notes.push(format!("{} at {}: {error}", point.peer, digits(point.x))),
            }
        }
    }
    let cost = |(point, walls, cpus)| Some((point, Cost { wall: median(walls)?, cpu: median(cpus)? }));
    measured.into_iter().filter_map(cost).collect()
}

/// Adds a picture, and the same as a table: a row for each peer, a column for each place on the x axis.
fn show<'a>(part: &mut Part, title: &str, x: &Axis, y: Axis, points: impl Iterator<Item = (&'a str, f64, f64)>) {
    let points: Vec<_> = points.collect();
    let mut places: Vec<f64> = points.iter().map(|&(_, x, _)| x).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let mut names: Vec<_> = points.iter().map(|&(peer, ..)| peer).collect();
    names.dedup();

    let heads: Vec<String> = places.iter().copied().map(digits).collect();
    let columns: Vec<&str> = ["peer"].into_iter().chain(heads.iter().map(String::as_str)).collect();
    let mut table = Table::new(&format!("{title}: {}", y.label), &columns);
    let mut series = Vec::new();
    for name in names {
        let own: Vec<_> = points.iter().filter(|point| point.0 == name).map(|&(_, x, y)| (x, y)).collect();
        let cell = |place: &f64| own.iter().find(|point| point.0 == *place).map_or("-".into(), |&(_, y)| Cell::from(y));
        table.row([name.into()].into_iter().chain(places.iter().map(cell)));
        series.push(curve(name, own));
    }
    part.tables.push(table);
    part.curves.push(Curves { title: title.to_owned(), x: x.clone(), y, series });
}
