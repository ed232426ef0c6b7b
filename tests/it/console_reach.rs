//! Whom the console reaches: those who use a keyboard, a small screen, a dark one, or ears. What its pages do is tried in
//! `console`. Where `MARMOT_AXE` names the script of axe-core, that looks at each page as well.

use std::time::Duration;

use marmot::queue::Settings;
use marmot::server::{ServerOptions, Tokens};
use serde_json::{Value, json};

use crate::console::{Place, TOKEN, assert_quiet, run};
use crate::support::webdriver::{Browser, key};

/// Texts whose contrast is below 4.5 (WCAG 2.2, 1.4.3), with it.
const PALE: &str = "
    const parse = (color) => {
        const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
        return { r, g, b, a };
    };
    const over = (top, below) => ({
        r: top.r * top.a + below.r * (1 - top.a),
        g: top.g * top.a + below.g * (1 - top.a),
        b: top.b * top.a + below.b * (1 - top.a),
        a: 1,
    });
    const ground = (element) => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) {
            const color = parse(getComputedStyle(at).backgroundColor);
            layers.push(color);
            if (color.a === 1) break;
        }
        return layers.reverse().reduce((below, top) => over(top, below), { r: 255, g: 255, b: 255, a: 1 });
    };
    const light = ({ r, g, b }) => {
        const part = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const pale = [];
    let seen = 0;
    for (const element of document.body.querySelectorAll('*')) {
        const field = element.matches('input:not([type=checkbox]), textarea, select');
        const text = field ? element.value || element.placeholder || '' : [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join('').trim();
        if (!text || !element.getClientRects().length || element.closest('.hidden, svg, noscript, .skip')) continue;
        seen += 1;
        const below = ground(element);
        const style = field && !element.value ? getComputedStyle(element, '::placeholder') : getComputedStyle(element);
        const [one, two] = [light(over(parse(style.color), below)), light(below)].sort((a, b) => b - a);
        const contrast = (one + 0.05) / (two + 0.05);
        if (contrast < 4.5) pale.push(`${contrast.toFixed(2)} ${text.slice(0, 40)}`);
    }
    return { pale, seen, ground: getComputedStyle(document.body).backgroundColor };
";

/// What those who hear the page would miss: headings, names of fields and buttons, texts of pictures. And buttons in whose
/// texts a line is broken, for those who see it.
const NAMELESS: &str = "
    const wrong = [];
    if (document.querySelectorAll('h1').length !== 1) wrong.push('not one h1');
    if (!document.documentElement.lang || !document.title) wrong.push('no language or title');
    const seen = (element) => element.getClientRects().length > 0;
    for (const element of [...document.querySelectorAll('a[href], button, summary, th')].filter(seen)) {
        if (!(element.getAttribute('aria-label') ?? element.textContent).trim() && !element.querySelector('[aria-label]')) wrong.push(element.outerHTML);
    }
    for (const element of [...document.querySelectorAll('input, select, textarea')].filter(seen)) {
        if (!element.labels.length && !element.getAttribute('aria-label')) wrong.push(element.outerHTML);
    }
    for (const element of [...document.querySelectorAll('button, .badge')].filter(seen)) {
        if (element.getBoundingClientRect().height > 50) wrong.push(`broken into lines: ${element.innerText}`);
    }
    for (const element of document.querySelectorAll('img:not([alt])')) wrong.push(element.outerHTML);
    for (const element of document.querySelectorAll('[aria-describedby], [aria-labelledby]')) {
        const ids = `${element.getAttribute('aria-describedby') ?? ''} ${element.getAttribute('aria-labelledby') ?? ''}`;
        for (const id of ids.trim().split(/\\s+/)) if (!document.getElementById(id)) wrong.push(`no ${id}`);
    }
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
    for (const id of ids) if (ids.filter((other) => other === id).length > 1) wrong.push(`twice: ${id}`);
    return wrong;
";

fn assert_fits(browser: &Browser, what: &str) {
    let wide = browser.value("[document.scrollingElement.scrollWidth, innerWidth]");
    assert!(wide[0].as_u64() <= wide[1].as_u64() && wide[1] == 360, "{what} is too wide: {wide}");
}

fn assert_readable(browser: &Browser, what: &str) {
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer("prefers-color-scheme", scheme);
        let told = browser.run(PALE, &[]);
        assert_eq!(told["pale"], json!([]), "{what}, {scheme}");
        assert!(told["seen"].as_u64() > Some(5), "{what}: {told}");
        grounds.push(told["ground"].clone());
    }
    assert_ne!(grounds[0], grounds[1], "{what} has a dark scheme");
    assert_eq!(browser.run(NAMELESS, &[]), json!([]), "{what}");
    if let Some(axe) = std::env::var_os("MARMOT_AXE") {
        browser.run(&std::fs::read_to_string(axe).unwrap(), &[]);
        browser.run(
            "window.found = null;
             axe.run(document).then(({ violations }) => {
                 window.found = violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html.slice(0, 200))]);
             });",
            &[],
        );
        assert_eq!(browser.until("window.found"), json!([]), "{what}");
    }
}

