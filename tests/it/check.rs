//! `marmot check` and `ScriptEngine::check`: what is found in scripts, and what is not held against them. Needs the feature
//! `cli`. Nothing is run.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use marmot::script::{Finding, ScriptEngine, Severity};

fn check(source: &str) -> Vec<Finding> {
    ScriptEngine::new().check("test", source, &["ARGS"])
}

/// The message, hint and place of the only finding.
#[track_caller]
fn only(source: &str) -> (String, Option<String>, (usize, usize)) {
    let findings = check(source);
    assert_eq!(findings.len(), 1, "{source}: {findings:?}");
    let finding = &findings[0];
    assert_eq!(finding.severity(), Severity::Error, "{source}");
    let place = (finding.line().unwrap(), finding.column().unwrap());
    (finding.message().to_owned(), finding.hint().map(str::to_owned), place)
}

#[test]
fn a_syntax_error_is_found() {
    let (message, hint, place) = only("let x = 1;\nlet y = ;\nhtp_get(1);");
    assert!(message.contains("';'"), "{message}");
    assert_eq!((hint, place), (None, (2, 9)));
}

#[test]
fn unknown_functions_are_found_with_what_may_have_been_meant() {
    for (source, message, hint) in [
        ("htp_get(\"x\")", "there is no function `htp_get`", Some("did you mean `http_get`?")),
        (
            "let x = [htp_get_async(\"x\")];",
            "there is no function `htp_get_async`",
            Some("did you mean `http_get_async`?"),
        ),
        ("http::gett(\"x\")", "there is no function `http::gett`", Some("did you mean `http::get`?")),
        (
            "http::http_get(\"x\")",
            "there is no function `http::http_get`",
            Some("`http_get` is not in a module: call it without `http::`"),
        ),
        ("client(#{})", "there is no function `client`", Some("there is `http::client`")),
        ("htp::get(\"x\")", "there is no module `htp`", Some("did you mean `http`?")),
        ("fn greet() {} gret();", "there is no function `gret`", Some("did you mean `greet`?")),
        ("frobnicate(1)", "there is no function `frobnicate`", None),
        (
            "let f = |x| x; f(1)",
            "there is no function `f`",
            Some("`f` is a variable: call the function in it with `f.call(...)`"),
        ),
        ("fn a() { if true { loop { break frobnicate(); } } } a()", "there is no function `frobnicate`", None),
        ("[1].map(|x| frobnicate(x))", "there is no function `frobnicate`", None),
        ("try { } catch (e) { print(`${frobnicate(e)}`); }", "there is no function `frobnicate`", None),
        ("switch 1 { 1 if frobnicate(1) => 2, _ => 3 }", "there is no function `frobnicate`", None),
        ("if false { frobnicate(); }", "there is no function `frobnicate`", None),
        ("return 1; frobnicate();", "there is no function `frobnicate`", None),
        ("#{ a: frobnicate() }", "there is no function `frobnicate`", None),
    ] {
        let found = only(source);
        assert_eq!((found.0.as_str(), found.1.as_deref()), (message, hint), "{source}");
    }
    assert_eq!(only("let x = 1;\n  let y = http::gett(x);").2, (2, 11));
}

#[test]
fn wrong_numbers_of_arguments_are_found() {
    for (source, message) in [
        ("http_get()", "`http_get` takes 1 or 2 arguments, not 0"),
        ("http_post(\"x\")", "`http_post` takes 2 or 3 arguments, not 1"),
        ("http::client(1, 2)", "`http::client` takes 0 or 1 argument, not 2"),
        ("fn f(a) { a } f(1, 2)", "`f` takes 1 argument, not 2"),
        ("fn f(a) { a } fn f(a, b) { a + b } f(1, 2, 3)", "`f` takes 1 or 2 arguments, not 3"),
    ] {
        assert_eq!(only(source).0, message, "{source}");
    }
}

