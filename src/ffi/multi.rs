//! libcurl's multi handle, and easy handles in it, that may move between threads. Adds nothing else.

use std::ops::{Deref, DerefMut};

/// A multi handle.
pub(crate) struct Multi(curl::multi::Multi);

// SAFETY: libcurl's handles belong to no thread; they must not be used by two at once (libcurl-thread(3)). Whoever has this
// value, or a reference to it, is the only one: it is not `Sync`.
unsafe impl Send for Multi {}

impl Multi {
    pub(crate) fn new() -> Self {
        Self(curl::multi::Multi::new())
    }
}

impl Deref for Multi {
    type Target = curl::multi::Multi;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Multi {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
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
