//! Redirects (RFC 9110 15.4): the rules, which are pure, and the step that follows them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE,
    COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION, REFERER,
    TRANSFER_ENCODING,
};
use http::uri::Scheme;
use http::{Extensions, Method, Request, Response, StatusCode, Uri, Version};
use url::Url;

use super::interceptor::{Interceptor, InterceptorFuture, Next, Settings};
use super::trail::Trail;
use crate::body::{Again, AsyncBody};
use crate::config::{RedirectAction, RedirectHop, RedirectPolicy, RequestConfig};
use crate::easy::trace::Resent;
use crate::error::{Error, ErrorKind};
use crate::port::port;
use crate::secret::{sounds_secret, user_and_host, without_credentials, without_secrets};

/// Follows redirects, as far as the policy says.
pub(super) struct Redirects;

impl Interceptor for Redirects {
    fn intercept<'a>(&'a self, request: Request<AsyncBody>, next: Next<'a>) -> InterceptorFuture<'a> {
        match policy_of(next.settings(request.extensions())) {
            Some(_) => {
                let resend = Resend::new(&request);
                let mut following = Following::new(resend, next.run(request));
                Box::pin(poll_fn(move |cx| following.poll(cx, next.settings_of_client(), |again| Ok(next.run(again)))))
            }
            None => next.run(request),
        }
    }
}

/// The policy, if it follows any.
pub(super) fn policy_of(settings: Settings<'_>) -> Option<&RedirectPolicy> {
    settings.get(|config| config.redirect_policy.as_ref()).filter(|policy| policy.limit().is_some())
}

/// A request on its way from hop to hop.
pub(super) struct Following<F> {
    resend: Resend,
    hop: F,
}

impl<F: Future<Output = Result<Response<AsyncBody>, Error>> + Unpin> Following<F> {
    /// The first hop is under way.
    pub(super) fn new(resend: Resend, first: F) -> Self {
        Self { resend, hop: first }
    }

    /// Goes on to the last response, of a client with such settings.
    #[inline]
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &RequestConfig,
        send: impl Fn(Request<AsyncBody>) -> Result<F, Error>,
    ) -> Poll<Result<Response<AsyncBody>, Error>> {
        loop {
            let response = ready!(Pin::new(&mut self.hop).poll(cx))?;
            match self.resend.take(response, client)? {
                Followed::Last(last) => return Poll::Ready(Ok(last)),
                Followed::Again(request) => self.hop = send(request)?,
            }
        }
    }
}

/// What is kept of a request while it is under way, so that redirects can be followed.
pub(super) struct Resend {
    head: Head,
    version: Version,
    extensions: Extensions,
    trail: Trail,
    /// What the body can be made of again.
    body: Option<Again>,
}

/// What follows from a response.
enum Followed {
    Last(Response<AsyncBody>),
    Again(Request<AsyncBody>),
}

impl Resend {
    /// Keeps what may be needed of the request.
    #[inline]
    pub(super) fn new(request: &Request<AsyncBody>) -> Self {
        let head =
            Head { method: request.method().clone(), uri: request.uri().clone(), headers: request.headers().clone() };
        let (version, extensions) = (request.version(), request.extensions().clone());
        Self { head, version, extensions, trail: Trail::default(), body: request.body().again() }
    }

