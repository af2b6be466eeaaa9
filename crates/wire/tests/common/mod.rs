//! What the tests of this crate share: one example of every record, the layouts as data, and where the files are.
#![allow(dead_code, reason = "every test file is a crate of its own and uses its part")]

use model::{
    BookState, Decimal, GapCause, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, Reason, Side,
    SideSource, StreamKind, StreamState, UnixNanos, Venue,
};
use std::{any::type_name, fs, mem::offset_of, path::PathBuf};
use wire::{batch::BatchHeader, *};

/// Set to 1 to rewrite golden files instead of comparing with them; review the difference before it is committed.
pub const UPDATE_GOLDEN: &str = "UPDATE_GOLDEN";

pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Compares `text` with the committed file, or rewrites it under `UPDATE_GOLDEN=1`.
pub fn check_golden(path: &str, text: &str) {
    let file = repository(path);
    if std::env::var_os(UPDATE_GOLDEN).is_some_and(|v| v == "1") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        return;
    }
    let committed = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{path}: {e}; {UPDATE_GOLDEN}=1 writes it"));
    assert!(
        committed == text,
        "{path} is out of date; `{UPDATE_GOLDEN}=1 cargo test -p wire` rewrites it. Now it would be:\n{text}"
    );
}

/// One field of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub offset: usize,
    pub bytes: usize,
    pub ty: &'static str,
    pub name: &'static str,
}

fn field<T, F>(name: &'static str, offset: usize, _: fn(&T) -> &F) -> Field {
    let ty = type_name::<F>().rsplit("::").next().unwrap();
    Field { offset, bytes: size_of::<F>(), ty, name }
}

macro_rules! fields {
    ($t:ty: $($f:ident)+) => { vec![$(field(stringify!($f), offset_of!($t, $f), |r: &$t| &r.$f)),+] };
}

/// The header's fields; two of them are private, so they stand here by hand.
pub fn header_fields() -> Vec<Field> {
    vec![
        Field { offset: 0, bytes: 1, ty: "u8", name: "kind" },
        Field { offset: 1, bytes: 1, ty: "u8", name: "length" },
        Field { offset: 2, bytes: 2, ty: "u16", name: "venue_flags" },
        Field { offset: 4, bytes: 4, ty: "u32", name: "instrument" },
    ]
}

/// The fields of a table row's head.
pub fn table_fields() -> Vec<Field> {
    fields!(TableHead: lock instrument venue reserved_key generation state reason source price_scale size_scale simulated
        reserved since epoch sequence ts_event ts_recv bid_price bid_size ask_price ask_size bids asks tick written)
}

pub fn batch_fields() -> Vec<Field> {
    fields!(BatchHeader: magic version venue flags reserved length count epoch first scan_first scan_last published
        checksum chain)
}

/// The fields of a type's fixed part, the header as one of them.
pub fn fields_of(kind: RecordType) -> Vec<Field> {
    match kind {
        RecordType::Trade => fields!(TradeRecord: header ts_event ts_recv price size trade_id),
        RecordType::BookChange => fields!(BookChangeRecord: header ts_event ts_recv price size action reserved),
        RecordType::Quote => fields!(QuoteRecord: header ts_event ts_recv bid_price bid_size ask_price ask_size),
        RecordType::SnapshotBegin => {
            fields!(SnapshotBeginRecord: header ts_event ts_recv bids asks depth reason capped reserved update_id)
        }
        RecordType::SnapshotEnd => {
            fields!(SnapshotEndRecord: header ts_event ts_recv levels checksum update_id reserved)
        }
        RecordType::Bar => {
            fields!(BarRecord: header ts_event ts_recv ts_open interval_s state notional_scale vwap_scale
            reserved open high low close volume taker_buy_volume notional taker_buy_notional vwap trades)
        }
        RecordType::Instrument => fields!(InstrumentHead: header ts_event ts_recv version status kind price_scale
            size_scale tick lot min_size min_notional symbol_len venue_symbol_len base_len quote_len notional_scale
            reserved),
        RecordType::LongTrade => fields!(LongTradeHead: header ts_event ts_recv price size id_len conditions_len
            exchange_len tape_len reserved),
        RecordType::Correction => {
            fields!(CorrectionRecord: header ts_event ts_recv trade_id new_trade_id price size kind
            reserved)
        }
        RecordType::Status => {
            fields!(StatusHead: header ts_event ts_recv scope stream state reason text_len reserved)
        }
        RecordType::Gap => fields!(GapRecord: header ts_event ts_recv stream cause known reserved first last missing
            ts_from ts_to),
        RecordType::Overrun => {
            fields!(OverrunRecord: header ts_event ts_recv epoch first last count cause reserved)
        }
        RecordType::Clock => fields!(ClockRecord: header ts_event ts_recv step_ns wall expected),
        RecordType::Heartbeat => fields!(HeartbeatRecord: header ts_event ts_recv next_sequence),
        RecordType::SessionStart => fields!(SessionHead: header ts_event ts_recv epoch pid version simulated site_len
            build_len reserved),
        RecordType::SessionEnd => fields!(SessionEndHead: header ts_event ts_recv epoch reason reserved),
        RecordType::Order => {
            fields!(OrderRecord: header ts_event ts_recv price size order_id venue_sequence action reserved)
        }
        RecordType::Backfill => fields!(BackfillRecord: header ts_event ts_recv ts_from ts_to told stream reserved),
        RecordType::PriceBand => fields!(PriceBandRecord: header ts_event ts_recv lower upper indicator reserved),
    }
}

