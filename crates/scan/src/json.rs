//! A pull parser for any JSON text: keys in any order, any legal spelling, checked to the last byte.
//! bytes -> [`Json::object`], [`Json::key`], [`Json::string`], [`Json::fixed`] … -> values, or what was expected where.
//!
//! Accepts exactly RFC 8259 in UTF-8, at most [`DEPTH_MAX`] levels deep, with two decisions the RFC leaves open: a lone
//! surrogate escape is refused, as it names no character, and keys that appear twice are both handed out, so the caller
//! decides (assigning as they come makes the last one win). Never allocates, never recurses, keeps text as written.

use crate::lanes::plain_len;
use crate::number::{NumberError, number_len};
use crate::text::Text;
use crate::{decimal, integer};

/// Deepest nesting that is read. Venues use five levels; 64 fit one word of state.
pub const DEPTH_MAX: u32 = 64;

/// The text is not JSON, or not of the shape asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {offset}")]
pub struct JsonError {
    /// Where, in bytes from the start of the text.
    pub offset: usize,
    /// What should have stood there.
    pub expected: &'static str,
}

/// A number could not be read from a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The JSON is at fault.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The JSON is fine, the number in it cannot be taken exactly.
    #[error("number at byte {offset}: {source}")]
    Number {
        /// Where the number (or the text that should be one) starts, in bytes from the start of the text.
        offset: usize,
        /// What is wrong with it.
        source: NumberError,
    },
}

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// A digit or a minus.
    Number,
    /// `true` or `false`, by the first letter.
    Bool,
    /// `null`, by the first letter.
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// An object or array was just opened.
    Opened,
    /// A value comes next.
    Value,
    /// A value was read.
    Read,
}

/// A place in a JSON text.
///
/// ```
/// # use scan::{Json, ReadError};
/// # fn main() -> Result<(), ReadError> {
/// let mut json = Json::new(br#"{"levels":[["0.10","3"]],"note":null,"p":"63388.70"}"#);
/// let (mut name, mut price, mut levels) = ([0; 64], None, 0);
/// json.object()?;
/// while let Some(key) = json.key()? {
///     match key.name(&mut name) {
///         b"p" => price = Some(json.fixed(2)?),
///         b"levels" => {
///             json.array()?;
///             while json.element()? {
///                 levels += 1; // what is not read is skipped
///             }
///         }
///         _ => {}
///     }
/// }
/// json.end()?;
/// assert_eq!((price, levels), (Some(6_338_870), 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Json<'a> {
    bytes: &'a [u8],
    at: usize,
    /// One bit a level, the innermost lowest: set for an object.
    objects: u64,
    depth: u32,
    step: Step,
}

