//! Who pays with which key, and over what: configurations of runs and of the host, the client beneath, the command, and
//! webhooks. What is bought is in `stripe.rs`.

use std::io::Write;
use std::sync::Barrier;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use marmot::HttpClient;
use marmot::config::{EgressPolicy, NetRc, RedirectPolicy};
use marmot::prelude::*;
use marmot::script::ScriptEngine;
use marmot::script::rhai::Dynamic;
use marmot::stripe::{self, Client, Config};
use sha2::Sha256;

use crate::stripe::{engine, map_of, texts};
use crate::support::stripe::{Fault, KEY, Stripe};

#[test]
fn a_key_is_asked_for_by_name_and_never_shown() {
    let fake = Stripe::start();
    let mut engine = ScriptEngine::new();
    stripe::register(&mut engine, Config::new().base_url(fake.origin())).unwrap();
    let missing = map_of(&engine.run("list_products()").unwrap_err());
    assert!(missing["message"].to_string().contains("configure_stripe(key)"), "{missing:?}");
    // The fake's refusal repeats the key that it got.
    let wrong = engine.run("configure_stripe(\"sk_test_w0rse\"); list_products()").unwrap_err();
    let map = map_of(&wrong);
    assert_eq!((map["status"].as_int(), map["type"].to_string()), (Ok(401), "invalid_request_error".into()));
    assert_eq!(map["message"].to_string(), "Invalid API Key provided: Bearer [Stripe key]");
    for key in ["", "sk_test_w0rse\n", "sk test_w0rse", " sk_test_w0rse"] {
        let error = engine.run(&format!("configure_stripe({key:?})")).unwrap_err();
        assert!(error.message().contains("the key ") && !error.message().contains("w0rse"), "{error}");
    }
    assert!(fake.lines().len() == 1);
    let client = Client::new(HttpClient::new().unwrap(), &Config::new().key(KEY).base_url(fake.origin())).unwrap();
    assert!(!format!("{client:?}").contains("c4nary"));
}

#[test]
fn a_configuration_ends_with_its_run() {
    let fake = Stripe::start();
    let mut engine = ScriptEngine::new();
    stripe::register(&mut engine, Config::new().base_url(fake.origin())).unwrap();
    let configured = format!("configure_stripe({KEY:?}); list_products().len()");
    assert_eq!(engine.run(&configured).unwrap().as_int(), Ok(0));
    assert!(engine.run("list_products()").unwrap_err().message().contains("no key yet"), "the next run has none");
    // Outside of a run there is nothing that would end it.
    let error = engine.engine_mut().eval::<Dynamic>(&configured).unwrap_err();
    assert!(error.to_string().contains("ends with the run"), "{error}");
    assert!(engine.engine_mut().eval::<Dynamic>("list_products()").unwrap_err().to_string().contains("no key yet"));
}

#[test]
fn scripts_run_side_by_side_with_keys_of_their_own() {
    let fakes = [Stripe::start(), Stripe::start()];
    let mut engine = ScriptEngine::new();
    stripe::register(&mut engine, Config::new()).unwrap();
    let barrier = Barrier::new(8);
    thread::scope(|scope| {
        for n in 0..8 {
            let (engine, barrier, fake) = (&engine, &barrier, &fakes[n % 2]);
            scope.spawn(move || {
                let source = "configure_stripe(#{ key: KEY, base_url: BASE });
                    for n in 0..10 { new_customer().name(NAME).create(); }";
                let script = engine.compile("own", source).unwrap();
                let key = if n < 6 { KEY } else { "sk_test_wrong" };
                let script = script.constant("KEY", key).constant("BASE", fake.origin());
                barrier.wait();
                let result = script.constant("NAME", format!("n{}", n % 2)).run();
                assert_eq!(result.is_ok(), n < 6, "{n}");
            });
        }
    });
    for (n, fake) in fakes.iter().enumerate() {
        let customers = fake.objects("customers");
        assert_eq!(customers.len(), 30);
        assert!(customers.iter().all(|customer| customer["name"] == format!("n{n}")));
    }
}

