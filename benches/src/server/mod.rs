//! The server of the benches, in a process of its own: plain HTTP/1.1 by hand, TLS and HTTP/2 by hyper. Only GET and POST,
//! and no leniency: what it does not know fails the peer's run.
//!
//! - `GET /small` answers [`SMALL`].
//! - `GET /stream/{bytes}` answers that many bytes.
//! - `GET /wait/{milliseconds}` answers [`SMALL`], so much later. Plain only.
//! - `POST /upload` reads a body of known length, throws it away and answers how long it was. Plain only.
//!
//! `process`: the client's side of it. `plain`, `tls`: the two servers.

mod plain;
mod process;
mod tls;

use std::io;
use std::net::TcpListener;

use serde::{Deserialize, Serialize};

pub use self::process::Server;

/// The body of `/small`.
pub const SMALL: &str =
    "A marmot sleeps for half of the year; a client should wake up for a request a good deal faster, then.\n";

/// What a program that is started as the server is called with.
pub const FLAG: &str = "--serve";

/// How much is written with one call in bulk.
const BLOCK: usize = 256 << 10;

/// The first line of output: where the server is found, and whom to trust.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    plain: u16,
    tls: u16,
    /// In PEM form.
    certificate: String,
}

/// Serves until standard input ends, which it does at the latest when the parent dies.
pub fn serve() -> io::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let plain = TcpListener::bind(("127.0.0.1", 0))?;
    let (tls, certificate) = tls::start()?;
    let greeting = Greeting { plain: plain.local_addr()?.port(), tls, certificate };
    println!("{}", serde_json::to_string(&greeting)?);
    plain::serve(plain)
}

fn stream_length(path: &str) -> Option<u64> {
    path.strip_prefix("/stream/")?.parse().ok().filter(|&bytes| bytes > 0)
}
