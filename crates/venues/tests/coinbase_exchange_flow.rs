//! What Coinbase Exchange's machine does beside the suite: books of orders, signatures, heartbeats that tell of a tail,
//! silence that is none, refusals, choices, protocols recognised by their frames.
#![allow(clippy::unwrap_used)]

use model::{StreamKind, UnixNanos, Venue};
use serde_json::{Value, json};
use std::time::Duration;
use venues::{Credentials, MachineError, Outbox, Outgoing, Reply, RequestId, Settings, VenueMachine};
use wire::Envelope;
use wire::json::{BookLine, Encoder, GapLine, Line, OrderLine, StatusLine};

const PRODUCTS: &str = r#"[{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","quote_increment":"0.01","base_increment":"0.0001","status":"online"}]"#;

struct Run {
    machine: Box<dyn VenueMachine>,
    out: Outbox,
    encoder: Encoder,
    now: UnixNanos,
    lines: Vec<Line>,
    sent: Vec<Outgoing>,
    asked: Vec<(RequestId, String)>,
}

fn settings(streams: &[StreamKind]) -> Settings {
    let mut settings =
        Settings { symbols: vec!["BTC-USD".to_owned()], streams: streams.to_vec(), ..Settings::default() };
    settings.stale_after.connection_s = 0;
    settings.credentials = Some(Credentials {
        key: "the key".to_owned(),
        secret: "YWxwaGFwdWxzZS10ZXN0LXNlY3JldA==".to_owned(),
        passphrase: Some("the passphrase".to_owned()),
    });
    settings
}

fn made(settings: &Settings, choices: &[(&str, &str)]) -> Result<Box<dyn VenueMachine>, MachineError> {
    let choices: Vec<_> = choices.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    venues::machine(Venue::Coinbase, settings, &choices)
}

/// The id of the n-th order.
fn id(n: u32) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

fn step(sequence: u64, mut fields: Value) -> String {
    fields["sequence"] = sequence.into();
    fields["product_id"] = "BTC-USD".into();
    fields["time"] = "2023-11-14T22:13:20.000000Z".into();
    fields.to_string()
}

fn open(sequence: u64, n: u32, side: &str, price: &str, size: &str) -> String {
    step(sequence, json!({"type":"open","order_id":id(n),"side":side,"price":price,"remaining_size":size}))
}

fn done(sequence: u64, n: u32, side: &str, price: &str, size: &str) -> String {
    let fields =
        json!({"type":"done","order_id":id(n),"side":side,"price":price,"remaining_size":size,"reason":"canceled"});
    step(sequence, fields)
}

impl Run {
    fn new(settings: &Settings, choices: &[(&str, &str)]) -> Run {
        Run {
            machine: made(settings, choices).unwrap(),
            out: Outbox::new(),
            encoder: Encoder::new(),
            now: UnixNanos(1_700_000_000_000_000_000),
            lines: vec![],
            sent: vec![],
            asked: vec![],
        }
    }

    /// Connected and defined.
    fn defined(settings: &Settings, choices: &[(&str, &str)]) -> Run {
        let mut run = Run::new(settings, choices);
        run.connect();
        run
    }

    fn connect(&mut self) {
        self.machine.on_connected(self.now, &mut self.out);
        self.drain();
        self.answer("/products", PRODUCTS);
    }

    fn drain(&mut self) {
        for words in &self.out.records {
            self.lines.extend(self.encoder.push(Envelope::default(), words).unwrap());
        }
        self.sent.append(&mut self.out.frames);
        self.asked.extend(self.out.requests.drain(..).map(|r| (r.id, r.path)));
        self.out.clear();
    }

