//! Scripts: what they can ask for, what they get, how they end. The command around them is in `command.rs`.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use marmot::script::rhai::packages::Package;
use marmot::script::rhai::{Dynamic, Engine, INT, Map};
use marmot::script::{CancelToken, HttpPackage, ScriptEngine, ScriptErrorKind};

use crate::support::{RawServer, Server};
use std::io::{Read, Write};

/// Runs a script that sees the server as `BASE`.
fn run(server: &Server, source: &str) -> Dynamic {
    let engine = ScriptEngine::new();
    let script = engine.compile("test", source).unwrap().constant("BASE", server.origin());
    script.run().unwrap_or_else(|error| panic!("{}", error.render()))
}

fn text(value: &Dynamic) -> String {
    value.clone().into_string().unwrap()
}

/// What a script's request failed with.
fn thrown(source: &str) -> Map {
    let error = ScriptEngine::new().run(source).unwrap_err();
    assert_eq!(error.kind(), ScriptErrorKind::Runtime, "{error}");
    error.value().unwrap().clone().cast::<Map>()
}

#[test]
fn every_verb_sends_its_method_and_body() {
    let server = Server::faults();
    let _last = run(
        &server,
        r#"
        http_get(BASE + "/get");
        http_head(BASE + "/get");
        http_delete(BASE + "/get");
        http_post(BASE + "/echo", "text");
        http_put(BASE + "/echo", #{ a: [1, 2.5, "x", true, ()] });
        http_patch(BASE + "/echo", [1, 2]);
        let b = blob(3, 0xff);
        http_post(BASE + "/echo", b);
        http_request(#{ method: "options", url: BASE + "/get" });
        "#,
    );
    let requests = server.requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|request| (request.method.as_str(), request.header("content-type").unwrap_or(""), request.body.to_vec()))
        .collect();
    let json = br#"{"a":[1,2.5,"x",true,null]}"#.to_vec();
    assert_eq!(
        seen,
        [
            ("GET", "", vec![]),
            ("HEAD", "", vec![]),
            ("DELETE", "", vec![]),
            ("POST", "text/plain; charset=utf-8", b"text".to_vec()),
            ("PUT", "application/json", json),
            ("PATCH", "application/json", b"[1,2]".to_vec()),
            ("POST", "application/octet-stream", vec![0xff; 3]),
            ("OPTIONS", "", vec![]),
        ]
    );
    assert_eq!(server.accepted(), 1, "one connection serves them all");
}

#[test]
fn a_request_map_sets_query_form_headers_and_auth() {
    let server = Server::faults();
    let _last = run(
        &server,
        r#"
        http_request(#{
            method: "POST",
            url: BASE + "/echo?first=1",
            headers: #{ "X-One": "1", "X-Many": ["a", "b"] },
            query: #{ q: "a b&c", list: [1, 2], none: () },
            form: #{ name: "Größe", n: 5 },
            auth: #{ user: "anna", password: "s:3" },
        });
        http_get(BASE + "/get", #{ auth: #{ bearer: "t0k" } });
        http_post(BASE + "/echo", "<x/>", #{ headers: #{ "Content-Type": "text/xml" } });
        "#,
    );
    let requests = server.requests();
    assert_eq!(requests[0].target, "/echo?first=1&list=1&list=2&q=a+b%26c");
    assert_eq!(requests[0].body.to_vec(), b"n=5&name=Gr%C3%B6%C3%9Fe");
    assert_eq!(requests[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(requests[0].header_values("x-many").count(), 2);
    assert_eq!(requests[0].header("authorization"), Some("Basic YW5uYTpzOjM="));
    assert_eq!(requests[1].header("authorization"), Some("Bearer t0k"));
    assert_eq!(requests[2].header("content-type"), Some("text/xml"));
}

#[test]
fn a_response_shows_everything() {
    let server = Server::faults();
    let value = run(
        &server,
        r#"
        let r = http_get(BASE + "/get?a=1");
        let repeated = http_get(BASE + "/repeat-headers");
        let name = "X-REPEAT";
        let gone = http_get(BASE + "/status/404");
        #{
            status: r.status, ok: r.ok, url: r.url, version: r.version,
            upper: r.headers["CONTENT-TYPE"], property: r.headers.server == (), missing: r.headers["x-nothing"],
            has: "content-type" in r.headers, hasnt: "x-nothing" in r.headers,
            repeated: repeated.headers.get_all(name).len(),
            method: r.json().method, twice: r.text() == r.text(), size: r.blob().len() > 0,
            total: r.timings.total, downloaded: r.timings.downloaded,
            gone: gone.status, gone_ok: gone.ok,
        }
        "#,
    );
    let map = value.cast::<Map>();
    let get = |name: &str| map[name].clone();
    assert_eq!(get("status").as_int(), Ok(200));
    assert_eq!(get("ok").as_bool(), Ok(true));
    assert_eq!(text(&get("url")), server.url("/get?a=1"));
    assert_eq!(text(&get("version")), "HTTP/1.1");
    assert_eq!(text(&get("upper")), "application/json");
    assert!(get("missing").is_unit());
    assert_eq!(get("has").as_bool(), Ok(true));
    assert_eq!(get("hasnt").as_bool(), Ok(false));
    assert_eq!(get("repeated").as_int(), Ok(3));
    assert_eq!(text(&get("method")), "GET");
    assert_eq!(get("twice").as_bool(), Ok(true));
    assert!(get("total").as_int().unwrap() > 0);
    assert!(get("downloaded").as_int().unwrap() > 0);
    assert_eq!(get("gone").as_int(), Ok(404));
    assert_eq!(get("gone_ok").as_bool(), Ok(false));
}

#[test]
fn text_blobs_and_numbers_are_not_mangled() {
    let server = Server::faults();
    let value = run(
        &server,
        r#"
        let text = "grüße 😀 \u0000 \"q\"";
        let same_text = http_post(BASE + "/echo", text).text() == text;
        let bytes = blob();
        for n in 0..256 { bytes.push(n); }
        let same_bytes = http_post(BASE + "/echo", bytes).blob() == bytes;
        let numbers = #{ max: 9223372036854775807, min: -9223372036854775807 - 1, f: 0.1, e: 1e300 };
        let back = http_post(BASE + "/echo", numbers).json();
        let same_numbers = back.max == numbers.max && back.min == numbers.min && back.f == numbers.f && back.e == numbers.e;
        let big = http_post(BASE + "/echo", "{\"n\": 18446744073709551615}").json();
        let latin = http_get(BASE + "/latin1").text();
        [same_text, same_bytes, same_numbers, to_json(big) == "{\"n\":18446744073709551615}", latin.contains("ü") || latin.contains("ö") || latin.contains("ä")]
        "#,
    );
    let all: Vec<bool> = value.into_typed_array().unwrap();
    assert_eq!(all, [true; 5]);
}

#[test]
fn failures_throw_maps_with_the_line() {
    let map = thrown("let x = 1;\n\nhttp_get(\"http://127.0.0.1:1/path\");");
    assert_eq!(text(&map["kind"]), "connection_failed");
    assert_eq!(text(&map["url"]), "http://127.0.0.1:1/path");
    assert_eq!(map["line"].as_int(), Ok(3));
    assert!(map["status"].is_unit());
    assert!(text(&map["message"]).contains("refused"));

    let server = Server::faults();
    let value = run(
        &server,
        r#"
        let kinds = [];
        try { http_get(BASE + "/delay/5000", #{ timeout: 0.1 }) } catch (e) { kinds.push(e.kind); }
        try { http_get("http://nosuchhost.invalid/") } catch (e) { kinds.push(e.kind); }
        try { http_get(BASE + "/close/in-body") } catch (e) { kinds.push(e.kind); }
        try { http_get(BASE + "/redirect-loop") } catch (e) { kinds.push(e.kind); }
        try { http_get(BASE + "/bytes/2000", #{ max_size: 1000 }) } catch (e) { kinds.push(e.kind); }
        try { http_get(BASE + "/text").json() } catch (e) { kinds.push(e.kind); }
        try { http_get("not a url") } catch (e) { kinds.push(e.kind); }
        try { http_get(BASE, #{ tiemout: 1 }) } catch (e) { kinds.push(e.kind); }
        try { http_get(BASE, #{ headers: #{ a: "b\r\nc: d" } }) } catch (e) { kinds.push(e.kind); }
        try { http_post(BASE, 5) } catch (e) { kinds.push(e.kind); }
        kinds
        "#,
    );
    let kinds: Vec<String> = value.into_typed_array::<Dynamic>().unwrap().iter().map(text).collect();
    assert_eq!(
        kinds,
        [
            "timeout",
            "name_resolution",
            "response_body_truncated",
            "too_many_redirects",
            "too_large",
            "invalid_response_body",
            "invalid_request",
            "invalid_request",
            "invalid_request",
            "invalid_request",
        ]
    );
}

#[test]
fn raise_turns_a_status_into_an_error_and_passes_success_on() {
    let server = Server::faults();
    let value = run(
        &server,
        r#"
        let fine = http_get(BASE + "/status/204").raise().status;
        let caught = ();
        try { http_get(BASE + "/status/503").raise(); } catch (e) { caught = e; }
        [fine, caught.status, caught.kind, caught.url]
        "#,
    );
    let all = value.into_array().unwrap();
    assert_eq!(all[0].as_int(), Ok(204));
    assert_eq!(all[1].as_int(), Ok(503));
    assert_eq!(text(&all[2]), "status");
    assert_eq!(text(&all[3]), server.url("/status/503"));
}

#[test]
fn redirects_are_followed_as_far_as_the_script_says() {
    let server = Server::faults();
    let value = run(
        &server,
        r#"[
            http_get(BASE + "/redirect/3").status,
            http_get(BASE + "/redirect/3", #{ redirects: 0 }).status,
        ]"#,
    );
    let all: Vec<INT> = value.into_typed_array().unwrap();
    assert_eq!(all, [200, 302]);
}

#[test]
fn the_package_works_in_an_engine_of_ones_own() {
    let server = Server::faults();
    let mut engine = Engine::new();
    HttpPackage::new().register_into_engine(&mut engine);
    let status: INT = engine.eval(&format!("http_get(\"{}\").status", server.url("/get"))).unwrap();
    assert_eq!(status, 200);
}

#[test]
fn fifty_scripts_wait_side_by_side() {
    let server = Server::faults();
    let engine = ScriptEngine::new();
    let source = format!("http_get(\"{}\").status", server.url("/delay/1000"));
    let script = engine.compile("slow", &source).unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        let scripts: Vec<_> = (0..50).map(|_| scope.spawn(|| script.run().unwrap().as_int())).collect();
        for script in scripts {
            assert_eq!(script.join().unwrap(), Ok(200));
        }
    });
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_millis(2500), "{took:?}");
}

#[test]
fn a_time_limit_ends_a_script_that_waits_or_works() {
    let server = Server::faults();
    for source in [
        format!("http_get(\"{}\")", server.url("/stall-head")),
        format!("http_get(\"{}\")", server.url("/stall/1000")),
        format!("try {{ http_get(\"{}\") }} catch {{ }} loop {{ }}", server.url("/stall-head")),
        "sleep(60)".to_owned(),
        "loop { }".to_owned(),
    ] {
        let engine = ScriptEngine::new();
        let script = engine.compile("limited", &source).unwrap().time_limit(Duration::from_millis(100));
        let late = || {
            let start = Instant::now();
            let error = script.run().unwrap_err();
            assert_eq!(error.kind(), ScriptErrorKind::TimeLimit, "{source}");
            start.elapsed().saturating_sub(Duration::from_millis(100))
        };
        // A busy machine may keep a thread waiting for a core for longer than that, but not each time.
        assert!((0..10).any(|_| late() < Duration::from_millis(50)), "late: {source}");
    }
    assert!(server.wait_open(0, Duration::from_secs(2)), "the requests were ended with their scripts");
}

#[test]
fn a_cancel_token_ends_a_script_that_waits_for_the_network() {
    let server = Server::faults();
    let token = CancelToken::new();
    let engine = ScriptEngine::new();
    let source = format!("http_get(\"{}\")", server.url("/stall-head"));
    let script = engine.compile("cancelled", &source).unwrap().cancel(token.clone());
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            let error = script.run().unwrap_err();
            (error.kind(), Instant::now())
        });
        assert!(server.wait_for_heads(1, Duration::from_secs(5)));
        let at = Instant::now();
        token.cancel();
        let (kind, ended) = running.join().unwrap();
        assert_eq!(kind, ScriptErrorKind::Cancelled);
        assert!(ended - at < Duration::from_millis(50), "{:?}", ended - at);
    });
}

#[test]
fn errors_render_the_line_with_a_caret() {
    let error = ScriptEngine::new().compile("broken.rhai", "let a = 1;\nlet b = );\n").unwrap_err();
    assert_eq!(error.kind(), ScriptErrorKind::Parse);
    assert_eq!((error.line(), error.column()), (Some(2), Some(9)));
    let lines: Vec<String> = error.render().lines().map(str::to_owned).collect();
    assert_eq!(&lines[1..], [" --> broken.rhai:2:9", "  |", "2 | let b = );", "  |         ^"]);

    let error = ScriptEngine::new().run("fn f() {\n\tthrow \"oh\";\n}\nf();").unwrap_err();
    assert_eq!(error.line(), Some(2));
    assert!(error.render().ends_with("\n  | \t^"), "{}", error.render());
}

#[test]
fn scripts_cannot_read_files_through_import() {
    let error = ScriptEngine::new().run("import \"Cargo\" as c;").unwrap_err();
    assert_eq!(error.kind(), ScriptErrorKind::Runtime);
}

#[test]
fn prints_and_traces_reach_their_listeners() {
    let server = Server::faults();
    let printed = Arc::new(Mutex::new(Vec::new()));
    let traced = Arc::new(Mutex::new(Vec::new()));
    let (print, trace) = (printed.clone(), traced.clone());
    let engine = ScriptEngine::builder().on_request(move |line| trace.lock().unwrap().push(line.clone()));
    let engine = engine.build().unwrap().on_print(move |text| print.lock().unwrap().push(text.to_owned()));
    let source = r#"
        print(http_get(BASE + "/redirect/1").status);
        try { http_get("http://127.0.0.1:1/") } catch { print("caught"); }
    "#;
    let _last = engine.compile("traced", source).unwrap().constant("BASE", server.origin()).run().unwrap();
    assert_eq!(*printed.lock().unwrap(), ["200", "caught"]);
    let traced = traced.lock().unwrap();
    assert_eq!(traced[0].url, server.url("/redirect/1"));
    assert_eq!(traced[0].redirected_to, Some(server.url("/get")));
    assert_eq!(traced[0].result, Ok(200));
    assert!(traced[0].bytes > 0 && traced[0].metrics.is_some());
    assert!(traced[1].result.is_err());
}

#[test]
fn a_server_that_sends_garbage_is_a_violation() {
    let server = RawServer::start(|mut stream, _, _| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"SMTP 200 hi\r\n\r\n");
    });
    let map = thrown(&format!("http_get(\"{}\")", server.url("/")));
    assert_eq!(text(&map["kind"]), "protocol_violation");
}

#[test]
fn a_function_that_panics_ends_its_script_and_nothing_else() {
    let mut engine = ScriptEngine::new();
    engine.engine_mut().register_fn("burst", || -> i64 { panic!("too much hay") });
    let error = engine.run("burst()").unwrap_err();
    assert_eq!(error.kind(), ScriptErrorKind::Panicked);
    assert!(error.to_string().contains("too much hay"), "{error}");
    assert_eq!(engine.run("40 + 2").unwrap().as_int(), Ok(42));
}

#[test]
fn links_and_the_time_to_wait_are_read_from_the_headers() {
    let server = Server::start(|request, r| match request.path() {
        "/plain" => r.text(200, ""),
        "/later" => {
            let date = SystemTime::now() + Duration::from_secs(100);
            r.send(503, &[("Retry-After", &httpdate::fmt_http_date(date))], b"")
        }
        _ => {
            r.send(429, &[("Retry-After", "7"), ("Link", "<?page=2>; rel=next"), ("Link", "</1>; rel=\"first\"")], b"")
        }
    });
    let seen = run(
        &server,
        r#"
        let reply = http_get(BASE + "/list/items");
        let plain = http_get(BASE + "/plain");
        let later = http_get(BASE + "/later").retry_after;
        [reply.links.next, reply.links.first, reply.retry_after, plain.links.len(), plain.links.next, plain.retry_after,
            later > 90 && later <= 100]
        "#,
    );
    let expected = format!("[\"{0}/list/items?page=2\", \"{0}/1\", 7, 0, (), (), true]", server.origin());
    assert_eq!(seen.to_string(), expected);
}
