//! The MessagePack frames that make up nearly all traffic: one pass, keys in any order. `None` at the first surprise;
//! then [`super::exact`] reads the frame, to the same messages.
//!
//! The order of the venue's keys is its encoder's business, and only `T` is known to come first. So numbers are kept as
//! sent until the symbol has told their scales.

use super::exact::side_of_quote;
use super::market::Market;
use super::messages::{BookMessage, CODE_MAX, Item, QuoteMessage, Scratch, Span, Target, TradeMessage, View};
use super::msgpack::Number;
use crate::Known;
use model::{Side, UnixNanos};
use std::ops::Range;

/// Reads a frame of usual messages of known instruments.
#[inline]
pub fn read(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Option<()> {
    let mut c = Bytes { rest: frame };
    scratch.clear();
    for _ in 0..c.array()? {
        let members = c.map()?;
        // A key of one letter, "T", and a text of one letter.
        let [0xa1, b'T', 0xa1, kind] = c.take::<4>()? else { return None };
        let item = match kind {
            b't' => trade(&mut c, members - 1, view, scratch)?,
            b'q' => quote(&mut c, members - 1, view, scratch)?,
            b'o' => book(&mut c, members - 1, view, scratch)?,
            _ => return None,
        };
        scratch.items.push(item);
    }
    c.rest.is_empty().then_some(())
}

/// Bytes not read yet.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    #[inline(always)]
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    #[inline(always)]
    fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }

    #[inline(always)]
    fn array(&mut self) -> Option<usize> {
        match self.take::<1>()?[0] {
            tag @ 0x90..=0x9f => Some(usize::from(tag & 0x0f)),
            0xdc => Some(u16::from_be_bytes(self.take()?).into()),
            _ => None,
        }
    }

    /// Members of a map, at least one.
    #[inline(always)]
    fn map(&mut self) -> Option<usize> {
        match self.take::<1>()?[0] {
            tag @ 0x81..=0x8f => Some(usize::from(tag & 0x0f)),
            _ => None,
        }
    }

    #[inline(always)]
    fn text(&mut self) -> Option<&'a [u8]> {
        let len = match self.take::<1>()?[0] {
            tag @ 0xa0..=0xbf => usize::from(tag & 0x1f),
            0xd9 => self.take::<1>()?[0].into(),
            _ => return None,
        };
        self.slice(len)
    }

    /// A number that is not negative.
    #[inline(always)]
    fn number(&mut self) -> Option<Number> {
        Some(match self.take::<1>()?[0] {
            0xcb => Number::Double(f64::from_be_bytes(self.take()?)),
            tag @ 0..=0x7f => Number::Unsigned(tag.into()),
            0xcc => Number::Unsigned(self.take::<1>()?[0].into()),
            0xcd => Number::Unsigned(u16::from_be_bytes(self.take()?).into()),
            0xce => Number::Unsigned(u32::from_be_bytes(self.take()?).into()),
            0xcf => Number::Unsigned(u64::from_be_bytes(self.take()?)),
            0xd0 => Number::Unsigned(u64::try_from(i8::from_be_bytes(self.take()?)).ok()?),
            0xd1 => Number::Unsigned(u64::try_from(i16::from_be_bytes(self.take()?)).ok()?),
            0xd2 => Number::Unsigned(u64::try_from(i32::from_be_bytes(self.take()?)).ok()?),
            0xd3 => Number::Unsigned(u64::try_from(i64::from_be_bytes(self.take()?)).ok()?),
            _ => return None,
        })
    }

    #[inline(always)]
    fn whole(&mut self) -> Option<u64> {
        match self.number()? {
            Number::Unsigned(value) => Some(value),
            _ => None,
        }
    }

    /// A time stamp of four or eight bytes.
    #[inline(always)]
    fn time(&mut self) -> Option<UnixNanos> {
        let (seconds, nanos) = match self.take::<2>()? {
            [0xd7, 0xff] => {
                let both = u64::from_be_bytes(self.take()?);
                (both & ((1 << 34) - 1), both >> 34)
            }
            [0xd6, 0xff] => (u32::from_be_bytes(self.take()?).into(), 0),
            _ => return None,
        };
        // 34 bits of seconds times 10^9 fit 64 bits; a sum of more than 64 bits is a surprise.
        (nanos < 1_000_000_000).then_some(())?;
        seconds.checked_mul(1_000_000_000)?.checked_add(nanos).map(UnixNanos)
    }

    /// Steps over a list of texts.
    #[inline(always)]
    fn skip_texts(&mut self) -> Option<()> {
        for _ in 0..self.array()? {
            self.text()?;
        }
        Some(())
    }
}

