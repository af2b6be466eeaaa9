//! The JSON form of the records: the same facts for people, scripts and browsers.
//!
//! Prices and sizes are decimal strings, times integers in ns since the Unix epoch, UTC; epoch and sequence are plain
//! fields. The changes of one book event fold into one line with `seq_first` and `seq`; whether a level was new or
//! only changed is told by the binary record alone. The schema is generated from these types.

use crate::{
    BarRecord, BookChangeRecord, CorrectionKind, Envelope, Flags, Header, NONE, OverrunCause, Record, RecordError,
    Status,
};
use model::{Decimal, Instrument, InstrumentId, Price, Qty, Side, Venue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// One line of the JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
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
}

macro_rules! line {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $ty:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
        #[serde(default, skip_serializing_if = "is_false")]
        capped: bool,
        /// The venue's update id, of a snapshot.
        #[serde(default, skip_serializing_if = "Option::is_none")] update_id: Option<u64>,
        /// The venue's checksum, of a snapshot.
        #[serde(default, skip_serializing_if = "Option::is_none")] checksum: Option<u32>,
        /// Repeated for late joiners rather than sent by the venue.
        #[serde(default, skip_serializing_if = "is_false")] periodic: bool,
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
        /// Whether what it comes from was proven; `false` only when known not to be.
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

/// Why a record has no JSON form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The record is broken.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// No definition of the instrument came before it.
    #[error("instrument {id} of {venue} is not defined yet: its scale is unknown")]
    UnknownInstrument {
        /// The id in the record.
        id: InstrumentId,
        /// The venue in the record.
        venue: String,
    },
    /// The venue's code means nothing to this build.
    #[error("record of type {kind} comes from a venue this build does not know")]
    UnknownVenue {
        /// The type byte.
        kind: u8,
    },
    /// A text of the line is no value of its field.
    #[error("field {field}: {value:?} {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The definitions seen so far, by id.
#[derive(Debug, Default, Clone)]
pub struct Instruments {
    by_id: HashMap<InstrumentId, Instrument>,
}

impl Instruments {
    /// No definitions.
    pub fn new() -> Instruments {
        Instruments::default()
    }

    /// Takes in a definition.
    pub fn insert(&mut self, i: Instrument) {
        self.by_id.insert(i.id, i);
    }

    /// Takes in the record if it is a definition.
    pub fn observe(&mut self, record: &Record<'_>) {
        if let Record::Instrument(view) = record
            && let Some(instrument) = view.to_instrument()
        {
            self.insert(instrument);
        }
    }

    /// The definition with this id.
    #[inline]
    pub fn get(&self, id: InstrumentId) -> Option<&Instrument> {
        self.by_id.get(&id)
    }

    /// The definition of a canonical symbol at a venue.
    pub fn find(&self, venue: Venue, symbol: &str) -> Option<&Instrument> {
        self.by_id.values().find(|i| i.venue == venue && i.symbol == symbol)
    }

    /// All definitions, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Instrument> {
        self.by_id.values()
    }
}

/// A mantissa as decimal text, without trailing zeros.
pub fn decimal(mantissa: i64, scale: u8) -> String {
    Decimal::new(mantissa.into(), scale).to_string()
}

/// Turns records into lines, folding the changes of one book event. One per stream of records.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The definitions seen so far.
    pub instruments: Instruments,
    open: HashMap<InstrumentId, BookLine>,
}

impl Encoder {
    /// An encoder that has seen no definitions.
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// Forgets half-told book events, as after an overrun.
    pub fn forget_events(&mut self) {
        self.open.clear();
    }

    fn instrument(&self, header: &Header) -> Result<&Instrument, JsonError> {
        let id = header.instrument();
        self.instruments.get(id).ok_or_else(|| JsonError::UnknownInstrument {
            id,
            venue: header.venue().map_or_else(|| "an unknown venue".to_owned(), |v| v.name().to_owned()),
        })
    }

    /// The line of a record; `None` while a book event is not whole, and for types this build does not know.
    pub fn push(&mut self, at: Envelope, words: &[u64]) -> Result<Option<Line>, JsonError> {
        let record = Record::read(words)?;
        self.instruments.observe(&record);
        match record {
            Record::SnapshotBegin(r) => {
                let mut line = self.book_line(&r.header, "snapshot", r.ts_event, r.ts_recv, at)?;
                line.depth = (r.depth != 0).then_some(r.depth);
                line.update_id = (r.update_id != 0).then_some(r.update_id);
                line.capped = r.capped != 0;
                line.periodic = r.reason() == crate::SnapshotReason::Periodic;
                self.open.insert(r.header.instrument(), line);
                Ok(None)
            }
            Record::BookChange(r) => self.book_change(at, r),
            Record::SnapshotEnd(r) => {
                let Some(mut line) = self.open.remove(&r.header.instrument()) else { return Ok(None) };
                line.checksum = (r.checksum != 0).then_some(r.checksum);
                line.trusted = !r.header.flags().contains(Flags::NOT_TRUSTED);
                Ok(Some(close(line, at)))
            }
            other => self.plain(at, other),
        }
    }

