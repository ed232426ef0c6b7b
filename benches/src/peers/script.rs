//! marmot's script engine: the loop is in the script, and so are the lanes. Only small bodies.

use marmot::HttpClient;
use marmot::script::ScriptEngine;
use marmot_bench::load::Load;

use crate::drive::{Outcome, Slice};

const ONE_BY_ONE: &str = "
    for round in 0..REQUESTS {
        let got = http_get(URL).blob().len;
        if got != LENGTH { throw `${got} bytes instead of ${LENGTH}`; }
    }
";

/// All of a round have to end before the next begins: this is how a script is written.
const AT_ONCE: &str = "
    let urls = [];
    for lane in 0..LANES { urls.push(URL); }
    for round in 0..REQUESTS / LANES {
        for reply in http_all(urls) {
            let got = reply.blob().len;
            if got != LENGTH { throw `${got} bytes instead of ${LENGTH}`; }
        }
    }
";

pub fn start(_: &Load) -> Outcome<Slice> {
    let engine = ScriptEngine::with_client(HttpClient::new()?);
    Ok(Box::new(move |load| {
        let script = engine.compile("loop", if load.lanes == 1 { ONE_BY_ONE } else { AT_ONCE })?;
        let numbers =
            [("REQUESTS", load.requests as i64), ("LANES", load.lanes as i64), ("LENGTH", load.length as i64)];
        let script = script.constant("URL", load.url.clone());
        let script = numbers.into_iter().fold(script, |script, (name, number)| script.constant(name, number));
        Ok(script.run().map(drop)?)
    }))
}
