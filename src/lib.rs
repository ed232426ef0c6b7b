//! An HTTP client on libcurl's multi interface: async *and* blocking without a runtime, and scriptable in Rhai.
//!
//! ```text
//!  send(), send_async(), drive(), http_get() in a script
//!      │ a request, and the handler that will hear of it
//!      ▼
//!  easy handle ──channel──► agent: one curl multi handle, many transfers
//!                               │ libcurl's callbacks
//!                               ▼
//!                           Handler: a state machine, answers Next
//!                               │ head, chunks, end
//!                               ▼
//!                           a future completes; the body streams, bounded
//! ```
//!
//! Blocking:
//!
//! ```no_run
//! use marmot::prelude::*;
//!
//! let mut response = marmot::get("https://example.org/")?;
//! println!("{} {}", response.status(), response.text()?);
//! # Ok::<(), marmot::Error>(())
//! ```
//!
//! Asynchronous, under any executor:
//!
//! ```no_run
//! use marmot::prelude::*;
//!
//! # async fn example() -> Result<(), marmot::Error> {
//! let client = HttpClient::new()?;
//! let mut response = client.post_async("https://example.org/", "hello").await?;
//! let bytes = response.bytes().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Every family of features has a page in the [`guide`], those who come from isahc or reqwest included.
//!
//! Forms with files: [`multipart`]. Server-sent events: [`HttpClient::events`]. Your own state machine about a transfer:
//! [`handler`]. Scripts: the module `script` (feature `script`).
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `static-curl` | yes | builds the libcurl of curl-sys instead of looking for one on the system |
//! | `http2` | yes | HTTP/2 |
//! | `rustls` | yes | TLS by rustls, with the platform's certificates |
//! | `openssl` | no | TLS by OpenSSL; where `rustls` is on as well, rustls is used |
//! | `bundled-roots` | no | Mozilla's certificate authorities, to be used instead of the platform's |
//! | `gzip`, `brotli`, `zstd` | yes | automatic decompression of these codings (`gzip` includes deflate) |
//! | `json` | yes | `json()` on responses and on requests |
//! | `text-decoding` | yes | charsets other than UTF-8 |
//! | `psl` | yes | the public suffix list: no cookie for `co.uk` |
//! | `record` | no | requests recorded and replayed (module `cassette`) and exported as HAR (module `har`) |
//! | `tower` | no | the client as a `tower` service (module `tower`) |
//! | `script` | no | scripts in Rhai |
//! | `stripe` | no | payments by Stripe, in scripts and in Rust (module `stripe`) |
//! | `tracing` | no | a span for each request |
//! | `queue` | no | jobs that wait for workers (module `queue`) |
//! | `redis` | no | jobs that processes share, in Redis (type `queue::RedisQueue`) |
//! | `worker` | no | what runs jobs' scripts (module `worker`) |
//! | `server` | no | the service: JSON-RPC, webhooks, the console (module `server`) |
//! | `cli` | no | the `marmot` command |

#![warn(clippy::print_stdout, clippy::print_stderr)]

#[cfg(target_family = "wasm")]
compile_error!(
    "marmot is built on libcurl, threads and sockets, which WebAssembly does not have: use the host's fetch"
);

// In layer order: a module uses only what stands above it. `tests/tidy.rs` holds this.
mod port;
#[cfg(any(feature = "stripe", feature = "queue"))]
mod hex;
mod secret;
pub mod error;
mod head;
pub mod cookies;
#[allow(unsafe_code, reason = "the one place for what the curl crate cannot express")]
pub(crate) mod ffi;
mod body;
pub mod config;
pub mod handler;
mod easy;
mod agent;
mod client;
#[cfg(feature = "script")]
pub mod script;
#[cfg(feature = "stripe")]
pub mod stripe;
#[cfg(any(feature = "worker", feature = "server"))]
pub mod telemetry;
#[cfg(feature = "queue")]
pub mod queue;
#[cfg(feature = "worker")]
pub mod worker;
#[cfg(feature = "server")]
pub mod server;
#[cfg(doc)]
pub mod guide;

#[cfg(any(feature = "gzip", feature = "zstd"))]
pub use body::ContentCoding;
pub use body::{AsyncBody, Body};
#[cfg(feature = "tower")]
pub use client::tower;
pub use client::{
    AltSvcCache, AsyncReadResponseExt, BlockingEvents, CancelToken, Download, Downloaded, Driving, Event, EventStream,
    HstsCache, HttpClient, HttpClientBuilder, ReadResponseExt, Redirected, RequestBuilderExt, RequestExt, ResponseExt,
    ResponseFuture, Stats, interceptor, parse_url,
};
#[cfg(feature = "record")]
pub use client::{cassette, har};
pub use client::{delete, get, head, options, patch, post, put, send};
pub use client::{delete_async, get_async, head_async, options_async, patch_async, post_async, put_async, send_async};
pub use error::{Error, ErrorKind};
pub use handler::Metrics;
pub use http::{self, Request, Response};

/// Forms of texts, bytes, streams and files, sent as `multipart/form-data` (RFC 7578).
pub mod multipart {
    pub use crate::body::multipart::{Form, Part};
}

/// WebSockets (RFC 6455), opened by [`HttpClient::websocket`](crate::HttpClient::websocket) and its blocking twin.
pub mod websocket {
    pub use crate::client::websocket::{BlockingWebSocket, CloseFrame, Connecting, Message, Options, WebSocket};
}

/// What a program that sends requests usually needs.
pub mod prelude {
    pub use crate::client::{
        AsyncReadResponseExt, HttpClient, ReadResponseExt, RequestBuilderExt, RequestExt, ResponseExt,
    };
    pub use crate::config::Configurable;
    pub use http::Request;
}

/// The version of this crate, of the linked libcurl and its libraries, and what they can do, in a few lines.
pub fn version() -> &'static str {
    client::version()
}
