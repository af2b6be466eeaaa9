//! What both protocols need to read a frame exactly: whom a symbol means, numbers at its scales, and which scales a
//! number asks for.
//!
//! When a number has more decimals than its instrument's scale, the need is noted and the frame is read again at the wider
//! scale, so that all of its numbers end up at one.

use super::messages::{Message, Named, Scales, Scratch, Target, View};
use super::pairs;
use crate::FrameError;
use model::SCALE_MAX;
use scan::{Json, NAME_LEN_MAX, NumberError, ReadError, Text};

pub type Result<T> = std::result::Result<T, FrameError>;

/// A frame can be read again once for each decimal that a price and a size may grow by, and for each new instrument.
const READINGS_MAX: usize = 2 * SCALE_MAX as usize + 2;

/// A frame while it is read.
pub struct Frame<'a, 's> {
    pub frame: &'a [u8],
    pub view: View<'a>,
    pub scratch: &'s mut Scratch,
}

/// One element of a data list while it is read.
#[derive(Clone, Copy)]
pub struct Element {
    pub target: Target,
    /// The digits as written tell the scale.
    pub learn: bool,
    pub scales: Scales,
    /// The most decimals of prices and sizes so far, where they are learnt from.
    pub digits: (u8, u8),
}

/// Reads a frame, again and again until its numbers settle at a scale.
pub fn settle<'a>(
    frame: &'a [u8],
    view: View<'a>,
    scratch: &mut Scratch,
    mut read: impl FnMut(&mut Frame<'a, '_>) -> Result<Message>,
) -> Result<Message> {
    scratch.names.clear();
    scratch.scales.clear();
    for _ in 0..READINGS_MAX {
        scratch.clear_all();
        let message = read(&mut Frame { frame, view, scratch: &mut *scratch })?;
        if !scratch.again {
            return Ok(message);
        }
    }
    Err(bad(0, "data", "numbers do not settle at a scale"))
}

impl<'a> Frame<'a, '_> {
    /// Whom a symbol means; `None` when nobody asked for it.
    pub fn target(&mut self, symbol: Text<'_>, offset: usize) -> Result<Option<Target>> {
        let mut room = [0; NAME_LEN_MAX];
        let name = symbol.name(&mut room);
        // Both spellings of a known pair are found.
        if let Some(known) = self.view.instruments.find(name) {
            return Ok(Some(Target::Known(known)));
        }
        if !self.view.learns() {
            return Ok(None);
        }
        let name = std::str::from_utf8(name).expect("a string of the JSON reader is UTF-8");
        let name = pairs::new_spelling(name);
        if let Some(n) = self.scratch.names.iter().position(|s| *s == name) {
            return Ok(Some(Target::New(n)));
        }
        pairs::check_learnable(&name, self.view, &self.scratch.names)
            .map_err(|problem| bad(offset, "symbol", problem))?;
        self.scratch.names.push(name.into_owned());
        Ok(Some(Target::New(self.scratch.names.len() - 1)))
    }

    /// Whether the digits as written tell the scale: of an instrument nobody defined, at first sight and in snapshots
    /// of its book, where the venue writes every digit.
    pub fn learns(&self, target: Target, is_book_snapshot: bool) -> bool {
        match target {
            Target::New(_) => true,
            Target::Known(k) => is_book_snapshot && self.view.markets[k as usize].provisional,
        }
    }

    pub fn scales(&self, target: Target) -> Scales {
        let noted = self.scratch.scales.iter().find(|s| s.target == target).copied();
        noted.unwrap_or_else(|| match target {
            Target::Known(k) => {
                let m = &self.view.markets[k as usize];
                Scales { target, price: m.price_scale, size: m.size_scale }
            }
            Target::New(_) => Scales { target, price: 0, size: 0 },
        })
    }

    fn note(&mut self, needs: Scales) {
        match self.scratch.scales.iter_mut().find(|s| s.target == needs.target) {
            Some(noted) => *noted = needs,
            None => self.scratch.scales.push(needs),
        }
    }

    /// A price of at least `least` units; 0 stands for "none" where the venue may have none.
    pub fn price(&mut self, json: &mut Json<'a>, e: &mut Element, field: &'static str, least: i64) -> Result<i64> {
        let offset = json.offset();
        let (value, scale) = number(json, e.scales.price, e.learn, field)?;
        e.digits.0 = e.digits.0.max(scale);
        if scale > e.scales.price {
            e.scales.price = scale;
            self.scratch.again = true;
            self.note(e.scales);
        } else if value < least {
            return Err(bad(offset, field, if least > 0 { "is not positive" } else { "is negative" }));
        }
        Ok(value)
    }

    pub fn size(&mut self, json: &mut Json<'a>, e: &mut Element, field: &'static str) -> Result<i64> {
        let offset = json.offset();
        let (value, scale) = number(json, e.scales.size, e.learn, field)?;
        e.digits.1 = e.digits.1.max(scale);
        if scale > e.scales.size {
            e.scales.size = scale;
            self.scratch.again = true;
            self.note(e.scales);
        } else if value < 0 {
            return Err(bad(offset, field, "is negative"));
        }
        Ok(value)
    }
}

