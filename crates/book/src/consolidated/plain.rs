//! The consolidated book as a reader would write it down: all venues' levels in ordered maps, every answer sorted out of
//! a list of them. The executable specification of [`super::Consolidated`].

use super::fee::WHOLE;
use super::{Crossing, Fee, Meeting, MemberId, Members, WidePrice, WideQty};
use model::{Price, Qty, Side, UnixNanos};
use std::collections::BTreeMap;

/// One venue's levels.
#[derive(Clone, Debug)]
struct PlainMember {
    scales: (u8, u8),
    fee: Fee,
    live: bool,
    levels: [BTreeMap<Price, (Qty, UnixNanos)>; 2],
}

/// A level of a venue: who, price, size, when it was last told.
pub type PlainShare = (MemberId, WidePrice, WideQty, UnixNanos);

/// A consolidated book of ordered maps.
#[derive(Clone, Debug, Default)]
pub struct PlainConsolidated {
    members: Vec<PlainMember>,
    crossing: Option<Crossing>,
    last: Option<Crossing>,
}

fn at(side: Side) -> usize {
    usize::from(side == Side::Sell)
}

fn ten(more: u8) -> i128 {
    10i128.pow(more.into())
}

impl PlainConsolidated {
    /// Takes in a member that is not live.
    pub fn join(&mut self, scales: (u8, u8), fee: Fee) -> MemberId {
        let before = self.scales();
        self.members.push(PlainMember { scales, fee, live: false, levels: Default::default() });
        self.widen(before);
        MemberId(self.members.len() as u8 - 1)
    }

    /// Price and size scale of all answers.
    pub fn scales(&self) -> (u8, u8) {
        let widest = |scale: fn(&PlainMember) -> u8| self.members.iter().map(scale).max().unwrap_or(0);
        (widest(|m| m.scales.0), widest(|m| m.scales.1))
    }

    fn widen(&mut self, before: (u8, u8)) {
        let now = self.scales();
        for crossing in [&mut self.crossing, &mut self.last].into_iter().flatten() {
            crossing.widen(ten(now.0 - before.0) as i64, ten(now.1 - before.1) as i64);
        }
    }

    /// A member's scales grow, its levels stay where they are.
    pub fn rescale(&mut self, member: MemberId, scales: (u8, u8)) {
        let before = self.scales();
        let m = &mut self.members[member.index()];
        let (price, size) = (ten(scales.0 - m.scales.0) as i64, ten(scales.1 - m.scales.1) as i64);
        for levels in &mut m.levels {
            let wider = |(p, (q, time)): (&Price, &(Qty, UnixNanos))| (Price(p.0 * price), (Qty(q.0 * size), *time));
            *levels = levels.iter().map(wider).collect();
        }
        m.scales = scales;
        self.widen(before);
    }

    /// Sets a level to an absolute size; 0 (or less) removes it.
    pub fn set(&mut self, member: MemberId, side: Side, price: Price, size: Qty, time: UnixNanos) {
        let levels = &mut self.members[member.index()].levels[at(side)];
        if size.0 > 0 {
            levels.insert(price, (size, time));
        } else {
            levels.remove(&price);
        }
    }

    /// Replaces a side.
    pub fn load(&mut self, member: MemberId, side: Side, levels: &[(Price, Qty)], time: UnixNanos) {
        self.members[member.index()].levels[at(side)].clear();
        for (price, size) in levels {
            self.set(member, side, *price, *size, time);
        }
    }

    /// Keeps the best `depth` levels of each side.
    pub fn truncate(&mut self, member: MemberId, depth: usize) {
        let [bids, asks] = &mut self.members[member.index()].levels;
        while bids.len() > depth {
            bids.pop_first();
        }
        while asks.len() > depth {
            asks.pop_last();
        }
    }

    /// Forgets a member's levels.
    pub fn clear(&mut self, member: MemberId) {
        self.members[member.index()].levels = Default::default();
    }

    /// Whether a member's levels count.
    pub fn stand(&mut self, member: MemberId, live: bool) {
        self.members[member.index()].live = live;
    }

    /// Each level of each live venue, best price first; of equal prices the venue that joined first.
    pub fn shares(&self, side: Side) -> Vec<PlainShare> {
        let (price_scale, size_scale) = self.scales();
        let mut shares = Vec::new();
        for (n, m) in self.members.iter().enumerate().filter(|(_, m)| m.live) {
            let (by_price, by_size) = (ten(price_scale - m.scales.0), ten(size_scale - m.scales.1));
            for (price, (size, time)) in &m.levels[at(side)] {
                let wide = (WidePrice(i128::from(price.0) * by_price), WideQty(i128::from(size.0) * by_size));
                shares.push((MemberId(n as u8), wide.0, wide.1, *time));
            }
        }
        shares.sort_by_key(|(member, price, ..)| (if side == Side::Buy { -price.0 } else { price.0 }, *member));
        shares
    }

