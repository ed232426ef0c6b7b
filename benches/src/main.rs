//! The bench's entry: reads the arguments and runs scenarios. No measuring, no peer and no server in here.
//!
//! ```text
//! cargo bench -p marmot-bench                     every scenario, short; RESULTS.md is made anew
//! cargo bench -p marmot-bench -- A B              these two, which changes no file
//! cargo bench -p marmot-bench -- D --only raw,ureq,marmot --rounds 9 --save
//! cargo bench -p marmot-bench -- --curves         how the cost grows
//! cargo bench -p marmot-bench -- --server http://127.0.0.1:8080 --tls-server https://127.0.0.1:8443 --ca ca.pem
//! ```
//!
//! `--only` takes names of peers or their first word: `raw` stands for `raw-poll`, `raw-sock` and so on. Linux only; the
//! own server is on loopback, on ports that the system chooses. What another one needs is in `nginx.conf`.

mod alone;
mod curves;
mod drive;
mod harness;
mod measure;
mod peers;
mod target;

use std::fs;
use std::process::ExitCode;

use marmot_bench::page;
use marmot_bench::record::Record;
use marmot_bench::report;
use marmot_bench::results;
use marmot_bench::scenarios::{self, Scenario};
use marmot_bench::server;

use drive::Outcome;
use harness::Plan;
use target::{Other, Target};

const USAGE: &str = "cargo bench -p marmot-bench -- [SCENARIO...] [OPTION...]
  --only PEER,PEER    these peers, or all whose name begins with that word
  --rounds N          how often each peer has its turn
  --long              more rounds and more work in each
  --curves            how the cost grows with requests at once and with sizes, instead of scenarios
  --server URL        another server for plain HTTP
  --tls-server URL    another server for TLS
  --ca FILE           the certificate to trust there
  --save              write results/*.json and RESULTS.md; a run of all, against the own server, does so by itself
  --render            write RESULTS.md from results/*.json, and measure nothing
  --json FILE         write the figures to this file, too";

/// What to do, as the command line says.
enum Task {
    Scenarios {
        scenarios: Vec<&'static Scenario>,
        plan: Plan,
        save: bool,
        json: Option<String>,
    },
    Curves {
        plan: Plan,
        save: bool,
    },
    Render,
    /// Be the server. Only this program itself asks for it.
    Serve,
    /// Run one peer once and print the sample. Only this program itself asks for it.
    One {
        peer: String,
        load: String,
    },
    Help,
}

fn main() -> ExitCode {
    let outcome = parse(std::env::args().skip(1)).and_then(|task| match task {
        Task::Serve => Ok(server::serve()?),
        Task::One { peer, load } => alone::run(peers::find(&peer).ok_or("unknown peer")?, &load),
        Task::Scenarios { scenarios, plan, save, json } => measure(&scenarios, &plan, save, json.as_deref()),
        Task::Curves { plan, save } => draw(&plan, save),
        Task::Render => Ok(page::write()?),
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

fn measure(scenarios: &[&'static Scenario], plan: &Plan, save: bool, json: Option<&str>) -> Outcome {
    no_proxy()?;
    let target = Target::new(plan.other.as_ref())?;
    let mut records: Vec<Record> = Vec::new();
    for scenario in scenarios {
        let record = match harness::run(scenario, plan, &target) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            // Another server need not do all.
            Err(error) if plan.other.is_some() => {
                eprintln!("{}: left out, {error}", scenario.name);
                continue;
            }
            Err(error) => return Err(error),
        };
        println!("{}\n{}", report::title(scenario), report::table(scenario, &record));
        println!("{}\n", report::notes(scenario, &record).join("\n"));
        if save {
            results::write(scenario.name, &record)?;
        }
        records.push(record);
    }
    println!("{}", marmot_bench::goals::table(&records, &[]));
    if let Some(file) = json {
        fs::write(file, serde_json::to_string_pretty(&records)? + "\n")?;
    }
    if save { Ok(page::write()?) } else { Ok(()) }
}

fn draw(plan: &Plan, save: bool) -> Outcome {
    no_proxy()?;
    let part = curves::run(plan)?;
    for table in &part.tables {
        println!("{}\n{table}", table.title);
    }
    if save {
        part.save("curves")?;
        page::write()?;
    }
    Ok(())
}

fn no_proxy() -> Outcome {
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        if std::env::var_os(name).is_some() {
            return Err(format!("unset {name}: some peers would measure that proxy").into());
        }
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Outcome<Task> {
    let mut scenarios = Vec::new();
    let mut plan = Plan::default();
    let mut other = Other::default();
    let (mut save, mut curves, mut json) = (false, false, None);
    while let Some(argument) = arguments.next() {
        let mut value = |what: &str| arguments.next().ok_or(format!("{argument} needs {what}\n{USAGE}"));
        match argument.as_str() {
            "--bench" => {} // cargo's own
            "--help" | "-h" => return Ok(Task::Help),
            "--render" => return Ok(Task::Render),
            server::FLAG => return Ok(Task::Serve),
            alone::FLAG => return Ok(Task::One { peer: value("a peer")?, load: value("a load")? }),
            "--long" => plan.long = true,
            "--save" => save = true,
            "--curves" => curves = true,
            "--rounds" => plan.rounds = Some(value("a number")?.parse()?),
            "--only" => plan.only = value("names of peers")?.split(',').map(str::to_owned).collect(),
            "--server" => other.plain = Some(origin(value("a URL")?)),
            "--tls-server" => other.tls = Some(origin(value("a URL")?)),
            "--ca" => other.ca = Some(fs::canonicalize(value("a file")?)?),
            "--json" => json = Some(value("a file")?),
            flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}\n{USAGE}").into()),
            name => scenarios.push(scenarios::find(name).ok_or_else(|| format!("unknown scenario {name}"))?),
        }
    }
    if let Some(name) = plan.unknown_peer() {
        return Err(format!("no peer is called {name}").into());
    }
    if other.tls.is_some() != other.ca.is_some() {
        return Err("--tls-server and --ca belong together".into());
    }
    if plan.rounds == Some(0) {
        return Err("no rounds measure nothing".into());
    }
    if other.plain.is_some() || other.tls.is_some() {
        plan.other = Some(other);
    }
    let whole = scenarios.is_empty() && plan.only.is_empty() && plan.other.is_none();
    let save = save || whole;
    if curves {
        return Ok(Task::Curves { plan, save });
    }
    if scenarios.is_empty() {
        scenarios = scenarios::ALL.iter().collect();
    }
    Ok(Task::Scenarios { scenarios, plan, save, json })
}

/// Paths are put behind it.
fn origin(url: String) -> String {
    url.trim_end_matches('/').to_owned()
}
