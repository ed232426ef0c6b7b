//! APIs that scripts describe: how their methods are called, what is checked, what is sent and what comes back. Documents of
//! OpenAPI are in `openapi.rs`, wrong descriptions in
//! `descriptions.rs`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use marmot::script::rhai::{Dynamic, Map};
use marmot::script::{ScriptEngine, ScriptError, ScriptErrorKind};

use crate::support::Server;

/// A shop with all that the tests need.
const SHOP: &str = r#"
    let api = http::api(#{
        base_url: BASE + "/anything",
        description: "A shop for those who keep marmots.",
        headers: #{ "X-From": "burrow" },
        resources: #{
            pets: #{
                list: #{
                    path: "/pets",
                    description: "Lists pets.",
                    params: #{
                        limit: #{ "in": "query", type: "integer", "default": 20, minimum: 1, maximum: 100 },
                        kind: #{ enum: ["marmot", "pika"], description: "What they are." },
                        tags: #{ type: "array", items: #{ type: "string" } },
                        fields: #{ type: "array", explode: false },
                    },
                },
                get: "GET /pets/{id}",
                create: "POST /pets",
                replace: #{
                    method: "put", path: "/pets/{id}", body: true,
                    params: #{
                        id: #{ "in": "path", type: "integer" },
                        reason: #{ "in": "header", pattern: "^[a-z ]+$", required: true },
                    },
                },
                remove: "DELETE /pets/{id}",
                photos: #{ show: "GET /pets/{id}/photos/{name}" },
            },
            order: #{ method: "POST", path: "/orders", body: "form" },
        },
    });
"#;

