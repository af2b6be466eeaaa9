//! Whatever a record says, it says the same after a trip through its view and through its JSON form.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use model::{
    BookState, Decimal, GapCause, Instrument, InstrumentId, InstrumentStatus, Price, Qty, Reason, Side, SideSource,
    StreamKind, StreamState, UnixNanos, Venue,
};
use proptest::prelude::*;
use proptest::sample::select;
use wire::*;

/// A definition and records that speak of its instrument.
type Sample = (Instrument, RecordBuf);

fn instrument() -> impl Strategy<Value = Instrument> {
    (0u8..=18, 0u8..=18).prop_map(|(price_scale, size_scale)| Instrument { price_scale, size_scale, ..btc() })
}

fn mantissa() -> impl Strategy<Value = i64> {
    prop_oneof![-1_000_000..=1_000_000i64, NONE + 1..=i64::MAX]
}

fn absent_or_mantissa() -> impl Strategy<Value = i64> {
    prop_oneof![Just(NONE), mantissa()]
}

fn time() -> impl Strategy<Value = UnixNanos> {
    prop_oneof![Just(0), any::<u64>()].prop_map(UnixNanos)
}

fn flags(kind: RecordType) -> impl Strategy<Value = Flags> {
    any::<u16>().prop_map(move |bits| {
        let chosen = flags_of(kind).into_iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1);
        chosen.fold(Flags::EMPTY, |all, (_, (_, flag))| all | flag)
    })
}

fn text() -> impl Strategy<Value = String> {
    // At most 16 characters of at most 4 bytes: what a symbol may have.
    "\\PC{0,16}"
}

fn trade_of(i: Instrument) -> impl Strategy<Value = TradeRecord> {
    let side = select(vec![None, Some(Side::Buy), Some(Side::Sell)]);
    let facts = (side, select(SideSource::ALL.to_vec()), flags(RecordType::Trade), any::<Option<u64>>());
    (facts, time(), time(), mantissa(), mantissa()).prop_map(move |((side, source, flags, id), event, recv, p, q)| {
        let flags = Flags(flags.0 & !Flags::NO_ID.0);
        TradeRecord::new(i.venue, i.id, side, source, flags, event, recv, Price(p), Qty(q), id)
    })
}

fn push_one<R: zerocopy::IntoBytes + zerocopy::Immutable + zerocopy::KnownLayout>(record: &R) -> RecordBuf {
    let mut out = RecordBuf::default();
    out.push(record);
    out
}

fn trade() -> impl Strategy<Value = Sample> {
    instrument().prop_flat_map(|i| trade_of(i.clone()).prop_map(move |t| (i.clone(), push_one(&t))))
}

fn long_trade() -> impl Strategy<Value = Sample> {
    instrument().prop_flat_map(|i| {
        (trade_of(i.clone()), "\\PC{0,60}", "\\PC{0,60}", text(), text()).prop_map(
            move |(trade, id, conditions, exchange, tape)| {
                let mut out = RecordBuf::default();
                let long = LongTrade { trade, id: &id, conditions: &conditions, exchange: &exchange, tape: &tape };
                out.push_long_trade(&long).unwrap();
                (i.clone(), out)
            },
        )
    })
}

/// Price and size of bids and asks.
fn levels(sizes: impl Strategy<Value = i64> + Clone) -> impl Strategy<Value = Vec<(Side, i64, i64)>> {
    let side = |side| move |(p, q)| (side, p, q);
    let bids = prop::collection::vec((mantissa(), sizes.clone()).prop_map(side(Side::Buy)), 0..8);
    let asks = prop::collection::vec((mantissa(), sizes).prop_map(side(Side::Sell)), 0..8);
    (bids, asks).prop_map(|(bids, asks)| [bids, asks].concat())
}

fn book_trust() -> impl Strategy<Value = Flags> {
    select(vec![Flags::EMPTY, Flags::NOT_TRUSTED, Flags::RECV_SUSPECT, Flags::NOT_TRUSTED | Flags::RECV_SUSPECT])
}

