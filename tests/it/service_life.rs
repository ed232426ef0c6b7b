//! The service from its start to its end: settings, TLS, signals, restarts with a journal. Against `marmot serve` as a
//! process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use marmot::HttpClient;
use marmot::config::{CaCertificates, Configurable};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::service::allow;
use crate::support::marmot::{Http, LIMIT, Marmot, command, eventually, secret_file};
use crate::support::{Authority, Server};

fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

fn code(error: &Value) -> i64 {
    error["code"].as_i64().unwrap_or_else(|| panic!("no code in {error}"))
}

fn wait_for_state(http: &Http, id: &Value, state: &str) {
    let found = eventually(LIMIT, || (http.call("job.get", json!([id])).unwrap()["state"] == state).then_some(()));
    assert!(found.is_some(), "not {state}: {}", http.call("job.get", json!([id])).unwrap());
}

#[test]
fn settings_are_looked_at_without_starting_anything() {
    let folder = folder();
    secret_file(&folder.path().join("tokens"), "alice 0123456789abcdef\n");
    secret_file(&folder.path().join("short"), "alice 0123\n");
    let check = |settings: &str, flags: &[&str]| {
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, settings.replace("FOLDER", &folder.path().display().to_string())).unwrap();
        let output = command().args(["serve", "--check", "--config"]).arg(&file).args(flags).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text)
    };
    let good = "listen = \"127.0.0.1:0\"\ntoken-file = \"FOLDER/tokens\"\nmax-memory = \"8M\"\n[limits]\nbatch = 3\n";
    assert_eq!(check(good, &[]), (Some(0), String::new()));
    for (settings, flags, what) in [
        ("lisen = 1", &[][..], "lisen"),
        ("token-file = \"FOLDER/none\"", &[], "none"),
        ("token-file = \"FOLDER/short\"", &[], "line 1"),
        ("task-timeout = \"soon\"", &[], "time"),
        ("tls-certificate = \"FOLDER/tokens\"", &[], "tls-key"),
        ("tls-certificate = \"FOLDER/tokens\"\ntls-key = \"FOLDER/tokens\"", &[], "certificate"),
        ("secret = [\"NONE_SUCH@api.example.org\"]", &[], "NONE_SUCH"),
        ("[hooks.a]\nscript = \"s\"\nscheme = \"stripe\"\nsecrets = [\"NONE_SUCH\"]", &[], "hooks.a"),
        ("[tenants.alice]\nallowed = []", &[], "allowed"),
        ("queue = \"nonsense\"", &[], "nonsense"),
        ("", &["--listen", "here"], "here"),
    ] {
        let (status, text) = check(settings, flags);
        assert!(status == Some(2) && text.contains(what), "{settings}: {status:?} {text}");
    }
}

#[test]
fn flags_win_over_the_file() {
    let marmot = Marmot::start_with("task-timeout = \"9s\"\nworkers = 0", &["--task-timeout", "7s", "--workers", "2"]);
    let me = marmot.http().call("whoami", json!([])).unwrap();
    assert_eq!(me["task_timeout_ms"], 7_000);
    assert_eq!(marmot.http().play("1 + 1"), 2);
    marmot.stop();
}

