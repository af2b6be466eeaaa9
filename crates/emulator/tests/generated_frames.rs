//! Frames made without sockets in time of the test's own: books against snapshots, and what only minutes bring.

mod common;

use std::collections::BTreeMap;

use common::{Levels, plain, units};
use emulator::{BookPace, EmulatedVenue, GeneratedFrames, GeneratedSession, Rate};
use model::UnixNanos;
use serde_json::Value;

const START: u64 = 1_700_000_010_000_000_000;

fn session(book_pace: BookPace) -> GeneratedSession {
    GeneratedSession { seed: 31, levels: 60, book_pace, ..GeneratedSession::default() }
}

fn json(frame: &[u8]) -> Value {
    serde_json::from_slice(frame).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(frame)))
}

/// Applies any venue's book frame.
fn apply(book: &mut Levels, frame: &Value) {
    if frame["type"] == "snapshot" || frame["events"][0]["type"] == "snapshot" || frame[0]["r"] == true {
        *book = Levels::default();
    }
    let rows = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |row: &Value, at: usize| plain(&row[at]);
    for (name, is_bid) in [("bids", true), ("asks", false)] {
        rows(&frame[name]).iter().for_each(|row| book.set(is_bid, &text(row, 0), &text(row, 1)));
    }
    rows(&frame["changes"]).iter().for_each(|row| book.set(row[0] == "buy", &text(row, 1), &text(row, 2)));
    for row in rows(&frame["events"][0]["updates"]) {
        book.set(row["side"] == "bid", &plain(&row["price_level"]), &plain(&row["new_quantity"]));
    }
    for (name, is_bid) in [("b", true), ("a", false)] {
        rows(&frame[0][name]).iter().for_each(|row| book.set(is_bid, &plain(&row["p"]), &plain(&row["s"])));
    }
}

#[test]
fn every_kind_of_book_ends_as_a_snapshot_tells_it() {
    for (venue, topic) in [
        (EmulatedVenue::Coinbase, "exchange:level2:ETH-USD"),
        (EmulatedVenue::Coinbase, "exchange:level2_batch:ETH-USD"),
        (EmulatedVenue::Coinbase, "advanced:level2:ETH-USD"),
        (EmulatedVenue::Alpaca, "crypto:orderbooks:ETH/USD"),
    ] {
        for pace in [BookPace::Venue, BookPace::Batched] {
            let mut frames =
                GeneratedFrames::new(venue, &session(pace), Rate::FramesPerSecond(5000), 1_000_000, |name| {
                    name == topic
                });
            let mut book = Levels::default();
            apply(&mut book, &json(&frames.snapshot(topic, UnixNanos(START)).expect("a snapshot")));
            let mut count = 0;
            for step in 1..100 {
                let now = UnixNanos(START + step * 17_000_001);
                frames.advance(now, |_, frame| {
                    apply(&mut book, &json(frame));
                    assert!(!book.is_crossed(), "{topic}");
                    count += 1;
                });
                if step % 10 == 0 {
                    let snapshot = json(&frames.snapshot(topic, now).expect("a snapshot"));
                    // What was still to be told is told before a newcomer gets its snapshot.
                    frames.advance(now, |_, frame| apply(&mut book, &json(frame)));
                    let mut truth = Levels::default();
                    apply(&mut truth, &snapshot);
                    assert_eq!(book, truth, "{topic} {pace:?} at step {step}");
                }
            }
            assert!(count >= 30, "{topic} {pace:?}: {count} frames");
        }
    }
}

#[test]
fn minutes_of_stocks_add_up_and_late_repairs_amend_them() {
    let mut frames = GeneratedFrames::new(
        EmulatedVenue::Alpaca,
        &session(BookPace::Venue),
        Rate::FramesPerSecond(30),
        1_000_000,
        |name| name.starts_with("sip:") || name.starts_with("crypto:"),
    );
    let (mut sums, mut bars, mut seen) =
        (BTreeMap::<(String, u64), (i128, u64)>::new(), Vec::new(), BTreeMap::<String, u64>::new());
    for step in 0..3000 {
        frames.advance(UnixNanos(START + step * 1_000_000_000), |_, frame| {
            let message = json(frame)[0].clone();
            let kind = plain(&message["T"]);
            let symbol = plain(&message["S"]);
            let time = message["t"].as_str().map(|text| scan::rfc3339_nanos(text.as_bytes()).expect("a time").0);
            let minute = time.expect("every message has one") / 60_000_000_000;
            match kind.as_str() {
                "t" => {
                    let sum = sums.entry((symbol, minute)).or_default();
                    sum.0 += units(&plain(&message["s"]));
                    sum.1 += 1;
                }
                "b" | "u" => bars.push((kind.clone(), symbol, minute, message)),
                "l" => assert!(message["d"].as_f64() < message["u"].as_f64()),
                _ => {}
            }
            *seen.entry(kind).or_default() += 1;
        });
    }
    assert!(["b", "u", "d", "l", "c", "x", "s", "q", "o"].iter().all(|kind| seen.contains_key(*kind)), "{seen:?}");
    let (mut checked, mut amended) = (0, 0);
    for (kind, symbol, minute, bar) in &bars {
        let Some((volume, trades)) = sums.get(&(symbol.clone(), *minute)) else {
            assert_eq!(bar["v"], 0, "a bar without trades: {bar}");
            continue;
        };
        let (told, count) = (units(&plain(&bar["v"])), bar["n"].as_u64().expect("a count"));
        if kind == "u" {
            assert!(told <= *volume && count <= *trades, "{bar}");
            amended += u64::from(told < *volume);
        } else {
            assert_eq!((told, count), (*volume, *trades), "{bar}");
            checked += 1;
        }
        assert!(bar["l"].as_f64() <= bar["vw"].as_f64() && bar["vw"].as_f64() <= bar["h"].as_f64(), "{bar}");
    }
    assert!(checked > 20 && amended > 0, "{checked} bars, {amended} amended");
}

