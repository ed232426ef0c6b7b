//! TLS settings applied, to the connection with a server or with a proxy. What the TLS library would pass over is refused.

use std::io;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use libc::c_long;

use super::Easy;
use crate::config::{CaCertificates, CaSource, Identity, IdentityForm, TlsConfig, TlsVersion, Trusted};
use crate::error::{Error, ErrorKind};
use crate::ffi::memfile::MemoryFile;
use crate::ffi::options::{self, BlobOption, LongOption, TextOption, linked};

/// The library behind libcurl's TLS, as far as it matters what it can do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backend {
    Rustls,
    OpenSsl,
    /// One of a system's libcurl. It is left to libcurl to refuse what it cannot do.
    Other,
}

fn backend() -> Backend {
    static BACKEND: OnceLock<Backend> = OnceLock::new();
    *BACKEND.get_or_init(|| match linked().ssl_version() {
        Some(name) if name.starts_with("rustls") => Backend::Rustls,
        Some(name) if name.contains("OpenSSL") || name.contains("LibreSSL") || name.contains("BoringSSL") => {
            Backend::OpenSsl
        }
        _ => Backend::Other,
    })
}

/// The options of one of the two connections.
struct Numbers {
    verify_peer: LongOption,
    verify_host: LongOption,
    versions: LongOption,
    flags: LongOption,
    ca_file: TextOption,
    ca_path: TextOption,
    ca_blob: BlobOption,
    ciphers: TextOption,
    ciphers13: TextOption,
    pinned: TextOption,
    certificate: TextOption,
    certificate_blob: BlobOption,
    certificate_type: TextOption,
    key: TextOption,
    key_blob: BlobOption,
    key_password: TextOption,
}

const SERVER: Numbers = Numbers {
    verify_peer: LongOption::VerifyPeer,
    verify_host: LongOption::VerifyHost,
    versions: LongOption::SslVersion,
    flags: LongOption::SslOptions,
    ca_file: TextOption::CaInfo,
    ca_path: TextOption::CaPath,
    ca_blob: BlobOption::CaInfo,
    ciphers: TextOption::SslCipherList,
    ciphers13: TextOption::Tls13Ciphers,
    pinned: TextOption::PinnedPublicKey,
    certificate: TextOption::SslCert,
    certificate_blob: BlobOption::SslCert,
    certificate_type: TextOption::SslCertType,
    key: TextOption::SslKey,
    key_blob: BlobOption::SslKey,
    key_password: TextOption::KeyPassword,
};

const PROXY: Numbers = Numbers {
    verify_peer: LongOption::ProxyVerifyPeer,
    verify_host: LongOption::ProxyVerifyHost,
    versions: LongOption::ProxySslVersion,
    flags: LongOption::ProxySslOptions,
    ca_file: TextOption::ProxyCaInfo,
    ca_path: TextOption::ProxyCaPath,
    ca_blob: BlobOption::ProxyCaInfo,
    ciphers: TextOption::ProxySslCipherList,
    ciphers13: TextOption::ProxyTls13Ciphers,
    pinned: TextOption::ProxyPinnedPublicKey,
    certificate: TextOption::ProxySslCert,
    certificate_blob: BlobOption::ProxySslCert,
    certificate_type: TextOption::ProxySslCertType,
    key: TextOption::ProxySslKey,
    key_blob: BlobOption::ProxySslKey,
    key_password: TextOption::ProxyKeyPassword,
};

/// Applies the settings for servers.
pub(super) fn servers(easy: &mut Easy, tls: &TlsConfig) -> Result<(), Error> {
    apply(easy, tls, &SERVER)
}

/// Applies the settings for proxies.
pub(super) fn proxies(easy: &mut Easy, tls: &TlsConfig) -> Result<(), Error> {
    apply(easy, tls, &PROXY)
}

/// Whether TLS with these settings would write secrets that nobody asked to be written.
///
/// libcurl looks for `SSLKEYLOGFILE` with each connection (rustls) or with the first (OpenSSL), and cannot be told not
/// to. Removing the variable is no way out: that is unsound while other threads may read the environment.
pub(super) fn check_key_log(tls: &TlsConfig) -> Result<(), Error> {
    static SET_AT_START: OnceLock<bool> = OnceLock::new();
    let set = || std::env::var_os("SSLKEYLOGFILE").is_some();
    if !tls.key_log.unwrap_or(false) && (*SET_AT_START.get_or_init(set) || set()) {
        return Err(unusable(
            "the environment variable SSLKEYLOGFILE is set, so that the secrets of TLS connections would be written to \
             a file: unset it, or allow that by `TlsConfig::danger_key_log`",
        ));
    }
    Ok(())
}

