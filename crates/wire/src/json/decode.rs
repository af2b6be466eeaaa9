//! Lines to records: the inverse of the encoder.

use super::{
    BackfillLine, BarLine, BookLine, CorrectionLine, GapLine, InstrumentLine, Instruments, JsonError, Line, OrderLine,
    OverrunLine, PriceBandLine, QuoteLine, SessionStartLine, StatusLine, TradeLine,
};
use crate::{
    BackfillRecord, BarRecord, BarState, BookAction, BookChangeRecord, ClockRecord, CorrectionKind, CorrectionRecord,
    Envelope, Flags, GapRecord, Header, HeartbeatRecord, LongTrade, NONE, OrderAction, OrderRecord, OverrunCause,
    OverrunRecord, PriceBandRecord, QuoteRecord, RecordBuf, SessionHead, SnapshotBeginRecord, SnapshotEndRecord,
    SnapshotReason, Status, TradeRecord,
};
use model::{
    BookState, Decimal, GapCause, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, Reason,
    SCALE_MAX, Scope, Side, SideSource, StreamKind, StreamState, UnixNanos, Venue,
};

/// The names of the records one line became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The run of the feed.
    pub epoch: u64,
    /// Sequence of the first record; 0 for an overrun, which has none.
    pub first: u64,
    /// Sequence of the last record.
    pub last: u64,
    /// How many records there are.
    pub records: usize,
}

impl Span {
    /// The envelope of each record; `None` when records of other instruments stood between those of a snapshot: the
    /// line does not tell where.
    pub fn envelopes(self) -> Option<impl Iterator<Item = Envelope>> {
        let whole = self.last.wrapping_sub(self.first).wrapping_add(1) == self.records as u64;
        whole.then(|| (self.first..=self.last).map(move |sequence| Envelope { epoch: self.epoch, sequence }))
    }
}

/// Turns lines into records. A level of an update becomes a deletion when its size is 0, else a change: whether it
/// was new is not in the JSON form. The scales inside a record (a bar's notionals and average price, an instrument's
/// smallest order value) become the least that hold the number.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The definitions seen so far.
    pub instruments: Instruments,
}

impl Decoder {
    /// A decoder that has seen no definitions.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Appends the records of one line of JSON text.
    pub fn push_text(&mut self, text: &str, out: &mut RecordBuf) -> Result<Span, JsonError> {
        let line = serde_json::from_str(text).map_err(|e| JsonError::Line(e.to_string()))?;
        self.push(&line, out)
    }

    /// Appends the records of a line. After an error `out` is as before.
    pub fn push(&mut self, line: &Line, out: &mut RecordBuf) -> Result<Span, JsonError> {
        let mark = out.mark();
        let span = self.push_records(line, out).and_then(|(epoch, first, last)| {
            let records = out.len() - mark.1;
            check_range(first, last, records)?;
            Ok(Span { epoch, first, last, records })
        });
        if span.is_err() {
            out.truncate(mark);
        }
        span
    }