/// An error at a place.
pub fn bad(offset: usize, field: &'static str, problem: impl Into<String>) -> FrameError {
    FrameError { offset, field, problem: problem.into() }
}

pub fn require<T>(value: Option<T>, json: &Json<'_>, field: &'static str) -> Result<T> {
    value.ok_or_else(|| bad(json.offset(), field, "is missing"))
}

/// A short text, unescaped.
pub fn text(json: &mut Json<'_>, field: &'static str) -> Result<String> {
    let offset = json.offset();
    let text = json.string().of(field)?;
    let mut room = vec![0; text.raw().len()];
    let text = text.unescape(&mut room).ok_or_else(|| bad(offset, field, "cannot be unescaped"))?;
    Ok(text.to_owned())
}

/// A number at `scale`, and the scale it needs: when that is more, the number is not the number yet.
pub fn number(json: &mut Json<'_>, scale: u8, learn: bool, field: &'static str) -> Result<(i64, u8)> {
    let offset = json.offset();
    let mut needs = 0;
    if learn {
        let mut ahead = *json;
        let text = ahead.number_or_string().of(field)?;
        needs = scan::decimals(text.raw().as_bytes()).unwrap_or(0);
    }
    let value = match json.fixed(scale) {
        Ok(value) => value,
        Err(ReadError::Number { source: NumberError::TooPrecise { decimals }, .. }) => {
            needs = needs.max(decimals);
            1
        }
        Err(e) => return Err(e).of(field),
    };
    match u8::try_from(needs) {
        Ok(needs) if needs <= SCALE_MAX => Ok((value, needs)),
        _ => Err(bad(offset, field, format!("needs {needs} decimals, at most {SCALE_MAX} can be told"))),
    }
}

/// A volume-weighted average price has decimals of its own.
pub fn vwap_of(json: &mut Json<'_>) -> Result<Option<(i64, u8)>> {
    if json.null_if().of("vwap")? {
        return Ok(None);
    }
    let offset = json.offset();
    let exact = json.number_or_string().of("vwap")?.exact().map_err(|e| bad(offset, "vwap", e.to_string()))?.trimmed();
    let mantissa = i64::try_from(exact.mantissa).ok().filter(|_| exact.scale <= SCALE_MAX);
    let mantissa = mantissa.ok_or_else(|| bad(offset, "vwap", "does not fit 64 bits"))?;
    Ok(Some((mantissa, exact.scale)))
}

pub fn optional_text(json: &mut Json<'_>, field: &'static str) -> Result<String> {
    if json.null_if().of(field)? { Ok(String::new()) } else { text(json, field) }
}
