//! A request becomes an easy handle that is ready to go. Runs on the caller's thread; sends nothing.

use std::ffi::CString;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, RANGE, TRANSFER_ENCODING, USER_AGENT,
};
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, Uri};
use zeroize::Zeroizing;

use super::options::{at_least_a_millisecond, configure};
use super::trace::Trace;
use super::transfer::{Challenges, Start};
use super::{Easy, pool::Pool, route, secure};
use crate::body::ACCEPTED_CODINGS;
use crate::config::{Auth, ProxyKind, ProxyServer, Repeatable, RequestConfig, RetryPolicy, Version};
use crate::error::{Error, ErrorKind, shown};
use crate::ffi::held::{self, HeaderList, ListOption};
use crate::ffi::{options, url, ws};
use crate::handler::{Control, Handler};
use crate::secret::{secret_value, user_and_host};

/// libcurl's buffer for uploads from memory that are no larger.
const SMALL_BUFFER: usize = 64 << 10;
/// For those that are read from elsewhere.
const UPLOAD_BUFFER: usize = 512 << 10;
/// For other uploads from memory a quarter of it, within these bounds. Each handover to the kernel wakes the other side, if
/// that is near enough to be done with the one before.
const LARGE_BUFFERS: RangeInclusive<usize> = 256 << 10..=2 << 20;

/// Options of a request that are often the same in the next one of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// `None` for other requests, which set more than this.
    bodiless: Option<Bodiless>,
    pipewait: bool,
    limit: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bodiless {
    Get,
    Head,
}

/// The request's body, as libcurl is told of it.
pub(crate) enum Upload {
    /// No body.
    None,
    /// Content in memory; libcurl reads it without a copy of ours.
    Bytes(Bytes),
    /// The handler writes it.
    Handler { length: Option<u64> },
    /// The handler's first answer says whether it writes one.
    AskHandler,
    /// No body, but a WebSocket: after the switch the handler reads and writes its frames.
    WebSocket,
}

/// What a request is made of.
pub(crate) struct Prepare {
    pub(crate) request: Request<()>,
    pub(crate) upload: Upload,
    pub(crate) config: Arc<RequestConfig>,
    /// Settings that are the same in all that a handle is set up with. One that has them already need not be.
    pub(crate) settings: Arc<RequestConfig>,
    /// What is left of the total time; wins over the configuration.
    pub(crate) time_left: Option<Duration>,
    pub(crate) handler: Box<dyn Handler>,
    pub(crate) control: Control,
}

impl Prepare {
    /// Makes the transfer. The handler is asked for the request here.
    ///
    /// # Errors
    ///
    /// The request or its configuration cannot be used; the handler is given back with the error.
    pub(crate) fn into_easy(mut self, pool: &Pool) -> Result<Easy, (Error, Box<dyn Handler>)> {
        let first = catch_unwind(AssertUnwindSafe(|| self.handler.on_request(&mut self.request, &self.control)));
        let Ok(first) = first else {
            return Err((Error::new(ErrorKind::HandlerPanicked), self.handler));
        };
        let of_user = matches!(self.upload, Upload::AskHandler | Upload::Handler { .. } | Upload::WebSocket);
        if matches!(self.upload, Upload::AskHandler) {
            self.upload = upload_of_handler(first.writes(), &self.request);
        }
        let mut easy = pool.take();
        let challenges = match self.set_up(&mut easy) {
            Ok(challenges) => challenges,
            Err(error) => {
                pool.give(easy);
                return Err((error.with_url(self.request.uri()), self.handler));
            }
        };
        let trace = Trace::begin(&self.request);
        let repeatable = self.is_repeatable();
        easy.get_mut().transfer.start(Start {
            trace,
            upgrade: matches!(self.upload, Upload::WebSocket),
            handler: self.handler,
            control: self.control,
            first,
            to_head: *self.request.method() == Method::HEAD,
            uri: shown(std::mem::take(self.request.uri_mut())),
            config: &self.config,
            limit: self.time_left.or(self.config.timeout.flatten()),
            challenges,
            repeatable,
            of_user,
        });
        Ok(easy)
    }

