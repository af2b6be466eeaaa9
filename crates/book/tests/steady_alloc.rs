//! Once a book has grown to its depth nothing is allocated: not by changes, answers, iteration or cuts, and not when
//! the market leaves by a tenth and comes back.

use book::consolidated::{Fee, Groups, MemberId, WideQty};
use book::{Book, Consolidated, Follower, Mark, Opening};
use model::{BookState, Instrument, Price, Qty, Reason, Side, UnixNanos, Venue};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Allocations of this thread; no lazy part, as it is counted inside the allocator.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: everything is handed to the system's allocator unchanged; counting touches a thread-local without a destructor
// or lazy initialisation.
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
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc_zeroed(layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

struct Market {
    book: Book,
    mark: Mark,
    middle: i64,
    depth: usize,
    seed: u64,
}

impl Market {
    fn below(&mut self, limit: i64) -> i64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.seed >> 33) as i64 % limit
    }

    /// Changes around the middle, each with a look at the book; the depth stays what it is.
    fn trade(&mut self, changes: usize) -> i128 {
        let (mut sum, reach) = (0, 2 * self.depth as i64);
        for n in 0..changes {
            let away = self.below(reach).min(self.below(reach));
            let size = Qty(if self.below(4) == 0 { 0 } else { 1 + self.below(1_000) });
            let (side, price) = match self.below(2) {
                0 => (Side::Buy, self.middle - away),
                _ => (Side::Sell, self.middle + 1 + away),
            };
            self.book.set(side, Price(price * 100), size);
            self.book.truncate(self.depth);
            if n % 16 == 0 {
                sum += self.book.fill(Side::Buy, Qty(5_000)).notional.0;
                sum += self.book.total_within(Side::Sell, 50).map_or(0, |total| total.size);
                sum += self.book.imbalance(10).map_or(0, |ratio| ratio.numerator());
                sum += i128::from(self.book.since(&mut self.mark).bids);
                sum += self.book.levels(Side::Buy).take(50).map(|l| i128::from(l.size.0)).sum::<i128>();
            }
        }
        sum
    }

    /// The middle walks so many ticks; what it passes is deleted.
    fn walk(&mut self, ticks: i64) -> i128 {
        let mut sum = 0;
        for _ in 0..100 {
            self.middle += ticks / 100;
            while let Some(bid) = self.book.best(Side::Buy).filter(|l| l.price.0 > self.middle * 100) {
                self.book.set(Side::Buy, bid.price, Qty(0));
            }
            while let Some(ask) = self.book.best(Side::Sell).filter(|l| l.price.0 <= self.middle * 100) {
                self.book.set(Side::Sell, ask.price, Qty(0));
            }
            sum += self.trade(self.depth);
        }
        sum
    }
}

#[test]
fn a_book_that_has_grown_to_its_depth_allocates_nothing() {
    for depth in [25, 50, 1_000, 5_000] {
        let book = Book::with_capacity(depth);
        let mut market = Market { book, mark: Mark::default(), middle: 60_000, depth, seed: depth as u64 };
        let mut sum = market.trade(20 * depth) + market.walk(6_000) + market.walk(-6_000);
        let before = ALLOCATIONS.with(Cell::get);
        sum += market.trade(20 * depth) + market.walk(6_000) + market.walk(-6_000) + market.trade(20 * depth);
        let allocated = ALLOCATIONS.with(Cell::get) - before;
        assert!(market.book.depth(Side::Buy) > depth / 2, "the book is as deep as it was meant to be");
        assert_eq!(allocated, 0, "{depth} levels a side (sum {sum})");
    }
}

/// Four venues of different scales around one middle that wanders, so that they cross each other now and then; one of
/// them is excluded, loaded anew by a followed snapshot and included again, over and over.
struct Venues {
    book: Consolidated,
    members: Vec<MemberId>,
    followers: Vec<Follower>,
    middle: i64,
    now: u64,
    seed: u64,
    crossings: usize,
}

