//! RESULTS.md and its pictures, made from all result files. Measures nothing, and has no figure of its own.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::Path;

use crate::draw;
use crate::goals::{self, Reached};
use crate::record::{Record, better, family};
use crate::report;
use crate::results::{self, Cell, Part, Table, digits, folder};
use crate::scenarios;

/// Parts in the order of the page; any other ones follow by name.
const PARTS: [&str; 5] = ["curves", "scale", "service", "instructions", "footprint"];

/// A folder of the result files: what each machine has reached.
const MACHINES: &str = "machines";

/// The end of the page, which no measurement changes.
const HOW: &str = include_str!("how.md");

/// Writes RESULTS.md, and the pictures beside the result files.
pub fn write() -> io::Result<()> {
    let records: Vec<Record> = scenarios::ALL
        .iter()
        .map(|scenario| read(&folder().join(scenario.name).with_extension("json")))
        .collect::<io::Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    let parts = parts()?;
    let elsewhere = reached(&records)?;
    let text = page(&records, &elsewhere, &parts).map_err(io::Error::other)?;
    for record in &records {
        if let Some(scenario) = record.scenario() {
            picture(scenario.name, &draw::bars(scenario, record)?)?;
        }
    }
    picture("overview", &draw::overview(&records)?)?;
    for (name, part) in &parts {
        for (index, curves) in part.curves.iter().enumerate() {
            picture(&format!("{name}-{index}"), &draw::curves(curves)?)?;
        }
    }
    fs::write(folder().with_file_name("RESULTS.md"), text)
}

fn picture(name: &str, svg: &str) -> io::Result<()> {
    fs::write(folder().join(format!("{name}.svg")), svg)
}

/// `None` of a file that is not there.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => {
            let broken = |error| io::Error::other(format!("{}: {error}", path.display()));
            serde_json::from_slice(&bytes).map(Some).map_err(broken)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What was reached on other machines than the first record's. Keeps what is new for each machine.
fn reached(records: &[Record]) -> io::Result<Vec<Reached>> {
    let mut all = BTreeMap::new();
    fs::create_dir_all(folder().join(MACHINES))?;
    for entry in fs::read_dir(folder().join(MACHINES))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        all.insert(name, read::<Reached>(&path)?.unwrap_or_default());
    }
    for record in records {
        all.entry(file_name(&record.machine)).or_default().update(record);
    }
    for (name, reached) in &all {
        results::write(&format!("{MACHINES}/{name}"), reached)?;
    }
    let here = records.first().map(|record| file_name(&record.machine));
    Ok(all.into_iter().filter(|(name, _)| here.as_ref() != Some(name)).map(|(_, reached)| reached).collect())
}

/// Its processor and the number of cores, without what a file's name should not have.
fn file_name(machine: &str) -> String {
    let words = machine.split(" cores").next().unwrap_or_default().split(|one: char| !one.is_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-").to_lowercase()
}

fn parts() -> io::Result<Vec<(String, Part)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "json") && scenarios::find(&name).is_none() {
            names.push(name);
        }
    }
    names.sort_by_key(|name| (PARTS.iter().position(|part| part == name).unwrap_or(PARTS.len()), name.clone()));
    let read = |name: String| Ok(read(&folder().join(&name).with_extension("json"))?.map(|part| (name, part)));
    names.into_iter().filter_map(|name| read(name).transpose()).collect()
}

