//! The recorded Advanced Trade session through the machine, against the counts of the data's own README, the proofs its
//! protocol offers, and the numbers of the frames as another JSON reader sees them.
#![allow(clippy::unwrap_used)]

use flate2::read::GzDecoder;
use model::{Decimal, StreamKind, UnixNanos, Venue};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use venues::coinbase::advanced;
use venues::{Counts, Input, Outbox, Reply, Session, SessionSettings, Settings};
use wire::json::{BarLine, BookLine, Encoder, GapLine, Line, QuoteLine, StatusLine, TradeLine};
use wire::{Envelope, Origin};

/// Where a folder of the shared data is; `None`, said aloud, when it is not there.
fn folder(test: &str, name: &str) -> Option<PathBuf> {
    let root = std::env::var("ALPHAPULSE_TEST_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let path = root.join("venues/coinbase").join(name);
    if !path.is_dir() {
        println!("SKIPPED {test}: {} is not there", path.display());
        return None;
    }
    println!("{test}: {}", path.display());
    Some(path)
}

fn gunzipped(path: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// The recorded session: its frames, and when each was received.
fn capture(folder: &Path) -> (String, Vec<UnixNanos>) {
    let text = gunzipped(&folder.join("all_channels_20260809.jsonl.gz"));
    let rows = std::fs::read_to_string(folder.join("all_channels_20260809.recv.tsv")).unwrap();
    let time = |row: &str| row.split('\t').nth(1).unwrap().parse::<Decimal>().unwrap().at_scale(9).unwrap();
    let received: Vec<UnixNanos> = rows.lines().skip(1).map(|row| UnixNanos(time(row) as u64)).collect();
    assert_eq!(text.lines().count(), received.len());
    (text, received)
}

/// What a session gave.
struct Decoded {
    lines: Vec<Line>,
    counts: Counts,
    /// Frame number and reason of each frame that was set aside.
    rejects: Vec<(u64, String)>,
    reconnect: bool,
}

impl Decoded {
    fn pick<'a, T: 'a>(&'a self, pick: impl Fn(&'a Line) -> Option<T>) -> Vec<T> {
        self.lines.iter().filter_map(pick).collect()
    }
    fn trades(&self) -> Vec<&TradeLine> {
        self.pick(|l| if let Line::Trade(t) = l { Some(t) } else { None })
    }
    fn books(&self) -> Vec<&BookLine> {
        self.pick(|l| if let Line::Book(b) = l { Some(b) } else { None })
    }
    fn quotes(&self) -> Vec<&QuoteLine> {
        self.pick(|l| if let Line::Quote(q) = l { Some(q) } else { None })
    }
    fn bars(&self) -> Vec<&BarLine> {
        self.pick(|l| if let Line::Bar(b) = l { Some(b) } else { None })
    }
    fn gaps(&self) -> Vec<&GapLine> {
        self.pick(|l| if let Line::Gap(g) = l { Some(g) } else { None })
    }
    fn statuses(&self) -> Vec<&StatusLine> {
        self.pick(|l| if let Line::Status(s) = l { Some(s) } else { None })
    }
}

/// A session and what it told so far.
struct Player {
    session: Session,
    out: Outbox,
    encoder: Encoder,
    sequence: u64,
    told: Decoded,
    sent: Vec<String>,
}

impl Player {
    fn new(settings: &Settings, choices: &[(String, String)]) -> Player {
        let machine = advanced::machine(settings, choices).unwrap();
        let told = Decoded { lines: vec![], counts: Counts::default(), rejects: vec![], reconnect: false };
        let session = Session::new(machine, SessionSettings::default());
        let mut p = Player { session, out: Outbox::new(), encoder: Encoder::new(), sequence: 0, told, sent: vec![] };
        let start = Input::Start { epoch: 1, pid: 1, origin: Origin::Live, site: "test", build: "test" };
        p.step(start, UnixNanos(1));
        p
    }

    fn step(&mut self, input: Input<'_>, now: UnixNanos) {
        if let Some(q) = self.session.step(input, now, &mut self.out) {
            self.told.rejects.push((q.frame, q.error.to_string()));
        }
        for words in &self.out.records {
            self.sequence += 1;
            let at = Envelope { epoch: 1, sequence: self.sequence };
            self.told.lines.extend(self.encoder.push(at, words).unwrap());
        }
        self.sent.extend(self.out.frames.iter().map(|f| f.as_text().unwrap().to_owned()));
        self.told.reconnect |= self.out.reconnect.is_some();
        self.told.counts = *self.session.machine().counts();
        self.out.records.clear();
        self.out.frames.clear();
    }

    fn decode<'a>(mut self, frames: impl Iterator<Item = (&'a str, UnixNanos)>) -> Decoded {
        for (frame, received) in frames {
            self.step(Input::Frame(frame.as_bytes()), received);
        }
        self.told
    }
}

