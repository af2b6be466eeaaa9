//! The venue's CRC-32 over the ten best levels of each side, whatever the depth of the book.
//!
//! The text is all asks from the best, then all bids from the best; of each level the price and then the size, written
//! with exactly the instrument's precision, without point and leading zeros. Those are the digits of our mantissas.
//! Most messages change levels below the tenth or few above it, so the text of unchanged leading levels is kept.

use book::{Book, Level};
use model::{Price, Qty, Side};

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

/// Room for ten levels of two numbers of at most 19 digits, and for the eight bytes that each write may touch.
const TEXT: usize = LEVELS * 2 * 19 + 8;

/// The text of one side.
#[derive(Debug)]
struct SideText {
    levels: [Option<Level>; LEVELS],
    /// Where each level's text begins.
    starts: [usize; LEVELS],
    text: [u8; TEXT],
    len: usize,
}

impl Default for SideText {
    fn default() -> SideText {
        SideText { levels: [None; LEVELS], starts: [0; LEVELS], text: [0; TEXT], len: 0 }
    }
}

/// Eight decimal digits of a number below 10^8, one a byte, the first lowest: each step splits all parts in two.
#[inline]
fn eight_digits(n: u64) -> u64 {
    let fours = (n / 10_000) | ((n % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - 100 * hundreds) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - 10 * tens) << 8)
}

impl SideText {
    fn bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }

    /// Appends the digits of a number that is not negative, without leading zeros; nothing for 0.
    #[inline(always)]
    fn push(&mut self, number: i64) {
        const PART: u64 = 100_000_000;
        let n = number.unsigned_abs();
        if n < PART {
            return self.put(eight_digits(n), false);
        }
        let (high, low) = (n / PART, n % PART);
        if high < PART {
            self.put(eight_digits(high), false);
        } else {
            self.put(eight_digits(high / PART), false);
            self.put(eight_digits(high % PART), true);
        }
        self.put(eight_digits(low), true);
    }

    /// Appends eight digits, or those that are left without leading zeros.
    #[inline(always)]
    fn put(&mut self, digits: u64, all: bool) {
        let zeros = if all { 0 } else { digits.trailing_zeros() / 8 };
        let ascii = (digits | 0x3030_3030_3030_3030).unbounded_shr(8 * zeros);
        self.text[self.len..self.len + 8].copy_from_slice(&ascii.to_le_bytes());
        self.len += 8 - zeros as usize;
    }

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
                self.len = self.starts[n];
            }
            changed = true;
            self.levels[n] = level;
            self.starts[n] = self.len;
            if let Some(Level { price: Price(price), size: Qty(size) }) = level {
                // A division costs more than all the rest, and is nearly always by one.
                let (price, size) =
                    if by == Divisors::default() { (price, size) } else { (price / by.price, size / by.size) };
                self.push(price);
                self.push(size);
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
            self.asks_crc = crc32fast::hash(self.asks.bytes());
        }
        if asks || bids {
            let mut crc = crc32fast::Hasher::new_with_initial(self.asks_crc);
            crc.update(self.bids.bytes());
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

    #[test]
    fn every_count_of_digits_is_written() {
        for n in (0..19).flat_map(|e| [10i64.pow(e) - 1, 10i64.pow(e), 10i64.pow(e) + 7]).chain([i64::MAX]) {
            let mut side = SideText::default();
            side.push(n);
            let digits = if n == 0 { String::new() } else { n.to_string() };
            assert_eq!(std::str::from_utf8(side.bytes()), Ok(digits.as_str()));
        }
    }

    proptest! {
        #[test]
        fn any_number_is_written(n in 1..=i64::MAX, shift in 0u32..63) {
            let (n, mut side) = ((n >> shift).max(1), SideText::default());
            let digits = n.to_string();
            side.push(n);
            prop_assert_eq!(std::str::from_utf8(side.bytes()), Ok(digits.as_str()));
        }

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
