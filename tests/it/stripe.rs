//! Payments in scripts and in Rust against a fake of Stripe: words, forms, objects, arguments. Who pays with which key is in
//! `stripe_setup.rs`, what goes wrong on the way in `stripe_faults.rs`.

use marmot::HttpClient;
use marmot::script::rhai::{Dynamic, Map};
use marmot::script::{ScriptEngine, ScriptError, ScriptErrorKind};
use marmot::stripe::{self, Client, Config, Params};

use crate::support::stripe::{KEY, Stripe};

/// An engine whose scripts need no `configure_stripe`.
pub(crate) fn engine(fake: &Stripe) -> ScriptEngine {
    let mut engine = ScriptEngine::new();
    stripe::register(&mut engine, Config::new().key(KEY).base_url(fake.origin())).unwrap();
    engine
}

/// Runs a script that must end well.
pub(crate) fn run(fake: &Stripe, source: &str) -> Dynamic {
    engine(fake).run(source).unwrap_or_else(|error| panic!("{}", error.render()))
}

/// Runs a script for what it does.
pub(crate) fn done(fake: &Stripe, source: &str) {
    let _last = run(fake, source);
}

/// What a script throws.
pub(crate) fn thrown(fake: &Stripe, source: &str) -> Map {
    map_of(&engine(fake).run(source).unwrap_err())
}

pub(crate) fn map_of(error: &ScriptError) -> Map {
    assert_eq!(error.kind(), ScriptErrorKind::Runtime, "{error}");
    error.value().unwrap_or_else(|| panic!("{error}")).clone().cast()
}

pub(crate) fn texts(value: Dynamic) -> Vec<String> {
    value.into_array().unwrap().iter().map(ToString::to_string).collect()
}

