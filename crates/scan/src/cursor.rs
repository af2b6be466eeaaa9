//! Reads a frame in the exact order its venue always writes it: a literal, a number, a literal, a string.
//!
//! Every step answers `None` at the first surprise (another key order, a space, an escape, a number that does not fit)
//! and says no more: the caller starts the frame again with [`crate::Json`], which either reads it or explains. So a
//! cursor may only accept what `Json` reads to the same value; it never guesses.
//!
//! An object whose keys come in another order is read with [`Cursor::open`], [`Cursor::key`] and [`Cursor::more`], which
//! also take white space between tokens: values are converted where they stand, or remembered by copying the cursor.

use crate::lanes::{is_plain, plain_len, starts_plain};
use crate::number::number_len;
use crate::shape::Shape;
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

    /// Steps over so many bytes, which the caller has looked at in [`Cursor::rest`].
    #[inline(always)]
    pub fn skip(&mut self, bytes: usize) -> Option<()> {
        self.advance(bytes)
    }

    /// The next byte, not read yet.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// An unsigned integer. A point or an exponent after it is left for the next literal to stumble over.
    #[inline(always)]
    pub fn u64(&mut self) -> Option<u64> {
        let (value, len) = integer::whole_at(self.rest)?;
        self.advance(len)?;
        Some(value)
    }

    /// [`Cursor::u64`] where nearly every one has `N` digits, such as times: what follows is then read without waiting
    /// for the length of this one.
    #[inline(always)]
    pub fn u64_likely<const N: usize>(&mut self) -> Option<u64> {
        let Some(value) = self.rest.first_chunk().and_then(integer::whole_of::<N>) else { return self.u64() };
        self.advance(N)?;
        Some(value)
    }

    /// [`Cursor::u64`] where nearly every one has as many digits as the one before it, kept in `digits`: what follows is
    /// then read without waiting for the length of this one.
    #[inline(always)]
    pub fn u64_like(&mut self, digits: &mut usize) -> Option<u64> {
        let like = self.rest.first_chunk().and_then(|window| integer::whole_like(window, *digits));
        if let Some(value) = like {
            self.advance(*digits)?;
            return Some(value);
        }
        let (value, len) = integer::whole_at(self.rest)?;
        *digits = len;
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
        let (mantissa, len) = decimal::fixed_at(self.rest, scale)?;
        self.advance(len)?;
        Some(mantissa)
    }

    /// [`Cursor::fixed`] where nearly every one is as long as the one before it, whose shape is kept: what follows is then
    /// read without waiting for the length of this one.
    #[inline(always)]
    pub fn fixed_like(&mut self, scale: u8, shape: &mut Shape) -> Option<i64> {
        if let Some(window) = self.rest.first_chunk()
            && let Some(mantissa) = decimal::fixed_like(window, shape, scale)
        {
            self.advance(shape.len())?;
            return Some(mantissa);
        }
        *shape = Shape::of(self.rest);
        self.fixed(scale)
    }

    /// Steps over the text of a number in quotes up to the closing one, as [`Cursor::until_quote`] does; shapes as in
    /// [`Cursor::fixed_like`]. Whoever reads the number makes sure that it is one.
    #[inline(always)]
    pub fn pass_like(&mut self, shape: &mut Shape) -> Option<()> {
        if let Some(window) = self.rest.first_chunk()
            && shape.fits(window)
            && window[shape.len()] == b'"'
        {
            return self.advance(shape.len());
        }
        *shape = Shape::of(self.rest);
        self.until_quote().map(drop)
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

    /// [`Cursor::until_quote`] where nearly every text has `N` bytes, 16 to 48, such as a UUID: what follows is then read
    /// without looking for where it ends.
    #[inline(always)]
    pub fn until_quote_likely<const N: usize>(&mut self) -> Option<&'a [u8]> {
        if let Some((text, rest)) = self.rest.split_at_checked(N)
            && rest.first() == Some(&b'"')
            && starts_plain::<N>(text)
        {
            self.rest = rest;
            return Some(text);
        }
        self.until_quote()
    }

    /// An RFC 3339 time without its quotes, in nanoseconds since the Unix epoch.
    #[inline(always)]
    pub fn rfc3339_nanos(&mut self, days: &mut DayCache) -> Option<u64> {
        let (nanos, len) = days.nanos_at(self.rest)?;
        self.advance(len)?;
        Some(nanos)
    }

    /// Steps over white space and the bracket that opens an object or array.
    #[inline(always)]
    pub fn open(&mut self, bracket: u8) -> Option<()> {
        self.space();
        self.byte(bracket)?;
        self.space();
        Some(())
    }

    /// The key that is next, with its colon. Between items the cursor stands as [`Cursor::open`] and [`Cursor::more`]
    /// leave it.
    #[inline(always)]
    pub fn key(&mut self) -> Option<&'a [u8]> {
        let key = match self.rest {
            [b'"', letter, b'"', b':', rest @ ..] if is_plain(*letter) => {
                let key = std::slice::from_ref(letter);
                self.rest = rest;
                key
            }
            _ => {
                let key = self.text()?;
                self.space();
                self.byte(b':')?;
                key
            }
        };
        self.space();
        Some(key)
    }

    /// Whether another item follows the one just read; when not, the closing bracket is read.
    #[inline(always)]
    pub fn more(&mut self, bracket: u8) -> Option<bool> {
        self.space();
        let more = self.byte(b',').is_some();
        if !more {
            self.byte(bracket)?;
        }
        self.space();
        Some(more)
    }

    /// A plain string with its quotes, as the bytes between them.
    #[inline(always)]
    pub fn text(&mut self) -> Option<&'a [u8]> {
        self.byte(b'"')?;
        let text = self.until_quote()?;
        self.byte(b'"')?;
        Some(text)
    }

    /// Steps over a number without quotes.
    #[inline(always)]
    pub fn skip_number(&mut self) -> Option<()> {
        self.advance(number_len(self.rest).ok()?)
    }

    /// Steps over a plain string, a number, a bool or `null`; objects and arrays are a surprise.
    #[inline]
    pub fn skip_flat(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.text().map(drop),
            b't' | b'f' => self.bool().map(drop),
            b'n' => self.literal(b"null"),
            _ => self.skip_number(),
        }
    }

    /// Steps over everything up to and with the next occurrence of `end`, whatever it is: only for what is read again.
    #[inline]
    pub fn skip_past(&mut self, end: &[u8]) -> Option<()> {
        let at = memchr::memmem::find(self.rest, end)?;
        self.advance(at + end.len())
    }

    /// Nothing is left.
    #[inline]
    pub fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    #[inline(always)]
    fn byte(&mut self, expected: u8) -> Option<()> {
        self.literal(&[expected])
    }

    #[inline(always)]
    fn space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    #[inline(always)]
    fn advance(&mut self, len: usize) -> Option<()> {
        self.rest = self.rest.get(len..)?;
        Some(())
    }
}
