//! CRC-32 of decimal digits that are never written: what a text of digits adds to the sum, from the numbers alone.
//!
//! CRC-32 is linear. The sum of a text is that of as many bytes '0', xor what the digits' values add ([`Sum`]); a leading
//! zero adds nothing, and what stands before more text is moved over it, which is a linear map of 32 bits for each length:
//! eight look-ups, one for each nibble ([`Sum::then`]), or, for many parts of a text at once, a product without carries by
//! a power of x ([`Sum::of_parts`]). Pairs of digits are looked up where they stand in a number. So a text of which one
//! number changed is summed from the sums of its parts, and nothing is rendered.

/// Digits of a number at most: those of the largest `i64`.
const NUMBER: usize = 19;
/// Digits of a text at most: twenty levels of two numbers.
pub const TEXT: usize = 20 * 2 * NUMBER;
/// Lengths that a map moves over: those of two numbers and less.
const NEAR: usize = 2 * NUMBER + 1;
/// Digits that are looked up at once, and the first number that has more.
const WORD: usize = 16;
const WORD_END: u64 = 10u64.pow(WORD as u32);

/// A linear map of 32 bits: what each value of each nibble becomes.
type Map = [[u32; 16]; 8];

/// The register after one more byte of 0.
const fn over_byte(mut register: u32) -> u32 {
    let mut bit = 0;
    while bit < 8 {
        register = (register >> 1) ^ (0xedb8_8320 & (register & 1).wrapping_neg());
        bit += 1;
    }
    register
}

/// What 0, 1, 2 ... bytes of 0 make of a register.
const fn maps<const N: usize>() -> [Map; N] {
    let mut maps = [[[0; 16]; 8]; N];
    let (mut bit, mut n) = (0, 0);
    // A map is known by what it makes of single bits.
    while bit < 32 {
        let (mut register, mut length) = (1 << bit, 0);
        while length < N {
            maps[length][bit / 4][1 << (bit % 4)] = register;
            length += 1;
            register = over_byte(register);
        }
        bit += 1;
    }
    while n < N * 8 {
        let nibble = &mut maps[n / 8][n % 8];
        let mut value: usize = 3;
        while value < 16 {
            let lowest = value & value.wrapping_neg();
            nibble[value] = nibble[lowest] ^ nibble[value ^ lowest];
            value += 1;
        }
        n += 1;
    }
    maps
}

/// What two digits add at each of a word's eight places for them, the last first. The numbers above 99 are there so that
/// seven bits are an index.
const fn pairs() -> [[u32; 128]; WORD / 2] {
    let mut pairs = [[0; 128]; WORD / 2];
    let mut value = 0;
    while value < 100 {
        let mut sum = over_byte(over_byte(value / 10) ^ (value % 10));
        let mut place = 0;
        while place < WORD / 2 {
            pairs[place][value as usize] = sum;
            sum = over_byte(over_byte(sum));
            place += 1;
        }
        value += 1;
    }
    pairs
}

/// The CRC-32 of 0, 1, 2 ... bytes '0'.
const fn zeros() -> [u32; TEXT + 1] {
    let mut zeros = [0; TEXT + 1];
    let (mut register, mut length) = (u32::MAX, 0);
    while length <= TEXT {
        zeros[length] = !register;
        register = over_byte(register ^ b'0' as u32);
        length += 1;
    }
    zeros
}

/// By what a register is multiplied to be moved over 0, 1, 2 ... bytes: what they make of the polynomial 1.
const fn factors() -> [u32; TEXT + 1] {
    let mut factors = [0; TEXT + 1];
    let (mut register, mut length) = (1 << 31, 0);
    while length <= TEXT {
        factors[length] = register;
        register = over_byte(register);
        length += 1;
    }
    factors
}

