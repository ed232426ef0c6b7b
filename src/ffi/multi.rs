//! libcurl's multi handle, and easy handles in it, that may move between threads; and multi handles that are used again. Calls
//! libcurl for nothing else.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::os::raw::c_long;
use std::sync::Mutex;

use super::fork;

/// A multi handle.
pub(crate) struct Multi {
    /// Leaves by the drop, which keeps it or frees it.
    multi: ManuallyDrop<curl::multi::Multi>,
    /// See [`fork::generation`].
    made_in: u64,
    /// See [`vacate`](Self::vacate).
    vacant: bool,
}

// SAFETY: libcurl's handles belong to no thread; they must not be used by two at once (libcurl-thread(3)). Whoever has this
// value, or a reference to it, is the only one: it is not `Sync`.
unsafe impl Send for Multi {}

/// Kept for those who ask next. Few, for their memory; more than one, as an agent may end after the next one was made.
static KEPT: Mutex<Vec<Multi>> = Mutex::new(Vec::new());
const MOST_KEPT: usize = 2;

impl Multi {
    /// One that was [vacated](Self::vacate), or a new one.
    pub(crate) fn get() -> Self {
        // In a forked child the lock may be held by a thread that is not there.
        let kept = KEPT.try_lock().ok().and_then(|mut kept| kept.pop());
        match kept {
            Some(multi) if multi.made_in == fork::generation() => multi,
            // The parent's.
            Some(multi) => {
                std::mem::forget(multi);
                Self::get()
            }
            None => {
                let multi = ManuallyDrop::new(curl::multi::Multi::new());
                Self { multi, made_in: fork::generation(), vacant: false }
            }
        }
    }

    /// Closes all connections and forgets all names (`CURLMOPT_NETWORK_CHANGED`). There must be no transfer. Returns whether
    /// libcurl can, from 8.16 on. A connection that has to say farewell may be open still.
    pub(crate) fn forget(&self) -> bool {
        const NETWORK_CHANGED: curl_sys::CURLMoption = 17;
        const CLEAR_ALL: c_long = 1;
        // SAFETY: the option takes a long; an unknown option is an error code.
        unsafe { curl_sys::curl_multi_setopt(self.raw(), NETWORK_CHANGED, CLEAR_ALL) == curl_sys::CURLM_OK }
    }

    /// Lets another one have it, once it drops: making and freeing one is a sixth of what a new client's first request costs.
    /// Nothing may be left in it of who used it, but options that the next one sets, too.
    pub(crate) fn vacate(&mut self) {
        self.vacant = true;
    }
}

impl Drop for Multi {
    fn drop(&mut self) {
        // SAFETY: nobody uses it after the drop.
        let multi = unsafe { ManuallyDrop::take(&mut self.multi) };
        if self.vacant
            && self.made_in == fork::generation()
            && let Ok(mut kept) = KEPT.try_lock()
            && kept.len() < MOST_KEPT
        {
            kept.push(Self { multi: ManuallyDrop::new(multi), made_in: self.made_in, vacant: false });
        }
    }
}

impl Deref for Multi {
    type Target = curl::multi::Multi;

    fn deref(&self) -> &Self::Target {
        &self.multi
    }
}

impl DerefMut for Multi {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.multi
    }
}

/// An easy handle in a multi handle. It moves with that one only: both are parts of one agent.
pub(crate) struct Attached<H>(curl::multi::Easy2Handle<H>);

// SAFETY: as for `Multi`; the handler that the easy handle owns moves with it.
unsafe impl<H: Send> Send for Attached<H> {}

impl<H> Attached<H> {
    pub(crate) fn new(easy: curl::multi::Easy2Handle<H>) -> Self {
        Self(easy)
    }

    pub(crate) fn into_inner(self) -> curl::multi::Easy2Handle<H> {
        self.0
    }
}

impl<H> Deref for Attached<H> {
    type Target = curl::multi::Easy2Handle<H>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<H> DerefMut for Attached<H> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
