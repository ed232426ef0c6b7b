//! One transfer on one easy handle. Knows no multi handle and no thread.
//!
//! A request is *prepared* on the caller's thread: an easy handle is taken from the pool, options are set, the handler is
//! put in. The agent adds the handle to its multi handle and from then on libcurl calls the [`Transfer`], which asks the
//! pure machine what to do and calls the handler.
//!
//! - [`prepare`]: a request becomes an easy handle that is ready to go.
//! - [`options`]: the configuration applied.
//! - [`secure`]: TLS settings applied. [`route`]: proxies and addresses chosen and applied.
//! - [`head`]: header lines become a response head.
//! - [`transfer`]: libcurl's callbacks.
//! - [`trace`]: a span for each transfer.
//! - [`watch`]: time limits that libcurl has not.
//! - [`bulk`]: when the agent is told only of much at once.
//! - [`stream`]: what is sent after a switch of protocols.
//! - [`failure`]: libcurl's error codes become errors.
//! - [`pool`]: handles that wait to be used again.

use curl::easy::Easy2;

use crate::ffi::held::Held;

mod bulk;
mod failure;
pub(crate) mod options;
pub(crate) mod pool;
pub(crate) mod prepare;
mod route;
mod secure;
pub(crate) mod trace;
mod stream;
pub(crate) mod transfer;
pub(crate) mod watch;

use transfer::Transfer;

/// An easy handle with its transfer.
pub(crate) type Easy = Easy2<Held<Transfer>>;
