//! `marmot repl` as a person or a pipe would use it. Needs the feature `cli`; the terminals need unix.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use marmot::script::{ScriptEngine, ScriptErrorKind};

use crate::support::Server;

fn marmot_repl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marmot"));
    command.arg("repl").env_remove("NO_COLOR");
    command
}

fn start(arguments: &[&str]) -> Child {
    let mut command = marmot_repl();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// What it says to an input from a pipe: exit code, stdout, stderr.
fn pipe(input: &str) -> (i32, String, String) {
    pipe_with(&[], input)
}

fn pipe_with(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = start(arguments);
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn inputs_from_a_pipe_run_in_order_and_show_their_values() {
    let (code, out, err) = pipe(
        "let x = 1;\nx + 1\n\"a \\\"b\\\"\"\n()\nprint(\"said\")\nlet m = #{ b: [1.5, true], a: () };\nm\n\nhttp::client()\n|a| a\n[m, 'c']",
    );
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "2\n\"a \\\"b\\\"\"\nsaid\n#{ a: (), b: [1.5, true] }\n<Client>\na function\n[#{ a: (), b: [1.5, true] }, 'c']\n"
    );
}

#[test]
fn an_unfinished_input_goes_on_in_the_next_line() {
    let (code, out, err) = pipe(
        "fn twice(x) {\n    // }\n    x * 2\n}\n[1,\n\n 2]\n  .map(|x|\n   x)\n`two\nlines`\n/* a comment\n1 */ 3\ntwice(\n4\n)\n",
    );
    assert_eq!(out, "[1, 2]\n\"two\\nlines\"\n3\n8\n");
    // The dot at the beginning of a line belongs to a command, not to the value above it.
    assert_eq!(code, 1);
    assert!(err.contains("there is no command .map"), "{err}");
}

#[test]
fn an_error_is_shown_and_the_session_goes_on() {
    let (code, out, err) =
        pipe("let x = 1;\nlet y = nothing;\nlet = ;\nx\nfn f(a) {\n    throw a;\n}\nf(\"oh\")\n[1].map(|n| f(n))\n(1");
    assert_eq!((code, out.as_str()), (1, "1\n"));
    let errors: Vec<_> = err.split("error: ").skip(1).collect();
    assert_eq!(errors.len(), 5, "{err}");
    assert!(errors[0].contains("nothing") && errors[0].contains("--> input 2:1:9"), "{err}");
    assert!(errors[1].contains("--> input 3:1:5"), "{err}");
    // The line of the input that has defined the function.
    for error in &errors[2..4] {
        assert!(error.contains("--> input 5:2:5") && error.contains("2 |     throw a;\n"), "{err}");
    }
    assert!(errors[4].contains("--> input 8:1:"), "{err}");
    assert!(!err.contains('\x1b'));
}

#[test]
fn a_response_is_shown_with_its_head_and_the_beginning_of_its_body() {
    let server = Server::faults();
    let source = format!("http_get(\"{}\")\nhttp_get(\"{}\")\n", server.url("/get"), server.url("/bytes/300000"));
    let (code, out, err) = pipe(&source);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("HTTP/1.1 200 OK ("), "{out}");
    assert!(out.contains("\ncontent-length: ") && out.contains("\n\n{"), "{out}");
    assert!(out.contains("more characters") && out.len() < 10_000, "{out}");
}

#[test]
fn promises_stay_and_go_on_between_inputs() {
    let server = Server::faults();
    let engine = ScriptEngine::new();
    let mut session = engine.session();
    let source = format!("let p = http_get_async(\"{}\"); let done = false;", server.url("/redirect/2"));
    let _unit = session.eval("first", &source, None).unwrap();
    // Only who is polled follows a redirect.
    session.wait(async {
        let start = Instant::now();
        while server.requests().len() < 3 {
            assert!(start.elapsed() < Duration::from_secs(10));
            futures_pause().await;
        }
    });
    assert_eq!(session.eval("second", "p.wait().status", None).unwrap().as_int(), Ok(200));
    let _unit =
        session.eval("third", &format!("let q = http_get_async(\"{}\");", server.url("/stall-head")), None).unwrap();
    assert!(server.wait_for_heads(4, Duration::from_secs(10)));
    session.clear();
    assert!(session.variables().is_empty());
    assert!(server.wait_open(0, Duration::from_secs(5)), "clear cancels what is under way");

    let (code, out, err) =
        pipe(&format!("let p = http_get_async(\"{}\");\np.wait().status\np", server.url("/delay/100")));
    assert_eq!((code, out.as_str(), err.as_str()), (0, "200\n<Promise(ready)>\n", ""));
}

