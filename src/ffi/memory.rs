//! Advice to the system about memory. Neither reads nor writes any.

/// Smaller buffers are not worth the call.
const LARGE: usize = 4 << 20;

/// Asks for large pages under the unused part of a buffer that will be filled soon. Touching it in pages of the usual size
/// costs more than filling it: for a body of 64 MiB three quarters of all the time. Advice only: nothing fails without.
#[cfg(target_os = "linux")]
pub(crate) fn expect_filling(buffer: &mut Vec<u8>) {
    /// Alignment that all of Linux' page sizes divide.
    const PAGE: usize = 64 << 10;
    let unused = buffer.spare_capacity_mut();
    let start = unused.as_mut_ptr().cast::<libc::c_void>();
    let skipped = start.align_offset(PAGE);
    let length = unused.len().saturating_sub(skipped) / PAGE * PAGE;
    if length < LARGE {
        return;
    }
    // SAFETY: the range lies within the buffer's own allocation, and the advice changes no content.
    unsafe { libc::madvise(start.wrapping_byte_add(skipped), length, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn expect_filling(_buffer: &mut Vec<u8>) {}
