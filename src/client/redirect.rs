//! The rules of redirects (RFC 9110 15.4). Pure: sends nothing.

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE,
    COOKIE, EXPECT, HOST, HeaderMap, HeaderValue, LOCATION, PROXY_AUTHORIZATION, REFERER, TRANSFER_ENCODING,
};
use http::uri::Scheme;
use http::{Method, Response, StatusCode, Uri};
use url::Url;

use crate::config::RequestConfig;
use crate::error::{Error, ErrorKind, without_credentials};

/// A request's head, kept to be sent again elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
}

/// What changes beside the head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The body is sent again.
    pub(super) keep_body: bool,
    /// The new URL is of another origin: configured credentials stay behind.
    pub(super) other_origin: bool,
}

/// Turns `head` into the request that the response asks for; `None` if it asks for none.
///
/// # Errors
///
/// [`ErrorKind::ProtocolViolation`] for a `Location` that is no URL, [`ErrorKind::NotAllowed`] for one that may not be
/// followed.
pub(super) fn follow(
    head: &mut Head,
    response: &Response<()>,
    config: &RequestConfig,
) -> Result<Option<Change>, Error> {
    let Some(location) = response.headers().get(LOCATION).filter(|_| is_redirect(response.status())) else {
        return Ok(None);
    };
    let mut target = resolve(&head.uri, location)?;
    let from_https = head.uri.scheme() == Some(&Scheme::HTTPS);
    let to_http = target.scheme() == Some(&Scheme::HTTP);
    if from_https && to_http && !config.redirect_to_http.unwrap_or(false) {
        return Err(Error::new(ErrorKind::NotAllowed)
            .with_detail(format!("a redirect from https to {}", without_credentials(&target)))
            .with_url(&head.uri));
    }

    let other_origin = origin(&head.uri) != origin(&target);
    if other_origin {
        for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST] {
            head.headers.remove(name);
        }
        remove_secrets(&mut head.headers);
    } else if let Some(with_user) = with_user_of(&head.uri, &target) {
        target = with_user;
    }
    if config.auto_referer.unwrap_or(false) {
        match HeaderValue::try_from(without_credentials(&head.uri)) {
            Ok(referer) if !(from_https && to_http) => drop(head.headers.insert(REFERER, referer)),
            _ => drop(head.headers.remove(REFERER)),
        }
    }
    let keep_body = match (response.status(), &head.method) {
        (StatusCode::SEE_OTHER, method) => *method == Method::GET || *method == Method::HEAD,
        (StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND, method) => *method != Method::POST,
        _ => true,
    };
    if !keep_body {
        head.method = Method::GET;
        for name in [
            CONTENT_TYPE,
            CONTENT_LENGTH,
            CONTENT_ENCODING,
            CONTENT_LANGUAGE,
            CONTENT_LOCATION,
            CONTENT_RANGE,
            TRANSFER_ENCODING,
            EXPECT,
        ] {
            head.headers.remove(name);
        }
    }
    head.uri = target;
    Ok(Some(Change { keep_body, other_origin }))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// What the caller marked as a secret stays with the origin that it was meant for.
fn remove_secrets(headers: &mut HeaderMap) {
    let secret: Vec<_> =
        headers.iter().filter(|(_, value)| value.is_sensitive()).map(|(name, _)| name.clone()).collect();
    for name in secret {
        headers.remove(name);
    }
}

