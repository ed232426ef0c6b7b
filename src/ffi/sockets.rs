//! The news that libcurl opened or closed a socket. Never reads or writes one.

use std::cell::{Cell, RefCell};

use curl::easy::Easy2;
use curl::multi::Socket;
use libc::{c_int, c_void};

thread_local! {
    /// Descriptors closed by libcurl on this thread since the last call of [`take_closed`].
    static CLOSED: RefCell<Vec<Socket>> = const { RefCell::new(Vec::new()) };
    /// Sockets of connections that libcurl has open on this thread.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// How many sockets of connections libcurl has open on this thread. It watches others too, such as its resolver's.
pub(crate) fn open() -> usize {
    OPEN.get()
}

/// Calls `each` with every descriptor that libcurl closed on this thread since the last call.
pub(crate) fn take_closed(mut each: impl FnMut(Socket)) {
    CLOSED.with_borrow_mut(|closed| closed.drain(..).for_each(&mut each));
}

/// Makes the handle report the sockets that it opens and closes (`CURLOPT_SOCKOPTFUNCTION`,
/// `CURLOPT_CLOSESOCKETFUNCTION`).
pub(crate) fn report<H>(easy: &mut Easy2<H>) -> Result<(), curl::Error> {
    let callback: extern "C" fn(*mut c_void, Socket, curl_sys::curlsocktype) -> c_int = opened;
    // SAFETY: the callback has the type that the option asks for and uses no client pointer.
    super::options::check(unsafe {
        curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_SOCKOPTFUNCTION, callback)
    })?;
    let callback: extern "C" fn(*mut c_void, Socket) -> c_int = closed;
    // SAFETY: the callback has the type that the option asks for and uses no client pointer.
    super::options::check(unsafe {
        curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_CLOSESOCKETFUNCTION, callback)
    })
}

extern "C" fn opened(_client: *mut c_void, _socket: Socket, _purpose: curl_sys::curlsocktype) -> c_int {
    let _ = OPEN.try_with(|open| open.set(open.get() + 1));
    // `CURL_SOCKOPT_OK`.
    0
}

extern "C" fn closed(_client: *mut c_void, socket: Socket) -> c_int {
    // A thread that is being torn down has no list any more, and no poller that could care.
    let _ = CLOSED.try_with(|closed| closed.borrow_mut().push(socket));
    let _ = OPEN.try_with(|open| open.set(open.get().saturating_sub(1)));
    // SAFETY: libcurl hands its own descriptor over to be closed, once.
    unsafe { libc::close(socket) }
}