fn push_levels(
    i: &Instrument,
    levels: &[(Side, i64, i64)],
    flags: impl Fn(usize) -> Flags,
    at: (UnixNanos, UnixNanos),
    out: &mut RecordBuf,
) {
    for (n, (side, p, q)) in levels.iter().enumerate() {
        let action = match *q {
            0 => BookAction::Delete,
            _ if flags(n).contains(Flags::SNAPSHOT) => BookAction::Add,
            _ => BookAction::Change,
        };
        let (p, q) = (Price(*p), Qty(*q));
        out.push(&BookChangeRecord::new(i.venue, i.id, *side, flags(n), at.0, at.1, p, q, action));
    }
}

fn update() -> impl Strategy<Value = Sample> {
    let sizes = prop_oneof![Just(0), 1..=i64::MAX];
    let some = levels(sizes).prop_filter("an event has a level", |levels| !levels.is_empty());
    (instrument(), some, book_trust(), time(), time()).prop_map(|(i, levels, flags, event, recv)| {
        let mut out = RecordBuf::default();
        let last = |n| flags | Flags::LAST.when(n + 1 == levels.len());
        push_levels(&i, &levels, last, (event, recv), &mut out);
        (i, out)
    })
}

fn snapshot() -> impl Strategy<Value = Sample> {
    let numbers = (any::<u32>(), any::<u64>(), any::<u32>(), 1..=2u8);
    (instrument(), levels(1..=i64::MAX), book_trust(), numbers, time(), time()).prop_map(
        |(i, levels, flags, (depth, update_id, checksum, reason), event, recv)| {
            let flags = flags | Flags::SNAPSHOT;
            let bids = levels.iter().filter(|l| l.0 == Side::Buy).count() as u32;
            let asks = levels.len() as u32 - bids;
            let mut out = push_one(&SnapshotBeginRecord {
                header: header(RecordType::SnapshotBegin, &i, flags),
                ts_event: event.0,
                ts_recv: recv.0,
                bids,
                asks,
                depth,
                reason,
                capped: u8::from(update_id % 2 == 1),
                reserved: [0; 2],
                update_id,
            });
            push_levels(&i, &levels, |_| flags, (event, recv), &mut out);
            out.push(&SnapshotEndRecord {
                header: header(RecordType::SnapshotEnd, &i, flags | Flags::LAST),
                ts_event: event.0,
                ts_recv: recv.0,
                levels: bids + asks,
                checksum,
                update_id,
                reserved: 0,
            });
            (i, out)
        },
    )
}

fn quote() -> impl Strategy<Value = Sample> {
    let side = || prop::option::of((mantissa(), mantissa()).prop_map(|(p, q)| (Price(p), Qty(q))));
    (instrument(), flags(RecordType::Quote), time(), time(), side(), side()).prop_map(
        |(i, flags, event, recv, bid, ask)| {
            let quote = QuoteRecord::new(i.venue, i.id, flags, event, recv, bid, ask);
            (i, push_one(&quote))
        },
    )
}

fn notional() -> impl Strategy<Value = [u64; 2]> {
    prop::option::of(any::<i128>()).prop_map(BarRecord::split)
}

fn bar() -> impl Strategy<Value = Sample> {
    let prices = [mantissa(), mantissa(), mantissa(), mantissa(), mantissa()];
    let optional = (absent_or_mantissa(), notional(), notional(), absent_or_mantissa(), 0u8..=18, 0u8..=18);
    let times = (time(), time(), time(), any::<u32>(), any::<u64>(), any::<bool>());
    (instrument(), flags(RecordType::Bar), prices, optional, times).prop_map(|(i, flags, prices, optional, times)| {
        let [open, high, low, close, volume] = prices;
        let (taker_buy_volume, notional, taker_buy_notional, vwap, notional_scale, vwap_scale) = optional;
        let (event, recv, ts_open, interval_s, trades, closed) = times;
        let bar = BarRecord {
            header: header(RecordType::Bar, &i, flags),
            ts_event: event.0,
            ts_recv: recv.0,
            ts_open: ts_open.0,
            interval_s,
            state: if closed { BarState::Closed } else { BarState::Open } as u8,
            notional_scale,
            vwap_scale,
            reserved: 0,
            open,
            high,
            low,
            close,
            volume,
            taker_buy_volume,
            notional,
            taker_buy_notional,
            vwap,
            trades,
        };
        (i, push_one(&bar))
    })
}

