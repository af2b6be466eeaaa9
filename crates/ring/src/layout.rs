//! The bytes of a ring file as types made of atomics, and the arithmetic every party must agree on.
//! A mapping and a heap array both implement [`Memory`]; the protocol above cannot tell them apart, so Miri and loom
//! run the very code that production maps.

use crate::sync::{AtomicU64, Ordering, fence};

/// First eight bytes of a ring file.
pub(crate) const RING_MAGIC: u64 = u64::from_le_bytes(*b"APRING\r\n");
/// Version of the layout below; any other is refused.
pub(crate) const LAYOUT_VERSION: u32 = 2;
/// Slots begin here; a whole page, so that slots of a page-aligned mapping are cache lines.
pub(crate) const HEADER_BYTES: usize = 4096;
/// Bytes of one slot.
pub(crate) const SLOT_BYTES: usize = 64;
/// Words of one slot: the sequence and the payload. Loom models a narrow slot to keep the state space small.
pub(crate) const SLOT_WORDS: usize = if cfg!(loom) { 2 } else { 8 };
/// Payload words of one slot.
pub(crate) const PAYLOAD_WORDS: usize = SLOT_WORDS - 1;
/// Longest record in words: its length is one byte.
pub(crate) const RECORD_WORDS_MAX: usize = 255;
/// Slots of the longest record.
pub(crate) const RECORD_SLOTS_MAX: usize = RECORD_WORDS_MAX.div_ceil(PAYLOAD_WORDS);
/// Set in a slot's sequence word when the slot continues the record before it.
pub(crate) const CONTINUATION: u64 = 1 << 63;
/// Set in a slot's sequence word when the slot stands for records that this ring never had: from the sequence in its
/// first payload word to the sequence in this one.
pub(crate) const HOLE: u64 = 1 << 62;
/// What is not sequence in a slot's sequence word.
pub(crate) const SLOT_FLAGS: u64 = CONTINUATION | HOLE;
/// The last sequence of a run whose end nobody here knows.
pub(crate) const END_UNKNOWN: u64 = u64::MAX;
/// Word of a slot that holds word 2 of the record which starts there: its receive time.
pub(crate) const TIME_WORD: usize = 3;
/// Epochs remembered with their extent: as many as fit the header. A model can hold few atomics.
pub(crate) const EPOCHS_KEPT: usize = if cfg!(loom) { 16 } else { 120 };
/// Smallest ring: the longest record, the intent chunk and the safety margin must fit side by side.
pub(crate) const SLOTS_MIN: u64 = 128;
/// Largest ring: 64 GiB; more is a typing error.
pub(crate) const SLOTS_MAX: u64 = 1 << 30;
/// No honest cursor reaches this (a billion slots a second for 146 years); keeps the arithmetic free of overflow.
pub(crate) const POSITION_MAX: u64 = 1 << 62;

/// One cache line: the sequence, then payload.
#[repr(C, align(64))]
pub(crate) struct Slot {
    pub(crate) words: [AtomicU64; SLOT_WORDS],
}

/// What never changes in the life of a file.
#[repr(C, align(64))]
pub(crate) struct Identity {
    pub(crate) magic: AtomicU64,
    /// Low half: layout version. High half: bytes before the first slot.
    pub(crate) version: AtomicU64,
    pub(crate) capacity: AtomicU64,
}

/// What changes when writers come and go. Read at every poll, so it shares no line with a cursor.
#[repr(C, align(64))]
pub(crate) struct Ownership {
    pub(crate) generation: AtomicU64,
    pub(crate) writer_pid: AtomicU64,
    pub(crate) retired: AtomicU64,
    /// Who numbers the records: 0 the writer itself, else the ring repeats another's, named by this.
    pub(crate) origin: AtomicU64,
}

/// Slot position below which the writer may be writing.
#[repr(C, align(64))]
pub(crate) struct Intent {
    pub(crate) position: AtomicU64,
}

