//! What Kraken's machine says to the venue, and when: subscriptions, retries, choices, refusals.
#![allow(clippy::unwrap_used)]

use model::{InstrumentId, StreamKind, UnixNanos, Venue};
use serde_json::Value;
use std::time::Duration;
use venues::{MachineError, Memory, Outbox, Settings, VenueMachine};
use wire::json::{Encoder, Line};
use wire::{Envelope, Record, Status};

struct Run {
    machine: Box<dyn VenueMachine>,
    out: Outbox,
    encoder: Encoder,
    now: UnixNanos,
    lines: Vec<Line>,
    sent: Vec<Value>,
}

fn pair(symbol: &str) -> String {
    let (base, quote) = symbol.split_once('/').unwrap();
    format!(
        r#"{{"symbol":"{symbol}","base":"{base}","quote":"{quote}","status":"online","qty_precision":8,"qty_increment":1e-08,"price_precision":1,"price_increment":0.1}}"#
    )
}

fn pairs(symbols: &[&str]) -> String {
    let pairs: Vec<String> = symbols.iter().map(|s| pair(s)).collect();
    let pairs = pairs.join(",");
    format!(r#"{{"channel":"instrument","type":"snapshot","data":{{"assets":[],"pairs":[{pairs}]}}}}"#)
}

fn book(kind: &str, symbol: &str, checksum: u32) -> String {
    format!(
        r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}","bids":[{{"price":9.5,"qty":0.00000001}}],"asks":[{{"price":10.5,"qty":0.00000002}}],"checksum":{checksum}}}]}}"#
    )
}

/// Asks first, then bids; price, then size; digits only: `105` `2`, `95` `1`.
fn right() -> u32 {
    crc32fast::hash(b"1052951")
}

impl Run {
    fn new(settings: &Settings, choices: &[(&str, &str)]) -> Run {
        let choices: Vec<_> = choices.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Run {
            machine: venues::machine(Venue::Kraken, settings, &choices).unwrap(),
            out: Outbox::new(),
            encoder: Encoder::new(),
            now: UnixNanos(1_700_000_000_000_000_000),
            lines: vec![],
            sent: vec![],
        }
    }

    fn settings(symbols: &[&str]) -> Settings {
        let mut settings =
            Settings { symbols: symbols.iter().map(|s| (*s).to_owned()).collect(), ..Settings::default() };
        settings.stale_after.connection_s = 0;
        settings.stale_after.book_s = 0;
        settings.stale_after.quote_s = 0;
        settings
    }

    fn drain(&mut self) {
        for words in &self.out.records {
            self.lines.extend(self.encoder.push(Envelope::default(), words).unwrap());
        }
        self.sent.extend(self.out.frames.iter().map(|f| serde_json::from_slice::<Value>(&f.payload).unwrap()));
        self.out.clear();
    }

    fn connect(&mut self) {
        self.machine.on_connected(self.now, &mut self.out);
        self.drain();
    }

    fn frame(&mut self, frame: &str) {
        self.machine.on_frame(frame.as_bytes(), self.now, &mut self.out).unwrap();
        self.drain();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(due) = self.machine.next_timer().filter(|due| *due <= end) {
            assert!(due > self.now || self.now == end, "a timer that does not move on");
            self.now = due;
            self.machine.on_timer(self.now, &mut self.out);
            self.drain();
        }
        self.now = end;
    }

    /// The subscriptions sent since the last call, in short.
    fn requests(&mut self) -> Vec<String> {
        let short = |v: Value| {
            let p = &v["params"];
            let symbols: Vec<&str> =
                p["symbol"].as_array().into_iter().flatten().map(|s| s.as_str().unwrap()).collect();
            let mut text = format!("{} {}", v["method"].as_str().unwrap(), p["channel"].as_str().unwrap_or("-"));
            for key in ["depth", "interval", "event_trigger", "snapshot"] {
                if !p[key].is_null() {
                    text += &format!(" {key}={}", p[key]);
                }
            }
            if symbols.is_empty() { text } else { text + " " + &symbols.join(",") }
        };
        std::mem::take(&mut self.sent).into_iter().map(short).collect()
    }

