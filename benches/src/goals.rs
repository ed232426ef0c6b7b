//! What marmot has to reach beside others, and whether it did, here and elsewhere: data and one comparison. Measures nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::{Metric, Record};
use crate::results::{self, Cell, Table, digits};

/// A peer's figure in a scenario, and what bounds it: from above, or from below where more is better.
pub struct Goal {
    pub scenario: &'static str,
    pub peer: &'static str,
    pub metric: Metric,
    pub bound: Bound,
}

#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// So many times another peer's.
    Times(f64, &'static str),
    /// So many times that of the best peer.
    TimesBest(f64),
    /// The figure itself.
    Fixed(f64),
}

use Bound::{Fixed, Times, TimesBest};
use Metric::{CpuPerGib, CpuPerRequest, Errors, Held, Peak, Rate, Seconds, Time};

const fn goal(scenario: &'static str, peer: &'static str, metric: Metric, bound: Bound) -> Goal {
    Goal { scenario, peer, metric, bound }
}

pub const GOALS: &[Goal] = &[
    goal("A", "marmot", Time, Times(0.9, "reqwest-mt")),
    goal("A", "marmot", Time, Times(1.35, "raw-poll")),
    goal("A-blocking", "marmot-blocking", Time, Times(0.9, "reqwest-blocking")),
    goal("A-blocking", "marmot-blocking", Time, Times(0.55, "isahc-blocking")),
    goal("B", "marmot", Time, Times(1.35, "raw-poll")),
    goal("B", "marmot", CpuPerRequest, Times(1.0, "reqwest-mt")),
    goal("B", "marmot", Time, Times(0.55, "isahc")),
    goal("C", "marmot", Time, Times(1.35, "raw-poll")),
    goal("C", "marmot", Time, Times(0.6, "isahc")),
    goal("D", "marmot-blocking", Rate, Times(1.0, "ureq")),
    goal("D", "marmot-blocking", Rate, Times(1.0, "reqwest-blocking")),
    goal("D", "marmot", Rate, Times(1.8, "isahc")),
    goal("D-vec", "marmot", Rate, TimesBest(1.0)),
    goal("D-vec", "marmot-blocking", Rate, TimesBest(1.0)),
    goal("D-vec", "marmot", Peak, Fixed(64.0 + 4.0)),
    goal("D-vec", "marmot-blocking", Peak, Fixed(64.0 + 4.0)),
    goal("D-tls", "marmot", CpuPerGib, Times(1.0, "reqwest-ct")),
    goal("E", "marmot", Rate, Times(0.8, "hyper")),
    goal("E", "marmot-blocking", Rate, Times(0.9, "marmot")),
    goal("F", "marmot", Time, Times(2.0, "raw-sock")),
    goal("F", "marmot", Time, Times(0.6, "isahc")),
    goal("F", "marmot", Time, Times(1.0 / 15.0, "reqwest-ct")),
    goal("G-1000", "marmot", Errors, Fixed(0.0)),
    goal("G-1000", "marmot", Held, Fixed(8.0)),
    goal("G-1000", "marmot", Seconds, Times(1.15, "hyper-mt")),
    goal("G-10000", "marmot", Errors, Fixed(0.0)),
    goal("G-10000", "marmot", Held, Fixed(8.0)),
    goal("G-10000", "marmot", Seconds, Times(1.15, "hyper-mt")),
    goal("H", "marmot-blocking", Time, Times(0.9, "reqwest-blocking")),
    goal("S", "marmot-script", Time, Times(1.15, "marmot-blocking")),
    goal("S", "marmot-script", Time, Times(1.15, "marmot-as-script")),
    goal("S-all", "marmot-script", Time, Times(1.2, "marmot")),
    goal("S-all", "marmot-script", Time, Times(1.2, "marmot-rounds")),
];

impl Goal {
    /// The figure that counts, and whether it keeps to the bound. `None` if one of both was not measured.
    fn judge(&self, record: &Record) -> Option<(f64, bool)> {
        let own = record.series(self.peer)?;
        let (figure, bound) = match self.bound {
            Fixed(bound) => (own.median(self.metric)?, bound),
            Times(bound, other) => (own.ratio(self.metric, record.series(other)?)?, bound),
            TimesBest(bound) => (own.ratio(self.metric, record.best(self.metric)?)?, bound),
        };
        Some((figure, if self.metric.more_is_better() { figure >= bound } else { figure <= bound }))
    }