    fn frame(&mut self, frame: &str) {
        self.now = self.now.after(Duration::from_millis(1));
        self.machine.on_frame(frame.as_bytes(), self.now, &mut self.out).unwrap();
        self.drain();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(due) = self.machine.next_timer().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.machine.on_timer(self.now, &mut self.out);
            self.drain();
        }
        self.now = end;
    }

    /// Answers the oldest request of a path.
    fn answer(&mut self, path: &str, body: &str) {
        self.reply(path, Reply::Http { status: 200, body: body.as_bytes(), retry_after: None });
    }

    fn reply(&mut self, path: &str, reply: Reply<'_>) {
        let at = self.asked.iter().position(|(_, p)| p == path).unwrap_or_else(|| panic!("{path} of {:?}", self.asked));
        let (request, _) = self.asked.remove(at);
        self.machine.on_response(request, reply, self.now, &mut self.out);
        self.drain();
    }

    fn told<T>(&mut self, pick: impl Fn(Line) -> Option<T>) -> Vec<T> {
        std::mem::take(&mut self.lines).into_iter().filter_map(pick).collect()
    }

    /// States, gaps, books and orders told since the last time, in short.
    fn story(&mut self) -> Vec<String> {
        let side = |told: &[[String; 2]]| told.iter().map(|[p, s]| format!("{p}x{s}")).collect::<Vec<_>>().join(" ");
        self.told(|line| match line {
            Line::Status(StatusLine { scope, state, reason, .. }) if scope == "book" => {
                Some(format!("{state} {reason}"))
            }
            Line::Gap(GapLine { stream, cause, first, last, .. }) => {
                let id = |id: Option<String>| id.unwrap_or_else(|| "?".to_owned());
                Some(format!("gap {stream} {cause} {}..{}", id(first), id(last)))
            }
            Line::Book(BookLine { kind, bids, asks, trusted, .. }) => {
                assert!(trusted);
                Some(format!("{kind} {} | {}", side(&bids), side(&asks)))
            }
            Line::Order(OrderLine { action, order_id, .. }) => Some(format!("{action} {}", &order_id[..8])),
            Line::Trade(t) => Some(format!("trade {} {}x{}", t.side, t.price, t.size)),
            _ => None,
        })
    }
}

const BOOK: &str = "/products/BTC-USD/book?level=3";

fn orders(sequence: u64) -> String {
    json!({"sequence": sequence, "time": "2023-11-14T22:13:20.000000Z",
        "bids": [["100.00", "1", id(1)], ["100.0", "2", id(2)], ["99", "1.5", id(3)]],
        "asks": [["101", "1", id(4)], ["102.00", "0.5", id(5)]]})
    .to_string()
}

