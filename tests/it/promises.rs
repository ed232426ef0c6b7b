//! Promises and clients of scripts: many requests at once from one thread. Single requests are in `script.rs`.

use std::time::{Duration, Instant};

use marmot::script::rhai::{Array, Dynamic, Map};
use marmot::script::{CancelToken, ScriptEngine, ScriptError, ScriptErrorKind};

use crate::support::{RawServer, Server};

/// Runs a script that sees the server as `BASE`.
fn try_run(server: &Server, source: &str) -> Result<Dynamic, ScriptError> {
    let engine = ScriptEngine::new();
    engine.compile("test", source).unwrap().constant("BASE", server.origin()).time_limit(Duration::from_secs(20)).run()
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

fn ints(value: Dynamic) -> Vec<i64> {
    value.cast::<Array>().into_iter().map(|item| item.as_int().unwrap()).collect()
}

#[test]
fn a_promise_goes_on_while_the_script_does_something_else() {
    let server = Server::faults();
    let start = Instant::now();
    let statuses = run(
        &server,
        r#"
        let first = http_get_async(BASE + "/delay/300");
        let second = http_post_async(BASE + "/echo", "hello");
        if first.ready { throw "too early" }
        let third = http_get(BASE + "/delay/300");
        [first.wait().status, second.wait().text().len(), third.status, first.wait().status, `${first}`.len()]
        "#,
    );
    assert_eq!(ints(statuses), [200, 5, 200, 200, "Promise(ready)".len() as i64]);
    assert!(start.elapsed() < Duration::from_millis(550), "{:?}", start.elapsed());
}

#[test]
fn a_redirect_of_a_promise_is_followed_while_the_script_computes() {
    let server = Server::faults();
    let ready = run(
        &server,
        r#"
        let promise = http_get_async(BASE + "/redirect/3");
        let turns = 0;
        while !promise.ready && turns < 50_000_000 { turns += 1; }
        promise.ready && promise.wait().status == 200
        "#,
    );
    assert!(ready.as_bool().unwrap());
}

#[test]
fn waiting_for_a_while_gives_nothing_or_the_value() {
    let server = Server::faults();
    let seen = run(
        &server,
        r#"
        let promise = http_get_async(BASE + "/delay/400");
        let early = promise.wait(20);
        let late = promise.wait(5000);
        [if early == () { 1 } else { 0 }, late.status]
        "#,
    );
    assert_eq!(ints(seen), [1, 200]);
}

#[test]
fn a_failure_is_thrown_where_it_is_waited_for_with_the_line_of_its_start() {
    let server = Server::faults();
    let error = thrown(
        &server,
        r#"
        let promise = http_get_async(BASE + "/reset/before-head");
        let other = http_get(BASE + "/get");
        promise.wait()
        "#,
    );
    assert_eq!(error["line"].as_int(), Ok(2), "{error:?}");
    assert!(error["url"].to_string().ends_with("/reset/before-head"));
    let again = run(
        &server,
        r#"
        let promise = http_get_async(BASE + "/reset/before-head");
        let seen = [];
        for n in 0..2 { try { promise.wait(); } catch (error) { seen.push(error.kind); } }
        seen.len()
        "#,
    );
    assert_eq!(again.as_int(), Ok(2));
}

#[test]
fn a_cancelled_request_ends_and_says_so() {
    let server = Server::faults();
    let error = thrown(
        &server,
        r#"
        let promise = http_get_async(BASE + "/stall-head");
        sleep(0.05);
        promise.cancel();
        promise.wait()
        "#,
    );
    assert_eq!(error["kind"].to_string(), "cancelled");
    assert!(server.wait_open(0, Duration::from_secs(5)), "its connection is gone");
}

#[test]
fn http_all_keeps_the_order_and_takes_urls_maps_and_promises() {
    let server = Server::faults();
    let start = Instant::now();
    let bodies = run(
        &server,
        r#"
        let replies = http_all([
            BASE + "/delay/300",
            #{ method: "POST", url: BASE + "/echo", body: "second" },
            http_post_async(BASE + "/echo", "third one"),
        ]);
        [replies[0].status, replies[1].text().len(), replies[2].text().len(), http_all([]).len()]
        "#,
    );
    assert_eq!(ints(bodies), [200, 6, 9, 0]);
    assert!(start.elapsed() < Duration::from_millis(550), "{:?}", start.elapsed());
}

#[test]
fn the_first_failure_of_http_all_cancels_the_rest() {
    let server = Server::faults();
    let start = Instant::now();
    let error = thrown(
        &server,
        r#"http_all([BASE + "/stall-head", BASE + "/delay/100", BASE + "/reset/before-head", BASE + "/stall-head"])"#,
    );
    assert!(error["url"].to_string().ends_with("/reset/before-head"), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(server.wait_open(0, Duration::from_secs(5)), "nobody waits any more");
    let error = thrown(&server, r#"http_all([BASE + "/get", 42])"#);
    assert!(error["message"].to_string().contains("not i64"), "{error:?}");
}

#[test]
fn http_settle_tells_of_each_how_it_ended() {
    let server = Server::faults();
    let told = run(
        &server,
        r#"
        let all = http_settle([BASE + "/reset/before-head", BASE + "/get", BASE + "/status/404"]);
        [if all[0].ok { 1 } else { 0 }, all[0].error.line, all[1].value.status, all[2].value.status]
        "#,
    );
    assert_eq!(ints(told), [0, 2, 200, 404]);
}

#[test]
fn http_settle_with_a_limit_goes_on_after_failures() {
    let server = Server::faults();
    let start = Instant::now();
    let told = run(
        &server,
        r#"
        let paths = ["/delay/80", "/reset/before-head", "/delay/80", "/status/404"];
        let all = http_settle(paths, 2, |path| BASE + path);
        let plain = http::settle(1..=3, 2, |n| n);
        let failed = if all[1].ok { 0 } else { all[1].error.line };
        [all[0].value.status, failed, all[2].value.status, all[3].value.status, plain.len(), plain[2].value]
        "#,
    );
    assert_eq!(ints(told), [200, 3, 200, 404, 3, 3]);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(server.accepted() <= 4, "{} connections", server.accepted());
    for call in ["http_settle([1], 0, |n| BASE)", "http_settle(5, 2, |n| BASE)", "http_settle([1], 2, |n| \"no URL\")"]
    {
        assert_eq!(thrown(&server, call)["kind"].to_string(), "invalid_request", "{call}");
    }
}

#[test]
fn http_race_gives_the_first_answer_and_ends_the_others() {
    let server = Server::faults();
    let status =
        run(&server, r#"http_race([BASE + "/stall-head", BASE + "/reset/before-head", BASE + "/delay/100"]).status"#);
    assert_eq!(status.as_int(), Ok(200));
    assert!(server.wait_open(1, Duration::from_secs(5)), "only the winner's connection is kept");
    let error = thrown(&server, r#"http_race([BASE + "/reset/before-head", BASE + "/reset/before-head"])"#);
    assert!(error["url"].to_string().ends_with("/reset/before-head"));
    assert_eq!(thrown(&server, "http_race([])")["kind"].to_string(), "invalid_request");
}

#[test]
fn http_each_keeps_to_its_limit_and_to_the_order() {
    let server = Server::faults();
    let start = Instant::now();
    let sum = run(
        &server,
        r#"
        let replies = http_each(0..20, 5, |n| BASE + `/delay/${60 + n % 3 * 10}?n=${n}`);
        let plain = http_each([1, 2], 1, |n| n * 10);
        let texts = http_each(["a", "b"], 2, |text| http_post_async(BASE + "/echo", text));
        [replies.len(), replies[7].status, plain[1], if texts[1].text() == "b" { 1 } else { 0 }]
        "#,
    );
    assert_eq!(ints(sum), [20, 200, 20, 1]);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(4 * 60), "no more than five at once: {took:?}");
    assert!(took < Duration::from_millis(1100), "five at once: {took:?}");
    assert!(server.accepted() <= 7, "{} connections", server.accepted());
    let targets: Vec<_> = server.requests().into_iter().take(5).map(|request| request.target).collect();
    assert!(targets.iter().any(|target| target.ends_with("n=0")), "{targets:?}");
    let error = thrown(
        &server,
        r#"http_each([1, 2, 3], 2, |n| BASE + if n == 2 { "/reset/before-head" } else { "/delay/50" })"#,
    );
    assert!(error["url"].to_string().ends_with("/reset/before-head"), "{error:?}");
    assert_eq!(thrown(&server, r#"http_each([1], 0, |n| BASE)"#)["kind"].to_string(), "invalid_request");
}

#[test]
fn limits_and_cancelling_end_a_script_that_waits_for_promises() {
    let server = Server::faults();
    let engine = ScriptEngine::new();
    for wait in [
        r#"http_get_async(BASE + "/stall-head").wait()"#,
        r#"http_all([BASE + "/stall-head", BASE + "/stall-head"])"#,
        r#"http_settle([BASE + "/stall-head"])"#,
        r#"http_race([BASE + "/stall-head"])"#,
        r#"http_each(0..9, 2, |n| BASE + "/stall-head")"#,
        r#"let p = http_get_async(BASE + "/stall-head"); loop { try { p.wait(10); } catch {} }"#,
    ] {
        let script = engine.compile("test", wait).unwrap().constant("BASE", server.origin());
        let start = Instant::now();
        let error = script.clone().time_limit(Duration::from_millis(200)).run().unwrap_err();
        assert_eq!(error.kind(), ScriptErrorKind::TimeLimit, "{wait}");
        assert!(start.elapsed() < Duration::from_millis(300), "{wait}: {:?}", start.elapsed());
        let token = CancelToken::new();
        let cancel = token.clone();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            cancel.cancel();
        });
        let error = script.cancel(token).run().unwrap_err();
        assert_eq!(error.kind(), ScriptErrorKind::Cancelled, "{wait}");
        other.join().unwrap();
    }
    assert!(server.wait_open(0, Duration::from_secs(5)), "what is under way ends with its script");
}

#[test]
fn a_client_adds_its_base_headers_and_credentials_and_keeps_cookies() {
    let server = Server::faults();
    let _last = run(
        &server,
        r#"
        let api = http::client(#{
            base_url: BASE + "/anything/",
            headers: #{ "X-Team": "marmots" },
            auth: #{ bearer: "t0k" },
            timeout: 5,
        });
        api.get("/one?x=1");
        api.post("two", #{ a: 1 }, #{ headers: #{ "X-Own": "1" } });
        let both = http_all([api.get_async("three"), api.put_async("four", "body")]);
        api.request(#{ method: "delete", url: "five" });
        "#,
    );
    let requests = server.requests();
    let targets: Vec<_> = requests.iter().map(|request| request.target.as_str()).collect();
    assert_eq!(targets.len(), 5, "{targets:?}");
    assert_eq!((targets[0], targets[1], targets[4]), ("/anything/one?x=1", "/anything/two", "/anything/five"));
    for request in &requests {
        assert_eq!(request.header("x-team"), Some("marmots"));
        assert_eq!(request.header("authorization"), Some("Bearer t0k"));
    }
    assert_eq!(requests[1].header("x-own"), Some("1"));
    assert!(server.accepted() <= 2);
}

#[test]
fn a_client_with_a_base_asks_nobody_else() {
    let (server, other) = (Server::faults(), Server::faults());
    let source = format!(r#"http::client(#{{ base_url: BASE }}).get("{}/get")"#, other.origin());
    let error = thrown(&server, &source);
    assert_eq!(error["kind"].to_string(), "invalid_request");
    assert!(error["message"].to_string().contains("is elsewhere"), "{error:?}");
    assert_eq!(other.accepted(), 0);
    let status = run(&server, r#"http::client(#{ base_url: BASE }).get(BASE + "/get").status"#);
    assert_eq!(status.as_int(), Ok(200));
}

#[test]
fn wrong_options_of_a_client_are_named() {
    let server = Server::faults();
    for (source, part) in [
        ("http::client(#{ base: 1 })", "did you mean `base_url`"),
        ("http::client(#{ base_url: \"nowhere\" })", "base_url"),
        ("http::client(#{ retries: -1 })", "retries"),
        ("http::client(#{ timeout: 0 })", "above zero"),
        ("http::client(#{ headers: 1 })", "headers"),
        ("http::client(#{ proxy: \"gopher://x\" })", "proxy"),
    ] {
        let error = thrown(&server, source);
        assert!(error["message"].to_string().contains(part), "{source}: {error:?}");
    }
}

#[test]
fn the_functions_are_in_the_module_http_as_well() {
    let server = Server::faults();
    let statuses = run(
        &server,
        r#"
        let replies = http::all([BASE + "/get", http::get_async(BASE + "/get")]);
        [http::get(BASE + "/get").status, http::post(BASE + "/echo", "x").status, replies.len()]
        "#,
    );
    assert_eq!(ints(statuses), [200, 200, 2]);
}

#[test]
fn lines_chunks_and_events_come_while_they_are_sent() {
    let server = Server::faults();
    let seen = run(
        &server,
        r#"
        let lines = 0;
        for line in http_lines(BASE + "/slow-drip/5/20") { lines += 1; }
        let bytes = 0;
        for chunk in http::chunks(BASE + "/bytes/300000") { bytes += chunk.len; }
        let kinds = [];
        for event in http_events(BASE + "/events/3") { kinds.push(event.id); if kinds.len() == 3 { break; } }
        let stream = http::client(#{ base_url: BASE }).lines("/text");
        let first = stream.next();
        stream.close();
        [if lines > 0 { 1 } else { 0 }, bytes, kinds.len(), if first.len > 0 { 1 } else { 0 }, if stream.next() == () { 1 } else { 0 }]
        "#,
    );
    assert_eq!(ints(seen), [1, 300_000, 3, 1, 1]);
}

#[test]
fn a_piece_is_waited_for_no_longer_than_is_said_and_not_lost() {
    let server = Server::faults();
    let start = Instant::now();
    let seen = run(
        &server,
        r#"
        let silent = http_events(BASE + "/idle-events");
        let nothing = silent.next(50);
        let is_open = silent.open;
        silent.close();
        let bytes = 0;
        let waits = 0;
        let drip = http_chunks(BASE + "/slow-drip/5/60");
        while drip.open {
            let piece = drip.next(20);
            if piece == () { waits += 1; } else { bytes += piece.len; }
        }
        [if nothing == () && is_open && !silent.open { 1 } else { 0 }, bytes, if waits > 2 { 1 } else { 0 }]
        "#,
    );
    let whole = run(&server, r#"[http_get(BASE + "/slow-drip/5/60").blob().len]"#);
    assert_eq!(ints(seen), [1, ints(whole)[0], 1]);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn leaving_a_loop_ends_its_transfer_and_a_slow_one_slows_the_server() {
    let server = Server::faults();
    let _last = run(
        &server,
        r#"
        let endless = http_chunks(BASE + "/endless");
        for chunk in endless { break; }
        if endless.next() != () { throw "it goes on" }
        for line in http_lines(BASE + "/endless", #{ max_size: 100_000_000 }) { break; }
        "#,
    );
    assert!(server.wait_open(0, Duration::from_secs(5)), "nobody reads any more");
}

#[test]
fn streams_throw_what_goes_wrong_and_end_with_their_script() {
    let server = Server::faults();
    let error = thrown(&server, r#"for line in http_lines(BASE + "/status/404") { print(line); }"#);
    assert_eq!((error["kind"].to_string(), error["status"].as_int()), ("status".into(), Ok(404)));
    let error = thrown(&server, r#"let n = 0; for chunk in http_chunks(BASE + "/reset/in-body") { n += 1; }"#);
    assert!(error["url"].to_string().ends_with("/reset/in-body"), "{error:?}");
    let error = thrown(&server, r#"for line in http_lines(BASE + "/text", #{ max_size: 3 }) { print(line); }"#);
    assert_eq!(error["kind"].to_string(), "too_large");
    let engine = ScriptEngine::new();
    for source in [
        r#"for chunk in http_chunks(BASE + "/stall/10") { print(chunk); }"#,
        r#"for event in http_events(BASE + "/idle-events") { print(event); }"#,
        r#"for line in http_lines(BASE + "/stall-head") { print(line); }"#,
    ] {
        let script = engine.compile("test", source).unwrap().constant("BASE", server.origin());
        let start = Instant::now();
        let error = script.time_limit(Duration::from_millis(200)).run().unwrap_err();
        assert_eq!(error.kind(), ScriptErrorKind::TimeLimit, "{source}");
        assert!(start.elapsed() < Duration::from_millis(300), "{source}: {:?}", start.elapsed());
    }
    assert!(server.wait_open(0, Duration::from_secs(5)));
}

#[test]
fn websockets_send_receive_wait_and_close() {
    let server = RawServer::start(|conn, _, _| {
        let Ok(mut socket) = tungstenite::accept(conn) else { return };
        while let Ok(message) = socket.read() {
            let last = message.to_text().is_ok_and(|text| text == "bye");
            if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                return;
            }
            if last {
                let _ = socket.close(None);
            }
        }
    });
    let engine = ScriptEngine::new();
    let run = |source: &str| {
        let script = engine.compile("test", source).unwrap().constant("URL", format!("ws://{}/", server.addr()));
        script.time_limit(Duration::from_secs(10)).run()
    };
    let seen = run(r#"
        let socket = ws_connect(URL);
        socket.send("hello");
        let text = socket.recv();
        socket.send(#{ a: 1 });
        let json = parse_json(socket.recv(2000));
        socket.send(blob(3, 7));
        let bytes = socket.recv();
        let nothing = socket.recv(30);
        let was_open = socket.open;
        for n in 0..3 { socket.send(`${n}`); }
        socket.send("bye");
        let rest = [];
        for message in socket { rest.push(message); }
        [text.len(), json.a, bytes[2], if nothing == () { 1 } else { 0 }, if was_open { 1 } else { 0 }, rest.len(),
         if socket.open { 1 } else { 0 }]
    "#);
    assert_eq!(ints(seen.unwrap()), [5, 1, 7, 1, 1, 4, 0]);
    let closed =
        run(r#"let socket = ws_connect(URL); socket.close(1001, "enough"); socket.close(); socket.send("x");"#);
    assert!(closed.unwrap_err().message().contains("closed"));
    let endless = engine.compile("test", "ws_connect(URL).recv()").unwrap();
    let start = Instant::now();
    let script = endless.constant("URL", format!("ws://{}/", server.addr())).time_limit(Duration::from_millis(200));
    assert_eq!(script.run().unwrap_err().kind(), ScriptErrorKind::TimeLimit);
    assert!(start.elapsed() < Duration::from_millis(300));
    let refused = run(r#"ws_connect("http://127.0.0.1:1/")"#).unwrap_err();
    assert!(refused.message().contains("ws"), "{refused}");
}
