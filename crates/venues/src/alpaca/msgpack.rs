//! MessagePack, as far as the venue speaks it: a reader that never allocates, never recurses and never trusts a length,
//! and a writer for our few requests.
//! bytes -> [`Reader::map`], [`Reader::key`], [`Reader::text`], [`Reader::number`] … -> values, or what was wrong where.
//!
//! Invariants: every read is checked against the bytes at hand, so a header that claims more than there is costs nothing;
//! at most [`DEPTH_MAX`] containers are open. Knows nothing of markets.

use super::float;
use scan::NumberError;

/// Deepest nesting that is read; the venue uses four levels.
pub const DEPTH_MAX: usize = 16;

/// The extension type of time stamps.
const TIMESTAMP: i8 = -1;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What is wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// In bytes from the start.
    pub offset: usize,
    /// What should have stood there, or what is wrong with what does.
    pub problem: &'static str,
}

type Result<T> = std::result::Result<T, Wrong>;

/// A number as sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer that is not negative.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// 64 bits of a float.
    Double(f64),
    /// 32 bits of a float.
    Single(f32),
}

impl Number {
    /// The shortest decimal that names this number and no other of its kind; exact for integers.
    pub fn exact(self) -> std::result::Result<scan::Decimal, NumberError> {
        match self {
            Number::Unsigned(value) => Ok(scan::Decimal { mantissa: value.into(), scale: 0 }),
            Number::Negative(value) => Ok(scan::Decimal { mantissa: value.into(), scale: 0 }),
            Number::Double(value) => float::shortest(value),
            Number::Single(value) => float::shortest(value),
        }
    }

    /// The same in units of 10^-`scale`.
    #[inline(always)]
    pub fn fixed(self, scale: u8) -> Option<i64> {
        match self {
            Number::Double(value) => float::fixed(value, scale),
            Number::Unsigned(value) => i64::try_from(value).ok()?.checked_mul(*float::POWERS.get(usize::from(scale))?),
            _ => self.exact().ok()?.at_scale(scale).ok(),
        }
    }
}

/// What begins a value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Head {
    Nil,
    Bool(bool),
    Number(Number),
    /// Text, with its length.
    Text(usize),
    /// Bytes, with their length.
    Bytes(usize),
    Array(u32),
    Map(u32),
    /// Its type and length.
    Extension(i8, usize),
}

/// A place in a message. Copy it to look ahead.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Items still to come of each open container.
    left: [u32; DEPTH_MAX],
    depth: usize,
    /// A value was announced by a key or an element, and not read yet.
    due: bool,
}

