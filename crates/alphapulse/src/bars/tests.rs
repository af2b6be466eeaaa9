//! What bars say of what is missing, late and corrected.

use super::{
    lines,
    maker::{Event, FlowWanted, Maker, Wanted},
};
use book::bars::Interval;
use model::{
    Decimal, GapCause, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, Side, SideSource,
    StreamKind, UnixNanos, Venue,
};
use serde_json::Value;
use wire::{
    BackfillRecord, CorrectionKind, CorrectionRecord, Flags, GapRecord, Header, HeartbeatRecord, OverrunCause,
    OverrunRecord, RecordBuf, RecordType, TradeRecord,
};

const VENUE: Venue = Venue::Kraken;

/// So many seconds into a minute.
fn at(s: u64) -> UnixNanos {
    UnixNanos((1_700_000_040 + s) * 1_000_000_000)
}

/// A maker, and what it told.
struct Desk {
    maker: Maker,
    records: RecordBuf,
    told: Vec<String>,
    events: Vec<Value>,
}

impl Desk {
    fn new(wanted: Wanted) -> Desk {
        let flow = FlowWanted { bucket: None, large_per_mille: 1000, window: 3 };
        let maker = Maker::new("btc-usd", wanted, Some(flow), at(0));
        let mut desk = Desk { maker, records: RecordBuf::default(), told: vec![], events: vec![] };
        desk.records.push_instrument(&instrument(), at(0), at(0)).expect("short texts");
        desk.push();
        desk
    }

    fn push(&mut self) {
        for words in self.records.iter() {
            let told = self.maker.push(words, &mut |event| {
                self.events.push(lines::json(&event));
                self.told.push(short(&event));
            });
            told.expect("sound records");
        }
        self.records.clear();
    }