    /// Whether libcurl may send the request again by itself, when a connection that was used before ends without a word.
    fn is_repeatable(&self) -> bool {
        // What the handler writes libcurl cannot get twice: it starts again only if it has asked for none of it.
        matches!(self.upload, Upload::Handler { .. })
            || Repeatable::new(self.request.method(), self.request.headers(), true).idempotent
            || self.config.retry.as_ref().and_then(Option::as_ref).is_some_and(RetryPolicy::takes_any_method)
    }

    /// Returns which challenges libcurl answers itself.
    fn set_up(&mut self, easy: &mut Easy) -> Result<Challenges, Error> {
        if let Some(error) = &self.config.invalid {
            return Err(error.clone());
        }
        let schemes = if matches!(self.upload, Upload::WebSocket) { ["ws", "wss"] } else { ["http", "https"] };
        let auth = auth_of_url(self.request.uri(), schemes, self.config.url_credentials.unwrap_or(false))?;
        self.config.egress.check_url(self.request.uri())?;
        self.check_headers()?;
        self.settle_auth(auth.is_some())?;
        let proxy = route::choose(&self.config, self.request.uri())?;
        let asks_over_https = self.config.names.over_https.as_ref().and_then(Option::as_ref);
        // libcurl asks nobody before it connects to a server of names.
        if let Some(url) = asks_over_https.and_then(|url| url.parse().ok()) {
            self.config.egress.check_url(&url)?;
        }
        if matches!(self.request.uri().scheme_str(), Some("https" | "wss")) || asks_over_https.is_some() {
            secure::check_key_log(&self.config.tls)?;
        }
        if proxy.as_ref().is_some_and(|proxy| proxy.kind == ProxyKind::Https) {
            secure::check_key_log(&self.config.proxy_tls)?;
        }
        let challenges = Challenges {
            of_target: matches!(self.config.auth, Some(Some(Auth::Digest(_)))),
            of_proxy: proxy.as_ref().is_some_and(|proxy| proxy.digest),
            before_body: !matches!(self.upload, Upload::None | Upload::AskHandler | Upload::WebSocket),
        };

        // The settings that a handle had before are kept when they are the very same ones.
        let same = easy.get_ref().transfer.applied.as_ref().is_some_and(|applied| Arc::ptr_eq(applied, &self.settings));
        let same_way = easy.get_ref().transfer.proxy == proxy;
        // A handle remembers the challenges that it was given, also for hosts that did not give them.
        let fresh = !same || challenges.any();
        if fresh {
            let transfer = &mut easy.get_mut().transfer;
            transfer.applied = None;
            transfer.shape = None;
            transfer.slot = None;
            transfer.last = None;
            if std::mem::replace(&mut transfer.used, true) {
                url::reset(easy);
            }
            configure(easy, &self.config)?;
        }
        if fresh || !same_way {
            easy.get_mut().transfer.applied = None;
            route::set(easy, &self.config, proxy.as_deref())?;
            easy.get_mut().transfer.proxy = proxy;
            easy.get_mut().transfer.applied = Some(self.settings.clone());
        }
        self.apply(easy, auth.as_ref()).map_err(|error| {
            // A handle of which it is unknown what was set is configured anew the next time.
            easy.get_mut().transfer.applied = None;
            Error::invalid_request("libcurl does not accept it").with_source(error)
        })?;
        Ok(challenges)
    }

    /// Sets everything that belongs to this one request. Nothing is left from the request before.
    fn apply(&self, easy: &mut Easy, auth: Option<&HeaderValue>) -> Result<(), curl::Error> {
        let parts = url_parts(self.request.uri());
        let last = &mut easy.get_mut().transfer.last;
        // Until this request is over it is not the last one.
        let again = last.take_if(|last| url_parts(last) != parts).is_none() && last.is_some();
        url::set_url(easy, parts, again)?;
        // Wait for a connection that is being made, to share it, rather than open one for each request to an HTTP/2
        // server. Only where HTTP/2 can come of it: for a connection in clear text libcurl would wait until the response
        // ahead is complete.
        let shape = Shape {
            bodiless: self.bodiless(),
            pipewait: self.config.pipewait.unwrap_or(true) && !is_plain(self.request.uri(), &self.config),
            limit: self.time_left.or(self.config.timeout.flatten()),
        };
        let before = easy.get_mut().transfer.shape.take();
        if before.as_ref() != Some(&shape) || shape.bodiless.is_none() {
            self.give_shape(easy, &shape)?;
        }
        easy.get_mut().transfer.shape = Some(shape);

        let proxy = easy.get_ref().transfer.proxy.clone();
        route::set_addresses(easy, &self.config.names, self.request.uri(), proxy.as_deref())?;
        held::set_list(easy, ListOption::ProxyHeaders, |list| self.write_proxy_headers(list, proxy.as_deref()))?;
        held::set_list(easy, ListOption::Headers, |list| self.write_headers(list, auth))
    }

