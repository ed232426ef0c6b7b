//! Rounds: gets the peers of a scenario ready, and gives each a slice in turn. Computes no statistics, prints no result.

use marmot_bench::cores;
use marmot_bench::load::{Load, Origins};
use marmot_bench::record::{Record, Sample, Series};
use marmot_bench::results;
use marmot_bench::scenarios::{Figure, Scenario};

use crate::alone::measure_in_child;
use crate::drive::Outcome;
use crate::measure::{Others, guarded, measure};
use crate::peers::{self, Peer};
use crate::target::{Other, Target};

/// What the command line asks of every scenario.
#[derive(Default)]
pub struct Plan {
    /// Its default depends on the scenario.
    pub rounds: Option<usize>,
    pub long: bool,
    /// Peers, or their first words; empty means all.
    pub only: Vec<String>,
    /// A server that is not ours.
    pub other: Option<Other>,
}

impl Plan {
    /// A name in `only` that stands for nothing.
    pub fn unknown_peer(&self) -> Option<&str> {
        let stands = |name: &&String| peers::ALL.iter().any(|peer| is_called(peer.name, name));
        self.only.iter().find(|name| !stands(name)).map(String::as_str)
    }

    pub fn wants(&self, peer: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| is_called(peer, name))
    }

    fn rounds(&self, figure: Figure) -> usize {
        let default = match (figure, self.long) {
            (Figure::Waiting, false) => 1,
            (Figure::Waiting, true) => 3,
            (Figure::Latency | Figure::Throughput, false) => 7,
            (Figure::Latency | Figure::Throughput, true) => 15,
        };
        self.rounds.unwrap_or(default)
    }
}

/// Whether `name` is the peer's or its first words.
fn is_called(peer: &str, name: &str) -> bool {
    peer.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// A peer in a scenario.
struct Runner<'a> {
    peer: &'static Peer,
    load: Load,
    samples: Vec<Sample>,
    turn: Box<dyn FnMut() -> Outcome<Sample> + 'a>,
}

/// Measures all peers of a scenario: in each round every one of them gets a slice, and another one goes first. `None` if
/// there is no server for it.
pub fn run(scenario: &'static Scenario, plan: &Plan, target: &Target) -> Outcome<Option<Record>> {
    let rounds = plan.rounds(scenario.figure);
    let mut record = Record {
        scenario: scenario.name.to_owned(),
        date: results::today(),
        machine: results::machine(),
        software: results::software(),
        server: plan.other.as_ref().map(Other::name),
        rounds,
        others: None,
        series: Vec::new(),
        failures: Vec::new(),
    };
    let mut runners = Vec::new();
    for peer in peers::ALL.iter().filter(|peer| scenario.has(peer.name) && plan.wants(peer.name)) {
        let Some(load) = scenario.load(peer.name, &target.origins, plan.long) else { return Ok(None) };
        if runners.is_empty() {
            target.check(&load).map_err(|error| format!("the server does not do {}: {error}", load.url))?;
        }
        match turn(scenario, plan, target, peer, &load) {
            Ok(turn) => runners.push(Runner { peer, load, samples: Vec::new(), turn }),
            Err(error) => record.failures.push(error.to_string()),
        }
    }
    // When all are ready: what they make of the number of cores is as it would be elsewhere.
    let kept = target.process().map(|server| cores::keep(scenario.cores, server)).transpose()?.flatten();
    let others = Others::start(target.cpu())?;
    for round in 0..rounds {
        eprintln!("{}: round {} of {rounds}", scenario.name, round + 1);
        let count = runners.len();
        for place in 0..count {
            let Runner { samples, turn, .. } = &mut runners[(round + place) % count];
            match turn() {
                Ok(sample) => samples.push(sample),
                Err(error) => record.failures.push(error.to_string()),
            }
        }
        // Rounds are compared with one another: whoever has missed one is out.
        runners.retain(|runner| runner.samples.len() == round + 1);
    }
    if plan.other.is_none() {
        record.others = Some(others.percent(target.cpu())?);
    }
    drop(kept);
    for Runner { peer, load, samples, turn } in runners {
        drop(turn);
        let (requests, bytes, hold) = (load.requests, load.bytes(), load.hold);
        let mut peak = None;
        if scenario.figure != Figure::Waiting {
            // Twice with the warm-up, to see a client that keeps the first body while it works on the second.
            match measure_in_child(peer, &load.warm_up()) {
                Ok(sample) => peak = sample.peak,
                Err(error) => record.failures.push(error.to_string()),
            }
        }
        record.series.push(Series { peer: peer.name.to_owned(), requests, bytes, hold, samples, peak });
    }
    Ok(Some(record))
}

/// What takes one sample of a peer.
fn turn<'a>(
    scenario: &'static Scenario,
    plan: &'a Plan,
    target: &'a Target,
    peer: &'static Peer,
    load: &Load,
) -> Outcome<Box<dyn FnMut() -> Outcome<Sample> + 'a>> {
    if scenario.figure == Figure::Waiting {
        let other = plan.other.as_ref();
        return Ok(Box::new(move || Ok(alone(peer, other, &|to| scenario.load(peer.name, to, plan.long))?.1)));
    }
    let load = load.clone();
    let mut slice = guarded(peer.name, || peer.warm(&load))?;
    Ok(Box::new(move || {
        let before = target.cpu();
        let sample = guarded(peer.name, || measure(|| slice(&load)))?;
        Ok(Sample { server: spent(before, target), ..sample })
    }))
}

/// Takes one sample in a process of its own, with a server of its own: thousands of connections leave nothing behind, not
/// even the ports that they had. Answers how many requests it is of, too.
pub fn alone(peer: &Peer, other: Option<&Other>, load: &dyn Fn(&Origins) -> Option<Load>) -> Outcome<(usize, Sample)> {
    let target = Target::new(other)?;
    let load = load(&target.origins).ok_or("no server")?;
    let before = target.cpu();
    let sample = measure_in_child(peer, &load)?;
    Ok((load.requests, Sample { server: spent(before, &target), ..sample }))
}

fn spent(before: Option<f64>, target: &Target) -> Option<f64> {
    Some(target.cpu()? - before?)
}
