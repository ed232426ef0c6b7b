//! Scripts that one did not write: what they are not allowed, and budgets. Secrets are in `secrets.rs`.

use std::time::{Duration, Instant};

use marmot::script::rhai::{Dynamic, Map};
use marmot::script::{Budget, Sandbox, ScriptEngine, ScriptError, ScriptErrorKind, Usage};
use marmot::{ErrorKind, HttpClient};

use crate::support::Server;

/// A sandbox that allows this server.
fn around(server: &Server) -> Sandbox {
    Sandbox::new().hosts([server.origin()])
}

fn engine(sandbox: Sandbox) -> ScriptEngine {
    ScriptEngine::builder().sandbox(sandbox).build().unwrap()
}

fn run_with_usage(sandbox: Sandbox, server: Option<&Server>, source: &str) -> (Result<Dynamic, ScriptError>, Usage) {
    let engine = engine(sandbox);
    match engine.compile("test", source) {
        Ok(script) => script.constant("BASE", server.map(Server::origin).unwrap_or_default()).run_with_usage(),
        Err(error) => (Err(error), Usage::default()),
    }
}

fn run(sandbox: Sandbox, server: &Server, source: &str) -> Result<Dynamic, ScriptError> {
    run_with_usage(sandbox, Some(server), source).0
}

/// What a script is thrown.
#[track_caller]
fn thrown(sandbox: Sandbox, server: &Server, source: &str) -> Map {
    let error = run(sandbox, server, source).err().unwrap_or_else(|| panic!("{source} throws nothing"));
    assert_eq!(error.kind(), ScriptErrorKind::Runtime, "{error}");
    error.value().unwrap().clone().cast::<Map>()
}

#[track_caller]
fn budget(sandbox: Sandbox, server: Option<&Server>, source: &str) -> (Budget, u64, u64) {
    let (result, _) = run_with_usage(sandbox, server, source);
    let error = result.err().unwrap_or_else(|| panic!("{source} ends well"));
    match error.kind() {
        ScriptErrorKind::Budget(budget) => (budget, error.limit().unwrap(), error.used().unwrap()),
        other => panic!("{source}: {other:?}: {error}"),
    }
}

