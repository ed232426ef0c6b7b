//! Header lines become the head of a response, once. Keeps interim responses and trailers apart; reads no body.

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, Version};

use crate::error::{Error, ErrorKind};

/// Bytes of the values that a usual head has.
const VALUES: usize = 256;

/// Fed with the lines that libcurl hands out, of every response of a transfer in turn.
#[derive(Default)]
pub(crate) struct HeadParser {
    status: Option<(Version, StatusCode)>,
    fields: HeaderMap,
    /// Room for values: those of a head share one piece of memory, which is freed on another thread than this.
    values: BytesMut,
    complete: bool,
    upgrade: bool,
}

impl HeadParser {
    /// A parser for a request that asks for another protocol: 101 is then no interim response but the answer.
    pub(crate) fn for_upgrade() -> Self {
        Self { upgrade: true, ..Self::default() }
    }

    /// Takes one line. Returns the head when it is complete: the first that is not interim (1xx).
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<Option<Response<()>>, Error> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !self.complete && line.starts_with(b"HTTP/") {
            self.status = Some(status_line(line)?);
            self.fields.clear();
            return Ok(None);
        }
        if line.is_empty() {
            return self.end_of_block();
        }
        self.field(line)?;
        Ok(None)
    }

    /// The fields that came after the body.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        (self.complete && !self.fields.is_empty()).then(|| std::mem::take(&mut self.fields))
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Error> {
        let bad = || violation(format!("a header line that is none: {}", line.escape_ascii()));
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(bad)?;
        let name = HeaderName::from_bytes(line[..colon].trim_ascii_end()).map_err(|_| bad())?;
        if self.values.capacity() == 0 {
            self.values.reserve(VALUES);
        }
        self.values.extend_from_slice(line[colon + 1..].trim_ascii());
        let value = HeaderValue::from_maybe_shared(self.values.split().freeze()).map_err(|_| bad())?;
        self.fields
            .try_append(name, value)
            .map(drop)
            .map_err(|_| Error::new(ErrorKind::TooLarge).with_detail("more response headers than can be kept"))
    }

    fn end_of_block(&mut self) -> Result<Option<Response<()>>, Error> {
        let Some((version, status)) = self.status.filter(|_| !self.complete) else {
            // The end of the trailers.
            return Ok(None);
        };
        if status.is_informational() && !(self.upgrade && status == StatusCode::SWITCHING_PROTOCOLS) {
            self.status = None;
            return Ok(None);
        }
        check_framing(&self.fields)?;
        self.complete = true;
        let mut response = Response::new(());
        *response.version_mut() = version;
        *response.status_mut() = status;
        *response.headers_mut() = std::mem::take(&mut self.fields);
        self.values = BytesMut::new();
        Ok(Some(response))
    }
}

fn violation(detail: String) -> Error {
    Error::new(ErrorKind::ProtocolViolation).with_detail(detail)
}

/// RFC 9112 4: `HTTP/1.1 200 OK`; for HTTP/2 libcurl writes `HTTP/2 200`.
fn status_line(line: &[u8]) -> Result<(Version, StatusCode), Error> {
    let bad = || violation(format!("a status line that is none: {}", line.escape_ascii()));
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let version = match words.next().ok_or_else(bad)? {
        b"HTTP/1.0" => Version::HTTP_10,
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/2" | b"HTTP/2.0" => Version::HTTP_2,
        b"HTTP/3" | b"HTTP/3.0" => Version::HTTP_3,
        _ => return Err(bad()),
    };
    let status = StatusCode::from_bytes(words.next().ok_or_else(bad)?).map_err(|_| bad())?;
    Ok((version, status))
}

/// RFC 9112 6.3: what makes the length of the body doubtful is refused. libcurl lets some of it pass.
fn check_framing(fields: &HeaderMap) -> Result<(), Error> {
    if fields.contains_key(CONTENT_LENGTH) && fields.contains_key(TRANSFER_ENCODING) {
        return Err(violation("both Content-Length and Transfer-Encoding (RFC 9112 6.3)".into()));
    }
    for value in fields.get_all(CONTENT_LENGTH) {
        if parse_length(value).is_none() {
            return Err(violation(format!("a Content-Length that is none: {}", value.as_bytes().escape_ascii())));
        }
    }
    Ok(())
}

fn parse_length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|length| *length <= i64::MAX as u64)
}

