//! The example scripts, each run by the command line in its head against a service that behaves like the real thing. Those
//! of payments are in `stripe_setup`, and the tour is in `command`.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::support::service::{CLIENT, Service};

/// The servers that the heads of the scripts name.
const SERVER: &str = "http://127.0.0.1:8080";
const OTHER: &str = "http://127.0.0.1:8081";

/// The command line in the head of an example.
fn usage(script: &str) -> String {
    let source = std::fs::read_to_string(format!("examples/scripts/{script}.rhai")).unwrap();
    let head = source.lines().map_while(|line| line.strip_prefix("//"));
    let command: Vec<_> = head.filter_map(|line| line.strip_prefix("     ")).collect();
    assert!(!command.is_empty(), "{script} does not say how to run it");
    command.join("\n")
}

/// A run of a script by that command line.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    /// Each pair is something in the command line and what stands there instead.
    fn of(script: &str, service: &Service, changes: &[(&str, &str)]) -> Self {
        Self::with(script, service, changes, &[])
    }

    fn with(script: &str, service: &Service, changes: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let mut line = usage(script);
        for (from, to) in changes {
            assert!(line.contains(from), "{from} in {line}");
            line = line.replace(from, to);
        }
        Self::shell(&line.replace(SERVER, &service.origin()), variables)
    }

    fn shell(line: &str, variables: &[(&str, &str)]) -> Self {
        let programs = Path::new(env!("CARGO_BIN_EXE_marmot")).parent().unwrap().to_str().unwrap();
        let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("PATH", path).envs(variables.iter().copied());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    #[track_caller]
    fn prints(&self, lines: &[&str]) {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        assert_eq!(self.out.lines().collect::<Vec<_>>(), lines);
    }

    #[track_caller]
    fn fails(&self, reason: &str) {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        assert!(self.err.lines().next().unwrap().contains(reason), "{}{}", self.out, self.err);
    }
}