    /// The line's epoch, first and last sequence.
    fn push_records(&mut self, line: &Line, out: &mut RecordBuf) -> Result<(u64, u64, u64), JsonError> {
        match line {
            Line::Trade(l) => self.trade(l, out)?,
            Line::Book(l) => {
                self.book(l, out)?;
                return Ok((l.epoch, l.seq_first.unwrap_or(l.seq), l.seq));
            }
            Line::Quote(l) => out.push(&self.quote(l)?),
            Line::Bar(l) => out.push(&self.bar(l)?),
            Line::Instrument(l) => {
                let i = instrument(l)?;
                let at = out.mark().0;
                out.push_instrument(&i, UnixNanos(l.ts_event), UnixNanos(l.ts_recv))?;
                set_flags(out, at, suspect(l.recv_suspect));
                self.instruments.insert(i);
            }
            Line::Correction(l) => out.push(&self.correction(l)?),
            Line::Status(l) => self.status(l, out)?,
            Line::Gap(l) => out.push(&self.gap(l)?),
            Line::Overrun(l) => {
                out.push(&overrun(l)?);
                return Ok((l.epoch, 0, 0));
            }
            Line::Clock(l) => out.push(&ClockRecord {
                ts_recv: l.ts_recv,
                step_ns: l.step_ns,
                ..ClockRecord::new(venue(&l.venue)?, UnixNanos(l.wall), UnixNanos(l.expected))
            }),
            Line::Heartbeat(l) => out.push(&HeartbeatRecord::new(venue(&l.venue)?, l.next_seq, UnixNanos(l.ts_recv))),
            Line::Order(l) => out.push(&self.order(l)?),
            Line::PriceBand(l) => out.push(&self.price_band(l)?),
            Line::Backfill(l) => out.push(&self.backfill(l)?),
            Line::SessionStart(l) => session_start(l, out)?,
            Line::SessionEnd(l) => {
                let reason = named("reason", &l.reason, Reason::from_name)?;
                out.push_session_end(venue(&l.venue)?, l.epoch, reason, UnixNanos(l.ts_recv));
            }
        }
        let (epoch, seq) = epoch_and_sequence(line);
        Ok((epoch, seq, seq))
    }

    fn of(&self, venue_name: &str, symbol: &str) -> Result<&Instrument, JsonError> {
        self.instruments.only(venue(venue_name)?, symbol)
    }

    /// Venue and instrument of a line that may speak of the whole venue.
    fn scope(&self, venue_name: &str, symbol: Option<&str>) -> Result<(Venue, InstrumentId), JsonError> {
        let venue = venue(venue_name)?;
        let id = symbol.map_or(Ok(InstrumentId::NONE), |s| self.instruments.only(venue, s).map(|i| i.id))?;
        Ok((venue, id))
    }

    fn trade(&self, l: &TradeLine, out: &mut RecordBuf) -> Result<(), JsonError> {
        let i = self.of(&l.venue, &l.symbol)?;
        // Only the text of a 64-bit number comes back from it; every other id stays a text.
        let number = l.trade_id.as_ref().and_then(|t| t.parse::<u64>().ok().filter(|n| n.to_string() == *t));
        let side = match l.side.as_str() {
            "none" => None,
            name => Some(named("side", name, Side::from_name)?),
        };
        let flags = Flags::LAST.when(l.last)
            | Flags::SNAPSHOT.when(l.snapshot)
            | Flags::LATE.when(l.late)
            | suspect(l.recv_suspect);
        let trade = TradeRecord::new(
            i.venue,
            i.id,
            side,
            named("side_source", &l.side_source, SideSource::from_name)?,
            flags,
            UnixNanos(l.ts_event),
            UnixNanos(l.ts_recv),
            price("price", &l.price, i.price_scale)?,
            qty("size", &l.size, i.size_scale)?,
            number,
        );
        let long = l.conditions.is_some() || l.exchange.is_some() || l.tape.is_some();
        if !long && number.is_some() == l.trade_id.is_some() {
            out.push_trade(&trade);
            return Ok(());
        }
        let text = |t: &'_ Option<String>| t.clone().unwrap_or_default();
        let (id, conditions, exchange, tape) =
            (text(&l.trade_id), text(&l.conditions), text(&l.exchange), text(&l.tape));
        out.push_long_trade(&LongTrade { trade, id: &id, conditions: &conditions, exchange: &exchange, tape: &tape })?;
        Ok(())
    }

    fn book(&self, l: &BookLine, out: &mut RecordBuf) -> Result<(), JsonError> {
        let i = self.of(&l.venue, &l.symbol)?;
        let flags = Flags::NOT_TRUSTED.when(!l.trusted) | suspect(l.recv_suspect);
        match l.kind.as_str() {
            "update" => update(i, l, flags, out),
            "snapshot" => snapshot(i, l, flags | Flags::SNAPSHOT, out),
            other => Err(field("kind", other, "is neither snapshot nor update")),
        }
    }

