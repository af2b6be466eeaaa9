//! What an instrument is worth, hidden behind its book: a function of (seed, names, time) and of nothing else.
//! factors of the market, the asset and the venue -> [`Fair`] -> a price between whose neighbours traders quote.
//!
//! A factor is a sum of noises, each with twice the period of the last and √2 of its height: increments look like a
//! random walk at every scale between the shortest and the longest period, there are trends, and the sum comes back to
//! 0 for good. Time is not run through but looked up, so emulators of different venues, in processes of their own,
//! share the factors of market and asset without a word between them. Spells of calm, of normal and of wild trading
//! scale the noises. The venue's own factor is nothing but in short spells: then books of two venues cross.
//!
//! A worth stands until there is news, every two seconds or so and at the same moments at all venues, and then jumps:
//! quotes settle at the narrowest spread in between, as real ones do.

use model::{Price, UnixNanos};

use super::draw::{Draw, ONE, mixed, stream};

/// Logarithm of the period of the first octave, ns: 67 ms. A noise is a straight line within its period.
const CELL_BITS: u32 = 26;
/// Logarithm of the mean time between two pieces of news, ns: 2.1 s.
const NEWS_BITS: u32 = 31;
/// Logarithm of the length of a spell, ns: 34 s for markets and assets, 8.6 s for venues.
const SPELL_BITS: u32 = 35;
const VENUE_SPELL_BITS: u32 = 33;
/// First octave and octaves of a factor that reaches from 1 s to 20 hours, and of a venue's own: 1 s to 8.6 s, no longer than its spells.
const WHOLE: (u32, u32) = (4, 17);
const VENUE: (u32, u32) = (4, 4);
/// A worth stays within half and twice the start, whatever comes.
const MOVE_MAX: i64 = 1 << 31;

/// Times out of 256 and multiples (16 bits) of the spells of a factor.
type Spells = [(u64, u64); 3];
const MARKET_SPELLS: Spells = [(140, ONE / 2), (88, ONE), (28, 3 * ONE)];
const VENUE_SPELLS: Spells = [(240, 0), (10, 4 * ONE), (6, 16 * ONE)];

/// How restless a factor is, parts of 2^32 over a second.
const MARKET_STEP: i64 = 80_000;
const ASSET_STEP: i64 = 70_000;
const VENUE_STEP: i64 = 22_000;

/// One noise: its values at both ends of the period looked at last.
#[derive(Clone, Copy, Debug)]
struct Noise {
    period: u64,
    ends: [i64; 2],
}

/// A sum of noises, parts of 2^32.
#[derive(Clone, Debug)]
struct Factor {
    key: u64,
    first: u32,
    /// Height of the noise with the shortest period.
    height: i64,
    spell_bits: u32,
    spells: &'static Spells,
    noises: Vec<Noise>,
}

impl Factor {
    fn new(key: u64, (first, periods): (u32, u32), step: i64, spell_bits: u32, spells: &'static Spells) -> Self {
        let noises = vec![Noise { period: u64::MAX, ends: [0; 2] }; periods as usize];
        // Increments over a second are 1.9 times as high as the noise of that period; that of 67 ms is √(67 ms / 1 s).
        let height = step * 259 / 1_900;
        Self { key, first, height, spell_bits, spells, noises }
    }

    /// The multiple of the spell at a time.
    fn spell(&self, time_ns: u64) -> u64 {
        let mut place = mixed(self.key ^ mixed(time_ns >> self.spell_bits)) & 0xFF;
        for (times, multiple) in self.spells {
            if place < *times {
                return *multiple;
            }
            place -= times;
        }
        ONE
    }

    fn end(&self, octave: u32, period: u64) -> i64 {
        let bits = CELL_BITS + octave;
        let bell = Draw::new(self.key, u64::from(octave), period).normal();
        // √2 to the octave: whole doublings, and 1.41421 for an odd one.
        let odd = if octave % 2 == 1 { 92_682 } else { 65_536 };
        let height = ((self.height << (octave / 2)) * odd) >> 16;
        let multiple = if bits <= self.spell_bits { self.spell(period << bits) } else { ONE };
        (((bell * height) >> 16) * multiple as i64) >> 16
    }

