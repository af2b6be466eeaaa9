//! One book out of many venues': who offers what at which price, as far as each may be believed.
//! level changes and states of venues' books in -> [`Consolidated`] -> best bid and offer, merged levels, who has how much
//! and since when, locked and crossed intervals, what a size costs with fees. [`PlainConsolidated`] is the same in the
//! simplest form that can be right.
//!
//! Each venue's levels stay in a [`Book`] of their own and are merged where they are read: a change costs what it costs
//! in one book and a look at the venues' best prices. Prices meet on the widest scale of the members, exactly.
//!
//! Invariants: only live books' levels are part of any answer, the others are listed with state, reason and time; what
//! was answered holds from one [`Consolidated::settle`] to the next. Knows nothing of bytes, of time but what it is told,
//! and of what makes a book live.

mod crossing;
mod fee;
mod groups;
mod member;
mod merge;
mod plain;
mod plan;
#[cfg(test)]
mod tests;

pub use crossing::{Crossing, Meeting};
pub use fee::{Fee, FeeError};
pub use groups::{GroupError, Groups};
pub use member::{MEMBERS_MAX, Member, MemberId, Members, Standing, WidePrice, WideQty};
pub use merge::{MergedLevel, Share};
pub use plain::{PlainConsolidated, PlainShare};
pub use plan::{Leg, Plan, PlanError};

use crate::{Book, Effect, Ratio, Target};
use member::{EMPTY, as_size, at, key};
use model::{BookState, Decimal, Instrument, InstrumentKind, Price, Qty, Reason, SCALE_MAX, Side, UnixNanos, Venue};

/// Rank of a member without a level on a side, or that does not count.
const ABSENT: i128 = i128::MIN;

/// The best price of a side over all included venues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The price at the common scale.
    pub price: WidePrice,
    /// What all who are there have together.
    pub size: WideQty,
    /// Who is there: [`Consolidated::shares_at`] tells how much and since when.
    pub members: Members,
}

/// What is not as it was before a [`Consolidated::settle`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The best bid: price, size or who.
    pub bid: bool,
    /// The best ask.
    pub ask: bool,
    /// An interval ended: [`Consolidated::last_crossing`] tells of it.
    pub ended: bool,
    /// An interval began: [`Consolidated::crossing`] tells of it.
    pub began: bool,
}

/// Why an instrument cannot join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Another base or quote currency.
    #[error(
        "{venue} {symbol} is {other}, not {book}: put their quote currencies together in a group if they are the same"
    )]
    OtherSymbol {
        /// Where the instrument trades.
        venue: Venue,
        /// Its own symbol.
        symbol: String,
        /// The consolidated book it belongs to.
        other: String,
        /// The consolidated book at hand.
        book: String,
    },
    /// A share is no coin of the same name.
    #[error("{venue} {symbol} is {kind}, the others in this book are {others}")]
    OtherKind {
        /// Where the instrument trades.
        venue: Venue,
        /// Its own symbol.
        symbol: String,
        /// Its kind.
        kind: &'static str,
        /// The others' kind.
        others: &'static str,
    },
    /// It is there.
    #[error("{venue} {symbol} has joined {book} before")]
    Twice {
        /// Where the instrument trades.
        venue: Venue,
        /// Its own symbol.
        symbol: String,
        /// The consolidated book.
        book: String,
    },
    /// No seat is left.
    #[error("{book} has {MEMBERS_MAX} members, {venue} {symbol} would be one too many")]
    Full {
        /// Where the instrument trades.
        venue: Venue,
        /// Its own symbol.
        symbol: String,
        /// The consolidated book.
        book: String,
    },
    /// A scale that no mantissa can have.
    #[error("{venue} {symbol} has {scale} decimals, {SCALE_MAX} is the most a mantissa can have")]
    Scale {
        /// Where the instrument trades.
        venue: Venue,
        /// Its own symbol.
        symbol: String,
        /// The scale.
        scale: u8,
    },
}

/// One book out of many venues' books of the same pair.
#[derive(Clone, Debug)]
pub struct Consolidated {
    symbol: String,
    groups: Groups,
    kind: Option<InstrumentKind>,
    price_scale: u8,
    size_scale: u8,
    members: Vec<Member>,
    /// Members whose best price may be another, by side.
    stale: [u16; 2],
    /// Each member's best price, the larger the better; [`ABSENT`] without one.
    ranks: [[i128; MEMBERS_MAX]; 2],
    best: [Option<Touch>; 2],
    crossing: Option<Crossing>,
    last_crossing: Option<Crossing>,
}

