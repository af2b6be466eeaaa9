//! The structures a book can be kept in, on the same changes: sorted arrays, a bitmap ladder with ordered pages for what
//! lies beyond it (the one that is used), a B-tree; beside a bare ladder that holds the market's neighbourhood alone.
//!
//! Four venues' books as one beside one of them, and a proven book beside an unproven one.
//!
//! Each change is followed by a look at best bid and best ask, and all that was seen is compared before the clock starts.

mod checksum;
mod consolidated;
mod ladder;
mod sorted;
mod work;

use crate::{BenchError, Effort, Goal, Options, Pairs, Report, Row, Spread, agree, clock};
use book::{Book, Level};
use ladder::Ladder;
use model::{Price, Qty, Side};
use sorted::Sorted;
use std::collections::BTreeMap;
use std::hint::black_box;
use work::Change;
pub use work::{Work, drawn};

const CHANGES: usize = 100_000;
const PASSES: usize = 10;
/// Slots of the ladder beside which near changes are measured, and of the one that holds all recorded changes.
const NEAR: usize = 1 << 14;
const WIDE: usize = 1 << 21;

/// What every structure can do.
pub(crate) trait Kept {
    fn set(&mut self, side: Side, price: Price, size: Qty);
    /// Best bid, best ask.
    fn touch(&self) -> [Option<Level>; 2];
}

impl Kept for Book {
    #[inline]
    fn set(&mut self, side: Side, price: Price, size: Qty) {
        Book::set(self, side, price, size);
    }

    #[inline]
    fn touch(&self) -> [Option<Level>; 2] {
        [self.best(Side::Buy), self.best(Side::Sell)]
    }
}

/// Two ordered maps.
#[derive(Default)]
struct Tree {
    bids: BTreeMap<Price, Qty>,
    asks: BTreeMap<Price, Qty>,
}

impl Kept for Tree {
    #[inline]
    fn set(&mut self, side: Side, price: Price, size: Qty) {
        let levels = if side == Side::Buy { &mut self.bids } else { &mut self.asks };
        if size.0 > 0 {
            levels.insert(price, size)
        } else {
            levels.remove(&price)
        };
    }

    #[inline]
    fn touch(&self) -> [Option<Level>; 2] {
        let level = |(price, size): (&Price, &Qty)| Level { price: *price, size: *size };
        [self.bids.last_key_value().map(level), self.asks.first_key_value().map(level)]
    }
}

fn started<K: Kept>(mut book: K, work: &Work) -> K {
    for (side, price, size) in work.start() {
        book.set(side, price, size);
    }
    book
}

/// The book as venues start it: a side at once.
fn loaded(work: &Work) -> Book {
    let mut book = Book::with_capacity(work.bids.len());
    book.load(Side::Buy, &work.bids);
    book.load(Side::Sell, &work.asks);
    book
}

/// All that a reader saw after each change, folded into a number.
fn seen(book: &mut impl Kept, changes: &[Change]) -> i64 {
    let mut sum = 0i64;
    for (side, price, size) in changes {
        book.set(*side, *price, *size);
        for level in book.touch().into_iter().flatten() {
            sum = sum.wrapping_mul(31).wrapping_add(level.price.0 ^ level.size.0);
        }
    }
    sum
}

/// Ns a change with both bests after it.
fn ns(book: &mut impl Kept, changes: &[Change], passes: usize) -> f64 {
    let start = clock::cpu_ns();
    for _ in 0..passes {
        for (side, price, size) in changes {
            book.set(*side, *price, *size);
            black_box(book.touch());
        }
    }
    (clock::cpu_ns() - start) as f64 / (passes * changes.len()) as f64
}

/// Best bid and best ask of our book after each change.
pub fn touches(work: &Work) -> Vec<[Option<(Price, Qty)>; 2]> {
    let mut book = loaded(work);
    let after = |(side, price, size): &Change| {
        book.set(*side, *price, *size);
        book.touch().map(|level| level.map(|l| (l.price, l.size)))
    };
    work.changes.iter().map(after).collect()
}

/// Ns a change of our book, with both bests after it.
pub fn ours_ns(work: &Work, passes: usize) -> f64 {
    ns(&mut loaded(work), &work.changes, passes)
}

