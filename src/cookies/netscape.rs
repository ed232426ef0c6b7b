//! `cookies.txt`, as Netscape made it and curl writes it: seven fields and tabs between them. Does no input or output.

use std::time::SystemTime;

use zeroize::Zeroizing;

use super::cookie::{Cookie, Fields};
use super::date::{from_unix, to_unix};
use super::file::{self, Saved, Unchecked};
use crate::error::Error;

const HEAD: &str =
    "# Netscape HTTP Cookie File\n# https://curl.se/docs/http-cookies.html\n# This file holds secrets.\n\n";
/// Stands before the domain of a cookie that is `HttpOnly`; looks like a comment to programs that do not know it.
const HTTP_ONLY: &[u8] = b"#HttpOnly_";

pub(super) fn write(cookies: &[(Cookie, SystemTime)]) -> Zeroizing<Vec<u8>> {
    // Made large enough at once: a vector that grows would leave copies of values behind.
    let size = cookies.iter().map(|(cookie, _)| {
        let fields = cookie.fields();
        fields.name.len() + fields.value.len() + fields.domain.len() + fields.path.len() + 64
    });
    let mut text = Zeroizing::new(Vec::with_capacity(HEAD.len() + size.sum::<usize>()));
    text.extend_from_slice(HEAD.as_bytes());
    for fields in cookies.iter().map(|(cookie, _)| cookie.fields()) {
        if [&fields.name[..], &fields.value[..], fields.path.as_bytes()].iter().any(|text| text.contains(&b'\t')) {
            continue;
        }
        if fields.http_only {
            text.extend_from_slice(HTTP_ONLY);
        }
        let flag = |flag| if flag { "TRUE" } else { "FALSE" };
        let middle = format!(
            "{}{}\t{}\t{}\t{}\t{}\t",
            if fields.host_only { "" } else { "." },
            // curl writes IPv6 addresses without brackets.
            fields.domain.trim_matches(['[', ']']),
            flag(!fields.host_only),
            fields.path,
            flag(fields.secure),
            // 0 means a session cookie. One that ends in 1970 is not kept, so no other cookie has it.
            fields.expires.map_or(0, to_unix),
        );
        text.extend_from_slice(middle.as_bytes());
        text.extend_from_slice(&fields.name);
        text.push(b'\t');
        text.extend_from_slice(&fields.value);
        text.push(b'\n');
    }
    text
}

pub(super) fn read(text: &[u8], now: SystemTime) -> Result<Vec<Saved>, Error> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut cookies = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (line, http_only) = line.strip_prefix(HTTP_ONLY).map_or((line, false), |line| (line, true));
        if line.trim_ascii().is_empty() || (line.starts_with(b"#") && !http_only) {
            continue;
        }
        let read = read_line(line, http_only, now).map_err(str::to_owned);
        let saved = read.and_then(|read| file::check(read, now)).map_err(|why| file::bad("line", index + 1, why))?;
        cookies.extend(saved);
    }
    Ok(cookies)
}