#[test]
fn nothing_is_asked_that_was_not_allowed() {
    let server = Server::faults();
    let other = Server::faults();
    let port = server.addr().port();
    let inward = [
        server.url("/get"),
        format!("http://localhost:{port}/get"),
        format!("http://2130706433:{port}/get"),
        format!("http://0x7f.1:{port}/get"),
        format!("http://[::ffff:127.0.0.1]:{port}/get"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    for url in &inward {
        for call in ["http_get(URL)", "http_get_async(URL).wait()", "for line in http_lines(URL) {}", "http_all([URL])"]
        {
            let engine = engine(Sandbox::new().hosts(["api.example.org"]));
            let error = engine.compile("test", call).unwrap().constant("URL", url.clone()).run().unwrap_err();
            let map = error.value().unwrap().clone().cast::<Map>();
            let kind = map["kind"].to_string();
            assert!(["egress_denied", "invalid_request"].contains(&kind.as_str()), "{call} {url}: {map:?}");
        }
    }
    assert_eq!(server.requests().len(), 0);

    let allowed = run(around(&server), &server, r#"http_get(BASE + "/get").status"#).unwrap();
    assert_eq!(allowed.as_int(), Ok(200));
    let elsewhere = format!(r#"http_get(BASE + "/redirect-to?url={}/get")"#, other.origin());
    let map = thrown(around(&server), &server, &elsewhere);
    assert_eq!((map["kind"].to_string(), map["permission"].to_string()), ("egress_denied".into(), "host".into()));
    assert_eq!(other.requests().len(), 0);
}

#[test]
fn methods_proxies_variables_and_files_are_asked_for() {
    let server = Server::faults();
    for (source, permission, what) in [
        (r#"http_post(BASE + "/echo", "x")"#, "method", "POST"),
        (r#"http_request(#{ url: BASE + "/get", method: "delete" })"#, "method", "DELETE"),
        (r#"http::client(#{ base_url: BASE }).put("/x", "")"#, "method", "PUT"),
        (r#"http::client(#{ proxy: "http://127.0.0.1:1" })"#, "proxy", "http://127.0.0.1:1"),
        (r#"env("HOME")"#, "environment", "HOME"),
        (r#"env("HOME", "x")"#, "environment", "HOME"),
        (r#"http_get(BASE, #{ file: "/etc/passwd" })"#, "read", "/etc/passwd"),
        (r#"http_get(BASE, #{ multipart: #{ a: #{ file: "/etc/passwd" } } })"#, "read", "/etc/passwd"),
        (r#"http_download(BASE + "/get", "/tmp/marmot-denied")"#, "write", "/tmp/marmot-denied"),
        (r#"secret("KEY")"#, "secret", "KEY"),
    ] {
        let map = thrown(around(&server), &server, source);
        let seen = (map["kind"].to_string(), map["permission"].to_string(), map["what"].to_string());
        assert_eq!(seen, ("denied".into(), permission.into(), what.into()), "{source}");
        assert!(map["line"].as_int() == Ok(1), "{map:?}");
    }
    assert_eq!(server.requests().len(), 0);
    let value = run(around(&server).methods(["POST"]), &server, r#"http_post(BASE + "/echo", "x").text()"#).unwrap();
    assert_eq!(value.to_string(), "x");
    let engine =
        ScriptEngine::builder().sandbox(Sandbox::new().environment(["A"])).variables(|name| Some(name.repeat(2)));
    assert_eq!(engine.build().unwrap().run(r#"env("A")"#).unwrap().to_string(), "AA");
    for source in [r#"eval("1")"#, r#"import "x" as x;"#] {
        let error = run(Sandbox::new(), &server, source).unwrap_err();
        assert!(matches!(error.kind(), ScriptErrorKind::Parse | ScriptErrorKind::Runtime), "{source}: {error}");
    }
}

#[test]
fn every_budget_ends_the_script_and_says_how_much_it_was() {
    let server = Server::faults();
    let open = || around(&server).time_limit(Duration::from_secs(20));
    let cases: [(Sandbox, &str, Budget, u64); 14] = [
        (open().max_operations(1000), "loop {}", Budget::Operations, 1000),
        (open().max_operations(1000), "http_each(0..1_000_000, 5, |n| n)", Budget::Operations, 1000),
        (open().max_call_depth(20), "fn f(n) { f(n + 1) } f(0)", Budget::CallDepth, 20),
        (open().max_requests(3), r#"loop { http_get(BASE + "/get") }"#, Budget::Requests, 3),
        (open().max_requests(3), r#"loop { http_get_async(BASE + "/get") }"#, Budget::Requests, 3),
        (
            open().max_requests_at_once(2),
            r#"http_all([BASE + "/delay/500", BASE + "/delay/500", BASE + "/delay/500"])"#,
            Budget::RequestsAtOnce,
            2,
        ),
        (
            open().methods(["POST"]).max_sent(5000),
            r#"loop { http_post(BASE + "/echo", "x".pad2(1000)) } fn pad2(n) { let s = this; s.pad(n, 'x'); s }"#,
            Budget::Sent,
            5000,
        ),
        (open().max_received(50_000), r#"loop { http_get(BASE + "/bytes/20000") }"#, Budget::Received, 50_000),
        (open().max_response_size(10_000), r#"http_get(BASE + "/bytes/20000")"#, Budget::ResponseSize, 10_000),
        (
            open().max_response_size(10_000),
            r#"for c in http_chunks(BASE + "/bytes/200000") {}"#,
            Budget::ResponseSize,
            10_000,
        ),
        (open().max_received(10_000), r#"http_get_async(BASE + "/bytes/20000").wait()"#, Budget::Received, 10_000),
        (open().max_output(100), r#"loop { print("0123456789") }"#, Budget::Output, 100),
        (open().max_memory(1 << 20), r#"let s = "x"; loop { s += s }"#, Budget::Memory, 1 << 20),
        (
            open().max_memory(1 << 20),
            r#"let m = #{}; let n = 0; loop { m["k" + n] = n; n += 1; }"#,
            Budget::Memory,
            1 << 20,
        ),
    ];
    for (sandbox, source, expected, limit) in cases {
        // Catching it and going on is no way out.
        for source in [source.to_owned(), format!("try {{ {source} }} catch {{ }} \"escaped\"")] {
            if source.contains("fn ") && source.contains("try") {
                continue;
            }
            let (kind, most, used) = budget(sandbox.clone(), Some(&server), &source);
            assert_eq!((kind, most), (expected, limit), "{source}");
            assert!(used > limit, "{source}: {used}");
        }
    }
}

#[test]
fn a_run_tells_what_it_used() {
    let server = Server::faults();
    let source = r#"
        let all = http_all([BASE + "/bytes/1000", BASE + "/bytes/1000"]);
        print("hello");
        let text = ""; text.pad(100_000, 'x');
        for i in 0..100 { let j = i; }
        text.len
    "#;
    let (result, usage) = run_with_usage(around(&server), Some(&server), source);
    assert_eq!(result.unwrap().as_int(), Ok(100_000));
    assert_eq!((usage.requests, usage.requests_at_once, usage.received), (2, 2, 2000));
    assert!((100..1000).contains(&usage.operations), "{usage:?}");
    assert!((100_000..1_000_000).contains(&usage.memory), "{usage:?}");
    assert!(usage.sent > 20 && usage.output == 6 && usage.time > Duration::ZERO, "{usage:?}");
    let (_, next) = run_with_usage(around(&server), Some(&server), "1");
    assert!(next.requests == 0 && next.operations < 10 && next.memory < 10_000, "{next:?}");
}

#[test]
fn what_other_threads_take_over_is_not_counted_against_a_script() {
    let server = Server::faults();
    let folder = tempfile::tempdir().unwrap();
    let sandbox = || around(&server).max_memory(8 << 20).max_requests(None).max_received(None).max_response_size(None);
    let path = folder.path().join("file").display().to_string();
    for (source, most) in [
        (format!(r#"http_download(BASE + "/bytes/30000000", "{path}")"#), 1 << 20),
        (r#"for chunk in http_chunks(BASE + "/bytes/30000000") { let x = chunk; }"#.to_owned(), 2 << 20),
        (r#"for i in 0..40 { let x = http_get(BASE + "/bytes/1000000"); }"#.to_owned(), 4 << 20),
        (
            r#"for i in 0..10 { let x = http_all([BASE + "/bytes/1000000", BASE + "/bytes/1000000"]); }"#.to_owned(),
            7 << 20,
        ),
        (r#"for i in 0..10 { let x = [http_get_async(BASE + "/bytes/1000000")]; x[0].wait(); }"#.to_owned(), 4 << 20),
    ] {
        let (result, usage) = run_with_usage(sandbox().writable([folder.path()]), Some(&server), &source);
        assert!(result.is_ok(), "{source}: {}", result.unwrap_err());
        assert!(usage.memory < most && usage.received >= 10_000_000, "{source}: {usage:?}");
    }
    // What a script keeps counts, also after others came and went.
    let source = r#"
        for i in 0..20 { let x = http_get(BASE + "/bytes/1000000"); }
        let kept = [];
        loop { kept.push(http_get(BASE + "/bytes/1000000")); }
    "#;
    let (result, usage) = run_with_usage(sandbox(), Some(&server), source);
    assert_eq!(result.unwrap_err().kind(), ScriptErrorKind::Budget(Budget::Memory));
    assert!((27..=30).contains(&usage.requests), "{usage:?}");
}

#[test]
fn a_single_call_does_not_exhaust_the_memory() {
    for source in [
        r#"let s = ""; s.pad(1_000_000_000_000, 'x')"#,
        r#"let s = ""; s.pad(1_000_000_000_000, "xy")"#,
        "let a = []; a.pad(1_000_000_000_000, 0)",
        "let b = blob(0); b.pad(1_000_000_000_000, 0)",
        "blob(1_000_000_000_000)",
        "blob(9_000_000_000_000_000_000, 1)",
        r#"let s = ""; s.pad(1_000_000, 'a'); let t = s; s.replace("a", t)"#,
        r#"let s = ""; s.pad(1_000_000, 'a'); let t = s; s.replace('a', t)"#,
        r#"let s = ""; s.pad(8_000_000, ','); s.split(',')"#,
        r#"let s = ""; s.pad(8_000_000, ','); s.to_chars()"#,
        "let b = blob(8_000_000); b.to_array()",
        // A text that is in memory once, and in the text of the array ten thousand times.
        r#"let s = ""; s.pad(1_000_000, 'a'); let a = []; a.pad(10_000, s); `${a}`"#,
        r#"let s = ""; s.pad(1_000_000, 'a'); let a = []; a.pad(10_000, s); "" + a"#,
        r#"let s = ""; s.pad(1_000_000, 'a'); let a = []; a.pad(10_000, s); print(a)"#,
        r#"let s = ""; s.pad(1_000_000, 'a'); let a = []; a.pad(10_000, s); a.to_json()"#,
        r#"let s = ""; s.pad(1_000_000, 'a'); let a = []; a.pad(10_000, s); to_json(a)"#,
        r#"let s = ""; s.pad(1_000_000, 'a'); let m = #{}; for i in 0..1000 { m[`${i}`] = s } m.to_debug()"#,
        r#"let s = "["; s.pad(8_000_000, "[],"); parse_json(s + "1]")"#,
        "let i = []; for n in 0..10 { let j = []; j.pad(20_000, 1); i.push(j); } let a = []; a.pad(1000, i);",
        "let i = #{}; for n in 0..10 { let j = []; j.pad(20_000, 1); i[`k${n}`] = j; } let a = []; a.pad(1000, [i]);",
        "let b = blob(1_000_000); let a = []; a.pad(1000, #{ b: [b] });",
        "let a = [1]; loop { a += a }",
        "let a = [1]; loop { a.push(a) }",
        "let a = []; loop { a.push(blob(100_000)) }",
        "let f = || 1; loop { f = f.curry(f) }",
        "let a = []; loop { let b = a; a = [b, b] }",
    ] {
        let (result, usage) = run_with_usage(Sandbox::new().max_memory(16 << 20), None, source);
        let error = result.err().unwrap_or_else(|| panic!("{source} ends well"));
        assert_eq!(error.kind(), ScriptErrorKind::Budget(Budget::Memory), "{source}: {error}");
        assert!(usage.memory < 64 << 20, "{source}: {usage:?}");
    }
}

#[test]
fn values_that_are_nested_deeper_than_any_stack_end_the_script_and_nothing_else() {
    for source in [
        "let a = []; loop { a = [a.take()] }",
        "let a = #{}; loop { a = #{ x: a.take() } }",
        "let a = []; for i in 0..20_000 { a = [a.take()] } a",
        "let a = []; for i in 0..20_000 { a = [a.take()] } throw a",
        "let a = []; for i in 0..20_000 { a = [a.take()] } let b = a; a == b",
        "let a = []; for i in 0..20_000 { a = [a.take()] } `${a}`.len",
        "let a = []; for i in 0..20_000 { a = [a.take()] } a.to_json()",
        "let a = []; for i in 0..20_000 { a = [a.take()] } http_settle(a)",
        "let f = || 1; for i in 0..10_000 { let g = |x| x; f = g.curry(f.take()); } f",
    ] {
        let sandbox = Sandbox::new().time_limit(Duration::from_secs(3));
        let (result, usage) = run_with_usage(sandbox, None, source);
        assert!(usage.operations > 10_000, "{source}: {usage:?}: {result:?}");
    }
}

#[test]
fn the_time_limit_holds_in_every_wait_and_in_slow_operations() {
    let server = Server::faults();
    for source in [
        "loop {}",
        "let on = true; while on {}",
        "let on = true; do {} while on",
        "for i in 0..9_000_000_000_000 { let j = i; }",
        "sleep(60)",
        r#"http_get(BASE + "/delay/5000")"#,
        r#"http_get_async(BASE + "/delay/5000").wait()"#,
        r#"http_all([BASE + "/delay/5000"])"#,
        r#"for line in http_lines(BASE + "/delay/5000") {}"#,
        r#"let s = ""; s.pad(4_000_000, 'x'); loop { s.index_of("y") }"#,
        r#"let s = ""; s.pad(2_000_000, 'x'); loop { let t = s.sub_string(1); }"#,
        "let a = []; a.pad(100_000, 1); loop { a.sort() }",
        "http_each(0..9_000_000_000, 10, |n| n)",
        "let a = []; a.pad(10_000, 1); loop { a.map(|x| x).filter(|x| true) }",
    ] {
        let limit = Duration::from_millis(300);
        let sandbox = around(&server).time_limit(limit).max_operations(None);
        let start = Instant::now();
        let error = run(sandbox, &server, source).err().unwrap_or_else(|| panic!("{source} ends well"));
        let late = start.elapsed().saturating_sub(limit);
        assert_eq!(error.kind(), ScriptErrorKind::TimeLimit, "{source}: {error}");
        assert!(error.message().contains("300ms"), "{error}");
        assert!(late < Duration::from_millis(if cfg!(debug_assertions) { 400 } else { 50 }), "{source}: {late:?}");
    }
}

#[test]
fn modules_come_from_their_folder_only() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("modules/a.rhai", "import \"in/b\" as b; export const TWO = b::one() + 1; fn two() { 2 }");
    write("modules/in/b.rhai", "fn one() { 1 }");
    write("modules/round.rhai", "import \"round\" as r;");
    write("modules/broken.rhai", "fn (");
    write("outside.rhai", "export const X = 1;");
    std::os::unix::fs::symlink(folder.path().join("outside.rhai"), folder.path().join("modules/link.rhai")).unwrap();
    let builder = || ScriptEngine::builder().sandbox(Sandbox::new());
    let engine = builder().modules(folder.path().join("modules")).build().unwrap();
    assert_eq!(engine.run(r#"import "a" as a; a::TWO + a::two()"#).unwrap().as_int(), Ok(4));
    for name in ["../outside", "link", "/etc/hostname", "none", "", "in/../a", "./a", "round", "broken"] {
        let error = engine.run(&format!("import \"{name}\" as x;")).unwrap_err();
        assert_eq!(error.kind(), ScriptErrorKind::Runtime, "{name}: {error}");
    }
    let error = builder().modules("/no/such/folder").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

#[test]
fn a_sandbox_that_cannot_hold_is_refused() {
    for builder in [
        ScriptEngine::builder().sandbox(Sandbox::new().hosts(["a b"])),
        ScriptEngine::builder().sandbox(Sandbox::new().addresses(["10.0.0.0/99"])),
        ScriptEngine::builder().secret("A", "", ["a.test"]),
        ScriptEngine::builder().secret("A", "text", [""; 0]),
        ScriptEngine::builder().secret("A", "text", ["ftp://x"]),
        ScriptEngine::builder().secret_from_env("MARMOT_NO_SUCH_VARIABLE", ["a.test"]),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::InvalidConfiguration);
    }
    let long = "1;".repeat(40_000);
    assert_eq!(engine(Sandbox::new()).compile("long", &long).unwrap_err().kind(), ScriptErrorKind::Parse);
}

#[test]
fn files_go_up_and_come_down_where_they_may() {
    let server = Server::faults();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note.txt"), "a note").unwrap();
    let sandbox = around(&server).methods(["GET", "POST"]).readable([folder.path()]).writable([folder.path()]);
    let engine = ScriptEngine::builder().client(HttpClient::new().unwrap()).sandbox(sandbox).build().unwrap();
    let script = |source: &str| {
        let script = engine.compile("files", source).unwrap();
        let script = script.constant("BASE", server.origin()).constant("DIR", folder.path().display().to_string());
        script.run().unwrap_or_else(|error| panic!("{}", error.render()))
    };
    let echoed = script(
        r#"http_post(BASE + "/echo", (), #{ multipart: [
            ["title", "Summer"], ["count", 3], ["raw", blob(2, 65)],
            ["note", #{ file: DIR + "/note.txt" }], ["made", #{ content: "x,y", name: "a.csv", type: "text/csv" }],
        ] }).text()"#,
    );
    let text = echoed.to_string();
    let places: Vec<_> = ["Summer", "\r\n3\r\n", "AA", "a note", "x,y"].map(|part| text.find(part).unwrap()).into();
    assert!(places.is_sorted(), "{text}");
    for part in [
        "name=\"note\"; filename=\"note.txt\"\r\nContent-Type: text/plain",
        "filename=\"a.csv\"\r\nContent-Type: text/csv",
    ] {
        assert!(text.to_lowercase().contains(&part.to_lowercase()), "{part} in {text}");
    }
    assert_eq!(script(r#"http_post(BASE + "/echo", (), #{ file: DIR + "/note.txt" }).text()"#).to_string(), "a note");
    let down = script(r#"let down = http_download(BASE + "/bytes/5000", DIR + "/new.bin"); [down.bytes, down.status]"#);
    assert_eq!(down.to_string(), "[5000, 200]");
    assert_eq!(std::fs::metadata(folder.path().join("new.bin")).unwrap().len(), 5000);
}

#[test]
fn a_script_is_compiled_once_and_runs_on_many_threads() {
    let server = Server::faults();
    let engine = engine(around(&server));
    let source = r#"
        let seen = #{ sum: 100 };
        for i in 0..10 { seen.sum += http_get(BASE + `/bytes/${N}`).blob().len; }
        seen.sum
    "#;
    let script = engine.compile("shared", source).unwrap().constant("BASE", server.origin());
    let sums: Vec<i64> = std::thread::scope(|scope| {
        let run = |n: i64| {
            let script = script.clone().constant("N", n);
            scope.spawn(move || {
                let (result, usage) = script.run_with_usage();
                assert_eq!((usage.requests, usage.received), (10, 10 * n as u64), "each run has its own meter");
                result.unwrap().as_int().unwrap()
            })
        };
        let threads: Vec<_> = (1..=8).map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(sums, (1..=8).map(|n| 100 + 10 * n).collect::<Vec<i64>>());
}
