//! What is known about a transfer beside its messages. Plain data.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
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
    /// Bytes of the response's body received, before decompression (`CURLINFO_SIZE_DOWNLOAD_T`).
    pub downloaded: u64,
}

/// What a response carries beside its head, as an extension.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) uri: Uri,
    pub(crate) local: Option<Address>,
    pub(crate) remote: Option<Address>,
    pub(crate) metrics: Option<Measured>,
    /// The length of the body that follows, where it is known.
    pub(crate) body_length: Option<u64>,
}

/// The longest text of an IP address (`INET6_ADDRSTRLEN` without its NUL).
const LONGEST_IP: usize = 45;

/// One end of a connection, as libcurl tells it: few ask for it, so it is read when it is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    ip: [u8; LONGEST_IP],
    length: u8,
    port: u16,
}

impl Address {
    /// `None` of a text that is too long for an address.
    pub(crate) fn new(text: &[u8], port: u16) -> Option<Self> {
        let mut ip = [0; LONGEST_IP];
        ip.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { ip, length: text.len() as u8, port })
    }

    pub(crate) fn read(&self) -> Option<SocketAddr> {
        let ip = self.ip.get(..self.length.into())?;
        let ip: IpAddr = std::str::from_utf8(ip).ok()?.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
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
