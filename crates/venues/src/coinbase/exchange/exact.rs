//! Any legal spelling of the venue's frames: keys in any order, white space, escapes, exponents, numbers without quotes.
//!
//! Says where and why a frame cannot be read. A frame is walked once for its type and product and once for its fields;
//! when a number has more decimals than its instrument's scale it is walked again at the scale it needs, so that all of
//! its numbers end up at one.

use super::messages::{
    BeatMessage, MatchMessage, Message, Named, OrderId, OrderMessage, QuoteMessage, Scratch, Target, View, order_id,
};
use super::products;
use crate::FrameError;
use book::Level;
use model::{Price, Qty, SCALE_MAX, Side, UnixNanos};
use scan::{Json, NAME_LEN_MAX, NumberError, ReadError, Text, TimestampError};
use wire::OrderAction;

type Result<T> = std::result::Result<T, FrameError>;

/// Types of the protocol that are not market data we use.
const UNUSED_TYPES: [&str; 5] = ["level3", "auction", "rfq_match", "balance", "profile"];

/// An error at a place.
pub fn bad(offset: usize, field: &'static str, problem: impl Into<String>) -> FrameError {
    FrameError { offset, field, problem: problem.into() }
}

/// A short text, unescaped.
pub fn text(json: &mut Json<'_>, field: &'static str) -> Result<String> {
    let offset = json.offset();
    let text = json.string().of(field)?;
    let mut room = vec![0; text.raw().len()];
    let text = text.unescape(&mut room).ok_or_else(|| bad(offset, field, "cannot be unescaped"))?;
    Ok(text.to_owned())
}

/// Fields that are known and say nothing we tell.
pub fn is_passed_over(key: &[u8]) -> bool {
    matches!(
        key,
        b"taker_order_id"
            | b"order_type"
            | b"client_oid"
            | b"funds"
            | b"old_size"
            | b"old_funds"
            | b"new_funds"
            | b"user_id"
            | b"profile_id"
            | b"cancel_reason"
            | b"taker_user_id"
            | b"maker_user_id"
            | b"taker_profile_id"
            | b"maker_profile_id"
            | b"taker_fee_rate"
            | b"maker_fee_rate"
            | b"stop_type"
            | b"stop_price"
            | b"private"
    )
}

/// Which step of an order's life a frame tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderKind {
    Received,
    Open,
    Done,
    Change,
    Activate,
}

/// What a frame says of an order, before its type has given it meaning.
#[derive(Clone, Copy, Debug, Default)]
pub struct OrderParts {
    pub side: Option<Side>,
    pub order: Option<OrderId>,
    pub filled: Option<bool>,
    pub price: Option<i64>,
    pub size: Option<i64>,
    pub remaining: Option<i64>,
    pub new_size: Option<i64>,
    pub old_price: Option<i64>,
    pub new_price: Option<i64>,
    pub sequence: Option<u64>,
    pub time: UnixNanos,
}

impl OrderParts {
    /// The message, or the name of what it lacks.
    #[inline]
    pub fn message(self, kind: OrderKind, target: Target) -> std::result::Result<OrderMessage, &'static str> {
        let (action, price, size) = match kind {
            OrderKind::Received => (OrderAction::Received, self.price, self.size),
            OrderKind::Open => {
                self.price.filter(|price| *price > 0).ok_or("price")?;
                (OrderAction::Open, self.price, Some(self.remaining.ok_or("remaining_size")?))
            }
            OrderKind::Done if self.filled.ok_or("reason")? => (OrderAction::Filled, self.price, self.remaining),
            OrderKind::Done => (OrderAction::Canceled, self.price, self.remaining),
            OrderKind::Change => (OrderAction::Change, self.old_price.or(self.price), self.new_size),
            OrderKind::Activate => (OrderAction::Activated, self.price, self.size),
        };
        let sequence = match kind {
            OrderKind::Activate => self.sequence.unwrap_or(0),
            _ => self.sequence.ok_or("sequence")?,
        };
        Ok(OrderMessage {
            target,
            action,
            side: self.side.ok_or("side")?,
            order: self.order.ok_or("order_id")?,
            price,
            size,
            new_price: self.new_price.filter(|price| kind == OrderKind::Change && *price > 0),
            sequence,
            time: self.time,
        })
    }
}

