//! What is known of each numbered event of one stream: four bytes an id, in pieces of 64 ids that exist once one of
//! them does, so that ten million trades cost some 50 MB and scattered ids no more than their number.

use std::collections::BTreeMap;

/// Ids of a piece.
const PIECE: usize = 64;

/// A set of marks.
pub type Marks = u32;

/// It was told.
pub const TOLD: Marks = 1;
/// Flagged late.
pub const LATE: Marks = 1 << 1;
/// A gap names it.
pub const NAMED: Marks = 1 << 2;
/// A frame carried it.
pub const SENT: Marks = 1 << 3;
/// An answer carried it.
pub const ANSWERED: Marks = 1 << 4;
/// It was sent with the content told.
pub const SAME: Marks = 1 << 5;
/// It was sent with another content.
pub const OTHER: Marks = 1 << 6;
/// It was sent while the consumer listened, clear of both ends.
pub const OWED: Marks = 1 << 7;
/// A connection of the consumer's own feed carried it.
pub const OWN: Marks = 1 << 8;
/// A frame carried it, a gap names it, and a later one of the same connection was told live.
pub const LIVE: Marks = 1 << 9;
const MARKS: u32 = 10;

/// The marks and contents of one stream's ids.
#[derive(Default)]
pub struct Ids {
    pieces: BTreeMap<u64, Box<[u32; PIECE]>>,
}

impl Ids {
    fn slot(&mut self, id: u64) -> &mut u32 {
        let piece = self.pieces.entry(id / PIECE as u64).or_insert_with(|| Box::new([0; PIECE]));
        &mut piece[(id % PIECE as u64) as usize]
    }

    /// Adds marks; those before.
    pub fn mark(&mut self, id: u64, marks: Marks) -> Marks {
        let slot = self.slot(id);
        let before = *slot & ((1 << MARKS) - 1);
        *slot |= marks;
        before
    }

    /// Keeps what was told of an id, as far as it fits.
    pub fn keep(&mut self, id: u64, content: u64) {
        *self.slot(id) |= short(content);
    }

    /// Adds marks of something sent and says by a mark whether its content is the one told; the marks before.
    pub fn compare(&mut self, id: u64, marks: Marks, content: u64) -> Marks {
        let slot = self.slot(id);
        let before = *slot & ((1 << MARKS) - 1);
        let told = *slot >> MARKS << MARKS;
        let verdict = match before & TOLD {
            0 => 0,
            _ if told == short(content) => SAME,
            _ => OTHER,
        };
        *slot |= marks | verdict;
        before
    }

    /// Every id with a mark, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Marks)> {
        self.pieces.iter().flat_map(|(piece, slots)| {
            let ids = slots.iter().enumerate().filter(|(_, slot)| **slot != 0);
            ids.map(move |(at, slot)| (piece * PIECE as u64 + at as u64, slot & ((1 << MARKS) - 1)))
        })
    }
}

fn short(content: u64) -> u32 {
    (content as u32) << MARKS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_add_up_and_contents_are_told_apart() {
        let mut ids = Ids::default();
        assert_eq!(ids.mark(7, TOLD), 0);
        ids.keep(7, 0xabcd_1234);
        assert_eq!(ids.compare(7, SENT, 0xabcd_1234), TOLD);
        assert_eq!(ids.compare(u64::MAX, SENT, 5), 0);
        ids.mark(64, NAMED);
        let all: Vec<_> = ids.iter().collect();
        assert_eq!(all, [(7, TOLD | SENT | SAME), (64, NAMED), (u64::MAX, SENT)]);
        assert_eq!(ids.compare(7, ANSWERED, 0xabcd_1235), TOLD | SENT | SAME);
        assert_eq!(ids.mark(7, 0), TOLD | SENT | SAME | ANSWERED | OTHER);
    }
}
