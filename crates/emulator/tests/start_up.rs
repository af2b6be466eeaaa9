//! What clients ask a venue before they read its streams, in the venue's words: figures that agree with the streams,
//! refusals with the venue's own texts, limits, and a line in the log for every path that is not served, once.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use common::{connect, data, get, get_with, next, say, units};
use emulator::{EmulatedVenue, GeneratedSession, Handle, Hours, Options, Rate, Server, Session};
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const KEYS: &str = "APCA-API-KEY-ID: ALPHAPULSE-EMULATOR\r\nAPCA-API-SECRET-KEY: YWxwaGFwdWxzZS10ZXN0LXNlY3JldA==\r\n";

fn server(venue: EmulatedVenue) -> Handle {
    Server::start(Options { rate: Rate::FramesPerSecond(2000), ..Options::new(venue) }).expect("a server")
}

/// Lets the market run for some frames of a stream.
fn run(server: &Handle, path: &str, subscribe: &str, frames: usize) {
    let mut client = connect(server.addr(), path);
    if !subscribe.is_empty() {
        say(&mut client, subscribe);
    }
    (0..frames).for_each(|_| drop(next(&mut client)));
}

fn read(server: &Handle, target: &str) -> Value {
    let (status, head, body) = get_with(server.addr(), target, KEYS);
    assert_eq!(status, 200, "{target}: {head} {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{target}: {error}: {body}"))
}

fn number(value: &Value) -> i128 {
    units(value.as_str().unwrap_or_else(|| panic!("a text: {value}")))
}

#[test]
fn binances_tickers_agree_with_its_trades() {
    let server = server(EmulatedVenue::Binance);
    let before = read(&server, "/api/v3/ticker/24hr?symbol=BTCUSDT");
    assert_eq!(
        (&before["count"], &before["firstId"], &before["volume"]),
        (&json!(0), &json!(-1), &json!("0.00000000"))
    );
    run(&server, "/stream?streams=btcusdt@trade", "", 300);
    let trades = read(&server, "/api/v3/trades?symbol=BTCUSDT&limit=1000");
    let trades = trades.as_array().expect("trades");
    let day = read(&server, "/api/v3/ticker/24hr?symbol=BTCUSDT");
    let prices = || trades.iter().map(|trade| number(&trade["price"]));
    let volume: i128 = trades.iter().map(|trade| number(&trade["qty"])).sum();
    assert_eq!(day["count"], json!(trades.len()));
    assert_eq!((&day["firstId"], &day["lastId"]), (&trades[0]["id"], &trades[trades.len() - 1]["id"]));
    assert_eq!(number(&day["highPrice"]), prices().max().expect("some"));
    assert_eq!(number(&day["lowPrice"]), prices().min().expect("some"));
    assert_eq!(number(&day["volume"]), volume);
    assert_eq!((&day["openPrice"], &day["lastPrice"]), (&trades[0]["price"], &trades[trades.len() - 1]["price"]));
    let mini = read(&server, "/api/v3/ticker/24hr?type=MINI");
    assert!(mini.as_array().is_some_and(|list| list.len() == 3 && list[0]["bidPrice"].is_null()), "{mini}");
    for target in ["ticker?symbol=BTCUSDT&windowSize=1h", "ticker/tradingDay?symbol=BTCUSDT"] {
        assert_eq!(read(&server, &format!("/api/v3/{target}"))["count"], day["count"], "{target}");
    }
    let depth = read(&server, "/api/v3/depth?symbol=BTCUSDT&limit=1");
    let best = read(&server, "/api/v3/ticker/bookTicker?symbol=BTCUSDT");
    assert_eq!((&best["bidPrice"], &best["askQty"]), (&depth["bids"][0][0], &depth["asks"][0][1]));
    let average = number(&read(&server, "/api/v3/avgPrice?symbol=BTCUSDT")["price"]);
    assert!((number(&day["lowPrice"])..=number(&day["highPrice"])).contains(&average));
    // From a time on, and up to one.
    let middle = trades[150]["time"].as_u64().expect("a time");
    let after = read(&server, &format!("/api/v3/aggTrades?symbol=BTCUSDT&startTime={middle}&limit=1000"));
    let expected = trades.iter().filter(|trade| trade["time"].as_u64() >= Some(middle)).count();
    let fills = |entry: &Value| entry["l"].as_u64().expect("l") + 1 - entry["f"].as_u64().expect("f");
    assert_eq!(after.as_array().expect("a list").iter().map(fills).sum::<u64>(), expected as u64);
    let bars = read(&server, "/api/v3/klines?symbol=BTCUSDT&interval=1m&endTime=1");
    assert_eq!(bars, json!([]));
}

