//! marmot's script engine: the loop is in the script. Only small bodies.

use marmot::HttpClient;
use marmot::script::ScriptEngine;
use marmot_bench::load::Load;

use crate::drive::{Outcome, Slice};

const SOURCE: &str = "
    for round in 0..REQUESTS {
        let got = http_get(URL).blob().len;
        if got != LENGTH { throw `${got} bytes instead of ${LENGTH}`; }
    }
";

pub fn start(_: &Load) -> Outcome<Slice> {
    let engine = ScriptEngine::with_client(HttpClient::new()?);
    Ok(Box::new(move |load| {
        let script = engine.compile("loop", SOURCE)?;
        let (requests, length) = (load.requests as i64, load.length as i64);
        let script = script.constant("URL", load.url.clone()).constant("REQUESTS", requests).constant("LENGTH", length);
        Ok(script.run().map(drop)?)
    }))
}
