//! Sending a request without naming a client.

use http::{Request, Response};

use super::HttpClient;
use super::send::ResponseFuture;
use crate::body::{AsyncBody, Body};
use crate::error::Error;

/// Sends an `http::Request` with the shared default client.
///
/// # Examples
///
/// ```no_run
/// use marmot::{Request, prelude::*};
///
/// let response = Request::post("https://example.org/")
///     .header("content-type", "application/json")
///     .body(r#"{"speed": "fast"}"#)?
///     .send()?;
/// # Ok::<(), marmot::Error>(())
/// ```
pub trait RequestExt<T> {
    /// As [`HttpClient::send`].
    ///
    /// # Errors
    ///
    /// As there.
    fn send(self) -> Result<Response<Body>, Error>
    where
        T: Into<Body>;

    /// As [`HttpClient::send_async`].
    fn send_async(self) -> ResponseFuture
    where
        T: Into<AsyncBody>;
}

impl<T> RequestExt<T> for Request<T> {
    fn send(self) -> Result<Response<Body>, Error>
    where
        T: Into<Body>,
    {
        HttpClient::shared().send(self)
    }

    fn send_async(self) -> ResponseFuture
    where
        T: Into<AsyncBody>,
    {
        HttpClient::shared().send_async(self)
    }
}
