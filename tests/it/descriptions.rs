//! Descriptions of APIs, and where they come from: files, URLs, and all that can be wrong with them. What their methods do is in
//! `apis.rs`.

use marmot::script::rhai::{Dynamic, Map};
use marmot::script::{Sandbox, ScriptEngine, ScriptError, ScriptErrorKind};

use crate::support::Server;

fn try_run(server: &Server, source: &str) -> Result<Dynamic, ScriptError> {
    let engine = ScriptEngine::builder().sandbox(Sandbox::open()).build().unwrap();
    let script = engine.compile("test", source).unwrap_or_else(|error| panic!("{error}"));
    script.constant("BASE", server.origin()).run()
}

fn run(server: &Server, source: &str) -> Dynamic {
    try_run(server, source).unwrap_or_else(|error| panic!("{}", error.render()))
}

#[track_caller]
fn thrown(server: &Server, source: &str) -> Map {
    let error = try_run(server, source).err().unwrap_or_else(|| panic!("{source} throws nothing"));
    assert_eq!(error.kind(), ScriptErrorKind::Runtime, "{error}");
    error.value().unwrap().clone().cast::<Map>()
}

#[test]
fn wrong_descriptions_say_what_is_wrong_and_where() {
    let server = Server::faults();
    let about =
        |operation: &str| format!("http::api(#{{ base_url: BASE, resources: #{{ pets: #{{ get: {operation} }} }} }})");
    for (source, message) in [
        ("http::api(#{ resources: #{} })", "the option `base_url` is missing"),
        ("http::api(#{ base_url: BASE })", "the option `resources` is missing"),
        ("http::api(#{ base_url: BASE, resurces: #{} })", "there is no option `resurces`; did you mean `resources`?"),
        ("http::api(#{ base_url: BASE, resources: [] })", "`resources` is a map"),
        ("http::api(#{ base_url: 1, resources: #{} })", "`base_url` is a string, not i64"),
        ("http::api(#{ base_url: BASE, resources: #{}, description: 1 })", "`description` is a string, not i64"),
        (&about("5"), "pets.get: an operation is a string, as in \"GET /pets/{id}\", or a map"),
        (&about("\"GET\""), "pets.get: an operation is as in \"GET /pets/{id}\""),
        (&about("\"GET pets\""), "pets.get: the path `pets` does not begin with a slash"),
        (&about("\"G@T /pets\""), "pets.get: `G@T` is not a method"),
        (&about("#{ method: \"GET\" }"), "pets.get: the `path` is missing"),
        (&about("#{ path: \"/x\", methd: \"GET\" }"), "pets.get: there is no word `methd`; did you mean `method`?"),
        (&about("#{ path: \"/x\", body: 1 }"), "pets.get: `body` is true, \"json\" or \"form\""),
        (&about("#{ path: \"/x\", result: 1 }"), "pets.get: `result` is \"json\", \"text\" or \"response\""),
        (&about("#{ path: \"/x\", params: #{ a: 1 } }"), "pets.get: `a` is a map"),
        (
            &about("#{ path: \"/x\", params: #{ a: #{ \"in\": \"path\" } } }"),
            "pets.get: the parameter `a`: the path has no place for it",
        ),
        (
            &about("#{ path: \"/{a}\", params: #{ a: #{ \"in\": \"query\" } } }"),
            "pets.get: the parameter `a`: the path has a place for it",
        ),
        (
            &about("#{ path: \"/x\", params: #{ a: #{ \"in\": \"cookie\" } } }"),
            "pets.get: the parameter `a`: `in` is \"path\", \"query\" or \"header\"",
        ),
        (
            &about("#{ path: \"/x\", params: #{ a: #{ tpye: \"string\" } } }"),
            "pets.get: the parameter `a`: there is no word `tpye`; did you mean `type`?",
        ),
        (
            &about("#{ path: \"/x\", params: #{ a: #{ pattern: \"(\" } } }"),
            "pets.get: the parameter `a`: `pattern` is no regular expression, or too large",
        ),
        (
            &about("#{ path: \"/x\", params: #{ a: #{ required: 1 } } }"),
            "pets.get: the parameter `a`: `required` is a bool",
        ),
        (&about("#{ path: \"/../x\" }"), "pets.get: the path `/../x` has a segment of dots, which leads elsewhere"),
        (&about("|x| x"), "a value of type `Fn` has no form in JSON"),
    ] {
        let error = thrown(&server, source);
        assert_eq!(error["kind"].to_string(), "invalid_request", "{source}");
        assert_eq!(error["message"].to_string(), message, "{source}");
    }
}