    fn quote(&self, l: &QuoteLine) -> Result<QuoteRecord, JsonError> {
        let i = self.of(&l.venue, &l.symbol)?;
        let flags = Flags::SNAPSHOT.when(l.snapshot) | Flags::NOT_TRUSTED.when(l.not_trusted) | suspect(l.recv_suspect);
        let side = |name, p: &Option<String>, q: &Option<String>| match (p, q) {
            (None, None) => Ok(None),
            (Some(p), Some(q)) => Ok(Some((price(name, p, i.price_scale)?, qty(name, q, i.size_scale)?))),
            _ => Err(field(name, "null", "stands beside a price or size that is not null")),
        };
        Ok(QuoteRecord::new(
            i.venue,
            i.id,
            flags,
            UnixNanos(l.ts_event),
            UnixNanos(l.ts_recv),
            side("bid", &l.bid, &l.bid_size)?,
            side("ask", &l.ask, &l.ask_size)?,
        ))
    }

    fn bar(&self, l: &BarLine) -> Result<BarRecord, JsonError> {
        let i = self.of(&l.venue, &l.symbol)?;
        let flags = Flags::SNAPSHOT.when(l.snapshot) | Flags::LATE.when(l.late) | suspect(l.recv_suspect);
        let at = |name, text: &str| mantissa(name, text, i.price_scale);
        let (notional, taker) = (wide("notional", &l.notional)?, wide("taker_buy_notional", &l.taker_buy_notional)?);
        let notional_scale = [notional, taker].into_iter().flatten().map(|d| d.scale).max().unwrap_or(0);
        let halves = |name, value: Option<Decimal>| {
            let at = |d: Decimal| {
                let factor = 10i128.pow(u32::from(notional_scale - d.scale));
                d.mantissa.checked_mul(factor).ok_or_else(|| field(name, &d.to_string(), "does not fit 128 bits"))
            };
            value.map(at).transpose().map(BarRecord::split)
        };
        let vwap = wide("vwap", &l.vwap)?;
        let vwap_scale = vwap.map_or(0, |d| d.scale);
        Ok(BarRecord {
            header: Header::new(BarRecord::TYPE, BarRecord::WORDS, Some(i.venue), flags, i.id),
            ts_event: l.ts_event,
            ts_recv: l.ts_recv,
            ts_open: l.ts_open,
            interval_s: l.interval_s,
            state: if l.closed { BarState::Closed } else { BarState::Open } as u8,
            notional_scale,
            vwap_scale,
            reserved: 0,
            open: at("open", &l.open)?,
            high: at("high", &l.high)?,
            low: at("low", &l.low)?,
            close: at("close", &l.close)?,
            volume: mantissa("volume", &l.volume, i.size_scale)?,
            taker_buy_volume: optional("taker_buy_volume", &l.taker_buy_volume, i.size_scale)?,
            notional: halves("notional", notional)?,
            taker_buy_notional: halves("taker_buy_notional", taker)?,
            vwap: optional("vwap", &l.vwap, vwap_scale)?,
            trades: l.trades,
        })
    }

    fn correction(&self, l: &CorrectionLine) -> Result<CorrectionRecord, JsonError> {
        let i = self.of(&l.venue, &l.symbol)?;
        let flags = Flags::LATE.when(l.late) | suspect(l.recv_suspect);
        let kind = named("kind", &l.kind, CorrectionKind::from_name)?;
        let new_trade_id = match (kind, &l.new_trade_id) {
            (CorrectionKind::Cancel, None) => 0,
            (CorrectionKind::Correct, Some(id)) => number("new_trade_id", id)?,
            (CorrectionKind::Cancel, Some(id)) => {
                return Err(field("new_trade_id", id, "is given to a cancelled trade"));
            }
            (CorrectionKind::Correct, None) => {
                return Err(field("new_trade_id", "null", "is no id of the corrected trade"));
            }
        };
        Ok(CorrectionRecord {
            header: Header::new(CorrectionRecord::TYPE, CorrectionRecord::WORDS, Some(i.venue), flags, i.id),
            ts_event: l.ts_event,
            ts_recv: l.ts_recv,
            trade_id: number("trade_id", &l.trade_id)?,
            new_trade_id,
            price: optional("price", &l.price, i.price_scale)?,
            size: optional("size", &l.size, i.size_scale)?,
            kind: kind as u8,
            reserved: [0; 7],
        })
    }

