//! The console in a real browser: a server, a worker and a queue of this process, and Chromium as the operator. What the
//! methods answer in detail is not looked at here.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use marmot::prelude::*;
use marmot::queue::{JobId, MemoryQueue, NewJob, Queue, Settings, State, wait_for_end};
use marmot::script::{Sandbox, ScriptEngine};
use marmot::server::{ALONE, Server as Service, ServerOptions, Tokens};
use marmot::telemetry::Telemetry;
use marmot::worker::{Engines, Worker};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::Server;
use crate::support::webdriver::{Browser, key};

const LIMIT: Duration = Duration::from_secs(15);
pub(crate) const TOKEN: &str = "0123456789abcdef-of-alice";

/// A service to be looked at, with an API that its scripts may ask.
pub(crate) struct Place {
    pub(crate) api: Server,
    queue: Arc<MemoryQueue>,
    address: SocketAddr,
    options: ServerOptions,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    working: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    gate: Arc<Gate>,
    // Last: it ends what runs on it.
    runtime: Runtime,
}

/// What `/gate` of the API waits for.
#[derive(Default)]
struct Gate(std::sync::Mutex<bool>, std::sync::Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn shut(&self) {
        *self.0.lock().unwrap() = false;
    }

    fn is_open(&self, patience: Duration) -> bool {
        let guard = self.0.lock().unwrap();
        *self.1.wait_timeout_while(guard, patience, |open| !*open).unwrap().0
    }
}

impl Place {
    pub(crate) fn start() -> Self {
        let mut place = Self::with(Settings::default(), ServerOptions::default());
        place.work();
        place
    }

    /// Without a worker.
    pub(crate) fn with(settings: Settings, mut options: ServerOptions) -> Self {
        let gate = Arc::new(Gate::default());
        let api = Server::start({
            let gate = gate.clone();
            move |request, r| {
                if request.path() == "/gate" {
                    // A moment of sleep is what notices that the client has gone.
                    for _ in 0..1_500 {
                        if gate.is_open(Duration::from_millis(5)) {
                            break;
                        }
                        r.sleep(Duration::from_millis(5))?;
                    }
                }
                let wait = request.query_value("ms").map_or(0, |ms| ms.parse().unwrap());
                r.sleep(Duration::from_millis(wait))?;
                r.text(if request.path() == "/none" { 404 } else { 200 }, "hay")
            }
        });
        options.drain = Duration::from_secs(2);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut place = Self {
            api,
            queue: Arc::new(MemoryQueue::new(settings)),
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            options,
            serving: None,
            working: None,
            gate,
            runtime,
        };
        place.serve();
        place
    }

    /// Listens where it did before, if it did.
    fn serve(&mut self) {
        let (queue, options) = (self.queue.clone(), self.options.clone());
        let server = Service::bind(self.address, queue, options, Telemetry::new());
        let server = self.runtime.block_on(server).unwrap();
        self.address = server.address().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = self.runtime.spawn(server.serve(async {
            let _ = stopped.await;
        }));
        self.serving = Some((stop, serving));
    }

    fn stop_serving(&mut self) {
        let (stop, serving) = self.serving.take().unwrap();
        drop(stop);
        self.runtime.block_on(async { tokio::time::timeout(LIMIT, serving).await.unwrap().unwrap() });
    }

    pub(crate) fn work(&mut self) {
        let host = self.api.origin();
        let engines = Engines::new(move |_| {
            let sandbox = Sandbox::new().hosts([host.clone()]);
            ScriptEngine::builder().sandbox(sandbox).build().map_err(|error| error.to_string())
        });
        let worker = Arc::new(Worker::new(self.queue.clone(), Arc::new(engines), "worker-1", 4));
        let (stop, stopped) = oneshot::channel::<()>();
        let working = self.runtime.spawn(worker.run(
            async {
                let _ = stopped.await;
            },
            Duration::ZERO,
        ));
        self.working = Some((stop, working));
    }

    pub(crate) fn url(&self, hash: &str) -> String {
        format!("http://{}/{hash}", self.address)
    }

