//! The records that carry text: a head of fixed layout, then the texts back to back, zero-padded to a whole word.

use crate::{Flags, Header, NONE, RECORD_WORDS_MAX, RecordBuf, RecordError, RecordType, buf::words_of};
use model::{
    BookState, Decimal, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, Reason, SCALE_MAX,
    Scope, StreamKind, StreamState, UnixNanos, Venue,
};
use std::str;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The most bytes one text may have: its length is one byte.
pub const TEXT_MAX: usize = 255;

/// A text (or, in a definition, a number) that does not fit its record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {text:?} needs room for {length}, there is room for {max}")]
pub struct TextError {
    /// The field.
    pub field: &'static str,
    /// The text's beginning.
    pub text: String,
    /// Its length in bytes; of a number its digits or decimals.
    pub length: usize,
    /// The most it may have.
    pub max: usize,
}

fn check_len(field: &'static str, text: &str, max: usize) -> Result<u8, TextError> {
    u8::try_from(text.len()).ok().filter(|_| text.len() <= max).ok_or_else(|| TextError {
        field,
        text: text.chars().take(40).collect(),
        length: text.len(),
        max,
    })
}

/// Splits a record into its head and the bytes behind it.
fn head_and_tail<H: FromBytes + Immutable + KnownLayout>(words: &[u64]) -> Result<(&H, &[u8]), RecordError> {
    H::ref_from_prefix(words.as_bytes())
        .map_err(|_| RecordError::Size { kind: words.first().map_or(0, |w| *w as u8), words: words.len() })
}

/// Behind the texts stands nothing but the padding to a whole word: what was written is what is read.
fn check_end(tail: &[u8], header: &Header) -> Result<(), RecordError> {
    if tail.len() >= 8 {
        return Err(RecordError::Size { kind: header.kind, words: header.words() });
    }
    Ok(())
}

fn text<'a>(tail: &mut &'a [u8], length: u8, kind: u8, field: &'static str) -> Result<&'a str, RecordError> {
    let bad = RecordError::Text { kind, field };
    let (head, rest) = tail.split_at_checked(length.into()).ok_or(bad)?;
    *tail = rest;
    str::from_utf8(head).map_err(|_| bad)
}

impl RecordBuf {
    /// Appends a head and its texts, and writes the record's length into the header.
    fn push_texts<H: IntoBytes + Immutable + KnownLayout>(&mut self, head: &H, texts: &[&str]) {
        let head = words_of(head);
        let bytes: usize = texts.iter().map(|t| t.len()).sum();
        let words = head.len() + bytes.div_ceil(8);
        assert!(words <= RECORD_WORDS_MAX, "text lengths are checked so that every record fits");
        let record = self.push_zeros(words);
        record[..head.len()].copy_from_slice(head);
        record[0] |= (words as u64) << 8;
        let mut tail = record[head.len()..].as_mut_bytes();
        for t in texts {
            let (text, rest) = tail.split_at_mut(t.len());
            text.copy_from_slice(t.as_bytes());
            tail = rest;
        }
    }
}

/// The fixed part of an instrument record, 72 bytes. The texts behind it: symbol, venue symbol, base, quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct InstrumentHead {
    /// Type 7.
    pub header: Header,
    /// When the venue says so; 0 when it does not say.
    pub ts_event: u64,
    /// When it was learned.
    pub ts_recv: u64,
    /// Counts from 1 with every change.
    pub version: u32,
    /// The [`InstrumentStatus`]'s code.
    pub status: u8,
    /// The [`InstrumentKind`]'s code.
    pub kind: u8,
    /// Decimals of every price mantissa.
    pub price_scale: u8,
    /// Decimals of every size mantissa.
    pub size_scale: u8,
    /// Smallest price step; 0 when not told.
    pub tick: i64,
    /// Smallest size step; 0 when not told.
    pub lot: i64,
    /// Smallest order size; 0 when not told.
    pub min_size: i64,
    /// Smallest order value at `notional_scale`; [`NONE`] when not told.
    pub min_notional: i64,
    /// Bytes of the symbol.
    pub symbol_len: u8,
    /// Bytes of the venue's symbol.
    pub venue_symbol_len: u8,
    /// Bytes of the base currency.
    pub base_len: u8,
    /// Bytes of the quote currency.
    pub quote_len: u8,
    /// Decimals of `min_notional`.
    pub notional_scale: u8,
    /// Zero.
    pub reserved: [u8; 3],
}
assert_layout!(
    InstrumentHead, 72, align 8, header @ 0, ts_event @ 8, ts_recv @ 16,
    version @ 24, status @ 28, kind @ 29, price_scale @ 30, size_scale @ 31, tick @ 32, lot @ 40, min_size @ 48,
    min_notional @ 56, symbol_len @ 64, venue_symbol_len @ 65, base_len @ 66, quote_len @ 67, notional_scale @ 68,
    reserved @ 69,
);

