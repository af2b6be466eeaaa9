//! A follower by hand: what it waits for, what it believes, and how far.

use crate::{Follower, Opening, Rebuilt};
use model::{BookState, InstrumentStatus, Price, Qty, Reason, Side, UnixNanos};

const LIVE: (BookState, Reason) = (BookState::Live, Reason::Ok);

impl Rebuilt {
    fn told(state: BookState) -> Rebuilt {
        let mut r = Rebuilt::default();
        r.follower.define((1, 2), InstrumentStatus::Trading, UnixNanos(1), &mut r.book);
        r.follower.state(state, Reason::Ok, UnixNanos(1), &mut r.book);
        r
    }

    /// A snapshot of these levels.
    fn snapshot(&mut self, bids: &[(i64, i64)], asks: &[(i64, i64)], capped: bool, time: u64) {
        let levels = [bids.len(), asks.len()];
        let opening = Opening { levels, depth: None, capped, periodic: true };
        self.follower.begin(opening, UnixNanos(time), &mut self.book);
        for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
            levels.iter().for_each(|l| self.follower.level(side, Price(l.0), Qty(l.1)));
        }
        self.follower.end(UnixNanos(time), &mut self.book);
    }

    fn change(&mut self, side: Side, price: i64, size: i64, time: u64) {
        self.follower.change(side, (Price(price), Qty(size)), true, UnixNanos(time), &mut self.book);
    }

    fn state(&self) -> (BookState, Reason) {
        (self.follower.standing().state, self.follower.standing().reason)
    }

    fn levels(&self, side: Side) -> Vec<(i64, i64)> {
        self.book.levels(side).map(|l| (l.price.0, l.size.0)).collect()
    }
}

#[test]
fn nothing_is_believed_before_a_whole_snapshot_and_a_state() {
    let mut r = Rebuilt::default();
    assert_eq!(r.state(), (BookState::Cold, Reason::Start));
    r.change(Side::Buy, 100, 1, 2);
    // The rest of a snapshot that was joined in the middle.
    r.follower.level(Side::Buy, Price(99), Qty(1));
    r.follower.end(UnixNanos(3), &mut r.book);
    assert_eq!((r.book.depth(Side::Buy), r.follower.counts().passed_over), (0, 1));
    r.follower.state(BookState::Live, Reason::Ok, UnixNanos(4), &mut r.book);
    assert_eq!(r.state(), (BookState::Syncing, Reason::Start));
    r.snapshot(&[(100, 2)], &[(101, 3)], false, 5);
    assert_eq!((r.state(), r.follower.standing().since), (LIVE, UnixNanos(5)));
    r.follower.state(BookState::Suspect, Reason::Checksum, UnixNanos(6), &mut r.book);
    r.change(Side::Buy, 100, 7, 7);
    assert_eq!((r.state().0, r.levels(Side::Buy)), (BookState::Suspect, vec![(100, 7)]));
}

#[test]
fn a_snapshot_that_breaks_off_is_no_book() {
    let mut r = Rebuilt::told(BookState::Live);
    r.snapshot(&[(100, 2)], &[(101, 3)], false, 2);
    let opening = Opening { levels: [1, 1], depth: None, capped: false, periodic: true };
    r.follower.begin(opening, UnixNanos(3), &mut r.book);
    r.change(Side::Buy, 100, 7, 4);
    assert_eq!((r.state(), r.book.depth(Side::Buy)), ((BookState::Syncing, Reason::Snapshot), 0));
    r.follower.begin(opening, UnixNanos(5), &mut r.book);
    r.follower.level(Side::Buy, Price(100), Qty(2));
    r.follower.end(UnixNanos(6), &mut r.book);
    assert_eq!((r.state().0, r.follower.counts().broken), (BookState::Syncing, 2));
    r.follower.begin(opening, UnixNanos(7), &mut r.book);
    r.snapshot(&[(100, 2)], &[(101, 3)], false, 8);
    assert_eq!((r.state(), r.follower.counts().broken), (LIVE, 3));
}

