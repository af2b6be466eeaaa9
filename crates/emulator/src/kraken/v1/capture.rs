//! Captured v1 arrays: which stream each belongs to, what moves with time, and what it does to a book.

use book::Book;
use model::{Price, Qty, Side, StreamKind};

use super::topic_name;
use crate::market::{CapturedFrame, Pair, Patch, PatchKind, Topic, walk};

/// Reads a line that is an array; `None` for channels that are not served.
pub(crate) fn read(line: &str) -> Result<Option<CapturedFrame>, String> {
    // The channel and the pair are the last two texts of every frame.
    let mut last = ["", ""];
    let (mut patches, mut prices, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    walk(line.as_bytes(), |path, index, text, at| {
        last = [last[1], text];
        let range = at..at + text.len();
        let in_list = matches!(path, ["as" | "bs" | "a" | "b"]);
        // Lists of trades have no key, and their entries as many texts: price, size and time first, like levels.
        let in_trade = path.is_empty() && text.contains('.') && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match index {
            0 if in_list || in_trade => prices.push(range),
            1 if in_list || in_trade => sizes.push(range),
            2 if in_list || in_trade => patches.push(Patch { at, len: text.len(), kind: PatchKind::Seconds }),
            _ => {}
        }
    })
    .map_err(|error| error.to_string())?;
    let [channel, name] = last;
    let kind = match channel.split('-').next().unwrap_or_default() {
        "trade" => StreamKind::Trade,
        "book" => StreamKind::Book,
        "ticker" | "spread" => StreamKind::Quote,
        "ohlc" => StreamKind::Bar,
        _ => return Ok(None),
    };
    if !matches!(kind, StreamKind::Trade | StreamKind::Book) {
        // Their lists are other things than levels and trades.
        (patches, prices, sizes) = Default::default();
    }
    let symbol = modern(name);
    let topic = Topic { name: topic_name(channel, &symbol), symbol, kind };
    Ok(Some(CapturedFrame { topic, payload: 0..line.len(), patches, prices, sizes }))
}

/// The symbol as v2 writes it.
fn modern(name: &str) -> String {
    let word = |text: &str| match text {
        "XBT" => "BTC".to_owned(),
        "XDG" => "DOGE".to_owned(),
        other => other.to_owned(),
    };
    name.split_once('/').map_or(name.to_owned(), |(base, quote)| format!("{}/{}", word(base), word(quote)))
}

/// Applies a book frame.
pub(crate) fn apply(frame: &[u8], topic: &Topic, pair: &Pair, book: &mut Book) -> Result<(), String> {
    let depth = topic.name.split([':', '-']).find_map(|part| part.parse().ok()).unwrap_or(usize::MAX);
    let (mut price, mut problem, mut fresh) = (None, None, true);
    let walked = walk(frame, |path, index, text, _| {
        let ([side @ ("as" | "bs" | "a" | "b")], 0 | 1) = (path, index) else { return };
        if side.len() == 2 && std::mem::take(&mut fresh) {
            book.clear();
        }
        let scale = if index == 0 { pair.price_scale } else { pair.size_scale };
        let side = if side.starts_with('b') { Side::Buy } else { Side::Sell };
        match (scan::fixed(text.as_bytes(), scale), index, price) {
            (Ok((mantissa, _)), 0, _) => price = Some(Price(mantissa)),
            (Ok((size, _)), _, Some(price)) => drop(book.set(side, price, Qty(size))),
            (Err(error), ..) => problem = Some(error.to_string()),
            _ => problem = Some("a size without a price".to_owned()),
        }
    });
    book.truncate(depth);
    walked.map_err(|error| error.to_string())?;
    problem.map_or(Ok(()), Err)
}
