//! Data that libcurl reads during a transfer, kept alive with it. Nothing here is changed while a transfer runs.

use std::net::SocketAddr;
use std::ptr;

use bytes::Bytes;
use curl::easy::{Easy2, Handler, ReadError, SeekResult, WriteError};
use libc::c_char;
use zeroize::Zeroize as _;

use super::options::Live;
use super::sockets;
use super::url::Parsed;
use crate::head::Ends;

/// A transfer and what its easy handle points to.
///
/// libcurl does not copy the lists of [`ListOption`], `CURLOPT_POSTFIELDS` and `CURLOPT_CURLU`. They live here, in fields that
/// only this file can reach, or only [`url`](super::url), inside the handler that the easy handle owns: `Easy2` cleans its
/// handle up before it drops its handler.
pub(crate) struct Held<T> {
    pub(crate) transfer: T,
    /// By [`ListOption`]. A list that libcurl has none of is not there.
    lists: [Option<Box<HeaderList>>; 4],
    fields: Bytes,
    /// Changed by [`url`](super::url) alone.
    pub(super) url: Option<Parsed>,
    /// The easy handle that owns this.
    raw: *mut curl_sys::CURL,
}

// SAFETY: the handle moves between threads together with its owner, and is used by one at a time.
unsafe impl<T: Send> Send for Held<T> {}

