//! The event stream format (WHATWG HTML 9.2.5 and 9.2.6): bytes in pieces of any size become events. Reads nothing,
//! connects to nothing, knows no clock.

use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// What a server has sent: one event of its stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Event {
    /// Its type: the `event` field, `"message"` where there is none.
    pub kind: String,
    /// The `data` fields, joined by line feeds.
    pub data: String,
    /// The last `id` that the stream has set, in this event or before it; empty without one. A reconnect sends it as
    /// `Last-Event-ID`.
    pub id: String,
}

/// Takes a stream apart. What is incomplete at the end of a stream is dropped with the parser, as the standard asks.
#[derive(Debug)]
pub(super) struct Parser {
    /// The most bytes of a line and of an event.
    limit: usize,
    /// The start of a line whose end is not here yet.
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed now belongs to it.
    after_return: bool,
    /// No line has been taken yet: a byte order mark may stand here.
    at_start: bool,
    kind: String,
    /// Each `data` field with a line feed after it.
    data: String,
    /// The latest `id` field; an event has it, and only a complete block makes it the stream's.
    id: String,
    last_id: String,
    retry: Option<Duration>,
}

impl Parser {
    /// A parser of a new connection; `last_id` is what the stream has set before.
    pub(super) fn new(limit: usize, last_id: String) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_return: false,
            at_start: true,
            kind: String::new(),
            data: String::new(),
            id: last_id.clone(),
            last_id,
            retry: None,
        }
    }

    /// The id of the last complete block that the stream has set one with, or before it.
    pub(super) fn last_id(&self) -> &str {
        &self.last_id
    }

    /// The delay of reconnects that the stream has asked for since the last call.
    pub(super) fn take_retry(&mut self) -> Option<Duration> {
        self.retry.take()
    }

    /// Takes bytes off the front of `input` until an event is complete, or to the end of it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] for a line or an event beyond the limit. The parser is of no use after it.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Error> {
        while let Some(first) = input.first() {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                *input = &input[1..];
                continue;
            }
            let end = input.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let piece = &input[..end.unwrap_or(input.len())];
            if self.line.len() + piece.len() > self.limit {
                return Err(self.too_large("a line"));
            }
            let Some(end) = end else {
                self.line.extend_from_slice(piece);
                *input = &[];
                return Ok(None);
            };
            self.after_return = input[end] == b'\r';
            *input = &input[end + 1..];
            let event = if self.line.is_empty() {
                self.take_line(piece)?
            } else {
                self.line.extend_from_slice(piece);
                let mut line = std::mem::take(&mut self.line);
                let event = self.take_line(&line)?;
                line.clear();
                self.line = line;
                event
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn too_large(&self, what: &str) -> Error {
        Error::new(ErrorKind::TooLarge)
            .with_detail(format!("{what} of the event stream is larger than the limit of {} bytes", self.limit))
    }

    fn take_line(&mut self, mut line: &[u8]) -> Result<Option<Event>, Error> {
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        // Ends of lines are ASCII, so a malformed sequence never reaches across one: decoding line by line gives what
        // decoding the whole stream would.
        match name {
            b"data" => {
                self.data.push_str(&String::from_utf8_lossy(value));
                self.data.push('\n');
            }
            b"event" => self.kind = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => self.id = String::from_utf8_lossy(value).into_owned(),
            b"retry" => self.retry = milliseconds(value).or(self.retry),
            // A comment (an empty name), or a field of a later version of the format.
            _ => {}
        }
        // The last line feed of the data is not part of it.
        if (self.data.len() + self.kind.len() + self.id.len()).saturating_sub(1) > self.limit {
            return Err(self.too_large("an event"));
        }
        Ok(None)
    }

    /// The end of a block: an event, if it has data.
    fn dispatch(&mut self) -> Option<Event> {
        self.last_id.clone_from(&self.id);
        let kind = std::mem::take(&mut self.kind);
        let mut data = std::mem::take(&mut self.data);
        data.pop()?;
        Some(Event { kind: if kind.is_empty() { "message".into() } else { kind }, data, id: self.id.clone() })
    }
}