impl<'a> Reader<'a> {
    /// Before the one value that `bytes` holds.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0, left: [0; DEPTH_MAX], depth: 0, due: true }
    }

    /// Bytes read so far.
    #[inline]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The bytes not read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn wrong<T>(&self, problem: &'static str) -> Result<T> {
        Err(Wrong { offset: self.at, problem })
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest().first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(Wrong { offset: self.bytes.len(), problem: "ends in the middle of a value" }),
        }
    }

    #[inline]
    fn slice(&mut self, len: usize) -> Result<&'a [u8]> {
        match self.rest().get(..len) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => Err(Wrong { offset: self.bytes.len(), problem: "ends in the middle of a value" }),
        }
    }

    #[inline]
    fn head(&mut self) -> Result<Head> {
        let [tag] = self.take()?;
        Ok(match tag {
            0x00..=0x7f => Head::Number(Number::Unsigned(tag.into())),
            0x80..=0x8f => Head::Map(u32::from(tag & 0x0f)),
            0x90..=0x9f => Head::Array(u32::from(tag & 0x0f)),
            0xa0..=0xbf => Head::Text(usize::from(tag & 0x1f)),
            0xc0 => Head::Nil,
            0xc1 => {
                self.at -= 1;
                return self.wrong("holds the byte 0xc1, which begins no value");
            }
            0xc2 => Head::Bool(false),
            0xc3 => Head::Bool(true),
            0xc4 => Head::Bytes(self.take::<1>()?[0].into()),
            0xc5 => Head::Bytes(u16::from_be_bytes(self.take()?).into()),
            0xc6 => Head::Bytes(u32::from_be_bytes(self.take()?) as usize),
            0xc7 => {
                let [len, kind] = self.take()?;
                Head::Extension(kind as i8, len.into())
            }
            0xc8 => {
                let len = u16::from_be_bytes(self.take()?);
                Head::Extension(self.take::<1>()?[0] as i8, len.into())
            }
            0xc9 => {
                let len = u32::from_be_bytes(self.take()?);
                Head::Extension(self.take::<1>()?[0] as i8, len as usize)
            }
            0xca => Head::Number(Number::Single(f32::from_be_bytes(self.take()?))),
            0xcb => Head::Number(Number::Double(f64::from_be_bytes(self.take()?))),
            0xcc => Head::Number(Number::Unsigned(self.take::<1>()?[0].into())),
            0xcd => Head::Number(Number::Unsigned(u16::from_be_bytes(self.take()?).into())),
            0xce => Head::Number(Number::Unsigned(u32::from_be_bytes(self.take()?).into())),
            0xcf => Head::Number(Number::Unsigned(u64::from_be_bytes(self.take()?))),
            0xd0 => Head::Number(signed(i8::from_be_bytes(self.take()?).into())),
            0xd1 => Head::Number(signed(i16::from_be_bytes(self.take()?).into())),
            0xd2 => Head::Number(signed(i32::from_be_bytes(self.take()?).into())),
            0xd3 => Head::Number(signed(i64::from_be_bytes(self.take()?))),
            0xd4..=0xd8 => Head::Extension(self.take::<1>()?[0] as i8, 1 << (tag - 0xd4)),
            0xd9 => Head::Text(self.take::<1>()?[0].into()),
            0xda => Head::Text(u16::from_be_bytes(self.take()?).into()),
            0xdb => Head::Text(u32::from_be_bytes(self.take()?) as usize),
            0xdc => Head::Array(u16::from_be_bytes(self.take()?).into()),
            0xdd => Head::Array(u32::from_be_bytes(self.take()?)),
            0xde => Head::Map(u16::from_be_bytes(self.take()?).into()),
            0xdf => Head::Map(u32::from_be_bytes(self.take()?)),
            0xe0..=0xff => Head::Number(signed((tag as i8).into())),
        })
    }

    /// What the next value is, not read yet.
    fn peek(&self) -> Result<Head> {
        let mut ahead = *self;
        ahead.head()
    }

    /// Whether the next value is an array.
    pub fn is_array(&self) -> Result<bool> {
        Ok(matches!(self.peek()?, Head::Array(_)))
    }

    /// Whether the value is nil, which is then read.
    pub fn nil_if(&mut self) -> Result<bool> {
        let nil = self.peek()? == Head::Nil;
        if nil {
            self.head()?;
            self.due = false;
        }
        Ok(nil)
    }

    /// Reads a value's head that must satisfy `pick`, or stays before it.
    #[inline]
    fn value<T>(&mut self, problem: &'static str, pick: impl Fn(Head) -> Option<T>) -> Result<T> {
        let start = self.at;
        let picked = pick(self.head()?);
        self.due = false;
        picked.ok_or(Wrong { offset: start, problem })
    }

    #[inline]
    fn open(&mut self, items: u32) -> Result<()> {
        if self.depth == DEPTH_MAX {
            return self.wrong("is nested more than 16 levels deep");
        }
        self.left[self.depth] = items;
        self.depth += 1;
        Ok(())
    }

    /// Opens a map; its keys come from [`Reader::key`].
    #[inline]
    pub fn map(&mut self) -> Result<()> {
        let items = self.value("expected a map", |h| if let Head::Map(n) = h { Some(n) } else { None })?;
        self.open(items)
    }

    /// Opens an array; its elements come from [`Reader::element`].
    #[inline]
    pub fn array(&mut self) -> Result<()> {
        let items = self.value("expected an array", |h| if let Head::Array(n) = h { Some(n) } else { None })?;
        self.open(items)
    }

    /// Whether the innermost container has another item; when not, it is closed. A value that was not read is skipped.
    #[inline]
    pub fn element(&mut self) -> Result<bool> {
        if std::mem::take(&mut self.due) {
            self.skip_value()?;
        }
        let Some(left) = self.depth.checked_sub(1).and_then(|d| self.left.get_mut(d)) else {
            return self.wrong("has no open array or map here");
        };
        match left.checked_sub(1) {
            Some(fewer) => {
                *left = fewer;
                self.due = true;
                Ok(true)
            }
            None => {
                self.depth -= 1;
                Ok(false)
            }
        }
    }

    /// The next key of the innermost map, or `None` when it ends, which closes it.
    #[inline]
    pub fn key(&mut self) -> Result<Option<&'a [u8]>> {
        if !self.element()? {
            return Ok(None);
        }
        let key = self.bytes_of_text()?;
        self.due = true;
        Ok(Some(key))
    }

    #[inline]
    fn bytes_of_text(&mut self) -> Result<&'a [u8]> {
        let len = self.value("expected a text", |h| if let Head::Text(n) = h { Some(n) } else { None })?;
        self.slice(len)
    }

    /// A text.
    pub fn text(&mut self) -> Result<&'a str> {
        let start = self.at;
        let bytes = self.bytes_of_text()?;
        std::str::from_utf8(bytes).map_err(|_| Wrong { offset: start, problem: "is not UTF-8" })
    }

    /// Whether the next value is a text.
    pub fn is_text(&self) -> Result<bool> {
        Ok(matches!(self.peek()?, Head::Text(_)))
    }

    /// A number.
    #[inline]
    pub fn number(&mut self) -> Result<Number> {
        self.value("expected a number", |h| if let Head::Number(n) = h { Some(n) } else { None })
    }

    /// `true` or `false`.
    pub fn bool(&mut self) -> Result<bool> {
        self.value("expected true or false", |h| if let Head::Bool(b) = h { Some(b) } else { None })
    }

    /// A time stamp in any of its three sizes, in ns since the Unix epoch.
    #[inline]
    pub fn timestamp(&mut self) -> Result<u64> {
        let start = self.at;
        let of = |h| if let Head::Extension(TIMESTAMP, len) = h { Some(len) } else { None };
        let len = self.value("expected a time stamp", of)?;
        let (seconds, nanos) = match len {
            4 => (u32::from_be_bytes(self.take()?).into(), 0),
            8 => {
                let both = u64::from_be_bytes(self.take()?);
                (both & ((1 << 34) - 1), both >> 34)
            }
            12 => {
                let nanos = u32::from_be_bytes(self.take()?);
                let seconds = i64::from_be_bytes(self.take()?);
                let before = Wrong { offset: start, problem: "is before 1970" };
                (u64::try_from(seconds).map_err(|_| before)?, nanos.into())
            }
            _ => return Err(Wrong { offset: start, problem: "has the length of no time stamp" }),
        };
        if nanos >= NANOS_PER_SECOND {
            return Err(Wrong { offset: start, problem: "has more than 999,999,999 ns" });
        }
        let after = Wrong { offset: start, problem: "is after the last nanosecond of 64 bits" };
        seconds.checked_mul(NANOS_PER_SECOND).and_then(|s| s.checked_add(nanos)).ok_or(after)
    }

    /// Reads any value. Takes no stack: what is still to come is a count, and every item takes at least a byte.
    pub fn skip_value(&mut self) -> Result<()> {
        let mut left = 1u64;
        while left > 0 {
            left -= 1;
            match self.head()? {
                Head::Nil | Head::Bool(_) | Head::Number(_) => {}
                Head::Text(len) | Head::Bytes(len) | Head::Extension(_, len) => drop(self.slice(len)?),
                Head::Array(items) => left += u64::from(items),
                Head::Map(items) => left += 2 * u64::from(items),
            }
        }
        self.due = false;
        Ok(())
    }

    /// The one value has been read and nothing follows it.
    pub fn end(&self) -> Result<()> {
        if self.depth > 0 || self.due || self.at < self.bytes.len() { self.wrong("expected the end") } else { Ok(()) }
    }
}

