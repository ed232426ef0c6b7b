//! Results: medians, ratios, the table and the JSON. Measures nothing.
//!
//! Absolute figures drift with the machine. The ratios are therefore medians of the ratios *within each round*, where
//! the two slices ran next to each other.

use std::fmt;

use serde::Serialize;

use crate::scenarios::{self, Figure, Load};

/// One slice.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub wall: f64,
    pub cpu: f64,
    pub switches: f64,
}

/// All slices of a peer in a scenario, in the order of the rounds.
pub struct Series {
    pub peer: &'static str,
    pub load: Load,
    pub samples: Vec<Sample>,
    /// KiB.
    pub peak: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub rounds: usize,
    pub long: bool,
    pub scenarios: Vec<Scenario>,
}

/// A table.
#[derive(Debug, Serialize)]
pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    /// Of `median`, `min` and `max`.
    pub unit: &'static str,
    pub more_is_better: bool,
    /// Of `cpu`.
    pub cpu_unit: &'static str,
    /// Of `switches`.
    pub switches_unit: &'static str,
    pub rounds: usize,
    pub rows: Vec<Row>,
    /// The raw loop that `to_raw` refers to, if it took part.
    pub raw: Option<&'static str>,
    /// The best peer that is neither marmot nor a raw loop.
    pub best: Option<&'static str>,
}

/// A peer's line. The ratios are in the unit of the scenario: below 1 is better for a latency, above 1 for a throughput.
#[derive(Debug, Serialize)]
pub struct Row {
    pub peer: &'static str,
    pub requests_per_slice: usize,
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub cpu: f64,
    pub switches: f64,
    pub to_raw: Option<f64>,
    pub to_best: Option<f64>,
    pub to_isahc: Option<f64>,
    pub peak_mib: Option<f64>,
}

impl Scenario {
    pub fn new(scenario: scenarios::Scenario, rounds: usize, series: &[Series]) -> Self {
        let figure = scenario.figure();
        let more_is_better = figure == Figure::Throughput;
        let find = |name: &str| series.iter().find(|one| one.peer == name);
        let raw = find(scenario.raw());
        let candidates = series.iter().filter(|one| !["raw", "marmot"].contains(&family(one.peer)));
        let better = |a: &&Series, b: &&Series| {
            let order = median(figures(figure, a)).total_cmp(&median(figures(figure, b)));
            if more_is_better { order } else { order.reverse() }
        };
        let best = candidates.max_by(better);
        let row = |one: &Series| {
            let values = figures(figure, one);
            // A blocking client compares with isahc's blocking side, where that took part.
            let sibling =
                if one.peer.ends_with("-blocking") { ["isahc-blocking", "isahc"] } else { ["isahc", "isahc-blocking"] };
            let isahc = sibling.into_iter().find_map(find);
            let ratio = |base: Option<&Series>| base.map(|base| median(ratios(figure, one, base)));
            let (cpu_per, switches_per) = match figure {
                Figure::Latency => (one.load.requests as f64 / 1e6, one.load.requests as f64),
                Figure::Throughput => {
                    let bytes = one.load.bytes() as f64;
                    (bytes / (1u64 << 30) as f64, bytes / (1u64 << 20) as f64)
                }
            };
            Row {
                peer: one.peer,
                requests_per_slice: one.load.requests,
                min: values.iter().copied().fold(f64::INFINITY, f64::min),
                max: values.iter().copied().fold(0.0, f64::max),
                median: median(values),
                cpu: median(one.samples.iter().map(|sample| sample.cpu / cpu_per).collect()),
                switches: median(one.samples.iter().map(|sample| sample.switches / switches_per).collect()),
                to_raw: ratio(raw),
                to_best: ratio(best),
                to_isahc: ratio(isahc),
                peak_mib: one.peak.map(|kib| kib as f64 / 1024.0),
            }
        };
        let (unit, cpu_unit, switches_unit) = match figure {
            Figure::Latency => ("us", "us", "per request"),
            Figure::Throughput => ("MB/s", "s/GiB", "per MiB"),
        };
        Self {
            name: scenario.name(),
            title: scenario.title(),
            unit,
            more_is_better,
            cpu_unit,
            switches_unit,
            rounds,
            rows: series.iter().map(row).collect(),
            raw: raw.map(|one| one.peer),
            best: best.map(|one| one.peer),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.more_is_better { "more" } else { "less" };
        writeln!(f, "{}  {} - medians of {} rounds, {direction} is better", self.name, self.title, self.rounds)?;
        let (cpu, switches) = (format!("CPU {}", self.cpu_unit), format!("switches {}", self.switches_unit));
        write!(f, "{:<17}{:>9}{:>21}{cpu:>11}{switches:>22}", "peer", self.unit, "(min - max)")?;
        write!(f, "{:>8}{:>8}{:>9}", "x raw", "x best", "x isahc")?;
        let memory = self.rows.iter().any(|row| row.peak_mib.is_some());
        writeln!(f, "{}", if memory { "  peak MiB" } else { "" })?;
        for row in &self.rows {
            let digits = if row.median < 1000.0 { 1 } else { 0 };
            let range = format!("({:.digits$} - {:.digits$})", row.min, row.max);
            write!(f, "{:<17}{:>9.digits$}{range:>21}{:>11.2}{:>22.2}", row.peer, row.median, row.cpu, row.switches)?;
            write!(f, "{:>8}{:>8}{:>9}", shown(row.to_raw), shown(row.to_best), shown(row.to_isahc))?;
            writeln!(f, "{}", row.peak_mib.map_or(String::new(), |peak| format!("{peak:>10.0}")))?;
        }
        writeln!(f, "raw: {}; best: {}", self.raw.unwrap_or("-"), self.best.unwrap_or("-"))
    }
}

fn shown(ratio: Option<f64>) -> String {
    ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// `isahc-blocking` is of isahc.
fn family(peer: &str) -> &str {
    peer.split('-').next().unwrap_or(peer)
}

fn figures(figure: Figure, series: &Series) -> Vec<f64> {
    let value = |sample: &Sample| match figure {
        Figure::Latency => sample.wall * 1e6 / series.load.requests as f64,
        Figure::Throughput => series.load.bytes() as f64 / 1e6 / sample.wall,
    };
    series.samples.iter().map(value).collect()
}

fn ratios(figure: Figure, series: &Series, base: &Series) -> Vec<f64> {
    figures(figure, series).into_iter().zip(figures(figure, base)).map(|(one, other)| one / other).collect()
}

/// The mean of the two in the middle for an even number; zero of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}