impl<'a> Json<'a> {
    /// Before the one value that `bytes` holds.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::at(bytes, 0)
    }

    /// Before the value at `offset`, as [`Json::offset`] gave it: to read again what was stepped over.
    #[inline]
    pub fn at(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, at: offset.min(bytes.len()), objects: 0, depth: 0, step: Step::Value }
    }

    /// Bytes read so far. Straight after [`Json::key`] or [`Json::element`] this is where the value starts.
    #[inline]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// How many objects and arrays are open.
    #[inline]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// What comes next; reads nothing but white space.
    #[inline]
    pub fn kind(&mut self) -> Result<Kind, JsonError> {
        self.skip_space();
        Ok(match self.peek() {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b'-' | b'0'..=b'9' => Kind::Number,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => return Err(self.expected("a value")),
        })
    }

    /// Opens an object; its keys come from [`Json::key`].
    #[inline]
    pub fn object(&mut self) -> Result<(), JsonError> {
        self.open(b'{', 1, "an object")
    }

    /// Opens an array; its elements come from [`Json::element`].
    #[inline]
    pub fn array(&mut self) -> Result<(), JsonError> {
        self.open(b'[', 0, "an array")
    }

    /// The next key of the innermost object, or `None` when it ends, which closes it. A value that was not read is
    /// skipped, and checked on the way.
    #[inline]
    pub fn key(&mut self) -> Result<Option<Text<'a>>, JsonError> {
        if self.depth == 0 || self.objects & 1 == 0 {
            return Err(self.expected("an open object"));
        }
        if !self.next(b'}')? {
            return Ok(None);
        }
        if self.peek() != b'"' {
            return Err(self.expected("a key"));
        }
        let key = self.quoted()?;
        self.skip_space();
        if self.peek() != b':' {
            return Err(self.expected("a colon"));
        }
        self.at += 1;
        self.skip_space();
        self.step = Step::Value;
        Ok(Some(key))
    }

    /// Whether the innermost array has another element; when not, it is closed. An element that was not read is skipped,
    /// and checked on the way.
    #[inline]
    pub fn element(&mut self) -> Result<bool, JsonError> {
        if self.depth == 0 || self.objects & 1 != 0 {
            return Err(self.expected("an open array"));
        }
        let more = self.next(b']')?;
        if more {
            self.step = Step::Value;
        }
        Ok(more)
    }

    /// A string.
    #[inline]
    pub fn string(&mut self) -> Result<Text<'a>, JsonError> {
        self.skip_space();
        if self.peek() != b'"' {
            return Err(self.expected("a string"));
        }
        let text = self.quoted()?;
        self.step = Step::Read;
        Ok(text)
    }

    /// A string that must be written without escapes.
    #[inline]
    pub fn str_plain(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        let text = self.string()?;
        text.plain().ok_or(JsonError { offset: start, expected: "a string without escapes" })
    }

    /// A number as written.
    #[inline]
    pub fn number_text(&mut self) -> Result<&'a str, JsonError> {
        self.skip_space();
        let start = self.at;
        match number_len(&self.bytes[start..]) {
            Ok(len) => {
                self.at += len;
                self.step = Step::Read;
                Ok(self.ascii(start))
            }
            Err(NumberError::NotANumber { offset }) => {
                Err(JsonError { offset: start + offset, expected: if offset == 0 { "a number" } else { "a digit" } })
            }
            Err(_) => Err(JsonError { offset: start, expected: "a number" }),
        }
    }

    /// A number, or a string that may hold one: venues differ in whether they quote.
    #[inline]
    pub fn number_or_string(&mut self) -> Result<Text<'a>, JsonError> {
        self.skip_space();
        if self.peek() == b'"' { self.string() } else { Ok(Text::new(self.number_text()?, false)) }
    }

    /// A decimal with or without quotes, in units of 10^-`scale`.
    #[inline]
    pub fn fixed(&mut self, scale: u8) -> Result<i64, ReadError> {
        self.skip_space();
        let quoted = self.peek() == b'"';
        let start = self.at + usize::from(quoted);
        if let Some(text) = self.bytes.get(start..)
            && let Ok((mantissa, len)) = decimal::fixed(text, scale)
            && (!quoted || text.get(len) == Some(&b'"'))
        {
            self.at = start + len + usize::from(quoted);
            self.step = Step::Read;
            return Ok(mantissa);
        }
        self.number_slow(|text| text.fixed(scale))
    }

    /// An unsigned integer with or without quotes. Any spelling of a whole number will do: `3`, `3.0`, `"3"`, `3e0`.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, ReadError> {
        self.skip_space();
        let quoted = self.peek() == b'"';
        let start = self.at + usize::from(quoted);
        if let Some(text) = self.bytes.get(start..)
            && let Ok((value, len)) = integer::u64_at(text)
            && match text.get(len) {
                Some(b'"') => quoted,
                Some(b'.' | b'e' | b'E') => false,
                _ => !quoted,
            }
        {
            self.at = start + len + usize::from(quoted);
            self.step = Step::Read;
            return Ok(value);
        }
        self.number_slow(|text| match text.u64() {
            Err(NumberError::NotANumber { .. }) => u64::try_from(text.fixed(0)?).map_err(|_| NumberError::Overflow),
            other => other,
        })
    }

    /// An integer with or without quotes, in any spelling.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, ReadError> {
        self.fixed(0)
    }

    #[inline(never)]
    fn number_slow<T>(&mut self, read: impl Fn(Text<'a>) -> Result<T, NumberError>) -> Result<T, ReadError> {
        self.skip_space();
        let offset = self.at + usize::from(self.peek() == b'"');
        read(self.number_or_string()?).map_err(|source| ReadError::Number { offset, source })
    }

    /// `true` or `false`.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, JsonError> {
        self.skip_space();
        let value = self.peek() == b't';
        if value {
            self.word(b"true", "true or false")?
        } else {
            self.word(b"false", "true or false")?
        }
        Ok(value)
    }

    /// `null`.
    #[inline]
    pub fn null(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        self.word(b"null", "null")
    }

    /// Whether the value is `null`, which is then read: for optional fields.
    #[inline]
    pub fn null_if(&mut self) -> Result<bool, JsonError> {
        self.skip_space();
        let null = self.peek() == b'n';
        if null {
            self.null()?;
        }
        Ok(null)
    }

    /// Reads any value, checking all of it.
    pub fn skip_value(&mut self) -> Result<(), JsonError> {
        let floor = self.depth;
        loop {
            match self.kind()? {
                Kind::Object => self.object()?,
                Kind::Array => self.array()?,
                Kind::String => drop(self.string()?),
                Kind::Number => drop(self.number_text()?),
                Kind::Bool => drop(self.bool()?),
                Kind::Null => self.null()?,
            }
            while self.depth > floor && !self.item()? {}
            if self.depth == floor {
                return Ok(());
            }
        }
    }

    /// Whether the innermost object or array has another item, with its key read where it has one.
    #[inline]
    fn item(&mut self) -> Result<bool, JsonError> {
        if self.objects & 1 != 0 { Ok(self.key()?.is_some()) } else { self.element() }
    }

    /// Reads any value, checking all of it, and gives the bytes it is written with.
    pub fn raw_value(&mut self) -> Result<&'a [u8], JsonError> {
        self.skip_space();
        let start = self.at;
        self.skip_value()?;
        Ok(&self.bytes[start..self.at])
    }

    /// Reads what is left of the innermost object or array, checking it, and closes it.
    pub fn close(&mut self) -> Result<(), JsonError> {
        if self.depth == 0 {
            return Err(self.expected("an open object or array"));
        }
        while self.item()? {}
        Ok(())
    }

    /// The one value has been read and nothing but white space follows it.
    #[inline]
    pub fn end(&mut self) -> Result<(), JsonError> {
        if self.depth > 0 || self.step != Step::Read {
            return Err(self.expected("the rest of the value to be read"));
        }
        self.skip_space();
        if self.at < self.bytes.len() { Err(self.expected("the end")) } else { Ok(()) }
    }

    #[inline]
    fn open(&mut self, bracket: u8, object: u64, expected: &'static str) -> Result<(), JsonError> {
        self.skip_space();
        if self.peek() != bracket {
            return Err(self.expected(expected));
        }
        if self.depth == DEPTH_MAX {
            return Err(self.expected("at most 64 levels"));
        }
        self.at += 1;
        self.depth += 1;
        self.objects = self.objects << 1 | object;
        self.step = Step::Opened;
        Ok(())
    }

    /// Steps to the next item of the innermost object or array, or over the bracket that ends it.
    #[inline(always)]
    fn next(&mut self, bracket: u8) -> Result<bool, JsonError> {
        if self.step == Step::Value {
            self.skip_value()?;
        }
        self.skip_space();
        if self.peek() == bracket {
            self.at += 1;
            self.depth -= 1;
            self.objects >>= 1;
            self.step = Step::Read;
            return Ok(false);
        }
        if self.step == Step::Read {
            if self.peek() != b',' {
                return Err(self.expected("a comma or the closing bracket"));
            }
            self.at += 1;
            self.skip_space();
        }
        Ok(true)
    }

    /// The string whose opening quote is next.
    #[inline(always)]
    fn quoted(&mut self) -> Result<Text<'a>, JsonError> {
        let start = self.at + 1;
        let end = start + plain_len(&self.bytes[start..]);
        if self.bytes.get(end) != Some(&b'"') {
            return self.quoted_unusual(start, end);
        }
        self.at = end;
        let text = Text::new(self.ascii(start), false);
        self.at = end + 1;
        Ok(text)
    }

    /// The rest of a string with escapes or beyond ASCII.
    #[cold]
    fn quoted_unusual(&mut self, start: usize, from: usize) -> Result<Text<'a>, JsonError> {
        let mut escaped = false;
        self.at = from;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    let (_, len) = escape(&self.bytes[self.at..]).ok_or(self.expected("a valid escape"))?;
                    self.at += len;
                }
                Some(0x80..) => self.at += 1,
                Some(0x20..) => self.at += plain_len(&self.bytes[self.at..]),
                Some(_) => return Err(self.expected("no control character in a string")),
                None => return Err(self.expected("a closing quote")),
            }
        }
        let raw = std::str::from_utf8(&self.bytes[start..self.at])
            .map_err(|error| JsonError { offset: start + error.valid_up_to(), expected: "valid UTF-8" })?;
        self.at += 1;
        Ok(Text::new(raw, escaped))
    }

    #[inline(always)]
    fn word<const N: usize>(&mut self, word: &[u8; N], expected: &'static str) -> Result<(), JsonError> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.expected(expected));
        }
        self.at += N;
        self.step = Step::Read;
        Ok(())
    }

    /// The bytes from `start` to here, which the caller has seen to be ASCII.
    #[inline(always)]
    fn ascii(&self, start: usize) -> &'a str {
        let bytes = &self.bytes[start..self.at];
        debug_assert!(bytes.is_ascii());
        // SAFETY: both callers stop at the first byte above 0x7f, and ASCII is valid UTF-8.
        unsafe { std::str::from_utf8_unchecked(bytes) }
    }

    #[inline(always)]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte; zero at the end, which no rule of JSON accepts either.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[cold]
    fn expected(&self, expected: &'static str) -> JsonError {
        JsonError { offset: self.at, expected }
    }
}