    fn order(&self, l: &OrderLine) -> Result<OrderRecord, JsonError> {
        let i = self.of(&l.venue, &l.symbol)?;
        let side = named("side", &l.side, Side::from_name)?;
        let flags = Flags::LAST.when(l.last)
            | Flags::SNAPSHOT.when(l.snapshot)
            | Flags::NOT_TRUSTED.when(l.not_trusted)
            | suspect(l.recv_suspect)
            | Flags::of_side(Some(side));
        let id = uuid(&l.order_id).ok_or_else(|| field("order_id", &l.order_id, "is no UUID"))?;
        Ok(OrderRecord {
            header: Header::new(OrderRecord::TYPE, OrderRecord::WORDS, Some(i.venue), flags, i.id),
            ts_event: l.ts_event,
            ts_recv: l.ts_recv,
            price: optional("price", &l.price, i.price_scale)?,
            size: optional("size", &l.size, i.size_scale)?,
            order_id: [(id >> 64) as u64, id as u64],
            venue_sequence: l.venue_seq.unwrap_or(0),
            action: named("action", &l.action, OrderAction::from_name)? as u8,
            reserved: [0; 7],
        })
    }

    fn price_band(&self, l: &PriceBandLine) -> Result<PriceBandRecord, JsonError> {
        let i = self.of(&l.venue, &l.symbol)?;
        let indicator = match l.indicator.as_deref().map(str::as_bytes) {
            None => 0,
            Some([letter]) if letter.is_ascii_graphic() => *letter,
            Some(_) => return Err(field("indicator", l.indicator.as_deref().unwrap_or(""), "is no letter")),
        };
        let flags = suspect(l.recv_suspect);
        Ok(PriceBandRecord {
            header: Header::new(PriceBandRecord::TYPE, PriceBandRecord::WORDS, Some(i.venue), flags, i.id),
            ts_event: l.ts_event,
            ts_recv: l.ts_recv,
            lower: optional("lower", &l.lower, i.price_scale)?,
            upper: optional("upper", &l.upper, i.price_scale)?,
            indicator,
            reserved: [0; 7],
        })
    }

    fn status(&self, l: &StatusLine, out: &mut RecordBuf) -> Result<(), JsonError> {
        let (venue, id) = self.scope(&l.venue, l.symbol.as_deref())?;
        let status = status_of_names(&l.scope, l.stream.as_deref(), &l.state)
            .ok_or_else(|| field("state", &l.state, "is no state of this scope and stream"))?;
        if status.stream().map(StreamKind::name) != l.stream.as_deref() {
            return Err(field("stream", l.stream.as_deref().unwrap_or("null"), "is not the stream of this scope"));
        }
        let reason = named("reason", &l.reason, Reason::from_name)?;
        let at = out.mark().0;
        out.push_status(venue, id, status, reason, &l.text, UnixNanos(l.ts_event), UnixNanos(l.ts_recv));
        set_flags(out, at, suspect(l.recv_suspect));
        Ok(())
    }

    fn backfill(&self, l: &BackfillLine) -> Result<BackfillRecord, JsonError> {
        let (venue, id) = self.scope(&l.venue, l.symbol.as_deref())?;
        Ok(BackfillRecord {
            header: Header::new(BackfillRecord::TYPE, BackfillRecord::WORDS, Some(venue), suspect(l.recv_suspect), id),
            ts_event: 0,
            ts_recv: l.ts_recv,
            ts_from: l.ts_from,
            ts_to: l.ts_to,
            told: l.told,
            stream: named("stream", &l.stream, StreamKind::from_name)?.code(),
            reserved: [0; 3],
        })
    }