    /// The merged levels, best first: price, size, who.
    pub fn levels(&self, side: Side) -> Vec<(WidePrice, WideQty, Members)> {
        let mut levels: Vec<(WidePrice, WideQty, Members)> = Vec::new();
        for (member, price, size, _) in self.shares(side) {
            if levels.last().is_none_or(|level| level.0 != price) {
                levels.push((price, WideQty(0), Members::NONE));
            }
            let level = levels.last_mut().expect("just pushed");
            level.1.0 += size.0;
            level.2.insert(member);
        }
        levels
    }

    /// After a whole event: whether the market is locked or crossed.
    pub fn settle(&mut self, now: UnixNanos) {
        let (bids, asks) = (self.levels(Side::Buy), self.levels(Side::Sell));
        let meeting = match (bids.first(), asks.first()) {
            (Some(bid), Some(ask)) if bid.0 > ask.0 => Some(Meeting::Crossed),
            (Some(bid), Some(ask)) if bid.0 == ask.0 => Some(Meeting::Locked),
            _ => None,
        };
        if let Some(open) = self.crossing.filter(|open| Some(open.meeting) != meeting) {
            self.last = Some(Crossing { ended: Some(now), ..open });
            self.crossing = None;
        }
        let Some(meeting) = meeting else { return };
        let size = WideQty(Self::meeting_size(&bids, &asks, meeting));
        let open = self.crossing.get_or_insert(Crossing::begun(meeting, now));
        open.look(bids[0].2, asks[0].2, size, WidePrice(bids[0].0.0 - asks[0].0.0));
    }

    /// The most that can be traded: the largest, over all limits, of what both sides have up to there.
    fn meeting_size(
        bids: &[(WidePrice, WideQty, Members)],
        asks: &[(WidePrice, WideQty, Members)],
        meeting: Meeting,
    ) -> i128 {
        let gains = |bid: WidePrice, ask: WidePrice| if meeting == Meeting::Locked { bid >= ask } else { bid > ask };
        let up_to = |ask: WidePrice| -> i128 {
            let sold: i128 = asks.iter().filter(|a| a.0 <= ask).map(|a| a.1.0).sum();
            let bought: i128 = bids.iter().filter(|b| gains(b.0, ask)).map(|b| b.1.0).sum();
            // What better asks could trade with more bids than this one.
            sold.min(bought)
        };
        // A unit of the k-th cheapest ask trades if the k-th dearest bid is above it: the largest such k.
        let mut most = 0;
        for ask in asks {
            most = most.max(up_to(ask.0));
        }
        for bid in bids {
            let bought: i128 = bids.iter().filter(|b| b.0 >= bid.0).map(|b| b.1.0).sum();
            let sold: i128 = asks.iter().filter(|a| gains(bid.0, a.0)).map(|a| a.1.0).sum();
            most = most.max(bought.min(sold));
        }
        most
    }

    /// The interval that lasts.
    pub fn crossing(&self) -> Option<Crossing> {
        self.crossing
    }

    /// The last that ended.
    pub fn last_crossing(&self) -> Option<Crossing> {
        self.last
    }

    /// What each venue gives to a taker of a size, and what it is paid, at the scales of a plan: all levels sorted by
    /// their price after the fee and walked until there is enough.
    pub fn plan(&self, taker: Side, size: WideQty) -> Vec<(MemberId, WideQty, i128, i128)> {
        let after = |share: &PlainShare| {
            let fee = i128::from(self.members[share.0.index()].fee.parts_per_million());
            let sign = if taker == Side::Buy { 1 } else { -1 };
            sign * share.1.0 * WHOLE + share.1.0.abs() * fee
        };
        let mut shares = self.shares(taker.opposite());
        shares.sort_by_key(|share| (after(share), share.0));
        let size_scale = self.scales().1;
        let mut left = size.0;
        let mut legs: BTreeMap<MemberId, (WideQty, i128, i128)> = BTreeMap::new();
        for (member, price, rests, _) in shares {
            let m = &self.members[member.index()];
            let unit = ten(size_scale - m.scales.1);
            let taken = rests.0.min(left - left % unit);
            left -= taken;
            if taken > 0 {
                let leg = legs.entry(member).or_insert((WideQty(0), 0, 0));
                leg.0.0 += taken;
                leg.1 += price.0 * taken;
                leg.2 += (price.0 * taken).abs() * i128::from(m.fee.parts_per_million());
            }
        }
        legs.into_iter().map(|(member, (filled, notional, fee))| (member, filled, notional, fee)).collect()
    }
}
