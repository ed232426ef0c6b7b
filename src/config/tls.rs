//! Whom to trust, and who we are. Plain data; files are read when a connection is made, nothing is verified here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use zeroize::Zeroizing;

use crate::ffi::memfile::MemoryFile;

/// Certificate authorities in PEM form.
#[derive(Clone, Debug)]
pub struct CaCertificates(pub(crate) Source);

#[derive(Clone, Debug)]
pub(crate) enum Source {
    File(Arc<Path>),
    Pem(Arc<[u8]>),
}

impl CaCertificates {
    /// A file with one or more certificates in PEM form. It is read for every new connection, or, where it is used
    /// [in addition](TlsConfig::extra_roots), when settings are applied; one that cannot be read fails the request.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into().into()))
    }

    /// One or more certificates in PEM form.
    pub fn pem(bytes: impl AsRef<[u8]>) -> Self {
        Self(Source::Pem(bytes.as_ref().into()))
    }
}

/// The certificate authorities that a connection trusts.
#[derive(Clone, Debug, Default)]
pub struct Roots(pub(crate) Trusted);

#[derive(Clone, Debug, Default)]
pub(crate) enum Trusted {
    #[default]
    Platform,
    #[cfg(feature = "bundled-roots")]
    Bundled,
    Only(CaCertificates),
}

impl Roots {
    /// Those of the system. The default.
    ///
    /// With rustls they are read for each new connection, which takes several milliseconds of the agent's thread: a
    /// program that opens many connections is better off with `bundled` or [`only`](Self::only).
    pub const fn platform() -> Self {
        Self(Trusted::Platform)
    }

    /// Mozilla's, as they were when this program was compiled (feature `bundled-roots`).
    #[cfg(feature = "bundled-roots")]
    pub const fn bundled() -> Self {
        Self(Trusted::Bundled)
    }

    /// These and no others.
    pub const fn only(certificates: CaCertificates) -> Self {
        Self(Trusted::Only(certificates))
    }
}

/// A version of TLS. Older ones are not to be used (RFC 8996).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// The certificate and key by which a server recognises this client. The key is not shown by `Debug`, and its copy in
/// here is overwritten when it is dropped.
#[derive(Clone)]
pub struct ClientCertificate(pub(crate) Arc<Identity>);

pub(crate) struct Identity {
    pub(crate) form: IdentityForm,
    pub(crate) password: Option<Zeroizing<String>>,
    /// Certificate and key as files, for a TLS library that takes nothing else.
    pub(crate) files: OnceLock<[MemoryFile; 2]>,
}

pub(crate) enum IdentityForm {
    Pem { chain: Arc<[u8]>, key: Zeroizing<Vec<u8>> },
    Files { chain: PathBuf, key: PathBuf },
    Pkcs12(Zeroizing<Vec<u8>>),
}

