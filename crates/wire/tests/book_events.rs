//! How the records of a book fold into lines, and when they must not.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use model::{InstrumentId, Side, UnixNanos, Venue};
use wire::json::{self, JsonError, Line};
use wire::*;

/// Pushes records of one run one behind the other and shows what came out.
struct Told {
    encoder: json::Encoder,
    epoch: u64,
    next: u64,
}

impl Told {
    fn new() -> Told {
        Told { encoder: encoder(), epoch: 7, next: 1 }
    }

    fn push(&mut self, words: &[u64]) -> String {
        let at = Envelope { epoch: self.epoch, sequence: self.next };
        self.next += 1;
        match self.encoder.push(at, words) {
            Ok(None) => String::new(),
            Ok(Some(Line::Book(b))) => {
                let first = b.seq_first.unwrap_or(b.seq);
                let trust = if b.trusted { "" } else { " untrusted" };
                let levels = |levels: &[[String; 2]]| levels.iter().map(|l| l.join("x")).collect::<Vec<_>>().join(" ");
                format!("{} {first}..{} [{}] [{}]{trust}", b.kind, b.seq, levels(&b.bids), levels(&b.asks))
            }
            Ok(Some(other)) => format!("{other:?}").split('(').next().unwrap().to_owned(),
            Err(e) => e.to_string(),
        }
    }

    fn bid(&mut self, flags: Flags) -> String {
        self.push(level(Side::Buy, 10, 100_000_000, flags).as_words())
    }

    fn ask(&mut self, flags: Flags) -> String {
        self.push(level(Side::Sell, 20, 0, flags).as_words())
    }

    fn begin(&mut self, bids: u32, asks: u32) -> String {
        let begin = SnapshotBeginRecord {
            header: header(RecordType::SnapshotBegin, &btc(), Flags::SNAPSHOT),
            ts_event: 0,
            ts_recv: 1,
            bids,
            asks,
            depth: 0,
            reason: SnapshotReason::Sync as u8,
            capped: 0,
            reserved: [0; 2],
            update_id: 0,
        };
        self.push(begin.as_words())
    }

    fn end(&mut self) -> String {
        let end = SnapshotEndRecord {
            header: header(RecordType::SnapshotEnd, &btc(), Flags::SNAPSHOT | Flags::LAST),
            ts_event: 0,
            ts_recv: 1,
            levels: 0,
            checksum: 0,
            update_id: 0,
            reserved: 0,
        };
        self.push(end.as_words())
    }

    fn overrun(&mut self, venue: Option<Venue>) -> String {
        self.push(OverrunRecord::new(venue, 7, 1, Some(2), OverrunCause::Slow, UnixNanos(1)).as_words())
    }
}

#[test]
fn an_event_is_one_line_at_its_last_change() {
    let mut told = Told::new();
    assert_eq!(told.bid(Flags::EMPTY), "");
    assert_eq!(told.ask(Flags::LAST), "update 1..2 [1x1] [2x0]");
    assert_eq!(told.bid(Flags::LAST), "update 3..3 [1x1] []");
    assert_eq!(told.bid(Flags::NOT_TRUSTED), "");
    assert_eq!(told.ask(Flags::LAST), "update 4..5 [1x1] [2x0] untrusted");
}

#[test]
fn a_snapshot_is_told_whole_or_not_at_all() {
    let mut told = Told::new();
    assert_eq!(told.bid(Flags::SNAPSHOT), "", "it began before we listened");
    assert_eq!(told.end(), "");
    told.begin(1, 0);
    told.bid(Flags::SNAPSHOT);
    assert_eq!(told.end(), "snapshot 3..5 [1x1] []");
    told.begin(2, 0);
    told.bid(Flags::SNAPSHOT);
    assert!(told.end().contains("2 bids and 0 asks were promised, 1 and 0 told"));
    assert_eq!(told.end(), "", "it was told as torn once");
    told.begin(1, 0);
    told.bid(Flags::SNAPSHOT);
    assert_eq!(told.bid(Flags::LAST), "update 12..12 [1x1] []", "the update is told");
    assert!(told.end().contains("an update came between"), "the snapshot it crossed is not");
}

#[test]
fn half_told_events_do_not_outlive_what_broke_them() {
    let mut told = Told::new();
    told.bid(Flags::EMPTY);
    told.epoch += 1;
    assert_eq!(told.ask(Flags::LAST), "update 2..2 [] [2x0]", "a change of another run was folded in");
    told.bid(Flags::EMPTY);
    assert_eq!(told.overrun(Some(Venue::Binance)), "Overrun");
    assert_eq!(told.ask(Flags::LAST), "update 3..5 [1x1] [2x0]", "another venue's loss is none of ours");
    for venue in [Some(Venue::Kraken), None] {
        told.bid(Flags::EMPTY);
        told.overrun(venue);
        let first = told.next;
        assert_eq!(told.ask(Flags::LAST), format!("update {first}..{first} [] [2x0]"));
        told.begin(1, 0);
        told.overrun(venue);
        told.bid(Flags::SNAPSHOT);
        assert_eq!(told.end(), "");
    }
    told.bid(Flags::EMPTY);
    told.begin(0, 0);
    told.end();
    let first = told.next;
    assert_eq!(told.ask(Flags::LAST), format!("update {first}..{first} [] [2x0]"), "the snapshot overtook the change");
}

