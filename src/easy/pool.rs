//! What a client's requests use again: easy handles, of which making one costs libcurl more than a small request.

use std::sync::{Mutex, PoisonError};

use super::Easy;
use super::transfer::Transfer;
use crate::ffi::held;

/// More idle handles than this are freed.
const KEEP: usize = 256;
/// As many of them keep a large buffer for uploads.
const KEEP_LARGE: usize = 8;

/// Shared by a client and its agents.
#[derive(Default)]
pub(crate) struct Pool {
    handles: Mutex<Vec<Easy>>,
}

impl Pool {
    /// A handle without a request. Its options may still be those of an earlier one.
    pub(crate) fn take(&self) -> Easy {
        let recycled = self.handles.lock().unwrap_or_else(PoisonError::into_inner).pop();
        recycled.unwrap_or_else(|| held::easy(Transfer::default()))
    }

    /// Gives a handle back that is in no multi handle.
    pub(crate) fn give(&self, mut easy: Easy) {
        // libcurl keeps a header line that may go on in the next one, and would put the next transfer's behind it: a server
        // that stops there would have its say in the answer of another one.
        let within_head = easy.get_ref().transfer.is_within_head();
        easy.get_mut().transfer.clear();
        if within_head {
            return;
        }
        held::wipe_headers(&mut easy);
        if held::release_post_fields(&mut easy).is_err() {
            return;
        }
        let mut list = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        // libcurl keeps the buffer until another upload asks for one of another size.
        let is_large = |easy: &Easy| easy.get_ref().transfer.has_large_buffer;
        if list.len() < KEEP && (!is_large(&easy) || list.iter().filter(|other| is_large(other)).count() < KEEP_LARGE) {
            list.push(easy);
        }
    }
}
