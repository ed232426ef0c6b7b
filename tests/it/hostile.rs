//! A thousand scripts that mean harm: what each tries is combined with ways to do it. None escapes, hangs or crashes.

use std::thread;
use std::time::{Duration, Instant};

use marmot::script::rhai::Map;
use marmot::script::{Sandbox, ScriptEngine, ScriptErrorKind};

use crate::support::Server;

/// Ways to run a statement that ought to end the script or throw.
const WAYS: &[&str] = &[
    "{}",
    "try { {} } catch { }",
    "try { {} } catch { try { {} } catch { {} } }",
    "loop { try { {} } catch { } }",
    "let f = || { {} }; loop { try { f.call() } catch { } }",
    "[1, 2, 3].for_each(|| { {} })",
    "http_each(0..1000, 3, |n| { {} })",
    "for i in 0..1000 { try { {} } catch (error) { let text = `${error}`; } }",
    "if true { switch 1 { 1 => { {} } } }",
    "let p = http_get_async(BASE + \"/delay/50\"); {} p.wait();",
];

/// What uses up time, memory, the stack or the network.
const GREED: &[&str] = &[
    "loop {}",
    "loop { let x = 1; }",
    "let on = true; while on {}",
    "do { } while 1 == 1",
    "for i in 0..9_000_000_000_000 { let j = i; }",
    "for i in 0..9_000_000_000_000 {}",
    "sleep(1000000)",
    "sleep(1e300)",
    "let s = \"x\"; loop { s += s; }",
    "let s = `x`; loop { s = `${s}${s}`; }",
    "let a = [0]; loop { a += a; }",
    "let a = []; loop { a.push(a); }",
    "let a = []; loop { a.push(\"some text of a certain length\" + a.len); }",
    "let a = []; loop { a = [a.take()]; }",
    "let m = #{}; loop { m[`k${m.len()}`] = m.len(); }",
    "let m = #{}; loop { m = #{ a: m, b: m }; }",
    "let m = #{ m: #{} }; loop { m.m[`k${m.m.len()}`] = [1, 2, 3]; }",
    "let b = blob(1); loop { b += b; }",
    "let b = blob(1_000_000); let a = []; loop { a.push(b); }",
    "let x = blob(1_000_000_000_000);",
    "let s = \"\"; s.pad(1_000_000_000_000, 'x');",
    "let a = []; a.pad(1_000_000_000_000, [1]);",
    "let s = \"\"; s.pad(500_000, 'a'); let t = s; s.replace(\"a\", t);",
    "let i = []; for n in 0..10 { let j = []; j.pad(20_000, 1); i.push(j); } let a = []; a.pad(1000, i);",
    "let s = \"\"; s.pad(3_000_000, ','); let p = s.split(\",\");",
    "let s = \"\"; s.pad(500_000, 'a'); let a = []; a.pad(100_000, s); let t = `${a}`;",
    "let s = \"\"; s.pad(500_000, 'a'); let a = []; a.pad(100_000, s); to_json(a);",
    "let s = \"[\"; s.pad(2_000_000, \"[],\"); parse_json(s + \"1]\");",
    "let s = \"\"; s.pad(100_000, \"[\"); parse_json(s);",
    "let s = \"\"; s.pad(1_000_000, 'x'); loop { s.to_upper().to_lower().contains(\"y\"); }",
    "let a = []; a.pad(100_000, 3); loop { a.sort(); a.reverse(); }",
    "let a = []; a.pad(3_000, 1); a.sort(|x, y| { loop {} });",
    "let f = |f| f.call(f); f.call(f);",
    "let f = || 1; loop { f = f.curry(f); }",
    "let f = Fn(\"sleep\"); f.call(100000);",
    "print(\"x\".len()); loop { print(\"some text that is printed for ever\"); }",
    "loop { debug(\"and some that is not printed\"); }",
    "loop { http_get(BASE + \"/get\"); }",
    "loop { http_get_async(BASE + \"/delay/1000\"); }",
    "let a = []; for i in 0..50 { a.push(BASE + \"/delay/1000\"); } http_all(a);",
    "http_race([BASE + \"/stall-head\"]);",
    "http_get(BASE + \"/endless\");",
    "http_get(BASE + \"/endless\", #{ max_size: 9_000_000_000_000, timeout: 1000000 });",
    "http_get(BASE + \"/endless-head\");",
    "http_get(BASE + \"/1xx-flood\");",
    "http_get(BASE + \"/stall/100\", #{ timeout: 1e300 });",
    "http_get(BASE + \"/gzip-bomb/200\");",
    "http_get(BASE + \"/br-bomb/200\");",
    "http_get(BASE + \"/redirect-loop\");",
    "http_get(BASE + \"/huge-headers/1000\");",
    "for line in http_lines(BASE + \"/endless\") {}",
    "for chunk in http_chunks(BASE + \"/endless\") { let x = chunk; }",
    "let all = []; for chunk in http_chunks(BASE + \"/endless\") { all.push(chunk); }",
    "for event in http_events(BASE + \"/idle-events\") { let x = event; }",
    "for event in http_events(BASE + \"/events/3\") { let x = event; }",
    "http_get(BASE + \"/slow-drip/1000/50\");",
    "let s = \"\"; s.pad(3_000_000, 'x'); http_request(#{ url: BASE + \"/get\", body: s });",
    "let c = []; loop { c.push(http::client()); }",
    "let m = #{}; for i in 0..100_000 { m[`h${i}`] = `v${i}`; } http_get(BASE + \"/get\", #{ headers: m });",
    "let s = \"\"; s.pad(1_000_000, 'x'); http_get(BASE + \"/get?\" + s);",
];