    fn book_line(
        &self,
        h: &Header,
        kind: &str,
        ts_event: u64,
        ts_recv: u64,
        at: Envelope,
    ) -> Result<BookLine, JsonError> {
        let i = self.instrument(h)?;
        Ok(BookLine {
            kind: kind.to_owned(),
            venue: i.venue.name().to_owned(),
            symbol: i.symbol.clone(),
            bids: vec![],
            asks: vec![],
            trusted: !h.flags().contains(Flags::NOT_TRUSTED),
            depth: None,
            capped: false,
            update_id: None,
            checksum: None,
            periodic: false,
            recv_suspect: h.flags().contains(Flags::RECV_SUSPECT),
            ts_event,
            ts_recv,
            epoch: at.epoch,
            seq_first: Some(at.sequence),
            seq: at.sequence,
        })
    }

    fn book_change(&mut self, at: Envelope, r: &BookChangeRecord) -> Result<Option<Line>, JsonError> {
        let id = r.header.instrument();
        let i = self.instrument(&r.header)?;
        let level = [decimal(r.price, i.price_scale), decimal(r.size, i.size_scale)];
        let snapshot = r.header.flags().contains(Flags::SNAPSHOT);
        if !self.open.contains_key(&id) {
            if snapshot {
                // The snapshot began before this stream of records did: it cannot be told whole.
                return Ok(None);
            }
            let line = self.book_line(&r.header, "update", r.ts_event, r.ts_recv, at)?;
            self.open.insert(id, line);
        }
        let line = self.open.get_mut(&id).expect("just put there");
        match r.header.flags().side() {
            Some(Side::Buy) => line.bids.push(level),
            _ => line.asks.push(level),
        }
        line.seq = at.sequence;
        if snapshot || !r.header.flags().contains(Flags::LAST) {
            return Ok(None);
        }
        line.trusted = !r.header.flags().contains(Flags::NOT_TRUSTED);
        let line = self.open.remove(&id).expect("just seen there");
        Ok(Some(close(line, at)))
    }

