//! Blocking requests: text, JSON, a form, an error that says what to do. Starts its own server; asserts what it shows.

use marmot::prelude::*;
use marmot::{Error, ErrorKind};
use std::time::Duration;

#[path = "../tests/support/mod.rs"]
mod support;

#[derive(serde::Deserialize)]
struct Seen {
    method: String,
    path: String,
}

fn main() -> Result<(), Error> {
    let server = support::Server::faults();
    let client = HttpClient::builder()
        .timeout(Duration::from_secs(10))
        .default_header("x-team", "marmots")
        .metrics(true)
        .build()?;

    let mut response = client.get(server.url("/text"))?;
    println!("{} {:?}", response.status(), response.text()?.trim());

    let seen: Seen = client.get(server.url("/get?burrow=7"))?.json()?;
    println!("the server saw {} {}", seen.method, seen.path);
    assert_eq!(seen.path, "/get");

    let mut response = Request::post(server.url("/echo"))
        .header("content-type", "application/json")
        .timeout(Duration::from_secs(2))
        .body(r#"{"name": "Alma"}"#)?
        .send()?;
    println!("echo: {}", response.text()?);

    let mut response = client.get(server.url("/bytes/1000000"))?;
    let bytes = response.bytes()?.len();
    let metrics = response.metrics().expect("metrics are on");
    println!("{bytes} bytes in {:?}, the first after {:?}", metrics.total, metrics.time_to_first_byte);
    assert_eq!(bytes, 1_000_000);

    // A status is a response; an error is when there is none.
    assert_eq!(client.get(server.url("/status/404"))?.status(), 404);
    let error = client.get("http://127.0.0.1:1/").expect_err("nobody listens there");
    println!("{}", error.chain());
    assert_eq!(error.kind(), ErrorKind::ConnectionFailed);
    Ok(())
}