/// A place with something on every page, and the addresses of its pages with what shows that they are ready.
fn furnished() -> (Place, Vec<(String, &'static str)>) {
    let mut settings = Settings::default();
    settings.lease = Duration::from_secs(1);
    let mut place = Place::with(settings, ServerOptions::default());
    place.lose(&[&format!("// {}", "lost".repeat(30))]);
    place.work();
    let (long, api) = ("meadow".repeat(60), place.api.origin());
    let rich = format!(
        "print(\"{long}\");\ndebug(\"{long}\");\nhttp_get(\"{api}/pets?{long}\");\nhttp_get(\"{api}/none?ms=20\");\n#{{ at: \"{long}\" }}"
    );
    place.call(
        "script.put",
        json!({ "name": "rich", "script": rich, "description": long, "schema": { "type": "object" } }),
    );
    place.call("schedule.put", json!({ "name": "nightly", "cron": "0 3 * * *", "library": "rich" }));
    let named = place.call("job.submit", json!({ "name": "rich", "args": { "long": long } }))["job_id"].clone();
    let failed = place.submit(&format!("let x = 1;\nthrow \"{long}\";"));
    let late = place.call("job.submit", json!({ "script": "loop {}", "timeout_ms": 50 }))["job_id"].clone();
    let cancelled =
        place.call("job.submit", json!({ "script": "1", "not_before": 9_000_000_000_000_u64 }))["job_id"].clone();
    place.call("job.cancel", json!({ "job_id": cancelled }));
    place.call("job.submit", json!({ "script": "2", "not_before": 9_000_000_000_000_u64 }));
    let running = place.submit(&format!("print(\"{long}\");\nhttp_get(\"{api}/gate\");"));
    let (named, late) = (named.as_str().unwrap(), late.as_str().unwrap());
    for id in [named, &failed, late] {
        place.end(id);
    }
    let pages = vec![
        (String::new(), "#go"),
        ("#/runs".into(), ".list .badge[data-state=running]"),
        ("#/runs?state=succeeded&name=nothing".into(), ".empty"),
        (format!("#/run/{named}"), ".waterfall tbody tr + tr"),
        (format!("#/run/{failed}"), ".code-line.why"),
        (format!("#/run/{late}"), ".badge[data-state=timed_out]"),
        (format!("#/run/{running}"), ".line.text"),
        ("#/dead".into(), ".list tbody tr"),
        ("#/queue".into(), ".workers tbody tr"),
        ("#/library".into(), ".list + *, section:nth-of-type(2) .list"),
        ("#/library/rich".into(), ".listing"),
        ("#/nowhere".into(), "h1"),
    ];
    (place, pages)
}

#[test]
fn every_page_fits_a_small_screen_and_can_be_read_in_both_schemes() {
    let (place, pages) = furnished();
    let browser = place.visit("");
    browser.resize(360, 740);
    for (hash, ready) in &pages {
        browser.open(&place.url(hash));
        browser.until_seen(ready);
        browser.until_seen("#link[data-state=open]");
        browser.run("for (const details of document.querySelectorAll('details')) details.open = true;", &[]);
        assert_fits(&browser, hash);
        assert_readable(&browser, hash);
        keep_picture(&browser, hash);
    }
    browser.open(&place.url(""));
    browser.until_seen("#go");
    let wide = "meadow".repeat(40);
    for (script, state) in
        [(format!("print(\"{wide}\");\n\"{wide}\""), "succeeded"), (format!("throw \"{wide}\""), "failed")]
    {
        run(&browser, &script);
        browser.until_seen(&format!("#result .badge[data-state={state}]"));
        browser.until_shown("#result .panel", "meadow");
        assert_fits(&browser, state);
        assert_readable(&browser, state);
    }
    browser.open(&place.url("#/dead"));
    browser.until_seen("#retry-all");
    browser.click("#retry-all");
    browser.until_seen("dialog[open]");
    assert_fits(&browser, "a question");
    assert_readable(&browser, "a question");
    assert_quiet(&browser);
}

#[test]
fn every_page_fits_a_wide_screen_and_can_be_read_in_both_schemes() {
    let (place, pages) = furnished();
    let browser = place.visit("");
    for (hash, ready) in &pages {
        browser.open(&place.url(hash));
        browser.until_seen(ready);
        let wide = browser.value("[document.scrollingElement.scrollWidth, innerWidth]");
        assert!(wide[0].as_u64() <= wide[1].as_u64(), "{hash} is too wide: {wide}");
        assert_readable(&browser, hash);
    }
    assert_quiet(&browser);
}

/// For those who want to look: `MARMOT_PICTURES` is the folder that takes the pictures.
fn keep_picture(browser: &Browser, hash: &str) {
    use base64::Engine as _;
    let Some(folder) = std::env::var_os("MARMOT_PICTURES") else { return };
    let picture = base64::engine::general_purpose::STANDARD.decode(browser.picture()).unwrap();
    let name: String = hash.chars().filter(char::is_ascii_alphabetic).take(20).collect();
    std::fs::write(std::path::Path::new(&folder).join(format!("small-{name}.png")), picture).unwrap();
}

#[test]
fn the_form_for_the_token_fits_and_can_be_read() {
    let mut options = ServerOptions::default();
    options.tokens = Some(Tokens::parse(&format!("local {TOKEN}")).unwrap());
    let place = Place::with(Settings::default(), options);
    let browser = Browser::start();
    browser.resize(360, 740);
    browser.open(&place.url(""));
    browser.until_seen("#token");
    browser.click("form .main");
    browser.until_shown("[role=alert]", "Type or paste");
    assert_fits(&browser, "token");
    assert_readable(&browser, "token");
}

#[test]
fn a_script_is_written_and_run_by_keyboard_alone() {
    let place = Place::start();
    let browser = place.visit("");
    let focused = || browser.value("document.activeElement.id || document.activeElement.className");
    browser.press(&[key::TAB]);
    assert_eq!(focused(), "skip");
    browser.press(&[key::ENTER]);
    browser.until("document.activeElement.id === 'main'");
    browser.press(&[key::TAB]);
    assert_eq!(focused(), "script");
    browser.press(&[key::CONTROL, 'a']);
    browser.type_text("if true {\n");
    browser.press(&[key::TAB]);
    browser.type_text("print(ARGS.name);\n");
    browser.press(&[key::SHIFT, key::TAB]);
    browser.type_text("}\n42");
    let written = browser.value("document.querySelector('#script').value");
    assert_eq!(written, "if true {\n    print(ARGS.name);\n}\n42");
    assert_eq!(focused(), "script", "Tab stays within the field");
    browser.press(&[key::ESCAPE]);
    browser.press(&[key::TAB]);
    assert_eq!(focused(), "args");
    browser.type_text("{\"name\": \"Edda\"}");
    browser.press(&[key::TAB]);
    assert_eq!(focused(), "seconds");
    browser.press(&[key::TAB]);
    assert_eq!(focused(), "go");
    browser.press(&[key::ENTER]);
    browser.until_seen("#result .badge[data-state=succeeded]");
    browser.until_shown(".lines", "Edda");
    assert_eq!(focused(), "go", "the focus stays where the reader is");
    // From within the script, too.
    browser.press(&[key::SHIFT, key::TAB]);
    browser.press(&[key::SHIFT, key::TAB]);
    browser.press(&[key::SHIFT, key::TAB]);
    assert_eq!(focused(), "script");
    browser.press(&[key::CONTROL, key::END]);
    browser.type_text("\n43");
    browser.press(&[key::CONTROL, key::ENTER]);
    browser.until_shown("#result .panel", "43");
    // What was typed can be undone, indents included.
    browser.press(&[key::CONTROL, 'z']);
    assert_ne!(browser.value("document.querySelector('#script').value"), format!("{}\n43", written.as_str().unwrap()));
    assert_quiet(&browser);
}

#[test]
fn runs_are_found_and_looked_at_by_keyboard_alone() {
    let place = Place::start();
    place.end(&place.submit("throw \"no hay\""));
    place.end(&place.submit("\"hay\""));
    let browser = place.visit("");
    let tab_to = |what: &str| {
        for _ in 0..30 {
            browser.press(&[key::TAB]);
            if browser.value(&format!("document.activeElement.matches({what:?})")) == true {
                return;
            }
        }
        panic!("{what} is not reached: {}", browser.page());
    };
    tab_to("#nav a[href='#/runs']");
    browser.press(&[key::ENTER]);
    browser.until("document.activeElement.matches('h1') && document.activeElement.textContent === 'Runs'");
    tab_to("#state");
    browser.type_text("Fa");
    browser.until("document.querySelectorAll('.list tbody tr').length === 1");
    assert_eq!(browser.value("document.activeElement.id"), "state");
    tab_to(".list tbody a");
    browser.press(&[key::ENTER]);
    browser.until("document.activeElement.matches('h1.job-title')");
    browser.until_shown("main", "no hay");
    tab_to("#again");
    let before = browser.value("location.hash");
    browser.press(&[key::ENTER]);
    browser.until(&format!("location.hash !== {before}"));
    browser.until_seen(".badge[data-state=failed]");
    assert_quiet(&browser);
}

#[test]
fn the_tab_key_goes_through_every_page_and_shows_where_it_is() {
    let (place, pages) = furnished();
    let browser = place.visit("");
    for (hash, ready) in &pages {
        // From the beginning of the document, as by a link from elsewhere.
        browser.open("about:blank");
        browser.open(&place.url(hash));
        browser.until_seen(ready);
        browser.until_seen("#link[data-state=open]");
        let mut stops = 0;
        loop {
            browser.press(&[key::TAB]);
            let shown = browser.value(
                "document.activeElement === document.body ? 'end' : (() => {
                    const at = document.activeElement;
                    const frame = at.closest('.editor') ?? at;
                    const style = getComputedStyle(frame);
                    const box = frame.getBoundingClientRect();
                    const seen = box.width > 0 && box.bottom > 0 && box.top < innerHeight;
                    return seen && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1 ? 'shown' : at.outerHTML.slice(0, 200);
                })()",
            );
            if shown == "end" {
                break;
            }
            assert_eq!(shown, "shown", "{hash}");
            stops += 1;
            assert!(stops < 80, "{hash} holds the focus");
            // The editor keeps Tab to itself until Escape.
            browser.press(&[key::ESCAPE]);
        }
        assert!(stops >= 7, "{hash}: {stops}");
    }
}

#[test]
fn nothing_moves_for_those_who_do_not_want_that() {
    let place = Place::start();
    let browser = place.visit("");
    run(&browser, &format!("http_get(\"{}/gate\");", place.api.origin()));
    browser.until_seen("#result .badge[data-state=running]");
    let animation = "getComputedStyle(document.querySelector('#result .badge'), '::before').animationName";
    assert_eq!(browser.value(animation), "breathe");
    browser.prefer("prefers-reduced-motion", "reduce");
    assert_eq!(browser.value(animation), "none");
    let moving = browser.value("document.getAnimations().length");
    assert_eq!(moving, Value::from(0));
}
