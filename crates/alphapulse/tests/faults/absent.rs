//! Where a fault has no row of a venue, and why: what cannot happen there, or cannot be seen.

/// Why some venues have no row of a fault.
pub struct Absent {
    /// What goes wrong, as the table names it.
    pub what: &'static str,
    venues: &'static [&'static str],
    pub reason: &'static str,
}

impl Absent {
    pub fn fits(&self, venue: &str) -> bool {
        self.venues.contains(&venue)
    }
}

const fn absent(what: &'static str, venues: &'static [&'static str], reason: &'static str) -> Absent {
    Absent { what, venues, reason }
}

const NO_BOOK: &str = "the venue has no book of shares";
const NO_IDS: &str = "its trades have no ids and its frames no numbers: nothing tells one from another alike";
const NO_NUMBER: &str =
    "changes of a book carry no number and no checksum; a book that is wrong for it is found when it crosses (F09)";
const PER_FRAME: &str =
    "frames are numbered as they are sent, changes are not; a book that is wrong is found when it crosses (F09)";
const ABSOLUTE: &str = "sizes are absolute and changes carry no number: one told again changes nothing";
const NO_CHECKSUM: &str = "the venue sends no checksum";
const NO_OFFER: &str = "compression is never asked for here";

pub const ABSENT: &[Absent] = &[
    absent("lost book changes", &["coinbase", "alpaca crypto"], NO_NUMBER),
    absent("lost book changes", &["alpaca stocks"], NO_BOOK),
    absent("lost trades", &["kraken v1"], NO_IDS),
    absent(
        "book changes sent twice",
        &["coinbase", "coinbase advanced", "kraken", "kraken v1", "alpaca crypto"],
        ABSOLUTE,
    ),
    absent("book changes sent twice", &["alpaca stocks"], NO_BOOK),
    absent("trades sent twice", &["kraken v1"], NO_IDS),
    absent("book changes out of order", &["coinbase", "alpaca crypto"], NO_NUMBER),
    absent("book changes out of order", &["coinbase advanced"], PER_FRAME),
    absent("book changes out of order", &["alpaca stocks"], NO_BOOK),
    absent("trades out of order", &["kraken v1"], NO_IDS),
    absent("ids and sequences begin at 1", &["kraken v1"], "it has neither ids nor sequences"),
    absent(
        "a message that grows when it is unpacked",
        &["binance", "coinbase advanced", "kraken", "kraken v1"],
        NO_OFFER,
    ),
    absent("a wrong checksum", &["binance", "coinbase", "coinbase advanced", "alpaca crypto"], NO_CHECKSUM),
    absent("a wrong checksum", &["alpaca stocks"], NO_BOOK),
    absent("a wrong size of a level", &["binance", "coinbase", "coinbase advanced", "alpaca crypto"], NO_CHECKSUM),
    absent("a wrong size of a level", &["alpaca stocks"], NO_BOOK),
    absent("a bid above the asks", &["alpaca stocks"], NO_BOOK),
    absent("a book is silent against its rhythm", &["alpaca stocks"], NO_BOOK),
    absent("a book is frozen against its rhythm", &["alpaca stocks"], NO_BOOK),
    absent("the ticker says otherwise", &["alpaca stocks"], NO_BOOK),
    absent(
        "the ticker says otherwise",
        &["coinbase", "coinbase advanced", "kraken v1"],
        "no fault changes the best prices of its quotes alone; the comparison is the same code",
    ),
    absent("sizes of levels are wrong", &["alpaca stocks"], NO_BOOK),
    absent(
        "sizes of levels are wrong",
        &["coinbase", "coinbase advanced", "kraken", "kraken v1", "alpaca crypto"],
        "fresh snapshots are compared where they have an id in the stream: at Binance alone",
    ),
    absent("17 % of trades hidden", &["kraken v1"], NO_IDS),
    absent("snapshots older than the changes", &["coinbase", "coinbase advanced", "alpaca crypto"], NO_NUMBER),
    absent("snapshots older than the changes", &["alpaca stocks"], NO_BOOK),
    absent(
        "banned",
        &["coinbase", "coinbase advanced", "kraken", "kraken v1", "alpaca crypto", "alpaca stocks"],
        "status 418 is Binance's alone",
    ),
    absent(
        "a finer tick in the middle of the stream",
        &["binance", "coinbase advanced", "kraken v1"],
        "definitions come by REST alone; digits finer than defined are a row of their own",
    ),
    absent(
        "a finer tick in the middle of the stream",
        &["alpaca crypto", "alpaca stocks"],
        "the venue's data interface defines nothing; digits finer than before are a row of their own",
    ),
];