#[test]
fn every_script_says_how_to_call_it() {
    let mut seen = 0;
    for entry in std::fs::read_dir("examples/scripts").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        // The tour is part of the command, and payments need no argument.
        if matches!(name, "tour" | "payment") {
            continue;
        }
        Run::shell(&format!("marmot run {}", path.display()), &[])
            .fails(&format!("error: usage: marmot run {name}.rhai "));
        assert!(usage(name).contains(&format!("examples/scripts/{name}.rhai")));
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[test]
fn pages_are_collected_up_to_a_limit_and_a_server_that_falters_is_asked_again() {
    let service = Service::start();
    (1..=32).for_each(|number| service.keep("items", json!({"id": number})));
    service.fail("GET /items?page=2", &[503]);
    let run = Run::of("paginate", &service, &[]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let lines: Vec<_> = run.out.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[24]), (26, r#"{"id":1}"#, r#"{"id":25}"#));
    assert_eq!(lines[25], "25 items of 3 pages; there are more");
    let targets: Vec<_> = service.server().requests().into_iter().map(|request| request.target).collect();
    let (first, third) = ("/items?per_page=10", "/items?page=3&per_page=10");
    assert_eq!(targets, [first, "/items?page=2&per_page=10", "/items?page=2&per_page=10", third]);

    let run = Run::of("paginate", &service, &[(" 25", " 99")]);
    assert!(run.out.ends_with("32 items of 4 pages, which are all\n"), "{}{}", run.out, run.err);
    let run = Run::of("paginate", &service, &[("'/items?per_page=10'", "/items/1")]);
    run.fails("is not a list but map");
    service.fail("GET /items", &[404]);
    Run::of("paginate", &service, &[]).fails("the server answered 404 Not Found");
}

#[test]
fn a_hundred_urls_are_asked_ten_at_once_and_summed_up() {
    let service = Service::start();
    (1..=99).for_each(|number| service.keep("items", json!({"id": number})));
    let run = Run::of("fanout", &service, &[("/items/ 100", "/items/ 99")]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let lines: Vec<_> = run.out.lines().collect();
    assert!(lines[0].starts_with(&format!("slowest: {}/items/7 took ", service.origin())), "{lines:?}");
    assert_eq!(lines[1..], ["99 of 99 succeeded"]);
    assert!((2..=10).contains(&service.most_at_once()), "{}", service.most_at_once());

    // On a connection that was used before it would be asked again by itself.
    service.fail("GET /items/41", &[0; 12]);
    service.fail("GET /items/42", &[500]);
    let run = Run::of("fanout", &service, &[]);
    run.fails("3 of 100 failed");
    let lines: Vec<_> = run.out.lines().collect();
    assert!(lines[0].starts_with("failed: ") && lines[0].contains("/items/41"), "{lines:?}");
    let url = |path: &str| format!("failed: {}/items/{path}", service.origin());
    assert_eq!(lines[1..3], [url("42 answered 500"), url("100 answered 404")]);
    assert_eq!(lines[4], "97 of 100 succeeded");
}

#[test]
fn a_file_is_uploaded_with_signs_of_life() {
    let service = Service::start();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let report = file("report.csv", "bales,field\n17,south\n");
    let run = Run::of("upload", &service, &[("report.csv", &report)]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let lines: Vec<_> = run.out.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, format!("sending {report} for 1 s").as_str()));
    let form = service.server().last_request();
    assert!(lines[1].starts_with(&format!("sent {} bytes in ", form.body.len())), "{lines:?}");
    assert!(lines[1].ends_with(" ms; it is file file-1 now"), "{lines:?}");
    let (text, part) = (form.text(), "name=\"file\"; filename=\"report.csv\"\r\ncontent-type: text/csv\r\n");
    assert!(text.contains(part) && text.contains("\r\n\r\nbales,field\n17,south\n\r\n"), "{text}");

    let large = file("large.csv", &"hay,".repeat(1 << 19));
    Run::of("upload", &service, &[("report.csv", &large)]).fails("with 413: no more than 1 MiB");
    let other = file("other.csv", "");
    let run =
        Run::of("upload", &service, &[("upload report.csv", &format!("upload {other}")), (" report.csv", " /tmp/x")]);
    run.fails("is not allowed here");
    assert!(run.err.contains(&format!("help: --allow-read {other} would allow it")), "{}", run.err);
    let gone = folder.path().join("gone.csv");
    Run::of("upload", &service, &[("report.csv", gone.to_str().unwrap())]).fails("gone.csv");
}

#[test]
fn events_are_followed_over_a_broken_connection_until_the_one_that_is_wanted() {
    let service = Service::start();
    Run::of("events", &service, &[]).prints(&["progress: 50 percent", "progress: 90 percent", "done: 17 bales"]);
    let requests = service.server().requests();
    assert_eq!(requests[1].header("last-event-id"), Some("1"));

    let start = Instant::now();
    let run = Run::of("events", &service, &[("done 60", "never 0.5")]);
    run.fails("no event \"never\" within 0.5 seconds");
    assert_eq!(run.out.lines().count(), 3);
    assert!((Duration::from_millis(500)..Duration::from_secs(10)).contains(&start.elapsed()));

    Run::of("events", &service, &[("8080/events", "8080/events?end=1")]).fails("has ended without an event \"done\"");
    Run::of("events", &service, &[("8080/events", "8080/elsewhere/7")]).fails("404");
}

#[test]
fn a_job_is_polled_no_sooner_than_the_server_asks_until_it_is_done() {
    let service = Service::start();
    service.fail("GET /jobs", &[503]);
    let run = Run::of("poll", &service, &[]);
    run.prints(&[
        "started /jobs/report",
        "the server is busy (503)",
        "running, 30 percent",
        "running, 60 percent",
        "done: 17 bales",
    ]);
    let asked: Vec<_> = service.server().requests().iter().map(|request| request.at).collect();
    let waits: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] >= Duration::from_secs(1), "Retry-After: 1: {waits:?}");
    assert!(waits[1] < Duration::from_millis(500), "Retry-After: 0: {waits:?}");
    assert!(waits[3] >= Duration::from_millis(1000), "the pauses grow: {waits:?}");

    Run::of("poll", &service, &[("report 300", "broken")]).fails("/jobs/broken has failed: no hay");
    let start = Instant::now();
    Run::of("poll", &service, &[("report 300", "endless 1.5")]).fails("/jobs/endless is not done after 1.5 seconds");
    assert!(start.elapsed() < Duration::from_secs(10));
    Run::of("poll", &service, &[("report", "nothing")]).fails("the server answered 400");
    service.fail("GET /jobs", &[500]);
    Run::of("poll", &service, &[]).fails("the server answered 500");
}

