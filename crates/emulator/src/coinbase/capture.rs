//! Captured frames of both Coinbase feeds: which stream each belongs to, and what in it moves with time and pass.

use book::Book;
use model::{Price, Qty, Side, StreamKind, UnixNanos};

use super::{advanced, exchange};
use crate::market::{BookView, CaptureFormat, CapturedFrame, Pair, Patch, PatchKind, Topic, walk};

#[derive(Debug)]
pub(crate) struct Format;

/// The channel of an Exchange frame's type, and what it carries.
fn exchange_channel(kind: &str) -> Option<(&'static str, StreamKind)> {
    Some(match kind {
        "match" | "last_match" => ("matches", StreamKind::Trade),
        "snapshot" | "l2update" => ("level2", StreamKind::Book),
        "ticker" => ("ticker", StreamKind::Quote),
        "heartbeat" => ("heartbeat", StreamKind::Connection),
        "received" | "open" | "done" | "change" | "activate" => ("full", StreamKind::Order),
        _ => return None,
    })
}

/// The channel that an Advanced Trade frame was subscribed to under, and what it carries.
fn advanced_channel(channel: &str) -> Option<(&'static str, StreamKind)> {
    Some(match channel {
        "l2_data" => ("level2", StreamKind::Book),
        "market_trades" => ("market_trades", StreamKind::Trade),
        "ticker" => ("ticker", StreamKind::Quote),
        "ticker_batch" => ("ticker_batch", StreamKind::Quote),
        "candles" => ("candles", StreamKind::Bar),
        "status" => ("status", StreamKind::Instrument),
        "heartbeats" => (advanced::HEARTBEATS, StreamKind::Connection),
        _ => return None,
    })
}

impl CaptureFormat for Format {
    fn read(&self, line: &str, remembered: &mut Vec<(String, String)>) -> Result<Option<CapturedFrame>, String> {
        let (mut kind, mut channel, mut product) = ("", "", "");
        let (mut patches, mut prices, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        walk(line.as_bytes(), |path, index, text, at| {
            let range = at..at + text.len();
            let mut patch = |kind| patches.push(Patch { at, len: text.len(), kind });
            match path {
                ["type"] => kind = text,
                ["channel"] => channel = text,
                ["product_id"] | ["events", "product_id"] | ["events", _, "product_id"] => product = text,
                ["time" | "timestamp"] | ["events", "trades", "time"] | ["events", "updates", "event_time"] => {
                    patch(PatchKind::Rfc3339);
                }
                ["sequence" | "trade_id" | "last_trade_id"] | ["events", "trades", "trade_id"] => patch(PatchKind::Id),
                ["bids" | "asks"] if index == 0 => prices.push(range),
                ["bids" | "asks"] if index == 1 => sizes.push(range),
                ["changes"] if index == 1 => prices.push(range),
                ["changes"] if index == 2 => sizes.push(range),
                ["price"] | ["events", "updates", "price_level"] | ["events", "trades", "price"] => prices.push(range),
                ["size" | "remaining_size"] | ["events", "updates", "new_quantity"] | ["events", "trades", "size"] => {
                    sizes.push(range)
                }
                _ => {}
            }
        })
        .map_err(|error| error.to_string())?;
        let found = match channel {
            "" => exchange_channel(kind).map(|(name, kind)| (exchange::topic_name(name, product), kind)),
            _ => advanced_channel(channel).map(|(name, kind)| (advanced::topic_name(name, product), kind)),
        };
        let Some((mut name, kind)) = found else { return Ok(None) };
        // Where a file has orders, its matches are theirs; a level 2 capture keeps matches of its own.
        if kind == StreamKind::Order {
            remembered.push(("full".to_owned(), product.to_owned()));
        } else if kind == StreamKind::Trade && remembered.iter().any(|(full, of)| full == "full" && of == product) {
            name = exchange::topic_name("full", product);
        }
        let topic = Topic { name, symbol: product.to_owned(), kind };
        Ok(Some(CapturedFrame { topic, payload: 0..line.len(), patches, prices, sizes }))
    }

    fn split(&self, symbol: &str) -> (String, String) {
        let (base, quote) = symbol.split_once('-').unwrap_or((symbol, ""));
        (base.to_owned(), quote.to_owned())
    }

    fn apply(&self, frame: &[u8], _: &Topic, pair: &Pair, _: u64, book: &mut Book) -> Result<Option<u64>, String> {
        if is_snapshot(frame) {
            book.clear();
        }
        let (mut side, mut price, mut problem) = (None, None, None);
        let mut set = |side: Option<Side>, price: &mut Option<Price>, text: &str| match (
            side,
            price.take(),
            scan::fixed(text.as_bytes(), pair.size_scale),
        ) {
            (Some(side), Some(price), Ok((size, _))) => {
                book.set(side, price, Qty(size));
                None
            }
            (_, _, Err(error)) => Some(error.to_string()),
            _ => Some("a size without a side and a price".to_owned()),
        };
        let read = |text: &str| scan::fixed(text.as_bytes(), pair.price_scale).ok().map(|(price, _)| Price(price));
        let walked = walk(frame, |path, index, text, _| match (path, index) {
            (["changes"], 0) | (["events", "updates", "side"], _) => {
                side = Some(if matches!(text, "buy" | "bid") { Side::Buy } else { Side::Sell });
            }
            (["changes"], 1) | (["bids" | "asks"], 0) | (["events", "updates", "price_level"], _) => {
                price = read(text);
            }
            (["bids" | "asks"], 1) => {
                let side = if path == ["bids"] { Side::Buy } else { Side::Sell };
                problem = set(Some(side), &mut price, text).or(problem.take());
            }
            (["changes"], 2) | (["events", "updates", "new_quantity"], _) => {
                problem = set(side, &mut price, text).or(problem.take());
            }
            _ => {}
        });
        match (walked, problem) {
            (Err(error), _) => Err(error.to_string()),
            (_, Some(problem)) => Err(problem),
            _ => Ok(None),
        }
    }

    fn snapshot(&self, topic: &Topic, pairs: &[Pair], book: Option<&BookView>, now: UnixNanos) -> Option<Vec<u8>> {
        let pair = pairs.iter().find(|pair| pair.symbol == topic.symbol)?;
        match topic.name.starts_with("advanced:") {
            true => book.map(|book| advanced::snapshot(pair, book, now)),
            false => book.map(|book| exchange::snapshot(pair, book)),
        }
    }

    fn depth_symbol(&self, _: &str) -> Option<String> {
        // Books come over the socket.
        None
    }

    fn standing_topics(&self) -> Vec<Topic> {
        Vec::new()
    }
}

/// Both protocols say so near the front of a frame, which may have megabytes of levels behind it.
fn is_snapshot(frame: &[u8]) -> bool {
    let mark = b"\"type\":\"snapshot\"";
    frame[..frame.len().min(256)].windows(mark.len()).any(|window| window == mark)
}