    /// A browser that looks at a page of it, and is connected.
    pub(crate) fn visit(&self, hash: &str) -> Browser {
        let browser = Browser::start();
        browser.open(&self.url(hash));
        browser.until_seen("#link[data-state=open]");
        browser
    }

    /// What a method answers.
    pub(crate) fn call(&self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = Request::post(self.url("rpc"))
            .header("Content-Type", "application/json")
            .header("Authorization", format!("Bearer {TOKEN}"))
            .body(body.to_string())
            .unwrap();
        let mut answer: Value = HttpClient::new().unwrap().send(request).unwrap().json().unwrap();
        assert_eq!(answer["error"], Value::Null, "{method}");
        answer["result"].take()
    }

    pub(crate) fn submit(&self, script: &str) -> String {
        self.call("job.submit", json!({ "script": script }))["job_id"].as_str().unwrap().to_owned()
    }

    /// Waits until a job has ended.
    pub(crate) fn end(&self, id: &str) -> State {
        let id: JobId = id.parse().unwrap();
        self.runtime.block_on(wait_for_end(&*self.queue, ALONE, id, LIMIT)).unwrap().state
    }

    /// Jobs that their worker has taken, and never finishes.
    pub(crate) fn lose(&self, scripts: &[&str]) {
        let taken: Vec<JobId> = scripts
            .iter()
            .map(|script| {
                let mut job = NewJob::new(ALONE, *script, 10_000);
                job.max_attempts = 1;
                self.runtime.block_on(self.queue.submit(job)).unwrap();
                let lease = self.runtime.block_on(self.queue.lease("the-one-that-died")).unwrap();
                lease.unwrap().job.id
            })
            .collect();
        for id in taken {
            assert_eq!(self.end(&id.to_string()), State::Dead);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.open();
        for (stop, task) in [self.working.take(), self.serving.take()].into_iter().flatten() {
            drop(stop);
            let _ = self.runtime.block_on(async { tokio::time::timeout(LIMIT, task).await });
        }
    }
}

/// Types a script in and runs it.
pub(crate) fn run(browser: &Browser, script: &str) {
    // The editor's own keys are tried elsewhere; here the script is to be what it says.
    browser.run(
        "const area = document.querySelector('#script'); area.value = arguments[0]; area.dispatchEvent(new Event('input'));",
        &[script.into()],
    );
    browser.click("#go");
}

/// Waits for what a list shows, which looks again as when its page comes into view, and not only after its seconds.
fn until_listed(browser: &Browser, expression: &str) {
    browser.run("document.dispatchEvent(new Event('visibilitychange'));", &[]);
    browser.until(expression);
}

/// Nothing was refused by the page's policy, and nothing went wrong in its scripts.
pub(crate) fn assert_quiet(browser: &Browser) {
    assert_eq!(browser.log(), [""; 0]);
}

#[test]
fn a_script_is_followed_while_it_runs() {
    let place = Place::start();
    let browser = place.visit("");
    assert!(browser.text("main").contains("Nothing was run here so far"));
    let api = place.api.origin();
    browser.fill("#args", r#"{"name": "Edda"}"#);
    run(
        &browser,
        &format!("print(\"before \" + ARGS.name);\nhttp_get(\"{api}/gate\");\nprint(\"after\");\n#{{ found: 17 }}"),
    );
    browser.until_shown(".lines", "before Edda");
    assert_eq!(browser.text("#result .badge"), "Running");
    browser.until_seen("#cancel");
    assert!(!browser.text("#result").contains("after\n"), "it waits at the gate");
    place.gate.open();
    browser.until_seen("#result .badge[data-state=succeeded]");
    browser.until_shown(".lines", "after");
    browser.until_shown("#result", "\"found\": 17");
    browser.until_seen("#result .waterfall tbody tr");
    assert_eq!(browser.value("document.querySelector('#cancel').hidden"), true);
    let said = browser.text("#result [role=status]");
    assert!(said.contains("has ended: Succeeded"), "those who hear are told: {said}");
    // It is still there when the reader comes back, and has an address of its own.
    browser.click("#nav a[href='#/queue']");
    browser.until_shown("main", "worker-1");
    browser.click("#nav a[href='#/']");
    browser.until_shown("#result", "\"found\": 17");
    browser.click("#open");
    browser.until_shown("main .crumb", "Runs");
    browser.until_shown(".main-column", "before Edda");
    assert_quiet(&browser);
}

#[test]
fn what_is_wrong_with_the_form_is_said_at_the_field() {
    let place = Place::start();
    let browser = place.visit("");
    browser.fill("#args", "{name: 1}");
    browser.click("#go");
    assert!(browser.text("#args-wrong").contains("not valid JSON"));
    assert_eq!(browser.value("document.activeElement.id"), "args");
    browser.fill("#args", "");
    browser.fill("#seconds", "-1");
    browser.click("#go");
    assert!(browser.text("#seconds-wrong").contains("above 0"));
    assert_eq!(browser.value("document.activeElement.id"), "seconds");
    browser.fill("#seconds", "0.2");
    run(&browser, "loop {}");
    browser.until_seen("#result .badge[data-state=timed_out]");
    browser.until_shown("#result", "Give it more time");
    assert_eq!(place.call("job.list", json!({}))["jobs"].as_array().unwrap().len(), 1, "nothing else was run");
    assert_quiet(&browser);
}

#[test]
fn an_error_is_shown_at_its_line() {
    let place = Place::start();
    let browser = place.visit("");
    run(&browser, "let pets = 7;\nprint(\"looking\");\n  throw \"there is no Fritz\";\n");
    browser.until_seen("#result .badge[data-state=failed]");
    browser.until_shown("#result .error", "there is no Fritz");
    browser.until_shown("#result", "Line 3, column 3");
    // The mark lies upon the third line of the editor.
    let off = "(() => { const line = parseFloat(getComputedStyle(document.querySelector('#script')).lineHeight);
        const page = document.querySelector('.page').getBoundingClientRect().top;
        const pad = parseFloat(getComputedStyle(document.querySelector('#script')).paddingTop);
        return (document.querySelector('.band').getBoundingClientRect().top - page - pad) / line; })()";
    let line = browser.value(off).as_f64().unwrap();
    assert!((line - 2.0).abs() < 0.1, "{line}");
    browser.click(".jump button");
    let cursor = "document.querySelector('#script').selectionStart";
    assert_eq!(browser.value(cursor), 14 + 18 + 2);
    // Where the text is changed, the line is no longer what it was.
    browser.type_text(" ");
    assert_eq!(browser.value("document.querySelector('.band').hidden"), true);
    browser.click("#open");
    browser.until_seen(".code-line.bad");
    let marked = browser.text(".code-line.bad");
    assert!(marked.contains("Line 3, the error is here") && marked.contains("throw"), "{marked}");
    assert!(browser.text(".code-line.why").contains("there is no Fritz"));
    assert_quiet(&browser);
}

