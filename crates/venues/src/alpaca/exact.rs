//! Any legal spelling of the venue's frames, in either encoding: keys in any order, an array or a single message.
//!
//! Says where and why a frame cannot be read. When a number has more decimals than its instrument's scale, the need is
//! noted and the frame is read again at the wider scale, so that all of its numbers end up at one.

use super::definitions;
use super::messages::{
    BandMessage, BarKind, BarMessage, BookMessage, CODE_MAX, Control, CorrectionMessage, Item, QuoteMessage, Scales,
    Scratch, Span, StatusMessage, Target, TradeMessage, View, bad,
};
use super::msgpack::Reader;
use super::pull::Pull;
use crate::FrameError;
use model::{SCALE_MAX, Side, UnixNanos};
use scan::{Json, NAME_LEN_MAX};

type Result<T> = std::result::Result<T, FrameError>;

/// A frame can be read again once for each decimal that a price and a size may grow by, and for each new instrument.
const READINGS_MAX: usize = 2 * SCALE_MAX as usize + 2;

/// Types of the venue's streams that are not market data we use: imbalances, news, prices of perpetual futures.
const UNUSED: [&[u8]; 3] = [b"i", b"n", b"p"];

/// Reads a frame of any shape; its first byte tells the encoding, as no MessagePack message of the venue begins like
/// JSON text.
pub fn read(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Result<()> {
    match frame.first() {
        Some(first) if *first >= 0x80 => settle::<Reader<'_>>(frame, view, scratch),
        _ => settle::<Json<'_>>(frame, view, scratch),
    }
}

fn settle<'a, P: Pull<'a>>(frame: &'a [u8], view: View<'_>, scratch: &mut Scratch) -> Result<()> {
    scratch.names.clear();
    scratch.scales.clear();
    for _ in 0..READINGS_MAX {
        scratch.clear();
        let mut pull = P::new(frame);
        Frame { view, scratch: &mut *scratch }.frame(&mut pull)?;
        if !scratch.again {
            return Ok(());
        }
    }
    Err(bad(0, "message", "numbers do not settle at a scale"))
}

/// What a message is, and of whom: both must be known before its numbers are read.
struct Label {
    kind: Vec<u8>,
    symbol: Option<String>,
    symbol_at: usize,
}

/// One message's numbers are read with these.
#[derive(Clone, Copy)]
pub struct Element {
    pub target: Target,
    scales: Scales,
}

pub struct Frame<'v, 's> {
    pub view: View<'v>,
    pub scratch: &'s mut Scratch,
}

impl Frame<'_, '_> {
    fn frame<'a>(&mut self, pull: &mut impl Pull<'a>) -> Result<()> {
        if pull.is_array()? {
            pull.array("frame")?;
            while pull.element("frame")? {
                self.message(pull)?;
            }
        } else {
            self.message(pull)?;
        }
        pull.end()
    }

    fn label<'a>(mut pull: impl Pull<'a>) -> Result<Option<Label>> {
        let (mut kind, mut symbol, mut symbol_at) = (None, None, 0);
        let mut room = [0; NAME_LEN_MAX];
        pull.object("message")?;
        while let Some(key) = pull.key(&mut room)? {
            match key {
                b"T" => kind = Some(pull.text("T")?.as_bytes().to_vec()),
                b"S" => {
                    symbol_at = pull.offset();
                    symbol = Some(pull.text("S")?.into_owned());
                }
                _ => {}
            }
        }
        Ok(kind.map(|kind| Label { kind, symbol, symbol_at }))
    }

    fn message<'a>(&mut self, pull: &mut impl Pull<'a>) -> Result<()> {
        let begin = pull.offset();
        let Some(label) = Self::label(*pull)? else {
            // Messages of the order stream and of clients: objects without a type.
            self.scratch.items.push(Item::Unknown);
            return Self::pass_over(pull);
        };
        let kind = label.kind.as_slice();
        match kind {
            b"t" | b"q" | b"o" | b"b" | b"u" | b"d" | b"s" | b"l" | b"c" | b"x" => {}
            b"success" | b"error" | b"subscription" => return self.control(pull, kind),
            other => {
                let item = if UNUSED.contains(&other) { Item::Unused } else { Item::Unknown };
                self.scratch.items.push(item);
                return Self::pass_over(pull);
            }
        }
        let symbol = label.symbol.ok_or_else(|| bad(begin, "S", "is missing"))?;
        let Some(target) = self.target(&symbol, label.symbol_at)? else {
            self.scratch.items.push(Item::Stranger);
            return Self::pass_over(pull);
        };
        let e = self.element(target);
        let item = match kind {
            b"t" => self.trade(pull, e)?,
            b"q" => self.quote(pull, e)?,
            b"o" => self.book(pull, e)?,
            b"b" => self.bar(pull, e, BarKind::Minute)?,
            b"u" => self.bar(pull, e, BarKind::Updated)?,
            b"d" => self.bar(pull, e, BarKind::Daily)?,
            b"s" => self.status(pull, e)?,
            b"l" => self.band(pull, e)?,
            b"c" => self.correction(pull, e)?,
            _ => self.cancel(pull, e)?,
        };
        self.scratch.items.push(item);
        Ok(())
    }

    fn pass_over<'a>(pull: &mut impl Pull<'a>) -> Result<()> {
        pull.object("message")?;
        while pull.key(&mut [0; NAME_LEN_MAX])?.is_some() {}
        Ok(())
    }

    /// Whom a symbol means; `None` when nobody asked for it.
    pub fn target(&mut self, symbol: &str, offset: usize) -> Result<Option<Target>> {
        if let Some(known) = self.view.instruments.find(symbol.as_bytes()) {
            return Ok(Some(Target::Known(known)));
        }
        if !self.view.learns(symbol) {
            return Ok(None);
        }
        if let Some(n) = self.scratch.names.iter().position(|s| s == symbol) {
            return Ok(Some(Target::New(n)));
        }
        definitions::check_learnable(symbol, self.view.instruments, &self.scratch.names)
            .map_err(|problem| bad(offset, "S", problem))?;
        self.scratch.names.push(symbol.to_owned());
        Ok(Some(Target::New(self.scratch.names.len() - 1)))
    }

    /// With what scales a message of this instrument is read.
    pub fn element(&self, target: Target) -> Element {
        let noted = self.scratch.scales.iter().find(|s| s.target == target).copied();
        let scales = noted.unwrap_or_else(|| match target {
            Target::Known(k) => {
                let m = &self.view.markets[k as usize];
                Scales { target, price: m.price_scale, size: m.size_scale }
            }
            Target::New(n) => {
                let (price, size) = definitions::scales(&self.scratch.names[n]);
                Scales { target, price, size }
            }
        });
        Element { target, scales }
    }

    /// A share's quote sizes count lots.
    fn lot(&self, target: Target) -> i64 {
        let crypto = match target {
            Target::Known(k) => self.view.markets[k as usize].crypto,
            Target::New(n) => definitions::is_pair(&self.scratch.names[n]),
        };
        if crypto { 1 } else { self.view.lot }
    }

    fn note(&mut self, needs: Scales) {
        self.scratch.again = true;
        match self.scratch.scales.iter_mut().find(|s| s.target == needs.target) {
            Some(noted) => *noted = needs,
            None => self.scratch.scales.push(needs),
        }
    }

    /// A value that is not negative, at a scale that grows when it must.
    fn scaled<'a>(
        &mut self,
        pull: &mut impl Pull<'a>,
        scale: &mut u8,
        field: &'static str,
        again: &mut bool,
    ) -> Result<i64> {
        let offset = pull.offset();
        let value = pull.number(field)?;
        if value.mantissa < 0 {
            return Err(bad(offset, field, "is negative"));
        }
        if value.mantissa > 0 && value.scale > SCALE_MAX {
            let problem = format!("needs {} decimals, at most {SCALE_MAX} can be told", value.scale);
            return Err(bad(offset, field, problem));
        }
        if value.mantissa > 0 && value.scale > *scale {
            *scale = value.scale;
            *again = true;
        }
        value.at_scale(*scale).map_err(|e| bad(offset, field, e.to_string()))
    }

    fn price<'a>(&mut self, pull: &mut impl Pull<'a>, e: &mut Element, field: &'static str) -> Result<i64> {
        let mut again = false;
        let mut scale = e.scales.price;
        let value = self.scaled(pull, &mut scale, field, &mut again)?;
        if again {
            e.scales.price = scale;
            self.note(e.scales);
        }
        Ok(value)
    }

    fn positive<'a>(&mut self, pull: &mut impl Pull<'a>, e: &mut Element, field: &'static str) -> Result<i64> {
        let offset = pull.offset();
        match self.price(pull, e, field)? {
            0 => Err(bad(offset, field, "is not positive")),
            price => Ok(price),
        }
    }

    fn size<'a>(&mut self, pull: &mut impl Pull<'a>, e: &mut Element, field: &'static str) -> Result<i64> {
        let mut again = false;
        let mut scale = e.scales.size;
        let value = self.scaled(pull, &mut scale, field, &mut again)?;
        if again {
            e.scales.size = scale;
            self.note(e.scales);
        }
        Ok(value)
    }

    fn time<'a>(&mut self, pull: &mut impl Pull<'a>) -> Result<UnixNanos> {
        pull.time(&mut self.scratch.days).map(UnixNanos)
    }

    fn code<'a>(&mut self, pull: &mut impl Pull<'a>, field: &'static str) -> Result<Span> {
        let offset = pull.offset();
        let text = pull.text(field)?;
        self.scratch.keep(&text, CODE_MAX).ok_or_else(|| bad(offset, field, "is longer than 64 bytes"))
    }

    /// Conditions: a list, which may be null.
    fn conditions<'a>(&mut self, pull: &mut impl Pull<'a>) -> Result<Span> {
        if pull.null_if("c")? {
            return Ok(Span::default());
        }
        let (offset, from, mut first) = (pull.offset(), self.scratch.begin_list(), true);
        pull.array("c")?;
        while pull.element("c")? {
            let text = pull.text("c")?;
            let added = self.scratch.add_to_list(from, &text, first);
            added.ok_or_else(|| bad(offset, "c", "is longer than 255 bytes"))?;
            first = false;
        }
        Ok(self.scratch.end_list(from))
    }

    /// One trade, of the stream or of a REST answer.
    pub fn trade<'a>(&mut self, pull: &mut impl Pull<'a>, mut e: Element) -> Result<Item> {
        let begin = pull.offset();
        let (mut price, mut size, mut id, mut time, mut side) = (None, None, None, None, None);
        let (mut conditions, mut exchange, mut tape) = (Span::default(), Span::default(), Span::default());
        let mut room = [0; NAME_LEN_MAX];
        pull.object("trade")?;
        while let Some(key) = pull.key(&mut room)? {
            match key {
                b"T" | b"S" => {}
                b"p" => price = Some(self.positive(pull, &mut e, "p")?),
                b"s" => size = Some(self.size(pull, &mut e, "s")?),
                b"i" => id = Some(pull.whole("i")?),
                b"t" => time = Some(self.time(pull)?),
                b"tks" => side = taker(pull)?,
                b"c" => conditions = self.conditions(pull)?,
                b"x" => exchange = self.code(pull, "x")?,
                b"z" => tape = self.code(pull, "z")?,
                // When the venue's own machine received it; and, in REST, what a correction did to it.
                b"r" | b"u" => {}
                _ => self.scratch.unknown_fields += 1,
            }
        }
        Ok(Item::Trade(TradeMessage {
            target: e.target,
            side,
            price: require(price, begin, "p")?,
            size: require(size, begin, "s")?,
            id,
            time: require(time, begin, "t")?,
            conditions,
            exchange,
            tape,
        }))
    }

    fn quote<'a>(&mut self, pull: &mut impl Pull<'a>, mut e: Element) -> Result<Item> {
        let begin = pull.offset();
        let (mut bid, mut bid_size, mut ask, mut ask_size, mut time) = (0, 0, 0, 0, None);
        let mut room = [0; NAME_LEN_MAX];
        pull.object("quote")?;
        while let Some(key) = pull.key(&mut room)? {
            match key {
                b"T" | b"S" => {}
                b"bp" => bid = self.price(pull, &mut e, "bp")?,
                b"bs" => bid_size = self.size(pull, &mut e, "bs")?,
                b"ap" => ask = self.price(pull, &mut e, "ap")?,
                b"as" => ask_size = self.size(pull, &mut e, "as")?,
                b"t" => time = Some(self.time(pull)?),
                // No record carries the exchanges, conditions and tape of a quote.
                b"bx" | b"ax" | b"c" | b"z" | b"r" => {}
                _ => self.scratch.unknown_fields += 1,
            }
        }
        let lot = self.lot(e.target);
        let side = |price, size, field| side_of_quote(price, size, lot).map_err(|problem| bad(begin, field, problem));
        Ok(Item::Quote(QuoteMessage {
            target: e.target,
            bid: side(bid, bid_size, "bs")?,
            ask: side(ask, ask_size, "as")?,
            time: require(time, begin, "t")?,
        }))
    }

    fn book<'a>(&mut self, pull: &mut impl Pull<'a>, mut e: Element) -> Result<Item> {
        let begin = pull.offset();
        let (mut bids, mut asks, mut reset, mut time) = (None, None, false, None);
        let mut room = [0; NAME_LEN_MAX];
        pull.object("book")?;
        while let Some(key) = pull.key(&mut room)? {
            match key {
                b"T" | b"S" => {}
                b"t" => time = Some(self.time(pull)?),
                b"b" => bids = Some(self.levels(pull, &mut e, Side::Buy)?),
                b"a" => asks = Some(self.levels(pull, &mut e, Side::Sell)?),
                b"r" => reset = pull.bool("r")?,
                _ => self.scratch.unknown_fields += 1,
            }
        }
        let time = require(time, begin, "t")?;
        let (bids, asks) = (bids.unwrap_or(0..0), asks.unwrap_or(0..0));
        Ok(Item::Book(BookMessage { target: e.target, bids, asks, reset, time }))
    }

    fn levels<'a>(&mut self, pull: &mut impl Pull<'a>, e: &mut Element, side: Side) -> Result<std::ops::Range<usize>> {
        let from = self.room(side).len();
        if pull.null_if("levels")? {
            return Ok(from..from);
        }
        let mut room = [0; NAME_LEN_MAX];
        pull.array("levels")?;
        while pull.element("levels")? {
            let begin = pull.offset();
            let (mut price, mut size) = (None, None);
            pull.object("level")?;
            while let Some(key) = pull.key(&mut room)? {
                match key {
                    b"p" => price = Some(self.positive(pull, e, "p")?),
                    b"s" => size = Some(self.size(pull, e, "s")?),
                    _ => self.scratch.unknown_fields += 1,
                }
            }
            let level = (require(price, begin, "p")?, require(size, begin, "s")?);
            self.room(side).push(level);
        }
        Ok(from..self.room(side).len())
    }

    fn room(&mut self, side: Side) -> &mut Vec<(i64, i64)> {
        if side == Side::Buy { &mut self.scratch.bids } else { &mut self.scratch.asks }
    }

    fn bar<'a>(&mut self, pull: &mut impl Pull<'a>, mut e: Element, kind: BarKind) -> Result<Item> {
        let begin = pull.offset();
        let (mut prices, mut volume, mut time, mut trades, mut vwap) = ([None; 4], None, None, 0, None);
        let mut room = [0; NAME_LEN_MAX];
        pull.object("bar")?;
        while let Some(key) = pull.key(&mut room)? {
            match key {
                b"T" | b"S" => {}
                b"o" => prices[0] = Some(self.positive(pull, &mut e, "o")?),
                b"h" => prices[1] = Some(self.positive(pull, &mut e, "h")?),
                b"l" => prices[2] = Some(self.positive(pull, &mut e, "l")?),
                b"c" => prices[3] = Some(self.positive(pull, &mut e, "c")?),
                b"v" => volume = Some(self.size(pull, &mut e, "v")?),
                b"t" => time = Some(self.time(pull)?),
                b"n" => trades = pull.whole("n")?,
                b"vw" => {
                    let mut scale = 0;
                    let mantissa = self.scaled(pull, &mut scale, "vw", &mut false)?;
                    vwap = Some((mantissa, scale));
                }
                _ => self.scratch.unknown_fields += 1,
            }
        }
        let [open, high, low, close] = prices;
        let volume = require(volume, begin, "v")?;
        Ok(Item::Bar(Box::new(BarMessage {
            target: e.target,
            kind,
            begin: require(time, begin, "t")?,
            open: require(open, begin, "o")?,
            high: require(high, begin, "h")?,
            low: require(low, begin, "l")?,
            close: require(close, begin, "c")?,
            volume,
            // Without trades there is no average, though the venue writes 0.
            vwap: vwap.filter(|_| volume > 0),
            trades,
        })))
    }

    fn status<'a>(&mut self, pull: &mut impl Pull<'a>, e: Element) -> Result<Item> {
        let begin = pull.offset();
        let mut time = None;
        let mut texts: [String; 4] = Default::default();
        let mut room = [0; NAME_LEN_MAX];
        pull.object("status")?;
        while let Some(key) = pull.key(&mut room)? {
            match key {
                b"T" | b"S" | b"z" => {}
                b"sc" => texts[0] = pull.text("sc")?.into_owned(),
                b"sm" => texts[1] = pull.text("sm")?.into_owned(),
                b"rc" => texts[2] = pull.text("rc")?.into_owned(),
                b"rm" => texts[3] = pull.text("rm")?.into_owned(),
                b"t" => time = Some(self.time(pull)?),
                _ => self.scratch.unknown_fields += 1,
            }
        }
        let [status, status_text, reason, reason_text] = texts;
        let time = require(time, begin, "t")?;
        Ok(Item::Status(Box::new(StatusMessage { target: e.target, status, status_text, reason, reason_text, time })))
    }

    fn band<'a>(&mut self, pull: &mut impl Pull<'a>, mut e: Element) -> Result<Item> {
        let begin = pull.offset();
        let (mut lower, mut upper, mut indicator, mut time) = (None, None, 0, None);
        let mut room = [0; NAME_LEN_MAX];
        pull.object("luld")?;
        while let Some(key) = pull.key(&mut room)? {
            match key {
                b"T" | b"S" | b"z" => {}
                b"u" => upper = Some(self.price(pull, &mut e, "u")?).filter(|p| *p > 0),
                b"d" => lower = Some(self.price(pull, &mut e, "d")?).filter(|p| *p > 0),
                b"i" => {
                    let offset = pull.offset();
                    indicator = match pull.text("i")?.as_bytes() {
                        [] => 0,
                        [letter] if letter.is_ascii_graphic() => *letter,
                        _ => return Err(bad(offset, "i", "is not one letter")),
                    };
                }
                b"t" => time = Some(self.time(pull)?),
                _ => self.scratch.unknown_fields += 1,
            }
        }
        Ok(Item::Band(BandMessage { target: e.target, lower, upper, indicator, time: require(time, begin, "t")? }))
    }

    fn correction<'a>(&mut self, pull: &mut impl Pull<'a>, mut e: Element) -> Result<Item> {
        let begin = pull.offset();
        let (mut id, mut new_id, mut price, mut size, mut time) = (None, None, None, None, None);
        let (mut exchange, mut room) = (Span::default(), [0; NAME_LEN_MAX]);
        pull.object("correction")?;
        while let Some(key) = pull.key(&mut room)? {
            match key {
                b"oi" => id = Some(pull.whole("oi")?),
                b"ci" => new_id = Some(pull.whole("ci")?),
                b"cp" => price = Some(self.positive(pull, &mut e, "cp")?),
                b"cs" => size = Some(self.size(pull, &mut e, "cs")?),
                b"t" => time = Some(self.time(pull)?),
                b"x" => exchange = self.code(pull, "x")?,
                // The trade as it was is known by its id; the record has no room for exchange, tape and conditions.
                b"T" | b"S" | b"z" | b"op" | b"os" | b"oc" | b"cc" => {}
                _ => self.scratch.unknown_fields += 1,
            }
        }
        let corrected = (require(new_id, begin, "ci")?, require(price, begin, "cp")?, require(size, begin, "cs")?);
        let (id, time) = (require(id, begin, "oi")?, require(time, begin, "t")?);
        Ok(Item::Correction(CorrectionMessage { target: e.target, id, corrected: Some(corrected), exchange, time }))
    }

    fn cancel<'a>(&mut self, pull: &mut impl Pull<'a>, e: Element) -> Result<Item> {
        let begin = pull.offset();
        let (mut id, mut time, mut room) = (None, None, [0; NAME_LEN_MAX]);
        pull.object("cancel")?;
        while let Some(key) = pull.key(&mut room)? {
            match key {
                b"i" => id = Some(pull.whole("i")?),
                b"t" => time = Some(self.time(pull)?),
                b"T" | b"S" | b"x" | b"z" | b"p" | b"s" | b"a" => {}
                _ => self.scratch.unknown_fields += 1,
            }
        }
        let (id, time) = (require(id, begin, "i")?, require(time, begin, "t")?);
        Ok(Item::Correction(CorrectionMessage {
            target: e.target,
            id,
            corrected: None,
            exchange: Span::default(),
            time,
        }))
    }

    fn control<'a>(&mut self, pull: &mut impl Pull<'a>, kind: &[u8]) -> Result<()> {
        let (mut code, mut text, mut channels) = (0, String::new(), vec![]);
        let mut room = [0; NAME_LEN_MAX];
        pull.object("message")?;
        while let Some(key) = pull.key(&mut room)? {
            match (key, kind) {
                (b"T", _) => {}
                (b"msg", b"success" | b"error") => text = pull.text("msg")?.into_owned(),
                (b"code", b"error") => code = pull.whole("code")?,
                (channel, b"subscription") => {
                    let channel = String::from_utf8_lossy(channel).into_owned();
                    channels.push((channel, names(pull)?));
                }
                _ => self.scratch.unknown_fields += 1,
            }
        }
        self.scratch.items.push(Item::Control(Box::new(match kind {
            b"success" => Control::Success(text),
            b"error" => Control::Error(code, text),
            _ => Control::Subscription(channels),
        })));
        Ok(())
    }
}