#[test]
fn one_venues_scale_is_not_used_for_anothers_instrument() {
    let mut encoder = encoder();
    let twin = model::Instrument { venue: Venue::Binance, price_scale: 4, ..btc() };
    encoder.instruments.insert(twin);
    let at = Envelope { epoch: 1, sequence: 1 };
    let Ok(Some(Line::Trade(t))) = encoder.push(at, trade().as_words()) else { panic!("a trade") };
    assert_eq!((t.venue.as_str(), t.price.as_str()), ("kraken", "64123.4"));
}

#[test]
fn what_is_not_defined_is_an_error_and_no_guess() {
    let at = Envelope { epoch: 1, sequence: 1 };
    let told = json::Encoder::new().push(at, trade().as_words());
    assert_eq!(told, Err(JsonError::UnknownInstrument { id: btc().id, venue: "kraken".to_owned() }));

    let mut records = RecordBuf::default();
    records.push_trade(&trade());
    let line = lines_of(&records, FIRST).remove(0);
    let told = json::Decoder::new().push(&line, &mut RecordBuf::default());
    assert_eq!(told, Err(JsonError::UnknownSymbol { symbol: "BTC-USD".to_owned(), venue: Venue::Kraken }));

    let mut decoder = decoder();
    decoder.instruments.insert(model::Instrument { id: InstrumentId(5), ..btc() });
    let told = decoder.push(&line, &mut RecordBuf::default());
    assert!(matches!(told, Err(JsonError::AmbiguousSymbol { first: InstrumentId(5), .. })), "{told:?}");
}

#[test]
fn a_level_that_contradicts_itself_is_refused() {
    let mut record = level(Side::Buy, 10, 0, Flags::LAST);
    record.action = BookAction::Change as u8;
    assert_eq!(Record::read(record.as_words()).err(), Some(RecordError::Code { kind: 2, field: "action", code: 2 }));
    let mut record = level(Side::Buy, 10, 5, Flags::LAST);
    record.header = record.header.with_flags(Flags::LAST);
    assert_eq!(Record::read(record.as_words()).err(), Some(RecordError::Code { kind: 2, field: "side", code: 0 }));
}

#[test]
fn a_snapshot_that_is_neither_capped_nor_whole_is_refused() {
    let case = cases().into_iter().find(|c| c.name == "snapshot").unwrap();
    let mut words = case.records.iter().next().unwrap().to_vec();
    words[4] |= 2 << 40;
    assert_eq!(Record::read(&words).err(), Some(RecordError::Code { kind: 4, field: "capped", code: 2 }));
}

#[test]
fn a_line_that_contradicts_itself_is_refused() {
    let mut records = RecordBuf::default();
    records.push(&level(Side::Buy, 10, 5, Flags::EMPTY));
    records.push(&level(Side::Sell, 20, 0, Flags::LAST));
    let Line::Book(good) = lines_of(&records, FIRST).remove(0) else { panic!("a book line") };
    type Spoil = fn(&mut json::BookLine);
    let spoilt: [(&str, Spoil); 7] = [
        ("seq_first", |b| b.seq_first = None),
        ("seq_first", |b| b.seq_first = Some(b.seq + 1)),
        ("kind", |b| b.kind = "delta".to_owned()),
        ("kind", |b| b.checksum = Some(1)),
        ("asks", |b| b.kind = "snapshot".to_owned()),
        ("bids", |b| b.bids[0][0] = "1.25".to_owned()),
        ("bids", |b| (b.bids, b.asks) = (vec![], vec![])),
    ];
    for (field, spoil) in spoilt {
        let mut bad = good.clone();
        spoil(&mut bad);
        let mut out = RecordBuf::default();
        match decoder().push(&Line::Book(bad), &mut out) {
            Err(JsonError::Field { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
        assert!(out.is_empty());
    }
}

#[test]
fn records_between_those_of_a_snapshot_leave_their_names_open() {
    let mut records = RecordBuf::default();
    records.push(&level(Side::Buy, 10, 5, Flags::EMPTY));
    records.push(&level(Side::Sell, 20, 0, Flags::LAST));
    let Line::Book(mut line) = lines_of(&records, 5).remove(0) else { panic!("a book line") };
    let mut out = RecordBuf::default();
    let names: Vec<_> = decoder().push(&Line::Book(line.clone()), &mut out).unwrap().envelopes().unwrap().collect();
    assert_eq!(names.iter().map(|e| e.sequence).collect::<Vec<_>>(), [5, 6]);
    line.seq = 9;
    assert!(decoder().push(&Line::Book(line), &mut out).unwrap().envelopes().is_none());
}

#[test]
fn what_does_not_fit_a_definition_is_named() {
    let wide = model::Decimal::new(i128::from(i64::MAX) * 1000 + 1, 2);
    let bad = [
        ("min_notional", model::Instrument { min_notional: Some(wide), ..btc() }),
        ("price_scale", model::Instrument { price_scale: 19, ..btc() }),
        ("symbol", model::Instrument { symbol: "x".repeat(65), ..btc() }),
    ];
    for (field, instrument) in bad {
        let mut out = RecordBuf::default();
        let refused = out.push_instrument(&instrument, UnixNanos::ZERO, RECV).unwrap_err();
        assert_eq!(refused.field, field);
        assert!(out.is_empty());
    }
}
