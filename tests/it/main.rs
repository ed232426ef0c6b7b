//! The integration tests, one file a topic. Everything runs on loopback; nothing here knows the crate's inside.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod agents;
mod alone;
mod basics;
mod bodies;
mod cancel;
#[cfg(feature = "cli")]
mod command;
mod connections;
mod decompression;
mod driving;
mod errors;
mod executors;
mod handler;
mod isahc;
mod redirects;
#[cfg(feature = "script")]
mod script;
mod streaming;
mod tls;
mod websocket;
mod websocket_rules;
mod wire;
