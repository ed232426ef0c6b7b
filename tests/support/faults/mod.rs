//! The ready server: a table of routes, good and bad. Nothing in it keeps state between requests, except that a
//! connection may be told how to end.
//!
//! A route that leaves the body unread is marked `L`; every other one reads it whole before it answers.
//!
//! | route | behaviour |
//! |---|---|
//! | **plain** (`plain.rs`) | |
//! | `/get` | JSON: method, target, path, query (name to value, or to an array when repeated), headers (lower-case name to value, repeats joined by `, `) |
//! | `/anything`, `/anything/*` | the same, with `body` (text) and `body_length` |
//! | `/headers` | JSON of the headers alone |
//! | `/echo` | the request body with its Content-Type |
//! | `/status/{code}` | that status (200 to 599), `status CODE` as text |
//! | `/bytes/{n}`, `/unread/{n}` | `n` bytes of [`pattern`](super::pattern) with Content-Length |
//! | `/chunked/{n}/{size}` | the same in chunks of `size` |
//! | `/text`, `/json`, `/latin1`, `/utf16`, `/utf8-bom` | [`TEXT`] in that form and charset |
//! | `/no-content`, `/not-modified` | 204, 304 |
//! | `/trailers` | chunked, with two trailers |
//! | `/cookies/set?name=value…` | one Set-Cookie for each pair of the query |
//! | `/set-cookie-many?n=60` | so many Set-Cookie headers `many-I=I` |
//! | `/repeat-headers` | `X-Repeat` three times: first, second, third |
//! | `/basic-auth/{user}/{pass}`, `/bearer/{token}` | 200 or 401 with WWW-Authenticate |
//! | `/events/{n}` | `n` server-sent events `tick` with id and data, then the end |
//! | **expectations and early answers** (`uploads.rs`) | |
//! | `/early-response` L | 413 without reading the body; closes when the client has, at most 2 s later |
//! | `/early-response/reset` L | 413, then a reset at once |
//! | `/expect/ignored` L | never sends 100, reads the body, answers its length |
//! | `/expect/refused` L | 417 at once if 100 is expected; without it as above |
//! | `/stall-upload` L | reads 64 KiB of the body, then neither reads nor answers; the kernels take up to 5 MB in, and a client that leaves is not noticed behind them |
//! | `/slow-read-upload?rate=1048576` L | reads so many bytes a second, answers the length |
//! | `/reset/after-request-head` L | resets after 16 KiB of the body, or at once without a body |
//! | **time** (`timing.rs`) | |
//! | `/delay/{ms}` | waits before the head |
//! | `/delay-body/{ms}` | head at once, then waits before the body |
//! | `/slow-drip/{n}/{ms}` | `n` bytes, one each `ms` |
//! | `/stall-head` | never answers |
//! | `/stall/{n}` | declares `2n` bytes, sends `n`, then nothing |
//! | `/idle-events` | head of an event stream, then nothing |
//! | `/endless`, `/endless-head`, `/1xx-flood` | without end, as fast as the client reads |
//! | `/keepalive-then-close?ms=50` | answers, then closes without a word when idle for so long |
//! | `/keepalive-then-drop` | answers, then closes unanswered when the next request arrives on the connection |
//! | **broken** (`broken.rs`) | |
//! | `/reset/before-head`, `/reset/in-head`, `/reset/in-body` | a TCP reset there; what was sent has 30 ms to arrive |
//! | `/close/before-head`, `/close/in-head`, `/close/in-body` | an orderly close there |
//! | `/close-delimited/{n}` | a correct body without length that ends with the connection |
//! | `/truncated-chunk`, `/bad-chunk`, `/chunk-no-end` | closed within a chunk; a size that is no number; no last chunk |
//! | `/huge-headers/{kb}`, `/many-headers/{n}` | one header of so many KiB; so many headers |
//! | `/1xx/{n}` | `n` times 103, then 200 |
//! | `/content-length/twenty-nines`, `…/and-chunked`, `…/twice-different`, `…/twice-same`, `…/negative` | framing to refuse (`twice-same` may pass) |
//! | `/http09`, `/bad-status-line`, `/nul-in-header`, `/not-utf8-header`, `/no-colon`, `/folded-header` | heads to refuse or to survive (`X-Bytes: E4 F6`) |
//! | **codings** (`encoded.rs`) | [`encoded::plain`] in each; `?cut=N` leaves the last `N` bytes off |
//! | `/gzip`, `/deflate`, `/raw-deflate`, `/br`, `/zstd` | deflate is zlib's, raw-deflate is not |
//! | `/gzip-multi`, `/gzip-br` | two members; gzip within brotli |
//! | `/gzip-truncated`, `/gzip-corrupt`, `/gzip-trailing` | half of it; a wrong CRC; bytes after the end |
//! | `/gzip-bomb/{mib}`, `/br-bomb/{mib}`, `/zstd-bomb/{mib}` | so many MiB of zeros |
//! | `/encoding/unknown` | Content-Encoding: rot13 |
//! | **redirects** (`redirects.rs`) | |
//! | `/redirect/{n}` | `n` hops by absolute paths, then `/get` |
//! | `/redirect-to?url=…&status=302` | there |
//! | `/redirect-loop`, `/redirect-bad`, `/redirect-no-location` | to itself; to `http://[bad`; to nowhere |
//!
//! Unknown paths are 404. A number that does not parse is 400.