#[test]
fn a_candle_s_last_state_is_told_before_the_next_begins() {
    let topic = "advanced:candles:BTC-USD";
    let rate = Rate::FramesPerSecond(50);
    let mut frames =
        GeneratedFrames::new(EmulatedVenue::Coinbase, &session(BookPace::Venue), rate, 1_000_000, |name| {
            name == topic || name == "advanced:market_trades:BTC-USD"
        });
    let (mut volumes, mut told) = (BTreeMap::<u64, i128>::new(), BTreeMap::<u64, i128>::new());
    for step in 0..1300 {
        frames.advance(UnixNanos(START + step * 500_000_000), |_, frame| {
            let event = json(frame)["events"][0].clone();
            for trade in event["trades"].as_array().into_iter().flatten() {
                let (ns, _) = scan::rfc3339_nanos(trade["time"].as_str().expect("a time").as_bytes()).expect("a time");
                let start = ns / 300_000_000_000 * 300;
                *volumes.entry(start).or_default() += units(&plain(&trade["size"]));
            }
            for candle in event["candles"].as_array().into_iter().flatten() {
                let start: u64 = plain(&candle["start"]).parse().expect("seconds");
                assert!(told.keys().all(|known| *known <= start), "an older candle after a newer: {candle}");
                told.insert(start, units(&plain(&candle["volume"])));
            }
        });
    }
    let ended: Vec<u64> = told.keys().rev().skip(1).copied().collect();
    assert!(ended.len() >= 2, "{told:?}");
    for start in ended {
        assert_eq!(told[&start], volumes[&start], "candle {start}");
    }
}

#[test]
fn late_prints_come_behind_later_trades_and_extended_hours_are_marked() {
    let session = GeneratedSession { tape: true, ..session(BookPace::Venue) };
    // A Monday, from nine in the morning to ten in New York.
    let begin = 1_767_621_600_000_000_000_u64;
    let rate = Rate::FramesPerSecond(20);
    let mut frames =
        GeneratedFrames::new(EmulatedVenue::Alpaca, &session, rate, 1_000_000, |name| name.starts_with("sip:trades:"));
    let (mut seen, mut codes) = (BTreeMap::<String, Vec<(u64, u64)>>::new(), BTreeMap::<String, u64>::new());
    for step in 0..3_600 {
        frames.advance(UnixNanos(begin + step * 1_000_000_000), |_, frame| {
            let trade = json(frame)[0].clone();
            let (time, _) = scan::rfc3339_nanos(trade["t"].as_str().expect("a time").as_bytes()).expect("a time");
            let has = |code: &str| trade["c"].as_array().expect("codes").iter().any(|known| known == code);
            let regular = time >= begin + 1_800_000_000_000;
            assert_eq!(has("T") || has("U"), !regular, "{trade}");
            let all = seen.entry(plain(&trade["S"])).or_default();
            let id = trade["i"].as_u64().expect("an id");
            let newest = all.iter().max().copied().unwrap_or_default();
            let late = has("Z") || has("U");
            assert_eq!(id < newest.0, late, "{trade}");
            assert!(!late || time <= newest.1, "a late print has its own time: {trade}");
            all.push((id, time));
            for code in ["T", "U", "Z", "I", "F"].into_iter().filter(|code| has(code)) {
                *codes.entry(code.to_owned()).or_default() += 1;
            }
        });
    }
    assert_eq!(codes.len(), 5, "{codes:?}");
    for (symbol, all) in &mut seen {
        all.sort_unstable();
        let last = all.last().expect("trades").0;
        assert!(all.windows(2).all(|two| two[0].0 + 1 == two[1].0 || two[1].0 + 3 > last), "{symbol} has a hole");
    }
}
