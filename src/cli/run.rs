//! `marmot run`: one script, its limits, its exit code.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use marmot::script::rhai::Array;
use marmot::script::{ScriptError, ScriptErrorKind, Usage};

use super::host::{self, Equipment, INTERRUPTED, Interrupts, SCRIPT_ERROR, complain};
use super::paint::Paint;
use super::progress::Progress;
use super::waterfall;
use crate::Run;

const TIMED_OUT: u8 = 124;

/// The constants that a script sees.
pub(super) const CONSTANTS: &[&str] = &[ARGS];
const ARGS: &str = "ARGS";

pub(crate) fn run(run: &Run) -> ExitCode {
    let prepared = host::read_script(&run.script).and_then(|script| Ok((script, host::equip(&run.surroundings)?)));
    let prepared = prepared.and_then(|(script, equipment)| execute(run, &script.0, &script.1, equipment));
    prepared.unwrap_or_else(|message| host::wrong_usage(&message))
}

fn execute(run: &Run, name: &str, source: &str, mut equipment: Equipment) -> Result<ExitCode, String> {
    let progress = Progress::new();
    let traces = Arc::new(Mutex::new(Vec::new()));
    let (shown, seen, tell) = (progress.clone(), traces.clone(), run.surroundings.trace);
    equipment.engine = equipment.engine.on_request(move |trace| {
        shown.request();
        if tell {
            shown.aside(|| complain(&super::trace_line(trace)));
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(trace.clone());
        }
    });
    let shown = progress.clone();
    equipment.engine = equipment.engine.on_download(move |now| shown.download(now));
    let (engine, recording) = equipment.build()?;

    let interrupts = Interrupts::new(true);
    interrupts.watch();
    let cancel = interrupts.start();
    let output_gone = Arc::new(AtomicBool::new(false));
    let (gone, stop, shown) = (output_gone.clone(), cancel.clone(), progress.clone());
    let aside = progress.clone();
    let engine = engine.on_debug(move |text| aside.aside(|| complain(text))).on_print(move |text| {
        // Whoever reads the output is gone, as after `| head`: there is nothing left to do.
        if shown.aside(|| writeln!(io::stdout(), "{text}")).is_err() {
            gone.store(true, Ordering::SeqCst);
            stop.cancel();
        }
    });
    let args: Array = run.args.iter().map(|arg| arg.clone().into()).collect();
    let (result, usage) = match engine.compile(name, source) {
        Ok(script) => script.cancel(cancel).constant(ARGS, args).run_with_usage(),
        Err(error) => (Err(error), Usage::default()),
    };
    progress.end();
    let _ = io::stdout().flush();
    let paint = Paint::of(&io::stderr());
    waterfall::draw(&traces.lock().unwrap_or_else(PoisonError::into_inner), paint)
        .iter()
        .for_each(|line| complain(line));
    if run.usage {
        complain(&usage_line(&usage));
    }
    if let Err(message) = recording.save() {
        complain(&format!("{} {message}", paint.red("error:")));
        return Ok(ExitCode::from(SCRIPT_ERROR));
    }
    Ok(match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) if output_gone.load(Ordering::SeqCst) => ExitCode::SUCCESS,
        Err(error) => {
            host::explain(&error);
            exit_code(&error, interrupts.stop())
        }
    })
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