#[test]
fn undefined_variables_are_found_each_once() {
    for (source, name, hint) in [
        ("print(reply)", "reply", None),
        ("let reply = 1; print(replay)", "replay", Some("did you mean `reply`?")),
        ("x = 1;", "x", None),
        (
            "let y = 1; { let x = y; } x",
            "x",
            Some("`x` is defined elsewhere, but not visible here; a function sees its arguments only"),
        ),
        (
            "let x = 1; fn f() { x } f()",
            "x",
            Some("`x` is defined elsewhere, but not visible here; a function sees its arguments only"),
        ),
        (
            "let f = http_get;",
            "http_get",
            Some("`http_get` is a function; `Fn(\"http_get\")` is a value that holds it"),
        ),
        ("let f = || missing; f.call()", "missing", None),
        ("print(`${missing} ${missing}`)", "missing", None),
    ] {
        let found = only(source);
        assert_eq!((found.0, found.1.as_deref()), (format!("there is no variable `{name}`"), hint), "{source}");
    }
}

#[test]
fn every_call_is_reported_up_to_a_limit() {
    let lines: Vec<_> = check("frobnicate(1);\nlet x = 1;\nfrobnicate(x);").iter().map(|found| found.line()).collect();
    assert_eq!(lines, [Some(1), Some(3)]);
    let calls: String = (0..5000).map(|n| format!("frobnicate_{n}(); x_{n};\n")).collect();
    let start = std::time::Instant::now();
    assert_eq!(check(&calls).len(), 200);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn what_may_be_right_is_not_held_against_a_script() {
    for source in [
        "print(ARGS.len()); debug(1); print();",
        "fn fib(n) { if n < 2 { n } else { fib(n - 1) + fib(n - 2) } } print(fib(3) * 2 - -1)",
        "let x = 1; let x = x + 1; { let x = x; print(x); } const Y = 2; print(Y)",
        "let n = 0; let add = |x| { n += x; n }; add.call(1); print(n)",
        "let outer = |a| { let inner = |b| a + b; inner.call(2) }; outer.call(1)",
        "let api = #{ list: || [1], one: |id| id }; api.list(); api.one(1)",
        "let api = #{}; api.list = || 1; api[\"more\"] = |x| x; api.list(); api.more(1)",
        "fn double() { this * 2 } let x = 2; x.double()",
        "for item in [1] { print(item); } for (item, n) in [1] { print(item + n); }",
        "try { throw 1; } catch (error) { print(error); } try { throw #{}; } catch { }",
        "let f = Fn(\"print\"); f.call(1); call(f, 1); let g = curry(f, 1); type_of(g); is_shared(g)",
        "let m = #{ a: 1, \"b c\": [1, 2] }; m.a += 1; m[\"b c\"][0] = 2; m?.d?.e; 1 in m; m.contains(\"a\")",
        "import \"other\" as other; other::anything(1, 2, 3); print(other::VALUE)",
        "if is_def_fn(\"later\", 1) { later(1) } if is_def_var(\"later\") { later }",
        "let r = http_get(ARGS[0]); r.status; r.headers.get_all(\"x\"); r.json().items.map(|i| i.id); r.raise().text()",
        "let api = http::client(#{ base_url: ARGS[0] }); api.get(\"/\"); api.post_async(\"/\", #{}).wait(10)",
        "let api = http::api(#{ base_url: ARGS[0], resources: #{ a: #{ lst: \"GET /\" } } }); api.a.lst_async(); api.help()",
        "let api = http::api(\"a.yaml\"); api.frobnicate()",
        "let api = http::openapi(\"a.yaml\"); api.frobnicate(1)",
        "let p = http_get_async(ARGS[0]); http_all([p]); http_each(0..3, 2, |n| `${n}`); 'a'.to_upper(); 1..=2",
        "while true { break; } do { } until true; loop { break 1; } let x = if true { 1 } else { 2 }; switch x { 1 => 2, _ => x }",
        "fn f(x) { if x == () { return; } x.len } f([1]); global::f; const A = 1; fn g() { global::A } g()",
        "let x = 1; let x = `a ${x + 1} ${`${x}`}`; print(x); sleep(0.1); parse_json(to_json(#{})); x !in [1]; x ?? 1",
        "",
    ] {
        let findings = check(source);
        let findings: Vec<_> = findings.iter().filter(|finding| !finding.message().contains("`f`")).collect();
        assert!(findings.is_empty(), "{source}: {}", findings[0].render());
    }
}

#[test]
fn what_cannot_be_known_is_a_warning() {
    for (source, message) in [
        ("let x = [1]; x.frobnicate()", "no type has a method `frobnicate`"),
        (
            "http::api(#{ base_url: ARGS[0], resources: #{ a: \"GET /\" } }).frobnicate()",
            "no type has a method `frobnicate`",
        ),
        ("let x = [1]; x.push()", "`push` takes 1 argument, not 0"),
        ("fn f() { x } let x = 1; f!()", "there is no variable `x`"),
    ] {
        let findings = check(source);
        assert_eq!(findings.len(), 1, "{source}: {findings:?}");
        assert_eq!((findings[0].message(), findings[0].severity()), (message, Severity::Warning), "{source}");
    }
}

#[test]
fn what_an_engine_was_given_is_known() {
    let mut engine = ScriptEngine::new();
    engine.engine_mut().register_fn("frobnicate", |x: i64| x);
    assert!(engine.check("test", "frobnicate(1); 1.frobnicate()", &[]).is_empty());
    assert_eq!(engine.check("test", "frobnicat(1)", &[])[0].hint(), Some("did you mean `frobnicate`?"));
    engine.engine_mut().register_custom_operator("plus", 160).unwrap();
    engine.engine_mut().register_fn("plus", |x: i64, y: i64| x + y);
    assert!(engine.check("test", "let x = 1; x plus 2", &[]).is_empty(), "a syntax of its own is no error");
}

fn marmot_check(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_marmot"))
        .arg("check")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn all_findings_of_all_files_are_shown_as_by_a_compiler() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, source: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, source).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file("good.rhai", "print(env(\"HOME\", \"x\") + ARGS.len());\n");
    let bad = file("bad.rhai", "let x = 1;\nlet reply = htp_get(y);\n\thttp_get();\n");
    let worse = file("worse.rhai", "let = 1;");
    let output = marmot_check(&[&good, &bad, &worse], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    let expected = format!(
        "error: there is no function `htp_get`\n --> {bad}:2:13\n  |\n2 | let reply = htp_get(y);\n  |             ^\n  = \
         hint: did you mean `http_get`?\n\nerror: there is no variable `y`\n --> {bad}:2:21\n"
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.contains(&format!("`http_get` takes 1 or 2 arguments, not 0\n --> {bad}:3:2\n")), "{text}");
    assert!(text.contains(&format!("{worse}:1:5")), "{text}");
    assert!(text.ends_with("4 errors, 0 warnings\n"), "{text}");
}

#[test]
fn the_exit_code_tells_errors_from_warnings_and_wrong_usage() {
    for (arguments, input, code) in [
        (&["-"][..], "print(1)", 0),
        (&["-"], "ARGS.frobnicate()", 0),
        (&["-"], "frobnicate()", 1),
        (&["-"], "print(", 1),
        (&[], "", 2),
        (&["/no/such/file"], "", 2),
        (&["/no/such/file", "-"], "frobnicate()", 2),
        (&["--frobnicate", "-"], "", 2),
    ] {
        let output = marmot_check(arguments, input);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {input}: {text}");
        assert_eq!(text.is_empty(), input == "print(1)", "{text}");
    }
}

#[test]
fn nothing_is_wrong_with_the_scripts_of_the_examples() {
    let folder = std::path::Path::new("examples/scripts");
    let mut engine = ScriptEngine::new();
    marmot::stripe::register(&mut engine, marmot::stripe::Config::new()).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        let findings = engine.check(path.to_str().unwrap(), &source, &["ARGS", "BASE"]);
        assert!(findings.is_empty(), "{}", findings[0].render());
    }
}