#[test]
fn a_book_of_orders_from_subscription_to_gap_and_back() {
    let full = [StreamKind::Book, StreamKind::Trade, StreamKind::Order];
    let mut run = Run::defined(&settings(&full), &[("level2", "full")]);
    let channels: Vec<String> = run.sent.iter().map(|f| String::from_utf8(f.payload.clone()).unwrap()).collect();
    assert!(channels.iter().all(|c| !c.contains("matches")), "its trades come with the full channel: {channels:?}");
    assert_eq!(run.story(), ["syncing snapshot"]);

    // Steps before the answer are kept; those it contains are not applied again.
    run.frame(&open(50, 9, "buy", "98", "4"));
    assert_eq!(run.asked.len(), 1, "the first step asks for the orders");
    run.frame(&open(51, 6, "buy", "100.00", "0.25"));
    run.frame(&done(52, 4, "sell", "101", "1"));
    assert_eq!(run.story(), ["open 00000009", "open 00000006", "canceled 00000004"], "orders are told as they come");
    run.answer(BOOK, &orders(50));
    assert_eq!(
        run.story(),
        ["snapshot 100x3 99x1.5 | 101x1 102x0.5", "live ok", "update 100x3.25 | ", "update  | 101x0"]
    );

    // Every kind of step.
    run.frame(&step(53, json!({"type":"received","order_id":id(7),"order_type":"market","side":"buy","funds":"30.5"})));
    run.frame(&step(54, json!({"type":"match","trade_id":7,"maker_order_id":id(5),"taker_order_id":id(7),"side":"sell","size":"0.2","price":"102"})));
    run.frame(&step(55, json!({"type":"done","order_id":id(7),"side":"buy","reason":"filled"})));
    run.frame(&step(
        56,
        json!({"type":"change","order_id":id(3),"side":"buy","price":"99","old_size":"1.5","new_size":"1"}),
    ));
    run.frame(&step(57, json!({"type":"change","order_id":id(3),"side":"buy","reason":"modify_order","old_price":"99","new_price":"99.5","old_size":"1","new_size":"2"})));
    run.frame(&json!({"type":"activate","product_id":"BTC-USD","timestamp":"1700000000.299","order_id":id(8),"stop_type":"entry","side":"buy","stop_price":"80","size":"2"}).to_string());
    run.frame(&step(58, json!({"type":"done","order_id":id(77),"side":"buy","reason":"canceled"})));
    assert_eq!(
        run.story(),
        [
            "received 00000007",
            "trade buy 102x0.2",
            "match 00000005",
            "update  | 102x0.3",
            "filled 00000007",
            "change 00000003",
            "update 99x1 | ",
            "change 00000003",
            "update 99x0 99.5x2 | ",
            "activated 00000008",
            "canceled 0000004d",
        ]
    );
    run.frame(&open(58, 10, "sell", "103", "1"));
    assert!(run.story().is_empty(), "a repeat");

    // A hole: told exactly, that book alone is fetched again, an answer from before the hole is no use.
    run.frame(&open(61, 11, "sell", "103", "1"));
    assert_eq!(
        run.story(),
        [
            "gap order sequence 59..60",
            "suspect sequence",
            "gap book sequence 59..60",
            "syncing snapshot",
            "open 0000000b"
        ]
    );
    run.answer(BOOK, &orders(58));
    assert_eq!((run.story(), run.machine.counts().snapshots_unbridged), (vec![], 1));
    run.wait(Duration::from_secs(2));
    run.frame(&open(62, 12, "sell", "104", "1"));
    run.answer(BOOK, &orders(61));
    assert_eq!(run.story(), ["open 0000000c", "snapshot 100x3 99x1.5 | 101x1 102x0.5", "live ok", "update  | 104x1"]);
    assert_eq!(run.machine.counts().resyncs, 1);

    // After a reconnect the gap has exact ids.
    run.machine.on_disconnected(run.now, &mut run.out);
    run.drain();
    run.connect();
    run.frame(&open(70, 13, "buy", "90", "1"));
    run.answer(BOOK, &orders(69));
    assert_eq!(
        run.story(),
        [
            "suspect connection",
            "syncing snapshot",
            "open 0000000d",
            "gap book reconnect 63..69",
            "snapshot 100x3 99x1.5 | 101x1 102x0.5",
            "live ok",
            "update 90x1 | ",
        ]
    );
    assert!(run.asked.is_empty() && run.out.reconnect.is_none());
}

#[test]
fn steps_that_a_heartbeat_tells_of_and_never_came_are_a_gap() {
    let mut run = Run::defined(&settings(&[StreamKind::Book]), &[("level2", "full")]);
    run.wait(Duration::from_secs(1));
    run.answer(BOOK, &orders(50));
    run.story();
    let beat = |sequence: u64| step(sequence, json!({"type":"heartbeat","last_trade_id":7}));
    run.frame(&beat(52));
    run.frame(&open(51, 6, "buy", "98", "1"));
    assert_eq!(run.story(), ["update 98x1 | "], "a heartbeat may overtake");
    run.frame(&beat(52));
    assert_eq!(run.story(), ["suspect sequence", "gap book sequence 52..52", "syncing snapshot"]);
}

#[test]
fn a_failed_fetch_is_tried_again_and_given_up_in_the_end() {
    let mut run = Run::defined(&settings(&[StreamKind::Book]), &[("level2", "full")]);
    let mut tries = 0;
    for _ in 0..100 {
        run.wait(Duration::from_secs(5));
        while !run.asked.is_empty() {
            tries += 1;
            run.reply(BOOK, Reply::Failed("unreachable"));
        }
    }
    assert_eq!(tries, 8);
    let down = run.told(|l| match l {
        Line::Status(s) if s.state == "down" => Some(s.text),
        _ => None,
    });
    assert_eq!(down.len(), 1, "{down:?}");
}

