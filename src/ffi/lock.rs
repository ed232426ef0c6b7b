//! A file that one process at a time may write. The lock goes with the file's last descriptor.

use std::fs::File;

/// Locks the file for this opening of it, without waiting. Returns whether nobody else had it.
///
/// Where the system has no such locks, nobody ever has it.
pub(crate) fn try_lock(file: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::fd::AsRawFd;
        // SAFETY: the descriptor is open as long as `file`; the call touches no memory.
        let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
        result == 0 || std::io::Error::last_os_error().kind() != std::io::ErrorKind::WouldBlock
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        true
    }
}