#[test]
fn binance_refuses_in_its_own_words() {
    let server = server(EmulatedVenue::Binance);
    for (target, code) in [
        ("ticker/price?symbol=btcusdt", -1100),
        ("ticker/price?symbol=NOPE", -1121),
        ("ticker/24hr?symbols=%5B%22NOPE%22%5D", -1121),
        ("ticker/24hr?symbols=x", -1100),
        ("ticker/24hr?symbol=BTCUSDT&symbols=%5B%5D", -1128),
        ("ticker/24hr?type=WIDE", -1139),
        ("ticker?windowSize=1h", -1102),
        ("ticker?symbol=BTCUSDT&windowSize=8d", -1130),
        ("avgPrice", -1102),
        ("aggTrades?symbol=BTCUSDT&fromId=1&startTime=2", -1128),
        ("klines?symbol=BTCUSDT&interval=1m&startTime=x", -1100),
        ("klines?symbol=BTCUSDT&interval=2m", -1120),
    ] {
        let (status, _, body) = get(server.addr(), &format!("/api/v3/{target}"));
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{target}: {error}: {body}"));
        assert_eq!((status, &body["code"]), (400, &json!(code)), "{target}: {body}");
    }
    assert_eq!(get(server.addr(), "/api/v3/account").0, 401);
    let (status, head, body) = get(server.addr(), "/api/v3/nothing");
    assert!(status == 404 && head.contains("text/html") && body.contains("nginx"), "{head} {body}");
}

#[test]
fn who_asks_on_after_a_429_is_banned() {
    let mut options = Options::new(EmulatedVenue::Binance);
    options.limits.weight_per_minute = 40;
    let server = Server::start(options).expect("a server");
    // More than a ban takes, twice over: a minute may end in between.
    let answers: Vec<_> = (0..60).map(|_| get(server.addr(), "/api/v3/exchangeInfo")).collect();
    let first = answers.iter().position(|(status, ..)| *status == 429).expect("a limit");
    let (_, head, body) = answers.iter().find(|(status, ..)| *status == 418).expect("a ban");
    assert!(answers[first].2.contains("-1003") && answers[first].1.contains("Retry-After: "), "{}", answers[first].2);
    assert!(head.contains("Retry-After: ") && body.contains("banned until"), "{head} {body}");
    assert_eq!(get(server.addr(), "/api/v3/ping").0, 418, "a ban is for everything");
}

