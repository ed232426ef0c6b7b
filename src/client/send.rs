//! A request becomes a future of a response. Each hop of a redirect is a transfer of its own.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderMap, Method, Request, Response};

use super::Inner;
use super::redirect::{self, Head};
use crate::body::AsyncBody;
use crate::body::exchange::{Receiver, exchange};
use crate::config::{ClientConfig, RequestConfig};
#[cfg(feature = "decompress")]
use crate::easy::prepare;
use crate::easy::prepare::{Prepare, Upload};
use crate::error::{Error, ErrorKind, TimeoutPhase};
use crate::handler::Control;
use crate::handler::respond::Respond;

/// Completes with the response at the end of its head. Needs no executor in particular; dropping it ends the request.
#[must_use = "dropping the future ends the request"]
pub struct ResponseFuture(State);

enum State {
    Failed(Error),
    Running(Box<Running>),
    Done,
}

struct Running {
    receiver: Receiver,
    config: Arc<RequestConfig>,
    /// The request asked for a compressed response by itself.
    #[cfg(feature = "decompress")]
    decompress: bool,
    /// Present where redirects may be followed.
    redirects: Option<Redirects>,
}

/// What it takes to send the request once more.
struct Redirects {
    client: Arc<Inner>,
    head: Head,
    /// The body; `None` if it cannot be sent twice.
    body: Option<AsyncBody>,
    left: u32,
    followed: u32,
    started: Instant,
}

impl ResponseFuture {
    pub(super) fn start(client: Arc<Inner>, request: Request<AsyncBody>) -> Self {
        Self(match Running::start(client, request) {
            Ok(running) => State::Running(Box::new(running)),
            Err(error) => State::Failed(error),
        })
    }

    /// A future that fails.
    pub(super) fn failed(error: Error) -> Self {
        Self(State::Failed(error))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<AsyncBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.0 {
            State::Running(running) => ready!(running.poll(cx)),
            State::Failed(error) => Err(error.clone()),
            State::Done => Err(Error::new(ErrorKind::Cancelled).with_detail("the response was taken before")),
        };
        Poll::Ready(match (mem::replace(&mut self.0, State::Done), result) {
            (State::Running(running), Ok(head)) => running.into_response(head),
            (_, Err(error)) => Err(error),
            (_, Ok(_)) => Err(Error::new(ErrorKind::Cancelled)),
        })
    }
}

