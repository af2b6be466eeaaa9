//! The book against the plain one for as long as wanted: `long [UPDATES] [SEED]`, 10^8 random updates when not told.
//!
//! The market wanders, jumps by a tenth, sends prices off its step and at the ends of 64 bits, whole sides, cuts and new
//! scales. What each update did and the touch after it must be the same in both books at every update, every level and
//! every answer at some thousands of moments. A difference ends the run with what
//! differs; the same seed leads there again.

use book::{Book, Mark, PlainBook};
use model::{Price, Qty, Side};

const SIDES: [Side; 2] = [Side::Buy, Side::Sell];
/// Updates of one market before a new one is drawn.
const MARKET: u64 = 500_000;
/// Updates between two looks at every level.
const LOOK: u64 = 20_000;

/// Xorshift, seeded.
struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.draw() >> 16) % limit
    }
}

#[derive(Debug, Default)]
struct Counts {
    updates: u64,
    added: u64,
    changed: u64,
    deleted: u64,
    absent: u64,
    jumps: u64,
    odd_prices: u64,
    loads: u64,
    cuts: u64,
    scales: u64,
    clears: u64,
    looks: u64,
    levels_looked_at: u64,
    deepest: usize,
}

/// What the prices and sizes of one market are like.
struct Market {
    step: i64,
    middle: i64,
    /// How far from the middle most updates are, in steps.
    reach: u64,
    /// One in so many prices is odd: off the step or at the ends of what there is.
    odd: u64,
    depth: usize,
}

impl Market {
    fn draw(random: &mut Random) -> Market {
        let step = [1, 5, 100, 1_000_000, 12_345, 1 << 40][random.below(6) as usize];
        let reach = [10, 100, 1_000, 10_000, 200_000][random.below(5) as usize];
        let odd = [1 << 40, 1 << 40, 100_000, 1_000][random.below(4) as usize];
        let depth = [10, 25, 1_000, usize::MAX, usize::MAX, usize::MAX][random.below(6) as usize];
        let middle = step * (1_000 + random.below(5_000_000) as i64);
        Market { step, middle, reach, odd, depth }
    }

    fn price(&self, side: Side, random: &mut Random, counts: &mut Counts) -> i64 {
        if random.below(self.odd) == 0 {
            counts.odd_prices += 1;
            let ends = [i64::MIN, i64::MAX, 0, -1, self.middle + 1, self.middle - self.step / 2, -self.middle];
            return ends[random.below(ends.len() as u64) as usize];
        }
        // Near the middle mostly: the smallest of three draws.
        let away = (0..3).map(|_| random.below(self.reach)).min().unwrap_or(0) as i64;
        if side == Side::Buy { self.middle - self.step * away } else { self.middle + self.step * (1 + away) }
    }
}

struct Run {
    fast: Book,
    plain: PlainBook,
    marks: [Mark; 2],
    counts: Counts,
}

impl Run {
    fn set(&mut self, side: Side, price: i64, size: i64) {
        let (price, size) = (Price(price), Qty(size));
        let effect = self.fast.set(side, price, size);
        assert_eq!(effect, self.plain.set(side, price, size), "{side:?} {price:?} {size:?}");
        for side in SIDES {
            assert_eq!(self.fast.best(side), self.plain.best(side), "best {side:?} after {price:?} {size:?}");
        }
        self.counts.updates += 1;
        match effect {
            book::Effect::Added => self.counts.added += 1,
            book::Effect::Changed => self.counts.changed += 1,
            book::Effect::Deleted => self.counts.deleted += 1,
            book::Effect::Absent => self.counts.absent += 1,
        }
    }

    /// Moves the middle, by a tenth of the price now and then, and deletes what it has passed.
    fn wander(&mut self, market: &mut Market, random: &mut Random) {
        let jump = random.below(200) == 0;
        let by = if jump { (market.middle / 10 / market.step).max(1) } else { 1 + random.below(20) as i64 };
        let up = random.below(2) == 0 || market.middle < 1_000 * market.step;
        market.middle += if up { by * market.step } else { -by * market.step };
        self.counts.jumps += u64::from(jump);
        while let Some(bid) = self.plain.best(Side::Buy).filter(|l| l.price.0 > market.middle) {
            self.set(Side::Buy, bid.price.0, 0);
        }
        while let Some(ask) = self.plain.best(Side::Sell).filter(|l| l.price.0 <= market.middle) {
            self.set(Side::Sell, ask.price.0, 0);
        }
    }

