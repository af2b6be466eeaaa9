//! What was told, held against what was sent.

use super::{
    common::journal::number,
    sent::{BookFrame, OrderStep, Sent, digits},
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Prices and sizes here have so many decimals; the venues' have no more.
const DECIMALS: usize = 12;

/// Levels of a side by price.
type Side = BTreeMap<i128, i128>;

/// A book as price and size texts.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Book {
    bids: Side,
    asks: Side,
}

impl Book {
    fn apply(&mut self, frame: &BookFrame) {
        if frame.is_whole {
            *self = Book::default();
        }
        for (side, levels) in [(&mut self.bids, &frame.bids), (&mut self.asks, &frame.asks)] {
            for (price, size) in levels {
                match units(size) {
                    0 => side.remove(&units(price)),
                    size => side.insert(units(price), size),
                };
            }
        }
    }
}

fn of<'a>(told: &'a [Value], kind: &str, symbol: &str) -> Vec<&'a Value> {
    told.iter().filter(|l| l["type"] == kind && l["symbol"] == symbol).collect()
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_else(|| panic!("{key} in {line}"))
}

/// The trades told of a symbol, each once, with the numbers sent; in the order sent where they were not told late.
pub fn trades(told: &[Value], sent: &Sent, symbol: &str) -> Vec<String> {
    let sent = sent.trades.get(symbol).unwrap_or_else(|| panic!("no trade of {symbol} was sent"));
    let by_id: BTreeMap<&str, &str> = sent.iter().map(|(id, line)| (id.as_str(), line.as_str())).collect();
    let (mut ids, mut seen) = (vec![], BTreeSet::new());
    for l in of(told, "trade", symbol) {
        let id = text(l, "trade_id");
        let line = format!("{} {} {}", text(l, "side"), number(text(l, "price")), number(text(l, "size")));
        assert!(seen.insert(id.to_owned()), "told twice: {l}");
        match by_id.get(id) {
            Some(sent) => assert_eq!(line, **sent, "{symbol} {id}"),
            None => assert_eq!(l["late"], true, "{symbol} {id} was never sent: {l}"),
        }
        ids.push(id.to_owned());
    }
    // What was sent between the first and the last told is told.
    let position = |id: &str| sent.iter().position(|(sent, _)| sent == id);
    let told_of_sent: Vec<usize> = ids.iter().filter_map(|id| position(id)).collect();
    let (first, last) = (told_of_sent.iter().min().expect("trades"), told_of_sent.iter().max().expect("trades"));
    for (id, _) in &sent[*first..=*last] {
        assert!(seen.contains(id), "{symbol} {id} was sent and not told");
    }
    ids
}

/// The trades of a venue that has no ids: a piece of what was sent, in order.
pub fn trades_without_ids(told: &[Value], sent: &Sent, symbol: &str) -> usize {
    let line = |l: &&Value| format!("{} {} {}", text(l, "side"), number(text(l, "price")), number(text(l, "size")));
    let told: Vec<String> = of(told, "trade", symbol).iter().map(line).collect();
    let sent: Vec<&String> = sent.trades[symbol].iter().map(|(_, line)| line).collect();
    let found = (0..=sent.len() - told.len()).any(|at| sent[at..at + told.len()].iter().copied().eq(&told));
    assert!(found, "{symbol}: {told:?} in {sent:?}");
    told.len()
}

/// Ids that follow one another have no holes.
pub fn contiguous(symbol: &str, ids: &[String]) {
    let ids: BTreeSet<u64> = ids.iter().map(|id| id.parse().expect("a number")).collect();
    let (first, last) = (ids.first().expect("trades"), ids.last().expect("trades"));
    let missing: Vec<u64> = (*first..=*last).filter(|id| !ids.contains(id)).collect();
    assert!(missing.is_empty(), "{symbol}: {missing:?} are missing");
}