    fn gap(&self, l: &GapLine) -> Result<GapRecord, JsonError> {
        let (venue, id) = self.scope(&l.venue, l.symbol.as_deref())?;
        let (first, last) = match (&l.first, &l.last) {
            (None, None) => (0, 0),
            (Some(first), Some(last)) => (number("first", first)?, number("last", last)?),
            _ => return Err(field("first", "null", "stands beside a last missing id, or one beside no last")),
        };
        Ok(GapRecord {
            header: Header::new(GapRecord::TYPE, GapRecord::WORDS, Some(venue), suspect(l.recv_suspect), id),
            ts_event: 0,
            ts_recv: l.ts_recv,
            stream: named("stream", &l.stream, StreamKind::from_name)?.code(),
            cause: named("cause", &l.cause, GapCause::from_name)?.code(),
            known: u8::from(l.first.is_some()) | u8::from(l.missing.is_some()) << 1,
            reserved: [0; 5],
            first,
            last,
            missing: l.missing.unwrap_or(0),
            ts_from: l.ts_from,
            ts_to: l.ts_to,
        })
    }
}

/// Epoch and sequence of a line that is one record.
fn epoch_and_sequence(line: &Line) -> (u64, u64) {
    match line {
        Line::Trade(l) => (l.epoch, l.seq),
        Line::Book(l) => (l.epoch, l.seq),
        Line::Quote(l) => (l.epoch, l.seq),
        Line::Bar(l) => (l.epoch, l.seq),
        Line::Instrument(l) => (l.epoch, l.seq),
        Line::Correction(l) => (l.epoch, l.seq),
        Line::Status(l) => (l.epoch, l.seq),
        Line::Gap(l) => (l.epoch, l.seq),
        Line::Overrun(l) => (l.epoch, 0),
        Line::Clock(l) => (l.epoch, l.seq),
        Line::Heartbeat(l) => (l.epoch, l.seq),
        Line::SessionStart(l) => (l.epoch, l.seq),
        Line::SessionEnd(l) => (l.epoch, l.seq),
        Line::Order(l) => (l.epoch, l.seq),
        Line::PriceBand(l) => (l.epoch, l.seq),
        Line::Backfill(l) => (l.epoch, l.seq),
    }
}

fn check_range(first: u64, last: u64, records: usize) -> Result<(), JsonError> {
    let room = last.checked_sub(first);
    // One record has one name; several have at least as many names as they are.
    if room.is_none_or(|room| room < records as u64 - 1 || (records == 1 && room != 0)) {
        let problem = format!("does not lead to seq {last} over {records} records");
        return Err(field("seq_first", &first.to_string(), &problem));
    }
    Ok(())
}

/// The 128 bits of a UUID in its usual spelling.
fn uuid(text: &str) -> Option<u128> {
    let dashes = [8, 13, 18, 23];
    let shaped = text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| if dashes.contains(&at) { b == b'-' } else { b.is_ascii_hexdigit() });
    if !shaped {
        return None;
    }
    u128::from_str_radix(&text.replace('-', ""), 16).ok()
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Buy => "bids",
        Side::Sell => "asks",
    }
}

/// Prices and sizes of a line's levels, bids first.
fn levels<'a>(i: &'a Instrument, l: &'a BookLine) -> impl Iterator<Item = Result<(Side, Price, Qty), JsonError>> + 'a {
    let sides = l.bids.iter().map(|level| (Side::Buy, level)).chain(l.asks.iter().map(|level| (Side::Sell, level)));
    sides.map(|(side, [p, q])| {
        let name = side_name(side);
        Ok((side, price(name, p, i.price_scale)?, qty(name, q, i.size_scale)?))
    })
}

fn update(i: &Instrument, l: &BookLine, flags: Flags, out: &mut RecordBuf) -> Result<(), JsonError> {
    if l.depth.is_some() || l.capped || l.update_id.is_some() || l.checksum.is_some() || l.periodic || l.requested {
        return Err(field("kind", &l.kind, "has no depth, capped, update_id, checksum, periodic or requested"));
    }
    let count = l.bids.len() + l.asks.len();
    if count == 0 {
        return Err(field("bids", "[]", "and asks are empty: an update has a level"));
    }
    for (n, level) in levels(i, l).enumerate() {
        let (side, p, q) = level?;
        let action = if q.0 == 0 { BookAction::Delete } else { BookAction::Change };
        let flags = flags | Flags::LAST.when(n + 1 == count);
        let (event, recv) = (UnixNanos(l.ts_event), UnixNanos(l.ts_recv));
        out.push(&BookChangeRecord::new(i.venue, i.id, side, flags, event, recv, p, q, action));
    }
    Ok(())
}

