//! Routes that answer at once and correctly. No faults, no waiting, no codings.

use std::io;

use super::super::canned::pattern;
use super::super::request::base64;
use super::super::responder::Responder;
use super::{Call, Route, json, route};

/// What the text routes say. All of its letters exist in ISO 8859-1.
pub const TEXT: &str = "Grüße aus dem Café: naïve Murmeltiere.\n";

pub(super) const ROUTES: &[Route] = &[
    route("/get", |call, r| r.json(200, &describe(call, false))),
    route("/anything", |call, r| r.json(200, &describe(call, true))),
    route("/anything/*", |call, r| r.json(200, &describe(call, true))),
    route("/headers", |call, r| r.json(200, &json::object([("headers", json::headers(call.request))]))),
    route("/echo", echo),
    route("/status/{code}", status),
    route("/bytes/{n}", bytes),
    route("/unread/{n}", bytes),
    route("/chunked/{n}/{size}", chunked),
    route("/text", |_, r| r.text(200, TEXT)),
    route("/json", |_, r| r.json(200, r#"{"text":"Murmeltier","number":42,"list":[1,2,3],"nothing":null}"#)),
    route("/latin1", |_, r| r.send(200, &[("Content-Type", "text/plain; charset=iso-8859-1")], &latin1())),
    route("/utf16", |_, r| r.send(200, &[("Content-Type", "text/plain; charset=utf-16")], &utf16())),
    route("/utf8-bom", |_, r| r.text(200, &format!("\u{feff}{TEXT}"))),
    route("/no-content", |_, r| r.send(204, &[], b"")),
    route("/not-modified", |_, r| r.send(304, &[("ETag", "\"marmot\"")], b"")),
    route("/trailers", trailers),
    route("/cookies/set", set_cookies),
    route("/set-cookie-many", set_many_cookies),
    route("/repeat-headers", |_, r| {
        r.send(200, &[("X-Repeat", "first"), ("X-Repeat", "second"), ("X-Repeat", "third")], b"repeated\n")
    }),
    route("/basic-auth/{user}/{pass}", |call, r| {
        let credentials = format!("{}:{}", call.segment(0), call.segment(1));
        authorize(call, r, "Basic", &base64(credentials.as_bytes()))
    }),
    route("/bearer/{token}", |call, r| authorize(call, r, "Bearer", call.segment(0))),
    route("/events/{n}", events),
];

fn describe(call: &Call<'_>, with_body: bool) -> String {
    let request = call.request;
    let mut fields = vec![
        ("method", json::quote(request.method.as_bytes())),
        ("target", json::quote(request.target.as_bytes())),
        ("path", json::quote(request.path().as_bytes())),
        ("query", json::query(request)),
        ("headers", json::headers(request)),
    ];
    if with_body {
        fields.push(("body", json::quote(&request.body)));
        fields.push(("body_length", request.body.len().to_string()));
    }
    json::object(fields)
}

fn echo(call: &Call<'_>, r: &mut Responder<'_>) -> io::Result<()> {
    let kind = call.request.header("content-type").unwrap_or("application/octet-stream");
    r.send(200, &[("Content-Type", kind)], &call.request.body)
}

fn status(call: &Call<'_>, r: &mut Responder<'_>) -> io::Result<()> {
    match call.number(0)? {
        code @ 200..600 => r.text(code, &format!("status {code}\n")),
        _ => r.text(400, "a final status is from 200 to 599\n"),
    }
}

fn bytes(call: &Call<'_>, r: &mut Responder<'_>) -> io::Result<()> {
    r.send(200, &[("Content-Type", "application/octet-stream")], &pattern(call.number(0)?))
}

fn chunked(call: &Call<'_>, r: &mut Responder<'_>) -> io::Result<()> {
    let (total, size) = (call.number(0)?, call.number::<usize>(1)?.max(1));
    r.start_chunked(200, &[("Content-Type", "application/octet-stream")])?;
    for chunk in pattern(total).chunks(size) {
        r.chunk(chunk)?;
    }
    r.end_chunks(&[])
}

fn latin1() -> Vec<u8> {
    TEXT.chars().map(|letter| u8::try_from(u32::from(letter)).expect("the text is latin-1")).collect()
}

/// Little-endian, with its mark.
fn utf16() -> Vec<u8> {
    format!("\u{feff}{TEXT}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn trailers(_: &Call<'_>, r: &mut Responder<'_>) -> io::Result<()> {
    r.start_chunked(200, &[("Trailer", "X-Checksum, X-Count")])?;
    r.chunk(b"with ")?;
    r.chunk(b"trailers\n")?;
    r.end_chunks(&[("X-Checksum", "abc123"), ("X-Count", "14")])
}

fn set_cookies(call: &Call<'_>, r: &mut Responder<'_>) -> io::Result<()> {
    let cookies: Vec<_> = call.request.query().iter().map(|(name, value)| format!("{name}={value}; Path=/")).collect();
    let headers: Vec<_> = cookies.iter().map(|cookie| ("Set-Cookie", cookie.as_str())).collect();
    r.send(200, &headers, b"cookies set\n")
}

fn set_many_cookies(call: &Call<'_>, r: &mut Responder<'_>) -> io::Result<()> {
    let cookies: Vec<_> = (0..call.option("n", 60)?).map(|index| format!("many-{index}={index}; Path=/")).collect();
    let headers: Vec<_> = cookies.iter().map(|cookie| ("Set-Cookie", cookie.as_str())).collect();
    r.send(200, &headers, b"cookies set\n")
}

fn authorize(call: &Call<'_>, r: &mut Responder<'_>, scheme: &str, credentials: &str) -> io::Result<()> {
    if call.request.header("authorization") == Some(format!("{scheme} {credentials}").as_str()) {
        return r.json(200, r#"{"authenticated":true}"#);
    }
    r.send(401, &[("WWW-Authenticate", &format!("{scheme} realm=\"marmot\""))], b"who are you?\n")
}

fn events(call: &Call<'_>, r: &mut Responder<'_>) -> io::Result<()> {
    r.start_chunked(200, &[("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")])?;
    for index in 0..call.number::<u64>(0)? {
        r.chunk(format!("id: {index}\nevent: tick\ndata: {{\"n\":{index}}}\n\n").as_bytes())?;
    }
    r.end_chunks(&[])
}
