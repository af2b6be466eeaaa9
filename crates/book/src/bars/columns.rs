//! Trades as columns, the form in which histories are kept, and how many at once become part of a bar.
//! [`Columns`] -> blocks that stay within the bar, in order and of everyday size -> one sum a block.
//!
//! A block is gone through once for each question, in loops without a branch over one or two columns: these the compiler
//! turns into several trades an instruction. Whatever a block's loops cannot promise to be exact goes one by one, so the
//! bars are the same to the last digit. Knows nothing of which bar is open.

use super::{Bar, Trade, TradeKey};
use model::{Price, Qty, Side, UnixNanos};
use scan::Work;
use std::ops::Range;

/// Trades looked at in one go: few at first, because the bar may end or a trade be out of order, twice as many after
/// each block that was added, as long as all columns of a block stay in the first-level cache.
const BLOCK_LEAST: usize = 32;
const BLOCK_MOST: usize = 256;
/// Below these, sums over a block fit 64 bits and products 128.
const EVERYDAY_BITS: u32 = 50;
const _: () = assert!(BLOCK_MOST.ilog2() + EVERYDAY_BITS < 63);

/// Columns of different lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "columns of {times} times, {ids} ids, {prices} prices, {sizes} sizes and {takers} takers: give as many of each"
)]
pub struct ColumnsError {
    /// How many times.
    pub times: usize,
    /// How many ids.
    pub ids: usize,
    /// How many prices.
    pub prices: usize,
    /// How many sizes.
    pub sizes: usize,
    /// How many takers.
    pub takers: usize,
}

/// Trades as columns of one length, in the order in which they came. What a [`Trade`] has, by field.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    times: &'a [UnixNanos],
    ids: &'a [u64],
    prices: &'a [Price],
    sizes: &'a [Qty],
    takers: &'a [Option<Side>],
}

