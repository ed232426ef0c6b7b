//! Documents of OpenAPI that nobody should write, or that mean harm: they end soon, with an error that tells why.

use std::time::{Duration, Instant};

use marmot::script::rhai::{Dynamic, Map};
use marmot::script::{Sandbox, ScriptEngine, ScriptError, ScriptErrorKind};

use crate::support::Server;

fn compile_and_run(server: &Server, source: &str, document: &str) -> Result<Dynamic, ScriptError> {
    let engine = ScriptEngine::builder().sandbox(Sandbox::open()).build().unwrap();
    let script = engine.compile("test", source).unwrap_or_else(|error| panic!("{error}"));
    script.constant("BASE", server.origin()).constant("TEXT", document.to_owned()).run()
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
    assert!(start.elapsed() < Duration::from_secs(20), "{:?} for {text}", start.elapsed());
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
    assert!(text.ends_with("there are more than 200 parameters"), "{text}");
    // Each variable of the server's URL stands for two of the next.
    let variables: Vec<_> =
        (10..70).map(|n| format!("\"v{n}\": {{\"default\": \"{{v{0}}}{{v{0}}}\"}}", n + 1)).collect();
    let text = format!(
        "{{\"openapi\": \"3.1.0\", \"servers\": [{{\"url\": \"http://{{v10}}\", \"variables\": {{{}}}}}]}}",
        variables.join(",")
    );
    let server = Server::faults();
    assert_eq!(
        message(compile_and_run(&server, "http::openapi(parse_json(TEXT))", &text)),
        "the server's URL is too long"
    );
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
