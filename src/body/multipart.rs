//! Forms as `multipart/form-data` (RFC 7578), written while they are sent. Never holds a part in memory that was not.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::io::AsyncRead;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::exact::Exact;
use super::file::media_type;
use super::{Again, AsyncBody, Body, Inner, Make};
use crate::error::Error;

/// A form of texts, bytes, streams and files, sent as `multipart/form-data`.
///
/// [`RequestBuilderExt::multipart`](crate::RequestBuilderExt::multipart) makes a request of it. The parts are sent in the
/// order in which they were added. Where the length of each is known the request has a `Content-Length`, else it is sent
/// chunked over HTTP/1.1. It can be sent again after a redirect if each part can: texts, bytes and files.
///
/// # Examples
///
/// ```no_run
/// use marmot::multipart::{Form, Part};
/// use marmot::prelude::*;
///
/// let form = Form::new().text("title", "Summer").part("photo", Part::file("summer.jpg")?);
/// let response = Request::post("https://example.org/photos").multipart(form)?.send()?;
/// # Ok::<(), marmot::Error>(())
/// ```
#[must_use = "a form does nothing until it is sent"]
pub struct Form {
    boundary: String,
    /// The head of each part, from its boundary to the empty line, and its content.
    parts: Vec<(Bytes, AsyncBody)>,
}

impl Form {
    /// A form without parts.
    ///
    /// # Panics
    ///
    /// If the system has no random numbers, without which a part could hold the boundary.
    pub fn new() -> Self {
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the system gives random numbers, as it does for every HashMap");
        Self { boundary: format!("marmot-{:032x}", u128::from_ne_bytes(random)), parts: Vec::new() }
    }

    /// Adds a field of text. As browsers do, it is sent without a content type.
    pub fn text(self, name: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.part(name, Part::text(value))
    }

    /// Adds a part. Several may have the same name.
    pub fn part(mut self, name: impl AsRef<str>, part: Part) -> Self {
        let head = part.head(&self.boundary, name.as_ref());
        self.parts.push((head.into(), part.body));
        self
    }

    /// What separates the parts: 128 random bits, so that no part holds it by chance or by intent.
    pub fn boundary(&self) -> &str {
        &self.boundary
    }

    /// The `Content-Type` of the whole, which names the boundary.
    pub fn content_type(&self) -> HeaderValue {
        HeaderValue::try_from(format!("multipart/form-data; boundary={}", self.boundary))
            .expect("a boundary is letters, digits and a hyphen")
    }

    /// The length of the whole in bytes, if that of each part is known.
    pub fn len(&self) -> Option<u64> {
        let mut total = self.closing().len() as u64;
        for (head, body) in &self.parts {
            total = total.checked_add(head.len() as u64 + 2)?.checked_add(body.left()?)?;
        }
        Some(total)
    }

    /// Whether there is no part.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    fn closing(&self) -> String {
        format!("--{}--\r\n", self.boundary)
    }
}

impl Default for Form {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form").field("parts", &self.parts.len()).field("length", &self.len()).finish()
    }
}

/// One field of a [`Form`].
#[derive(Debug)]
#[must_use = "a part does nothing until it is in a form"]
pub struct Part {
    body: AsyncBody,
    file_name: Option<String>,
    headers: HeaderMap,
}

