//! One way to pull values out of a frame, whatever it is written in: JSON text or MessagePack.
//!
//! [`super::exact`] is written once, against this; so the two encodings of a message cannot become different records.

use super::messages::bad;
use super::msgpack::{Reader, Wrong};
use crate::FrameError;
use scan::{DayCache, Json, JsonError, Kind, NAME_LEN_MAX, NameBuffer};
use std::borrow::Cow;

type Result<T> = std::result::Result<T, FrameError>;

/// A place in a frame; copied to look ahead. A value that is not read is skipped by the next key or element.
pub trait Pull<'a>: Copy {
    /// Before the one value the frame holds.
    fn new(frame: &'a [u8]) -> Self;
    /// Bytes read so far; straight after a key or element, where its value begins.
    fn offset(&self) -> usize;
    /// Whether an array comes next.
    fn is_array(&mut self) -> Result<bool>;
    /// Opens an array.
    fn array(&mut self, field: &'static str) -> Result<()>;
    /// Whether the innermost array has another element.
    fn element(&mut self, field: &'static str) -> Result<bool>;
    /// Opens an object.
    fn object(&mut self, field: &'static str) -> Result<()>;
    /// The next key of the innermost object.
    fn key<'r>(&mut self, room: &'r mut NameBuffer) -> Result<Option<&'r [u8]>>
    where
        'a: 'r;
    /// Whether the value is null, which is then read.
    fn null_if(&mut self, field: &'static str) -> Result<bool>;
    /// A text.
    fn text(&mut self, field: &'static str) -> Result<Cow<'a, str>>;
    /// A number, or a text that holds one, at the least scale that holds it.
    fn number(&mut self, field: &'static str) -> Result<scan::Decimal>;
    /// A whole number that is not negative.
    fn whole(&mut self, field: &'static str) -> Result<u64>;
    /// `true` or `false`.
    fn bool(&mut self, field: &'static str) -> Result<bool>;
    /// A time in ns since the Unix epoch.
    fn time(&mut self, days: &mut DayCache) -> Result<u64>;
    /// Nothing is left.
    fn end(&mut self) -> Result<()>;
}

trait Named<T> {
    fn of(self, field: &'static str) -> Result<T>;
}

impl<T> Named<T> for std::result::Result<T, JsonError> {
    fn of(self, field: &'static str) -> Result<T> {
        self.map_err(|e| bad(e.offset, field, format!("expected {}", e.expected)))
    }
}

impl<T> Named<T> for std::result::Result<T, Wrong> {
    fn of(self, field: &'static str) -> Result<T> {
        self.map_err(|e| bad(e.offset, field, e.problem))
    }
}

/// A time as text.
fn time_of(text: &str, offset: usize, days: &mut DayCache) -> Result<u64> {
    match days.rfc3339_nanos(text.as_bytes()) {
        Ok((nanos, len)) if len == text.len() => Ok(nanos),
        Ok(_) => Err(bad(offset, "t", "goes on after the time")),
        Err(e) => Err(bad(offset, "t", e.to_string())),
    }
}

/// A decimal as a whole number.
fn whole_of(value: scan::Decimal, offset: usize, field: &'static str) -> Result<u64> {
    if value.mantissa < 0 {
        return Err(bad(offset, field, "is negative"));
    }
    if value.scale > 0 {
        return Err(bad(offset, field, "is not a whole number"));
    }
    u64::try_from(value.mantissa).map_err(|_| bad(offset, field, "does not fit 64 bits"))
}

impl<'a> Pull<'a> for Json<'a> {
    fn new(frame: &'a [u8]) -> Self {
        Json::new(frame)
    }

    fn offset(&self) -> usize {
        Json::offset(self)
    }

    fn is_array(&mut self) -> Result<bool> {
        Ok(self.kind().of("frame")? == Kind::Array)
    }

    fn array(&mut self, field: &'static str) -> Result<()> {
        Json::array(self).of(field)
    }

    fn element(&mut self, field: &'static str) -> Result<bool> {
        Json::element(self).of(field)
    }

    fn object(&mut self, field: &'static str) -> Result<()> {
        Json::object(self).of(field)
    }

    fn key<'r>(&mut self, room: &'r mut NameBuffer) -> Result<Option<&'r [u8]>>
    where
        'a: 'r,
    {
        Ok(Json::key(self).of("message")?.map(|key| key.name(room)))
    }

    fn null_if(&mut self, field: &'static str) -> Result<bool> {
        Json::null_if(self).of(field)
    }

    fn text(&mut self, field: &'static str) -> Result<Cow<'a, str>> {
        let offset = Json::offset(self);
        let text = self.string().of(field)?;
        if let Some(plain) = text.plain() {
            return Ok(Cow::Borrowed(plain));
        }
        let mut room = vec![0; text.raw().len()];
        let text = text.unescape(&mut room).ok_or_else(|| bad(offset, field, "cannot be unescaped"))?;
        Ok(Cow::Owned(text.to_owned()))
    }

    fn number(&mut self, field: &'static str) -> Result<scan::Decimal> {
        let offset = Json::offset(self);
        let text = self.number_or_string().of(field)?;
        Ok(text.exact().map_err(|e| bad(offset, field, e.to_string()))?.trimmed())
    }

    fn whole(&mut self, field: &'static str) -> Result<u64> {
        let offset = Json::offset(self);
        let value = self.number(field)?;
        whole_of(value, offset, field)
    }

    fn bool(&mut self, field: &'static str) -> Result<bool> {
        Json::bool(self).of(field)
    }

    fn time(&mut self, days: &mut DayCache) -> Result<u64> {
        let offset = Json::offset(self);
        let text = self.string().of("t")?;
        let mut room = [0; NAME_LEN_MAX];
        let text = text.unescape(&mut room).ok_or_else(|| bad(offset, "t", "is too long for a time"))?;
        time_of(text, offset, days)
    }

    fn end(&mut self) -> Result<()> {
        Json::end(self).of("frame")
    }
}

impl<'a> Pull<'a> for Reader<'a> {
    fn new(frame: &'a [u8]) -> Self {
        Reader::new(frame)
    }

    fn offset(&self) -> usize {
        Reader::offset(self)
    }

    fn is_array(&mut self) -> Result<bool> {
        Reader::is_array(self).of("frame")
    }

    fn array(&mut self, field: &'static str) -> Result<()> {
        Reader::array(self).of(field)
    }

    fn element(&mut self, field: &'static str) -> Result<bool> {
        Reader::element(self).of(field)
    }

    fn object(&mut self, field: &'static str) -> Result<()> {
        Reader::map(self).of(field)
    }

    fn key<'r>(&mut self, _room: &'r mut NameBuffer) -> Result<Option<&'r [u8]>>
    where
        'a: 'r,
    {
        Reader::key(self).of("message")
    }

    fn null_if(&mut self, field: &'static str) -> Result<bool> {
        self.nil_if().of(field)
    }

    fn text(&mut self, field: &'static str) -> Result<Cow<'a, str>> {
        Ok(Cow::Borrowed(Reader::text(self).of(field)?))
    }

    fn number(&mut self, field: &'static str) -> Result<scan::Decimal> {
        let offset = Reader::offset(self);
        let exact = if self.is_text().of(field)? {
            let text = Reader::text(self).of(field)?;
            scan::exact(text.as_bytes()).and_then(|(value, len)| match len == text.len() {
                true => Ok(value),
                false => Err(scan::NumberError::NotANumber { offset: len }),
            })
        } else {
            Reader::number(self).of(field)?.exact()
        };
        Ok(exact.map_err(|e| bad(offset, field, e.to_string()))?.trimmed())
    }

    fn whole(&mut self, field: &'static str) -> Result<u64> {
        let offset = Reader::offset(self);
        let value = Pull::number(self, field)?;
        whole_of(value, offset, field)
    }

    fn bool(&mut self, field: &'static str) -> Result<bool> {
        Reader::bool(self).of(field)
    }

    fn time(&mut self, days: &mut DayCache) -> Result<u64> {
        let offset = Reader::offset(self);
        if self.is_text().of("t")? {
            let text = Reader::text(self).of("t")?;
            return time_of(text, offset, days);
        }
        self.timestamp().of("t")
    }

    fn end(&mut self) -> Result<()> {
        Reader::end(self).of("frame")
    }
}