#[test]
fn a_description_is_read_from_a_file_or_a_url() {
    let toml = r#"
base_url = "BASE/anything"
description = "From a file"
[resources.pets]
get = "GET /pets/{id}"
list = { path = "/pets", params = { limit = { type = "integer", default = 3 } } }
"#;
    let yaml = "base_url: BASE/anything\nresources: {pets: {get: 'GET /pets/{id}', list: GET /pets}}";
    let json =
        r#"{"base_url": "BASE/anything", "resources": {"pets": {"get": "GET /pets/{id}", "list": "GET /pets"}}}"#;
    let server = Server::faults();
    let serving = {
        let json = json.replace("BASE", &server.origin());
        Server::start(move |request, r| match request.path() {
            "/api.json" => r.json(200, &json),
            _ => r.text(404, "not here"),
        })
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text.replace("BASE", &server.origin())).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (toml, yaml, json) = (file("shop.toml", toml), file("shop.yaml", yaml), file("shop.json", json));
    for place in [&toml, &yaml, &json, &serving.url("/api.json")] {
        let source =
            format!("let own = http::api(\"{place}\", #{{ headers: #{{ \"X-A\": \"1\" }} }}); own.pets.get(1).path");
        assert_eq!(run(&server, &source).to_string(), "/anything/pets/1");
        assert_eq!(run(&server, &format!("http::api(\"{place}\").pets.list().path")).to_string(), "/anything/pets");
    }
    assert!(server.requests().iter().any(|request| request.target == "/anything/pets?limit=3"));
    let typed = "limit (query, integer, at most 5)";
    let long = file(
        "long.yml",
        "base_url: BASE\nresources:\n  list:\n    path: /a\n    params:\n      limit: {type: integer, maximum: 5}",
    );
    assert!(run(&server, &format!("http::api(\"{long}\").help()")).to_string().contains(typed));
    let secret = file("secret.toml", "first = 1\nkey c4nary\n");
    let other = file("secret.json", "c4nary");
    let flat = file("secret.yaml", "c4nary");
    let list = file("list.json", "[1]");
    let wrong = file("wrong.json", r#"{"base_url": "BASE", "resources": {"a": "GET"}}"#);
    for (place, part) in [
        (secret.as_str(), "secret.toml` is not TOML: "),
        (&flat, "secret.yaml`: it is not a map"),
        (&other, "secret.json` is not JSON: expected value at line 1 column 1"),
        (&list, "list.json`: it is not a map"),
        (&wrong, "wrong.json`: a: an operation is as in"),
        ("/nowhere/api.json", "`/nowhere/api.json` cannot be read: No such file"),
        ("/", "`/` is not a file"),
        ("/dev/zero", "`/dev/zero` is not a file"),
    ] {
        let error = thrown(&server, &format!("http::api(\"{place}\")"));
        let message = error["message"].to_string();
        assert_eq!(error["kind"].to_string(), "invalid_request");
        assert!(message.contains(part) && !message.contains("c4nary"), "{message}");
    }
    let error = thrown(&server, &format!("http::api(\"{}\")", serving.url("/other.json")));
    assert_eq!((error["status"].as_int(), error["body"].to_string()), (Ok(404), "not here".into()));
}
