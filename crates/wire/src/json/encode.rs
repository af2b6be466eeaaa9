//! Records to lines.

use super::{
    BackfillLine, BarLine, BookLine, ClockLine, CorrectionLine, GapLine, HeartbeatLine, InstrumentLine, Instruments,
    JsonError, Line, OrderLine, OverrunLine, PriceBandLine, QuoteLine, SessionEndLine, SessionStartLine, StatusLine,
    TradeLine, decimal,
};
use crate::{
    BarRecord, BookChangeRecord, CorrectionKind, Envelope, Flags, Header, NONE, Record, SnapshotBeginRecord,
    SnapshotEndRecord, SnapshotReason,
};
use model::{Decimal, Instrument, InstrumentId, Side, Venue};
use std::collections::HashMap;

/// The most levels one book event may have: twenty times the deepest book seen (Coinbase, 46,000 levels). A writer
/// that never closes its event must not fill the memory.
pub const EVENT_LEVELS_MAX: usize = 1 << 20;

/// Turns records into lines, folding the changes of one book event. One per stream of records.
///
/// A snapshot is told only whole: with every level its beginning promised and no update of the instrument between.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The definitions seen so far.
    pub instruments: Instruments,
    updates: HashMap<BookKey, BookLine>,
    snapshots: HashMap<BookKey, Snapshot>,
}

type BookKey = (Venue, InstrumentId);

/// A snapshot being told.
#[derive(Debug)]
struct Snapshot {
    line: BookLine,
    bids: u32,
    asks: u32,
    crossed: bool,
}

impl Snapshot {
    fn check(&self) -> Result<(), String> {
        let told = (self.line.bids.len(), self.line.asks.len());
        if told != (self.bids as usize, self.asks as usize) {
            return Err(format!(
                "{} bids and {} asks were promised, {} and {} told",
                self.bids, self.asks, told.0, told.1
            ));
        }
        if self.crossed {
            return Err("an update came between its beginning and its end".to_owned());
        }
        Ok(())
    }
}

impl Encoder {
    /// An encoder that has seen no definitions.
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// Forgets half-told book events, as after an overrun.
    pub fn forget_events(&mut self) {
        self.updates.clear();
        self.snapshots.clear();
    }

    /// The line of a record; `None` while a book event is not whole, for a snapshot whose beginning came before this
    /// stream of records did, and for types this build does not know. Half-told events of a venue are forgotten when
    /// an overrun says that records of it are missing, or another run begins.
    pub fn push(&mut self, at: Envelope, words: &[u64]) -> Result<Option<Line>, JsonError> {
        let record = Record::read(words)?;
        self.instruments.observe(&record);
        match record {
            Record::SnapshotBegin(r) => self.snapshot_begin(at, r).map(|()| None),
            Record::BookChange(r) if r.header.flags().contains(Flags::SNAPSHOT) => {
                self.snapshot_level(at, r).map(|()| None)
            }
            Record::BookChange(r) => self.book_change(at, r),
            Record::SnapshotEnd(r) => self.snapshot_end(at, r),
            other => {
                self.forget_broken(&other);
                self.plain(at, other)
            }
        }
    }

    fn forget_broken(&mut self, record: &Record<'_>) {
        let venue = match record {
            Record::Overrun(r) => r.header.venue(),
            Record::SessionStart(v) => v.head.header.venue(),
            _ => return,
        };
        let other = |key: &BookKey| venue.is_some_and(|v| v != key.0);
        self.updates.retain(|key, _| other(key));
        self.snapshots.retain(|key, _| other(key));
    }

    fn instrument(&self, header: &Header) -> Result<&Instrument, JsonError> {
        let venue = header.venue().ok_or(JsonError::UnknownVenue { kind: header.kind })?;
        self.instruments
            .of(header)
            .ok_or_else(|| JsonError::UnknownInstrument { id: header.instrument(), venue: venue.name().to_owned() })
    }

    fn book_line(
        &self,
        h: &Header,
        kind: &str,
        ts_event: u64,
        ts_recv: u64,
        at: Envelope,
    ) -> Result<(BookKey, BookLine), JsonError> {
        let i = self.instrument(h)?;
        let line = BookLine {
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
            requested: false,
            recv_suspect: suspect(h),
            ts_event,
            ts_recv,
            epoch: at.epoch,
            seq_first: Some(at.sequence),
            seq: at.sequence,
        };
        Ok(((i.venue, i.id), line))
    }

    fn snapshot_begin(&mut self, at: Envelope, r: &SnapshotBeginRecord) -> Result<(), JsonError> {
        let (key, mut line) = self.book_line(&r.header, "snapshot", r.ts_event, r.ts_recv, at)?;
        line.depth = (r.depth != 0).then_some(r.depth);
        line.capped = r.capped != 0;
        line.update_id = (r.update_id != 0).then_some(r.update_id);
        line.periodic = r.reason().is_repeat();
        line.requested = r.reason() == SnapshotReason::Requested;
        // Changes that were never closed are overtaken by the snapshot.
        self.updates.remove(&key);
        self.snapshots.insert(key, Snapshot { line, bids: r.bids, asks: r.asks, crossed: false });
        Ok(())
    }

    fn snapshot_level(&mut self, at: Envelope, r: &BookChangeRecord) -> Result<(), JsonError> {
        let i = self.instrument(&r.header)?;
        let (key, level) = ((i.venue, i.id), level(i, r));
        match self.snapshots.get_mut(&key).filter(|s| s.line.epoch == at.epoch) {
            Some(open) => add_level(&mut open.line, level, r),
            None => Ok(()),
        }
    }