impl ClientCertificate {
    /// The client's certificate with its chain, and its private key, each in PEM form.
    ///
    /// With rustls this needs Linux: libcurl hands it files only, which are kept in memory there.
    ///
    /// (`CURLOPT_SSLCERT_BLOB`, `CURLOPT_SSLKEY_BLOB`)
    pub fn pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let key = Zeroizing::new(key.as_ref().to_vec());
        Self::new(IdentityForm::Pem { chain: chain.as_ref().into(), key }, None)
    }

    /// The same in files, which are read for each new connection.
    ///
    /// (`CURLOPT_SSLCERT`, `CURLOPT_SSLKEY`)
    pub fn pem_files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self::new(IdentityForm::Files { chain: chain.into(), key: key.into() }, None)
    }

    /// Certificate and key in one PKCS#12 archive (RFC 7292). rustls cannot read it.
    ///
    /// (`CURLOPT_SSLCERT_BLOB`, `CURLOPT_SSLCERTTYPE`, `CURLOPT_KEYPASSWD`)
    pub fn pkcs12(archive: impl AsRef<[u8]>, password: impl Into<String>) -> Self {
        let archive = Zeroizing::new(archive.as_ref().to_vec());
        Self::new(IdentityForm::Pkcs12(archive), Some(Zeroizing::new(password.into())))
    }

    /// The password of an encrypted key. Default: none. rustls cannot read encrypted keys.
    ///
    /// (`CURLOPT_KEYPASSWD`)
    #[must_use]
    pub fn password(self, password: impl Into<String>) -> Self {
        let form = match &self.0.form {
            IdentityForm::Pem { chain, key } => IdentityForm::Pem { chain: chain.clone(), key: key.clone() },
            IdentityForm::Files { chain, key } => IdentityForm::Files { chain: chain.clone(), key: key.clone() },
            IdentityForm::Pkcs12(archive) => IdentityForm::Pkcs12(archive.clone()),
        };
        Self::new(form, Some(Zeroizing::new(password.into())))
    }

    fn new(form: IdentityForm, password: Option<Zeroizing<String>>) -> Self {
        Self(Arc::new(Identity { form, password, files: OnceLock::new() }))
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

super::settings! {
    /// How the other side of a TLS connection is verified, and what it is offered.
    ///
    /// What is left unset has its default, or, on a request, the value that the client has. What the linked TLS library
    /// cannot do is [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when a request is sent,
    /// and never passed over.
    ///
    /// | | rustls | OpenSSL |
    /// |---|---|---|
    /// | roots, versions, ciphers, client certificate in PEM | yes | yes |
    /// | PKCS#12, encrypted keys | no | yes |
    /// | pinned public keys | no | yes |
    /// | any certificate of the right name, any name with a right certificate | both at once only | yes |
    ///
    /// # Examples
    ///
    /// ```
    /// use marmot::config::{CaCertificates, TlsConfig, TlsVersion};
    /// use marmot::prelude::*;
    ///
    /// let client = HttpClient::builder()
    ///     .tls(TlsConfig::new().extra_roots(CaCertificates::file("/etc/ours.pem")).min_version(TlsVersion::V1_3))
    ///     .build()?;
    /// # Ok::<(), marmot::Error>(())
    /// ```
    #[must_use = "settings do nothing until they are given to a client or a request"]
    pub struct TlsConfig {
        roots: Roots,
        extra_roots: Vec<CaCertificates>,
        client_certificate: Option<ClientCertificate>,
        min_version: TlsVersion,
        max_version: Option<TlsVersion>,
        ciphers_tls12: Arc<str>,
        ciphers_tls13: Arc<str>,
        pinned_public_key: Option<Arc<str>>,
        accept_invalid_certs: bool,
        accept_invalid_hosts: bool,
        key_log: bool,
    }
}

impl TlsConfig {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The authorities to trust. Default: [`Roots::platform`].
    ///
    /// (`CURLOPT_CAINFO`, `CURLOPT_CAINFO_BLOB`, `CURLOPT_CAPATH`, `CURLSSLOPT_NATIVE_CA`)
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = Some(roots);
        self
    }

    /// Authorities to trust in addition to the [`roots`](Self::roots). Repeat it for several. Default: none.
    ///
    /// The system's certificates are then read once in the life of the program, not for each connection.
    ///
    /// (`CURLOPT_CAINFO_BLOB`)
    pub fn extra_roots(mut self, certificates: CaCertificates) -> Self {
        self.extra_roots.get_or_insert_default().push(certificates);
        self
    }

    /// The certificate to show to a server that asks for one. Default: none.
    pub fn client_certificate(mut self, certificate: impl Into<Option<ClientCertificate>>) -> Self {
        self.client_certificate = Some(certificate.into());
        self
    }

    /// The oldest version of TLS to accept. Default: [`TlsVersion::V1_2`].
    ///
    /// (`CURLOPT_SSLVERSION`)
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.min_version = Some(version);
        self
    }

    /// The newest version of TLS to accept. Default: the newest that the TLS library knows.
    ///
    /// (`CURLOPT_SSLVERSION`)
    pub fn max_version(mut self, version: impl Into<Option<TlsVersion>>) -> Self {
        self.max_version = Some(version.into());
        self
    }

    /// The cipher suites of TLS 1.2 to offer, best first, with colons between. Default: those of the TLS library.
    ///
    /// Names are those of OpenSSL (`ECDHE-RSA-AES128-GCM-SHA256`) or IANA. With rustls a name that it does not know is
    /// an error; OpenSSL passes over it unless it knows none.
    ///
    /// (`CURLOPT_SSL_CIPHER_LIST`)
    pub fn ciphers_tls12(mut self, list: impl AsRef<str>) -> Self {
        self.ciphers_tls12 = Some(list.as_ref().into());
        self
    }

    /// The cipher suites of TLS 1.3 to offer, as for [`ciphers_tls12`](Self::ciphers_tls12). Default: those of the TLS
    /// library.
    ///
    /// (`CURLOPT_TLS13_CIPHERS`)
    pub fn ciphers_tls13(mut self, list: impl AsRef<str>) -> Self {
        self.ciphers_tls13 = Some(list.as_ref().into());
        self
    }

    /// The only public keys that the other side may have, beside being verified as ever: `sha256//BASE64`, several with
    /// `;` between, or a file with the key. Default: any. Not with rustls.
    ///
    /// (`CURLOPT_PINNEDPUBLICKEY`; RFC 7469 2.4 tells how the digest is made)
    pub fn pinned_public_key(mut self, keys: impl AsRef<str>) -> Self {
        self.pinned_public_key = Some(Some(keys.as_ref().into()));
        self
    }

    /// Accepts a certificate of any authority, or of none. Whoever sits on the way can then read and change
    /// everything. Default: no.
    ///
    /// It leaves the name unverified, too: one that anybody can claim tells nothing.
    ///
    /// (`CURLOPT_SSL_VERIFYPEER`, `CURLOPT_SSL_VERIFYHOST`)
    pub fn danger_accept_invalid_certs(mut self, accept: bool) -> Self {
        self.accept_invalid_certs = Some(accept);
        self
    }

    /// Whether a server need not prove who it is.
    pub(crate) fn accepts_anything(&self) -> bool {
        self.accept_invalid_certs.unwrap_or(false) || self.accept_invalid_hosts.unwrap_or(false)
    }

    /// Accepts a certificate for any name, as long as a trusted authority signed it. Default: no. Not with rustls.
    ///
    /// (`CURLOPT_SSL_VERIFYHOST`)
    pub fn danger_accept_invalid_hosts(mut self, accept: bool) -> Self {
        self.accept_invalid_hosts = Some(accept);
        self
    }

    /// Lets libcurl write the secrets of TLS sessions to the file that the environment variable `SSLKEYLOGFILE` names,
    /// so that captured packets can be read. Default: no.
    ///
    /// libcurl obeys that variable whenever it is set, for the process as a whole, and offers no other way. So while it
    /// is set, a TLS connection without this setting is refused with
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration), rather than betrayed.
    pub fn danger_key_log(mut self, write: bool) -> Self {
        self.key_log = Some(write);
        self
    }
}
