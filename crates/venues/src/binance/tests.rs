//! Stories of the protocol that the conformance suite and the captures do not tell, and the equality of both readers.

use super::any_order;
use super::books::BUFFER_EVENTS_MAX;
use super::choices::TimeUnit;
use super::exact::{Frame, Numbers};
use super::messages::{Hot, Scales};
use crate::{Counts, Input, Outbox, Reply, Request, Session, SessionSettings, Settings};
use model::{Reason, StreamKind, UnixNanos, Venue};
use proptest::prelude::*;
use std::time::Duration;
use wire::Envelope;
use wire::json::{Encoder, Line};

const START: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

struct Desk {
    session: Session,
    out: Outbox,
    encoder: Encoder,
    now: UnixNanos,
    lines: Vec<Line>,
    words: Vec<u64>,
    frames: Vec<String>,
    requests: Vec<Request>,
    reconnect: Option<(Reason, String)>,
    bad: Vec<String>,
}

impl Desk {
    fn new(symbols: &[&str], choices: &[(&str, &str)]) -> Desk {
        let symbols = symbols.iter().map(|s| (*s).to_owned()).collect();
        let settings = Settings { symbols, book_depth: 100, ..Settings::default() };
        let choices: Vec<_> = choices.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let machine = crate::machine(Venue::Binance, &settings, &choices).expect("offered");
        let mut desk = Desk {
            session: Session::new(machine, SessionSettings::default()),
            out: Outbox::new(),
            encoder: Encoder::new(),
            now: START,
            lines: vec![],
            words: vec![],
            frames: vec![],
            requests: vec![],
            reconnect: None,
            bad: vec![],
        };
        desk.step(Input::Connected);
        desk
    }

    /// A desk with one live symbol: book at id 100, bid 99 x 1, ask 101 x 1.
    fn live(choices: &[(&str, &str)]) -> Desk {
        let mut desk = Desk::new(&["BTC-USDT"], choices);
        desk.reply(200, INFO);
        desk.frame(r#"{"result":null,"id":1}"#);
        desk.wait(1);
        desk.reply(200, r#"{"lastUpdateId":100,"bids":[["99.00","1"]],"asks":[["101.00","1"]]}"#);
        desk.lines.clear();
        desk
    }

    fn step(&mut self, input: Input<'_>) {
        if let Some(bad) = self.session.step(input, self.now, &mut self.out) {
            self.bad.push(bad.error.to_string());
        }
        for words in &self.out.records {
            let at = Envelope { epoch: 1, sequence: self.lines.len() as u64 };
            self.lines.extend(self.encoder.push(at, words).expect("a record"));
        }
        self.words.extend_from_slice(self.out.records.words());
        self.frames.extend(self.out.frames.drain(..).map(|f| f.as_text().expect("text").to_owned()));
        self.requests.append(&mut self.out.requests);
        self.reconnect = self.out.reconnect.take().or(self.reconnect.take());
        self.out.clear();
    }

    fn frame(&mut self, frame: &str) {
        self.now = self.now.after(Duration::from_millis(1));
        self.step(Input::Frame(frame.as_bytes()));
    }

    /// Answers the oldest request.
    fn reply(&mut self, status: u16, body: &str) -> String {
        let request = self.requests.remove(0);
        let reply = Reply::Http { status, body: body.as_bytes(), retry_after: None };
        self.step(Input::Response(request.id, reply));
        request.path
    }

    fn wait(&mut self, seconds: u64) {
        let end = self.now.after(Duration::from_secs(seconds));
        while let Some(due) = self.session.next_timer().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.step(Input::Timer);
        }
        self.now = end;
    }

    fn depth(&mut self, first: u64, last: u64, bids: &str, asks: &str) {
        self.frame(&format!(
            r#"{{"e":"depthUpdate","E":1700000000000,"s":"BTCUSDT","U":{first},"u":{last},"b":[{bids}],"a":[{asks}]}}"#
        ));
    }

    fn trade(&mut self, id: u64) {
        self.frame(&format!(
            r#"{{"e":"trade","E":1700000000001,"s":"BTCUSDT","t":{id},"p":"100","q":"2","T":1700000000000,"m":true,"M":true}}"#
        ));
    }

    fn counts(&self) -> Counts {
        *self.session.machine().counts()
    }

    /// What was told, in short words, without definitions.
    fn told(&self) -> Vec<String> {
        let short = |line: &Line| match line {
            Line::Trade(t) => Some(format!("trade {} {}x{} {}", t.trade_id.as_deref()?, t.price, t.size, t.side)),
            Line::Quote(q) => Some(format!("quote {:?} {:?}", q.bid.as_deref(), q.ask.as_deref())),
            Line::Book(b) => Some(format!("{} {:?} {:?} trusted={}", b.kind, b.bids, b.asks, b.trusted)),
            Line::Gap(g) => {
                Some(format!("gap {} {} {:?}..{:?}", g.stream, g.cause, g.first.as_deref(), g.last.as_deref()))
            }
            Line::Status(s) => Some(format!("{} {} {}", s.scope, s.state, s.reason)),
            _ => None,
        };
        self.lines.iter().filter_map(short).map(|text| text.replace('"', "")).collect()
    }
}

const INFO: &str = r#"{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT",
    "filters":[{"filterType":"PRICE_FILTER","tickSize":"0.01"},{"filterType":"LOT_SIZE","minQty":"0.001","stepSize":"0.001"}]}]}"#;

