//! The integration tests, one file a topic. Everything runs on loopback; nothing here knows the crate's inside.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "cli")]
mod command;
#[cfg(feature = "script")]
mod script;