fn reason(l: &BookLine) -> Result<SnapshotReason, JsonError> {
    match (l.periodic, l.requested) {
        (false, false) => Ok(SnapshotReason::Sync),
        (true, false) => Ok(SnapshotReason::Periodic),
        (true, true) => Ok(SnapshotReason::Requested),
        (false, true) => Err(field("requested", "true", "is of a repeated snapshot, which is periodic too")),
    }
}

fn snapshot(i: &Instrument, l: &BookLine, flags: Flags, out: &mut RecordBuf) -> Result<(), JsonError> {
    let count = |levels: &[_]| {
        u32::try_from(levels.len()).map_err(|_| field("bids", &levels.len().to_string(), "are more levels than fit"))
    };
    let (bids, asks) = (count(&l.bids)?, count(&l.asks)?);
    let update_id = l.update_id.unwrap_or(0);
    out.push(&SnapshotBeginRecord {
        header: Header::new(SnapshotBeginRecord::TYPE, SnapshotBeginRecord::WORDS, Some(i.venue), flags, i.id),
        ts_event: l.ts_event,
        ts_recv: l.ts_recv,
        bids,
        asks,
        depth: l.depth.unwrap_or(0),
        reason: reason(l)? as u8,
        capped: u8::from(l.capped),
        reserved: [0; 2],
        update_id,
    });
    for level in levels(i, l) {
        let (side, p, q) = level?;
        if q.0 == 0 {
            return Err(field(side_name(side), "0", "is the size of a level in a snapshot, which has none to delete"));
        }
        let (event, recv) = (UnixNanos(l.ts_event), UnixNanos(l.ts_recv));
        out.push(&BookChangeRecord::new(i.venue, i.id, side, flags, event, recv, p, q, BookAction::Add));
    }
    out.push(&SnapshotEndRecord {
        header: Header::new(
            SnapshotEndRecord::TYPE,
            SnapshotEndRecord::WORDS,
            Some(i.venue),
            flags | Flags::LAST,
            i.id,
        ),
        ts_event: l.ts_event,
        ts_recv: l.ts_recv,
        levels: bids.saturating_add(asks),
        checksum: l.checksum.unwrap_or(0),
        update_id,
        reserved: 0,
    });
    Ok(())
}

fn instrument(l: &InstrumentLine) -> Result<Instrument, JsonError> {
    for (name, scale) in [("price_scale", l.price_scale), ("size_scale", l.size_scale)] {
        if scale > SCALE_MAX {
            return Err(field(name, &scale.to_string(), "is more decimals than 64 bits hold"));
        }
    }
    let step = |name, text: &Option<String>, scale| text.as_ref().map_or(Ok(0), |t| mantissa(name, t, scale));
    Ok(Instrument {
        id: InstrumentId(l.instrument_id),
        venue: venue(&l.venue)?,
        symbol: l.symbol.clone(),
        venue_symbol: l.venue_symbol.clone(),
        base: l.base.clone(),
        quote: l.quote.clone(),
        version: l.version,
        kind: named("kind", &l.kind, InstrumentKind::from_name)?,
        status: named("status", &l.status, InstrumentStatus::from_name)?,
        price_scale: l.price_scale,
        size_scale: l.size_scale,
        tick: Price(step("tick", &l.tick, l.price_scale)?),
        lot: Qty(step("lot", &l.lot, l.size_scale)?),
        min_size: Qty(step("min_size", &l.min_size, l.size_scale)?),
        min_notional: wide("min_notional", &l.min_notional)?,
    })
}

