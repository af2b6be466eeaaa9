//! The venue's CRC-32 over the ten best levels of each side, whatever the depth of the book.
//!
//! The text is all asks from the best, then all bids from the best; of each level the price and then the size, written
//! with exactly the instrument's precision, without point and leading zeros. Those are the digits of our mantissas.
//! Each message's checksum is that of the book as it stands: of a side that changed, the ten best levels are read and held
//! against those of the message before. Most messages change one level, so what each level adds is kept, wherever the
//! level has moved to.

use super::digits::Sum;
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

/// Where a side has fewer than ten levels; its two zeros have no digits.
const NONE: Level = Level { price: Price(0), size: Qty(0) };

/// One side's ten best levels and what their digits add.
#[derive(Debug)]
struct Best<const BID: bool> {
    /// Those of the last message and of the one before it, whose room the next one's are read into.
    levels: [[Level; LEVELS]; 2],
    /// Which of the two are the last message's.
    last: usize,
    /// Of each level's digits.
    sums: [Sum; LEVELS],
    /// Of all digits.
    sum: Sum,
    /// How often the side had changed when it was read.
    changes: u64,
}

impl<const BID: bool> Default for Best<BID> {
    fn default() -> Best<BID> {
        let (levels, sum) = ([[NONE; LEVELS]; 2], Sum::default());
        Best { levels, last: 0, sums: [sum; LEVELS], sum, changes: 0 }
    }
}

impl<const BID: bool> Best<BID> {
    /// Brings it to the book's levels; `true` when they were others.
    #[inline]
    fn follow(&mut self, book: &Book, by: Divisors) -> bool {
        let changes = book.changes()[usize::from(!BID)];
        if std::mem::replace(&mut self.changes, changes) == changes {
            return false;
        }
        let [first, second] = &mut self.levels;
        let (old, new) = if self.last == 0 { (&*first, second) } else { (&*second, first) };
        let count = book.copy_best(if BID { Side::Buy } else { Side::Sell }, new);
        if count < LEVELS {
            new[count..].fill(NONE);
        }
        // Which level changed is as good as random: nothing branches on it until all are compared.
        let others = (0..LEVELS).fold(0u32, |others, n| others | u32::from(new[n] != old[n]) << n);
        if others == 0 {
            return false;
        }
        let at = others.trailing_zeros() as usize;
        if others.is_power_of_two() {
            self.sums[at] = sum(new[at], by);
        } else {
            moved::<BID>(at, old, new, &mut self.sums, by);
        }
        self.sum = Sum::of_parts(&self.sums);
        self.last ^= 1;
        true
    }
}

/// Sums of levels that are others from one on. Those that only have another place now keep theirs.
#[inline(always)]
fn moved<const BID: bool>(
    from: usize,
    old: &[Level; LEVELS],
    new: &[Level; LEVELS],
    sums: &mut [Sum; LEVELS],
    by: Divisors,
) {
    let better = |a: Price, b: Price| if BID { a > b } else { a < b };
    let (before, mut at) = (*sums, from);
    for (n, level) in new.iter().enumerate().skip(from) {
        while at < LEVELS && better(old[at].price, level.price) {
            at += 1;
        }
        sums[n] = if at < LEVELS && old[at] == *level { before[at] } else { sum(*level, by) };
    }
}

/// The sum of a level's digits.
#[inline(always)]
fn sum(Level { price: Price(price), size: Qty(size) }: Level, by: Divisors) -> Sum {
    // A division costs more than all the rest, and is nearly always by one.
    let (price, size) = if by == Divisors::default() { (price, size) } else { (price / by.price, size / by.size) };
    Sum::of(price).then(Sum::of(size))
}

/// Computes the checksum of one book, again and again.
#[derive(Debug, Default)]
pub struct Checksum {
    asks: Best<false>,
    bids: Best<true>,
    by: Divisors,
    crc: u32,
}

impl Checksum {
    /// The checksum of the book as it stands.
    pub fn of(&mut self, book: &Book, by: Divisors) -> u32 {
        if by != self.by {
            *self = Checksum { by, ..Checksum::default() };
        }
        let asks = self.asks.follow(book, by);
        let bids = self.bids.follow(book, by);
        if asks || bids {
            self.crc = Sum::of_parts(&[self.asks.sum, self.bids.sum]).crc();
        }
        self.crc
    }

    /// Forgets what it knows, as when every mantissa was rescaled.
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

    /// The rule, written down plainly: the executable specification.
    fn plainly(book: &Book, by: Divisors) -> u32 {
        let number = |n: i64| if n == 0 { String::new() } else { n.to_string() };
        let level = |l: Level| number(l.price.0 / by.price) + &number(l.size.0 / by.size);
        let side = |side| book.levels(side).take(10).map(level).collect::<String>();
        crc32fast::hash((side(Side::Sell) + &side(Side::Buy)).as_bytes())
    }

    /// Everything that may happen to a book between two checksums.
    #[derive(Clone, Debug)]
    enum Step {
        /// A few levels a message, as the venue sends them.
        Change(Vec<(bool, i64, i64)>),
        Load(bool, i64, usize),
        Truncate(usize),
        Scale(Divisors),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let price =
            prop_oneof![9 => 1i64..40, 1 => (1..=i64::MAX, 0u32..63).prop_map(|(n, shift)| (n >> shift).max(1))];
        let size = prop_oneof![
            2 => Just(0i64),
            4 => 1i64..2000,
            2 => (1..=i64::MAX, 0u32..63).prop_map(|(n, shift)| (n >> shift).max(1)),
        ];
        let power = || (0u32..8).prop_map(|e| 10i64.pow(e));
        prop_oneof![
            40 => prop::collection::vec((any::<bool>(), price, size), 0..4).prop_map(Step::Change),
            2 => (any::<bool>(), 1i64..40, 0usize..120).prop_map(|(bid, from, count)| Step::Load(bid, from, count)),
            2 => (0usize..25).prop_map(Step::Truncate),
            1 => (power(), power()).prop_map(|(price, size)| Step::Scale(Divisors { price, size })),
            1 => Just(Step::Scale(Divisors::default())),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn what_is_kept_from_before_never_shows(steps in prop::collection::vec(step(), 1..150)) {
            let (mut book, mut checksum, mut by) = (Book::default(), Checksum::default(), Divisors::default());
            let side = |bid| if bid { Side::Buy } else { Side::Sell };
            for step in steps {
                match step {
                    Step::Change(levels) => levels.into_iter().for_each(|(bid, price, size)| {
                        book.set(side(bid), Price(price), Qty(size));
                    }),
                    Step::Load(bid, from, count) => {
                        let levels: Vec<_> = (from..).map(|n| (Price(n), Qty(n * n))).take(count).collect();
                        book.load(side(bid), &levels);
                    }
                    Step::Truncate(depth) => book.truncate(depth),
                    Step::Scale(new) => by = new,
                    Step::Clear => book.clear(),
                }
                prop_assert_eq!(checksum.of(&book, by), plainly(&book, by));
            }
        }
    }
}
