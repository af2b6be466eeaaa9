//! When somebody's bid meets somebody else's ask: locked at the same price, crossed above it.
//!
//! Several venues make such a market all the time, since nobody stops an order at one because of another. It is an
//! interval with a beginning, an end and a size, not a fault.

use super::member::{Members, WidePrice, WideQty};
use super::{Consolidated, Touch};
use model::{Side, UnixNanos};
use std::time::Duration;

/// How bids and asks meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// Best bid and best ask are the same price.
    Locked,
    /// The best bid is above the best ask.
    Crossed,
}

impl Meeting {
    /// The name for people and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Meeting::Locked => "locked",
            Meeting::Crossed => "crossed",
        }
    }
}

/// An interval in which the consolidated market was locked, or in which it was crossed: where one becomes the other, one
/// ends and the other begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Locked or crossed.
    pub meeting: Meeting,
    /// When it began.
    pub began: UnixNanos,
    /// When it was over; `None` while it lasts.
    pub ended: Option<UnixNanos>,
    /// Who had the best bid at any moment of it.
    pub bids: Members,
    /// Who had the best ask.
    pub asks: Members,
    /// How much could be bought and sold at once at the last look: at a gain when crossed, at no loss when locked; fees
    /// apart.
    pub size: WideQty,
    /// The most there was of it.
    pub size_max: WideQty,
    /// The most by which the best bid was above the best ask; 0 when locked.
    pub edge_max: WidePrice,
}

impl Crossing {
    /// One that begins; the first look at it is still to come.
    pub(super) fn begun(meeting: Meeting, now: UnixNanos) -> Crossing {
        let (members, nothing) = (Members::NONE, WideQty(0));
        Crossing {
            meeting,
            began: now,
            ended: None,
            bids: members,
            asks: members,
            size: nothing,
            size_max: nothing,
            edge_max: WidePrice(0),
        }
    }

    /// Takes in who has best bid and best ask now, how much could be traded, and by how much the bid is above the ask.
    pub(super) fn look(&mut self, bids: Members, asks: Members, size: WideQty, edge: WidePrice) {
        (self.bids, self.asks) = (self.bids | bids, self.asks | asks);
        (self.size, self.size_max) = (size, self.size_max.max(size));
        self.edge_max = self.edge_max.max(edge);
    }

    /// How long it lasted, or has lasted by now.
    pub fn duration(&self, now: UnixNanos) -> Duration {
        self.ended.unwrap_or(now).since(self.began)
    }

    /// Sizes and prices at scales that are wider by these factors. What would not fit 128 bits is held at their end.
    pub(super) fn widen(&mut self, price_factor: i64, size_factor: i64) {
        self.edge_max.0 = self.edge_max.0.saturating_mul(price_factor.into());
        self.size.0 = self.size.0.saturating_mul(size_factor.into());
        self.size_max.0 = self.size_max.0.saturating_mul(size_factor.into());
    }
}

impl Consolidated {
    /// Whether the market is locked or crossed, by the touch.
    pub(super) fn meeting(bid: Option<Touch>, ask: Option<Touch>) -> Option<(Meeting, Touch, Touch)> {
        let (bid, ask) = (bid?, ask?);
        match bid.price.cmp(&ask.price) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some((Meeting::Locked, bid, ask)),
            std::cmp::Ordering::Greater => Some((Meeting::Crossed, bid, ask)),
        }
    }

    /// How much bids and asks that meet so could trade with each other.
    pub(super) fn meeting_size(&self, meeting: Meeting) -> WideQty {
        let (mut bids, mut asks) = (self.levels(Side::Buy), self.levels(Side::Sell));
        let (mut bid, mut ask, mut size) = (bids.next(), asks.next(), 0i128);
        while let (Some(b), Some(a)) = (&mut bid, &mut ask) {
            let meets = if meeting == Meeting::Crossed { b.price > a.price } else { b.price == a.price };
            if !meets {
                break;
            }
            let both = b.size.0.min(a.size.0);
            size = size.saturating_add(both);
            b.size.0 -= both;
            a.size.0 -= both;
            if b.size.0 == 0 {
                bid = bids.next();
            }
            if a.size.0 == 0 {
                ask = asks.next();
            }
        }
        WideQty(size)
    }
}
