//! The one place that decides whose atomics the protocol uses: the machine's, or loom's when a model is checked.
//! Protocol code imports from here only, so that what loom proves is the code that ships.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A sequentially consistent fence.
///
/// `fence(SeqCst)` becomes `mfence` on x86-64; a locked read-modify-write of the stack orders loads and stores just
/// as well for ordinary memory and costs about half, which is visible when every record is published alone.
#[inline(always)]
pub(crate) fn full_fence() {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
    // SAFETY: or-ing zero changes no value; the address lies in this thread's own stack (red zone); the block is not
    // marked `nomem`, so the compiler moves no memory access across it.
    unsafe {
        std::arch::asm!("lock or dword ptr [rsp - 8], 0", options(nostack));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom))))]
    fence(Ordering::SeqCst);
}
