//! What a size costs across venues, each with its fee: the cheapest way there is to take it, and who gives how much.

use super::fee::WHOLE;
use super::member::{MemberId, WidePrice, WideQty};
use super::{Consolidated, MEMBERS_MAX};
use crate::Ratio;
use model::{Price, Side};

/// What one venue gives to a taker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leg {
    /// How much, at the common size scale.
    pub filled: WideQty,
    /// Price times size, before the fee, at the sum of both common scales.
    pub notional: i128,
    /// The fee, at six decimals more than the notional; below zero where the venue pays it.
    pub fee: i128,
    /// The limit an order there needs, in the venue's own mantissa.
    pub limit: Option<Price>,
    /// How many levels are taken from, the last perhaps in part.
    pub levels: usize,
}

/// The cheapest way to take a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Who takes: a buyer from the asks, a seller to the bids.
    pub taker: Side,
    /// How much the venues give together.
    pub filled: WideQty,
    /// How much they do not have.
    pub remaining: WideQty,
    /// Price times size of all of it, before fees, at the sum of both common scales.
    pub notional: i128,
    /// All fees, at six decimals more than the notional.
    pub fees: i128,
    legs: [Leg; MEMBERS_MAX],
}

/// Why a size has no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Below zero.
    #[error("a size of {size} cannot be taken: it is below zero")]
    Size {
        /// Mantissa of the size asked for.
        size: i128,
    },
    /// A cost does not fit 128 bits.
    #[error("what {size} units cost does not fit 128 bits at price {price}: ask for less")]
    TooLarge {
        /// Mantissa of the size asked for.
        size: i128,
        /// Mantissa of the price at which it was too much.
        price: i128,
    },
}

impl Plan {
    /// Who gives what, in the order in which they joined; those who give nothing are left out.
    pub fn legs(&self) -> impl Iterator<Item = (MemberId, &Leg)> {
        let legs = self.legs.iter().enumerate().filter(|(_, leg)| leg.filled.0 > 0);
        legs.map(|(n, leg)| (MemberId(n as u8), leg))
    }

    /// What a buyer pays or a seller gets, fees included, at six decimals more than the notional. Always fits.
    pub fn total(&self) -> i128 {
        let whole = self.notional * WHOLE;
        if self.taker == Side::Buy { whole + self.fees } else { whole - self.fees }
    }

    /// The mean price of what is filled, fees included, at six decimals more than prices have; `None` when nothing is.
    pub fn average(&self) -> Option<Ratio> {
        Ratio::new(self.total(), self.filled.0)
    }

    fn take(&mut self, member: MemberId, limit: Price, price: WidePrice, size: i128, fee: super::Fee) -> Option<()> {
        let notional = price.0.checked_mul(size)?;
        let charged = fee.of(notional)?;
        let leg = &mut self.legs[member.index()];
        leg.filled.0 += size;
        leg.notional = leg.notional.checked_add(notional)?;
        leg.fee = leg.fee.checked_add(charged)?;
        leg.limit = Some(limit);
        leg.levels += 1;
        self.filled.0 += size;
        self.remaining.0 -= size;
        self.notional = self.notional.checked_add(notional)?;
        self.fees = self.fees.checked_add(charged)?;
        // The total has to fit too, with fees that are below the whole.
        self.notional.checked_abs()?.checked_mul(2 * WHOLE).map(drop)
    }
}

impl Consolidated {
    /// The cheapest way for a taker to buy (from the asks) or to sell (to the bids) a size at the common scale, fees
    /// included. What is less than a venue's own smallest unit of size is taken from the next best that can give it.
    /// The venues' smallest orders and what an order moves are not thought of.
    pub fn plan(&self, taker: Side, size: WideQty) -> Result<Plan, PlanError> {
        if size.0 < 0 {
            return Err(PlanError::Size { size: size.0 });
        }
        let legs = [Leg::default(); MEMBERS_MAX];
        let mut plan = Plan { taker, filled: WideQty(0), remaining: size, notional: 0, fees: 0, legs };
        // A seller wants the most, a buyer the least.
        let mut offers = self.merge(taker.opposite(), |member, price| {
            let after = member.fee.after(taker, price.0);
            if taker == Side::Buy { -after.max(-i128::MAX) } else { after }
        });
        while plan.remaining.0 > 0
            && let Some(share) = offers.next()
        {
            let member = &self.members[share.member.index()];
            let unit = i128::from(member.size_factor);
            let taken = share.size.0.min(plan.remaining.0 / unit * unit);
            if taken == 0 {
                offers.leave(share.member);
                continue;
            }
            plan.take(share.member, share.level.price, share.price, taken, member.fee)
                .ok_or(PlanError::TooLarge { size: size.0, price: share.price.0 })?;
        }
        Ok(plan)
    }
}
