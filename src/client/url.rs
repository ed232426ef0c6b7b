//! Text as people write it becomes a URL. Sends nothing.

use http::Uri;

use crate::error::{Error, ErrorKind};

/// Reads a URL as browsers do (the URL Standard of WHATWG): a host with letters of any language gets its ASCII form
/// (RFC 5891), and what needs it in path and query is percent-encoded.
///
/// Everything that takes a URL takes one that is in that form already (RFC 3986), which is all that `http::Uri` holds.
///
/// # Errors
///
/// [`ErrorKind::InvalidRequest`] if it is not an absolute URL.
///
/// # Examples
///
/// ```
/// let url = marmot::parse_url("http://bücher.example/süß?q=a b")?;
/// assert_eq!(url, "http://xn--bcher-kva.example/s%C3%BC%C3%9F?q=a%20b");
/// # Ok::<(), marmot::Error>(())
/// ```
pub fn parse_url(text: impl AsRef<str>) -> Result<Uri, Error> {
    let url = url::Url::parse(text.as_ref())
        .map_err(|error| Error::new(ErrorKind::InvalidRequest).with_detail("not a URL").with_source(error))?;
    url.as_str().parse::<Uri>().map_err(|error| http::Error::from(error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_browsers_do() {
        for (text, expected) in [
            ("http://BÜCHER.example", "http://xn--bcher-kva.example/"),
            (" https://a.test/x y ", "https://a.test/x%20y"),
            ("http://例え.テスト:8080/ä", "http://xn--r8jz45g.xn--zckzah:8080/%C3%A4"),
            ("http://127.1/", "http://127.0.0.1/"),
        ] {
            assert_eq!(parse_url(text).unwrap().to_string(), expected, "{text}");
        }
        for bad in ["", "/path", "bücher.example", "http://", "http://a b/", "http://\u{0}/"] {
            assert_eq!(parse_url(bad).unwrap_err().kind(), ErrorKind::InvalidRequest, "{bad}");
        }
    }
}
