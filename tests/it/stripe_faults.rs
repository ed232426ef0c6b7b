//! Payments when the network or Stripe fail: what is tried again, with which key, how long, and what is thrown in the end.

use std::thread;
use std::time::{Duration, Instant};

use marmot::script::{CancelToken, ScriptEngine, ScriptErrorKind};
use marmot::stripe::{self, Config};

use crate::stripe::{done, engine, map_of, run, texts, thrown};
use crate::support::stripe::{Fault, KEY, Stripe};

/// The idempotency keys of all requests.
fn keys(fake: &Stripe) -> Vec<String> {
    let key = |header: Option<&str>| header.unwrap_or_default().to_owned();
    fake.requests().iter().map(|request| key(request.header("idempotency-key"))).collect()
}

#[test]
fn a_write_that_fails_on_the_way_is_carried_out_once() {
    for faults in [
        vec![Fault::Reset],
        vec![Fault::ResetAfter],
        vec![Fault::Cut],
        vec![Fault::status(500)],
        vec![Fault::status(409)],
        vec![Fault::status(503), Fault::ResetAfter],
        vec![Fault::Cut, Fault::Reset],
    ] {
        let fake = Stripe::start();
        fake.faults(faults.clone());
        let seen = run(&fake, "let c = new_customer().name(\"x\").create(); [c.name, c.id]");
        let customers = fake.objects("customers");
        assert_eq!(customers.len(), 1, "{faults:?}");
        assert_eq!(texts(seen), ["x", customers[0]["id"].as_str().unwrap()]);
        let keys = keys(&fake);
        assert_eq!(keys.len(), faults.len() + 1, "{faults:?}");
        assert!(keys[0].len() >= 32 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    }
}

#[test]
fn a_connection_that_breaks_between_requests_does_no_harm() {
    let fake = Stripe::start();
    let engine = engine(&fake);
    for made in 1..5 {
        let _last = engine.run("new_customer().create()").unwrap();
        assert_eq!(fake.objects("customers").len(), made);
        fake.server().close_connections();
    }
}

#[test]
fn retry_after_is_obeyed_and_bounded() {
    let fake = Stripe::start();
    fake.faults([Fault::with_header(429, "Retry-After", 1)]);
    let start = Instant::now();
    done(&fake, "new_customer().create()");
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(fake.lines().len(), 2);

    fake.faults([Fault::with_header(429, "Retry-After", 3600)]);
    let start = Instant::now();
    let error = thrown(&fake, "new_customer().create()");
    assert_eq!(error["status"].as_int(), Ok(429));
    assert!(start.elapsed() < Duration::from_secs(1), "nobody waits for an hour");
    assert_eq!(fake.lines().len(), 3);
}

#[test]
fn stripe_says_itself_whether_to_try_again() {
    let fake = Stripe::start();
    fake.faults([Fault::with_header(500, "Stripe-Should-Retry", "false")]);
    let error = thrown(&fake, "new_customer().create()");
    assert_eq!((error["status"].as_int(), error["code"].to_string()), (Ok(500), "injected".into()));
    assert_eq!(fake.lines().len(), 1);
    fake.faults([Fault::with_header(400, "Stripe-Should-Retry", "true")]);
    done(&fake, "new_customer().create()");
    assert_eq!(fake.lines().len(), 3);
}

#[test]
fn attempts_are_counted_and_what_cannot_pass_is_not_repeated() {
    let fake = Stripe::start();
    fake.faults([Fault::status(500), Fault::status(503), Fault::status(500)]);
    let error = thrown(&fake, "new_customer().create()");
    assert_eq!((error["status"].as_int(), error["type"].to_string()), (Ok(500), "api_error".into()));
    assert_eq!(fake.lines().len(), 3);
    assert_eq!(error["idempotency_key"].to_string(), keys(&fake)[0], "with it the script can go on");

    let configured = |attempts: u32| format!("configure_stripe(#{{ key: {KEY:?}, max_attempts: {attempts} }}); ");
    fake.faults([Fault::status(500)]);
    thrown(&fake, &(configured(1) + "new_customer().create()"));
    assert_eq!(fake.lines().len(), 4);
    fake.faults([Fault::status(500), Fault::status(500), Fault::status(500)]);
    done(&fake, &(configured(4) + "list_customers()"));
    assert_eq!(fake.lines().len(), 8);
    for status in [400, 401, 402, 403, 404, 302] {
        fake.faults([Fault::status(status)]);
        let error = thrown(&fake, "new_customer().create()");
        assert_eq!(error["status"].as_int(), Ok(i64::from(status)));
    }
    assert_eq!(fake.lines().len(), 14);
    assert!(fake.objects("customers").is_empty());
}

#[test]
fn the_clients_own_retries_do_not_multiply_attempts() {
    let fake = Stripe::start();
    fake.faults(std::iter::repeat_n(Fault::status(503), 20));
    let client = marmot::HttpClient::builder();
    let client = marmot::config::Configurable::retry(client, marmot::config::RetryPolicy::new().max_attempts(5));
    let mut engine = ScriptEngine::with_client(client.build().unwrap());
    stripe::register(&mut engine, Config::new().key(KEY).base_url(fake.origin()).max_attempts(2)).unwrap();
    engine.run("new_customer().create()").unwrap_err();
    assert_eq!(fake.lines().len(), 2);
}

#[test]
fn a_key_of_ones_own_covers_the_next_run() {
    let fake = Stripe::start();
    let source = "new_payment_intent().amount(5).currency(\"usd\").idempotency_key(\"order-1\").create().id";
    let first = run(&fake, source).into_string().unwrap();
    assert_eq!(run(&fake, source).into_string().unwrap(), first);
    assert_eq!(fake.objects("payment_intents").len(), 1);
    let error = thrown(&fake, &source.replace("amount(5)", "amount(6)"));
    assert_eq!((error["type"].to_string(), error["status"].as_int()), ("idempotency_error".into(), Ok(400)));
    let long = "k".repeat(255);
    done(&fake, &format!("update_payment_intent({first:?}, #{{ description: \"d\", idempotency_key: {long:?} }})"));
    assert_eq!(keys(&fake), ["order-1", "order-1", "order-1", &long]);
    assert_eq!(fake.server().last_request().text(), "description=d", "the key is no parameter");
}

#[test]
fn an_answer_that_never_comes_is_a_connection_error() {
    let fake = Stripe::start();
    fake.faults([Fault::Slow(Duration::from_secs(5)), Fault::Slow(Duration::from_secs(5))]);
    let mut engine = ScriptEngine::new();
    stripe::register(&mut engine, Config::new().base_url(fake.origin())).unwrap();
    let source = format!(
        "configure_stripe(#{{ key: {KEY:?}, timeout: 0.2, max_attempts: 2 }});\nnew_customer().name(\"x\").create()"
    );
    let error = map_of(&engine.run(&source).unwrap_err());
    let get = |name: &str| error[name].to_string();
    assert_eq!([get("kind"), get("type"), get("code")], ["stripe", "api_connection_error", "timeout"]);
    assert!(error["status"].is_unit() && error["request_id"].is_unit());
    assert_eq!(error["line"].as_int(), Ok(2));
    assert_eq!(keys(&fake), [get("idempotency_key"), get("idempotency_key")]);

    let refused = format!(
        "configure_stripe(#{{ key: {KEY:?}, base_url: \"http://127.0.0.1:1\", max_attempts: 1 }}); list_prices()"
    );
    assert_eq!(map_of(&engine.run(&refused).unwrap_err())["code"].to_string(), "connection_failed");
}

#[test]
fn answers_that_are_none_of_stripes_are_told_as_such() {
    let fake = Stripe::start();
    let answer = |status, body: &str| Fault::Answer(status, vec![], body.to_owned());
    for (fault, says, status) in [
        (answer(200, "<html>"), "none of Stripe's", 200),
        (answer(200, ""), "none of Stripe's", 200),
        (answer(200, "{\"object\": \"list\"}"), "no `data`", 200),
        (answer(403, "<html>blocked</html>"), "403 Forbidden", 403),
    ] {
        fake.faults([fault]);
        let error = thrown(&fake, "list_customers()");
        assert_eq!((error["kind"].to_string(), error["type"].to_string()), ("stripe".into(), "api_error".into()));
        assert_eq!(error["status"].as_int(), Ok(status));
        assert!(error["message"].to_string().contains(says), "{error:?}");
    }
}

#[test]
fn a_list_that_says_more_and_has_none_ends() {
    let fake = Stripe::start();
    let page = |data: &str| Fault::Answer(200, vec![], format!("{{\"has_more\": true, \"data\": [{data}]}}"));
    fake.faults([page(""), page("{\"id\": \"a\"}"), page("{\"id\": \"a\"}"), page("{\"id\": \"a\"}")]);
    let seen = run(&fake, "[list_customers().len(), list_customers(#{ limit: 3 }).len()]");
    assert_eq!(texts(seen), ["0", "3"]);
    assert_eq!(fake.lines().len(), 4);
}

#[test]
fn time_limits_and_cancelling_end_waits_for_stripe() {
    let fake = Stripe::start();
    fake.faults([Fault::Slow(Duration::from_secs(30)), Fault::with_header(429, "Retry-After", 30)]);
    let engine = engine(&fake);
    for source in ["new_customer().create()", "try { new_customer().create() } catch { loop {} }"] {
        let script = engine.compile("slow", source).unwrap();
        let start = Instant::now();
        let error = script.time_limit(Duration::from_millis(200)).run().unwrap_err();
        assert_eq!(error.kind(), ScriptErrorKind::TimeLimit, "{source}");
        assert!(start.elapsed() < Duration::from_secs(2), "{source}: {:?}", start.elapsed());
    }
    fake.faults([Fault::Slow(Duration::from_secs(30))]);
    let token = CancelToken::new();
    let script = engine.compile("cancelled", "list_customers()").unwrap().cancel(token.clone());
    thread::scope(|scope| {
        let running = scope.spawn(|| script.run().unwrap_err().kind());
        assert!(fake.server().wait_for_heads(3, Duration::from_secs(5)));
        token.cancel();
        assert_eq!(running.join().unwrap(), ScriptErrorKind::Cancelled);
    });
    // The second one was answered: its connection may wait for another request.
    for target in ["/v1/customers", "/v1/customers?"] {
        assert!(
            fake.server().wait_for_close(target, Duration::from_secs(5)).is_some(),
            "requests end with their scripts"
        );
    }
}

#[test]
fn promises_go_on_while_a_payment_waits() {
    let fake = Stripe::start();
    let server = crate::support::Server::faults();
    fake.faults([Fault::Slow(Duration::from_millis(400))]);
    let engine = engine(&fake);
    let source = r#"
        let promise = http_get_async(URL);
        new_customer().create();
        promise.ready
    "#;
    let script = engine.compile("both", source).unwrap().constant("URL", server.url("/get"));
    assert_eq!(script.run().unwrap().as_bool(), Ok(true));
}