/// The quotes told are a piece of those sent.
pub fn quotes(told: &[Value], sent: &Sent, symbol: &str) -> usize {
    let side = |l: &Value, price: &str, size: &str| format!("{}x{}", number(text(l, price)), number(text(l, size)));
    let line = |l: &&Value| format!("{} {}", side(l, "bid", "bid_size"), side(l, "ask", "ask_size"));
    let told: Vec<String> = of(told, "quote", symbol).iter().map(line).collect();
    let sent = &sent.quotes[symbol];
    assert!(told.len() <= sent.len(), "{symbol}: {} quotes told, {} sent", told.len(), sent.len());
    let found = (0..=sent.len() - told.len()).any(|at| sent[at..at + told.len()] == told[..]);
    assert!(found, "{symbol}: the quotes told are not those sent");
    told.len()
}

/// The frame of a book line.
fn frame_of(line: &Value) -> BookFrame {
    let side = |key: &str| {
        let levels = line[key].as_array().expect("levels").iter();
        levels.map(|l| (digits(&l[0]), digits(&l[1]))).collect()
    };
    BookFrame { is_whole: line["kind"] == "snapshot", bids: side("bids"), asks: side("asks") }
}

/// Every change told is the next one sent, and every snapshot told is the book that was sent so far, or the next whole
/// one: after a break, nothing but a whole book lets it go on. The book in the end is the venue's. Returns how many
/// changes and snapshots were compared.
pub fn book(told: &[Value], sent: &Sent, symbol: &str) -> (usize, usize) {
    let frames = &sent.books[symbol];
    let (mut at, mut theirs, mut ours) = (0, Book::default(), Book::default());
    let (mut updates, mut snapshots) = (0, 0);
    for line in of(told, "book", symbol) {
        let frame = frame_of(line);
        ours.apply(&frame);
        if frame.is_whole {
            snapshots += 1;
            while theirs != ours {
                let next = frames[at..].iter().position(|f| f.is_whole);
                at += next.unwrap_or_else(|| panic!("{symbol}: no book that was sent is {line}"));
                theirs.apply(&frames[at]);
                at += 1;
            }
            continue;
        }
        updates += 1;
        while frames[at].is_whole {
            theirs.apply(&frames[at]);
            at += 1;
        }
        assert_eq!(frame, frames[at], "{symbol}: update {updates}");
        theirs.apply(&frames[at]);
        at += 1;
        assert_eq!(ours, theirs, "{symbol}: after update {updates}");
    }
    (updates, snapshots)
}

/// The same where a book is bridged to a snapshot fetched by REST: the changes told are a piece of those sent, without a
/// hole between two snapshots that were asked for.
pub fn changes(told: &[Value], sent: &Sent, symbol: &str) -> usize {
    let frames = &sent.books[symbol];
    let (mut at, mut count, mut anew) = (0, 0, true);
    let mut ours = Book::default();
    for line in told.iter().filter(|l| l["symbol"] == symbol) {
        // A book that is no longer live begins anew, behind what was missed.
        anew |= line["type"] == "status" && line["scope"] == "book" && line["state"] != "live";
        if line["type"] != "book" {
            continue;
        }
        let frame = frame_of(line);
        if frame.is_whole {
            assert!(anew || { let mut b = Book::default(); b.apply(&frame); b == ours }, "{symbol}: another book at {line}");
            ours.apply(&frame);
            continue;
        }
        if anew {
            let found = frames[at..].iter().position(|f| *f == frame);
            at += found.unwrap_or_else(|| panic!("{symbol}: never sent: {line}"));
            anew = false;
        }
        assert_eq!(frame, frames[at], "{symbol}: change {count}");
        ours.apply(&frame);
        (at, count) = (at + 1, count + 1);
    }
    count
}

