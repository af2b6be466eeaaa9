//! The hot path allocates nothing: not for short records, long ones, an empty ring or a new epoch's first record.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ring::table::{TableOptions, TableReader, TableWriter};
use ring::{Directory, Poll, Reader, Writer, WriterOptions};

struct Counting;

thread_local! {
    /// Per thread, because the test harness has threads of its own.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn round(writer: &mut Writer, reader: &mut Reader) -> u64 {
    let mut seen = 0;
    for words in [6, 7, 1, 40, 255] {
        let record = &[words << 8; 255][..words as usize];
        writer.push(record);
        writer.publish(1);
        assert_eq!(reader.poll(64, |_, record| seen += record.len() as u64).unwrap(), Poll::Records(1));
        assert_eq!(reader.poll(64, |_, _| {}).unwrap(), Poll::Idle);
    }
    seen
}

#[test]
fn push_publish_and_poll_do_not_allocate() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let mut first = Writer::open(&directory, "feed", WriterOptions { slots: 1024, epoch: 1 }).unwrap();
    let mut reader = Reader::open(&directory, "feed").unwrap();
    let before = ALLOCATIONS.get();
    for _ in 0..1000 {
        assert_eq!(round(&mut first, &mut reader), 309);
    }
    assert_eq!(ALLOCATIONS.get(), before);

    drop(first);
    let mut second = Writer::open(&directory, "feed", WriterOptions { slots: 1024, epoch: 2 }).unwrap();
    let before = ALLOCATIONS.get();
    round(&mut second, &mut reader);
    assert_eq!(ALLOCATIONS.get(), before);
}

#[test]
fn rows_are_written_and_read_without_allocating() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let mut writer = TableWriter::open(&directory, "feed", TableOptions { rows: 4, lines: 29 }).unwrap();
    let row = writer.claim(7).unwrap();
    writer.beat(1);
    let mut reader = TableReader::open(&directory, "feed").unwrap();
    let before = ALLOCATIONS.get();
    let mut lines = [[0; 8]; 29];
    for n in 0..1000 {
        writer.update(row, |pen| pen.put(3, &[n; 229]));
        assert_eq!(reader.read(row, 2, &mut lines).unwrap().version, n + 1);
        assert_eq!(lines[28][7], n);
    }
    assert_eq!(writer.claim(7).unwrap(), row);
    assert_eq!(ALLOCATIONS.get(), before);
}