    fn books(&self, symbol: &str) -> Vec<String> {
        let told = self.lines.iter().filter_map(|l| match l {
            Line::Status(s) if s.symbol.as_deref() == Some(symbol) && s.scope != "instrument" => {
                Some(format!("{} {} {}", s.scope, s.state, s.reason))
            }
            Line::Gap(g) if g.symbol.as_deref() == Some(symbol) => Some(format!("gap {} {}", g.stream, g.cause)),
            Line::Book(b) if b.symbol == symbol => Some(b.kind.clone()),
            _ => None,
        });
        told.collect()
    }
}

#[test]
fn instruments_first_then_what_was_asked_for() {
    let mut r = Run::new(&Run::settings(&["BTC-USD", "ETH/USD"]), &[]);
    r.connect();
    assert_eq!(r.requests(), ["subscribe instrument snapshot=true"]);
    r.frame(&pairs(&["XRP/USD", "BTC/USD", "ETH/USD"]));
    assert_eq!(
        r.requests(),
        [
            "subscribe trade snapshot=false BTC/USD,ETH/USD",
            "subscribe book depth=1000 snapshot=true BTC/USD,ETH/USD",
            r#"subscribe ticker event_trigger="bbo" snapshot=true BTC/USD,ETH/USD"#,
            "subscribe ohlc interval=1 snapshot=true BTC/USD,ETH/USD",
        ]
    );
    assert_eq!(r.machine.instruments().len(), 2, "what nobody asked for is not defined");
    r.frame(&pairs(&["BTC/USD"]).replace("snapshot", "update"));
    assert!(r.requests().is_empty(), "once a connection");
}

