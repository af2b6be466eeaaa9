//! One side as a sorted array with the touch at the end, where most changes of a small book are: a change moves few
//! levels and allocates nothing once the array has grown to the book's size.

use crate::{Effect, Level};
use model::{Price, Qty};

/// Changes this near to the touch are found by walking, farther ones by halving.
const WALK: usize = 8;

/// Sets a level of an array that is ordered worst first; a size of 0 or less removes it.
#[inline]
pub(crate) fn set(levels: &mut Vec<Level>, price: Price, size: Qty, better: impl Fn(Price, Price) -> bool) -> Effect {
    let at = position(levels, price, &better);
    // `at` counts the levels that are not better than `price`: the level itself, if there, is the last of them.
    let here = at > 0 && levels[at - 1].price == price;
    if size.0 <= 0 {
        if !here {
            return Effect::Absent;
        }
        levels.remove(at - 1);
        return Effect::Deleted;
    }
    if here {
        levels[at - 1].size = size;
        return Effect::Changed;
    }
    levels.insert(at, Level { price, size });
    Effect::Added
}

/// The size at a price; 0 where nothing rests.
#[inline]
pub(crate) fn size(levels: &[Level], price: Price, better: impl Fn(Price, Price) -> bool) -> Qty {
    let at = position(levels, price, &better);
    levels[..at].last().filter(|l| l.price == price).map_or(Qty(0), |l| l.size)
}

/// How many levels are not better than `price`.
#[inline]
fn position(levels: &[Level], price: Price, better: &impl Fn(Price, Price) -> bool) -> usize {
    let near = levels.len().saturating_sub(WALK);
    let mut at = levels.len();
    while at > near && better(levels[at - 1].price, price) {
        at -= 1;
    }
    if at > near || near == 0 {
        return at;
    }
    levels[..near].partition_point(|l| !better(l.price, price))
}
