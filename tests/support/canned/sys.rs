//! The socket calls that std does not offer. The only unsafe code of the test servers; no protocol is known here.
#![allow(unsafe_code, reason = "std has neither SO_LINGER nor poll")]

use std::io;
#[cfg(target_os = "linux")]
use std::mem::ManuallyDrop;
#[cfg(target_os = "linux")]
use std::net::SocketAddr;
use std::net::{TcpListener, TcpStream};
#[cfg(target_os = "linux")]
use std::os::fd::FromRawFd;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use polling::{Event, PollMode, Poller};

/// What poll reports when the peer has closed its side, unread data or not. Elsewhere than on Linux only a close
/// of both sides is seen.
#[cfg(any(target_os = "linux", target_os = "android"))]
const HANGUP: libc::c_short = libc::POLLRDHUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const HANGUP: libc::c_short = 0;

/// Makes the next close of this socket a reset.
pub fn reset_on_close(stream: &TcpStream) {
    set_option(stream.as_raw_fd(), libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 });
}

/// Fixes the receive buffer, which would otherwise grow to megabytes and take a whole upload in.
pub fn set_receive_buffer(stream: &TcpStream, bytes: i32) {
    set_option::<libc::c_int>(stream.as_raw_fd(), libc::SO_RCVBUF, &bytes);
}

/// Raises the queue of connections not yet accepted from std's 128: a full one costs a client a second.
pub fn deepen_backlog(listener: &TcpListener) {
    // SAFETY: the descriptor is a listening socket, open for as long as it is borrowed here.
    let result = unsafe { libc::listen(listener.as_raw_fd(), 4096) };
    assert_eq!(result, 0, "listen: {}", io::Error::last_os_error());
}

/// Waits without reading until the peer has closed or reset: true if it did within `limit`.
pub fn wait_hangup(stream: &TcpStream, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A millisecond more than left: poll would otherwise return early and this loop spin.
        let wait = if left.is_zero() { 0 } else { left.as_millis().min(60_000) as libc::c_int + 1 };
        let mut entry = libc::pollfd { fd: stream.as_raw_fd(), events: HANGUP, revents: 0 };
        // SAFETY: `entry` is one valid pollfd and lives across the call.
        let ready = unsafe { libc::poll(&raw mut entry, 1, wait) };
        if ready > 0 {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}

/// Watches a socket in level mode.
pub(super) fn watch(poller: &Poller, source: &impl AsRawFd, interest: Event) -> io::Result<()> {
    // SAFETY: `canned` deletes every source from the poller before it closes it.
    unsafe { poller.add_with_mode(source.as_raw_fd(), interest, PollMode::Level) }
}

fn set_option<T>(socket: RawFd, name: libc::c_int, value: &T) {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is readable for `size` bytes, and each caller passes the type that the option demands.
    let result = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, name, std::ptr::from_ref(value).cast(), size) };
    assert_eq!(result, 0, "setsockopt {name}: {}", io::Error::last_os_error());
}

/// Lets this process, and those that it starts, have as many descriptors.
pub fn raise_descriptor_limit(wanted: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and of the type that the call fills in.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(result, 0, "getrlimit: {}", io::Error::last_os_error());
    if limit.rlim_cur >= wanted {
        return;
    }
    assert!(limit.rlim_max >= wanted, "the hard limit of descriptors is {}, below {wanted}", limit.rlim_max);
    limit.rlim_cur = wanted;
    // SAFETY: `limit` was filled in above.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(result, 0, "setrlimit: {}", io::Error::last_os_error());
}

/// How much has to arrive until the sockets of this process that are connected to there count as readable: the largest
/// `SO_RCVLOWAT` of them, or 0 if there are none.
#[cfg(target_os = "linux")]
pub fn low_water_mark(peer: SocketAddr) -> i32 {
    let open = std::fs::read_dir("/proc/self/fd").expect("a process can look at its own descriptors");
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let marks = numbers.filter_map(|number| {
        // SAFETY: it is asked and never closed; what is no socket, or was closed meanwhile, answers with an error.
        let socket = ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(number) });
        (socket.peer_addr().ok()? == peer).then_some(())?;
        let mut mark: libc::c_int = 0;
        let mut size = size_of::<libc::c_int>() as libc::socklen_t;
        let value = (&raw mut mark).cast();
        // SAFETY: the kernel writes at most `size` bytes into `mark`.
        let result = unsafe { libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_RCVLOWAT, value, &raw mut size) };
        (result == 0).then_some(mark)
    });
    marks.max().unwrap_or(0)
}
