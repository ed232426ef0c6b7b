//! What the server can do, as OpenRPC describes it. Asks nobody.

use serde_json::{Value, json};

use super::code;
use super::methods::Method;

/// The description (OpenRPC 1.3).
pub(super) fn document(methods: &[Method]) -> Value {
    let methods: Vec<Value> = methods
        .iter()
        .map(|method| {
            let params: Vec<Value> = method.params.iter().map(|name| json!({ "name": name, "schema": {} })).collect();
            json!({
                "name": method.name,
                "summary": method.summary,
                "paramStructure": "either",
                "params": params,
                "result": { "name": "result", "schema": {} },
            })
        })
        .collect();
    let errors: Vec<Value> =
        code::ALL.iter().map(|(code, message)| json!({ "code": code, "message": message })).collect();
    json!({
        "openrpc": "1.3.2",
        "info": { "title": "marmot", "version": env!("CARGO_PKG_VERSION") },
        "methods": methods,
        "components": { "errors": errors },
    })
}
