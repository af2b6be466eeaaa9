//! What an emulator's journal says it sent, by our own reading of the venues' documents: nothing of the decoders is used.

use super::common::journal::number;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A venue's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    CoinbaseExchange,
    CoinbaseAdvanced,
    Alpaca,
    KrakenV1,
    Binance,
}

/// One message about a book: all of it, or changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookFrame {
    pub is_whole: bool,
    pub bids: Vec<(String, String)>,
    pub asks: Vec<(String, String)>,
}

/// One step of a book of orders, Coinbase's.
#[derive(Clone, Debug)]
pub struct OrderStep {
    pub sequence: u64,
    pub frame: Value,
}

/// All that was sent, by symbol as we tell it.
#[derive(Default)]
pub struct Sent {
    /// Id (empty where the venue has none) and what else is told of a trade.
    pub trades: BTreeMap<String, Vec<(String, String)>>,
    pub books: BTreeMap<String, Vec<BookFrame>>,
    pub quotes: BTreeMap<String, Vec<String>>,
    pub orders: BTreeMap<String, Vec<OrderStep>>,
    /// Corrections and cancels by the id of their trade.
    pub corrections: BTreeMap<String, Vec<String>>,
}

impl Sent {
    /// Reads the journals of all connections, in the order in which those were made.
    pub fn read(folder: &Path, protocol: Protocol) -> Sent {
        let mut sent = Sent::default();
        for file in connections(folder) {
            for line in fs::read_to_string(&file).expect("a journal").lines() {
                let frame: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
                match protocol {
                    Protocol::CoinbaseExchange => sent.coinbase_exchange(&frame),
                    Protocol::CoinbaseAdvanced => sent.coinbase_advanced(&frame),
                    Protocol::Alpaca => frame.as_array().into_iter().flatten().for_each(|m| sent.alpaca(m)),
                    Protocol::KrakenV1 => sent.kraken_v1(&frame),
                    Protocol::Binance => sent.binance(&frame),
                }
            }
        }
        sent
    }

    fn trade(&mut self, symbol: &str, id: &Value, side: &str, price: &Value, size: &Value) {
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let line = format!("{side} {} {}", digits(price), digits(size));
        self.trades.entry(symbol.to_owned()).or_default().push((id, line));
    }

    fn book(&mut self, symbol: &str, frame: BookFrame) {
        if frame.is_whole || !(frame.bids.is_empty() && frame.asks.is_empty()) {
            self.books.entry(symbol.to_owned()).or_default().push(frame);
        }
    }

    fn quote(&mut self, symbol: &str, [bid, bid_size, ask, ask_size]: [&Value; 4]) {
        let line = format!("{}x{} {}x{}", digits(bid), digits(bid_size), digits(ask), digits(ask_size));
        self.quotes.entry(symbol.to_owned()).or_default().push(line);
    }

    fn coinbase_exchange(&mut self, f: &Value) {
        let symbol = f["product_id"].as_str().unwrap_or_default().to_owned();
        let kind = f["type"].as_str().unwrap_or_default();
        match kind {
            "match" | "last_match" => {
                self.trade(&symbol, &f["trade_id"], taker(&f["side"]), &f["price"], &f["size"]);
            }
            "snapshot" => {
                let (bids, asks) = (pairs(&f["bids"]), pairs(&f["asks"]));
                self.book(&symbol, BookFrame { is_whole: true, bids, asks });
            }
            "l2update" => {
                let side = |word: &str| {
                    let of = list(&f["changes"]).filter(|c| c[0] == word);
                    of.map(|c| (digits(&c[1]), digits(&c[2]))).collect()
                };
                self.book(&symbol, BookFrame { is_whole: false, bids: side("buy"), asks: side("sell") });
            }
            "ticker" => self.quote(&symbol, ["best_bid", "best_bid_size", "best_ask", "best_ask_size"].map(|k| &f[k])),
            _ => {}
        }
        if matches!(kind, "received" | "open" | "done" | "match" | "change")
            && let Some(sequence) = f["sequence"].as_u64()
        {
            self.orders.entry(symbol).or_default().push(OrderStep { sequence, frame: f.clone() });
        }
    }

    fn coinbase_advanced(&mut self, f: &Value) {
        let channel = f["channel"].as_str().unwrap_or_default();
        for event in list(&f["events"]) {
            match channel {
                "market_trades" => {
                    let mut trades: Vec<&Value> = list(&event["trades"]).collect();
                    // A snapshot is newest first.
                    trades.sort_by_key(|t| t["trade_id"].as_str().and_then(|id| id.parse::<u64>().ok()));
                    for t in trades {
                        let symbol = t["product_id"].as_str().expect("a product");
                        self.trade(symbol, &t["trade_id"], taker(&t["side"]), &t["price"], &t["size"]);
                    }
                }
                "l2_data" => {
                    let side = |word: &str| {
                        let of = list(&event["updates"]).filter(|u| u["side"] == word);
                        of.map(|u| (digits(&u["price_level"]), digits(&u["new_quantity"]))).collect()
                    };
                    let is_whole = event["type"] == "snapshot";
                    let frame = BookFrame { is_whole, bids: side("bid"), asks: side("offer") };
                    self.book(event["product_id"].as_str().expect("a product"), frame);
                }
                "ticker" => {
                    for t in list(&event["tickers"]) {
                        let names = ["best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity"];
                        self.quote(t["product_id"].as_str().expect("a product"), names.map(|k| &t[k]));
                    }
                }
                _ => {}
            }
        }
    }

