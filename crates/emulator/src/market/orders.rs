//! Orders and what happens to them, as venues tell it that tell each order.

use book::Level;
use model::{Price, Qty, Side};

use super::Trade;
use super::draw::mixed;

/// A resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The 128 bits of its UUID.
    pub(crate) id: u128,
    pub(crate) price: Price,
    /// What is left of it.
    pub(crate) size: Qty,
}

/// A trade between two orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) sequence: u64,
    pub(crate) maker: u128,
    pub(crate) taker: u128,
    pub(crate) trade: Trade,
}

/// What happened to an order; the side is the order's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderEvent {
    /// The venue took it in; a market order has no price.
    Received { id: u128, side: Side, price: Option<Price>, size: Qty },
    /// It rests in the book.
    Open { side: Side, order: Order },
    /// It traded.
    Match(Match),
    /// It shrank in its place.
    Change { side: Side, order: Order, old: Qty },
    /// It is gone: filled with nothing left, or canceled with `remaining` left.
    Done { id: u128, side: Side, price: Option<Price>, remaining: Qty, filled: bool },
}

/// The id of a run's `number`th order: the number in the last 48 bits, noise of the run before.
pub(crate) fn id(salt: u64, number: u64) -> u128 {
    let noise = u128::from(mixed(salt ^ number)) << 64;
    let node = u128::from(number & 0xFFFF_FFFF_FFFF);
    let version = 4_u128 << 76;
    let variant = 0x8_u128 << 60;
    let kept = !(0xF_u128 << 76) & !0xFFFF_FFFF_FFFF_FFFF_u128;
    let clock = u128::from(mixed(salt.wrapping_add(number)) & 0xFFF) << 48;
    noise & kept | version | variant | clock | node
}

/// The size of each level and how many orders it has.
pub(crate) fn levels(orders: impl Iterator<Item = Order>) -> Vec<(Level, usize)> {
    let mut levels: Vec<(Level, usize)> = Vec::new();
    for order in orders {
        match levels.last_mut().filter(|(level, _)| level.price == order.price) {
            Some((level, count)) => {
                level.size.0 += order.size.0;
                *count += 1;
            }
            None => levels.push((Level { price: order.price, size: order.size }, 1)),
        }
    }
    levels
}

/// Appends an id as UUIDs are written.
pub(crate) fn push_uuid(id: u128, out: &mut Vec<u8>) {
    for index in 0..32 {
        if [8, 12, 16, 20].contains(&index) {
            out.push(b'-');
        }
        let digit = (id >> (124 - 4 * index)) as u8 & 0xF;
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_uuids_of_version_four() {
        let mut out = Vec::new();
        push_uuid(id(7, 1), &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        assert_eq!((text.len(), &text[14..15], &text[19..20]), (36, "4", "8"), "{text}");
        assert!(text.ends_with("000000000001"), "{text}");
    }
}
