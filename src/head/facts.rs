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
    pub(crate) ends: Ends,
    pub(crate) metrics: Option<Measured>,
    /// The length of the body that follows, where it is known.
    pub(crate) body_length: Option<u64>,
}

/// Both ends of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) remote: Option<Address>,
    pub(crate) local: Option<Address>,
}

/// One end of a connection, as libcurl tells it: few ask for it, so it is read when it is asked for.
#[derive(Clone)]
pub(crate) enum Address {
    /// As those of IPv4 are. Many transfers may wait, each with two of them.
    Short {
        ip: [u8; SHORT_IP],
        length: u8,
        port: u16,
    },
    Long(Box<(Vec<u8>, u16)>),
}

/// The longest text of an address of IPv4.
const SHORT_IP: usize = 15;

impl Address {
    pub(crate) fn new(text: &[u8], port: u16) -> Self {
        let mut ip = [0; SHORT_IP];
        match ip.get_mut(..text.len()) {
            Some(room) => {
                room.copy_from_slice(text);
                Self::Short { ip, length: text.len() as u8, port }
            }
            None => Self::Long(Box::new((text.to_vec(), port))),
        }
    }

    /// `None` of what is no address of the internet.
    pub(crate) fn read(&self) -> Option<SocketAddr> {
        let (ip, port) = match self {
            Self::Short { ip, length, port } => (ip.get(..usize::from(*length))?, *port),
            Self::Long(long) => (&*long.0, long.1),
        };
        // An IPv6 address may come with its zone.
        let ip: IpAddr = std::str::from_utf8(ip).ok()?.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(ip, port))
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
