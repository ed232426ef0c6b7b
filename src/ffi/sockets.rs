//! The news that libcurl opened or closed a socket, or wants to hear of it, what the other side had heard by then, and how
//! much was carried. Never reads or writes one.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock, Weak};

use curl::easy::Easy2;
use curl::multi::Socket;
use libc::{c_int, c_void};

thread_local! {
    /// The ledger of the agent that this thread runs.
    static LEDGER: RefCell<Option<Ledger>> = const { RefCell::new(None) };
}

/// What somebody wants to hear of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// What libcurl did with the socket of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Opened,
    Closed,
}

/// What became of the sockets of one multi handle. It goes from thread to thread with that: see [`open_ledger`].
#[derive(Default)]
pub(crate) struct Ledger {
    /// Descriptors of connections that libcurl opened, or closed, since the last call of [`take_changes`].
    changes: Vec<(Socket, Change)>,
    /// What libcurl wished for since the last call of [`take_wishes`].
    wishes: Vec<(Socket, Interest)>,
    /// How many connections have a socket.
    open: usize,
    /// Sockets of which somebody wants to know how they ended.
    marked: Vec<Weak<Marked>>,
    /// See [`carry`].
    carried: u64,
}

impl Ledger {
    /// How many sockets of connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open
    }
}

/// Writes what libcurl does on this thread into `ledger`, until the guard is closed or dropped.
pub(crate) fn open_ledger(ledger: Ledger) -> OpenLedger {
    OpenLedger { before: LEDGER.replace(Some(ledger)) }
}

/// Whether a ledger can be opened on this thread: it is not about to end.
pub(crate) fn may_open_ledger() -> bool {
    LEDGER.try_with(|_| ()).is_ok()
}

/// See [`open_ledger`].
pub(crate) struct OpenLedger {
    /// The ledger of an agent whose callback runs another agent.
    before: Option<Ledger>,
}

impl OpenLedger {
    /// Gives the ledger back.
    pub(crate) fn close(self) -> Ledger {
        LEDGER.take().unwrap_or_default()
    }
}

impl Drop for OpenLedger {
    fn drop(&mut self) {
        LEDGER.set(self.before.take());
    }
}

/// Calls `with` with the ledger of this thread, if it has one and is not being torn down.
fn in_ledger<R>(with: impl FnOnce(&mut Ledger) -> R) -> Option<R> {
    LEDGER.try_with(|ledger| ledger.borrow_mut().as_mut().map(with)).ok().flatten()
}

/// Notes that bytes of bodies went by, or what is worth as many.
pub(crate) fn carry(bytes: u64) {
    in_ledger(|ledger| ledger.carried = ledger.carried.wrapping_add(bytes));
}

/// All that was noted by [`carry`] in this thread's ledger.
pub(crate) fn carried() -> u64 {
    in_ledger(|ledger| ledger.carried).unwrap_or(0)
}

/// How much of a connection the other side had heard at a moment; asked later whether it has heard more.
pub(crate) struct Mark(Arc<Marked>);

struct Marked {
    socket: Socket,
    acknowledged: u64,
    /// Whether nothing more was heard; known when the socket is closed.
    unheard: OnceLock<bool>,
}

impl Mark {
    /// Marks an open socket. `None` where the system does not tell.
    pub(super) fn set(socket: Socket) -> Option<Self> {
        let marked = Arc::new(Marked { socket, acknowledged: heard(socket)?.acknowledged, unheard: OnceLock::new() });
        in_ledger(|Ledger { marked: list, .. }| {
            if list.len() == list.capacity() {
                list.retain(|mark| mark.strong_count() > 0);
            }
            list.push(Arc::downgrade(&marked));
        })?;
        Some(Self(marked))
    }

    /// Whether the other side ended the connection before anything that was sent since had reached it.
    ///
    /// That is so if its end was received, for that carries the acknowledgement of all that had come before it, and
    /// acknowledges nothing new. A reset proves nothing: it may overtake the acknowledgement of what was read.
    pub(crate) fn is_unheard(&self) -> bool {
        *self.0.unheard.get_or_init(|| self.0.look())
    }
}

impl Marked {
    fn look(&self) -> bool {
        heard(self.socket).is_some_and(|now| now.ended && now.acknowledged == self.acknowledged)
    }
}

struct Heard {
    acknowledged: u64,
    /// The other side has said that it will send no more.
    ended: bool,
}

/// What the kernel knows of a connection (`TCP_INFO`, since Linux 4.1 with the acknowledged bytes).
#[cfg(target_os = "linux")]
fn heard(socket: Socket) -> Option<Heard> {
    const CLOSE: u8 = 7;
    const CLOSE_WAIT: u8 = 8;
    /// `tcpi_bytes_acked`
    const ACKNOWLEDGED: usize = 120;
    let mut info = [0_u8; 128];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `info`; a number that is no socket is an error.
    let result = unsafe {
        libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 || (length as usize) < info.len() {
        return None;
    }
    let acknowledged = u64::from_ne_bytes(*info[ACKNOWLEDGED..].first_chunk()?);
    let ended = match info[0] {
        CLOSE_WAIT => true,
        // An end, and a reset after it.
        CLOSE => error(socket) == libc::EPIPE,
        _ => false,
    };
    Some(Heard { acknowledged, ended })
}

#[cfg(not(target_os = "linux"))]
fn heard(_socket: Socket) -> Option<Heard> {
    None
}

/// The error that a socket has not told yet; asking takes it away.
#[cfg(target_os = "linux")]
fn error(socket: Socket) -> c_int {
    let mut error: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `error`.
    let result =
        unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut error).cast(), &raw mut length) };
    if result == 0 { error } else { 0 }
}

