//! A record as a table and as sentences. Reads no file, computes no statistics.

use crate::record::{Metric, Record, Series};
use crate::results::{Cell, Table, digits};
use crate::scenarios::{Cores, Scenario};

/// From here on a server is taken for what limits the clients, in percent of one core.
const BUSY: f64 = 90.0;

/// From here on it is told that other programs were at work, in percent of all cores.
const DISTURBED: f64 = 5.0;

/// Medians with their range, and the ratios of what the scenario is about.
pub fn table(scenario: &Scenario, record: &Record) -> Table {
    let (main, others) = scenario.metrics().split_first().expect("a scenario has a metric");
    let is_known = |metric: &Metric| record.series.iter().any(|one| one.median(*metric).is_some());
    let others: Vec<Metric> = others.iter().copied().filter(is_known).collect();
    let raw = record.series(scenario.raw);
    let best = record.best(*main);
    let mut columns = vec!["peer".to_owned(), main.label().to_owned(), "min - max".to_owned()];
    columns.extend(others.iter().map(|metric| metric.label().to_owned()));
    let name = |one: Option<&Series>| one.map_or("-", |one| one.peer.as_str()).to_owned();
    columns.extend([format!("x {}", name(raw)), format!("x best: {}", name(best)), "x isahc".to_owned()]);
    let mut table = Table { title: title(scenario), columns, rows: Vec::new() };
    for one in &record.series {
        let ratio = |base: Option<&Series>| cell(base.and_then(|base| one.ratio(*main, base)));
        let range = one
            .range(*main)
            .map_or_else(|| "-".to_owned(), |(low, high)| format!("{} - {}", digits(low), digits(high)));
        let mut cells: Vec<Cell> = vec![one.peer.as_str().into(), cell(one.median(*main)), range.into()];
        cells.extend(others.iter().map(|&metric| cell(one.median(metric))));
        cells.extend([ratio(raw), ratio(best), ratio(isahc(record, one))]);
        table.row(cells);
    }
    table
}

pub fn title(scenario: &Scenario) -> String {
    format!("{}: {}", scenario.name, scenario.title)
}

/// What the table's head cannot say.
pub fn notes(scenario: &Scenario, record: &Record) -> Vec<String> {
    let main = scenario.metrics()[0];
    let direction = if main.more_is_better() { "more" } else { "less" };
    let mut notes = vec![format!(
        "Medians of {}; of {}, {direction} is better. Measured on {}.",
        if record.rounds == 1 { "one round".to_owned() } else { format!("{} rounds", record.rounds) },
        main.label(),
        record.date
    )];
    if let Some(others) = record.others.filter(|others| *others >= DISTURBED) {
        notes.push(format!("Other programs took {others:.0} % of the machine meanwhile: a quiet one would tell more."));
    }
    match scenario.cores {
        Cores::One if record.server.is_none() => notes.push("Clients and server shared one core.".to_owned()),
        Cores::Apart if record.server.is_none() => notes.push("Clients had one core, the server another.".to_owned()),
        _ => {}
    }
    if let Some(server) = &record.server {
        notes.push(format!("The server was {server}."));
    }
    let busy = |one: &&Series| one.median(Metric::ServerBusy).is_some_and(|busy| busy >= BUSY);
    let limited = names(record, busy);
    if !limited.is_empty() {
        notes.push(format!(
            "The server was on a core for {BUSY} % of the time or more with {}: it limits what is seen of them.",
            limited
        ));
    }
    let late = |one: &&Series| one.hold > 0 && one.median(Metric::Seconds) > Some(2.0 * one.hold as f64 / 1000.0);
    let late = names(record, late);
    if !late.is_empty() {
        notes.push(format!("Not all waited at once with {late}: the last came after the first were answered."));
    }
    notes.extend(record.failures.iter().cloned());
    notes
}

fn names(record: &Record, wanted: impl Fn(&&Series) -> bool) -> String {
    record.series.iter().filter(wanted).map(|one| one.peer.as_str()).collect::<Vec<_>>().join(", ")
}

/// isahc's own blocking side for a blocking client, where that took part.
fn isahc<'a>(record: &'a Record, one: &Series) -> Option<&'a Series> {
    let blocking = one.peer.ends_with("-blocking");
    let names = if blocking { ["isahc-blocking", "isahc"] } else { ["isahc", "isahc-blocking"] };
    names.into_iter().find_map(|name| record.series(name))
}

fn cell(figure: Option<f64>) -> Cell {
    figure.map_or_else(|| "-".into(), Cell::from)
}
