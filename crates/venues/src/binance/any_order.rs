//! Trades and book changes whose keys come in another order than the venue writes today: one pass over the frame, a
//! second over levels that stand before their symbol.
//!
//! Stands between [`super::messages::fast`] and [`super::exact`]: should the venue ever move or add a field, every message
//! comes this way, and must not cost several times as much. Takes only what `exact` reads to the same values, each key
//! once, in plain spelling; `None` at any other surprise.

use super::choices::{TimeUnit, TradeKind};
use super::exact::{NAMES, mask};
use super::messages::{Depth, Hot, Scales, TIME_DIGITS, Trade, side_levels};
use crate::Known;
use book::Level;
use model::{Price, Qty};
use scan::Cursor;

/// Reads a trade or book changes, raw or in a combined frame: of which symbol, and how many fields are not known. A
/// symbol that `find` does not know is a surprise too. `levels` holds what was read of a book, also when that is not
/// used in the end.
pub(super) fn read(
    frame: &[u8],
    unit: TimeUnit,
    find: impl Fn(&[u8]) -> Option<(Known, Scales)>,
    levels: &mut Vec<Level>,
) -> Option<(Known, Hot, u64)> {
    let mut c = Cursor::new(frame);
    c.open(b'{')?;
    let mut ahead = c;
    let fields = match ahead.key()? {
        b"stream" | b"data" => combined(&mut c)?,
        _ => Fields::read(&mut c)?,
    };
    c.end()?;
    match fields.kind {
        Kind::Trade(kind) => fields.trade(kind, unit, find),
        Kind::Depth => fields.depth(unit, find, levels),
    }
}

/// What the event is called.
#[derive(Clone, Copy)]
enum Kind {
    Trade(TradeKind),
    Depth,
}

/// The payload of a combined frame whose bracket is read.
fn combined<'a>(c: &mut Cursor<'a>) -> Option<Fields<'a>> {
    let (mut stream, mut data) = (None, None);
    loop {
        match c.key()? {
            b"stream" if stream.is_none() => stream = Some(c.text()?),
            b"data" if data.is_none() => {
                c.open(b'{')?;
                data = Some(Fields::read(c)?);
            }
            _ => return None,
        }
        if !c.more(b'}')? {
            return stream.and(data);
        }
    }
}

/// The fields of a message, found but for the decimals, whose scales the symbol tells.
struct Fields<'a> {
    /// Letters seen, by bit.
    seen: u64,
    /// Keys of more than a letter, none of which is known.
    others: u64,
    kind: Kind,
    symbol: &'a [u8],
    /// `t`.
    trade_id: u64,
    /// `a` of an aggregated trade.
    aggregate_id: u64,
    /// `U` and `u`.
    first: u64,
    last: u64,
    /// `b` and `a` of book changes.
    bids: Option<Cursor<'a>>,
    asks: Option<Cursor<'a>>,
    price: Cursor<'a>,
    size: Cursor<'a>,
    /// `E`.
    event: u64,
    /// `T`.
    time: u64,
    buyer_is_maker: bool,
}