#[test]
fn a_running_script_can_be_cancelled() {
    let place = Place::start();
    let browser = place.visit("");
    run(&browser, &format!("print(\"begun\");\nhttp_get(\"{}/gate\");", place.api.origin()));
    browser.until_shown(".lines", "begun");
    browser.click("#cancel");
    browser.until_seen("#result .badge[data-state=cancelled]");
    assert!(place.api.wait_for_close("/gate", LIMIT).is_some(), "its request was ended as well");
    browser.until("document.querySelector('#cancel').hidden");
    // On its page too, after a question.
    let id = place.submit(&format!("http_get(\"{}/gate\");", place.api.origin()));
    browser.open(&place.url(&format!("#/run/{id}")));
    browser.until_seen("#cancel");
    browser.click("#cancel");
    browser.until_seen("dialog[open]");
    browser.click("dialog .main");
    browser.until_seen(".badge[data-state=cancelled]");
    assert_eq!(place.end(&id), State::Cancelled);
    browser.until_seen("#retry");
    assert_quiet(&browser);
}

#[test]
fn runs_are_listed_filtered_and_turned_page_by_page() {
    let place = Place::start();
    let browser = place.visit("#/runs");
    browser.until_shown("main", "There are no runs yet");
    place.call("script.put", json!({ "name": "report", "script": "7" }));
    let report = place.call("job.submit", json!({ "name": "report" }));
    place.end(report["job_id"].as_str().unwrap());
    browser.until_shown(".list tbody", "report@1");
    let ids: Vec<String> = (0..60).map(|number| place.submit(&format!("// number {number}\n{number}"))).collect();
    let bad = place.submit("throw \"no hay\"");
    for id in ids.iter().chain([&bad]) {
        place.end(id);
    }
    // It looks again by itself, and the reader goes on typing meanwhile.
    browser.click("#name");
    browser.until("document.querySelectorAll('.list tbody tr').length === 50");
    browser.until_shown(".list tbody tr:first-child", "no hay");
    assert_eq!(browser.value("document.activeElement.id"), "name");
    browser.click(".pages button:last-child");
    browser.until("document.querySelectorAll('.list tbody tr').length === 12");
    assert!(browser.text(".list tbody").contains("report@1"));
    browser.run("history.back()", &[]);
    browser.until("document.querySelectorAll('.list tbody tr').length === 50");
    browser.click("#name");
    browser.type_text("report");
    browser.until("document.querySelectorAll('.list tbody tr').length === 1");
    assert!(browser.value("location.hash").as_str().unwrap().contains("name=report"));
    browser.fill("#name", "reports");
    browser.until_shown("main", "No run fits");
    browser.open(&place.url("#/runs?state=failed"));
    browser.until("document.querySelectorAll('.list tbody tr').length === 1");
    assert_eq!(browser.value("document.querySelector('#state').value"), "failed");
    browser.click(".list tbody a");
    browser.until_shown("main h1", "throw");
    assert_eq!(browser.value("location.hash"), format!("#/run/{bad}"));
    assert_quiet(&browser);
}

