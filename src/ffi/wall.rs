//! Whether the linked libcurl fails at descriptor 1,024, and how many there are below. Asks; changes nothing.

use std::sync::OnceLock;
use std::time::Duration;

use curl::multi::{Multi, Socket, WaitFd};

/// The first descriptor that `select()` cannot watch (`FD_SETSIZE`).
const WALL: usize = 1024;

/// Whether libcurl waits with `select()`, so that descriptors from [`WALL`] on fail to connect.
///
/// libcurl is asked to watch a descriptor beyond the wall, for no time. `poll()` does not mind that there is none.
pub(crate) fn waits_with_select() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let mut wait = WaitFd::new();
        wait.set_fd(WALL as Socket);
        wait.poll_on_read(true);
        Multi::new().wait(&mut [wait], Duration::ZERO).is_err()
    })
}

/// Whether a connection fails because libcurl can use none of the descriptors that are left.
pub(crate) fn is_reached() -> bool {
    waits_with_select() && free() == 0
}

/// How many descriptors below the wall nothing in this process has open.
pub(crate) fn free() -> usize {
    let mut all: [libc::pollfd; WALL] =
        std::array::from_fn(|number| libc::pollfd { fd: number as Socket, events: 0, revents: 0 });
    // SAFETY: `all` lives across the call, and its length goes with it.
    let result = unsafe { libc::poll(all.as_mut_ptr(), WALL as libc::nfds_t, 0) };
    if result < 0 {
        // More than this process may have open: it cannot reach the wall.
        return WALL;
    }
    all.iter().filter(|one| one.revents & libc::POLLNVAL != 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn open_descriptors_are_not_free() {
        // Other tests open and close some meanwhile.
        let files: Vec<_> = (0..400).map(|_| File::open("/dev/null").unwrap()).collect();
        let before = free();
        drop(files);
        assert!(before < WALL - 400 && free() > before + 200, "{before} and {}", free());
    }
}
