//! What the books are given: the changes of a market that is drawn, and those of one that was recorded.

use crate::BenchError;
use crate::random::Random;
use crate::recorded::read;
use model::{Decimal, Price, Qty, Side};
use std::collections::BTreeMap;
use std::path::Path;

use super::ladder::TICK;

/// The middle of the drawn market: 65,000.00 at 8 decimals.
pub const MIDDLE: Price = Price(6_500_000 * TICK);
const RECORDED: &str = "venues/coinbase/advanced_ws/all_channels_20260809.jsonl.gz";

/// One absolute level.
pub type Change = (Side, Price, Qty);

/// A book to begin from and the changes that follow.
#[derive(Default)]
pub struct Work {
    /// What it is, for a row of figures.
    pub name: String,
    /// Bids at the beginning, best first.
    pub bids: Vec<(Price, Qty)>,
    /// Asks at the beginning, best first.
    pub asks: Vec<(Price, Qty)>,
    /// What follows.
    pub changes: Vec<Change>,
}

impl Work {
    /// Levels at the beginning.
    pub fn start(&self) -> impl Iterator<Item = Change> + '_ {
        let bids = self.bids.iter().map(|l| (Side::Buy, l.0, l.1));
        bids.chain(self.asks.iter().map(|l| (Side::Sell, l.0, l.1)))
    }

    /// The same book with drawn changes near its middle.
    pub fn near(&mut self, mean: f64, count: usize) {
        let (mut random, middle) = (Random::new(9), self.middle().0 / TICK * TICK);
        self.name += &format!(", drawn {mean} ticks from the middle");
        self.changes = (0..count).map(|_| drawn_change(&mut random, middle, mean)).collect();
    }

    /// The mean price of best bid and best ask at the beginning.
    pub fn middle(&self) -> Price {
        let best = |levels: &[(Price, Qty)]| levels.first().map_or(MIDDLE.0, |l| l.0.0);
        Price((best(&self.bids) + best(&self.asks)) / 2)
    }
}

fn drawn_change(random: &mut Random, middle: i64, mean: f64) -> Change {
    let ticks = 1 + random.exponential(mean) as i64;
    let size = if random.below(4) == 0 { 0 } else { 1 + random.below(1 << 32) as i64 };
    let bid = random.below(2) == 0;
    let price = if bid { middle - ticks * TICK } else { middle + ticks * TICK };
    (if bid { Side::Buy } else { Side::Sell }, Price(price), Qty(size))
}

/// `depth` levels a side, dense near the middle and ever sparser, then changes at exponential distances of `mean` ticks,
/// a quarter of them deletions.
pub fn drawn(depth: usize, mean: f64, count: usize) -> Work {
    let mut random = Random::new(depth as u64);
    let mut work = Work { name: format!("{depth} a side, drawn {mean} ticks from the middle"), ..Work::default() };
    let mut ticks = 0i64;
    for n in 0..depth as u64 {
        ticks += 1 + random.below(1 + n / 200) as i64;
        work.bids.push((Price(MIDDLE.0 - ticks * TICK), Qty(1 + random.below(1 << 32) as i64)));
        work.asks.push((Price(MIDDLE.0 + ticks * TICK), Qty(1 + random.below(1 << 32) as i64)));
    }
    work.changes = (0..count).map(|_| drawn_change(&mut random, MIDDLE.0, mean)).collect();
    work
}

/// The same kind of changes while the middle moves by a tenth of the price, a hundredth of a tenth at a time: levels
/// the middle has passed are deleted, as a venue does, and new ones come where the market is.
pub fn moving(depth: usize, mean: f64, count: usize) -> Work {
    let mut work = drawn(depth, mean, 0);
    work.name = format!("{depth} a side, while the price moves 10 %");
    let mut random = Random::new(7);
    let mut bids: BTreeMap<Price, Qty> = work.bids.iter().copied().collect();
    let mut asks: BTreeMap<Price, Qty> = work.asks.iter().copied().collect();
    let (steps, mut middle) = (100i64, MIDDLE.0);
    for _ in 0..steps {
        middle += MIDDLE.0 / 10 / steps / TICK * TICK;
        while let Some(best) = asks.first_entry().filter(|e| e.key().0 <= middle) {
            work.changes.push((Side::Sell, best.remove_entry().0, Qty(0)));
        }
        for _ in 0..count / steps as usize {
            let change = drawn_change(&mut random, middle, mean);
            let side = if change.0 == Side::Buy { &mut bids } else { &mut asks };
            if change.2.0 > 0 {
                side.insert(change.1, change.2)
            } else {
                side.remove(&change.1)
            };
            work.changes.push(change);
        }
    }
    work
}

/// A market that is a tenth higher than where the book began, and has been there for a while.
pub fn moved(depth: usize, mean: f64, count: usize) -> (Work, Vec<Change>) {
    let before = moving(depth, mean, count);
    let middle = MIDDLE.0 + 100 * (MIDDLE.0 / 1000 / TICK * TICK);
    let mut random = Random::new(8);
    let after = (0..count).map(|_| drawn_change(&mut random, middle, mean)).collect();
    (before, after)
}

#[derive(serde::Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(serde::Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    product_id: &'a str,
    #[serde(borrow)]
    updates: Vec<Update<'a>>,
}

#[derive(serde::Deserialize)]
struct Update<'a> {
    side: &'a str,
    price_level: &'a str,
    new_quantity: &'a str,
}

/// One product's book as recorded from Coinbase Advanced Trade; `None` where the recording is not at hand.
pub fn recorded(data: Option<&Path>, product: &str) -> Result<Option<Work>, BenchError> {
    let Some(path) = data.map(|data| data.join(RECORDED)).filter(|path| path.is_file()) else { return Ok(None) };
    let mut work = Work::default();
    let text = read(&path)?;
    for line in text.lines().filter(|line| line.contains(r#""channel":"l2_data""#)) {
        let frame: Frame<'_> = serde_json::from_str(line).expect("the recording is of well formed frames");
        for event in frame.events.iter().filter(|event| event.product_id == product) {
            for update in &event.updates {
                let eight = |text: &str| text.parse::<Decimal>().ok().and_then(|d| d.at_scale(8).ok());
                let (Some(price), Some(size)) = (eight(update.price_level), eight(update.new_quantity)) else {
                    continue;
                };
                let side = if update.side == "bid" { Side::Buy } else { Side::Sell };
                match (event.kind, side) {
                    ("snapshot", Side::Buy) => work.bids.push((Price(price), Qty(size))),
                    ("snapshot", Side::Sell) => work.asks.push((Price(price), Qty(size))),
                    _ => work.changes.push((side, Price(price), Qty(size))),
                }
            }
        }
    }
    work.name = format!("recorded {product}, {} levels", work.bids.len() + work.asks.len());
    Ok(Some(work))
}
