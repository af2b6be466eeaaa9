//! What a venue must bring to the conformance suite: a small honest venue of its own, in the venue's own words.
//!
//! The suite plays the feed and the network, the case plays the venue: it keeps two instruments with their books and
//! trades, answers what the machine sends, and says what its books really hold, for the suite to compare with.

use model::{Side, UnixNanos, Venue};
use venues::{Settings, StaleAfter, VenueMachine};

/// What the machine sent to the venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A text frame.
    Frame(String),
    /// A GET: path and query.
    Get(String),
}

/// What the venue answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A text frame, to a frame.
    Frame(String),
    /// The one answer to a GET: status and body.
    #[allow(dead_code, reason = "only venues with a REST side answer so")]
    Http(u16, String),
}

/// One level of an update: side, price, absolute size (`"0"` removes it).
pub type Change<'a> = (Side, &'a str, &'a str);

/// Both sides of a book, best first, as decimals without trailing zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    pub bids: Vec<[String; 2]>,
    pub asks: Vec<[String; 2]>,
}

/// A small venue. Instruments are named by their place in [`Case::SYMBOLS`]; both books hold ten levels a side when
/// the case is made, the best bid of each at 100 and the best ask at 101, further levels 1 apart, so that the suite
/// can speak of prices. All prices the suite uses have at most two decimals and sizes at most four, except where it
/// calls [`Case::widen`].
pub trait Case: Default {
    /// The venue.
    const VENUE: Venue;
    /// Two symbols it trades, canonical.
    const SYMBOLS: [&'static str; 2];
    /// The same in the venue's own spelling.
    const VENUE_SYMBOLS: [&'static str; 2];
    /// A symbol it does not trade, canonical.
    const UNKNOWN: &'static str;
    /// Levels a side the venue keeps in its stream; readers cut to it. `None` when it streams the whole book.
    const DEPTH: Option<u32>;
    /// The venue numbers the frames of the connection and not those of each book: a hole concerns every book of it.
    const ONE_SEQUENCE: bool = false;

    /// Whether the venue numbers the events of a book across connections: where it does not, one that changes lines may
    /// go back for a moment.
    #[allow(dead_code, reason = "only the test of pairs asks")]
    const BOOK_EVENTS_NUMBERED: bool = false;
    /// Whether any lost change of a book shows by itself.
    #[allow(dead_code, reason = "only the test of pairs asks")]
    const LOST_LEVELS_SHOW: bool = true;

    /// An update that is lost.
    const LOST: &'static [Change<'static>] = &[(Side::Buy, "100", "55")];
    /// What makes the loss visible: any update where the venue numbers them.
    const SHOWS: &'static [Change<'static>] = &[(Side::Sell, "105", "66")];
    /// Whether trades have ids; without, the suite counts trades instead, and what is missing has no range.
    const TRADE_IDS: bool = true;
    /// Whether trade ids of an instrument follow one another without holes, so that a jump is a loss. Where they do
    /// not, the suite holds that nothing is made of a jump, and that a cut is filled from the venue's REST interface.
    const TRADE_IDS_CONTIGUOUS: bool = true;

    /// The machine under test.
    fn machine(settings: &Settings) -> Box<dyn VenueMachine>;

    /// What the venue sends by itself when a connection opens; it forgets what the old one was subscribed to.
    fn connected(&mut self, now: UnixNanos) -> Vec<String>;

    /// Whether this asks for a book's snapshot: the suite holds such answers back in some tests.
    fn asks_for_book(&self, sent: &Sent) -> bool;

    /// Whether this asks for old trades.
    fn asks_for_trades(&self, _sent: &Sent) -> bool {
        false
    }

    /// What the venue answers.
    fn answer(&mut self, sent: &Sent, now: UnixNanos) -> Vec<Answer>;

    /// A trade happens: its frame. Ids count up from 1001 for each instrument.
    fn trade(&mut self, symbol: usize, price: &str, size: &str, taker: Side, now: UnixNanos) -> String;

    /// The book changes: the frame of one event.
    fn update(&mut self, symbol: usize, changes: &[Change<'_>], now: UnixNanos) -> String;

    /// A frame sent before, as the venue sends its contents once more: with a number of its own where frames have one.
    fn again(&mut self, frame: &str) -> String {
        frame.to_owned()
    }

    /// A frame as the `n`-th (from 0) of a connection of its own: with that number where the venue numbers them.
    #[allow(dead_code, reason = "only the test of pairs asks")]
    fn numbered(frame: &str, _n: u64) -> String {
        frame.to_owned()
    }

    /// What the venue sends before numbers of one more decimal than [`Case::update`] uses otherwise, if anything.
    fn widen(&mut self, symbol: usize, now: UnixNanos) -> Vec<String>;

    /// A sign of life that is no data, where the venue has one.
    fn heartbeat(&self) -> Option<String>;

    /// A frame of a type that does not exist.
    fn unknown_type(&self) -> String;

    /// The same frame with one more field that does not exist.
    fn with_unknown_field(&self, frame: &str) -> String;

    /// What the book really holds.
    fn truth(&self, symbol: usize) -> Truth;

    /// Settings every test starts from.
    fn settings() -> Settings {
        Settings {
            symbols: Self::SYMBOLS.map(str::to_owned).to_vec(),
            streams: vec![model::StreamKind::Trade, model::StreamKind::Book],
            book_depth: Self::DEPTH.unwrap_or(1000),
            bar_interval_s: 60,
            snapshot_depth: 1000,
            stale_after: StaleAfter { trade_s: 0, book_s: 5, quote_s: 0, bar_s: 0, book_rhythm_s: 5, connection_s: 10 },
            credentials: None,
        }
    }
}

/// A venue whose REST interface serves old trades, [`ServesTrades::PAGE`] in an answer at most.
pub trait ServesTrades: Case {
    /// Trades in an answer.
    const PAGE: usize;
    /// How far apart the suite lets trades happen that are missed: where old trades are asked for by the second, a
    /// second holds fewer than an answer.
    const APART: std::time::Duration = std::time::Duration::from_millis(1);

    /// No trade of a symbol before this id is served any longer.
    fn forget_trades(&mut self, symbol: usize, before: u64);
}
