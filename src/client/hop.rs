//! One request, one transfer, one response: the innermost step. Follows nothing and tries nothing twice.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Extensions, HeaderMap, Method, Request, Response};

use super::Inner;
use crate::body::AsyncBody;
use crate::body::exchange::{Receiver, exchange};
use crate::config::{ClientConfig, RequestConfig};
use crate::easy::options::concern_handle;
#[cfg(feature = "decompress")]
use crate::easy::prepare::codings_to_accept;
use crate::easy::prepare::{Prepare, Upload};
use crate::error::{Error, ErrorKind};
use crate::handler::Control;
use crate::handler::respond::Respond;

/// Completes with the response of one transfer. Dropping it ends the transfer.
pub(super) struct Hop {
    /// `None` once the response was handed out.
    receiver: Option<Receiver>,
    #[cfg(feature = "decompress")]
    config: Arc<RequestConfig>,
    /// The request asked for a compressed response by itself.
    #[cfg(feature = "decompress")]
    decompress: bool,
}

impl Hop {
    /// Starts the transfer. `time_left` wins over the configured total time.
    pub(super) fn start(
        client: &Inner,
        request: Request<AsyncBody>,
        Merged { config, handle }: Merged,
        time_left: Option<Duration>,
    ) -> Result<Self, Error> {
        #[cfg(any(feature = "gzip", feature = "zstd"))]
        let request = compress(request, &config)?;
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, ());
        #[cfg(feature = "decompress")]
        let decompress = codings_to_accept(&config, request.headers()).is_some();
        let control = Control::new();
        let (sender, receiver) = exchange(control.upstream());
        let (upload, stream) = match body.as_bytes() {
            Some(bytes) if bytes.is_empty() && !usually_has_body(request.method()) => (Upload::None, None),
            Some(bytes) => (Upload::Bytes(bytes.clone()), None),
            None => (Upload::Handler { length: body.left() }, Some(body)),
        };
        let handler = Box::new(Respond::new(sender, stream));
        let prepare =
            Prepare { request, upload, config: config.clone(), settings: handle, time_left, handler, control };
        client.start(prepare)?;
        Ok(Self {
            receiver: Some(receiver),
            #[cfg(feature = "decompress")]
            config,
            #[cfg(feature = "decompress")]
            decompress,
        })
    }

    fn respond(&mut self, head: Response<()>) -> Result<Response<AsyncBody>, Error> {
        let receiver = self.receiver.take().ok_or_else(taken)?;
        #[cfg(feature = "decompress")]
        if self.decompress && receiver.length() != Some(0) {
            return decode(head, receiver, &self.config);
        }
        Ok(head.map(|()| AsyncBody::incoming(receiver)))
    }
}

impl Future for Hop {
    type Output = Result<Response<AsyncBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(receiver) = &mut self.receiver else { return Poll::Ready(Err(taken())) };
        let head = ready!(receiver.poll_head(cx))?;
        Poll::Ready(self.respond(head))
    }
}

fn taken() -> Error {
    Error::new(ErrorKind::Cancelled).with_detail("the response was taken before")
}

/// Compresses the body, where that is asked for.
#[cfg(any(feature = "gzip", feature = "zstd"))]
fn compress(request: Request<AsyncBody>, config: &RequestConfig) -> Result<Request<AsyncBody>, Error> {
    use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
    let Some(coding) = config.compress_request.flatten() else { return Ok(request) };
    if request.body().is_empty() || request.headers().contains_key(CONTENT_ENCODING) {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    let failed = |error| Error::new(ErrorKind::RequestBody).with_source(error).with_url(&parts.uri);
    let body = body.compressed(coding).map_err(failed)?;
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    Ok(Request::from_parts(parts, body))
}

/// Undoes the content codings, where there are known ones.
#[cfg(feature = "decompress")]
fn decode(mut head: Response<()>, receiver: Receiver, config: &RequestConfig) -> Result<Response<AsyncBody>, Error> {
    use crate::body::decode;
    use crate::head::Facts;
    use http::Version;
    use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
    let url = head.extensions().get::<Facts>().map(|facts| facts.uri.clone()).unwrap_or_default();
    let codings = decode::codings(head.headers()).map_err(|error| error.with_url(&url))?;
    let Some(codings) = codings else { return Ok(head.map(|()| AsyncBody::incoming(receiver))) };
    // Without a length an end at once may be a connection that broke off.
    let headers = head.headers();
    let may_be_empty = head.version() > Version::HTTP_11
        || headers.contains_key(CONTENT_LENGTH)
        || headers.contains_key(TRANSFER_ENCODING);
    head.headers_mut().remove(CONTENT_ENCODING);
    head.headers_mut().remove(CONTENT_LENGTH);
    let limits = decode::Limits {
        size: config.max_decompressed_size.flatten(),
        ratio: config.max_decompression_ratio.unwrap_or(Some(crate::config::MAX_RATIO)),
    };
    let body = AsyncBody::decoded(decode::Decoded::new(receiver, codings, limits, may_be_empty, url));
    Ok(head.map(|()| body))
}

/// The settings of a request.
pub(super) struct Merged {
    pub(super) config: Arc<RequestConfig>,
    /// Those that its handle is set up with: the client's, where the request's own concern other things.
    pub(super) handle: Arc<RequestConfig>,
}

/// Takes the request's own settings out of it and fills them up from the client's.
pub(super) fn settings(client: &Inner, extensions: &mut Extensions) -> Merged {
    let of_client = &client.config.request;
    let Some(own) = extensions.remove::<RequestConfig>() else {
        return Merged { config: of_client.clone(), handle: client.handle.clone() };
    };
    let anew = concern_handle(&own);
    let config = Arc::new(own.merged_over(of_client));
    Merged { handle: if anew { config.clone() } else { client.handle.clone() }, config }
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

/// Methods that announce an empty body by `Content-Length: 0` (RFC 9110 8.6).
fn usually_has_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
