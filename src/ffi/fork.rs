//! Whether this process is a fork of the one that something was made in. Forks nothing.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// A number that is another one in a forked child. Threads do not live on in a child: what remembers one remembers this
/// number with it.
pub(crate) fn generation() -> u64 {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        #[cfg(unix)]
        {
            // SAFETY: the handler only adds to an atomic number, which is allowed after a fork. Where the system has no
            // memory for it, forks go unnoticed.
            let _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        }
    });
    GENERATION.load(Ordering::Relaxed)
}

#[cfg(unix)]
unsafe extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