/// What a publication changes; one line, because it is always written and read together.
#[repr(C, align(64))]
pub(crate) struct Published {
    pub(crate) tail: AtomicU64,
    pub(crate) next_sequence: AtomicU64,
    pub(crate) at_ns: AtomicU64,
}

/// One run of one writer.
#[repr(C)]
pub(crate) struct EpochEntry {
    pub(crate) generation: AtomicU64,
    pub(crate) epoch: AtomicU64,
    pub(crate) start_position: AtomicU64,
    /// Written by the successor; meaningless for the newest entry.
    pub(crate) last_sequence: AtomicU64,
}

/// The start of a ring file.
#[repr(C, align(64))]
pub(crate) struct Header {
    pub(crate) identity: Identity,
    pub(crate) ownership: Ownership,
    pub(crate) intent: Intent,
    pub(crate) published: Published,
    pub(crate) epochs: [EpochEntry; EPOCHS_KEPT],
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::{align_of, offset_of, size_of};
    assert!(size_of::<Slot>() == SLOT_BYTES && align_of::<Slot>() == SLOT_BYTES);
    assert!(offset_of!(Header, ownership) == 64);
    assert!(offset_of!(Header, intent) == 128);
    assert!(offset_of!(Header, published) == 192);
    assert!(offset_of!(Header, epochs) == 256);
    assert!(size_of::<EpochEntry>() == 32);
    assert!(size_of::<Header>() == 256 + 32 * EPOCHS_KEPT && size_of::<Header>() <= HEADER_BYTES);
};

/// Where a ring lives.
pub(crate) trait Memory {
    /// For messages.
    fn name(&self) -> &str;
    fn header(&self) -> &Header;
    /// A power of two of them.
    fn slots(&self) -> &[Slot];
}

/// Slots a record of `words` words takes.
#[inline(always)]
pub(crate) const fn slots_for(words: usize) -> u64 {
    words.div_ceil(PAYLOAD_WORDS) as u64
}

/// How far ahead of its data the writer announces: one store of the intent per so many slots.
pub(crate) const fn intent_chunk(capacity: u64) -> u64 {
    let eighth = capacity / 8;
    if eighth > 64 {
        64
    } else if eighth == 0 {
        1
    } else {
        eighth
    }
}

/// Slots a reader that starts at the oldest stays ahead of the writer, so that it is not overtaken at once.
pub(crate) const fn safety_margin(capacity: u64) -> u64 {
    let sixteenth = capacity / 16;
    let chunks = 2 * intent_chunk(capacity);
    if sixteenth > chunks { sixteenth } else { chunks }
}

/// Oldest position worth starting at; may be a continuation slot.
pub(crate) const fn oldest_position(intent: u64, capacity: u64) -> u64 {
    (intent.saturating_add(safety_margin(capacity))).saturating_sub(capacity)
}

/// Whether everything read from `position` on, before this call, was read whole.
#[inline(always)]
pub(crate) fn survived(header: &Header, position: u64, capacity: u64) -> bool {
    // Pairs with the Release fence in `Pen::reserve`: whoever read a word of a later lap sees the intent to write it.
    fence(Ordering::Acquire);
    // An honest intent is never below a published position; a hostile one wraps to "no".
    header.intent.position.load(Ordering::Relaxed).wrapping_sub(position) <= capacity
}

/// Copies `out.len()` slots from `position` on, wrapping at the end.
#[inline(always)]
pub(crate) fn copy_slots(slots: &[Slot], position: u64, out: &mut [[u64; SLOT_WORDS]]) {
    let start = (position & (slots.len() as u64 - 1)) as usize;
    let before_wrap = out.len().min(slots.len() - start);
    let (first, second) = out.split_at_mut(before_wrap);
    for (line, slot) in first.iter_mut().zip(&slots[start..]) {
        copy_slot(slot, line);
    }
    for (line, slot) in second.iter_mut().zip(slots) {
        copy_slot(slot, line);
    }
}

