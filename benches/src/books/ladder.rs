//! The least that can keep a book: a bitmap ladder, one slot a tick from a fixed price on, and bits of what is taken.
//!
//! Left out is all that makes a book usable anywhere: a tick that is learnt, prices beyond the ladder, a ladder that
//! follows the market, the number of levels and what a change did.

use super::Kept;
use book::Level;
use model::{Price, Qty, Side};

/// Price mantissas of a tick, known when it is compiled.
pub const TICK: i64 = 1_000_000;

/// One side. Slots count from its best possible price.
struct Half<const BID: bool> {
    first: i64,
    sizes: Vec<i64>,
    taken: Vec<u64>,
    words: Vec<u64>,
}

impl<const BID: bool> Half<BID> {
    fn new(first: i64, slots: usize) -> Half<BID> {
        Half { first, sizes: vec![0; slots], taken: vec![0; slots / 64], words: vec![0; (slots / 4096).max(1)] }
    }

    #[inline]
    fn set(&mut self, price: Price, size: Qty) {
        let away = if BID { self.first - price.0 } else { price.0 - self.first };
        let slot = (away as u64 / TICK as u64) as usize;
        if slot >= self.sizes.len() {
            return;
        }
        self.sizes[slot] = size.0;
        let has = u64::from(size.0 > 0);
        let word = &mut self.taken[slot / 64];
        *word = (*word & !(1 << (slot % 64))) | (has << (slot % 64));
        let words = &mut self.words[slot / 4096];
        let at = slot / 64 % 64;
        *words = (*words & !(1 << at)) | (u64::from(*word != 0) << at);
    }

    #[inline]
    fn best(&self) -> Option<Level> {
        let (n, words) = self.words.iter().enumerate().find(|(_, words)| **words != 0)?;
        let at = n * 64 + words.trailing_zeros() as usize;
        let slot = at * 64 + self.taken[at].trailing_zeros() as usize;
        let away = slot as i64 * TICK;
        let price = Price(if BID { self.first - away } else { self.first + away });
        Some(Level { price, size: Qty(self.sizes[slot]) })
    }
}

/// A ladder around a price.
pub struct Ladder {
    bids: Half<true>,
    asks: Half<false>,
}

impl Ladder {
    /// Of so many slots a side, an eighth of them beyond the middle.
    pub fn around(middle: Price, slots: usize) -> Ladder {
        let (middle, beyond) = (middle.0 / TICK * TICK, slots as i64 / 8 * TICK);
        Ladder { bids: Half::new(middle + beyond, slots), asks: Half::new(middle - beyond, slots) }
    }
}

impl Kept for Ladder {
    #[inline]
    fn set(&mut self, side: Side, price: Price, size: Qty) {
        match side {
            Side::Buy => self.bids.set(price, size),
            Side::Sell => self.asks.set(price, size),
        }
    }

    #[inline]
    fn touch(&self) -> [Option<Level>; 2] {
        [self.bids.best(), self.asks.best()]
    }
}