/// ASCII digits alone count; more than fit are as many as do.
fn milliseconds(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number =
        value.iter().fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add((digit - b'0').into()));
    Some(Duration::from_millis(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    /// Feeds the pieces in turn.
    fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Parser) {
        let mut parser = Parser::new(LIMIT, String::new());
        let mut events = Vec::new();
        for mut piece in pieces {
            while let Some(event) = parser.next(&mut piece).unwrap() {
                events.push(event);
            }
            assert!(piece.is_empty());
        }
        (events, parser)
    }

    fn event(kind: &str, data: &str, id: &str) -> Event {
        Event { kind: kind.into(), data: data.into(), id: id.into() }
    }

    #[track_caller]
    fn check(stream: &str, expected: &[Event]) {
        assert_eq!(parse([stream.as_bytes()]).0, expected, "{stream:?}");
        let single: Vec<_> = stream.as_bytes().chunks(1).collect();
        assert_eq!(parse(single).0, expected, "{stream:?} byte by byte");
    }

    #[test]
    fn the_examples_of_the_standard_are_understood() {
        check("data: YHOO\ndata: +2\ndata: 10\n\n", &[event("message", "YHOO\n+2\n10", "")]);
        check(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
            &[event("message", "first event", "1"), event("message", "second event", "")],
        );
        check("data\n\ndata\ndata\n\ndata:", &[event("message", "", ""), event("message", "\n", "")]);
        check("data:test\n\ndata: test\n\n", &[event("message", "test", ""), event("message", "test", "")]);
        check("event: add\ndata: 73857293\n\n", &[event("add", "73857293", "")]);
    }

    #[test]
    fn every_end_of_line_counts_once() {
        let expected = [event("message", "a\nb", ""), event("message", "c", "")];
        for end in ["\n", "\r", "\r\n"] {
            check(&["data: a", "data: b", "", "data: c", "", ""].join(end), &expected);
        }
        check("data: a\rdata: b\r\n\ndata: c\n\r", &expected);
    }

    #[test]
    fn an_event_is_there_with_the_first_byte_of_its_end() {
        let (events, _) = parse([&b"data: a\r\n\r"[..]]);
        assert_eq!(events.len(), 1, "the line feed after the last carriage return is not waited for");
    }

    #[test]
    fn one_byte_order_mark_is_removed_and_no_second_one() {
        check("\u{feff}data: a\n\n", &[event("message", "a", "")]);
        check("\u{feff}\u{feff}data: a\n\ndata: b\n\n", &[event("message", "b", "")]);
        check("data: a\n\n\u{feff}data: b\n\n", &[event("message", "a", "")]);
        check("\u{feff}\n\ndata: a\n\n", &[event("message", "a", "")]);
    }

    #[test]
    fn an_id_lasts_until_the_next_and_one_with_nul_is_no_id() {
        check(
            "id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid: 3\n\ndata: d\n\nid:\ndata: e\n\n",
            &[
                event("message", "a", "1"),
                event("message", "b", "1"),
                event("message", "c", "1"),
                event("message", "d", "3"),
                event("message", "e", ""),
            ],
        );
        let (_, parser) = parse([&b"id: 7\ndata: a\n\nid: 8\ndata: cut"[..]]);
        assert_eq!(parser.last_id(), "7", "an incomplete block does not count as received");
    }

    #[test]
    fn only_digits_set_the_delay() {
        for (line, expected) in [
            ("retry: 1500", Some(1500)),
            ("retry:0", Some(0)),
            ("retry: 99999999999999999999999", Some(u64::MAX)),
            ("retry: +5", None),
            ("retry:  5", None),
            ("retry: 5ms", None),
            ("retry", None),
            ("Retry: 5", None),
        ] {
            let (_, mut parser) = parse([format!("{line}\n").as_bytes()]);
            assert_eq!(parser.take_retry(), expected.map(Duration::from_millis), "{line}");
            assert_eq!(parser.take_retry(), None);
        }
    }

    #[test]
    fn a_kind_without_data_is_no_event_and_does_not_stay() {
        check("event: x\n\ndata: a\n\n", &[event("message", "a", "")]);
        check("event: x\nevent: y\ndata: a\nEVENT: z\nother: 1\n\n", &[event("y", "a", "")]);
        check("event: x\nevent\ndata: a\n\n", &[event("message", "a", "")]);
    }

    #[test]
    fn malformed_text_is_replaced_even_when_it_comes_in_halves() {
        let stream = b"data: \xe2\x82\xac\xff\xe2\x82\n\n";
        for cut in 0..stream.len() {
            let (events, _) = parse([&stream[..cut], &stream[cut..]]);
            assert_eq!(events, [event("message", "\u{20ac}\u{fffd}\u{fffd}", "")], "{cut}");
        }
    }

    #[test]
    fn lines_and_events_beyond_the_limit_are_refused() {
        let run = |stream: &str| {
            let mut parser = Parser::new(20, String::new());
            let mut input = stream.as_bytes();
            parser.next(&mut input).map_err(|error| error.kind())
        };
        assert_eq!(run("data: 45678901234567\n\n"), Ok(Some(event("message", "45678901234567", ""))));
        assert_eq!(run("data: 4567890123456789"), Err(ErrorKind::TooLarge));
        assert_eq!(run(": 4567890123456789012\n"), Err(ErrorKind::TooLarge), "a comment too");
        assert_eq!(run("data:0123456789\ndata:012345678\n\n").map(|event| event.is_some()), Ok(true));
        assert_eq!(run("data:0123456789\ndata:0123456789\n\n"), Err(ErrorKind::TooLarge));
        assert_eq!(run(&"data\n".repeat(30)), Err(ErrorKind::TooLarge), "empty lines of data are not free");
    }

    /// A small generator of numbers that look random, the same in each run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % end as u64) as usize
        }
    }

    #[test]
    fn a_stream_means_the_same_however_it_is_cut() {
        let words = [
            "data",
            "event",
            "id",
            "retry",
            ":",
            ": ",
            " ",
            "\n",
            "\n\n",
            "\r",
            "\r\n",
            "\r\n\r\n",
            "\u{feff}",
            "\0",
            "x",
            "grüße",
            "€",
            "12",
            "data: a\n\n",
            "id: 5\ndata: b\r\n\r\n",
            ":comment\r",
        ];
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        let mut seen = 0;
        for _ in 0..2000 {
            let stream: String = (0..numbers.below(60)).map(|_| words[numbers.below(words.len())]).collect();
            let (whole, parser) = parse([stream.as_bytes()]);
            seen += whole.len();
            for _ in 0..5 {
                let mut pieces = Vec::new();
                let mut rest = stream.as_bytes();
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(numbers.below(rest.len().min(9)) + 1);
                    pieces.push(piece);
                    rest = after;
                }
                let (events, again) = parse(pieces);
                assert_eq!(events, whole, "{stream:?}");
                assert_eq!((again.last_id(), again.retry), (parser.last_id(), parser.retry), "{stream:?}");
            }
        }
        assert!(seen > 2000, "only {seen} events: the streams are too dull");
    }

    #[test]
    fn random_bytes_do_no_harm() {
        let mut numbers = Numbers(42);
        for _ in 0..500 {
            let bytes: Vec<u8> = (0..numbers.below(2000))
                .map(|_| match numbers.below(3) {
                    0 => b"\n\r: \0\xef"[numbers.below(6)],
                    1 => b"dataeventidretry"[numbers.below(16)],
                    _ => numbers.below(256) as u8,
                })
                .collect();
            let mut parser = Parser::new(1 + numbers.below(200), "start".into());
            let mut input = &bytes[..];
            while let Ok(Some(event)) = parser.next(&mut input) {
                assert!(event.data.len() <= parser.limit && !event.kind.is_empty());
            }
        }
    }
}
