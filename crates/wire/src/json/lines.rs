//! The lines of the JSON form as types: what serde writes and reads and the schema is generated from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One line of the JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// A trade.
    Trade(TradeLine),
    /// A book snapshot or one event of book changes.
    Book(BookLine),
    /// Best bid and offer.
    Quote(QuoteLine),
    /// A bar.
    Bar(BarLine),
    /// An instrument's definition.
    Instrument(InstrumentLine),
    /// An earlier trade is corrected or cancelled.
    Correction(CorrectionLine),
    /// The state of a connection, stream, book or instrument.
    Status(StatusLine),
    /// Data of the venue is missing.
    Gap(GapLine),
    /// A consumer missed records.
    Overrun(OverrunLine),
    /// The wall clock stepped.
    Clock(ClockLine),
    /// Nothing happened; the next sequence is told.
    Heartbeat(HeartbeatLine),
    /// A run of a feed begins.
    SessionStart(SessionStartLine),
    /// A run of a feed ends in order.
    SessionEnd(SessionEndLine),
    /// What happens to one order of a venue's book.
    Order(OrderLine),
    /// Prices between which an instrument may trade.
    PriceBand(PriceBandLine),
    /// What was missing has been fetched.
    Backfill(BackfillLine),
}

macro_rules! line {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $ty:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),+ }
    };
}

fn is_false(b: &bool) -> bool {
    !*b
}

