//! What scripts of the command find, whichever command runs them: a client, `env`, limits, Ctrl-C. Runs nothing.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use marmot::HttpClient;
use marmot::script::rhai::Dynamic;
use marmot::script::{CancelToken, ScriptEngine};

use crate::Surroundings;

pub(super) const SCRIPT_ERROR: u8 = 1;
pub(super) const USAGE: u8 = 2;
pub(super) const INTERRUPTED: u8 = 130;

/// An engine as the options describe it. What scripts print is shown nowhere.
pub(super) fn engine(options: &Surroundings) -> Result<ScriptEngine, String> {
    let variables = variables(options)?;
    let mut builder = HttpClient::builder();
    if !options.allow.is_empty() {
        builder = builder.allowed_hosts(&options.allow);
    }
    let client = builder.build().map_err(|error| error.chain())?;
    let engine = if options.trace {
        ScriptEngine::with_trace(client, |trace| complain(&super::trace_line(trace)))
    } else {
        ScriptEngine::with_client(client)
    };
    let mut engine = engine.on_debug(complain);
    let variable = Arc::new(move |name: &str| std::env::var(name).ok().or_else(|| variables.get(name).cloned()));
    let with_default = variable.clone();
    engine.engine_mut().register_fn("env", move |name: &str| variable(name).map_or(Dynamic::UNIT, Dynamic::from));
    engine
        .engine_mut()
        .register_fn("env", move |name: &str, default: &str| with_default(name).unwrap_or_else(|| default.to_owned()));
    Ok(engine)
}

/// Those of the env file.
fn variables(options: &Surroundings) -> Result<HashMap<String, String>, String> {
    let Some(path) = &options.env_file else { return Ok(HashMap::new()) };
    let failed = |error: dotenvy::Error| format!("could not read the env file `{}`: {error}", path.display());
    dotenvy::from_path_iter(path).map_err(failed)?.map(|entry| entry.map_err(failed)).collect()
}

/// The name and the text of a script; `-` is stdin.
pub(super) fn read_script(path: &Path) -> Result<(String, String), String> {
    if path == Path::new("-") {
        let mut source = String::new();
        let read = io::stdin().read_to_string(&mut source);
        read.map_err(|error| format!("could not read the script from stdin: {error}"))?;
        return Ok(("stdin".to_owned(), source));
    }
    let name = path.display().to_string();
    let source =
        std::fs::read_to_string(path).map_err(|error| format!("could not read the script `{name}`: {error}"))?;
    Ok((name, source))
}

/// Says what is wrong with the arguments.
pub(super) fn wrong_usage(message: &str) -> ExitCode {
    complain(&format!("error: {message}"));
    ExitCode::from(USAGE)
}

/// A line on stderr. There is nobody to tell if that fails.
pub(super) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What Ctrl-C does: the first ends what runs, a second one the process.
#[derive(Clone)]
pub(super) struct Interrupts(Arc<Mutex<State>>);

struct State {
    running: Option<CancelToken>,
    seen: bool,
    /// Whether the process ends when nothing runs.
    ends: bool,
}

impl Interrupts {
    /// `ends` tells whether an interrupt ends the process when nothing runs.
    pub(super) fn new(ends: bool) -> Self {
        Self(Arc::new(Mutex::new(State { running: None, seen: false, ends })))
    }

    /// Watches from now on, in place of whoever did so before.
    pub(super) fn watch(&self) {
        let state = self.clone();
        let watching = ctrlc::set_handler(move || {
            let mut state = state.state();
            match state.running.clone() {
                Some(token) if !state.seen => {
                    state.seen = true;
                    token.cancel();
                }
                None if !state.ends => {}
                _ => std::process::exit(i32::from(INTERRUPTED)),
            }
        });
        if let Err(error) = watching {
            complain(&format!("warning: Ctrl-C will end the process without a message: {error}"));
        }
    }

    /// A token for what runs next.
    pub(super) fn start(&self) -> CancelToken {
        let token = CancelToken::new();
        let mut state = self.state();
        state.running = Some(token.clone());
        state.seen = false;
        token
    }

    /// What ran has ended. Whether there was an interrupt.
    pub(super) fn stop(&self) -> bool {
        let mut state = self.state();
        state.running = None;
        state.seen
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
