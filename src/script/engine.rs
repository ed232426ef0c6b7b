//! The engine: Rhai with the functions of this crate, and scripts that run with limits. Sends nothing itself.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rhai::packages::{Package, StandardPackage};
use rhai::{AST, Dynamic, Engine, Scope};

use super::Thrown;
use super::builder::ScriptEngineBuilder;
use super::client::Client;
use super::failure::ScriptError;
use super::host::Executor;
use super::meter::{Meter, Usage};
use super::modules::Folder;
use super::observer::Observer;
use super::run::{self, Running};
use super::sandbox::{CALL_DEPTH, Limits, Sandbox};
use super::value::{MAX_DEPTH, is_shallow};
use super::{guard, http, steps};
use crate::client::{CancelToken, HttpClient};

/// The deepest nesting of expressions in a script, and within its functions.
const EXPRESSIONS: usize = 64;
const EXPRESSIONS_IN_FUNCTIONS: usize = 32;

/// Stack for a run with a memory budget, and more for each byte of the budget: values that are nested as deep as the memory
/// allows are dropped and copied level by level.
const STACK: usize = 16 << 20;
const STACK_PER_BYTE: usize = 8;

/// Runs scripts that call HTTP APIs. Can be used by many threads at once; each script runs on its caller's thread.
///
/// # Examples
///
/// ```no_run
/// use marmot::script::ScriptEngine;
/// use std::time::Duration;
///
/// let engine = ScriptEngine::new();
/// let script = engine.compile("hello", r#"
///     let reply = http_get("https://example.org/");
///     reply.status
/// "#)?;
/// let status = script.time_limit(Duration::from_secs(10)).run()?;
/// # Ok::<(), marmot::script::ScriptError>(())
/// ```
pub struct ScriptEngine {
    engine: Engine,
    client: Client,
}

impl ScriptEngine {
    /// An engine whose scripts use the shared default client.
    pub fn new() -> Self {
        Self::with_client(HttpClient::shared().clone())
    }

    /// An engine whose scripts use this client, with its settings where a script names none.
    pub fn with_client(client: HttpClient) -> Self {
        Self::assemble(&Client::new(client, Arc::default()), None)
    }

    /// An engine that is configured, with a sandbox for instance.
    pub fn builder() -> ScriptEngineBuilder {
        ScriptEngineBuilder::default()
    }

    pub(super) fn assemble(client: &Client, modules: Option<Folder>) -> Self {
        let host = client.host();
        // Without the default module resolver, which reads files anywhere.
        let mut engine = Engine::new_raw();
        StandardPackage::new().register_into_engine(&mut engine);
        engine.register_global_module(guard::module().into());
        engine.register_global_module(http::module(client).into());
        engine.register_static_module("http", http::namespace(client).into());
        engine.disable_symbol("eval");
        engine.on_progress(run::progress);
        engine.on_print(print_with(|_| {}));
        let debug = debug_with(|_| {});
        engine.on_debug(move |text, _source, at| debug(&format!("{at:?}: {text}")));
        let depth = host.sandbox.limits.call_depth.and_then(|depth| usize::try_from(depth).ok());
        engine.set_max_call_levels(depth.unwrap_or(CALL_DEPTH));
        // As the language has it, but for its debug builds, which refuse what a released program accepts.
        engine.set_max_expr_depths(EXPRESSIONS, EXPRESSIONS_IN_FUNCTIONS);
        if let Some(folder) = modules {
            engine.set_module_resolver(folder);
        }
        Self { engine, client: client.clone() }
    }

    /// What scripts `print`. Default: nothing is shown.
    #[must_use]
    pub fn on_print(mut self, print: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.engine.on_print(print_with(print));
        self
    }

    /// What scripts `debug`, with the place. Default: nothing is shown.
    #[must_use]
    pub fn on_debug(mut self, debug: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let debug = debug_with(debug);
        self.engine.on_debug(move |text, _source, at| debug(&format!("{at:?}: {text}")));
        self
    }

    pub(super) fn executor(&self) -> Option<&Executor> {
        self.client.host().executor.as_ref()
    }

    /// What the scripts' requests are made with.
    #[cfg(feature = "stripe")]
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.client.host().sandbox.limits
    }

    /// The engine itself.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine itself, to register functions of your own.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Parses a script. The name is shown in errors.
    ///
    /// # Errors
    ///
    /// [`ScriptErrorKind::Parse`](super::ScriptErrorKind::Parse), with the place, also for a text that is larger than the
    /// sandbox allows.
    pub fn compile(&self, name: &str, source: &str) -> Result<Script<'_>, ScriptError> {
        let most = self.limits().source_size.unwrap_or(u64::MAX);
        if source.len() as u64 > most {
            return Err(ScriptError::too_long(source.len(), most));
        }
        let ast = self.engine.compile(source).map_err(|error| ScriptError::parse(&error, name, source))?;
        Ok(Script {
            engine: &self.engine,
            sandbox: &self.client.host().sandbox,
            ast,
            name: name.to_owned(),
            source: source.to_owned(),
            scope: Scope::new(),
            time_limit: None,
            cancel: None,
            observer: None,
        })
    }

    /// Parses and runs a script without limits, and returns its last value.
    ///
    /// # Errors
    ///
    /// Those of [`compile`](Self::compile) and [`Script::run`].
    pub fn run(&self, source: &str) -> Result<Dynamic, ScriptError> {
        self.compile("script", source)?.run()
    }
}

