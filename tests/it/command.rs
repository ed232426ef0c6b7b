//! The `marmot` command as a person would use it: arguments, output, exit codes. Needs the feature `cli`.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::Server;

fn marmot() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marmot"));
    command.env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

/// Runs a script given on stdin.
fn run(arguments: &[&str], source: &str) -> Output {
    let mut child = marmot()
        .arg("run")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses its arguments may be gone before it reads.
    let _ = child.stdin.take().unwrap().write_all(source.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_script_prints_to_stdout_and_sees_its_arguments() {
    let output = run(&["-", "one", "--two", "-3"], "print(ARGS); debug(1);");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output), "[\"one\", \"--two\", \"-3\"]\n");
    assert!(err(&output).contains('1'));
}

#[test]
fn a_script_file_runs_against_a_server() {
    let server = Server::faults();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("get.rhai");
    std::fs::write(&path, "print(http_get(ARGS[0]).json().path);").unwrap();
    let output = marmot().arg("run").arg("--trace").arg(&path).arg(server.url("/get")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output), "/get\n");
    let trace = err(&output);
    assert_eq!(trace.lines().count(), 1, "{trace}");
    for part in [&format!("GET {} 200", server.url("/get")), "dns=", "connect=", "first-byte=", "total=", "bytes"] {
        assert!(trace.contains(part), "{part} in {trace}");
    }
}

#[test]
fn an_error_shows_the_line_with_a_caret_and_exits_with_1() {
    for source in
        ["let x = 1;\nthrow \"oh no\";", "let x = 1;\nlet y = ;", "let x = 1;\nhttp_get(\"http://127.0.0.1:1/\");"]
    {
        let output = run(&["-"], source);
        assert_eq!(output.status.code(), Some(1));
        let text = err(&output);
        assert!(text.starts_with("error: ") && text.contains("stdin:2:"), "{text}");
        assert!(text.trim_end().ends_with('^'), "{text}");
        assert!(out(&output).is_empty());
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["run"][..],
        &["frobnicate"],
        &["run", "--frobnicate", "-"],
        &["run", "/no/such/script.rhai"],
        &["run", "--timeout", "soon", "-"],
        &["run", "--timeout", "0", "-"],
        &["run", "--env-file", "/no/such/file", "-"],
        &["run", "--allow", "ftp://x/", "-"],
        &[],
    ] {
        let output = marmot().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", err(&output));
        assert!(!err(&output).is_empty());
    }
}

#[test]
fn a_time_limit_exits_with_124() {
    let server = Server::faults();
    let start = Instant::now();
    let output = run(&["--timeout", "200ms", "-"], &format!("http_get(\"{}\")", server.url("/stall-head")));
    assert_eq!(output.status.code(), Some(124), "{}", err(&output));
    assert!(start.elapsed() < Duration::from_secs(3));
    assert!(err(&output).contains("time limit"));
}

#[test]
fn an_interrupt_exits_with_130_while_the_script_waits() {
    let server = Server::faults();
    let mut child = marmot().args(["run", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let source = format!("http_get(\"{}\")", server.url("/stall-head"));
    child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(server.wait_for_heads(1, Duration::from_secs(10)));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", err(&output));
}

#[test]
fn only_allowed_hosts_are_asked_redirects_included() {
    let server = Server::faults();
    let other = Server::faults();
    let host = format!("127.0.0.1:{}", server.addr().port());
    let output = run(&["--allow", &host, "-"], &format!("print(http_get(\"{}\").status)", server.url("/get")));
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), "200\n"), "{}", err(&output));

    let there = other.url("/get");
    let source =
        format!("http_get(\"{}\", #{{ query: #{{ url: \"{there}\", status: \"302\" }} }})", server.url("/redirect-to"));
    let output = run(&["--allow", &host, "-"], &source);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("not on the list"), "{}", err(&output));
    assert_eq!(other.accepted(), 0);
}

#[test]
fn variables_come_from_the_environment_and_the_env_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# a comment\nFROM_FILE=\"a b\"\nBOTH=file").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let output = marmot()
        .env("BOTH", "environment")
        .args(["run", "--env-file", &path])
        .arg({
            let script = file.path().with_extension("rhai");
            std::fs::write(&script, r#"print([env("FROM_FILE"), env("BOTH"), env("NOTHING"), env("NOTHING", "x")]);"#)
                .unwrap();
            script
        })
        .output()
        .unwrap();
    assert_eq!(out(&output), "[\"a b\", \"environment\", (), \"x\"]\n", "{}", err(&output));
}

