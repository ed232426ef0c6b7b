//! Waiting for sockets: `polling` for the registrations, one system call for the wait. Never reads or writes a socket.
//!
//! A wait through `polling` sets a timer, arms it, waits, empties its notifier and arms that again: five system calls. On
//! Linux the wait is done here, on `polling`'s own epoll instance, with an eventfd of ours as the bell: one call.
//! Elsewhere `polling` does all of it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use curl::multi::Socket;
use polling::{Event, PollMode, Poller};

use super::fork;

/// Registrations of sockets are level-triggered.
pub(crate) struct Poll {
    poller: Poller,
    /// See [`fork::generation`].
    made_in: u64,
    #[cfg(target_os = "linux")]
    bell: bell::Bell,
}

/// What was heard of a socket. Errors and hang-ups count as both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) socket: Socket,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// Kept for those who ask next. Few, as each has four descriptors; more than one, as an agent may end after the next one was
/// made.
static KEPT: Mutex<Vec<Arc<Poll>>> = Mutex::new(Vec::new());
const MOST_KEPT: usize = 2;

impl Poll {
    /// One that was [kept](Self::keep), or a new one. The bell may have rung already, once.
    pub(crate) fn get() -> io::Result<Arc<Self>> {
        // In a forked child the lock may be held by a thread that is not there.
        let kept = KEPT.try_lock().ok().and_then(|mut kept| kept.pop());
        match kept {
            Some(poll) if poll.made_in == fork::generation() => Ok(poll),
            // The parent's: what is done to it here happens there as well, its end included.
            Some(poll) => {
                std::mem::forget(poll);
                Self::get()
            }
            None => Self::new().map(Arc::new),
        }
    }

    /// Keeps it for the next one who asks: making one costs fourteen system calls, a third of those of a new client with one
    /// request. All sockets that were registered have to be closed by now.
    pub(crate) fn keep(poll: &Arc<Self>) {
        if let Ok(mut kept) = KEPT.try_lock()
            && kept.len() < MOST_KEPT
            && poll.made_in == fork::generation()
        {
            kept.push(poll.clone());
        }
    }

    fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        #[cfg(target_os = "linux")]
        let bell = bell::Bell::new(&poller)?;
        Ok(Self {
            poller,
            made_in: fork::generation(),
            #[cfg(target_os = "linux")]
            bell,
        })
    }

    /// By which another poller can listen to this one, as to a socket: it is readable while a [`wait`](Self::wait) would
    /// end at once.
    pub(crate) fn descriptor(&self) -> Socket {
        self.poller.as_fd().as_raw_fd()
    }

    /// Registers a socket.
    pub(crate) fn register(&self, socket: Socket, readable: bool, writable: bool) -> io::Result<()> {
        let event = Event::new(socket as usize, readable, writable);
        // SAFETY: the descriptor is open: libcurl just named it, and tells `sockets::closed` before it goes; or it is
        // another poller's, which the caller has in hand and keeps until it is unregistered.
        unsafe { self.poller.add_with_mode(socket, event, PollMode::Level) }
    }

    /// Changes a registration.
    pub(crate) fn modify(&self, socket: Socket, readable: bool, writable: bool) -> io::Result<()> {
        let event = Event::new(socket as usize, readable, writable);
        // SAFETY: as for `register`.
        let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(socket) };
        self.poller.modify_with_mode(socket, event, PollMode::Level)
    }

    /// Ends a registration.
    pub(crate) fn unregister(&self, socket: Socket) -> io::Result<()> {
        // SAFETY: as for `register`.
        let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(socket) };
        self.poller.delete(socket)
    }
}

#[cfg(target_os = "linux")]
mod bell {
    use super::{Duration, Event, Heard, Poll, PollMode, Poller, Socket, io};
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    /// How the bell is called among the sockets.
    const KEY: usize = usize::MAX - 1;
    /// Events taken at once. The others are told by the next wait.
    const AT_ONCE: usize = 256;

    pub(super) struct Bell(OwnedFd);

