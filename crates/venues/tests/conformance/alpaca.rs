//! A small Alpaca for the conformance suite: the crypto stream (v1beta3) in JSON, login and all, and the REST trades that
//! a reconnect asks for. Its trade ids happen to be contiguous, as the suite counts them; the machine must not rely on it.

use super::case::{Answer, Case, Change, Sent, Truth};
use super::kraken::time;
use model::{Decimal, Side, UnixNanos, Venue};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use venues::{Credentials, Settings, VenueMachine};

/// Decimals the case keeps prices and sizes with.
const SCALE: u8 = 8;

const CHANNELS: [&str; 6] = ["trades", "quotes", "orderbooks", "bars", "updatedBars", "dailyBars"];

struct Market {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    /// Time and text of each trade, without type and symbol.
    trades: Vec<(UnixNanos, String)>,
}

/// The venue.
pub struct Alpaca {
    markets: [Market; 2],
    logged_in: bool,
    subscribed: BTreeMap<&'static str, Vec<String>>,
}

fn units(text: &str) -> i64 {
    text.parse::<Decimal>().expect("a number").at_scale(SCALE).expect("as precise as the case")
}

fn written(mantissa: i64) -> String {
    Decimal::new(mantissa.into(), SCALE).to_string()
}

fn level(price: &str, size: &str) -> String {
    format!(r#"{{"p":{price},"s":{size}}}"#)
}

impl Market {
    fn new() -> Market {
        let (unit, level) = (100_000_000, |n: i64| (n + 1) * 100_000_000 / 4);
        Market {
            bids: (0..10).map(|n| ((100 - n) * unit, level(n))).collect(),
            asks: (0..10).map(|n| ((101 + n) * unit, level(n))).collect(),
            trades: vec![],
        }
    }

    fn whole(&self, symbol: &str, now: UnixNanos) -> String {
        let one = |(p, s): (&i64, &i64)| level(&written(*p), &written(*s));
        let bids: Vec<_> = self.bids.iter().rev().map(one).collect();
        let asks: Vec<_> = self.asks.iter().map(one).collect();
        let (bids, asks, time) = (bids.join(","), asks.join(","), time(now));
        format!(r#"[{{"T":"o","S":"{symbol}","t":"{time}","b":[{bids}],"a":[{asks}],"r":true}}]"#)
    }
}

impl Default for Alpaca {
    fn default() -> Alpaca {
        Alpaca { markets: [Market::new(), Market::new()], logged_in: false, subscribed: BTreeMap::new() }
    }
}

impl Alpaca {
    fn index(symbol: &str) -> Option<usize> {
        Self::VENUE_SYMBOLS.iter().position(|s| *s == symbol)
    }

    /// Every subscription there is.
    fn echo(&self) -> String {
        let mut echo = json!({"T": "subscription"});
        for channel in CHANNELS {
            echo[channel] = json!(self.subscribed.get(channel).cloned().unwrap_or_default());
        }
        json!([echo]).to_string()
    }

    fn requested(request: &Value) -> impl Iterator<Item = (&'static str, Vec<String>)> + '_ {
        CHANNELS.into_iter().filter_map(|channel| {
            let symbols = request[channel].as_array()?;
            Some((channel, symbols.iter().map(|s| s.as_str().expect("a symbol").to_owned()).collect()))
        })
    }

    /// Symbols the venue does not trade are not taken in, and so not listed.
    fn subscribe(&mut self, request: &Value, now: UnixNanos) -> Vec<String> {
        assert!(self.logged_in, "a subscription before the login");
        let mut books = vec![];
        for (channel, symbols) in Self::requested(request) {
            let listed = self.subscribed.entry(channel).or_default();
            for symbol in symbols {
                let Some(index) = Alpaca::index(&symbol) else { continue };
                if !listed.contains(&symbol) {
                    if channel == "orderbooks" {
                        books.push(self.markets[index].whole(&symbol, now));
                    }
                    listed.push(symbol);
                }
            }
        }
        [vec![self.echo()], books].concat()
    }

    fn unsubscribe(&mut self, request: &Value) -> Vec<String> {
        for (channel, symbols) in Self::requested(request) {
            self.subscribed.entry(channel).or_default().retain(|s| !symbols.contains(s));
        }
        vec![self.echo()]
    }

    /// The trades of a time, by symbol, two a page.
    fn trades(&self, path: &str) -> String {
        let query = path.strip_prefix("/v1beta3/crypto/us/trades?").expect("the crypto trades");
        let field = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.map(|v| v.replace("%2F", "/"))
        };
        let at = |name| scan::rfc3339_nanos(field(name).expect("a time").as_bytes()).expect("a time").0;
        let (start, end) = (at("start"), at("end"));
        let skip = field("page_token").map_or(0, |token| token.parse().expect("a token of ours"));
        let symbols = field("symbols").expect("symbols");
        let all = symbols.split(',').flat_map(|symbol| {
            let trades = &self.markets[Alpaca::index(symbol).expect("a symbol it trades")].trades;
            trades.iter().filter(|(t, _)| (start..=end).contains(&t.0)).map(move |(_, text)| (symbol, text))
        });
        let all: Vec<_> = all.collect();
        let mut page: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (symbol, text) in all.iter().skip(skip).take(2) {
            page.entry(symbol).or_default().push(text);
        }
        let page: Vec<String> = page.iter().map(|(s, t)| format!(r#""{s}":[{}]"#, t.join(","))).collect();
        let token = if skip + 2 < all.len() { format!("\"{}\"", skip + 2) } else { "null".to_owned() };
        format!(r#"{{"trades":{{{}}},"next_page_token":{token}}}"#, page.join(","))
    }
}

impl Case for Alpaca {
    const VENUE: Venue = Venue::Alpaca;
    const SYMBOLS: [&'static str; 2] = ["BTC-USD", "ETH-USD"];
    const VENUE_SYMBOLS: [&'static str; 2] = ["BTC/USD", "ETH/USD"];
    const UNKNOWN: &'static str = "NOPE-USD";
    const DEPTH: Option<u32> = None;
    const TRADE_IDS_CONTIGUOUS: bool = false;
    /// Nothing proves a book; what shows is that a level which was not taken away lies across a new one.
    const LOST: &'static [Change<'static>] = &[(Side::Sell, "101", "0")];
    const SHOWS: &'static [Change<'static>] = &[(Side::Buy, "101", "66")];

    fn machine(settings: &Settings) -> Box<dyn VenueMachine> {
        let keys = Credentials { key: "key".to_owned(), secret: "secret".to_owned(), passphrase: None };
        let settings = Settings { credentials: Some(keys), ..settings.clone() };
        let json = [("encoding".to_owned(), "json".to_owned())];
        venues::machine(Venue::Alpaca, &settings, &json).expect("sound settings")
    }

    fn connected(&mut self, _now: UnixNanos) -> Vec<String> {
        (self.logged_in, self.subscribed) = (false, BTreeMap::new());
        vec![r#"[{"T":"success","msg":"connected"}]"#.to_owned()]
    }

    fn asks_for_book(&self, sent: &Sent) -> bool {
        let Sent::Frame(frame) = sent else { return false };
        let request: Value = serde_json::from_str(frame).expect("the machine sends JSON");
        request["action"] == "subscribe" && request.get("orderbooks").is_some()
    }

    fn answer(&mut self, sent: &Sent, now: UnixNanos) -> Vec<Answer> {
        let frame = match sent {
            Sent::Frame(frame) => frame,
            Sent::Get(path) => return vec![Answer::Http(200, self.trades(path))],
        };
        let request: Value = serde_json::from_str(frame).expect("the machine sends JSON");
        let frames = match request["action"].as_str() {
            Some("auth") => {
                assert_eq!((&request["key"], &request["secret"]), (&json!("key"), &json!("secret")));
                self.logged_in = true;
                vec![r#"[{"T":"success","msg":"authenticated"}]"#.to_owned()]
            }
            Some("subscribe") => self.subscribe(&request, now),
            Some("unsubscribe") => self.unsubscribe(&request),
            other => panic!("the venue does not know {other:?}"),
        };
        frames.into_iter().map(Answer::Frame).collect()
    }

    fn trade(&mut self, symbol: usize, price: &str, size: &str, taker: Side, now: UnixNanos) -> String {
        let name = Self::VENUE_SYMBOLS[symbol];
        let market = &mut self.markets[symbol];
        let (id, taker) = (1001 + market.trades.len(), if taker == Side::Buy { "B" } else { "S" });
        let (price, size) = (written(units(price)), written(units(size)));
        let text = format!(r#""p":{price},"s":{size},"t":"{}","i":{id},"tks":"{taker}""#, time(now));
        market.trades.push((UnixNanos(now.0 / 1000 * 1000), format!("{{{text}}}")));
        format!(r#"[{{"T":"t","S":"{name}",{text}}}]"#)
    }

    fn update(&mut self, symbol: usize, changes: &[Change<'_>], now: UnixNanos) -> String {
        let name = Self::VENUE_SYMBOLS[symbol];
        let market = &mut self.markets[symbol];
        let (mut bids, mut asks) = (vec![], vec![]);
        for (side, price, size) in changes {
            let (levels, told) =
                if *side == Side::Buy { (&mut market.bids, &mut bids) } else { (&mut market.asks, &mut asks) };
            match units(size) {
                0 => levels.remove(&units(price)),
                size => levels.insert(units(price), size),
            };
            told.push(level(&written(units(price)), &written(units(size))));
        }
        let (bids, asks, time) = (bids.join(","), asks.join(","), time(now));
        format!(r#"[{{"T":"o","S":"{name}","t":"{time}","b":[{bids}],"a":[{asks}]}}]"#)
    }

    fn widen(&mut self, _symbol: usize, _now: UnixNanos) -> Vec<String> {
        vec![]
    }

    fn heartbeat(&self) -> Option<String> {
        None
    }

    fn unknown_type(&self) -> String {
        r#"[{"T":"weather","S":"BTC/USD","sun":true}]"#.to_owned()
    }

    fn with_unknown_field(&self, frame: &str) -> String {
        let (head, tail) = frame.split_once('{').expect("an object");
        format!(r#"{head}{{"mood":{{"a":[1,"x\""]}},{tail}"#)
    }

    fn truth(&self, symbol: usize) -> Truth {
        let market = &self.markets[symbol];
        let level = |(p, s): (&i64, &i64)| [written(*p), written(*s)];
        Truth { bids: market.bids.iter().rev().map(level).collect(), asks: market.asks.iter().map(level).collect() }
    }
}