/// An instrument record, viewed in place.
#[derive(Clone, Copy, Debug)]
pub struct InstrumentView<'a> {
    /// The fixed part.
    pub head: &'a InstrumentHead,
    /// Canonical symbol.
    pub symbol: &'a str,
    /// The venue's spelling.
    pub venue_symbol: &'a str,
    /// Base currency.
    pub base: &'a str,
    /// Quote currency.
    pub quote: &'a str,
}

/// The most bytes a symbol or currency may have.
const SYMBOL_MAX: usize = 64;

impl<'a> InstrumentView<'a> {
    pub(crate) fn read(words: &'a [u64]) -> Result<Self, RecordError> {
        let (head, mut tail) = head_and_tail::<InstrumentHead>(words)?;
        let kind = head.header.kind;
        let code = |field, code: u8| RecordError::Code { kind, field, code: code.into() };
        InstrumentStatus::from_code(head.status).ok_or(code("status", head.status))?;
        InstrumentKind::from_code(head.kind).ok_or(code("kind", head.kind))?;
        for (field, scale) in [
            ("price_scale", head.price_scale),
            ("size_scale", head.size_scale),
            ("notional_scale", head.notional_scale),
        ] {
            if scale > SCALE_MAX {
                return Err(code(field, scale));
            }
        }
        let view = InstrumentView {
            symbol: text(&mut tail, head.symbol_len, kind, "symbol")?,
            venue_symbol: text(&mut tail, head.venue_symbol_len, kind, "venue_symbol")?,
            base: text(&mut tail, head.base_len, kind, "base")?,
            quote: text(&mut tail, head.quote_len, kind, "quote")?,
            head,
        };
        check_end(tail, &head.header)?;
        Ok(view)
    }

    /// The definition as an owned value; `None` when this build does not know the venue.
    pub fn to_instrument(&self) -> Option<Instrument> {
        let h = self.head;
        Some(Instrument {
            id: h.header.instrument(),
            venue: h.header.venue()?,
            symbol: self.symbol.to_owned(),
            venue_symbol: self.venue_symbol.to_owned(),
            base: self.base.to_owned(),
            quote: self.quote.to_owned(),
            version: h.version,
            kind: InstrumentKind::from_code(h.kind).expect("checked when the record was viewed"),
            status: InstrumentStatus::from_code(h.status).expect("checked when the record was viewed"),
            price_scale: h.price_scale,
            size_scale: h.size_scale,
            tick: Price(h.tick),
            lot: Qty(h.lot),
            min_size: Qty(h.min_size),
            min_notional: (h.min_notional != NONE).then(|| Decimal::new(h.min_notional.into(), h.notional_scale)),
        })
    }
}

fn check_scale(field: &'static str, scale: u8) -> Result<(), TextError> {
    if scale > SCALE_MAX {
        return Err(TextError { field, text: scale.to_string(), length: scale.into(), max: SCALE_MAX.into() });
    }
    Ok(())
}

