//! Which trades of an instrument were told, which are missing, and how the missing ones are fetched: the same for
//! every venue, so that none is told twice and none is lost that the venue still serves.
//!
//! A machine keeps one [`TradeIds`] (or, where trades have no ids, one [`TimedTrades`]) per instrument and one
//! [`Backfill`] for all of them:
//!
//! ```text
//! stream ──> take(id, time)  ──> Next: tell · Repeat: drop · Jump: gap at once, then tell, backfill.wanted()
//! timer  ──> backfill.ask(path of a page) ──> request
//! answer ──> backfill.answer() ──> the machine reads rows ──> backfill.settle() ──> rows to tell with `Flags::LATE`
//! ```
//!
//! A gap is told the moment it is seen, with its exact ids; what is told late of it afterwards needs no other record:
//! a reader subtracts the late ids from the gap. What the venue no longer serves stays the gap that was told. A gap
//! without ids is closed by [`wire::BackfillRecord`]s.

mod backfill;
mod ids;
mod timed;

pub use backfill::{Backfill, Page, Paging, Row};
pub use ids::{Missing, TradeIds, Verdict};
pub(crate) use ids::{RANGES_MAX, fill, forget, lose, without};
pub use timed::{TimedTrades, key};

use crate::Counts;

/// What a [`Backfill`] fills: the missing trades of one instrument.
pub trait Holes {
    /// The page to ask for first, if anything is missing: first and last id, the times around them.
    fn next_page(&self) -> Option<Missing>;

    /// Takes in what a page brought. Those not told before stay in `rows`, in the order of their time; the others are
    /// dropped. `true` when it brought the page nearer to its end, be it because trades turn out not to be served.
    fn take_rows(&mut self, page: &Page, paging: Paging, rows: &mut Vec<Row>, counts: &mut Counts) -> bool;

    /// Nothing more is to be had of a page.
    fn give_up(&mut self, page: &Page, counts: &mut Counts);
}
