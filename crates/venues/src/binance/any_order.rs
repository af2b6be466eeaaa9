//! Trades whose keys come in another order than the venue writes today: one pass over the frame, no detours.
//!
//! Stands between [`super::messages::fast`] and [`super::exact`]: should the venue ever move or add a field, every trade
//! comes this way, and must not cost several times as much. Takes only what `exact` reads to the same values, each key
//! once, in plain spelling; `None` at any other surprise.

use super::choices::{TimeUnit, TradeKind};
use super::exact::{NAMES, mask};
use super::messages::{Scales, TIME_DIGITS, Trade};
use crate::Known;
use model::{Price, Qty};
use scan::Cursor;

/// Reads a trade, raw or in a combined frame: of which symbol, and how many of its fields are not known. A symbol that
/// `find` does not know is a surprise too.
pub(super) fn trade(
    frame: &[u8],
    unit: TimeUnit,
    find: impl Fn(&[u8]) -> Option<(Known, Scales)>,
) -> Option<(Known, Trade, u64)> {
    let mut c = Cursor::new(frame);
    c.open(b'{')?;
    let mut ahead = c;
    let fields = match ahead.key()? {
        b"stream" | b"data" => combined(&mut c)?,
        _ => Fields::read(&mut c)?,
    };
    c.end()?;
    fields.trade(unit, find)
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

/// The fields of a trade, found but for the decimals, whose scales the symbol tells.
struct Fields<'a> {
    /// Letters seen, by bit.
    seen: u64,
    /// Keys of more than a letter, none of which is known.
    others: u64,
    kind: TradeKind,
    symbol: &'a [u8],
    /// `t`.
    trade_id: u64,
    /// `a`.
    aggregate_id: u64,
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
            kind: TradeKind::Trade,
            symbol: b"",
            trade_id: 0,
            aggregate_id: 0,
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
                    b"trade" => TradeKind::Trade,
                    b"aggTrade" => TradeKind::AggTrade,
                    _ => return None,
                }
            }
            b'E' => self.event = c.u64_likely::<TIME_DIGITS>()?,
            b's' => self.symbol = c.text()?,
            b't' => self.trade_id = c.u64()?,
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
    fn trade(mut self, unit: TimeUnit, find: impl Fn(&[u8]) -> Option<(Known, Scales)>) -> Option<(Known, Trade, u64)> {
        // `a` and `b` were the orders' ids until 2023.
        let (id, needed, known) = match self.kind {
            TradeKind::Trade => (self.trade_id, const { mask("eEstpqTm") }, const { mask("eEstpqTmMab") }),
            TradeKind::AggTrade => (self.aggregate_id, const { mask("eEsapqflTm") }, const { mask("eEsapqflTmM") }),
        };
        if self.seen & needed != needed {
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
        let trade = Trade { kind: self.kind, id, price, size, time, buyer_is_maker: self.buyer_is_maker };
        let unknown = u64::from((self.seen & !known).count_ones()) + self.others;
        Some((symbol, trade, unknown))
    }
}