/// Coinbase's orders: every sequence told once or in an exact gap, and the levels told are what the orders add up to.
pub fn orders(told: &[Value], sent: &Sent, symbol: &str, books: &[(String, Value)]) -> usize {
    let (mut seen, mut ours, mut last) = (BTreeSet::new(), Book::default(), 0);
    for l in told.iter().filter(|l| l["symbol"] == symbol) {
        if l["type"] == "order" {
            last = l["venue_seq"].as_u64().expect("a sequence");
            assert!(seen.insert(last), "told twice: {l}");
        } else if l["type"] == "book" {
            ours.apply(&frame_of(l));
        } else if l["type"] == "gap" && l["stream"] == "order" {
            let id = |k: &str| text(l, k).parse::<u64>().expect("a sequence");
            (id("first")..=id("last")).for_each(|missing| assert!(seen.insert(missing), "told and missing: {l}"));
        }
    }
    let (first, end) = (*seen.first().expect("orders"), *seen.last().expect("orders"));
    let holes: Vec<u64> = (first..=end).filter(|s| !seen.contains(s)).collect();
    assert!(holes.is_empty(), "{symbol}: {holes:?} are neither told nor missing");
    let part = format!("/products/{symbol}/book");
    let (_, whole) = books.iter().rfind(|(url, _)| url.contains(&part)).expect("a book of orders was fetched");
    let theirs = add_up(whole, &sent.orders[symbol], last);
    assert_eq!(ours, theirs, "{symbol} at {last}");
    seen.len()
}

/// The levels of a book of orders at a sequence.
fn add_up(whole: &Value, steps: &[OrderStep], until: u64) -> Book {
    let start = whole["sequence"].as_u64().expect("a sequence");
    let mut orders: BTreeMap<String, (bool, i128, i128)> = BTreeMap::new();
    let decimal = |v: &Value| units(v.as_str().expect("a number as text"));
    for (side, is_bid) in [("bids", true), ("asks", false)] {
        for row in whole[side].as_array().expect("rows") {
            orders.insert(text_at(row, 2), (is_bid, decimal(&row[0]), decimal(&row[1])));
        }
    }
    for OrderStep { sequence, frame: f } in steps.iter().filter(|s| s.sequence > start && s.sequence <= until) {
        match f["type"].as_str().expect("a type") {
            "open" => {
                let order = (f["side"] == "buy", decimal(&f["price"]), decimal(&f["remaining_size"]));
                orders.insert(text(f, "order_id").to_owned(), order);
            }
            "match" => {
                let maker = orders.get_mut(text(f, "maker_order_id")).unwrap_or_else(|| panic!("{sequence}: no maker"));
                maker.2 -= decimal(&f["size"]);
            }
            "change" => {
                if let Some(order) = orders.get_mut(text(f, "order_id")) {
                    order.2 = decimal(&f["new_size"]);
                }
            }
            "done" => {
                orders.remove(text(f, "order_id"));
            }
            _ => {}
        }
    }
    let mut book = Book::default();
    for (is_bid, price, size) in orders.into_values().filter(|(_, _, size)| *size > 0) {
        let side = if is_bid { &mut book.bids } else { &mut book.asks };
        *side.entry(price).or_default() += size;
    }
    book
}

fn text_at(row: &Value, at: usize) -> String {
    row[at].as_str().expect("a text").to_owned()
}

fn units(text: &str) -> i128 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = part.trim_end_matches('0');
    assert!(part.len() <= DECIMALS, "{text} has more decimals");
    format!("{whole}{part:0<DECIMALS$}").parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Nothing was lost, refused or misunderstood from the first live book to the end.
pub fn untroubled(told: &[Value]) {
    let end = told.iter().position(|l| l["text"].as_str().is_some_and(|t| t.contains("shutting down")));
    for line in &told[..end.unwrap_or(told.len())] {
        assert!(line["type"] != "gap", "{line}");
        assert!(line["type"] != "status" || line["reason"] != "refused", "{line}");
        let is_bad = line["state"] == "suspect" || line["state"] == "down" || line["state"] == "stale";
        assert!(line["type"] != "status" || !is_bad, "{line}");
    }
}