/// Functions of a script's own that call themselves.
const RECURSION: &[&str] = &[
    "fn f() { f() } f()",
    "fn f(n) { f(n + 1) + f(n + 1) } f(0)",
    "fn f(a) { f([a]) } f([])",
    "fn f(a) { let b = a; g(b) } fn g(a) { f(a + a) } f(\"x\")",
    "fn f() { try { f() } catch { f() } } f()",
    "fn f(n) { let a = []; a.pad(1000, n); f(n + 1); a } f(0)",
    "fn f() { this.push(1); this.f() } let a = []; a.f()",
    "fn f() { loop { this[`k${this.len()}`] = 1; } } let m = #{}; m.f()",
    "fn f(n) { if n > 0 { f(n - 1) } f(n) } f(50)",
    "fn f() { http_each(0..3, 3, |n| f()) } f()",
];

/// Ways to reach for something, `{}` being an expression for a URL.
const REACH: &[&str] = &[
    "http_get({})",
    "http_request(#{ method: \"GET\", url: {} })",
    "http_get_async({}).wait()",
    "http_all([{}])",
    "http_race([{}])",
    "http_each([{}], 1, |url| url)",
    "for line in http_lines({}) { print(line) }",
    "for event in http_events({}) { print(event) }",
    "http::client(#{ base_url: {} }).get(\"/get\")",
    "http_get(BASE + \"/redirect-to?url=\" + {})",
    "graphql({}, \"{ x }\")",
    "http::api({})",
    "http::openapi({})",
    "http_download({}, \"/tmp/marmot-hostile\")",
    "http::client().get({})",
];

/// Places that nobody allowed. `PORT` is that of a server on loopback that must not be asked.
const PLACES: &[&str] = &[
    "http://127.0.0.1:PORT/get",
    "http://localhost:PORT/get",
    "http://127.1:PORT/get",
    "http://2130706433:PORT/get",
    "http://0x7f000001:PORT/get",
    "http://0x7f.1:PORT/get",
    "http://0177.0.0.1:PORT/get",
    "http://017700000001:PORT/get",
    "http://0:PORT/get",
    "http://0.0.0.0:PORT/get",
    "http://[::1]:PORT/get",
    "http://[::]:PORT/get",
    "http://[::ffff:127.0.0.1]:PORT/get",
    "http://[::ffff:7f00:1]:PORT/get",
    "http://[64:ff9b::7f00:1]:PORT/get",
    "http://127.0.0.1.:PORT/get",
    "http://LOCALHOST.:PORT/get",
    "http://api.example.org@127.0.0.1:PORT/get",
    "http://127.0.0.1:PORT\\\\@api.example.org/get",
    "http://api.example.org#@127.0.0.1:PORT/get",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/",
    "http://10.0.0.1/",
    "http://192.168.1.1/",
    "http://metadata.google.internal/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:PORT/_GET",
    "dict://127.0.0.1:PORT/x",
    "ws://127.0.0.1:PORT/get",
    "unix:///var/run/docker.sock",
    "http:127.0.0.1:PORT/get",
    "//127.0.0.1:PORT/get",
    "http://127.0.0.1:PORT/get?x= HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n",
];

