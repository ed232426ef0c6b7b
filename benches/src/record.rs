//! What was measured of a scenario, as it was measured, and the statistics of it. Prints nothing.
//!
//! Absolute figures drift with the machine. The ratios are therefore medians of the ratios *within each round*, where
//! the two slices ran next to each other.

use serde::{Deserialize, Serialize};

use crate::scenarios::{self, Figure, Scenario};

/// A result file: one scenario. All tables, ratios and pictures are made from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub scenario: String,
    pub date: String,
    pub machine: String,
    pub software: String,
    /// Which server answered, where it was not the own one.
    pub server: Option<String>,
    pub rounds: usize,
    /// What programs other than the clients and the own server took meanwhile, in percent of all cores. Unknown where
    /// another server answered.
    pub others: Option<f64>,
    /// In the order of the table.
    pub series: Vec<Series>,
    /// Why others are missing.
    pub failures: Vec<String>,
}

/// All slices of a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    pub peer: String,
    /// Requests of a slice.
    pub requests: usize,
    /// Bytes of all their bodies.
    pub bytes: u64,
    /// Milliseconds that the server let each of them wait.
    pub hold: u64,
    /// In the order of the rounds.
    pub samples: Vec<Sample>,
    /// KiB that a process of its own grew by for this peer, at most.
    pub peak: Option<u64>,
}

/// One slice.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds.
    pub wall: f64,
    /// Seconds of CPU of the client's process, user and system.
    pub cpu: f64,
    /// Context switches of the client's process, voluntary and not.
    pub switches: f64,
    /// Seconds of CPU of the server's process, if it is ours.
    pub server: Option<f64>,
    /// Requests that failed, where that is allowed.
    pub errors: usize,
    /// KiB that the process grew by until the first of those that wait was answered, where they wait.
    pub held: Option<u64>,
    /// KiB that the process grew by at most, where it is a process of its own.
    pub peak: Option<u64>,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Time,
    Rate,
    Held,
    Seconds,
    Errors,
    CpuPerRequest,
    CpuPerGib,
    SwitchesPerRequest,
    SwitchesPerMib,
    ServerBusy,
    Peak,
}

impl Metric {
    /// The column's head, with the unit.
    pub fn label(self) -> &'static str {
        match self {
            Self::Time => "us",
            Self::Rate => "MB/s",
            Self::Held => "KiB each",
            Self::Seconds => "seconds",
            Self::Errors => "errors",
            Self::CpuPerRequest => "CPU us",
            Self::CpuPerGib => "CPU s/GiB",
            Self::SwitchesPerRequest => "switches",
            Self::SwitchesPerMib => "switches/MiB",
            Self::ServerBusy => "server %",
            Self::Peak => "peak MiB",
        }
    }

    pub fn more_is_better(self) -> bool {
        self == Self::Rate
    }
}

impl Scenario {
    /// The columns; the first one is what the scenario is about.
    pub fn metrics(&self) -> &'static [Metric] {
        use Metric::*;
        match self.figure {
            Figure::Latency => &[Time, CpuPerRequest, SwitchesPerRequest, Peak, ServerBusy],
            Figure::Throughput => &[Rate, CpuPerGib, SwitchesPerMib, Peak, ServerBusy],
            Figure::Waiting => &[Held, Seconds, Errors, CpuPerRequest, SwitchesPerRequest, Peak, ServerBusy],
        }
    }
}

impl Record {
    /// `None` if it is of a scenario that is no more.
    pub fn scenario(&self) -> Option<&'static Scenario> {
        scenarios::find(&self.scenario)
    }

    pub fn series(&self, peer: &str) -> Option<&Series> {
        self.series.iter().find(|one| one.peer == peer)
    }

    /// The best by this metric that is neither marmot nor a raw loop.
    pub fn best(&self, metric: Metric) -> Option<&Series> {
        let peers = self.series.iter().filter(|one| !["raw", "marmot"].contains(&family(&one.peer)));
        peers
            .filter_map(|one| Some((one, one.median(metric)?)))
            .min_by(|a, b| better(metric, a.1, b.1))
            .map(|one| one.0)
    }
}

