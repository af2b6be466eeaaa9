//! What an emulator's journal says it sent, and what a tap says was told, as the same lines of text, so that they can be
//! compared.

use model::Decimal;
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// Per symbol, what was told of one kind, each as one line of text.
pub type Told = BTreeMap<(String, String), Vec<String>>;

pub fn number(text: &str) -> String {
    text.parse::<Decimal>().unwrap_or_else(|e| panic!("{text:?}: {e}")).to_string()
}

/// The text of a number that may be a JSON string (Binance) or a JSON number (Kraken), digits as sent.
fn digits(v: &Value) -> String {
    number(v.as_str().map_or_else(|| v.to_string(), str::to_owned).as_str())
}

fn levels(list: &Value, price: &str, size: &str) -> String {
    let level = |l: &Value| match l {
        Value::Array(pair) => format!("{}x{}", digits(&pair[0]), digits(&pair[1])),
        object => format!("{}x{}", digits(&object[price]), digits(&object[size])),
    };
    list.as_array().map(|l| l.iter().map(level).collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

fn add(told: &mut Told, kind: &str, symbol: &str, line: String) {
    told.entry((kind.to_owned(), symbol.to_owned())).or_default().push(line);
}

/// The frames of a journal, by our own reading of the venue's documents: nothing of the decoders is used.
pub fn journal(file: &Path, venue: &str) -> Told {
    let mut told = Told::new();
    let text = fs::read_to_string(file).expect("the journal of a connection");
    for line in text.lines() {
        // Numbers keep their digits as text only when they are not read as floats.
        let frame: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        match venue {
            "kraken" if frame.is_array() => kraken_v1(&frame, &mut told),
            "kraken" => kraken(line, &frame, &mut told),
            "coinbase" => coinbase(&frame, &mut told),
            "alpaca" => alpaca(&frame, &mut told),
            _ => binance(&frame, &mut told),
        }
    }
    told
}

/// Kraken's numbers are JSON numbers: their digits are taken from the text itself.
fn kraken(line: &str, frame: &Value, told: &mut Told) {
    let (channel, update) = (frame["channel"].as_str(), frame["type"] == "update");
    let Some(data) = frame["data"].as_array() else { return };
    let field = |text: &str, name: &str| -> String {
        let at = text.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name} in {text}")) + name.len() + 3;
        number(text[at..].split([',', '}']).next().expect("a value"))
    };
    let pairs = |text: &str, name: &str| -> String {
        let at = text.find(&format!("\"{name}\":[")).expect("a side") + name.len() + 4;
        let list = text[at..].split(']').next().expect("an end");
        let level = |l: &str| format!("{}x{}", field(l, "price"), field(l, "qty"));
        list.split('{').skip(1).map(level).collect::<Vec<_>>().join(" ")
    };
    let objects = line.split("{\"symbol\":").skip(1);
    for (object, text) in data.iter().zip(objects) {
        let symbol = object["symbol"].as_str().unwrap_or_default().replace('/', "-");
        match channel {
            Some("trade") if update => {
                let line = format!(
                    "{} {} {} {}",
                    object["trade_id"],
                    object["side"].as_str().expect("a side"),
                    field(text, "price"),
                    field(text, "qty")
                );
                add(told, "trade", &symbol, line);
            }
            Some("book") if update => {
                add(told, "book", &symbol, format!("{} / {}", pairs(text, "bids"), pairs(text, "asks")));
            }
            Some("ticker") => {
                let q = |n| field(text, n);
                add(told, "quote", &symbol, format!("{}x{} {}x{}", q("bid"), q("bid_qty"), q("ask"), q("ask_qty")));
            }
            _ => {}
        }
    }
}

fn binance(frame: &Value, told: &mut Told) {
    let (stream, d) = (frame["stream"].as_str().unwrap_or_default(), &frame["data"]);
    let symbol = d["s"].as_str().unwrap_or_default().replace("USDT", "-USDT");
    if stream.ends_with("@trade") {
        let side = if d["m"] == true { "sell" } else { "buy" };
        add(told, "trade", &symbol, format!("{} {side} {} {}", d["t"], digits(&d["p"]), digits(&d["q"])));
    } else if stream.contains("@depth") {
        let (bids, asks) = (levels(&d["b"], "", ""), levels(&d["a"], "", ""));
        if !(bids.is_empty() && asks.is_empty()) {
            add(told, "book", &symbol, format!("{bids} / {asks}"));
        }
    } else if stream.ends_with("@bookTicker") {
        let n = |k: &str| digits(&d[k]);
        add(told, "quote", &symbol, format!("{}x{} {}x{}", n("b"), n("B"), n("a"), n("A")));
    }
}

/// The older protocol names trades by nothing: their time, in microseconds, stands in the id's place.
fn kraken_v1(frame: &Value, told: &mut Told) {
    let (Some(list), true) = (frame[1].as_array(), frame[2] == "trade") else { return };
    let symbol = frame[3].as_str().expect("a pair").replace("XBT", "BTC").replace("XDG", "DOGE").replace('/', "-");
    for trade in list {
        let text = |n: usize| trade[n].as_str().expect("a text");
        let side = if text(3) == "b" { "buy" } else { "sell" };
        let micros = text(2).replace('.', "");
        add(told, "trade", &symbol, format!("{micros} {side} {} {}", number(text(0)), number(text(1))));
    }
}

/// Both protocols say the maker's side.
fn coinbase(frame: &Value, told: &mut Told) {
    let mut trade = |t: &Value| {
        let side = if t["side"].as_str().expect("a side").eq_ignore_ascii_case("buy") { "sell" } else { "buy" };
        let (symbol, id) = (t["product_id"].as_str().expect("a product"), t["trade_id"].to_string());
        let line = format!("{} {side} {} {}", id.trim_matches('"'), digits(&t["price"]), digits(&t["size"]));
        add(told, "trade", symbol, line);
    };
    if frame["type"] == "match" || frame["type"] == "last_match" {
        trade(frame);
    } else if frame["channel"] == "market_trades" {
        let events = frame["events"].as_array().expect("events");
        events.iter().flat_map(|e| e["trades"].as_array().expect("trades")).for_each(trade);
    }
}

fn alpaca(frame: &Value, told: &mut Told) {
    let trades = frame.as_array().into_iter().flatten().filter(|m| m["T"] == "t");
    for t in trades {
        add(told, "trade", &alpaca_symbol(&t["S"]), alpaca_trade(t));
    }
}

fn alpaca_symbol(symbol: &Value) -> String {
    symbol.as_str().expect("a symbol").replace('/', "-")
}

/// Of shares the venue does not say who took.
fn alpaca_trade(t: &Value) -> String {
    let side = match t["tks"].as_str() {
        Some("B") => "buy",
        Some("S") => "sell",
        _ => "none",
    };
    format!("{} {side} {} {}", t["i"], digits(&t["p"]), digits(&t["s"]))
}

/// Alpaca's trades in the answers of a journal, by symbol.
pub fn answered(file: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).expect("the journal of answers");
    let mut all = vec![];
    for line in text.lines() {
        let answer: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).unwrap_or_default();
        for (symbol, trades) in body["trades"].as_object().into_iter().flatten() {
            let symbol = alpaca_symbol(&Value::from(symbol.as_str()));
            all.extend(trades.as_array().into_iter().flatten().map(|t| (symbol.clone(), alpaca_trade(t))));
        }
    }
    all
}

/// The same from the lines of a tap.
pub fn tapped(lines: &[Value], venue: &str) -> Told {
    let mut told = Told::new();
    for l in lines.iter().filter(|l| l["venue"] == venue) {
        let symbol = l["symbol"].as_str().unwrap_or_default();
        let t = |k: &str| number(l[k].as_str().unwrap_or_else(|| panic!("{k} in {l}")));
        match (l["type"].as_str(), l["kind"].as_str()) {
            (Some("trade"), _) if l["snapshot"] != true => {
                let line =
                    format!("{} {} {} {}", t("trade_id"), l["side"].as_str().expect("a side"), t("price"), t("size"));
                add(&mut told, "trade", symbol, line);
            }
            (Some("book"), Some("update")) => {
                add(
                    &mut told,
                    "book",
                    symbol,
                    format!("{} / {}", levels(&l["bids"], "", ""), levels(&l["asks"], "", "")),
                );
            }
            (Some("quote"), _) => {
                add(
                    &mut told,
                    "quote",
                    symbol,
                    format!("{}x{} {}x{}", t("bid"), t("bid_size"), t("ask"), t("ask_size")),
                );
            }
            _ => {}
        }
    }
    told
}