#[test]
fn graphql_answers_and_errors_are_shown() {
    let service = Service::start();
    Run::of("graphql", &service, &[]).prints(&[
        "Edda lives 4 m below the meadow",
        "Edda: 4 m",
        "Alma: 4 m",
        "Bela: 4 m",
        "graphql: nobody lives there; there is #{\"burrow\": ()}",
    ]);
    Run::of("graphql", &service, &[("Edda Alma", "nobody")]).fails("nobody lives there");
    service.fail("POST /graphql", &[502]);
    Run::of("graphql", &service, &[]).fails("the server answered 502");
}

#[test]
fn a_token_is_fetched_and_once_more_when_it_is_refused() {
    let service = Service::start();
    let run = |secret: &str| Run::of("oauth", &service, &[("CLIENT_SECRET=...", &format!("CLIENT_SECRET={secret}"))]);
    let (token, account, orders) =
        ("got a token", "/account: {\"path\":\"account\"}", "/orders: {\"path\":\"orders\"}");
    run(CLIENT.1).prints(&[token, account, orders]);
    service.limit_tokens(1);
    run(CLIENT.1).prints(&[token, account, token, orders]);
    service.limit_tokens(0);
    run(CLIENT.1).fails("/account refuses a new token too");
    assert_eq!(service.server().requests().len(), 3 + 5 + 4);

    let wrong = run("wrong-secret");
    wrong.fails("no token for meadow: the server answered 401 {\"error\":\"invalid_client\"}");
    assert!(!wrong.err.contains("wrong-secret"), "{}", wrong.err);
    service.fail("POST /token", &[503]);
    run(CLIENT.1).fails("the server answered 503");
}

