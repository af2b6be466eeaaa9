//! A string or number found in a JSON text, still as it was written. Unescaped only when somebody needs it.

use crate::decimal::{self, Decimal};
use crate::number::NumberError;
use crate::{integer, json};

/// Longest name [`Text::name`] unescapes; every venue's keys and symbols are shorter.
pub const NAME_LEN_MAX: usize = 64;

/// Room for one unescaped name.
pub type NameBuffer = [u8; NAME_LEN_MAX];

/// The inside of a JSON string, or a bare number. Its escapes and UTF-8 are known to be valid.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    #[inline(always)]
    pub(crate) fn new(raw: &'a str, escaped: bool) -> Self {
        Self { raw, escaped }
    }

    /// As written, escapes and all, without quotes.
    #[inline]
    pub fn raw(self) -> &'a str {
        self.raw
    }

    /// The text itself when it is written without escapes, as venues do.
    #[inline]
    pub fn plain(self) -> Option<&'a str> {
        if self.escaped { None } else { Some(self.raw) }
    }

    /// Whether the text, unescaped, is this: `\u0065` is `e`.
    #[inline]
    pub fn is(self, expected: &str) -> bool {
        if self.escaped { json::unescaped(self.raw).eq(expected.bytes()) } else { self.raw == expected }
    }

    /// The text unescaped, in `scratch` where that differs from what is written; `None` when it is too small. Never
    /// longer than [`Text::raw`].
    #[inline]
    pub fn unescape<'s>(self, scratch: &'s mut [u8]) -> Option<&'s str>
    where
        'a: 's,
    {
        if self.escaped { self.unescape_slow(scratch) } else { Some(self.raw) }
    }

    #[cold]
    fn unescape_slow(self, scratch: &mut [u8]) -> Option<&str> {
        let mut len = 0;
        for byte in json::unescaped(self.raw) {
            *scratch.get_mut(len)? = byte;
            len += 1;
        }
        Some(std::str::from_utf8(&scratch[..len]).expect("escapes of a Text are validated, so they give UTF-8"))
    }

    /// The text to match names against. A name that is escaped and still longer than the buffer is given as written;
    /// it holds a backslash, so it equals no plain name.
    #[inline]
    pub fn name<'s>(self, buffer: &'s mut NameBuffer) -> &'s [u8]
    where
        'a: 's,
    {
        if self.escaped { self.unescape_slow(buffer).unwrap_or(self.raw).as_bytes() } else { self.raw.as_bytes() }
    }

    /// The whole text as a decimal in units of 10^-`scale`.
    pub fn fixed(self, scale: u8) -> Result<i64, NumberError> {
        self.whole(|text| decimal::fixed(text, scale))
    }

    /// The whole text as a decimal with the scale it was written with.
    pub fn exact(self) -> Result<Decimal, NumberError> {
        self.whole(decimal::exact)
    }

    /// The whole text as an unsigned integer.
    pub fn u64(self) -> Result<u64, NumberError> {
        self.whole(integer::u64_at)
    }

    /// The whole text as an integer.
    pub fn i64(self) -> Result<i64, NumberError> {
        self.whole(integer::i64_at)
    }

    fn whole<T>(self, read: impl Fn(&[u8]) -> Result<(T, usize), NumberError>) -> Result<T, NumberError> {
        let mut buffer = [0; NAME_LEN_MAX];
        let text = self.name(&mut buffer);
        let (value, len) = read(text)?;
        if len == text.len() { Ok(value) } else { Err(NumberError::NotANumber { offset: len }) }
    }
}
