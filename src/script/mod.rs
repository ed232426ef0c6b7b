//! Scripts in Rhai that call HTTP APIs. They run on the caller's thread and wait there; transfers run on the agent's.
//!
//! [`ScriptEngine`] is an engine ready to use: the functions of [`HttpPackage`] on a client of its own choice, time
//! limits and cancelling that also end a script while it waits for the network, and errors that show the line.
//! [`ScriptEngine::check`] looks for mistakes without running anything, and a [`Session`] runs inputs one after another. An
//! engine of your own can register the package alone.
//!
//! ```
//! use marmot::script::ScriptEngine;
//!
//! let engine = ScriptEngine::new();
//! let value = engine.run("let words = [\"hay\", \"grass\"]; words.len()")?;
//! assert_eq!(value.as_int(), Ok(2));
//! # Ok::<(), marmot::script::ScriptError>(())
//! ```
//!
//! What scripts can call, each function with its options, errors and an example, is in the reference for those who write
//! them: `docs/script-reference.md`, here as [`reference`](mod@reference). `docs/marmot.d.rhai` has the same for editors.
//!
//! # Around a script
//!
//! - A [`Sandbox`] says what scripts may do, and how much of it. Without one they may ask any
//!   host, without limits, and reach no file and no variable.
//! - Secrets are given by [`ScriptEngineBuilder::secret`]: scripts send them to the hosts that they are for, and see nothing
//!   of them. What `env(name)` answers is given by [`variables`](ScriptEngineBuilder::variables), constants by
//!   [`Script::constant`].
//! - Functions of your own are registered with [`ScriptEngine::engine_mut`], asynchronous ones with
//!   [`ScriptEngine::register_async`]; payments with the module `stripe`.
//! - Who wants to see what scripts do listens: [`on_request`](ScriptEngineBuilder::on_request),
//!   [`on_download`](ScriptEngineBuilder::on_download), [`ScriptEngine::on_print`]; to one run, an [`Observer`].
//! - What a script has not caught is a [`ScriptError`]; its [`value`](ScriptError::value) is what was thrown.
//!
//! # Files
//!
//! - `engine`: the engine and its scripts. `session`: inputs one after another. `check`: scripts looked at, not run;
//!   `contents`: what they define and call.
//! - `observer`: who listens to one run and marks its requests.
//! - `run`: a running script, its limits; `steps`: what is counted at each operation; `tasks`: what it has under way.
//! - `http`: the package. `client`: clients, and how a request is made. `promise`: requests that are waited for later.
//! - `stream`: bodies that are read piece by piece. `websocket`: WebSockets.
//! - `graphql`: GraphQL. `api`: APIs as scripts describe them. `openapi`: those of documents, which `document` reads.
//! - `source`: where descriptions come from. `yaml`: YAML to JSON.
//! - `operation`, `rules`, `path`: what an operation takes. `answer`: what it gives. `object`: the object of an API.
//! - `spec`: a request as a script describes it. `reply`: a response, `links` where it leads. `value`: values to JSON and back.
//! - `failure`: errors on their way into and out of a script.

mod answer;
mod api;
mod builder;
mod check;
mod client;
mod contents;
mod document;
mod download;
mod engine;
pub(crate) mod failure;
mod graphql;
mod guard;
mod host;
mod http;
mod links;
mod meter;
mod modules;
mod native;
mod object;
pub(crate) mod observer;
mod openapi;
mod operation;
mod path;
mod promise;
#[cfg(doc)]
pub mod reference;
mod reply;
mod rules;
pub(crate) mod run;
mod sandbox;
pub(crate) mod secret;
mod session;
mod source;
pub(crate) mod spec;
mod steps;
mod stream;
mod tasks;
pub(crate) mod value;
mod websocket;
mod yaml;

use rhai::{EvalAltResult, FnNamespace, FuncRegistration};

pub(crate) type Thrown = Box<EvalAltResult>;

/// Where a function is found.
#[derive(Clone, Copy)]
pub(crate) enum Space {
    /// By its name: helpers, and methods of our types.
    Plain,
    /// By its name, with `http_` before it.
    Global,
    /// In the module `http`.
    Http,
}

impl Space {
    /// A function that may be called on constants, and whose result is never folded away.
    pub(crate) fn function(self, name: &str) -> FuncRegistration {
        let (name, namespace) = match self {
            Self::Plain => (name.to_owned(), FnNamespace::Global),
            Self::Global => (format!("http_{name}"), FnNamespace::Global),
            Self::Http => (name.to_owned(), FnNamespace::Internal),
        };
        FuncRegistration::new(name).with_namespace(namespace).with_purity(true).with_volatility(true)
    }
}

pub use self::builder::ScriptEngineBuilder;
pub use self::check::{Finding, Severity};
#[cfg(feature = "stripe")]
pub(crate) use self::client::Client;
pub use self::engine::{Script, ScriptEngine};
pub use self::failure::{ScriptError, ScriptErrorKind};
pub use self::host::{DownloadProgress, RequestTrace};
pub use self::http::{HttpPackage, http_module};
pub use self::meter::{Budget, Usage};
pub use self::native::AsyncFunction;
pub use self::observer::{Observer, Write};
#[cfg(feature = "stripe")]
pub(crate) use self::reply::Reply;
pub use self::sandbox::Sandbox;
pub use self::session::Session;
pub use crate::client::CancelToken;
pub use crate::ffi::allocator::MeteredAllocator;
/// The script language's own crate, for values and engines of your own.
pub use rhai;