#[test]
fn what_needs_a_signature_is_signed_and_secret() {
    let run = Run::defined(&settings(&[StreamKind::Book]), &[("level2", "level2")]);
    for f in &run.sent {
        let sent: Value = serde_json::from_slice(&f.payload).unwrap();
        let signed = sent["channels"][0] == "level2";
        assert_eq!((f.secret, sent.get("signature").is_some()), (signed, signed), "{sent}");
        if signed {
            assert_eq!(sent["signature"], "YfAT1S7tYUAqBSL+7TbzDKW4FQjICi6/TFbwrK81Z6I=");
            assert_eq!((&sent["key"], &sent["passphrase"]), (&json!("the key"), &json!("the passphrase")));
            assert_eq!((&sent["timestamp"], &sent["product_ids"]), (&json!("1700000000"), &json!(["BTC-USD"])));
            assert!(!format!("{f:?}").contains("the key"));
        }
    }
    assert!(run.sent.iter().any(|f| f.secret));

    let bare = Settings { credentials: None, ..settings(&[StreamKind::Book]) };
    let text = |made: Result<Box<dyn VenueMachine>, MachineError>| made.err().unwrap().to_string();
    assert_eq!(
        text(made(&bare, &[("level2", "full")])),
        "coinbase: COINBASE_API_KEY, COINBASE_API_SECRET and COINBASE_API_PASSPHRASE are not set"
    );
    let mut broken = settings(&[StreamKind::Book]);
    broken.credentials.as_mut().unwrap().secret = "not base64!".to_owned();
    assert!(!text(made(&broken, &[("level2", "level2")])).contains("not base64!"));
    assert_eq!(
        text(made(&settings(&[StreamKind::Order]), &[])),
        "coinbase: streams cannot be order; it can be so with the choice level2 = full"
    );
}

fn beat(sequence: u64, last_trade: u64) -> String {
    step(sequence, json!({"type":"heartbeat","last_trade_id":last_trade}))
}

fn trade(id: u64, sequence: u64) -> String {
    step(
        sequence,
        json!({"type":"match","trade_id":id,"side":"buy","size":"1","price":"100","maker_order_id":"m","taker_order_id":"t"}),
    )
}

#[test]
fn trades_that_a_heartbeat_tells_of_and_never_came_are_a_gap() {
    let mut run = Run::defined(&settings(&[StreamKind::Trade]), &[]);
    run.frame(&trade(10, 100));
    run.frame(&beat(102, 12));
    run.frame(&trade(11, 101));
    assert!(run.story().iter().all(|l| l.starts_with("trade")), "a heartbeat may overtake");
    run.frame(&beat(102, 12));
    assert_eq!(run.story(), ["gap trade sequence 12..12"]);
    run.frame(&trade(12, 102));
    run.frame(&trade(13, 103));
    assert_eq!(run.story().len(), 2, "should it come yet, it is told");
    assert_eq!((run.machine.counts().gaps, run.machine.counts().trades_repeated), (1, 0));

    let mut deaf = Run::defined(&settings(&[StreamKind::Trade]), &[("trade_tail", "ignore")]);
    deaf.frame(&trade(10, 100));
    deaf.frame(&beat(102, 12));
    deaf.frame(&beat(103, 12));
    assert_eq!(deaf.machine.counts().gaps, 0);
}

#[test]
fn a_sequence_that_falls_is_told() {
    let mut run = Run::defined(&settings(&[StreamKind::Trade]), &[]);
    run.frame(&trade(10, 100));
    run.frame(&trade(11, 99));
    let told = run.told(|l| match l {
        Line::Status(s) if s.reason == "sequence" => Some(s.text),
        _ => None,
    });
    assert_eq!(told, ["trade 11 has sequence 99, below 100"]);
    assert_eq!(run.machine.counts().sequences_back, 1);
}

