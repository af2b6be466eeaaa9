//! What a message says, as one number: equal messages have equal numbers, whatever the spelling of their decimals.

use std::hash::Hasher;

/// FNV-1a of 64 bits: the same on every machine and in every build, and good enough to tell messages apart that nobody
/// made up to be taken for each other.
#[derive(Clone, Copy)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        // The high bits of FNV are the good ones; fold them into the low ones, which tables use.
        self.0 ^ (self.0 >> 32)
    }
}

/// A message being summed up.
#[derive(Clone, Copy)]
pub struct Content {
    hash: Fnv,
    empty: bool,
}

impl Content {
    /// A message about a book at a time, ns since the Unix epoch; 0 where the venue does not say.
    pub fn new(at: u64) -> Content {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        hash.write_u64(at);
        Content { hash, empty: true }
    }

    /// One level of it.
    pub fn level(&mut self, side: char, price: &str, size: &str) {
        self.empty = false;
        self.hash.write_u8(side as u8);
        self.number(price);
        self.number(size);
    }

    /// Whether it has no level.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// The number.
    pub fn finish(self) -> u64 {
        self.hash.finish()
    }

    /// The number of a trade with an id.
    pub fn trade(side: &str, price: &str, size: &str) -> u64 {
        Content::timed_trade(0, side, price, size)
    }

    /// The number of a trade that only its time names, ns since the Unix epoch.
    pub fn timed_trade(at: u64, side: &str, price: &str, size: &str) -> u64 {
        let mut content = Content::new(at);
        content.hash.write(side.as_bytes());
        content.number(price);
        content.number(size);
        content.finish()
    }

    /// A decimal without the zeros that say nothing.
    fn number(&mut self, text: &str) {
        let text = text.trim_matches('"');
        if text.bytes().any(|b| matches!(b, b'e' | b'E'))
            && let Ok(decimal) = text.parse::<model::Decimal>()
        {
            return self.number(&decimal.to_string());
        }
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
        self.hash.write(whole.as_bytes());
        self.hash.write_u8(b'.');
        self.hash.write(part.as_bytes());
        self.hash.write_u8(b' ');
    }
}

/// A time like `2026-11-22T04:30:03.123456Z`, as ns since the Unix epoch.
pub fn nanos(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let rest = text.get(19..)?.strip_suffix('Z')?;
    let part = rest.strip_prefix('.').unwrap_or(rest);
    let ns: u64 = format!("{part:0<9}").get(..9)?.parse().ok()?;
    // Days since the epoch by the civil calendar, years from March on.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;
    let since = days.checked_sub(719_468)?;
    Some((((since * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_matter_and_values_do() {
        let of = |price: &str| Content::trade("buy", price, "1");
        for same in ["64123.4", "64123.400", "064123.4", "\"64123.40\"", "6.41234e4"] {
            assert_eq!(of(same), of("64123.4"), "{same}");
        }
        assert_eq!((of("0.0"), of("0.50")), (of("0"), of(".5")));
        for other in ["64123.41", "6412.34", "641234"] {
            assert_ne!(of(other), of("64123.4"), "{other}");
        }
        assert_ne!(Content::trade("sell", "1", "2"), Content::trade("buy", "1", "2"));
        assert_ne!(Content::trade("buy", "1", "2"), Content::trade("buy", "2", "1"));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (text, ns) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799_500_000_000),
            ("2026-11-22T04:30:03.123456Z", 1_795_321_803_123_456_000),
        ] {
            assert_eq!(nanos(text), Some(ns), "{text}");
        }
        assert_eq!((nanos(""), nanos("yesterday"), nanos("2026-11-22 04:30")), (None, None, None));
    }
}