/// The symbols of a channel; a channel may be null.
fn names<'a>(pull: &mut impl Pull<'a>) -> Result<Vec<String>> {
    let mut names = vec![];
    if pull.null_if("subscription")? || !pull.is_array()? {
        return Ok(names);
    }
    pull.array("subscription")?;
    while pull.element("subscription")? {
        names.push(pull.text("subscription")?.into_owned());
    }
    Ok(names)
}

/// The taker's side as crypto trades name it.
fn taker<'a>(pull: &mut impl Pull<'a>) -> Result<Option<Side>> {
    let offset = pull.offset();
    match pull.text("tks")?.as_ref() {
        "B" => Ok(Some(Side::Buy)),
        "S" => Ok(Some(Side::Sell)),
        "-" | "" => Ok(None),
        _ => Err(bad(offset, "tks", "is neither B, S nor -")),
    }
}

/// A side of a quote, with its size in shares or coins: a price or a size of 0 stands for "none".
#[inline(always)]
pub fn side_of_quote(price: i64, size: i64, lot: i64) -> std::result::Result<Option<(i64, i64)>, &'static str> {
    if price == 0 || size == 0 {
        return Ok(None);
    }
    let size = size.checked_mul(lot).ok_or("does not fit 64 bits in shares")?;
    Ok(Some((price, size)))
}

fn require<T>(value: Option<T>, offset: usize, field: &'static str) -> Result<T> {
    value.ok_or_else(|| bad(offset, field, "is missing"))
}
