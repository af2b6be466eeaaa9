//! The venue's words, typed: what a frame says, before anything is done about it.
//!
//! A frame is read whole, by [`super::fast`], [`super::flat`] or [`super::exact`], and only then acted on, so that a
//! frame that cannot be read changes nothing. Every frame speaks of one product; its levels are in [`Scratch`], which
//! is used again for the next frame.

use super::market::Market;
use super::products::{Product, Wanted};
use crate::{FrameError, InstrumentSet, Known};
use book::Level;
use model::{Price, Qty, Side, UnixNanos};
use scan::{DayCache, Shape};
use wire::OrderAction;

/// The 128 bits of an order's UUID, high half first.
pub type OrderId = [u64; 2];

/// Whom data is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An instrument we have.
    Known(Known),
    /// The one in [`Scratch::name`]: to be learnt from this frame.
    New,
}

/// A trade as sent; mantissas at the target's scales.
#[derive(Clone, Copy, Debug)]
pub struct MatchMessage {
    pub target: Target,
    /// The last trade before the subscription, not news.
    pub last: bool,
    pub maker: Side,
    pub price: i64,
    pub size: i64,
    pub id: u64,
    /// 0 when the venue did not say.
    pub sequence: u64,
    /// The maker's order; zero where nobody asked for it.
    pub order: OrderId,
    /// 0 when the venue did not say.
    pub time: UnixNanos,
}

/// A ticker's best bid and offer: price and, where told, size.
#[derive(Clone, Copy, Debug)]
pub struct QuoteMessage {
    pub target: Target,
    pub bid: Option<(i64, i64)>,
    pub ask: Option<(i64, i64)>,
    pub time: UnixNanos,
}

/// A sign of life of one product.
#[derive(Clone, Copy, Debug)]
pub struct BeatMessage {
    pub target: Target,
    pub sequence: u64,
    pub last_trade: u64,
}

/// One step of an order's life.
#[derive(Clone, Copy, Debug)]
pub struct OrderMessage {
    pub target: Target,
    pub action: OrderAction,
    pub side: Side,
    pub order: OrderId,
    /// `None` for an order without one; the old one where it changes.
    pub price: Option<i64>,
    pub size: Option<i64>,
    pub new_price: Option<i64>,
    /// 0 where the venue has none.
    pub sequence: u64,
    pub time: UnixNanos,
}

/// What a frame is. Levels of books are in [`Scratch`].
#[derive(Clone, Copy, Debug)]
pub enum Message {
    Match(MatchMessage),
    Quote(QuoteMessage),
    Beat(BeatMessage),
    /// The whole book, in [`Scratch::bids`] and [`Scratch::asks`].
    Snapshot(Target, UnixNanos),
    /// Changes of it, in [`Scratch::changes`].
    Changes(Target, UnixNanos),
    Order(OrderMessage),
    /// Definitions, in [`Scratch::products`].
    Products,
    Subscriptions,
    /// The venue refused something; why is in [`Scratch::text`].
    Refused,
    /// Of a product that nobody asked for.
    Stranger,
    /// A type of the protocol that is not used here.
    Unused,
    Unknown,
}

impl Message {
    /// Whom the message is about.
    pub fn target(&self) -> Option<Target> {
        match self {
            Message::Match(m) => Some(m.target),
            Message::Quote(m) => Some(m.target),
            Message::Beat(m) => Some(m.target),
            Message::Order(m) => Some(m.target),
            Message::Snapshot(target, _) | Message::Changes(target, _) => Some(*target),
            _ => None,
        }
    }
}

/// What lies beside a message: the levels of one frame, and room for the next one's.
#[derive(Debug, Default)]
pub struct Scratch {
    pub bids: Vec<(Price, Qty)>,
    pub asks: Vec<(Price, Qty)>,
    pub changes: Vec<(Side, Level)>,
    pub products: Vec<Product>,
    pub text: String,
    /// The product this frame is the first to name.
    pub name: String,
    /// Decimals of price and size the frame was read with, where they are not those of the instrument.
    pub scales: Option<(u8, u8)>,
    pub unknown_fields: u64,
    pub days: DayCache,
    pub like: Like,
}

/// How long the last numbers of each kind were: a guess at the next ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Like {
    pub price: Shape,
    pub size: Shape,
    /// Digits of a trade's id.
    pub id: usize,
    /// Digits of a sequence.
    pub sequence: usize,
}

/// What reading needs to know of the machine.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub instruments: &'a InstrumentSet,
    pub markets: &'a [Market],
    /// Symbols asked for; empty when whatever arrives is learnt.
    pub wanted: &'a [Wanted],
}

impl View<'_> {
    /// Whether instruments are learnt from whatever arrives.
    pub fn learns(&self) -> bool {
        self.wanted.is_empty()
    }
}

/// The 128 bits of a UUID as it is written: 8-4-4-4-12 hexadecimal digits.
pub fn order_id(text: &[u8]) -> Option<OrderId> {
    let text: &[u8; 36] = text.try_into().ok()?;
    let mut id = 0u128;
    for (n, byte) in text.iter().enumerate() {
        if matches!(n, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return None,
        };
        id = id << 4 | u128::from(digit);
    }
    Some([(id >> 64) as u64, id as u64])
}

/// Names the field that could not be read.
pub trait Named<T> {
    /// The same result, with the field's name in the error.
    fn of(self, field: &'static str) -> Result<T, FrameError>;
}

impl<T> Named<T> for Result<T, scan::JsonError> {
    fn of(self, field: &'static str) -> Result<T, FrameError> {
        self.map_err(|e| FrameError { offset: e.offset, field, problem: format!("expected {}", e.expected) })
    }
}

impl<T> Named<T> for Result<T, scan::ReadError> {
    fn of(self, field: &'static str) -> Result<T, FrameError> {
        match self {
            Ok(value) => Ok(value),
            Err(scan::ReadError::Json(e)) => Err(e).of(field),
            Err(scan::ReadError::Number { offset, source }) => {
                Err(FrameError { offset, field, problem: source.to_string() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_read_whole_or_not_at_all() {
        let id = order_id(b"4eef1226-4b38-422c-a5b1-56def7107f9a");
        assert_eq!(id, Some([0x4eef_1226_4b38_422c, 0xa5b1_56de_f710_7f9a]));
        for bad in [
            "",
            "4eef12264b38422ca5b156def7107f9a",
            "4eef1226-4b38-422c-a5b1-56def7107f9g",
            "4eef1226-4b38-422c-a5b1056def7107f9a",
        ] {
            assert_eq!(order_id(bad.as_bytes()), None, "{bad}");
        }
    }
}