line! {
    /// A trade.
    TradeLine {
        /// Where it happened.
        venue: String,
        /// Canonical symbol.
        symbol: String,
        /// Quote currency per unit, a decimal.
        price: String,
        /// Units traded, a decimal.
        size: String,
        /// The taker's side: `buy`, `sell` or `none`.
        side: String,
        /// How the side is known: `explicit_taker`, `inverted_maker`, `disputed`, `inferred`.
        side_source: String,
        /// The venue's id; `null` where it gives none.
        trade_id: Option<String>,
        /// Sale conditions, comma-separated.
        #[serde(default, skip_serializing_if = "Option::is_none")] conditions: Option<String>,
        /// The exchange's code.
        #[serde(default, skip_serializing_if = "Option::is_none")] exchange: Option<String>,
        /// The tape's code.
        #[serde(default, skip_serializing_if = "Option::is_none")] tape: Option<String>,
        /// Closes the venue's message.
        #[serde(default, skip_serializing_if = "is_false")] last: bool,
        /// Part of a snapshot, not news.
        #[serde(default, skip_serializing_if = "is_false")] snapshot: bool,
        /// Told later than it happened.
        #[serde(default, skip_serializing_if = "is_false")] late: bool,
        /// The receive time is not to be relied on.
        #[serde(default, skip_serializing_if = "is_false")] recv_suspect: bool,
        /// ns since the Unix epoch, the venue's.
        ts_event: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// A book snapshot or one event of changes. A level is `[price, size]`; size `"0"` removes it.
    BookLine {
        /// `snapshot` or `update`.
        kind: String,
        /// Where.
        venue: String,
        /// Canonical symbol.
        symbol: String,
        /// Bid levels.
        bids: Vec<[String; 2]>,
        /// Ask levels.
        asks: Vec<[String; 2]>,
        /// Whether the book was proven right as far as the venue allows.
        trusted: bool,
        /// Levels a side the venue keeps: cut the book to them after every event; absent when it keeps all.
        #[serde(default, skip_serializing_if = "Option::is_none")] depth: Option<u32>,
        /// The book has more levels than the snapshot tells.
        #[serde(default, skip_serializing_if = "is_false")] capped: bool,
        /// The venue's update id, of a snapshot.
        #[serde(default, skip_serializing_if = "Option::is_none")] update_id: Option<u64>,
        /// The venue's checksum, of a snapshot.
        #[serde(default, skip_serializing_if = "Option::is_none")] checksum: Option<u32>,
        /// Repeated for late joiners rather than sent by the venue.
        #[serde(default, skip_serializing_if = "is_false")] periodic: bool,
        /// Repeated, out of turn, because a consumer asked for it; `periodic` stands beside it.
        #[serde(default, skip_serializing_if = "is_false")] requested: bool,
        /// The receive time is not to be relied on.
        #[serde(default, skip_serializing_if = "is_false")] recv_suspect: bool,
        /// ns since the Unix epoch, the venue's; 0 when it does not say.
        ts_event: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Sequence of the first record folded in, when there are several.
        #[serde(default, skip_serializing_if = "Option::is_none")] seq_first: Option<u64>,
        /// Sequence of the last.
        seq: u64,
    }
}

line! {
    /// Best bid and offer; a side is `null` when it is empty.
    QuoteLine {
        /// Where.
        venue: String,
        /// Canonical symbol.
        symbol: String,
        /// Best bid price.
        bid: Option<String>,
        /// Its size.
        bid_size: Option<String>,
        /// Best ask price.
        ask: Option<String>,
        /// Its size.
        ask_size: Option<String>,
        /// Part of a snapshot, not news.
        #[serde(default, skip_serializing_if = "is_false")] snapshot: bool,
        /// The book it comes from is not proven right.
        #[serde(default, skip_serializing_if = "is_false")] not_trusted: bool,
        /// The receive time is not to be relied on.
        #[serde(default, skip_serializing_if = "is_false")] recv_suspect: bool,
        /// ns since the Unix epoch, the venue's; 0 when it does not say.
        ts_event: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// A bar.
    BarLine {
        /// Where.
        venue: String,
        /// Canonical symbol.
        symbol: String,
        /// Length of the interval in seconds.
        interval_s: u32,
        /// When the interval begins, ns since the Unix epoch.
        ts_open: u64,
        /// Whether it is final.
        closed: bool,
        /// First price.
        open: String,
        /// Highest price.
        high: String,
        /// Lowest price.
        low: String,
        /// Last price.
        close: String,
        /// Units traded.
        volume: String,
        /// Units takers bought; `null` when the venue does not say.
        taker_buy_volume: Option<String>,
        /// Quote currency traded; `null` when the venue does not say.
        notional: Option<String>,
        /// Quote currency takers spent buying; `null` when the venue does not say.
        taker_buy_notional: Option<String>,
        /// Volume-weighted average price; `null` when the venue does not say.
        vwap: Option<String>,
        /// How many trades.
        trades: u64,
        /// Part of a snapshot, not news.
        #[serde(default, skip_serializing_if = "is_false")] snapshot: bool,
        /// Told later than it happened.
        #[serde(default, skip_serializing_if = "is_false")] late: bool,
        /// The receive time is not to be relied on.
        #[serde(default, skip_serializing_if = "is_false")] recv_suspect: bool,
        /// ns since the Unix epoch, the venue's; 0 when it does not say.
        ts_event: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// An instrument's definition.
    InstrumentLine {
        /// Where it trades.
        venue: String,
        /// Canonical symbol.
        symbol: String,
        /// The venue's spelling.
        venue_symbol: String,
        /// The 32-bit id in the records.
        instrument_id: u32,
        /// Base currency.
        base: String,
        /// Quote currency.
        quote: String,
        /// `spot` or `equity`.
        kind: String,
        /// `trading`, `restricted`, `halted`, `delisted` or `unknown`.
        status: String,
        /// Counts from 1 with every change.
        version: u32,
        /// Decimals of prices.
        price_scale: u8,
        /// Decimals of sizes.
        size_scale: u8,
        /// Smallest price step; `null` when not told.
        tick: Option<String>,
        /// Smallest size step; `null` when not told.
        lot: Option<String>,
        /// Smallest order size; `null` when not told.
        min_size: Option<String>,
        /// Smallest order value; `null` when not told.
        min_notional: Option<String>,
        /// The receive time is not to be relied on.
        #[serde(default, skip_serializing_if = "is_false")] recv_suspect: bool,
        /// ns since the Unix epoch, the venue's; 0 when it does not say.
        ts_event: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// An earlier trade is corrected or cancelled.
    CorrectionLine {
        /// Where.
        venue: String,
        /// Canonical symbol.
        symbol: String,
        /// `cancel` or `correct`.
        kind: String,
        /// The id of the trade meant.
        trade_id: String,
        /// The corrected trade's id.
        new_trade_id: Option<String>,
        /// Corrected price.
        price: Option<String>,
        /// Corrected size.
        size: Option<String>,
        /// Told later than it happened.
        #[serde(default, skip_serializing_if = "is_false")] late: bool,
        /// The receive time is not to be relied on.
        #[serde(default, skip_serializing_if = "is_false")] recv_suspect: bool,
        /// ns since the Unix epoch, the venue's.
        ts_event: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// What happens to one order of a venue's book.
    OrderLine {
        /// Where.
        venue: String,
        /// Canonical symbol.
        symbol: String,
        /// `received`, `open`, `match`, `change`, `filled`, `canceled` or `activated`.
        action: String,
        /// The order's own side: `buy` or `sell`.
        side: String,
        /// The venue's id of the order, a UUID.
        order_id: String,
        /// Its price; `null` for an order without one.
        price: Option<String>,
        /// What was ordered, remains or was traded, as the action says; `null` where the venue does not say.
        size: Option<String>,
        /// The venue's sequence of the message; `null` where it has none.
        venue_seq: Option<u64>,
        /// Closes the venue's message.
        #[serde(default, skip_serializing_if = "is_false")] last: bool,
        /// Part of a snapshot, not news.
        #[serde(default, skip_serializing_if = "is_false")] snapshot: bool,
        /// The book it belongs to is not proven right.
        #[serde(default, skip_serializing_if = "is_false")] not_trusted: bool,
        /// The receive time is not to be relied on.
        #[serde(default, skip_serializing_if = "is_false")] recv_suspect: bool,
        /// ns since the Unix epoch, the venue's.
        ts_event: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// Prices between which an instrument may trade (limit up, limit down).
    PriceBandLine {
        /// Where.
        venue: String,
        /// Canonical symbol.
        symbol: String,
        /// Lowest price; `null` for no limit.
        lower: Option<String>,
        /// Highest price; `null` for no limit.
        upper: Option<String>,
        /// The venue's indicator, one letter; `null` where it gives none.
        indicator: Option<String>,
        /// The receive time is not to be relied on.
        #[serde(default, skip_serializing_if = "is_false")] recv_suspect: bool,
        /// ns since the Unix epoch, the venue's.
        ts_event: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// A state change.
    StatusLine {
        /// Where.
        venue: String,
        /// Canonical symbol; `null` for the whole venue.
        symbol: Option<String>,
        /// `connection`, `stream`, `book`, `instrument` or `venue`.
        scope: String,
        /// The stream, when the scope is one.
        stream: Option<String>,
        /// The new state.
        state: String,
        /// Why.
        reason: String,
        /// The same in words.
        #[serde(default, skip_serializing_if = "String::is_empty")] text: String,
        /// The receive time is not to be relied on.
        #[serde(default, skip_serializing_if = "is_false")] recv_suspect: bool,
        /// ns since the Unix epoch, the venue's; 0 when it is our own finding.
        ts_event: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// Data of the venue is missing.
    GapLine {
        /// Where.
        venue: String,
        /// Canonical symbol; `null` for every instrument of the venue.
        symbol: Option<String>,
        /// The stream.
        stream: String,
        /// First missing id; `null` where nobody can know.
        first: Option<String>,
        /// Last missing id; `null` where nobody can know.
        last: Option<String>,
        /// How many; `null` where nobody can know.
        missing: Option<u64>,
        /// Why.
        cause: String,
        /// The receive time is not to be relied on.
        #[serde(default, skip_serializing_if = "is_false")] recv_suspect: bool,
        /// Receive time of the last record before it; 0 when there was none.
        ts_from: u64,
        /// Receive time of the first record after it.
        ts_to: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// What was missing between two times has been fetched: all of it that the venue still serves was told.
    BackfillLine {
        /// Where.
        venue: String,
        /// Canonical symbol; `null` for every instrument of the venue.
        symbol: Option<String>,
        /// The stream.
        stream: String,
        /// Records told late just before this one, from the same answer.
        told: u32,
        /// The receive time is not to be relied on.
        #[serde(default, skip_serializing_if = "is_false")] recv_suspect: bool,
        /// From which time on nothing is missing any more; ns since the Unix epoch, the venue's.
        ts_from: u64,
        /// Up to, not including, which time; ns since the Unix epoch, the venue's.
        ts_to: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// What this consumer missed. Its epoch and range name the missed records; it has no sequence of its own.
    OverrunLine {
        /// Of which venue; `null` for several.
        venue: Option<String>,
        /// First sequence missed.
        first: u64,
        /// Last sequence missed; `null` when nobody can know.
        last: Option<u64>,
        /// How many; `null` when nobody can know.
        missing: Option<u64>,
        /// `slow`, `expired` or `relay`.
        cause: String,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// Epoch of the missed records.
        epoch: u64,
    }
}

line! {
    /// The wall clock stepped against the monotonic clock.
    ClockLine {
        /// The feed that noticed.
        venue: String,
        /// How far, in ns.
        step_ns: i64,
        /// What the wall clock showed.
        wall: u64,
        /// What was due.
        expected: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// Nothing happened.
    HeartbeatLine {
        /// Of which feed.
        venue: String,
        /// The sequence after this record's own.
        next_seq: u64,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// A run of a feed begins.
    SessionStartLine {
        /// Of which feed.
        venue: String,
        /// The machine's configured name.
        site: String,
        /// The build that wrote it.
        build: String,
        /// Whether the data comes from an emulator.
        simulated: bool,
        /// Process id of the writer.
        pid: u64,
        /// Version of the record layouts.
        version: u8,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}

line! {
    /// A run of a feed ends in order.
    SessionEndLine {
        /// Of which feed.
        venue: String,
        /// Why.
        reason: String,
        /// ns since the Unix epoch, ours.
        ts_recv: u64,
        /// The run of the feed.
        epoch: u64,
        /// Its place in the run.
        seq: u64,
    }
}
