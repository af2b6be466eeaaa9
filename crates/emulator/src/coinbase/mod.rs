//! Coinbase: the Exchange feed and Advanced Trade, two protocols over one market on one port.

pub(crate) mod advanced;
mod app;
mod capture;
pub(crate) mod exchange;
mod protocol;

pub(crate) use capture::Format;
pub(crate) use protocol::Protocol;

use std::time::Duration;

use feed::websocket::handshake::RequestHead;
use model::{Price, Qty, UnixNanos};
use serde_json::json;

use crate::http::Response;
use crate::market::simulation::{Change, SimulatedPair};
use crate::market::{Hours, Market, Pair, PairStatus};
use crate::options::Limits;
use crate::requests::{Left, Limit};

/// Bar intervals of the REST paths, seconds; the second is the one of Advanced Trade's channel.
pub(crate) const INTERVALS_S: [u64; 6] = [60, 300, 900, 3600, 21_600, 86_400];
/// The clock of both writers: the pace of batched books, ns.
const TICK_NS: u64 = 50_000_000;

/// The pairs of a generated session.
pub(crate) fn default_pairs() -> Vec<SimulatedPair> {
    let pair = |base: &str, start_price, usual_size| SimulatedPair {
        pair: Pair {
            symbol: format!("{base}-USD"),
            base: base.to_owned(),
            quote: "USD".to_owned(),
            price_scale: 2,
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
    vec![pair("BTC", 6_400_000, 25_000_013), pair("ETH", 300_000, 400_000_031), pair("SOL", 15_000, 9_000_000_017)]
}

/// The limit of REST requests: the venue's rate, and half as many more at once.
pub(crate) fn limit(limits: &Limits) -> Limit {
    let rate = limits.requests_per_s.max(1);
    Limit { burst: rate + rate / 2, every: Duration::from_secs(1) / rate }
}

/// Answers one REST request of either protocol: their paths have nothing in common.
pub(crate) fn answer(head: &RequestHead, left: Left, market: &mut dyn Market, now: UnixNanos) -> Response {
    let wait = left.wait.as_secs() + 1;
    match (head.path.strip_prefix("/api/v3/brokerage"), left.remaining) {
        (Some(path), Some(_)) => advanced::limited(advanced::answer(path, head, market, now), left, now),
        (Some(_), None) => {
            let body = json!({"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]});
            let response = Response::json(429, body.to_string()).header("Retry-After", wait);
            advanced::limited(response, left, now)
        }
        (None, Some(_)) if head.path.starts_with("/v2/") => app::answer(head, market),
        (None, Some(_)) => exchange::answer(head, market, now),
        (None, None) => {
            let body = json!({"message": "Public rate limit exceeded"});
            Response::json(429, body.to_string()).header("Retry-After", wait)
        }
    }
}

/// Every asset that is traded, in the order of first mention, and whether it is money of a state.
fn assets(pairs: &[Pair]) -> Vec<(String, bool)> {
    let mut assets: Vec<(String, bool)> = Vec::new();
    for name in pairs.iter().flat_map(|pair| [&pair.base, &pair.quote]) {
        if !assets.iter().any(|(known, _)| known == name) {
            assets.push((name.clone(), ["USD", "EUR", "GBP"].contains(&name.as_str())));
        }
    }
    assets
}

/// Keeps the last of several changes of one price.
fn keep_latest(changes: &mut Vec<Change>) {
    // Stable, so that the last change of a price stays last among its equals.
    changes.sort_by_key(|change| (change.side, change.price));
    changes.dedup_by(|later, earlier| {
        let same = later.side == earlier.side && later.price == earlier.price;
        if same {
            earlier.after = later.after;
        }
        same
    });
}

/// Beats of a slower rhythm that a clock of [`TICK_NS`] has passed.
#[derive(Clone, Copy, Debug)]
struct Beat {
    tick: u64,
    due: u64,
}

impl Beat {
    /// The clock moves from the beat it was `due` for to `now`.
    fn at(now: UnixNanos, due: UnixNanos) -> Self {
        Self { tick: now.0 / TICK_NS, due: due.0 / TICK_NS }
    }

    fn boundary(self) -> UnixNanos {
        UnixNanos(self.tick * TICK_NS)
    }

    fn next(self) -> UnixNanos {
        UnixNanos((self.tick + 1) * TICK_NS)
    }

    /// Whether a multiple of `ticks` lies between the last boundary handled and this one.
    fn crossed(self, ticks: u64) -> bool {
        self.due == 0 || self.tick / ticks > self.due.saturating_sub(1) / ticks
    }
}

/// What a connection is subscribed to, in the order of asking.
#[derive(Debug, Default)]
struct Subscriptions(Vec<(String, Vec<String>)>);

impl Subscriptions {
    fn add(&mut self, channel: &str, product: Option<&str>) {
        let at = self.0.iter().position(|(known, _)| known == channel).unwrap_or_else(|| {
            self.0.push((channel.to_owned(), Vec::new()));
            self.0.len() - 1
        });
        let products = &mut self.0[at].1;
        if let Some(product) = product.filter(|product| !products.iter().any(|known| known == product)) {
            products.push(product.to_owned());
        }
    }

    fn remove(&mut self, channel: &str, product: Option<&str>) {
        for (_, products) in self.0.iter_mut().filter(|(known, _)| known == channel) {
            products.retain(|known| product.is_some_and(|product| known != product));
        }
        self.0.retain(|(known, products)| known != channel || !products.is_empty());
    }

    fn of(&self, channel: &str) -> Vec<String> {
        self.0.iter().find(|(known, _)| known == channel).map(|(_, products)| products.clone()).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Side;

    #[test]
    fn the_last_change_of_a_price_is_kept() {
        let change = |side, price, after| Change { side, price: Price(price), before: Qty(9), after: Qty(after) };
        let mut changes =
            vec![change(Side::Sell, 5, 1), change(Side::Buy, 5, 2), change(Side::Sell, 5, 0), change(Side::Buy, 4, 3)];
        keep_latest(&mut changes);
        let kept: Vec<_> = changes.iter().map(|c| (c.side, c.price.0, c.after.0)).collect();
        assert_eq!(kept, [(Side::Buy, 4, 3), (Side::Buy, 5, 2), (Side::Sell, 5, 0)]);
    }
}