fn definition() -> impl Strategy<Value = Sample> {
    let notional = prop::option::of((mantissa(), 0u8..=18).prop_map(|(m, scale)| Decimal::new(m.into(), scale)));
    let steps = (mantissa(), mantissa(), mantissa(), notional);
    let texts = (text(), text(), text(), text());
    let numbers = (any::<u32>(), any::<u32>(), select(InstrumentStatus::ALL.to_vec()));
    (instrument(), steps, texts, numbers, flags(RecordType::Instrument), time(), time()).prop_map(
        |(i, steps, texts, (id, version, status), flags, event, recv)| {
            let i = Instrument {
                id: InstrumentId(id),
                symbol: texts.0,
                venue_symbol: texts.1,
                base: texts.2,
                quote: texts.3,
                version,
                status,
                tick: Price(steps.0),
                lot: Qty(steps.1),
                min_size: Qty(steps.2),
                min_notional: steps.3,
                ..i
            };
            let mut out = RecordBuf::default();
            out.push_instrument(&i, event, recv).unwrap();
            set_flags(&mut out, flags);
            (i, out)
        },
    )
}

/// Gives the first record these flags.
fn set_flags(out: &mut RecordBuf, flags: Flags) {
    let header = *Header::read(out.words()).unwrap();
    out.set_header(0, header.with_flags(flags));
}

fn correction() -> impl Strategy<Value = Sample> {
    let numbers =
        (any::<u64>(), any::<u64>(), absent_or_mantissa(), absent_or_mantissa(), select(&CorrectionKind::ALL));
    (instrument(), flags(RecordType::Correction), time(), time(), numbers).prop_map(
        |(i, flags, event, recv, (trade_id, new_id, price, size, kind))| {
            let correction = CorrectionRecord {
                header: header(RecordType::Correction, &i, flags),
                ts_event: event.0,
                ts_recv: recv.0,
                trade_id,
                new_trade_id: if kind == CorrectionKind::Correct { new_id } else { 0 },
                price,
                size,
                kind: kind as u8,
                reserved: [0; 7],
            };
            (i, push_one(&correction))
        },
    )
}

fn order() -> impl Strategy<Value = Sample> {
    let what = (select(&[Side::Buy, Side::Sell]), select(&OrderAction::ALL), any::<u128>(), any::<u64>());
    (instrument(), flags(RecordType::Order), time(), time(), (absent_or_mantissa(), absent_or_mantissa()), what)
        .prop_map(|(i, flags, event, recv, (price, size), (side, action, id, venue_sequence))| {
            let order = OrderRecord {
                header: header(RecordType::Order, &i, flags | Flags::of_side(Some(side))),
                ts_event: event.0,
                ts_recv: recv.0,
                price,
                size,
                order_id: [(id >> 64) as u64, id as u64],
                venue_sequence,
                action: action as u8,
                reserved: [0; 7],
            };
            (i, push_one(&order))
        })
}

fn price_band() -> impl Strategy<Value = Sample> {
    let numbers = (absent_or_mantissa(), absent_or_mantissa(), prop_oneof![Just(0u8), 33..127u8]);
    (instrument(), flags(RecordType::PriceBand), time(), time(), numbers).prop_map(
        |(i, flags, event, recv, (lower, upper, indicator))| {
            let band = PriceBandRecord {
                header: header(RecordType::PriceBand, &i, flags),
                ts_event: event.0,
                ts_recv: recv.0,
                lower,
                upper,
                indicator,
                reserved: [0; 7],
            };
            (i, push_one(&band))
        },
    )
}

