//! The client as a [`tower_service::Service`], so that layers of `tower` and `tower-http` go around it. Adds nothing to how
//! requests are sent.
//!
//! [`HttpClient`] and `&HttpClient` are services: `Request<B>` with any body that is `Into<AsyncBody>`, to
//! `Response<AsyncBody>`, with [`Error`] and [`ResponseFuture`]. They are always ready: limits of connections hold inside of
//! the client. A request starts with `call`; dropping its future ends it.
//!
//! [`AsyncBody`] is an [`http_body::Body`]: chunks, then the trailers. It goes into layers and comes out of them again with
//! [`AsyncBody::from_http_body`]; a body's kind that a layer changes is changed back with a closure.
//!
//! No runtime is needed by the client; a layer may need its own: the time limits of `tower` need tokio.
//!
//! # Examples
//!
//! ```
//! use marmot::{AsyncBody, HttpClient, Request};
//! use tower::ServiceBuilder;
//! use tower::ServiceExt;
//! use tower_http::set_header::SetRequestHeaderLayer;
//!
//! # async fn example() -> Result<(), marmot::Error> {
//! let service = ServiceBuilder::new()
//!     .concurrency_limit(8)
//!     .layer(SetRequestHeaderLayer::overriding(
//!         marmot::http::header::ACCEPT,
//!         marmot::http::HeaderValue::from_static("application/json"),
//!     ))
//!     .service(HttpClient::new()?);
//! let response = service.oneshot(Request::get("https://example.org/").body(AsyncBody::empty())?).await?;
//! # Ok(())
//! # }
//! ```

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::HttpClient;
use super::send::ResponseFuture;
use crate::body::AsyncBody;
use crate::error::Error;

impl<B: Into<AsyncBody>> Service<Request<B>> for HttpClient {
    type Response = Response<AsyncBody>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.send_async(request)
    }
}

impl<B: Into<AsyncBody>> Service<Request<B>> for &HttpClient {
    type Response = Response<AsyncBody>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.send_async(request)
    }
}
