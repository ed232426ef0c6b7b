//! The loopback servers of the integration tests and benches. No test is in here, no client, and nothing listens
//! on an address other than 127.0.0.1.
//!
//! Servers, from the most to the least scripted:
//!
//! - [`Server`]: HTTP/1.1, one thread per connection. A closure answers; every request is recorded.
//!   [`Server::faults`] is one with ready routes, good and bad: the table is at the head of `faults/mod.rs`.
//! - [`RawServer`]: one thread per connection and no protocol at all, for faults below HTTP.
//! - [`Canned`]: one thread for all connections and pre-rendered answers, for benches and tests of scale.
//!   `canned/` depends on no other file of this folder, so the benches may include it alone.
//! - `stripe::Stripe` (feature `stripe`): a fake of Stripe that keeps what is created, and has faults on demand.
//!   [`StandIn`]: fakes of Stripe that others have made, where they are installed.
//! - `marmot::Marmot` (feature `cli`): `marmot serve` as a process, with clients for it.
//! - `service::Service` (feature `cli`): a small API that keeps what it is given, for the example scripts.
//! - `pets` (feature `stripe`): the server of the examples in `docs/script-reference.md`, which `reference` reads.
//! - `webdriver::Browser` (feature `server`): no server, but a real browser that visits them.
//! - [`Nginx`]: a real nginx for TLS and HTTP/2, with certificates of our own authority, good and bad.
//! - `redis` (feature `redis`): real Redis servers, alone or as a cluster.
//! - [`Tinyproxy`], [`Squid`], [`Danted`]: real proxies. [`Socks`]: one of our own that tells what it was asked.
//!
//! Ports are chosen by the system; [`free_port`] is one at which nobody listens. Each server stops when it is dropped,
//! closes its connections and joins its threads, so keep it in a variable and not in a `static`. Tests await events
//! (`wait_for_requests`, `wait_open`, `wait_for_close`) rather than sleep.
//!
//! ```ignore
//! let server = Server::start(|request, responder| responder.text(200, &request.target));
//! let body = client.get(server.url("/hello"));
//! assert_eq!(server.requests()[0].header("accept"), Some("*/*"));
//! ```
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "the same files serve test binaries and benches")]

pub mod canned;
mod certs;
pub mod faults;
mod nginx;
#[cfg(feature = "cli")]
pub mod marmot;
#[cfg(feature = "stripe")]
pub mod pets;
mod ports;
mod program;
mod proxies;
mod raw;
#[cfg(feature = "redis")]
pub mod redis;
pub mod reference;
mod request;
mod responder;
mod server;
#[cfg(feature = "cli")]
pub mod service;
mod socks;
#[cfg(feature = "stripe")]
pub mod stripe;
mod watched;
mod standin;
#[cfg(feature = "server")]
pub mod webdriver;
pub mod websocket;

#[cfg(target_os = "linux")]
pub use canned::sys::low_water_mark;
pub use canned::sys::raise_descriptor_limit;
pub use canned::{Canned, pattern};
pub use certs::{Authority, BadCert, Leaf};
pub use nginx::Nginx;
pub use ports::free_port;
pub use proxies::{Danted, Squid, Tinyproxy};
pub use raw::{Conn, RawServer, Stop};
pub use request::{BodyState, Request, base64, parse_query, percent_decode};
pub use responder::Responder;
pub use server::{BodyMode, ClientClose, Server};
pub use socks::{Asked, Socks};
pub use standin::{StandIn, installed};