fn any_status() -> impl Strategy<Value = Status> {
    let stream_state = || select(StreamState::ALL);
    prop_oneof![
        stream_state().prop_map(Status::Connection),
        (select(StreamKind::ALL), stream_state()).prop_map(|(kind, state)| Status::Stream(kind, state)),
        select(BookState::ALL).prop_map(Status::Book),
        select(InstrumentStatus::ALL.to_vec()).prop_map(Status::Instrument),
        stream_state().prop_map(Status::Venue),
    ]
}

fn id_of(i: &Instrument, named: bool) -> InstrumentId {
    if named { i.id } else { InstrumentId::NONE }
}

fn status() -> impl Strategy<Value = Sample> {
    let facts = (any_status(), select(Reason::ALL), "\\PC{0,60}", any::<bool>());
    (instrument(), facts, flags(RecordType::Status), time(), time()).prop_map(
        |(i, (status, reason, text, named), flags, event, recv)| {
            let mut out = RecordBuf::default();
            out.push_status(i.venue, id_of(&i, named), status, reason, &text, event, recv);
            set_flags(&mut out, flags);
            (i, out)
        },
    )
}

fn backfill() -> impl Strategy<Value = Sample> {
    let facts = (select(StreamKind::ALL), any::<u32>(), any::<bool>());
    (instrument(), facts, (time(), time(), time()), flags(RecordType::Backfill)).prop_map(
        |(i, (stream, told, named), (recv, from, to), flags)| {
            let backfill = BackfillRecord {
                header: Header::new(
                    BackfillRecord::TYPE,
                    BackfillRecord::WORDS,
                    Some(i.venue),
                    flags,
                    id_of(&i, named),
                ),
                ts_event: 0,
                ts_recv: recv.0,
                ts_from: from.0,
                ts_to: to.0,
                told,
                stream: stream.code(),
                reserved: [0; 3],
            };
            (i, push_one(&backfill))
        },
    )
}

fn gap() -> impl Strategy<Value = Sample> {
    let facts = (select(StreamKind::ALL), select(GapCause::ALL), 0..=3u8, any::<bool>());
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), time(), time(), time());
    (instrument(), facts, numbers, flags(RecordType::Gap)).prop_map(
        |(i, (stream, cause, known, named), (first, last, missing, recv, from, to), flags)| {
            let known_or_0 = |bit: u8, value| if known & bit != 0 { value } else { 0 };
            let gap = GapRecord {
                header: Header::new(GapRecord::TYPE, GapRecord::WORDS, Some(i.venue), flags, id_of(&i, named)),
                ts_event: 0,
                ts_recv: recv.0,
                stream: stream.code(),
                cause: cause.code(),
                known,
                reserved: [0; 5],
                first: known_or_0(1, first),
                last: known_or_0(1, last),
                missing: known_or_0(2, missing),
                ts_from: from.0,
                ts_to: to.0,
            };
            (i, push_one(&gap))
        },
    )
}

fn overrun() -> impl Strategy<Value = Sample> {
    let range = (any::<u64>(), any::<u64>(), any::<bool>());
    let venue = prop::option::of(select(Venue::ALL.to_vec()));
    (venue, range, select(&OverrunCause::ALL), time()).prop_map(|(venue, (a, b, known), cause, now)| {
        let last = Some(a.max(b)).filter(|last| known && *last != 0);
        (btc(), push_one(&OverrunRecord::new(venue, EPOCH, a.min(b), last, cause, now)))
    })
}

fn clock() -> impl Strategy<Value = Sample> {
    (any::<i64>(), time(), time(), time()).prop_map(|(step_ns, recv, wall, expected)| {
        let clock = ClockRecord { ts_recv: recv.0, step_ns, ..ClockRecord::new(Venue::Binance, wall, expected) };
        (btc(), push_one(&clock))
    })
}

fn heartbeat() -> impl Strategy<Value = Sample> {
    (any::<u64>(), time()).prop_map(|(next, now)| (btc(), push_one(&HeartbeatRecord::new(Venue::Coinbase, next, now))))
}