fn read_line(line: &[u8], http_only: bool, now: SystemTime) -> Result<Unchecked, &'static str> {
    let mut parts = line.splitn(7, |byte| *byte == b'\t');
    let mut next = || parts.next();
    let (Some(domain), Some(tail), Some(path), Some(secure), Some(expires), Some(name)) =
        (next(), next(), next(), next(), next(), next())
    else {
        return Err("there are fewer than seven fields with tabs between them");
    };
    // Some programs leave out the last tab if the value is empty.
    let value = next().unwrap_or_default();
    if value.contains(&b'\t') {
        return Err("there are more than seven fields");
    }
    let text = |bytes, why| str::from_utf8(bytes).map_err(|_| why);
    let flag = |bytes: &[u8]| match bytes.to_ascii_uppercase().as_slice() {
        b"TRUE" => Ok(true),
        b"FALSE" => Ok(false),
        _ => Err("a flag is neither TRUE nor FALSE"),
    };
    let domain = text(domain, "the domain is not valid")?;
    // Some exports write fractions of a second.
    let expires = text(expires, "the time is not a number")?;
    let expires: i64 = expires.split('.').next().unwrap_or_default().parse().map_err(|_| "the time is not a number")?;
    let fields = Fields {
        name: name.into(),
        value: Zeroizing::new(value.into()),
        domain: domain.strip_prefix('.').unwrap_or(domain).into(),
        path: text(path, "the path is not valid")?.into(),
        expires: (expires != 0).then(|| from_unix(expires)),
        secure: flag(secure)?,
        http_only,
        host_only: !flag(tail)?,
        same_site: None,
    };
    Ok(Unchecked { fields, created: now })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::{Duration, SystemTime};

    use http::Uri;

    use super::super::CookieJar;
    use super::super::file::tests::{facts, full};
    use crate::error::{Error, ErrorKind};

    fn url(text: &str) -> Uri {
        text.parse().unwrap()
    }

    fn netscape(text: &str) -> Result<CookieJar, Error> {
        let jar = CookieJar::new();
        jar.load_netscape(text.as_bytes()).map(|()| jar)
    }

    #[test]
    fn netscape_text_goes_there_and_back() {
        let jar = full();
        let mut text = Vec::new();
        jar.save_netscape(&mut text).unwrap();
        let back = netscape(str::from_utf8(&text).unwrap()).unwrap();
        let without_same_site = |jar: &CookieJar| -> Vec<String> {
            facts(jar).iter().map(|fact| fact.replace("Some(Strict)", "None").replace("Some(None)", "None")).collect()
        };
        assert_eq!(without_same_site(&back), without_same_site(&jar));
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("# Netscape HTTP Cookie File\n"), "{text}");
        assert!(text.contains("\nexample.org\tFALSE\t/a\tFALSE\t0\tsession\t1\n"), "{text}");
        assert!(text.contains("\n#HttpOnly_www.example.org\tFALSE\t/x\tTRUE\t"), "{text}");
        assert!(text.contains("\n.example.org\tTRUE\t/\tFALSE\t"), "{text}");
        assert!(text.contains("\n::1\tFALSE\t/\tTRUE\t"), "{text}");
    }

    #[test]
    fn cookies_txt_of_others_is_read() {
        let later = super::super::date::to_unix(SystemTime::now()) + 1000;
        let text = format!(
            "# Netscape HTTP Cookie File\r\n\r\n# a comment\r\n\
             example.org\tFALSE\t/\tFALSE\t0\ta\tb\r\n\
             #HttpOnly_.Example.ORG\tTRUE\t/x\tTRUE\t{later}\tc\td=e f\n\
             example.org\tfalse\t/\tfalse\t{later}.25\tempty\n\
             example.org\tFALSE\t/\tFALSE\t1\texpired\tx\n\
             .org\tTRUE\t/\tFALSE\t0\tsuffix\tx\n\
             example.org\tFALSE\t/\tFALSE\t0\t__Secure-x\tx\n\
             example.org\tFALSE\t/\tFALSE\t99999999999\tlong\tx"
        );
        let jar = netscape(&text).unwrap();
        let seen: Vec<_> = jar.cookies().iter().map(|cookie| format!("{}={}", cookie.name(), cookie.value())).collect();
        assert_eq!(seen, ["a=b", "c=d=e f", "empty=", "long=x"]);
        let cookie = jar.get_by_name(&url("https://sub.example.org/x"), "c").unwrap();
        assert!(cookie.http_only() && cookie.secure() && !cookie.host_only());
        let long = jar.get_by_name(&url("http://example.org/"), "long").unwrap();
        assert!(long.expires().unwrap() <= SystemTime::now() + Duration::from_secs(400 * 86_400));
    }

    #[test]
    fn a_bad_line_is_named_and_nothing_is_loaded() {
        let good = "example.org\tFALSE\t/\tFALSE\t0\ta\tnew";
        for (line, why) in [
            ("example.org FALSE / FALSE 0 a b", "fewer than seven"),
            ("example.org\tFALSE\t/\tFALSE\t0", "fewer than seven"),
            ("example.org\tFALSE\t/\tFALSE\t0\ta\tb\tc", "more than seven"),
            ("example.org\tMAYBE\t/\tFALSE\t0\ta\tb", "neither TRUE nor FALSE"),
            ("example.org\tFALSE\t/\t\t0\ta\tb", "neither TRUE nor FALSE"),
            ("example.org\tFALSE\tx\tFALSE\t0\ta\tb", "path"),
            ("example.org\tFALSE\t/\tFALSE\tsoon\ta\tb", "time"),
            ("exa mple\tFALSE\t/\tFALSE\t0\ta\tb", "domain"),
            ("\tFALSE\t/\tFALSE\t0\ta\tb", "domain"),
            ("example.org\tFALSE\t/\tFALSE\t0\t\t", "neither name nor value"),
            ("example.org\tFALSE\t/\tFALSE\t0\ta\tb\0", "control character"),
            (&format!("example.org\tFALSE\t/\tFALSE\t0\ta\t{}", "v".repeat(4096)), "4096"),
        ] {
            let jar = CookieJar::new();
            jar.set("a=old", &url("http://example.org/")).unwrap();
            let text = format!("# head\n{good}\n{line}\n{good}\n");
            let error = jar.load_netscape(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{line}");
            assert!(error.to_string().contains("line 3: ") && error.to_string().contains(why), "{line}: {error}");
            assert_eq!(jar.get_by_name(&url("http://example.org/"), "a").unwrap().value(), "old");
        }
        let failing = CookieJar::new().load_netscape(Failing).unwrap_err();
        assert_eq!(failing.kind(), ErrorKind::Io);
    }

    struct Failing;

    impl io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("no more"))
        }
    }
}
