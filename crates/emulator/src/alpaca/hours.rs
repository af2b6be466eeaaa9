//! What the consolidated tape says of a stock trade beside its price: extended hours, and prints out of sequence.
//!
//! Which prints come late depends on their ids alone.

use crate::market::{Pair, Trade, sessions};

/// One trade in so many is printed late, and after so many more of its symbol.
const LATE_OF: u64 = 90;
pub(super) const LATE_AFTER: u64 = 2;

/// Whether a stock trade is told behind later ones.
pub(super) fn is_late(pair: &Pair, trade: &Trade) -> bool {
    pair.tape && trade.id % LATE_OF == 23
}

/// The tape's code for extended hours and late prints, if there is one.
pub(super) fn code(pair: &Pair, trade: &Trade) -> Option<&'static str> {
    if !pair.tape {
        return None;
    }
    match (sessions::is_open(trade.time), is_late(pair, trade)) {
        (true, true) => Some("Z"),
        (false, true) => Some("U"),
        (false, false) => Some("T"),
        (true, false) => None,
    }
}
