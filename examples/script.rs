//! Scripts inside a Rust program: values in and out, a function of the host, a limit, an error with its line. Starts its
//! own server; asserts what it shows. Needs the feature `script`.

use marmot::HttpClient;
use marmot::script::{ScriptEngine, ScriptError, ScriptErrorKind};
use std::time::Duration;

#[path = "../tests/support/mod.rs"]
mod support;

fn main() -> Result<(), ScriptError> {
    let server = support::Server::faults();
    let client = HttpClient::new().expect("default settings");
    let mut engine = ScriptEngine::with_client(client).on_print(|text| println!("script: {text}"));
    engine.engine_mut().register_fn("burrow_of", |name: &str| format!("burrow of {name}"));

    let script = engine.compile(
        "report.rhai",
        r#"
        let reply = http_post(BASE + "/echo", #{ name: NAME, home: burrow_of(NAME) });
        print(`${reply.status} after ${reply.timings.total} microseconds`);
        reply.json().home
        "#,
    )?;
    let home = script.constant("BASE", server.origin()).constant("NAME", "Alma").run()?;
    assert_eq!(home.into_string().as_deref(), Ok("burrow of Alma"));

    let endless = engine.compile("patient.rhai", "http_get(BASE + \"/stall-head\")")?;
    let error = endless
        .constant("BASE", server.origin())
        .time_limit(Duration::from_millis(200))
        .run()
        .expect_err("the server never answers");
    println!("{}", error.render());
    assert_eq!(error.kind(), ScriptErrorKind::TimeLimit);
    Ok(())
}