/// Lets others run, and comes back soon.
async fn futures_pause() {
    let mut polled = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return std::task::Poll::Ready(());
        }
        let waker = cx.waker().clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            waker.wake();
        });
        std::task::Poll::Pending
    })
    .await;
}

#[test]
fn a_session_keeps_what_inputs_leave_and_its_limits_end_one_input_only() {
    let engine = ScriptEngine::new();
    let mut session = engine.session().constant("BASE", "x").time_limit(Duration::from_millis(100));
    let _unit = session.eval("a", "let n = 0; let add = |x| { n += x; n }; { let inner = 1; }", None).unwrap();
    assert_eq!(session.eval("b", "fn f() { 1 } add.call(2)", None).unwrap().as_int(), Ok(2));
    assert_eq!(session.eval("c", "fn f() { 2 } add.call(2) + f()", None).unwrap().as_int(), Ok(6));
    let error = session.eval("d", "let kept = 1; loop { }", None).unwrap_err();
    assert_eq!(error.kind(), ScriptErrorKind::TimeLimit);
    let error = session.eval("e", "{ let lost = 1; throw 1; }", None).unwrap_err();
    assert_eq!(error.kind(), ScriptErrorKind::Runtime);
    let names: Vec<_> = session.variables().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["BASE", "add", "kept", "n"]);
    assert_eq!(session.functions(), [("f", vec![])]);
    assert_eq!(session.eval("f", "let n = \"new\"; n + BASE", None).unwrap().to_string(), "newx");
    session.clear();
    assert_eq!(session.variables().len(), 1);
    assert!(session.eval("g", "f()", None).is_err());
}

#[test]
fn a_panic_ends_its_input_only() {
    let mut engine = ScriptEngine::new();
    engine.engine_mut().register_fn("fall", || -> i64 { panic!("over") });
    let mut session = engine.session();
    let error = session.eval("a", "let x = 1; fall()", None).unwrap_err();
    assert_eq!(error.kind(), ScriptErrorKind::Panicked);
    assert_eq!(session.eval("b", "x", None).unwrap().as_int(), Ok(1));
}

#[test]
fn commands_list_forget_load_and_save() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("lib.rhai"), "let loaded = 5;\nfn thrice(x) {\n    x * missing\n}\nloaded").unwrap();
    let (lib, saved) = (path("lib.rhai"), path("saved.rhai"));
    let input = format!(
        "let long = [1, 2];\n.load {lib}\nthrice(2)\n.vars\nif loaded > 1 {{ 7 }}\n.save {saved}\n.clear\n.vars\nlong\n.load {saved}\nlong\n"
    );
    let (code, out, err) = pipe(&input);
    assert_eq!(code, 1);
    assert_eq!(out, "5\nloaded = 5\nlong   = [1, 2]\nfn thrice(x)\n7\n7\n[1, 2]\n", "{err}");
    assert!(err.contains(&format!("--> {lib}:3:9")), "{err}");
    assert!(err.contains("Variable not found: long"), "{err}");

    for (input, message) in [
        (format!(".save {saved}"), "could not write"),
        (".save".into(), ".save needs the name of a file"),
        (".load /no/such/file".into(), "could not read `/no/such/file`"),
        (".frobnicate".into(), "there is no command .frobnicate"),
        (".vars x".into(), ".vars takes no argument"),
    ] {
        let (code, out, err) = pipe(&input);
        assert_eq!((code, out.as_str()), (1, ""), "{input}");
        assert!(err.contains(message), "{err}");
    }
    let (code, out, _) = pipe(".help\n.exit\nprint(1)");
    assert_eq!(code, 0);
    assert!(out.contains(".load FILE") && out.ends_with("ends what runs.\n"), "{out}");
}

