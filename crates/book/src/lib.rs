//! L2 books: what rests at each price of one instrument at one venue.
//! levels in -> [`Book`] -> best first, depth, actions. [`PlainBook`] is the same in the simplest form that can be
//! right, and the judge of the fast one. Many venues' books of a pair -> [`Consolidated`]. What is told of a book from
//! anywhere on -> [`Follower`] -> the book. Trades in -> [`bars`] and [`flow`].
//!
//! Invariants: a level's size is positive; bids fall and asks rise from the touch. A book may look crossed inside a
//! venue's message; only whole events are judged. Knows nothing of bytes, venues' rules or what makes a book trusted.
#![forbid(unsafe_code)]

mod answers;
pub mod bars;
pub mod consolidated;
mod fast;
pub mod flow;
mod follow;
mod half;
mod pages;
mod plain;
mod ratio;
mod window;

pub use answers::{Changes, Fill, Mark, Total};
pub use consolidated::{Consolidated, Standing};
pub use fast::Book;
pub use follow::{Followed, Follower, Opening, Rebuilt, Target};
pub use plain::PlainBook;
pub use ratio::Ratio;

use model::{Price, Qty};

/// One price level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Price mantissa.
    pub price: Price,
    /// Size mantissa, positive.
    pub size: Qty,
}

/// What a change did to the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The level is new.
    Added,
    /// The level has another size (or the same again).
    Changed,
    /// The level is gone.
    Deleted,
    /// A level that was not there should go: normal at venues whose snapshots are cut.
    Absent,
}