/// Bytes of the fixed part.
pub fn head_bytes(kind: RecordType) -> usize {
    let last = fields_of(kind).pop().unwrap();
    last.offset + last.bytes
}

/// Whether texts follow the fixed part.
pub fn has_texts(kind: RecordType) -> bool {
    use RecordType::{Instrument, LongTrade, SessionStart, Status};
    matches!(kind, Instrument | LongTrade | Status | SessionStart)
}

/// The flags a type may carry, besides side and source; all of them survive the JSON form.
pub fn flags_of(kind: RecordType) -> Vec<(&'static str, Flags)> {
    let last = ("LAST", Flags::LAST);
    let snapshot = ("SNAPSHOT", Flags::SNAPSHOT);
    let late = ("LATE", Flags::LATE);
    let suspect = ("RECV_SUSPECT", Flags::RECV_SUSPECT);
    let no_id = ("NO_ID", Flags::NO_ID);
    let not_trusted = ("NOT_TRUSTED", Flags::NOT_TRUSTED);
    match kind {
        RecordType::Trade | RecordType::LongTrade => vec![last, snapshot, late, suspect, no_id],
        RecordType::BookChange | RecordType::SnapshotEnd => vec![last, snapshot, suspect, not_trusted],
        RecordType::SnapshotBegin | RecordType::Quote => vec![snapshot, suspect, not_trusted],
        RecordType::Bar => vec![snapshot, late, suspect],
        RecordType::Correction => vec![late, suspect],
        RecordType::Order => vec![last, snapshot, suspect, not_trusted],
        RecordType::PriceBand => vec![suspect],
        RecordType::Instrument | RecordType::Status | RecordType::Gap | RecordType::Backfill => vec![suspect],
        RecordType::Overrun
        | RecordType::Clock
        | RecordType::Heartbeat
        | RecordType::SessionStart
        | RecordType::SessionEnd => vec![],
    }
}

pub const EVENT: UnixNanos = UnixNanos(1_700_000_000_123_456_000);
pub const RECV: UnixNanos = UnixNanos(1_700_000_000_125_000_000);
pub const EPOCH: u64 = 1_700_000_000;

/// Kraken's BTC/USD with one decimal in prices and eight in sizes.
pub fn btc() -> Instrument {
    Instrument {
        id: InstrumentId::of(Venue::Kraken, "BTC/USD"),
        venue: Venue::Kraken,
        symbol: "BTC-USD".to_owned(),
        venue_symbol: "BTC/USD".to_owned(),
        base: "BTC".to_owned(),
        quote: "USD".to_owned(),
        version: 1,
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        price_scale: 1,
        size_scale: 8,
        tick: Price(1),
        lot: Qty(1),
        min_size: Qty(5_000),
        min_notional: Some(Decimal::new(5, 1)),
    }
}

/// A share at Alpaca with two decimals in prices and none in sizes.
pub fn aapl() -> Instrument {
    Instrument {
        id: InstrumentId::of(Venue::Alpaca, "AAPL"),
        venue: Venue::Alpaca,
        symbol: "AAPL".to_owned(),
        venue_symbol: "AAPL".to_owned(),
        base: "AAPL".to_owned(),
        quote: "USD".to_owned(),
        version: 3,
        kind: InstrumentKind::Equity,
        status: InstrumentStatus::Halted,
        price_scale: 2,
        size_scale: 0,
        tick: Price(1),
        lot: Qty(1),
        min_size: Qty(0),
        min_notional: None,
    }
}