#[test]
fn one_run_tells_all_about_itself_and_is_run_again() {
    let place = Place::start();
    let api = place.api.origin();
    let script =
        format!("print(\"hello\");\nhttp_get(\"{api}/pets?ms=30\");\nhttp_get(\"{api}/none?ms=60\");\nARGS.name");
    let submitted = place.call("job.submit", json!({ "script": script, "args": { "name": "Edda" } }));
    let id = submitted["job_id"].as_str().unwrap();
    place.end(id);
    let browser = place.visit(&format!("#/run/{id}"));
    browser.until_seen(".badge[data-state=succeeded]");
    browser.until("document.querySelectorAll('.waterfall tbody tr').length === 2");
    let bars = browser.run(
        "return [...document.querySelectorAll('.waterfall tbody svg')].map((svg) => {
            const bars = [...svg.querySelectorAll('rect')].map((bar) => [bar.x.baseVal.value, bar.width.baseVal.value]);
            return [bars[0][0], Math.max(...bars.map(([x, width]) => x + width))];
        });",
        &[],
    );
    let at = |row: usize, side: usize| bars[row][side].as_f64().unwrap();
    assert!(at(0, 0) < at(0, 1) && at(0, 1) <= at(1, 0) + 3.0 && at(1, 0) < at(1, 1), "one after the other: {bars}");
    assert!(at(1, 1) - at(1, 0) > at(0, 1) - at(0, 0), "the longer one is longer: {bars}");
    let words = browser.value("document.querySelector('.waterfall tbody .bars .hidden').textContent");
    assert!(words.as_str().unwrap().contains("First byte"), "{words}");
    assert!(browser.text(".waterfall tbody tr:last-child").contains("404"));
    let page = browser.text("main");
    for part in ["hello", "\"name\": \"Edda\"", "\"Edda\"", "worker-1", "1 of 3", "client", "Requests\n2", "Steps"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert_eq!(browser.text("summary .count"), "6", "queued, started, log, two requests, result");
    browser.click("summary");
    browser.until_shown(".events", "started");
    browser.click("#again");
    browser.until(&format!("location.hash.startsWith('#/run/') && !location.hash.includes('{id}')"));
    browser.until_seen(".badge[data-state=succeeded]");
    browser.until_shown("main", "\"Edda\"");
    assert_eq!(place.api.requests().len(), 4);
    browser.click("#edit");
    browser.until_seen("#script");
    assert_eq!(browser.value("document.querySelector('#script').value"), script);
    assert!(browser.value("document.querySelector('#args').value").as_str().unwrap().contains("Edda"));
    browser.open(&place.url("#/run/00000000-0000-0000-0000-000000000000"));
    browser.until_shown("[role=alert]", "does not know this run");
    assert_quiet(&browser);
}

