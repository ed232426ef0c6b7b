//! What scripts of the command find, whichever command runs them: a client, permissions, Ctrl-C. Runs nothing.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use marmot::HttpClient;
use marmot::har::HarRecorder;
use marmot::script::{CancelToken, ScriptEngine, ScriptEngineBuilder, ScriptError};
use marmot::stripe;

use super::paint::Paint;
use super::permissions;
use crate::Surroundings;

pub(super) const SCRIPT_ERROR: u8 = 1;
pub(super) const USAGE: u8 = 2;
pub(super) const INTERRUPTED: u8 = 130;

/// What runs scripts, as the options describe it.
pub(super) struct Equipment {
    pub(super) engine: ScriptEngineBuilder,
    payments: stripe::Config,
    har: Option<(HarRecorder, PathBuf)>,
}

/// An engine to be built, and what records its requests.
pub(super) fn equip(options: &Surroundings) -> Result<Equipment, String> {
    let variable = variables(options.env_file.as_deref())?;
    let har = options.har.clone().map(|path| (HarRecorder::new(), path));
    let mut client = HttpClient::builder();
    if let Some((recorder, _)) = &har {
        client = client.har(recorder.clone());
    }
    let client = client.build().map_err(|error| error.chain())?;
    let payments = payments(&variable);
    let engine = ScriptEngine::builder().client(client).sandbox(options.permissions.sandbox());
    let mut engine = options.permissions.secrets(engine, &variable)?.variables(variable);
    if let Some(folder) = &options.modules {
        engine = engine.modules(folder);
    }
    Ok(Equipment { engine, payments, har })
}

impl Equipment {
    /// The engine, and who saves what was recorded.
    pub(super) fn build(self) -> Result<(ScriptEngine, Recording), String> {
        Ok((engine(self.engine, self.payments)?, Recording(self.har)))
    }
}

/// The requests of all scripts so far.
pub(super) struct Recording(Option<(HarRecorder, PathBuf)>);

impl Recording {
    /// Writes the file that was asked for.
    pub(super) fn save(&self) -> Result<(), String> {
        match &self.0 {
            Some((recorder, path)) => recorder.save(path).map_err(|error| error.chain()),
            None => Ok(()),
        }
    }
}

/// What variables there are: those of the environment, then those of the env file.
pub(super) fn variables(
    env_file: Option<&Path>,
) -> Result<impl Fn(&str) -> Option<String> + Clone + Send + Sync + use<>, String> {
    let mut variables = HashMap::new();
    if let Some(path) = env_file {
        let failed = |error: dotenvy::Error| format!("could not read the env file `{}`: {error}", path.display());
        for entry in dotenvy::from_path_iter(path).map_err(failed)? {
            let (name, value) = entry.map_err(failed)?;
            variables.insert(name, value);
        }
    }
    let variables = Arc::new(variables);
    Ok(move |name: &str| std::env::var(name).ok().or_else(|| variables.get(name).cloned()))
}

/// Where payments go.
pub(super) fn payments(variable: impl Fn(&str) -> Option<String>) -> stripe::Config {
    let base = variable("STRIPE_API_BASE").filter(|base| !base.is_empty());
    base.into_iter().fold(stripe::Config::new(), stripe::Config::base_url)
}

/// The engine of a builder, with payments.
pub(super) fn engine(builder: ScriptEngineBuilder, payments: stripe::Config) -> Result<ScriptEngine, String> {
    let mut engine = builder.build().map_err(|error| error.chain())?;
    stripe::register(&mut engine, payments).map_err(|error| format!("STRIPE_API_BASE: {error}"))?;
    Ok(engine)
}

/// Shows why a script has ended, and what to do about it.
pub(super) fn explain(error: &ScriptError) {
    let paint = Paint::of(&io::stderr());
    let text = error.render();
    complain(&text.strip_prefix("error:").map_or(text.clone(), |rest| format!("{}{rest}", paint.red("error:"))));
    if let Some(advice) = permissions::advice(error) {
        complain(&format!("{} {advice}", paint.blue("help:")));
    }
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
