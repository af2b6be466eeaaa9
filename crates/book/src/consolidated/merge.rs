//! The levels of several books as one run, best first, without copying: each book is walked where it is.

use super::member::{Member, MemberId, Members, WidePrice, WideQty};
use super::{Consolidated, MEMBERS_MAX};
use crate::Level;
use model::{Side, UnixNanos};
use std::array;

/// What one venue has at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Whose.
    pub member: MemberId,
    /// The price at the common scale.
    pub price: WidePrice,
    /// The size at the common scale.
    pub size: WideQty,
    /// Both in the member's own mantissas.
    pub level: Level,
    /// When it was last told, by the receive time of whatever told it.
    pub told: UnixNanos,
}

impl Share {
    fn new(id: MemberId, member: &Member, level: Level, told: UnixNanos) -> Share {
        Share { member: id, price: member.wide_price(level.price), size: member.wide_size(level.size), level, told }
    }
}

/// What all venues have at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergedLevel {
    /// The price at the common scale.
    pub price: WidePrice,
    /// Their sizes together.
    pub size: WideQty,
    /// Who has a level here.
    pub members: Members,
}

/// The next level of a member, and what follows.
struct Head<I> {
    share: Share,
    /// The larger the better.
    rank: i128,
    rest: I,
}

/// Several members' levels as one run.
pub(super) struct Merge<'a, I, R> {
    members: &'a [Member],
    heads: [Option<Head<I>>; MEMBERS_MAX],
    /// Taken by the better price; of equals the member that joined first.
    rank: R,
}

impl<I: Iterator<Item = (Level, UnixNanos)>, R: Fn(&Member, WidePrice) -> i128> Merge<'_, I, R> {
    /// A member gives no more.
    pub(super) fn leave(&mut self, member: MemberId) {
        self.heads[member.index()] = None;
    }
}

impl<I: Iterator<Item = (Level, UnixNanos)>, R: Fn(&Member, WidePrice) -> i128> Iterator for Merge<'_, I, R> {
    type Item = Share;

    fn next(&mut self) -> Option<Share> {
        let mut best: Option<(usize, i128)> = None;
        for (n, head) in self.heads[..self.members.len()].iter().enumerate() {
            if let Some(head) = head
                && best.is_none_or(|(_, rank)| head.rank > rank)
            {
                best = Some((n, head.rank));
            }
        }
        let slot = &mut self.heads[best?.0];
        let head = slot.as_mut().expect("the best was found among the heads");
        let (share, member) = (head.share, &self.members[head.share.member.index()]);
        match head.rest.next() {
            Some((level, told)) => {
                head.share = Share::new(share.member, member, level, told);
                head.rank = (self.rank)(member, head.share.price);
            }
            None => *slot = None,
        }
        Some(share)
    }
}

/// A run of shares as one of levels.
struct Levels<S> {
    shares: S,
    next: Option<Share>,
}

impl<S: Iterator<Item = Share>> Iterator for Levels<S> {
    type Item = MergedLevel;

    fn next(&mut self) -> Option<MergedLevel> {
        let first = self.next?;
        let mut level = MergedLevel { price: first.price, size: WideQty(0), members: Members::NONE };
        while let Some(share) = self.next.filter(|share| share.price == level.price) {
            level.size.0 = level.size.0.saturating_add(share.size.0);
            level.members.insert(share.member);
            self.next = self.shares.next();
        }
        Some(level)
    }
}

impl Consolidated {
    /// The included members' levels in the order of a rank.
    pub(super) fn merge<'a, R: Fn(&Member, WidePrice) -> i128 + 'a>(
        &'a self,
        side: Side,
        rank: R,
    ) -> Merge<'a, impl Iterator<Item = (Level, UnixNanos)> + 'a, R> {
        let heads = array::from_fn(|n| {
            let member = self.members.get(n).filter(|member| member.is_included())?;
            let mut rest = member.levels(side);
            let (level, told) = rest.next()?;
            let share = Share::new(MemberId(n as u8), member, level, told);
            Some(Head { share, rank: rank(member, share.price), rest })
        });
        Merge { members: &self.members, heads, rank }
    }

    /// Each level of each included venue, best price first; of equal prices the venue that joined first.
    pub fn shares(&self, side: Side) -> impl Iterator<Item = Share> + '_ {
        self.merge(side, move |_, price| if side == Side::Buy { price.0 } else { -price.0 })
    }

    /// The merged levels of the included venues, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = MergedLevel> + '_ {
        let mut shares = self.shares(side);
        let next = shares.next();
        Levels { shares, next }
    }

    /// Who has how much at one price, in the order in which they joined.
    pub fn shares_at(&self, side: Side, price: WidePrice) -> impl Iterator<Item = Share> + '_ {
        self.members().filter(|(_, member)| member.is_included()).filter_map(move |(id, member)| {
            let own = member.own_price(price)?;
            let size = member.book.size(side, own);
            let told = member.told(side, own)?;
            (size.0 > 0).then(|| Share::new(id, member, Level { price: own, size }, told))
        })
    }
}
