//! A headless Chromium, driven by its chromedriver over the WebDriver protocol (W3C). Knows no page.

use std::time::Duration;

use marmot::HttpClient;
use marmot::config::Configurable as _;
use marmot::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::program::Program;

/// How long a page may take to become what a test waits for.
const LIMIT: Duration = Duration::from_secs(15);
/// What the protocol calls an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys without a character (WebDriver, 17.4.2).
pub mod key {
    pub const TAB: char = '\u{E004}';
    pub const ENTER: char = '\u{E007}';
    pub const SHIFT: char = '\u{E008}';
    pub const CONTROL: char = '\u{E009}';
    pub const ESCAPE: char = '\u{E00C}';
    pub const END: char = '\u{E010}';
}

/// A browser with one window. Ended, with its driver and its files, when dropped.
pub struct Browser {
    client: HttpClient,
    session: String,
    // In this order: the driver ends its browser, which writes into the folder until then.
    _driver: Program,
    _profile: TempDir,
}

impl Browser {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// If it is not installed, or does not start.
    pub fn start() -> Self {
        let driver = Program::start(
            "chromedriver",
            "chromium chromium-driver",
            1,
            |_, ports| Ok(vec![format!("--port={}", ports[0])]),
            |_| Some(true),
        );
        let profile = tempfile::Builder::new().prefix("marmot-").tempdir().expect("there is room for temporary files");
        let client = HttpClient::builder().timeout(Duration::from_secs(60)).build().expect("the options are plain");
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--window-size=1280,900".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let origin = format!("http://127.0.0.1:{}", driver.ports[0]);
        let mut this = Self { client, session: format!("{origin}/session"), _driver: driver, _profile: profile };
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": LIMIT.as_millis() as u64 * 2 },
        }}});
        let session = this.ask("POST", "", Some(&wanted));
        this.session = format!("{origin}/session/{}", session["sessionId"].as_str().expect("a session has an id"));
        this
    }

    fn try_ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let body = body.map_or_else(String::new, Value::to_string);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.session))
            .header("Content-Type", "application/json")
            .body(body)
            .expect("the request is well-formed");
        let mut response = self.client.send(request).map_err(|error| error.to_string())?;
        let mut answer: Value = response.json().map_err(|error| error.to_string())?;
        match answer["value"]["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", answer["value"]["message"].as_str().unwrap_or_default())),
            None => Ok(answer["value"].take()),
        }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Goes to a page, and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.ask("POST", "/url", Some(&json!({ "url": url })));
    }

    pub fn reload(&self) {
        self.ask("POST", "/refresh", Some(&json!({})));
    }

    /// What the body of a function returns; it finds the arguments in `arguments`.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.ask("POST", "/execute/sync", Some(&json!({ "script": script, "args": arguments })))
    }

    /// The value of an expression.
    pub fn value(&self, expression: &str) -> Value {
        self.run(&format!("return ({expression});"), &[])
    }

    /// The text that an element shows.
    pub fn text(&self, selector: &str) -> String {
        let text = self.run(
            "const found = document.querySelector(arguments[0]); return found && found.innerText;",
            &[selector.into()],
        );
        text.as_str().unwrap_or_else(|| panic!("there is no {selector}: {}", self.page())).to_owned()
    }

    /// All that the page shows.
    pub fn page(&self) -> String {
        self.value("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true, looking for it within the page, and returns its value.
    ///
    /// # Panics
    ///
    /// If it is not in time.
    pub fn until(&self, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             const end = performance.now() + {};
             const look = () => {{
                 let value;
                 try {{ value = ({expression}); }} catch {{ value = null; }}
                 if (value) done({{ value }});
                 else if (performance.now() > end) done({{}});
                 else setTimeout(look, 15);
             }};
             look();",
            LIMIT.as_millis(),
        );
        let answer = self.ask("POST", "/execute/async", Some(&json!({ "script": script, "args": [] })));
        assert!(!answer["value"].is_null(), "not in time: {expression}\n{}\n{}", self.page(), self.log().join("\n"));
        answer["value"].clone()
    }

    /// Waits until an element is there and seen.
    pub fn until_seen(&self, selector: &str) {
        self.until(&format!("document.querySelector({selector:?}).getClientRects().length"));
    }

    /// Waits until an element shows a text.
    pub fn until_shown(&self, selector: &str, text: &str) {
        self.until(&format!("document.querySelector({selector:?}).innerText.includes({text:?})"));
    }

    fn find(&self, selector: &str) -> String {
        let found = self.ask("POST", "/element", Some(&json!({ "using": "css selector", "value": selector })));
        found[ELEMENT].as_str().expect("an element has an id").to_owned()
    }

    /// Clicks on an element, as a mouse would.
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.ask("POST", &format!("/element/{element}/click"), Some(&json!({})));
    }

    /// Types into a field in place of what is there.
    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.ask("POST", &format!("/element/{element}/clear"), Some(&json!({})));
        self.ask("POST", &format!("/element/{element}/value"), Some(&json!({ "text": text })));
    }

    /// Presses keys together, and lets them go in reverse.
    pub fn press(&self, chord: &[char]) {
        let act = |kind: &str, key: &char| json!({ "type": kind, "value": key });
        let down = chord.iter().map(|key| act("keyDown", key));
        let up = chord.iter().rev().map(|key| act("keyUp", key));
        let actions: Vec<Value> = down.chain(up).collect();
        let keys = json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] });
        self.ask("POST", "/actions", Some(&keys));
    }

    /// Types a text, key by key, to whatever has the focus.
    pub fn type_text(&self, text: &str) {
        let press = |key: char| {
            let key = if key == '\n' { key::ENTER } else { key };
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        };
        let actions: Vec<Value> = text.chars().flat_map(press).collect();
        let keys = json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] });
        self.ask("POST", "/actions", Some(&keys));
    }

    /// A command of the browser's own protocol.
    pub fn command(&self, command: &str, parameters: &Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", Some(&json!({ "cmd": command, "params": parameters })))
    }

    /// The size of what is seen, in pixels of CSS.
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", &size);
    }

    /// What the reader prefers, as in `("prefers-color-scheme", "dark")`.
    pub fn prefer(&self, name: &str, value: &str) {
        self.command("Emulation.setEmulatedMedia", &json!({ "features": [{ "name": name, "value": value }] }));
    }

    /// A picture of what is seen, as PNG in Base64.
    pub fn picture(&self) -> String {
        self.ask("GET", "/screenshot", None).as_str().unwrap_or_default().to_owned()
    }

    /// What the browser has complained about since the last time: errors, warnings, violations of policies.
    pub fn log(&self) -> Vec<String> {
        let entries = self.ask("POST", "/se/log", Some(&json!({ "type": "browser" })));
        let entries = entries.as_array().cloned().unwrap_or_default();
        let told = entries.iter().map(|entry| {
            let part = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            format!("{} {}: {}", part("level"), part("source"), part("message"))
        });
        told.collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver would end it too, but without waiting for it.
        let _ = self.try_ask("DELETE", "", None);
    }
}
