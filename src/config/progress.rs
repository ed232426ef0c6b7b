//! How far a transfer has come, told to a function of the caller. Plain data.

use std::fmt;
use std::sync::Arc;

/// How far a transfer has come, in bytes of bodies; what is received is counted before decompression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of the request's body sent.
    pub uploaded: u64,
    /// The length of the request's body, where it is known.
    pub upload_size: Option<u64>,
    /// Bytes of the response's body received.
    pub downloaded: u64,
    /// The length of the response's body, where it is known.
    pub download_size: Option<u64>,
}

/// What is told.
#[derive(Clone)]
pub(crate) struct ProgressFn(pub(crate) Arc<dyn Fn(Progress) + Send + Sync>);

impl fmt::Debug for ProgressFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressFn")
    }
}