#[test]
fn the_demo_ends_well_and_in_time() {
    let start = Instant::now();
    let output = marmot().arg("demo").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(start.elapsed() < Duration::from_secs(5));
    let text = out(&output);
    for part in ["1. ", "9. ", "caught", "requests in", "POST /marmots 201", "/old-burrow -> / 200"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colours where nobody sees them");
}

#[test]
fn the_version_names_libcurl_and_its_features() {
    for flag in ["--version", "-V"] {
        let output = marmot().arg(flag).output().unwrap();
        let text = out(&output);
        assert!(text.starts_with(&format!("marmot {}", env!("CARGO_PKG_VERSION"))), "{text}");
        for part in ["libcurl/", "features:", "HTTP2"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

#[test]
fn a_sandbox_refuses_and_says_which_flag_would_allow() {
    let server = Server::faults();
    let origin = server.origin();
    let get = format!("print(http_get(\"{origin}/get\").status);");
    let post = format!("print(http_post(\"{origin}/echo\", \"x\").text());");
    let allow = format!("--allow={origin}");
    for (flags, source, help) in [
        (vec!["--sandbox"], get.as_str(), format!("--allow {origin} would allow it")),
        (vec!["--sandbox", &allow], &post, "--allow-method POST would allow it".to_owned()),
        (vec!["--sandbox"], "env(\"HOME\")", "--allow-env HOME would allow it".to_owned()),
        (vec!["--sandbox", "--max-requests=1", &allow], &format!("{get}{get}"), "--max-requests 2".to_owned()),
        (vec!["--sandbox", "--max-memory=1M"], "let s = \"x\"; loop { s += s }", "--max-memory 2097152".to_owned()),
        (vec!["--sandbox", "--max-operations=100"], "loop {}", "--max-operations 200".to_owned()),
        (vec!["--max-operations=100"], "loop {}", "--max-operations 200".to_owned()),
        (
            vec!["--sandbox"],
            "http_download(\"http://a.test\", \"/tmp/x\")",
            "--allow-write /tmp/x would allow it".to_owned(),
        ),
        (vec!["--sandbox"], "secret(\"KEY\")", "--secret KEY@HOST".to_owned()),
    ] {
        let mut arguments = flags.clone();
        arguments.push("-");
        let output = run(&arguments, source);
        assert_eq!(output.status.code(), Some(1), "{flags:?} {source}: {}", err(&output));
        let text = err(&output);
        assert!(text.starts_with("error: ") && text.contains("help: ") && text.contains(&help), "{help} in {text}");
    }
    let output = run(&["--sandbox", &allow, "--allow-method", "post", "-"], &format!("{get}{post}"));
    assert_eq!(out(&output), "200\nx\n", "{}", err(&output));
    let output = run(&["--sandbox", "--timeout", "100ms", "-"], "loop {}");
    assert_eq!(output.status.code(), Some(124));
    for wrong in [["--secret", "KEY"], ["--max-memory", "12q"], ["--max-requests", "-1"], ["--modules", "/no/such"]] {
        assert_eq!(run(&[wrong[0], wrong[1], "-"], "1").status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn secrets_of_the_environment_go_to_their_host_and_into_no_archive() {
    let server = Server::faults();
    let folder = tempfile::tempdir().unwrap();
    let (har, env) = (folder.path().join("all.har"), folder.path().join(".env"));
    std::fs::write(&env, "API_KEY=c4nary-9\n").unwrap();
    let source = format!(
        "print(secret(\"API_KEY\")); print(http_get(\"{0}/get\", #{{ headers: #{{ mine: secret(\"API_KEY\") }} }}).text());",
        server.origin()
    );
    let secret = format!("API_KEY@{}", server.origin());
    let files = [env.to_str().unwrap(), har.to_str().unwrap()];
    let output = run(&["--env-file", files[0], "--har", files[1], "--secret", &secret, "--trace", "-"], &source);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(server.last_request().header("mine"), Some("c4nary-9"));
    let archive = std::fs::read_to_string(&har).unwrap();
    assert!(archive.contains("\"entries\"") && archive.contains("/get"), "{archive}");
    for text in [out(&output), err(&output), archive] {
        assert!(!text.contains("c4nary"), "{text}");
    }
    let output = run(&["--secret", "NO_SUCH_VARIABLE@a.test", "-"], "1");
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("NO_SUCH_VARIABLE"));
}

#[test]
fn requests_are_shown_as_a_waterfall_and_what_was_used_in_a_line() {
    let server = Server::faults();
    let source =
        format!("http_all([\"{0}/delay/80\", \"{0}/get\"]); http_get(\"{0}/status/404\"); ()", server.origin());
    let output = run(&["--trace", "--usage", "-"], &source);
    let text = err(&output);
    let rows: Vec<&str> = text.lines().filter(|line| line.contains('│')).collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(rows[2].contains("404") && text.contains("3 requests in "), "{text}");
    // The last begins where the longest of the first two has ended.
    let begin = |row: &str| row.split('│').nth(1).unwrap().chars().take_while(|c| *c == ' ').count();
    assert!(begin(rows[0]) == 0 && begin(rows[2]) > 30, "{text}");
    assert!(text.lines().last().unwrap().contains("3 requests (2 at once)"), "{text}");
}
