//! The venue's CRC-32 over the ten best levels of each side, whatever the depth of the book.
//!
//! The text is all asks from the best, then all bids from the best; of each level the price and then the size, written
//! with exactly the instrument's precision, without point and leading zeros. Those are the digits of our mantissas.
//! Most messages change levels below the tenth or few above it, so the text of unchanged leading levels is kept.

use book::{Book, Level};
use model::{Price, Qty, Side};
use scan::push_digits;

/// Levels a side that the checksum covers.
pub const LEVELS: usize = 10;

/// By what a mantissa is divided to have the venue's precision: 1 unless our scale is wider than it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divisors {
    /// Of prices.
    pub price: i64,
    /// Of sizes.
    pub size: i64,
}

impl Default for Divisors {
    fn default() -> Divisors {
        Divisors { price: 1, size: 1 }
    }
}

/// The text of one side.
#[derive(Debug, Default)]
struct SideText {
    levels: [Option<Level>; LEVELS],
    /// Where each level's text begins.
    starts: [usize; LEVELS],
    text: Vec<u8>,
}

impl SideText {
    /// Writes the text again from the first level that differs; `true` when there was one.
    fn follow(&mut self, mut levels: impl Iterator<Item = Level>, by: Divisors) -> bool {
        let mut changed = false;
        for n in 0..LEVELS {
            let level = levels.next();
            if !changed && self.levels[n] == level {
                if level.is_none() {
                    break;
                }
                continue;
            }
            if !changed && self.levels[n].is_some() {
                self.text.truncate(self.starts[n]);
            }
            changed = true;
            self.levels[n] = level;
            self.starts[n] = self.text.len();
            if let Some(Level { price: Price(price), size: Qty(size) }) = level {
                push_digits(price / by.price, &mut self.text);
                push_digits(size / by.size, &mut self.text);
            }
        }
        changed
    }
}

/// Computes the checksum of one book, again and again.
#[derive(Debug, Default)]
pub struct Checksum {
    asks: SideText,
    bids: SideText,
    by: Divisors,
    asks_crc: u32,
    crc: u32,
}

impl Checksum {
    /// The checksum of the book as it stands.
    pub fn of(&mut self, book: &Book, by: Divisors) -> u32 {
        if by != self.by {
            *self = Checksum { by, ..Checksum::default() };
        }
        let asks = self.asks.follow(book.levels(Side::Sell), by);
        let bids = self.bids.follow(book.levels(Side::Buy), by);
        if asks {
            self.asks_crc = crc32fast::hash(&self.asks.text);
        }
        if asks || bids {
            let mut crc = crc32fast::Hasher::new_with_initial(self.asks_crc);
            crc.update(&self.bids.text);
            self.crc = crc.finalize();
        }
        self.crc
    }

    /// Forgets the texts, as when every mantissa was rescaled.
    pub fn forget(&mut self) {
        *self = Checksum::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Decimal;
    use proptest::prelude::*;

    fn units(text: &str, scale: u8) -> i64 {
        text.parse::<Decimal>().expect("a number").at_scale(scale).expect("fits")
    }

    fn book(bids: &str, asks: &str, price_scale: u8) -> Book {
        let mut book = Book::default();
        for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
            for level in levels.split_whitespace() {
                let (price, size) = level.split_once('/').expect("price/size");
                book.set(side, Price(units(price, price_scale)), Qty(units(size, 8)));
            }
        }
        book
    }

    const MATIC_BIDS: &str = "0.5666/4831.75496356 0.5665/6658.22734739 0.5664/18724.91513344 0.5663/11563.92544914 \
        0.5662/14006.65365711 0.5661/17454.85679807 0.566/18097.1547 0.5659/33644.89175666 0.5658/148.3464 \
        0.5657/606.70854372";
    const MATIC_ASKS: &str = "0.5668/4410.79769741 0.5669/4655.40412487 0.567/49844.89424998 0.5671/24306.41678 \
        0.5672/29783.25223475 0.5673/57234.71239278 0.5674/45065.04744 0.5675/5912.76380354 0.5676/42514.92434778 \
        0.5677/36304.0847022";

    /// The venue's published books: the digits must have the instrument's precision, whatever the wire shows.
    #[test]
    fn published_books_have_their_published_checksums() {
        let bids = "45283.5/0.10000000 45283.4/1.54582015 45282.1/0.10000000 45281.0/0.10000000 45280.3/1.54592586 \
            45279.0/0.07990000 45277.6/0.03310103 45277.5/0.30000000 45277.3/1.54602737 45276.6/0.15445238";
        let asks = "45285.2/0.00100000 45286.4/1.54571953 45286.6/1.54571109 45289.6/1.54560911 45290.2/0.15890660 \
            45291.8/1.54553491 45294.7/0.04454749 45296.1/0.35380000 45297.5/0.09945542 45299.5/0.18772827";
        let mut checksum = Checksum::default();
        assert_eq!(checksum.of(&book(bids, asks, 1), Divisors::default()), 3_310_070_434);

        let mut matic = book(MATIC_BIDS, MATIC_ASKS, 4);
        let mut checksum = Checksum::default();
        assert_eq!(checksum.of(&matic, Divisors::default()), 2_439_117_997);
        matic.set(Side::Buy, Price(5657), Qty(units("1098.3947558", 8)));
        assert_eq!(checksum.of(&matic, Divisors::default()), 2_114_181_697);

        let price = |n: i64| format!("0.0{:04}/0.000005 ", 5000 + 5 * n);
        let asks: String = (1..=10).map(price).collect();
        let bids = "0.05/0.000005 0.04995/0.000005 0.0499/0.000005 0.0498/0.000005 0.04975/0.000005 0.0497/0.000005 \
            0.04965/0.000005 0.0496/0.000005 0.04955/0.000005 0.0495/0.000005";
        assert_eq!(Checksum::default().of(&book(bids, &asks, 5), Divisors::default()), 974_947_235);
    }

    #[test]
    fn a_wider_scale_does_not_change_the_digits() {
        let mut wide = book(MATIC_BIDS, MATIC_ASKS, 6);
        let mut checksum = Checksum::default();
        assert_eq!(checksum.of(&wide, Divisors { price: 100, size: 1 }), 2_439_117_997);
        assert!(wide.rescale(10, 10));
        assert_eq!(checksum.of(&wide, Divisors { price: 1000, size: 10 }), 2_439_117_997);
    }

    /// The rule, written down plainly.
    fn plainly(book: &Book) -> u32 {
        let side = |side| book.levels(side).take(10).map(|l| format!("{}{}", l.price.0, l.size.0)).collect::<String>();
        crc32fast::hash((side(Side::Sell) + &side(Side::Buy)).as_bytes())
    }

    proptest! {
        #[test]
        fn what_is_kept_from_before_never_shows(
            steps in prop::collection::vec((any::<bool>(), 1i64..40, prop_oneof![Just(0i64), 1i64..2000]), 1..200),
        ) {
            let (mut book, mut checksum) = (Book::default(), Checksum::default());
            for (bid, price, size) in steps {
                book.set(if bid { Side::Buy } else { Side::Sell }, Price(price), Qty(size));
                prop_assert_eq!(checksum.of(&book, Divisors::default()), plainly(&book));
            }
        }
    }
}
