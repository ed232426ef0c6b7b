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
//! # In a script
//!
//! | call | meaning |
//! |---|---|
//! | `http_get(url)`, `http_head(url)`, `http_delete(url)` | a request without a body |
//! | `http_post(url, body)`, `http_put(url, body)`, `http_patch(url, body)` | a request with one |
//! | each of them with a map as last argument | options, as for `http_request` |
//! | `http_request(#{method, url, headers, query, body \| json \| form, timeout, auth, redirects, max_size})` | any request |
//! | `http_get_async(url)` and a twin of each of the others | the same, started and not waited for: a promise |
//! | `http_all(items)` | waits for all; the replies in order, or the first failure, which cancels the rest |
//! | `http_settle(items)` | waits for all; maps `#{ok: true, value}` or `#{ok: false, error}` |
//! | `http_race(items)` | the first reply; the others are cancelled. Failures count only if all fail |
//! | `http_each(items, limit, \|item\| request)` | calls the function for each item, with no more than `limit` requests at once |
//! | `http_settle(items, limit, \|item\| request)` | the same, with a map for each as above: one that fails does not end the others |
//! | `http_lines(url)`, `http_chunks(url)`, `http_events(url)`, also with options | a body to loop over while it comes |
//! | `ws_connect(url)`, also with options | a WebSocket |
//! | `graphql(url, query)`, also with variables, and options | the data of a GraphQL query |
//! | `http::api(#{base_url, resources, …})`, or a file or URL that says so | an API, with a method for each operation |
//! | `http::openapi(document)`, a map, a file or a URL, also with options | the same for a document of OpenAPI 3 |
//! | `http::client(#{base_url, headers, auth, timeout, retries, redirects, max_size, proxy, user_agent, cookies})` | a client |
//!
//! A body may be a string, a blob, or a map or array, which is sent as JSON. `timeout` is in seconds (default 30) and
//! covers the whole request; `auth` is `#{user, password}` or `#{bearer}`; `redirects` is the number followed (default
//! 10); `max_size` bounds the response's body in bytes (default 64 MiB).
//!
//! The items are promises, URLs or maps as for `http_request`; where there is a function, they are anything, or a range.
//! A promise has `ready`, `wait()`, which gives the reply or throws the failure, `wait(milliseconds)`, which gives `()` if there is none by then,
//! and `cancel()`. Promises go on whenever the script waits for anything, and now and then while it computes; what is
//! still under way when it ends is cancelled.
//!
//! `for line in http_lines(url)` gives strings, `http_chunks` blobs, and `http_events` the maps `#{kind, data, id}` of
//! server-sent events, for which it connects again by itself. A slow loop slows the server, leaving the loop ends the
//! transfer, and `timeout` is the time until the response begins. A status other than of success is thrown. `next()` gives
//! the next piece outside of a loop, or `()` at the end; `next(milliseconds)` gives `()` also when none came by then, and
//! `open` tells one from the other. `close()` ends it.
//!
//! A WebSocket has `send(message)`, where maps and arrays are sent as JSON, `recv()`, which gives a string, a blob, or `()`
//! at the end, `recv(milliseconds)`, which gives `()` also when nothing came, `open`, `close()` and `close(code, reason)`. A
//! loop over it gives the messages to the end.
//!
//! A client has methods `get`, `post` and so on, and their twins, that take a path below its `base_url`. It keeps cookies
//! (unless `cookies` is `false`) and connections of its own, and asks no other origin than that of its base; its headers
//! do not follow redirects elsewhere. All functions are in the module `http` as well, as in `http::get(url)`.
//!
//! `graphql` gives the `data` of the response. Its errors are thrown as a map of the kind `graphql`, with the first one's
//! `message`, all `errors`, and the `data` that came beside them. The option `operation_name` chooses one of several
//! operations; the others are those of requests. Clients have it as a method, and all forms have a twin `graphql_async`.
//!
//! # APIs
//!
//! ```
//! # use marmot::script::ScriptEngine;
//! # let script = r##"
//! let shop = http::api(#{
//!     base_url: "https://shop.example/v1",
//!     auth: #{ bearer: "t0ken" },
//!     resources: #{
//!         pets: #{
//!             get: "GET /pets/{id}",
//!             create: "POST /pets",
//!             list: #{ path: "/pets", params: #{ limit: #{ type: "integer", "default": 20, maximum: 100 } } },
//!         },
//!     },
//! });
//! # if false {
//! let pet = shop.pets.get(7);
//! let same = shop.pets.get(#{ id: 7 });
//! let added = shop.pets.create_async(#{ name: "Edda" }).wait();
//! # }
//! print(shop.help());
//! # "##;
//! # ScriptEngine::new().run(script)?;
//! # Ok::<(), marmot::script::ScriptError>(())
//! ```
//!
//! Besides `resources` and a `description`, `http::api` takes the options of `http::client`; a file may be TOML, JSON or
//! YAML. Resources nest. An operation is a method and a path, or a map
//! `#{method, path, params, body, result, description}`. A method of the object takes a map of parameters, or a single
//! value for the only one of the path, or for the body if the path has none; each has a twin `_async`. Everything is checked
//! before anything is sent. The result is the JSON of the response, `()` if it is empty, or by `result` its `"text"` or the
//! `"response"` itself; a status of 400 and above is thrown as by `raise()`, with the response's body as `body`.
//!
//! Without `params`, names that are not in the path go into the query for GET, HEAD and DELETE, else into a JSON body, or
//! into the query if the body is given whole, as `body`. With `params`, each has some of `"in"` (`"path"`, `"query"`,
//! `"header"`), `type`, `required`, `"default"`, `enum`, `minimum`, `maximum`, `pattern`, `items`, `explode` and
//! `description`, with the meaning of JSON Schema and OpenAPI (`in` and `default` are words of the language, thus quoted);
//! `body`, which is `true`, `"json"` or `"form"`, says that other names go there. A value in a path never leads elsewhere.
//!
//! `http::openapi` takes the options of `http::client` too; without a `base_url` the document's first server is asked.
//! Methods are named by `operationId`, with `_` for what a name cannot hold, or else as in `get_pets_id`. Parameters and
//! fields of the body are given side by side. A name of both is the parameter; then the body is given whole, as `body`, as
//! is one that is not a map. `auth` may be `#{api_key}` as well, which goes where the document says (in a query it is seen in the
//! URLs of errors), or `#{api_key: #{name: key}}` if there are several. What comes is JSON, text or a blob, by its type.
//! Not known are the documents' cookies, multipart bodies, references to other documents, and servers of single paths.
//!
//! A response has `status`, `ok`, `url`, `version`, `headers`, `links`, `retry_after`, `timings`, and `text()`, `json()`,
//! `blob()`, `raise()`. Its `headers` are looked up without regard to case; `headers.get_all(name)` gives repeated ones.
//! `links.next` is where a `Link` header of that relation leads, and `retry_after` the seconds that the server asks to wait;
//! both are `()` where it says nothing. A status of 400 and above is a response; `raise()` throws it. Everything else that
//! goes wrong is thrown as a map `#{kind, message, url, status, line}`, where `kind` is the name of an [`ErrorKind`](crate::ErrorKind).
//!
//! `parse_json(text)` and `to_json(value)` convert without loss what both sides can hold: integers of 64 signed bits stay
//! integers, those of 64 unsigned bits beyond them become decimals, larger ones floats. `sleep(seconds)` obeys the
//! script's time limit.
//!
//! - `engine`: the engine and its scripts. `session`: inputs one after another. `check`: scripts looked at, not run;
//!   `contents`: what they define and call.
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
mod openapi;
mod operation;
mod path;
mod promise;
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
#[cfg(feature = "stripe")]
pub(crate) use self::reply::Reply;
pub use self::sandbox::Sandbox;
pub use self::session::Session;
pub use crate::client::CancelToken;
pub use crate::ffi::allocator::MeteredAllocator;
/// The script language's own crate, for values and engines of your own.
pub use rhai;