/// Every level of every snapshot is told.
fn whole() -> Settings {
    Settings { snapshot_depth: u32::MAX, ..Settings::default() }
}

/// The frames as they are written.
#[derive(Deserialize)]
struct Frame<'a> {
    channel: &'a str,
    timestamp: &'a str,
    sequence_num: u64,
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", default)]
    kind: &'a str,
    #[serde(default)]
    product_id: &'a str,
    #[serde(borrow, default)]
    updates: Vec<Level<'a>>,
    #[serde(borrow, default)]
    trades: Vec<Trade<'a>>,
    #[serde(borrow, default)]
    tickers: Vec<Ticker<'a>>,
    #[serde(borrow, default)]
    candles: Vec<Candle<'a>>,
    heartbeat_counter: Option<u64>,
}

#[derive(Deserialize)]
struct Level<'a> {
    side: &'a str,
    event_time: &'a str,
    price_level: &'a str,
    new_quantity: &'a str,
}

#[derive(Deserialize)]
struct Trade<'a> {
    product_id: &'a str,
    trade_id: &'a str,
    price: &'a str,
    size: &'a str,
    time: &'a str,
    side: &'a str,
}

#[derive(Deserialize)]
struct Ticker<'a> {
    product_id: &'a str,
    best_bid: &'a str,
    best_bid_quantity: &'a str,
    best_ask: &'a str,
    best_ask_quantity: &'a str,
}

#[derive(Deserialize, Clone)]
struct Candle<'a> {
    product_id: &'a str,
    start: &'a str,
    open: &'a str,
    high: &'a str,
    low: &'a str,
    close: &'a str,
    volume: &'a str,
}

fn parsed(text: &str) -> Vec<Frame<'_>> {
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[track_caller]
fn same(told: &str, written: &str) {
    assert_eq!(told.parse::<Decimal>().unwrap(), written.parse::<Decimal>().unwrap());
}

#[track_caller]
fn same_time(told: u64, written: &str) {
    let (nanos, _) = scan::rfc3339_nanos(written.as_bytes()).unwrap();
    assert_eq!(told, nanos, "{written}");
}

