//! `marmot client`: scripts that are run elsewhere look here as if they ran here.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::marmot::{Marmot, secret_file};

const TOKEN: &str = "a-token-of-24-characters";

fn client(url: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marmot"));
    command.args(["client", url]).args(words).env_remove("MARMOT_TOKEN").stdin(Stdio::null());
    command
}

fn run(url: &str, words: &[&str]) -> (i32, String, String) {
    shown(client(url, words).output().unwrap())
}

fn shown(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn script(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.rhai");
    std::fs::write(&path, text).unwrap();
    (folder, path.display().to_string())
}

#[test]
fn a_script_is_run_there_and_its_output_comes_here() {
    let marmot = Marmot::start("");
    let (_folder, path) = script(r#"print("hay " + ARGS.kind); debug(7); ARGS.amount + 1"#);
    let (code, out, err) = run(&marmot.url(""), &["run", &path, "kind=fresh", "amount=41"]);
    assert_eq!((code, out.as_str()), (0, "hay fresh\n42\n"), "{err}");
    assert!(err.contains('7'), "{err}");
    marmot.stop();
}

#[test]
fn ends_have_the_codes_of_marmot_run() {
    let marmot = Marmot::start("");
    for (text, words, code, said) in [
        ("throw \"no hay\"", &[][..], 1, "no hay"),
        ("let x = ;", &[], 1, "script:1:9"),
        ("loop { sleep(0.01) }", &["--timeout", "300ms"], 124, "time limit"),
    ] {
        let (_folder, path) = script(text);
        let (got, _, err) = run(&marmot.url(""), &[&["run", &path], words].concat());
        assert_eq!(got, code, "{text}: {err}");
        assert!(err.contains(said), "{text}: {err}");
    }
    let (_folder, path) = script("1");
    for (words, code, said) in [
        (&["run", "no-such-file.rhai"][..], 2, "no-such-file.rhai"),
        (&["run", &path, "nonsense"], 2, "NAME=VALUE"),
        (&["run", "--library", "nothing"], 1, "nothing"),
        (&["call", "no.method"], 1, "rpc.discover"),
        (&["call", "whoami", "{"], 2, "JSON"),
    ] {
        let (got, _, err) = run(&marmot.url(""), words);
        assert_eq!(got, code, "{words:?}: {err}");
        assert!(err.contains(said), "{words:?}: {err}");
    }
    let (code, _, err) = run("127.0.0.1:1", &["call", "whoami"]);
    assert!(code == 1 && err.contains("refused"), "{err}");
    let (code, _, err) = run("ftp://127.0.0.1", &["call", "whoami"]);
    assert!(code == 2 && err.contains("ws://"), "{err}");
}

#[test]
fn a_token_comes_from_a_file_or_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    secret_file(&tokens, &format!("alice {TOKEN}\n"));
    let marmot = Marmot::start(&format!("token-file = {tokens:?}"));
    let url = marmot.url("");
    let (code, _, err) = run(&url, &["call", "whoami"]);
    assert!(code == 1 && err.contains("--token-file"), "{err}");
    let out = shown(client(&url, &["call", "whoami"]).env("MARMOT_TOKEN", TOKEN).output().unwrap()).1;
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["tenant"], "alice");
    let output = Command::new(env!("CARGO_BIN_EXE_marmot"))
        .args(["client", &url, "--token-file"])
        .arg(&tokens)
        .args(["call", "whoami"])
        .output()
        .unwrap();
    assert_eq!(shown(output).0, 0);
}

#[test]
fn an_interrupt_ends_the_script_there() {
    let marmot = Marmot::start("");
    let (_folder, path) = script("print(\"begun\"); loop { sleep(0.01) }");
    let mut child =
        client(&marmot.url(""), &["run", &path]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"begun\n");
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let begun = Instant::now();
    let (code, _, err) = shown(child.wait_with_output().unwrap());
    assert_eq!(code, 130, "{err}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let jobs = marmot.http().call("job.list", json!({})).unwrap();
    assert_eq!(jobs["jobs"][0]["state"], "cancelled", "{jobs}");
}

#[test]
fn a_detached_script_is_found_again_by_its_id() {
    let marmot = Marmot::start("");
    let (_folder, path) = script("6 * 7");
    let (code, out, _) = run(&marmot.url(""), &["run", "--detach", &path]);
    assert_eq!(code, 0);
    let job = json!({ "job_id": out.trim(), "timeout_ms": 10_000 }).to_string();
    let (code, out, err) = run(&marmot.url(""), &["call", "job.wait", &job]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["outcome"]["value"], 42);
}
