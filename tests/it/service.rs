//! What the service promises to those who call it: methods, errors, batches, tokens, origins. Against `marmot serve` as a
//! process. Jobs over time are in `service_jobs`, starts and stops in `service_life`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::marmot::{LIMIT, Marmot, answer, eventually, request, secret_file};

/// What lets scripts ask a test server.
pub(crate) fn allow(server: &Server) -> String {
    format!("allow = [\"{}\"]\nallow-address = [\"127.0.0.1\"]\nallow-method = [\"GET\", \"POST\"]\n", server.origin())
}

fn code(error: &Value) -> i64 {
    error["code"].as_i64().unwrap_or_else(|| panic!("no code in {error}"))
}

#[test]
fn a_script_is_played_by_name_and_by_position_over_both_ways() {
    let marmot = Marmot::start("");
    let (http, mut socket) = (marmot.http(), marmot.socket());
    let script = r#"print("one"); print("two"); #{ sum: 1 + ARGS.a }"#;
    for params in [json!({ "script": script, "args": { "a": 41 } }), json!([script, { "a": 41 }])] {
        for answer in [http.call("play", params.clone()), socket.call("play", params)] {
            let answer = answer.unwrap();
            assert_eq!(answer["value"], json!({ "sum": 42 }));
            assert_eq!(answer["output"], "one\ntwo\n");
            assert!(answer["duration_ms"].as_u64().is_some() && answer["job_id"].as_str().is_some(), "{answer}");
            assert_eq!(answer.as_object().unwrap().len(), 4, "{answer}");
        }
    }
    let answer = http.call("play", json!(["|x| x"])).unwrap();
    assert_eq!((&answer["value"], &answer["value_type"]), (&Value::Null, &json!("Fn")));
    marmot.stop();
}

#[test]
fn errors_of_scripts_say_where_and_what() {
    let marmot = Marmot::start("max-operations = 100000");
    let http = marmot.http();
    let error = http.call("play", json!(["print(1);\nlet x = ;"])).unwrap_err();
    assert_eq!((code(&error), &error["data"]["kind"]), (-32000, &json!("parse")));
    assert_eq!((&error["data"]["line"], &error["data"]["output"]), (&json!(2), &json!("")));
    let error = http.call("play", json!(["print(1);\n  throw #{ why: 7 };"])).unwrap_err();
    assert_eq!((code(&error), &error["data"]["kind"]), (-32000, &json!("runtime")));
    assert_eq!((&error["data"]["line"], &error["data"]["column"]), (&json!(2), &json!(3)));
    assert_eq!((&error["data"]["value"], &error["data"]["output"]), (&json!({ "why": 7 }), &json!("1\n")));
    assert!(error["data"]["rendered"].as_str().unwrap().contains("throw"), "{error}");
    let job = http.call("job.get", json!([error["data"]["job_id"]])).unwrap();
    assert_eq!(job["state"], "failed");
    let error = http.call("play", json!(["loop {}"])).unwrap_err();
    assert_eq!((code(&error), &error["data"]["kind"]), (-32000, &json!("budget")), "{error}");
}

#[test]
fn a_script_whose_time_is_over_is_really_stopped() {
    let server = Server::start(|_, responder| responder.stall());
    let marmot = Marmot::start(&allow(&server));
    let http = marmot.http();
    let script = format!(r#"print("asking"); http_get("{}")"#, server.url("/stall"));
    let begun = Instant::now();
    let error = http.call("play", json!({ "script": script, "timeout_ms": 400 })).unwrap_err();
    let took = begun.elapsed();
    assert_eq!((code(&error), &error["data"]["state"]), (-32002, &json!("timed_out")), "{error}");
    assert_eq!(error["data"]["output"], "asking\n");
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(5), "{took:?}");
    assert!(server.wait_for_close("/stall", Duration::from_secs(5)).is_some(), "its request is still under way");
    let job = http.call("job.get", json!([error["data"]["job_id"]])).unwrap();
    assert_eq!(job["state"], "timed_out");
    assert_eq!(http.play("1 + 1"), 2);
}