#[track_caller]
fn same_levels(told: &[[String; 2]], written: &[Level<'_>], side: &str) {
    let written: Vec<&Level<'_>> = written.iter().filter(|l| l.side == side).collect();
    assert_eq!(told.len(), written.len());
    for ([price, size], level) in told.iter().zip(written) {
        same(price, level.price_level);
        same(size, level.new_quantity);
    }
}

#[test]
fn the_recorded_session_is_whole() {
    let Some(folder) = folder("the_recorded_session_is_whole", "advanced_ws") else { return };
    let (text, received) = capture(&folder);
    let d = Player::new(&whole(), &[]).decode(text.lines().zip(received));
    let frames = parsed(&text);
    assert_eq!(d.rejects.first(), None, "of {}", d.rejects.len());
    let c = d.counts;
    // The README's counts: 2 of the 465 book frames are snapshots, 5 acknowledgements, 15 heartbeats, 103 tickers.
    assert_eq!((c.frames, c.book_snapshots, c.book_updates), (635, 2, 463));
    assert_eq!((c.acks, c.heartbeats, c.quotes), (5, 15, 103));
    assert_eq!((c.unknown_types, c.unused_types, c.unknown_fields, c.unknown_symbols, c.refusals), (0, 0, 0, 0, 0));
    // Each frame follows the one before it, and each heartbeat: a hole in either would be a gap.
    assert_eq!((c.sequences_ok, c.frames_old, c.gaps), (634, 0, 0));
    assert!(d.gaps().is_empty());
    assert!(frames.iter().map(|f| f.sequence_num).eq(0..635));
    let beats: Vec<u64> = frames.iter().flat_map(|f| &f.events).filter_map(|e| e.heartbeat_counter).collect();
    assert!(beats.windows(2).all(|w| w[1] == w[0] + 1) && beats.len() == 15);
    assert_eq!(c.crossed, 0);
    assert!(!d.reconnect);
    // Snapshots that teach scales, candles and acknowledgements are read exactly, all else by the fixed order.
    assert!(c.slow_path <= 12, "{} frames took the exact path", c.slow_path);
}

#[test]
fn every_level_is_told_as_written_and_books_are_never_crossed() {
    let name = "every_level_is_told_as_written_and_books_are_never_crossed";
    let Some(folder) = folder(name, "advanced_ws") else { return };
    let (text, received) = capture(&folder);
    let d = Player::new(&whole(), &[]).decode(text.lines().zip(received.iter().copied()));
    let frames = parsed(&text);
    let written: Vec<(&Frame<'_>, UnixNanos)> =
        frames.iter().zip(received).filter(|(f, _)| f.channel == "l2_data").collect();
    let told = d.books();
    assert_eq!(told.len(), written.len());
    let mut books: BTreeMap<&str, [BTreeMap<i64, i64>; 2]> = BTreeMap::new();
    let mut absent = 0;
    for (line, (frame, received)) in told.iter().zip(written) {
        let event = &frame.events[0];
        assert_eq!((line.kind.as_str(), line.symbol.as_str(), line.trusted), (event.kind, event.product_id, true));
        assert_eq!(line.ts_recv, received.0);
        same_time(line.ts_event, event.updates[0].event_time);
        same_levels(&line.bids, &event.updates, "bid");
        same_levels(&line.asks, &event.updates, "offer");
        let book = books.entry(event.product_id).or_default();
        if event.kind == "snapshot" {
            *book = Default::default();
            assert_eq!((line.depth, line.capped), (None, false));
        }
        for (side, told) in [(0, &line.bids), (1, &line.asks)] {
            for [price, size] in told {
                let at = |text: &str| text.parse::<Decimal>().unwrap().at_scale(8).unwrap();
                match at(size) {
                    0 => absent += u64::from(book[side].remove(&at(price)).is_none()),
                    size => drop(book[side].insert(at(price), size)),
                }
            }
        }
        let (bid, ask) = (book[0].keys().next_back().unwrap(), book[1].keys().next().unwrap());
        assert!(bid < ask, "{} crossed at frame {}", event.product_id, frame.sequence_num);
    }
    // Levels that came and went between two messages.
    assert_eq!((d.counts.absent_deletes, absent), (30, 30));
}

#[test]
fn every_trade_is_told_once_and_none_is_missing() {
    let Some(folder) = folder("every_trade_is_told_once_and_none_is_missing", "advanced_ws") else { return };
    let (text, received) = capture(&folder);
    let frames = parsed(&text);
    for (choice, turns) in [("maker", true), ("taker", false)] {
        let choices = [("market_trades_side".to_owned(), choice.to_owned())];
        let d = Player::new(&whole(), &choices).decode(text.lines().zip(received.iter().copied()));
        let mut written: BTreeMap<(&str, u64), &Trade<'_>> = BTreeMap::new();
        for trade in frames.iter().flat_map(|f| &f.events).flat_map(|e| &e.trades) {
            written.insert((trade.product_id, trade.trade_id.parse().unwrap()), trade);
        }
        let told = d.trades();
        assert_eq!(told.len(), written.len(), "each once");
        assert_eq!(d.counts.trades as usize, written.len());
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for line in told {
            let id: u64 = line.trade_id.as_deref().unwrap().parse().unwrap();
            if let Some(before) = last.insert(&line.symbol, id) {
                assert_eq!(id, before + 1, "{}: oldest first, and complete", line.symbol);
            }
            let trade = written[&(line.symbol.as_str(), id)];
            same(&line.price, trade.price);
            same(&line.size, trade.size);
            same_time(line.ts_event, trade.time);
            let side = match (trade.side, turns) {
                ("BUY", false) | ("SELL", true) => "buy",
                _ => "sell",
            };
            assert_eq!((line.side.as_str(), line.side_source.as_str()), (side, "disputed"));
        }
        assert_eq!(last.len(), 2);
    }
}

#[test]
fn every_quote_and_candle_is_told_as_written() {
    let Some(folder) = folder("every_quote_and_candle_is_told_as_written", "advanced_ws") else { return };
    let (text, received) = capture(&folder);
    let d = Player::new(&whole(), &[]).decode(text.lines().zip(received));
    let frames = parsed(&text);
    let tickers = frames.iter().flat_map(|f| f.events.iter().flat_map(move |e| e.tickers.iter().map(move |t| (f, t))));
    let told = d.quotes();
    assert_eq!(told.len(), tickers.clone().count());
    for (line, (frame, ticker)) in told.iter().zip(tickers) {
        assert_eq!(line.symbol, ticker.product_id);
        same_time(line.ts_event, frame.timestamp);
        same(line.bid.as_deref().unwrap(), ticker.best_bid);
        same(line.bid_size.as_deref().unwrap(), ticker.best_bid_quantity);
        same(line.ask.as_deref().unwrap(), ticker.best_ask);
        same(line.ask_size.as_deref().unwrap(), ticker.best_ask_quantity);
    }

    // Closed candles are told once; the open one of each product once in the snapshot and once in each update.
    let told = d.bars();
    let candles: Vec<&Candle<'_>> = frames.iter().flat_map(|f| &f.events).flat_map(|e| &e.candles).collect();
    assert_eq!(candles.len(), 202);
    assert_eq!((told.len(), told.iter().filter(|b| b.closed).count()), (202, 198));
    let key = |symbol: &str, open: u64, close: &str, volume: &str| {
        (
            symbol.to_owned(),
            open,
            close.parse::<Decimal>().unwrap().to_string(),
            volume.parse::<Decimal>().unwrap().to_string(),
        )
    };
    let mut written: BTreeSet<_> = BTreeSet::new();
    let mut figures = BTreeMap::new();
    for c in candles {
        let start = c.start.parse::<u64>().unwrap() * 1_000_000_000;
        let key = key(c.product_id, start, c.close, c.volume);
        figures.insert(key.clone(), c.clone());
        written.insert(key);
    }
    for line in told {
        let key = key(&line.symbol, line.ts_open, &line.close, &line.volume);
        assert!(written.contains(&key), "{key:?}");
        let c = &figures[&key];
        same(&line.open, c.open);
        same(&line.high, c.high);
        same(&line.low, c.low);
        assert_eq!(line.interval_s, 300);
    }
}

/// A hole cut into the recorded session: both books are suspect and told so, trades are not touched, and what the
/// capture says afterwards of books nobody mends is not told.
#[test]
fn a_frame_cut_out_of_the_session_is_noticed() {
    let Some(folder) = folder("a_frame_cut_out_of_the_session_is_noticed", "advanced_ws") else { return };
    let (text, received) = capture(&folder);
    let cut = |n: &usize| *n != 300;
    let frames = text.lines().zip(received).enumerate().filter(|(n, _)| cut(n)).map(|(_, f)| f);
    let d = Player::new(&whole(), &[]).decode(frames);
    let gaps = d.gaps();
    assert_eq!(gaps.iter().filter(|g| g.stream == "book").count(), 2);
    let suspect: Vec<&str> = d.statuses().iter().filter(|s| s.state == "suspect").map(|s| s.text.as_str()).collect();
    assert_eq!(suspect, ["sequence_num 300 to 300 are missing on the connection"; 2]);
    assert!(d.counts.book_updates < 463 && d.counts.book_updates_old > 0);
}

#[derive(Deserialize)]
struct Exchange {
    body: String,
}

/// The recorded list of products defines what is configured; another name of a market is told as itself.
#[test]
fn the_recorded_products_define_what_is_configured() {
    let Some(folder) = folder("the_recorded_products_define_what_is_configured", "rest") else { return };
    let text = gunzipped(&folder.join("advanced_products_20260809.http.jsonl.gz"));
    let exchange: Exchange = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let list: serde_json::Value = serde_json::from_str(&exchange.body).unwrap();
    let symbols: Vec<String> =
        list["products"].as_array().unwrap().iter().map(|p| p["product_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(symbols.len(), 920);
    let streams = vec![StreamKind::Trade, StreamKind::Book];
    let settings = Settings { symbols, streams, ..Settings::default() };
    let mut p = Player::new(&settings, &[]);
    p.step(Input::Connected, UnixNanos(2));
    let id = p.out.requests[0].id;
    assert_eq!(p.out.requests[0].path, "/api/v3/brokerage/market/products");
    let body = exchange.body.as_bytes();
    p.step(Input::Response(id, Reply::Http { status: 200, body, retry_after: None }), UnixNanos(3));
    let told = p.told.pick(|l| if let Line::Instrument(i) = l { Some(i) } else { None });
    let aliases = list["products"].as_array().unwrap().iter().filter(|l| l["alias"] != "").count();
    assert_eq!((aliases, told.len()), (400, 520), "a market configured under two names is told under its own");
    let refused: Vec<_> = p.told.statuses().into_iter().filter(|s| s.reason == "refused").collect();
    assert_eq!(refused.len(), 400);
    assert!(
        refused
            .iter()
            .any(|s| s.text == "BTC-USDC is another name of BTC-USD, whose market data is told as BTC-USD already")
    );
    for i in told {
        let written =
            list["products"].as_array().unwrap().iter().find(|l| l["product_id"] == i.venue_symbol.as_str()).unwrap();
        let text = |field: &str| written[field].as_str().unwrap().to_owned();
        assert_eq!((&i.base, &i.quote), (&text("base_currency_id"), &text("quote_currency_id")));
        for (told, field) in [
            (&i.tick, "price_increment"),
            (&i.lot, "base_increment"),
            (&i.min_size, "base_min_size"),
            (&i.min_notional, "quote_min_size"),
        ] {
            same(told.as_deref().unwrap_or("0"), &text(field));
        }
        let status = match (text("status").as_str(), written["limit_only"].as_bool().unwrap()) {
            ("delisted", _) => "delisted",
            (_, true) => "restricted",
            _ => "trading",
        };
        assert_eq!(i.status, status, "{}", i.symbol);
    }
    assert_eq!(p.session.machine().venue(), Venue::Coinbase);
}

/// A client configured with the other name is not left waiting: the market's data is told under the name asked for.
#[test]
fn data_of_an_alias_is_told_under_the_name_asked_for() {
    let Some(rest) = folder("data_of_an_alias_is_told_under_the_name_asked_for", "rest") else { return };
    let Some(ws) = folder("data_of_an_alias_is_told_under_the_name_asked_for", "advanced_ws") else { return };
    let text = gunzipped(&rest.join("advanced_products_20260809.http.jsonl.gz"));
    let exchange: Exchange = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let symbols = vec!["BTC-USDC".to_owned(), "eth/usd".to_owned()];
    let mut p = Player::new(&Settings { symbols, bar_interval_s: 300, ..whole() }, &[]);
    p.step(Input::Connected, UnixNanos(2));
    let (id, body) = (p.out.requests[0].id, exchange.body.as_bytes());
    p.step(Input::Response(id, Reply::Http { status: 200, body, retry_after: None }), UnixNanos(3));
    assert!(p.sent.iter().all(|f| !f.contains("USDC")), "{:?}", p.sent);
    assert_eq!(p.sent[0], r#"{"type":"subscribe","channel":"heartbeats"}"#, "first, and at once");
    let book = r#"{"type":"subscribe","product_ids":["ETH-USD","BTC-USD"],"channel":"level2"}"#;
    assert!(p.sent.iter().any(|f| f == book), "{:?}", p.sent);
    let (text, received) = capture(&ws);
    let d = p.decode(text.lines().zip(received));
    assert_eq!(d.rejects.first(), None);
    assert_eq!((d.counts.unknown_symbols, d.counts.book_updates), (0, 463));
    assert!(d.trades().iter().all(|t| t.symbol == "BTC-USDC" || t.symbol == "ETH-USD"));
    assert!(d.books().iter().any(|b| b.symbol == "BTC-USDC"));
    assert_eq!(d.counts.slow_path, 0, "with definitions every hot frame is read in the fixed order");
}

/// The frames of the venue's documentation, as others wrote them down; bodies of REST answers stand among them.
#[test]
fn documented_frames_are_read() {
    let Some(folder) = folder("documented_frames_are_read", "examples") else { return };
    let text = std::fs::read_to_string(folder.join("advanced_docs_rest_and_ws.jsonl")).unwrap();
    let frames: Vec<&str> = text.lines().filter(|l| l.contains(r#""channel":"#)).collect();
    assert_eq!(frames.len(), 8);
    let d = Player::new(&whole(), &[]).decode(frames.into_iter().zip((2..).map(UnixNanos)));
    assert_eq!(d.rejects.first(), None, "of {}", d.rejects.len());
    let c = d.counts;
    assert_eq!((c.bars, c.heartbeats, c.book_snapshots, c.book_updates), (1, 1, 1, 1));
    assert_eq!((c.trades, c.acks, c.quotes, c.unused_types, c.unknown_types), (2, 1, 1, 1, 0));
    // Numbered each for itself, so they show holes and beginnings where a session has none.
    assert_eq!(c.gaps, d.gaps().len() as u64);

    // Bodies of REST answers are no frames: passed over as unknown, none refused.
    let bodies = text.lines().filter(|l| !l.contains(r#""channel":"#));
    let d = Player::new(&whole(), &[]).decode(bodies.zip((2..).map(UnixNanos)));
    assert_eq!((d.rejects.len(), d.counts.unknown_types), (0, 10));
}
