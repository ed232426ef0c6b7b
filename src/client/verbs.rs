//! Shorthands for the usual methods, on a client and on the shared default one.

use http::{Method, Request, Response, Uri};

use super::send::ResponseFuture;
use super::{HttpClient, to_uri};
use crate::body::{AsyncBody, Body};
use crate::error::Error;

fn request<U, B>(method: Method, uri: U, body: B) -> Result<Request<B>, Error>
where
    Uri: TryFrom<U>,
    <Uri as TryFrom<U>>::Error: Into<http::Error>,
{
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = to_uri(uri)?;
    Ok(request)
}

macro_rules! verbs {
    ($($method:ident $name:ident $name_async:ident $($body:ident)?;)*) => {
        impl HttpClient {$(
            #[doc = concat!("Sends a ", stringify!($method), " request. See [`send`](Self::send).")]
            ///
            /// # Errors
            ///
            /// As there.
            pub fn $name<U $(, $body: Into<Body>)?>(&self, uri: U $(, body: $body)?) -> Result<Response<Body>, Error>
            where
                Uri: TryFrom<U>,
                <Uri as TryFrom<U>>::Error: Into<http::Error>,
            {
                self.send(request(Method::$method, uri, verbs!(@body Body $($body body)?))?)
            }

            #[doc = concat!("Sends a ", stringify!($method), " request. See [`send_async`](Self::send_async).")]
            pub fn $name_async<U $(, $body: Into<AsyncBody>)?>(&self, uri: U $(, body: $body)?) -> ResponseFuture
            where
                Uri: TryFrom<U>,
                <Uri as TryFrom<U>>::Error: Into<http::Error>,
            {
                match request(Method::$method, uri, verbs!(@body AsyncBody $($body body)?)) {
                    Ok(request) => self.send_async(request),
                    Err(error) => ResponseFuture::failed(error),
                }
            }
        )*}

        $(
            #[doc = concat!("Sends a ", stringify!($method), " request with the shared default client.")]
            ///
            /// # Errors
            ///
            /// As for [`HttpClient::send`].
            pub fn $name<U $(, $body: Into<Body>)?>(uri: U $(, body: $body)?) -> Result<Response<Body>, Error>
            where
                Uri: TryFrom<U>,
                <Uri as TryFrom<U>>::Error: Into<http::Error>,
            {
                HttpClient::shared().$name(uri $(, verbs!(@pass $body body))?)
            }

            #[doc = concat!("Sends a ", stringify!($method), " request with the shared default client.")]
            ///
            /// See [`HttpClient::send_async`].
            pub fn $name_async<U $(, $body: Into<AsyncBody>)?>(uri: U $(, body: $body)?) -> ResponseFuture
            where
                Uri: TryFrom<U>,
                <Uri as TryFrom<U>>::Error: Into<http::Error>,
            {
                HttpClient::shared().$name_async(uri $(, verbs!(@pass $body body))?)
            }
        )*
    };
    (@body $kind:ident) => { $kind::empty() };
    (@body $kind:ident $type:ident $body:ident) => { $body };
    (@pass $type:ident $body:ident) => { $body };
}

verbs! {
    GET get get_async;
    HEAD head head_async;
    DELETE delete delete_async;
    OPTIONS options options_async;
    POST post post_async B;
    PUT put put_async B;
    PATCH patch patch_async B;
}

/// Sends a request with the shared default client.
///
/// # Errors
///
/// As for [`HttpClient::send`].
pub fn send<B: Into<Body>>(request: Request<B>) -> Result<Response<Body>, Error> {
    HttpClient::shared().send(request)
}

/// Sends a request with the shared default client. See [`HttpClient::send_async`].
pub fn send_async<B: Into<AsyncBody>>(request: Request<B>) -> ResponseFuture {
    HttpClient::shared().send_async(request)
}