#[test]
fn options_are_those_of_run() {
    let server = Server::faults();
    let url = server.url("/stall-head");
    let (code, out, err) = pipe_with(&["--timeout", "200ms"], &format!("http_get(\"{url}\")\n1\n"));
    assert_eq!((code, out.as_str()), (1, "1\n"));
    assert!(err.contains("time limit"), "{err}");
    let (code, _, err) = pipe_with(&["--allow", "example.org"], &format!("http_get(\"{url}\")\n"));
    assert!(code == 1 && err.contains("not on the list"), "{err}");
    assert_eq!(pipe_with(&["--timeout", "soon"], "").0, 2);
    let mut child =
        marmot_repl().env("FROM_OUTSIDE", "in").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"env(\"FROM_OUTSIDE\")").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"\"in\"\n");
}

#[test]
fn an_interrupt_ends_an_input_that_waits_and_the_pipe() {
    let server = Server::faults();
    let mut child = start(&[]);
    let source = format!("1\nhttp_get(\"{}\")\n2\n", server.url("/stall-head"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(source.as_bytes()).unwrap();
    assert!(server.wait_for_heads(1, Duration::from_secs(10)));
    let interrupt = |child: &Child| {
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    };
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(130), &b"1\n"[..]));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cancelled"));

    // While nothing runs it ends at once.
    let mut child = start(&[]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"1\n").unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[cfg(unix)]
mod terminal {
    use super::*;
    use rexpect::process::WaitStatus;
    use rexpect::session::{PtySession, spawn_command};

    const PROMPT: &str = "marmot> ";
    /// What tells a terminal that a line is edited, and that it is no more (bracketed paste). The prompt is drawn again
    /// and again in between.
    const BEGINS: &str = "\x1b[?2004h";
    const ENDS: &str = "\x1b[?2004l";
    const TAB: &str = "\t";

    /// A session on a terminal of its own, with its state below this folder.
    fn open(state: &std::path::Path, colours: bool) -> PtySession {
        let mut command = marmot_repl();
        command.env("XDG_STATE_HOME", state).env("TERM", "xterm-256color");
        if !colours {
            command.env("NO_COLOR", "1");
        }
        let mut terminal = spawn_command(command, Some(20_000)).unwrap();
        terminal.exp_string(".help helps").unwrap();
        let _ = until_prompt(&mut terminal);
        terminal
    }

    fn send(terminal: &mut PtySession, text: &str) {
        terminal.send(text).unwrap();
        terminal.flush().unwrap();
    }

    /// What comes until the next prompt.
    fn until_prompt(terminal: &mut PtySession) -> String {
        let shown = terminal.exp_string(BEGINS).unwrap();
        terminal.exp_string(PROMPT).unwrap();
        shown
    }

    /// Types a line and gives what comes for it.
    fn answer(terminal: &mut PtySession, line: &str) -> String {
        send(terminal, &format!("{line}\r"));
        terminal.exp_string(ENDS).unwrap();
        until_prompt(terminal)
    }

    fn give_up_line(terminal: &mut PtySession) {
        terminal.send_control('c').unwrap();
        let _ = until_prompt(terminal);
    }

    #[track_caller]
    fn ends_well(mut terminal: PtySession) {
        terminal.send_control('d').unwrap();
        terminal.exp_eof().unwrap();
        assert!(matches!(terminal.process().wait().unwrap(), WaitStatus::Exited(_, 0)));
    }

    #[test]
    fn a_terminal_has_a_prompt_colours_and_inputs_of_several_lines() {
        let state = tempfile::tempdir().unwrap();
        let mut terminal = open(state.path(), true);
        assert!(answer(&mut terminal, "\"green\"").contains("\x1b[32m\"green\"\x1b[0m"));
        send(&mut terminal, "fn twice(x) {\r");
        send(&mut terminal, "x * 2\r");
        let _ = answer(&mut terminal, "}");
        assert!(answer(&mut terminal, "twice(21)").contains("42"));
        assert!(answer(&mut terminal, "nowhere").contains("--> input 4:1:1"));
        ends_well(terminal);

        let mut terminal = open(state.path(), false);
        let shown = answer(&mut terminal, "\"plain\"");
        assert!(shown.contains("\"plain\"") && !shown.contains("\x1b[32m"), "{shown:?}");
        ends_well(terminal);
    }

    #[test]
    fn tab_completes_functions_variables_and_what_values_have() {
        let state = tempfile::tempdir().unwrap();
        let server = Server::faults();
        let mut terminal = open(state.path(), false);
        let _ = answer(&mut terminal, "let place = #{ burrow: 7 };");
        assert!(answer(&mut terminal, &format!("pla{TAB}.bur{TAB}")).contains('7'));
        send(&mut terminal, &format!("let reply = http_se{TAB}"));
        terminal.exp_string("http_settle(").unwrap();
        give_up_line(&mut terminal);
        let _ = answer(&mut terminal, &format!("let reply = http::head(\"{}\");", server.url("/get")));
        assert!(answer(&mut terminal, &format!("reply.st{TAB} + 1000")).contains("1200"));
        assert!(answer(&mut terminal, &format!("reply.headers.get_{TAB}\"none\").len()")).contains('0'));
        // What is common to all is written, then all are listed.
        send(&mut terminal, &format!("http::{TAB}{TAB}"));
        terminal.exp_string("settle(").unwrap();
        give_up_line(&mut terminal);
        ends_well(terminal);
    }

    #[test]
    fn control_c_ends_what_runs_or_gives_up_a_line() {
        let state = tempfile::tempdir().unwrap();
        let server = Server::faults();
        let mut terminal = open(state.path(), false);
        send(&mut terminal, &format!("http_get(\"{}\")\r", server.url("/stall-head")));
        assert!(server.wait_for_heads(1, Duration::from_secs(10)));
        let start = Instant::now();
        terminal.send_control('c').unwrap();
        terminal.exp_string("the script was cancelled").unwrap();
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        let _ = until_prompt(&mut terminal);
        send(&mut terminal, "throw \"never");
        give_up_line(&mut terminal);
        assert!(answer(&mut terminal, "40 + 2").contains("42"));
        ends_well(terminal);
    }

    #[test]
    fn a_promise_goes_on_while_nothing_is_typed() {
        let state = tempfile::tempdir().unwrap();
        let server = Server::faults();
        let mut terminal = open(state.path(), false);
        let _ = answer(&mut terminal, &format!("let p = http_get_async(\"{}\");", server.url("/redirect/3")));
        let start = Instant::now();
        while server.requests().len() < 4 {
            assert!(start.elapsed() < Duration::from_secs(10), "the redirects are not followed at the prompt");
            std::thread::sleep(Duration::from_millis(10));
        }
        ends_well(terminal);
    }

    #[test]
    fn the_history_outlives_a_session() {
        let state = tempfile::tempdir().unwrap();
        let mut terminal = open(state.path(), false);
        let _ = answer(&mut terminal, "let first = 40;");
        let _ = answer(&mut terminal, " let secret = 1;");
        let _ = answer(&mut terminal, "first + 2");
        ends_well(terminal);
        let file = state.path().join("marmot/history");
        let kept = std::fs::read_to_string(&file).unwrap();
        assert!(kept.contains("let first = 40;\nfirst + 2\n") && !kept.contains("secret"), "{kept}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "only for its owner");
        let mut terminal = open(state.path(), false);
        // Two lines up is the first.
        assert!(answer(&mut terminal, "\x1b[A\x1b[A\x1b[D; first + 1000").contains("1040"));
        ends_well(terminal);
        // A history that cannot be kept stands in nobody's way.
        let mut terminal = open(std::path::Path::new("/dev/null"), false);
        assert!(answer(&mut terminal, "40 + 2").contains("42"));
        ends_well(terminal);
    }
}