/// Ways to break out of a request's form, or of the sandbox, each thrown or harmless.
const TRICKS: &[&str] = &[
    "http_get(BASE + \"/get\", #{ headers: #{ \"A\": \"b\\r\\nInjected: 1\" } })",
    "http_get(BASE + \"/get\", #{ headers: #{ \"A\": \"b\\nInjected: 1\" } })",
    "http_get(BASE + \"/get\", #{ headers: #{ \"A\\r\\nInjected: 1\\r\\nB\": \"b\" } })",
    "http_get(BASE + \"/get\", #{ headers: #{ \"A: b\\nInjected\": \"1\" } })",
    "http_get(BASE + \"/get\", #{ headers: #{ \"A\": \"b\\x00Injected: 1\" } })",
    "http_get(BASE + \"/get\", #{ headers: #{ \"Host\": \"127.0.0.1\\r\\nInjected: 1\" } })",
    "http_get(BASE + \"/get\", #{ headers: #{ \"Content-Length\": \"5\", \"Transfer-Encoding\": \"chunked\" } })",
    "http_get(BASE + \"/get HTTP/1.1\\r\\nInjected: 1\\r\\nX: \")",
    "http_get(BASE + \"/get\\r\\nInjected: 1\")",
    "http_request(#{ method: \"GET / HTTP/1.1\\r\\nInjected: 1\\r\\nX:\", url: BASE })",
    "http_request(#{ method: \"CONNECT\", url: BASE })",
    "http_request(#{ method: \"TRACE\", url: BASE })",
    "http_get(BASE + \"/get\", #{ auth: #{ bearer: \"x\\r\\nInjected: 1\" } })",
    "http_get(BASE + \"/get\", #{ auth: #{ user: \"x\\r\\nInjected: 1\", password: \"y\" } })",
    "http::client(#{ base_url: BASE, user_agent: \"x\\r\\nInjected: 1\" }).get(\"/get\")",
    "http::client(#{ base_url: BASE, headers: #{ \"A\": \"x\\r\\nInjected: 1\" } }).get(\"/get\")",
    "http::client(#{ base_url: BASE }).get(\"/../../\\r\\nInjected: 1\")",
    "http::client(#{ proxy: \"http://127.0.0.1:1\" })",
    "http_get(BASE + \"/get\", #{ query: #{ a: \"b\\r\\nInjected: 1\" } })",
    "http_request(#{ url: BASE + \"/get\", multipart: #{ \"a\\\"\\r\\nInjected: 1\": \"b\" } })",
    "http_get(BASE + \"/get\", #{ file: \"/etc/passwd\" })",
    "http_get(BASE + \"/get\", #{ multipart: #{ a: #{ file: \"/etc/passwd\" } } })",
    "http_get(BASE + \"/get\", #{ multipart: #{ a: #{ file: \"/proc/self/environ\" } } })",
    "http_download(BASE + \"/get\", \"/tmp/marmot-hostile\")",
    "http_download(BASE + \"/get\", \"../../../../tmp/marmot-hostile\")",
    "http::api(\"/etc/passwd\")",
    "http::openapi(\"/etc/passwd\")",
    "http::openapi(\"/proc/self/environ\")",
    "import \"/etc/passwd\" as x;",
    "import \"../../../etc/passwd\" as x;",
    "env(\"PATH\")",
    "env(\"HOME\", \"\")",
    "secret(\"KEY\")",
    "secret(\"PATH\")",
    "http_post(BASE + \"/echo\", \"x\")",
    "http_delete(BASE + \"/get\")",
    "http_get(BASE + \"/get\", #{ max_size: -1 })",
    "http_get(BASE + \"/get\", #{ timeout: 0 })",
    "http_get(BASE + \"/get\", #{ redirects: 99999999999 })",
    "http_get(())",
    "http_get(BASE + \"/get\", #{ headers: [1] })",
    "http_all(1..3)",
    "http_each(1..3, 0, |x| x)",
    "http_each(1..3, -1, |x| throw x)",
    "ws_connect(\"ws://127.0.0.1:1/\")",
    "exit(BASE)",
    "throw [[[[]]]]",
];

