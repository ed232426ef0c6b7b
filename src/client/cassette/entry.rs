//! One recorded exchange, and the line of JSON that it is in a file. Reads and writes no file.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use serde::{Deserialize, Serialize};

use super::super::redact::Redaction;
use super::super::tap::{Ending, Passed};
use crate::error::{Error, ErrorKind, TimeoutPhase};

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// The version of the format: 1.
    pub(super) marmot_cassette: u32,
    pub(super) program: String,
}

/// The version of the format that is written, and the only one that is read.
pub(super) const FORMAT: u32 = 1;

/// A request and what came of it: a response, an error, or a response whose body failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) request: RecordedRequest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<RecordedResponse>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<RecordedError>,
    /// Microseconds until the response's head, or the error.
    pub(super) head_us: u64,
    /// Microseconds until the end of the body.
    pub(super) total_us: u64,
}

/// A request as a cassette holds it: without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRequest {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Fields,
    #[serde(default, skip_serializing_if = "Content::is_none")]
    pub(super) body: Content,
}

impl RecordedRequest {
    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The URL, without user, password and the secrets of its query.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.0.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    /// The body without its secrets; `None` if it was larger than the limit.
    pub fn body(&self) -> Option<&[u8]> {
        self.body.bytes.as_deref()
    }
}

/// A response as a cassette holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RecordedResponse {
    pub(super) status: u16,
    pub(super) version: String,
    pub(super) headers: Fields,
    #[serde(default, skip_serializing_if = "Content::is_none")]
    pub(super) body: Content,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trailers: Option<Fields>,
}

/// How a request or a body failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RecordedError {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl RecordedError {
    pub(super) fn new(error: &Error, redaction: &Redaction) -> Self {
        let clean = |text: &str| String::from_utf8_lossy(&redaction.text(text.as_bytes())).into_owned();
        Self {
            kind: error.kind().name().to_owned(),
            phase: error.timeout_phase().map(|phase| phase.description().to_owned()),
            detail: error.detail().map(clean),
        }
    }

    /// The error once more. A kind of a later version is [`ErrorKind::Io`].
    pub(super) fn to_error(&self) -> Error {
        let kind = ErrorKind::from_name(&self.kind).unwrap_or(ErrorKind::Io);
        let phase = self.phase.as_deref().and_then(TimeoutPhase::from_description);
        let error = match phase.filter(|_| kind == ErrorKind::Timeout) {
            Some(phase) => Error::timeout(phase),
            None => Error::new(kind),
        };
        match &self.detail {
            Some(detail) => error.with_detail(detail.as_str()),
            None => error,
        }
    }
}

/// Header fields in order, as pairs of a name and a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Fields(#[serde(with = "fields")] pub(super) Vec<(String, Vec<u8>)>);

impl Fields {
    pub(super) fn to_map(&self) -> HeaderMap {
        let pairs = self.0.iter().filter_map(|(name, value)| {
            Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_bytes(value).ok()?))
        });
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value);
        }
        map
    }
}

/// Values are text; those that are not UTF-8 are objects with `base64`.
mod fields {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Written;

    pub(super) fn serialize<S: Serializer>(fields: &[(String, Vec<u8>)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(fields.iter().map(|(name, value)| (name, Written::of(value))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, Vec<u8>)>, D::Error> {
        let pairs = Vec::<(String, Written)>::deserialize(from)?;
        let read = |(name, value): (String, Written)| Ok((name, value.bytes().map_err(serde::de::Error::custom)?));
        pairs.into_iter().map(read).collect()
    }
}

/// Bytes in JSON: as text where they are that.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Base64 { base64: String },
}

impl Written {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64 { base64: BASE64_STANDARD.encode(bytes) },
        }
    }

    fn bytes(self) -> Result<Vec<u8>, impl fmt::Display> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64 { base64 } => BASE64_STANDARD.decode(base64),
        }
    }
}

