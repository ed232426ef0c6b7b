//! What kind of socket a connection is made of, and from where. Plain data; opens nothing.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The side of this machine that connections leave from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetworkInterface(pub(crate) Arc<str>);

impl NetworkInterface {
    /// The interface of that name: `eth0`. The system may ask for privileges.
    pub fn name(name: impl AsRef<str>) -> Self {
        Self(format!("if!{}", name.as_ref()).into())
    }

    /// The address of this machine that this host name stands for.
    pub fn host(host: impl AsRef<str>) -> Self {
        Self(format!("host!{}", host.as_ref()).into())
    }

    /// An address of this machine.
    pub fn address(address: impl Into<IpAddr>) -> Self {
        Self(format!("host!{}", address.into()).into())
    }
}

/// A socket of the file system's kind, instead of TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnixSocket {
    Path(Arc<Path>),
    Abstract(Arc<str>),
}

impl UnixSocket {
    pub(super) fn path(path: impl Into<PathBuf>) -> Self {
        Self::Path(path.into().into())
    }
}

/// The bounds of libcurl for its buffer of what is received.
pub(crate) const RECEIVE_BUFFERS: RangeInclusive<usize> = 1024..=10 << 20;
/// The bounds of libcurl for its buffer of what is sent.
pub(crate) const UPLOAD_BUFFERS: RangeInclusive<usize> = 16 << 10..=2 << 20;

super::settings! {
    /// The settings about sockets.
    pub(crate) struct Sockets {
        interface: Option<NetworkInterface>,
        local_ports: Option<(u16, u16)>,
        unix: Option<UnixSocket>,
        fast_open: bool,
        receive_buffer: usize,
        upload_buffer: usize,
    }
}
