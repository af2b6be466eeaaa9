//! The real feed under every fault, at every venue where it can happen: the right record and the right figure, counts
//! exact where the emulator knows them, the other instrument and the other venues untouched. See `docs/reliability.md`.

#[path = "../common/mod.rs"]
mod common;

mod absent;
mod at_once;
mod books;
mod frames;
mod plant;
mod sockets;
mod table;
mod trades;
mod trust;

use emulator::Extent;
use serde_json::Value;
use std::collections::BTreeSet;

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

fn number(line: &Value, key: &str) -> u64 {
    text(line, key).parse().unwrap_or_else(|_| panic!("{key} of {line} is no id"))
}

/// The gaps told of one stream.
fn gaps<'a>(told: &'a [Value], stream: &str, symbol: &str) -> Vec<&'a Value> {
    let fits = |l: &&Value| l["type"] == "gap" && l["stream"] == stream && l["symbol"] == symbol;
    told.iter().filter(fits).collect()
}

/// The ids in gaps of one stream.
fn gap_ids(told: &[Value], stream: &str, symbol: &str) -> BTreeSet<u64> {
    let ranged = gaps(told, stream, symbol).into_iter().filter(|gap| gap["first"].is_string());
    ranged.flat_map(|gap| number(gap, "first")..=number(gap, "last")).collect()
}

/// The causes of the gaps of one stream, each once.
fn causes(told: &[Value], stream: &str, symbol: &str) -> String {
    let causes: BTreeSet<&str> = gaps(told, stream, symbol).into_iter().map(|gap| text(gap, "cause")).collect();
    causes.into_iter().collect::<Vec<_>>().join(" and ")
}

/// The ids that a fault hit.
fn hit_ids(extents: &[Extent]) -> BTreeSet<u64> {
    extents.iter().flat_map(|extent| extent.ids.iter().flat_map(|(first, last)| *first..=*last)).collect()
}

/// The trades told of a symbol, each once, or late with a flag.
struct Trades {
    all: BTreeSet<u64>,
    late: BTreeSet<u64>,
    /// Times a trade was told again.
    twice: u64,
}

fn trades(told: &[Value], symbol: &str) -> Trades {
    let mut trades = Trades { all: BTreeSet::new(), late: BTreeSet::new(), twice: 0 };
    // Where the venue has no ids there is nothing to compare.
    for line in told.iter().filter(|l| l["type"] == "trade" && l["symbol"] == symbol && l["trade_id"].is_string()) {
        let id = number(line, "trade_id");
        trades.twice += u64::from(!trades.all.insert(id));
        if line["late"] == true {
            trades.late.insert(id);
        }
    }
    trades
}

/// The statuses told of a symbol's book or stream with this state.
fn statuses<'a>(told: &'a [Value], symbol: &str, state: &str) -> Vec<&'a Value> {
    told.iter().filter(|l| l["type"] == "status" && l["symbol"] == symbol && l["state"] == state).collect()
}

/// What was told of an instrument that nothing was done to: gaps, and states of trouble.
fn trouble(told: &[Value], symbol: &str) -> u64 {
    let troubled = ["suspect", "stale", "down", "halted", "resyncing"];
    let bad = |l: &&Value| {
        let state = l["type"] == "status" && troubled.contains(&text(l, "state"));
        // Shares are halted by their exchange now and then: that is the market's own.
        l["symbol"] == symbol && (l["type"] == "gap" || state && l["reason"] != "venue")
    };
    told.iter().filter(bad).inspect(|l| println!("trouble: {l}")).count() as u64
}

/// Trades of a symbol that are neither told nor in a gap, between the first and the last told.
fn holes(told: &[Value], symbol: &str) -> u64 {
    let (trades, gaps) = (trades(told, symbol), gap_ids(told, "trade", symbol));
    let (Some(first), Some(last)) = (trades.all.first(), trades.all.last()) else { return 0 };
    (*first..=*last).filter(|id| !trades.all.contains(id) && !gaps.contains(id)).count() as u64
}

/// Lets the same happen at several venues at once; each mostly waits.
fn each<T: Send>(cases: Vec<T>, story: impl Fn(T) + Sync) {
    let failed = std::thread::scope(|scope| {
        let threads: Vec<_> = cases.into_iter().map(|case| scope.spawn(|| story(case))).collect();
        threads.into_iter().map(|thread| thread.join()).filter(Result::is_err).count()
    });
    assert_eq!(failed, 0, "venues failed; their words stand above");
}

/// How many frames were hit.
fn frames(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.count).sum()
}

/// A count and its noun.
fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}
