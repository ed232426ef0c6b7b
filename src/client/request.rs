//! Requests made and sent in one go: bodies with their content type, and sending without naming a client.

use std::borrow::Borrow;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Builder;
use http::{Request, Response};
use url::form_urlencoded;

use super::HttpClient;
use super::send::ResponseFuture;
use crate::body::multipart::Form;
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

/// Ends the building of an `http::Request` with a body and the `Content-Type` that goes with it, unless the builder has
/// one. The result can be sent both ways, blocking and asynchronously.
///
/// # Examples
///
/// ```no_run
/// use marmot::prelude::*;
///
/// let response = Request::post("https://example.org/login").form([("user", "alma"), ("rest", "a&b")])?.send()?;
/// # Ok::<(), marmot::Error>(())
/// ```
pub trait RequestBuilderExt: sealed::Sealed + Sized {
    /// With the pairs of a form as `application/x-www-form-urlencoded` (WHATWG URL 5).
    ///
    /// # Errors
    ///
    /// Those of the builder: [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest).
    fn form<I, K, V>(self, pairs: I) -> Result<Request<AsyncBody>, Error>
    where
        I: IntoIterator,
        I::Item: Borrow<(K, V)>,
        K: AsRef<str>,
        V: AsRef<str>;

    /// With a value as `application/json`.
    ///
    /// # Errors
    ///
    /// Those of the builder, and [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) for a value that JSON
    /// cannot express.
    #[cfg(feature = "json")]
    fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Result<Request<AsyncBody>, Error>;

    /// With a form as `multipart/form-data` (RFC 7578), streamed.
    ///
    /// # Errors
    ///
    /// Those of the builder, and [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) for a `Content-Type` of
    /// the caller that does not name the form's boundary.
    fn multipart(self, form: Form) -> Result<Request<AsyncBody>, Error>;
}

impl RequestBuilderExt for Builder {
    fn form<I, K, V>(self, pairs: I) -> Result<Request<AsyncBody>, Error>
    where
        I: IntoIterator,
        I::Item: Borrow<(K, V)>,
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        finish(self, HeaderValue::from_static("application/x-www-form-urlencoded"), text)
    }

    #[cfg(feature = "json")]
    fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Result<Request<AsyncBody>, Error> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::invalid_request("the value cannot be written as JSON").with_source(error))?;
        finish(self, HeaderValue::from_static("application/json"), text)
    }

    fn multipart(self, form: Form) -> Result<Request<AsyncBody>, Error> {
        let own = self.headers_ref().and_then(|headers| headers.get(CONTENT_TYPE));
        if own.is_some_and(|own| !String::from_utf8_lossy(own.as_bytes()).contains(form.boundary())) {
            return Err(Error::invalid_request("the Content-Type does not name the boundary of the form"));
        }
        finish(self, form.content_type(), form)
    }
}

fn finish(
    builder: Builder,
    content_type: HeaderValue,
    body: impl Into<AsyncBody>,
) -> Result<Request<AsyncBody>, Error> {
    let mut request = builder.body(body.into())?;
    request.headers_mut().entry(CONTENT_TYPE).or_insert(content_type);
    Ok(request)
}

mod sealed {
    /// Only this crate ends builders.
    pub trait Sealed {}
    impl Sealed for http::request::Builder {}
}
