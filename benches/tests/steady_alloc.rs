//! In steady state nothing is allocated between a frame's arrival and its record in the ring: counted, on the real feed
//! over a real socket, and on the machine alone for every hot shape.

use benches::frames::{Shape, frames};
use benches::plant::Plant;
use benches::venue::{NOW, ready};
use feed::Waiting;
use model::Venue;
use ring::Poll;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use wire::{Record, RecordType};

struct Counting;

thread_local! {
    /// Whether this thread's allocations count; no lazy part, as it is read inside the allocator.
    static COUNTED: Cell<Counted> = const { Cell::new(Counted::Unknown) };
}

#[derive(Clone, Copy, PartialEq)]
enum Counted {
    /// Not asked yet.
    Unknown,
    Yes,
    No,
}

/// Allocations of the threads named `feed` and of those that count themselves.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

fn count() {
    let counted = COUNTED.try_with(Cell::get).unwrap_or(Counted::No);
    let counted = if counted == Counted::Unknown { ask() } else { counted };
    if counted == Counted::Yes {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    }
}

/// The thread's name from the kernel, which allocates nothing.
fn ask() -> Counted {
    let mut name = [0u8; 16];
    // SAFETY: the kernel writes at most 16 bytes, the array's size.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let counted = if name.starts_with(b"feed\0") { Counted::Yes } else { Counted::No };
    let _ = COUNTED.try_with(|cell| cell.set(counted));
    counted
}

// SAFETY: everything is handed to the system's allocator unchanged; counting touches an atomic and a thread-local
// without a destructor or lazy initialisation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Both tests count in one place, so they take turns.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

const WARM_UP: usize = 2_000;
const MEASURED: usize = 20_000;
/// Frames of each of three shapes in one write to the feed.
const EACH: usize = 21;

#[test]
fn a_machine_allocates_nothing_for_frames_of_the_hot_shapes() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for shape in [
        Shape::BinanceTrade,
        Shape::BinanceQuote,
        Shape::BinanceDepth,
        Shape::KrakenTrade,
        Shape::KrakenBook,
        Shape::KrakenQuote,
    ] {
        let frames = frames(shape, WARM_UP + MEASURED);
        let (mut machine, mut out) = ready(shape, &frames);
        let mut told = 0;
        let mut feed = |frames: &[String]| {
            for frame in frames {
                machine.on_frame(frame.as_bytes(), NOW, &mut out).expect("a generated frame");
                told += out.records.len();
                out.records.clear();
            }
        };
        feed(&frames[1..WARM_UP]);
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        COUNTED.set(Counted::Yes);
        feed(&frames[WARM_UP..]);
        let counted = ALLOCATIONS.load(Ordering::SeqCst) - before;
        drop(std::hint::black_box(Box::new(0)));
        COUNTED.set(Counted::No);
        assert_eq!(counted, 0, "{shape:?}");
        assert_eq!(ALLOCATIONS.load(Ordering::SeqCst) - before, 1, "an allocation is counted");
        assert!(told >= WARM_UP + MEASURED - 1, "{shape:?}: {told} records told");
        assert_eq!(machine.counts().checksums_failed, 0, "{shape:?}");
        assert_eq!(machine.counts().gaps, 0, "{shape:?}");
    }
}

/// The table of latest values was written all the while: it shows the last book record of the ring.
fn assert_shown(plant: &Plant, venue: Venue) {
    let directory = ring::Directory::open(plant.rings()).expect("the rings");
    let mut table = relay::table::BookTable::open(&directory, venue).expect("the feed's table");
    let now = model::UnixNanos(telemetry::clock::wall_ns());
    let row = table.list(now).expect("rows")[0].row;
    let mut reader = ring::Reader::open(&directory, venue.name()).expect("the ring");
    let mut last = 0;
    while let Ok(Poll::Records(_)) = reader.poll(256, |entry, words| {
        if words[0] as u8 == RecordType::BookChange as u8 {
            last = entry.sequence;
        }
    }) {}
    let shown = table.book(row, now).expect("a live feed");
    assert!(shown.head.is_live() && shown.head.sequence >= last, "{:?}", shown.head);
    assert!(shown.bids().len() >= 10 && shown.bids()[0].price == shown.head.bid_price);
}

#[test]
fn a_feed_allocates_nothing_from_socket_to_ring() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (venue, shapes) in [
        (Venue::Binance, [Shape::BinanceDepth, Shape::BinanceTrade, Shape::BinanceQuote]),
        (Venue::Kraken, [Shape::KrakenBook, Shape::KrakenTrade, Shape::KrakenQuote]),
    ] {
        let all = shapes.map(|shape| frames(shape, 1 + (WARM_UP + MEASURED) / EACH * EACH));
        let mut plant = Plant::start(venue, Waiting::Block, None).expect("a feed on loopback");
        // A book comes with the first of its frames; the other streams begin after it.
        let book = |record: &Record<'_>| matches!(record, Record::SnapshotEnd(_));
        plant.settle(&all[0][..1], book).expect("a live book");
        let mixed: Vec<String> = (1..all[0].len()).flat_map(|n| all.iter().map(move |f| f[n].clone())).collect();
        let writes: Vec<Vec<u8>> = mixed.chunks(EACH * 3).map(|chunk| plant.encode(chunk)).collect();
        let (warm, measured) = writes.split_at(WARM_UP / EACH);
        let mut reader = plant.reader().expect("the feed's ring");
        let mut send = |writes: &[Vec<u8>]| {
            for bytes in writes {
                plant.send(bytes).expect("a connected feed");
                let mut trades = 0;
                while trades < EACH {
                    let poll =
                        reader.poll(256, |_, words| trades += usize::from(words[0] as u8 == RecordType::Trade as u8));
                    assert!(matches!(poll, Ok(Poll::Records(_) | Poll::Idle)), "{poll:?}");
                }
            }
        };
        send(warm);
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        assert!(before > 0, "opening a feed allocates, so it is counted");
        send(measured);
        assert_eq!(ALLOCATIONS.load(Ordering::SeqCst) - before, 0, "{venue}: {} frames", measured.len() * EACH * 3);
        assert_shown(&plant, venue);
    }
}
