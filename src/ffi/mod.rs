//! The only unsafe code of the crate: what the curl crate cannot express. No policy lives here.
//!
//! Each function wraps one call of C and is safe to call; each `unsafe` block names the invariant that makes it so.
//!
//! - `allocator`: counts what each thread has allocated, for the memory budgets of scripts.
//! - [`clock`]: the CPU time of a thread.
//! - `descriptors`: how many there may be.
//! - [`held`]: options whose data libcurl reads *during* the transfer (header list, body bytes), kept alive beside it.
//! - [`memfile`]: files in memory, for secrets that libcurl takes as files only. [`memory`]: advice about large buffers.
//! - [`multi`]: handles that move between threads.
//! - [`options`]: options and infos that the curl crate does not declare.
//! - [`poll`]: waiting for sockets. [`sockets`]: the news that libcurl opened or closed one.
//! - [`url`]: URLs that libcurl has read before.
//! - [`wall`]: whether the linked libcurl fails at descriptor 1,024.
//! - [`ws`] is about WebSockets.

#[cfg(feature = "script")]
pub(crate) mod allocator;
pub(crate) mod clock;
#[cfg(feature = "server")]
pub(crate) mod descriptors;
pub(crate) mod egress;
pub(crate) mod fork;
pub(crate) mod held;
pub(crate) mod memfile;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod multi;
pub(crate) mod options;
pub(crate) mod poll;
pub(crate) mod sockets;
pub(crate) mod url;
pub(crate) mod wall;
pub(crate) mod ws;
