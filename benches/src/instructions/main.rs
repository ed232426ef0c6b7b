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

use std::process::{Command, ExitCode, Stdio};

use marmot_bench::results::{Cell, Part, Table};
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
    let plain = std::env::current_exe()?.to_string_lossy().into_owned();
    let count = |program: &str, client: &Client| per_request(program, client, &url);
    let wanted = |client: &&Client| names.is_empty() || names.iter().any(|name| client.name.starts_with(name));

    let mut part = Part::new("Instructions per request");
    part.notes.push(format!(
        "A small GET over a kept connection on loopback, counted by {}: user space only, the least of {RUNS} runs.",
        callgrind::version()?
    ));
    let mut clients = Table::new("Clients", &["client", "instructions", "of the calling thread", "of other threads"]);
    for client in CLIENTS.iter().filter(wanted) {
        let Count { caller, others } = count(&plain, client)?;
        clients.row([client.name.into(), cell(caller + others), cell(caller), cell(others)]);
        eprintln!("{}: {} + {}", client.name, caller.round(), others.round());
    }
    part.tables.push(clients);
    part.notes.push(
        "What is off in marmot is the default here. Without a subscriber the spans of the feature `tracing` cost less than \
         shown in programs where no other crate turns `tracing/log` on, as isahc does in this one."
            .to_owned(),
    );

    let mut counts = Vec::new();
    for client in SETTINGS.iter().filter(wanted) {
        counts.push((client.name, count(&plain, client)?));
    }
    if names.is_empty() {
        counts.push(("feature `tracing`, no subscriber", count(&build_with_tracing()?, &SETTINGS[0])?));
    }
    let mut settings = Table::new("marmot by setting", &["setting", "instructions", "more", "more, calling thread"]);
    let default = counts.first().map_or(Count::default(), |(_, count)| *count);
    for (name, count) in counts {
        let more = count - default;
        settings.row([name.into(), cell(count.total()), cell(more.total()), cell(more.caller)]);
        eprintln!("{name}: {:.0} ({:+.0}; {:+.0})", count.total(), more.total(), more.caller);
    }
    part.tables.push(settings);
    if names.is_empty() {
        part.save("instructions")?;
    }
    Ok(())
}

fn cell(count: f64) -> Cell {
    count.round().into()
}

fn per_request(program: &str, client: &Client, url: &str) -> Outcome<Count> {
    let [few, more] = REQUESTS;
    let count = |requests: usize| callgrind::count(program, &[ONE, client.name, url, &requests.to_string()]);
    let mut least = Count { caller: f64::INFINITY, others: f64::INFINITY };
    for _ in 0..RUNS {
        least = least.min((count(more)? - count(few)?) / (more - few) as f64);
    }
    Ok(least)
}

/// Builds this program once more, with marmot's spans compiled in.
fn build_with_tracing() -> Outcome<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit());
    // cargo has set it for this process, from a configuration that it reads again: seeing it, it would build libcurl anew.
    command.env_remove("CFLAGS");
    command.args(["bench", "--no-run", "--bench", "instructions", "--features", "tracing", "--message-format", "json"]);
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let path =
        text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find_map(|message| {
            let ours = message["target"]["name"] == "instructions";
            message["executable"].as_str().filter(|_| ours).map(str::to_owned)
        });
    path.ok_or_else(|| "the program with `tracing` could not be built".into())
}