#[test]
fn a_script_within_a_script_has_a_configuration_of_its_own() {
    let (outer, inner) = (Stripe::start(), Stripe::start());
    let mut engine = engine(&outer);
    let origin = inner.origin();
    engine.engine_mut().register_fn("nested", move || {
        let mut engine = ScriptEngine::new();
        stripe::register(&mut engine, Config::new().base_url(&origin)).unwrap();
        let _last = engine.run(&format!("configure_stripe({KEY:?}); new_customer().name(\"inner\").create()")).unwrap();
    });
    let _last = engine.run("nested(); new_customer().name(\"outer\").create()").unwrap();
    assert_eq!((outer.objects("customers").len(), inner.objects("customers").len()), (1, 1));
    assert_eq!(inner.objects("customers")[0]["name"], "inner");
}

#[test]
fn the_egress_policy_of_the_engines_client_holds() {
    let fake = Stripe::start();
    let client = HttpClient::builder().egress(EgressPolicy::public_internet()).build().unwrap();
    let mut engine = ScriptEngine::with_client(client);
    stripe::register(&mut engine, Config::new().key(KEY).base_url(fake.origin())).unwrap();
    let error = map_of(&engine.run("list_products()").unwrap_err());
    assert_eq!(
        (error["type"].to_string(), error["code"].to_string()),
        ("api_connection_error".into(), "egress_denied".into())
    );
    assert!(fake.lines().is_empty());
}

#[test]
fn the_clients_own_credentials_and_cookies_are_not_for_stripe() {
    let fake = Stripe::start();
    let mut netrc = tempfile::NamedTempFile::new().unwrap();
    netrc.write_all(b"machine 127.0.0.1 login anna password pw\n").unwrap();
    let client = HttpClient::builder().digest_auth("anna", "pw").netrc(NetRc::file(netrc.path())).cookies();
    let client = client.build().unwrap();
    let mut engine = ScriptEngine::with_client(client);
    stripe::register(&mut engine, Config::new().key(KEY).base_url(fake.origin())).unwrap();
    let page = "{\"data\": []}".to_owned();
    fake.faults([Fault::Answer(200, vec![("Set-Cookie", "a=b; Path=/".into())], page)]);
    assert_eq!(engine.run("list_products().len() + list_products().len()").unwrap().as_int(), Ok(0));
    assert_eq!(fake.requests().len(), 2);
    assert!(!fake.server().last_request().has_header("cookie"));
}

#[test]
fn redirects_are_not_followed() {
    let (fake, elsewhere) = (Stripe::start(), Stripe::start());
    fake.faults([Fault::with_header(307, "Location", format!("{}/v1/customers", elsewhere.origin()))]);
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Limit(5)).build().unwrap();
    let mut engine = ScriptEngine::with_client(client);
    stripe::register(&mut engine, Config::new().key(KEY).base_url(fake.origin())).unwrap();
    let error = map_of(&engine.run("new_customer().create()").unwrap_err());
    assert_eq!(error["status"].as_int(), Ok(307));
    assert!(elsewhere.lines().is_empty());
}

