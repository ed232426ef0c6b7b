//! Descriptors that libcurl owns: registration with the poller, and the news that one was closed. Never reads or writes.

use std::cell::RefCell;
use std::io;

use curl::easy::Easy2;
use curl::multi::Socket;
use libc::{c_int, c_void};
use polling::{Event, PollMode, Poller};

thread_local! {
    /// Descriptors closed by libcurl on this thread since the last call of [`take_closed`].
    static CLOSED: RefCell<Vec<Socket>> = const { RefCell::new(Vec::new()) };
}

/// Calls `each` with every descriptor that libcurl closed on this thread since the last call.
pub(crate) fn take_closed(mut each: impl FnMut(Socket)) {
    CLOSED.with_borrow_mut(|closed| closed.drain(..).for_each(&mut each));
}

/// Makes the handle report the descriptors that it closes (`CURLOPT_CLOSESOCKETFUNCTION`).
pub(crate) fn report_closed<H>(easy: &mut Easy2<H>) -> Result<(), curl::Error> {
    let callback: extern "C" fn(*mut c_void, Socket) -> c_int = closed;
    // SAFETY: the callback has the type that the option asks for and uses no client pointer.
    super::options::check(unsafe {
        curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_CLOSESOCKETFUNCTION, callback)
    })
}

extern "C" fn closed(_client: *mut c_void, socket: Socket) -> c_int {
    // A thread that is being torn down has no list any more, and no poller that could care.
    let _ = CLOSED.try_with(|closed| closed.borrow_mut().push(socket));
    // SAFETY: libcurl hands its own descriptor over to be closed, once.
    unsafe { libc::close(socket) }
}

/// Registers a descriptor, level-triggered.
pub(crate) fn register(poller: &Poller, socket: Socket, event: Event) -> io::Result<()> {
    // SAFETY: the descriptor is open: libcurl just named it, and tells `closed` before it goes.
    unsafe { poller.add_with_mode(socket, event, PollMode::Level) }
}

/// Changes a registration.
pub(crate) fn modify(poller: &Poller, socket: Socket, event: Event) -> io::Result<()> {
    // SAFETY: as for `register`.
    let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(socket) };
    poller.modify_with_mode(socket, event, PollMode::Level)
}

/// Ends a registration.
pub(crate) fn unregister(poller: &Poller, socket: Socket) -> io::Result<()> {
    // SAFETY: as for `register`.
    let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(socket) };
    poller.delete(socket)
}
