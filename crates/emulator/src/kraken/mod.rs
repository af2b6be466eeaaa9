//! Kraken spot: WebSocket v2 and v1 and the public REST paths a market-data client asks.

mod capture;
mod frames;
mod protocol;
mod rest;
mod tickers;
pub(crate) mod v1;

pub(crate) use capture::Format;
pub(crate) use frames::KrakenWriter;
pub(crate) use rest::answer;

use feed::websocket::handshake::RequestHead;
use model::{Price, Qty, UnixNanos};

use crate::connection::Protocol;
use crate::market::simulation::SimulatedPair;
use crate::market::{Hours, Pair, PairStatus};
use crate::options::Limits;

/// Depths a book can be subscribed to.
pub(crate) const DEPTHS: [usize; 5] = [10, 25, 100, 500, 1000];
/// Bar intervals, minutes.
pub(crate) const INTERVALS_MIN: [u64; 9] = [1, 5, 15, 30, 60, 240, 1440, 10080, 21600];
/// The same in seconds, for the simulation.
pub(crate) const INTERVALS_S: [u64; 9] = [60, 300, 900, 1800, 3600, 14_400, 86_400, 604_800, 1_296_000];

/// The protocol spoken at a path, if one is.
pub(crate) fn at(head: &RequestHead, number: u64, limits: &Limits, now: UnixNanos) -> Option<Box<dyn Protocol>> {
    protocol::Protocol::at(head, number, limits, now).or_else(|| v1::Protocol::at(head, number, limits, now))
}

/// The pairs of a generated session.
pub(crate) fn default_pairs() -> Vec<SimulatedPair> {
    let pair = |base: &str, price_scale, start_price, usual_size| SimulatedPair {
        pair: Pair {
            symbol: format!("{base}/USD"),
            base: base.to_owned(),
            quote: "USD".to_owned(),
            price_scale,
            size_scale: 8,
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
        pair("BTC", 1, 640_000, 25_000_017),
        pair("ETH", 2, 300_000, 400_000_033),
        pair("SOL", 2, 15_000, 9_000_000_041),
    ]
}

/// The symbol as REST names it: XBT for BTC, XDG for DOGE, without a slash.
pub(crate) fn altname(pair: &Pair) -> String {
    format!("{}{}", legacy(&pair.base), legacy(&pair.quote))
}

/// `XBT/USD`, as WebSocket v1 and REST write it.
pub(crate) fn wsname(pair: &Pair) -> String {
    format!("{}/{}", legacy(&pair.base), legacy(&pair.quote))
}

/// The asset as REST results key it: `XXBT`, `ZUSD`, and the plain name for the newer ones.
pub(crate) fn asset_key(asset: &str) -> String {
    let name = legacy(asset);
    match name {
        "XBT" | "XDG" | "ETH" | "LTC" | "XRP" | "XLM" | "XMR" | "ZEC" | "ETC" | "REP" => format!("X{name}"),
        "USD" | "EUR" | "GBP" | "CAD" | "JPY" | "AUD" => format!("Z{name}"),
        _ => name.to_owned(),
    }
}

/// The key of a pair in REST results: `XXBTZUSD` where both assets have a class letter, the altname otherwise.
pub(crate) fn result_key(pair: &Pair) -> String {
    let (base, quote) = (asset_key(&pair.base), asset_key(&pair.quote));
    if base.len() == 4 && quote.len() == 4 { format!("{base}{quote}") } else { altname(pair) }
}

pub(crate) fn legacy(asset: &str) -> &str {
    match asset {
        "BTC" => "XBT",
        "DOGE" => "XDG",
        other => other,
    }
}
