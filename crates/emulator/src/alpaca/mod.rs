//! Alpaca: stock and crypto streams in JSON or msgpack behind a login, and the data REST paths a feed asks.

mod frames;
mod hours;
pub(crate) mod msgpack;
mod protocol;
mod rest;
mod trading;

pub use msgpack::msgpack_of;

pub(crate) use frames::Writer;
pub(crate) use protocol::{Protocol, Sessions};
pub(crate) use rest::answer;

use std::time::Duration;

use model::{Price, Qty};

use crate::market::simulation::SimulatedPair;
use crate::market::{Hours, Pair, PairStatus};
use crate::options::{Account, Limits};
use crate::requests::{Limit, Part};

/// Bar intervals of the simulation: minute bars and the running day.
pub(crate) const INTERVALS_S: [u64; 2] = [60, 86_400];
/// The symbol of the test stream.
pub(crate) const TEST_SYMBOL: &str = "FAKEPACA";
/// Crypto trade ids are above 2^53 at the venue: a reader that takes them for floats must fail here.
const CRYPTO_ID: u64 = 3_447_000_000_000_000_000;
/// How much more data a paid plan may ask for: 10,000 requests a minute instead of 200.
const PAID_DATA: u32 = 50;
/// Shares of a round lot, in which stock quotes are counted.
const ROUND_LOT: i64 = 100;

/// A stream endpoint, each with its own session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    Iex,
    Sip,
    Test,
    Crypto,
}

/// Channels of stocks and of crypto, in the order of a pair's topics. The first five are common to both.
pub(crate) const STOCK_CHANNELS: [&str; 9] =
    ["trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors"];
pub(crate) const CRYPTO_CHANNELS: [&str; 6] = ["trades", "quotes", "bars", "updatedBars", "dailyBars", "orderbooks"];

impl Endpoint {
    /// The endpoint at a path; the older crypto path is still asked by some clients.
    fn at(path: &str) -> Option<Self> {
        Some(match path.trim_end_matches('/') {
            "/v2/iex" => Self::Iex,
            "/v2/sip" => Self::Sip,
            "/v2/test" => Self::Test,
            "/v1beta3/crypto/us" | "/v1beta2/crypto" => Self::Crypto,
            _ => return None,
        })
    }

    /// The name in topics.
    fn name(self) -> &'static str {
        match self {
            Self::Iex => "iex",
            Self::Sip => "sip",
            Self::Test => "test",
            Self::Crypto => "crypto",
        }
    }

    /// Channels it tells of in its replies.
    fn channels(self) -> &'static [&'static str] {
        match self {
            Self::Iex | Self::Sip => &STOCK_CHANNELS,
            Self::Test => &STOCK_CHANNELS[..3],
            Self::Crypto => &CRYPTO_CHANNELS,
        }
    }

    /// Whether it carries a symbol.
    fn carries(self, symbol: &str) -> bool {
        match self {
            Self::Crypto => is_crypto(symbol),
            Self::Test => symbol == TEST_SYMBOL,
            Self::Iex | Self::Sip => !is_crypto(symbol) && symbol != TEST_SYMBOL,
        }
    }
}

fn is_crypto(symbol: &str) -> bool {
    symbol.contains('/')
}

fn topic_name(endpoint: Endpoint, channel: &str, symbol: &str) -> String {
    format!("{}:{channel}:{symbol}", endpoint.name())
}

/// The limit of a request: so many a minute, all of them at once if need be. A plan with the consolidated feed has more
/// requests for data; orders have their own.
pub(crate) fn limit(path: &str, account: &Account, limits: &Limits) -> (Part, Limit) {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let part = if trading::is_trading(&parts) { Part::Trading } else { Part::Data };
    let paid = part == Part::Data && account.sip;
    let rate = limits.requests_per_minute.max(1).saturating_mul(if paid { PAID_DATA } else { 1 });
    (part, Limit { burst: rate, every: Duration::from_secs(60) / rate })
}

/// The tape a stock is reported on.
fn tape(symbol: &str) -> &'static str {
    match symbol {
        TEST_SYMBOL => "A",
        "SPY" => "B",
        _ => "C",
    }
}

/// The instruments of a generated session.
pub(crate) fn default_pairs() -> Vec<SimulatedPair> {
    let stock = |symbol: &str, cents, shares| SimulatedPair {
        pair: Pair {
            symbol: symbol.to_owned(),
            base: symbol.to_owned(),
            quote: "USD".to_owned(),
            price_scale: 2,
            size_scale: 0,
            tick: Price(1),
            lot: Qty(1),
            status: PairStatus::Trading,
            tape: false,
            hours: Hours::Always,
        },
        start_price: Price(cents),
        usual_size: Qty(shares),
    };
    let crypto = |base: &str, price_scale, start_price, usual_size| SimulatedPair {
        pair: Pair {
            symbol: format!("{base}/USD"),
            base: base.to_owned(),
            quote: "USD".to_owned(),
            price_scale,
            size_scale: 9,
            tick: Price(1),
            lot: Qty(1),
            status: PairStatus::Trading,
            tape: false,
            hours: Hours::Always,
        },
        start_price: Price(start_price),
        usual_size: Qty(usual_size),
    };
    vec![
        stock("AAPL", 23_150, 300),
        stock("MSFT", 51_200, 200),
        stock("SPY", 66_400, 400),
        stock("TSLA", 40_900, 250),
        stock(TEST_SYMBOL, 13_385, 100),
        crypto("BTC", 3, 64_000_000, 250_000_017),
        crypto("ETH", 3, 3_000_000, 4_000_000_033),
        crypto("SOL", 4, 1_500_000, 90_000_000_041),
    ]
}
