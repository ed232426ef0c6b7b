//! The engine: Rhai with the functions of this crate, and scripts that run with limits. Sends nothing itself.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rhai::packages::{Package, StandardPackage};
use rhai::{AST, Dynamic, Engine, Scope};

use super::client::Client;
use super::failure::ScriptError;
use super::http;
use super::run::{self, Running};
use crate::client::{CancelToken, HttpClient};
use crate::handler::Metrics;

/// One request that a script has made, for [`ScriptEngine::with_trace`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestTrace {
    /// The method.
    pub method: String,
    /// The URL that was asked, without credentials.
    pub url: String,
    /// The URL that answered, without credentials, where redirects led elsewhere.
    pub redirected_to: Option<String>,
    /// The status of the response, or why there is none.
    pub result: Result<u16, String>,
    /// How the time was spent; of a failed request, nothing.
    pub metrics: Option<Metrics>,
    /// Bytes of the body that the script got, after decompression.
    pub bytes: u64,
}

/// Who hears of requests.
pub(super) type Listener = Arc<dyn Fn(&RequestTrace) + Send + Sync>;

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
    #[cfg(feature = "stripe")]
    client: Client,
}

impl ScriptEngine {
    /// An engine whose scripts use the shared default client.
    pub fn new() -> Self {
        Self::with_client(HttpClient::shared().clone())
    }

    /// An engine whose scripts use this client, with its settings where a script names none.
    pub fn with_client(client: HttpClient) -> Self {
        Self::build(&Client::new(client))
    }

    /// As [`with_client`](Self::with_client), and calls `trace` after each request of a script.
    pub fn with_trace(client: HttpClient, trace: impl Fn(&RequestTrace) + Send + Sync + 'static) -> Self {
        Self::build(&Client::with(client, Some(Arc::new(trace))))
    }

    fn build(client: &Client) -> Self {
        // Without the default module resolver, which reads files.
        let mut engine = Engine::new_raw();
        StandardPackage::new().register_into_engine(&mut engine);
        engine.register_global_module(http::module(client).into());
        engine.register_static_module("http", http::namespace(client).into());
        engine.on_progress(run::progress);
        engine.set_max_call_levels(128);
        Self {
            engine,
            #[cfg(feature = "stripe")]
            client: client.clone(),
        }
    }

    /// What scripts `print`. Default: nothing is shown.
    #[must_use]
    pub fn on_print(mut self, print: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.engine.on_print(print);
        self
    }

    /// What scripts `debug`, with the place. Default: nothing is shown.
    #[must_use]
    pub fn on_debug(mut self, debug: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.engine.on_debug(move |text, _source, at| debug(&format!("{at:?}: {text}")));
        self
    }

    /// The engine itself, to register functions of your own.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// What the scripts' requests are made with.
    #[cfg(feature = "stripe")]
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Parses a script. The name is shown in errors.
    ///
    /// # Errors
    ///
    /// [`ScriptErrorKind::Parse`](super::ScriptErrorKind::Parse), with the place.
    pub fn compile(&self, name: &str, source: &str) -> Result<Script<'_>, ScriptError> {
        let ast = self.engine.compile(source).map_err(|error| ScriptError::parse(&error, name, source))?;
        Ok(Script {
            engine: &self.engine,
            ast,
            name: name.to_owned(),
            source: source.to_owned(),
            scope: Scope::new(),
            time_limit: None,
            cancel: None,
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
    ast: AST,
    name: String,
    source: String,
    scope: Scope<'static>,
    time_limit: Option<Duration>,
    cancel: Option<CancelToken>,
}

impl Script<'_> {
    /// The most time the script may run, waits for the network included. It is ended within milliseconds of that; it
    /// cannot catch it. Default: unlimited.
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
        let _running = Running::enter(self.time_limit, self.cancel.clone());
        let mut scope = self.scope.clone();
        // The language's own code, and functions that were registered, may panic: that ends this run and nothing else.
        catch_unwind(AssertUnwindSafe(|| self.engine.eval_ast_with_scope(&mut scope, &self.ast)))
            .map_err(|panic| ScriptError::panicked(&*panic))?
            .map_err(|error| ScriptError::runtime(*error, &self.name, &self.source))
    }
}

impl fmt::Debug for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("name", &self.name).finish_non_exhaustive()
    }
}
