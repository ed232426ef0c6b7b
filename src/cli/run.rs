//! `marmot run`: one script, its limits, its exit code.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use marmot::HttpClient;
use marmot::script::rhai::{Array, Dynamic};
use marmot::script::{CancelToken, ScriptEngine, ScriptError, ScriptErrorKind};
use marmot::stripe;

use crate::Run;

const SCRIPT_ERROR: u8 = 1;
const USAGE: u8 = 2;
const TIMED_OUT: u8 = 124;
const INTERRUPTED: u8 = 130;

pub(crate) fn run(run: &Run) -> ExitCode {
    match prepare(run) {
        Ok(prepared) => execute(run, prepared),
        Err(message) => {
            complain(&format!("error: {message}"));
            ExitCode::from(USAGE)
        }
    }
}

struct Prepared {
    name: String,
    source: String,
    client: HttpClient,
    variables: HashMap<String, String>,
}

/// Reads what the arguments name.
fn prepare(run: &Run) -> Result<Prepared, String> {
    let mut source = String::new();
    let name = if run.script == Path::new("-") {
        io::stdin()
            .read_to_string(&mut source)
            .map_err(|error| format!("could not read the script from stdin: {error}"))?;
        "stdin".to_owned()
    } else {
        let path = run.script.display();
        source = std::fs::read_to_string(&run.script)
            .map_err(|error| format!("could not read the script `{path}`: {error}"))?;
        path.to_string()
    };
    let mut variables = HashMap::new();
    if let Some(path) = &run.env_file {
        let failed = |error: dotenvy::Error| format!("could not read the env file `{}`: {error}", path.display());
        for entry in dotenvy::from_path_iter(path).map_err(failed)? {
            let (name, value) = entry.map_err(failed)?;
            variables.insert(name, value);
        }
    }
    let mut builder = HttpClient::builder();
    if !run.allow.is_empty() {
        builder = builder.allowed_hosts(&run.allow);
    }
    let client = builder.build().map_err(|error| error.chain())?;
    Ok(Prepared { name, source, client, variables })
}

fn execute(run: &Run, prepared: Prepared) -> ExitCode {
    let Prepared { name, source, client, variables } = prepared;
    let cancel = CancelToken::new();
    let interrupted = watch_interrupts(&cancel);
    let output_gone = Arc::new(AtomicBool::new(false));

    let engine = if run.trace {
        ScriptEngine::with_trace(client, |trace| complain(&super::trace_line(trace)))
    } else {
        ScriptEngine::with_client(client)
    };
    let (gone, stop) = (output_gone.clone(), cancel.clone());
    let mut engine = engine.on_debug(complain).on_print(move |text| {
        // Whoever reads the output is gone, as after `| head`: there is nothing left to do.
        if writeln!(io::stdout(), "{text}").is_err() {
            gone.store(true, Ordering::SeqCst);
            stop.cancel();
        }
    });
    let variable = Arc::new(move |name: &str| std::env::var(name).ok().or_else(|| variables.get(name).cloned()));
    let base = variable("STRIPE_API_BASE").filter(|base| !base.is_empty());
    let payments = base.into_iter().fold(stripe::Config::new(), stripe::Config::base_url);
    if let Err(error) = stripe::register(&mut engine, payments) {
        complain(&format!("error: STRIPE_API_BASE: {error}"));
        return ExitCode::from(USAGE);
    }
    let with_default = variable.clone();
    engine.engine_mut().register_fn("env", move |name: &str| variable(name).map_or(Dynamic::UNIT, Dynamic::from));
    engine
        .engine_mut()
        .register_fn("env", move |name: &str, default: &str| with_default(name).unwrap_or_else(|| default.to_owned()));

    let args: Array = run.args.iter().map(|arg| arg.clone().into()).collect();
    let result = engine
        .compile(&name, &source)
        .and_then(|script| script.time_limit(run.timeout).cancel(cancel).constant("ARGS", args).run());
    let _ = io::stdout().flush();
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) if output_gone.load(Ordering::SeqCst) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.render());
            exit_code(&error, interrupted.load(Ordering::SeqCst))
        }
    }
}

fn exit_code(error: &ScriptError, interrupted: bool) -> ExitCode {
    ExitCode::from(match error.kind() {
        ScriptErrorKind::TimeLimit => TIMED_OUT,
        ScriptErrorKind::Cancelled if interrupted => INTERRUPTED,
        _ => SCRIPT_ERROR,
    })
}

/// The first Ctrl-C ends the script, a second one the process.
fn watch_interrupts(cancel: &CancelToken) -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let (seen, cancel) = (interrupted.clone(), cancel.clone());
    let watching = ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        cancel.cancel();
    });
    if let Err(error) = watching {
        complain(&format!("warning: Ctrl-C will end the process without a message: {error}"));
    }
    interrupted
}

/// A line on stderr. There is nobody to tell if that fails.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
