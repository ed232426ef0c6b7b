//! The step that remembers what servers said and applies it to later requests: cookies.

use std::time::SystemTime;

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use http::{Request, Response, Uri};

use super::interceptor::{Interceptor, InterceptorFuture, Next};
use crate::body::AsyncBody;
use crate::cookies::CookieJar;
use crate::error::Error;

/// Adds what is remembered to every transfer, and remembers what its response says.
pub(super) struct Memory;

impl Interceptor for Memory {
    fn intercept<'a>(&'a self, mut request: Request<AsyncBody>, next: Next<'a>) -> InterceptorFuture<'a> {
        let jar = next.settings(request.extensions()).get(|config| config.cookie_jar.as_ref()).cloned().flatten();
        let Some(jar) = jar else { return next.run(request) };
        let uri = request.uri().clone();
        if let Some(cookies) = jar.header_for(&uri, SystemTime::now()) {
            add_cookies(request.headers_mut(), &cookies);
        }
        Box::pin(remember(request, next, jar, uri))
    }
}

async fn remember(
    request: Request<AsyncBody>,
    next: Next<'_>,
    jar: CookieJar,
    uri: Uri,
) -> Result<Response<AsyncBody>, Error> {
    let mut response = next.run(request).await?;
    jar.store(&uri, response.headers().get_all(SET_COOKIE).iter(), SystemTime::now());
    response.extensions_mut().insert(jar);
    Ok(response)
}

/// Joins the jar's cookies to those that the request sets itself; RFC 6265bis 5.8.3 wants one header.
fn add_cookies(headers: &mut HeaderMap, cookies: &HeaderValue) {
    let own: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = own.into_iter().chain([cookies.as_bytes()]).collect::<Vec<_>>().join(&b"; "[..]);
    if let Ok(mut value) = HeaderValue::from_bytes(&joined) {
        value.set_sensitive(true);
        headers.insert(COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_of_the_request_and_of_the_jar_go_in_one_header() {
        let mut headers = HeaderMap::new();
        add_cookies(&mut headers, &HeaderValue::from_static("b=2"));
        assert_eq!(headers[COOKIE], "b=2");
        headers.append(COOKIE, HeaderValue::from_static("c=3"));
        add_cookies(&mut headers, &HeaderValue::from_static("d=4"));
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["b=2; c=3; d=4"]);
        assert!(headers[COOKIE].is_sensitive());
    }
}
