//! GraphQL from scripts: what is sent, and what comes of each kind of answer.

use marmot::script::rhai::{Dynamic, Map};
use marmot::script::{ScriptEngine, ScriptError, ScriptErrorKind};

use crate::support::Server;

/// Answers by what is asked for.
fn server() -> Server {
    Server::start(|request, r| {
        let kind = "application/graphql-response+json";
        let body = request.text();
        let answers = [
            ("burrows", 200, r#"{"data": {"burrows": [{"depth": 3}]}, "extensions": {}}"#),
            (
                "partly",
                200,
                r#"{"data": {"a": 1}, "errors": [{"message": "no b", "path": ["b"]}, {"message": "no c"}]}"#,
            ),
            ("wrong", 400, r#"{"errors": [{"message": "Cannot query field"}]}"#),
            ("silent", 200, r#"{"errors": [{}]}"#),
            ("nothing", 200, r#"{"data": null}"#),
            ("other", 200, r#"{"result": 1}"#),
            ("list", 200, "[1]"),
            ("page", 200, "<html>Welcome"),
            ("down", 503, "<html>Come back later"),
            ("refused", 401, r#"{"reason": "no key"}"#),
            ("odd", 500, r#"{"data": {"a": 1}}"#),
        ];
        let (_, status, answer) = answers.iter().find(|(word, ..)| body.contains(word)).expect("a known query");
        r.send(*status, &[("Content-Type", kind)], answer.as_bytes())
    })
}

fn try_run(server: &Server, source: &str) -> Result<Dynamic, ScriptError> {
    ScriptEngine::new().compile("test", source).unwrap().constant("BASE", server.origin()).run()
}

fn run(server: &Server, source: &str) -> String {
    try_run(server, source).unwrap_or_else(|error| panic!("{}", error.render())).to_string()
}

#[track_caller]
fn thrown(server: &Server, source: &str) -> Map {
    let error = try_run(server, source).err().unwrap_or_else(|| panic!("{source} throws nothing"));
    assert_eq!(error.kind(), ScriptErrorKind::Runtime, "{error}");
    error.value().unwrap().clone().cast::<Map>()
}

#[test]
fn a_query_is_sent_as_json_and_gives_its_data() {
    let server = server();
    let depth = run(
        &server,
        r#"
        let data = graphql(BASE + "/graphql", "{ burrows { depth } }");
        let options = #{ operation_name: "One", headers: #{ "X-Key": "k" }, timeout: 5, query: #{ v: 2 } };
        let same = http::graphql(BASE + "/graphql", "query One($id: Int) { burrows }", #{ id: 7 }, options);
        if data != same { throw "they differ" }
        data.burrows[0].depth
        "#,
    );
    assert_eq!(depth, "3");
    let requests = server.requests();
    assert_eq!(requests[0].method, "POST");
    assert_eq!(requests[0].text(), r#"{"query":"{ burrows { depth } }"}"#);
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert_eq!(requests[0].header("accept"), Some("application/graphql-response+json, application/json"));
    assert_eq!(
        requests[1].text(),
        r#"{"operationName":"One","query":"query One($id: Int) { burrows }","variables":{"id":7}}"#
    );
    assert_eq!((requests[1].target.as_str(), requests[1].header("x-key")), ("/graphql?v=2", Some("k")));
    assert_eq!(requests[1].header_values("accept").count(), 1);
}

#[test]
fn a_client_has_it_as_a_method_and_each_form_has_a_twin_that_promises() {
    let server = server();
    let depths = run(
        &server,
        r#"
        let client = http::client(#{ base_url: BASE + "/api" });
        let promises = [
            client.graphql_async("graphql", "{ burrows }"),
            client.graphql_async("graphql", "{ burrows }", #{ a: 1 }, #{ headers: #{ accept: "application/json" } }),
            graphql_async(BASE + "/api/graphql", "{ burrows }", ()),
            http::graphql_async(BASE + "/api/graphql", "{ burrows }"),
        ];
        let all = http_all(promises);
        all.push(client.graphql("graphql", "{ burrows }", #{ a: 1 }));
        all.push(client.graphql("graphql", "{ burrows }"));
        all.push(client.graphql("graphql", "{ burrows }", (), #{}));
        all.map(|data| data.burrows[0].depth)
        "#,
    );
    assert_eq!(depths, "[3, 3, 3, 3, 3, 3, 3]");
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.target == "/api/graphql"));
    assert_eq!(requests.iter().filter(|request| request.header("accept") == Some("application/json")).count(), 1);
}

#[test]
fn errors_are_thrown_with_the_data_that_came_beside_them() {
    let server = server();
    let error = thrown(&server, "let url = BASE;\ngraphql(url, \"{ partly }\")");
    assert_eq!(error["kind"].to_string(), "graphql");
    assert_eq!(error["message"].to_string(), "no b");
    assert_eq!(error["errors"].clone().into_array().unwrap().len(), 2);
    assert_eq!(error["data"].clone().cast::<Map>()["a"].as_int(), Ok(1));
    assert_eq!((error["status"].as_int(), error["line"].as_int()), (Ok(200), Ok(2)));
    assert_eq!(error["url"].to_string(), server.url("/"));
    let error = thrown(&server, "graphql_async(BASE, \"{ wrong }\").wait()");
    assert_eq!((error["kind"].to_string(), error["status"].as_int()), ("graphql".into(), Ok(400)));
    assert_eq!(error["message"].to_string(), "Cannot query field");
    assert_eq!(thrown(&server, "graphql(BASE, \"silent\")")["message"].to_string(), "the server gives no reason");
    assert_eq!(run(&server, "graphql(BASE, \"nothing\") == ()"), "true");
}

#[test]
fn what_is_no_answer_of_graphql_is_an_error_that_says_so() {
    let server = server();
    for word in ["other", "list", "page"] {
        let error = thrown(&server, &format!("graphql(BASE, \"{word}\")"));
        assert_eq!(error["kind"].to_string(), "invalid_response_body", "{word}");
        assert!(error["message"].to_string().contains("not GraphQL; it begins"), "{error:?}");
        assert_eq!(error["url"].to_string(), server.url("/"));
    }
    let error = thrown(&server, "graphql(BASE, \"down\")");
    assert_eq!((error["kind"].to_string(), error["status"].as_int()), ("status".into(), Ok(503)));
    assert_eq!(error["body"].to_string(), "<html>Come back later");
    let error = thrown(&server, "graphql(BASE, \"refused\")");
    assert_eq!(error["body"].clone().cast::<Map>()["reason"].to_string(), "no key");
    assert_eq!(thrown(&server, "graphql(BASE, \"odd\")")["kind"].to_string(), "status");
}

#[test]
fn wrong_arguments_are_told_before_anything_is_sent() {
    let server = server();
    for (call, message) in [
        ("graphql(BASE, \"{ a }\", 5)", "the variables are a map, not i64"),
        ("graphql(BASE, \"{ a }\", (), #{ operation_name: 1 })", "`operation_name` is a string, not i64"),
        ("graphql(BASE, \"{ a }\", (), #{ headers: 1 })", "`headers` is a map, not i64"),
        ("graphql(BASE, \"{ a }\", (), #{ timeuot: 1 })", "there is no option `timeuot`; did you mean `timeout`?"),
        ("graphql(\"no where\", \"{ a }\")", "`no where` is not an absolute URL"),
        ("graphql(BASE, \"{ a }\", #{ a: blob(1) })", "a value of type `blob` has no form in JSON"),
    ] {
        let error = thrown(&server, call);
        assert_eq!(error["kind"].to_string(), "invalid_request");
        assert_eq!(error["message"].to_string(), message);
    }
    assert_eq!(server.requests().len(), 0);
}