/// The body of the latest request, decoded.
fn last_form(fake: &Stripe) -> String {
    let form = fake.server().last_request().text();
    crate::support::parse_query(&form)
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_shop_sells_a_subscription_and_a_single_thing() {
    let fake = Stripe::start();
    let seen = run(
        &fake,
        r#"
        let product = new_product().name("Premium").description("dry").metadata("slope", "south").create();
        let price = new_price().amount(2999).currency("usd").product(product.id).recurring("month").create();
        let customer = new_customer().email("alma@example.org").name("Alma").phone("+1").description("x").create();
        let coupon = new_coupon().percent(25).duration("repeating").months(3).create();
        let subscription =
            new_subscription().customer(customer).add_price(price, 2).trial_days(14).coupon(coupon).create();
        let intent = new_payment_intent().amount(1500).currency("usd").customer(customer).description("hay").create();
        let paid = intent.confirm(#{ payment_method: "pm_card_visa" });
        [product.metadata.slope, price.unit_amount, price.recurring.interval, customer.email, coupon.percent_off,
         coupon.duration_in_months, subscription.status, subscription.items.data[0].price.id == price.id,
         subscription.items.data[0].quantity, subscription.discounts[0].coupon == coupon, intent.status, paid.status,
         paid.amount_received, intent.client_secret == intent.id + "_secret_x", intent.nothing == ()]
        "#,
    );
    assert_eq!(
        texts(seen),
        [
            "south",
            "2999",
            "month",
            "alma@example.org",
            "25.0",
            "3",
            "trialing",
            "true",
            "2",
            "true",
            "requires_payment_method",
            "succeeded",
            "1500",
            "true",
            "true"
        ]
    );
    let lines = fake.lines();
    let paths = ["products", "prices", "customers", "coupons", "subscriptions", "payment_intents"];
    let mut expected: Vec<_> = paths.iter().map(|path| format!("POST /v1/{path}")).collect();
    expected.push(format!(
        "POST /v1/payment_intents/{}/confirm",
        fake.objects("payment_intents")[0]["id"].as_str().unwrap()
    ));
    assert_eq!(lines, expected);
    for request in fake.requests() {
        assert_eq!(request.header("stripe-version"), Some(stripe::API_VERSION));
        assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    }
    assert_eq!(fake.server().accepted(), 1, "one connection serves them all");
}

#[test]
fn forms_keep_the_order_of_calls_and_name_what_is_nested() {
    let fake = Stripe::start();
    done(
        &fake,
        r#"
        let product = new_product().id("p").name("x").create();
        for n in 0..12 { new_price().amount(n).currency("USD").product(product).recurring("week", 2).create(); }
        new_coupon().id("c").amount(500).currency("eur").duration("once").create();
        new_coupon().id("d").percent(12.5).duration("forever").create();
        new_customer().name("x").create();
        "#,
    );
    let customer = fake.objects("customers")[0]["id"].as_str().unwrap().to_owned();
    let prices = fake.objects("prices");
    let id = |n: usize| prices[n]["id"].as_str().unwrap();
    let source = format!(
        r#"
        let s = new_subscription().metadata("b", 1).metadata("a", "ä&").customer("{customer}");
        for price in {:?} {{ s.add_price(price); }}
        s.coupon("c").coupon(#{{ id: "d" }}).trial_days(0).create()
        "#,
        prices.iter().rev().map(|price| price["id"].as_str().unwrap()).collect::<Vec<_>>()
    );
    done(&fake, &source);
    let items: Vec<_> = (0..12).map(|n| format!("items[{n}][price]={}", id(11 - n))).collect();
    let expected = format!(
        "metadata[b]=1 metadata[a]=ä& customer={customer} {} discounts[0][coupon]=c discounts[1][coupon]=d trial_period_days=0",
        items.join(" ")
    );
    assert_eq!(last_form(&fake), expected);
    assert_eq!(prices[3]["currency"], "usd");
    assert_eq!(prices[3]["recurring"], serde_json::json!({"interval": "week", "interval_count": "2"}));
}

#[test]
fn a_builder_may_be_kept_changed_and_used_again() {
    let fake = Stripe::start();
    done(
        &fake,
        r#"
        let product = new_product().name("x").create();
        let price = new_price().currency("usd").product(product);
        for amount in [100, 200] { price.amount(amount).create(); }
        price.set("nickname", "n").metadata(#{ z: 1, a: true }).create();
        "#,
    );
    let amounts: Vec<_> = fake.objects("prices").iter().map(|price| price["unit_amount"].as_i64().unwrap()).collect();
    assert_eq!(amounts, [100, 200, 200]);
    assert_eq!(
        last_form(&fake),
        "currency=usd product=prod_1 unit_amount=200 nickname=n metadata[a]=true metadata[z]=1"
    );
    let keys: Vec<_> =
        fake.requests().iter().map(|request| request.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 4);
    assert!((1..4).all(|at| !keys[..at].contains(&keys[at])), "each write has a key of its own: {keys:?}");
}

#[test]
fn an_object_stands_for_its_id_and_shows_its_fields() {
    let fake = Stripe::start();
    let seen = run(
        &fake,
        r#"
        let c = new_customer().email("a@example.org").metadata("k", "v").create();
        let intent = new_payment_intent().amount(1).currency("usd").customer(c).create();
        [c.id, `${c}`, "x" + c, intent.customer == c, c == intent.customer, c == c, c != c, c == "other",
         c.metadata.k, c["email"], "email" in c, "age" in c, c.to_map().len() > 3, get_customer(c).email, c.object]
        "#,
    );
    let id = fake.objects("customers")[0]["id"].as_str().unwrap().to_owned();
    let prefixed = format!("x{id}");
    assert_eq!(
        texts(seen),
        [
            &id,
            &id,
            &prefixed,
            "true",
            "true",
            "true",
            "false",
            "false",
            "v",
            "a@example.org",
            "true",
            "false",
            "true",
            "a@example.org",
            "customer"
        ]
    );
    let printed = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let sink = printed.clone();
    let mut engine = ScriptEngine::new().on_print(move |text| sink.lock().unwrap().push_str(text));
    stripe::register(&mut engine, Config::new().key(KEY).base_url(fake.origin())).unwrap();
    let _last = engine.run(&format!("print(get_customer(\"{id}\"))")).unwrap();
    assert_eq!(*printed.lock().unwrap(), id);
}

#[test]
fn resources_are_read_changed_and_deleted() {
    let fake = Stripe::start();
    let seen = run(
        &fake,
        r#"
        let p = new_product().name("x").description("old").create();
        let changed = update_product(p, #{ name: "y", description: (), metadata: #{ a: 1, b: "2" } });
        let again = p.refresh().update(#{ active: false });
        let gone = delete_product(p.id);
        let missing = ();
        try { get_product(p) } catch (e) { missing = e; }
        let c = new_customer().name("z").create();
        let c_gone = c.delete();
        let coupon = new_coupon().id("10 % off/&ä").percent(10).duration("once").create();
        [changed.name, changed.description == (), changed.metadata.b, again.active, gone.deleted, missing.code,
         missing.status, missing.kind, c_gone.deleted, get_coupon(coupon).percent_off, delete_coupon(coupon).deleted]
        "#,
    );
    assert_eq!(
        texts(seen),
        ["y", "true", "2", "false", "true", "resource_missing", "404", "stripe", "true", "10.0", "true"]
    );
    let last = fake.lines().pop();
    assert_eq!(last.as_deref(), Some("DELETE /v1/coupons/10%20%25%20off%2F&%C3%A4"));
    for request in fake.requests() {
        assert_eq!(
            request.has_header("idempotency-key"),
            request.method != "GET",
            "{} {}",
            request.method,
            request.target
        );
    }
}

#[test]
fn payments_are_confirmed_captured_and_cancelled() {
    let fake = Stripe::start();
    let seen = run(
        &fake,
        r#"
        let held = new_payment_intent().amount(1000).currency("usd").payment_method("pm_card_visa")
            .capture_method("manual").confirm(true).create();
        let part = held.capture(#{ amount_to_capture: 700 });
        let other = new_payment_intent().amount(5).currency("usd").create();
        let stopped = cancel_payment_intent(other);
        let third = new_payment_intent().amount(5).currency("usd").payment_method("pm_card_visa").create();
        let done = confirm_payment_intent(third.id);
        let fourth = new_payment_intent().amount(5).currency("usd").create();
        let product = new_product().name("x").create();
        let price = new_price().amount(5).currency("usd").product(product).recurring("year").create();
        let customer = new_customer().create();
        let s = new_subscription().customer(customer).add_price(price).create();
        [held.status, part.status, part.amount_received, stopped.status, done.status, fourth.cancel().status, s.status,
         s.cancel().status]
        "#,
    );
    assert_eq!(
        texts(seen),
        ["requires_capture", "succeeded", "700", "canceled", "succeeded", "canceled", "active", "canceled"]
    );
}

#[test]
fn lists_follow_their_pages_up_to_the_limit() {
    let fake = Stripe::start();
    let seen = run(
        &fake,
        r#"
        for n in 0..230 { new_customer().name(`n${n}`).create(); }
        let all = list_customers();
        let some = list_customers(#{ limit: 105 });
        let named = list_customers(#{ name: "n7" });
        [all.len(), all[0].name, all[229].name, some.len(), some[104].name, named.len(), named[0].name,
         list_customers(#{ limit: 0 }).len(), list_customers(#{ limit: 3, starting_after: all[226] }).len(),
         list_products().len()]
        "#,
    );
    assert_eq!(texts(seen), ["230", "n229", "n0", "105", "n125", "1", "n7", "0", "3", "0"]);
    let pages: Vec<_> = fake.lines().into_iter().filter(|line| line.starts_with("GET /v1/customers?")).collect();
    assert_eq!(pages.len(), 3 + 2 + 1 + 1, "{pages:?}");
    assert!(pages[3].ends_with("?limit=100") && pages[4].starts_with("GET /v1/customers?limit=5&starting_after=cus_"));
    assert!(fake.requests().iter().all(|request| request.method != "GET" || !request.has_header("idempotency-key")));
}

#[test]
fn any_other_path_can_be_asked() {
    let fake = Stripe::start();
    let seen = run(
        &fake,
        r#"
        let made = stripe_post("/v1/customers", #{ name: "x", address: #{ city: "Chur", lines: ["a", "b"] } });
        let list = stripe_get("customers", #{ limit: 1 });
        [made.name, made.address.lines[1], list.data[0].id == made, stripe_get(`customers/${made}`).name,
         stripe_delete(`customers/${made}`).deleted]
        "#,
    );
    assert_eq!(texts(seen), ["x", "b", "true", "x", "true"]);
}

#[test]
fn wrong_arguments_are_refused_before_anything_is_sent() {
    let fake = Stripe::start();
    for (source, says) in [
        ("new_price().amount(29.99)", "smallest unit"),
        ("new_price().amount(\"2999\")", "smallest unit"),
        ("new_price().amount(-1)", "negative"),
        ("new_payment_intent().amount(10.0)", "10.0"),
        ("new_payment_intent().set(\"amount\", 1.5)", "smallest unit"),
        ("new_coupon().amount(1.5)", "smallest unit"),
        ("update_price(\"p\", #{ unit_amount: 1.5 })", "smallest unit"),
        ("capture_payment_intent(\"pi_1\", #{ amount_to_capture: 1.5 })", "smallest unit"),
        ("new_coupon().percent(101)", "0 to 100"),
        ("new_price().currency(\"dollars\")", "three letters"),
        ("new_price().currency(840)", "three letters"),
        ("new_price().recurring(\"fortnight\")", "\"month\""),
        ("new_price().recurring(\"month\", 0)", "1 or more"),
        ("new_product().name(5)", "takes a text"),
        ("new_product().metadata(\"a]b\", 5)", "bracket"),
        ("new_subscription().add_price(5)", "price is given by its id"),
        ("new_subscription().add_price(\"p\", 1.5)", "whole number"),
        ("new_subscription().trial_days(1.5)", "whole number"),
        ("new_subscription().customer(())", "object or its id"),
        ("get_product(\"\")", "id is wanted"),
        ("get_product(5)", "id is wanted"),
        ("delete_product(\"..\")", "no id"),
        ("stripe_get(\"products/../customers\")", "no id"),
        ("list_products(#{ limit: -1 })", "limit"),
        ("new_product().name(\"x\").idempotency_key(\"a b\").create()", "255 visible"),
        ("new_product().name(\"x\").idempotency_key(5)", "is a text"),
        ("update_product(\"p\", #{ idempotency_key: \"\" })", "255 visible"),
        ("configure_stripe(#{ key: \"k\", timout: 5 })", "timeout"),
        ("configure_stripe(#{ base_url: \"http://127.0.0.1:1\" })", "`key`"),
        ("configure_stripe(#{ key: \"k\", max_attempts: 0 })", "1 to 10"),
        ("configure_stripe(())", "variable"),
        ("configure_stripe(5)", "text"),
        ("stripe_webhook(\"{}\", \"t=1,v1=0\", \"s\", -5)", "tolerance"),
    ] {
        let error = thrown(&fake, source);
        let message = error["message"].to_string();
        assert_eq!(error["kind"].to_string(), "invalid_request", "{source}: {message}");
        assert!(message.contains(says), "{source}: {message}");
        assert_eq!(error["line"].as_int(), Ok(1), "{source}");
    }
    assert!(fake.lines().is_empty(), "{:?}", fake.lines());
}

#[test]
fn a_method_that_a_builder_or_an_object_lacks_is_unknown() {
    let fake = Stripe::start();
    for source in ["new_product().amount(5)", "new_price().recuring(\"month\")", "new_customer().coupon(\"c\")"] {
        let error = engine(&fake).run(source).unwrap_err();
        assert!(error.message().starts_with("Function not found: "), "{error}");
    }
    let error = thrown(&fake, "new_product().name(\"x\").create().confirm()");
    assert_eq!(error["message"].to_string(), "a product has no method `confirm`");
    let error = engine(&fake).run("const P = new_product(); P.name(\"x\")").unwrap_err();
    assert!(error.message().contains("constant"), "{error}");
}

#[test]
fn stripes_errors_are_thrown_with_all_they_say() {
    let fake = Stripe::start();
    let declined = thrown(
        &fake,
        r#"
        new_payment_intent().amount(5).currency("usd")
            .create().confirm(#{ payment_method: "pm_card_chargeDeclined", idempotency_key: "mine" })
        "#,
    );
    let get = |name: &str| declined[name].to_string();
    assert_eq!(
        ["kind", "type", "code", "decline_code", "param", "message", "status", "idempotency_key"].map(get),
        [
            "stripe",
            "card_error",
            "card_declined",
            "generic_decline",
            "payment_method",
            "Your card was declined.",
            "402",
            "mine"
        ]
    );
    assert!(get("request_id").starts_with("req_"));
    assert_eq!(declined["line"].as_int(), Ok(3));
    let unknown = thrown(&fake, "new_customer().set(\"coupon\", \"c\").create()");
    assert_eq!(
        (unknown["code"].to_string(), unknown["param"].to_string()),
        ("parameter_unknown".into(), "coupon".into())
    );
}

#[test]
fn rust_has_the_same_client() {
    #[derive(serde::Deserialize)]
    struct Customer {
        id: String,
        name: Option<String>,
    }
    let fake = Stripe::start();
    let config = Config::new().key(KEY).base_url(fake.origin()).version("2026-01-01.test");
    let client = Client::new(HttpClient::new().unwrap(), &config).unwrap();
    futures::executor::block_on(async {
        for name in ["a", "b", "c"] {
            let made: Customer = client.post(&["customers"], &Params::new().set("name", name)).await.unwrap();
            assert_eq!(made.name.as_deref(), Some(name));
        }
        let all: Vec<Customer> = client.list(&["customers"], &Params::new(), 2).await.unwrap();
        assert_eq!(all.len(), 2);
        let one: Customer = client.get(&["customers", &all[0].id], &Params::new()).await.unwrap();
        assert_eq!(one.name.as_deref(), Some("c"));
        let gone: serde_json::Value = client.delete(&["customers", &one.id], &Params::new()).await.unwrap();
        assert_eq!(gone["deleted"], true);
        let error = client.get::<Customer>(&["customers", &one.id], &Params::new()).await.err().unwrap();
        assert_eq!(
            (error.status(), error.code(), error.idempotency_key()),
            (Some(404), Some("resource_missing"), None)
        );
        let error = client.get::<Customer>(&["customers", ".."], &Params::new()).await.err().unwrap();
        assert!(error.is_invalid_argument());
        let error = client.list::<Vec<u8>>(&["customers"], &Params::new(), 1).await.err().unwrap();
        assert_eq!(error.error_type(), "api_error");
    });
    assert_eq!(fake.server().last_request().header("stripe-version"), Some("2026-01-01.test"));
}