#[test]
fn dead_letters_are_looked_at_and_run_again() {
    let mut settings = Settings::default();
    settings.lease = Duration::from_millis(150);
    let mut place = Place::with(settings, ServerOptions::default());
    let browser = place.visit("#/dead");
    browser.until_shown("main", "There are no dead letters");
    place.lose(&["// letter 0", "// letter 1", "// letter 2", "// letter 3"]);
    until_listed(&browser, "document.querySelectorAll('.list tbody tr').length === 4");
    browser.until_shown("#dead-count", "4");
    assert!(browser.text(".list tbody").contains("the-one-that-died"));
    browser.click(".list tbody tr:first-child .title");
    browser.until_seen(".badge[data-state=dead]");
    browser.click("#retry");
    browser.until_seen(".badge[data-state=queued]");
    browser.run("history.back()", &[]);
    until_listed(&browser, "document.querySelectorAll('.list tbody tr').length === 3");
    browser.click(".list tbody tr:last-child input");
    browser.until_shown("#retry-selected", "(1)");
    browser.click("#retry-selected");
    until_listed(&browser, "document.querySelectorAll('.list tbody tr').length === 2");
    browser.click("#retry-all");
    browser.until_seen("dialog[open]");
    browser.press(&[key::ESCAPE]);
    browser.until("!document.querySelector('dialog')");
    assert_eq!(place.call("queue.stats", json!({}))["dead"], 2, "the answer was no");
    browser.click("#retry-all");
    browser.until_seen("dialog[open]");
    browser.click("dialog .main");
    until_listed(&browser, "document.querySelector('main').innerText.includes('There are no dead letters')");
    browser.open(&place.url("#/runs?state=queued"));
    until_listed(&browser, "document.querySelectorAll('.list tbody tr').length === 4");
    place.work();
    until_listed(&browser, "document.querySelector('.empty')");
    browser.open(&place.url("#/runs?state=succeeded"));
    until_listed(&browser, "document.querySelectorAll('.list tbody tr').length === 4");
    assert_quiet(&browser);
}

