//! The limit of parsing: each frame read in the one order its venue writes, with 16-byte loads and no way back.
//!
//! It compares the literal text between values, turns sixteen characters of a decimal into an integer with one shuffle
//! and three multiply-adds, and refuses everything else: another key order, a longer number, an escape. It may read
//! past a frame's end, so frames lie in an [`Arena`] with slack. It finds no instrument, checks no sequence, builds no
//! record; a machine that does all that cannot be as fast and should not be far behind.

/// Bytes after the last frame that may be read.
const SLACK: usize = 64;

/// Frames back to back.
pub struct Arena {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Arena {
    /// Of frames.
    pub fn of(frames: &[impl AsRef<[u8]>]) -> Arena {
        let mut arena = Arena { bytes: vec![], ends: vec![] };
        for frame in frames {
            arena.bytes.extend_from_slice(frame.as_ref());
            arena.ends.push(arena.bytes.len());
        }
        arena.bytes.resize(arena.bytes.len() + SLACK, 0);
        arena
    }

    /// The frames, each without its slack.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().scan(0, |start, end| Some(&self.bytes[std::mem::replace(start, *end)..*end]))
    }

    /// The frames, each with everything behind it.
    pub fn with_slack(&self) -> impl Iterator<Item = Padded<'_>> {
        self.ends.iter().scan(0, |start, end| Some(Padded(&self.bytes[std::mem::replace(start, *end)..])))
    }
}

/// A frame with at least [`SLACK`] readable bytes behind it.
#[derive(Clone, Copy)]
pub struct Padded<'a>(&'a [u8]);

/// The taker's side, or a book's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Bid.
    Buy,
    /// Ask.
    Sell,
}

/// A trade at 8 decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    pub id: u64,
    pub price: i64,
    pub size: i64,
    /// Ns since the Unix epoch.
    pub time: u64,
    pub side: Side,
}

/// A book level at 8 decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    pub side: Side,
    pub price: i64,
    pub size: i64,
}

#[cfg(target_arch = "x86_64")]
pub use sse::{available, binance_depth, binance_trade, kraken_trade};

#[cfg(not(target_arch = "x86_64"))]
pub use absent::{available, binance_depth, binance_trade, kraken_trade};

#[cfg(not(target_arch = "x86_64"))]
mod absent {
    use super::{Level, Padded, Trade};

    pub fn available() -> bool {
        false
    }
    pub fn binance_trade(_: Padded<'_>) -> Option<Trade> {
        None
    }
    pub fn binance_depth(_: Padded<'_>, _: &mut Vec<Level>) -> Option<(u64, u64, u64)> {
        None
    }
    pub fn kraken_trade(_: Padded<'_>) -> Option<Trade> {
        None
    }
}

