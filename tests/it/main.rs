//! The integration tests, one file a topic. Everything runs on loopback; nothing here knows the crate's inside.

#[path = "../support/mod.rs"]
mod support;

mod cancel;
#[cfg(feature = "cli")]
mod command;
mod handler;
#[cfg(feature = "script")]
mod script;
mod streaming;