#[test]
fn the_library_is_run_and_the_queue_is_counted() {
    let mut place = Place::with(Settings::default(), ServerOptions::default());
    let browser = place.visit("#/queue");
    browser.until_shown("main", "No worker lives");
    browser.click("#nav a[href='#/library']");
    browser.until_shown("main", "The library is empty");
    let schema = json!({ "type": "object", "required": ["name"] });
    place.call(
        "script.put",
        json!({ "name": "greet", "script": "\"Hello, \" + ARGS.name", "schema": schema, "description": "Is polite" }),
    );
    place.call(
        "schedule.put",
        json!({ "name": "nightly", "cron": "0 3 * * *", "library": "greet", "args": { "name": "x" } }),
    );
    browser.reload();
    browser.until_shown("main", "Is polite");
    browser.until_shown("main", "0 3 * * *");
    browser.click("tbody a[href='#/library/greet']");
    browser.until_seen("#go");
    browser.click("#go");
    browser.until_shown("[role=alert]", "\"name\" is a required property");
    browser.fill("#args", r#"{"name": "Edda"}"#);
    browser.click("#go");
    browser.until_seen(".badge[data-state=queued]");
    browser.click("#nav a[href='#/queue']");
    browser.until("document.querySelector('.tile dd').innerText === '1'");
    place.work();
    until_listed(&browser, "document.querySelector('.workers').innerText.includes('worker-1')");
    until_listed(&browser, "document.querySelector('.tile dd').innerText === '0'");
    browser.click("#nav a[href='#/runs']");
    browser.until_shown(".list tbody", "Succeeded");
    browser.click(".list tbody a");
    browser.until_shown("main", "Hello, Edda");
    assert_quiet(&browser);
}

#[test]
fn the_token_is_asked_for_kept_and_forgotten() {
    let mut options = ServerOptions::default();
    options.tokens = Some(Tokens::parse(&format!("local {TOKEN}")).unwrap());
    let mut place = Place::with(Settings::default(), options);
    place.work();
    let browser = Browser::start();
    browser.open(&place.url("#/runs"));
    browser.until_seen("#token");
    assert_eq!(browser.value("document.activeElement.id"), "token");
    browser.fill("#token", "not-the-token-of-anybody");
    browser.press(&[key::ENTER]);
    browser.until_shown("[role=alert]", "does not know this token");
    assert_eq!(browser.value("sessionStorage.length"), 0);
    browser.fill("#token", TOKEN);
    browser.press(&[key::ENTER]);
    browser.until_shown("main", "There are no runs yet");
    browser.until_seen("#link[data-state=open]");
    assert_eq!(browser.text("#tenant"), "local");
    browser.click("#nav a[href='#/']");
    browser.until_seen("#go");
    run(&browser, "print(\"mine\");\n1");
    browser.until_seen("#result .badge[data-state=succeeded]");
    browser.until_shown(".lines", "mine");
    browser.reload();
    browser.until_seen("#link[data-state=open]");
    assert_eq!(browser.value("sessionStorage.getItem('marmot.token')"), TOKEN);
    browser.click("#forget");
    browser.until_seen("#token");
    assert_eq!(browser.value("sessionStorage.getItem('marmot.token')"), Value::Null);
    assert!(!browser.page().contains("mine"));
    browser.reload();
    browser.until_seen("#token");
    // The browser itself tells of each 401, and of nothing else.
    let log = browser.log();
    assert!(
        !log.is_empty()
            && log.iter().all(|entry| entry.contains("/rpc - Failed to load resource") && entry.contains("401")),
        "{log:?}"
    );
}

#[test]
fn the_page_outlives_a_restart_of_the_server() {
    let mut place = Place::start();
    let browser = place.visit("");
    let api = place.api.origin();
    run(&browser, &format!("print(\"before\");\nhttp_get(\"{api}/gate\");\nprint(\"meanwhile\");\n#{{ done: true }}"));
    browser.until_shown(".lines", "before");
    place.stop_serving();
    browser.until_shown("#link", "Reconnecting in");
    browser.until_seen("#link-now");
    // The worker goes on, and nobody hears of it.
    place.gate.open();
    let id = browser.value("document.querySelector('#open').hash.split('/').pop()");
    assert_eq!(place.end(id.as_str().unwrap()), State::Succeeded);
    place.serve();
    browser.until_seen("#link[data-state=open]");
    browser.until_seen("#result .badge[data-state=succeeded]");
    browser.until_shown(".lines", "meanwhile");
    browser.until_shown("#result", "\"done\": true");
    let lines = browser
        .run("return [...document.querySelectorAll('.line.text .said-text')].map((line) => line.textContent)", &[]);
    assert_eq!(lines, json!(["before", "meanwhile"]), "nothing twice");
    // And the list, which was looked at meanwhile.
    browser.click("#nav a[href='#/runs']");
    browser.until_shown(".list tbody", "Succeeded");
    let log = browser.log();
    assert!(
        log.iter().all(|entry| entry.contains("ERR_CONNECTION") || entry.contains("WebSocket connection")),
        "{log:?}"
    );
}

#[test]
fn a_run_is_followed_where_websockets_do_not_go_through() {
    let mut options = ServerOptions::default();
    options.sessions_per_tenant = 0;
    let mut place = Place::with(Settings::default(), options);
    place.work();
    let browser = Browser::start();
    browser.open(&place.url(""));
    browser.until_seen("#go");
    run(&browser, &format!("print(\"before\");\nhttp_get(\"{}/gate\");\nprint(\"after\");\n17", place.api.origin()));
    browser.until_shown(".lines", "before");
    browser.until_shown("#link", "asking instead");
    place.gate.open();
    browser.until_seen("#result .badge[data-state=succeeded]");
    browser.until_shown(".lines", "after");
    let log = browser.log();
    assert!(log.iter().all(|entry| entry.contains("WebSocket connection")), "{log:?}");
}

#[test]
fn a_run_that_somebody_else_retries_is_followed_again() {
    let place = Place::start();
    let api = place.api.origin();
    let id = place.submit(&format!("let reply = http_get(\"{api}/gate\");\nthrow \"no hay\";"));
    let browser = place.visit(&format!("#/run/{id}"));
    place.gate.open();
    browser.until_seen(".badge[data-state=failed]");
    browser.until_shown(".error", "no hay");
    place.gate.shut();
    place.call("job.retry", json!({ "job_id": id }));
    // As when the reader comes back to the page.
    browser.run("document.dispatchEvent(new Event('visibilitychange'));", &[]);
    browser.until_seen(".badge[data-state=running]");
    browser.until_shown(".lines", "Back in the queue");
    assert!(!browser.text("main").contains("no hay\nLine"), "the old end is no longer shown");
    place.gate.open();
    browser.until_seen(".badge[data-state=failed]");
    browser.until_shown(".error", "no hay");
    assert_quiet(&browser);
}

#[test]
fn what_was_missed_is_said_and_the_output_is_whole() {
    let mut settings = Settings::default();
    settings.events = 10;
    let mut place = Place::with(settings, ServerOptions::default());
    place.work();
    let id = place.submit("for number in 0..40 { print(`line ${number}.`); }");
    place.end(&id);
    let browser = place.visit(&format!("#/run/{id}"));
    browser.until_shown(".warn", "kept no longer");
    browser.until_shown(".lines", "line 0.");
    browser.until_shown(".lines", "line 39.");
    assert_eq!(browser.text(".lines").matches("line ").count(), 40);
    assert_quiet(&browser);
}

#[test]
fn what_scripts_say_is_shown_as_text() {
    let place = Place::start();
    let evil = "<img src=x onerror=\"window.hit = 1\"><script>window.hit = 2</script>";
    let script = format!("// {evil}\nlet text = `{evil}`;\nprint(text);\n#{{ \"{}\": text }}", "<b>key</b>");
    let thrown = format!("// {evil}\nthrow `{evil}`;");
    place.call("script.put", json!({ "name": "evil", "script": script, "description": evil }));
    let (said, threw) = (place.submit(&script), place.submit(&thrown));
    place.end(&said);
    place.end(&threw);
    let browser = place.visit("#/runs");
    for (hash, times) in [
        ("#/runs", 2),
        (&format!("#/run/{said}"), 3),
        (&format!("#/run/{threw}"), 3),
        ("#/library", 1),
        ("#/library/evil", 2),
    ] {
        browser.open(&place.url(hash));
        browser
            .until(&format!("document.querySelector('main').innerText.split('<img src=x onerror=').length > {times}"));
        assert_eq!(browser.value("document.querySelectorAll('main img, main script, main b').length"), 0, "{hash}");
    }
    browser.open(&place.url(""));
    browser.until_seen("#go");
    run(&browser, &script);
    browser.until_seen("#result .badge[data-state=succeeded]");
    browser.until_shown(".lines", "<script>window.hit = 2</script>");
    assert_eq!(browser.value("window.hit ?? null"), Value::Null);
    assert_quiet(&browser);
}