/// The smallest order value as 64-bit mantissa and scale.
fn fit_notional(value: Decimal) -> Result<(i64, u8), TextError> {
    let d = value.normalised();
    check_scale("notional_scale", d.scale)?;
    match i64::try_from(d.mantissa) {
        Ok(mantissa) if mantissa != NONE => Ok((mantissa, d.scale)),
        _ => {
            let digits = d.mantissa.unsigned_abs().to_string().len();
            Err(TextError { field: "min_notional", text: d.to_string(), length: digits, max: SCALE_MAX.into() })
        }
    }
}

impl RecordBuf {
    /// Appends an instrument's definition.
    pub fn push_instrument(
        &mut self,
        i: &Instrument,
        ts_event: UnixNanos,
        ts_recv: UnixNanos,
    ) -> Result<(), TextError> {
        check_scale("price_scale", i.price_scale)?;
        check_scale("size_scale", i.size_scale)?;
        let (min_notional, notional_scale) = i.min_notional.map_or(Ok((NONE, 0)), fit_notional)?;
        let head = InstrumentHead {
            header: Header::new(RecordType::Instrument, 0, Some(i.venue), Flags::EMPTY, i.id),
            ts_event: ts_event.0,
            ts_recv: ts_recv.0,
            version: i.version,
            status: i.status as u8,
            kind: i.kind as u8,
            price_scale: i.price_scale,
            size_scale: i.size_scale,
            tick: i.tick.0,
            lot: i.lot.0,
            min_size: i.min_size.0,
            min_notional,
            symbol_len: check_len("symbol", &i.symbol, SYMBOL_MAX)?,
            venue_symbol_len: check_len("venue_symbol", &i.venue_symbol, SYMBOL_MAX)?,
            base_len: check_len("base", &i.base, SYMBOL_MAX)?,
            quote_len: check_len("quote", &i.quote, SYMBOL_MAX)?,
            notional_scale,
            reserved: [0; 3],
        };
        self.push_texts(&head, &[&i.symbol, &i.venue_symbol, &i.base, &i.quote]);
        Ok(())
    }
}

/// The fixed part of a trade with texts, 48 bytes. The texts: id, conditions, exchange, tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct LongTradeHead {
    /// Type 8; flags as in a trade.
    pub header: Header,
    /// When the venue says the trade happened.
    pub ts_event: u64,
    /// When the bytes were read from the socket.
    pub ts_recv: u64,
    /// Price mantissa.
    pub price: i64,
    /// Size mantissa.
    pub size: i64,
    /// Bytes of the id.
    pub id_len: u8,
    /// Bytes of the conditions.
    pub conditions_len: u8,
    /// Bytes of the exchange.
    pub exchange_len: u8,
    /// Bytes of the tape.
    pub tape_len: u8,
    /// Zero.
    pub reserved: [u8; 4],
}
assert_layout!(
    LongTradeHead, 48, align 8, header @ 0, ts_event @ 8, ts_recv @ 16,
    price @ 24, size @ 32, id_len @ 40, conditions_len @ 41, exchange_len @ 42, tape_len @ 43, reserved @ 44,
);

/// A trade whose id is no 64-bit number, or that has conditions, exchange or tape.
#[derive(Clone, Copy, Debug)]
pub struct LongTrade<'a> {
    /// The same facts as in a short trade; its `trade_id` is not used.
    pub trade: crate::TradeRecord,
    /// The venue's id as text; empty when there is none.
    pub id: &'a str,
    /// Sale conditions, comma-separated.
    pub conditions: &'a str,
    /// The exchange's code.
    pub exchange: &'a str,
    /// The tape's code.
    pub tape: &'a str,
}

/// A trade with texts, viewed in place.
#[derive(Clone, Copy, Debug)]
pub struct LongTradeView<'a> {
    /// The fixed part.
    pub head: &'a LongTradeHead,
    /// The venue's id as text.
    pub id: &'a str,
    /// Sale conditions, comma-separated.
    pub conditions: &'a str,
    /// The exchange's code.
    pub exchange: &'a str,
    /// The tape's code.
    pub tape: &'a str,
}

