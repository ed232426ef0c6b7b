//! `marmot demo`: a tour of the script language on a server of its own. Needs no network.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use marmot::HttpClient;
use marmot::script::ScriptEngine;

use super::demo_server::DemoServer;
use super::paint::Paint;

/// The tour, in chapters that begin with `//# Title`.
const TOUR: &str = include_str!("../../examples/scripts/tour.rhai");

pub(crate) fn demo() -> ExitCode {
    match tour() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

fn tour() -> Result<(), String> {
    let start = Instant::now();
    let paint = Paint::of(&io::stdout());
    let server = DemoServer::start().map_err(|error| format!("error: the demo's server does not start: {error}"))?;
    let base = format!("http://{}", server.address);
    let client = HttpClient::new().map_err(|error| error.chain())?;

    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (counter, lines) = (count.clone(), seen.clone());
    let engine = ScriptEngine::builder().client(client).on_request(move |trace| {
        counter.fetch_add(1, Ordering::SeqCst);
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(super::trace_line(trace));
    });
    let engine = engine.build().map_err(|error| error.chain())?.on_print(move |text| {
        for line in text.lines() {
            say(&format!("  {} {line}", paint.green("│")));
        }
    });

    say(&paint.bold("A tour of marmot"));
    say(&format!("Each chapter is a script. A small server answers on {base}.\n"));
    for (number, chapter) in TOUR.split("//# ").skip(1).enumerate() {
        let (title, code) = chapter.split_once('\n').unwrap_or((chapter, ""));
        say(&paint.bold(&format!("{}. {title}", number + 1)));
        for line in code.trim_end().lines() {
            say(&format!("    {}", paint.dim(line)));
        }
        let script = engine.compile(title, code).map_err(|error| error.render())?;
        let _value = script.constant("BASE", base.clone()).run().map_err(|error| error.render())?;
        for line in seen.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            say(&format!("  {} {}", paint.dim("→"), paint.dim(&line.replace(&base, ""))));
        }
        say("");
    }
    let requests = count.load(Ordering::SeqCst);
    say(&paint.bold(&format!("{requests} requests in {:.1} seconds.", start.elapsed().as_secs_f64())));
    say("Now write a file hello.rhai with one of these chapters, a URL of your own in place of BASE, and run it:");
    say("    marmot run --trace hello.rhai");
    Ok(())
}

/// A line on stdout. Whoever does not read to the end need not be told.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
