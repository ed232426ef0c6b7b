//! The bench's entry: reads the arguments and runs scenarios. No measuring, no peer and no server in here.
//!
//! ```text
//! cargo bench -p marmot-bench                     every scenario, short
//! cargo bench -p marmot-bench -- A B              these two
//! cargo bench -p marmot-bench -- D --only raw,ureq,marmot --rounds 9 --json out.json
//! ```
//!
//! On a virtual machine, waking the other core can cost more than all else in A and F. `taskset -c 0 cargo bench ...`
//! puts peers and server on one core: a second look, at the work alone.
//!
//! `--only` takes names of peers or their first word: `raw` stands for `raw-poll`, `raw-sock` and so on. Linux only,
//! loopback only, on a port that the system chooses.

mod drive;
mod harness;
mod peers;
mod report;
mod scenarios;

use std::fs;
use std::process::ExitCode;

use marmot_bench::server::{self, Server};

use drive::Outcome;
use harness::Plan;
use report::Report;
use scenarios::Scenario;

const USAGE: &str =
    "cargo bench -p marmot-bench -- [SCENARIO...] [--rounds N] [--long] [--only PEER,PEER] [--json FILE]
scenarios: A A-blocking B D D-vec E F H (default: all)";

/// What to do, as the command line says.
enum Task {
    /// Measure, and write the figures to a file too.
    Measure {
        scenarios: Vec<Scenario>,
        plan: Plan,
        json: Option<String>,
    },
    /// Be the server. Only this program itself asks for it.
    Serve,
    /// Run one peer once and print the peak of the memory. Only this program itself asks for it.
    One {
        scenario: Scenario,
        peer: String,
        server: String,
    },
    Help,
}

fn main() -> ExitCode {
    let outcome = parse(std::env::args().skip(1)).and_then(|task| match task {
        Task::Serve => Ok(server::serve()?),
        Task::One { scenario, peer, server } => harness::run_one(scenario, &peer, &server),
        Task::Measure { scenarios, plan, json } => measure(&scenarios, &plan, json.as_deref()),
        Task::Help => {
            println!("{USAGE}");
            Ok(())
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(scenarios: &[Scenario], plan: &Plan, json: Option<&str>) -> Outcome {
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        if std::env::var_os(name).is_some() {
            return Err(format!("unset {name}: some peers would measure that proxy").into());
        }
    }
    let server = Server::start()?;
    let mut report = Report { rounds: plan.rounds, long: plan.long, scenarios: Vec::new() };
    for &scenario in scenarios {
        let result = harness::run(scenario, plan, &server)?;
        println!("{result}");
        report.scenarios.push(result);
    }
    if let Some(file) = json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Outcome<Task> {
    let mut scenarios = Vec::new();
    let mut plan = Plan { rounds: 0, long: false, only: Vec::new() };
    let mut json = None;
    while let Some(argument) = arguments.next() {
        let mut value = |what: &str| arguments.next().ok_or(format!("{argument} needs {what}\n{USAGE}"));
        match argument.as_str() {
            "--bench" => {} // cargo's own
            "--help" | "-h" => return Ok(Task::Help),
            server::FLAG => return Ok(Task::Serve),
            "--one" => {
                let scenario = value("a scenario")?.parse()?;
                return Ok(Task::One { scenario, peer: value("a peer")?, server: value("a server")? });
            }
            "--long" => plan.long = true,
            "--rounds" => plan.rounds = value("a number")?.parse()?,
            "--only" => plan.only = value("names of peers")?.split(',').map(str::to_owned).collect(),
            "--json" => json = Some(value("a file")?),
            flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}\n{USAGE}").into()),
            name => scenarios.push(name.parse()?),
        }
    }
    if let Some(name) = plan.unknown_peer() {
        return Err(format!("no peer is called {name}").into());
    }
    if plan.rounds == 0 {
        plan.rounds = if plan.long { 9 } else { 5 };
    }
    if scenarios.is_empty() {
        scenarios = Scenario::ALL.to_vec();
    }
    Ok(Task::Measure { scenarios, plan, json })
}