pub fn header(kind: RecordType, i: &Instrument, flags: Flags) -> Header {
    Header::new(kind, (head_bytes(kind) / 8) as u8, Some(i.venue), flags, i.id)
}

pub fn trade() -> TradeRecord {
    let i = btc();
    TradeRecord::new(
        i.venue,
        i.id,
        Some(Side::Buy),
        SideSource::ExplicitTaker,
        Flags::LAST,
        EVENT,
        RECV,
        Price(641_234),
        Qty(351_000),
        Some(4_665_906),
    )
}

pub fn level(side: Side, price: i64, size: i64, flags: Flags) -> BookChangeRecord {
    let i = btc();
    let action = match size {
        0 => BookAction::Delete,
        _ if flags.contains(Flags::SNAPSHOT) => BookAction::Add,
        _ => BookAction::Change,
    };
    BookChangeRecord::new(i.venue, i.id, side, flags, EVENT, RECV, Price(price), Qty(size), action)
}

fn long_trade(out: &mut RecordBuf) {
    let i = aapl();
    let trade = TradeRecord::new(
        i.venue,
        i.id,
        None,
        SideSource::Inferred,
        Flags::LATE,
        EVENT,
        RECV,
        Price(19_001),
        Qty(100),
        None,
    );
    out.push_long_trade(&LongTrade { trade, id: "71675577320489", conditions: "@,I", exchange: "V", tape: "C" })
        .unwrap();
}

fn snapshot(out: &mut RecordBuf) {
    let i = btc();
    out.push(&SnapshotBeginRecord {
        header: header(RecordType::SnapshotBegin, &i, Flags::SNAPSHOT),
        ts_event: EVENT.0,
        ts_recv: RECV.0,
        bids: 1,
        asks: 2,
        depth: 10,
        reason: SnapshotReason::Periodic as u8,
        capped: 0,
        reserved: [0; 2],
        update_id: 77,
    });
    out.push(&level(Side::Buy, 641_234, 50_000_000, Flags::SNAPSHOT));
    out.push(&level(Side::Sell, 641_235, 125_000_000, Flags::SNAPSHOT));
    out.push(&level(Side::Sell, 641_240, 10_000, Flags::SNAPSHOT));
    out.push(&SnapshotEndRecord {
        header: header(RecordType::SnapshotEnd, &i, Flags::SNAPSHOT | Flags::LAST),
        ts_event: EVENT.0,
        ts_recv: RECV.0,
        levels: 3,
        checksum: 0xc0ff_ee01,
        update_id: 77,
        reserved: 0,
    });
}

fn bar() -> BarRecord {
    let i = btc();
    BarRecord {
        header: header(RecordType::Bar, &i, Flags::EMPTY),
        ts_event: EVENT.0,
        ts_recv: RECV.0,
        ts_open: 1_699_999_980_000_000_000,
        interval_s: 60,
        state: BarState::Open as u8,
        notional_scale: 1,
        vwap_scale: 4,
        reserved: 0,
        open: 641_200,
        high: 641_250,
        low: 641_190,
        close: 641_234,
        volume: 1_234_500_000,
        taker_buy_volume: NONE,
        notional: BarRecord::split(Some(7_915_933)),
        taker_buy_notional: BarRecord::split(None),
        vwap: 641_226_001,
        trades: 42,
    }
}

fn correction() -> CorrectionRecord {
    CorrectionRecord {
        header: header(RecordType::Correction, &aapl(), Flags::EMPTY),
        ts_event: EVENT.0,
        ts_recv: RECV.0,
        trade_id: 71_675,
        new_trade_id: 71_676,
        price: 19_002,
        size: 90,
        kind: CorrectionKind::Correct as u8,
        reserved: [0; 7],
    }
}

/// One event of book changes: two levels, the second removed.
fn book_change(out: &mut RecordBuf) {
    out.push(&level(Side::Buy, 641_234, 75_000_000, Flags::EMPTY));
    out.push(&level(Side::Sell, 641_235, 0, Flags::LAST));
}

/// An example: a name and its records.
pub struct Case {
    pub name: &'static str,
    pub records: RecordBuf,
}

