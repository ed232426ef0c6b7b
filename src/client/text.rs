//! Bytes become text by the charset that the response declares. Nothing is lost in silence but what is no text.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::error::{Error, ErrorKind};

/// Decodes by the byte order mark, else by the charset of `Content-Type`, else as UTF-8. Malformed sequences become
/// U+FFFD.
///
/// # Errors
///
/// [`ErrorKind::InvalidResponseBody`](crate::ErrorKind::InvalidResponseBody) for a charset that is not known.
pub(crate) fn decode(bytes: Vec<u8>, headers: &HeaderMap) -> Result<String, Error> {
    let charset = charset(headers).filter(|name| !name.eq_ignore_ascii_case("utf-8"));
    match charset {
        None if !has_wide_mark(&bytes) => Ok(from_utf8(bytes)),
        charset => decode_other(bytes, charset),
    }
}

fn has_wide_mark(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])
}

fn from_utf8(mut bytes: Vec<u8>) -> String {
    if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(feature = "text-decoding")]
fn decode_other(bytes: Vec<u8>, charset: Option<String>) -> Result<String, Error> {
    let encoding = match &charset {
        None => encoding_rs::UTF_8,
        Some(name) => encoding_rs::Encoding::for_label(name.as_bytes()).ok_or_else(|| unknown(name))?,
    };
    Ok(encoding.decode(&bytes).0.into_owned())
}

#[cfg(not(feature = "text-decoding"))]
fn decode_other(bytes: Vec<u8>, charset: Option<String>) -> Result<String, Error> {
    match charset {
        None => Ok(from_utf8(bytes)),
        Some(name) if name.eq_ignore_ascii_case("us-ascii") => Ok(from_utf8(bytes)),
        Some(name) => Err(unknown(&name)),
    }
}

fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::InvalidResponseBody).with_detail(format!("the charset `{name}` is not known"))
}

/// The `charset` parameter (RFC 9110 8.3.2).
fn charset(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parameters = value.split(';').skip(1);
    parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("charset") && !value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: &str, bytes: &[u8], expected: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        assert_eq!(decode(bytes.to_vec(), &headers).unwrap(), expected);
    }

    #[test]
    fn utf8_is_the_default_and_marks_are_removed() {
        check("text/plain", "grüße".as_bytes(), "grüße");
        check("text/plain; charset=UTF-8", b"\xef\xbb\xbfx", "x");
        check("text/plain", b"a\xffb", "a\u{fffd}b");
    }

    #[cfg(feature = "text-decoding")]
    #[test]
    fn declared_charsets_and_byte_order_marks_are_obeyed() {
        check("text/plain; charset=iso-8859-1", b"gr\xfc\xdfe", "grüße");
        check("text/html; q=1; Charset=\"windows-1252\"", b"\x80", "€");
        check("text/plain; charset=utf-16le", b"h\0i\0", "hi");
        check("text/plain", b"\xff\xfeh\0i\0", "hi");
    }

    #[test]
    fn an_unknown_charset_is_an_error() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "text/plain; charset=klingon".parse().unwrap());
        assert_eq!(decode(vec![1], &headers).unwrap_err().kind(), ErrorKind::InvalidResponseBody);
    }
}