    /// Takes the response of the latest request.
    #[inline]
    fn take(&mut self, response: Response<AsyncBody>, client: &RequestConfig) -> Result<Followed, Error> {
        if !is_redirect(response.status()) {
            return Ok(self.end(response));
        }
        let settings = Settings::new(self.extensions.get(), client);
        let (policy, rules) = (policy_of(settings).cloned(), &Rules::new(settings));
        let head = &mut self.head;
        let Some(mut change) = follow(head, &response, rules)? else { return Ok(self.end(response)) };
        let before = change.from;
        rules.mark(&mut head.headers);
        if let Some(RedirectPolicy::Custom(custom)) = &policy {
            let sent = head.clone();
            let mut hop = RedirectHop {
                status: response.status(),
                response_headers: response.headers(),
                from: &before,
                followed: self.trail.followed(),
                method: &mut head.method,
                uri: &mut head.uri,
                headers: &mut head.headers,
            };
            match custom.decide(&mut hop) {
                RedirectAction::Follow => {}
                RedirectAction::Stop => return Ok(self.end(response)),
                RedirectAction::Refuse(reason) => {
                    return Err(Error::new(ErrorKind::NotAllowed).with_detail(reason).with_url(&before));
                }
            }
            change.other_origin |= after_decision(head, &sent, &before, rules)?;
        }
        let limit = policy.as_ref().and_then(RedirectPolicy::limit).unwrap_or(0);
        if self.trail.followed() >= limit {
            return Err(Error::new(ErrorKind::TooManyRedirects)
                .with_detail(format!("{limit} were followed"))
                .with_url(&before));
        }
        self.trail.add(before.clone(), response.status());
        // Dropping the response drains its small body, so that the connection serves the next hop.
        drop(response);
        let mut body = AsyncBody::empty();
        if change.keep_body {
            let again = self.body.as_ref();
            let again = again.ok_or_else(|| Error::new(ErrorKind::RequestBodyNotRewindable).with_url(&before))?;
            body = again.make().map_err(|error| body_failed(error, &before))?;
        } else {
            self.body = body.again();
        }
        if change.other_origin {
            // Configured credentials stay behind too.
            let config = self.extensions.get_or_insert_default::<RequestConfig>();
            config.auth = Some(None);
            config.tls.client_certificate = Some(None);
        }
        Ok(Followed::Again(self.request(body)))
    }

    fn request(&self, body: AsyncBody) -> Request<AsyncBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.head.uri.clone();
        *request.headers_mut() = self.head.headers.clone();
        *request.version_mut() = self.version;
        *request.extensions_mut() = self.extensions.clone();
        let Resent(before) = request.extensions().get().copied().unwrap_or_default();
        request.extensions_mut().insert(Resent(before + self.trail.followed()));
        request
    }

    #[inline]
    fn end(&mut self, mut response: Response<AsyncBody>) -> Followed {
        if self.trail.followed() > 0 {
            std::mem::take(&mut self.trail).attach(&mut response);
        }
        Followed::Last(response)
    }
}

fn body_failed(error: std::io::Error, at: &Uri) -> Error {
    Error::new(ErrorKind::RequestBody).with_source(error).with_url(at)
}

/// A request's head, kept to be sent again elsewhere.
#[derive(Clone, Debug)]
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// The settings that the rules depend on.
#[derive(Debug, Default)]
struct Rules {
    to_http: bool,
    auto_referer: bool,
    secret_headers: Vec<HeaderName>,
}

impl Rules {
    fn new(settings: Settings<'_>) -> Self {
        Self {
            to_http: settings.get(|config| config.redirect_to_http).unwrap_or(false),
            auto_referer: settings.get(|config| config.auto_referer).unwrap_or(false),
            secret_headers: settings.get(|config| config.secret_headers.clone()).unwrap_or_default(),
        }
    }

    /// Marks what is secret, for whoever sees the headers next.
    fn mark(&self, headers: &mut HeaderMap) {
        for (name, value) in headers.iter_mut() {
            let secret = self.is_secret(name, value);
            value.set_sensitive(secret);
        }
    }

    /// Whether a header is for the origin that it was meant for only.
    fn is_secret(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name)
            || value.is_sensitive()
            || sounds_secret(name.as_str())
            || self.secret_headers.contains(name)
    }
}

/// What changes beside the head.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    /// The URL of the request before.
    from: Uri,
    /// The body is sent again.
    keep_body: bool,
    /// The new URL is of another origin: configured credentials stay behind.
    other_origin: bool,
}