#[test]
fn without_tokens_it_listens_on_this_machine_only() {
    let output = command().args(["serve", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tokens"));
}

#[test]
fn it_speaks_tls_with_its_certificate() {
    let folder = folder();
    let authority = Authority::new().unwrap();
    let leaf = authority.leaf(None).unwrap();
    std::fs::write(folder.path().join("cert.pem"), &leaf.certificate).unwrap();
    secret_file(&folder.path().join("key.pem"), &leaf.key);
    let settings = "tls-certificate = \"FOLDER/cert.pem\"\ntls-key = \"FOLDER/key.pem\"";
    let marmot = Marmot::start_in(folder, settings, &[]);
    let trusting = HttpClient::builder()
        .timeout(LIMIT)
        .ca_certificates(CaCertificates::pem(authority.pem().as_bytes()))
        .build()
        .unwrap();
    assert_eq!(marmot.http().client(trusting.clone()).play("1 + 1"), 2);
    assert!(marmot.http().try_post("{}").is_err(), "nobody else has signed it");
    // What is no TLS ends without an answer, and others are served all the while.
    use std::io::{Read as _, Write as _};
    let mut plain = std::net::TcpStream::connect(marmot.address()).unwrap();
    plain.set_read_timeout(Some(LIMIT)).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/"), "{rest:?}");
    assert_eq!(marmot.http().client(trusting).play("2 + 2"), 4);
    marmot.stop();
}

#[test]
fn asked_to_stop_it_lets_a_script_end_and_answers() {
    let mut marmot = Marmot::start("");
    let (http, mut socket) = (marmot.http(), marmot.socket());
    let mut idle = marmot.socket();
    let call = socket.begin("play", json!(["sleep(1); 42"]));
    let by_http = std::thread::spawn({
        let http = http.clone();
        move || http.play("sleep(1); 43")
    });
    let running = || http.call("queue.stats", json!([])).unwrap()["running"] == 2;
    assert!(eventually(LIMIT, || running().then_some(())).is_some());
    marmot.signal("TERM");
    assert_eq!(idle.close_code(), 1001);
    // Refused, or reset where it was accepted by the system and not by the server.
    if let Ok(response) = marmot::get(marmot.url("/readyz")) {
        assert_eq!(response.status().as_u16(), 503);
    }
    assert_eq!(socket.answer(call).unwrap()["value"], 42);
    assert_eq!(socket.close_code(), 1001);
    assert_eq!(by_http.join().unwrap(), 43);
    assert!(marmot.ended(LIMIT).expect("it ends").success());
}

#[test]
fn asked_twice_it_ends_at_once() {
    let mut marmot = Marmot::start("");
    let mut socket = marmot.socket();
    let job = socket.call("job.submit", json!(["sleep(20)"])).unwrap()["job_id"].clone();
    wait_for_state(&marmot.http(), &job, "running");
    marmot.signal("TERM");
    assert_eq!(socket.close_code(), 1001);
    let begun = Instant::now();
    marmot.signal("TERM");
    assert_eq!(marmot.ended(LIMIT).expect("it ends").code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn a_job_that_is_longer_than_the_drain_is_run_again_after_a_restart() {
    let server = Server::start(|request, responder| match request.path() {
        "/first" => responder.text(200, "fine"),
        _ => responder.sleep(Duration::from_secs(3)).and_then(|()| responder.text(200, "late")),
    });
    let settings = format!("{}journal = \"FOLDER/journal\"\ndrain = \"500ms\"", allow(&server));
    let mut marmot = Marmot::start(&settings);
    let mut socket = marmot.socket();
    let script = format!(r#"http_post("{}", "a"); http_get("{}").text()"#, server.url("/first"), server.url("/slow"));
    let job = socket.call("job.submit", json!([script])).unwrap()["job_id"].clone();
    let call = socket.begin("job.wait", json!([job]));
    assert!(server.wait_for_heads(2, LIMIT));
    let begun = Instant::now();
    marmot.signal("TERM");
    assert!(marmot.ended(LIMIT).expect("it ends").success());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "it took {took:?} with a drain of 500 ms");
    let _ = call;
    assert_eq!(socket.close_code(), 1001, "also where a call has no answer yet");
    let again = Marmot::start_in(marmot.folder(), &settings, &[]);
    let ended = again.http().call("job.wait", json!([job])).unwrap();
    assert_eq!((&ended["outcome"]["value"], &ended["attempts"]), (&json!("late"), &json!(1)), "{ended}");
    let keys: Vec<String> = server
        .requests()
        .iter()
        .filter(|request| request.path() == "/first")
        .map(|request| request.header("idempotency-key").unwrap().to_owned())
        .collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "a write that is sent again has its key again: {keys:?}");
    again.stop();
}

#[test]
fn killed_and_started_again_it_has_lost_nothing_that_was_accepted() {
    let settings = "journal = \"FOLDER/journal\"\nworkers = 2\n[jobs]\nlease = \"1s\"";
    let mut marmot = Marmot::start(settings);
    let http = marmot.http();
    http.call("script.put", json!({ "name": "kept", "script": "7" })).unwrap();
    let done = http.call("play", json!({ "script": "print(5); 6", "idempotency_key": "k" })).unwrap()["job_id"].clone();
    let mut ids: Vec<Value> = Vec::new();
    // As fast as they are accepted, until it is killed in the middle of one.
    let (accepted, killing) = std::sync::mpsc::channel();
    let submitting = std::thread::spawn({
        let http = http.clone();
        move || {
            for number in 0.. {
                let call = json!({
                    "jsonrpc": "2.0", "id": 1, "method": "job.submit",
                    "params": { "script": format!("sleep(0.05); {number}") },
                });
                let Ok((200, body)) = http.try_post(&call.to_string()) else { return };
                let Ok(answer) = serde_json::from_str::<Value>(&body) else { return };
                let _ = accepted.send(answer["result"]["job_id"].clone());
            }
        }
    });
    while ids.len() < 50 {
        ids.push(killing.recv_timeout(LIMIT).unwrap());
    }
    marmot.signal("KILL");
    marmot.ended(LIMIT).expect("it is killed");
    submitting.join().unwrap();
    ids.extend(killing.try_iter());
    let again = Marmot::start_in(marmot.folder(), settings, &[]);
    let http = again.http();
    for (number, id) in ids.iter().enumerate() {
        let ended = http.call("job.wait", json!([id])).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(ended["outcome"]["value"], number, "{ended}");
    }
    let before = http.call("job.get", json!([done])).unwrap();
    assert_eq!((&before["outcome"]["value"], &before["outcome"]["output"]), (&json!(6), &json!("5\n")));
    let same = http.call("play", json!({ "script": "print(5); 6", "idempotency_key": "k" })).unwrap();
    assert_eq!(same["job_id"], done);
    assert_eq!(http.call("play", json!({ "name": "kept" })).unwrap()["value"], 7);
    again.stop();
}

#[test]
fn two_servers_do_not_share_a_journal() {
    let settings = "journal = \"FOLDER/journal\"";
    let marmot = Marmot::start(settings);
    let output =
        command().args(["serve", "--listen", "127.0.0.1:0", "--journal"]).arg(marmot.path("journal")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(code(&marmot.http().call("play", json!([])).unwrap_err()), -32602);
    marmot.stop();
}
