//! The console in a real browser: a server, a worker and a queue of this process, and Chromium as the operator. What the
//! methods answer in detail is not looked at here.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use marmot::prelude::*;
use marmot::queue::{JobId, MemoryQueue, NewJob, Queue, Settings, State, wait_for_end};
use marmot::script::{Sandbox, ScriptEngine};
use marmot::server::{ALONE, Server as Service, ServerOptions};
use marmot::telemetry::Telemetry;
use marmot::worker::{Engines, Worker};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::Server;
use crate::support::webdriver::Browser;

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
    pub(crate) gate: Arc<Gate>,
    // Last: it ends what runs on it.
    runtime: Runtime,
}

/// What `/gate` of the API waits for.
#[derive(Default)]
pub(crate) struct Gate(std::sync::Mutex<bool>, std::sync::Condvar);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    pub(crate) fn shut(&self) {
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
                r.text(if request.path() == "/none" { 404 } else { 200 }, &"hay ".repeat(500))
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
    pub(crate) fn serve(&mut self) {
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

    pub(crate) fn stop_serving(&mut self) {
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
    // As wide and as far to the right as they were long and late, up to a millisecond, which is left out before a request,
    // and the least width of a part.
    let events = place.call("job.events", json!({ "job_id": id }));
    let spans: Vec<[f64; 2]> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "http")
        .map(|event| {
            let start = event["data"]["start_ms"].as_f64().unwrap();
            [start, start + event["data"]["duration_ms"].as_f64().unwrap()]
        })
        .collect();
    let unit = 1_000.0 / spans[1][1];
    for (row, span) in spans.iter().enumerate() {
        for (side, at) in span.iter().enumerate() {
            let drawn = bars[row][side].as_f64().unwrap();
            assert!((drawn - at * unit).abs() < 4.0 + unit, "{bars} for {spans:?}");
        }
    }
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