#[cfg(target_arch = "x86_64")]
mod sse {
    use super::{Level, Padded, SLACK, Side, Trade};
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_cvtsi128_si64, _mm_loadu_si128, _mm_madd_epi16, _mm_maddubs_epi16, _mm_min_epu8,
        _mm_movemask_epi8, _mm_packus_epi32, _mm_set1_epi8, _mm_setr_epi8, _mm_setr_epi16, _mm_shuffle_epi8,
        _mm_sub_epi8,
    };

    /// Whether this processor can run the scans.
    pub fn available() -> bool {
        is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3")
    }

    /// For each point position (1..=8) and count of decimals (0..=8): whole part to the right of the low half,
    /// decimals to the left of the high half, zeros elsewhere.
    static DECIMAL: [[[i8; 16]; 9]; 9] = {
        let mut table = [[[-1i8; 16]; 9]; 9];
        let mut point = 1;
        while point <= 8 {
            let mut decimals = 0;
            while decimals <= 8 {
                let row = &mut table[point][decimals];
                let mut i = 0;
                while i < point {
                    row[8 - point + i] = i as i8;
                    i += 1;
                }
                i = 0;
                while i < decimals && point + 1 + i < 16 {
                    row[8 + i] = (point + 1 + i) as i8;
                    i += 1;
                }
                decimals += 1;
            }
            point += 1;
        }
        table
    };

    /// For each length (0..=16): the digits to the right.
    static INTEGER: [[i8; 16]; 17] = {
        let mut table = [[-1i8; 16]; 17];
        let mut length = 1;
        while length <= 16 {
            let mut i = 0;
            while i < length {
                table[length][16 - length + i] = i as i8;
                i += 1;
            }
            length += 1;
        }
        table
    };

    /// "20:00:00.123456Z" to 00 hh mm ss 00 ff ff ff.
    const CLOCK: [i8; 16] = [-1, -1, 0, 1, 3, 4, 6, 7, -1, -1, 9, 10, 11, 12, 13, 14];

    /// A place in a padded frame. Every read is bounded by the slack: the scans stop at the first text that is not
    /// expected, and a frame's text ends before its slack does.
    #[derive(Clone, Copy)]
    struct At<'a> {
        frame: &'a [u8],
        at: usize,
    }

    impl<'a> At<'a> {
        fn new(frame: Padded<'a>) -> At<'a> {
            At { frame: frame.0, at: 0 }
        }

        /// Whether 16 bytes can be read here and the next literals too.
        #[inline(always)]
        fn pointer(&self, bytes: usize) -> Option<*const u8> {
            debug_assert!(bytes <= SLACK);
            // One compare that is never true for a frame of its shape: the scan stays memory-safe on any bytes.
            if self.at + SLACK > self.frame.len() {
                return None;
            }
            Some(self.frame[self.at..].as_ptr())
        }

        #[inline(always)]
        fn literal<const N: usize>(&mut self, text: &[u8; N]) -> Option<()> {
            let from = self.pointer(N)?;
            // SAFETY: `pointer` made sure of 64 bytes, literals have fewer.
            let found = unsafe { from.cast::<[u8; N]>().read_unaligned() };
            self.at += N;
            (found == *text).then_some(())
        }

        #[inline(always)]
        fn skip_if(&mut self, byte: u8) -> bool {
            let found = self.frame.get(self.at) == Some(&byte);
            self.at += usize::from(found);
            found
        }

        #[inline(always)]
        fn load(&self) -> Option<__m128i> {
            // SAFETY: `pointer` made sure of 64 bytes; the load needs no alignment.
            Some(unsafe { _mm_loadu_si128(self.pointer(16)?.cast()) })
        }

        /// A decimal with one point at 8 decimals, at most 8 digits on each side and 16 characters.
        #[inline]
        #[target_feature(enable = "sse4.1,ssse3")]
        fn decimal(&mut self) -> Option<i64> {
            let digits = _mm_sub_epi8(self.load()?, _mm_set1_epi8(b'0' as i8));
            let is_digit = _mm_cmpeq_epi8(_mm_min_epu8(digits, _mm_set1_epi8(9)), digits);
            let others = !_mm_movemask_epi8(is_digit) as u32 & 0xffff | 1 << 16;
            let point = others.trailing_zeros() as usize;
            let end = (others & (others - 1)).trailing_zeros() as usize;
            let row = DECIMAL.get(point)?.get(end.min(16) - point - 1)?;
            // SAFETY: a row of 16 bytes; the load needs no alignment.
            let order = unsafe { _mm_loadu_si128(row.as_ptr().cast()) };
            let (whole, fraction) = eights(_mm_shuffle_epi8(digits, order));
            self.at += end;
            Some((whole * 100_000_000 + fraction) as i64)
        }

        /// An unsigned integer of at most 16 digits.
        #[inline]
        #[target_feature(enable = "sse4.1,ssse3")]
        fn integer(&mut self) -> Option<u64> {
            let digits = _mm_sub_epi8(self.load()?, _mm_set1_epi8(b'0' as i8));
            let is_digit = _mm_cmpeq_epi8(_mm_min_epu8(digits, _mm_set1_epi8(9)), digits);
            let length = (!_mm_movemask_epi8(is_digit) as u32 | 1 << 16).trailing_zeros() as usize;
            // SAFETY: a row of 16 bytes; the load needs no alignment.
            let order = unsafe { _mm_loadu_si128(INTEGER[length].as_ptr().cast()) };
            let (high, low) = eights(_mm_shuffle_epi8(digits, order));
            self.at += length;
            Some(high * 100_000_000 + low)
        }

        /// Ns within the day of "20:00:00.123456Z".
        #[inline]
        #[target_feature(enable = "sse4.1,ssse3")]
        fn clock(&mut self) -> Option<u64> {
            let digits = _mm_sub_epi8(self.load()?, _mm_set1_epi8(b'0' as i8));
            // SAFETY: 16 bytes; the load needs no alignment.
            let order = unsafe { _mm_loadu_si128(CLOCK.as_ptr().cast()) };
            let (hms, micros) = eights(_mm_shuffle_epi8(digits, order));
            self.at += 16;
            let seconds = hms / 10_000 * 3600 + hms / 100 % 100 * 60 + hms % 100;
            Some(seconds * 1_000_000_000 + micros * 1_000)
        }
    }

    /// Two numbers of eight digits, one value a byte.
    #[inline]
    #[target_feature(enable = "sse4.1,ssse3")]
    fn eights(digits: __m128i) -> (u64, u64) {
        let tens = _mm_setr_epi8(10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1);
        let pairs = _mm_maddubs_epi16(digits, tens);
        let fours = _mm_madd_epi16(pairs, _mm_setr_epi16(100, 1, 100, 1, 100, 1, 100, 1));
        let packed = _mm_packus_epi32(fours, fours);
        let numbers = _mm_madd_epi16(packed, _mm_setr_epi16(10_000, 1, 10_000, 1, 10_000, 1, 10_000, 1));
        let both = _mm_cvtsi128_si64(numbers) as u64;
        (both & 0xffff_ffff, both >> 32)
    }

    /// Ns of 2025-08-17T00:00:00Z, the day the generated frames are of.
    const DAY_NS: u64 = 1_755_388_800_000_000_000;

    pub fn binance_trade(frame: Padded<'_>) -> Option<Trade> {
        // SAFETY: callers ask `available` first.
        unsafe { binance_trade_sse(frame) }
    }

    pub fn binance_depth(frame: Padded<'_>, levels: &mut Vec<Level>) -> Option<(u64, u64, u64)> {
        // SAFETY: callers ask `available` first.
        unsafe { binance_depth_sse(frame, levels) }
    }

    pub fn kraken_trade(frame: Padded<'_>) -> Option<Trade> {
        // SAFETY: callers ask `available` first.
        unsafe { kraken_trade_sse(frame) }
    }

    #[target_feature(enable = "sse4.1,ssse3")]
    fn binance_trade_sse(frame: Padded<'_>) -> Option<Trade> {
        let mut at = At::new(frame);
        at.literal(b"{\"e\":\"trade\",\"E\":")?;
        at.integer()?;
        at.literal(b",\"s\":\"BTCUSDT\",\"t\":")?;
        let id = at.integer()?;
        at.literal(b",\"p\":\"")?;
        let price = at.decimal()?;
        at.literal(b"\",\"q\":\"")?;
        let size = at.decimal()?;
        at.literal(b"\",\"T\":")?;
        let time = at.integer()? * 1_000_000;
        at.literal(b",\"m\":")?;
        let side = if at.skip_if(b't') {
            at.literal(b"rue,\"M\":true}")?;
            Side::Sell
        } else {
            at.literal(b"false,\"M\":true}")?;
            Side::Buy
        };
        Some(Trade { id, price, size, time, side })
    }

    #[target_feature(enable = "sse4.1,ssse3")]
    fn binance_depth_sse(frame: Padded<'_>, levels: &mut Vec<Level>) -> Option<(u64, u64, u64)> {
        let mut at = At::new(frame);
        at.literal(b"{\"e\":\"depthUpdate\",\"E\":")?;
        let time = at.integer()? * 1_000_000;
        at.literal(b",\"s\":\"BTCUSDT\",\"U\":")?;
        let first = at.integer()?;
        at.literal(b",\"u\":")?;
        let last = at.integer()?;
        at.literal(b",\"b\":[")?;
        levels_sse(&mut at, Side::Buy, levels)?;
        at.literal(b",\"a\":[")?;
        levels_sse(&mut at, Side::Sell, levels)?;
        Some((first, last, time))
    }

    #[inline]
    #[target_feature(enable = "sse4.1,ssse3")]
    fn levels_sse(at: &mut At<'_>, side: Side, levels: &mut Vec<Level>) -> Option<()> {
        loop {
            at.literal(b"[\"")?;
            let price = at.decimal()?;
            at.literal(b"\",\"")?;
            let size = at.decimal()?;
            at.literal(b"\"]")?;
            levels.push(Level { side, price, size });
            if !at.skip_if(b',') {
                return at.skip_if(b']').then_some(());
            }
        }
    }

    #[target_feature(enable = "sse4.1,ssse3")]
    fn kraken_trade_sse(frame: Padded<'_>) -> Option<Trade> {
        let mut at = At::new(frame);
        at.literal(b"{\"channel\":\"trade\",\"type\":\"update\",\"data\":[{\"sym")?;
        at.literal(b"bol\":\"BTC/USD\",\"side\":\"")?;
        let side = if at.skip_if(b'b') {
            at.literal(b"uy")?;
            Side::Buy
        } else {
            at.literal(b"sell")?;
            Side::Sell
        };
        at.literal(b"\",\"price\":")?;
        let price = at.decimal()?;
        at.literal(b",\"qty\":")?;
        let size = at.decimal()?;
        at.literal(b",\"ord_type\":\"")?;
        if at.skip_if(b'l') {
            at.literal(b"imit")?;
        } else {
            at.literal(b"market")?;
        }
        at.literal(b"\",\"trade_id\":")?;
        let id = at.integer()?;
        at.literal(b",\"timestamp\":\"2025-08-17T")?;
        let time = DAY_NS + at.clock()?;
        at.literal(b"\"}]}")?;
        Some(Trade { id, price, size, time, side })
    }
}