#[test]
fn a_shutdown_announcement_asks_for_another_connection() {
    for frame in [
        r#"{"e":"serverShutdown","E":1700000000000}"#,
        r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1700000000000}}"#,
    ] {
        let mut desk = Desk::live(&[]);
        desk.frame(frame);
        assert_eq!(desk.reconnect.map(|r| r.0), Some(Reason::Venue), "{frame}");
        assert_eq!(desk.bad, [""; 0]);
    }
}

#[test]
fn a_refused_subscription_takes_its_streams_down() {
    let mut desk = Desk::new(&["BTCUSDT"], &[]);
    desk.reply(200, INFO);
    assert_eq!(
        desk.frames,
        [
            r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@depth@100ms","btcusdt@bookTicker","btcusdt@kline_1m"],"id":1}"#
        ]
    );
    desk.lines.clear();
    desk.frame(r#"{"code":2,"msg":"Invalid request: \"x\"","id":1}"#);
    desk.frame(r#"{"error":{"code":3,"msg":"Invalid JSON"}}"#);
    assert_eq!(desk.told()[..2], ["stream down refused", "stream down refused"]);
    assert_eq!((desk.told().len(), desk.counts().refusals), (5, 2));
    let text = |line: &Line| if let Line::Status(s) = line { s.text.clone() } else { String::new() };
    assert_eq!(text(&desk.lines[0]), "code 2: Invalid request: \"x\"");
    assert_eq!(text(&desk.lines[4]), "code 3: Invalid JSON");
}

#[test]
fn quotes_come_in_three_envelopes_and_may_lack_a_side() {
    let mut desk = Desk::live(&[]);
    desk.frame(r#"{"u":1,"s":"BTCUSDT","b":"99.50","B":"1.000","a":"100.50","A":"2.000"}"#);
    desk.frame(r#"{"stream":"!bookTicker","data":{"u":1,"s":"BTCUSDT","b":"99.5","B":"1","a":"0.00","A":"0.000"}}"#);
    assert_eq!(desk.told(), ["quote Some(99.5) Some(100.5)", "quote Some(99.5) None"]);
}

#[test]
fn a_snapshot_older_than_the_first_change_is_fetched_again() {
    let mut desk = Desk::new(&[], &[]);
    desk.depth(201, 205, r#"["99","2"]"#, "");
    desk.depth(206, 206, r#"["98","2"]"#, "");
    assert_eq!(
        desk.reply(200, r#"{"lastUpdateId":199,"bids":[],"asks":[]}"#),
        "/api/v3/depth?symbol=BTCUSDT&limit=100"
    );
    assert_eq!((desk.requests.len(), desk.counts().snapshots_unbridged), (0, 1));
    desk.wait(1);
    desk.reply(200, r#"{"lastUpdateId":205,"bids":[["97","1"]],"asks":[["101","1"]]}"#);
    let told = desk.told();
    assert_eq!(
        told[told.len() - 4..],
        [
            "book syncing snapshot",
            "snapshot [[97, 1]] [[101, 1]] trusted=true",
            "book live ok",
            "update [[98, 2]] [] trusted=true"
        ]
    );
    assert_eq!((desk.counts().book_updates_old, desk.counts().gaps), (1, 0));
}

#[test]
fn the_first_change_may_follow_the_snapshot_directly_or_reach_over_it() {
    for (update_id, told) in [(200, true), (203, true), (205, false)] {
        let mut desk = Desk::new(&[], &[]);
        desk.depth(201, 205, r#"["99","2"]"#, "");
        desk.reply(200, &format!(r#"{{"lastUpdateId":{update_id},"bids":[],"asks":[]}}"#));
        let applied = desk.counts().book_updates == 1;
        assert_eq!((applied, desk.counts().gaps), (told, 0), "snapshot at {update_id}");
        desk.depth(206, 207, "", "");
        assert_eq!((desk.counts().gaps, desk.counts().malformed), (0, 0), "an empty change only moves on");
    }
}

#[test]
fn the_empty_book_of_a_new_listing_bridges() {
    let mut desk = Desk::new(&[], &[]);
    desk.depth(1, 3, r#"["99","2"]"#, "");
    desk.reply(200, r#"{"lastUpdateId":-1,"bids":[],"asks":[]}"#);
    desk.depth(4, 4, "", r#"["101","2"]"#);
    assert_eq!((desk.counts().book_updates, desk.counts().gaps, desk.counts().snapshots_unbridged), (2, 0, 0));
}

#[test]
fn a_book_that_stays_crossed_is_fetched_again() {
    let mut desk = Desk::live(&[]);
    desk.depth(101, 101, r#"["102","1"]"#, "");
    desk.depth(102, 102, r#"["102","0"]"#, "");
    assert_eq!(
        desk.told(),
        [
            "update [[102, 1]] [] trusted=false",
            "book suspect crossed",
            "update [[102, 0]] [] trusted=false",
            "book live ok"
        ]
    );
    assert!(desk.requests.is_empty());
    for id in 103..113 {
        desk.depth(id, id, r#"["102","1"]"#, "");
    }
    assert_eq!((desk.requests.len(), desk.counts().crossed), (1, 11));
    desk.reply(200, r#"{"lastUpdateId":113,"bids":[["99","1"]],"asks":[["101","1"]]}"#);
    assert_eq!(desk.told().last().map(String::as_str), Some("book live ok"));
    assert_eq!(desk.counts().resyncs, 1);
}

#[test]
fn a_full_buffer_is_a_gap_and_starts_anew() {
    let mut desk = Desk::new(&[], &[]);
    for id in 1..=BUFFER_EVENTS_MAX as u64 + 1 {
        desk.depth(id, id, r#"["99","2"]"#, "");
    }
    let overflow = format!("gap book overflow Some(1)..Some({BUFFER_EVENTS_MAX})");
    assert!(desk.told().contains(&overflow), "{:?}", desk.told());
    desk.reply(200, r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#);
    assert_eq!(desk.counts().book_snapshots, 0, "the answer to the request before the restart is not used");
    desk.wait(1);
    desk.reply(200, &format!(r#"{{"lastUpdateId":{BUFFER_EVENTS_MAX},"bids":[],"asks":[]}}"#));
    assert_eq!((desk.counts().book_snapshots, desk.counts().book_updates, desk.counts().gaps), (1, 1, 1));
}

#[test]
fn a_limited_request_waits_as_long_as_the_venue_says() {
    let mut desk = Desk::new(&["BTCUSDT"], &[]);
    let request = desk.requests.remove(0);
    let retry_after = Some(Duration::from_secs(30));
    desk.step(Input::Response(request.id, Reply::Http { status: 429, body: b"", retry_after }));
    desk.wait(29);
    assert!(desk.requests.is_empty());
    desk.wait(2);
    assert_eq!(desk.requests.len(), 1);
    desk.requests.clear();
    assert!(desk.told().contains(&"stream resyncing refused".to_owned()));
}

/// What is told but for repetitions.
fn changes(told: &[String], wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut changes: Vec<String> = told.iter().filter(|t| wanted(t)).cloned().collect();
    changes.dedup();
    changes
}

#[test]
fn many_failures_are_told_once_and_tried_on() {
    let mut desk = Desk::live(&[]);
    desk.depth(105, 105, "", "");
    for _ in 0..20 {
        let id = desk.requests.remove(0).id;
        desk.step(Input::Response(id, Reply::Failed("no route")));
        desk.wait(60);
        desk.requests.retain(|r| r.path.starts_with("/api/v3/depth"));
    }
    let told = desk.told();
    let states = changes(&told, |t| t.starts_with("book "));
    let of = |text: &str| states.iter().filter(|t| *t == text).count();
    assert_eq!((of("book suspect sequence"), of("book syncing sequence")), (1, 1));
    let of = |text: &str| told.iter().filter(|t| *t == text).count();
    assert_eq!(of("gap book sequence Some(101)..Some(104)"), 1);
    let texts =
        desk.lines.iter().filter(|l| matches!(l, Line::Status(s) if s.text.contains("after 8 attempts: no route")));
    assert_eq!(texts.count(), 1);
    assert_eq!(desk.requests.len(), 1);
}

#[test]
fn a_halt_and_its_end_come_with_the_definitions() {
    let mut desk = Desk::live(&[("compare_s", "0")]);
    desk.wait(300);
    assert_eq!(desk.reply(200, &INFO.replace("TRADING", "HALT")), "/api/v3/exchangeInfo?symbols=%5B%22BTCUSDT%22%5D");
    desk.wait(300);
    desk.reply(200, INFO);
    let told = changes(&desk.told(), |t| t.ends_with(" venue") || t == "book live ok");
    let expected = ["book live ok", "instrument halted venue", "book halted venue", "instrument trading venue"];
    assert_eq!(told, [&expected[..], &["book live ok"]].concat());
}

#[test]
fn only_one_kind_of_trade_is_told() {
    let agg = r#"{"e":"aggTrade","E":1700000000001,"s":"BTCUSDT","a":7,"p":"100","q":"2","f":10,"l":12,"T":1700000000000,"m":false,"M":true}"#;
    let mut desk = Desk::live(&[]);
    desk.frame(agg);
    desk.trade(10);
    desk.frame(agg);
    assert_eq!(desk.told(), ["trade 10 100x2 sell"]);
    assert_eq!(desk.counts().unused_types, 2);
    let mut desk = Desk::live(&[("trades", "agg_trade")]);
    desk.trade(10);
    desk.frame(agg);
    assert_eq!(desk.told(), ["trade 7 100x2 buy"]);
}

#[test]
fn what_a_jump_of_ids_means_is_a_choice() {
    let mut desk = Desk::live(&[("trade_ids", "rising")]);
    desk.trade(10);
    desk.trade(20);
    desk.trade(15);
    assert_eq!(desk.told(), ["trade 10 100x2 sell", "trade 20 100x2 sell"]);
    assert_eq!(desk.counts().trades_repeated, 1);
}

#[test]
fn ids_that_begin_anew_are_not_taken_for_repeats() {
    let mut desk = Desk::live(&[]);
    desk.trade(1000);
    desk.frame(
        r#"{"e":"trade","E":1700000100001,"s":"BTCUSDT","t":1,"p":"100","q":"2","T":1700000100000,"m":true,"M":true}"#,
    );
    assert_eq!(desk.told(), ["trade 1000 100x2 sell", "gap trade sequence None..None", "trade 1 100x2 sell"]);
}

#[test]
fn times_are_of_the_chosen_unit_or_refused() {
    let micros = r#"{"e":"trade","E":1700000000001002,"s":"BTCUSDT","t":1,"p":"1","q":"2","T":1700000000000001,"m":true,"M":true}"#;
    let mut desk = Desk::new(&[], &[("time_unit", "us")]);
    desk.frame(micros);
    assert!(matches!(&desk.lines[..], [.., Line::Trade(t)] if t.ts_event == 1_700_000_000_000_001_000));
    desk.trade(2);
    assert_eq!(desk.bad, ["byte 17: E: is no time in us; set the choice time_unit to ms"]);
    let mut desk = Desk::new(&[], &[]);
    desk.frame(micros);
    assert_eq!(desk.bad, ["byte 17: E: is no time in ms; set the choice time_unit to us"]);
    assert!(desk.session.machine().instruments().is_empty(), "nothing of a refused frame is used");
}

#[track_caller]
fn refused(frame: &str, why: &str) {
    let mut desk = Desk::live(&[]);
    desk.frame(frame);
    assert_eq!(desk.bad, [why]);
    assert_eq!(desk.told(), ["gap connection malformed None..None"]);
}

#[test]
fn malformed_frames_name_byte_and_field() {
    refused(r#"{"e":"trade","E":1700000000001,"s":"BTCUSDT","p":"1"}"#, "byte 0: t: is missing");
    refused(r#"{"u":1,"s":"BTCUSDT","b":"-1","B":"1","a":"2","A":"1"}"#, "byte 25: b: is negative");
    refused(r#"{"u":1,"s":"BTCUSDT","b":"1x","B":"1","a":"2","A":"1"}"#, "byte 26: b: not a number at byte 1");
    refused(
        r#"{"u":1,"s":"BTCUSDT","b":"99999999999999999999","B":"1","a":"2","A":"1"}"#,
        "byte 26: b: number out of range",
    );
    let depth = r#"{"e":"depthUpdate","E":1700000000000,"s":"BTCUSDT","U":9,"u":8,"b":[],"a":[]}"#;
    refused(depth, "byte 0: U: 9 is after u 8");
    refused(
        &depth.replace(r#""b":[]"#, r#""b":[["1"]]"#).replace("9,", "7,"),
        "byte 73: b: a level has a price and a size",
    );
    refused("{\"e\":", "byte 5: frame: expected a value");
}

#[test]
fn a_full_connection_is_shared_out_over_frames() {
    let symbols: Vec<String> = (0..256).map(|n| format!("A{n}USDT")).collect();
    let names: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let mut desk = Desk::new(&names, &[]);
    assert_eq!(desk.requests.len(), 3, "a hundred symbols a request");
    for chunk in symbols.chunks(100) {
        let entry = |s: &String| {
            let base = s.strip_suffix("USDT").expect("a pair");
            format!(r#"{{"symbol":"{s}","status":"TRADING","baseAsset":"{base}","quoteAsset":"USDT","filters":[]}}"#)
        };
        let entries: Vec<String> = chunk.iter().map(entry).collect();
        desk.reply(200, &format!(r#"{{"symbols":[{}]}}"#, entries.join(",")));
    }
    let streams: Vec<usize> =
        desk.frames.iter().map(|f| f.matches('@').count() - f.matches("depth@").count()).collect();
    assert_eq!((streams.iter().sum::<usize>(), streams.iter().max()), (1024, Some(&200)));
}

/// A JSON text of the same value, spelled otherwise.
#[derive(Clone, Debug)]
struct Spelling {
    order: Vec<usize>,
    space: Vec<u8>,
    escape: bool,
    exponent: bool,
}

fn spelling() -> impl Strategy<Value = Spelling> {
    let order = Just((0..16).collect::<Vec<usize>>()).prop_shuffle();
    (order, prop::collection::vec(0u8..4, 8), any::<bool>(), any::<bool>())
        .prop_map(|(order, space, escape, exponent)| Spelling { order, space, escape, exponent })
}

impl Spelling {
    fn text(&self, text: &str) -> String {
        if !self.escape {
            return format!("\"{text}\"");
        }
        let escaped: String = text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
        format!("\"{escaped}\"")
    }

    fn number(&self, number: &str) -> String {
        if self.exponent { format!("\"{}e-2\"", shifted(number)) } else { self.text(number) }
    }

    fn space(&self, at: usize) -> &'static str {
        ["", " ", "\n", "\t "][usize::from(self.space[at % self.space.len()])]
    }

    fn object(&self, fields: &[(&str, String)]) -> String {
        let mut fields: Vec<(usize, &(&str, String))> = fields.iter().enumerate().collect();
        fields.sort_by_key(|(index, _)| self.order[*index]);
        let mut text = "{".to_owned();
        for (place, (_, (key, value))) in fields.iter().enumerate() {
            text += if place > 0 { "," } else { "" };
            text += &format!("{}{}{}:{}{value}", self.space(place), self.text(key), self.space(1), self.space(2));
        }
        text + self.space(3) + "}"
    }
}

/// The digits of a number times a hundred.
fn shifted(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = format!("{fraction:0<2}");
    let digits = format!("{whole}{}", &fraction[..2]);
    let digits = digits.trim_start_matches('0');
    let rest = &fraction[2..];
    let whole = if digits.is_empty() { "0" } else { digits };
    if rest.is_empty() { whole.to_owned() } else { format!("{whole}.{rest}") }
}

#[derive(Clone, Debug)]
enum Message {
    Trade(u64, u32, u32, bool),
    Depth(Vec<(u32, u32)>, Vec<(u32, u32)>),
    Quote(u32, u32, u32, u32),
}

fn message() -> impl Strategy<Value = Message> {
    let level = || prop::collection::vec((1u32..2_000_000, prop_oneof![Just(0), 0u32..1_000_000]), 0..6);
    prop_oneof![
        (1u64..u64::MAX, any::<u32>(), any::<u32>(), any::<bool>()).prop_map(|(i, p, q, m)| Message::Trade(i, p, q, m)),
        (level(), level()).prop_map(|(b, a)| Message::Depth(b, a)),
        (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(b, c, d, e)| Message::Quote(b, c, d, e)),
    ]
}

/// Padded to eight decimals of which `scale` count.
fn padded(mantissa: u32, scale: usize) -> String {
    let factor = 10u64.pow(scale as u32);
    let (whole, fraction) = (u64::from(mantissa) / factor, u64::from(mantissa) % factor);
    format!("{whole}.{fraction:0scale$}{}", "0".repeat(8 - scale))
}

impl Message {
    fn fields(&self, s: &Spelling, id: u64) -> Vec<(&'static str, String)> {
        let price = |p: &u32| s.number(&padded(*p, 2));
        let size = |q: &u32| s.number(&padded(*q, 3));
        let levels = |l: &[(u32, u32)]| {
            let each: Vec<String> = l.iter().map(|(p, q)| format!("[{},{}]", price(p), size(q))).collect();
            format!("[{}]", each.join(","))
        };
        let (symbol, time) = (s.text("BTCUSDT"), "1700000000123".to_owned());
        match self {
            Message::Trade(id, p, q, maker) => vec![
                ("e", s.text("trade")),
                ("E", time.clone()),
                ("s", symbol),
                ("t", id.to_string()),
                ("p", price(p)),
                ("q", size(q)),
                ("T", time),
                ("m", maker.to_string()),
                ("M", "true".to_owned()),
            ],
            Message::Depth(b, a) => vec![
                ("e", s.text("depthUpdate")),
                ("E", time),
                ("s", symbol),
                ("U", id.to_string()),
                ("u", id.to_string()),
                ("b", levels(b)),
                ("a", levels(a)),
            ],
            Message::Quote(b, bs, a, aq) => vec![
                ("u", id.to_string()),
                ("s", symbol),
                ("b", price(b)),
                ("B", size(bs)),
                ("a", price(a)),
                ("A", size(aq)),
            ],
        }
    }
}

proptest! {
    #[test]
    fn both_readers_tell_the_same(messages in prop::collection::vec((message(), spelling(), any::<bool>()), 1..20)) {
        let plain = Spelling { order: (0..16).collect(), space: vec![0], escape: false, exponent: false };
        let (mut fast, mut exact) = (Desk::live(&[]), Desk::live(&[]));
        for (n, (message, spelling, combined)) in messages.iter().enumerate() {
            let id = 101 + n as u64;
            for (desk, s) in [(&mut fast, &plain), (&mut exact, spelling)] {
                let payload = s.object(&message.fields(s, id));
                let frame = if *combined {
                    s.object(&[("stream", s.text("btcusdt@x")), ("data", payload)])
                } else {
                    payload
                };
                desk.frame(&frame);
            }
        }
        prop_assert_eq!((&fast.bad, &exact.bad), (&vec![], &vec![]));
        prop_assert_eq!(fast.counts().slow_path, 0);
        prop_assert!(fast.words == exact.words, "{:?}\n{:?}", fast.told(), exact.told());
    }

    #[test]
    fn what_is_read_in_any_order_is_what_the_exact_reader_reads(
        spelling in spelling(),
        message in message().prop_filter("quotes are not read so", |m| !matches!(m, Message::Quote(..))),
        combined: bool,
        at: prop::sample::Index, byte in prop_oneof![any::<u8>(), prop::sample::select(b"\"{}:,.0e-]t ".as_slice())],
        damage in 0u8..3,
    ) {
        let spelling = Spelling { escape: false, exponent: false, ..spelling };
        let mut fields = message.fields(&spelling, 1);
        fields.push(("X", "null".to_owned()));
        let mut frame = spelling.object(&fields);
        if combined {
            frame = spelling.object(&[("stream", "\"btcusdt@trade\"".to_owned()), ("data", frame)]);
        }
        let mut frame = frame.into_bytes();
        let at = at.index(frame.len());
        match damage {
            0 => frame[at] = byte,
            1 => frame.truncate(at),
            _ => {}
        }
        let (unit, scales) = (TimeUnit::Millis, Scales { price: 8, size: 8 });
        let mut levels = vec![];
        let find = |symbol: &[u8]| (symbol == b"BTCUSDT").then_some((0, scales));
        let read = any_order::read(&frame, unit, find, &mut levels);
        prop_assert!(read.is_some() || damage < 2);
        if let Some((_, message, unknown)) = read {
            let (mut exact, mut name) = (Frame::of(&frame), [0; 64]);
            prop_assert_eq!(exact.check(), Ok(()));
            prop_assert_eq!(exact.symbol(&mut name), Ok("BTCUSDT"));
            let mut expected = vec![];
            let hot = exact.hot(unit, &mut Numbers::at(scales), &mut expected);
            prop_assert_eq!(hot, Ok(message));
            if let Hot::Depth(_) = message {
                prop_assert_eq!(levels, expected);
            }
            prop_assert_eq!(exact.unknown_fields(), unknown);
        }
    }

    #[test]
    fn no_bytes_panic_or_leave_a_trace(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut desk = Desk::live(&[]);
        desk.step(Input::Frame(&bytes));
        prop_assert!(desk.told().iter().all(|t| t.starts_with("gap connection malformed")));
    }
}

#[test]
fn a_stream_that_is_not_wanted_is_passed_over() {
    let settings = Settings { streams: vec![StreamKind::Quote], ..Settings::default() };
    let machine = crate::machine(Venue::Binance, &settings, &[]).expect("offered");
    let mut desk = Desk::new(&[], &[]);
    desk.session = Session::new(machine, SessionSettings::default());
    desk.lines.clear();
    desk.trade(1);
    desk.depth(1, 2, r#"["1","1"]"#, "");
    assert_eq!((desk.told().len(), desk.counts().unused_types, desk.requests.len()), (0, 2, 0));
}

/// A live desk whose comparison is asked for: the snapshot's body for an id and two bids.
fn compared() -> (Desk, impl Fn(u64, &str) -> String) {
    let mut desk = Desk::live(&[("compare_s", "5")]);
    desk.depth(101, 102, r#"["98.00","3"]"#, "");
    assert!(desk.requests.is_empty());
    desk.wait(5);
    assert_eq!(desk.requests.len(), 1);
    assert_eq!(desk.requests[0].path, "/api/v3/depth?symbol=BTCUSDT&limit=100");
    assert_eq!(desk.requests[0].weight, 5);
    let body = |id: u64, bids: &str| format!(r#"{{"lastUpdateId":{id},"bids":[{bids}],"asks":[["101.00","1"]]}}"#);
    desk.lines.clear();
    (desk, body)
}

#[test]
fn a_fresh_snapshot_is_compared_at_its_own_id() {
    let both = r#"["99.00","1"],["98.00","3"]"#;
    // The book as it stood at the snapshot's id: before, at and behind what has come by then.
    let (mut desk, body) = compared();
    desk.reply(200, &body(102, both));
    assert_eq!(desk.counts().snapshots_agreed, 1);

    let (mut desk, body) = compared();
    desk.depth(103, 104, r#"["97.00","9"]"#, "");
    desk.depth(105, 106, r#"["96.00","9"]"#, "");
    desk.reply(200, &body(104, r#"["99.00","1"],["98.00","3"],["97.00","9"]"#));
    assert_eq!(desk.counts().snapshots_agreed, 1);

    let (mut desk, body) = compared();
    desk.reply(200, &body(104, r#"["99.00","1"],["98.00","3"],["97.00","9"]"#));
    assert_eq!(desk.counts().snapshots_agreed, 0, "the change it contains is still to come");
    desk.depth(103, 104, r#"["97.00","9"]"#, "");
    desk.depth(105, 106, r#"["96.00","9"]"#, "");
    assert_eq!((desk.counts().snapshots_agreed, desk.counts().snapshots_apart), (1, 0));

    // In the middle of a change only what it names is open.
    let (mut desk, body) = compared();
    desk.depth(103, 106, r#"["98.00","7"],["97.00","9"]"#, "");
    desk.reply(200, &body(104, r#"["99.00","1"],["98.00","5"]"#));
    assert_eq!((desk.counts().snapshots_agreed, desk.counts().snapshots_apart), (1, 0));
    assert_eq!(desk.counts().book_updates, 2);
}

#[test]
fn another_level_in_a_fresh_snapshot_makes_the_book_suspect() {
    for (id, late) in [(102, false), (104, true)] {
        let (mut desk, body) = compared();
        desk.reply(200, &body(id, r#"["99.00","1"],["98.00","4"]"#));
        if late {
            desk.depth(103, 104, "", r#"["102.00","9"]"#);
            desk.depth(105, 106, "", r#"["103.00","9"]"#);
        }
        assert_eq!((desk.counts().snapshots_agreed, desk.counts().snapshots_apart), (0, 1), "{:?}", desk.told());
        let told = desk.told();
        assert!(told.contains(&"book suspect disagreement".to_owned()), "{told:?}");
        let suspect = told.iter().position(|t| t == "book suspect disagreement");
        let update = told.iter().rposition(|t| t.starts_with("update"));
        assert!(update < suspect, "nothing of it is told any more: {told:?}");
        assert_eq!(desk.requests.len(), 1, "it is fetched anew");
        desk.reply(200, &body(200, r#"["99.00","1"],["98.00","4"]"#));
        assert_eq!(desk.told().last().map(String::as_str), Some("book live ok"));
        assert_eq!((desk.counts().resyncs, desk.counts().gaps), (1, 1));
    }
}

#[test]
fn a_comparison_that_cannot_be_made_says_nothing() {
    let (mut desk, body) = compared();
    desk.reply(200, &body(50, ""));
    desk.wait(5);
    desk.reply(500, "");
    desk.wait(5);
    desk.reply(200, "{}");
    desk.wait(5);
    desk.depth(200, 201, "", "");
    desk.reply(200, &body(201, ""));
    let counts = desk.counts();
    assert_eq!((counts.snapshots_agreed, counts.snapshots_apart), (0, 0), "a gap ended the last one");
}