/// What libcurl calls during a transfer, with access to what it knows of it.
pub(crate) trait Callbacks {
    fn on_header(&mut self, live: Live<'_>, line: &[u8]) -> bool;
    fn on_write(&mut self, live: Live<'_>, data: &[u8]) -> Result<usize, WriteError>;
    fn on_read(&mut self, live: Live<'_>, room: &mut [u8]) -> Result<usize, ReadError>;
    fn on_seek(&mut self, to: std::io::SeekFrom) -> SeekResult;
    /// Received and sent, each with its total where that is known.
    fn on_progress(&mut self, received: (u64, Option<u64>), sent: (u64, Option<u64>));
    /// Whether a connection to there may be made. `None` is no internet address.
    fn may_connect(&mut self, live: Live<'_>, peer: Option<SocketAddr>) -> bool;
    /// Whether the request may be sent now, on that connection.
    fn may_send(&mut self, live: Live<'_>, ends: Ends) -> bool;
}

/// Makes an easy handle around a transfer.
pub(crate) fn easy<T: Callbacks>(transfer: T) -> Easy2<Held<T>> {
    let held = Held { transfer, lists: Default::default(), fields: Bytes::new(), url: None, raw: ptr::null_mut() };
    let mut easy = Easy2::new(held);
    easy.get_mut().raw = easy.raw();
    easy
}

impl<T: Callbacks> Handler for Held<T> {
    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        sockets::carry(data.len() as u64);
        // SAFETY: as in `header`.
        let live = unsafe { Live::new(self.raw) };
        self.transfer.on_write(live, data)
    }

    fn read(&mut self, data: &mut [u8]) -> Result<usize, ReadError> {
        // SAFETY: `easy` made the handle that owns this value and the pointer in one go, and neither changes after.
        let live = unsafe { Live::new(self.raw) };
        let written = self.transfer.on_read(live, data)?;
        sockets::carry(written as u64);
        Ok(written)
    }

    fn seek(&mut self, whence: std::io::SeekFrom) -> SeekResult {
        self.transfer.on_seek(whence)
    }

    fn header(&mut self, data: &[u8]) -> bool {
        // SAFETY: `easy` made the handle that owns this value and the pointer in one go, and neither changes after.
        let live = unsafe { Live::new(self.raw) };
        self.transfer.on_header(live, data)
    }

    fn progress(&mut self, dltotal: f64, dlnow: f64, ultotal: f64, ulnow: f64) -> bool {
        let total = |total: f64| (total > 0.0).then_some(total as u64);
        self.transfer.on_progress((dlnow as u64, total(dltotal)), (ulnow as u64, total(ultotal)));
        true
    }
}

impl<T: Callbacks> Held<T> {
    pub(super) fn may_connect(&mut self, peer: Option<SocketAddr>) -> bool {
        // SAFETY: `easy` made the handle that owns this value and the pointer in one go, and neither changes after.
        let live = unsafe { Live::new(self.raw) };
        self.transfer.may_connect(live, peer)
    }

    pub(super) fn may_send(&mut self, ends: Ends) -> bool {
        // SAFETY: as in `may_connect`.
        let live = unsafe { Live::new(self.raw) };
        self.transfer.may_send(live, ends)
    }
}

/// Options that take a list of lines.
#[derive(Clone, Copy)]
pub(crate) enum ListOption {
    /// `CURLOPT_HTTPHEADER`
    Headers,
    /// `CURLOPT_PROXYHEADER`
    ProxyHeaders,
    /// `CURLOPT_RESOLVE`
    Resolve,
    /// `CURLOPT_CONNECT_TO`
    ConnectTo,
}

impl ListOption {
    fn number(self) -> curl_sys::CURLoption {
        match self {
            Self::Headers => curl_sys::CURLOPT_HTTPHEADER,
            Self::ProxyHeaders => 10_228,
            Self::Resolve => 10_203,
            Self::ConnectTo => 10_243,
        }
    }
}

/// The lines of a list for libcurl, in one buffer that is used again by the handle's next request.
#[derive(Default)]
pub(crate) struct HeaderList {
    /// Each line ends with a NUL.
    text: Vec<u8>,
    nodes: Vec<curl_sys::curl_slist>,
    /// The text is overwritten before it is given up.
    secret: bool,
}

// SAFETY: the pointers in `nodes` point into `text` and `nodes` themselves and are rebuilt by `link` before each use.
unsafe impl Send for HeaderList {}

impl Drop for HeaderList {
    fn drop(&mut self) {
        self.clear();
    }
}

impl HeaderList {
    fn clear(&mut self) {
        self.nodes.clear();
        if std::mem::take(&mut self.secret) {
            self.text.zeroize();
        }
        self.text.clear();
    }

    /// Says that one of the lines is a secret.
    pub(crate) fn mark_secret(&mut self) {
        self.secret = true;
    }

    /// Overwrites the lines, if some are secrets. They stay where they are: libcurl knows their place.
    fn wipe(&mut self) {
        if self.secret {
            self.text.as_mut_slice().zeroize();
        }
    }

    /// Adds a line made of `parts`. The parts hold no NUL: header names and values never do.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) {
        for part in parts {
            debug_assert!(!part.contains(&0));
            self.text.extend_from_slice(part);
        }
        self.text.push(0);
    }

    /// Builds the linked list over the finished buffer.
    fn link(&mut self) -> *mut curl_sys::curl_slist {
        self.nodes.clear();
        let base = self.text.as_mut_ptr();
        let mut start = 0;
        for line in self.text.split_inclusive(|byte| *byte == 0) {
            let data = base.wrapping_add(start).cast::<c_char>();
            self.nodes.push(curl_sys::curl_slist { data, next: ptr::null_mut() });
            start += line.len();
        }
        let first = self.nodes.as_mut_ptr();
        for (index, node) in self.nodes.iter_mut().enumerate().rev().skip(1) {
            node.next = first.wrapping_add(index + 1);
        }
        if self.nodes.is_empty() { ptr::null_mut() } else { first }
    }
}

/// Fills a list of `easy` with `fill` and gives it to libcurl. An empty one is none.
pub(crate) fn set_list<T>(
    easy: &mut Easy2<Held<T>>,
    option: ListOption,
    fill: impl FnOnce(&mut HeaderList),
) -> Result<(), curl::Error> {
    let slot = &mut easy.get_mut().lists[option as usize];
    let mut new = HeaderList::default();
    let list = slot.as_deref_mut().unwrap_or(&mut new);
    let had_lines = !list.text.is_empty();
    list.clear();
    fill(list);
    if !had_lines && list.text.is_empty() {
        return Ok(());
    }
    let list = slot.get_or_insert_with(|| Box::new(new)).link();
    // SAFETY: the list lives in `easy`, unchanged until the next call for this option, which replaces it.
    let code = unsafe { curl_sys::curl_easy_setopt(easy.raw(), option.number(), list) };
    super::options::check(code)
}

/// Gives libcurl a body in memory without a copy (`CURLOPT_POSTFIELDSIZE_LARGE`, `CURLOPT_POSTFIELDS`).
pub(crate) fn set_post_fields<T>(easy: &mut Easy2<Held<T>>, bytes: Bytes) -> Result<(), curl::Error> {
    let size = bytes.len() as curl_sys::curl_off_t;
    // An empty `Bytes` may dangle; libcurl wants a readable address even then.
    let data = if bytes.is_empty() { c"".as_ptr() } else { bytes.as_ptr().cast::<c_char>() };
    easy.get_mut().fields = bytes;
    // SAFETY: the option takes a curl_off_t.
    let code = unsafe { curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_POSTFIELDSIZE_LARGE, size) };
    super::options::check(code)?;
    // SAFETY: the bytes live in `easy` until they are replaced here or released by `release_post_fields`.
    let code = unsafe { curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_POSTFIELDS, data) };
    super::options::check(code)
}

/// Overwrites the headers of a request that is over. Only for a handle that is in no multi handle.
pub(crate) fn wipe_headers<T>(easy: &mut Easy2<Held<T>>) {
    for option in [ListOption::Headers, ListOption::ProxyHeaders] {
        if let Some(list) = &mut easy.get_mut().lists[option as usize] {
            list.wipe();
        }
    }
}

/// Takes the body in memory away from libcurl and drops it. Only for a handle that is in no multi handle.
pub(crate) fn release_post_fields<T>(easy: &mut Easy2<Held<T>>) -> Result<(), curl::Error> {
    if easy.get_ref().fields.is_empty() {
        return Ok(());
    }
    // SAFETY: NULL makes libcurl forget the bytes before they are dropped.
    let code = unsafe { curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_POSTFIELDS, ptr::null::<c_char>()) };
    super::options::check(code)?;
    easy.get_mut().fields = Bytes::new();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(list: &mut HeaderList) -> Vec<String> {
        let mut found = Vec::new();
        let mut node = list.link().cast_const();
        while !node.is_null() {
            // SAFETY: `link` made the list and `list` is borrowed.
            let here = unsafe { &*node };
            // SAFETY: each line ends with a NUL.
            let text = unsafe { std::ffi::CStr::from_ptr(here.data) };
            found.push(text.to_str().unwrap().to_owned());
            node = here.next;
        }
        found
    }

    #[test]
    fn a_header_list_links_its_lines_in_order_and_can_be_filled_again() {
        let mut list = HeaderList::default();
        assert!(lines(&mut list).is_empty());
        list.push(&[b"accept", b": ", b"*/*"]);
        assert_eq!(lines(&mut list), ["accept: */*"]);
        for n in 0..100 {
            list.push(&[b"x: ", n.to_string().as_bytes()]);
        }
        assert_eq!(lines(&mut list).len(), 101);
        assert_eq!(lines(&mut list)[100], "x: 99");
        list.clear();
        list.push(&[b"authorization: c4nary"]);
        list.mark_secret();
        list.wipe();
        assert!(!list.text.is_empty() && list.text.iter().all(|byte| *byte == 0), "nothing is left of it");
        list.clear();
        list.push(&[b"only;"]);
        assert_eq!(lines(&mut list), ["only;"]);
    }
}