/// What a first walk finds.
struct Outline<'a> {
    kind: Option<Text<'a>>,
    product: Option<(usize, Text<'a>)>,
}

/// Decimals at hand and decimals needed.
pub struct Numbers {
    pub price: u8,
    pub size: u8,
    pub need: (u8, u8),
    /// The digits as written tell the scale.
    learn: bool,
}

impl Numbers {
    /// At these decimals.
    pub fn at((price, size): (u8, u8), learn: bool) -> Numbers {
        Numbers { price, size, need: (price, size), learn }
    }

    /// A price of at least `least` units; 0 where the venue may have none.
    pub fn price(&mut self, json: &mut Json<'_>, field: &'static str, least: i64) -> Result<i64> {
        let offset = json.offset();
        let (value, scale) = number(json, self.price, self.learn, field)?;
        self.need.0 = self.need.0.max(scale);
        if value < least {
            return Err(bad(offset, field, if least > 0 { "is not positive" } else { "is negative" }));
        }
        Ok(value)
    }

    /// A size, which is not negative.
    pub fn size(&mut self, json: &mut Json<'_>, field: &'static str) -> Result<i64> {
        let offset = json.offset();
        let (value, scale) = number(json, self.size, self.learn, field)?;
        self.need.1 = self.need.1.max(scale);
        if value < 0 {
            return Err(bad(offset, field, "is negative"));
        }
        Ok(value)
    }
}