/// One example of every record type.
pub fn cases() -> Vec<Case> {
    let case = |name, fill: &dyn Fn(&mut RecordBuf)| {
        let mut records = RecordBuf::default();
        fill(&mut records);
        Case { name, records }
    };
    let (btc, aapl) = (btc(), aapl());
    vec![
        case("trade", &|out| out.push(&trade())),
        case("book_change", &book_change),
        case("quote", &|out| {
            let (bid, ask) = (Some((Price(19_001), Qty(200))), Some((Price(19_002), Qty(100))));
            out.push(&QuoteRecord::new(Venue::Alpaca, aapl.id, Flags::EMPTY, EVENT, RECV, bid, ask));
        }),
        case("snapshot", &snapshot),
        case("bar", &|out| out.push(&bar())),
        case("instrument", &|out| out.push_instrument(&btc, UnixNanos::ZERO, RECV).unwrap()),
        case("long_trade", &long_trade),
        case("correction", &|out| out.push(&correction())),
        case("order", &|out| {
            let (price, size) = (Some(Price(641_234)), Some(Qty(351_000)));
            let (id, sequence) = (0xd50e_c984_77a8_460a_b958_66f1_14b0_de9b, 3_262_786_978);
            let (side, action) = (Side::Sell, OrderAction::Open);
            out.push(&OrderRecord::new(
                Venue::Kraken,
                btc.id,
                side,
                Flags::LAST,
                EVENT,
                RECV,
                price,
                size,
                id,
                sequence,
                action,
            ));
        }),
        case("price_band", &|out| {
            let (lower, upper) = (Some(Price(17_100)), Some(Price(20_900)));
            out.push(&PriceBandRecord::new(Venue::Alpaca, aapl.id, EVENT, RECV, lower, upper, Some(b'B')));
        }),
        case("status", &|out| {
            let text = "checksum of the book differs";
            let status = Status::Book(BookState::Suspect);
            out.push_status(Venue::Kraken, btc.id, status, Reason::Checksum, text, UnixNanos::ZERO, RECV);
        }),
        case("gap", &|out| {
            let from = UnixNanos(RECV.0 - 5_000_000_000);
            let (stream, cause) = (StreamKind::Trade, GapCause::Reconnect);
            out.push(&GapRecord::new(Venue::Kraken, btc.id, stream, cause, Some((1001, 1040)), from, RECV));
        }),
        case("backfill", &|out| {
            let extent = (UnixNanos(EVENT.0 - 5_000_000_000), EVENT);
            out.push(&BackfillRecord::new(Venue::Kraken, btc.id, StreamKind::Trade, extent, 17, RECV));
        }),
        case("overrun", &|out| {
            out.push(&OverrunRecord::new(Some(Venue::Kraken), EPOCH, 900, Some(1041), OverrunCause::Slow, RECV));
        }),
        case("clock", &|out| {
            out.push(&ClockRecord::new(Venue::Kraken, UnixNanos(RECV.0 - 2_000_000), RECV));
        }),
        case("heartbeat", &|out| out.push(&HeartbeatRecord::new(Venue::Kraken, 1043, RECV))),
        case("session_start", &|out| {
            out.push_session_start(Venue::Kraken, EPOCH, 4242, Origin::Simulated, "desk-1", "0.1.0+abc1234", RECV)
                .unwrap();
        }),
        case("session_end", &|out| out.push_session_end(Venue::Kraken, EPOCH, Reason::Shutdown, RECV)),
        case("connection_status", &|out| {
            let status = Status::Connection(StreamState::Live);
            out.push_status(Venue::Binance, InstrumentId::NONE, status, Reason::Ok, "", EVENT, RECV);
        }),
    ]
}

/// The sequence of a case's first record.
pub const FIRST: u64 = 1042;

/// An encoder that knows the instruments of the examples.
pub fn encoder() -> json::Encoder {
    let mut encoder = json::Encoder::new();
    encoder.instruments.insert(btc());
    encoder.instruments.insert(aapl());
    encoder
}

pub fn decoder() -> json::Decoder {
    json::Decoder { instruments: encoder().instruments }
}

/// The lines of records that follow one another from sequence `first` of `EPOCH`.
pub fn lines_of(records: &RecordBuf, first: u64) -> Vec<json::Line> {
    let mut encoder = encoder();
    let at = |n| Envelope { epoch: EPOCH, sequence: first + n };
    (0..).zip(records.iter()).filter_map(|(n, words)| encoder.push(at(n), words).unwrap()).collect()
}