/// What the scripts are about, each with its ways.
fn scripts(forbidden: u16) -> Vec<String> {
    let mut all = Vec::new();
    for greed in GREED {
        all.extend(WAYS.iter().map(|way| way.replace("{}", &format!("{{ {greed} }}"))));
    }
    all.extend(RECURSION.iter().map(|source| (*source).to_owned()));
    for place in PLACES {
        let url = format!("\"{}\"", place.replace("PORT", &forbidden.to_string()));
        all.extend(REACH.iter().map(|reach| reach.replace("{}", &url)));
    }
    for trick in TRICKS {
        all.push((*trick).to_owned());
        all.push(format!("try {{ {trick} }} catch {{ {trick} }}"));
    }
    all
}

/// Runs some of the scripts, and tells what was wrong.
fn run(server: &Server, sources: &[String]) -> Vec<String> {
    const LIMIT: Duration = Duration::from_millis(150);
    let sandbox = Sandbox::new()
        .hosts([server.origin()])
        .time_limit(LIMIT)
        .max_memory(8 << 20)
        .max_requests(20)
        .max_received(4 << 20)
        .max_response_size(2 << 20)
        .max_output(10_000);
    let engine = ScriptEngine::builder().sandbox(sandbox).variables(|_| Some("canary".into())).build().unwrap();
    let mut wrong = Vec::new();
    for source in sources {
        let script = match engine.compile("hostile", source) {
            Ok(script) => script.constant("BASE", server.origin()),
            Err(error) => {
                // Not one that is no script at all.
                if !source.contains("import") {
                    wrong.push(format!("{source}: {error}"));
                }
                continue;
            }
        };
        let start = Instant::now();
        let (result, usage) = script.run_with_usage();
        let late = start.elapsed().saturating_sub(LIMIT);
        if late > Duration::from_secs(1) {
            wrong.push(format!("{source}: {late:?} late, {usage:?}"));
        }
        // Twice as much for the copy that is made when a value grows, and some for what is freed at the end.
        if usage.memory > 40 << 20 || usage.requests > 21 || usage.output > 11_000 {
            wrong.push(format!("{source}: {usage:?}"));
        }
        match result {
            Err(error) if error.kind() == ScriptErrorKind::Panicked => wrong.push(format!("{source}: {error}")),
            Err(error) => {
                let thrown = error.value().and_then(|value| value.clone().try_cast::<Map>()).unwrap_or_default();
                if format!("{error} {thrown:?}").contains("root:") {
                    wrong.push(format!("{source}: {error}"));
                }
            }
            Ok(value) if value.to_string().contains("canary") || value.to_string().contains("root:") => {
                wrong.push(format!("{source}: {value}"));
            }
            Ok(_) => {}
        }
    }
    wrong
}

#[test]
fn a_thousand_hostile_scripts_neither_escape_nor_hang_nor_crash() {
    let (server, forbidden) = (Server::faults(), Server::faults());
    let sources = scripts(forbidden.addr().port());
    assert!(sources.len() > 1000, "{}", sources.len());
    let wrong: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> =
            sources.chunks(sources.len().div_ceil(4)).map(|some| scope.spawn(|| run(&server, some))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), sources.len(), wrong.join("\n"));
    assert_eq!(forbidden.requests().len(), 0, "{:?}", forbidden.requests().first());
    for request in server.requests() {
        assert!(!request.has_header("injected") && !request.target.contains("\nInjected"), "{request:?}");
        assert!(["GET", "HEAD", "OPTIONS"].contains(&request.method.as_str()), "{request:?}");
    }
    assert!(!std::path::Path::new("/tmp/marmot-hostile").exists());
}