/// Shows what is printed as long as the budget lasts.
fn print_with(show: impl Fn(&str) + Send + Sync + 'static) -> impl Fn(&str) + Send + Sync + 'static {
    shown(show, |observer, text| observer.print(text))
}

/// The same for what is debugged.
fn debug_with(show: impl Fn(&str) + Send + Sync + 'static) -> impl Fn(&str) + Send + Sync + 'static {
    shown(show, |observer, text| observer.debug(text))
}

fn shown(
    show: impl Fn(&str) + Send + Sync + 'static,
    observe: fn(&dyn Observer, &str),
) -> impl Fn(&str) + Send + Sync + 'static {
    move |text| {
        let run = run::current();
        match run.meter.print(text.len() as u64 + 1) {
            Ok(()) => {
                show(text);
                if let Some(observer) = &run.observer {
                    observe(&**observer, text);
                }
            }
            Err(_) => steps::hurry(),
        }
    }
}

impl Default for ScriptEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ScriptEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptEngine").finish_non_exhaustive()
    }
}

/// A script that was parsed, with the limits of its run. Can be run again and again.
#[derive(Clone)]
pub struct Script<'a> {
    engine: &'a Engine,
    sandbox: &'a Sandbox,
    ast: AST,
    name: String,
    source: String,
    scope: Scope<'static>,
    time_limit: Option<Duration>,
    cancel: Option<CancelToken>,
    observer: Option<Arc<dyn Observer>>,
}

impl Script<'_> {
    /// The most time the script may run, waits for the network included. It is ended within milliseconds of that; it
    /// cannot catch it. Where the sandbox has a limit as well, the shorter one holds. Default: unlimited.
    #[must_use]
    pub fn time_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.time_limit = limit.into();
        self
    }

    /// Ends the script when the token is cancelled, also while it waits for the network.
    #[must_use]
    pub fn cancel(mut self, token: CancelToken) -> Self {
        self.cancel = Some(token);
        self
    }

    /// Listens to the runs of this script, and marks their requests. Default: nobody.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// A constant that the script sees.
    #[must_use]
    pub fn constant(mut self, name: &str, value: impl Into<Dynamic>) -> Self {
        self.scope.push_constant_dynamic(name, value.into());
        self
    }

    /// Runs the script on this thread and returns its last value.
    ///
    /// # Errors
    ///
    /// What the script did not catch, and its limits.
    pub fn run(&self) -> Result<Dynamic, ScriptError> {
        self.run_with_usage().0
    }

    /// Runs the script as [`run`](Self::run) does, and tells what it has used.
    pub fn run_with_usage(&self) -> (Result<Dynamic, ScriptError>, Usage) {
        let limits = &self.sandbox.limits;
        // All that a run leaves behind is dropped where the stack is large enough.
        on_large_stack(limits, || {
            let time_limit = [self.time_limit, limits.time].into_iter().flatten().min();
            let meter = Arc::new(Meter::new(limits.clone()));
            let running = Running::enter(time_limit, self.cancel.clone(), meter, self.observer.clone());
            let result = evaluate(self.engine, &mut self.scope.clone(), &self.ast, |error| {
                ScriptError::runtime(*error, limits, &self.name, &self.source)
            });
            (result, running.usage())
        })
    }
}

/// Runs something on a stack that bears values nested as deep as the memory budget allows.
pub(super) fn on_large_stack<T>(limits: &Limits, work: impl FnOnce() -> T) -> T {
    match limits.memory.and_then(|most| usize::try_from(most).ok()) {
        Some(most) => stacker::grow(most.saturating_mul(STACK_PER_BYTE).saturating_add(STACK), work),
        None => work(),
    }
}

/// Runs what was parsed. The language's own code, and functions that were registered, may panic: that ends this run and
/// nothing else.
pub(super) fn evaluate(
    engine: &Engine,
    scope: &mut Scope<'static>,
    ast: &AST,
    failed: impl FnOnce(Thrown) -> ScriptError,
) -> Result<Dynamic, ScriptError> {
    let result = catch_unwind(AssertUnwindSafe(|| engine.eval_ast_with_scope(scope, ast)))
        .map_err(|panic| ScriptError::panicked(&*panic))
        .and_then(|result| result.map_err(failed))
        .and_then(|value: Dynamic| match is_shallow(&value, MAX_DEPTH) {
            true => Ok(value),
            false => Err(ScriptError::too_deep()),
        });
    // What the script called may have hidden why it had to end.
    match run::current().meter.ended() {
        Some(ended) => Err(result.err().unwrap_or_else(ScriptError::placeless).because(&ended)),
        None => result,
    }
}

impl fmt::Debug for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("name", &self.name).finish_non_exhaustive()
    }
}