/// A number at `scale`, and the scale it needs: when that is more, the number is not the number yet.
fn number(json: &mut Json<'_>, scale: u8, learn: bool, field: &'static str) -> Result<(i64, u8)> {
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

/// Reads a frame of any shape.
pub fn read(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Result<Message> {
    scratch.name.clear();
    (scratch.scales, scratch.unknown_fields) = (None, 0);
    let outline = outline(frame)?;
    let mut room = [0; NAME_LEN_MAX];
    let Some(kind) = outline.kind else { return Ok(Message::Unknown) };
    let read: fn(&mut Walk<'_, '_>) -> Result<Message> = match kind.name(&mut room) {
        b"match" => |w| w.trade(false),
        b"last_match" => |w| w.trade(true),
        b"l2update" => |w| w.changes(),
        b"snapshot" => |w| w.snapshot(),
        b"ticker" => |w| w.quote(),
        b"heartbeat" => |w| w.beat(),
        b"received" => |w| w.order(OrderKind::Received),
        b"open" => |w| w.order(OrderKind::Open),
        b"done" => |w| w.order(OrderKind::Done),
        b"change" => |w| w.order(OrderKind::Change),
        b"activate" => |w| w.order(OrderKind::Activate),
        b"status" => return products::status(frame, view, scratch),
        b"subscriptions" => return Ok(Message::Subscriptions),
        b"error" => return refusal(frame, scratch),
        other if UNUSED_TYPES.iter().any(|t| t.as_bytes() == other) => return Ok(Message::Unused),
        _ => return Ok(Message::Unknown),
    };
    let snapshot = kind.is("snapshot");
    let (offset, product) = outline.product.ok_or_else(|| bad(frame.len(), "product_id", "is missing"))?;
    let Some(target) = target(product, offset, view, scratch)? else { return Ok(Message::Stranger) };
    let (have, learn) = match target {
        Target::New => ((0, 0), true),
        Target::Known(k) => {
            let m = &view.markets[k as usize];
            ((m.price_scale, m.size_scale), m.provisional && snapshot)
        }
    };
    let full = matches!(target, Target::Known(k) if view.markets[k as usize].full);
    let mut walk = Walk { frame, target, full, numbers: Numbers::at(have, learn), scratch };
    let mut message = read(&mut walk)?;
    let need = walk.numbers.need;
    if need != have {
        walk.numbers = Numbers::at(need, learn);
        walk.scratch.unknown_fields = 0;
        message = read(&mut walk)?;
    }
    scratch.scales = (need != have || target == Target::New).then_some(need);
    Ok(message)
}

/// Walks a whole frame, which makes sure that it is JSON to the end.
fn outline(frame: &[u8]) -> Result<Outline<'_>> {
    let mut json = Json::new(frame);
    let mut outline = Outline { kind: None, product: None };
    json.object().of("frame")?;
    while let Some(key) = json.key().of("frame")? {
        if key.is("type") {
            outline.kind = Some(json.string().of("type")?);
        } else if key.is("product_id") {
            outline.product = Some((json.offset(), json.string().of("product_id")?));
        }
    }
    json.end().of("frame")?;
    Ok(outline)
}

/// Whom a symbol means; `None` when nobody asked for it.
fn target(symbol: Text<'_>, offset: usize, view: View<'_>, scratch: &mut Scratch) -> Result<Option<Target>> {
    let mut room = [0; NAME_LEN_MAX];
    let name = symbol.name(&mut room);
    if let Some(known) = view.instruments.find(name) {
        return Ok(Some(Target::Known(known)));
    }
    if !view.learns() {
        return Ok(None);
    }
    let name = std::str::from_utf8(name).expect("a string of the JSON reader is UTF-8");
    products::check_learnable(name, view).map_err(|problem| bad(offset, "product_id", problem))?;
    name.clone_into(&mut scratch.name);
    Ok(Some(Target::New))
}

/// What the venue refused, in its words.
fn refusal(frame: &[u8], scratch: &mut Scratch) -> Result<Message> {
    let mut json = Json::new(frame);
    let (mut message, mut reason) = (String::new(), String::new());
    json.object().of("error")?;
    while let Some(key) = json.key().of("error")? {
        if key.is("message") {
            message = text(&mut json, "message")?;
        } else if key.is("reason") {
            reason = text(&mut json, "reason")?;
        }
    }
    let between = if message.is_empty() || reason.is_empty() { "" } else { ": " };
    scratch.text = format!("{message}{between}{reason}");
    Ok(Message::Refused)
}

/// One walk over the fields of a frame.
struct Walk<'a, 's> {
    frame: &'a [u8],
    target: Target,
    /// Order ids are wanted of trades too.
    full: bool,
    numbers: Numbers,
    scratch: &'s mut Scratch,
}

impl<'a> Walk<'a, '_> {
    /// Walks over all fields; `field` says whether it knew one that is not passed over by every type.
    fn fields(&mut self, mut field: impl FnMut(&mut Self, &mut Json<'a>, &[u8]) -> Result<bool>) -> Result<()> {
        let mut json = Json::new(self.frame);
        let mut room = [0; NAME_LEN_MAX];
        json.object().of("frame")?;
        while let Some(key) = json.key().of("frame")? {
            let key = key.name(&mut room);
            if !field(self, &mut json, key)? && !matches!(key, b"type" | b"product_id") && !is_passed_over(key) {
                self.scratch.unknown_fields += 1;
            }
        }
        Ok(())
    }

    fn require<T>(&self, value: Option<T>, field: &'static str) -> Result<T> {
        value.ok_or_else(|| bad(self.frame.len(), field, "is missing"))
    }

    /// A time; the year 1, which some messages carry for none, is none.
    fn time(&mut self, json: &mut Json<'a>) -> Result<UnixNanos> {
        let offset = json.offset();
        let text = json.string().of("time")?;
        let mut room = [0; NAME_LEN_MAX];
        let text = text.name(&mut room);
        match self.scratch.days.rfc3339_nanos(text) {
            Ok((nanos, len)) if len == text.len() => Ok(UnixNanos(nanos)),
            Ok(_) => Err(bad(offset, "time", "goes on after the time")),
            Err(TimestampError::BeforeEpoch) => Ok(UnixNanos::ZERO),
            Err(e) => Err(bad(offset, "time", e.to_string())),
        }
    }

    fn trade(&mut self, last: bool) -> Result<Message> {
        let (mut maker, mut price, mut size, mut id, mut sequence) = (None, None, None, None, None);
        let (mut order, mut time) = (None, None);
        self.fields(|w, json, key| {
            match key {
                b"side" => maker = Some(side(json)?),
                b"price" => price = Some(w.numbers.price(json, "price", 1)?),
                b"size" => size = Some(w.numbers.size(json, "size")?),
                b"trade_id" => id = Some(json.u64().of("trade_id")?),
                b"sequence" => sequence = Some(json.u64().of("sequence")?),
                b"maker_order_id" if w.full => order = Some(order_of(json, "maker_order_id")?),
                b"maker_order_id" => {}
                b"time" => time = Some(w.time(json)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let order = if self.full { self.require(order, "maker_order_id")? } else { [0; 2] };
        Ok(Message::Match(MatchMessage {
            target: self.target,
            last,
            maker: self.require(maker, "side")?,
            price: self.require(price, "price")?,
            size: self.require(size, "size")?,
            id: self.require(id, "trade_id")?,
            sequence: if self.full { self.require(sequence, "sequence")? } else { sequence.unwrap_or(0) },
            order,
            time: self.require(time, "time")?,
        }))
    }

    fn changes(&mut self) -> Result<Message> {
        let (mut time, mut there) = (None, false);
        self.fields(|w, json, key| {
            match key {
                b"time" => time = Some(w.time(json)?),
                b"changes" => {
                    w.scratch.changes.clear();
                    there = true;
                    json.array().of("changes")?;
                    while json.element().of("changes")? {
                        w.change(json)?;
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        self.require(there.then_some(()), "changes")?;
        Ok(Message::Changes(self.target, time.unwrap_or(UnixNanos::ZERO)))
    }

    /// `[side, price, size]`
    fn change(&mut self, json: &mut Json<'a>) -> Result<()> {
        json.array().of("changes")?;
        next(json, "changes")?;
        let side = side(json)?;
        next(json, "changes")?;
        let level = self.level(json, "changes")?;
        self.scratch.changes.push((side, level));
        Ok(())
    }

    /// Price and size, the first of which is next, to the end of their array.
    fn level(&mut self, json: &mut Json<'a>, field: &'static str) -> Result<Level> {
        let price = Price(self.numbers.price(json, field, 1)?);
        next(json, field)?;
        let size = Qty(self.numbers.size(json, field)?);
        // Anything more is passed over, as new fields are.
        while json.element().of(field)? {}
        Ok(Level { price, size })
    }

    fn snapshot(&mut self) -> Result<Message> {
        let (mut time, mut bids, mut asks) = (UnixNanos::ZERO, None, None);
        self.fields(|w, json, key| {
            match key {
                b"time" => time = w.time(json)?,
                b"bids" => bids = Some(w.levels(json, Side::Buy)?),
                b"asks" => asks = Some(w.levels(json, Side::Sell)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        self.require(bids, "bids")?;
        self.require(asks, "asks")?;
        Ok(Message::Snapshot(self.target, time))
    }

    fn levels(&mut self, json: &mut Json<'a>, side: Side) -> Result<()> {
        let (field, mut levels) = match side {
            Side::Buy => ("bids", std::mem::take(&mut self.scratch.bids)),
            Side::Sell => ("asks", std::mem::take(&mut self.scratch.asks)),
        };
        levels.clear();
        json.array().of(field)?;
        while json.element().of(field)? {
            json.array().of(field)?;
            next(json, field)?;
            let Level { price, size } = self.level(json, field)?;
            levels.push((price, size));
        }
        match side {
            Side::Buy => self.scratch.bids = levels,
            Side::Sell => self.scratch.asks = levels,
        }
        Ok(())
    }

    fn quote(&mut self) -> Result<Message> {
        let (mut bid, mut ask, mut bid_size, mut ask_size, mut time) = (None, None, None, None, UnixNanos::ZERO);
        self.fields(|w, json, key| {
            match key {
                b"best_bid" => bid = optional(json, "best_bid", |json| w.numbers.price(json, "best_bid", 0))?,
                b"best_ask" => ask = optional(json, "best_ask", |json| w.numbers.price(json, "best_ask", 0))?,
                b"best_bid_size" => {
                    bid_size = optional(json, "best_bid_size", |json| w.numbers.size(json, "best_bid_size"))?
                }
                b"best_ask_size" => {
                    ask_size = optional(json, "best_ask_size", |json| w.numbers.size(json, "best_ask_size"))?
                }
                b"time" => time = w.time(json)?,
                b"sequence" | b"price" | b"open_24h" | b"volume_24h" | b"low_24h" | b"high_24h" | b"volume_30d"
                | b"side" | b"trade_id" | b"last_size" => {}
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let there = |(price, _): &(i64, i64)| *price > 0;
        let bid = bid.map(|bid| (bid, bid_size.unwrap_or(0))).filter(there);
        let ask = ask.map(|ask| (ask, ask_size.unwrap_or(0))).filter(there);
        Ok(Message::Quote(QuoteMessage { target: self.target, bid, ask, time }))
    }

    fn beat(&mut self) -> Result<Message> {
        let (mut sequence, mut last_trade) = (None, None);
        self.fields(|w, json, key| {
            match key {
                b"sequence" => sequence = Some(json.u64().of("sequence")?),
                b"last_trade_id" => last_trade = Some(json.u64().of("last_trade_id")?),
                b"time" => drop(w.time(json)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let sequence = self.require(sequence, "sequence")?;
        let last_trade = self.require(last_trade, "last_trade_id")?;
        Ok(Message::Beat(BeatMessage { target: self.target, sequence, last_trade }))
    }

    fn order(&mut self, kind: OrderKind) -> Result<Message> {
        let mut parts = OrderParts::default();
        self.fields(|w, json, key| {
            let n = &mut w.numbers;
            match key {
                b"side" => parts.side = Some(side(json)?),
                b"order_id" => parts.order = Some(order_of(json, "order_id")?),
                b"reason" => parts.filled = Some(json.string().of("reason")?.is("filled")),
                b"price" => parts.price = optional(json, "price", |json| n.price(json, "price", 0))?,
                b"stop_price" if kind == OrderKind::Activate => {
                    parts.price = optional(json, "stop_price", |json| n.price(json, "stop_price", 0))?;
                }
                b"size" => parts.size = optional(json, "size", |json| n.size(json, "size"))?,
                b"remaining_size" => {
                    parts.remaining = optional(json, "remaining_size", |json| n.size(json, "remaining_size"))?;
                }
                b"new_size" => parts.new_size = optional(json, "new_size", |json| n.size(json, "new_size"))?,
                b"old_price" => parts.old_price = optional(json, "old_price", |json| n.price(json, "old_price", 0))?,
                b"new_price" => parts.new_price = optional(json, "new_price", |json| n.price(json, "new_price", 0))?,
                b"sequence" => parts.sequence = Some(json.u64().of("sequence")?),
                b"time" => parts.time = w.time(json)?,
                // Seconds of Unix time, to the microsecond.
                b"timestamp" if kind == OrderKind::Activate => {
                    let nanos = json.fixed(9).of("timestamp")?;
                    parts.time = UnixNanos(u64::try_from(nanos).unwrap_or(0));
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let message = parts.message(kind, self.target).map_err(|lacks| bad(self.frame.len(), lacks, "is missing"))?;
        Ok(Message::Order(message))
    }
}

/// The next of a row's values must be there.
pub fn next(json: &mut Json<'_>, field: &'static str) -> Result<()> {
    if json.element().of(field)? { Ok(()) } else { Err(bad(json.offset(), field, "has too few values")) }
}

/// A value that may be absent, `null` or empty.
fn optional<'a, T>(
    json: &mut Json<'a>,
    field: &'static str,
    read: impl FnOnce(&mut Json<'a>) -> Result<T>,
) -> Result<Option<T>> {
    if json.null_if().of(field)? {
        return Ok(None);
    }
    let mut ahead = *json;
    if ahead.string().is_ok_and(|text| text.is("")) {
        *json = ahead;
        return Ok(None);
    }
    read(json).map(Some)
}

pub fn side(json: &mut Json<'_>) -> Result<Side> {
    let offset = json.offset();
    match json.string().of("side")? {
        text if text.is("buy") => Ok(Side::Buy),
        text if text.is("sell") => Ok(Side::Sell),
        _ => Err(bad(offset, "side", "is neither buy nor sell")),
    }
}

fn order_of(json: &mut Json<'_>, field: &'static str) -> Result<OrderId> {
    let offset = json.offset();
    let mut room = [0; NAME_LEN_MAX];
    order_id(json.string().of(field)?.name(&mut room)).ok_or_else(|| bad(offset, field, "is no UUID"))
}
