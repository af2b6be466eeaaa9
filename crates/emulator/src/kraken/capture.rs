//! Captured WebSocket frames, v2's here and v1's arrays beside: which stream each belongs to, and what in it moves with time and pass.

use book::Book;
use model::{Price, Qty, Side, StreamKind, UnixNanos};

use super::{DEPTHS, frames, v1};
use crate::market::{BookView, CaptureFormat, CapturedFrame, Pair, Patch, PatchKind, Topic, walk};

#[derive(Debug)]
pub(crate) struct Format;

impl CaptureFormat for Format {
    fn read(&self, line: &str, remembered: &mut Vec<(String, String)>) -> Result<Option<CapturedFrame>, String> {
        if line.starts_with('[') {
            return v1::read(line);
        }
        let (mut channel, mut symbol, mut option) = ("", "", None);
        let (mut is_ack, mut levels) = (false, [0_usize; 2]);
        let mut frame = CapturedFrame {
            topic: Topic { name: String::new(), symbol: String::new(), kind: StreamKind::Book },
            payload: 0..line.len(),
            patches: Vec::new(),
            prices: Vec::new(),
            sizes: Vec::new(),
        };
        walk(line.as_bytes(), |path, index, text, at| {
            let range = at..at + text.len();
            match path {
                ["channel"] | ["result", "channel"] => channel = text,
                ["method"] => is_ack = true,
                ["result", "symbol"] | ["data", "symbol"] => symbol = text,
                ["result", "depth" | "interval" | "event_trigger"] | ["data", "interval"] => option = Some(text),
                ["data", "bids", "price"] => {
                    levels[0] = index + 1;
                    frame.prices.push(range);
                }
                ["data", "asks", "price"] => {
                    levels[1] = index + 1;
                    frame.prices.push(range);
                }
                ["data", "price"] => frame.prices.push(range),
                ["data", "bids" | "asks", "qty"] | ["data", "qty"] => frame.sizes.push(range),
                ["data", "trade_id"] => frame.patches.push(Patch { at, len: text.len(), kind: PatchKind::Id }),
                ["timestamp"] | ["data", "timestamp" | "interval_begin"] => {
                    frame.patches.push(Patch { at, len: text.len(), kind: PatchKind::Rfc3339 });
                }
                _ => {}
            }
        })
        .map_err(|error| error.to_string())?;
        let key = format!("{channel}:{symbol}");
        if is_ack {
            if let Some(option) = option {
                remembered.push((key, option.to_owned()));
            }
            return Ok(None);
        }
        let known = remembered.iter().rfind(|(known, _)| *known == key).map(|(_, option)| option.clone());
        let (name, kind) = match channel {
            "trade" => (key, StreamKind::Trade),
            "ticker" => (format!("{key}:{}", known.as_deref().unwrap_or("trades")), StreamKind::Quote),
            "ohlc" => (format!("{key}:{}", option.unwrap_or("1")), StreamKind::Bar),
            "book" => {
                let depth = known.unwrap_or_else(|| {
                    let held = levels[0].max(levels[1]);
                    let depth = DEPTHS.iter().find(|depth| **depth >= held).unwrap_or(&DEPTHS[DEPTHS.len() - 1]);
                    remembered.push((key.clone(), depth.to_string()));
                    depth.to_string()
                });
                (format!("{key}:{depth}"), StreamKind::Book)
            }
            _ => return Ok(None),
        };
        frame.topic = Topic { name, symbol: symbol.to_owned(), kind };
        Ok(Some(frame))
    }

    fn split(&self, symbol: &str) -> (String, String) {
        let (base, quote) = symbol.split_once('/').unwrap_or((symbol, ""));
        (base.to_owned(), quote.to_owned())
    }

    fn apply(&self, frame: &[u8], topic: &Topic, pair: &Pair, _: u64, book: &mut Book) -> Result<Option<u64>, String> {
        if topic.name.starts_with("v1:") {
            return v1::apply(frame, topic, pair, book).map(|()| None);
        }
        let depth = topic.name.rsplit(':').next().and_then(|depth| depth.parse().ok()).unwrap_or(DEPTHS[0]);
        let mut price = None;
        let mut problem = None;
        let walked = walk(frame, |path, _, text, _| match path {
            ["type"] if text == "snapshot" => book.clear(),
            ["data", "bids" | "asks", "price"] => match scan::fixed(text.as_bytes(), pair.price_scale) {
                Ok((mantissa, _)) => price = Some(Price(mantissa)),
                Err(error) => problem = Some(error.to_string()),
            },
            ["data", side @ ("bids" | "asks"), "qty"] => {
                let side = if *side == "bids" { Side::Buy } else { Side::Sell };
                match (price.take(), scan::fixed(text.as_bytes(), pair.size_scale)) {
                    (Some(price), Ok((size, _))) => {
                        book.set(side, price, Qty(size));
                    }
                    (_, Err(error)) => problem = Some(error.to_string()),
                    (None, _) => problem = Some("a size without a price".to_owned()),
                }
            }
            _ => {}
        });
        book.truncate(depth);
        match (walked, problem) {
            (Err(error), _) => Err(error.to_string()),
            (_, Some(problem)) => Err(problem),
            _ => Ok(None),
        }
    }

    fn snapshot(&self, topic: &Topic, pairs: &[Pair], book: Option<&BookView>, now: UnixNanos) -> Option<Vec<u8>> {
        if topic.kind == StreamKind::Instrument {
            let mut out = Vec::new();
            frames::push_instruments("snapshot", pairs, &mut out);
            return Some(out);
        }
        let pair = pairs.iter().find(|pair| pair.symbol == topic.symbol)?;
        match topic.name.strip_prefix("v1:").and_then(|rest| rest.split(':').next()) {
            Some(channel) => book.map(|book| v1::snapshot(pair, channel, book, now)),
            None => book.map(|book| frames::book_snapshot(pair, book, now)),
        }
    }

    fn depth_symbol(&self, _: &str) -> Option<String> {
        // Kraken's books come over the socket; its REST depth has no place in a session.
        None
    }

    fn standing_topics(&self) -> Vec<Topic> {
        vec![Topic { name: "instrument".to_owned(), symbol: String::new(), kind: StreamKind::Instrument }]
    }
}
