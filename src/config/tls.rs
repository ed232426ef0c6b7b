//! Whom to trust. Plain data; files are read by the TLS library when a connection is made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Certificate authorities in PEM form.
#[derive(Clone, Debug)]
pub struct CaCertificates(pub(crate) Source);

#[derive(Clone, Debug)]
pub(crate) enum Source {
    File(Arc<Path>),
    Pem(Arc<[u8]>),
}

impl CaCertificates {
    /// A file with one or more certificates in PEM form. It is read for every new connection; one that cannot be read
    /// fails the request.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into().into()))
    }

    /// One or more certificates in PEM form.
    pub fn pem(bytes: impl AsRef<[u8]>) -> Self {
        Self(Source::Pem(bytes.as_ref().into()))
    }
}