#[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
#[inline(always)]
pub(crate) fn copy_slot(slot: &Slot, line: &mut [u64; SLOT_WORDS]) {
    // The compiler does not merge atomic loads; four 16-byte moves do the work of eight.
    // SAFETY:
    // - Bounds: 64 bytes are read from a `Slot` and written to a `[u64; 8]`, both borrowed for the call.
    // - Races: the block does what eight relaxed atomic loads would do; x86-64 never tears an aligned 8-byte part of
    //   a vector load, and words of different ages are what relaxed loads may give too.
    unsafe {
        std::arch::asm!(
            "movaps {a}, [{from}]",
            "movaps {b}, [{from} + 16]",
            "movaps {c}, [{from} + 32]",
            "movaps {d}, [{from} + 48]",
            "movups [{to}], {a}",
            "movups [{to} + 16], {b}",
            "movups [{to} + 32], {c}",
            "movups [{to} + 48], {d}",
            from = in(reg) std::ptr::from_ref(slot),
            to = in(reg) line.as_mut_ptr(),
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri), not(loom))))]
#[inline(always)]
pub(crate) fn copy_slot(slot: &Slot, line: &mut [u64; SLOT_WORDS]) {
    for (to, from) in line.iter_mut().zip(&slot.words) {
        *to = from.load(Ordering::Relaxed);
    }
}

#[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
#[inline(always)]
pub(crate) fn store_slot(slot: &Slot, line: &[u64; SLOT_WORDS]) {
    // SAFETY:
    // - Bounds: 64 bytes are read from a `[u64; 8]` and written to a `Slot`, both borrowed for the call.
    // - Races: the block does what eight relaxed atomic stores would do; x86-64 never tears an aligned 8-byte part of
    //   a vector store, and a reader may see them in any order, as it may see relaxed stores.
    unsafe {
        std::arch::asm!(
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + 32]",
            "movups {d}, [{from} + 48]",
            "movaps [{to}], {a}",
            "movaps [{to} + 16], {b}",
            "movaps [{to} + 32], {c}",
            "movaps [{to} + 48], {d}",
            from = in(reg) line.as_ptr(),
            to = in(reg) std::ptr::from_ref(slot),
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri), not(loom))))]
#[inline(always)]
pub(crate) fn store_slot(slot: &Slot, line: &[u64; SLOT_WORDS]) {
    for (to, from) in slot.words.iter().zip(line) {
        to.store(*from, Ordering::Relaxed);
    }
}

/// A ring on the heap, for tests, Miri and loom.
#[cfg(test)]
pub(crate) mod heap {
    use super::*;
    use crate::sync::AtomicU64;

    pub(crate) struct Heap {
        header: Header,
        slots: Vec<Slot>,
    }

    fn zero() -> AtomicU64 {
        AtomicU64::new(0)
    }

    impl Heap {
        pub(crate) fn new(capacity: usize) -> Heap {
            assert!(capacity.is_power_of_two());
            let epochs = std::array::from_fn(|_| EpochEntry {
                generation: zero(),
                epoch: zero(),
                start_position: zero(),
                last_sequence: zero(),
            });
            let header = Header {
                identity: Identity { magic: zero(), version: zero(), capacity: zero() },
                ownership: Ownership { generation: zero(), writer_pid: zero(), retired: zero(), origin: zero() },
                intent: Intent { position: zero() },
                published: Published { tail: zero(), next_sequence: zero(), at_ns: zero() },
                epochs,
            };
            let slots = (0..capacity).map(|_| Slot { words: std::array::from_fn(|_| zero()) }).collect();
            Heap { header, slots }
        }
    }

    impl Memory for std::sync::Arc<Heap> {
        fn name(&self) -> &str {
            "heap"
        }
        fn header(&self) -> &Header {
            &self.header
        }
        fn slots(&self) -> &[Slot] {
            &self.slots
        }
    }
}
