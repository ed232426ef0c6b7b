//! Scripts in Rhai that call HTTP APIs. They run on the caller's thread and wait there; transfers run on the agent's.
//!
//! [`ScriptEngine`] is an engine ready to use: the functions of [`HttpPackage`] on a client of its own choice, time
//! limits and cancelling that also end a script while it waits for the network, and errors that show the line. An engine
//! of your own can register the package alone.
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
//! # In a script
//!
//! | call | meaning |
//! |---|---|
//! | `http_get(url)`, `http_head(url)`, `http_delete(url)` | a request without a body |
//! | `http_post(url, body)`, `http_put(url, body)`, `http_patch(url, body)` | a request with one |
//! | each of them with a map as last argument | options, as for `http_request` |
//! | `http_request(#{method, url, headers, query, body \| json \| form, timeout, auth, redirects, max_size})` | any request |
//!
//! A body may be a string, a blob, or a map or array, which is sent as JSON. `timeout` is in seconds (default 30) and
//! covers the whole request; `auth` is `#{user, password}` or `#{bearer}`; `redirects` is the number followed (default
//! 10); `max_size` bounds the response's body in bytes (default 64 MiB).
//!
//! A response has `status`, `ok`, `url`, `version`, `headers`, `timings`, and `text()`, `json()`, `blob()`, `raise()`.
//! Its `headers` are looked up without regard to case; `headers.get_all(name)` gives repeated ones. A status of 400 and
//! above is a response; `raise()` throws it. Everything else that goes wrong is thrown as a map
//! `#{kind, message, url, status, line}`, where `kind` is the name of an [`ErrorKind`](crate::ErrorKind).
//!
//! `parse_json(text)` and `to_json(value)` convert without loss what both sides can hold: integers of 64 signed bits stay
//! integers, those of 64 unsigned bits beyond them become decimals, larger ones floats. `sleep(seconds)` obeys the
//! script's time limit.
//!
//! - `engine`: the engine and its scripts. `run`: the limits of a running script. `http`: the package.
//! - `value`: values to JSON and back. `failure`: errors on their way into and out of a script.

mod engine;
mod failure;
mod http;
mod run;
mod value;

pub use self::engine::{RequestTrace, Script, ScriptEngine};
pub use self::failure::{ScriptError, ScriptErrorKind};
pub use self::http::{HttpPackage, http_module};
pub use crate::client::CancelToken;
/// The script language's own crate, for values and engines of your own.
pub use rhai;
