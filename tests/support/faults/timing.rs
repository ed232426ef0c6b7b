//! Routes that are late, slow, silent or without end. None sleeps past a client that closed or a server that stops.

use std::io;
use std::time::Duration;

use super::super::canned::pattern;
use super::super::responder::Responder;
use super::{Call, Route, route};

pub(super) const ROUTES: &[Route] = &[
    route("/delay/{ms}", |call, r| {
        r.sleep(milliseconds(call, 0)?)?;
        r.text(200, "late\n")
    }),
    route("/delay-body/{ms}", |call, r| {
        let wait = milliseconds(call, 0)?;
        r.head(200, &[("Content-Type", "text/plain"), ("Content-Length", "5")])?;
        r.sleep(wait)?;
        r.body(b"late\n")
    }),
    route("/slow-drip/{n}/{ms}", drip),
    route("/stall-head", |_, r| r.stall()),
    route("/stall/{n}", |call, r| {
        let sent = pattern(call.number(0)?);
        r.head(200, &[("Content-Length", &(2 * sent.len()).to_string())])?;
        r.body(&sent)?;
        r.stall()
    }),
    route("/idle-events", |_, r| {
        r.start_chunked(200, &[("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")])?;
        r.stall()
    }),
    route("/endless", |call, r| {
        let chunk = pattern(64 * 1024);
        r.start_chunked(200, &[("Content-Type", "application/octet-stream")])?;
        // Chunks of an answer to HEAD go nowhere: no write would ever fail.
        if call.request.method == "HEAD" { Ok(()) } else { repeat(r, |r| r.chunk(&chunk)) }
    }),
    route("/endless-head", |_, r| {
        r.raw(b"HTTP/1.1 200 OK\r\n")?;
        let fields = "X-Endless: and another one\r\n".repeat(64);
        repeat(r, |r| r.raw(fields.as_bytes()))
    }),
    route("/1xx-flood", |_, r| repeat(r, |r| r.interim(103, &[("Link", "</style.css>; rel=preload")]))),
    route("/keepalive-then-close", |call, r| {
        r.close_when_idle(Duration::from_millis(call.option("ms", 50)?));
        r.text(200, "soon gone\n")
    }),
    route("/keepalive-then-drop", |_, r| {
        r.drop_next();
        r.text(200, "the next one is lost\n")
    }),
];

fn milliseconds(call: &Call<'_>, index: usize) -> io::Result<Duration> {
    call.number(index).map(Duration::from_millis)
}

fn drip(call: &Call<'_>, r: &mut Responder<'_>) -> io::Result<()> {
    let (body, wait) = (pattern(call.number(0)?), milliseconds(call, 1)?);
    r.head(200, &[("Content-Length", &body.len().to_string())])?;
    for byte in body {
        r.sleep(wait)?;
        r.body(&[byte])?;
    }
    Ok(())
}

/// Writes until the client has enough: its close or ours makes a write fail.
fn repeat(r: &mut Responder<'_>, mut write: impl FnMut(&mut Responder<'_>) -> io::Result<()>) -> io::Result<()> {
    loop {
        write(r)?;
    }
}