    fn load(&mut self, market: &Market, random: &mut Random) {
        let (count, stride) = (random.below(8_000) as i64, 1 + random.below(4) as i64);
        for side in SIDES {
            let sign = if side == Side::Buy { -1 } else { 1 };
            let first = market.middle + i64::from(side == Side::Sell) * market.step;
            let level = |n: i64| (Price(first + sign * n * stride * market.step), Qty(1 + n % 7));
            let levels: Vec<(Price, Qty)> = (0..count).map(level).collect();
            self.fast.load(side, &levels);
            self.plain.load(side, &levels);
        }
        self.counts.loads += 2;
    }

    fn look(&mut self, n: usize) {
        for side in SIDES {
            let levels = self.plain.levels(side);
            assert!(self.fast.levels(side).eq(levels.iter().copied()), "levels of {side:?}");
            assert_eq!(self.fast.depth(side), levels.len());
            self.counts.levels_looked_at += levels.len() as u64;
            self.counts.deepest = self.counts.deepest.max(levels.len());
            assert_eq!(self.fast.total(side, n), self.plain.total(side, n));
            assert_eq!(self.fast.total_within(side, n as u32), self.plain.total_within(side, n as u32));
            let price = levels.get(n).map_or(Price(0), |l| l.price);
            assert_eq!(self.fast.total_to(side, price), self.plain.total_to(side, price));
            assert_eq!(self.fast.size(side, price), self.plain.size(side, price));
            let size = Qty(1 << (n % 63));
            assert_eq!(self.fast.fill(side, size), self.plain.fill(side, size));
        }
        assert_eq!(self.fast.microprice(n), self.plain.microprice(n));
        assert_eq!(self.fast.weighted_mid(), self.plain.weighted_mid());
        assert_eq!(self.fast.imbalance(n), self.plain.imbalance(n));
        assert_eq!(self.fast.since(&mut self.marks[0]), self.plain.since(&mut self.marks[1]));
        self.counts.looks += 1;
    }

    fn seldom(&mut self, market: &mut Market, random: &mut Random) {
        match random.below(4) {
            0 => {
                self.load(market, random);
            }
            1 => {
                self.fast.clear();
                self.plain.clear();
                self.counts.clears += 1;
            }
            2 if market.step < 1 << 30 && market.middle < 1 << 40 => {
                let done = self.fast.rescale(10, 1);
                assert_eq!(done, self.plain.rescale(10, 1));
                if done {
                    market.step *= 10;
                    market.middle *= 10;
                    self.counts.scales += 1;
                }
            }
            _ => {
                let depth = random.below(3_000) as usize;
                self.fast.truncate(depth);
                self.plain.truncate(depth);
                self.counts.cuts += 1;
            }
        }
    }

    fn market(&mut self, updates: u64, random: &mut Random) {
        let mut market = Market::draw(random);
        let until = self.counts.updates + updates;
        let mut look = self.counts.updates + LOOK;
        self.fast.clear();
        self.plain.clear();
        while self.counts.updates < until {
            let side = SIDES[random.below(2) as usize];
            let size = if random.below(4) == 0 { -(random.below(2) as i64) } else { 1 + random.below(1 << 40) as i64 };
            let price = market.price(side, random, &mut self.counts);
            self.set(side, price, size);
            if market.depth < usize::MAX && self.plain.depth(side) > market.depth {
                self.fast.truncate(market.depth);
                self.plain.truncate(market.depth);
                self.counts.cuts += 1;
            }
            if random.below(100) == 0 {
                self.wander(&mut market, random);
            }
            if random.below(100_000) == 0 {
                self.seldom(&mut market, random);
            }
            if self.counts.updates >= look {
                look += LOOK;
                self.look(random.below(200) as usize);
            }
        }
    }
}

fn main() -> Result<(), std::num::ParseIntError> {
    let mut arguments = std::env::args().skip(1);
    let updates: u64 = arguments.next().map_or(Ok(100_000_000), |n| n.parse())?;
    let seed: u64 = arguments.next().map_or(Ok(1), |n| n.parse())?;
    println!("{updates} updates, seed {seed}");
    let mut random = Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (fast, plain) = (Book::default(), PlainBook::new());
    let mut run = Run { fast, plain, marks: [Mark::default(); 2], counts: Counts::default() };
    while run.counts.updates < updates {
        let left = updates - run.counts.updates;
        run.market(left.min(MARKET), &mut random);
    }
    run.look(10);
    println!("{:#?}\nevery one the same in both books", run.counts);
    Ok(())
}
