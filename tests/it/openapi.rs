//! Documents of OpenAPI as scripts use them. Those that nobody should write are in `openapi_wrong.rs`, APIs of a script's own in
//! `apis.rs`.

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

/// A document of these paths and components.
fn document(paths: &str, components: &str) -> String {
    format!("{{\"openapi\": \"3.1.0\", \"paths\": {{{paths}}}, \"components\": {{{components}}}}}")
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
fn a_document_may_be_of_yaml() {
    let text = "\
openapi: 3.1.0
info: {title: A small shop, version: '1'}
paths:
  /pets/{id}:
    parameters:
      - &id
        name: id
        in: path
        required: true
        schema: {type: integer}
    get:
      operationId: show
      responses:
        200: {description: One pet.}
    delete:
      operationId: drop
      parameters: [*id]
";
    let server = Server::start(move |request, r| match request.path() {
        "/shop.yaml" => r.send(200, &[("Content-Type", "application/yaml")], text.as_bytes()),
        path => r.text(200, path),
    });
    let source = "let shop = http::openapi(BASE + \"/shop.yaml\"); [shop.show(7), shop.drop(8)]";
    let all = compile_and_run(&server, source, "").unwrap();
    assert_eq!(all.to_string(), r#"["/pets/7", "/pets/8"]"#);
    let text = message(compile_and_run(&server, "http::openapi(BASE + \"/shop.yaml\").show(\"x\")", ""));
    assert_eq!(text, "show: the parameter `id` is an integer, not a string");
}