impl<'a> Fields<'a> {
    /// The fields of the object whose bracket is read, up to and with its closing one.
    #[inline(always)]
    fn read(c: &mut Cursor<'a>) -> Option<Fields<'a>> {
        let mut f = Fields {
            seen: 0,
            others: 0,
            kind: Kind::Trade(TradeKind::Trade),
            symbol: b"",
            trade_id: 0,
            aggregate_id: 0,
            first: 0,
            last: 0,
            bids: None,
            asks: None,
            price: *c,
            size: *c,
            event: 0,
            time: 0,
            buyer_is_maker: false,
        };
        loop {
            match c.key()? {
                [letter] if letter.is_ascii_alphabetic() => {
                    let bit = 1 << (letter - b'A');
                    if f.seen & bit != 0 {
                        return None;
                    }
                    f.seen |= bit;
                    f.letter(*letter, c)?;
                }
                name if NAMES.iter().any(|known| known.as_bytes() == name) => return None,
                _ => {
                    f.others += 1;
                    c.skip_flat()?;
                }
            }
            if !c.more(b'}')? {
                return Some(f);
            }
        }
    }

    #[inline(always)]
    fn letter(&mut self, letter: u8, c: &mut Cursor<'a>) -> Option<()> {
        match letter {
            b'e' => {
                self.kind = match c.text()? {
                    b"trade" => Kind::Trade(TradeKind::Trade),
                    b"aggTrade" => Kind::Trade(TradeKind::AggTrade),
                    b"depthUpdate" => Kind::Depth,
                    _ => return None,
                }
            }
            b'E' => self.event = c.u64_likely::<TIME_DIGITS>()?,
            b's' => self.symbol = c.text()?,
            b't' => self.trade_id = c.u64()?,
            b'U' => self.first = c.u64()?,
            b'u' => self.last = c.u64()?,
            b'a' if c.peek() == Some(b'[') => self.asks = Some(skip_levels(c)?),
            b'b' if c.peek() == Some(b'[') => self.bids = Some(skip_levels(c)?),
            b'a' => self.aggregate_id = c.u64()?,
            b'f' | b'l' => drop(c.i64()?),
            b'p' => {
                self.price = *c;
                c.text()?;
            }
            b'q' => {
                self.size = *c;
                c.text()?;
            }
            b'T' => self.time = c.u64_likely::<TIME_DIGITS>()?,
            b'm' => self.buyer_is_maker = c.bool()?,
            _ => c.skip_flat()?,
        }
        Some(())
    }

    #[inline(always)]
    fn trade(
        mut self,
        kind: TradeKind,
        unit: TimeUnit,
        find: impl Fn(&[u8]) -> Option<(Known, Scales)>,
    ) -> Option<(Known, Hot, u64)> {
        // `a` and `b` were the orders' ids until 2023.
        let (id, needed, known) = match kind {
            TradeKind::Trade => (self.trade_id, const { mask("eEstpqTm") }, const { mask("eEstpqTmMab") }),
            TradeKind::AggTrade => (self.aggregate_id, const { mask("eEsapqflTm") }, const { mask("eEsapqflTmM") }),
        };
        if self.seen & needed != needed || self.bids.is_some() || self.asks.is_some() {
            return None;
        }
        unit.nanos(self.event)?;
        let (symbol, scales) = find(self.symbol)?;
        let price = self.price.fixed_quoted(scales.price)?;
        let size = self.size.fixed_quoted(scales.size)?;
        if (price | size) < 0 {
            return None;
        }
        let (price, size, time) = (Price(price), Qty(size), unit.nanos(self.time)?);
        let trade = Trade { kind, id, price, size, time, buyer_is_maker: self.buyer_is_maker };
        let unknown = u64::from((self.seen & !known).count_ones()) + self.others;
        Some((symbol, Hot::Trade(trade), unknown))
    }

    #[inline(always)]
    fn depth(
        self,
        unit: TimeUnit,
        find: impl Fn(&[u8]) -> Option<(Known, Scales)>,
        levels: &mut Vec<Level>,
    ) -> Option<(Known, Hot, u64)> {
        let known = const { mask("eEsUuba") };
        if self.seen & known != known || self.first > self.last {
            return None;
        }
        let time = unit.nanos(self.event)?;
        let (symbol, scales) = find(self.symbol)?;
        levels.clear();
        side_levels(&mut self.bids?, scales, levels)?;
        let bids = u32::try_from(levels.len()).ok()?;
        side_levels(&mut self.asks?, scales, levels)?;
        let unknown = u64::from((self.seen & !known).count_ones()) + self.others;
        Some((symbol, Hot::Depth(Depth { time, first: self.first, last: self.last, bids }), unknown))
    }
}

/// Steps over a list of levels in plain spelling and returns the place behind its opening bracket, from which
/// [`side_levels`] reads to the very same end: that it does is what makes stepping over it safe.
#[inline(always)]
fn skip_levels<'a>(c: &mut Cursor<'a>) -> Option<Cursor<'a>> {
    c.literal(b"[")?;
    let levels = *c;
    if c.skip_if(b"]") {
        return Some(levels);
    }
    c.skip_past(b"\"]]")?;
    Some(levels)
}