impl Consolidated {
    /// An empty book of a pair: `BTC` and `USD`, or any quote currency of its group.
    pub fn new(base: &str, quote: &str, groups: &Groups) -> Consolidated {
        Consolidated {
            symbol: groups.symbol(base, quote),
            groups: groups.clone(),
            kind: None,
            price_scale: 0,
            size_scale: 0,
            members: Vec::with_capacity(MEMBERS_MAX),
            stale: [0; 2],
            ranks: [[ABSENT; MEMBERS_MAX]; 2],
            best: [None; 2],
            crossing: None,
            last_crossing: None,
        }
    }

    /// The canonical symbol, with the name of the quote currency's group.
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// Decimals of the common price scale: the most any member has.
    pub fn price_scale(&self) -> u8 {
        self.price_scale
    }

    /// Decimals of the common size scale.
    pub fn size_scale(&self) -> u8 {
        self.size_scale
    }

    /// A price as a decimal.
    pub fn price(&self, price: WidePrice) -> Decimal {
        Decimal::new(price.0, self.price_scale)
    }

    /// A size as a decimal.
    pub fn size(&self, size: WideQty) -> Decimal {
        Decimal::new(size.0, self.size_scale)
    }

    /// A decimal as a size at the common scale; `None` when it has more decimals, or does not fit.
    pub fn wide_size(&self, size: Decimal) -> Option<WideQty> {
        let least = size.normalised();
        let more = self.size_scale.checked_sub(least.scale)?;
        least.mantissa.checked_mul(10i128.checked_pow(more.into())?).map(WideQty)
    }

    /// Takes in an instrument, cold and empty. All prices and sizes are on a scale as wide as its own from here on.
    pub fn join(&mut self, instrument: &Instrument, fee: Fee, now: UnixNanos) -> Result<MemberId, JoinError> {
        let Instrument { venue, symbol, .. } = instrument;
        let (venue, symbol, book) = (*venue, symbol.clone(), self.symbol.clone());
        let other = self.groups.symbol(&instrument.base, &instrument.quote);
        if other != self.symbol {
            return Err(JoinError::OtherSymbol { venue, symbol, other, book });
        }
        if let Some(others) = self.kind.filter(|kind| *kind != instrument.kind) {
            return Err(JoinError::OtherKind { venue, symbol, kind: instrument.kind.name(), others: others.name() });
        }
        if self.members.iter().any(|m| m.venue == venue && m.instrument == instrument.id) {
            return Err(JoinError::Twice { venue, symbol, book });
        }
        if self.members.len() == MEMBERS_MAX {
            return Err(JoinError::Full { venue, symbol, book });
        }
        if let Some(scale) = [instrument.price_scale, instrument.size_scale].into_iter().find(|s| *s > SCALE_MAX) {
            return Err(JoinError::Scale { venue, symbol, scale });
        }
        let id = MemberId(self.members.len() as u8);
        self.kind = Some(instrument.kind);
        self.members.push(Member {
            venue,
            instrument: instrument.id,
            symbol,
            venue_symbol: instrument.venue_symbol.clone(),
            fee,
            price_scale: instrument.price_scale,
            size_scale: instrument.size_scale,
            price_factor: 1,
            size_factor: 1,
            book: Book::default(),
            times: Book::default(),
            standing: Standing { since: now, ..Standing::COLD },
            updated: UnixNanos::ZERO,
            tops: [EMPTY; 2],
        });
        self.align();
        Ok(id)
    }

    /// What its venue takes of a taker from here on.
    pub fn charge(&mut self, member: MemberId, fee: Fee) {
        self.members[member.index()].fee = fee;
    }

    /// Puts everything on the widest scale of the members. Scales never shrink, so that what was told stays exact.
    fn align(&mut self) {
        let widest = |scale: fn(&Member) -> u8, own: u8| self.members.iter().map(scale).fold(own, u8::max);
        let (price, size) = (widest(|m| m.price_scale, self.price_scale), widest(|m| m.size_scale, self.size_scale));
        // At most 10^18: scales are at most SCALE_MAX.
        let factor = |wide: u8, own: u8| 10i64.pow(u32::from(wide - own));
        let (by_price, by_size) = (factor(price, self.price_scale), factor(size, self.size_scale));
        for crossing in [&mut self.crossing, &mut self.last_crossing].into_iter().flatten() {
            crossing.widen(by_price, by_size);
        }
        for touch in self.best.iter_mut().flatten() {
            touch.price.0 = touch.price.0.saturating_mul(by_price.into());
            touch.size.0 = touch.size.0.saturating_mul(by_size.into());
        }
        for member in &mut self.members {
            member.price_factor = factor(price, member.price_scale);
            member.size_factor = factor(size, member.size_scale);
        }
        (self.price_scale, self.size_scale) = (price, size);
        self.stale = [u16::MAX; 2];
    }