/// Marks a member as seen; a second one is a surprise.
#[inline(always)]
fn once(seen: &mut u32, bit: u32) -> Option<()> {
    let first = *seen & bit == 0;
    *seen |= bit;
    first.then_some(())
}

#[inline(always)]
fn market<'a>(symbol: &[u8], view: View<'a>) -> Option<(Known, &'a Market)> {
    let index = view.instruments.find(symbol)?;
    Some((index, &view.markets[index as usize]))
}

#[inline(always)]
fn code(c: &mut Bytes<'_>, scratch: &mut Scratch) -> Option<Span> {
    scratch.keep(std::str::from_utf8(c.text()?).ok()?, CODE_MAX)
}

#[inline(always)]
fn conditions(c: &mut Bytes<'_>, scratch: &mut Scratch) -> Option<Span> {
    let from = scratch.begin_list();
    for n in 0..c.array()? {
        scratch.add_to_list(from, std::str::from_utf8(c.text()?).ok()?, n == 0)?;
    }
    Some(scratch.end_list(from))
}

#[inline(always)]
fn trade(c: &mut Bytes<'_>, members: usize, view: View<'_>, scratch: &mut Scratch) -> Option<Item> {
    let (mut symbol, mut price, mut size) = (&b""[..], Number::Unsigned(0), Number::Unsigned(0));
    let (mut id, mut time, mut side, mut seen) = (None, UnixNanos::ZERO, None, 0);
    let (mut list, mut exchange, mut tape) = (Span::default(), Span::default(), Span::default());
    for _ in 0..members {
        match c.text()? {
            b"S" => {
                once(&mut seen, 1)?;
                symbol = c.text()?;
            }
            b"p" => {
                once(&mut seen, 2)?;
                price = c.number()?;
            }
            b"s" => {
                once(&mut seen, 4)?;
                size = c.number()?;
            }
            b"t" => {
                once(&mut seen, 8)?;
                time = c.time()?;
            }
            b"i" => {
                once(&mut seen, 16)?;
                id = Some(c.whole()?);
            }
            b"tks" => {
                once(&mut seen, 32)?;
                side = match c.text()? {
                    b"B" => Some(Side::Buy),
                    b"S" => Some(Side::Sell),
                    b"-" => None,
                    _ => return None,
                };
            }
            b"c" => {
                once(&mut seen, 64)?;
                list = conditions(c, scratch)?;
            }
            b"x" => {
                once(&mut seen, 128)?;
                exchange = code(c, scratch)?;
            }
            b"z" => {
                once(&mut seen, 256)?;
                tape = code(c, scratch)?;
            }
            _ => return None,
        }
    }
    if seen & 15 != 15 {
        return None;
    }
    let (index, m) = market(symbol, view)?;
    let (price, size) = (price.fixed(m.price_scale)?, size.fixed(m.size_scale)?);
    let target = Target::Known(index);
    let t = TradeMessage { target, side, price, size, id, time, conditions: list, exchange, tape };
    (price > 0).then_some(Item::Trade(t))
}