/// `target` with the credentials of `base`, if it has any: they stay with their origin.
fn with_user_of(base: &Uri, target: &Uri) -> Option<Uri> {
    let (user, _) = base.authority()?.as_str().rsplit_once('@')?;
    let mut parts = target.clone().into_parts();
    let bare = parts.authority?;
    parts.authority = Some(format!("{user}@{bare}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn origin(uri: &Uri) -> (Option<&str>, Option<String>, Option<u16>) {
    let default = match uri.scheme_str() {
        Some("https") => Some(443),
        _ => Some(80),
    };
    (uri.scheme_str(), uri.host().map(str::to_ascii_lowercase), uri.port_u16().or(default))
}

/// RFC 3986 5: the reference resolved against the URL of the request. Credentials and fragment are left out.
fn resolve(base: &Uri, location: &HeaderValue) -> Result<Uri, Error> {
    let bad = || {
        Error::new(ErrorKind::ProtocolViolation)
            .with_detail(format!("the Location of a redirect is not a URL: {}", location.as_bytes().escape_ascii()))
            .with_url(base)
    };
    let reference: String = location
        .as_bytes()
        .iter()
        .map(|byte| if byte.is_ascii() { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    let base_url = Url::parse(&without_credentials(base)).map_err(|_| bad())?;
    let mut target = base_url.join(&reference).map_err(|_| bad())?;
    if !matches!(target.scheme(), "http" | "https") {
        return Err(Error::new(ErrorKind::NotAllowed)
            .with_detail(format!("a redirect to the scheme `{}`", target.scheme()))
            .with_url(base));
    }
    let _ = target.set_username("");
    let _ = target.set_password(None);
    target.set_fragment(None);
    target.as_str().parse().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: Method, uri: &str) -> Head {
        Head { method, uri: uri.parse().unwrap(), headers: HeaderMap::new() }
    }

    fn redirect(status: u16, location: &str) -> Response<()> {
        Response::builder().status(status).header(LOCATION, location).body(()).unwrap()
    }

    #[test]
    fn method_and_body_follow_the_status() {
        let table = [
            (301, Method::POST, Method::GET, false),
            (302, Method::POST, Method::GET, false),
            (303, Method::POST, Method::GET, false),
            (303, Method::PUT, Method::GET, false),
            (301, Method::PUT, Method::PUT, true),
            (302, Method::DELETE, Method::DELETE, true),
            (301, Method::HEAD, Method::HEAD, true),
            (303, Method::HEAD, Method::HEAD, true),
            (307, Method::POST, Method::POST, true),
            (308, Method::PATCH, Method::PATCH, true),
            (302, Method::GET, Method::GET, true),
        ];
        for (status, method, expected, keep_body) in table {
            let mut head = head(method.clone(), "http://a.test/x");
            head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            let change = follow(&mut head, &redirect(status, "/y"), &RequestConfig::default()).unwrap().unwrap();
            assert_eq!((head.method, change.keep_body), (expected, keep_body), "{status} after {method}");
            assert_eq!(head.headers.contains_key(CONTENT_TYPE), keep_body, "{status} after {method}");
        }
    }

    #[test]
    fn other_statuses_and_a_missing_location_are_no_redirect() {
        for status in [200, 300, 304, 305, 306, 404] {
            let mut head = head(Method::GET, "http://a.test/x");
            assert_eq!(follow(&mut head, &redirect(status, "/y"), &RequestConfig::default()).unwrap(), None);
        }
        let response = Response::builder().status(302).body(()).unwrap();
        let mut head = head(Method::GET, "http://a.test/x");
        assert_eq!(follow(&mut head, &response, &RequestConfig::default()).unwrap(), None);
    }

    #[test]
    fn references_are_resolved() {
        for (location, expected) in [
            ("/y", "http://a.test/y"),
            ("y?q=1", "http://a.test/d/y?q=1"),
            ("//b.test/z", "http://b.test/z"),
            ("../up#frag", "http://a.test/up"),
            ("http://user:pw@b.test/", "http://b.test/"),
            ("?q=2", "http://a.test/d/x?q=2"),
        ] {
            let mut head = head(Method::GET, "http://a.test/d/x");
            follow(&mut head, &redirect(302, location), &RequestConfig::default()).unwrap();
            assert_eq!(head.uri.to_string(), expected, "{location}");
        }
        let mut head = head(Method::GET, "http://a.test/");
        let response = Response::builder()
            .status(302)
            .header(LOCATION, HeaderValue::from_bytes(b"/\xe4").unwrap())
            .body(())
            .unwrap();
        follow(&mut head, &response, &RequestConfig::default()).unwrap();
        assert_eq!(head.uri.to_string(), "http://a.test/%E4");
    }

    #[test]
    fn secrets_stay_with_their_origin() {
        let secret = || {
            let mut head = head(Method::GET, "http://a.test/");
            for name in ["authorization", "cookie", "proxy-authorization", "host", "x-plain"] {
                head.headers.insert(name, HeaderValue::from_static("v"));
            }
            let mut key = HeaderValue::from_static("k");
            key.set_sensitive(true);
            head.headers.insert("x-api-key", key);
            head
        };
        for other in ["http://b.test/", "http://a.test:81/", "https://a.test/", "http://A.test.b.test/"] {
            let mut head = secret();
            let change = follow(&mut head, &redirect(302, other), &RequestConfig::default()).unwrap().unwrap();
            assert!(change.other_origin, "{other}");
            assert_eq!(head.headers.keys().collect::<Vec<_>>(), ["x-plain"], "{other}");
        }
        let mut head = secret();
        let change =
            follow(&mut head, &redirect(302, "http://A.TEST:80/y"), &RequestConfig::default()).unwrap().unwrap();
        assert!(!change.other_origin);
        assert_eq!(head.headers.len(), 6);
    }

    #[test]
    fn unsafe_and_malformed_targets_are_refused() {
        for (from, location, kind) in [
            ("https://a.test/", "http://a.test/", ErrorKind::NotAllowed),
            ("http://a.test/", "file:///etc/passwd", ErrorKind::NotAllowed),
            ("http://a.test/", "gopher://a.test/", ErrorKind::NotAllowed),
            ("http://a.test/", "http://", ErrorKind::ProtocolViolation),
            ("http://a.test/", "http://[::1", ErrorKind::ProtocolViolation),
        ] {
            let mut head = head(Method::GET, from);
            let error = follow(&mut head, &redirect(302, location), &RequestConfig::default()).unwrap_err();
            assert_eq!(error.kind(), kind, "{location}");
        }
        let config = RequestConfig { redirect_to_http: Some(true), ..Default::default() };
        let mut head = head(Method::GET, "https://a.test/");
        assert!(follow(&mut head, &redirect(302, "http://a.test/"), &config).unwrap().is_some());
    }

    #[test]
    fn a_referer_is_set_when_asked_for() {
        let config = RequestConfig { auto_referer: Some(true), ..Default::default() };
        let mut head = head(Method::GET, "http://u:p@a.test/x");
        follow(&mut head, &redirect(302, "/y"), &config).unwrap();
        assert_eq!(head.headers[REFERER], "http://a.test/x");
    }
}