    /// A member's definition has other scales. `false` when its levels cannot be told in them: it has none then.
    pub fn rescale(&mut self, member: MemberId, price_scale: u8, size_scale: u8) -> bool {
        let m = &mut self.members[member.index()];
        let factor = |new: u8, old: u8| 10i64.checked_pow(u32::from(new.checked_sub(old)?));
        let fits = match (factor(price_scale, m.price_scale), factor(size_scale, m.size_scale)) {
            (Some(price), Some(size)) => m.book.rescale(price, size) && m.times.rescale(price, 1),
            _ => false,
        };
        if !fits {
            m.book.clear();
            m.times.clear();
        }
        (m.price_scale, m.size_scale) = (price_scale.min(SCALE_MAX), size_scale.min(SCALE_MAX));
        self.align();
        fits
    }

    /// Sets a level of a member, in its own mantissas, to an absolute size; 0 (or less) removes it. `time` is when it was
    /// received.
    #[inline]
    pub fn set(&mut self, member: MemberId, side: Side, price: Price, size: Qty, time: UnixNanos) -> Effect {
        let m = &mut self.members[member.index()];
        let effect = m.book.set(side, price, size);
        m.times.set(side, price, if size.0 > 0 { as_size(time) } else { Qty(0) });
        m.updated = time;
        let touches = key(side, price) >= m.tops[at(side)];
        self.stale[at(side)] |= u16::from(touches) << member.0;
        effect
    }

    /// Replaces a side of a member, as [`Book::load`] does.
    pub fn load(&mut self, member: MemberId, side: Side, levels: &[(Price, Qty)], time: UnixNanos) {
        let m = &mut self.members[member.index()];
        m.book.load(side, levels);
        m.times.load(side, &[]);
        for (price, size) in levels {
            m.times.set(side, *price, if size.0 > 0 { as_size(time) } else { Qty(0) });
        }
        m.updated = time;
        self.stale[at(side)] |= 1 << member.0;
    }

    /// Keeps the best `depth` levels of each side of a member.
    #[inline]
    pub fn truncate(&mut self, member: MemberId, depth: usize) {
        let m = &mut self.members[member.index()];
        m.book.truncate(depth);
        m.times.truncate(depth);
        // No best price is cut but by a depth of 0.
        if depth == 0 {
            self.stale = [u16::MAX; 2];
        }
    }

    /// Forgets a member's levels.
    pub fn clear(&mut self, member: MemberId) {
        let m = &mut self.members[member.index()];
        m.book.clear();
        m.times.clear();
        self.stale = self.stale.map(|stale| stale | 1 << member.0);
    }

    /// Says what a member may be taken for: its levels are kept either way and count while it is live.
    pub fn stand(&mut self, member: MemberId, state: BookState, reason: Reason, time: UnixNanos) {
        let m = &mut self.members[member.index()];
        let since = if m.standing.state == state { m.standing.since } else { time };
        m.standing = Standing { state, reason, since };
        self.stale = self.stale.map(|stale| stale | 1 << member.0);
    }

