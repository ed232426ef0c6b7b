//! The reference of scripts: its examples are run, it tells of every function that there is and of no other, and the
//! definitions for editors are those that it says. How it is read is in `support/reference.rs`.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use marmot::HttpClient;
use marmot::script::rhai::{Array, Dynamic, Engine, FuncInfo};
use marmot::script::{Sandbox, ScriptEngine, Severity, http_module};
use marmot::stripe::{self, Config};

use crate::support::pets;
use crate::support::reference::{Example, Page};
use crate::support::stripe::{KEY, Stripe};

const PAGE: &str = "docs/script-reference.md";
const DEFINITIONS: &str = "docs/marmot.d.rhai";

fn text() -> String {
    fs::read_to_string(PAGE).unwrap()
}

fn page() -> Page {
    Page::parse(&text())
}

/// All that a script of the page finds, on loopback.
struct World {
    pets: crate::support::Server,
    sockets: crate::support::RawServer,
    stripe: Stripe,
    folder: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("photo.jpg"), [7; 1000]).unwrap();
        Self { pets: pets::start(), sockets: pets::start_websocket(), stripe: Stripe::start(), folder }
    }

    /// What the page calls by names for people, and what that is here.
    fn names(&self) -> [(&'static str, String); 3] {
        [
            ("https://api.example.org", self.pets.origin()),
            ("wss://api.example.org", self.sockets.origin().replace("http:", "ws:")),
            ("\"data/", format!("\"{}/", self.folder.path().display())),
        ]
    }

    fn engine(&self, sandbox: Sandbox) -> ScriptEngine {
        let variables = |name: &str| match name {
            "STAGE" => Some("test".to_owned()),
            "STRIPE_SECRET_KEY" => Some(KEY.to_owned()),
            _ => None,
        };
        let builder = ScriptEngine::builder().client(HttpClient::new().unwrap()).sandbox(sandbox).variables(variables);
        let mut engine = builder.secret("API_KEY", pets::TOKEN, [self.pets.origin()]).build().unwrap();
        stripe::register(&mut engine, Config::new().key(KEY).base_url(self.stripe.origin())).unwrap();
        engine
    }

    /// Runs a script of the page; what it printed, or why it failed.
    fn run(&self, source: &str) -> Result<(Vec<String>, Dynamic), String> {
        let is_refused = source.starts_with("// Runs in a sandbox");
        let sandbox = Sandbox::open();
        let sandbox = if is_refused { sandbox.methods(["GET", "HEAD", "OPTIONS"]) } else { sandbox };
        let here = self.names().iter().fold(source.to_owned(), |text, (name, real)| text.replace(name, real));
        let printed = Arc::new(Mutex::new(Vec::new()));
        let lines = printed.clone();
        let engine = self.engine(sandbox).on_print(move |line| lines.lock().unwrap().push(line.to_owned()));
        let found = engine.check("example", &here, &["ARGS"]);
        // The methods of an API that a document describes are warnings: nobody has read it yet.
        if let Some(finding) = found.iter().find(|finding| finding.severity() == Severity::Error) {
            return Err(finding.render());
        }
        let args: Array = vec!["Edda".into(), "7".into()];
        let script = engine.compile("example", &here).map_err(|error| error.render())?.constant("ARGS", args);
        let value = script.time_limit(Duration::from_secs(20)).run().map_err(|error| error.render())?;
        let for_people =
            |line: &String| self.names().iter().fold(line.clone(), |text, (name, real)| text.replace(real, name));
        let printed = printed.lock().unwrap().iter().map(for_people).collect();
        Ok((printed, value))
    }
}

/// What an example says that it prints: behind its calls of `print`, and in the comments at its end.
fn expected(source: &str) -> Vec<String> {
    let lines: Vec<_> = source.lines().collect();
    let end = lines.iter().rposition(|line| !line.starts_with("// ")).map_or(0, |last| last + 1);
    let beside = lines[..end].iter().filter(|line| line.contains("print("));
    let beside = beside.filter_map(|line| line.rsplit_once(" // ")).map(|(_, words)| words);
    let below = lines[end..].iter().filter_map(|line| line.strip_prefix("// "));
    beside.chain(below).map(str::to_owned).collect()
}