impl<'a> Columns<'a> {
    /// Of times, ids, price and size mantissas, and takers.
    ///
    /// # Errors
    /// When they are not of one length.
    pub fn new(
        times: &'a [UnixNanos],
        ids: &'a [u64],
        prices: &'a [Price],
        sizes: &'a [Qty],
        takers: &'a [Option<Side>],
    ) -> Result<Columns<'a>, ColumnsError> {
        if [ids.len(), prices.len(), sizes.len(), takers.len()] == [times.len(); 4] {
            return Ok(Columns { times, ids, prices, sizes, takers });
        }
        let (times, ids, prices) = (times.len(), ids.len(), prices.len());
        Err(ColumnsError { times, ids, prices, sizes: sizes.len(), takers: takers.len() })
    }

    /// How many trades.
    #[inline]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is none at this place.
    #[inline]
    pub fn trade(&self, at: usize) -> Trade {
        Trade {
            time: self.times[at],
            id: self.ids[at],
            price: self.prices[at],
            size: self.sizes[at],
            taker: self.takers[at],
        }
    }

    /// Some of them.
    ///
    /// # Panics
    /// When there are not as many.
    #[inline(always)]
    pub fn part(&self, range: Range<usize>) -> Columns<'a> {
        Columns {
            times: &self.times[range.clone()],
            ids: &self.ids[range.clone()],
            prices: &self.prices[range.clone()],
            sizes: &self.sizes[range.clone()],
            takers: &self.takers[range],
        }
    }

    #[inline(always)]
    fn key(&self, at: usize) -> TradeKey {
        TradeKey { time: self.times[at], id: self.ids[at] }
    }

    /// Those before a moment, as far as they are in order.
    #[inline(always)]
    fn before(&self, end: UnixNanos) -> Columns<'a> {
        match self.times.last() {
            Some(last) if *last >= end => self.part(0..self.times.partition_point(|time| *time < end)),
            _ => *self,
        }
    }

    /// Whether none is before its predecessor.
    #[inline(always)]
    fn is_ordered(&self) -> bool {
        let times = self.times.iter().zip(self.times.iter().skip(1));
        let ids = self.ids.iter().zip(self.ids.iter().skip(1));
        times.zip(ids).fold(true, |good, ((time, next), (id, next_id))| {
            good & ((time < next) | ((time == next) & (id <= next_id)))
        })
    }

    /// What can be told of prices, sizes and takers without multiplying. Sums of sizes that are not everyday may have
    /// wrapped.
    #[inline(always)]
    fn plain_figures(&self) -> Figures {
        let start = Figures { high: i64::MIN, low: i64::MAX, size_bits: 0, volume: 0, bought: 0, sold: 0 };
        let each = self.prices.iter().zip(self.sizes).zip(self.takers);
        each.fold(start, |sum, ((price, size), taker)| Figures {
            high: sum.high.max(price.0),
            low: sum.low.min(price.0),
            size_bits: sum.size_bits | size.0 as u64,
            volume: sum.volume.wrapping_add(size.0),
            bought: sum.bought.wrapping_add(size.0 & mask(*taker, Side::Buy)),
            sold: sum.sold.wrapping_add(size.0 & mask(*taker, Side::Sell)),
        })
    }

    /// Sums of price times size, of all and of what buyers took, of narrow figures: the lowest price times the sums of
    /// sizes, and sums in 64 bits of what is above it.
    #[inline(always)]
    fn notionals_narrow(&self, Figures { low, volume, bought, .. }: Figures) -> [i128; 2] {
        const HALF: u64 = u32::MAX as u64;
        let each = self.prices.iter().zip(self.sizes).zip(self.takers);
        let above = each.fold([0u64; 2], |[all, bought], ((price, size), taker)| {
            // The masks change nothing but tell that one multiplication of 32 bits is enough.
            let product = (price.0.wrapping_sub(low) as u64 & HALF) * (size.0 as u64 & HALF);
            [all.wrapping_add(product), bought.wrapping_add(product & mask(*taker, Side::Buy) as u64)]
        });
        let below = [volume, bought].map(|volume| i128::from(low) * i128::from(volume));
        [below[0] + i128::from(above[0]), below[1] + i128::from(above[1])]
    }

    /// The same of any everyday prices and sizes.
    #[inline(always)]
    fn notionals(&self) -> [i128; 2] {
        let each = self.prices.iter().zip(self.sizes).zip(self.takers);
        each.fold([0, 0], |[all, bought], ((price, size), taker)| {
            let product = i128::from(price.0) * i128::from(size.0);
            [all + product, bought + (product & i128::from(mask(*taker, Side::Buy)))]
        })
    }
}

/// What a block has beside notionals.
#[derive(Clone, Copy)]
struct Figures {
    high: i64,
    low: i64,
    /// All bits of all sizes.
    size_bits: u64,
    volume: i64,
    bought: i64,
    sold: i64,
}

impl Figures {
    /// Sizes and what prices are above the lowest are of 32 bits, and their products add up to 64 over a block.
    #[inline(always)]
    fn is_narrow(&self) -> bool {
        let span = self.high.wrapping_sub(self.low) as u64;
        let bits = |number: u64| u64::BITS - number.leading_zeros();
        // A sum that falls and rises again would have to be looked at after each trade.
        let rises = self.low >= 0;
        rises
            && (self.size_bits | span) >> 32 == 0
            && bits(self.size_bits) + bits(span) + BLOCK_MOST.ilog2() <= u64::BITS
    }

    /// All sums fit.
    #[inline(always)]
    fn is_everyday(&self) -> bool {
        is_everyday(self.size_bits | (self.high | self.low) as u64)
    }
}

/// All bits when this side took, none else.
#[inline(always)]
fn mask(taker: Option<Side>, side: Side) -> i64 {
    -i64::from(taker == Some(side))
}

fn is_everyday(bits: u64) -> bool {
    bits >> EVERYDAY_BITS == 0
}

impl Bar {
    /// Adds trades from the first of `columns` on, as long as they come in order, before this bar ends and are of
    /// everyday size: how many.
    pub(super) fn add_columns(&mut self, columns: &Columns<'_>) -> usize {
        if self.trades == 0 { 0 } else { scan::widened(Adding { bar: self, columns }) }
    }

