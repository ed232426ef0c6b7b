//! The heads of responses: lines as they come, fields once somebody reads them. Pure; knows no body.

use std::fmt;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode, Version};
use memchr::{memchr, memchr_iter};

use crate::error::{Error, ErrorKind};

mod facts;
mod lines;
mod parser;

pub use facts::Metrics;
pub(crate) use facts::{AtEnd, Ending, Ends, Facts, Measured};
use lines::Lines;
pub(crate) use parser::HeadParser;

/// The head of a response, with its fields as they came.
///
/// To read the fields ([`into_response`](Self::into_response)) costs more than to receive them. A handler that hands a head
/// to another thread lets that one read them, and one that needs none of them leaves them alone.
pub struct Head(Box<Lines>);

impl Head {
    /// The version of HTTP that the response came in.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The length of the body that follows, where it is known.
    pub fn body_length(&self) -> Option<u64> {
        self.0.facts.as_ref().and_then(|facts| facts.body_length)
    }

    /// Reads the fields.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ProtocolViolation`] for a line that is no header field (RFC 9110 5), [`ErrorKind::TooLarge`] for more
    /// fields than can be kept.
    pub fn into_response(mut self) -> Result<Response<()>, Error> {
        let mut response = Response::new(());
        *response.version_mut() = self.version();
        *response.status_mut() = self.status();
        *response.headers_mut() = read_fields(&self.0.fields).map_err(|error| match &self.0.facts {
            Some(facts) => error.with_url(&facts.uri),
            None => error,
        })?;
        if let Some(facts) = self.0.facts.take() {
            response.extensions_mut().insert(facts);
        }
        Lines::keep(self.0);
        Ok(response)
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn facts(&self) -> Option<&Facts> {
        self.0.facts.as_ref()
    }

    /// The length of the body that follows on a request, which may be a HEAD.
    pub(crate) fn length_after(&self, to_head: bool) -> Option<u64> {
        if to_head || matches!(self.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Some(0);
        }
        self.0.content_length
    }

    /// Adds what is known beside the head.
    pub(crate) fn with_facts(mut self, facts: Facts) -> Self {
        self.0.facts = Some(facts);
        self
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Fields hold secrets.
        f.debug_struct("Head").field("version", &self.version()).field("status", &self.status()).finish_non_exhaustive()
    }
}

/// Values share one piece of memory.
fn read_fields(lines: &[u8]) -> Result<HeaderMap, Error> {
    let count = memchr_iter(b'\n', lines).count();
    let mut fields = HeaderMap::try_with_capacity(count).map_err(|_| too_many())?;
    let lines = Bytes::copy_from_slice(lines);
    let mut start = 0;
    for end in memchr_iter(b'\n', &lines) {
        append(&mut fields, &lines[start..end], |value| lines.slice_ref(value))?;
        start = end + 1;
    }
    Ok(fields)
}

/// Adds the field of a line, with a value that `share` makes.
fn append(fields: &mut HeaderMap, line: &[u8], share: impl FnOnce(&[u8]) -> Bytes) -> Result<(), Error> {
    let bad = || no_field(line);
    let (name, value) = split(line).ok_or_else(bad)?;
    let name = HeaderName::from_bytes(name).map_err(|_| bad())?;
    let value = HeaderValue::from_maybe_shared(share(value)).map_err(|_| bad())?;
    fields.try_append(name, value).map(drop).map_err(|_| too_many())
}

/// The name and the value of a field line.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr(b':', line)?;
    Some((line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii()))
}

fn no_field(line: &[u8]) -> Error {
    violation(format!("a header line that is none: {}", line.trim_ascii_end().escape_ascii()))
}

fn too_many() -> Error {
    Error::new(ErrorKind::TooLarge).with_detail("more response headers than can be kept")
}

fn violation(detail: String) -> Error {
    Error::new(ErrorKind::ProtocolViolation).with_detail(detail)
}

#[cfg(test)]
impl Head {
    /// `200 OK` without fields.
    pub(crate) fn bare(length: Option<u64>) -> Self {
        let facts = Facts { uri: http::Uri::default(), ends: Ends::default(), metrics: None, body_length: length };
        Self(Lines::take()).with_facts(facts)
    }
}