#[test]
fn two_apis_are_made_the_same_and_only_if_asked_to() {
    let (from, to) = (Service::start(), Service::start());
    for (service, items) in [
        (&from, json!([{"sku": "hay", "price": 3}, {"sku": "clover", "price": 5}, {"sku": "moss", "price": 1}])),
        (
            &to,
            json!([{"sku": "old", "price": 9}, {"sku": "clover", "price": 4, "stock": 7}, {"sku": "moss", "price": 1}]),
        ),
    ] {
        items.as_array().unwrap().iter().for_each(|item| service.keep("items", item.clone()));
    }
    to.guard_with("c4nary");
    let run = |token: &str, apply: &str| {
        let (token, there) = (format!("TARGET_TOKEN={token}"), to.origin());
        Run::of("sync", &from, &[("TARGET_TOKEN=...", &token), (OTHER, &there), ("--apply", apply)])
    };
    let changes = ["update clover", "create hay", "delete old"];
    let before = to.list("items");
    let dry = run("c4nary", "");
    dry.prints(&[&changes[..], &["3 changes to make, with --apply"]].concat());
    assert_eq!(to.list("items"), before);

    run("wrong", "--apply").fails("the server answered 401");
    assert_eq!(to.list("items"), before);
    to.fail("POST /items", &[500]);
    run("c4nary", "--apply").fails("the server answered 500");
    // Again: what was done before the error is not done twice.
    run("c4nary", "--apply").prints(&["create hay", "delete old", "2 changes made"]);
    let mut after: Vec<_> = to.list("items").iter().map(|item| format!("{} {}", item["sku"], item["price"])).collect();
    after.sort();
    assert_eq!(after, ["\"clover\" 5", "\"hay\" 3", "\"moss\" 1"]);
    let sent: Vec<_> =
        to.server().requests().iter().filter(|request| request.method == "POST").map(|r| r.text()).collect();
    assert!(sent.iter().all(|body| body == r#"{"price":3,"sku":"hay"}"#), "ids are each API's own: {sent:?}");
    run("c4nary", "--apply").prints(&["0 changes made"]);

    run("c4nary", "--aply").fails("usage: ");
    from.fail("GET /items", &[503]);
    run("c4nary", "--apply").fails("the server answered 503");
    (1..=99).for_each(|number| from.keep("items", json!({"sku": format!("hay {number}")})));
    run("c4nary", "--apply").fails("is one page of several");
    let empty = Service::start();
    let (token, there) = ("TARGET_TOKEN=c4nary", to.origin());
    Run::of("sync", &empty, &[("TARGET_TOKEN=...", token), (OTHER, &there)]).fails("has no items");
    assert_eq!(to.list("items").len(), 3);
}

/// A webhook's signature, made so many seconds ago.
fn signature(body: &str, secret: &str, age: u64) -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - age;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{time}.{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

#[test]
fn a_webhook_is_handed_on_only_if_it_is_signed() {
    let service = Service::start();
    let run = |body: &str, signature: &str| {
        let changes = [("whsec_...", "whsec_c4nary")];
        Run::with("webhook", &service, &changes, &[("BODY", body), ("STRIPE_SIGNATURE", signature)])
    };
    let event = |kind: &str, metadata: serde_json::Value| {
        let payment = json!({"id": "pi_1", "amount": 1500, "metadata": metadata});
        format!("{:#}\n", json!({"id": "evt_1", "type": kind, "data": {"object": payment}}))
    };
    let paid = event("payment_intent.succeeded", json!({"order": "6735"}));
    let good = signature(&paid, "whsec_c4nary", 0);
    for _ in 0..2 {
        run(&paid, &good).prints(&["evt_1: order 6735 is paid"]);
    }
    assert_eq!(service.list("orders").len(), 1, "the shop knows it again");
    assert_eq!(service.list("orders")[0]["amount"], 1500);
    let other = event("charge.updated", json!({}));
    run(&other, &signature(&other, "whsec_c4nary", 0)).prints(&["evt_1: nothing to do for charge.updated"]);
    let nameless = event("payment_intent.payment_failed", json!({}));
    run(&nameless, &signature(&nameless, "whsec_c4nary", 0)).fails("the payment pi_1 names no order");
    assert_eq!(service.server().requests().len(), 2);

    for (signature, reason) in [
        (signature(&paid, "whsec_other", 0), "no signature is right"),
        (signature(&paid, "whsec_c4nary", 400), "too old"),
        (String::new(), "has no time"),
    ] {
        let refused = run(&paid, &signature);
        refused.fails(reason);
        assert!(!refused.err.contains("c4nary"), "{}", refused.err);
    }
    assert_eq!(service.server().requests().len(), 2);
    service.fail("POST /orders", &[500]);
    run(&paid, &good).fails("the server answered 500");
}

#[test]
fn an_api_is_described_and_called() {
    let service = Service::start();
    let run = Run::of("api", &service, &[]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let (help, rest) = run.out.split_once("A/B ? weighs").unwrap();
    assert!(help.contains("A colony of marmots") && help.contains("Those that live here."), "{help}");
    assert_eq!(
        rest.lines().collect::<Vec<_>>(),
        [
            " 3.9 kg",
            "Edda weighs 4.2 kg",
            "3.9",
            "Edda",
            "404: no such thing",
            "marmots.list: there is no parameter `limt`; did you mean `limit`?",
        ]
    );
    service.fail("POST /marmots", &[500]);
    Run::of("api", &service, &[]).fails("the server answered 500");
}