/// Less if `a` is better.
pub fn better(metric: Metric, a: f64, b: f64) -> std::cmp::Ordering {
    if metric.more_is_better() { b.total_cmp(&a) } else { a.total_cmp(&b) }
}

impl Series {
    /// By round. Empty if this was not measured.
    pub fn values(&self, metric: Metric) -> Vec<f64> {
        if let (Metric::Peak, Some(peak)) = (metric, self.peak) {
            return vec![peak as f64 / 1024.0];
        }
        self.samples.iter().filter_map(|sample| self.value(metric, sample)).collect()
    }

    fn value(&self, metric: Metric, sample: &Sample) -> Option<f64> {
        let requests = self.requests as f64;
        let bytes = self.bytes as f64;
        Some(match metric {
            Metric::Time => sample.wall * 1e6 / requests,
            Metric::Rate => bytes / 1e6 / sample.wall,
            // Those that failed hold nothing any more.
            Metric::Held => sample.held? as f64 / self.requests.saturating_sub(sample.errors).max(1) as f64,
            Metric::Seconds => sample.wall,
            Metric::Errors => sample.errors as f64,
            Metric::CpuPerRequest => sample.cpu * 1e6 / requests,
            Metric::CpuPerGib => sample.cpu / (bytes / f64::from(1 << 30)),
            Metric::SwitchesPerRequest => sample.switches / requests,
            Metric::SwitchesPerMib => sample.switches / (bytes / f64::from(1 << 20)),
            Metric::ServerBusy => sample.server? * 100.0 / sample.wall,
            Metric::Peak => sample.peak? as f64 / 1024.0,
        })
    }

    pub fn median(&self, metric: Metric) -> Option<f64> {
        median(self.values(metric))
    }

    /// The smallest and the largest.
    pub fn range(&self, metric: Metric) -> Option<(f64, f64)> {
        let values = self.values(metric);
        let smallest = values.iter().copied().min_by(f64::total_cmp)?;
        Some((smallest, values.into_iter().max_by(f64::total_cmp)?))
    }

    /// How many times the other one's figure this one's is.
    pub fn ratio(&self, metric: Metric, other: &Self) -> Option<f64> {
        let pairs = self.values(metric).into_iter().zip(other.values(metric));
        median(pairs.filter(|pair| pair.1 != 0.0).map(|(one, other)| one / other).collect())
    }
}

/// `isahc-blocking` is of isahc.
pub fn family(peer: &str) -> &str {
    peer.split('-').next().unwrap_or(peer)
}

/// The mean of the two in the middle for an even number; `None` of nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 0 => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(peer: &str, walls: &[f64]) -> Series {
        let samples =
            walls.iter().map(|&wall| Sample { wall, server: Some(wall / 2.0), ..Sample::default() }).collect();
        Series { peer: peer.into(), requests: 10, bytes: 2_000_000, hold: 0, samples, peak: Some(2048) }
    }

    #[test]
    fn figures_are_per_request_and_ratios_per_round() {
        let (one, other) = (series("one", &[1.0, 8.0, 2.0]), series("other", &[1.0, 2.0, 1.0]));
        assert_eq!(one.median(Metric::Time), Some(200_000.0));
        assert_eq!(one.range(Metric::Time), Some((100_000.0, 800_000.0)));
        assert_eq!(one.median(Metric::Rate), Some(1.0));
        assert_eq!(one.median(Metric::ServerBusy), Some(50.0));
        assert_eq!(one.median(Metric::Peak), Some(2.0));
        assert_eq!(one.median(Metric::Held), None);
        assert_eq!(one.ratio(Metric::Time, &other), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn the_best_peer_is_neither_marmot_nor_raw() {
        let all = [("raw-poll", 1.0), ("marmot", 2.0), ("hyper", 3.0), ("isahc", 4.0)];
        let series = all.map(|(peer, wall)| series(peer, &[wall])).to_vec();
        let text = || String::new();
        let record = Record {
            scenario: "A".into(),
            date: text(),
            machine: text(),
            software: text(),
            server: None,
            rounds: 1,
            others: None,
            series,
            failures: vec![],
        };
        assert_eq!(record.best(Metric::Time).map(|one| one.peer.as_str()), Some("hyper"));
        assert_eq!(record.best(Metric::Rate).map(|one| one.peer.as_str()), Some("hyper"));
    }
}
