//! Documents of OpenAPI as scripts use them, and those that nobody should write. APIs of a script's own are in `apis.rs`.

use std::time::{Duration, Instant};

use marmot::script::rhai::{Dynamic, Map};
use marmot::script::{ScriptEngine, ScriptError, ScriptErrorKind};

use crate::support::Server;

const PETSTORE: &str = include_str!("../support/petstore.json");

fn compile_and_run(server: &Server, source: &str, document: &str) -> Result<Dynamic, ScriptError> {
    let engine = ScriptEngine::new();
    let script = engine.compile("test", source).unwrap_or_else(|error| panic!("{error}"));
    script.constant("BASE", server.origin()).constant("TEXT", document.to_owned()).run()
}

/// Runs a script that has the pet shop as `shop`, on the server.
fn try_run(server: &Server, source: &str) -> Result<Dynamic, ScriptError> {
    let shop = "let shop = http::openapi(parse_json(TEXT), #{ base_url: BASE + \"/anything\" });";
    compile_and_run(server, &format!("{shop} {source}"), PETSTORE)
}

fn run(server: &Server, source: &str) -> Dynamic {
    try_run(server, source).unwrap_or_else(|error| panic!("{}", error.render()))
}

#[track_caller]
fn message(result: Result<Dynamic, ScriptError>) -> String {
    let error = result.expect_err("nothing was thrown");
    assert_eq!(error.kind(), ScriptErrorKind::Runtime, "{error}");
    let map = error.value().unwrap().clone().cast::<Map>();
    assert_eq!(map["kind"].to_string(), "invalid_request", "{error}");
    map["message"].to_string()
}

/// What is wrong with a document.
#[track_caller]
fn wrong(document: &str) -> String {
    let server = Server::faults();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("document.json");
    std::fs::write(&path, document).unwrap();
    let source = format!("http::openapi(\"{}\", #{{ base_url: BASE }})", path.display());
    let start = Instant::now();
    let text = message(compile_and_run(&server, &source, ""));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?} for {text}", start.elapsed());
    text.split_once("document.json`").map(|(_, rest)| rest.trim_start_matches(": ").to_owned()).unwrap_or(text)
}

/// A document of these paths and components.
fn document(paths: &str, components: &str) -> String {
    format!("{{\"openapi\": \"3.1.0\", \"paths\": {{{paths}}}, \"components\": {{{components}}}}}")
}

/// One whose only operation takes this schema as its body.
fn with_body(schema: &str, schemas: &str) -> String {
    let body = format!("{{\"content\": {{\"application/json\": {{\"schema\": {schema}}}}}}}");
    document(&format!("\"/a\": {{\"post\": {{\"requestBody\": {body}}}}}"), &format!("\"schemas\": {{{schemas}}}"))
}

fn seen(server: &Server) -> Vec<String> {
    let line = |request: &crate::support::Request| format!("{} {} {}", request.method, request.target, request.text());
    server.requests().iter().map(|request| line(request).trim_end().to_owned()).collect()
}

