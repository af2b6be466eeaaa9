//! Where the frames of an emulated venue come from: a seeded simulation or a recorded session.
//! time -> [`Market::advance`] -> frames in the [`Log`], each under its topic; connections copy what they subscribed to.
//!
//! A topic is one stream as a client names it (`btcusdt@trade`, `book:BTC/USD:10`). Every frame is written once,
//! whatever the number of readers, and only where somebody reads. Knows nothing of sockets and of clocks: time is
//! handed in.

mod arrivals;
mod bars;
mod capture;
mod draw;
mod event;
mod fair;
mod flow;
mod generated;
mod log;
pub(crate) mod many;
mod matching;
pub(crate) mod orders;
mod recorded;
pub(crate) mod reference;
pub(crate) mod report;
pub(crate) mod sessions;
pub(crate) mod simulation;

pub(crate) use capture::{CaptureFormat, CapturedFrame, Patch, PatchKind, read_capture, walk};
pub(crate) use generated::{Beside, Generated, Pace, Writer};
pub(crate) use log::{Lapped, Log};
pub(crate) use recorded::Recorded;

use book::Level;
use model::{Price, Qty, Side, StreamKind, UnixNanos};

/// Index of a topic in its market's list.
pub(crate) type TopicId = u32;

/// One stream a client can subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    /// How the venue's protocol names it.
    pub(crate) name: String,
    /// The venue's symbol it is about.
    pub(crate) symbol: String,
    /// What it carries.
    pub(crate) kind: StreamKind,
}

/// Whether a pair is traded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PairStatus {
    /// It is.
    #[default]
    Trading,
    /// Not any more.
    Delisted,
}

/// What is traded, in the venue's own spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The venue's symbol: `BTC/USD`, `BTCUSDT`.
    pub symbol: String,
    /// Base currency.
    pub base: String,
    /// Quote currency.
    pub quote: String,
    /// Decimals of a price on the wire.
    pub price_scale: u8,
    /// Decimals of a size on the wire.
    pub size_scale: u8,
    /// Smallest price step, in units of 10^-price_scale.
    pub tick: Price,
    /// Smallest size step, in units of 10^-size_scale.
    pub lot: Qty,
    /// Whether it is traded.
    pub status: PairStatus,
    /// Whether a stock's trades are marked by session, and some printed late.
    pub tape: bool,
    /// When it is traded.
    pub hours: Hours,
}

/// When an instrument is traded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hours {
    /// Around the clock.
    #[default]
    Always,
    /// In the sessions of New York's exchanges, from 04:00 to 20:00, holidays and early closes kept.
    Exchange,
}

impl Pair {
    /// Whether it is traded at a time.
    pub(crate) fn trades_at(&self, time: UnixNanos) -> bool {
        self.hours == Hours::Always || sessions::is_trading(time)
    }

    /// Whether it is a stock: nothing but itself is bought with the quote currency.
    pub(crate) fn is_stock(&self) -> bool {
        self.base == self.symbol
    }

    /// The venue's word for whether it is traded.
    pub(crate) fn status_text(&self, trading: &'static str, delisted: &'static str) -> &'static str {
        match self.status {
            PairStatus::Trading => trading,
            PairStatus::Delisted => delisted,
        }
    }
}

/// A trade as REST tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trade {
    pub(crate) id: u64,
    /// Counts what takers met by price: fills of one taker at one price have the same number.
    pub(crate) aggregate: u64,
    pub(crate) time: UnixNanos,
    pub(crate) price: Price,
    pub(crate) size: Qty,
    pub(crate) taker: Side,
}

/// One bar of trades. Sums are exact; `cost` is price times size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) begin: UnixNanos,
    pub(crate) interval_s: u64,
    pub(crate) open: Price,
    pub(crate) high: Price,
    pub(crate) low: Price,
    pub(crate) close: Price,
    pub(crate) volume: i128,
    pub(crate) cost: i128,
    pub(crate) taker_buy_volume: i128,
    pub(crate) taker_buy_cost: i128,
    pub(crate) trades: u64,
    pub(crate) first_id: u64,
    pub(crate) last_id: u64,
}

/// A book as REST tells it, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BookView {
    pub(crate) update_id: u64,
    pub(crate) bids: Vec<Level>,
    pub(crate) asks: Vec<Level>,
}

/// What follows from a client joining a topic.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// The frame that brings the client up to date, where the venue sends one.
    pub(crate) snapshot: Option<Vec<u8>>,
}

/// A source of one venue's frames.
pub(crate) trait Market: Send {
    /// Every topic there is; ids are indices into it.
    fn topics(&self) -> &[Topic];
    /// The topic a client means, if there is one.
    fn topic(&self, name: &str) -> Option<TopicId>;
    /// What is or was traded here so far. Places in it stay what they are.
    fn pairs(&self) -> &[Pair];
    /// Writes what is due by `now` for topics with readers (`readers[topic]` of them).
    fn advance(&mut self, now: UnixNanos, readers: &[u32], log: &mut Log);
    /// When to call [`Market::advance`] next; `None` when nothing will come.
    fn next_due(&self) -> Option<UnixNanos>;
    /// A client joins; `readers` counts those already there. What others must see first goes into the log.
    fn join(&mut self, topic: TopicId, now: UnixNanos, readers: &[u32], log: &mut Log) -> Joined;
    /// Whether the session is over and every connection has to end, so that the next one starts anew.
    fn is_over(&self) -> bool;
    /// The last connection is gone.
    fn deserted(&mut self);
    /// The live book, at most `depth` levels a side.
    fn book(&mut self, pair: usize, depth: usize) -> Option<BookView>;
    /// The live orders, where the market keeps them.
    fn orders(&self, _: usize) -> Option<&matching::Matching> {
        None
    }
    /// The latest trades, oldest first.
    fn trades(&self, pair: usize) -> Vec<Trade>;
    /// The latest bars of an interval, oldest first.
    fn bars(&self, pair: usize, interval_s: u64) -> Vec<Bar>;
}
