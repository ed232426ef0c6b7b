//! What a handler wants next. Plain data.

use std::time::Duration;

/// A handler's answer: what it wants to hear of next. See the [module](crate::handler) for a picture.
///
/// An answer replaces the one before, timeout included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an answer that is not returned has no effect"]
pub struct Next {
    pub(super) wish: Wish,
    pub(super) timeout: Option<Duration>,
    /// A timeout that is running goes on.
    pub(super) keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// What to be called for.
    Go {
        read: bool,
        write: bool,
    },
    End,
    Remove,
}

impl Next {
    const fn new(wish: Wish) -> Self {
        Self { wish, timeout: None, keep: false }
    }

    pub(crate) const fn go(read: bool, write: bool) -> Self {
        Self::new(Wish::Go { read, write })
    }

    /// Call me when there is something of the response to read. A request body that is not ended is parked.
    pub const fn read() -> Self {
        Self::go(true, false)
    }

    /// Call me when there is room for more of the request's body. The response's body is parked.
    pub const fn write() -> Self {
        Self::go(false, true)
    }

    /// Call me for both.
    pub const fn read_and_write() -> Self {
        Self::go(true, true)
    }

    /// Park the transfer until [`Control::ready`](crate::handler::Control::ready). It costs no processor time.
    pub const fn wait() -> Self {
        Self::go(false, false)
    }

    /// I am done. A small rest of the response is read and thrown away, so that the connection can be used again;
    /// otherwise the connection is closed.
    pub const fn end() -> Self {
        Self::new(Wish::End)
    }

    /// I am done: end the transfer at once, whatever it is doing. Its connection (HTTP/2: its stream) is closed.
    pub const fn remove() -> Self {
        Self::new(Wish::Remove)
    }

    /// If nothing happens for this long, call [`on_error`](crate::handler::Handler::on_error) with a timeout; the
    /// handler may go on from there. Default: no limit.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Whether a request body follows, where this answers `on_request`; `None` leaves it to the request.
    pub(crate) fn writes(&self) -> Option<bool> {
        match self.wish {
            Wish::Go { write: true, .. } => Some(true),
            Wish::Go { read: false, write: false } => None,
            _ => Some(false),
        }
    }
}

/// What a [`Control`](crate::handler::Control) wakes a transfer for: any [`Next`] but a wait.
///
/// It *adds* to what the handler wanted before, and stands until the handler was called for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready(pub(super) Next);

impl Ready {
    /// As [`Next::read`].
    pub const fn read() -> Self {
        Self(Next::read())
    }

    /// As [`Next::write`].
    pub const fn write() -> Self {
        Self(Next::write())
    }

    /// As [`Next::read_and_write`].
    pub const fn read_and_write() -> Self {
        Self(Next::read_and_write())
    }

    /// As [`Next::end`].
    pub const fn end() -> Self {
        Self(Next::end())
    }

    /// As [`Next::remove`].
    pub const fn remove() -> Self {
        Self(Next::remove())
    }

    /// Lets a timeout that is running go on.
    pub(crate) const fn keeping(mut self) -> Self {
        self.0.keep = true;
        self
    }

    /// As [`Next::timeout`]. Without one, a timeout that was running ends.
    #[must_use]
    pub const fn timeout(self, limit: Duration) -> Self {
        Self(self.0.timeout(limit))
    }
}

impl From<Ready> for Next {
    fn from(ready: Ready) -> Self {
        ready.0
    }
}
