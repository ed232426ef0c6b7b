//! Jobs over time, as clients of the service see them: events as they happen, keys, priorities, the library, schedules,
//! webhooks. Against `marmot serve` as a process.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::marmot::{Http, LIMIT, Marmot, eventually};

fn code(error: &Value) -> i64 {
    error["code"].as_i64().unwrap_or_else(|| panic!("no code in {error}"))
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A job, as soon as it stands so.
fn job_in(http: &Http, id: &Value, state: &str) -> Value {
    let found =
        eventually(LIMIT, || Some(http.call("job.get", json!([id])).unwrap()).filter(|job| job["state"] == state));
    found.unwrap_or_else(|| panic!("not {state}: {}", http.call("job.get", json!([id])).unwrap()))
}

#[test]
fn what_a_script_prints_is_told_while_it_runs() {
    let marmot = Marmot::start("");
    let (http, mut socket) = (marmot.http(), marmot.socket());
    let script = "for i in 0..5 { print(i); sleep(0.1); } debug(9); throw 7";
    let job = socket.call("job.submit", json!([script])).unwrap()["job_id"].clone();
    let subscription = socket.call("job.subscribe", json!([job])).unwrap();
    loop {
        let event = socket.event();
        assert_eq!((&event["job_id"], &event["subscription"]), (&job, &subscription));
        if event["kind"] == "log" {
            break;
        }
    }
    let state = http.call("job.get", json!([job])).unwrap()["state"].clone();
    assert_eq!(state, "running", "the first line has come before the end");
    let rest = socket.events_until_result();
    let result = rest.last().unwrap();
    assert_eq!(
        (&result["data"]["state"], &result["data"]["failure"]["value"]),
        (&json!("failed"), &json!(7)),
        "{result}"
    );

    // All of it again, over a new connection, and the same without one.
    let mut other = marmot.socket();
    other.call("job.subscribe", json!([job, 1])).unwrap();
    let all = other.events_until_result();
    let numbers: Vec<u64> = all.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>());
    let kinds: Vec<&str> = all.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["queued", "started", "log", "log", "log", "log", "log", "log", "result"]);
    assert_eq!(all[7]["data"], json!({ "text": "1:41: 9", "debug": true }), "with its place");
    let asked = http.call("job.events", json!([job])).unwrap();
    assert_eq!((asked["events"].as_array().unwrap().len(), &asked["ended"]), (all.len(), &json!(true)));

    // From where somebody has stopped reading.
    let mut third = marmot.socket();
    third.call("job.subscribe", json!({ "job_id": job, "from_seq": 6 })).unwrap();
    assert_eq!(third.events_until_result(), {
        let mut rest = all[5..].to_vec();
        rest.iter_mut().for_each(|event| event["subscription"] = json!(1));
        rest
    });
}

#[test]
fn who_comes_too_late_hears_how_much_is_gone() {
    let marmot = Marmot::start("[jobs]\nevents = 10");
    let mut socket = marmot.socket();
    let job = socket.call("play", json!(["for i in 0..100 { print(i) }"])).unwrap()["job_id"].clone();
    socket.call("job.subscribe", json!([job])).unwrap();
    let events = socket.events_until_result();
    // Queued, started, a hundred lines, the result.
    let lagged = &events[0];
    assert_eq!((&lagged["kind"], &lagged["missed"], &lagged["from_seq"]), (&json!("lagged"), &json!(93), &json!(1)));
    assert_eq!((events.len(), &events[1]["seq"]), (11, &json!(94)));
}

#[test]
fn an_ended_subscription_is_silent() {
    let marmot = Marmot::start("");
    let mut socket = marmot.socket();
    let job = socket.call("job.submit", json!(["loop { print(1); sleep(0.01) }"])).unwrap()["job_id"].clone();
    let subscription = socket.call("job.subscribe", json!([job])).unwrap();
    while socket.event()["kind"] != "log" {}
    assert_eq!(socket.call("job.unsubscribe", json!([subscription])).unwrap(), true);
    assert_eq!(socket.call("job.unsubscribe", json!([subscription])).unwrap(), false);
    // What was sent before came before the answer; after the next one nothing does.
    socket.call("play", json!(["sleep(0.3)"])).unwrap();
    socket.socket.get_ref().set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let before = socket.call("job.cancel", json!([job])).unwrap();
    assert_eq!(before["job_id"], job);
    assert!(socket.message().is_err(), "its end is not told");
}

