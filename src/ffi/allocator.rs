//! Counts what each thread has allocated and not given back. Allocates nothing itself, and refuses nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

thread_local! {
    /// Bytes. Has no destructor, so that it can be used as long as its thread allocates.
    static TALLY: Cell<isize> = const { Cell::new(0) };
}

/// A global allocator that counts for each thread what it has allocated, which the memory budget of a
/// [`Sandbox`](crate::script::Sandbox) needs. It costs an addition for each allocation; the work is done by another
/// allocator, the system's unless said otherwise.
///
/// ```
/// use marmot::script::MeteredAllocator;
///
/// #[global_allocator]
/// static ALLOCATOR: MeteredAllocator = MeteredAllocator::system();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MeteredAllocator<A = System>(A);

impl MeteredAllocator {
    /// Counts what the system's allocator does.
    pub const fn system() -> Self {
        Self(System)
    }
}

impl<A> MeteredAllocator<A> {
    /// Counts what another allocator does.
    pub const fn new(allocator: A) -> Self {
        Self(allocator)
    }
}

// SAFETY: every call is passed on to an allocator that keeps the contract; counting changes no pointer and no layout.
unsafe impl<A: GlobalAlloc> GlobalAlloc for MeteredAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of this same function.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: as above.
        unsafe { self.0.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { self.0.dealloc(pointer, layout) }
    }
}

/// An allocation that fails is counted as well: it ends the process, or asks for so much that it should.
fn count(more: usize, less: usize) {
    TALLY.with(|tally| tally.set(tally.get().wrapping_add_unsigned(more).wrapping_sub_unsigned(less)));
}

/// Bytes that this thread has allocated less those that it has given back; what another thread allocated counts when it is
/// given back here. Only the change over a time has a meaning.
pub(crate) fn tally() -> isize {
    TALLY.with(Cell::get)
}

/// Whether this program counts: whether its global allocator is ours.
pub(crate) fn is_installed() -> bool {
    let before = tally();
    let probe = black_box(Box::new(0_u64));
    let counted = tally() != before;
    drop(probe);
    counted
}
