//! Binance spot: WebSocket streams, raw and combined, and the REST paths a market-data client asks.

mod capture;
mod figures;
mod frames;
mod intervals;
mod protocol;
mod rest;
mod tickers;
mod topics;

pub(crate) use capture::Format;
pub(crate) use frames::BinanceWriter;
pub(crate) use intervals::INTERVALS_S;
pub(crate) use protocol::Protocol;
pub(crate) use rest::{Rest, depth};

use model::{Price, Qty};

use crate::market::simulation::SimulatedPair;
use crate::market::{Hours, Pair, PairStatus};

/// Behind the name of a stream whose times are wanted in microseconds.
pub(crate) const MICROS_MARK: &str = "#us";

/// The pairs of a generated session. The wire writes eight decimals whatever the tick.
pub(crate) fn default_pairs() -> Vec<SimulatedPair> {
    let pair = |base: &str, start_cents: i64, lot, usual_size| SimulatedPair {
        pair: Pair {
            symbol: format!("{base}USDT"),
            base: base.to_owned(),
            quote: "USDT".to_owned(),
            price_scale: 8,
            size_scale: 8,
            tick: Price(1_000_000),
            lot: Qty(lot),
            status: PairStatus::Trading,
            tape: false,
            hours: Hours::Always,
        },
        start_price: Price(start_cents * 1_000_000),
        usual_size: Qty(usual_size),
    };
    vec![
        pair("BTC", 6_400_000, 1_000, 25_000_000),
        pair("ETH", 300_000, 10_000, 400_000_000),
        pair("SOL", 15_000, 100_000, 9_000_000_000),
    ]
}
