//! The news that libcurl closed a descriptor. Never reads or writes one.

use std::cell::RefCell;

use curl::easy::Easy2;
use curl::multi::Socket;
use libc::{c_int, c_void};

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
