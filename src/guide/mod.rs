//! The guide: a page for each family of features. Text only; it is compiled into the documentation and into no program.
//!
//! Every page says what its features are for, names each default with its unit, shows an example that is run as a test,
//! and tells what to look out for.
//!
//! | you want to | page |
//! |---|---|
//! | move over from another crate | [`from_isahc`], [`from_reqwest`] |
//! | wait, or not: threads, executors, `await` | [`blocking_and_async`] |
//! | send and receive: forms, JSON, files, compression | [`bodies`], [`downloads`] |
//! | decide what a failure means | [`errors`], [`retries`], [`timeouts`] |
//! | follow redirects, keep cookies, log in | [`redirects`], [`cookies`], [`authentication`] |
//! | say how connections are made | [`connections`], [`tls`], [`proxies`], [`names_and_sockets`] |
//! | listen to a server that talks | [`events`], [`websocket`] |
//! | send what strangers ask for | [`egress`] |
//! | put something around every request | [`interceptors`] |
//! | see what happens, in production and in tests | [`observability`], [`record_and_replay`], [`robustness`] |
//! | write the state machine yourself | [`handlers`] |
//!
//! The examples talk to a server of their own on loopback. What does not show in them is that server.

#[allow(unused_imports, reason = "the names that the pages link to")]
use super::{
    config::*,
    cookies::*,
    error::*,
    handler::*,
    interceptor::{Interceptor, from_fn},
    *,
};

/// A page is a Markdown file of its name.
macro_rules! pages {
    ($($name:ident)*) => {$(
        #[doc = include_str!(concat!(stringify!($name), ".md"))]
        pub mod $name {}
    )*};
}

pages! {
    authentication blocking_and_async bodies connections cookies downloads egress errors events from_isahc from_reqwest
    handlers interceptors names_and_sockets observability proxies record_and_replay redirects retries robustness timeouts
    tls websocket
}

/// The examples of the README are compiled with those of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub mod readme {}
