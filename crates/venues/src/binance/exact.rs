//! Reads any frame of the venue in any legal JSON spelling: the judge of the fast reader, and its fallback.
//!
//! Two steps, so that nothing is used of a frame that turns out to be malformed: [`Frame::check`] checks the whole text
//! and notes where each field's value stands; the typed readers below then read the values they need. Numbers that need
//! more decimals than the instrument has are reported in [`Numbers::need`], and the message is read again at that scale.

use super::choices::{TimeUnit, TradeKind};
use super::messages::{Bar, Depth, Hot, Quote, Scales, Trade, frame_error, side};
use super::subscribe::interval_seconds;
use crate::FrameError;
use book::Level;
use model::{Price, Qty, SCALE_MAX, UnixNanos};
use scan::{Json, JsonError, Kind, NameBuffer, NumberError, ReadError, Text};

/// Where the values of an object stand. Keys of one letter are found by their letter. Filled in place: it is too large
/// to be handed about.
pub(super) struct Fields<'a> {
    frame: &'a [u8],
    start: usize,
    letters: [u32; 58],
    named: [u32; NAMES.len()],
    /// Letters seen, by bit.
    seen: u64,
    /// Keys that are neither a letter nor named below.
    others: u32,
}

/// Keys of more than one letter that are read.
pub(super) const NAMES: [&str; 10] =
    ["stream", "data", "result", "id", "code", "msg", "error", "lastUpdateId", "bids", "asks"];

fn letter(key: &[u8]) -> Option<usize> {
    match key {
        [byte] if byte.is_ascii_alphabetic() => Some(usize::from(byte - b'A')),
        _ => None,
    }
}

/// The letters as bits.
pub(super) const fn mask(letters: &str) -> u64 {
    let (letters, mut bits, mut at) = (letters.as_bytes(), 0, 0);
    while at < letters.len() {
        bits |= 1 << (letters[at] - b'A');
        at += 1;
    }
    bits
}

/// A JSON error as a frame error of a field.
pub(super) fn json_error(field: &'static str) -> impl Fn(JsonError) -> FrameError {
    move |e| frame_error(e.offset, field, format_args!("expected {}", e.expected))
}

fn read_error(field: &'static str, error: ReadError) -> FrameError {
    match error {
        ReadError::Json(e) => json_error(field)(e),
        ReadError::Number { offset, source } => frame_error(offset, field, source),
    }
}