    fn at(&mut self, time_ns: u64) -> i64 {
        let mut sum = 0;
        for index in 0..self.noises.len() {
            let octave = self.first + index as u32;
            let bits = CELL_BITS + octave;
            let period = time_ns >> bits;
            let known = self.noises[index];
            if known.period != period {
                let begin =
                    if known.period.wrapping_add(1) == period { known.ends[1] } else { self.end(octave, period) };
                self.noises[index] = Noise { period, ends: [begin, self.end(octave, period + 1)] };
            }
            let [begin, end] = self.noises[index].ends;
            // 16 bits of the way through the period.
            let place = (time_ns >> (bits - 16)) as i64 & 0xFFFF;
            sum += begin + (((end - begin) * place) >> 16);
        }
        sum
    }
}

/// An instrument's worth over time.
#[derive(Clone, Debug)]
pub(crate) struct Fair {
    start: Price,
    /// 16-bit share of the market's factor, and the multiple of the asset's own.
    shares: [i64; 2],
    market: Factor,
    asset: Factor,
    venue: Factor,
    /// Moments of news are the asset's, whatever the venue.
    news: u64,
    known: Option<(u64, Price)>,
}

impl Fair {
    /// `kind` names the market that moves all its assets: coins or stocks.
    pub(crate) fn new(seed: u64, venue: &str, kind: &str, asset: &str, symbol: &str, start: Price) -> Self {
        let key = |parts: &[&str]| mixed(seed ^ stream(parts));
        let own = stream(&["restless", asset]);
        // The first of all coins is the calmest; others are up to twice as restless.
        let shares = match asset {
            "BTC" => [ONE as i64, ONE as i64],
            _ => [ONE as i64 * (80 + (own & 63) as i64) / 100, ONE as i64 * (100 + (own >> 8 & 127) as i64) / 100],
        };
        Self {
            start,
            shares,
            market: Factor::new(key(&["market", kind]), WHOLE, MARKET_STEP, SPELL_BITS, &MARKET_SPELLS),
            asset: Factor::new(key(&["asset", asset]), WHOLE, ASSET_STEP, SPELL_BITS, &MARKET_SPELLS),
            venue: Factor::new(key(&["venue", venue, symbol]), VENUE, VENUE_STEP, VENUE_SPELL_BITS, &VENUE_SPELLS),
            news: key(&["news", asset]),
            known: None,
        }
    }

    fn exact(&mut self, time_ns: u64) -> i64 {
        let [market, asset] = self.shares;
        let moved =
            (self.market.at(time_ns) * market + self.asset.at(time_ns) * asset) / ONE as i64 + self.venue.at(time_ns);
        let moved = moved.clamp(-MOVE_MAX, MOVE_MAX);
        self.start.0 + ((i128::from(self.start.0) * i128::from(moved)) >> 32) as i64
    }

    /// The last moment up to a time at which there was news.
    fn news_ns(&self, time_ns: u64) -> u64 {
        let moment = |span: u64| (span << NEWS_BITS) + (mixed(self.news ^ mixed(span)) >> (64 - NEWS_BITS));
        let span = time_ns >> NEWS_BITS;
        let now = moment(span);
        if now <= time_ns { now } else { moment(span.wrapping_sub(1)) }
    }