#[test]
fn many_symbols_go_in_batches() {
    let names: Vec<String> = (0..250).map(|n| format!("A{n}/USD")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let settings = Settings { streams: vec![StreamKind::Book], book_depth: 11, ..Run::settings(&names) };
    let mut r = Run::new(&settings, &[]);
    r.connect();
    r.frame(&pairs(&names));
    let sizes: Vec<usize> = r.sent.iter().skip(1).map(|v| v["params"]["symbol"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    assert!(r.sent.iter().skip(1).all(|v| v["params"]["depth"] == 25), "the least depth that holds eleven levels");
}

#[test]
fn choices_change_what_is_sent() {
    let settings = Settings { streams: vec![StreamKind::Trade, StreamKind::Quote], ..Run::settings(&["BTC-USD"]) };
    let choices =
        [("ticker_trigger", "trades"), ("trade_snapshot", "always"), ("req_id", "params"), ("heartbeat", "subscribe")];
    let mut r = Run::new(&settings, &choices);
    r.connect();
    assert!(r.sent.iter().all(|v| v["req_id"].is_null() && v["params"]["req_id"].is_u64()));
    r.frame(&pairs(&["BTC/USD"]));
    assert_eq!(
        r.requests(),
        [
            "subscribe instrument snapshot=true",
            "subscribe heartbeat",
            "subscribe trade snapshot=true BTC/USD",
            r#"subscribe ticker event_trigger="trades" snapshot=true BTC/USD"#,
        ]
    );
}

#[test]
fn settings_the_venue_does_not_offer_are_refused() {
    let make = |settings: Settings| match venues::machine(Venue::Kraken, &settings, &[]) {
        Err(e @ MachineError::Setting { .. }) => e.to_string(),
        other => panic!("{:?}", other.map(|m| m.venue())),
    };
    let deep = Settings { book_depth: 1001, ..Settings::default() };
    assert_eq!(make(deep), "kraken: book_depth cannot be 1001; it can be at most 1000");
    let odd = make(Settings { bar_interval_s: 90, ..Settings::default() });
    assert!(odd.starts_with("kraken: bar_interval_s cannot be 90; it can be 60, 300, 900"), "{odd}");
}

#[test]
fn a_book_that_cannot_be_mended_is_given_up_after_bounded_attempts() {
    let settings = Settings { streams: vec![StreamKind::Book], book_depth: 10, ..Run::settings(&["BTC-USD"]) };
    let mut r = Run::new(&settings, &[]);
    r.connect();
    r.frame(&pairs(&["BTC/USD"]));
    r.requests();
    r.frame(&book("snapshot", "BTC/USD", right()));
    assert_eq!(r.books("BTC-USD"), ["book syncing snapshot", "snapshot", "book live ok"]);
    r.lines.clear();
    r.frame(&book("update", "BTC/USD", 7));
    assert_eq!(r.books("BTC-USD"), ["book suspect checksum", "gap book checksum", "book syncing snapshot"]);
    let again = ["unsubscribe book depth=10 BTC/USD", "subscribe book depth=10 snapshot=true BTC/USD"];
    assert_eq!(r.requests(), again, "the first attempt is made at once");
    let mut waits = vec![];
    for _ in 1..8 {
        r.frame(&book("snapshot", "BTC/USD", 7));
        let failed = r.now;
        while r.sent.is_empty() {
            r.wait(r.machine.next_timer().unwrap().since(r.now));
            r.sent.retain(|v| v["method"] != "ping");
        }
        waits.push(r.now.since(failed).as_secs());
        assert_eq!(r.requests(), again);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60]);
    r.frame(&book("snapshot", "BTC/USD", 7));
    r.wait(Duration::from_secs(300));
    r.sent.retain(|v| v["method"] != "ping");
    assert!(r.requests().is_empty(), "no further attempt");
    assert_eq!(r.books("BTC-USD").last().unwrap(), "stream down checksum");
    assert_eq!(r.machine.counts().gaps, 1, "one gap, however many attempts");
    assert!(r.out.reconnect.is_none());
    r.machine.on_disconnected(r.now, &mut r.out);
    r.drain();
    r.connect();
    r.frame(&pairs(&["BTC/USD"]));
    r.frame(&book("snapshot", "BTC/USD", right()));
    assert_eq!(r.books("BTC-USD").last().unwrap(), "book live ok", "the next connection tries again");
}

#[test]
fn a_crossed_book_is_suspect_though_its_checksum_is_right() {
    let settings = Settings { streams: vec![StreamKind::Book], book_depth: 10, ..Run::settings(&["BTC-USD"]) };
    let mut r = Run::new(&settings, &[]);
    r.connect();
    r.frame(&pairs(&["BTC/USD"]));
    r.frame(&book("snapshot", "BTC/USD", right()));
    r.lines.clear();
    let crossing = r#"{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":10.5,"qty":0.00000003}],"asks":[],"checksum":CRC}]}"#;
    r.frame(&crossing.replace("CRC", &crc32fast::hash(b"10521053951").to_string()));
    assert_eq!(r.machine.counts().checksums_failed, 0);
    assert_eq!(r.books("BTC-USD"), ["book suspect crossed", "gap book crossed", "book syncing snapshot"]);
    r.frame(&book("snapshot", "BTC/USD", right()));
    assert_eq!(r.books("BTC-USD").last().unwrap(), "book live ok");
}

#[test]
fn a_snapshot_that_never_comes_is_asked_for_again() {
    let settings = Settings { streams: vec![StreamKind::Book], book_depth: 10, ..Run::settings(&["BTC-USD"]) };
    let mut r = Run::new(&settings, &[]);
    r.connect();
    r.frame(&pairs(&["BTC/USD"]));
    r.requests();
    r.wait(Duration::from_millis(9_900));
    r.sent.retain(|v| v["method"] != "ping");
    assert!(r.requests().is_empty());
    r.wait(Duration::from_millis(200));
    assert_eq!(r.requests(), ["unsubscribe book depth=10 BTC/USD", "subscribe book depth=10 snapshot=true BTC/USD"]);
}

#[test]
fn a_refused_subscription_is_told_of_its_instrument() {
    let mut r = Run::new(&Run::settings(&["BTC-USD", "ETH-USD"]), &[]);
    r.connect();
    r.frame(&pairs(&["BTC/USD", "ETH/USD"]));
    let id = r.sent.iter().find(|v| v["params"]["channel"] == "ticker").unwrap()["req_id"].as_u64().unwrap();
    for symbol in [r#","symbol":"ETH/USD""#, ""] {
        r.lines.clear();
        r.frame(&format!(r#"{{"method":"subscribe","error":"Currency pair not supported ETH/USD","success":false{symbol},"req_id":{id}}}"#));
        let Some(Line::Status(s)) = r.lines.first() else { panic!("{:?}", r.lines) };
        assert_eq!((s.symbol.as_deref(), s.stream.as_deref()), (Some("ETH-USD"), Some("quote")));
        assert_eq!(
            (s.state.as_str(), s.reason.as_str(), s.text.as_str()),
            ("down", "refused", "Currency pair not supported ETH/USD")
        );
    }
    assert_eq!(r.machine.counts().refusals, 2);
    assert!(r.out.reconnect.is_none());
}

#[test]
fn no_instruments_means_another_connection() {
    let mut r = Run::new(&Run::settings(&["BTC-USD"]), &[]);
    r.machine.on_connected(r.now, &mut r.out);
    r.out.clear();
    let end = r.now.after(Duration::from_secs(11));
    while r.out.reconnect.is_none() {
        r.now = r.machine.next_timer().filter(|due| *due <= end).expect("it gives up by itself");
        r.machine.on_timer(r.now, &mut r.out);
    }
    assert_eq!(r.out.reconnect.take().unwrap().1, "no instruments within 10 s of asking");
    assert_eq!(r.machine.next_timer(), None, "and does not ask twice");
}

#[test]
fn trades_of_a_snapshot_are_flagged_and_only_the_missed_are_told() {
    let settings = Settings { streams: vec![StreamKind::Trade], ..Run::settings(&["BTC-USD", "ETH-USD"]) };
    let mut r = Run::new(&settings, &[]);
    let id = InstrumentId::of(Venue::Kraken, "BTC/USD");
    r.machine.remember(id, Memory { trade_id: Some(5), last_seen: UnixNanos(9), ..Memory::default() });
    r.connect();
    r.frame(&pairs(&["BTC/USD", "ETH/USD"]));
    let requests = r.requests();
    assert_eq!(requests[1..], ["subscribe trade snapshot=true BTC/USD", "subscribe trade snapshot=false ETH/USD"]);
    let trade = |id: u64| {
        format!(
            r#"{{"symbol":"BTC/USD","side":"buy","price":1.5,"qty":2.0,"ord_type":"limit","trade_id":{id},"timestamp":"2026-08-02T03:35:51.66Z"}}"#
        )
    };
    // The order within a snapshot is not documented; a repeat comes last.
    let list: Vec<String> = [8, 7, 5, 4].map(trade).to_vec();
    r.frame(&format!(r#"{{"channel":"trade","type":"snapshot","data":[{}]}}"#, list.join(",")));
    let told: Vec<String> = r
        .lines
        .iter()
        .filter_map(|l| match l {
            Line::Trade(t) => Some(format!(
                "{} snapshot={} late={} last={}",
                t.trade_id.as_deref().unwrap(),
                t.snapshot,
                t.late,
                t.last
            )),
            Line::Gap(g) => {
                Some(format!("gap {}..{} {}", g.first.as_deref().unwrap(), g.last.as_deref().unwrap(), g.cause))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        ["gap 6..6 restart", "7 snapshot=true late=true last=false", "8 snapshot=true late=true last=true"]
    );
    // A repeat at the end of an update leaves the flag on the last trade that is told.
    r.lines.clear();
    r.frame(&format!(r#"{{"channel":"trade","type":"update","data":[{},{}]}}"#, trade(9), trade(9)));
    let Some(Line::Trade(t)) = r.lines.first() else { panic!("{:?}", r.lines) };
    assert!(t.last && r.lines.len() == 1);
}

#[test]
fn the_state_of_the_venue_is_told_in_its_words() {
    let mut r = Run::new(&Settings::default(), &[]);
    for (word, state) in [("online", "live"), ("maintenance", "halted"), ("post_only", "live"), ("cancel_only", "live")]
    {
        r.lines.clear();
        r.frame(&format!(r#"{{"channel":"status","type":"update","data":[{{"system":"{word}","version":"2.0.10","api_version":"v2","connection_id":18446744073709551615}}]}}"#));
        let Some(Line::Status(s)) = r.lines.first() else { panic!("{:?}", r.lines) };
        assert_eq!((s.scope.as_str(), s.state.as_str()), ("venue", state));
        assert_eq!(s.text, format!("{word}, version 2.0.10, connection 18446744073709551615"));
    }
}

#[test]
fn a_refresh_of_a_book_that_is_not_live_has_no_levels() {
    let mut r = Run::new(&Run::settings(&["BTC-USD"]), &[]);
    r.connect();
    r.frame(&pairs(&["BTC/USD"]));
    r.machine.refresh(InstrumentId::of(Venue::Kraken, "BTC/USD"), r.now, &mut r.out);
    let told: Vec<_> = r.out.records.records().map(Result::unwrap).collect();
    assert!(
        matches!(told[..], [Record::Instrument(_), Record::Status(s)] if matches!(s.status, Status::Book(_))),
        "{told:?}"
    );
}