    fn alpaca(&mut self, m: &Value) {
        let symbol = m["S"].as_str().unwrap_or_default().replace('/', "-");
        match m["T"].as_str().unwrap_or_default() {
            "t" => {
                let side = match m["tks"].as_str() {
                    Some("B") => "buy",
                    Some("S") => "sell",
                    _ => "none",
                };
                self.trade(&symbol, &m["i"], side, &m["p"], &m["s"]);
            }
            "q" => self.quote(&symbol, ["bp", "bs", "ap", "as"].map(|k| &m[k])),
            "o" => {
                let side = |k: &str| list(&m[k]).map(|l| (digits(&l["p"]), digits(&l["s"]))).collect();
                self.book(&symbol, BookFrame { is_whole: m["r"] == true, bids: side("b"), asks: side("a") });
            }
            "c" => self.corrections.entry(symbol).or_default().push(format!("correct {}", m["oi"])),
            "x" => self.corrections.entry(symbol).or_default().push(format!("cancel {}", m["i"])),
            _ => {}
        }
    }

    fn kraken_v1(&mut self, f: &Value) {
        let Some(parts) = f.as_array() else { return };
        let (Some(pair), Some(channel)) = (parts[parts.len() - 1].as_str(), parts[parts.len() - 2].as_str()) else {
            return;
        };
        let symbol = pair.replace("XBT", "BTC").replace("XDG", "DOGE").replace('/', "-");
        let bodies = &parts[1..parts.len() - 2];
        if channel == "trade" {
            for t in list(&bodies[0]) {
                let side = if t[3] == "b" { "buy" } else { "sell" };
                self.trade(&symbol, &Value::from(""), side, &t[0], &t[1]);
            }
        } else if channel == "spread" {
            self.quote(&symbol, [0, 3, 1, 4].map(|k| &bodies[0][k]));
        } else if channel.starts_with("book") {
            let is_whole = bodies[0].get("as").is_some();
            let (a, b) = if is_whole { ("as", "bs") } else { ("a", "b") };
            let side = |k: &str| bodies.iter().flat_map(|body| pairs(&body[k])).collect();
            self.book(&symbol, BookFrame { is_whole, bids: side(b), asks: side(a) });
        }
    }

    fn binance(&mut self, f: &Value) {
        let (stream, d) = (f["stream"].as_str().unwrap_or_default(), &f["data"]);
        let symbol = d["s"].as_str().unwrap_or_default().replace("USDT", "-USDT");
        if stream.ends_with("@trade") {
            self.trade(&symbol, &d["t"], if d["m"] == true { "sell" } else { "buy" }, &d["p"], &d["q"]);
        } else if stream.contains("@depth") {
            self.book(&symbol, BookFrame { is_whole: false, bids: pairs(&d["b"]), asks: pairs(&d["a"]) });
        } else if stream.ends_with("@bookTicker") {
            self.quote(&symbol, ["b", "B", "a", "A"].map(|k| &d[k]));
        }
    }
}

/// The REST answers with this in their address: address and body.
pub fn answers(folder: &Path, part: &str) -> Vec<(String, Value)> {
    let text = fs::read_to_string(folder.join("rest.http.jsonl")).expect("the journal of REST answers");
    let exchanges = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let body = |e: Value| {
        let url = e["url"].as_str().expect("an address").to_owned();
        let body = e["body"].as_str().and_then(|b| serde_json::from_str(b).ok())?;
        (url.contains(part) && e["status"] == 200).then_some((url, body))
    };
    exchanges.filter_map(body).collect()
}

fn connections(folder: &Path) -> Vec<PathBuf> {
    let is_connection = |p: &PathBuf| {
        let name = p.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.strip_suffix(".jsonl").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("the journal").flatten().map(|e| e.path()).filter(is_connection).collect();
    files.sort();
    files
}

/// The digits of a number, as text or as JSON number, without zeros at the end.
pub fn digits(v: &Value) -> String {
    match v {
        Value::String(text) => number(text),
        // The shortest text that names the float, without an exponent.
        Value::Number(n) if n.is_f64() => number(&n.as_f64().expect("checked").to_string()),
        other => number(&other.to_string()),
    }
}

fn list(v: &Value) -> impl Iterator<Item = &Value> {
    v.as_array().into_iter().flatten()
}

fn pairs(v: &Value) -> Vec<(String, String)> {
    list(v).map(|l| (digits(&l[0]), digits(&l[1]))).collect()
}

/// Coinbase names the maker's side.
fn taker(maker: &Value) -> &'static str {
    if maker.as_str().is_some_and(|side| side.eq_ignore_ascii_case("buy")) { "sell" } else { "buy" }
}