#[test]
fn each_operation_of_a_document_is_a_method() {
    let server = Server::faults();
    let _last = run(
        &server,
        r#"
        shop.listPets();
        shop.listPets(#{ limit: 5, tags: ["a b", "c"], fields: ["name", "born"], born: #{ gte: 2020, lt: 2024 } });
        shop.pets_show_one(7);
        shop.addPet(#{ name: "x", kind: "pika", weight: 4.5, "X-Trace": "abc" });
        shop.addPet(#{ name: "x", kind: "pika", body: "a field of its own" });
        shop.replacePet(#{ petId: 3, body: #{ petId: 3, name: "y", kind: "marmot", more: true } });
        shop.delete_pets_petId(#{ petId: 3, "X-Reason": "moved out" });
        shop.storePhoto(#{ petId: 3, body: "PNG..." });
        shop.storePhoto_async(#{ petId: 3 }).wait();
        shop.placeOrder(#{ pet: 3, note: "a&b" });
        shop.placeMany([1, 2]);
        shop.placeMany(#{ body: [3] });
        "#,
    );
    assert_eq!(
        seen(&server),
        [
            "GET /anything/pets",
            "GET /anything/pets?limit=5&tags=a%20b&tags=c&fields=name,born&born%5Bgte%5D=2020&born%5Blt%5D=2024",
            "GET /anything/pets/7",
            r#"POST /anything/pets {"kind":"pika","name":"x","weight":4.5}"#,
            r#"POST /anything/pets {"body":"a field of its own","kind":"pika","name":"x"}"#,
            r#"PUT /anything/pets/3 {"kind":"marmot","more":true,"name":"y","petId":3}"#,
            "DELETE /anything/pets/3",
            "PUT /anything/pets/3/photo PNG...",
            "PUT /anything/pets/3/photo",
            "POST /anything/orders note=a%26b&pet=3",
            "POST /anything/orders/batch [1,2]",
            "POST /anything/orders/batch [3]",
        ]
    );
    let requests = server.requests();
    assert_eq!(requests[3].header("x-trace"), Some("abc"));
    assert_eq!(requests[6].header("x-reason"), Some("moved out"));
    assert_eq!(requests[7].header("content-type"), Some("image/png"));
}

#[test]
fn what_a_document_forbids_is_not_sent() {
    let server = Server::faults();
    for (call, expected) in [
        ("shop.listPets(#{ limit: \"5\" })", "listPets: the parameter `limit` is an integer, not a string"),
        ("shop.listPets(#{ limit: 1000 })", "listPets: the parameter `limit` is at most 100, not 1000"),
        (
            "shop.listPets(#{ fields: [\"nmae\"] })",
            "listPets: the parameter `fields` has an item, number 1, that is one of `name`, `kind`, `born`, not `nmae`",
        ),
        ("shop.listPets(#{ lmit: 5 })", "listPets: there is no parameter `lmit`; did you mean `limit`?"),
        (
            "shop.listPets(#{ burrow: \"x\" })",
            "listPets: the parameter `burrow` is a cookie, and those are the client's own business",
        ),
        ("shop.addPet()", "addPet: the field `kind` is missing"),
        ("shop.addPet(#{ name: \"x\" })", "addPet: the field `kind` is missing"),
        (
            "shop.addPet(#{ name: \"x\", kind: \"owl\" })",
            "addPet: the field `kind` is one of `marmot`, `pika`, `squirrel`, not `owl`",
        ),
        ("shop.addPet(#{ name: 1, kind: \"pika\" })", "addPet: the field `name` is a string, not an integer"),
        (
            "shop.addPet(#{ name: \"x\", kind: \"pika\", wieght: 1 })",
            "addPet: there is no parameter `wieght`; did you mean `weight`?",
        ),
        ("shop.addPet([1])", "addPet: the body is a map, not an array"),
        ("shop.pets_show_one(0)", "pets_show_one: the parameter `petId` is at least 1, not 0"),
        (
            "shop.replacePet(#{ petId: 3, name: \"x\", kind: \"pika\" })",
            "replacePet: the field `petId` of the body is missing; as a parameter is named `petId` too, the body is given as \
             a whole, as `body`",
        ),
        ("shop.delete_pets_petId(3)", "delete_pets_petId: the parameter `X-Reason` is missing"),
        (
            "shop.storePhoto(#{ petId: 3, body: 5 })",
            "storePhoto: the body is a string or a blob of type `image/png`, not i64",
        ),
        ("shop.placeOrder(#{ note: () })", "placeOrder: the field `pet` is missing"),
        ("shop.placeOrder(#{ pet: 1, note: 2 })", "placeOrder: the field `note` is a string or (), not an integer"),
        ("shop.placeMany()", "placeMany: the body is missing; it is given as `body`"),
        ("shop.placeMany([\"x\"])", "placeMany: the body has an item, number 1, that is an integer, not a string"),
        ("shop.import_(\"x\")", "import_: a body of type `multipart/form-data` cannot be sent"),
    ] {
        assert_eq!(message(try_run(&server, call)), expected, "{call}");
    }
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn what_comes_back_is_what_its_content_type_tells() {
    let server = Server::start(|request, r| match request.path() {
        "/json" => r.send(200, &[("Content-Type", "application/vnd.shop+json; charset=utf-8")], b"{\"a\": 1}"),
        "/text" => r.text(200, "hello"),
        "/blob" => r.send(200, &[("Content-Type", "image/png")], b"\x89PNG"),
        "/none" => r.send(204, &[], b""),
        _ => r.json(409, r#"{"why": "it sleeps"}"#),
    });
    let paths =
        ["json", "text", "blob", "none", "busy"].map(|name| format!("\"/{name}\": {{\"get\": {{}}}}")).join(",");
    let script = |call: &str| {
        let source = format!("let shop = http::openapi(parse_json(TEXT), #{{ base_url: BASE }}); {call}");
        compile_and_run(&server, &source, &document(&paths, ""))
    };
    let all = script("[shop.get_json().a, shop.get_text(), shop.get_blob().len(), shop.get_none()]").unwrap();
    assert_eq!(all.to_string(), "[1, \"hello\", 4, ()]");
    let error = script("shop.get_busy()").unwrap_err();
    let map = error.value().unwrap().clone().cast::<Map>();
    assert_eq!(map["status"].as_int(), Ok(409));
    assert_eq!(map["body"].clone().cast::<Map>()["why"].to_string(), "it sleeps");
}

#[test]
fn a_document_is_fetched_and_its_server_is_beside_it() {
    let server = Server::start(|request, r| match request.path() {
        "/docs/shop.json" => r.json(200, PETSTORE),
        "/docs/moved.json" => r.send(302, &[("Location", "/docs/shop.json")], b""),
        "/docs/gone.json" => r.text(404, "gone"),
        "/docs/page.json" => r.text(200, "<html>"),
        path => r.json(200, &format!("{{\"path\": \"{path}\"}}")),
    });
    let run = |source: &str| compile_and_run(&server, source, PETSTORE);
    for (source, path) in [
        ("http::openapi(BASE + \"/docs/shop.json\").listPets().path", "/anything/pets"),
        ("http::openapi(BASE + \"/docs/moved.json\").listPets().path", "/anything/pets"),
        (
            "http::openapi(BASE + \"/docs/shop.json\", #{ base_url: BASE + \"/v2/\" }).pets_show_one(1).path",
            "/v2/pets/1",
        ),
    ] {
        assert_eq!(run(source).unwrap().to_string(), path);
    }
    assert_eq!(
        message(run("http::openapi(parse_json(TEXT))")),
        "the document names no server by a whole URL; give it as the option `base_url`"
    );
    let absolute = document("\"/a\": {\"get\": {}}", "").replacen(
        '{',
        &format!(
            "{{\"servers\": [{{\"url\": \"{}/{{v}}\", \"variables\": {{\"v\": {{\"default\": \"v3\"}}}}}}],",
            server.origin()
        ),
        1,
    );
    let path = compile_and_run(&server, "http::openapi(parse_json(TEXT)).get_a().path", &absolute).unwrap();
    assert_eq!(path.to_string(), "/v3/a");
    let error = run("http::openapi(BASE + \"/docs/gone.json\")").unwrap_err();
    assert_eq!(error.value().unwrap().clone().cast::<Map>()["status"].as_int(), Ok(404));
    assert!(message(run("http::openapi(BASE + \"/docs/page.json\")")).contains("is not JSON: expected value"));
}

#[test]
fn credentials_go_where_the_document_wants_them() {
    let server = Server::faults();
    let keys = r#""securitySchemes": {
        "one": {"type": "apiKey", "in": "header", "name": "X-One"},
        "two": {"type": "apiKey", "in": "query", "name": "key"},
        "three": {"type": "apiKey", "in": "cookie", "name": "key"}
    }"#;
    let several = document("\"/get\": {\"get\": {}}", keys);
    let ask = |text: &str, auth: &str| {
        let source = format!("http::openapi(parse_json(TEXT), #{{ base_url: BASE, auth: {auth} }}).help");
        let source = source.replace(".help", if text == PETSTORE { ".listPets()" } else { ".get_get()" });
        let source = source.replace("BASE", if text == PETSTORE { "BASE + \"/anything\"" } else { "BASE" });
        compile_and_run(&server, &source, text)
    };
    for (text, auth) in [
        (PETSTORE, "#{ api_key: \"k1\" }"),
        (PETSTORE, "#{ bearer: \"t\" }"),
        (PETSTORE, "#{ user: \"anna\", password: \"p\" }"),
        (&several, "#{ api_key: #{ one: \"k2\", two: \"k 3\" } }"),
    ] {
        let _reply = ask(text, auth).unwrap();
    }
    let requests = server.requests();
    assert_eq!(requests[0].header("x-shop-key"), Some("k1"));
    assert_eq!(requests[1].header("authorization"), Some("Bearer t"));
    assert_eq!(requests[2].header("authorization"), Some("Basic YW5uYTpw"));
    assert_eq!((requests[3].header("x-one"), requests[3].target.as_str()), (Some("k2"), "/get?key=k%203"));
    for (text, auth, expected) in [
        (
            &*several,
            "#{ api_key: \"k\" }",
            "the document has keys for `one`, `three`, `two`; give them by name, as in #{api_key: #{name: key}}",
        ),
        (&several, "#{ api_key: #{ four: \"k\" } }", "the document has no key `four`; it has `one`, `three`, `two`"),
        (
            &several,
            "#{ api_key: #{ three: \"k\" } }",
            "the key `three` is a cookie, and those are the client's own business",
        ),
        (&several, "#{ api_key: 5, bearer: 6 }", "`auth` is one of #{user, password}, #{bearer} and #{api_key}"),
        (PETSTORE, "#{ api_key: 5 }", "`api_key` is a string, not i64"),
        (&document("", ""), "#{ api_key: \"k\" }", "`api_key` is given, and the document has no scheme with a key"),
        (PETSTORE, "#{ key: \"k\" }", "`auth` is #{user, password} or #{bearer}"),
    ] {
        assert_eq!(message(ask(text, auth)), expected);
    }
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn help_tells_what_the_document_tells() {
    let server = Server::faults();
    let help = run(&server, "shop.help()").to_string();
    assert!(
        help.starts_with(&format!(
            "Burrow Pets 2.1 {}/anything\n\naddPet(#{{ kind, name, … }})  POST /pets\n",
            server.origin()
        )),
        "{help}"
    );
    let add = "    Takes in a pet.\n    X-Trace (header, string)\n    body (body, string)\n    kind (body, required, string, one of `marmot`, `pika`, `squirrel`)\n";
    assert!(help.contains(add), "{help}");
    assert!(help.contains("    limit (query, integer, at least 1, at most 100) The most pets of a page.\n"), "{help}");
    let printed = run(&server, "`${shop}`").to_string();
    assert!(printed.contains("\"pets_show_one\": GET /pets/{petId}, "), "{printed}");
}

#[test]
fn names_that_are_taken_or_none_are_replaced() {
    let server = Server::faults();
    let text = document(
        r#""/anything/x-{a}/y.z": {
            "get": {"operationId": "same"},
            "post": {"operationId": "same"},
            "put": {"operationId": "same"},
            "delete": {"operationId": "12 monkeys"},
            "patch": {"operationId": "find.all-pets"},
            "head": {"operationId": ""}
        }"#,
        "",
    );
    let source = r#"
        let shop = http::openapi(parse_json(TEXT), #{ base_url: BASE });
        [shop.same(1).method, shop.same_(1).method, shop.post_anything_x_a_y_z(1).method,
         shop.delete_anything_x_a_y_z(1).method, shop.find_all_pets(1).method, shop.head_anything_x_a_y_z(1)]
    "#;
    let all = compile_and_run(&server, source, &text).unwrap();
    assert_eq!(all.to_string(), r#"["GET", "PUT", "POST", "DELETE", "PATCH", ()]"#);
}

#[test]
fn documents_that_are_none_say_so() {
    for (text, expected) in [
        ("[]", "the document is not a map"),
        ("{}", "the document has no `openapi`, the version of OpenAPI"),
        (r#"{"swagger": "2.0"}"#, "the document is of Swagger 2, which is not known; OpenAPI 3.0 and 3.1 are"),
        (r#"{"openapi": "4.0.0"}"#, "OpenAPI 4.0.0 is not known; 3.0 and 3.1 are"),
        (r#"{"openapi": "3.1.0", "paths": 5}"#, "`paths` is not a map"),
        ("openapi: 3.1.0", " is not JSON: expected value at line 1 column 1"),
    ] {
        assert_eq!(wrong(text), expected);
    }
    let one = |operation: &str| wrong(&document(&format!("\"/a/{{id}}\": {{\"get\": {operation}}}"), ""));
    let about = |parameter: &str| one(&format!("{{\"operationId\": \"one\", \"parameters\": [{parameter}]}}"));
    for (text, expected) in [
        (one("5"), "get_a_id (get /a/{id}): there is something that is not a map where a map is due"),
        (about("{}"), "one (get /a/{id}): a parameter has no `name`"),
        (about(r#"{"name": "x"}"#), "one (get /a/{id}): the parameter `x` has no `in`"),
        (about(r#"{"name": "x", "in": "air"}"#), "one (get /a/{id}): the parameter `x`: there is no place `air`"),
        (
            about(r#"{"name": "id", "in": "path", "style": "matrix"}"#),
            "one (get /a/{id}): the parameter `id`: the style `matrix` is not known",
        ),
        (
            about(r#"{"name": "x", "in": "query", "schema": {"type": "text"}}"#),
            "one (get /a/{id}): the parameter `x`: there is no type `text`; there are string, integer, number, boolean, \
             array, object, null",
        ),
        (
            about(r#"{"name": "id", "in": "path"}, {"name": "id", "in": "query", "required": true}"#),
            "one (get /a/{id}): two parameters that are required are named `id`",
        ),
        (one(r#"{"requestBody": {}}"#), "get_a_id (get /a/{id}): the `requestBody` has no `content`"),
    ] {
        assert_eq!(text, expected);
    }
    for path in ["/a/../b", "/a/%2e%2e/b", "a", "/a?b", "/{", "/{}"] {
        let text = wrong(&document(&format!("\"{path}\": {{\"get\": {{}}}}"), ""));
        assert!(text.contains("the path `"), "{path}: {text}");
    }
}

#[test]
fn references_that_lead_nowhere_or_round_in_circles_are_told() {
    let by_reference =
        |reference: &str, schemas: &str| wrong(&with_body(&format!("{{\"$ref\": \"{reference}\"}}"), schemas));
    for (reference, schemas, expected) in [
        ("#/components/schemas/None", "", "leads nowhere"),
        ("other.json#/a", "", "leads to another document, which is not read"),
        ("http://127.0.0.1:1/x", "", "leads to another document, which is not read"),
        ("#/components/schemas/A", r##""A": {"$ref": "#/components/schemas/A"}"##, "leads round in a circle"),
        (
            "#/components/schemas/A",
            r##""A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"}"##,
            "leads round in a circle",
        ),
        (
            "#/components/schemas/A",
            r##""A": {"allOf": [{"$ref": "#/components/schemas/A"}]}"##,
            "its schemas are nested too deep, or in a circle",
        ),
    ] {
        let text = by_reference(reference, schemas);
        assert!(text.starts_with("post_a (post /a): ") && text.ends_with(expected), "{text}");
    }
    // A schema may well have fields of its own kind.
    let server = Server::faults();
    let tree = r##""T": {"properties": {"left": {"$ref": "#/components/schemas/T"}, "items": {"type": "array", "items": {"$ref": "#/components/schemas/T"}}}}"##;
    let text = with_body(r##"{"$ref": "#/components/schemas/T"}"##, tree);
    let source =
        "http::openapi(parse_json(TEXT), #{ base_url: BASE + \"/anything\" }).post_a(#{ left: #{ left: #{} } }).body";
    assert_eq!(compile_and_run(&server, source, &text).unwrap().to_string(), r#"{"left":{"left":{}}}"#);
}

#[test]
fn hostile_documents_end_soon_and_typed() {
    // Two branches each, and no bottom within reach.
    let doubling: Vec<_> = (0..40)
        .map(|n| format!("\"S{n}\": {{\"allOf\": [{{\"$ref\": \"#/components/schemas/S{0}\"}}, {{\"$ref\": \"#/components/schemas/S{0}\"}}]}}", n + 1))
        .collect();
    let first = r##"{"$ref": "#/components/schemas/S15"}"##;
    let bomb = format!("{}, \"S40\": {{}}", doubling.join(","));
    assert!(wrong(&with_body(first, &bomb)).ends_with("the document describes more than can be read"));
    assert!(wrong(&with_body(&first.replace("15", "0"), &bomb)).ends_with("nested too deep, or in a circle"));

    let deep = with_body(&format!("{}1{}", "{\"allOf\":[".repeat(10_000), "]}".repeat(10_000)), "");
    assert!(wrong(&deep).contains("is not JSON: recursion limit exceeded"));

    // One large thing that many refer to.
    let choices: Vec<_> = (0..100_000).map(|n| format!("\"choice number {n}\"")).collect();
    let huge = format!("\"schemas\": {{\"E\": {{\"enum\": [{}]}}}}", choices.join(","));
    let parameter = r##""parameters": [{"name": "x", "in": "query", "schema": {"$ref": "#/components/schemas/E"}}]"##;
    let paths = |count: usize| {
        (0..count).map(|n| format!("\"/p{n}\": {{\"get\": {{{parameter}}}}}")).collect::<Vec<_>>().join(",")
    };
    assert!(wrong(&document(&paths(1_000), &huge)).ends_with("the document describes more than can be read"));

    let many: Vec<_> = (0..6_000).map(|n| format!("\"/p{n}\": {{\"get\": {{}}}}")).collect();
    assert_eq!(wrong(&document(&many.join(","), "")), "there are more than 5000 operations");
    let fields: Vec<_> = (0..2_000).map(|n| format!("\"f{n}\": {{}}")).collect();
    let text = wrong(&with_body(&format!("{{\"properties\": {{{}}}}}", fields.join(",")), ""));
    assert!(text.ends_with("the body: it has more than 1000 fields"), "{text}");
    let parameters: Vec<_> = (0..2_000).map(|n| format!("{{\"name\": \"p{n}\", \"in\": \"query\"}}")).collect();
    let text = wrong(&document(&format!("\"/a\": {{\"get\": {{\"parameters\": [{}]}}}}", parameters.join(",")), ""));
    assert!(text.ends_with("there are more than 1000 parameters"), "{text}");
    let large = wrong(&format!("{{\"openapi\": \"3.1.0\", \"info\": \"{}\"}}", "x".repeat(17 << 20)));
    assert!(large.ends_with("is larger than 16 MiB"), "{large}");
}

#[test]
fn a_huge_enum_within_the_limits_is_used() {
    let server = Server::faults();
    let choices: Vec<_> = (0..50_000).map(|n| format!("\"c{n}\"")).collect();
    let schema = format!("{{\"properties\": {{\"x\": {{\"enum\": [{}]}}}}}}", choices.join(","));
    let text = with_body(&schema, "");
    let source = |value: &str| {
        format!(
            "http::openapi(parse_json(TEXT), #{{ base_url: BASE + \"/anything\" }}).post_a(#{{ x: \"{value}\" }}).body"
        )
    };
    assert_eq!(compile_and_run(&server, &source("c49999"), &text).unwrap().to_string(), r#"{"x":"c49999"}"#);
    let text = message(compile_and_run(&server, &source("d"), &text));
    assert!(text.ends_with("`c8`, `c9`, 49990 more, not `d`") && text.len() < 300, "{text}");
}