fn session() -> impl Strategy<Value = Sample> {
    let start = (any::<u32>(), any::<bool>(), text(), text());
    (start, select(Reason::ALL), time()).prop_map(|((pid, simulated, site, build), reason, now)| {
        let origin = if simulated { Origin::Simulated } else { Origin::Live };
        let mut out = RecordBuf::default();
        out.push_session_start(Venue::Alpaca, EPOCH, pid, origin, &site, &build, now).unwrap();
        out.push_session_end(Venue::Alpaca, EPOCH, reason, now);
        (btc(), out)
    })
}

/// Records of any type.
fn sample() -> impl Strategy<Value = Sample> {
    // Boxed: the strategies by value would fill the stack.
    prop_oneof![
        trade().boxed(),
        long_trade().boxed(),
        update().boxed(),
        snapshot().boxed(),
        quote().boxed(),
        bar().boxed(),
        correction().boxed(),
        order().boxed(),
        price_band().boxed(),
        definition().boxed(),
        status().boxed(),
        gap().boxed(),
        backfill().boxed(),
        overrun().boxed(),
        clock().boxed(),
        heartbeat().boxed(),
        session().boxed(),
    ]
}

/// A record built anew from what its view says.
fn rebuilt(words: &[u64]) -> Vec<u64> {
    let mut out = RecordBuf::default();
    match Record::read(words).unwrap() {
        Record::Trade(r) => out.push_trade(r),
        Record::BookChange(r) => out.push(r),
        Record::SnapshotBegin(r) => out.push(r),
        Record::SnapshotEnd(r) => out.push(r),
        Record::Quote(r) => out.push(r),
        Record::Bar(r) => out.push(r),
        Record::Correction(r) => out.push(r),
        Record::Order(r) => out.push(r),
        Record::PriceBand(r) => out.push(r),
        Record::Gap(r) => out.push(r),
        Record::Backfill(r) => out.push(r),
        Record::Overrun(r) => out.push(r),
        Record::Clock(r) => out.push(r),
        Record::Heartbeat(r) => out.push(r),
        Record::SessionEnd(r) => out.push(r),
        Record::LongTrade(v) => {
            let h = v.head;
            let trade = TradeRecord {
                header: h.header,
                ts_event: h.ts_event,
                ts_recv: h.ts_recv,
                price: h.price,
                size: h.size,
                trade_id: 0,
            };
            let long = LongTrade { trade, id: v.id, conditions: v.conditions, exchange: v.exchange, tape: v.tape };
            out.push_long_trade(&long).unwrap();
        }
        Record::Instrument(v) => {
            let (event, recv) = (UnixNanos(v.head.ts_event), UnixNanos(v.head.ts_recv));
            out.push_instrument(&v.to_instrument().unwrap(), event, recv).unwrap();
            set_flags(&mut out, v.head.header.flags());
        }
        Record::Status(v) => {
            let h = v.head;
            let (venue, id) = (h.header.venue().unwrap(), h.header.instrument());
            let (event, recv) = (UnixNanos(h.ts_event), UnixNanos(h.ts_recv));
            out.push_status(venue, id, v.status, v.reason, v.text, event, recv);
            set_flags(&mut out, h.header.flags());
        }
        Record::SessionStart(v) => {
            let h = v.head;
            let origin = if h.simulated == 1 { Origin::Simulated } else { Origin::Live };
            let pid = u32::try_from(h.pid).unwrap();
            let venue = h.header.venue().unwrap();
            out.push_session_start(venue, h.epoch, pid, origin, v.site, v.build, UnixNanos(h.ts_recv)).unwrap();
        }
        Record::Unknown(_) => panic!("every type is known"),
    }
    out.words().to_vec()
}

