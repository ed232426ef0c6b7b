//! An HTTP client on libcurl's multi interface: async and blocking without a runtime, and scriptable in Rhai.

pub mod error;

pub(crate) mod ffi;

mod body;

pub mod config;

pub mod handler;

mod easy;

mod agent;

mod client;

pub use body::{AsyncBody, Body};
pub use client::*;
pub use http::{self, Request, Response};

/// What a program that sends requests usually needs.
pub mod prelude {
    pub use crate::client::{AsyncReadResponseExt, HttpClient, ReadResponseExt, RequestExt, ResponseExt};
    pub use crate::config::Configurable;
    pub use http::Request;
}

pub use error::{Error, ErrorKind};
pub use handler::Metrics;