impl<'a> LongTradeView<'a> {
    pub(crate) fn read(words: &'a [u64]) -> Result<Self, RecordError> {
        let (head, mut tail) = head_and_tail::<LongTradeHead>(words)?;
        let kind = head.header.kind;
        let view = LongTradeView {
            id: text(&mut tail, head.id_len, kind, "id")?,
            conditions: text(&mut tail, head.conditions_len, kind, "conditions")?,
            exchange: text(&mut tail, head.exchange_len, kind, "exchange")?,
            tape: text(&mut tail, head.tape_len, kind, "tape")?,
            head,
        };
        check_end(tail, &head.header)?;
        Ok(view)
    }
}

impl RecordBuf {
    /// Appends a trade with texts.
    pub fn push_long_trade(&mut self, t: &LongTrade<'_>) -> Result<(), TextError> {
        let h = t.trade.header;
        let flags = Flags(h.flags().0 & !Flags::NO_ID.0) | Flags::NO_ID.when(t.id.is_empty());
        let head = LongTradeHead {
            header: Header::new(RecordType::LongTrade, 0, h.venue(), flags, h.instrument()),
            ts_event: t.trade.ts_event,
            ts_recv: t.trade.ts_recv,
            price: t.trade.price,
            size: t.trade.size,
            id_len: check_len("id", t.id, TEXT_MAX)?,
            conditions_len: check_len("conditions", t.conditions, TEXT_MAX)?,
            exchange_len: check_len("exchange", t.exchange, SYMBOL_MAX)?,
            tape_len: check_len("tape", t.tape, SYMBOL_MAX)?,
            reserved: [0; 4],
        };
        self.push_texts(&head, &[t.id, t.conditions, t.exchange, t.tape]);
        Ok(())
    }
}

/// The fixed part of a status record, 32 bytes. The text behind it says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct StatusHead {
    /// Type 10. No instrument: the whole venue.
    pub header: Header,
    /// When the venue says so; 0 when it is our own finding.
    pub ts_event: u64,
    /// When it was noticed.
    pub ts_recv: u64,
    /// The [`Scope`]'s code.
    pub scope: u8,
    /// The [`StreamKind`]'s code; 0 for none.
    pub stream: u8,
    /// The state's code: a [`BookState`] for books, an [`InstrumentStatus`] for instruments, else a [`StreamState`].
    pub state: u8,
    /// The [`Reason`]'s code.
    pub reason: u8,
    /// Bytes of the text.
    pub text_len: u8,
    /// Zero.
    pub reserved: [u8; 3],
}
assert_layout!(
    StatusHead, 32, align 8, header @ 0, ts_event @ 8, ts_recv @ 16,
    scope @ 24, stream @ 25, state @ 26, reason @ 27, text_len @ 28, reserved @ 29,
);

/// A state change, before it is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The connection to the venue.
    Connection(StreamState),
    /// One stream of one instrument (or of all).
    Stream(StreamKind, StreamState),
    /// The book of one instrument.
    Book(BookState),
    /// The instrument's trading status.
    Instrument(InstrumentStatus),
    /// The venue's system status.
    Venue(StreamState),
}

impl Status {
    fn codes(self) -> (Scope, u8, u8) {
        match self {
            Status::Connection(s) => (Scope::Connection, StreamKind::Connection.code(), s.code()),
            Status::Stream(k, s) => (Scope::Stream, k.code(), s.code()),
            Status::Book(s) => (Scope::Book, StreamKind::Book.code(), s.code()),
            Status::Instrument(s) => (Scope::Instrument, StreamKind::Instrument.code(), s as u8),
            Status::Venue(s) => (Scope::Venue, 0, s.code()),
        }
    }

    fn of_codes(scope: Scope, stream: u8, state: u8) -> Option<Status> {
        Some(match scope {
            Scope::Connection => Status::Connection(StreamState::from_code(state)?),
            Scope::Stream => Status::Stream(StreamKind::from_code(stream)?, StreamState::from_code(state)?),
            Scope::Book => Status::Book(BookState::from_code(state)?),
            Scope::Instrument => Status::Instrument(InstrumentStatus::from_code(state)?),
            Scope::Venue => Status::Venue(StreamState::from_code(state)?),
        })
    }