#[test]
fn a_book_is_stale_only_when_the_product_moves() {
    let mut run = Run::defined(&settings(&[StreamKind::Book]), &[]);
    run.frame(r#"{"type":"snapshot","product_id":"BTC-USD","bids":[["1","1"]],"asks":[["2","1"]]}"#);
    let stale = |run: &mut Run, moves: u64| {
        for n in 0..60 {
            run.wait(Duration::from_secs(1));
            run.frame(&beat(100 + n * moves, 1));
        }
        run.machine.counts().stale
    };
    assert_eq!(stale(&mut run, 0), 0, "nothing happens: the book is whole");
    assert_eq!(stale(&mut run, 1), 1, "the product moves and its book is silent");
}

#[test]
fn a_time_of_the_year_one_is_none() {
    let mut run = Run::defined(&settings(&[StreamKind::Book]), &[]);
    run.frame(r#"{"type":"snapshot","product_id":"BTC-USD","bids":[["1","1"]],"asks":[["2","1"]]}"#);
    run.lines.clear();
    run.frame(r#"{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1","2"]],"time":"0001-01-01T00:00:00.000000Z"}"#);
    let now = run.now.0;
    let times = run.told(|l| if let Line::Book(b) = l { Some((b.ts_event, b.ts_recv)) } else { None });
    assert_eq!(times, [(now, now)]);
}

#[test]
fn refusals_are_told_in_the_venues_words() {
    let mut run = Run::defined(&settings(&[StreamKind::Book]), &[]);
    run.lines.clear();
    run.frame(
        r#"{"type":"error","message":"Failed to subscribe","reason":"level2 of BTC-USD requires authentication"}"#,
    );
    let told = run.told(|l| match l {
        Line::Status(s) => Some((s.symbol, s.stream, s.state, s.reason, s.text)),
        _ => None,
    });
    let some = |text: &str| Some(text.to_owned());
    let text = "Failed to subscribe: level2 of BTC-USD requires authentication";
    assert_eq!(told, [(some("BTC-USD"), some("book"), "down".to_owned(), "refused".to_owned(), text.to_owned())]);
}

#[test]
fn large_books_are_told_to_the_depth_asked_for() {
    let mut run = Run::defined(&Settings { snapshot_depth: 2, ..settings(&[StreamKind::Book]) }, &[]);
    run.lines.clear();
    run.frame(
        r#"{"type":"snapshot","product_id":"BTC-USD","bids":[["9","1"],["8","1"],["7","1"]],"asks":[["10","1"]]}"#,
    );
    run.frame(r#"{"type":"l2update","product_id":"BTC-USD","changes":[["buy","7","5"],["sell","11","0"]],"time":"2023-11-14T22:13:20.000000Z"}"#);
    let told = run.told(|l| if let Line::Book(b) = l { Some((b.capped, b.bids.len(), b.asks.len())) } else { None });
    assert_eq!(told, [(true, 2, 1), (false, 1, 1)], "later changes are all told");
    assert_eq!(run.machine.counts().absent_deletes, 1);
}

#[test]
fn endpoints_follow_the_choice_of_protocol() {
    let spec = |api: &str| venues::spec(Venue::Coinbase, &[("api".to_owned(), api.to_owned())]).map(|s| s.ws_url);
    assert_eq!(spec("exchange"), Ok("wss://ws-feed.exchange.coinbase.com"));
    assert_eq!(spec("advanced"), Ok("wss://advanced-trade-ws.coinbase.com"));
    assert!(spec("pro").is_err());
    assert_eq!(venues::spec(Venue::Coinbase, &[]).map(|s| s.ws_url), spec("exchange"));
}

/// Captures do not say which protocol they are of: the first frame that tells decides.
#[test]
fn captures_tell_their_protocol() {
    let told = |frames: &[&str]| {
        let mut machine = venues::machine(Venue::Coinbase, &Settings::default(), &[]).unwrap();
        let (mut out, mut lines, mut encoder) = (Outbox::new(), vec![], Encoder::new());
        for frame in frames {
            machine.on_frame(frame.as_bytes(), UnixNanos(1), &mut out).unwrap();
        }
        for words in &out.records {
            lines.extend(encoder.push(Envelope::default(), words).unwrap());
        }
        let ids = lines.into_iter().filter_map(|l| if let Line::Trade(t) = l { t.trade_id } else { None });
        (ids.collect::<Vec<_>>(), *machine.counts())
    };
    let error = r#"{"type":"error","message":"channel required"}"#;
    let advanced = r#"{"channel":"market_trades","client_id":"","timestamp":"2024-10-04T07:13:31.158696693Z","sequence_num":2,"events":[{"type":"update","trades":[{"product_id":"ETH-USDT","trade_id":"22381691","price":"2375.56","size":"0.5","time":"2024-10-04T07:13:31.088388Z","side":"BUY"}]}]}"#;
    let (ids, counts) = told(&[error, advanced]);
    assert_eq!((ids, counts.unknown_types), (vec!["22381691".to_owned()], 0));
    let exchange = trade(10, 100);
    let (ids, counts) = told(&[&exchange, advanced]);
    assert_eq!((ids, counts.unknown_types), (vec!["10".to_owned()], 1), "what was decided stays");
}
