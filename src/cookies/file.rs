//! Files of saved state: read whole, checked cookie by cookie, replaced whole. Knows no format.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use url::Host;
use zeroize::Zeroizing;

use super::cookie::{Cookie, Fields};
use super::host::is_public_suffix;
use super::parse::{MAX_ATTRIBUTE, capped, check_pair, has_control};
use super::store::check_flags;
use crate::error::{Error, ErrorKind};

/// No file of state is larger, in bytes.
const MAX_FILE: usize = 32 << 20;

/// A cookie that was read from a file.
pub(super) struct Saved {
    pub(super) cookie: Cookie,
    pub(super) created: SystemTime,
}

/// All that the reader has, up to 32 MiB.
pub(crate) fn read_all(reader: impl Read) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut text = Zeroizing::new(Vec::new());
    reader.take(MAX_FILE as u64 + 1).read_to_end(&mut text)?;
    if text.len() > MAX_FILE {
        return Err(Error::new(ErrorKind::TooLarge).with_detail("the file has more than 32 MiB"));
    }
    Ok(text)
}

/// A mistake in a file.
pub(crate) fn bad(place: &str, number: usize, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidConfiguration).with_detail(format!("{place} {number}: {why}"))
}

/// An error of the file system, with the path.
pub(crate) fn at(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io).with_detail(path.display().to_string()).with_source(error)
}

pub(super) fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

#[cfg(not(feature = "json"))]
pub(super) fn no_json() -> Error {
    Error::new(ErrorKind::InvalidConfiguration).with_detail("files of cookies in JSON need the feature `json`")
}

/// What a line or an object of a file says.
pub(super) struct Unchecked {
    pub(super) fields: Fields,
    pub(super) created: SystemTime,
}

/// Checks what was read. `Ok(None)` for a cookie that is well formed, but expired or not allowed.
pub(super) fn check(read: Unchecked, now: SystemTime) -> Result<Option<Saved>, String> {
    let Unchecked { mut fields, created } = read;
    check_pair(&fields.name, &fields.value).map_err(|reason| reason.to_string())?;
    if !fields.path.starts_with('/') || fields.path.len() > MAX_ATTRIBUTE || has_control(fields.path.as_bytes()) {
        return Err("the path is not valid".to_owned());
    }
    let host = host(&fields.domain).ok_or("the domain is not valid")?;
    fields.host_only |= !matches!(host, Host::Domain(_));
    fields.domain = host.to_string().into();
    fields.expires = fields.expires.map(|expires| capped(expires, now));
    let suffix = !fields.host_only && is_public_suffix(&fields.domain);
    let cookie = Cookie::new(fields);
    let kept = !suffix && !cookie.is_expired(now) && check_flags(&cookie, true).is_ok();
    Ok(kept.then_some(Saved { cookie, created: created.min(now) }))
}

/// A host as it stands in a file, IPv6 addresses with or without brackets.
pub(crate) fn host(text: &str) -> Option<Host> {
    match text.parse() {
        Ok(address) => Some(Host::Ipv6(address)),
        Err(_) => Host::parse(text).ok(),
    }
}

/// Writes a new file beside the old one and puts it in its place. Only the owner may read it.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let (mut file, beside) = create_beside(path).map_err(|error| at(path, error))?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    // Windows renames no open file.
    drop(file);
    written.and_then(|()| fs::rename(&beside, path)).map_err(|error| {
        let _ = fs::remove_file(&beside);
        at(path, error)
    })
}

fn create_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // A file of a process that was killed may be in the way, but not that many.
    for _ in 0..1000 {
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(format!(".{}-{}.tmp", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let beside = path.with_file_name(beside);
        match options.open(&beside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(file) => return Ok((file, beside)),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many temporary files"))
}

#[cfg(test)]
pub(super) mod tests {
    use http::Uri;

    use super::super::CookieJar;
    use super::*;

    fn url(text: &str) -> Uri {
        text.parse().unwrap()
    }

    /// A jar with a cookie of each kind.
    pub(in super::super) fn full() -> CookieJar {
        let jar = CookieJar::new();
        for (header, from) in [
            ("session=1; Path=/a", "http://example.org/"),
            ("lasting=2; Max-Age=1000; Secure; HttpOnly; SameSite=Strict", "https://www.example.org/x/y"),
            ("wide=\"3 = three\"; Domain=example.org; Max-Age=2000; Path=/", "http://www.example.org/"),
            ("nameless; Max-Age=1000", "http://example.org/"),
            ("latin=\u{e9}\\\"; Max-Age=1000; SameSite=None; Secure", "https://[::1]/"),
            ("four=4; Max-Age=1000", "http://127.0.0.1/"),
        ] {
            jar.set(header, &url(from)).unwrap();
        }
        jar
    }

    /// All that can be seen of the cookies, times to the second.
    pub(in super::super) fn facts(jar: &CookieJar) -> Vec<String> {
        let seen = jar.cookies().into_iter().map(|cookie| {
            format!(
                "{}={} {} {} {:?} {} {} {} {:?}",
                cookie.name(),
                cookie.value(),
                cookie.domain(),
                cookie.path(),
                cookie.expires().map(super::super::date::to_unix),
                cookie.secure(),
                cookie.http_only(),
                cookie.host_only(),
                cookie.same_site()
            )
        });
        seen.collect()
    }

    #[test]
    fn files_are_replaced_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let names: &[&str] = if cfg!(feature = "json") { &["cookies.txt", "jar.JSON"] } else { &["cookies.txt"] };
        for name in names {
            let path = folder.path().join(name);
            std::fs::write(&path, "what was there before").unwrap();
            let jar = full();
            jar.save_to(&path).unwrap();
            #[cfg(unix)]
            {
                let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
                assert_eq!(mode & 0o777, 0o600);
            }
            let back = CookieJar::new();
            back.load_from(&path).unwrap();
            assert_eq!(back.len(), if *name == "cookies.txt" { 6 } else { 5 });
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no temporary file is left");
        let missing = CookieJar::new().load_from(folder.path().join("cookies.txt")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Io);
        assert!(missing.to_string().contains("cookies.txt"), "{missing}");
        let nowhere = full().save_to(folder.path().join("none/cookies.txt")).unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::Io);
    }
}
