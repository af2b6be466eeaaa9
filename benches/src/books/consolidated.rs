//! Four venues' books as one beside one venue's book on the same changes: what a change costs when best bid and best ask
//! over all venues are known after it.
//!
//! The venues have different price scales, hold as many levels each as the one book does, and take turns. Both sides of
//! the pair are given the same changes; that the best of all is right is compared with a look at four separate books.

use super::work::Change;
use super::{Work, loaded, ns};
use crate::{BenchError, Effort, Goal, Options, Pairs, Report, Row, agree, clock};
use book::consolidated::{Fee, Groups, MemberId, WideQty};
use book::{Book, Consolidated};
use model::{BookState, Instrument, Price, Reason, Side, UnixNanos, Venue};
use std::hint::black_box;

const VENUES: [Venue; 4] = [Venue::Kraken, Venue::Coinbase, Venue::Binance, Venue::BinanceUs];
/// Decimals of the venues' prices; the drawn market is at 8.
const SCALES: [u8; 4] = [8, 2, 8, 4];
/// What is taken across venues in the row of plans, in units of the drawn sizes: some tens of levels.
const PLANNED: i128 = 1 << 36;
const PASSES: usize = 10;

/// The price in a venue's own mantissas.
fn own(venue: usize, price: Price) -> Price {
    Price(price.0 / 10i64.pow(u32::from(8 - SCALES[venue])))
}

/// Who a change is of, and when it comes: a microsecond apart.
type Turn = (MemberId, Change, UnixNanos);

struct Four {
    book: Consolidated,
    turns: Vec<Turn>,
}

impl Four {
    /// Four venues that begin with the same levels and take turns.
    fn of(work: &Work) -> Four {
        let mut book = Consolidated::new("BTC", "USD", &Groups::default());
        let mut members = Vec::new();
        for (n, venue) in VENUES.into_iter().enumerate() {
            let instrument = Instrument::pair(venue, "BTCUSD", ("BTC", "USD"), (SCALES[n], 8));
            let id = book.join(&instrument, Fee::ZERO, UnixNanos(1)).expect("a pair of its own");
            for (side, levels) in [(Side::Buy, &work.bids), (Side::Sell, &work.asks)] {
                let levels: Vec<_> = levels.iter().map(|(price, size)| (own(n, *price), *size)).collect();
                book.load(id, side, &levels, UnixNanos(1));
            }
            book.stand(id, BookState::Live, Reason::Ok, UnixNanos(1));
            members.push(id);
        }
        book.settle(UnixNanos(1));
        let turn = |(n, (side, price, size)): (usize, &Change)| {
            let venue = n % VENUES.len();
            (members[venue], (*side, own(venue, *price), *size), UnixNanos(1_000 * n as u64 + 2))
        };
        Four { turns: work.changes.iter().enumerate().map(turn).collect(), book }
    }

    fn ns(&mut self, passes: usize) -> f64 {
        let start = clock::cpu_ns();
        for _ in 0..passes {
            for (member, (side, price, size), time) in &self.turns {
                self.book.set(*member, *side, *price, *size, *time);
                self.book.settle(*time);
                black_box([self.book.best(Side::Buy), self.book.best(Side::Sell)]);
            }
        }
        (clock::cpu_ns() - start) as f64 / (passes * self.turns.len()) as f64
    }

    /// Ns for a plan on each side.
    fn plan_ns(&self, count: usize) -> f64 {
        let start = clock::cpu_ns();
        for _ in 0..count {
            for taker in [Side::Buy, Side::Sell] {
                black_box(self.book.plan(taker, WideQty(PLANNED)).expect("it fits").filled);
            }
        }
        (clock::cpu_ns() - start) as f64 / (2 * count) as f64
    }

    /// Best bid and best ask after each change, with their sizes, at 8 decimals.
    fn seen(&mut self) -> Vec<[Option<(i128, i128)>; 2]> {
        let after = |(member, (side, price, size), time): &Turn| {
            self.book.set(*member, *side, *price, *size, *time);
            self.book.settle(*time);
            [Side::Buy, Side::Sell].map(|side| self.book.best(side).map(|touch| (touch.price.0, touch.size.0)))
        };
        self.turns.iter().map(after).collect()
    }
}

/// The same by four books apart that are looked through after each change.
fn looked_through(work: &Work) -> Vec<[Option<(i128, i128)>; 2]> {
    let mut books: Vec<Book> = VENUES.iter().map(|_| loaded(work)).collect();
    let after = |(n, (side, price, size)): (usize, &Change)| {
        books[n % VENUES.len()].set(*side, *price, *size);
        [Side::Buy, Side::Sell].map(|side| {
            let bests = || books.iter().filter_map(|book| book.best(side));
            let prices = bests().map(|level| level.price);
            let price = if side == Side::Buy { prices.max() } else { prices.min() }?;
            let size = bests().filter(|level| level.price == price).map(|level| i128::from(level.size.0)).sum();
            Some((i128::from(price.0), size))
        })
    };
    work.changes.iter().enumerate().map(after).collect()
}

pub(super) fn measure(options: &Options, work: &Work, report: &mut Report) -> Result<(), BenchError> {
    let name = format!("consolidated book of 4 venues, {}", work.name);
    agree(&name, &Four::of(work).seen(), &looked_through(work))?;
    let passes =
        if options.effort == Effort::Smoke { 1 } else { (PASSES * super::CHANGES / work.changes.len()).max(1) };
    let (mut four, mut one) = (Four::of(work), loaded(work));
    let pairs = Pairs::measure(options.pairs, || Ok(ns(&mut one, &work.changes, passes)), || Ok(four.ns(passes)))?;
    report.row(Row::cost(&name, "one venue's book", &pairs, "ns").goal(Goal::AtMost(3.0)));
    let count = options.effort.of(1_000);
    let mut figures = Vec::new();
    for _ in 0..options.pairs {
        figures.push(four.plan_ns(count));
    }
    let bought = four.book.plan(Side::Buy, WideQty(PLANNED)).expect("it fits");
    let levels: usize = bought.legs().map(|(_, leg)| leg.levels).sum();
    report.row(Row::figure(format!("{name}: cost of a size, {levels} levels"), crate::Spread::of(&figures), "ns"));
    Ok(())
}