    /// What the status speaks of.
    pub fn scope(self) -> Scope {
        self.codes().0
    }

    /// The stream it speaks of, if one.
    pub fn stream(self) -> Option<StreamKind> {
        StreamKind::from_code(self.codes().1)
    }

    /// The state's name.
    pub fn state(self) -> &'static str {
        match self {
            Status::Connection(s) | Status::Stream(_, s) | Status::Venue(s) => s.name(),
            Status::Book(s) => s.name(),
            Status::Instrument(s) => s.name(),
        }
    }
}

/// A status record, viewed in place.
#[derive(Clone, Copy, Debug)]
pub struct StatusView<'a> {
    /// The fixed part.
    pub head: &'a StatusHead,
    /// What changed to what.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// The same in words; may be empty.
    pub text: &'a str,
}

impl<'a> StatusView<'a> {
    pub(crate) fn read(words: &'a [u64]) -> Result<Self, RecordError> {
        let (head, mut tail) = head_and_tail::<StatusHead>(words)?;
        let kind = head.header.kind;
        let code = |field, code: u8| RecordError::Code { kind, field, code: code.into() };
        let scope = Scope::from_code(head.scope).ok_or(code("scope", head.scope))?;
        let status = Status::of_codes(scope, head.stream, head.state).ok_or(code("state", head.state))?;
        let reason = Reason::from_code(head.reason).ok_or(code("reason", head.reason))?;
        let view = StatusView { head, status, reason, text: text(&mut tail, head.text_len, kind, "text")? };
        check_end(tail, &head.header)?;
        Ok(view)
    }
}

impl RecordBuf {
    /// Appends a status. A text that is too long is cut at a character, with an ellipsis: it is for people.
    #[expect(clippy::too_many_arguments, reason = "one call builds one record; each argument is a type of its own")]
    pub fn push_status(
        &mut self,
        venue: Venue,
        instrument: InstrumentId,
        status: Status,
        reason: Reason,
        text: &str,
        ts_event: UnixNanos,
        ts_recv: UnixNanos,
    ) {
        let mut cut = [0u8; TEXT_MAX];
        let text = shorten(text, &mut cut);
        let (scope, stream, state) = status.codes();
        let head = StatusHead {
            header: Header::new(RecordType::Status, 0, Some(venue), Flags::EMPTY, instrument),
            ts_event: ts_event.0,
            ts_recv: ts_recv.0,
            scope: scope.code(),
            stream,
            state,
            reason: reason.code(),
            text_len: text.len() as u8,
            reserved: [0; 3],
        };
        self.push_texts(&head, &[text]);
    }
}

/// `text`, cut to fit one length byte and ended with an ellipsis if it had to be cut.
fn shorten<'a>(text: &'a str, room: &'a mut [u8; TEXT_MAX]) -> &'a str {
    if text.len() <= TEXT_MAX {
        return text;
    }
    let mut end = TEXT_MAX - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    room[..end].copy_from_slice(&text.as_bytes()[..end]);
    let dots = '…'.encode_utf8(&mut room[end..]).len();
    str::from_utf8(&room[..end + dots]).expect("cut at a character and ended with one")
}

/// The fixed part of a session start, 48 bytes. The texts: site, build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct SessionHead {
    /// Type 15.
    pub header: Header,
    /// 0.
    pub ts_event: u64,
    /// When the run began.
    pub ts_recv: u64,
    /// The run's epoch.
    pub epoch: u64,
    /// Process id of the writer.
    pub pid: u64,
    /// [`crate::WIRE_VERSION`].
    pub version: u8,
    /// 1 when the data comes from an emulator, 0 when from the venue.
    pub simulated: u8,
    /// Bytes of the site's name.
    pub site_len: u8,
    /// Bytes of the build's name.
    pub build_len: u8,
    /// Zero.
    pub reserved: [u8; 4],
}
assert_layout!(
    SessionHead, 48, align 8, header @ 0, ts_event @ 8, ts_recv @ 16,
    epoch @ 24, pid @ 32, version @ 40, simulated @ 41, site_len @ 42, build_len @ 43, reserved @ 44,
);

