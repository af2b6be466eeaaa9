//! Captured combined-stream frames: which stream each belongs to, and what in it moves with time and pass.

use book::Book;
use model::{Price, Qty, Side, StreamKind, UnixNanos};

use crate::market::{BookView, CaptureFormat, CapturedFrame, Pair, Patch, PatchKind, Topic, walk};

/// Quote currencies by which a symbol is split; the longer before those they end with.
const QUOTES: [&str; 14] =
    ["FDUSD", "USDT", "USDC", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "GBP", "AUD", "JPY"];

#[derive(Debug)]
pub(crate) struct Format;

impl CaptureFormat for Format {
    fn read(&self, line: &str, _: &mut Vec<(String, String)>) -> Result<Option<CapturedFrame>, String> {
        let Some((stream, payload)) = unwrap(line).map_err(|error| error.to_string())? else { return Ok(None) };
        let name = line[stream].to_owned();
        let kind = match name.split('@').nth(1).unwrap_or_default() {
            "trade" | "aggTrade" => StreamKind::Trade,
            "bookTicker" => StreamKind::Quote,
            other if other.starts_with("depth") => StreamKind::Book,
            other if other.starts_with("kline_") => StreamKind::Bar,
            _ => return Ok(None),
        };
        let mut symbol = String::new();
        let (mut patches, mut prices, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        let mut event = "";
        walk(&line.as_bytes()[payload.clone()], |path, index, text, at| {
            let mut patch = |kind| patches.push(Patch { at, len: text.len(), kind });
            let range = payload.start + at..payload.start + at + text.len();
            match path {
                ["e"] => event = text,
                ["s"] => symbol = text.to_owned(),
                ["E" | "T"] => patch(PatchKind::Millis),
                ["U" | "u" | "lastUpdateId"] => patch(PatchKind::Id),
                ["t"] if event == "trade" => patch(PatchKind::Id),
                ["a" | "f" | "l"] if event == "aggTrade" => patch(PatchKind::Id),
                ["k", "t" | "T"] => patch(PatchKind::MinuteMillis),
                ["k", "f" | "L"] => patch(PatchKind::Id),
                ["p"] => prices.push(range),
                ["q"] => sizes.push(range),
                ["b" | "a"] if event == "depthUpdate" && index == 0 => prices.push(range),
                ["b" | "a"] if event == "depthUpdate" => sizes.push(range),
                _ => {}
            }
        })
        .map_err(|error| error.to_string())?;
        if symbol.is_empty() {
            symbol = name.split('@').next().unwrap_or_default().to_uppercase();
        }
        let topic = Topic { name, symbol, kind };
        Ok(Some(CapturedFrame { topic, payload, patches, prices, sizes }))
    }

    fn split(&self, symbol: &str) -> (String, String) {
        let quote = QUOTES.iter().find(|quote| symbol.len() > quote.len() && symbol.ends_with(**quote));
        let quote = quote.copied().unwrap_or_default();
        (symbol[..symbol.len() - quote.len()].to_owned(), quote.to_owned())
    }

    fn apply(
        &self,
        frame: &[u8],
        _: &Topic,
        pair: &Pair,
        update_id: u64,
        book: &mut Book,
    ) -> Result<Option<u64>, String> {
        let (mut price, mut id, mut problem) = (None, None, None::<String>);
        let walked = walk(frame, |path, index, text, _| match (path, index) {
            (["u"], _) => id = text.parse::<u64>().ok(),
            // The ids come before the levels: what the book has already must not be set back.
            (["b" | "a"], _) if id.is_some_and(|id| id <= update_id) => {}
            (["b" | "a"], 0) => match scan::fixed(text.as_bytes(), pair.price_scale) {
                Ok((mantissa, _)) => price = Some(Price(mantissa)),
                Err(error) => problem = Some(error.to_string()),
            },
            ([side @ ("b" | "a")], 1) => {
                let side = if *side == "b" { Side::Buy } else { Side::Sell };
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
        match (walked, problem) {
            (Err(error), _) => Err(error.to_string()),
            (_, Some(problem)) => Err(problem),
            _ => Ok(id),
        }
    }

    fn snapshot(&self, _: &Topic, _: &[Pair], _: Option<&BookView>, _: UnixNanos) -> Option<Vec<u8>> {
        None
    }

    fn depth_symbol(&self, url_or_name: &str) -> Option<String> {
        if let Some((path, query)) = url_or_name.split_once('?') {
            let symbol = query.split('&').find_map(|pair| pair.strip_prefix("symbol="));
            return path.ends_with("/depth").then(|| symbol.map(str::to_owned)).flatten();
        }
        url_or_name.split(['_', '.']).next().map(str::to_uppercase)
    }

    fn standing_topics(&self) -> Vec<Topic> {
        Vec::new()
    }
}

type Span = std::ops::Range<usize>;

/// Where the stream's name and the payload of a combined frame lie; `None` for frames of other shapes.
fn unwrap(line: &str) -> Result<Option<(Span, Span)>, scan::JsonError> {
    let mut json = scan::Json::new(line.as_bytes());
    let (mut stream, mut payload) = (None, None);
    json.object()?;
    while let Some(key) = json.key()? {
        let at = json.offset();
        match key.raw() {
            "stream" => {
                let text = json.string()?.raw();
                stream = Some(at + 1..at + 1 + text.len());
            }
            "data" => {
                let raw = json.raw_value()?;
                payload = Some(at..at + raw.len());
            }
            _ => json.skip_value()?,
        }
    }
    json.end()?;
    Ok(stream.zip(payload))
}
