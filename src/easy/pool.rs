//! What a client's requests use again: easy handles, of which making one costs libcurl more than a small request, and the
//! header lines of requests that have none of their own.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;

use super::Easy;
use super::transfer::Transfer;
use crate::ffi::held::{self, HeaderList, SharedList};

/// More idle handles than this are freed.
const KEEP: usize = 256;

/// Shared by a client and its agents.
#[derive(Default)]
pub(crate) struct Pool {
    handles: Mutex<Vec<Easy>>,
    headers: Mutex<Option<UsualHeaders>>,
}

/// Header lines, and what they were made from.
struct UsualHeaders {
    user_agent: Option<HeaderValue>,
    codings: Option<&'static str>,
    lines: Arc<SharedList>,
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
        if list.len() < KEEP {
            list.push(easy);
        }
    }

    /// The header lines for that `User-Agent` and those codings to accept, which `write` writes unless they are here.
    pub(super) fn usual_headers(
        &self,
        user_agent: Option<&HeaderValue>,
        codings: Option<&'static str>,
        write: impl FnOnce(&mut HeaderList),
    ) -> Arc<SharedList> {
        let mut usual = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usual) = &*usual
            && usual.user_agent.as_ref() == user_agent
            && usual.codings == codings
        {
            return usual.lines.clone();
        }
        let lines = Arc::new(SharedList::new(write));
        *usual = Some(UsualHeaders { user_agent: user_agent.cloned(), codings, lines: lines.clone() });
        lines
    }
}