    /// Adds what can be added before the first trade that has to go by itself: how many.
    #[cold]
    fn add_head(&mut self, block: &Columns<'_>) -> usize {
        let mut last = self.last;
        let good = |at: &usize| {
            let Trade { time, price, size, .. } = block.trade(*at);
            let follows = std::mem::replace(&mut last, block.key(*at)) <= block.key(*at);
            follows && time < self.end && is_everyday((price.0 | size.0) as u64)
        };
        let count = (0..block.len()).take_while(good).count();
        if self.add_block(&block.part(0..count)) { count } else { 0 }
    }

    /// Adds a block all of whose trades are before this bar's end; `false`, and nothing done, when that takes each by
    /// itself.
    #[inline(always)]
    fn add_block(&mut self, block: &Columns<'_>) -> bool {
        let Some(newest) = block.len().checked_sub(1) else { return false };
        if block.key(0) < self.last || !block.is_ordered() {
            return false;
        }
        let figures = block.plain_figures();
        let [notional, bought_for] = match figures {
            _ if figures.is_narrow() => block.notionals_narrow(figures),
            _ if figures.is_everyday() => block.notionals(),
            _ => return false,
        };
        (self.last, self.close) = (block.key(newest), block.prices[newest]);
        let Figures { high, low, volume, bought, sold, .. } = figures;
        (self.high, self.low) = (self.high.max(Price(high)), self.low.min(Price(low)));
        self.volume += i128::from(volume);
        self.buy_volume += i128::from(bought);
        self.sell_volume += i128::from(sold);
        self.notional = self.plus(self.notional, notional);
        self.buy_notional = self.plus(self.buy_notional, bought_for);
        self.trades += block.len() as u64;
        true
    }
}

/// Trades being added to a bar, block by block.
struct Adding<'a> {
    bar: &'a mut Bar,
    columns: &'a Columns<'a>,
}

impl Work for Adding<'_> {
    type Output = usize;

    #[inline(always)]
    fn run(self) -> usize {
        let Adding { bar, columns } = self;
        let (mut count, mut most) = (0, BLOCK_LEAST);
        while count < columns.len() {
            let block = columns.part(count..columns.len().min(count + most));
            let within = block.before(bar.end);
            let added = if bar.add_block(&within) { within.len() } else { bar.add_head(&within) };
            count += added;
            if added < block.len() {
                break;
            }
            most = (2 * most).min(BLOCK_MOST);
        }
        count
    }
}

/// Room for trades on their way from a list to columns.
pub(super) struct Turned {
    times: [UnixNanos; BLOCK_MOST],
    ids: [u64; BLOCK_MOST],
    prices: [Price; BLOCK_MOST],
    sizes: [Qty; BLOCK_MOST],
    takers: [Option<Side>; BLOCK_MOST],
}

impl Turned {
    /// How many fit.
    pub(super) const ROOM: usize = BLOCK_MOST;

    pub(super) fn new() -> Turned {
        Turned {
            times: [UnixNanos::ZERO; BLOCK_MOST],
            ids: [0; BLOCK_MOST],
            prices: [Price(0); BLOCK_MOST],
            sizes: [Qty(0); BLOCK_MOST],
            takers: [None; BLOCK_MOST],
        }
    }

    /// These trades as columns.
    ///
    /// # Panics
    /// When they are more than [`Turned::ROOM`].
    #[inline]
    pub(super) fn columns(&mut self, trades: &[Trade]) -> Columns<'_> {
        let Turned { times, ids, prices, sizes, takers } = self;
        let count = trades.len();
        let (times, ids, prices) = (&mut times[..count], &mut ids[..count], &mut prices[..count]);
        let (sizes, takers) = (&mut sizes[..count], &mut takers[..count]);
        for (n, trade) in trades.iter().enumerate() {
            (times[n], ids[n], prices[n], sizes[n], takers[n]) =
                (trade.time, trade.id, trade.price, trade.size, trade.taker);
        }
        Columns { times, ids, prices, sizes, takers }
    }
}