impl Venues {
    fn new(depth: usize) -> Venues {
        let book = Consolidated::new("BTC", "USD", &Groups::default());
        let mut venues = Venues {
            book,
            members: vec![],
            followers: vec![],
            middle: 60_000,
            now: 1,
            seed: depth as u64,
            crossings: 0,
        };
        for (n, venue) in Venue::ALL.into_iter().take(4).enumerate() {
            let instrument = Instrument::pair(venue, "BTCUSD", ("BTC", "USD"), (n as u8, 4));
            venues.members.push(venues.book.join(&instrument, Fee::ZERO, UnixNanos(1)).expect("joins"));
            venues.followers.push(Follower::default());
            venues.followers[n].state(
                BookState::Live,
                Reason::Ok,
                UnixNanos(1),
                &mut venues.book.seat(venues.members[n]),
            );
            venues.snapshot(n, depth);
        }
        venues
    }

    fn below(&mut self, limit: i64) -> i64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.seed >> 33) as i64 % limit
    }

    /// A member's book anew: as many levels each time, next to the middle.
    fn snapshot(&mut self, n: usize, depth: usize) {
        self.now += 1;
        let now = UnixNanos(self.now);
        let (follower, mut seat) = (&mut self.followers[n], self.book.seat(self.members[n]));
        follower.lose(Reason::Sequence, now, &mut seat);
        let opening = Opening { levels: [depth; 2], depth: Some(depth), capped: false, periodic: false };
        follower.begin(opening, now, &mut seat);
        for (side, sign) in [(Side::Buy, -1), (Side::Sell, 1)] {
            for level in 0..depth as i64 {
                let price = (self.middle + sign * (level + 1)) * 10i64.pow(n as u32);
                follower.level(side, Price(price), Qty(1 + level % 7));
            }
        }
        follower.end(now, &mut seat);
        self.book.settle(now);
    }

    fn trade(&mut self, changes: usize, depth: usize) -> i128 {
        let mut sum = 0;
        for n in 0..changes {
            let (at, away) = (self.below(4) as usize, self.below(depth as i64));
            let size = Qty(if self.below(4) == 0 { 0 } else { 1 + self.below(1_000) });
            let (side, tick) =
                if self.below(2) == 0 { (Side::Buy, self.middle - away) } else { (Side::Sell, self.middle + 1 + away) };
            self.now += 1;
            let (follower, mut seat) = (&mut self.followers[at], self.book.seat(self.members[at]));
            let level = (Price(tick * 10i64.pow(at as u32)), size);
            follower.change(side, level, n % 3 == 0, UnixNanos(self.now), &mut seat);
            self.crossings += usize::from(self.book.settle(UnixNanos(self.now)).began);
            if n % 64 == 0 {
                self.middle += self.below(5) - 2;
                sum += self.book.plan(Side::Buy, WideQty(1_000)).expect("it fits").fees;
                sum += self.book.levels(Side::Sell).take(50).map(|l| l.size.0).sum::<i128>();
            }
            if n % 500 == 499 {
                self.snapshot(at, depth);
            }
        }
        sum
    }
}

#[test]
fn a_consolidated_book_that_has_grown_to_its_depth_allocates_nothing() {
    for depth in [25, 200] {
        let mut venues = Venues::new(depth);
        let mut sum = venues.trade(6_000, depth);
        let before = ALLOCATIONS.with(Cell::get);
        sum += venues.trade(6_000, depth);
        let allocated = ALLOCATIONS.with(Cell::get) - before;
        assert!(venues.crossings > 0 && venues.book.best(Side::Buy).is_some());
        assert_eq!(allocated, 0, "{depth} levels a side (sum {sum})");
    }
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.with(Cell::get);
    drop(std::hint::black_box(vec![1u8; 100]));
    assert!(ALLOCATIONS.with(Cell::get) > before);
}
