//! Reads a frame in the exact order its venue always writes it: a literal, a number, a literal, a string.
//!
//! Every step answers `None` at the first surprise (another key order, a space, an escape, a number that does not fit)
//! and says no more: the caller starts the frame again with [`crate::Json`], which either reads it or explains. So a
//! cursor may only accept what `Json` reads to the same value; it never guesses.

use crate::lanes::plain_len;
use crate::{DayCache, decimal, integer};

/// A place in a frame. Copy it to try one shape and come back for another.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Cursor<'a> {
    /// At the first byte of `frame`.
    #[inline]
    pub fn new(frame: &'a [u8]) -> Self {
        Self { rest: frame, len: frame.len() }
    }

    /// Bytes read so far.
    #[inline]
    pub fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    /// The bytes not read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Steps over exactly these bytes. The length is known to the compiler, so this is a few wide compares.
    #[inline(always)]
    pub fn literal<const N: usize>(&mut self, expected: &[u8; N]) -> Option<()> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        if head != expected {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    /// Steps over these bytes if they are next, and says whether they were: ends of lists, optional fields.
    #[inline(always)]
    pub fn skip_if<const N: usize>(&mut self, expected: &[u8; N]) -> bool {
        self.literal(expected).is_some()
    }

    /// The next byte, not read yet.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// An unsigned integer. A point or an exponent after it is left for the next literal to stumble over.
    #[inline(always)]
    pub fn u64(&mut self) -> Option<u64> {
        let (value, len) = integer::u64_at(self.rest).ok()?;
        self.advance(len)?;
        Some(value)
    }

    /// An integer with an optional minus.
    #[inline(always)]
    pub fn i64(&mut self) -> Option<i64> {
        let (value, len) = integer::i64_at(self.rest).ok()?;
        self.advance(len)?;
        Some(value)
    }

    /// A decimal without quotes, in units of 10^-`scale`.
    #[inline(always)]
    pub fn fixed(&mut self, scale: u8) -> Option<i64> {
        let (mantissa, len) = decimal::fixed(self.rest, scale).ok()?;
        self.advance(len)?;
        Some(mantissa)
    }

    /// A decimal in quotes, in units of 10^-`scale`; both quotes are read.
    #[inline(always)]
    pub fn fixed_quoted(&mut self, scale: u8) -> Option<i64> {
        self.literal(b"\"")?;
        let mantissa = self.fixed(scale)?;
        self.literal(b"\"")?;
        Some(mantissa)
    }

    /// `true` or `false`.
    #[inline(always)]
    pub fn bool(&mut self) -> Option<bool> {
        if self.skip_if(b"true") {
            return Some(true);
        }
        self.literal(b"false")?;
        Some(false)
    }

    /// The text up to the next quote, which stays unread so that it can open the next literal. Plain ASCII only: an
    /// escape, a control byte or a byte above 0x7f is a surprise.
    #[inline(always)]
    pub fn until_quote(&mut self) -> Option<&'a [u8]> {
        let (text, rest) = self.rest.split_at_checked(plain_len(self.rest))?;
        if rest.first() != Some(&b'"') {
            return None;
        }
        self.rest = rest;
        Some(text)
    }

    /// An RFC 3339 time without its quotes, in nanoseconds since the Unix epoch.
    #[inline(always)]
    pub fn rfc3339_nanos(&mut self, days: &mut DayCache) -> Option<u64> {
        let (nanos, len) = days.rfc3339_nanos(self.rest).ok()?;
        self.advance(len)?;
        Some(nanos)
    }

    /// Nothing is left.
    #[inline]
    pub fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    #[inline(always)]
    fn advance(&mut self, len: usize) -> Option<()> {
        self.rest = self.rest.get(len..)?;
        Some(())
    }
}