fn apply(easy: &mut Easy, tls: &TlsConfig, numbers: &Numbers) -> Result<(), Error> {
    if !linked().feature_ssl() {
        // Nothing to set: such a libcurl refuses every URL that would need it.
        return Ok(());
    }
    // Without `..`, so that a setting forgotten here does not compile.
    let TlsConfig {
        roots,
        extra_roots,
        client_certificate,
        min_version,
        max_version,
        ciphers_tls12,
        ciphers_tls13,
        pinned_public_key,
        accept_invalid_certs,
        accept_invalid_hosts,
        // Looked at with each request.
        key_log: _,
    } = tls;
    set_roots(easy, &roots.clone().unwrap_or_default().0, extra_roots.as_deref().unwrap_or_default(), numbers)?;
    if let Some(identity) = client_certificate.as_ref().and_then(Option::as_ref) {
        set_identity(easy, &identity.0, numbers)?;
    }
    let lowest = min_version.unwrap_or(TlsVersion::V1_2);
    let highest = max_version.flatten();
    if highest.is_some_and(|highest| highest < lowest) {
        return Err(unusable("the newest version of TLS to accept is older than the oldest"));
    }
    let number = version_number(lowest) | highest.map_or(0, |version| version_number(version) << 16);
    options::set_long(easy, numbers.versions, number).map_err(unsupported("the versions of TLS"))?;
    for (list, option) in [(ciphers_tls12, numbers.ciphers), (ciphers_tls13, numbers.ciphers13)] {
        if let Some(list) = list {
            check_ciphers(list)?;
            options::set_text(easy, option, Some(list)).map_err(unsupported("a choice of ciphers"))?;
        }
    }
    if let Some(keys) = pinned_public_key.as_ref().and_then(Option::as_ref) {
        options::set_text(easy, numbers.pinned, Some(keys)).map_err(unsupported("pinned public keys"))?;
    }
    if accept_invalid_certs.unwrap_or(false) {
        options::set_long(easy, numbers.verify_peer, 0).map_err(failed)?;
        options::set_long(easy, numbers.verify_host, 0).map_err(failed)?;
    } else if accept_invalid_hosts.unwrap_or(false) {
        // rustls does not look at CURLOPT_SSL_VERIFYHOST.
        if backend() != Backend::OpenSsl {
            return Err(missing("accepting any name while the certificate is verified"));
        }
        options::set_long(easy, numbers.verify_host, 0).map_err(failed)?;
    }
    Ok(())
}

fn set_roots(easy: &mut Easy, roots: &Trusted, extra: &[CaCertificates], numbers: &Numbers) -> Result<(), Error> {
    let mut bundle = Vec::new();
    match roots {
        Trusted::Platform if extra.is_empty() => return set_platform_roots(easy, numbers),
        Trusted::Platform => bundle.extend_from_slice(platform_pem()?),
        #[cfg(feature = "bundled-roots")]
        Trusted::Bundled => bundle.extend_from_slice(bundled_pem()),
        Trusted::Only(CaCertificates(CaSource::File(path))) if extra.is_empty() => {
            only_these(easy, numbers)?;
            let path = path.to_str().ok_or_else(|| unusable("a path with certificates is not UTF-8"))?;
            return options::set_text(easy, numbers.ca_file, Some(path)).map_err(failed);
        }
        Trusted::Only(certificates) => append(&mut bundle, certificates)?,
    }
    for certificates in extra {
        append(&mut bundle, certificates)?;
    }
    only_these(easy, numbers)?;
    options::set_blob(easy, numbers.ca_blob, &bundle).map_err(unsupported("certificate authorities in memory"))
}

fn set_platform_roots(easy: &mut Easy, numbers: &Numbers) -> Result<(), Error> {
    const NATIVE_CA: c_long = 1 << 4;
    match backend() {
        Backend::Rustls => options::set_long(easy, numbers.flags, NATIVE_CA).map_err(failed),
        // The curl crate has found them for servers. For proxies it does not look.
        Backend::OpenSsl if cfg!(feature = "static-curl") && matches!(numbers.ca_blob, BlobOption::ProxyCaInfo) => {
            options::set_blob(easy, numbers.ca_blob, platform_pem()?).map_err(failed)
        }
        _ => Ok(()),
    }
}

/// OpenSSL trusts what is in its folder of certificates as well, whatever else it is given; it is given an empty one.
fn only_these(easy: &mut Easy, numbers: &Numbers) -> Result<(), Error> {
    match backend() {
        Backend::OpenSsl => options::set_text(easy, numbers.ca_path, Some("/dev/null")).map_err(failed),
        _ => Ok(()),
    }
}

fn append(bundle: &mut Vec<u8>, certificates: &CaCertificates) -> Result<(), Error> {
    match &certificates.0 {
        CaSource::Pem(bytes) => bundle.extend_from_slice(bytes),
        CaSource::File(path) => {
            let bytes = std::fs::read(path).map_err(|error| {
                unusable(format!("the certificates in {} cannot be read", path.display())).with_source(error)
            })?;
            bundle.extend_from_slice(&bytes);
        }
    }
    bundle.push(b'\n');
    Ok(())
}