/// One row for each of the other structures and one beside the ladder.
fn rows(
    options: &Options,
    work: &Work,
    ladder: usize,
    goal: Option<Goal>,
    report: &mut Report,
) -> Result<(), BenchError> {
    let passes = if options.effort == Effort::Smoke { 1 } else { (PASSES * CHANGES / work.changes.len()).max(1) };
    let middle = work.middle();
    let (mut ours, mut bare) = (loaded(work), started(Ladder::around(middle, ladder), work));
    let (mut array, mut tree) = (started(Sorted::default(), work), started(Tree::default(), work));
    let sum = seen(&mut ours, &work.changes);
    agree(&format!("{}: bare ladder", work.name), &sum, &seen(&mut bare, &work.changes))?;
    agree(&format!("{}: sorted arrays", work.name), &sum, &seen(&mut array, &work.changes))?;
    agree(&format!("{}: B-tree", work.name), &sum, &seen(&mut tree, &work.changes))?;

    let each = |name: &str, other: &mut dyn FnMut() -> f64, ours: &mut Book| {
        let pairs = Pairs::measure(options.pairs, || Ok(other()), || Ok(ns(ours, &work.changes, passes)))?;
        Ok::<_, BenchError>((name.to_owned(), pairs))
    };
    let (name, pairs) = each("bare ladder", &mut || ns(&mut bare, &work.changes, passes), &mut ours)?;
    let row = Row::cost(&work.name, name, &pairs, "ns");
    report.row(goal.map_or(row.clone(), |goal| row.goal(goal)));
    let (name, pairs) = each("sorted arrays", &mut || ns(&mut array, &work.changes, passes), &mut ours)?;
    report.row(Row::speed(&work.name, name, &pairs, "ns"));
    let (name, pairs) = each("B-tree", &mut || ns(&mut tree, &work.changes, passes), &mut ours)?;
    report.row(Row::speed(&work.name, name, &pairs, "ns"));
    Ok(())
}

/// Before, while and after the price moves by a tenth.
fn cliff(options: &Options, depth: usize, report: &mut Report) -> Result<(), BenchError> {
    let count = options.effort.of(CHANGES);
    let still = work::drawn(depth, 250.0, count);
    let (moving, after) = work::moved(depth, 250.0, count);
    let mut before = loaded(&still);
    let during = |_: ()| {
        let mut book = loaded(&moving);
        (ns(&mut book, &moving.changes, 1), book)
    };
    let (_, mut there) = during(());
    let mut tree = started(Tree::default(), &moving);
    agree(&moving.name, &seen(&mut loaded(&moving), &moving.changes), &seen(&mut tree, &moving.changes))?;
    let mut end = loaded(&moving);
    seen(&mut end, &moving.changes);
    agree("after a move of 10 %", &seen(&mut end, &after), &seen(&mut tree, &after))?;

    let pairs = Pairs::measure(options.pairs, || Ok(ns(&mut before, &still.changes, 1)), || Ok(during(()).0))?;
    report.row(Row::cost(moving.name, "before", &pairs, "ns").goal(Goal::AtMost(2.0)));
    let pairs =
        Pairs::measure(options.pairs, || Ok(ns(&mut before, &still.changes, 1)), || Ok(ns(&mut there, &after, 1)))?;
    let name = format!("{depth} a side, after a move of 10 %");
    report.row(Row::cost(name, "before", &pairs, "ns").goal(Goal::AtMost(2.0)));
    Ok(())
}

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let count = options.effort.of(CHANGES);
    let goal = Some(Goal::AtMost(1.5));
    for (depth, mean) in [(25, 8.0), (50, 25.0), (1000, 25.0), (1000, 250.0), (5000, 250.0)] {
        rows(options, &work::drawn(depth, mean, count), NEAR, goal, report)?;
    }
    // The last has as many levels as the recorded book of Coinbase.
    for depth in [1000, 5000, 23_000] {
        cliff(options, depth, report)?;
    }
    for (depth, mean) in [(50, 25.0), (1000, 250.0), (5000, 250.0)] {
        consolidated::measure(options, &work::drawn(depth, mean, count), report)?;
    }
    checksum::measure(options, report)?;
    for product in ["BTC-USD", "ETH-USD"] {
        let Some(mut work) = work::recorded(options.data.as_deref(), product)? else {
            report.note(format!("Left out, not at hand: the recorded {product} book of Coinbase Advanced Trade."));
            continue;
        };
        rows(options, &work, WIDE, None, report)?;
        memory(&work, report);
        work.near(250.0, count);
        rows(options, &work, NEAR, goal, report)?;
    }
    memory(&work::drawn(1000, 250.0, count), report);
    Ok(())
}

/// What a book has asked for after its changes, per 1,000 levels of both sides.
fn memory(work: &Work, report: &mut Report) {
    let mut book = loaded(work);
    seen(&mut book, &work.changes);
    let levels = (book.depth(Side::Buy) + book.depth(Side::Sell)) as f64;
    let asked = book.bytes() as f64 / 1024.0;
    report.row(Row::figure(format!("{}: memory", work.name), Spread::of(&[asked]), "KiB"));
    let row =
        Row::figure(format!("{}: memory per 1000 levels", work.name), Spread::of(&[asked * 1000.0 / levels]), "KiB");
    report.row(row.goal(Goal::AtMost(300.0)));
}
