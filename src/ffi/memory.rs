//! Advice to the system and to malloc about memory. Neither reads nor writes any.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

/// The largest block that malloc is to take for a usual one.
const USUAL: usize = 4 << 20;
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

/// Makes malloc keep some of the memory of bodies that were read, for the next ones.
///
/// glibc gives the end of its heap back to the system as soon as 128 KiB of it are free, or twice the largest block of its
/// own mapping that was freed before (`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` in mallopt(3)): 8 bodies of 256 KiB that are
/// dropped together are gone, and their pages have to be had anew for the next 8, which takes longer than to receive them.
/// Freeing a larger block, once, teaches it better, unless the heap already has so much free. A program that sets either
/// threshold keeps what it set, and other allocators do not care.
pub(crate) fn keep_freed() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Ordering::Relaxed) || DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    let mut block = Vec::<u8>::new();
    if block.try_reserve_exact(USUAL).is_ok() {
        drop(black_box(block));
    }
}