impl Part {
    /// Any content that a request can have: bytes, or an [`AsyncBody`] or [`Body`] of a stream, a reader or a response.
    pub fn new(content: impl Into<AsyncBody>) -> Self {
        Self { body: content.into(), file_name: None, headers: HeaderMap::new() }
    }

    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(text.into())
    }

    /// Bytes, without a copy where they are owned.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::new(bytes.into())
    }

    /// What a blocking reader gives, of unknown length. See [`Body::from_reader`].
    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        Self::new(Body::from_reader(reader))
    }

    /// Exactly `length` bytes of a blocking reader; fewer fail the request. See [`Body::from_reader_sized`].
    pub fn reader_sized(reader: impl Read + Send + 'static, length: u64) -> Self {
        Self::new(Body::from_reader_sized(reader, length))
    }

    /// A file, with its name and the content type that its extension tells (`application/octet-stream` where that is not
    /// known). It is opened now and read while it is sent.
    ///
    /// # Errors
    ///
    /// Those of opening it, with its path.
    pub fn file(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let part = Self::new(Body::from_path(path)?);
        Ok(match path.file_name() {
            Some(name) => part.file_name(name.to_string_lossy()),
            None => part,
        })
    }

    /// The rest of an open file, from its current position. It has no file name until it is given one.
    ///
    /// # Errors
    ///
    /// As for [`Body::from_file`].
    pub fn open_file(file: File) -> io::Result<Self> {
        Body::from_file(file).map(Self::new)
    }

    /// The name of the file that the content is of, without folders. Unless a content type is set, the extension tells
    /// it.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// The content type, such as `text/csv; charset=utf-8`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) for characters that a header cannot hold.
    pub fn content_type(self, value: impl AsRef<str>) -> Result<Self, Error> {
        self.header(CONTENT_TYPE, value.as_ref())
    }

    /// A header of the part, in the place of one of that name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) for what is no header, and for
    /// `Content-Disposition`, which the form writes.
    pub fn header<N, V>(mut self, name: N, value: V) -> Result<Self, Error>
    where
        HeaderName: TryFrom<N>,
        HeaderValue: TryFrom<V>,
    {
        let name =
            HeaderName::try_from(name).map_err(|_| Error::invalid_request("a part's header has no valid name"))?;
        let value = HeaderValue::try_from(value)
            .map_err(|_| Error::invalid_request(format!("the value of a part's header `{name}` is not valid")))?;
        if name == CONTENT_DISPOSITION {
            return Err(Error::invalid_request("the Content-Disposition of a part is written by its form"));
        }
        self.headers.insert(name, value);
        Ok(self)
    }

    fn head(&self, boundary: &str, name: &str) -> Vec<u8> {
        let mut head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", escape(name));
        if let Some(file_name) = &self.file_name {
            head.push_str(&format!("; filename=\"{}\"", escape(file_name)));
        }
        head.push_str("\r\n");
        if let Some(file_name) = self.file_name.as_ref().filter(|_| !self.headers.contains_key(CONTENT_TYPE)) {
            head.push_str(&format!("Content-Type: {}\r\n", media_type(file_name)));
        }
        let mut head = head.into_bytes();
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// A name inside quotes (WHATWG HTML 4.10.21.8): what would end the quotes, the line or a C string is percent-encoded,
/// nothing else.
fn escape(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A").replace('\0', "%00")
}

impl From<Form> for AsyncBody {
    fn from(form: Form) -> Self {
        let length = form.len();
        let mut closing = form.closing();
        let mut pieces = Vec::with_capacity(form.parts.len() * 2 + 1);
        for (place, (head, body)) in form.parts.into_iter().enumerate() {
            // The line break before a boundary belongs to it, not to the part.
            let head = if place == 0 { head } else { [b"\r\n", &*head].concat().into() };
            pieces.push(AsyncBody::from(head));
            pieces.push(body);
        }
        if !pieces.is_empty() {
            closing.insert_str(0, "\r\n");
        }
        pieces.push(closing.into());
        let again: Option<Vec<Again>> = pieces.iter().map(AsyncBody::again).collect();
        let mut body = chain(pieces, length);
        body.again = again.map(|again| {
            let make = move || Ok(chain(again.iter().map(Again::make).collect::<io::Result<_>>()?, length));
            Arc::new(make) as Make
        });
        body
    }
}

impl From<Form> for Body {
    fn from(form: Form) -> Self {
        Self(form.into())
    }
}

fn chain(pieces: Vec<AsyncBody>, length: Option<u64>) -> AsyncBody {
    let reader = Box::pin(Chain(pieces.into_iter().map(Exact::new).collect()));
    Inner::Reader { reader, length }.into()
}

/// One body after the other.
struct Chain(VecDeque<Exact>);

impl AsyncRead for Chain {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        while let Some(first) = self.0.front_mut() {
            match ready!(Pin::new(first).poll_read(cx, buffer))? {
                0 => drop(self.0.pop_front()),
                amount => return Poll::Ready(Ok(amount)),
            }
        }
        Poll::Ready(Ok(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use futures::executor::block_on;
    use futures::io::{AsyncReadExt, Cursor};

    fn written(body: AsyncBody) -> io::Result<String> {
        let mut body = body;
        let mut all = Vec::new();
        block_on(body.read_to_end(&mut all))?;
        Ok(String::from_utf8(all).unwrap())
    }

    #[test]
    fn a_form_is_written_as_the_rfc_shows() {
        let form = Form::new().text("name", "Alma").part("data", Part::bytes(&b"1;2"[..]).file_name("data.csv")).part(
            "note",
            Part::text("n").content_type("text/plain; charset=utf-8").unwrap().header("X-A", "b").unwrap(),
        );
        let (boundary, length) = (form.boundary().to_owned(), form.len());
        let text = written(form.into()).unwrap();
        let expected = [
            "--B",
            "Content-Disposition: form-data; name=\"name\"",
            "",
            "Alma",
            "--B",
            "Content-Disposition: form-data; name=\"data\"; filename=\"data.csv\"",
            "Content-Type: text/csv",
            "",
            "1;2",
            "--B",
            "Content-Disposition: form-data; name=\"note\"",
            "content-type: text/plain; charset=utf-8",
            "x-a: b",
            "",
            "n",
            "--B--",
            "",
        ];
        assert_eq!(text.replace(&boundary, "B"), expected.join("\r\n"));
        assert_eq!(length, Some(text.len() as u64));
    }

    #[test]
    fn names_cannot_break_out_of_their_quotes() {
        let form = Form::new().part("a\"b\r\nX: y", Part::text("").file_name("c\"; x=\"\n%22ü\\"));
        let text = written(form.into()).unwrap();
        let line = text.lines().nth(1).unwrap();
        let expected = "form-data; name=\"a%22b%0D%0AX: y\"; filename=\"c%22; x=%22%0A%22ü\\\"";
        assert_eq!(line, format!("Content-Disposition: {expected}"));
    }

    #[test]
    fn headers_that_would_break_the_form_are_refused() {
        for (name, value) in [("a b", "x"), ("a", "x\r\ny"), ("Content-Disposition", "form-data"), ("", "x")] {
            let error = Part::text("").header(name, value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{name}");
        }
        assert!(Part::text("").content_type("text/\0").is_err());
    }

    #[test]
    fn an_empty_form_is_its_end_alone() {
        let form = Form::new();
        let (length, expected) = (form.len(), format!("--{}--\r\n", form.boundary()));
        assert!(form.is_empty());
        assert_eq!(written(form.into()).unwrap(), expected);
        assert_eq!(length, Some(expected.len() as u64));
    }

    #[test]
    fn no_two_boundaries_are_alike_in_any_place() {
        let all: Vec<_> = (0..500).map(|_| Form::new().boundary().to_owned()).collect();
        assert!(all.iter().all(|boundary| boundary.len() == 39 && boundary.is_ascii()));
        for place in 7..39 {
            let mut seen: Vec<_> = all.iter().map(|boundary| boundary.as_bytes()[place]).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 16, "place {place} has few values");
        }
    }

    #[test]
    fn the_length_is_known_when_each_part_is() {
        let known = Form::new().text("a", "1").part("b", Part::reader_sized(&b"22"[..], 2));
        let (length, body) = (known.len(), AsyncBody::from(known));
        assert_eq!((body.len(), body.len().is_some()), (length, true));
        assert_eq!(written(body).unwrap().len() as u64, length.unwrap());
        let unknown = Form::new().text("a", "1").part("b", Part::reader(&b"22"[..]));
        assert_eq!(AsyncBody::from(unknown).len(), None);
    }

    #[test]
    fn a_part_is_held_to_its_length_even_where_the_whole_has_none() {
        let part = |length| Part::new(AsyncBody::from_reader_sized(Cursor::new("12345"), length));
        let form = |length| Form::new().part("a", part(length)).part("b", Part::reader(&b"x"[..]));
        assert_eq!(written(form(9).into()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(written(form(3).into()).unwrap().contains("\r\n\r\n123\r\n--"));
    }

    #[test]
    fn a_form_can_be_made_again_if_each_part_can() {
        let form = Form::new().text("a", "1").part("b", Part::file(file!()).unwrap());
        let body = AsyncBody::from(form);
        let again = body.again().unwrap().make().unwrap();
        let third = again.again().unwrap().make().unwrap();
        let text = written(body).unwrap();
        assert!(text.contains("filename=\"multipart.rs\"") && text.contains("application/octet-stream"));
        assert_eq!(again.len(), Some(text.len() as u64));
        assert_eq!(written(again).unwrap(), text);
        assert_eq!(written(third).unwrap(), text);
        let once = AsyncBody::from(Form::new().part("a", Part::reader(&b"x"[..])));
        assert!(once.again().is_none());
    }
}
