//! Counts the instructions of a request under valgrind's callgrind. Takes no time and compares no machine.
//!
//! ```text
//! cargo bench -p marmot-bench --bench instructions                  all clients and settings; results/instructions.json
//! cargo bench -p marmot-bench --bench instructions -- marmot isahc  those whose names begin so; writes no file
//! ```
//!
//! Each client runs in a process of its own, once for a few requests and once for more; the difference belongs to the
//! requests, and what the start costs cancels out. The server is not counted, nor is the kernel. Threads that miss each
//! other go to sleep once more than they need, so noise only adds: the figures are the least of several runs.

mod callgrind;
mod clients;

use std::path::Path;
use std::process::ExitCode;

use marmot_bench::cores;
use marmot_bench::page;
use marmot_bench::project::{self, Project};
use marmot_bench::results::{Cell, Part, Table};
use marmot_bench::scenarios::Cores;
use marmot_bench::server::{self, Server};

use callgrind::Count;
use clients::{CLIENTS, Client, Outcome, SETTINGS};

/// What this program is called with to be a client: a name, a URL, a number of requests.
const ONE: &str = "--one";
/// Runs of each client.
const RUNS: usize = 5;
/// The fewer and the more requests.
const REQUESTS: [usize; 2] = [100, 1100];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        [server::FLAG] => server::serve().map_err(Into::into),
        [ONE, name, url, requests] => one(name, url, requests),
        ref names => measure(names),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn one(name: &str, url: &str, requests: &str) -> Outcome {
    let client = CLIENTS.iter().chain(SETTINGS).find(|client| client.name == name).ok_or("unknown client")?;
    (client.run)(url, requests.parse()?)
}

fn measure(names: &[&str]) -> Outcome {
    let server = Server::start()?;
    let url = format!("{}/small", server.base());
    let wanted = |client: &&Client| names.is_empty() || names.iter().any(|name| client.name.starts_with(name));
    let own = std::env::current_exe()?;
    let count = |client: &Client| per_request(&own, &[ONE, client.name, &url]);

    let mut part = Part::new("Instructions per request");
    // A server on another core would answer now earlier, now later than the client looks.
    let _kept = cores::keep(Cores::One, server.id())?;
    part.notes.push(format!(
        "A small GET over a kept connection on loopback, counted by {}: user space only, the least of {RUNS} runs.",
        callgrind::version()?
    ));
    let columns = ["client", "instructions", "of the calling thread", "of other threads"];
    let mut clients = Table::new("By client", &columns);
    for client in CLIENTS.iter().filter(wanted) {
        let Count { caller, others } = count(client)?;
        clients.row([client.name.into(), cell(caller + others), cell(caller), cell(others)]);
    }
    part.tables.push(clients);

    let settings = SETTINGS.iter().filter(wanted).map(|client| Ok((client.name, count(client)?)));
    part.tables.push(beside_the_first("marmot by setting", settings.collect::<Outcome<_>>()?));

    if names.is_empty() {
        let features = [("default", ""), ("default and `tracing`, no subscriber", ", features = ['tracing']")];
        let counts = features.map(|(name, features)| Ok((name, with_features(features, &url)?)));
        let counts = counts.into_iter().collect::<Outcome<_>>()?;
        part.tables.push(beside_the_first("marmot by feature, in a program without any other client", counts));
    }
    for table in part.tables.iter().filter(|table| !table.rows.is_empty()) {
        println!("{}\n{table}", table.title);
    }
    if names.is_empty() {
        part.save("instructions")?;
        page::write()?;
    }
    Ok(())
}

fn beside_the_first(title: &str, counts: Vec<(&str, Count)>) -> Table {
    let mut table = Table::new(title, &["", "instructions", "more than the first"]);
    let first = counts.first().map_or(Count::default(), |(_, count)| *count);
    for (name, count) in counts {
        let more = count - first;
        table.row([name.into(), cell(count.total()), cell(more.total())]);
    }
    table
}

fn cell(count: f64) -> Cell {
    count.round().into()
}

/// The least that a program needs for a request, if the number of requests is its last argument.
fn per_request(program: &Path, arguments: &[&str]) -> Outcome<Count> {
    let [few, more] = REQUESTS;
    let count = |requests: usize| callgrind::count(program, &[arguments, &[&requests.to_string()]].concat());
    let mut least = Count { caller: f64::INFINITY, others: f64::INFINITY };
    for _ in 0..RUNS {
        least = least.min((count(more)? - count(few)?) / (more - few) as f64);
    }
    Ok(least)
}

/// Counts a program of its own: cargo unites the features of all that is built together, and isahc turns some on that
/// change what marmot's cost.
fn with_features(features: &str, url: &str) -> Outcome<Count> {
    let marmot = Path::new(project::ROOT).canonicalize()?;
    let dependencies = format!("marmot = {{ path = '{}'{features} }}", marmot.display());
    let project = Project::new(&dependencies, include_str!("program.rs"))?;
    per_request(&project.build()?.program, &[url])
}
