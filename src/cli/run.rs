//! `marmot run`: one script, its limits, its exit code.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use marmot::HttpClient;
use marmot::har::HarRecorder;
use marmot::script::rhai::Array;
use marmot::script::{CancelToken, ScriptEngine, ScriptEngineBuilder, ScriptError, ScriptErrorKind, Usage};

use super::paint::Paint;
use super::permissions;
use super::progress::Progress;
use super::waterfall;
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
    engine: ScriptEngineBuilder,
    har: Option<HarRecorder>,
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
    let variable = move |name: &str| std::env::var(name).ok().or_else(|| variables.get(name).cloned());
    let mut client = HttpClient::builder();
    let har = run.har.as_ref().map(|_| HarRecorder::new());
    if let Some(recorder) = &har {
        client = client.har(recorder.clone());
    }
    let client = client.build().map_err(|error| error.chain())?;
    let mut engine = ScriptEngine::builder().client(client).sandbox(run.permissions.sandbox());
    engine = run.permissions.secrets(engine, &variable)?.variables(variable);
    if let Some(folder) = &run.modules {
        engine = engine.modules(folder);
    }
    Ok(Prepared { name, source, engine, har })
}

fn execute(run: &Run, prepared: Prepared) -> ExitCode {
    let Prepared { name, source, engine, har } = prepared;
    let cancel = CancelToken::new();
    let interrupted = watch_interrupts(&cancel);
    let output_gone = Arc::new(AtomicBool::new(false));
    let progress = Progress::new();
    let traces = Arc::new(Mutex::new(Vec::new()));

    let (shown, seen, tell) = (progress.clone(), traces.clone(), run.trace);
    let engine = engine.on_request(move |trace| {
        shown.request();
        if tell {
            shown.aside(|| complain(&super::trace_line(trace)));
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(trace.clone());
        }
    });
    let shown = progress.clone();
    let engine = match engine.on_download(move |now| shown.download(now)).build() {
        Ok(engine) => engine,
        Err(error) => {
            complain(&format!("error: {}", error.chain()));
            return ExitCode::from(USAGE);
        }
    };
    let (gone, stop, shown) = (output_gone.clone(), cancel.clone(), progress.clone());
    let debugged = progress.clone();
    let engine = engine.on_debug(move |text| debugged.aside(|| complain(text))).on_print(move |text| {
        // Whoever reads the output is gone, as after `| head`: there is nothing left to do.
        if shown.aside(|| writeln!(io::stdout(), "{text}")).is_err() {
            gone.store(true, Ordering::SeqCst);
            stop.cancel();
        }
    });

    let args: Array = run.args.iter().map(|arg| arg.clone().into()).collect();
    let (result, usage) = match engine.compile(&name, &source) {
        Ok(script) => script.cancel(cancel).constant("ARGS", args).run_with_usage(),
        Err(error) => (Err(error), Usage::default()),
    };
    progress.end();
    let _ = io::stdout().flush();
    let paint = Paint::on(&io::stderr());
    for line in waterfall::draw(&traces.lock().unwrap_or_else(PoisonError::into_inner), paint) {
        complain(&line);
    }
    if run.usage {
        complain(&usage_line(&usage));
    }
    if let (Some(recorder), Some(path)) = (har, &run.har)
        && let Err(error) = recorder.save(path)
    {
        complain(&format!("{} {}", paint.red("error:"), error.chain()));
        return ExitCode::from(SCRIPT_ERROR);
    }
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) if output_gone.load(Ordering::SeqCst) => ExitCode::SUCCESS,
        Err(error) => {
            let rendered = error.render();
            let rendered = rendered.strip_prefix("error:").map_or(rendered.clone(), |rest| format!("{}{rest}", paint.red("error:")));
            complain(&rendered);
            if let Some(advice) = permissions::advice(&error) {
                complain(&format!("{} {advice}", paint.blue("help:")));
            }
            exit_code(&error, interrupted.load(Ordering::SeqCst))
        }
    }
}

/// What a script has used, in a line.
fn usage_line(usage: &Usage) -> String {
    format!(
        "{:.3} s, {} operations, {} bytes of memory, {} requests ({} at once), {} bytes sent, {} received, {} printed",
        usage.time.as_secs_f64(),
        usage.operations,
        usage.memory,
        usage.requests,
        usage.requests_at_once,
        usage.sent,
        usage.received,
        usage.output,
    )
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
