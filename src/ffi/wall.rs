//! Whether the linked libcurl fails at descriptor 1,024. Asks it once; changes nothing.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use curl::multi::{Multi, WaitFd};

/// The first descriptor that `select()` cannot watch (`FD_SETSIZE`).
pub(crate) const WALL: usize = 1024;

/// Whether libcurl waits with `select()`, so that descriptors from [`WALL`] on fail to connect.
///
/// libcurl is asked to watch a descriptor beyond the wall, for no time. A process that cannot have such a descriptor
/// cannot meet the wall either.
pub(crate) fn waits_with_select() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let Some(far) = descriptor_beyond_the_wall() else { return false };
        let mut wait = WaitFd::new();
        wait.set_fd(far.as_raw_fd());
        wait.poll_on_read(true);
        Multi::new().wait(&mut [wait], Duration::ZERO).is_err()
    })
}

fn descriptor_beyond_the_wall() -> Option<OwnedFd> {
    let near = std::net::UdpSocket::bind("127.0.0.1:0").ok()?;
    // SAFETY: `near` is open; the result is a new descriptor or -1.
    let far = unsafe { libc::fcntl(near.as_raw_fd(), libc::F_DUPFD_CLOEXEC, WALL as libc::c_int) };
    if far < 0 {
        return None;
    }
    // SAFETY: fcntl just made it and nobody else knows it.
    Some(unsafe { OwnedFd::from_raw_fd(far) })
}