/// A body, as far as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenContent", into = "WrittenContent")]
pub(super) struct Content {
    /// `None`: it was larger than the limit, and there is a hash instead.
    pub(super) bytes: Option<Bytes>,
    pub(super) hash: Option<String>,
    pub(super) length: u64,
    /// Its length was not known when it was sent.
    pub(super) streamed: bool,
    /// It was not read to its end.
    pub(super) partial: bool,
}

impl Default for Content {
    fn default() -> Self {
        Self { bytes: Some(Bytes::new()), hash: None, length: 0, streamed: false, partial: false }
    }
}

#[derive(Serialize, Deserialize)]
struct WrittenContent {
    #[serde(flatten)]
    bytes: Option<WrittenBytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    streamed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenBytes {
    Text(String),
    Base64(String),
}

impl Content {
    /// What has passed of a body. The headers are those of its message, before redaction.
    pub(super) fn new(passed: &Passed, headers: &HeaderMap, redaction: &Redaction) -> Self {
        let partial = matches!(passed.ending, Ending::Open);
        if passed.is_over() {
            let hash = Some(passed.hash.to_string());
            return Self { bytes: None, hash, length: passed.total, streamed: false, partial };
        }
        let bytes = Bytes::from(redaction.body(&passed.bytes, headers).into_owned());
        Self { length: bytes.len() as u64, bytes: Some(bytes), partial, ..Self::default() }
    }

    /// Whether there is nothing to say: an empty body that was there to its end.
    fn is_none(&self) -> bool {
        self.length == 0 && !self.streamed && !self.partial
    }
}

impl From<Content> for WrittenContent {
    fn from(content: Content) -> Self {
        let bytes = content.bytes.map(|bytes| match std::str::from_utf8(&bytes) {
            Ok(text) => WrittenBytes::Text(text.to_owned()),
            Err(_) => WrittenBytes::Base64(BASE64_STANDARD.encode(&bytes)),
        });
        let length = bytes.is_none().then_some(content.length);
        Self { bytes, length, hash: content.hash, streamed: content.streamed, partial: content.partial }
    }
}

impl TryFrom<WrittenContent> for Content {
    type Error = base64::DecodeError;

    fn try_from(written: WrittenContent) -> Result<Self, Self::Error> {
        let bytes = match written.bytes {
            Some(WrittenBytes::Text(text)) => Some(text.into_bytes()),
            Some(WrittenBytes::Base64(text)) => Some(BASE64_STANDARD.decode(text)?),
            None => None,
        };
        let length = bytes.as_ref().map_or(written.length.unwrap_or(0), |bytes| bytes.len() as u64);
        let bytes = bytes.map(Bytes::from);
        Ok(Self { bytes, hash: written.hash, length, streamed: written.streamed, partial: written.partial })
    }
}

pub(super) fn request(
    method: &Method,
    url: String,
    headers: &HeaderMap,
    body: Content,
    redaction: &Redaction,
) -> RecordedRequest {
    RecordedRequest { method: method.to_string(), url, headers: Fields(redaction.headers(headers)), body }
}

impl RecordedResponse {
    /// The parts that make it a response again.
    pub(super) fn head(&self) -> Result<http::Response<()>, Error> {
        let mut head = http::Response::new(());
        *head.status_mut() = StatusCode::from_u16(self.status).map_err(http::Error::from)?;
        *head.version_mut() = version(&self.version);
        *head.headers_mut() = self.headers.to_map();
        Ok(head)
    }
}

fn version(text: &str) -> Version {
    match text {
        "HTTP/1.0" => Version::HTTP_10,
        "HTTP/2.0" => Version::HTTP_2,
        "HTTP/3.0" => Version::HTTP_3,
        _ => Version::HTTP_11,
    }
}

/// The version as `http` writes it: `HTTP/2.0`.
pub(super) fn version_name(version: Version) -> String {
    format!("{version:?}")
}