#[test]
fn a_cut_snapshot_says_how_far_the_book_is_known() {
    let mut r = Rebuilt::told(BookState::Live);
    r.snapshot(&[(100, 1), (98, 1)], &[(101, 1)], true, 2);
    // Asks are fewer than the cut: all are known.
    assert_eq!((r.follower.bound(Side::Buy), r.follower.bound(Side::Sell)), (Some(Price(98)), None));
    r.change(Side::Buy, 97, 5, 3);
    r.change(Side::Buy, 99, 5, 3);
    r.change(Side::Sell, 500, 5, 3);
    assert_eq!(r.levels(Side::Buy), [(100, 1), (99, 5), (98, 1)]);
    assert_eq!(r.levels(Side::Sell), [(101, 1), (500, 5)]);
    // A later one that agrees reaches farther.
    r.snapshot(&[(100, 1), (99, 5), (98, 1), (97, 5)], &[(101, 1), (500, 5)], true, 4);
    assert_eq!((r.follower.bound(Side::Buy), r.levels(Side::Buy).len()), (Some(Price(97)), 4));
    // One that reaches less far takes nothing away.
    r.snapshot(&[(100, 1)], &[(101, 1)], true, 5);
    assert_eq!((r.follower.counts().agreed, r.levels(Side::Buy).len()), (2, 4));
    // Once all that is known is gone, what is best is not.
    for price in [100, 99, 98] {
        r.change(Side::Buy, price, 0, 6);
    }
    assert_eq!(r.state(), LIVE);
    r.change(Side::Buy, 97, 0, 7);
    assert_eq!((r.state(), r.follower.standing().since), ((BookState::Syncing, Reason::Snapshot), UnixNanos(7)));
    r.snapshot(&[(90, 1)], &[(101, 1)], false, 8);
    assert_eq!((r.state(), r.follower.bound(Side::Buy)), (LIVE, None));
    r.snapshot(&[], &[], true, 9);
    assert_eq!((r.state(), r.levels(Side::Buy)), (LIVE, vec![(90, 1)]), "a cut to nothing tells nothing");
}

#[test]
fn a_repeated_snapshot_that_disagrees_is_believed_and_counted() {
    let mut r = Rebuilt::told(BookState::Live);
    r.snapshot(&[(100, 1), (98, 1)], &[(101, 1)], false, 2);
    r.snapshot(&[(100, 1), (98, 2)], &[(101, 1)], false, 3);
    assert_eq!((r.follower.counts().disagreed, r.levels(Side::Buy)), (1, vec![(100, 1), (98, 2)]));
    r.snapshot(&[(100, 1)], &[(101, 1)], false, 4);
    assert_eq!((r.follower.counts().disagreed, r.levels(Side::Buy)), (2, vec![(100, 1)]));
}

#[test]
fn the_book_is_cut_to_the_venues_depth_after_each_event() {
    let mut r = Rebuilt::told(BookState::Live);
    let opening = Opening { levels: [2, 0], depth: Some(2), capped: false, periodic: false };
    r.follower.begin(opening, UnixNanos(2), &mut r.book);
    r.follower.level(Side::Buy, Price(100), Qty(1));
    r.follower.level(Side::Buy, Price(99), Qty(1));
    r.follower.end(UnixNanos(2), &mut r.book);
    r.follower.change(Side::Buy, (Price(102), Qty(1)), false, UnixNanos(3), &mut r.book);
    assert_eq!((r.book.depth(Side::Buy), r.follower.depth()), (3, Some(2)));
    r.change(Side::Buy, 101, 1, 3);
    assert_eq!(r.levels(Side::Buy), [(102, 1), (101, 1)]);
}

#[test]
fn scales_widen_what_is_held_and_what_is_known() {
    let mut r = Rebuilt::told(BookState::Live);
    r.snapshot(&[(100, 1)], &[(101, 1)], true, 2);
    r.follower.define((3, 3), InstrumentStatus::Trading, UnixNanos(3), &mut r.book);
    assert_eq!((r.levels(Side::Buy), r.follower.bound(Side::Buy)), (vec![(10_000, 10)], Some(Price(10_000))));
    // Narrower ones cannot be told from here: the next snapshot can.
    r.follower.define((2, 3), InstrumentStatus::Trading, UnixNanos(4), &mut r.book);
    assert_eq!(r.state(), (BookState::Syncing, Reason::Definition));
}

#[test]
fn losses_silence_and_halts_are_states_of_their_own() {
    let mut r = Rebuilt::told(BookState::Live);
    r.snapshot(&[(100, 1)], &[(101, 1)], false, 2);
    r.follower.silence(true, UnixNanos(3), &mut r.book);
    assert_eq!((r.state(), r.levels(Side::Buy).len()), ((BookState::Suspect, Reason::Timeout), 1));
    r.follower.silence(false, UnixNanos(4), &mut r.book);
    assert_eq!((r.state(), r.follower.standing().since), (LIVE, UnixNanos(4)));
    r.follower.trade(InstrumentStatus::Halted, UnixNanos(5), &mut r.book);
    assert_eq!(r.state(), (BookState::Halted, Reason::Venue));
    r.follower.trade(InstrumentStatus::Trading, UnixNanos(6), &mut r.book);
    r.follower.lose(Reason::Sequence, UnixNanos(7), &mut r.book);
    assert_eq!((r.state(), r.levels(Side::Buy).len()), ((BookState::Syncing, Reason::Sequence), 0));
    r.follower.restart(Reason::Shutdown, UnixNanos(8), &mut r.book);
    assert_eq!(r.state(), (BookState::Cold, Reason::Shutdown));
    assert_eq!(Follower::default().standing().state, BookState::Cold);
}