    impl Bell {
        pub(super) fn new(poller: &Poller) -> io::Result<Self> {
            // SAFETY: makes a descriptor from nothing; checked below.
            let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if raw < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: eventfd just made it and nobody else knows it.
            let fd = unsafe { OwnedFd::from_raw_fd(raw) };
            // Edge-triggered: each ring is told once, and nobody has to read the eventfd to silence it.
            // SAFETY: the descriptor lives beside the poller, in the same `Poll`.
            unsafe { poller.add_with_mode(raw, Event::readable(KEY), PollMode::Edge)? };
            Ok(Self(fd))
        }
    }

    impl Poll {
        /// Ends the current or next [`wait`](Self::wait), from any thread.
        pub(crate) fn notify(&self) {
            let one = 1_u64;
            // SAFETY: writes 8 bytes from `one`. It fails only if the bell has rung unheard 2^64 times.
            unsafe { libc::write(self.bell.0.as_raw_fd(), (&raw const one).cast(), 8) };
        }

        /// Waits until something is heard or the bell rings, and no longer than `timeout`, to the next millisecond.
        pub(crate) fn wait(&self, heard: &mut Vec<Heard>, timeout: Option<Duration>) -> io::Result<()> {
            heard.clear();
            // Rounded up, so that whoever waits for a time is not woken before it.
            let milliseconds =
                timeout.map_or(-1, |timeout| i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
            let mut events = [const { MaybeUninit::<libc::epoll_event>::uninit() }; AT_ONCE];
            let epoll = self.descriptor();
            // SAFETY: the epoll instance lives in `self`; the kernel writes at most AT_ONCE events.
            let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr().cast(), AT_ONCE as i32, milliseconds) };
            let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
            for event in &events[..count] {
                // SAFETY: the kernel wrote the first `count` events.
                let event = unsafe { event.assume_init_read() };
                let (flags, key) = (event.events as i32, event.u64 as usize);
                if key == KEY {
                    continue;
                }
                let failed = flags & (libc::EPOLLHUP | libc::EPOLLERR) != 0;
                // The keys of `polling` itself are no sockets; it never has reason to use them here.
                if let Ok(socket) = Socket::try_from(key) {
                    heard.push(Heard {
                        socket,
                        readable: failed || flags & (libc::EPOLLIN | libc::EPOLLPRI) != 0,
                        writable: failed || flags & libc::EPOLLOUT != 0,
                    });
                }
            }
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Poll {
    /// Ends the current or next [`wait`](Self::wait), from any thread.
    pub(crate) fn notify(&self) {
        // Fails only if the poller is gone.
        let _ = self.poller.notify();
    }

    /// Waits until something is heard or the bell rings, and no longer than `timeout`.
    pub(crate) fn wait(&self, heard: &mut Vec<Heard>, timeout: Option<Duration>) -> io::Result<()> {
        heard.clear();
        let mut events = polling::Events::new();
        self.poller.wait(&mut events, timeout)?;
        heard.extend(events.iter().map(|event| Heard {
            socket: event.key as Socket,
            readable: event.readable,
            writable: event.writable,
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::time::Instant;

    #[test]
    fn sockets_the_bell_and_time_end_a_wait() {
        let poll = Poll::new().unwrap();
        let mut heard = Vec::new();
        let start = Instant::now();
        poll.wait(&mut heard, Some(Duration::from_micros(10_500))).unwrap();
        assert!(heard.is_empty() && start.elapsed() >= Duration::from_micros(10_500));

        poll.notify();
        poll.notify();
        poll.wait(&mut heard, None).unwrap();
        poll.wait(&mut heard, Some(Duration::ZERO)).unwrap();
        assert!(heard.is_empty(), "the bell is no socket and rings once");

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (here, _) = listener.accept().unwrap();
        poll.register(here.as_raw_fd(), true, false).unwrap();
        poll.wait(&mut heard, Some(Duration::ZERO)).unwrap();
        assert!(heard.is_empty());
        there.write_all(b"x").unwrap();
        for _ in 0..2 {
            poll.wait(&mut heard, None).unwrap();
            assert!(
                matches!(heard[..], [Heard { socket, readable: true, writable: false }] if socket == here.as_raw_fd())
            );
        }
        poll.modify(here.as_raw_fd(), false, true).unwrap();
        poll.wait(&mut heard, None).unwrap();
        assert!(heard[0].writable && !heard[0].readable);
        poll.unregister(here.as_raw_fd()).unwrap();
        poll.wait(&mut heard, Some(Duration::ZERO)).unwrap();
        assert!(heard.is_empty());
    }
}