mod broken;
pub mod encoded;
mod json;
mod plain;
mod redirects;
mod timing;
mod uploads;

use std::io;
use std::str::FromStr;

use super::request::Request;
use super::responder::Responder;
use super::server::{BodyMode, Server};

pub use plain::TEXT;

/// One line of the table: a pattern whose `{…}` segments match anything, and what it does.
struct Route {
    pattern: &'static str,
    mode: BodyMode,
    run: Run,
}

type Run = fn(&Call<'_>, &mut Responder<'_>) -> io::Result<()>;

/// A request that matched a route, with the segments that stood for `{…}`.
struct Call<'a> {
    request: &'a Request,
    segments: Vec<&'a str>,
}

const fn route(pattern: &'static str, run: Run) -> Route {
    Route { pattern, mode: BodyMode::Read, run }
}

/// A route whose body is left to it.
const fn leave(pattern: &'static str, run: Run) -> Route {
    Route { pattern, mode: BodyMode::Leave, run }
}

impl Server {
    /// The server with the routes of the table.
    pub fn faults() -> Self {
        let mode = |request: &Request| find(request).map_or(BodyMode::Read, |(route, _)| route.mode);
        Self::start_with(mode, |request, responder| match find(request) {
            Some((route, segments)) => match (route.run)(&Call { request, segments }, responder) {
                Err(error) if error.get_ref().is_some_and(|inner| inner.is::<BadNumber>()) => {
                    responder.text(400, "a number of this path does not parse\n")
                }
                result => result,
            },
            None => responder.text(404, "no such route\n"),
        })
    }
}

fn find(request: &Request) -> Option<(&'static Route, Vec<&str>)> {
    [plain::ROUTES, uploads::ROUTES, timing::ROUTES, broken::ROUTES, encoded::ROUTES, redirects::ROUTES]
        .into_iter()
        .flatten()
        .find_map(|route| Some((route, segments(route.pattern, request.path())?)))
}

/// What the `{…}` segments match, if the path fits the pattern. A last `*` matches any rest.
fn segments<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut parts = path.split('/');
    for expected in pattern.split('/') {
        let part = parts.next();
        match expected {
            "*" => return part.map(|_| found),
            _ if expected.starts_with('{') => found.push(part.filter(|part| !part.is_empty())?),
            _ if part == Some(expected) => {}
            _ => return None,
        }
    }
    parts.next().is_none().then_some(found)
}

impl Call<'_> {
    fn segment(&self, index: usize) -> &str {
        self.segments[index]
    }

    fn number<T: FromStr>(&self, index: usize) -> io::Result<T> {
        self.segments[index].parse().map_err(|_| BadNumber.into())
    }

    /// A number of the query, or its default.
    fn option<T: FromStr>(&self, name: &str, default: T) -> io::Result<T> {
        self.request.query_value(name).map_or(Ok(default), |value| value.parse().map_err(|_| BadNumber.into()))
    }
}

/// Marks the error that becomes a 400.
#[derive(Debug)]
struct BadNumber;

impl std::fmt::Display for BadNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a number")
    }
}

impl std::error::Error for BadNumber {}

impl From<BadNumber> for io::Error {
    fn from(error: BadNumber) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
