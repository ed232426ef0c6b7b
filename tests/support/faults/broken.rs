//! Routes that break HTTP/1.1 on the wire: resets, early ends, framing, heads. No waiting for its own sake, no broken
//! codings.

use std::io;
use std::time::Duration;

use super::super::canned::pattern;
use super::super::responder::Responder;
use super::{Call, Route, route};

/// What a reset leaves the client to read what came before it: a reset discards what is not read yet.
const BEFORE_RESET: Duration = Duration::from_millis(30);

pub(super) const ROUTES: &[Route] = &[
    route("/reset/before-head", |_, r| reset_after(r, b"")),
    route("/reset/in-head", |_, r| reset_after(r, b"HTTP/1.1 200 OK\r\nContent-Type: text/pl")),
    route("/reset/in-body", |_, r| reset_after(r, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")),
    route("/close/before-head", |_, r| close_after(r, b"")),
    route("/close/in-head", |_, r| close_after(r, b"HTTP/1.1 200 OK\r\nContent-Type: text/pl")),
    route("/close/in-body", |_, r| close_after(r, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")),
    route("/close-delimited/{n}", |call, r| {
        r.announce_close();
        r.head(200, &[("Content-Type", "application/octet-stream")])?;
        r.body(&pattern(call.number(0)?))
    }),
    route("/truncated-chunk", |_, r| close_after(r, &chunked(b"5\r\nhello\r\nff\r\nthe rest is mis"))),
    route("/bad-chunk", |_, r| close_after(r, &chunked(b"5\r\nhello\r\nxyz\r\nhello\r\n0\r\n\r\n"))),
    route("/chunk-no-end", |_, r| close_after(r, &chunked(b"5\r\nhello\r\n"))),
    route("/huge-headers/{kb}", |call, r| {
        r.send(200, &[("X-Huge", &"h".repeat(call.number::<usize>(0)? * 1024))], b"huge\n")
    }),
    route("/many-headers/{n}", |call, r| {
        let fields: String = (0..call.number::<u32>(0)?).map(|index| format!("X-Many-{index}: {index}\r\n")).collect();
        r.raw(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\nmany\n").as_bytes())
    }),
    route("/1xx/{n}", |call, r| {
        for _ in 0..call.number::<u32>(0)? {
            r.interim(103, &[("Link", "</style.css>; rel=preload")])?;
        }
        r.text(200, "at last\n")
    }),
    route("/content-length/twenty-nines", |_, r| {
        close_after(r, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nonly this", "9".repeat(20)).as_bytes())
    }),
    route("/content-length/and-chunked", |_, r| {
        close_after(
            r,
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
    }),
    route("/content-length/twice-different", |_, r| {
        close_after(r, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 3\r\n\r\nhello")
    }),
    route("/content-length/twice-same", |_, r| {
        close_after(r, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello")
    }),
    route("/content-length/negative", |_, r| close_after(r, b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello")),
    route("/http09", |_, r| close_after(r, b"a body and no head at all\n")),
    route("/bad-status-line", |_, r| close_after(r, b"HTTP/1.1 abc Good\r\nContent-Length: 5\r\n\r\nhello")),
    route("/nul-in-header", |_, r| close_after(r, b"HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: 5\r\n\r\nhello")),
    route("/not-utf8-header", |_, r| r.raw(b"HTTP/1.1 200 OK\r\nX-Bytes: \xe4\xf6\r\nContent-Length: 5\r\n\r\nhello")),
    route("/no-colon", |_, r| {
        close_after(r, b"HTTP/1.1 200 OK\r\nno colon in this line\r\nContent-Length: 5\r\n\r\nhello")
    }),
    route("/folded-header", |_, r| {
        r.raw(b"HTTP/1.1 200 OK\r\nX-Folded: first\r\n  second\r\nContent-Length: 5\r\n\r\nhello")
    }),
];

fn reset_after(r: &mut Responder<'_>, sent: &[u8]) -> io::Result<()> {
    r.raw(sent)?;
    r.reset();
    if sent.is_empty() { Ok(()) } else { r.sleep(BEFORE_RESET) }
}

fn close_after(r: &mut Responder<'_>, sent: &[u8]) -> io::Result<()> {
    r.close();
    r.raw(sent)
}

fn chunked(body: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body].concat()
}