/// A record as the JSON form can tell it: the scales inside a bar are the least that hold its numbers.
fn as_told(words: &[u64]) -> Vec<u64> {
    let Ok(Record::Bar(bar)) = Record::read(words) else { return words.to_vec() };
    let (notional, taker) = (BarRecord::join(bar.notional), BarRecord::join(bar.taker_buy_notional));
    let least = |m: i128, scale| Decimal::new(m, scale).normalised().scale;
    let scale = [notional, taker].into_iter().flatten().map(|m| least(m, bar.notional_scale)).max().unwrap_or(0);
    let down = |m: i128| m / 10i128.pow((bar.notional_scale - scale).into());
    let vwap_scale = if bar.vwap == NONE { 0 } else { least(bar.vwap.into(), bar.vwap_scale) };
    let vwap = if bar.vwap == NONE { NONE } else { bar.vwap / 10i64.pow((bar.vwap_scale - vwap_scale).into()) };
    let told = BarRecord {
        notional_scale: scale,
        vwap_scale,
        notional: BarRecord::split(notional.map(down)),
        taker_buy_notional: BarRecord::split(taker.map(down)),
        vwap,
        ..*bar
    };
    told.as_words().to_vec()
}

/// The records that lines of these records lead back to.
fn through_json((i, records): &Sample) -> RecordBuf {
    let mut encoder = json::Encoder::new();
    encoder.instruments.insert(i.clone());
    let mut decoder = json::Decoder { instruments: encoder.instruments.clone() };
    let mut back = RecordBuf::default();
    for (n, words) in (0..).zip(records.iter()) {
        let at = Envelope { epoch: EPOCH, sequence: FIRST + n };
        let Some(line) = encoder.push(at, words).unwrap() else { continue };
        let text = serde_json::to_string(&line).unwrap();
        let parsed: json::Line = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed, line);
        let span = decoder.push_text(&text, &mut back).unwrap();
        let last = if matches!(line, json::Line::Overrun(_)) { 0 } else { at.sequence };
        assert_eq!((span.epoch, span.last), (EPOCH, last));
    }
    back
}

proptest! {
    #[test]
    fn every_record_survives_its_view((_, records) in sample()) {
        for words in &records {
            prop_assert_eq!(rebuilt(words), words);
        }
    }

    #[test]
    fn every_record_survives_its_json_form(sample in sample()) {
        let back = through_json(&sample);
        let told: Vec<_> = sample.1.iter().map(as_told).collect();
        prop_assert_eq!(back.iter().collect::<Vec<_>>(), told);
    }

    #[test]
    fn any_decimal_of_up_to_18_digits_survives(
        digits in "[0-9]{1,18}", point in 0usize..=18, negative in any::<bool>(), extra in 0u8..=18,
    ) {
        let scale = point.min(digits.len() - 1);
        let (int, frac) = digits.split_at(digits.len() - scale);
        let sign = if negative { "-" } else { "" };
        let text = if scale == 0 { format!("{sign}{int}") } else { format!("{sign}{int}.{frac}") };
        // The instrument may allow more decimals than the value has, as long as 64 bits hold it.
        let price_scale = (scale as u8).saturating_add(extra).min(18 - (digits.len() - scale) as u8).max(scale as u8);
        let i = Instrument { price_scale, ..btc() };
        let mut encoder = json::Encoder::new();
        encoder.instruments.insert(i);
        let mut decoder = json::Decoder { instruments: encoder.instruments.clone() };
        let trade = RecordBuf::default();
        let mut line = lines_of(&{ let mut b = trade; b.push_trade(&common::trade()); b }, FIRST).remove(0);
        let json::Line::Trade(t) = &mut line else { panic!("a trade") };
        t.price = text.clone();
        let mut out = RecordBuf::default();
        decoder.push(&line, &mut out).unwrap();
        let told = encoder.push(Envelope { epoch: EPOCH, sequence: FIRST }, out.words()).unwrap();
        let Some(json::Line::Trade(told)) = told else { panic!("a trade") };
        let zeros_off = |text: &str| {
            let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
            let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
            let digits = digits.trim_start_matches('0');
            let digits = if digits.is_empty() || digits.starts_with('.') { format!("0{digits}") } else { digits.to_owned() };
            if digits == "0" { digits } else { format!("{sign}{digits}") }
        };
        prop_assert_eq!(told.price, zeros_off(&text));
    }
}
