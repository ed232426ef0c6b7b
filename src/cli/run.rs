//! `marmot run`: one script, its limits, its exit code.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use marmot::script::rhai::Array;
use marmot::script::{ScriptEngine, ScriptError, ScriptErrorKind};

use super::host::{self, INTERRUPTED, Interrupts, SCRIPT_ERROR, complain};
use crate::Run;

const TIMED_OUT: u8 = 124;

/// The constants that a script sees.
pub(super) const CONSTANTS: &[&str] = &[ARGS];
const ARGS: &str = "ARGS";

pub(crate) fn run(run: &Run) -> ExitCode {
    let prepared = host::read_script(&run.script).and_then(|script| Ok((script, host::engine(&run.surroundings)?)));
    match prepared {
        Ok(((name, source), engine)) => execute(run, &name, &source, engine),
        Err(message) => host::wrong_usage(&message),
    }
}

fn execute(run: &Run, name: &str, source: &str, engine: ScriptEngine) -> ExitCode {
    let interrupts = Interrupts::new(true);
    interrupts.watch();
    let cancel = interrupts.start();
    let output_gone = Arc::new(AtomicBool::new(false));
    let (gone, stop) = (output_gone.clone(), cancel.clone());
    let engine = engine.on_print(move |text| {
        // Whoever reads the output is gone, as after `| head`: there is nothing left to do.
        if writeln!(io::stdout(), "{text}").is_err() {
            gone.store(true, Ordering::SeqCst);
            stop.cancel();
        }
    });
    let args: Array = run.args.iter().map(|arg| arg.clone().into()).collect();
    let result = engine
        .compile(name, source)
        .and_then(|script| script.time_limit(run.surroundings.timeout).cancel(cancel).constant(ARGS, args).run());
    let _ = io::stdout().flush();
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) if output_gone.load(Ordering::SeqCst) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.render());
            exit_code(&error, interrupts.stop())
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
