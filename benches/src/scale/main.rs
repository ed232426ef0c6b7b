//! Looks for what grows where nothing should, and how long requests take at half load. Compares no throughput.
//!
//! ```text
//! cargo bench -p marmot-bench --bench scale                   all checks, about 20 minutes; results/scale.json
//! cargo bench -p marmot-bench --bench scale -- --minutes 1    the same with a short soak
//! cargo bench -p marmot-bench --bench scale -- clients soak   these two; writes no file
//! ```
//!
//! Every check runs in a process of its own. It fails, and with it the program, if something has grown beyond its bound.

mod growth;
mod process;
mod soak;

use std::error::Error;
use std::process::{Command, ExitCode, Stdio};

use marmot_bench::page;
use marmot_bench::results::{Axis, Cell, Curves, Part, Table};
use marmot_bench::server::{self, Server};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use process::Usage;
use soak::{Plan, Soaked};

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// What a check has seen.
#[derive(Debug, Serialize, Deserialize)]
pub struct Found {
    pub table: Table,
    /// The bounds that do not hold.
    pub broken: Vec<String>,
}

impl Found {
    fn new(title: &str) -> Self {
        Self { table: Table::new(title, &[&["after"][..], &process::COLUMNS].concat()), broken: Vec::new() }
    }

    fn row(&mut self, when: impl Into<Cell>, usage: Usage) {
        self.table.row([when.into()].into_iter().chain(usage.cells()));
    }

    /// A row that must not have more of anything than one before, beyond what is allowed.
    fn judge(&mut self, when: impl Into<Cell>, usage: Usage, before: Usage, allowed: Usage) {
        let when = when.into();
        self.broken.extend(usage.grown(before, allowed).into_iter().map(|what| format!("after {when}, {what}")));
        self.row(when, usage);
    }
}

struct Check {
    name: &'static str,
    run: fn(&str) -> Outcome<Found>,
}

const CHECKS: &[Check] = &[
    Check { name: "row", run: |base| growth::in_a_row(base, false) },
    Check { name: "row-blocking", run: |base| growth::in_a_row(base, true) },
    Check { name: "clients", run: growth::clients },
    Check { name: "cancelled", run: growth::cancelled },
];
const SOAK: &str = "soak";

/// What this program is called with to be the process of a check or of a soak.
const CHECK: &str = "--check";
const ONE_SOAK: &str = "--one-soak";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        [server::FLAG] => server::serve().map_err(Into::into),
        [CHECK, name, base] => check(name, base),
        [ONE_SOAK, plan] => serde_json::from_str(plan).map_err(Into::into).and_then(|plan| print(&soak::run(&plan)?)),
        ["--minutes", minutes, ref names @ ..] => {
            minutes.parse().map_err(Into::into).and_then(|minutes| measure(minutes, names))
        }
        ref names => measure(10, names),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(name: &str, base: &str) -> Outcome {
    let check = CHECKS.iter().find(|check| check.name == name).ok_or("unknown check")?;
    print(&(check.run)(base)?)
}

fn print(result: &impl Serialize) -> Outcome {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
}

fn measure(minutes: u32, names: &[&str]) -> Outcome {
    let known = |name: &&&str| **name == SOAK || CHECKS.iter().any(|check| check.name == **name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        return Err(format!("no check is called {name}").into());
    }
    let wanted = |name: &str| names.is_empty() || names.contains(&name);
    let server = Server::start()?;
    let mut part = Part::new("Endurance");
    let mut broken = Vec::new();
    for check in CHECKS.iter().filter(|check| wanted(check.name)) {
        take(in_child(&[CHECK, check.name, server.base()])?, &mut part, &mut broken);
    }
    if wanted(SOAK) {
        soak_all(minutes, &server, &mut part, &mut broken)?;
    }
    if names.is_empty() {
        part.save("scale")?;
        page::write()?;
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n       ").into()) }
}

fn take(found: Found, part: &mut Part, broken: &mut Vec<String>) {
    println!("{}\n{}", found.table.title, found.table);
    broken.extend(found.broken.into_iter().map(|what| format!("{}: {what}", found.table.title)));
    part.tables.push(found.table);
}

/// marmot first, at half of what it can do; then others, at the same rate and for a shorter time.
fn soak_all(minutes: u32, server: &Server, part: &mut Part, broken: &mut Vec<String>) -> Outcome {
    let url = format!("{}/small", server.base());
    let mut clients = Table::new("Latency at half of marmot's load", &soak::COLUMNS_OF_CLIENTS);
    let mut series = Vec::new();
    let mut rate = None;
    for (client, minutes) in [("marmot", minutes), ("reqwest-mt", 1), ("isahc", 1)] {
        let plan = Plan { client: client.to_owned(), url: url.clone(), minutes, rate };
        let soaked: Soaked = in_child(&[ONE_SOAK, &serde_json::to_string(&plan)?])?;
        clients.row(soaked.row);
        series.push(soaked.curve);
        if client == "marmot" {
            rate = Some(soaked.rate);
            take(soaked.found, part, broken);
        }
    }
    println!("{}\n{clients}", clients.title);
    part.tables.push(clients);
    part.curves.push(Curves {
        title: "Latency at half of marmot's load".to_owned(),
        x: Axis::log("one request in so many takes longer than"),
        y: Axis::log("microseconds since it was due (less is better)"),
        series,
    });
    part.notes.push(
        "The soak sends on a fixed schedule, whether earlier requests were answered or not, and each latency counts from the \
         moment at which the request was due: a stall makes all late that were due meanwhile. Client, server and schedule \
         share the cores of one machine."
            .to_owned(),
    );
    Ok(())
}

/// Runs this program once more, in a process of its own, and reads what it prints.
fn in_child<T: DeserializeOwned>(arguments: &[&str]) -> Outcome<T> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{} did not end well", arguments.join(" ")).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