impl<'a> Fields<'a> {
    fn of(frame: &'a [u8]) -> Fields<'a> {
        Fields { frame, start: 0, letters: [0; 58], named: [0; NAMES.len()], seen: 0, others: 0 }
    }

    /// Notes the fields of the object that comes next, and checks all of it. The payload of a combined frame is walked
    /// through on the way; `true` when there was one.
    fn collect(&mut self, json: &mut Json<'a>, mut data: Option<&mut Fields<'a>>) -> Result<bool, JsonError> {
        self.start = json.offset();
        let mut buffer: NameBuffer = [0; 64];
        let mut found = false;
        json.object()?;
        while let Some(key) = json.key()? {
            // An offset fits: frames are limited to far less than 4 GB before they get here.
            let at = json.offset() as u32;
            let key = key.name(&mut buffer);
            if let Some(index) = letter(key) {
                self.letters[index] = at;
                self.seen |= 1 << index;
                continue;
            }
            let Some(index) = NAMES.iter().position(|n| n.as_bytes() == key) else {
                self.others += 1;
                continue;
            };
            self.named[index] = at;
            if key == b"data"
                && let Some(data) = data.as_deref_mut()
            {
                // Of two, the last counts.
                *data = Fields::of(self.frame);
                found = json.kind()? == Kind::Object;
                if found {
                    data.collect(json, None)?;
                }
            }
        }
        Ok(found)
    }

    fn offset(&self, key: &'static str) -> Option<usize> {
        let at = match letter(key.as_bytes()) {
            Some(index) => self.letters[index],
            None => NAMES.iter().position(|n| *n == key).map_or(0, |index| self.named[index]),
        };
        (at != 0).then_some(at as usize)
    }

    fn has_all(&self, letters: &str) -> bool {
        let wanted = mask(letters);
        self.seen & wanted == wanted
    }

    /// Fields that are not among these letters.
    fn unknown(&self, letters: &str) -> u64 {
        u64::from((self.seen & !mask(letters)).count_ones()) + u64::from(self.others)
    }

    fn json(&self, key: &'static str) -> Result<Json<'a>, FrameError> {
        let at = self.offset(key).ok_or_else(|| frame_error(self.start, key, "is missing"))?;
        Ok(Json::at(self.frame, at))
    }

    fn text(&self, key: &'static str) -> Result<Text<'a>, FrameError> {
        self.json(key)?.string().map_err(json_error(key))
    }

    fn u64(&self, key: &'static str) -> Result<u64, FrameError> {
        let mut json = self.json(key)?;
        // The text is known to be JSON: digits with no point or exponent behind them are the whole number.
        let text = &self.frame[json.offset()..];
        if let Ok((value, len)) = scan::u64_at(text)
            && !matches!(text.get(len), Some(b'.' | b'e' | b'E'))
        {
            return Ok(value);
        }
        json.u64().map_err(|e| read_error(key, e))
    }

    fn bool(&self, key: &'static str) -> Result<bool, FrameError> {
        self.json(key)?.bool().map_err(json_error(key))
    }

    /// A count or id that the venue writes as -1 where there is none; only its form is checked.
    fn check_i64(&self, key: &'static str) -> Result<(), FrameError> {
        self.json(key)?.i64().map(drop).map_err(|e| read_error(key, e))
    }

    fn time(&self, key: &'static str, unit: TimeUnit) -> Result<UnixNanos, FrameError> {
        let time = self.u64(key)?;
        let wrong = || frame_error(self.offset(key).unwrap_or(self.start), key, wrong_unit(unit));
        unit.nanos(time).ok_or_else(wrong)
    }
}

fn wrong_unit(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Millis => "is no time in ms; set the choice time_unit to us",
        TimeUnit::Micros => "is no time in us; set the choice time_unit to ms",
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Trade(TradeKind),
    Depth,
    Quote,
    Bar,
    /// The venue will close the connection.
    Shutdown,
    Ack,
    Error,
    /// Known, not used.
    Unused,
    Unknown,
}

/// A frame whose JSON is known to be good.
pub(super) struct Frame<'a> {
    top: Fields<'a>,
    /// Inside a combined frame.
    data: Fields<'a>,
    /// What it is.
    pub shape: Shape,
    combined: bool,
}

/// Numbers at an instrument's scales, and the scales they turned out to need.
pub(super) struct Numbers {
    /// The scales read at.
    pub have: Scales,
    /// At least `have`.
    pub need: Scales,
}

impl Numbers {
    /// At these scales.
    pub(super) fn at(have: Scales) -> Numbers {
        Numbers { have, need: have }
    }

    fn price(&mut self, json: &mut Json<'_>, field: &'static str) -> Result<i64, FrameError> {
        fixed(json, self.have.price, &mut self.need.price, field)
    }

    fn size(&mut self, json: &mut Json<'_>, field: &'static str) -> Result<i64, FrameError> {
        fixed(json, self.have.size, &mut self.need.size, field)
    }

    fn price_of(&mut self, fields: &Fields<'_>, key: &'static str) -> Result<i64, FrameError> {
        self.price(&mut fields.json(key)?, key)
    }

    fn size_of(&mut self, fields: &Fields<'_>, key: &'static str) -> Result<i64, FrameError> {
        self.size(&mut fields.json(key)?, key)
    }

    fn levels(&mut self, mut json: Json<'_>, field: &'static str, out: &mut Vec<Level>) -> Result<(), FrameError> {
        let wrap = json_error(field);
        json.array().map_err(&wrap)?;
        while json.element().map_err(&wrap)? {
            json.array().map_err(&wrap)?;
            need_element(&mut json, field)?;
            let price = Price(self.price(&mut json, field)?);
            need_element(&mut json, field)?;
            let size = Qty(self.size(&mut json, field)?);
            // Early versions of the protocol had a third, empty element.
            json.close().map_err(&wrap)?;
            out.push(Level { price, size });
        }
        Ok(())
    }
}

fn need_element(json: &mut Json<'_>, field: &'static str) -> Result<(), FrameError> {
    if json.element().map_err(json_error(field))? {
        return Ok(());
    }
    Err(frame_error(json.offset(), field, "a level has a price and a size"))
}

fn fixed(json: &mut Json<'_>, scale: u8, need: &mut u8, field: &'static str) -> Result<i64, FrameError> {
    let start = json.offset();
    match json.fixed(scale) {
        Ok(value) if value >= 0 => Ok(value),
        Ok(_) => Err(frame_error(start, field, "is negative")),
        Err(ReadError::Number { source: NumberError::TooPrecise { decimals }, .. })
            if decimals <= u32::from(SCALE_MAX) =>
        {
            *need = (*need).max(decimals as u8);
            Ok(0)
        }
        Err(error) => Err(read_error(field, error)),
    }
}

impl<'a> Frame<'a> {
    /// A frame that is not read yet.
    pub(super) fn of(bytes: &'a [u8]) -> Frame<'a> {
        Frame { top: Fields::of(bytes), data: Fields::of(bytes), shape: Shape::Unused, combined: false }
    }

    /// Checks the frame's JSON to its last byte and finds what it is.
    pub(super) fn check(&mut self) -> Result<(), FrameError> {
        let wrap = json_error("frame");
        let mut json = Json::new(self.top.frame);
        if json.kind().map_err(&wrap)? == Kind::Array {
            // Tickers on a raw stream.
            json.skip_value().map_err(&wrap)?;
            return json.end().map_err(&wrap);
        }
        let object = self.top.collect(&mut json, Some(&mut self.data)).map_err(&wrap)?;
        json.end().map_err(&wrap)?;
        self.combined = self.top.offset("stream").is_some() && self.top.offset("data").is_some();
        if object || !self.combined {
            self.shape = shape(&self.top, self.payload(), self.combined)?;
        }
        Ok(())
    }

    fn payload(&self) -> &Fields<'a> {
        if self.combined { &self.data } else { &self.top }
    }

    /// The symbol the payload speaks of, in `buffer` where it is written with escapes.
    pub(super) fn symbol<'s>(&self, buffer: &'s mut NameBuffer) -> Result<&'s str, FrameError>
    where
        'a: 's,
    {
        let text = self.payload().text("s")?;
        let too_long = || frame_error(self.payload().start, "s", "is longer than any symbol");
        text.unescape(buffer).ok_or_else(too_long)
    }

    /// Fields of the payload that are not known for its shape.
    pub(super) fn unknown_fields(&self) -> u64 {
        let letters = match self.shape {
            // `a` and `b` were the orders' ids until 2023.
            Shape::Trade(TradeKind::Trade) => "eEstpqTmMab",
            Shape::Trade(TradeKind::AggTrade) => "eEsapqflTmM",
            Shape::Depth => "eEsUuba",
            Shape::Quote => "usbBaA",
            Shape::Bar => "eEsk",
            _ => return 0,
        };
        self.payload().unknown(letters)
    }

    /// The message of a hot shape.
    pub(super) fn hot(&self, unit: TimeUnit, n: &mut Numbers, levels: &mut Vec<Level>) -> Result<Hot, FrameError> {
        let f = self.payload();
        match self.shape {
            Shape::Trade(kind) => {
                f.time("E", unit)?;
                let id = f.u64(if kind == TradeKind::Trade { "t" } else { "a" })?;
                if kind == TradeKind::AggTrade {
                    f.check_i64("f")?;
                    f.check_i64("l")?;
                }
                let (price, size) = (Price(n.price_of(f, "p")?), Qty(n.size_of(f, "q")?));
                let (time, buyer_is_maker) = (f.time("T", unit)?, f.bool("m")?);
                Ok(Hot::Trade(Trade { kind, id, price, size, time, buyer_is_maker }))
            }
            Shape::Depth => {
                let (time, first, last) = (f.time("E", unit)?, f.u64("U")?, f.u64("u")?);
                if first > last {
                    return Err(frame_error(f.start, "U", format_args!("{first} is after u {last}")));
                }
                levels.clear();
                n.levels(f.json("b")?, "b", levels)?;
                let bids = levels.len() as u32;
                n.levels(f.json("a")?, "a", levels)?;
                Ok(Hot::Depth(Depth { time, first, last, bids }))
            }
            _ => {
                f.u64("u")?;
                let (bid, bid_size) = (n.price_of(f, "b")?, n.size_of(f, "B")?);
                let (ask, ask_size) = (n.price_of(f, "a")?, n.size_of(f, "A")?);
                Ok(Hot::Quote(Quote { bid: side(bid, bid_size), ask: side(ask, ask_size) }))
            }
        }
    }

    /// The message of a bar, and how many of its fields are not known.
    pub(super) fn bar(&self, unit: TimeUnit, n: &mut Numbers) -> Result<(Bar, u64), FrameError> {
        let mut k = Fields::of(self.top.frame);
        k.collect(&mut self.payload().json("k")?, None).map_err(json_error("k"))?;
        let (open_time, close_time) = (k.time("t", unit)?, k.time("T", unit)?);
        let name = k.text("i")?;
        let interval_s = match name.plain().and_then(interval_seconds) {
            Some(seconds) => seconds,
            // A calendar month: as long as this one is.
            None if name.is("1M") => u32::try_from(close_time.since(open_time).as_millis().div_ceil(1000))
                .map_err(|_| frame_error(k.start, "T", "is years after t"))?,
            None => return Err(frame_error(k.start, "i", format_args!("{} is no interval", name.raw()))),
        };
        let (notional, taker_buy_notional, notional_scale) = notionals(&k)?;
        let bar = Bar {
            time: self.payload().time("E", unit)?,
            open_time,
            interval_s,
            open: Price(n.price_of(&k, "o")?),
            high: Price(n.price_of(&k, "h")?),
            low: Price(n.price_of(&k, "l")?),
            close: Price(n.price_of(&k, "c")?),
            volume: Qty(n.size_of(&k, "v")?),
            taker_buy_volume: Qty(n.size_of(&k, "V")?),
            notional,
            taker_buy_notional,
            notional_scale,
            trades: k.u64("n")?,
            closed: k.bool("x")?,
        };
        Ok((bar, k.unknown("tTsifLochlvnxqVQB")))
    }

    /// The id of the request that an answer answers, where it is a number.
    pub(super) fn answer_id(&self) -> Option<u64> {
        self.top.u64("id").ok()
    }

    /// An error's code and words.
    pub(super) fn error_text(&self) -> String {
        let mut nested = Fields::of(self.top.frame);
        let mut json = self.top.json("error").ok();
        let is_nested = json.as_mut().is_some_and(|json| nested.collect(json, None).is_ok());
        let fields = if is_nested { &nested } else { &self.top };
        let mut buffer = [0; 512];
        let words = fields.text("msg").ok();
        let words = words.and_then(|text| text.unescape(&mut buffer)).unwrap_or("no words given");
        let code = fields.json("code").ok().and_then(|mut json| json.i64().ok());
        code.map_or_else(|| words.to_owned(), |code| format!("code {code}: {words}"))
    }
}

fn shape(top: &Fields<'_>, payload: &Fields<'_>, combined: bool) -> Result<Shape, FrameError> {
    if payload.offset("e").is_some() {
        let event = payload.text("e")?;
        let shape = match event.plain() {
            Some("trade") => Shape::Trade(TradeKind::Trade),
            Some("aggTrade") => Shape::Trade(TradeKind::AggTrade),
            Some("depthUpdate") => Shape::Depth,
            Some("kline") => Shape::Bar,
            Some("serverShutdown") => Shape::Shutdown,
            Some(other) if super::messages::is_unused(other) => Shape::Unused,
            Some(_) => Shape::Unknown,
            None => return Ok(escaped_shape(event)),
        };
        return Ok(shape);
    }
    if payload.has_all("usbBaA") {
        return Ok(Shape::Quote);
    }
    if payload.offset("lastUpdateId").is_some() {
        // A partial book: complete in itself, but without a symbol outside a combined stream.
        return Ok(Shape::Unused);
    }
    if combined {
        return Ok(Shape::Unknown);
    }
    if top.offset("error").is_some() || (top.offset("code").is_some() && top.offset("msg").is_some()) {
        return Ok(Shape::Error);
    }
    Ok(if top.offset("result").is_some() { Shape::Ack } else { Shape::Unknown })
}

/// The same for an event name that is written with escapes.
fn escaped_shape(event: Text<'_>) -> Shape {
    let known = [
        ("trade", Shape::Trade(TradeKind::Trade)),
        ("aggTrade", Shape::Trade(TradeKind::AggTrade)),
        ("depthUpdate", Shape::Depth),
        ("kline", Shape::Bar),
        ("serverShutdown", Shape::Shutdown),
    ];
    known.into_iter().find(|(name, _)| event.is(name)).map_or(Shape::Unknown, |(_, shape)| shape)
}

/// Value traded and value takers bought, at one scale.
fn notionals(k: &Fields<'_>) -> Result<(i128, i128, u8), FrameError> {
    let read = |key: &'static str| {
        let mut json = k.json(key)?;
        let start = json.offset();
        let text = json.number_or_string().map_err(json_error(key))?;
        let value = text.exact().map_err(|e| frame_error(start, key, e))?.trimmed();
        if value.mantissa < 0 || value.scale > SCALE_MAX {
            return Err(frame_error(start, key, "is negative or needs more than 18 decimals"));
        }
        Ok((start, value))
    };
    let ((at, all), (at_bought, bought)) = (read("q")?, read("Q")?);
    let scale = all.scale.max(bought.scale);
    let grow = |at, key, value: scan::Decimal| {
        let factor = 10i128.pow(u32::from(scale - value.scale));
        value.mantissa.checked_mul(factor).ok_or_else(|| frame_error(at, key, "does not fit 128 bits"))
    };
    Ok((grow(at, "q", all)?, grow(at_bought, "Q", bought)?, scale))
}

/// A book fetched by REST.
pub(super) struct FetchedBook {
    /// `lastUpdateId`; below zero for the empty book of a new listing.
    pub update_id: i64,
    /// How many of the levels are bids.
    pub bids: usize,
}

/// Reads the body of a fetched book; its levels go to `levels`, bids first, best first.
pub(super) fn fetched_book(body: &[u8], n: &mut Numbers, levels: &mut Vec<Level>) -> Result<FetchedBook, FrameError> {
    let wrap = json_error("body");
    let mut json = Json::new(body);
    let mut f = Fields::of(body);
    f.collect(&mut json, None).map_err(&wrap)?;
    json.end().map_err(&wrap)?;
    let key = "lastUpdateId";
    let update_id = f.json(key)?.i64().map_err(|e| read_error(key, e))?;
    levels.clear();
    n.levels(f.json("bids")?, "bids", levels)?;
    let bids = levels.len();
    n.levels(f.json("asks")?, "asks", levels)?;
    Ok(FetchedBook { update_id, bids })
}
