//! Chance without state: the numbers of an event are mixed from seed, stream and the event's number.
//! (seed, stream, number) -> [`Draw`] -> uniform, exponential, clustered and bell-shaped draws.
//!
//! Integers only. A logarithm of the platform's library may differ in its last bit from build to build, and one bit
//! is another market: logarithms and powers of two come from tables that the compiler works out with integers.

/// One in 16-bit fixed point, the unit of factors and multiples here.
pub(crate) const ONE: u64 = 1 << 16;

/// Steps of a table between one and two.
const STEPS: usize = 256;
/// What splitmix64 adds each time.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

/// log2(1 + i/256), 32-bit fixed point.
static LOG2: [u64; STEPS + 1] = log2_table();
/// 2^(i/256), 32-bit fixed point.
static EXP2: [u64; STEPS + 1] = exp2_table();

/// Numbers drawn for one event.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    state: u64,
}

impl Draw {
    /// The numbers of event `number` in a stream of a seed.
    #[inline]
    pub(crate) fn new(seed: u64, stream: u64, number: u64) -> Self {
        Self { state: mixed(mixed(seed.wrapping_add(STRIDE) ^ stream.rotate_left(32)).wrapping_add(number)) }
    }

    /// 64 bits.
    #[inline]
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STRIDE);
        mixed(self.state)
    }

    /// A number from 0 to below `end`.
    #[inline]
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `first` to `last`.
    #[inline]
    pub(crate) fn within(&mut self, first: i64, last: i64) -> i64 {
        first + self.below((last - first + 1).max(1) as u64) as i64
    }

    /// True `times` in 1,000.
    #[inline]
    pub(crate) fn chance(&mut self, times: u64) -> bool {
        self.below(1_000) < times
    }

    /// A waiting time with mean [`ONE`].
    #[inline]
    pub(crate) fn exponential(&mut self) -> u64 {
        // ln 2 in 16 bits.
        (self.halvings() * 45_426) >> 16
    }

    /// Waiting times that come in clusters: most are short, some long; mean [`ONE`].
    #[inline]
    pub(crate) fn clustered(&mut self) -> u64 {
        // 74 % of mean 0.12 and 26 % of mean 3.5046: 0.0888 + 0.9112.
        let mean = if self.chance(740) { ONE * 12 / 100 } else { ONE * 35_046 / 10_000 };
        (self.exponential() * mean) >> 16
    }

    /// Mean 0, deviation [`ONE`], bell-shaped.
    #[inline]
    pub(crate) fn normal(&mut self) -> i64 {
        let bits = self.bits();
        let ones = i64::from(bits.count_ones()) - 32;
        let rest = (self.bits() & 0xFFFF) as i64 - 0x8000;
        // 64 coins have a deviation of 4, and the rest spreads them out to 4.0104.
        ((ones << 16) + rest) * 65_536 / 262_826
    }

    /// 2 to the power of a normal draw with `deviation` (16 bits): half of them below [`ONE`].
    #[inline]
    pub(crate) fn lognormal(&mut self, deviation: i64) -> u64 {
        exp2((self.normal() * deviation) >> 16)
    }

    /// How often one is halved to reach a uniform draw, 16 bits: exponential with mean 1/ln 2.
    #[inline]
    fn halvings(&mut self) -> u64 {
        (64 << 16) - log2(self.bits() | 1)
    }
}