#[test]
fn krakens_figures_agree_with_its_trades() {
    let server = server(EmulatedVenue::Kraken);
    run(&server, "/v2", r#"{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}"#, 200);
    let assets = &read(&server, "/0/public/Assets")["result"];
    assert_eq!((&assets["XXBT"]["altname"], &assets["ZUSD"]["decimals"]), (&json!("XBT"), &json!(4)));
    assert_eq!(read(&server, "/0/public/Assets?asset=NOPE")["error"], json!(["EQuery:Unknown asset"]));
    let trades = &read(&server, "/0/public/Trades?pair=XBTUSD")["result"]["XXBTZUSD"];
    let trades = trades.as_array().expect("trades");
    let ticker = &read(&server, "/0/public/Ticker?pair=XBTUSD")["result"]["XXBTZUSD"];
    assert_eq!(ticker["t"][1], json!(trades.len()));
    assert_eq!(number(&ticker["v"][1]), trades.iter().map(|trade| number(&trade[1])).sum::<i128>());
    assert_eq!(ticker["c"][0], trades[trades.len() - 1][0]);
    assert_eq!(number(&ticker["h"][1]), trades.iter().map(|trade| number(&trade[0])).max().expect("some"));
    let depth = &read(&server, "/0/public/Depth?pair=XBTUSD&count=1")["result"]["XXBTZUSD"];
    assert_eq!((&ticker["a"][0], &ticker["b"][2]), (&depth["asks"][0][0], &depth["bids"][0][1]));
    let spread = &read(&server, "/0/public/Spread?pair=XBTUSD")["result"]["XXBTZUSD"];
    assert_eq!((&spread[0][1], &spread[0][2]), (&depth["bids"][0][0], &depth["asks"][0][0]));
    let bars = &read(&server, "/0/public/OHLC?pair=XBTUSD&interval=21600")["result"]["XXBTZUSD"];
    let count: u64 = bars.as_array().expect("bars").iter().map(|bar| bar[7].as_u64().expect("a count")).sum();
    assert_eq!(count, trades.len() as u64);
    for (target, error) in [
        ("public/OHLC?pair=XBTUSD&interval=7", "EGeneral:Invalid arguments"),
        ("public/Ticker?pair=NOPE", "EQuery:Unknown asset pair"),
        ("public/Spread", "EGeneral:Invalid arguments"),
        ("private/GetWebSocketsToken", "EAPI:Invalid key"),
        ("private/Nothing", "EGeneral:Unknown method"),
    ] {
        assert_eq!(read(&server, &format!("/0/{target}"))["error"], json!([error]), "{target}");
    }
}

#[test]
fn coinbase_tells_assets_stats_and_what_they_are_worth() {
    let server = server(EmulatedVenue::Coinbase);
    assert_eq!(get(server.addr(), "/products/BTC-USD/stats").0, 404, "nothing was traded yet");
    run(&server, "/", r#"{"type":"subscribe","channels":["matches"],"product_ids":["BTC-USD"]}"#, 100);
    let trades = read(&server, "/products/BTC-USD/trades");
    let stats = read(&server, "/products/BTC-USD/stats");
    assert_eq!(stats["last"], trades[0]["price"]);
    let sum: i128 = trades.as_array().expect("trades").iter().map(|trade| number(&trade["size"])).sum();
    assert_eq!(number(&stats["volume"]), sum);
    let currencies = read(&server, "/currencies");
    assert!(currencies.as_array().is_some_and(|list| list.iter().any(|one| one["id"] == "USD")), "{currencies}");
    assert_eq!(read(&server, "/currencies/BTC")["details"]["type"], "crypto");
    assert_eq!(read(&server, "/v2/currencies")["data"][0]["id"], "USD");
    assert_eq!(read(&server, "/v2/currencies/crypto")["data"][0]["code"], "BTC");
    let rates = read(&server, "/v2/exchange-rates");
    let worth = number(&rates["data"]["rates"]["BTC"]);
    assert!((10_000_000..25_000_000).contains(&worth), "a dollar buys {worth} trillionths of a bitcoin");
}

#[test]
fn coinbase_counts_requests_and_says_when_they_are_too_many() {
    let mut options = Options::new(EmulatedVenue::Coinbase);
    // One more comes after a long time only, so that the count does not hang on how fast this runs.
    options.limits.requests_per_s = 1;
    let server = Server::start(options).expect("a server");
    let answers: Vec<_> = (0..40).map(|_| get(server.addr(), "/time")).collect();
    let (_, head, body) = answers.iter().find(|(status, ..)| *status == 429).expect("a limit");
    assert!(head.contains("Retry-After: ") && body == r#"{"message":"Public rate limit exceeded"}"#, "{head} {body}");
    let (_, head, body) = loop {
        let answer = get(server.addr(), "/api/v3/brokerage/market/products");
        if answer.0 == 429 {
            break answer;
        }
    };
    assert!(head.contains("x-ratelimit-remaining: 0") && body.contains("rate_limit_exceeded"), "{head} {body}");
}

#[test]
fn alpaca_tells_clock_calendar_account_and_snapshots() {
    let server = server(EmulatedVenue::Alpaca);
    assert_eq!(read(&server, "/v2/clock")["is_open"], true);
    let calendar = read(&server, "/v2/calendar?start=2026-02-27&end=2026-03-02");
    let dates: Vec<_> = calendar.as_array().expect("days").iter().map(|day| day["date"].clone()).collect();
    assert_eq!(dates, ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]);
    assert_eq!(read(&server, "/v2/account")["status"], "ACTIVE");
    assert_eq!((read(&server, "/v2/positions"), read(&server, "/v2/orders")), (json!([]), json!([])));
    let empty = read(&server, "/v2/stocks/snapshots?symbols=AAPL,SPY");
    assert!(empty["AAPL"]["latestQuote"]["bp"].is_number() && empty["AAPL"]["latestTrade"].is_null(), "{empty}");
    let (status, _, body) = get_with(server.addr(), "/v2/calendar?start=never", KEYS);
    assert!(status == 422 && body.contains("42210000"), "{body}");
    let (status, head, _) =
        get_with(server.addr(), "/v2/clock", "Authorization: Basic QUxQSEFQVUxTRS1FTVVMQVRPUjpub25l\r\n");
    assert!(status == 403 && head.contains("X-RateLimit-Limit: 200"), "{head}");
}

#[test]
fn alpacas_calendar_is_the_recorded_one_where_stocks_keep_the_exchanges_hours() {
    let Some(file) = data("calendar/alpaca_sessions_20200306_20201225.jsonl") else { return };
    let session = GeneratedSession { hours: Hours::Exchange, ..GeneratedSession::default() };
    let options = Options { session: Session::Generated(session), ..Options::new(EmulatedVenue::Alpaca) };
    let server = Server::start(options).expect("a server");
    let text = std::fs::read_to_string(file).expect("a file of text");
    let recorded: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let ours = read(&server, "/v2/calendar?start=2020-03-06&end=2020-12-24");
    let days = ours.as_array().expect("days");
    assert_eq!(days.len(), recorded.len());
    for (ours, recorded) in days.iter().zip(&recorded) {
        for field in ["date", "open", "close"] {
            assert_eq!(ours[field], recorded[field], "{recorded}");
        }
    }
    assert!(read(&server, "/v2/clock")["timestamp"].as_str().is_some_and(|text| text.ends_with(":00")));
}

#[test]
fn alpacas_limit_is_a_minutes() {
    let mut options = Options::new(EmulatedVenue::Alpaca);
    options.limits.requests_per_minute = 3;
    options.account.sip = false;
    let server = Server::start(options).expect("a server");
    let answers: Vec<_> = (0..5).map(|_| get_with(server.addr(), "/v2/clock", KEYS)).collect();
    let (_, head, body) = answers.iter().find(|(status, ..)| *status == 429).expect("a limit");
    assert!(head.contains("X-RateLimit-Remaining: 0") && head.contains("Retry-After: "), "{head}");
    assert_eq!(body, r#"{"code":42910000,"message":"rate limit exceeded"}"#);
    // Data are counted apart.
    let data: Vec<_> =
        (0..5).map(|_| get_with(server.addr(), "/v2/stocks/trades/latest?symbols=AAPL&feed=iex", KEYS)).collect();
    assert_eq!(data[0].0, 200, "{}", data[0].2);
    let (_, _, body) = data.iter().find(|(status, ..)| *status == 429).expect("a limit");
    assert_eq!(body, r#"{"message":"too many requests."}"#);
}

#[test]
fn answers_are_compressed_for_clients_that_take_it() {
    for deflate in [true, false] {
        let server = Server::start(Options { deflate, ..Options::new(EmulatedVenue::Binance) }).expect("a server");
        let plain = get(server.addr(), "/api/v3/depth?symbol=BTCUSDT").2;
        let ask = |accepted: &str, path: &str| {
            let mut socket = TcpStream::connect(server.addr()).expect("the emulator listens");
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {accepted}\r\nConnection: close\r\n\r\n");
            socket.write_all(request.as_bytes()).expect("a request");
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).expect("an answer");
            let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
            (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end..].to_vec())
        };
        let (head, body) = ask("br;q=1.0, gzip;q=0.8", "/api/v3/depth?symbol=BTCUSDT");
        assert_eq!(head.contains("Content-Encoding: gzip"), deflate, "{head}");
        let mut text = String::new();
        match deflate {
            true => drop(flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut text).expect("gzip")),
            false => text = String::from_utf8(body).expect("text"),
        }
        assert_eq!(text, plain);
        for (accepted, path) in [("identity", "/api/v3/depth?symbol=BTCUSDT"), ("gzip", "/api/v3/ping")] {
            assert!(!ask(accepted, path).0.contains("Content-Encoding"), "{accepted} {path}");
        }
    }
}

/// Keeps the paths that were logged as not served.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<String>>>);

impl Visit for Logged {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "path" {
            self.0.lock().expect("no panic").push(value.to_owned());
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl Subscriber for Logged {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_path_that_is_not_served_is_logged_by_name_once() {
    let logged = Logged::default();
    tracing::subscriber::set_global_default(logged.clone()).expect("the only subscriber of this process");
    for (venue, path, status) in [
        (EmulatedVenue::Kraken, "/0/public/Unheard", 200),
        (EmulatedVenue::Binance, "/api/v3/unheard", 404),
        (EmulatedVenue::Coinbase, "/unheard-of", 404),
        (EmulatedVenue::Coinbase, "/api/v3/brokerage/market/unheard", 404),
        (EmulatedVenue::Alpaca, "/v2/unheard", 404),
    ] {
        let server = server(venue);
        for _ in 0..3 {
            assert_eq!(get_with(server.addr(), path, KEYS).0, status, "{path}");
        }
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for _ in 0..2 {
            let stream = format!("/no-stream-of-{}", venue.name());
            assert_eq!(get_with(server.addr(), &stream, upgrade).0, 404, "{stream}");
        }
        // What is known, but not there, is no path that is not served.
        let known = if venue == EmulatedVenue::Kraken { "/0/public/Ticker?pair=NOPE" } else { "/products/XX-YY" };
        if matches!(venue, EmulatedVenue::Kraken | EmulatedVenue::Coinbase) {
            get(server.addr(), known);
        }
    }
    let mut paths = logged.0.lock().expect("no panic").clone();
    paths
        .retain(|path| path.to_lowercase().contains("unheard") || path.contains("no-stream-of") || path.contains("XX"));
    paths.sort();
    assert_eq!(
        paths,
        [
            "/0/public/Unheard",
            "/api/v3/brokerage/market/unheard",
            "/api/v3/unheard",
            "/no-stream-of-alpaca",
            "/no-stream-of-binance",
            "/no-stream-of-coinbase",
            "/no-stream-of-coinbase",
            "/no-stream-of-kraken",
            "/unheard-of",
            "/v2/unheard",
        ]
    );
}
