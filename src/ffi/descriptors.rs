//! How many descriptors this process may have open. Opens and closes none.

/// Lets there be so many, as far as the system allows. Returns how many there may be then.
#[cfg(unix)]
pub(crate) fn allow(wanted: u64) -> std::io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and of the type that the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    #[allow(clippy::useless_conversion, reason = "the type differs between systems")]
    let (soft, hard) = (u64::from(limit.rlim_cur), u64::from(limit.rlim_max));
    if soft >= wanted {
        return Ok(soft);
    }
    let raised = libc::rlimit { rlim_cur: wanted.min(hard) as libc::rlim_t, rlim_max: limit.rlim_max };
    // SAFETY: `raised` is filled in; the call only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } != 0 {
        return Ok(soft);
    }
    Ok(wanted.min(hard))
}

/// There is no limit that could be asked about.
#[cfg(not(unix))]
pub(crate) fn allow(wanted: u64) -> std::io::Result<u64> {
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_asked_for_than_there_is() {
        let some = allow(1).unwrap();
        assert!(some >= 1);
        assert!(allow(some).unwrap() >= some);
    }
}