    /// Which of the usual methods without a body it has, if one of them.
    fn bodiless(&self) -> Option<Bodiless> {
        match (&self.upload, self.request.method()) {
            (Upload::None | Upload::AskHandler, &Method::GET) => Some(Bodiless::Get),
            (Upload::None | Upload::AskHandler, &Method::HEAD) => Some(Bodiless::Head),
            _ => None,
        }
    }

    fn give_shape(&self, easy: &mut Easy, shape: &Shape) -> Result<(), curl::Error> {
        easy.fresh_connect(false)?;
        easy.pipewait(shape.pipewait)?;
        easy.timeout(shape.limit.map_or(Duration::ZERO, at_least_a_millisecond))?;

        let method = self.request.method();
        let usual = match &self.upload {
            Upload::None | Upload::AskHandler => {
                easy.get(true)?;
                easy.nobody(*method == Method::HEAD)?;
                if *method == Method::HEAD { Method::HEAD } else { Method::GET }
            }
            Upload::Bytes(bytes) => {
                easy.post(true)?;
                self.give_buffer(easy, buffer_for(bytes.len()))?;
                held::set_post_fields(easy, bytes.clone())?;
                Method::POST
            }
            Upload::Handler { length } => {
                easy.upload(true)?;
                self.give_buffer(easy, UPLOAD_BUFFER)?;
                options::set_upload_size(easy, *length)?;
                Method::PUT
            }
            Upload::WebSocket => {
                ws::set_websocket(easy)?;
                // A connection of its own, which serves nothing else before or after.
                easy.fresh_connect(true)?;
                easy.forbid_reuse(true)?;
                // What libcurl is to send after the switch; before it, this is a GET without a body.
                easy.upload(true)?;
                easy.upload_buffer_size(SMALL_BUFFER)?;
                Method::GET
            }
        };
        let custom = (*method != usual).then(|| CString::new(method.as_str())).transpose()?;
        options::set_method(easy, custom.as_deref())
    }

    fn give_buffer(&self, easy: &mut Easy, usual: usize) -> Result<(), curl::Error> {
        let size = self.config.sockets.upload_buffer.unwrap_or(usual);
        easy.get_mut().transfer.has_large_buffer = size > UPLOAD_BUFFER;
        easy.upload_buffer_size(size)
    }

    /// What is meant for the proxy goes there, and nowhere else (RFC 9110 11.7.2).
    fn write_proxy_headers(&self, list: &mut HeaderList, proxy: Option<&ProxyServer>) {
        if proxy.is_some_and(|proxy| proxy.kind.is_http()) {
            for value in self.request.headers().get_all(PROXY_AUTHORIZATION) {
                push(list, &PROXY_AUTHORIZATION, value);
            }
            // What the handle says of itself is for the target.
            list.push(&[b"user-agent:"]);
        }
    }

    /// Takes away what libcurl would do beside a header that the request has, and refuses what it would do wrongly.
    fn settle_auth(&mut self, in_url: bool) -> Result<(), Error> {
        let Some(Some(auth)) = &self.config.auth else { return Ok(()) };
        if matches!(auth, Auth::Header(_)) {
            return Ok(());
        }
        if in_url || self.request.headers().contains_key(AUTHORIZATION) {
            self.config = Arc::new(RequestConfig { auth: Some(None), ..(*self.config).clone() });
            self.settings = self.config.clone();
        } else if let Auth::AwsSigV4(sign) = auth
            && matches!(self.upload, Upload::Handler { .. })
            && &*sign.service != "s3"
            && !self.request.headers().contains_key("x-amz-content-sha256")
        {
            return Err(Error::invalid_request(
                "a streamed body cannot be signed: give its digest in a header `x-amz-content-sha256`, or send it from \
                 memory",
            ));
        }
        Ok(())
    }