    fn plain(&self, at: Envelope, record: Record<'_>) -> Result<Option<Line>, JsonError> {
        let Envelope { epoch, sequence: seq } = at;
        Ok(Some(match record {
            Record::Trade(r) => Line::Trade(self.trade(
                &r.header,
                r.ts_event,
                r.ts_recv,
                r.price,
                r.size,
                r.id().map(|id| id.to_string()),
                at,
            )?),
            Record::LongTrade(v) => {
                let h = v.head;
                let text = |t: &str| (!t.is_empty()).then(|| t.to_owned());
                let mut line = self.trade(&h.header, h.ts_event, h.ts_recv, h.price, h.size, text(v.id), at)?;
                // Present even when empty: this is what tells a long trade from a short one.
                line.conditions = Some(v.conditions.to_owned());
                (line.exchange, line.tape) = (text(v.exchange), text(v.tape));
                Line::Trade(line)
            }
            Record::Quote(r) => {
                let i = self.instrument(&r.header)?;
                let f = r.header.flags();
                Line::Quote(QuoteLine {
                    venue: i.venue.name().to_owned(),
                    symbol: i.symbol.clone(),
                    bid: r.bid().map(|(p, _)| decimal(p.0, i.price_scale)),
                    bid_size: r.bid().map(|(_, q)| decimal(q.0, i.size_scale)),
                    ask: r.ask().map(|(p, _)| decimal(p.0, i.price_scale)),
                    ask_size: r.ask().map(|(_, q)| decimal(q.0, i.size_scale)),
                    snapshot: f.contains(Flags::SNAPSHOT),
                    not_trusted: f.contains(Flags::NOT_TRUSTED),
                    recv_suspect: f.contains(Flags::RECV_SUSPECT),
                    ts_event: r.ts_event,
                    ts_recv: r.ts_recv,
                    epoch,
                    seq,
                })
            }
            Record::Bar(r) => Line::Bar(self.bar(r, at)?),
            Record::Instrument(v) => {
                let i = v.to_instrument().ok_or(JsonError::UnknownVenue { kind: v.head.header.kind })?;
                let step = |m: i64, scale| (m != 0).then(|| decimal(m, scale));
                Line::Instrument(InstrumentLine {
                    venue: i.venue.name().to_owned(),
                    instrument_id: i.id.0,
                    kind: i.kind.name().to_owned(),
                    status: i.status.name().to_owned(),
                    version: i.version,
                    price_scale: i.price_scale,
                    size_scale: i.size_scale,
                    tick: step(i.tick.0, i.price_scale),
                    lot: step(i.lot.0, i.size_scale),
                    min_size: step(i.min_size.0, i.size_scale),
                    min_notional: i.min_notional.map(|d| d.to_string()),
                    symbol: i.symbol,
                    venue_symbol: i.venue_symbol,
                    base: i.base,
                    quote: i.quote,
                    ts_event: v.head.ts_event,
                    ts_recv: v.head.ts_recv,
                    epoch,
                    seq,
                })
            }
            Record::Correction(r) => {
                let i = self.instrument(&r.header)?;
                let correct = r.kind == CorrectionKind::Correct as u8;
                Line::Correction(CorrectionLine {
                    venue: i.venue.name().to_owned(),
                    symbol: i.symbol.clone(),
                    kind: if correct { "correct" } else { "cancel" }.to_owned(),
                    trade_id: r.trade_id.to_string(),
                    new_trade_id: correct.then(|| r.new_trade_id.to_string()),
                    price: (r.price != NONE).then(|| decimal(r.price, i.price_scale)),
                    size: (r.size != NONE).then(|| decimal(r.size, i.size_scale)),
                    ts_event: r.ts_event,
                    ts_recv: r.ts_recv,
                    epoch,
                    seq,
                })
            }
            Record::Status(v) => Line::Status(StatusLine {
                venue: venue(&v.head.header)?,
                symbol: self.symbol(&v.head.header)?,
                scope: v.status.scope().name().to_owned(),
                stream: v.status.stream().map(|s| s.name().to_owned()),
                state: v.status.state().to_owned(),
                reason: v.reason.name().to_owned(),
                text: v.text.to_owned(),
                ts_event: v.head.ts_event,
                ts_recv: v.head.ts_recv,
                epoch,
                seq,
            }),
            Record::Gap(r) => Line::Gap(GapLine {
                venue: venue(&r.header)?,
                symbol: self.symbol(&r.header)?,
                stream: r.stream().name().to_owned(),
                first: r.range().map(|(first, _)| first.to_string()),
                last: r.range().map(|(_, last)| last.to_string()),
                missing: r.missing(),
                cause: r.cause().name().to_owned(),
                ts_from: r.ts_from,
                ts_to: r.ts_to,
                ts_recv: r.ts_recv,
                epoch,
                seq,
            }),
            Record::Overrun(r) => Line::Overrun(OverrunLine {
                venue: r.header.venue().map(|v| v.name().to_owned()),
                first: r.first,
                last: (r.last != 0).then_some(r.last),
                missing: (r.last != 0).then_some(r.count),
                cause: match r.cause {
                    c if c == OverrunCause::Slow as u8 => "slow",
                    c if c == OverrunCause::Expired as u8 => "expired",
                    _ => "relay",
                }
                .to_owned(),
                ts_recv: r.ts_recv,
                epoch: r.epoch,
            }),
            Record::Clock(r) => Line::Clock(ClockLine {
                venue: venue(&r.header)?,
                step_ns: r.step_ns,
                wall: r.wall,
                expected: r.expected,
                ts_recv: r.ts_recv,
                epoch,
                seq,
            }),
            Record::Heartbeat(r) => Line::Heartbeat(HeartbeatLine {
                venue: venue(&r.header)?,
                next_seq: r.next_sequence,
                ts_recv: r.ts_recv,
                epoch,
                seq,
            }),
            Record::SessionStart(v) => Line::SessionStart(SessionStartLine {
                venue: venue(&v.head.header)?,
                site: v.site.to_owned(),
                build: v.build.to_owned(),
                simulated: v.head.simulated == 1,
                pid: v.head.pid,
                version: v.head.version,
                ts_recv: v.head.ts_recv,
                epoch,
                seq,
            }),
            Record::SessionEnd(r) => Line::SessionEnd(SessionEndLine {
                venue: venue(&r.header)?,
                reason: model::Reason::from_code(r.reason)
                    .expect("checked when the record was viewed")
                    .name()
                    .to_owned(),
                ts_recv: r.ts_recv,
                epoch,
                seq,
            }),
            Record::Unknown(_) => return Ok(None),
            Record::SnapshotBegin(_) | Record::SnapshotEnd(_) | Record::BookChange(_) => {
                unreachable!("book records are folded before")
            }
        }))
    }

    fn symbol(&self, h: &Header) -> Result<Option<String>, JsonError> {
        if h.instrument() == InstrumentId::NONE {
            return Ok(None);
        }
        self.instrument(h).map(|i| Some(i.symbol.clone()))
    }