/// The length of the body that follows this head, where it is known.
pub(crate) fn body_length(response: &Response<()>, to_head: bool) -> Option<u64> {
    if to_head || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Some(0);
    }
    response.headers().get(CONTENT_LENGTH).and_then(parse_length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(lines: &[&str]) -> Result<Response<()>, Error> {
        let mut parser = HeadParser::default();
        for line in lines {
            if let Some(response) = parser.line(format!("{line}\r\n").as_bytes())? {
                return Ok(response);
            }
        }
        panic!("no head in {lines:?}");
    }

    #[test]
    fn a_head_keeps_order_and_repeats() {
        let head = feed(&["HTTP/1.1 200 OK", "A: 1", "a:2", "B:  x y  ", "Empty:", ""]).unwrap();
        assert_eq!(head.status(), 200);
        assert_eq!(head.version(), Version::HTTP_11);
        assert_eq!(head.headers().get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(head.headers()["b"], "x y");
        assert_eq!(head.headers()["empty"], "");
    }

    #[test]
    fn interim_responses_are_passed_over() {
        let head = feed(&["HTTP/1.1 103 Early", "Link: x", "", "HTTP/1.1 100 Continue", "", "HTTP/2 204", ""]).unwrap();
        assert_eq!((head.status().as_u16(), head.headers().len()), (204, 0));
    }

    #[test]
    fn a_switch_of_protocols_is_the_answer_where_it_was_asked_for() {
        let lines = ["HTTP/1.1 100 Continue", "", "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", ""];
        for (mut parser, expected) in [(HeadParser::for_upgrade(), Some(101)), (HeadParser::default(), None)] {
            let heads = lines.map(|line| parser.line(format!("{line}\r\n").as_bytes()).unwrap());
            let found = heads.into_iter().flatten().next();
            assert_eq!(found.map(|head| head.status().as_u16()), expected);
        }
    }

    #[test]
    fn trailers_come_after_the_head() {
        let mut parser = HeadParser::default();
        for line in ["HTTP/1.1 200 OK", "A: 1", ""] {
            parser.line(line.as_bytes()).unwrap();
        }
        assert_eq!(parser.take_trailers(), None);
        parser.line(b"Sum: 9\r\n").unwrap();
        parser.line(b"\r\n").unwrap();
        assert_eq!(parser.take_trailers().unwrap()["sum"], "9");
    }

    #[test]
    fn doubtful_framing_and_malformed_lines_are_violations() {
        for lines in [
            &["HTTP/1.1 200 OK", "Content-Length: 99999999999999999999", ""][..],
            &["HTTP/1.1 200 OK", "Content-Length: -1", ""],
            &["HTTP/1.1 200 OK", "Content-Length: 1", "Transfer-Encoding: chunked", ""],
            &["HTTP/1.1 200 OK", "no colon", ""],
            &["HTTP/1.1 200 OK", "bad name: x", ""],
            &["HTTP/1.1 abc", ""],
            &["HTTP/7 200", ""],
        ] {
            assert_eq!(feed(lines).unwrap_err().kind(), ErrorKind::ProtocolViolation, "{lines:?}");
        }
    }

    #[test]
    fn any_bytes_are_allowed_in_a_value() {
        let mut parser = HeadParser::default();
        parser.line(b"HTTP/1.1 200 OK\r\n").unwrap();
        parser.line(b"X: \xe4\xf6\r\n").unwrap();
        let head = parser.line(b"\r\n").unwrap().unwrap();
        assert_eq!(head.headers()["x"].as_bytes(), b"\xe4\xf6");
    }

    #[test]
    fn no_line_is_too_odd_to_be_read_or_refused() {
        let seeds: [&[u8]; 8] = [
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/2 204\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n",
            b"Content-Length: 18446744073709551616\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Set-Cookie: a=b; Path=/\r\n",
            b" folded\r\n",
            b"\r\n",
        ];
        let mut dice = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut parser = if dice.bool() { HeadParser::for_upgrade() } else { HeadParser::default() };
            for _ in 0..dice.usize(1..8) {
                let mut line = seeds[dice.usize(..seeds.len())].to_vec();
                for _ in 0..dice.usize(..4) {
                    let at = dice.usize(..line.len());
                    line[at] = dice.u8(..);
                }
                if let Ok(Some(head)) = parser.line(&line) {
                    assert!(head.status().as_u16() >= 100);
                    let _ = body_length(&head, dice.bool());
                }
                let _ = parser.take_trailers();
            }
        }
    }
}