impl SessionHead {
    /// The head of a run of the venue itself, without texts.
    pub(crate) fn new(venue: Venue, epoch: u64, ts_recv: u64) -> SessionHead {
        SessionHead {
            header: Header::new(RecordType::SessionStart, 0, Some(venue), Flags::EMPTY, InstrumentId::NONE),
            ts_event: 0,
            ts_recv,
            epoch,
            pid: 0,
            version: crate::WIRE_VERSION,
            simulated: 0,
            site_len: 0,
            build_len: 0,
            reserved: [0; 4],
        }
    }
}

/// A session start, viewed in place.
#[derive(Clone, Copy, Debug)]
pub struct SessionView<'a> {
    /// The fixed part.
    pub head: &'a SessionHead,
    /// The machine's configured name.
    pub site: &'a str,
    /// The build that wrote it.
    pub build: &'a str,
}

impl<'a> SessionView<'a> {
    pub(crate) fn read(words: &'a [u64]) -> Result<Self, RecordError> {
        let (head, mut tail) = head_and_tail::<SessionHead>(words)?;
        let kind = head.header.kind;
        if head.simulated > 1 {
            return Err(RecordError::Code { kind, field: "simulated", code: head.simulated.into() });
        }
        let view = SessionView {
            site: text(&mut tail, head.site_len, kind, "site")?,
            build: text(&mut tail, head.build_len, kind, "build")?,
            head,
        };
        check_end(tail, &head.header)?;
        Ok(view)
    }
}

/// Where the data of a run comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The venue itself.
    Live,
    /// An emulator.
    Simulated,
}

impl RecordBuf {
    /// Appends the start of a run.
    #[expect(clippy::too_many_arguments, reason = "one call builds one record; each argument is a type of its own")]
    pub fn push_session_start(
        &mut self,
        venue: Venue,
        epoch: u64,
        pid: u32,
        origin: Origin,
        site: &str,
        build: &str,
        now: UnixNanos,
    ) -> Result<(), TextError> {
        let head = SessionHead {
            pid: pid.into(),
            simulated: u8::from(origin == Origin::Simulated),
            ..SessionHead::new(venue, epoch, now.0)
        };
        self.push_session_head(head, site, build)
    }

    /// Appends the start of a run whose head is complete but for the lengths of its texts.
    pub(crate) fn push_session_head(&mut self, head: SessionHead, site: &str, build: &str) -> Result<(), TextError> {
        let head = SessionHead {
            site_len: check_len("site", site, SYMBOL_MAX)?,
            build_len: check_len("build", build, SYMBOL_MAX)?,
            ..head
        };
        self.push_texts(&head, &[site, build]);
        Ok(())
    }

    /// Appends the end of a run.
    pub fn push_session_end(&mut self, venue: Venue, epoch: u64, reason: Reason, now: UnixNanos) {
        self.push(&SessionEndHead {
            header: Header::new(RecordType::SessionEnd, 5, Some(venue), Flags::EMPTY, InstrumentId::NONE),
            ts_event: 0,
            ts_recv: now.0,
            epoch,
            reason: reason.code(),
            reserved: [0; 7],
        });
    }
}

/// The end of a run, 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct SessionEndHead {
    /// Type 16, 5 words.
    pub header: Header,
    /// 0.
    pub ts_event: u64,
    /// When the run ended.
    pub ts_recv: u64,
    /// The run's epoch.
    pub epoch: u64,
    /// The [`Reason`]'s code.
    pub reason: u8,
    /// Zero.
    pub reserved: [u8; 7],
}
assert_layout!(
    SessionEndHead, 40, align 8, header @ 0, ts_event @ 8, ts_recv @ 16,
    epoch @ 24, reason @ 32, reserved @ 33,
);

impl SessionEndHead {
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = crate::records::view(words)?;
        Reason::from_code(r.reason).ok_or(RecordError::Code {
            kind: r.header.kind,
            field: "reason",
            code: r.reason.into(),
        })?;
        Ok(r)
    }
}