/// The bytes that a string's inside stands for. Its escapes are valid.
pub(crate) fn unescaped(raw: &str) -> impl Iterator<Item = u8> + '_ {
    let mut rest = raw.as_bytes();
    let mut utf8 = [0; 4];
    let mut pending = 0..0;
    std::iter::from_fn(move || {
        if let Some(index) = pending.next() {
            return Some(utf8[index]);
        }
        let first = *rest.first()?;
        if first != b'\\' {
            rest = &rest[1..];
            return Some(first);
        }
        let (character, len) = escape(rest)?;
        rest = &rest[len..];
        pending = 1..character.encode_utf8(&mut utf8).len();
        Some(utf8[0])
    })
}

/// The escape at the start of `text` (a backslash first): its character and its length, for a surrogate pair both parts'.
fn escape(text: &[u8]) -> Option<(char, usize)> {
    let character = match text.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(text),
        _ => return None,
    };
    Some((character, 2))
}

fn unicode_escape(text: &[u8]) -> Option<(char, usize)> {
    let high = hex4(text.get(2..6)?)?;
    if !(0xd800..0xdc00).contains(&high) {
        // `None` for the second half of a pair without its first.
        return Some((char::from_u32(high)?, 6));
    }
    let low = text.get(6..12)?.strip_prefix(b"\\u").and_then(hex4)?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    let character = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    Some((char::from_u32(character)?, 12))
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}