fn overrun(l: &OverrunLine) -> Result<OverrunRecord, JsonError> {
    let of = l.venue.as_deref().map(venue).transpose()?;
    let cause = named("cause", &l.cause, OverrunCause::from_name)?;
    if l.last.is_some() != l.missing.is_some() || l.last == Some(0) {
        return Err(field("last", &format!("{:?}", l.last), "and missing are known together or not at all"));
    }
    Ok(OverrunRecord {
        last: l.last.unwrap_or(0),
        count: l.missing.unwrap_or(0),
        ..OverrunRecord::new(of, l.epoch, l.first, None, cause, UnixNanos(l.ts_recv))
    })
}

fn session_start(l: &SessionStartLine, out: &mut RecordBuf) -> Result<(), JsonError> {
    let head = SessionHead { pid: l.pid, version: l.version, ..SessionHead::new(venue(&l.venue)?, l.epoch, l.ts_recv) };
    let head = SessionHead { simulated: l.simulated.into(), ..head };
    out.push_session_head(head, &l.site, &l.build)?;
    Ok(())
}

fn set_flags(out: &mut RecordBuf, at: usize, flags: Flags) {
    let header = *Header::read(&out.words()[at..]).expect("a record was just put there");
    out.set_header(at, header.with_flags(flags));
}

fn suspect(on: bool) -> Flags {
    Flags::RECV_SUSPECT.when(on)
}

fn field(field: &'static str, value: &str, problem: &str) -> JsonError {
    JsonError::Field { field, value: value.to_owned(), problem: problem.to_owned() }
}

fn named<T>(name: &'static str, text: &str, from_name: fn(&str) -> Option<T>) -> Result<T, JsonError> {
    from_name(text).ok_or_else(|| field(name, text, "is none of its names"))
}

fn venue(name: &str) -> Result<Venue, JsonError> {
    name.parse().map_err(|_| field("venue", name, "is no venue's name"))
}

fn number(name: &'static str, text: &str) -> Result<u64, JsonError> {
    text.parse().map_err(|_| field(name, text, "is no 64-bit number"))
}

fn optional(name: &'static str, text: &Option<String>, scale: u8) -> Result<i64, JsonError> {
    text.as_ref().map_or(Ok(NONE), |t| mantissa(name, t, scale))
}

/// A decimal that brings its own scale.
fn wide(name: &'static str, text: &Option<String>) -> Result<Option<Decimal>, JsonError> {
    let parse = |t: &String| t.parse().map_err(|e: model::DecimalError| field(name, t, &e.to_string()));
    text.as_ref().map(parse).transpose()
}

/// The state a status line tells, from its names.
pub fn status_of_names(scope: &str, stream: Option<&str>, state: &str) -> Option<Status> {
    Some(match Scope::from_name(scope)? {
        Scope::Connection => Status::Connection(StreamState::from_name(state)?),
        Scope::Stream => Status::Stream(StreamKind::from_name(stream?)?, StreamState::from_name(state)?),
        Scope::Book => Status::Book(BookState::from_name(state)?),
        Scope::Instrument => Status::Instrument(InstrumentStatus::from_name(state)?),
        Scope::Venue => Status::Venue(StreamState::from_name(state)?),
    })
}

/// The exact mantissa of a line's decimal at a scale.
pub fn mantissa(field: &'static str, text: &str, scale: u8) -> Result<i64, JsonError> {
    let exact = text.parse::<Decimal>().and_then(|d| d.at_scale(scale));
    match exact {
        Ok(NONE) => Err(self::field(field, text, "is kept to say that there is no value")),
        other => other.map_err(|e| self::field(field, text, &e.to_string())),
    }
}

/// The price of a line at a scale.
pub fn price(field: &'static str, text: &str, scale: u8) -> Result<Price, JsonError> {
    mantissa(field, text, scale).map(Price)
}

/// The size of a line at a scale.
pub fn qty(field: &'static str, text: &str, scale: u8) -> Result<Qty, JsonError> {
    mantissa(field, text, scale).map(Qty)
}