/// Turns `head` into the request that the response asks for; `None` if it asks for none.
///
/// # Errors
///
/// [`ErrorKind::ProtocolViolation`] for a `Location` that is no URL, [`ErrorKind::NotAllowed`] for one that may not be
/// followed.
fn follow<B>(head: &mut Head, response: &Response<B>, rules: &Rules) -> Result<Option<Change>, Error> {
    let Some(location) = response.headers().get(LOCATION).filter(|_| is_redirect(response.status())) else {
        return Ok(None);
    };
    let mut target = resolve(&head.uri, location)?;
    let from_https = head.uri.scheme() == Some(&Scheme::HTTPS);
    let to_http = target.scheme() == Some(&Scheme::HTTP);
    check_downgrade(&head.uri, &target, rules)?;

    let other_origin = origin(&head.uri) != origin(&target);
    if other_origin {
        head.headers.remove(HOST);
        remove_all(&mut head.headers, |name, value| rules.is_secret(name, value));
    } else if let Some(with_user) = with_user_of(&head.uri, &target) {
        target = with_user;
    }
    if rules.auto_referer {
        // Another origin learns where the request came from, not what it asked there.
        let page = if other_origin { root(&head.uri) } else { without_credentials(&head.uri) };
        match HeaderValue::try_from(page) {
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
    let from = std::mem::replace(&mut head.uri, target);
    Ok(Some(Change { from, keep_body, other_origin }))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn check_downgrade(from: &Uri, target: &Uri, rules: &Rules) -> Result<(), Error> {
    if from.scheme() == Some(&Scheme::HTTPS) && target.scheme() == Some(&Scheme::HTTP) && !rules.to_http {
        return Err(Error::new(ErrorKind::NotAllowed)
            .with_detail(format!("a redirect from https to {}", without_secrets(target)))
            .with_url(from));
    }
    Ok(())
}

/// Applies the rules again where a custom policy chose another URL. What it set itself stays. Returns whether the origin
/// is another one now.
fn after_decision(head: &mut Head, proposed: &Head, from: &Uri, rules: &Rules) -> Result<bool, Error> {
    if head.uri == proposed.uri {
        return Ok(false);
    }
    if !matches!(head.uri.scheme_str(), Some("http" | "https")) || head.uri.host().is_none() {
        return Err(Error::invalid_request("the redirect policy chose a URL that is not http or https").with_url(from));
    }
    check_downgrade(from, &head.uri, rules)?;
    let other_origin = origin(from) != origin(&head.uri);
    if other_origin {
        let old = &proposed.headers;
        if head.headers.get(HOST) == old.get(HOST) {
            head.headers.remove(HOST);
        }
        remove_all(&mut head.headers, |name, value| {
            rules.is_secret(name, value) && old.get_all(name).iter().any(|before| before == value)
        });
    }
    Ok(other_origin)
}

fn remove_all(headers: &mut HeaderMap, is_meant: impl Fn(&HeaderName, &HeaderValue) -> bool) {
    let names: Vec<_> =
        headers.iter().filter(|(name, value)| is_meant(name, value)).map(|(name, _)| name.clone()).collect();
    for name in names {
        headers.remove(name);
    }
}

/// `target` with the credentials of `base`, if it has any: they stay with their origin.
fn with_user_of(base: &Uri, target: &Uri) -> Option<Uri> {
    let user = user_and_host(base).0?;
    let mut parts = target.clone().into_parts();
    let bare = parts.authority?;
    parts.authority = Some(format!("{user}@{bare}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// `scheme://host:port/`
fn root(uri: &Uri) -> String {
    let port = uri.port_u16().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}/", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default())
}

fn origin(uri: &Uri) -> (Option<&str>, Option<String>, u16) {
    (uri.scheme_str(), uri.host().map(str::to_ascii_lowercase), port(uri))
}

/// RFC 3986 5: the reference resolved against the URL of the request. Credentials and fragment are left out.
fn resolve(base: &Uri, location: &HeaderValue) -> Result<Uri, Error> {
    let bad = || {
        Error::new(ErrorKind::ProtocolViolation)
            .with_detail(format!("the Location of a redirect is not a URL: {}", for_an_error(location)))
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

/// What cannot be read as a URL may hold a password all the same, and be long.
fn for_an_error(location: &HeaderValue) -> String {
    let text = location.as_bytes().escape_ascii().to_string();
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let text = text.rsplit('@').next().unwrap_or_default();
    text.chars().take(200).collect()
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
            let change = follow(&mut head, &redirect(status, "/y"), &Rules::default()).unwrap().unwrap();
            assert_eq!((head.method, change.keep_body), (expected, keep_body), "{status} after {method}");
            assert_eq!(head.headers.contains_key(CONTENT_TYPE), keep_body, "{status} after {method}");
        }
    }

    #[test]
    fn other_statuses_and_a_missing_location_are_no_redirect() {
        for status in [200, 300, 304, 305, 306, 404] {
            let mut head = head(Method::GET, "http://a.test/x");
            assert_eq!(follow(&mut head, &redirect(status, "/y"), &Rules::default()).unwrap(), None);
        }
        let response = Response::builder().status(302).body(()).unwrap();
        let mut head = head(Method::GET, "http://a.test/x");
        assert_eq!(follow(&mut head, &response, &Rules::default()).unwrap(), None);
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
            follow(&mut head, &redirect(302, location), &Rules::default()).unwrap();
            assert_eq!(head.uri.to_string(), expected, "{location}");
        }
        let mut head = head(Method::GET, "http://a.test/");
        let response = Response::builder()
            .status(302)
            .header(LOCATION, HeaderValue::from_bytes(b"/\xe4").unwrap())
            .body(())
            .unwrap();
        follow(&mut head, &response, &Rules::default()).unwrap();
        assert_eq!(head.uri.to_string(), "http://a.test/%E4");
    }

    #[test]
    fn secrets_stay_with_their_origin() {
        let secret = || {
            let mut head = head(Method::GET, "http://a.test/");
            for name in
                ["authorization", "cookie", "proxy-authorization", "host", "x-plain", "x-author", "idempotency-key"]
            {
                head.headers.insert(name, HeaderValue::from_static("v"));
            }
            let mut key = HeaderValue::from_static("k");
            key.set_sensitive(true);
            head.headers.insert("x-marked", key);
            for name in [
                "x-api-key",
                "api-key",
                "x-auth-token",
                "private-token",
                "x-vault-token",
                "x-signature",
                "dd-api-key",
                "x-named",
            ] {
                head.headers.insert(name, HeaderValue::from_static("v"));
            }
            head
        };
        let rules = Rules { secret_headers: vec![HeaderName::from_static("x-named")], ..Default::default() };
        for other in ["http://b.test/", "http://a.test:81/", "https://a.test/", "http://A.test.b.test/"] {
            let mut head = secret();
            let change = follow(&mut head, &redirect(302, other), &rules).unwrap().unwrap();
            assert!(change.other_origin, "{other}");
            let mut left: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
            left.sort_unstable();
            assert_eq!(left, ["idempotency-key", "x-author", "x-plain"], "{other}");
        }
        let mut head = secret();
        let change = follow(&mut head, &redirect(302, "http://A.TEST:80/y"), &Rules::default()).unwrap().unwrap();
        assert!(!change.other_origin);
        assert_eq!(head.headers.len(), 16);
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
            let error = follow(&mut head, &redirect(302, location), &Rules::default()).unwrap_err();
            assert_eq!(error.kind(), kind, "{location}");
        }
        let config = Rules { to_http: true, ..Default::default() };
        let mut head = head(Method::GET, "https://a.test/");
        assert!(follow(&mut head, &redirect(302, "http://a.test/"), &config).unwrap().is_some());
    }

    #[test]
    fn a_location_that_is_none_is_shown_short_and_without_a_password() {
        for location in ["http://u:c4nary@exa mple/", "http://[c4nary@/?c4nary", "http://a:c4nary@b@[/"] {
            let mut head = head(Method::GET, "http://a.test/");
            let error = follow(&mut head, &redirect(302, location), &Rules::default()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("c4nary"), "{error:?}");
        }
        let mut head = head(Method::GET, "http://a.test/");
        let long = redirect(302, &format!("http://[{}", "x".repeat(90_000)));
        assert!(follow(&mut head, &long, &Rules::default()).unwrap_err().to_string().len() < 400);
    }

    #[test]
    fn the_name_of_the_old_host_does_not_go_where_a_policy_decides() {
        let mut proposed = head(Method::GET, "http://a.test/x");
        proposed.headers.insert(HOST, HeaderValue::from_static("a.test"));
        let mut chosen = Head { uri: "http://b.test/".parse().unwrap(), ..proposed.clone() };
        let from = "http://a.test/".parse().unwrap();
        assert!(after_decision(&mut chosen, &proposed, &from, &Rules::default()).unwrap());
        assert!(!chosen.headers.contains_key(HOST));
        let mut chosen = Head { uri: "http://b.test/".parse().unwrap(), ..proposed.clone() };
        chosen.headers.insert(HOST, HeaderValue::from_static("c.test"));
        after_decision(&mut chosen, &proposed, &from, &Rules::default()).unwrap();
        assert_eq!(chosen.headers[HOST], "c.test", "what the policy set itself stays");
    }

    #[test]
    fn a_referer_is_set_when_asked_for() {
        let config = Rules { auto_referer: true, ..Default::default() };
        let mut head = head(Method::GET, "http://u:p@a.test/x");
        follow(&mut head, &redirect(302, "/y"), &config).unwrap();
        assert_eq!(head.headers[REFERER], "http://a.test/x");
        let mut head = self::head(Method::GET, "http://u:p@a.test:81/x?token=1");
        follow(&mut head, &redirect(302, "http://b.test/"), &config).unwrap();
        assert_eq!(head.headers[REFERER], "http://a.test:81/");
    }
}