    fn snapshot_end(&mut self, at: Envelope, r: &SnapshotEndRecord) -> Result<Option<Line>, JsonError> {
        let i = self.instrument(&r.header)?;
        let (id, key) = (i.id, (i.venue, i.id));
        let Some(open) = self.snapshots.remove(&key).filter(|s| s.line.epoch == at.epoch) else { return Ok(None) };
        open.check().map_err(|problem| JsonError::TornSnapshot { id, problem })?;
        let mut line = open.line;
        line.checksum = (r.checksum != 0).then_some(r.checksum);
        line.trusted = !r.header.flags().contains(Flags::NOT_TRUSTED);
        line.recv_suspect |= suspect(&r.header);
        Ok(Some(close(line, at)))
    }

    fn book_change(&mut self, at: Envelope, r: &BookChangeRecord) -> Result<Option<Line>, JsonError> {
        let level = level(self.instrument(&r.header)?, r);
        let (key, fresh) = self.book_line(&r.header, "update", r.ts_event, r.ts_recv, at)?;
        if let Some(open) = self.snapshots.get_mut(&key) {
            open.crossed = true;
        }
        let mut line = self.updates.remove(&key).filter(|open| open.epoch == at.epoch).unwrap_or(fresh);
        add_level(&mut line, level, r)?;
        if r.header.flags().contains(Flags::LAST) {
            return Ok(Some(close(line, at)));
        }
        self.updates.insert(key, line);
        Ok(None)
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
                    recv_suspect: suspect(&v.head.header),
                    ts_event: v.head.ts_event,
                    ts_recv: v.head.ts_recv,
                    epoch,
                    seq,
                })
            }
            Record::Correction(r) => {
                let i = self.instrument(&r.header)?;
                Line::Correction(CorrectionLine {
                    venue: i.venue.name().to_owned(),
                    symbol: i.symbol.clone(),
                    kind: r.kind().name().to_owned(),
                    trade_id: r.trade_id.to_string(),
                    new_trade_id: (r.kind() == CorrectionKind::Correct).then(|| r.new_trade_id.to_string()),
                    price: (r.price != NONE).then(|| decimal(r.price, i.price_scale)),
                    size: (r.size != NONE).then(|| decimal(r.size, i.size_scale)),
                    late: r.header.flags().contains(Flags::LATE),
                    recv_suspect: suspect(&r.header),
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
                recv_suspect: suspect(&v.head.header),
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
                recv_suspect: suspect(&r.header),
                ts_from: r.ts_from,
                ts_to: r.ts_to,
                ts_recv: r.ts_recv,
                epoch,
                seq,
            }),
            Record::Backfill(r) => Line::Backfill(BackfillLine {
                venue: venue(&r.header)?,
                symbol: self.symbol(&r.header)?,
                stream: r.stream().name().to_owned(),
                told: r.told,
                recv_suspect: suspect(&r.header),
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
                cause: r.cause().name().to_owned(),
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
            Record::Order(r) => {
                let (i, f) = (self.instrument(&r.header)?, r.header.flags());
                Line::Order(OrderLine {
                    venue: i.venue.name().to_owned(),
                    symbol: i.symbol.clone(),
                    action: r.action().name().to_owned(),
                    side: f.side().expect("checked when the record was viewed").name().to_owned(),
                    order_id: uuid_text(r.id()),
                    price: (r.price != NONE).then(|| decimal(r.price, i.price_scale)),
                    size: (r.size != NONE).then(|| decimal(r.size, i.size_scale)),
                    venue_seq: (r.venue_sequence != 0).then_some(r.venue_sequence),
                    last: f.contains(Flags::LAST),
                    snapshot: f.contains(Flags::SNAPSHOT),
                    not_trusted: f.contains(Flags::NOT_TRUSTED),
                    recv_suspect: suspect(&r.header),
                    ts_event: r.ts_event,
                    ts_recv: r.ts_recv,
                    epoch,
                    seq,
                })
            }
            Record::PriceBand(r) => {
                let i = self.instrument(&r.header)?;
                Line::PriceBand(PriceBandLine {
                    venue: i.venue.name().to_owned(),
                    symbol: i.symbol.clone(),
                    lower: (r.lower != NONE).then(|| decimal(r.lower, i.price_scale)),
                    upper: (r.upper != NONE).then(|| decimal(r.upper, i.price_scale)),
                    indicator: (r.indicator != 0).then(|| char::from(r.indicator).to_string()),
                    recv_suspect: suspect(&r.header),
                    ts_event: r.ts_event,
                    ts_recv: r.ts_recv,
                    epoch,
                    seq,
                })
            }
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
            late: f.contains(Flags::LATE),
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

/// A UUID as people write it.
fn uuid_text(id: u128) -> String {
    let hex = format!("{id:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn suspect(h: &Header) -> bool {
    h.flags().contains(Flags::RECV_SUSPECT)
}

fn level(i: &Instrument, r: &BookChangeRecord) -> [String; 2] {
    [decimal(r.price, i.price_scale), decimal(r.size, i.size_scale)]
}

fn add_level(line: &mut BookLine, level: [String; 2], r: &BookChangeRecord) -> Result<(), JsonError> {
    if line.bids.len() + line.asks.len() == EVENT_LEVELS_MAX {
        return Err(JsonError::EventTooLong { id: r.header.instrument() });
    }
    match r.header.flags().side() {
        Some(Side::Buy) => line.bids.push(level),
        _ => line.asks.push(level),
    }
    // One unproven or badly timed record makes the whole event so.
    line.trusted &= !r.header.flags().contains(Flags::NOT_TRUSTED);
    line.recv_suspect |= suspect(&r.header);
    Ok(())
}

fn close(mut line: BookLine, at: Envelope) -> Line {
    line.seq = at.sequence;
    line.seq_first = line.seq_first.filter(|first| *first != at.sequence);
    Line::Book(line)
}
