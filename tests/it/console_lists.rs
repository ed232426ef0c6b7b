//! The console's lists: runs, dead letters, workers, the library. Single runs are in `console`.

use std::time::Duration;

use marmot::queue::Settings;
use marmot::server::ServerOptions;
use serde_json::json;

use crate::console::{Place, assert_quiet};
use crate::support::webdriver::{Browser, key};

/// Waits for what a list shows, which looks again as when its page comes into view, and not only after its seconds.
fn until_listed(browser: &Browser, expression: &str) {
    browser.run("document.dispatchEvent(new Event('visibilitychange'));", &[]);
    browser.until(expression);
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
    // Whoever stands on a row stays there while others come in above it.
    browser.run("document.querySelector('.list tbody tr:nth-child(3) a').focus();", &[]);
    let stood = browser.value("document.activeElement.hash");
    place.submit("\"the newest\"");
    browser.until_shown(".list tbody tr:first-child", "the newest");
    assert_eq!(browser.value("document.activeElement.hash"), stood);
    assert_eq!(browser.value("document.activeElement.closest('tr').matches(':nth-child(4)')"), true);
    browser.click(".pages button:last-child");
    browser.until("document.querySelectorAll('.list tbody tr').length === 13");
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
