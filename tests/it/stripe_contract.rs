//! Payments against fakes of Stripe that others have made, as processes of their own: what we send is what others take.
//! Where they are not installed, the tests say that they are skipped; `check.sh` installs them.

use marmot::script::ScriptEngine;
use marmot::script::rhai::Dynamic;
use marmot::stripe::{self, Config};

use crate::stripe::{map_of, texts};
use crate::support::StandIn;

fn engine(stand_in: &StandIn) -> ScriptEngine {
    let mut engine = ScriptEngine::new();
    stripe::register(&mut engine, Config::new().key("sk_test_12345").base_url(stand_in.origin())).unwrap();
    engine
}

fn run(stand_in: &StandIn, source: &str) -> Dynamic {
    engine(stand_in).run(source).unwrap_or_else(|error| panic!("{}", error.render()))
}

#[test]
fn localstripe_takes_products_customers_coupons_and_subscriptions() {
    let Some(stand_in) = StandIn::localstripe() else { return };
    // It knows plans instead of prices, and no discounts of subscriptions.
    let seen = run(
        &stand_in,
        r#"
        let product = new_product().name("Premium").description("dry & warm").metadata("slope", "süd").create();
        let plan = stripe_post("plans", #{ amount: 2999, currency: "usd", interval: "month", product: product });
        let customer = new_customer().email("alma@example.org").name("Alma").phone("+1 2").metadata("a", 1).create();
        let coupon = new_coupon().id("spring").percent(25).duration("repeating").months(3).create();
        let amount = new_coupon().id("autumn").amount(500).currency("usd").duration("once").create();
        let subscription = new_subscription().customer(customer)
            .set("items", [#{ plan: plan, quantity: 2 }]).trial_days(14).create();
        let renamed = customer.update(#{ name: "Edda", metadata: #{ b: "2" } });
        let gone = coupon.delete();
        [product.metadata.slope, product.description, plan.amount, customer.phone, coupon.percent_off,
         coupon.duration_in_months, amount.amount_off, subscription.trial_period_days, subscription.items.data[0].quantity,
         subscription.customer == customer, renamed.name, renamed.metadata.b, gone.deleted,
         cancel_subscription(subscription).status]
        "#,
    );
    assert_eq!(
        texts(seen),
        ["süd", "dry & warm", "2999", "+1 2", "25.0", "3", "500", "14", "2", "true", "Edda", "2", "true", "canceled"]
    );
}

#[test]
fn localstripe_takes_payment_intents() {
    let Some(stand_in) = StandIn::localstripe() else { return };
    let seen = run(
        &stand_in,
        r#"
        let customer = new_customer().email("alma@example.org").create();
        let card = stripe_post("payment_methods", #{ type: "card",
            card: #{ number: "4242424242424242", exp_month: "12", exp_year: "2050", cvc: "123" } });
        stripe_post(`payment_methods/${card}/attach`, #{ customer: customer });
        let intent = new_payment_intent().amount(1500).currency("usd").customer(customer).payment_method(card).create();
        let paid = intent.confirm();
        let held = new_payment_intent().amount(10).currency("usd").create();
        [intent.status, intent.client_secret.starts_with(intent.id), paid.status, held.cancel().status,
         get_payment_intent(intent).status]
        "#,
    );
    assert_eq!(texts(seen), ["requires_confirmation", "true", "succeeded", "canceled", "succeeded"]);
}

#[test]
fn localstripe_pages_its_lists_and_refuses_what_is_wrong() {
    let Some(stand_in) = StandIn::localstripe() else { return };
    let seen = run(
        &stand_in,
        r#"
        for n in 0..125 { new_customer().name(`n${n}`).create(); }
        let names = #{};
        for customer in list_customers() { names[customer.name] = true; }
        [names.len(), list_customers(#{ limit: 101 }).len()]
        "#,
    );
    assert_eq!(texts(seen), ["125", "101"]);
    let error = map_of(&engine(&stand_in).run("get_customer(\"cus_none\")").unwrap_err());
    assert_eq!((error["kind"].to_string(), error["status"].as_int()), ("stripe".into(), Ok(404)));
    let error = map_of(&engine(&stand_in).run("new_customer().set(\"unheard_of\", 1).create()").unwrap_err());
    assert_eq!(error["status"].as_int(), Ok(400));
    assert!(error["message"].to_string().contains("unheard_of"), "{error:?}");
}

#[test]
fn the_stateful_mock_takes_prices_subscriptions_and_keys() {
    let Some(stand_in) = StandIn::stateful() else { return };
    let seen = run(
        &stand_in,
        r#"
        let product = new_product().name("Premium").metadata("a", "b").create();
        let price = new_price().amount(2999).currency("usd").product(product).recurring("month", 3).create();
        let customer = new_customer().email("alma@example.org").create();
        let keyed = new_customer().name("x").idempotency_key("order-1").create();
        let again = new_customer().name("x").idempotency_key("order-1").create();
        let error = ();
        try { new_customer().name("y").idempotency_key("order-1").create(); } catch (e) { error = e; }
        // It wants a plan beside the price.
        let plan = stripe_post("plans", #{ amount: 5, currency: "usd", interval: "month", product: product });
        let subscription =
            new_subscription().customer(customer).add_price(price, 2).set("items[0][plan]", plan).create();
        [product.metadata.a, price.unit_amount, price.recurring.interval_count, get_price(price).product == product,
         update_price(price, #{ active: false }).active, keyed == again, error.type, error.status,
         subscription.items.data[0].price.id == price, subscription.items.data[0].quantity]
        "#,
    );
    assert_eq!(texts(seen), ["b", "2999", "3", "true", "false", "true", "idempotency_error", "400", "true", "2"]);
    let missing = map_of(&engine(&stand_in).run("get_price(\"price_none\")").unwrap_err());
    assert_eq!((missing["code"].to_string(), missing["status"].as_int()), ("resource_missing".into(), Ok(404)));
}