#[test]
fn a_job_that_waits_for_a_worker_too_long_is_not_run_later() {
    let marmot = Marmot::start("workers = 0");
    let http = marmot.http();
    let error = http.call("play", json!({ "script": "1", "timeout_ms": 100 })).unwrap_err();
    assert_eq!((code(&error), &error["data"]["state"]), (-32002, &json!("timed_out")));
    let stats = http.call("queue.stats", json!({})).unwrap();
    assert_eq!(stats["waiting"], 0, "{stats}");
}

#[test]
fn what_is_no_request_is_refused_by_its_code() {
    let marmot = Marmot::start("[limits]\nbatch = 3\nmessage-size = 20000");
    let (http, mut socket) = (marmot.http(), marmot.socket());
    let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"play","params":{}{}}}"#, "[".repeat(80), "]".repeat(80));
    for (text, wanted, id) in [
        ("{", -32700, Value::Null),
        ("", -32700, Value::Null),
        ("nonsense", -32700, Value::Null),
        ("[1", -32700, Value::Null),
        ("[]", -32600, Value::Null),
        ("7", -32600, Value::Null),
        (r#"{"id":7}"#, -32600, json!(7)),
        (r#"{"jsonrpc":"1.0","id":7,"method":"whoami"}"#, -32600, json!(7)),
        (r#"{"jsonrpc":"2.0","id":"a","method":7}"#, -32600, json!("a")),
        (r#"{"jsonrpc":"2.0","id":"a","method":"nothing"}"#, -32601, json!("a")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"play","params":[]}"#, -32602, json!(1)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"play","params":{"script":1}}"#, -32602, json!(1)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"play","params":{"script":"1","wrong":1}}"#, -32602, json!(1)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"play","params":["1",0,0,0,0,0,0,0,0]}"#, -32602, json!(1)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"play","params":{"script":"1","timeout_ms":0}}"#, -32602, json!(1)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"play","params":{"script":"1","not_before":9}}"#, -32602, json!(1)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"job.get","params":["no id"]}"#, -32602, json!(1)),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"job.get","params":["01890000-0000-7000-8000-000000000000"]}"#,
            -32004,
            json!(1),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"script.get","params":["none"]}"#, -32004, json!(1)),
        (r#"[{},{},{},{}]"#, -32008, Value::Null),
        (&deep, -32008, Value::Null),
    ] {
        let by_http = http.say(text);
        assert_eq!((code(&by_http["error"]), &by_http["id"]), (wanted, &id), "{text}: {by_http}");
        socket.socket.send(tungstenite::Message::text(text)).unwrap();
        assert_eq!(socket.message().unwrap(), by_http, "{text}");
    }
    // A null id is one all the same.
    assert_eq!(http.say(r#"{"jsonrpc":"2.0","id":null,"method":"whoami"}"#)["result"]["tenant"], "local");
    let error = http.call("job.subscribe", json!(["01890000-0000-7000-8000-000000000000"])).unwrap_err();
    assert_eq!(code(&error), -32600, "{error}");
    let (status, _) = http.post(&"x".repeat(20_001));
    assert_eq!(status, 413);
}

#[test]
fn batches_are_answered_in_order_and_notifications_not_at_all() {
    let marmot = Marmot::start("");
    let (http, mut socket) = (marmot.http(), marmot.socket());
    let batch = json!([
        request(1, "play", json!(["sleep(0.2); 1"])),
        { "jsonrpc": "2.0", "method": "play", "params": ["0"] },
        request(2, "play", json!(["2"])),
        { "id": 3 },
    ]);
    let check = |answers: &Value| {
        let ids: Vec<&Value> = answers.as_array().unwrap().iter().map(|answer| &answer["id"]).collect();
        assert_eq!(ids, [1, 2, 3], "{answers}");
        assert_eq!((&answers[0]["result"]["value"], &answers[1]["result"]["value"]), (&json!(1), &json!(2)));
        assert_eq!(code(&answers[2]["error"]), -32600);
    };
    check(&http.say(&batch.to_string()));
    socket.socket.send(tungstenite::Message::text(batch.to_string())).unwrap();
    check(&socket.message().unwrap());
    let note = json!({ "jsonrpc": "2.0", "method": "job.submit", "params": ["print(1)"] });
    assert_eq!(http.post(&note.to_string()), (204, String::new()));
    assert_eq!(http.post(&json!([note, note]).to_string()), (204, String::new()));
    socket.socket.send(tungstenite::Message::text(note.to_string())).unwrap();
    assert_eq!(socket.call("whoami", json!([])).unwrap()["tenant"], "local", "the next answer is that of the call");
    let jobs = eventually(LIMIT, || {
        let jobs = http.call("job.list", json!({})).unwrap()["jobs"].as_array().unwrap().len();
        (jobs == 10).then_some(jobs)
    });
    assert!(jobs.is_some(), "what is not answered is done all the same");
}

#[test]
fn a_full_queue_says_when_to_try_again_and_loses_nothing() {
    let marmot = Marmot::start("workers = 0\n[jobs]\nwaiting-per-tenant = 3");
    let http = marmot.http();
    for _ in 0..3 {
        http.call("job.submit", json!(["1"])).unwrap();
    }
    for method in ["job.submit", "play"] {
        let error = http.call(method, json!(["1"])).unwrap_err();
        assert_eq!(code(&error), -32005);
        assert!(error["data"]["retry_after_ms"].as_u64().unwrap() > 0);
    }
    assert_eq!(http.call("queue.stats", json!([])).unwrap()["waiting"], 3);
}

#[test]
fn more_calls_than_the_rate_are_told_when_to_come_again() {
    let marmot = Marmot::start("[limits]\ncalls-per-second = 5");
    let http = marmot.http();
    let refused: Vec<Value> = (0..20).filter_map(|_| http.call("whoami", json!([])).err()).collect();
    assert!(!refused.is_empty() && refused.iter().all(|error| code(error) == -32008), "{refused:?}");
    let wait = refused[0]["data"]["retry_after_ms"].as_u64().unwrap();
    assert!((1..=1000).contains(&wait), "{wait}");
    assert!(eventually(LIMIT, || http.call("whoami", json!([])).ok()).is_some());
}

#[test]
fn more_calls_at_once_than_a_connection_may_have_are_refused_one_by_one() {
    let marmot = Marmot::start("[limits]\ncalls-per-session = 2\nsubscriptions-per-session = 1");
    let mut socket = marmot.socket();
    let first = socket.begin("play", json!(["sleep(0.5); 1"]));
    let _second = socket.begin("play", json!(["sleep(0.5); 2"]));
    let error = socket.call("whoami", json!([])).unwrap_err();
    assert_eq!(code(&error), -32008);
    assert_eq!(socket.answer(first).unwrap()["value"], 1);
    let job = socket.call("job.submit", json!(["sleep(5)"])).unwrap()["job_id"].clone();
    socket.call("job.subscribe", json!([job])).unwrap();
    assert_eq!(code(&socket.call("job.subscribe", json!([job])).unwrap_err()), -32008);
}

#[test]
fn tenants_see_their_own_and_tokens_are_needed() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let (alice, bob) = ("alice-token-0123456789", "bob-token-0123456789");
    secret_file(&folder.path().join("tokens"), &format!("alice {alice}\nbob {bob}\n"));
    let marmot = Marmot::start_in(folder, "token-file = \"FOLDER/tokens\"", &[]);
    let (hers, his) = (marmot.http().token(alice), marmot.http().token(bob));
    assert_eq!(hers.call("whoami", json!([])).unwrap()["tenant"], "alice");
    let job = hers.call("play", json!(["1"])).unwrap()["job_id"].clone();
    hers.call("script.put", json!({ "name": "mine", "script": "1" })).unwrap();
    for (method, params) in [
        ("job.get", json!([job])),
        ("job.wait", json!([job])),
        ("job.cancel", json!([job])),
        ("job.retry", json!([job])),
        ("job.events", json!([job])),
        ("script.get", json!(["mine"])),
        ("play", json!({ "name": "mine" })),
    ] {
        assert_eq!(code(&his.call(method, params).unwrap_err()), -32004, "{method}");
    }
    assert_eq!(his.call("job.list", json!({})).unwrap()["jobs"], json!([]));
    assert_eq!(his.call("script.list", json!([])).unwrap(), json!([]));
    let mut socket = marmot.try_socket("/ws/", &[("authorization", &format!("Bearer {bob}"))]).unwrap();
    assert_eq!(code(&socket.call("job.subscribe", json!([job])).unwrap_err()), -32004);
    // The same key of two tenants is two keys.
    let keyed = json!({ "script": "1", "idempotency_key": "k" });
    let (one, two) = (hers.call("job.submit", keyed.clone()).unwrap(), his.call("job.submit", keyed).unwrap());
    assert!(one["job_id"] != two["job_id"] && two["existed"] == false);

    let (status, body) = marmot.http().post(&request(1, "whoami", json!([])).to_string());
    assert_eq!((status, code(&answer(&serde_json::from_str(&body).unwrap()).unwrap_err())), (401, -32001));
    assert!(marmot.try_socket("/ws/", &[]).is_err() && marmot.try_socket("/ws/?ticket=none", &[]).is_err());
    let ticket = hers.call("session.ticket", json!([])).unwrap()["ticket"].as_str().unwrap().to_owned();
    let path = format!("/ws/?ticket={ticket}");
    assert_eq!(marmot.try_socket(&path, &[]).unwrap().call("whoami", json!([])).unwrap()["tenant"], "alice");
    assert!(marmot.try_socket(&path, &[]).is_err(), "a ticket is good once");
    let statuses: Vec<u16> = (0..40).map(|_| marmot.http().token("wrong").post("{}").0).collect();
    assert!(statuses.contains(&429) && statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
    assert_eq!(hers.play("1 + 1"), 2, "those who are right are not kept out");
}

#[test]
fn pages_of_other_origins_and_names_of_other_hosts_are_kept_out() {
    let marmot = Marmot::start("origin = [\"https://app.example.org\"]");
    let text = request(1, "whoami", json!([])).to_string();
    let own = marmot.url("");
    for (origin, wanted) in
        [(own.as_str(), 200), ("https://app.example.org", 200), ("http://evil.example", 403), ("null", 403)]
    {
        assert_eq!(marmot.http().header("origin", origin).post(&text).0, wanted, "{origin}");
        assert_eq!(marmot.try_socket("/ws/", &[("origin", origin)]).is_ok(), wanted == 200, "{origin}");
    }
    let port = marmot.address().port();
    let named = |host: &str| marmot.try_socket("/ws/", &[("host", host)]).is_ok();
    assert!(named(&format!("localhost:{port}")) && !named(&format!("evil.example:{port}")));
    // What a page may send without being asked.
    let plain = marmot::Request::post(marmot.url("/rpc")).header("content-type", "text/plain").body(text).unwrap();
    assert_eq!(marmot::send(plain).unwrap().status().as_u16(), 415);
}

#[test]
fn those_who_run_it_can_ask_how_it_is() {
    let marmot = Marmot::start("");
    assert_eq!(marmot.http().play("1"), 1);
    let get = |path: &str| {
        use marmot::ReadResponseExt as _;
        let mut response = marmot::get(marmot.url(path)).unwrap();
        (response.status().as_u16(), response.text().unwrap())
    };
    assert_eq!(get("/healthz"), (200, "ok\n".into()));
    assert_eq!(get("/readyz"), (200, "ready\n".into()));
    let (status, metrics) = get("/metrics");
    assert_eq!(status, 200);
    for name in ["play", "succeeded", "# EOF"] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    assert_eq!(get("/nothing").0, 404);
    let document = marmot.http().call("rpc.discover", json!([])).unwrap();
    let methods = document["methods"].as_array().unwrap();
    assert!(methods.len() > 20 && methods.iter().any(|method| method["name"] == "job.subscribe"));
}

#[test]
fn requests_of_a_script_belong_to_the_trace_of_the_call_and_writes_have_a_key() {
    let server = Server::start(|_, responder| responder.text(200, "fine"));
    let marmot = Marmot::start(&allow(&server));
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let script = format!(r#"let at = "{}"; http_get(at); http_post(at, "a"); http_post(at, "a"); 1"#, server.origin());
    assert_eq!(marmot.http().header("traceparent", parent).play(&script), 1);
    let requests = server.requests();
    let traces: Vec<&str> = requests.iter().filter_map(|request| request.header("traceparent")).collect();
    assert_eq!(traces.len(), 3);
    assert!(traces.iter().all(|trace| trace.starts_with(&parent[..36]) && *trace != parent), "{traces:?}");
    let keys: Vec<_> = requests.iter().filter_map(|request| request.header("idempotency-key")).collect();
    assert!(requests[0].header("idempotency-key").is_none() && keys.len() == 2 && keys[0] != keys[1], "{keys:?}");
}
