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