/// Sockets on which what is sent waits for more until this is dropped, so that several writes share segments (`TCP_CORK`;
/// the kernel waits no longer than 200 ms). Nothing is held back where the system has no such thing, and on what is no TCP
/// socket.
pub(crate) struct HeldBack(Vec<Socket>);

impl HeldBack {
    pub(crate) fn new(sockets: impl Iterator<Item = Socket>) -> Self {
        Self(sockets.inspect(|socket| hold_back(*socket, true)).collect())
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        // The number of one that was closed meanwhile may be another socket's, which is not held back.
        self.0.iter().for_each(|socket| hold_back(*socket, false));
    }
}

#[cfg(target_os = "linux")]
fn hold_back(socket: Socket, hold: bool) {
    let hold = c_int::from(hold);
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads an int from there; a number that is no socket is an error.
    unsafe { libc::setsockopt(socket, libc::IPPROTO_TCP, libc::TCP_CORK, (&raw const hold).cast(), length) };
}

#[cfg(not(target_os = "linux"))]
fn hold_back(_socket: Socket, _hold: bool) {}

/// From now on the socket counts as readable when this much can be read of it, or its end (`SO_RCVLOWAT`). Where the system
/// cannot do that, any byte counts as ever.
///
/// A socket that is to wait for many gets room for a lot more. The kernel lets the room grow by itself only as long as the
/// reader is the quicker one: without this a sender that is as quick stops at each few hundred KiB for as long as the
/// connection lives.
#[cfg(target_os = "linux")]
pub(super) fn tell_of(socket: Socket, bytes: u32) {
    if bytes > 1 {
        // The kernel makes room for what it is to wait for, and keeps it.
        wait_for_bytes(socket, ROOM);
    }
    wait_for_bytes(socket, bytes);
}

/// Bytes that a sender can be ahead of a fast reader.
#[cfg(target_os = "linux")]
const ROOM: u32 = 2 << 20;

#[cfg(target_os = "linux")]
fn wait_for_bytes(socket: Socket, bytes: u32) {
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads an int from there; a number that is no socket is an error.
    unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, (&raw const bytes).cast(), length) };
}

#[cfg(not(target_os = "linux"))]
pub(super) fn tell_of(_socket: Socket, _bytes: u32) {}

/// How many sockets of connections are open, by the ledger of this thread. libcurl watches others too, such as its
/// resolver's.
pub(crate) fn open() -> usize {
    in_ledger(|ledger| ledger.open).unwrap_or(0)
}

/// libcurl wants to hear that of a socket from now on.
pub(crate) fn wish(socket: Socket, interest: Interest) {
    in_ledger(|ledger| ledger.wishes.push((socket, interest)));
}

/// Exchanges an empty list for what libcurl wished for since the last call.
pub(crate) fn take_wishes(list: &mut Vec<(Socket, Interest)>) {
    in_ledger(|ledger| std::mem::swap(list, &mut ledger.wishes));
}

/// Calls `each` with every descriptor that libcurl opened or closed since the last call, in that order.
pub(crate) fn take_changes(mut each: impl FnMut(Socket, Change)) {
    in_ledger(|ledger| ledger.changes.drain(..).for_each(|(socket, change)| each(socket, change)));
}

/// A socket is open. libcurl has yet to wish for something.
pub(crate) fn open_one(socket: Socket) {
    in_ledger(|ledger| {
        ledger.changes.push((socket, Change::Opened));
        ledger.open += 1;
    });
    wish(socket, Interest::default());
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

extern "C" fn opened(_client: *mut c_void, socket: Socket, _purpose: curl_sys::curlsocktype) -> c_int {
    open_one(socket);
    // `CURL_SOCKOPT_OK`.
    0
}

extern "C" fn closed(_client: *mut c_void, socket: Socket) -> c_int {
    // Without a ledger the multi handle is on its way out, and no poller could care.
    in_ledger(|ledger| {
        for mark in ledger.marked.iter().filter_map(Weak::upgrade).filter(|mark| mark.socket == socket) {
            mark.unheard.get_or_init(|| mark.look());
        }
        ledger.changes.push((socket, Change::Closed));
        ledger.open = ledger.open.saturating_sub(1);
    });
    // SAFETY: libcurl hands its own descriptor over to be closed, once.
    unsafe { libc::close(socket) }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;

    use super::*;

    fn option(socket: Socket, level: c_int, name: c_int) -> c_int {
        let mut value: c_int = 0;
        let mut length = size_of::<c_int>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes into `value`.
        let result = unsafe { libc::getsockopt(socket, level, name, (&raw mut value).cast(), &raw mut length) };
        assert_eq!(result, 0);
        value
    }

    fn is_held_back(socket: Socket) -> bool {
        option(socket, libc::IPPROTO_TCP, libc::TCP_CORK) != 0
    }

    #[test]
    fn sockets_are_held_back_as_long_as_that_is_wanted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = stream.as_raw_fd();
        let held = HeldBack::new([socket, Socket::MAX].into_iter());
        assert!(is_held_back(socket));
        drop(held);
        assert!(!is_held_back(socket));
    }

    #[test]
    fn a_socket_that_waits_for_many_bytes_has_room_for_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = stream.as_raw_fd();
        let waits_for = || option(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT);
        let room = || option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF);
        let limits = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").unwrap();
        let most: u32 = limits.split_whitespace().last().unwrap().parse().unwrap();

        tell_of(socket, 256 << 10);
        assert_eq!(waits_for(), 256 << 10);
        assert!(room().unsigned_abs() >= ROOM.min(most / 2), "{}", room());
        tell_of(socket, 1);
        assert_eq!(waits_for(), 1);
    }
}