fn page(records: &[Record], elsewhere: &[Reached], parts: &[(String, Part)]) -> Result<String, fmt::Error> {
    let mut page = String::from("# Results\n\n");
    writeln!(
        page,
        "Made by the benches themselves: no figure here is written by hand. How to repeat them is at the end.\n"
    )?;
    let mut whereabouts = "";
    if let Some(record) = records.first() {
        whereabouts = &record.machine;
        writeln!(page, "Machine: {}. {}.\n", record.machine, record.software)?;
    }
    writeln!(page, "![cost of each client beside raw curl](results/overview.svg)\n")?;
    writeln!(
        page,
        "Each client by the better of its ways (async or blocking) in that scenario; a bar that is cut off has its figure \
         above. What is compared is the first column of the scenario's table: time per request, time per byte, or memory \
         per request that waits.\n"
    )?;

    writeln!(page, "## Beside the best\n")?;
    writeln!(page, "{}", standing(records))?;

    writeln!(page, "## Goals\n")?;
    let mut here = Reached::default();
    records.iter().for_each(|record| here.update(record));
    let goals = goals::table(records, elsewhere);
    writeln!(page, "{} of {} are held in the runs shown here.\n\n{goals}", here.held(), goals.rows.len())?;
    for other in elsewhere {
        let Reached { machine, date, goals } = other;
        let held = other.held();
        writeln!(
            page,
            "On another machine {held} of {} were held, the others are bold: {machine}, {date}.\n",
            goals.len()
        )?;
    }
    writeln!(
        page,
        "\"raw curl there\" is what the best of the hand-written libcurl loops has in place of the measured figure. Where that \
         does not keep to the bound either, no client on libcurl would.\n"
    )?;

    writeln!(page, "## Scenarios\n")?;
    for record in records {
        let Some(scenario) = record.scenario() else { continue };
        writeln!(page, "### {}\n", report::title(scenario))?;
        writeln!(page, "{}", report::table(scenario, record))?;
        for note in report::notes(scenario, record) {
            writeln!(page, "{note}\n")?;
        }
        if record.machine != whereabouts {
            writeln!(page, "Machine: {}. {}.\n", record.machine, record.software)?;
        }
        writeln!(page, "![{}](results/{}.svg)\n", scenario.title, scenario.name)?;
    }

    for (name, part) in parts {
        writeln!(page, "## {}\n", part.title)?;
        write!(page, "Measured on {}.", part.date)?;
        if part.machine != whereabouts {
            write!(page, " Machine: {}.", part.machine)?;
        }
        writeln!(page, "\n")?;
        for note in &part.notes {
            writeln!(page, "{note}\n")?;
        }
        for (index, curves) in part.curves.iter().enumerate() {
            writeln!(page, "![{}](results/{name}-{index}.svg)\n", curves.title)?;
        }
        for table in &part.tables {
            writeln!(page, "**{}**\n\n{table}", table.title)?;
        }
    }
    write!(page, "{HOW}")?;
    Ok(page)
}

/// marmot's place in each scenario, by the better of its ways.
fn standing(records: &[Record]) -> Table {
    let columns = ["scenario", "about", "marmot", "raw curl", "best peer", "", "marmot / best", "who is ahead"];
    let mut table = Table::new("Beside the best", &columns);
    for record in records {
        let Some(scenario) = record.scenario() else { continue };
        let metric = scenario.metrics()[0];
        let ours = record.series.iter().filter(|one| family(&one.peer) == "marmot");
        let ours = ours.filter_map(|one| Some((one, one.median(metric)?))).min_by(|a, b| better(metric, a.1, b.1));
        let (Some((own, figure)), Some(best)) = (ours, record.best(metric)) else { continue };
        let Some(ratio) = own.ratio(metric, best) else { continue };
        let ahead = if better(metric, ratio, 1.0).is_le() { "marmot" } else { best.peer.as_str() };
        let shown = |figure: Option<f64>| {
            figure.map_or("-".into(), |figure| Cell::from(format!("{} {}", digits(figure), metric.label())))
        };
        table.row([
            scenario.name.into(),
            scenario.short.into(),
            shown(Some(figure)),
            shown(record.series(scenario.raw).and_then(|raw| raw.median(metric))),
            shown(best.median(metric)),
            best.peer.as_str().into(),
            ratio.into(),
            ahead.into(),
        ]);
    }
    table
}