    /// What the best hand-written libcurl loop has in the place of the figure: no design on libcurl can be expected to do
    /// better. `None` where the bound is on one of those, or none took part.
    fn raw(&self, record: &Record) -> Option<f64> {
        let other = match self.bound {
            Times(_, other) => Some(record.series(other)?),
            TimesBest(_) => Some(record.best(self.metric)?),
            Fixed(_) => None,
        };
        if other.is_some_and(|other| is_raw(&other.peer)) {
            return None;
        }
        let figures = record.series.iter().filter(|series| is_raw(&series.peer)).filter_map(|series| match other {
            Some(other) => series.ratio(self.metric, other),
            None => series.median(self.metric),
        });
        figures.reduce(if self.metric.more_is_better() { f64::max } else { f64::min })
    }

    /// Names it in a file.
    fn key(&self) -> String {
        format!("{} {} {} {:?}", self.scenario, self.peer, self.metric.label(), self.bound)
    }

    fn text(&self, record: &Record) -> String {
        let direction = if self.metric.more_is_better() { "at least" } else { "at most" };
        let bound = match self.bound {
            Fixed(bound) => digits(bound),
            Times(bound, other) => format!("{} x {other}", digits(bound)),
            TimesBest(bound) => {
                let best = record.best(self.metric).map_or("none", |best| best.peer.as_str());
                format!("{} x the best peer ({best})", digits(bound))
            }
        };
        format!("{} {direction} {bound}", self.metric.label())
    }
}

fn is_raw(peer: &str) -> bool {
    peer.starts_with("raw-")
}

/// What was reached on one machine: a file that outlives the runs on other ones, to be shown beside them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Reached {
    /// As of the last run there.
    pub machine: String,
    pub date: String,
    /// By [`Goal::key`].
    pub goals: BTreeMap<String, Figure>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Figure {
    pub measured: f64,
    pub held: bool,
}

impl Reached {
    /// Takes over what was measured of a scenario.
    pub fn update(&mut self, record: &Record) {
        (self.machine, self.date) = (record.machine.clone(), record.date.clone());
        for goal in GOALS.iter().filter(|goal| goal.scenario == record.scenario) {
            match goal.judge(record) {
                Some((measured, held)) => self.goals.insert(goal.key(), Figure { measured, held }),
                None => self.goals.remove(&goal.key()),
            };
        }
        self.goals.retain(|key, _| GOALS.iter().any(|goal| goal.key() == *key));
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.goals.values().filter(|figure| figure.held).count()
    }
}

/// One row for each goal whose scenario was measured; a column for each machine of `elsewhere`.
pub fn table(records: &[Record], elsewhere: &[Reached]) -> Table {
    let others = elsewhere.iter().map(|other| results::processor(&other.machine));
    let columns = ["scenario", "who", "goal", "measured", "raw curl there", ""].into_iter().chain(others);
    let mut table = Table::new("Goals", &columns.collect::<Vec<_>>());
    for goal in GOALS {
        let Some(record) = records.iter().find(|record| record.scenario == goal.scenario) else { continue };
        let (measured, verdict) = match goal.judge(record) {
            Some((figure, held)) => (Cell::from(figure), if held { "held" } else { "**not held**" }),
            None => ("-".into(), "not measured"),
        };
        let raw = goal.raw(record).map_or("-".into(), Cell::from);
        let row = [goal.scenario.into(), goal.peer.into(), goal.text(record).into(), measured, raw, verdict.into()];
        let others = elsewhere.iter().map(|other| match other.goals.get(&goal.key()) {
            Some(Figure { measured, held: true }) => Cell::from(*measured),
            Some(Figure { measured, held: false }) => format!("**{}**", digits(*measured)).into(),
            None => "-".into(),
        });
        table.row(row.into_iter().chain(others));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios;

    #[test]
    fn goals_are_about_peers_that_take_part() {
        for goal in GOALS {
            let scenario = scenarios::find(goal.scenario).unwrap();
            assert!(scenario.has(goal.peer), "{} in {}", goal.peer, goal.scenario);
            assert!(scenario.metrics().contains(&goal.metric), "{:?} in {}", goal.metric, goal.scenario);
            if let Times(_, other) = goal.bound {
                assert!(scenario.has(other), "{other} in {}", goal.scenario);
            }
        }
    }
}