/// The authorities that the platform trusts, read once.
fn platform_pem() -> Result<&'static [u8], Error> {
    static FOUND: OnceLock<Vec<u8>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let mut pem = Vec::new();
        for certificate in rustls_native_certs::load_native_certs().certs {
            append_pem(&mut pem, &certificate);
        }
        pem
    });
    if found.is_empty() { Err(unusable("the platform has no certificate authorities")) } else { Ok(found) }
}

#[cfg(feature = "bundled-roots")]
fn bundled_pem() -> &'static [u8] {
    static FOUND: OnceLock<Vec<u8>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut pem = Vec::new();
        for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            append_pem(&mut pem, certificate);
        }
        pem
    })
}

/// RFC 7468 2: base64 in lines of 64.
fn append_pem(pem: &mut Vec<u8>, der: &[u8]) {
    pem.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
    for line in BASE64_STANDARD.encode(der).as_bytes().chunks(64) {
        pem.extend_from_slice(line);
        pem.push(b'\n');
    }
    pem.extend_from_slice(b"-----END CERTIFICATE-----\n");
}

fn set_identity(easy: &mut Easy, identity: &Arc<Identity>, numbers: &Numbers) -> Result<(), Error> {
    if let Some(password) = &identity.password {
        if backend() == Backend::Rustls {
            return Err(missing("an encrypted key"));
        }
        options::set_text(easy, numbers.key_password, Some(password)).map_err(failed)?;
    }
    match &identity.form {
        IdentityForm::Files { chain, key } => {
            for (path, option) in [(chain, numbers.certificate), (key, numbers.key)] {
                let path = path.to_str().ok_or_else(|| unusable("the path of a client certificate is not UTF-8"))?;
                options::set_text(easy, option, Some(path)).map_err(failed)?;
            }
            Ok(())
        }
        // rustls passes over the blobs.
        IdentityForm::Pem { chain, key } if backend() == Backend::Rustls => {
            if identity.files.get().is_none() {
                let made = MemoryFile::new(chain).and_then(|chain| Ok([chain, MemoryFile::new(key)?]));
                let _ = identity.files.set(made.map_err(no_memory_file)?);
            }
            let [chain, key] = identity.files.get().ok_or_else(|| unusable("a client certificate was lost"))?;
            options::set_text(easy, numbers.certificate, Some(&chain.path())).map_err(failed)?;
            options::set_text(easy, numbers.key, Some(&key.path())).map_err(failed)
        }
        IdentityForm::Pem { .. } | IdentityForm::Pkcs12(_) if backend() == Backend::Other => {
            Err(missing("a client certificate in memory"))
        }
        IdentityForm::Pem { chain, key } => {
            options::set_blob(easy, numbers.certificate_blob, chain).map_err(failed)?;
            options::set_blob(easy, numbers.key_blob, key).map_err(failed)
        }
        IdentityForm::Pkcs12(_) if backend() == Backend::Rustls => Err(missing("a client certificate in PKCS#12")),
        IdentityForm::Pkcs12(archive) => {
            options::set_text(easy, numbers.certificate_type, Some("P12")).map_err(failed)?;
            options::set_blob(easy, numbers.certificate_blob, archive).map_err(failed)
        }
    }
}

fn no_memory_file(error: io::Error) -> Error {
    unusable("a client certificate cannot be kept in memory; use one in files").with_source(error)
}

fn version_number(version: TlsVersion) -> c_long {
    match version {
        TlsVersion::V1_2 => 6,
        TlsVersion::V1_3 => 7,
    }
}

/// rustls passes over names that it does not know, and a list of such names would stand for nothing at all.
fn check_ciphers(list: &str) -> Result<(), Error> {
    const KNOWN: [&str; 15] = [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ];
    if list.is_empty() {
        return Err(unusable("an empty list of ciphers"));
    }
    if backend() == Backend::Rustls {
        for name in list.split([':', ',', ' ']).filter(|name| !name.is_empty()) {
            if !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return Err(unusable(format!("rustls has no cipher `{name}`")));
            }
        }
    }
    Ok(())
}

fn unusable(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfiguration).with_detail(detail)
}

/// The TLS library cannot do it.
fn missing(what: &str) -> Error {
    let version = linked();
    let name = version.ssl_version().unwrap_or("none");
    unusable(format!("the linked TLS library ({name}) cannot do this: {what}"))
}

fn failed(error: curl::Error) -> Error {
    Error::new(ErrorKind::InvalidConfiguration).with_source(error)
}

fn unsupported(what: &'static str) -> impl Fn(curl::Error) -> Error {
    move |error| missing(what).with_source(error)
}