    fn write_headers(&self, list: &mut HeaderList, auth: Option<&HeaderValue>) {
        let headers = self.request.headers();
        for (name, value) in headers {
            // libcurl writes the first two itself, from what it was told of the body; the third is the proxy's.
            if name != CONTENT_LENGTH && name != TRANSFER_ENCODING && name != PROXY_AUTHORIZATION {
                push(list, name, value);
            }
        }
        // These two the handle says by itself, unless they are here.
        if !headers.contains_key(USER_AGENT)
            && let Some(agent) = &self.config.user_agent
        {
            push(list, &USER_AGENT, agent);
        }
        if !headers.contains_key(ACCEPT_ENCODING) && codings_to_accept(&self.config, headers).is_none() {
            list.push(&[b"accept-encoding:"]);
        }
        if !headers.contains_key(AUTHORIZATION) {
            if let Some(auth) = auth {
                push(list, &AUTHORIZATION, auth);
            } else if let Some(Some(Auth::Header(value))) = &self.config.auth {
                push(list, &AUTHORIZATION, value);
            }
        }
        if let Some(Some(Auth::AwsSigV4(sign))) = &self.config.auth
            && let Some(token) = &sign.session_token
        {
            list.push(&[b"x-amz-security-token: ", token.as_bytes()]);
        }
        // A name with a colon and nothing else takes away what libcurl would add by itself.
        if !matches!(self.upload, Upload::None | Upload::AskHandler | Upload::WebSocket) {
            if !headers.contains_key(EXPECT) {
                let wanted = self.config.expect_continue.flatten().is_some();
                list.push(if wanted { &[b"expect: 100-continue"] } else { &[b"expect:"] });
            }
            if !headers.contains_key(CONTENT_TYPE) {
                list.push(&[b"content-type:"]);
            }
        }
    }

    /// Headers that decide on the framing or the connection must agree with the request, or are refused.
    fn check_headers(&mut self) -> Result<(), Error> {
        let headers = self.request.headers();
        if headers.get_all(HOST).iter().count() > 1 {
            return Err(Error::invalid_request("more than one Host header"));
        }
        if let Some(host) = headers.get(HOST)
            && (host.as_bytes().contains(&b'@') || http::uri::Authority::try_from(host.as_bytes()).is_err())
        {
            return Err(Error::invalid_request("the Host header is not a host"));
        }
        for value in headers.get_all(CONNECTION) {
            if !value.as_bytes().eq_ignore_ascii_case(b"close") && !value.as_bytes().eq_ignore_ascii_case(b"keep-alive")
            {
                return Err(Error::invalid_request("the Connection header may be `close` or `keep-alive` only"));
            }
        }
        let chunked = match headers.get_all(TRANSFER_ENCODING).iter().collect::<Vec<_>>()[..] {
            [] => false,
            [value] if value.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
            _ => return Err(Error::invalid_request("the Transfer-Encoding header may be `chunked` only")),
        };
        let declared = declared_length(headers)?;
        match (&mut self.upload, declared, chunked) {
            (_, Some(_), true) => Err(Error::invalid_request("both Content-Length and Transfer-Encoding")),
            (Upload::None | Upload::AskHandler, Some(length), _) if length > 0 => {
                Err(Error::invalid_request(format!("Content-Length is {length}, and there is no body")))
            }
            (Upload::None | Upload::AskHandler, _, true) => {
                Err(Error::invalid_request("Transfer-Encoding without a body"))
            }
            (Upload::Bytes(bytes), Some(length), _) if length != bytes.len() as u64 => Err(Error::invalid_request(
                format!("Content-Length is {length}, and the body has {} bytes", bytes.len()),
            )),
            (Upload::Handler { length: Some(known) }, Some(length), _) if length != *known => {
                Err(Error::invalid_request(format!("Content-Length is {length}, and the body has {known} bytes")))
            }
            (Upload::Handler { length: length @ None }, Some(declared), _) => {
                *length = Some(declared);
                Ok(())
            }
            (Upload::Handler { length }, _, true) => {
                *length = None;
                Ok(())
            }
            _ => Ok(()),
        }?;
        if *self.request.method() == Method::HEAD && !matches!(self.upload, Upload::None | Upload::AskHandler) {
            return Err(Error::invalid_request("a HEAD request has no body"));
        }
        Ok(())
    }
}

