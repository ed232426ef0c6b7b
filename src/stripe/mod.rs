//! Payments by Stripe: words for scripts, a small client in Rust, signatures of webhooks. Holds no configuration itself:
//! each engine and each run of a script has its own.
//!
//! ```no_run
//! use marmot::script::ScriptEngine;
//! use marmot::stripe::{self, Config};
//!
//! let mut engine = ScriptEngine::new();
//! stripe::register(&mut engine, Config::new())?;
//! let script = engine.compile("pay.rhai", r#"
//!     configure_stripe(KEY);
//!     let customer = new_customer().email("alma@example.org").name("Alma").create();
//!     let intent = new_payment_intent()
//!         .amount(2999)
//!         .currency("usd")
//!         .customer(customer)
//!         .metadata("order", "6735")
//!         .create();
//!     intent.client_secret
//! "#)?;
//! let secret = script.constant("KEY", "sk_test_4711").run()?;
//! println!("{secret}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # In a script
//!
//! `X` is one of `product`, `price`, `customer`, `coupon`, `subscription`, `payment_intent`.
//!
//! | call | meaning |
//! |---|---|
//! | `configure_stripe(key)`, `configure_stripe(#{key, base_url, timeout, max_attempts})` | for the rest of the run |
//! | `new_X()` | a builder; `create()` sends it and gives the object |
//! | `get_X(id)` | the object |
//! | `list_Xs()`, `list_Xs(#{limit, ...})` | an array of objects, over all pages; no more than `limit` (default 1000) |
//! | `update_X(id, #{...})` | changes it and gives the object; `()` unsets a field |
//! | `delete_product(id)`, `delete_customer(id)`, `delete_coupon(id)` | deletes it |
//! | `cancel_subscription(id)`, `cancel_subscription(id, #{...})` | ends it at once |
//! | `confirm_payment_intent(id)`, `capture_payment_intent(id)`, `cancel_payment_intent(id)`, also with `#{...}` | the next step of a payment |
//! | `object.update(#{...})`, `refresh()`, `delete()`, `confirm()`, `capture()`, `cancel()` | the same of an object at hand |
//! | `stripe_get(path)`, `stripe_post(path, #{...})`, `stripe_delete(path)`, also with `#{...}` | anything else, as in `stripe_post("refunds", #{payment_intent: intent})` |
//! | `stripe_webhook(payload, header, secret)`, also with seconds of tolerance | the event, if its signature is right |
//!
//! | builder | its own methods |
//! |---|---|
//! | all | `metadata(key, value)`, `metadata(#{...})`, `set(parameter, value)`, `idempotency_key(text)`, `create()` |
//! | `new_product()` | `name`, `description`, `url`, `active`, `id` |
//! | `new_price()` | `amount` (or `unit_amount`), `currency`, `product`, `recurring(interval)`, `recurring(interval, count)`, `nickname`, `lookup_key`, `active` |
//! | `new_customer()` | `email`, `name`, `description`, `phone`, `payment_method` |
//! | `new_coupon()` | `percent` (or `percent_off`), `amount` (or `amount_off`) and `currency`, `duration`, `months` (or `duration_in_months`), `max_redemptions`, `name`, `id` |
//! | `new_subscription()` | `customer`, `add_price(price)`, `add_price(price, quantity)`, `trial_days`, `coupon`, `promotion_code`, `payment_method`, `payment_behavior`, `collection_method`, `cancel_at_period_end`, `description` |
//! | `new_payment_intent()` | `amount`, `currency`, `customer`, `description`, `payment_method`, `confirm`, `capture_method`, `setup_future_usage`, `off_session`, `return_url`, `receipt_email` |
//!
//! Money is a whole number of the currency's smallest unit (2999 for 29.99 dollars); a float is refused. `set` takes any
//! other parameter of Stripe's, as in `set("payment_method_types", ["card"])`; maps and arrays become nested ones.
//!
//! An object stands for its id wherever one is wanted, is printed as its id, and is equal to it; all fields of the answer
//! are there (`intent.client_secret`, `subscription.items.data[0].price.id`), those that are missing are `()`. `to_map()`
//! gives them all.
//!
//! Each write is sent with an idempotency key, the same for all its attempts, so that it is carried out once. A key of the
//! script's own also covers the next run of the script: `idempotency_key("order-6735")` of a builder, or
//! `idempotency_key` among the options. What is tried again, and how often, is at [`Config::max_attempts`]; `timeout` is in
//! seconds (default 30), for each attempt.
//!
//! Errors are thrown as maps `#{kind: "stripe", message, type, code, param, decline_code, request_id, status,
//! idempotency_key, line}`: `type` and `code` are those of [`StripeError`]. What is wrong before anything is sent has the
//! kind `invalid_request`. `stripe_webhook` takes the payload as it came, as a text or a blob, and a secret or an array of
//! them; a signature that is not right is thrown with the kind `signature`.
//!
//! - `package`: the functions of scripts. `resource`: the table of what they can be called with. `builder`: what is to be
//!   created. `object`: what there is.
//! - `client`: requests, attempts, answers. `params`: their form. `config`: key, base, limits. `error`: what went wrong.
//! - `webhook`: signatures.

mod builder;
mod client;
mod config;
mod error;
mod object;
mod package;
mod params;
mod resource;
pub mod webhook;

pub use self::client::Client;
pub use self::config::{API_VERSION, Config};
pub use self::error::StripeError;
pub use self::package::register;
pub use self::params::Params;
