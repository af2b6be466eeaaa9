//! WebSocket v1: arrays `[channel id, payload, channel name, pair]`, and events as objects. [`fast`] reads the usual
//! shapes, [`exact`] the rest, [`definitions`] what REST says of pairs, as the protocol itself has no such channel.
//!
//! The channel's id is deprecated; name and pair at the end of the array say what a frame is. Pairs are spelled the old
//! way (`XBT`, `XDG`) and known by the new one, so that a market is the same instrument in both protocols.

pub mod definitions;
pub mod exact;
pub mod fast;

/// The depth in a book's channel name; `None` when it is no book's.
pub fn book_depth(name: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(b"book-")?;
    let plain = !digits.is_empty() && digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| digits.iter().fold(0, |depth, digit| depth * 10 + u32::from(digit - b'0')))
}