/// Whether the request goes over HTTP/1 in clear text or opens a WebSocket, so that its connection is shared with nobody.
pub(super) fn is_plain(uri: &Uri, config: &RequestConfig) -> bool {
    let http1 = matches!(config.version.unwrap_or_default().0, Version::Latest | Version::Http10 | Version::Http11);
    http1 && uri.scheme() != Some(&Scheme::HTTPS)
}

/// The content codings that the response to such a request may have, to be undone here.
pub(crate) fn codings_to_accept(config: &RequestConfig, headers: &HeaderMap) -> Option<&'static str> {
    let raw = headers.contains_key(ACCEPT_ENCODING) || headers.contains_key(RANGE);
    ACCEPTED_CODINGS.filter(|_| config.decompress.unwrap_or(true) && !raw)
}

fn push(list: &mut HeaderList, name: &HeaderName, value: &HeaderValue) {
    if value.is_sensitive() {
        list.mark_secret();
    }
    if value.as_bytes().trim_ascii().is_empty() {
        // libcurl's way to send a header without a value; one of blanks it would not send at all.
        list.push(&[name.as_str().as_bytes(), b";"]);
    } else {
        list.push(&[name.as_str().as_bytes(), b": ", value.as_bytes()]);
    }
}

fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    let mut found = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let length = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
        let length = length.ok_or_else(|| Error::invalid_request("the Content-Length header is not a number"))?;
        if found.is_some_and(|before| before != length) {
            return Err(Error::invalid_request("Content-Length headers that differ"));
        }
        found = Some(length);
    }
    Ok(found)
}

fn upload_of_handler(writes: Option<bool>, request: &Request<()>) -> Upload {
    let usual = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH)
        || request.headers().contains_key(CONTENT_LENGTH);
    if writes.unwrap_or(usual) { Upload::Handler { length: None } } else { Upload::None }
}

/// The credentials in a URL that a request can go to, for its header.
fn auth_of_url(uri: &Uri, schemes: [&str; 2], credentials: bool) -> Result<Option<HeaderValue>, Error> {
    let scheme = uri.scheme().ok_or_else(|| Error::invalid_request("the URL is not absolute: it has no scheme"))?;
    if !schemes.contains(&scheme.as_str()) {
        let [plain, secure] = schemes;
        return Err(Error::invalid_request(format!("the scheme `{scheme}` is not {plain} or {secure}")));
    }
    let (user, host) = user_and_host(uri);
    if host.is_empty() || host.starts_with(':') {
        return Err(Error::invalid_request("the URL names no host"));
    }
    let Some(user) = user else { return Ok(None) };
    if !credentials {
        return Err(Error::invalid_request(
            "the URL holds credentials, which are not used unless `url_credentials(true)` says so",
        ));
    }
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(&*decode_percent(user)?));
    let value = secret_value(format!("Basic {}", *encoded).into_bytes().into());
    value.map(Some).map_err(|_| Error::invalid_request("the URL's credentials cannot be used"))
}

/// The URL as libcurl gets it, without credentials.
fn url_parts(uri: &Uri) -> [&str; 4] {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    [uri.scheme_str().unwrap_or_default(), "://", user_and_host(uri).1, path]
}

/// The size of libcurl's buffer for an upload from memory.
fn buffer_for(length: usize) -> usize {
    if length <= SMALL_BUFFER {
        return SMALL_BUFFER;
    }
    (length / 4).clamp(*LARGE_BUFFERS.start(), *LARGE_BUFFERS.end())
}

/// `user:password` of a URL as bytes (RFC 3986 2.1). A URL without a password gets an empty one.
fn decode_percent(user: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let user = Zeroizing::new(if user.contains(':') { user.to_owned() } else { format!("{user}:") });
    let mut bytes = Zeroizing::new(Vec::with_capacity(user.len()));
    let mut rest = user.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
            let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
            bytes
                .push(byte.ok_or_else(|| Error::invalid_request("a % in the URL's credentials that encodes nothing"))?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Ok(bytes)
}
