//! An engine is configured. Runs nothing.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::client::Client;
use super::engine::ScriptEngine;
use super::host::{DownloadProgress, Host, RequestTrace};
use super::modules::Folder;
use super::sandbox::Sandbox;
use super::secret::Kept;
use crate::client::HttpClient;
use crate::config::Configurable;
use crate::error::{Error, ErrorKind};
use crate::ffi::allocator;

/// Configures a [`ScriptEngine`].
///
/// # Examples
///
/// ```no_run
/// use marmot::script::{Sandbox, ScriptEngine};
///
/// let engine = ScriptEngine::builder()
///     .sandbox(Sandbox::open().hosts(["api.example.org"]))
///     .secret_from_env("API_KEY", ["api.example.org"])
///     .on_request(|trace| eprintln!("{} {}", trace.method, trace.url))
///     .build()?;
/// engine.run(r#"http_get("https://api.example.org/", #{ auth: #{ bearer: secret("API_KEY") } }).raise()"#)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until it is built"]
#[derive(Default)]
pub struct ScriptEngineBuilder {
    client: Option<HttpClient>,
    host: Host,
    modules: Option<PathBuf>,
    invalid: Option<String>,
}

impl ScriptEngineBuilder {
    /// The client of the scripts, with its settings where a script names none. Default: the shared one.
    pub fn client(mut self, client: HttpClient) -> Self {
        self.client = Some(client);
        self
    }

    /// What scripts may do, and how much of it. Default: requests to any host, no files, no variables, no budgets.
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.host.sandbox = sandbox;
        self
    }

    /// A value that scripts get by `secret(name)` and can send to these hosts only, in a header or a field of a body; they
    /// cannot look at it. Hosts are written as for [`Sandbox::hosts`]; without a scheme, the secret goes over TLS only.
    pub fn secret(
        mut self,
        name: &str,
        text: impl Into<String>,
        hosts: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        match Kept::new(name, text.into(), hosts.into_iter().map(Into::into).collect()) {
            Ok(kept) => self.host.secrets.push(kept),
            Err(detail) => drop(self.invalid.get_or_insert(detail)),
        }
        self
    }

    /// The same, with the value of the environment variable of that name.
    pub fn secret_from_env(mut self, name: &str, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        match std::env::var(name) {
            Ok(text) => self.secret(name, text, hosts),
            Err(error) => {
                self.invalid.get_or_insert_with(|| format!("the secret `{name}`: {error}"));
                self
            }
        }
    }

    /// What `env(name)` answers in a script, as far as the sandbox allows the name. Default: nothing.
    pub fn variables(mut self, variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.host.variables = Some(Arc::new(variables));
        self
    }

    /// The folder of the modules that scripts can `import`: `import "a/b" as b` is the file `a/b.rhai` below it. Default:
    /// there are none.
    pub fn modules(mut self, folder: impl Into<PathBuf>) -> Self {
        self.modules = Some(folder.into());
        self
    }

    /// What is called after each request of a script.
    pub fn on_request(mut self, listener: impl Fn(&RequestTrace) + Send + Sync + 'static) -> Self {
        self.host.listener = Some(Arc::new(listener));
        self
    }

    /// What is called while a script downloads a file: for each chunk, so it should be quick.
    pub fn on_download(mut self, watcher: impl Fn(&DownloadProgress) + Send + Sync + 'static) -> Self {
        self.host.watcher = Some(Arc::new(watcher));
        self
    }

    /// What runs the futures of [asynchronous functions](ScriptEngine::register_async), for those that need a runtime:
    /// `move |future| drop(handle.spawn(future))` with a handle of tokio. Default: the thread of the script itself, while
    /// it waits.
    pub fn executor(mut self, spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        self.host.executor = Some(Arc::new(spawn));
        self
    }

    /// The engine.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] for a host, an address, a secret or a folder that is not valid, and for a memory
    /// budget in a program without the [`MeteredAllocator`](super::MeteredAllocator).
    pub fn build(self) -> Result<ScriptEngine, Error> {
        let invalid = |detail: String| Error::new(ErrorKind::InvalidConfiguration).with_detail(detail);
        if let Some(detail) = self.invalid {
            return Err(invalid(detail));
        }
        if self.host.sandbox.limits.memory.is_some() && !allocator::is_installed() {
            return Err(invalid(
                "a memory budget needs `#[global_allocator] static ALLOCATOR: marmot::script::MeteredAllocator = \
                 marmot::script::MeteredAllocator::system();` in the program; without it, say `.max_memory(None)`"
                    .into(),
            ));
        }
        let folder = self.modules.map(|path| Folder::new(&path)).transpose().map_err(invalid)?;
        let client = self.client.unwrap_or_else(|| HttpClient::shared().clone());
        let client = match self.host.sandbox.egress() {
            Some(policy) => client.to_builder().egress(policy).build()?,
            None => client,
        };
        Ok(ScriptEngine::assemble(&Client::new(client, Arc::new(self.host)), folder))
    }
}

impl fmt::Debug for ScriptEngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptEngineBuilder").field("host", &self.host).field("modules", &self.modules).finish()
    }
}
