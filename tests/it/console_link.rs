//! The console and its server: tokens, restarts, ways that are closed, events that are lost. What is shown of them when all is
//! well is in `console`.

use marmot::queue::{Settings, State};
use marmot::server::{ServerOptions, Tokens};
use serde_json::{Value, json};

use crate::console::{Place, TOKEN, assert_quiet, run};
use crate::support::webdriver::{Browser, key};

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