#[inline(always)]
fn quote(c: &mut Bytes<'_>, members: usize, view: View<'_>, _scratch: &mut Scratch) -> Option<Item> {
    let (mut symbol, mut time, mut seen) = (&b""[..], UnixNanos::ZERO, 0);
    let [mut bid, mut bid_size, mut ask, mut ask_size] = [Number::Unsigned(0); 4];
    for _ in 0..members {
        match c.text()? {
            b"S" => {
                once(&mut seen, 1)?;
                symbol = c.text()?;
            }
            b"bp" => {
                once(&mut seen, 2)?;
                bid = c.number()?;
            }
            b"bs" => {
                once(&mut seen, 4)?;
                bid_size = c.number()?;
            }
            b"ap" => {
                once(&mut seen, 8)?;
                ask = c.number()?;
            }
            b"as" => {
                once(&mut seen, 16)?;
                ask_size = c.number()?;
            }
            b"t" => {
                once(&mut seen, 32)?;
                time = c.time()?;
            }
            b"bx" | b"ax" | b"z" => drop(c.text()?),
            b"c" => c.skip_texts()?,
            _ => return None,
        }
    }
    if seen != 63 {
        return None;
    }
    let (index, m) = market(symbol, view)?;
    let lot = if m.crypto { 1 } else { view.lot };
    let side =
        |price: Number, size: Number| side_of_quote(price.fixed(m.price_scale)?, size.fixed(m.size_scale)?, lot).ok();
    let (bid, ask) = (side(bid, bid_size)?, side(ask, ask_size)?);
    Some(Item::Quote(QuoteMessage { target: Target::Known(index), bid, ask, time }))
}

/// Where levels begin, read when the symbol has told their scales.
type Levels<'a> = Option<Bytes<'a>>;

#[inline(always)]
fn book(c: &mut Bytes<'_>, members: usize, view: View<'_>, scratch: &mut Scratch) -> Option<Item> {
    let (mut symbol, mut time, mut reset, mut seen) = (&b""[..], UnixNanos::ZERO, false, 0);
    let (mut bids, mut asks): (Levels<'_>, Levels<'_>) = (None, None);
    let mut known: Option<(Known, &Market)> = None;
    let (bids_from, asks_from) = (scratch.bids.len(), scratch.asks.len());
    for _ in 0..members {
        match c.text()? {
            b"S" => {
                once(&mut seen, 1)?;
                symbol = c.text()?;
                known = Some(market(symbol, view)?);
            }
            b"t" => {
                once(&mut seen, 2)?;
                time = c.time()?;
            }
            b"b" => {
                once(&mut seen, 4)?;
                match known {
                    Some((_, m)) => levels(c, m, &mut scratch.bids)?,
                    None => bids = Some(skip_levels(c)?),
                }
            }
            b"a" => {
                once(&mut seen, 8)?;
                match known {
                    Some((_, m)) => levels(c, m, &mut scratch.asks)?,
                    None => asks = Some(skip_levels(c)?),
                }
            }
            b"r" => {
                once(&mut seen, 16)?;
                reset = match c.take::<1>()? {
                    [0xc2] => false,
                    [0xc3] => true,
                    _ => return None,
                };
            }
            _ => return None,
        }
    }
    let (index, m) = known.filter(|_| seen & 2 != 0 && !symbol.is_empty())?;
    if let Some(mut begin) = bids {
        levels(&mut begin, m, &mut scratch.bids)?;
    }
    if let Some(mut begin) = asks {
        levels(&mut begin, m, &mut scratch.asks)?;
    }
    let (bids, asks): (Range<usize>, Range<usize>) = (bids_from..scratch.bids.len(), asks_from..scratch.asks.len());
    Some(Item::Book(BookMessage { target: Target::Known(index), bids, asks, reset, time }))
}

/// Steps over levels and gives where they begin.
fn skip_levels<'a>(c: &mut Bytes<'a>) -> Option<Bytes<'a>> {
    let begin = *c;
    for _ in 0..c.array()? {
        for _ in 0..c.map()? {
            c.text()?;
            c.number()?;
        }
    }
    Some(begin)
}

#[inline(always)]
fn levels(c: &mut Bytes<'_>, m: &Market, levels: &mut Vec<(i64, i64)>) -> Option<()> {
    for _ in 0..c.array()? {
        if c.map()? != 2 {
            return None;
        }
        let (first, a, second, b) = (c.text()?, c.number()?, c.text()?, c.number()?);
        let (price, size) = match (first, second) {
            (b"p", b"s") => (a, b),
            (b"s", b"p") => (b, a),
            _ => return None,
        };
        let (price, size) = (price.fixed(m.price_scale)?, size.fixed(m.size_scale)?);
        if price <= 0 {
            return None;
        }
        levels.push((price, size));
    }
    Some(())
}
