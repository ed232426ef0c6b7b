//! The callbacks at the moment of connecting, and before a request goes out on a connection. Decides nothing.

use std::cell::RefCell;
use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

use curl::easy::Easy2;
use curl::multi::Socket;
use libc::{c_char, c_int, c_void};

use super::held::{Callbacks, Held};
use super::options::check;
use crate::head::Ends;

/// `CURLOPT_PREREQFUNCTION` and `CURLOPT_PREREQDATA`.
const PREREQ_FUNCTION: curl_sys::CURLoption = 20312;
const PREREQ_DATA: curl_sys::CURLoption = 10313;
/// `CURL_PREREQFUNC_ABORT`.
const ABORT: c_int = 1;

type Prereq = extern "C" fn(*mut c_void, *mut c_char, *mut c_char, c_int, c_int) -> c_int;

/// Makes the handle ask [`Callbacks::may_connect`] before it opens a socket.
///
/// A reset of the handle takes this back.
pub(crate) fn guard_sockets<T: Callbacks>(easy: &mut Easy2<Held<T>>) -> Result<(), curl::Error> {
    let held: *mut c_void = std::ptr::from_mut(easy.get_mut()).cast();
    let open: curl_sys::curl_opensocket_callback = open_socket::<T>;
    // SAFETY: the callback has the type that the option asks for.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_OPENSOCKETFUNCTION, open) })?;
    // SAFETY: the held value lives in a box of the easy handle, at one address until the handle is gone.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_OPENSOCKETDATA, held) })
}

/// Makes the handle ask [`Callbacks::may_send`] before it sends a request, on a new connection or a used one, for the
/// first time or again.
///
/// A reset of the handle takes this back.
pub(crate) fn guard_requests<T: Callbacks>(easy: &mut Easy2<Held<T>>) -> Result<(), curl::Error> {
    let held: *mut c_void = std::ptr::from_mut(easy.get_mut()).cast();
    let prereq: Prereq = before_request::<T>;
    // SAFETY: the callback has the type that the option asks for.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), PREREQ_FUNCTION, prereq) })?;
    // SAFETY: the held value lives in a box of the easy handle, at one address until the handle is gone.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), PREREQ_DATA, held) })
}

/// A panic is a refusal: it must not unwind into libcurl.
fn ask<T: Callbacks>(client: *mut c_void, question: impl FnOnce(&mut Held<T>) -> bool) -> bool {
    // SAFETY: a guard gave libcurl this pointer, and nobody else uses the value during a callback.
    let held = unsafe { &mut *client.cast::<Held<T>>() };
    catch_unwind(AssertUnwindSafe(|| question(held))).unwrap_or(false)
}

extern "C" fn open_socket<T: Callbacks>(
    client: *mut c_void,
    _purpose: curl_sys::curlsocktype,
    address: *mut curl_sys::curl_sockaddr,
) -> Socket {
    const BAD: Socket = -1;
    // SAFETY: libcurl passes an address that it filled in.
    let address = unsafe { &*address };
    if !ask::<T>(client, |held| held.may_connect(internet_address(address))) {
        return BAD;
    }
    #[cfg(target_os = "linux")]
    let kind = address.socktype | libc::SOCK_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let kind = address.socktype;
    // SAFETY: makes a descriptor from numbers; -1 tells libcurl that it failed.
    unsafe { libc::socket(address.family, kind, address.protocol) }
}

fn internet_address(address: &curl_sys::curl_sockaddr) -> Option<SocketAddr> {
    let start = &raw const address.addr;
    match address.family {
        libc::AF_INET => {
            // SAFETY: an address of this family is a sockaddr_in; it may lie unaligned for one.
            let v4 = unsafe { start.cast::<libc::sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: an address of this family is a sockaddr_in6; libcurl's structure has room for it.
            let v6 = unsafe { start.cast::<libc::sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::new(IpAddr::V6(ip), u16::from_be(v6.sin6_port)))
        }
        _ => None,
    }
}

extern "C" fn before_request<T: Callbacks>(
    client: *mut c_void,
    remote: *mut c_char,
    local: *mut c_char,
    remote_port: c_int,
    local_port: c_int,
) -> c_int {
    let address = |text: *mut c_char, port: c_int, end| {
        // SAFETY: libcurl passes strings that live during the call.
        let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })?;
        Some(SocketAddr::new(read_ip(text.to_bytes(), end)?, u16::try_from(port).unwrap_or(0)))
    };
    let ends = Ends::new(address(remote, remote_port, End::Remote), address(local, local_port, End::Local));
    if ask::<T>(client, |held| held.may_send(ends)) { 0 } else { ABORT }
}

/// The ends of a connection.
#[derive(Clone, Copy)]
enum End {
    Remote,
    Local,
}

/// Reads an address. Most requests of a thread have the ends that the one before had: those are known.
fn read_ip(text: &[u8], end: End) -> Option<IpAddr> {
    thread_local! {
        static KNOWN: RefCell<[Option<Known>; 2]> = const { RefCell::new([None; 2]) };
    }
    KNOWN.with_borrow_mut(|known| {
        let slot = &mut known[end as usize];
        if let Some(known) = slot
            && known.text() == text
        {
            return Some(known.ip);
        }
        let ip = parse_ip(str::from_utf8(text).ok()?)?;
        *slot = Known::new(text, ip);
        Some(ip)
    })
}

/// An IPv6 address may come with its zone.
fn parse_ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.split_once('%')?.0.parse().ok())
}

/// A text with the address that it is.
#[derive(Clone, Copy)]
struct Known {
    bytes: [u8; 39],
    length: u8,
    ip: IpAddr,
}

impl Known {
    /// `None` for a longer text than an address without a zone has.
    fn new(text: &[u8], ip: IpAddr) -> Option<Self> {
        let mut bytes = [0; 39];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { bytes, length: text.len() as u8, ip })
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_however_often_it_is_read() {
        let long = format!("fe80::1%{}", "x".repeat(40));
        let texts = [
            "127.0.0.1",
            "::1",
            "127.0.0.11",
            &long,
            "fe80::1%eth0",
            "",
            "no address",
            "1111:2222:3333:4444:5555:6666:7777:8888",
        ];
        let mut dice = fastrand::Rng::with_seed(1);
        for _ in 0..500 {
            let text = texts[dice.usize(..texts.len())];
            let end = if dice.bool() { End::Remote } else { End::Local };
            assert_eq!(read_ip(text.as_bytes(), end), parse_ip(text), "{text}");
        }
        assert_eq!(parse_ip("fe80::1%eth0"), "fe80::1".parse().ok());
    }
}