    /// A trade of one unit at a price.
    fn trade(&mut self, s: u64, id: u64, price: i64, flags: Flags) {
        let (side, source) = (Some(Side::Buy), SideSource::ExplicitTaker);
        let trade = TradeRecord::new(
            VENUE,
            instrument().id,
            side,
            source,
            flags,
            at(s),
            at(s),
            Price(price),
            Qty(100),
            Some(id),
        );
        self.records.push_trade(&trade);
        self.push();
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

fn short(event: &Event<'_>) -> String {
    let line = lines::json(event);
    match event {
        Event::Bar { bar, revision, .. } => {
            let start = (bar.start.0 - at(0).0) / 1_000_000_000;
            format!("{start} s: {} trades to {} rev {revision} {}", bar.trades, line["close"], line["marks"])
        }
        Event::Lost { cause, .. } => format!("missed ({cause})"),
        Event::Large { trade, .. } => format!("large {}", trade.id),
        Event::Unplaced { trade_id, .. } => format!("unplaced {trade_id}"),
    }
}

fn instrument() -> Instrument {
    Instrument {
        id: InstrumentId::of(VENUE, "BTC/USD"),
        venue: VENUE,
        symbol: "BTC-USD".into(),
        venue_symbol: "BTC/USD".into(),
        base: "BTC".into(),
        quote: "USD".into(),
        version: 1,
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        price_scale: 1,
        size_scale: 2,
        tick: Price(1),
        lot: Qty(1),
        min_size: Qty(1),
        min_notional: None,
    }
}

fn seconds() -> Wanted {
    Wanted::Every(Interval::SECOND)
}

#[test]
fn a_bar_of_a_gap_is_marked_until_its_trades_are_here() {
    let mut desk = Desk::new(seconds());
    desk.trade(1, 1, 100, Flags::LAST);
    desk.trade(2, 2, 110, Flags::LAST);
    assert_eq!(desk.told(), [r#"1 s: 1 trades to "10" rev 0 []"#]);
    let gap = |ids, from, to| {
        GapRecord::new(VENUE, instrument().id, StreamKind::Trade, GapCause::Sequence, ids, at(from), at(to))
    };
    desk.records.push(&gap(Some((3, 4)), 2, 3));
    desk.trade(3, 5, 120, Flags::LAST);
    assert_eq!(desk.told(), ["missed (sequence)", r#"2 s: 1 trades to "11" rev 0 ["missed"]"#]);
    assert!(desk.maker.misses());
    desk.trade(2, 3, 111, Flags::LAST | Flags::LATE);
    assert_eq!(desk.told(), [r#"2 s: 2 trades to "11.1" rev 1 ["late","missed"]"#]);
    desk.trade(2, 4, 112, Flags::LAST | Flags::LATE);
    let told = desk.told();
    assert_eq!(told.last().map(String::as_str), Some(r#"2 s: 3 trades to "11.2" rev 3 ["late"]"#), "{told:?}");
    assert!(!desk.maker.misses());
    // Nobody knows which are missing, until all of that time are here.
    desk.records.push(&gap(None, 3, 4));
    desk.records.push(&HeartbeatRecord::new(VENUE, 9, at(6)));
    desk.push();
    assert_eq!(desk.told(), ["missed (sequence)", r#"3 s: 1 trades to "12" rev 0 ["missed"]"#]);
    desk.records.push(&BackfillRecord::new(VENUE, instrument().id, StreamKind::Trade, (at(2), at(5)), 0, at(7)));
    desk.push();
    assert!(desk.told().contains(&r#"3 s: 1 trades to "12" rev 1 []"#.to_owned()));
}

#[test]
fn what_a_reader_lost_is_told_and_marks_every_bar_of_that_time() {
    let mut desk = Desk::new(seconds());
    desk.trade(1, 1, 100, Flags::LAST);
    desk.records.push(&OverrunRecord::new(Some(VENUE), 1, 7, Some(90), OverrunCause::Slow, at(4)));
    desk.trade(4, 9, 105, Flags::LAST);
    desk.records.push(&HeartbeatRecord::new(VENUE, 100, at(7)));
    desk.push();
    let bars = [r#"1 s: 1 trades to "10" rev 0 ["missed"]"#, r#"4 s: 1 trades to "10.5" rev 0 ["missed"]"#];
    assert_eq!(desk.told(), ["missed (slow)", bars[0], bars[1]]);
    assert_eq!(desk.events[0]["from"], at(1).0);
    desk.trade(8, 10, 106, Flags::LAST);
    desk.records.push(&HeartbeatRecord::new(VENUE, 101, at(10)));
    desk.push();
    assert_eq!(desk.told(), [r#"8 s: 1 trades to "10.6" rev 0 []"#]);
}

#[test]
fn corrections_are_traced_by_the_id_alone() {
    let mut desk = Desk::new(seconds());
    for (id, price) in [(1, 100), (2, 110), (3, 130)] {
        desk.trade(1, id, price, Flags::LAST);
    }
    desk.trade(2, 4, 120, Flags::LAST);
    desk.told();
    let correction = |trade_id, new_trade_id, price, kind: CorrectionKind| CorrectionRecord {
        header: Header::new(RecordType::Correction, 8, Some(VENUE), Flags::LAST, instrument().id),
        ts_event: at(2).0,
        ts_recv: at(2).0,
        trade_id,
        new_trade_id,
        price,
        size: 100,
        kind: kind as u8,
        reserved: [0; 7],
    };
    desk.records.push(&correction(3, 0, wire::NONE, CorrectionKind::Cancel));
    desk.records.push(&correction(2, 6, 105, CorrectionKind::Correct));
    desk.records.push(&correction(77, 0, wire::NONE, CorrectionKind::Cancel));
    desk.push();
    let bars =
        [r#"1 s: 2 trades to "11" rev 1 ["cancelled"]"#, r#"1 s: 2 trades to "10.5" rev 2 ["corrected","cancelled"]"#];
    assert_eq!(desk.told(), [bars[0], bars[1], "unplaced 77"]);
    let market = desk.maker.markets().next().expect("it is defined");
    let flow = lines::flow_json(market).expect("it was asked for");
    // 10 and 10.5, and 12 of the bar that is open.
    assert_eq!((&flow["cvd"], &flow["bought"]), (&"3".into(), &"3".into()));
    assert_eq!(flow["point_of_control"], "10");
}

#[test]
fn units_are_those_that_people_write() {
    let decimal = |text: &str| text.parse::<Decimal>().expect("a number");
    for (wanted, trades) in [
        (Wanted::Ticks(2), 2),
        (Wanted::Volume(decimal("3")), 3),
        (Wanted::Imbalance(decimal("2.5")), 3),
        (Wanted::Notional(decimal("20.5")), 3),
    ] {
        let mut desk = Desk::new(wanted);
        let mut told = vec![];
        for id in 1..=9 {
            desk.trade(id, id, 100, Flags::LAST);
            told.extend(desk.told());
        }
        assert!(told[0].contains(&format!(" {trades} trades ")), "{wanted:?}: {told:?}");
    }
    let mut desk = Desk::new(Wanted::Ticks(1));
    desk.trade(1, 1, 100, Flags::LAST);
    let bar = &desk.events[0];
    assert_eq!((&bar["volume"], &bar["notional"], &bar["vwap"]), (&"1".into(), &"10".into(), &"10".into()));
    assert_eq!((&bar["buy_volume"], &bar["sell_volume"], &bar["cvd"]), (&"1".into(), &"0".into(), &"1".into()));
}