#[inline]
fn signed(value: i64) -> Number {
    u64::try_from(value).map_or(Number::Negative(value), Number::Unsigned)
}

/// Writes what we send: maps of texts and lists of texts.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins a map of so many members.
    pub fn map(&mut self, members: usize) {
        assert!(members < 16, "our requests are small");
        self.bytes.push(0x80 | members as u8);
    }

    /// A list of texts.
    pub fn texts<T: AsRef<str>>(&mut self, items: &[T]) {
        match u16::try_from(items.len()).expect("requests are cut into batches") {
            few @ 0..16 => self.bytes.push(0x90 | few as u8),
            many => {
                self.bytes.push(0xdc);
                self.bytes.extend_from_slice(&many.to_be_bytes());
            }
        }
        items.iter().for_each(|item| self.text(item.as_ref()));
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        match u16::try_from(text.len()).expect("names and keys are short") {
            short @ 0..32 => self.bytes.push(0xa0 | short as u8),
            len => {
                self.bytes.push(0xda);
                self.bytes.extend_from_slice(&len.to_be_bytes());
            }
        }
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamp(bytes: &[u8]) -> Result<u64> {
        Reader::new(bytes).timestamp()
    }

    #[test]
    fn time_stamps_have_three_sizes() {
        assert_eq!(stamp(&[0xd6, 0xff, 0, 0, 0, 2]), Ok(2_000_000_000));
        let both: u64 = 208_000_000 << 34 | 1_614_009_104;
        assert_eq!(stamp(&[&[0xd7, 0xff][..], &both.to_be_bytes()].concat()), Ok(1_614_009_104_208_000_000));
        let wide = [&[0xc7, 12, 0xff][..], &7u32.to_be_bytes(), &20_000_000_000i64.to_be_bytes()].concat();
        assert_eq!(stamp(&wide).map_err(|e| e.problem), Err("is after the last nanosecond of 64 bits"));
        let wide = [&[0xc7, 12, 0xff][..], &7u32.to_be_bytes(), &3i64.to_be_bytes()].concat();
        assert_eq!(stamp(&wide), Ok(3_000_000_007));
        let before = [&[0xc7, 12, 0xff][..], &7u32.to_be_bytes(), &(-3i64).to_be_bytes()].concat();
        assert_eq!(stamp(&before).map_err(|e| e.problem), Err("is before 1970"));
        let nanos = 1_000_000_000u64 << 34;
        let much = stamp(&[&[0xd7, 0xff][..], &nanos.to_be_bytes()].concat());
        assert_eq!(much.map_err(|e| e.problem), Err("has more than 999,999,999 ns"));
        assert_eq!(stamp(&[0xd6, 5, 0, 0, 0, 2]).map_err(|e| e.problem), Err("expected a time stamp"));
    }

    #[test]
    fn what_is_not_read_is_skipped() {
        // {"a": [1, {"b": nil}], "c": "d"}
        let bytes = [0x82, 0xa1, b'a', 0x92, 1, 0x81, 0xa1, b'b', 0xc0, 0xa1, b'c', 0xa1, b'd'];
        let mut r = Reader::new(&bytes);
        r.map().expect("a map");
        assert_eq!(r.key(), Ok(Some(&b"a"[..])));
        assert_eq!(r.key(), Ok(Some(&b"c"[..])));
        assert_eq!(r.text(), Ok("d"));
        assert_eq!(r.key(), Ok(None));
        assert_eq!(r.end(), Ok(()));
    }

    #[test]
    fn lengths_are_not_trusted() {
        for bytes in [&[0xdd, 0xff, 0xff, 0xff, 0xff][..], &[0xdb, 0xff, 0xff, 0xff, 0xff, b'x'], &[0xdf, 9, 9, 9, 9]] {
            assert!(Reader::new(bytes).skip_value().is_err());
        }
        let deep = [0x91; 40];
        let mut r = Reader::new(&deep);
        let opened = (0..40).take_while(|_| r.array().is_ok() && r.element().is_ok()).count();
        assert_eq!(opened, DEPTH_MAX);
        assert!(Reader::new(&[0xc1]).skip_value().is_err());
    }

    #[test]
    fn what_we_write_is_what_is_read() {
        let names: Vec<String> = (0..20).map(|n| "x".repeat(n * 3)).collect();
        let mut w = Writer::default();
        w.map(1);
        w.text("trades");
        w.texts(&names);
        let bytes = w.into_bytes();
        let mut r = Reader::new(&bytes);
        r.map().expect("a map");
        assert_eq!(r.key(), Ok(Some(&b"trades"[..])));
        r.array().expect("a list");
        for name in &names {
            assert_eq!(r.element(), Ok(true));
            assert_eq!(r.text(), Ok(name.as_str()));
        }
        assert_eq!((r.element(), r.key(), r.end()), (Ok(false), Ok(None), Ok(())));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut r = Reader::new(&bytes);
            if r.skip_value().is_ok() {
                prop_assert!(r.offset() <= bytes.len());
            }
            let mut r = Reader::new(&bytes);
            if r.map().is_ok() {
                while let Ok(Some(_)) = r.key() {}
            }
        }
    }
}