#[test]
fn jobs_are_waited_for_listed_cancelled_and_retried() {
    let marmot = Marmot::start("");
    let http = marmot.http();
    let id = http.call("job.submit", json!(["sleep(20)"])).unwrap()["job_id"].clone();
    job_in(&http, &id, "running");
    let error = http.call("job.wait", json!([id, 50])).unwrap_err();
    assert_eq!((code(&error), &error["data"]), (-32002, &json!({ "job_id": id, "state": "running" })));
    let begun = Instant::now();
    let mut socket = marmot.socket();
    let waiting = socket.begin("job.wait", json!([id]));
    http.call("job.cancel", json!([id])).unwrap();
    assert_eq!(socket.answer(waiting).unwrap()["state"], "cancelled");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let again = http.call("job.retry", json!([id])).unwrap();
    assert_eq!(again["job_id"], id);
    job_in(&http, &id, "running");
    http.call("job.cancel", json!([id])).unwrap();
    job_in(&http, &id, "cancelled");
    // A call whose job somebody else cancels.
    let call = socket.begin("play", json!(["sleep(20)"]));
    let running = eventually(LIMIT, || {
        http.call("job.list", json!({ "states": ["running"] })).unwrap()["jobs"].get(0).map(|job| job["id"].clone())
    });
    http.call("job.cancel", json!([running.unwrap()])).unwrap();
    assert_eq!(code(&socket.answer(call).unwrap_err()), -32006);

    let done = http.call("play", json!(["1"])).unwrap()["job_id"].clone();
    assert_eq!(code(&http.call("job.retry", json!([done])).unwrap_err()), -32602);
    let first = http.call("job.list", json!({ "limit": 2 })).unwrap();
    assert_eq!((first["jobs"].as_array().unwrap().len(), &first["jobs"][0]["id"]), (2, &done));
    let next = http.call("job.list", json!({ "limit": 2, "after": first["next"] })).unwrap();
    assert_eq!((next["jobs"].as_array().unwrap().len(), &next["jobs"][0]["id"]), (1, &id));
    assert_eq!(http.call("worker.list", json!([])).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn one_key_is_one_job() {
    let marmot = Marmot::start("");
    let http = marmot.http();
    let keyed = |script: &str| json!({ "script": script, "idempotency_key": "order-17" });
    let first = http.call("job.submit", keyed("1 + 1")).unwrap();
    let second = http.call("job.submit", keyed("1 + 1")).unwrap();
    assert_eq!((&first["job_id"], &second["existed"]), (&second["job_id"], &json!(true)));
    let played = http.call("play", keyed("1 + 1")).unwrap();
    assert_eq!((&played["job_id"], &played["value"]), (&first["job_id"], &json!(2)));
    let error = http.call("play", keyed("2 + 2")).unwrap_err();
    assert_eq!((code(&error), &error["data"]["job_id"]), (-32010, &first["job_id"]));
    for wrong in ["schedule:a:1", "hook:a:1", ""] {
        let error = http.call("play", json!({ "script": "1", "idempotency_key": wrong })).unwrap_err();
        assert_eq!(code(&error), -32602, "{wrong}");
    }
    assert_eq!(
        code(&http.call("play", json!({ "script": "1", "idempotency_key": "x".repeat(256) })).unwrap_err()),
        -32602
    );
}

#[test]
fn what_is_urgent_comes_first_and_what_is_for_later_later() {
    let marmot = Marmot::start("workers = 1");
    let http = marmot.http();
    let busy = http.call("job.submit", json!(["sleep(0.6)"])).unwrap()["job_id"].clone();
    job_in(&http, &busy, "running");
    let submit = |more: Value| {
        let mut params = json!({ "script": "1" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        http.call("job.submit", params).unwrap()["job_id"].clone()
    };
    let low = submit(json!({ "priority": "low" }));
    let normal = submit(json!({}));
    let high = submit(json!({ "priority": "high" }));
    let due = now_ms() + 1_500;
    let later = submit(json!({ "priority": "high", "not_before": due }));
    assert_eq!(http.call("job.get", json!([later])).unwrap()["state"], "delayed");
    let at = |id: &Value| http.call("job.wait", json!([id])).unwrap()["started_at"].as_u64().unwrap();
    let ids: Vec<Value> =
        [&high, &normal, &low].map(|id| http.call("job.wait", json!([id])).unwrap()["id"].clone()).into();
    assert_eq!(ids, [high.clone(), normal.clone(), low.clone()]);
    assert!(at(&high) <= at(&normal) && at(&normal) <= at(&low));
    let started = at(&later);
    assert!(started >= due && started < due + 5_000, "{started} {due}");
}

#[test]
fn scripts_of_the_library_have_versions_and_schemas() {
    let marmot = Marmot::start("");
    let http = marmot.http();
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
    let one = http.call("script.put", json!({ "name": "double", "script": "2 * ARGS.n", "schema": schema })).unwrap();
    assert_eq!(one, json!({ "name": "double", "version": 1 }));
    assert_eq!(http.call("play", json!({ "name": "double", "args": { "n": 21 } })).unwrap()["value"], 42);
    for args in [json!({ "n": "x" }), json!({}), Value::Null] {
        let error = http.call("play", json!({ "name": "double", "args": args })).unwrap_err();
        assert_eq!(code(&error), -32602, "{error}");
        assert!(error["data"]["wrong"].as_array().is_some_and(|wrong| !wrong.is_empty()), "{error}");
    }
    http.call("script.put", json!({ "name": "double", "script": "ARGS.n + ARGS.n + 0.5", "description": "new" }))
        .unwrap();
    assert_eq!(http.call("play", json!({ "name": "double", "args": { "n": 1 } })).unwrap()["value"], 2.5);
    let old = http.call("play", json!({ "name": "double@1", "args": { "n": 1 } })).unwrap();
    assert_eq!(old["value"], 2);
    assert_eq!(http.call("job.get", json!([old["job_id"]])).unwrap()["name"], "double@1");
    let kept = http.call("script.get", json!(["double", 1])).unwrap();
    assert_eq!((&kept["versions"], &kept["schema"]), (&json!([1, 2]), &schema));
    let list = http.call("script.list", json!([])).unwrap();
    assert_eq!(list, json!([{ "name": "double", "version": 2, "description": "new" }]));
    for (method, params) in [
        ("script.put", json!({ "name": "a/b", "script": "1" })),
        ("script.put", json!({ "name": "a", "script": "1", "schema": { "type": 7 } })),
        ("play", json!({ "name": "double", "script": "1" })),
        ("play", json!({ "name": "double@x" })),
    ] {
        assert_eq!(code(&http.call(method, params.clone()).unwrap_err()), -32602, "{method} {params}");
    }
    assert_eq!(http.call("script.remove", json!(["double"])).unwrap()["removed"], 2);
    assert_eq!(code(&http.call("play", json!({ "name": "double" })).unwrap_err()), -32004);
}

/// The jobs of a schedule, the oldest first.
fn scheduled(http: &Http, name: &str) -> Vec<Value> {
    let page = http.call("job.list", json!({ "origin": { "schedule": name }, "limit": 100 })).unwrap();
    page["jobs"].as_array().unwrap().iter().rev().cloned().collect()
}

#[test]
fn a_schedule_submits_one_job_each_time() {
    let marmot = Marmot::start("");
    let http = marmot.http();
    let put = |more: Value| {
        let mut params = json!({ "name": "tick", "cron": "* * * * * *", "script": "ARGS.n", "args": { "n": 5 } });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        http.call("schedule.put", params)
    };
    let kept = put(json!({ "time_zone": "Europe/Berlin" })).unwrap();
    assert_eq!(kept["next"].as_array().unwrap().len(), 3);
    let jobs = eventually(LIMIT, || Some(scheduled(&http, "tick")).filter(|jobs| jobs.len() >= 4)).unwrap();
    let times: Vec<u64> = jobs.iter().map(|job| job["created_at"].as_u64().unwrap() / 1000).collect();
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{times:?}");
    let spread = times.last().unwrap() - times.first().unwrap();
    assert!(spread + 2 >= jobs.len() as u64, "more than one in a second: {times:?}");
    put(json!({ "enabled": false })).unwrap();
    assert_eq!(http.call("schedule.get", json!(["tick"])).unwrap()["next"], json!([]));
    assert_eq!(http.call("schedule.list", json!([])).unwrap().as_array().unwrap().len(), 1);
    assert_eq!(http.call("schedule.remove", json!(["tick"])).unwrap()["removed"], true);
    for wrong in [
        json!({ "cron": "nonsense" }),
        json!({ "time_zone": "Mars/Base" }),
        json!({ "name": "a b" }),
        json!({ "script": null }),
        json!({ "library": "both" }),
    ] {
        assert_eq!(code(&put(wrong.clone()).unwrap_err()), -32602, "{wrong}");
    }
    assert_eq!(code(&put(json!({ "script": null, "library": "none" })).unwrap_err()), -32004);
}

#[test]
fn a_job_that_still_runs_is_left_alone_or_replaced_at_its_next_time() {
    let marmot = Marmot::start("");
    let http = marmot.http();
    for (name, overlap) in [("skip", "skip"), ("replace", "replace")] {
        let params = json!({ "name": name, "cron": "* * * * * *", "script": "sleep(20)", "overlap": overlap });
        http.call("schedule.put", params).unwrap();
    }
    let replaced = eventually(LIMIT, || Some(scheduled(&http, "replace")).filter(|jobs| jobs.len() >= 3)).unwrap();
    let states: Vec<&str> = replaced.iter().map(|job| job["state"].as_str().unwrap()).collect();
    assert_eq!(states[0], "cancelled", "{states:?}");
    assert_eq!(scheduled(&http, "skip").len(), 1);
}

fn hmac(key: &str, text: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap().chain_update(text).finalize();
    mac.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn signed_events_become_jobs_once_each() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    crate::support::marmot::secret_file(&folder.path().join("env"), "PAYMENTS=whsec_test\nPUSHES=other\n");
    let settings = r#"
        env-file = "FOLDER/env"
        [hooks.payments]
        script = "paid"
        scheme = "stripe"
        secrets = ["PAYMENTS"]
        [hooks.pushes]
        script = "pushed"
        scheme = "hmac"
        secrets = ["PUSHES"]
        header = "X-Hub-Signature-256"
        prefix = "sha256="
        id-header = "X-GitHub-Delivery"
    "#;
    let marmot = Marmot::start_in(folder, settings, &[]);
    let http = marmot.http();
    http.call("script.put", json!({ "name": "paid", "script": "ARGS.event.data.amount" })).unwrap();
    let post = |name: &str, body: &str, headers: &[(&str, String)]| {
        use marmot::ReadResponseExt as _;
        let mut request = marmot::Request::post(marmot.url(&format!("/hooks/{name}")));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut response = marmot::send(request.body(body.to_owned()).unwrap()).unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str::<Value>(&response.text().unwrap()).unwrap())
    };
    let body = r#"{"id":"evt_1","data":{"amount":1700}}"#;
    let stripe = |time: u64, key: &str, body: &str| {
        let digits = hmac(key, format!("{time}.{body}").as_bytes());
        [("Stripe-Signature", format!("t={time},v1={digits}"))]
    };
    let time = now_ms() / 1000;
    let (status, first) = post("payments", body, &stripe(time, "whsec_test", body));
    assert_eq!((status, &first["existed"]), (202, &json!(false)), "{first}");
    let job = http.call("job.wait", json!([first["job_id"]])).unwrap();
    assert_eq!((&job["outcome"]["value"], &job["name"]), (&json!(1700), &json!("paid@1")));
    assert_eq!(job["origin"], json!({ "hook": "payments" }));
    let (status, second) = post("payments", body, &stripe(time + 1, "whsec_test", body));
    assert_eq!((status, &second["job_id"]), (200, &first["job_id"]));
    for headers in [
        stripe(time, "wrong", body),
        stripe(time, "whsec_test", "{}"),
        stripe(time - 1000, "whsec_test", body),
        [("Stripe-Signature", "nonsense".into())],
    ] {
        assert_eq!(post("payments", body, &headers).0, 401, "{headers:?}");
    }
    assert_eq!(post("payments", body, &[]).0, 401);
    assert_eq!(post("none", body, &[]).0, 404);

    let push = |delivery: &str, key: &str| {
        let signature = format!("sha256={}", hmac(key, b"{\"ref\":1}"));
        let headers = [("X-Hub-Signature-256", signature), ("X-GitHub-Delivery", delivery.to_owned())];
        post("pushes", "{\"ref\":1}", &headers)
    };
    assert_eq!(push("1", "other").0, 503, "its script is not there yet: the sender is to try again");
    http.call("script.put", json!({ "name": "pushed", "script": "ARGS.headers[\"x-github-delivery\"]" })).unwrap();
    let (one, two) = (push("1", "other"), push("2", "other"));
    assert_eq!((one.0, two.0, push("1", "wrong").0), (202, 202, 401));
    assert_eq!((push("1", "other").1["job_id"].clone(), push("1", "other").0), (one.1["job_id"].clone(), 200));
    assert_eq!(http.call("job.wait", json!([two.1["job_id"]])).unwrap()["outcome"]["value"], "2");
}