#[cfg(feature = "cli")]
#[test]
fn the_payment_script_runs_from_start_to_end() {
    let fake = Stripe::start();
    let script = "examples/scripts/payment.rhai";
    let run = |base: Option<&str>, argument: Option<&str>, key: Option<&str>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_marmot"));
        command
            .args(["run", "--trace", script])
            .args(argument)
            .env_remove("STRIPE_API_BASE")
            .env_remove("STRIPE_SECRET_KEY");
        command.envs(base.map(|base| ("STRIPE_API_BASE", base))).envs(key.map(|key| ("STRIPE_SECRET_KEY", key)));
        command.output().unwrap()
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let origin = fake.origin();
    for (base, argument) in
        [(Some(&*origin), None), (None, Some(&*origin)), (Some("http://127.0.0.1:1"), Some(&*origin))]
    {
        let output = run(base, argument, Some(KEY));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let printed = text(&output.stdout);
        for part in ["product prod_", "2999 usd a month", "trialing, 2999", "card_declined", "succeeded, 1500 received"]
        {
            assert!(printed.contains(part), "{part} in {printed}");
        }
        let trace = text(&output.stderr);
        assert!(trace.contains(&format!("POST {origin}/v1/products 200")) && !trace.contains("c4nary"), "{trace}");
    }
    assert_eq!(fake.requests().len(), 3 * 8);
    let output = run(Some(&origin), None, None);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is the variable set?"), "{}", text(&output.stderr));
    let output = run(Some("nonsense"), None, Some(KEY));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

/// The header of a payload that was signed with a secret some seconds from now.
fn signed(payload: &str, secret: &str, offset: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let time = now.checked_add_signed(offset).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{time}.{payload}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

#[test]
fn webhooks_are_verified_in_scripts() {
    let fake = Stripe::start();
    let payload = r#"{"id": "evt_1", "type": "payment_intent.succeeded", "data": {"object": {"amount": 5}}}"#;
    let run = |header: &str, call: &str| {
        let engine = engine(&fake);
        let script = engine.compile("hook", call).unwrap();
        script.constant("PAYLOAD", payload).constant("HEADER", header.to_owned()).run()
    };
    let now = signed(payload, "whsec_1", 0);
    let event = run(&now, "let e = stripe_webhook(PAYLOAD, HEADER, \"whsec_1\"); [e.id, e.type, e.data.object.amount]");
    assert_eq!(texts(event.unwrap()), ["evt_1", "payment_intent.succeeded", "5"]);
    let blob = run(&now, "let b = blob(); b += PAYLOAD; stripe_webhook(b, HEADER, [\"old\", \"whsec_1\"]).id");
    assert_eq!(blob.unwrap().into_string().unwrap(), "evt_1");
    let late = signed(payload, "whsec_1", -1000);
    assert!(run(&late, "stripe_webhook(PAYLOAD, HEADER, \"whsec_1\", 2000)").is_ok());
    for (header, call, says) in [
        (&now, "stripe_webhook(PAYLOAD, HEADER, \"whsec_2\")", "no signature is right"),
        (&now, "stripe_webhook(PAYLOAD + \" \", HEADER, \"whsec_1\")", "no signature is right"),
        (&late, "stripe_webhook(PAYLOAD, HEADER, \"whsec_1\")", "too old"),
        (&signed(payload, "whsec_1", 1000), "stripe_webhook(PAYLOAD, HEADER, \"whsec_1\")", "yet to come"),
        (&now, "stripe_webhook(PAYLOAD, \"v1=00\", \"whsec_1\")", "has no time"),
        (&now, "stripe_webhook(PAYLOAD, HEADER, \"\")", "no secret"),
        (&now, "stripe_webhook(PAYLOAD, HEADER, [])", "no secret"),
    ] {
        let error = map_of(&run(header, call).unwrap_err());
        assert_eq!(error["kind"].to_string(), "signature", "{call}");
        assert!(error["message"].to_string().contains(says), "{call}: {error:?}");
    }
    let garbage = signed("garbage", "whsec_1", 0);
    let error = map_of(&run(&garbage, "stripe_webhook(\"garbage\", HEADER, \"whsec_1\")").unwrap_err());
    assert_eq!(error["kind"].to_string(), "invalid_request");
}

#[test]
fn a_key_that_is_a_secret_goes_to_its_host_only() {
    let (fake, other) = (Stripe::start(), Stripe::start());
    let builder = ScriptEngine::builder().secret("KEY", KEY, [fake.origin()]);
    let mut engine = builder.build().unwrap();
    stripe::register(&mut engine, Config::new().base_url(fake.origin())).unwrap();
    let listed = engine.run("configure_stripe(secret(\"KEY\")); list_products().len()").unwrap();
    assert_eq!(listed.as_int(), Ok(0));
    for source in [
        format!("configure_stripe(#{{ key: secret(\"KEY\"), base_url: \"{}\" }})", other.origin()),
        "configure_stripe(secret(\"NONE\"))".to_owned(),
    ] {
        let error = engine.run(&source).unwrap_err();
        assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    }
    assert_eq!(other.requests().len(), 0);
}