fn try_run(server: &Server, source: &str) -> Result<Dynamic, ScriptError> {
    let source = format!("{}{source}", SHOP.replace('\n', " "));
    let engine = ScriptEngine::new();
    let script = engine.compile("test", &source).unwrap_or_else(|error| panic!("{error}"));
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

fn seen(server: &Server) -> Vec<String> {
    let line = |request: &crate::support::Request| format!("{} {} {}", request.method, request.target, request.text());
    server.requests().iter().map(|request| line(request).trim_end().to_owned()).collect()
}

#[test]
fn parameters_go_where_the_description_says() {
    let server = Server::faults();
    let _last = run(
        &server,
        r#"
        api.pets.list();
        api.pets.list(#{ limit: 5, kind: "pika", tags: ["a b", "c&d"], fields: ["x,y", "z"] });
        api.pets.get(#{ id: 7 });
        api.pets.get(7);
        api.pets.get(#{ id: "ü/..?#", verbose: true, n: [1, 2], none: () });
        api.pets.create(#{ name: "x", tags: [1] });
        api.pets.create();
        api.pets.create(#{ body: [1, 2], dry: true });
        api.pets.create(["whole"]);
        api.pets.replace(#{ id: 3, reason: "it grew", weight: 4.5 });
        api.pets.remove(3);
        api.pets.photos.show(#{ id: 1, name: "side view" });
        api.order(#{ pet: 1, note: "soon, please" });
        "#,
    );
    assert_eq!(
        seen(&server),
        [
            "GET /anything/pets?limit=20",
            "GET /anything/pets?fields=x%2Cy,z&kind=pika&limit=5&tags=a%20b&tags=c%26d",
            "GET /anything/pets/7",
            "GET /anything/pets/7",
            "GET /anything/pets/%C3%BC%2F..%3F%23?n=1&n=2&verbose=true",
            r#"POST /anything/pets {"name":"x","tags":[1]}"#,
            "POST /anything/pets",
            "POST /anything/pets?dry=true [1,2]",
            r#"POST /anything/pets ["whole"]"#,
            r#"PUT /anything/pets/3 {"weight":4.5}"#,
            "DELETE /anything/pets/3",
            "GET /anything/pets/1/photos/side%20view",
            "POST /anything/orders note=soon%2C+please&pet=1",
        ]
    );
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.header("x-from") == Some("burrow")));
    assert!(requests.iter().all(|request| request.header("accept") == Some("application/json, */*;q=0.8")));
    assert_eq!(requests[9].header("reason"), Some("it grew"));
    assert_eq!(requests[12].header("content-type"), Some("application/x-www-form-urlencoded"));
}

#[test]
fn what_is_wrong_is_told_before_anything_is_sent() {
    let server = Server::faults();
    for (call, message) in [
        ("api.pets.get()", "pets.get: the parameter `id` is missing"),
        ("api.pets.get(#{ id: () })", "pets.get: the parameter `id` is missing"),
        ("api.pets.get(\"\")", "pets.get: the parameter `id` is empty, which would ask for another path"),
        ("api.pets.get([])", "pets.get: the parameter `id` is empty, which would ask for another path"),
        ("api.pets.get(\"..\")", "pets.get: the path `/pets/..` has a segment of dots, which leads elsewhere"),
        ("api.pets.get(#{ id: #{} })", "pets.get: the parameter `id` is a string, a number or a bool, not map"),
        (
            "api.pets.replace(#{ id: \"7\", reason: \"a\" })",
            "pets.replace: the parameter `id` is an integer, not a string",
        ),
        ("api.pets.replace(#{ id: 7 })", "pets.replace: the parameter `reason` is missing"),
        (
            "api.pets.replace(#{ id: 7, reason: \"A\" })",
            "pets.replace: the parameter `reason` does not match the pattern `^[a-z ]+$`: `A`",
        ),
        ("api.pets.list(#{ limt: 1 })", "pets.list: there is no parameter `limt`; did you mean `limit`?"),
        (
            "api.pets.list(#{ colour: 1 })",
            "pets.list: there is no parameter `colour`; there are `fields`, `kind`, `limit`, `tags`",
        ),
        ("api.pets.list(#{ limit: 0 })", "pets.list: the parameter `limit` is at least 1, not 0"),
        ("api.pets.list(#{ limit: 101 })", "pets.list: the parameter `limit` is at most 100, not 101"),
        ("api.pets.list(#{ kind: \"owl\" })", "pets.list: the parameter `kind` is one of `marmot`, `pika`, not `owl`"),
        (
            "api.pets.list(#{ tags: [\"a\", 1] })",
            "pets.list: the parameter `tags` has an item, number 2, that is a string, not an integer",
        ),
        ("api.pets.list(5)", "pets.list: it takes a map of parameters, as in pets.list(#{ … }), not i64"),
        (
            "api.pets.photos.show(5)",
            "pets.photos.show: it takes a map of parameters, as in pets.photos.show(#{ id, name, … }), not i64",
        ),
        ("api.pets.get(1, 2)", "pets.get: it takes one argument, a map of parameters"),
        ("api.help(1, 2)", "help: it takes one argument, a map of parameters"),
        (
            "api.pets.replace(#{ id: 1, reason: \"\" })",
            "pets.replace: the parameter `reason` does not match the pattern `^[a-z ]+$`: ``",
        ),
        ("api.order([1])", "order: the body is a map, not array"),
        ("api.pets.create(#{ f: |x| x })", "pets.create: a value of type `Fn` has no form in JSON"),
    ] {
        let error = thrown(&server, call);
        assert_eq!(error["kind"].to_string(), "invalid_request", "{call}");
        assert_eq!(error["message"].to_string(), message, "{call}");
        assert_eq!(error["line"].as_int(), Ok(1));
    }
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn operations_may_be_named_as_the_methods_of_maps_are() {
    let server = Server::faults();
    let names = [
        "get",
        "remove",
        "len",
        "keys",
        "values",
        "set",
        "clear",
        "contains",
        "mixin",
        "filter",
        "fill_with",
        "type_of",
        "to_string",
        "to_json",
        "is_empty",
        "drain",
        "retain",
        "help",
        "wait",
    ];
    for name in names {
        let source = format!(
            "let own = http::api(#{{ base_url: BASE + \"/anything\", resources: #{{ \"{name}\": \"GET /{name}\", \
             in_it: #{{ \"{name}\": \"GET /in/{name}/{{id}}\" }} }} }}); \
             [own.{name}().path, own.in_it.{name}(7).path, own.in_it.{name}_async(#{{ id: 8 }}).wait().path]"
        );
        let paths = run(&server, &source).to_string();
        assert_eq!(
            paths,
            format!("[\"/anything/{name}\", \"/anything/in/{name}/7\", \"/anything/in/{name}/8\"]"),
            "{name}"
        );
    }
    for name in
        ["call", "curry", "is_shared", "print", "debug", "eval", "match", "if", "this", "fn", "a-b", "1a", "", "grün"]
    {
        let source = format!("http::api(#{{ base_url: BASE, resources: #{{ \"{name}\": \"GET /\" }} }})");
        let error = thrown(&server, &source);
        let message = format!("{name}: a script cannot call `{name}`; choose another name");
        assert_eq!(error["message"].to_string(), message);
    }
}

#[test]
fn an_api_is_a_value_as_any_other() {
    let server = Server::faults();
    let paths = run(
        &server,
        r#"
        const FIXED = api;
        fn through(api, id) { api.pets.get(id).path }
        fn on_this() { this.get(4).path }
        let pets = api.pets;
        let get = api.pets.get;
        let closure = |id| api.pets.get(#{ id: id }).path;
        let boxed = #{ inner: api, list: [api] };
        let paths = [
            FIXED.pets.get(0).path,
            through(api, 1),
            pets.get(2).path,
            get.call(3).path,
            pets.on_this(),
            closure.call(5),
            boxed.inner.pets.get(6).path,
            boxed.list[0].pets.get(7).path,
            api["pets"]["get"].call(#{ id: 8 }).path,
            api.pets.get.call(9).path,
        ];
        for reply in [10, 11].map(get) { paths.push(reply.path); }
        for reply in http_each(12..14, 2, |id| api.pets.get_async(id)) { paths.push(reply.path); }
        for reply in http_all([api.pets.get_async(14), pets.get_async(15)]) { paths.push(reply.path); }
        api.pets.list.call();
        paths.map(|path| path.split("/")[3])
        "#,
    );
    let all: Vec<String> = (0..16).map(|id| format!("\"{id}\"")).collect();
    assert_eq!(paths.to_string(), format!("[{}]", all.join(", ")));
}

#[test]
fn promises_of_methods_run_side_by_side_and_fail_as_the_methods_do() {
    let server = Server::faults();
    let start = Instant::now();
    let statuses = run(
        &server,
        r#"
        let slow = http::api(#{ base_url: BASE, resources: #{ wait_for: #{
            path: "/delay/{ms}", result: "response", params: #{ ms: #{ type: "integer" } } } } });
        http_all([slow.wait_for_async(400), slow.wait_for_async(#{ ms: 400 })]).map(|reply| reply.status)
        "#,
    );
    assert_eq!(statuses.to_string(), "[200, 200]");
    assert!(start.elapsed() < Duration::from_millis(750), "{:?}", start.elapsed());
    let error = thrown(&server, "\n\napi.pets.get_async()");
    assert_eq!((error["kind"].to_string(), error["line"].as_int()), ("invalid_request".into(), Ok(3)));
}

#[test]
fn a_status_of_failure_is_thrown_with_its_body() {
    let server = Server::start(|request, r| match request.path() {
        "/json" => r.json(422, r#"{"field": "name"}"#),
        "/long" => r.text(500, &"ü".repeat(5000)),
        "/none" => r.send(204, &[], b""),
        "/empty" => r.send(200, &[], b""),
        _ => r.text(200, "no json at all"),
    });
    let api = r#"let api = http::api(#{ base_url: BASE, resources: #{
        json: "GET /json", long: "GET /long", none: "DELETE /none", empty: "POST /empty", page: "GET /page",
        text: #{ path: "/page", result: "text" }, response: #{ path: "/page", result: "response" },
        refused: #{ path: "/json", result: "response" } } });"#
        .replace('\n', " ");
    let error = thrown(&server, &format!("{api}\napi.json()"));
    assert_eq!(
        (error["kind"].to_string(), error["status"].as_int(), error["line"].as_int()),
        ("status".into(), Ok(422), Ok(2))
    );
    assert_eq!(error["body"].clone().cast::<Map>()["field"].to_string(), "name");
    assert_eq!(error["url"].to_string(), server.url("/json"));
    let error = thrown(&server, &format!("{api} api.refused_async().wait()"));
    assert_eq!(error["status"].as_int(), Ok(422));
    let body = thrown(&server, &format!("{api} api.long()"))["body"].to_string();
    assert_eq!((body.chars().count(), body.ends_with("ü…")), (1001, true));
    let error = thrown(&server, &format!("{api} api.page()"));
    assert_eq!(error["kind"].to_string(), "invalid_response_body");
    let values =
        run(&server, &format!("{api} [api.none() == (), api.empty() == (), api.text(), api.response().status]"));
    assert_eq!(values.to_string(), r#"[true, true, "no json at all", 200]"#);
}

#[test]
fn an_api_prints_its_methods_and_has_help() {
    let server = Server::faults();
    let printed = Arc::new(Mutex::new(Vec::new()));
    let print = printed.clone();
    let engine = ScriptEngine::new().on_print(move |text| print.lock().unwrap().push(text.to_owned()));
    let source =
        format!("{SHOP} print(api.pets.photos); print(api.help()); print(api.pets.photos.help()); print(|x| x);");
    let _last = engine.compile("test", &source).unwrap().constant("BASE", "http://127.0.0.1:1").run().unwrap();
    let printed = printed.lock().unwrap();
    let show = "GET /pets/{id}/photos/{name}";
    assert_eq!(printed[0], format!("#{{\"help\": help, \"show\": {show}, \"show_async\": {show}}}"));
    let help = &printed[1];
    assert!(help.starts_with("A shop for those who keep marmots.  http://127.0.0.1:1/anything\n\norder("), "{help}");
    let list = "\
pets.list(#{ … })  GET /pets
    Lists pets.
    fields (query, array)
    kind (query, one of `marmot`, `pika`) What they are.
    limit (query, integer, at least 1, at most 100, default 20)
    tags (query, array)
";
    assert!(help.contains(list), "{help}");
    assert!(
        help.contains("pets.replace(#{ id, reason, … })  PUT /pets/{id}\n    id (path, required, integer)\n"),
        "{help}"
    );
    assert!(printed[2].ends_with("\n\npets.photos.show(#{ id, name, … })  GET /pets/{id}/photos/{name}\n    id (path, required)\n    name (path, required)\n"), "{}", printed[2]);
    assert!(printed[3].starts_with("Fn("), "other function pointers print as ever: {}", printed[3]);
    assert_eq!(server.requests().len(), 0);
}
