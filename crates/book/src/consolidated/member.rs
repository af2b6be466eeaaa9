//! One venue's book as part of a consolidated one: its levels, when each was last told, and whether it may be used.

use super::Fee;
use crate::{Book, Level};
use model::{BookState, InstrumentId, Price, Qty, Reason, Side, UnixNanos, Venue};

/// The most books that are put together: five venues with three quote currencies each, and one.
pub const MEMBERS_MAX: usize = 16;

/// A price in units of `10^-price_scale` of the consolidated book: every member's price is a whole number of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct WidePrice(pub i128);

/// A size in units of `10^-size_scale` of the consolidated book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct WideQty(pub i128);

/// A member of one consolidated book, by the order in which they joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub(super) u8);

impl MemberId {
    /// Its place among the members, from 0.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Some of the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members(pub(super) u16);

const _: () = assert!(MEMBERS_MAX <= u16::BITS as usize);

impl Members {
    /// None of them.
    pub const NONE: Members = Members(0);

    /// How many.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether it is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is among them.
    pub fn contains(self, member: MemberId) -> bool {
        self.0 >> member.0 & 1 == 1
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = MemberId> {
        (0..MEMBERS_MAX as u8).map(MemberId).filter(move |member| self.contains(*member))
    }

    pub(super) fn insert(&mut self, member: MemberId) {
        self.0 |= 1 << member.0;
    }
}

impl std::ops::BitOr for Members {
    type Output = Members;
    fn bitor(self, other: Members) -> Members {
        Members(self.0 | other.0)
    }
}

/// What a book may be taken for, why, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Only a live book's levels count.
    pub state: BookState,
    /// Why.
    pub reason: Reason,
    /// Since when it is in this state; a new reason alone does not change it.
    pub since: UnixNanos,
}

impl Standing {
    /// Nothing is known.
    pub const COLD: Standing = Standing { state: BookState::Cold, reason: Reason::Start, since: UnixNanos::ZERO };
}

/// One venue's book as part of a consolidated one.
#[derive(Clone, Debug)]
pub struct Member {
    pub(super) venue: Venue,
    pub(super) instrument: InstrumentId,
    pub(super) symbol: String,
    pub(super) venue_symbol: String,
    pub(super) fee: Fee,
    pub(super) price_scale: u8,
    pub(super) size_scale: u8,
    /// What turns its mantissas into those of the consolidated book.
    pub(super) price_factor: i64,
    pub(super) size_factor: i64,
    pub(super) book: Book,
    /// The same prices with the time of the last word on each, in ns, as size.
    pub(super) times: Book,
    pub(super) standing: Standing,
    pub(super) updated: UnixNanos,
    /// Keys of its own best prices: the larger the better, [`EMPTY`] when a side is empty.
    pub(super) tops: [i64; 2],
}

/// The key of a side without a level.
pub(super) const EMPTY: i64 = i64::MIN;

/// Index of a side in a pair.
#[inline(always)]
pub(super) fn at(side: Side) -> usize {
    usize::from(side == Side::Sell)
}

/// A price as a number that is the larger the better. The worst ask there can be and a worse bid share the key of an
/// empty side, which costs a look at the book and nothing else.
#[inline(always)]
pub(super) fn key(side: Side, price: Price) -> i64 {
    if side == Side::Buy { price.0 } else { !price.0 }
}

impl Member {
    /// Where it trades.
    pub fn venue(&self) -> Venue {
        self.venue
    }

    /// The venue's instrument.
    pub fn instrument(&self) -> InstrumentId {
        self.instrument
    }

    /// Its own canonical symbol: with its own quote currency, whatever it is put together with.
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// The venue's spelling of it.
    pub fn venue_symbol(&self) -> &str {
        &self.venue_symbol
    }

    /// What its venue takes of a taker.
    pub fn fee(&self) -> Fee {
        self.fee
    }

    /// Decimals of its own price mantissas.
    pub fn price_scale(&self) -> u8 {
        self.price_scale
    }

    /// Decimals of its own size mantissas.
    pub fn size_scale(&self) -> u8 {
        self.size_scale
    }

    /// Its book, in its own mantissas, whatever its state.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Whether its levels count, why (not), and since when.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Whether its levels count.
    pub fn is_included(&self) -> bool {
        self.standing.state == BookState::Live
    }

    /// When anything was last told of its book; zero when nothing was.
    pub fn updated(&self) -> UnixNanos {
        self.updated
    }

    /// When the level at a price was last told; `None` where nothing rests.
    pub fn told(&self, side: Side, price: Price) -> Option<UnixNanos> {
        let time = self.times.size(side, price).0;
        (time > 0).then_some(UnixNanos(time as u64))
    }

    #[inline(always)]
    pub(super) fn wide_price(&self, price: Price) -> WidePrice {
        WidePrice(i128::from(price.0) * i128::from(self.price_factor))
    }

    #[inline(always)]
    pub(super) fn wide_size(&self, size: Qty) -> WideQty {
        WideQty(i128::from(size.0) * i128::from(self.size_factor))
    }

    /// The price in its own mantissa; `None` when it is between two of them or does not fit.
    pub(super) fn own_price(&self, price: WidePrice) -> Option<Price> {
        let factor = i128::from(self.price_factor);
        (price.0 % factor == 0).then_some(price.0 / factor).and_then(|own| i64::try_from(own).ok()).map(Price)
    }

    /// Its levels with the time each was last told, best first.
    pub(super) fn levels(&self, side: Side) -> impl Iterator<Item = (Level, UnixNanos)> + '_ {
        let times = self.times.levels(side).map(|level| UnixNanos(level.size.0 as u64));
        self.book.levels(side).zip(times)
    }
}

/// A time as the size of a level, which is positive: the first moment of 1970 is held to be the second.
#[inline(always)]
pub(super) fn as_size(time: UnixNanos) -> Qty {
    Qty(time.0.clamp(1, i64::MAX as u64) as i64)
}
