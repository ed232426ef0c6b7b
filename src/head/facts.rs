//! What is known about a transfer beside its messages. Plain data.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, Uri};

/// How a transfer's time was spent, as libcurl measured it, in whole microseconds.
///
/// The times of the phases up to [`time_to_first_byte`](Self::time_to_first_byte) are counted from the start of the
/// transfer, each including the ones before it; a phase that did not happen on a reused connection is zero or equals the
/// one before. After redirects they tell of the last hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Until the name was resolved (`CURLINFO_NAMELOOKUP_TIME_T`).
    pub name_lookup: Duration,
    /// Until the connection was made (`CURLINFO_CONNECT_TIME_T`).
    pub connect: Duration,
    /// Until TLS was set up (`CURLINFO_APPCONNECT_TIME_T`); zero without TLS.
    pub secure_connect: Duration,
    /// Until the request was about to be sent (`CURLINFO_PRETRANSFER_TIME_T`).
    pub transfer_start: Duration,
    /// Until the first byte of the response (`CURLINFO_STARTTRANSFER_TIME_T`).
    pub time_to_first_byte: Duration,
    /// Until now, or until the end of the transfer (`CURLINFO_TOTAL_TIME_T`).
    pub total: Duration,
    /// Bytes of the request's body sent (`CURLINFO_SIZE_UPLOAD_T`).
    pub uploaded: u64,
    /// Bytes of the response's body received, before decompression, as they were counted when they came.
    pub downloaded: u64,
}

/// What a response carries beside its head, as an extension.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) uri: Uri,
    pub(crate) ends: Ends,
    pub(crate) metrics: Option<Measured>,
    /// The length of the body that follows, where it is known.
    pub(crate) body_length: Option<u64>,
}

/// Both ends of a connection. Small, as each of many transfers that wait has them.
#[derive(Clone, Debug, Default)]
pub(crate) enum Ends {
    /// Not known yet, or not of the internet.
    #[default]
    None,
    V4 {
        remote: SocketAddrV4,
        local: SocketAddrV4,
    },
    Other(Box<(Option<SocketAddr>, Option<SocketAddr>)>),
}

impl Ends {
    pub(crate) fn new(remote: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        match (remote, local) {
            (None, None) => Self::None,
            (Some(SocketAddr::V4(remote)), Some(SocketAddr::V4(local))) => Self::V4 { remote, local },
            others => Self::Other(Box::new(others)),
        }
    }

    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::None => None,
            Self::V4 { remote, .. } => Some((*remote).into()),
            Self::Other(both) => both.0,
        }
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::None => None,
            Self::V4 { local, .. } => Some((*local).into()),
            Self::Other(both) => both.1,
        }
    }
}

/// Metrics as of the response's head, and of the end once that is reached.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) at_head: Metrics,
    pub(crate) at_end: Arc<OnceLock<AtEnd>>,
}

/// What still changes after the head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtEnd {
    pub(crate) total: Duration,
    pub(crate) uploaded: u64,
    pub(crate) downloaded: u64,
}

impl Measured {
    pub(crate) fn latest(&self) -> Metrics {
        let Some(&AtEnd { total, uploaded, downloaded }) = self.at_end.get() else { return self.at_head };
        Metrics { total, uploaded, downloaded, ..self.at_head }
    }
}

/// How a response ended.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) trailers: Option<HeaderMap>,
}