/// 10 to the power of 0, 1, 2 ...
const fn powers() -> [u64; NUMBER + 1] {
    let mut powers = [1; NUMBER + 1];
    let mut n = 1;
    while n <= NUMBER {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
}

static OVER: [Map; NEAR] = maps();
static FACTORS: [u32; TEXT + 1] = factors();
static PAIRS: [[u32; 128]; WORD / 2] = pairs();
static POWERS: [u64; NUMBER + 1] = powers();
static ZEROS: [u32; TEXT + 1] = zeros();

#[inline(always)]
fn mapped(map: &Map, register: u32) -> u32 {
    let at = |n: usize| map[n][(register >> (4 * n) & 15) as usize];
    ((at(0) ^ at(1)) ^ (at(2) ^ at(3))) ^ ((at(4) ^ at(5)) ^ (at(6) ^ at(7)))
}

/// What a number below 10^16 adds.
#[inline(always)]
fn word(n: u64) -> u32 {
    // Below 10^8 all divisions are of 32 bits.
    let eight = |n: u32, place: usize| {
        let (high, low) = (n / 10_000, n % 10_000);
        let pair = |n: u32, place: usize| PAIRS[place][(n & 127) as usize];
        (pair(low % 100, place) ^ pair(low / 100, place + 1))
            ^ (pair(high % 100, place + 2) ^ pair(high / 100, place + 3))
    };
    eight((n % 100_000_000) as u32, 0) ^ eight((n / 100_000_000) as u32, 4)
}

/// How many digits a number has, none for 0. A bit is worth log10(2) digits, which is nearly 1233 / 4096.
#[inline(always)]
fn length(n: u64) -> u32 {
    let least = ((u64::BITS - n.leading_zeros()) * 1233) >> 12;
    least + u32::from(n >= POWERS[least as usize])
}

/// What a text of digits adds to a checksum, and its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    register: u32,
    length: u32,
}

impl Sum {
    /// Of a number that is not negative, without leading zeros; 0 has no digits.
    #[inline(always)]
    pub fn of(number: i64) -> Sum {
        let n = number.unsigned_abs();
        let length = length(n);
        if n < WORD_END {
            return Sum { register: word(n), length };
        }
        let (high, low) = (word(n / WORD_END), word(n % WORD_END));
        Sum { register: mapped(&OVER[WORD], high) ^ low, length }
    }

    /// Of this text and then a short one, of two numbers at most.
    #[inline(always)]
    pub fn then(self, next: Sum) -> Sum {
        let moved = mapped(&OVER[next.length as usize], self.register);
        Sum { register: moved ^ next.register, length: self.length + next.length }
    }

    /// Of texts one after the other.
    #[inline(always)]
    pub fn of_parts<const N: usize>(parts: &[Sum; N]) -> Sum {
        let (mut registers, mut factors, mut length) = ([0; N], [0; N], 0);
        for n in (0..N).rev() {
            (registers[n], factors[n]) = (parts[n].register, FACTORS[length as usize]);
            length += parts[n].length;
        }
        // Bits stand the other way round, so a product of two registers is one place short of 64.
        let product = scan::carryless_sum(&registers, &factors) << 1;
        // The half of the high powers is four bytes before the other.
        Sum { register: mapped(&OVER[4], product as u32) ^ (product >> 32) as u32, length }
    }

    /// The CRC-32 of the text.
    #[inline(always)]
    pub fn crc(self) -> u32 {
        self.register ^ ZEROS[self.length as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digits(number: i64) -> String {
        if number == 0 { String::new() } else { number.to_string() }
    }

    fn check(numbers: &[i64]) {
        let text: String = numbers.iter().map(|n| digits(*n)).collect();
        let sum = numbers.iter().fold(Sum::default(), |sum, n| sum.then(Sum::of(*n)));
        assert_eq!((sum.crc(), sum.length as usize), (crc32fast::hash(text.as_bytes()), text.len()), "{numbers:?}");
    }

    #[test]
    fn every_count_of_digits_is_summed() {
        check(&[]);
        for n in (0..19).flat_map(|e| [10i64.pow(e) - 1, 10i64.pow(e), 10i64.pow(e) + 7]).chain([i64::MAX]) {
            check(&[n]);
            check(&[n, 0, n]);
        }
    }

    #[test]
    fn the_longest_text_is_summed() {
        check(&[i64::MAX; TEXT / NUMBER]);
        let half = [i64::MAX; TEXT / NUMBER / 2].iter().fold(Sum::default(), |sum, n| sum.then(Sum::of(*n)));
        assert_eq!(Sum::of_parts(&[half, half]).crc(), crc32fast::hash(i64::MAX.to_string().repeat(40).as_bytes()));
    }

    proptest! {
        #[test]
        fn any_numbers_are_summed(
            numbers in prop::collection::vec((0..=i64::MAX, 0u32..63).prop_map(|(n, shift)| n >> shift), 0..40),
            cut in 0usize..40,
        ) {
            check(&numbers);
            let (first, last) = numbers.split_at(cut.min(numbers.len()));
            let sum = |numbers: &[i64]| numbers.iter().fold(Sum::default(), |sum, n| sum.then(Sum::of(*n)));
            prop_assert_eq!(Sum::of_parts(&[sum(first), sum(last)]), sum(&numbers));
            let mut parts = [Sum::default(); 40];
            parts.iter_mut().zip(&numbers).for_each(|(part, number)| *part = Sum::of(*number));
            prop_assert_eq!(Sum::of_parts(&parts), sum(&numbers));
        }
    }
}
