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
//! What scripts can call is in the reference for those who write them, `docs/script-reference.md`.
//!
//! Each write is sent with an idempotency key, the same for all its attempts, so that it is carried out once; a key of one's
//! own also covers the next run. What is tried again, and how often, is at [`Config::max_attempts`]. What Stripe refuses is
//! thrown as a map of the kind `stripe`, with the fields of [`StripeError`].
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
