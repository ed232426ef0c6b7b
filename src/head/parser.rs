//! Header lines become the head of a response. Keeps interim responses and trailers apart; reads no field but for framing.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};

use super::{Head, Lines, append, split, violation};
use crate::error::Error;

/// Fed with the lines that libcurl hands out, of every response of a transfer in turn.
#[derive(Default)]
pub(crate) struct HeadParser {
    /// From the status line to the end of its block.
    lines: Option<Box<Lines>>,
    complete: bool,
    upgrade: bool,
    /// The fields that came after the body.
    trailers: Option<Box<HeaderMap>>,
}

impl HeadParser {
    /// A parser for a request that asks for another protocol: 101 is then no interim response but the answer.
    pub(crate) fn for_upgrade() -> Self {
        Self { upgrade: true, ..Self::default() }
    }

    /// Takes one line. Returns the head when it is complete: the first that is not interim (1xx).
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<Option<Head>, Error> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !self.complete && text.starts_with(b"HTTP/") {
            let lines = self.lines.get_or_insert_with(Lines::take);
            (lines.version, lines.status) = status_line(text)?;
            lines.fields.clear();
            lines.framing = Framing::default();
            return Ok(None);
        }
        if text.is_empty() {
            return self.end_of_block();
        }
        if self.complete {
            let trailers = self.trailers.get_or_insert_default();
            append(trailers, text, Bytes::copy_from_slice)?;
            return Ok(None);
        }
        if let Some(lines) = &mut self.lines {
            lines.framing.look(text);
            lines.fields.extend_from_slice(text);
            lines.fields.push(b'\n');
        }
        Ok(None)
    }

    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take().map(|trailers| *trailers)
    }

    fn end_of_block(&mut self) -> Result<Option<Head>, Error> {
        // None at the end of the trailers.
        let Some(mut lines) = self.lines.take() else { return Ok(None) };
        let status = lines.status;
        if status.is_informational() && !(self.upgrade && status == StatusCode::SWITCHING_PROTOCOLS) {
            Lines::keep(lines);
            return Ok(None);
        }
        lines.content_length = std::mem::take(&mut lines.framing).content_length()?;
        self.complete = true;
        Ok(Some(Head(lines)))
    }
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

/// What the fields say of the body's length (RFC 9112 6.3).
#[derive(Default)]
pub(super) struct Framing {
    length: Option<u64>,
    transfer_encoding: bool,
    bad: Option<Error>,
}

impl Framing {
    /// Looks at a line. libcurl has seen a colon in it; whether it is a field is found by who reads the fields.
    fn look(&mut self, line: &[u8]) {
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
            return;
        }
        let Some((name, value)) = split(line) else { return };
        if name.eq_ignore_ascii_case(b"content-length") {
            match parse_length(value) {
                Some(length) => _ = self.length.get_or_insert(length),
                None => self.bad = Some(violation(format!("a Content-Length that is none: {}", value.escape_ascii()))),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.transfer_encoding = true;
        }
    }

    /// What makes the length doubtful is refused. libcurl lets some of it pass.
    fn content_length(self) -> Result<Option<u64>, Error> {
        match (self.bad, self.length) {
            (Some(error), _) => Err(error),
            (None, Some(_)) if self.transfer_encoding => {
                Err(violation("both Content-Length and Transfer-Encoding (RFC 9112 6.3)".into()))
            }
            (None, length) => Ok(length),
        }
    }
}

fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(value).ok()?.parse().ok().filter(|length| *length <= i64::MAX as u64)
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;
    use crate::error::ErrorKind;

    fn feed(lines: &[&str]) -> Result<Response<()>, Error> {
        let mut parser = HeadParser::default();
        for line in lines {
            if let Some(head) = parser.line(format!("{line}\r\n").as_bytes())? {
                return head.into_response();
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
        let head = parser.line(b"\r\n").unwrap().unwrap().into_response().unwrap();
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
                    let _ = head.length_after(dice.bool());
                    let _ = head.into_response();
                }
                let _ = parser.take_trailers();
            }
        }
    }
}