impl Running {
    fn start(client: Arc<Inner>, request: Request<AsyncBody>) -> Result<Self, Error> {
        let (mut parts, body) = request.into_parts();
        let config = settings(&client.config, &mut parts);
        add_default_headers(&client.config, &mut parts.headers);
        let redirects = config
            .redirect_policy
            .as_ref()
            .and_then(|policy| policy.limit())
            .map(|left| {
                let body = body
                    .again()
                    .transpose()
                    .map_err(|error| Error::new(ErrorKind::RequestBody).with_source(error).with_url(&parts.uri))?;
                let head =
                    Head { method: parts.method.clone(), uri: parts.uri.clone(), headers: parts.headers.clone() };
                Ok::<_, Error>(Redirects {
                    client: client.clone(),
                    head,
                    body,
                    left,
                    followed: 0,
                    started: Instant::now(),
                })
            })
            .transpose()?;
        #[cfg(feature = "decompress")]
        let decompress = prepare::codings_to_accept(&config, &parts.headers).is_some();
        let receiver = hop(&client, Request::from_parts(parts, ()), body, &config, None)?;
        Ok(Self {
            receiver,
            config,
            #[cfg(feature = "decompress")]
            decompress,
            redirects,
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Error>> {
        loop {
            let head = ready!(self.receiver.poll_head(cx))?;
            match self.redirect(&head) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Ok(head)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Starts the next hop, if the response asks for one. Dropping the old receiver drains its small body.
    fn redirect(&mut self, response: &Response<()>) -> Result<bool, Error> {
        let Some(redirects) = &mut self.redirects else { return Ok(false) };
        let before = redirects.head.uri.clone();
        let Some(change) = redirect::follow(&mut redirects.head, response, &self.config)? else { return Ok(false) };
        if redirects.left == 0 {
            return Err(Error::new(ErrorKind::TooManyRedirects)
                .with_detail(format!("{} were followed", redirects.followed))
                .with_url(&before));
        }
        redirects.left -= 1;
        redirects.followed += 1;
        let mut body = AsyncBody::empty();
        if !change.keep_body {
            redirects.body = Some(AsyncBody::empty());
        } else {
            let kept = redirects.body.as_ref().and_then(AsyncBody::again);
            let kept = kept.ok_or_else(|| Error::new(ErrorKind::RequestBodyNotRewindable).with_url(&before))?;
            body = kept.map_err(|error| Error::new(ErrorKind::RequestBody).with_source(error).with_url(&before))?;
        }
        if change.other_origin && self.config.auth.is_some() {
            self.config = Arc::new(RequestConfig { auth: Some(None), ..(*self.config).clone() });
        }
        let time_left = match self.config.timeout.flatten() {
            Some(limit) => Some(
                limit
                    .checked_sub(redirects.started.elapsed())
                    .ok_or_else(|| Error::timeout(TimeoutPhase::Response).with_url(&before))?,
            ),
            None => None,
        };
        let Head { method, uri, headers } = redirects.head.clone();
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        self.receiver = hop(&redirects.client, request, body, &self.config, time_left)?;
        Ok(true)
    }

    fn into_response(self, head: Response<()>) -> Result<Response<AsyncBody>, Error> {
        #[cfg(feature = "decompress")]
        if self.decompress && self.receiver.length() != Some(0) {
            return self.into_decoded(head);
        }
        Ok(head.map(|()| AsyncBody::incoming(self.receiver)))
    }

    /// Undoes the content codings, where there are known ones.
    #[cfg(feature = "decompress")]
    fn into_decoded(self, mut head: Response<()>) -> Result<Response<AsyncBody>, Error> {
        use crate::body::decode;
        use crate::handler::Facts;
        use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
        let url = head.extensions().get::<Facts>().map(|facts| facts.uri.clone()).unwrap_or_default();
        let codings = decode::codings(head.headers()).map_err(|error| error.with_url(&url))?;
        let Some(codings) = codings else { return Ok(head.map(|()| AsyncBody::incoming(self.receiver))) };
        head.headers_mut().remove(CONTENT_ENCODING);
        head.headers_mut().remove(CONTENT_LENGTH);
        let limits = decode::Limits {
            size: self.config.max_decompressed_size.flatten(),
            ratio: self.config.max_decompression_ratio.unwrap_or(Some(crate::config::MAX_RATIO)),
        };
        let body = AsyncBody::decoded(decode::Decoded::new(self.receiver, codings, limits, url));
        Ok(head.map(|()| body))
    }
}

/// Takes the request's own settings out of it and fills them up from the client's.
pub(super) fn settings(client: &ClientConfig, parts: &mut http::request::Parts) -> Arc<RequestConfig> {
    match parts.extensions.remove::<RequestConfig>() {
        Some(own) => Arc::new(own.merged_over(&client.request)),
        None => client.request.clone(),
    }
}

pub(super) fn add_default_headers(client: &ClientConfig, headers: &mut HeaderMap) {
    for name in client.default_headers.keys() {
        if !headers.contains_key(name) {
            for value in client.default_headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
    }
}

/// Refuses what the client's policy does not allow, before anything is sent.
pub(super) fn check_policy(client: &ClientConfig, uri: &http::Uri) -> Result<(), Error> {
    match &client.allowed_hosts {
        Some(list) if !list.allows(uri) => Err(Error::new(ErrorKind::NotAllowed)
            .with_detail(format!("the host `{}` is not on the list of allowed ones", uri.host().unwrap_or_default()))
            .with_url(uri)),
        _ => Ok(()),
    }
}

/// Starts one transfer.
fn hop(
    client: &Inner,
    request: Request<()>,
    body: AsyncBody,
    config: &Arc<RequestConfig>,
    time_left: Option<std::time::Duration>,
) -> Result<Receiver, Error> {
    check_policy(&client.config, request.uri())?;
    let control = Control::new();
    let (sender, receiver) = exchange(control.upstream());
    let (upload, stream) = match body.as_bytes() {
        Some(bytes) if bytes.is_empty() && !usually_has_body(request.method()) => (Upload::None, None),
        Some(bytes) => (Upload::Bytes(bytes.clone()), None),
        None => (Upload::Handler { length: body.left() }, Some(body)),
    };
    let handler = Box::new(Respond::new(sender, stream));
    let prepare = Prepare { request, upload, config: config.clone(), time_left, handler, control };
    match prepare.into_easy(client.agents.pool()) {
        Ok(easy) => {
            client.agents.execute(easy);
            Ok(receiver)
        }
        Err((error, mut handler)) => {
            let _ = handler.on_error(error.clone());
            Err(error)
        }
    }
}

/// Methods that announce an empty body by `Content-Length: 0` (RFC 9110 8.6).
fn usually_has_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
