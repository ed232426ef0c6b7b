//! The integration tests, one file a topic. Everything runs on loopback; nothing here knows the crate's inside.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

/// What sandboxes need for their memory budget.
#[cfg(feature = "script")]
#[global_allocator]
static ALLOCATOR: marmot::script::MeteredAllocator = marmot::script::MeteredAllocator::system();

mod addresses;
mod agents;
mod alone;
#[cfg(feature = "script")]
mod apis;
mod auth;
mod basics;
mod bodies;
mod canaries;
mod cancel;
#[cfg(feature = "record")]
mod cassettes;
#[cfg(feature = "cli")]
mod check;
#[cfg(feature = "cli")]
mod command;
mod connections;
#[cfg(all(feature = "worker", feature = "server"))]
mod console;
#[cfg(all(feature = "worker", feature = "server"))]
mod console_link;
#[cfg(all(feature = "worker", feature = "server"))]
mod console_lists;
#[cfg(all(feature = "worker", feature = "server"))]
mod console_reach;
mod cookies;
mod decompression;
#[cfg(feature = "script")]
mod descriptions;
mod descriptors;
mod downloads;
mod driving;
mod egress;
mod errors;
mod events;
#[cfg(feature = "cli")]
mod examples;
mod executors;
mod faults;
#[cfg(feature = "script")]
mod graphql;
mod handler;
#[cfg(feature = "record")]
mod har;
mod injection;
mod interceptors;
mod isahc;
#[cfg(feature = "cli")]
mod kills;
mod limits;
mod names;
#[cfg(feature = "script")]
mod openapi;
#[cfg(feature = "script")]
mod openapi_wrong;
#[cfg(feature = "script")]
mod promises;
mod proxies;
#[cfg(feature = "queue")]
mod queue;
mod redirects;
#[cfg(feature = "cli")]
mod remote;
#[cfg(feature = "stripe")]
mod reference;
#[cfg(feature = "cli")]
mod repl;
mod retries;
#[cfg(feature = "cli")]
mod service;
#[cfg(feature = "cli")]
mod service_jobs;
#[cfg(feature = "cli")]
mod service_life;
#[cfg(feature = "cli")]
mod hostile_clients;
#[cfg(feature = "cli")]
mod foreign_clients;
#[cfg(feature = "script")]
mod hostile;
#[cfg(feature = "script")]
mod native;
#[cfg(feature = "script")]
mod sandbox;
#[cfg(feature = "script")]
mod script;
#[cfg(feature = "script")]
mod secrets;
mod security;
mod stats;
mod streaming;
mod successors;
#[cfg(feature = "stripe")]
mod stripe;
#[cfg(feature = "stripe")]
mod stripe_contract;
#[cfg(feature = "stripe")]
mod stripe_faults;
#[cfg(feature = "stripe")]
mod stripe_setup;
mod threads;
mod tls;
mod uploads;
#[cfg(feature = "tracing")]
mod tracing;
#[cfg(feature = "tower")]
mod tower;
mod websocket;
mod websocket_rules;
mod websocket_ways;
mod wire;