/// The finaliser of splitmix64: neighbours become noise, and no two become one.
#[inline]
pub(crate) fn mixed(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

/// A stream of numbers for each name.
pub(crate) fn stream(parts: &[&str]) -> u64 {
    parts.iter().flat_map(|part| part.bytes().chain([0xFF])).fold(STRIDE, |key, byte| mixed(key ^ u64::from(byte)))
}

/// Binary logarithm of a positive number, 16 bits behind the point.
#[inline]
pub(crate) fn log2(value: u64) -> u64 {
    let zeros = value.leading_zeros();
    // The leading one drops out; 8 bits choose the step, 16 the place in it.
    let rest = (value << zeros) << 1;
    let (step, place) = ((rest >> 56) as usize, (rest >> 40) & 0xFFFF);
    let (low, high) = (LOG2[step], LOG2[step + 1]);
    (u64::from(63 - zeros) << 16) + ((low + (((high - low) * place) >> 16)) >> 16)
}

/// Two to a power of 16 bits behind the point, the same behind the result's; 0 below 2^-16, 2^46 at most.
#[inline]
pub(crate) fn exp2(power: i64) -> u64 {
    let (whole, rest) = (power >> 16, (power & 0xFFFF) as u64);
    let (step, place) = ((rest >> 8) as usize, rest & 0xFF);
    let (low, high) = (EXP2[step], EXP2[step + 1]);
    let mantissa = low + (((high - low) * place) >> 8);
    match whole {
        ..-16 => 0,
        -16..0 => (mantissa >> 16) >> -whole,
        _ => (mantissa >> 16) << whole.min(30),
    }
}

const fn log2_table() -> [u64; STEPS + 1] {
    let mut table = [0; STEPS + 1];
    let mut at = 0;
    while at <= STEPS {
        // Squaring doubles the logarithm: each bit of it is whether the square passes two.
        let (mut value, mut log, mut bit) = (((STEPS + at) as u128) << 54, 0_u64, 1_u64 << 32);
        if at == STEPS {
            log = 1 << 32;
        }
        while bit > 1 && at < STEPS {
            bit >>= 1;
            value = (value * value) >> 62;
            if value >= 2 << 62 {
                value >>= 1;
                log |= bit;
            }
        }
        table[at] = log;
        at += 1;
    }
    table
}

const fn exp2_table() -> [u64; STEPS + 1] {
    let mut table = [0; STEPS + 1];
    let mut at = 0;
    while at <= STEPS {
        let (mut value, mut root, mut bit) = (1_u128 << 62, 2_u128 << 62, STEPS);
        if at == STEPS {
            value = root;
        }
        while bit > 1 && at < STEPS {
            bit >>= 1;
            root = (root << 62).isqrt();
            if at & bit != 0 {
                value = (value * root) >> 62;
            }
        }
        table[at] = (value >> 30) as u64;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 200_000;

    fn mean(of: impl Fn(&mut Draw) -> i64) -> i64 {
        (0..DRAWS).map(|number| of(&mut Draw::new(1, 2, number))).sum::<i64>() / DRAWS as i64
    }

    #[test]
    fn tables_are_logarithms_and_powers() {
        for value in [1_u64, 2, 3, 10, 1_000, 123_456_789, u64::MAX / 3, u64::MAX] {
            let expected = (value as f64).log2();
            assert!((log2(value) as f64 / 65_536.0 - expected).abs() < 3e-5, "{value}");
        }
        for power in [-16.0, -3.3, -0.5, 0.0, 0.25, 1.0, 7.77, 29.9] {
            let got = exp2((power * 65_536.0) as i64) as f64 / 65_536.0;
            assert!((got - f64::powf(2.0, power)).abs() <= got * 1e-4 + 2e-5, "{power}: {got}");
        }
    }

    #[test]
    fn draws_have_the_means_they_should() {
        let one = ONE as i64;
        for (name, got, expected) in [
            ("uniform", mean(|draw| draw.below(1_001) as i64), 500),
            ("exponential", mean(|draw| draw.exponential() as i64), one),
            ("clustered", mean(|draw| draw.clustered() as i64), one),
            ("normal", mean(|draw| draw.normal() + one), one),
            ("variance", mean(|draw| draw.normal().pow(2) >> 16), one),
        ] {
            assert!((got - expected).abs() <= expected / 50, "{name}: {got} for {expected}");
        }
    }

    #[test]
    fn numbers_depend_on_all_three() {
        let first = |seed, stream, number| Draw::new(seed, stream, number).bits();
        let all = [first(1, 1, 1), first(2, 1, 1), first(1, 2, 1), first(1, 1, 2)];
        let mut different = all.to_vec();
        different.sort_unstable();
        different.dedup();
        assert_eq!((different.len(), all[0]), (4, first(1, 1, 1)));
        assert_ne!(stream(&["a", "bc"]), stream(&["ab", "c"]));
    }
}
