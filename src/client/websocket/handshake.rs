//! The opening handshake (RFC 6455 4.1): what the request carries and what its answer must be. Sends nothing.
//!
//! libcurl asks for the upgrade and switches over; it does not look at the answer's `Sec-WebSocket-Accept`, nor at the
//! extensions and the subprotocol that the server chose.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use sha1::{Digest, Sha1};

use super::random;
use crate::error::{Error, ErrorKind};

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What the answer is measured against.
#[derive(Debug)]
pub(super) struct Expected {
    accept: String,
    protocols: Vec<String>,
}

/// Makes the request one for a WebSocket.
///
/// # Errors
///
/// It is not a GET, has headers that belong to the handshake, or names a subprotocol that is none.
pub(super) fn prepare(request: &mut Request<()>, protocols: &[String]) -> Result<Expected, Error> {
    if *request.method() != Method::GET {
        return Err(Error::invalid_request("a WebSocket is opened with GET"));
    }
    *request.uri_mut() = websocket_uri(request.uri())?;
    let headers = request.headers_mut();
    for name in [
        CONNECTION,
        UPGRADE,
        SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION,
        SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_ACCEPT,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
    ] {
        if headers.contains_key(&name) {
            return Err(Error::invalid_request(format!("the header `{name}` belongs to the handshake")));
        }
    }
    let mut offered = Vec::new();
    for line in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        let list = line.to_str().map_err(|_| not_a_protocol())?;
        offered.extend(list.split(',').map(|name| name.trim().to_owned()));
    }
    offered.extend_from_slice(protocols);
    // A token has the letters of a header's name.
    if offered.iter().any(|name| HeaderName::try_from(name.as_str()).is_err()) {
        return Err(not_a_protocol());
    }
    if !offered.is_empty() {
        let list = HeaderValue::try_from(offered.join(", ")).map_err(http::Error::from)?;
        headers.insert(SEC_WEBSOCKET_PROTOCOL, list);
    }
    let key = BASE64_STANDARD.encode(random::key()?);
    let accept = accept_for(&key);
    headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::try_from(key).map_err(http::Error::from)?);
    Ok(Expected { accept, protocols: offered })
}

fn not_a_protocol() -> Error {
    Error::invalid_request("a WebSocket subprotocol is a token, such as `chat.v1`")
}

/// `http` and `https` stand for `ws` and `wss`.
fn websocket_uri(uri: &Uri) -> Result<Uri, Error> {
    let scheme = match uri.scheme_str() {
        Some("ws" | "wss") => return Ok(uri.clone()),
        Some("http") => "ws",
        Some("https") => "wss",
        Some(other) => {
            return Err(Error::invalid_request(format!("the scheme `{other}` is not ws or wss")).with_url(uri));
        }
        None => return Err(Error::invalid_request("the URL is not absolute: it has no scheme").with_url(uri)),
    };
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(scheme.parse().map_err(http::Error::from)?);
    Uri::from_parts(parts).map_err(|error| http::Error::from(error).into())
}

fn accept_for(key: &str) -> String {
    BASE64_STANDARD.encode(Sha1::digest([key.as_bytes(), GUID].concat()))
}

/// The items of a list, over all lines of that name.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// The subprotocol that the server chose.
pub(super) fn protocol(response: &Response<()>) -> Option<&str> {
    response.headers().get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()
}