#[test]
fn every_example_prints_what_it_says() {
    let mut wrong = Vec::new();
    let page = page();
    assert!(page.examples.len() > 70, "{}", page.examples.len());
    for Example { heading, source } in &page.examples {
        match World::start().run(source) {
            Ok((printed, _)) if printed == expected(source) => {}
            Ok((printed, _)) => wrong.push(format!("{heading}\nprints {printed:#?}\nand not {:#?}", expected(source))),
            Err(error) => wrong.push(format!("{heading}\n{error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// A script for a value of each type that is ours.
const TYPES: &[(&str, &str)] = &[
    ("Response", r#"http_get("https://api.example.org/pets")"#),
    ("Headers", r#"http_get("https://api.example.org/pets").headers"#),
    ("Promise", r#"http_get_async("https://api.example.org/pets")"#),
    ("Client", "http::client()"),
    ("Stream", r#"http_lines("https://api.example.org/log")"#),
    ("WebSocket", r#"ws_connect("wss://api.example.org/chat")"#),
    ("Secret", r#"secret("API_KEY")"#),
    ("ProductBuilder", "new_product()"),
    ("PriceBuilder", "new_price()"),
    ("CustomerBuilder", "new_customer()"),
    ("CouponBuilder", "new_coupon()"),
    ("SubscriptionBuilder", "new_subscription()"),
    ("PaymentIntentBuilder", "new_payment_intent()"),
    ("StripeObject", "new_customer().create()"),
];

/// Our types, by what the language knows them by.
fn types() -> BTreeMap<TypeId, &'static str> {
    let world = World::start();
    let engine = world.engine(Sandbox::open());
    let value = |(name, source): &(&'static str, &str)| {
        let (_, value) = world.run(source).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(engine.engine().map_type_name(value.type_name()), *name);
        (value.type_id(), *name)
    };
    TYPES.iter().map(value).collect()
}

/// The functions of an engine: by the hash of their name and types, as the page has them.
fn functions(engine: &Engine, types: &BTreeMap<TypeId, &str>) -> BTreeMap<(String, u64), String> {
    let key = |info: FuncInfo<'_>| {
        let function = info.metadata;
        let module = info.namespace.to_string();
        let receiver = function.param_types.first().and_then(|id| types.get(id));
        let (place, count) = match receiver {
            Some(kind) => (format!("{kind}."), function.num_params - 1),
            None if module.is_empty() => (String::new(), function.num_params),
            None => (format!("{module}::"), function.num_params),
        };
        let key = match (function.name.strip_prefix("get$"), function.name.as_str()) {
            (Some(property), _) => format!("{place}{property}"),
            (None, "index$get$") => format!("{place}[]/{count}"),
            (None, name) => format!("{place}{name}/{count}"),
        };
        Some(((module, function.hash), key))
    };
    engine.collect_fn_metadata(None, key, true).into_iter().collect()
}

/// Everything that is registered for scripts to call.
fn registered() -> BTreeSet<String> {
    let types = types();
    let mut bare = Engine::new_raw();
    bare.register_global_module(http_module(HttpClient::new().unwrap()).into());
    let plain = ScriptEngine::new();
    let mut paying = ScriptEngine::new();
    stripe::register(&mut paying, Config::new()).unwrap();
    let before = functions(plain.engine(), &types);
    let modules = before.iter().filter(|((module, _), _)| !module.is_empty()).map(|(_, key)| key.clone());
    let payments = functions(paying.engine(), &types).into_iter().filter(|(hash, _)| !before.contains_key(hash));
    let all = functions(&bare, &types).into_values().chain(modules).chain(payments.map(|(_, key)| key));
    // How values are shown and compared, and what the methods of APIs are inside.
    let inner = ["to_string", "to_debug", "print", "debug", "==", "!=", "call_operation"];
    let name = |key: &str| {
        let bare = key.split('/').next().unwrap_or_default().to_owned();
        bare.rsplit(['.', ':']).next().unwrap_or_default().to_owned()
    };
    all.filter(|key| !inner.contains(&name(key).as_str())).collect()
}

#[test]
fn it_tells_of_every_function_and_of_no_other() {
    let documented: BTreeSet<_> =
        page().entries.iter().flat_map(|entry| entry.all()).map(|signature| signature.key()).collect();
    let registered = registered();
    assert!(registered.len() > 250, "{}", registered.len());
    let missing: Vec<_> = registered.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&registered).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:#?}\ninvented: {invented:#?}");
}

#[test]
fn every_entry_has_a_meaning_a_signature_what_it_throws_and_an_example() {
    for entry in page().entries {
        let title = &entry.title;
        let meaning = entry.first_paragraph();
        assert!(meaning.ends_with('.') && !meaning.starts_with("Throws"), "{title}: {meaning}");
        assert!(!entry.signatures.is_empty(), "{title} has no signature");
        assert!(entry.text.contains("\nThrows "), "{title} does not tell what it throws");
        assert!(entry.text.contains("```rhai\n"), "{title} has no example");
        let names: BTreeSet<_> = entry.signatures.iter().map(|signature| &signature.name).collect();
        let alone = names.len() == 1 || names.iter().any(|name| *name == "[]") && names.len() == 2;
        let told = entry.signatures.iter().all(|signature| signature.meaning().is_some());
        assert!(alone || told, "{title}: each line says what it does");
    }
}

/// What stands in quotes in a part of a source file.
fn quoted(file: &str, from: &str, to: &str) -> Vec<String> {
    let source = fs::read_to_string(file).unwrap();
    let part =
        source.split_once(from).and_then(|(_, rest)| rest.split_once(to)).unwrap_or_else(|| panic!("{file}: {from}")).0;
    part.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn it_tells_of_every_option_kind_and_permission() {
    let text = text();
    let words = [
        quoted("src/script/spec.rs", "const OPTIONS", "];"),
        quoted("src/script/client.rs", "const OPTIONS", "];"),
        quoted("src/script/api.rs", "const OPERATION", "];"),
        quoted("src/script/api.rs", "const PARAM", "];")
            .into_iter()
            .filter(|word| word != "in" && word != "default")
            .collect(),
        quoted("src/error.rs", "pub fn name(self)", "\n    }\n"),
    ]
    .concat();
    assert!(words.len() > 60, "{words:?}");
    for word in words {
        assert!(text.contains(&format!("`{word}`")), "the page does not tell of `{word}`");
    }
    let flags = fs::read_to_string("src/cli/permissions.rs").unwrap();
    let of = |name: &str| flags.split_once(name).unwrap().1.split_once("\n}\n").unwrap().0;
    let fields = [of("struct Permissions {"), of("struct Grants {")].concat();
    let fields = fields.lines().filter(|line| !line.contains("grants: Grants"));
    let fields = fields.filter_map(|line| line.trim().split_once(':').filter(|(name, _)| !name.contains(' ')));
    let flags: Vec<_> = fields.map(|(name, _)| format!("--{}", name.replace('_', "-"))).collect();
    assert!(flags.len() > 15, "{flags:?}");
    for flag in flags {
        assert!(text.contains(&flag), "the page does not tell of {flag}");
    }
}

#[test]
fn its_links_lead_to_its_headings() {
    let text = text();
    let anchor = |title: &str| {
        let kept = title
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_')
            .collect::<String>();
        kept.replace(' ', "-")
    };
    let headings: BTreeSet<_> = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect();
    for link in text.split("](#").skip(1) {
        let link = link.split(')').next().unwrap();
        assert!(headings.contains(link), "there is no heading for #{link}");
    }
}

#[test]
fn the_definitions_for_editors_are_those_of_the_page() {
    let made = page().definitions();
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        fs::write(DEFINITIONS, &made).unwrap();
    }
    let there = fs::read_to_string(DEFINITIONS).unwrap_or_default();
    assert!(made == there, "{DEFINITIONS} is old: WRITE_REFERENCE=1 cargo test --all-features --test it reference");
}