    /// A member as what a [`crate::Follower`] keeps up to date.
    pub fn seat(&mut self, member: MemberId) -> Seat<'_> {
        Seat { book: self, member }
    }

    /// After a whole event: what is best now, and whether the market is locked or crossed. Until then, answers about the
    /// touch are those of before.
    #[inline]
    pub fn settle(&mut self, now: UnixNanos) -> Settled {
        let mut settled = Settled::default();
        if self.stale[0] != 0 {
            settled.bid = self.refresh(Side::Buy);
        }
        if self.stale[1] != 0 {
            settled.ask = self.refresh(Side::Sell);
        }
        // While bids and asks meet, a change behind the touch is a change of what could trade.
        if settled.bid || settled.ask || self.crossing.is_some() {
            (settled.ended, settled.began) = self.judge(now);
        }
        settled
    }

    /// Looks at the stale members' best prices again; whether the best of all changed.
    fn refresh(&mut self, side: Side) -> bool {
        let (n, ranks) = (at(side), &mut self.ranks[at(side)]);
        let mut stale = std::mem::take(&mut self.stale[n]);
        while stale != 0 {
            let place = stale.trailing_zeros() as usize;
            stale &= stale - 1;
            let Some(m) = self.members.get_mut(place) else { break };
            let best = m.book.best(side);
            m.tops[n] = best.map_or(EMPTY, |level| key(side, level.price));
            ranks[place] = match best {
                Some(level) if m.is_included() => rank(side, m.wide_price(level.price)),
                _ => ABSENT,
            };
        }
        let ranks = &self.ranks[n][..self.members.len()];
        let most = ranks.iter().fold(ABSENT, |most, rank| most.max(*rank));
        let touch = (most != ABSENT).then(|| self.touch(side, most));
        std::mem::replace(&mut self.best[n], touch) != touch
    }

    /// Who is at the best price, with how much.
    fn touch(&self, side: Side, most: i128) -> Touch {
        let price = WidePrice(if side == Side::Buy { most } else { -most });
        let mut touch = Touch { price, size: WideQty(0), members: Members::NONE };
        for (n, m) in self.members.iter().enumerate() {
            if self.ranks[at(side)][n] == most
                && let Some(level) = m.book.best(side)
            {
                touch.size.0 = touch.size.0.saturating_add(m.wide_size(level.size).0);
                touch.members.insert(MemberId(n as u8));
            }
        }
        touch
    }

    /// Whether an interval ended, and whether one began.
    fn judge(&mut self, now: UnixNanos) -> (bool, bool) {
        let meeting = Consolidated::meeting(self.best[0], self.best[1]);
        let other = |open: &mut Crossing| meeting.is_none_or(|(meeting, ..)| open.meeting != meeting);
        let over = self.crossing.take_if(other);
        if let Some(over) = over {
            self.last_crossing = Some(Crossing { ended: Some(now), ..over });
        }
        let Some((meeting, bid, ask)) = meeting else { return (over.is_some(), false) };
        let size = self.meeting_size(meeting);
        let began = self.crossing.is_none();
        let open = self.crossing.get_or_insert(Crossing::begun(meeting, now));
        open.look(bid.members, ask.members, size, WidePrice(bid.price.0 - ask.price.0));
        (over.is_some(), began)
    }

    /// The best price of a side over all included venues, as of the last [`Consolidated::settle`].
    #[inline]
    pub fn best(&self, side: Side) -> Option<Touch> {
        self.best[at(side)]
    }

    /// Best ask less best bid at the common scale; below 0 when crossed, `None` when a side is empty.
    pub fn spread(&self) -> Option<WidePrice> {
        Some(WidePrice(self.best(Side::Sell)?.price.0 - self.best(Side::Buy)?.price.0))
    }

    /// Half way between best bid and best ask, in units of the common scale; `None` when a side is empty.
    pub fn mid(&self) -> Option<Ratio> {
        Ratio::new(self.best(Side::Buy)?.price.0 + self.best(Side::Sell)?.price.0, 2)
    }

    /// The locked or crossed interval that lasts.
    pub fn crossing(&self) -> Option<&Crossing> {
        self.crossing.as_ref()
    }

    /// The last that ended.
    pub fn last_crossing(&self) -> Option<&Crossing> {
        self.last_crossing.as_ref()
    }

    /// All who joined, in that order.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (MemberId, &Member)> {
        self.members.iter().enumerate().map(|(n, member)| (MemberId(n as u8), member))
    }

    /// Those whose levels are part of no answer: the standing says why, and since when.
    pub fn excluded(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.members().filter(|(_, member)| !member.is_included())
    }

    /// A member.
    pub fn member(&self, member: MemberId) -> &Member {
        &self.members[member.index()]
    }
}

/// A price as a number that is the larger the better.
fn rank(side: Side, price: WidePrice) -> i128 {
    if side == Side::Buy { price.0 } else { -price.0 }
}

/// One member's place in a consolidated book.
#[derive(Debug)]
pub struct Seat<'a> {
    book: &'a mut Consolidated,
    member: MemberId,
}

impl Target for Seat<'_> {
    fn book(&self) -> &Book {
        &self.book.members[self.member.index()].book
    }

    #[inline]
    fn set(&mut self, side: Side, price: Price, size: Qty, time: UnixNanos) -> Effect {
        self.book.set(self.member, side, price, size, time)
    }

    fn load(&mut self, side: Side, levels: &[(Price, Qty)], time: UnixNanos) {
        self.book.load(self.member, side, levels, time);
    }

    #[inline]
    fn truncate(&mut self, depth: usize) {
        self.book.truncate(self.member, depth);
    }

    fn clear(&mut self) {
        self.book.clear(self.member);
    }

    fn rescale(&mut self, (price_scale, size_scale): (u8, u8), _old: (u8, u8)) -> bool {
        self.book.rescale(self.member, price_scale, size_scale)
    }

    fn stand(&mut self, standing: Standing) {
        self.book.stand(self.member, standing.state, standing.reason, standing.since);
    }
}