impl Expected {
    /// Looks at the answer (RFC 6455 4.1, the list at its end).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UpgradeRefused`] with the status for another one than 101, [`ErrorKind::ProtocolViolation`] for a
    /// 101 that is not the answer to this request.
    pub(super) fn check(&self, response: &Response<()>) -> Result<(), Error> {
        let violation = |detail: &str| Err(Error::new(ErrorKind::ProtocolViolation).with_detail(detail));
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::new(ErrorKind::UpgradeRefused)
                .with_detail(format!("the server answered {status}"))
                .with_response(response.clone()));
        }
        let headers = response.headers();
        if !tokens(headers, &UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"))
            || !tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
        {
            return violation("the server switches to something else than a WebSocket");
        }
        let mut accepts = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
        if accepts.next().map(HeaderValue::as_bytes) != Some(self.accept.as_bytes()) || accepts.next().is_some() {
            return violation("Sec-WebSocket-Accept does not answer this request's key");
        }
        if tokens(headers, &SEC_WEBSOCKET_EXTENSIONS).next().is_some() {
            return violation("the server uses a WebSocket extension that was not offered");
        }
        let chosen = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect::<Vec<_>>();
        match chosen[..] {
            [] => Ok(()),
            [one] if self.protocols.iter().any(|offered| offered.as_bytes() == one.as_bytes()) => Ok(()),
            _ => violation("the server chose a subprotocol that was not offered"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_has_its_accept() {
        assert_eq!(accept_for("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    fn answer(expected: &Expected) -> http::response::Builder {
        Response::builder()
            .status(101)
            .header(UPGRADE, "WebSocket")
            .header(CONNECTION, "keep-alive, Upgrade")
            .header(SEC_WEBSOCKET_ACCEPT, &expected.accept)
    }

    #[test]
    fn only_the_answer_to_this_request_is_taken() {
        let mut request = Request::get("wss://a.test/x").body(()).unwrap();
        let expected = prepare(&mut request, &["chat".into(), "v2.chat".into()]).unwrap();
        assert_eq!(request.headers()[SEC_WEBSOCKET_PROTOCOL], "chat, v2.chat");
        let good = answer(&expected).header(SEC_WEBSOCKET_PROTOCOL, "v2.chat").body(()).unwrap();
        expected.check(&good).unwrap();
        assert_eq!(protocol(&good), Some("v2.chat"));
        expected.check(&answer(&expected).body(()).unwrap()).unwrap();

        for bad in [
            answer(&expected).header(SEC_WEBSOCKET_PROTOCOL, "Chat"),
            answer(&expected).header(SEC_WEBSOCKET_PROTOCOL, "chat").header(SEC_WEBSOCKET_PROTOCOL, "chat"),
            answer(&expected).header(SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate"),
            answer(&expected).header(SEC_WEBSOCKET_ACCEPT, &expected.accept),
            Response::builder().status(101).header(UPGRADE, "websocket").header(CONNECTION, "upgrade"),
            Response::builder().status(101).header(SEC_WEBSOCKET_ACCEPT, &expected.accept),
        ] {
            let bad = bad.body(()).unwrap();
            assert_eq!(expected.check(&bad).unwrap_err().kind(), ErrorKind::ProtocolViolation, "{bad:?}");
        }
        for status in [200, 302, 401, 404, 500] {
            let error = expected.check(&Response::builder().status(status).body(()).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UpgradeRefused);
            assert_eq!(error.response().map(|response| response.status().as_u16()), Some(status));
        }
    }

    #[test]
    fn urls_and_headers_that_cannot_be_are_refused() {
        let prepared = |url: &str| {
            let mut request = Request::get(url).body(()).unwrap();
            prepare(&mut request, &[]).map(|_| request.uri().to_string())
        };
        assert_eq!(prepared("http://a.test/x?y").unwrap(), "ws://a.test/x?y");
        assert_eq!(prepared("https://a.test:1/").unwrap(), "wss://a.test:1/");
        assert_eq!(prepared("ftp://a.test/").unwrap_err().kind(), ErrorKind::InvalidRequest);
        assert_eq!(prepared("/x").unwrap_err().kind(), ErrorKind::InvalidRequest);
        let mut post = Request::post("ws://a.test/").body(()).unwrap();
        assert!(prepare(&mut post, &[]).is_err());
        let mut own = Request::get("ws://a.test/").header(SEC_WEBSOCKET_KEY, "x").body(()).unwrap();
        assert!(prepare(&mut own, &[]).is_err());
        for bad in ["a b", "", "a\r\nX: y", "\u{e4}"] {
            let mut request = Request::get("ws://a.test/").body(()).unwrap();
            let result = prepare(&mut request, &["good".into(), bad.into()]);
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidRequest, "{bad:?}");
        }
    }
}