    #[expect(clippy::too_many_arguments, reason = "the fields two kinds of trade records share")]
    fn trade(
        &self,
        h: &Header,
        ts_event: u64,
        ts_recv: u64,
        price: i64,
        size: i64,
        trade_id: Option<String>,
        at: Envelope,
    ) -> Result<TradeLine, JsonError> {
        let i = self.instrument(h)?;
        let f = h.flags();
        Ok(TradeLine {
            venue: i.venue.name().to_owned(),
            symbol: i.symbol.clone(),
            price: decimal(price, i.price_scale),
            size: decimal(size, i.size_scale),
            side: f.side().map_or("none", Side::name).to_owned(),
            side_source: f.source().name().to_owned(),
            trade_id,
            conditions: None,
            exchange: None,
            tape: None,
            last: f.contains(Flags::LAST),
            snapshot: f.contains(Flags::SNAPSHOT),
            late: f.contains(Flags::LATE),
            recv_suspect: f.contains(Flags::RECV_SUSPECT),
            ts_event,
            ts_recv,
            epoch: at.epoch,
            seq: at.sequence,
        })
    }

    fn bar(&self, r: &BarRecord, at: Envelope) -> Result<BarLine, JsonError> {
        let i = self.instrument(&r.header)?;
        let price = |m| decimal(m, i.price_scale);
        let wide = |halves| BarRecord::join(halves).map(|m| Decimal::new(m, r.notional_scale).to_string());
        let f = r.header.flags();
        Ok(BarLine {
            venue: i.venue.name().to_owned(),
            symbol: i.symbol.clone(),
            interval_s: r.interval_s,
            ts_open: r.ts_open,
            closed: r.is_closed(),
            open: price(r.open),
            high: price(r.high),
            low: price(r.low),
            close: price(r.close),
            volume: decimal(r.volume, i.size_scale),
            taker_buy_volume: (r.taker_buy_volume != NONE).then(|| decimal(r.taker_buy_volume, i.size_scale)),
            notional: wide(r.notional),
            taker_buy_notional: wide(r.taker_buy_notional),
            vwap: (r.vwap != NONE).then(|| decimal(r.vwap, r.vwap_scale)),
            trades: r.trades,
            snapshot: f.contains(Flags::SNAPSHOT),
            recv_suspect: f.contains(Flags::RECV_SUSPECT),
            ts_event: r.ts_event,
            ts_recv: r.ts_recv,
            epoch: at.epoch,
            seq: at.sequence,
        })
    }
}

fn venue(h: &Header) -> Result<String, JsonError> {
    h.venue().map(|v| v.name().to_owned()).ok_or(JsonError::UnknownVenue { kind: h.kind })
}

fn close(mut line: BookLine, at: Envelope) -> Line {
    line.seq = at.sequence;
    line.seq_first = line.seq_first.filter(|first| *first != at.sequence);
    Line::Book(line)
}

/// The state a status line tells, from its names.
pub fn status_of_names(scope: &str, stream: Option<&str>, state: &str) -> Option<Status> {
    use model::{BookState, InstrumentStatus, Scope, StreamKind, StreamState};
    let instrument_status = || (1..=5).filter_map(InstrumentStatus::from_code).find(|s| s.name() == state);
    Some(match Scope::from_name(scope)? {
        Scope::Connection => Status::Connection(StreamState::from_name(state)?),
        Scope::Stream => Status::Stream(StreamKind::from_name(stream?)?, StreamState::from_name(state)?),
        Scope::Book => Status::Book(BookState::from_name(state)?),
        Scope::Instrument => Status::Instrument(instrument_status()?),
        Scope::Venue => Status::Venue(StreamState::from_name(state)?),
    })
}

/// The exact mantissa of a line's decimal at a scale.
pub fn mantissa(field: &'static str, text: &str, scale: u8) -> Result<i64, JsonError> {
    let exact = text.parse::<Decimal>().and_then(|d| d.at_scale(scale));
    exact.map_err(|e| JsonError::Field { field, value: text.to_owned(), problem: e.to_string() })
}

/// The price of a line at a scale.
pub fn price(field: &'static str, text: &str, scale: u8) -> Result<Price, JsonError> {
    mantissa(field, text, scale).map(Price)
}

/// The size of a line at a scale.
pub fn qty(field: &'static str, text: &str, scale: u8) -> Result<Qty, JsonError> {
    mantissa(field, text, scale).map(Qty)
}

/// The JSON Schema of every line, generated from the types above.
pub fn schema() -> serde_json::Value {
    serde_json::to_value(schemars::schema_for!(Line)).expect("a schema is plain JSON")
}