    /// The worth at a time.
    #[inline]
    pub(crate) fn at(&mut self, time: UnixNanos) -> Price {
        let news_ns = self.news_ns(time.0);
        match self.known {
            Some((known, price)) if known == news_ns => price,
            _ => {
                let price = Price(self.exact(news_ns));
                self.known = Some((news_ns, price));
                price
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000_000_000;
    const SECOND: u64 = 1_000_000_000;

    fn fair(venue: &str, asset: &str, seed: u64) -> Fair {
        Fair::new(seed, venue, "coins", asset, &format!("{asset}/USD"), Price(64_000_000_000))
    }

    fn moves(fair: &mut Fair, step_ns: u64, count: u64) -> Vec<f64> {
        let price = |fair: &mut Fair, at: u64| fair.at(UnixNanos(START + at * step_ns)).0 as f64;
        (0..count).map(|at| (price(fair, at + 1) / price(fair, at) - 1.0) * 1e4).collect()
    }

    fn deviation(moves: &[f64]) -> f64 {
        (moves.iter().map(|x| x * x).sum::<f64>() / moves.len() as f64).sqrt()
    }

    fn correlation(a: &[f64], b: &[f64]) -> f64 {
        let sum = a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / a.len() as f64;
        sum / deviation(a) / deviation(b)
    }

    #[test]
    fn a_worth_is_looked_up_and_not_run_through() {
        let mut forward = fair("kraken", "BTC", 1);
        let seen: Vec<Price> = (0..2_000).map(|at| forward.at(UnixNanos(START + at * 31_000_001))).collect();
        let mut backward = fair("kraken", "BTC", 1);
        for at in (0..2_000).rev() {
            assert_eq!(backward.at(UnixNanos(START + at * 31_000_001)), seen[at as usize], "{at}");
        }
        assert_ne!(fair("kraken", "BTC", 2).at(UnixNanos(START)), seen[0]);
    }

    #[test]
    fn venues_move_together_and_differ_a_little() {
        let (mut one, mut other) = (fair("kraken", "BTC", 1), fair("coinbase", "BTC", 1));
        let (a, b) = (moves(&mut one, 2 * SECOND, 5_000), moves(&mut other, 2 * SECOND, 5_000));
        assert!(correlation(&a, &b) > 0.8, "{}", correlation(&a, &b));
        let apart: Vec<f64> = (0..5_000)
            .map(|at| UnixNanos(START + at * SECOND))
            .map(|at| (one.at(at).0 as f64 / other.at(at).0 as f64 - 1.0) * 1e4)
            .collect();
        let most = apart.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        assert!(deviation(&apart) < 3.0 && (0.5..30.0).contains(&most), "{} {most}", deviation(&apart));
    }

    #[test]
    fn assets_share_the_market_and_other_seeds_nothing() {
        let btc = moves(&mut fair("kraken", "BTC", 1), 10 * SECOND, 5_000);
        let eth = moves(&mut fair("kraken", "ETH", 1), 10 * SECOND, 5_000);
        let another = moves(&mut fair("kraken", "BTC", 2), 10 * SECOND, 5_000);
        assert!((0.2..0.9).contains(&correlation(&btc, &eth)), "{}", correlation(&btc, &eth));
        assert!(correlation(&btc, &another).abs() < 0.1, "{}", correlation(&btc, &another));
    }

    #[test]
    fn moves_grow_like_a_walk_s_and_come_in_spells() {
        let mut fair = fair("kraken", "BTC", 3);
        let (second, minute) = (moves(&mut fair, SECOND, 20_000), moves(&mut fair, 60 * SECOND, 5_000));
        let growth = deviation(&minute) / deviation(&second);
        assert!((4.0..12.0).contains(&growth), "a walk grows by √60: {growth}");
        let spells: Vec<f64> = second.chunks(34).map(deviation).collect();
        let calm = spells.iter().fold(f64::MAX, |least, x| least.min(*x));
        let wild = spells.iter().fold(0.0, |most: f64, x| most.max(*x));
        assert!(wild > 3.0 * calm, "{calm} {wild}");
    }

    #[test]
    fn days_do_not_carry_a_worth_away() {
        let mut fair = fair("kraken", "SOL", 4);
        for hour in 0..24 * 365 {
            let price = fair.at(UnixNanos(START + hour * 3_600 * SECOND)).0;
            assert!((50_000_000_000..80_000_000_000).contains(&price), "hour {hour}: {price}");
        }
    }
}
