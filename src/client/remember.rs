//! The step that remembers what servers said and applies it to later requests: cookies, HSTS, Alt-Svc.

use std::time::SystemTime;

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use http::{Request, Response, StatusCode, Uri};

use super::alt_svc::{AltSvcCache, Alternative};
use super::hsts::HstsCache;
use super::interceptor::{Interceptor, InterceptorFuture, Next, Settings};
use super::kept::Tls;
use crate::body::AsyncBody;
use crate::config::{ConnectTo, RequestConfig, VersionNegotiation};
use crate::cookies::CookieJar;
use crate::error::{Error, ErrorKind};
use crate::ffi::options::linked;
use crate::port::port;
use crate::secret::secret_value;

/// Applies what is remembered to every transfer, and remembers what its response says.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) hsts: Option<HstsCache>,
    pub(super) alt_svc: Option<AltSvcCache>,
}

impl Memory {
    /// Whether there is something to remember for every request.
    pub(super) fn is_needed(&self) -> bool {
        self.hsts.is_some() || self.alt_svc.is_some()
    }
}

impl Interceptor for Memory {
    fn intercept<'a>(&'a self, mut request: Request<AsyncBody>, next: Next<'a>) -> InterceptorFuture<'a> {
        let settings = next.settings(request.extensions());
        let jar = settings.get(|config| config.cookie_jar.as_ref()).cloned().flatten();
        if jar.is_none() && !self.is_needed() {
            return next.run(request);
        }
        let tls = verification(settings);
        self.apply(&mut request, jar.as_ref());
        Box::pin(self.remember(request, next, jar, tls))
    }
}

impl Memory {
    /// Applies what is known of the request's host.
    pub(super) fn apply<B>(&self, request: &mut Request<B>, jar: Option<&CookieJar>) {
        let now = SystemTime::now();
        if let Some(https) = self.hsts.as_ref().and_then(|hsts| hsts.upgrade(request.uri(), now)) {
            *request.uri_mut() = https;
        }
        if let Some(cookies) = jar.and_then(|jar| jar.header_for(request.uri(), now)) {
            add_cookies(request.headers_mut(), &cookies);
        }
    }

    async fn remember(
        &self,
        request: Request<AsyncBody>,
        next: Next<'_>,
        jar: Option<CookieJar>,
        tls: Tls,
    ) -> Result<Response<AsyncBody>, Error> {
        let uri = request.uri().clone();
        let mut response = self.send(request, next, &uri).await?;
        let now = SystemTime::now();
        if let Some(hsts) = &self.hsts {
            hsts.learn(&uri, response.headers(), tls, now);
        }
        if let Some(alt_svc) = &self.alt_svc {
            alt_svc.learn(&uri, response.headers(), tls, now);
        }
        if let Some(jar) = jar {
            jar.store(&uri, response.headers().get_all(SET_COOKIE).iter(), now);
            response.extensions_mut().insert(jar);
        }
        Ok(response)
    }

    /// Sends to the alternative that the origin has announced, if there is one, and to the origin if that does not answer.
    async fn send(&self, request: Request<AsyncBody>, next: Next<'_>, uri: &Uri) -> Result<Response<AsyncBody>, Error> {
        let settings = next.settings(request.extensions());
        // A server that is allowed must not lead to one that is not.
        let allowed = |to: &Alternative| to.url().is_some_and(|url| settings.lets_out(&url));
        let best = |cache: &AltSvcCache| cache.best(uri, SystemTime::now(), &spoken()).filter(allowed);
        let Some((cache, alternative)) = self.alt_svc.as_ref().and_then(|cache| Some((cache, best(cache)?))) else {
            return next.run(request).await;
        };
        let (parts, body) = request.into_parts();
        let again = body.again();
        let mut elsewhere = Request::from_parts(parts.clone(), body);
        detour(&mut elsewhere, uri, &alternative);
        let result = next.run(elsewhere).await;
        let unusable = match &result {
            // RFC 7838 6: the alternative does not answer for the origin.
            Ok(response) => response.status() == StatusCode::MISDIRECTED_REQUEST,
            Err(error) => is_unreachable(error),
        };
        if !unusable {
            return result;
        }
        cache.failed(uri, &alternative, SystemTime::now());
        // Without its body the request cannot be sent again: what there is must do.
        match again.map(|again| again.make()) {
            Some(Ok(body)) => next.run(Request::from_parts(parts, body)).await,
            Some(Err(_)) | None => result,
        }
    }
}

fn verification(settings: Settings<'_>) -> Tls {
    let careless = settings.get(|config| config.tls.accepts_anything().then_some(())).is_some();
    if careless { Tls::Unverified } else { Tls::Verified }
}

/// The protocols of alternatives that the linked libcurl can speak.
fn spoken() -> Vec<&'static str> {
    let version = linked();
    let all = [("h3", version.feature_http3()), ("h2", version.feature_http2()), ("http/1.1", true)];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

/// Lets the request go to the alternative. The certificate there must still be the origin's.
fn detour(request: &mut Request<AsyncBody>, uri: &Uri, to: &Alternative) {
    let Some(host) = uri.host() else { return };
    let config = request.extensions_mut().get_or_insert_default::<RequestConfig>();
    config.names.connect_to = Some(ConnectTo::new().add(host, port(uri), &to.host, to.port));
    if to.protocol == "h3" {
        config.version = Some(VersionNegotiation::http3());
    }
}

/// Whether the other side was never reached, or is not who it should be.
fn is_unreachable(error: &Error) -> bool {
    error.is_unsent() || matches!(error.kind(), ErrorKind::Tls | ErrorKind::BadServerCertificate)
}

/// Joins the jar's cookies to those that the request sets itself; RFC 6265bis 5.8.3 wants one header.
fn add_cookies(headers: &mut HeaderMap, cookies: &HeaderValue) {
    let own: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = own.into_iter().chain([cookies.as_bytes()]).collect::<Vec<_>>().join(&b"; "[..]);
    if let Ok(value) = secret_value(joined.into()) {
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
