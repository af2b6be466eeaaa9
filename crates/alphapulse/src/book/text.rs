//! The picture for those who have no terminal: plain text, or one line of JSON.

use super::picture::{IMBALANCE_LEVELS, Level, Picture, clock_time, fixed, short};
use serde_json::{Value, json};

/// A picture of some twenty lines.
pub fn plain(p: &Picture, depth: usize) -> String {
    let mut text =
        format!("{} {} ({}){}\n", p.venue, p.symbol, p.venue_symbol, if p.simulated { " SIMULATED" } else { "" });
    text += &format!("state {} ({}) since {} UTC", p.state, p.reason, clock_time(p.since));
    if let Some(age) = p.age() {
        text += &format!(", age {}", short(age));
    }
    text += &format!(", epoch {} sequence {}\n", p.epoch, p.sequence);
    if !p.is_live() {
        text += "NOT LIVE: what follows is what was known last\n";
    }
    text += &format!("{}\n\n", summary(p));
    let decimals = p.price_decimals();
    let rows = p.bids.len().max(p.asks.len()).min(depth);
    text += &format!("{:>14} {:>14} {:>14} | {:<14} {:<14} {:<14}\n", "sum", "size", "bid", "ask", "size", "sum");
    let (mut bids, mut asks) = (0, 0);
    for n in 0..rows {
        let cells = |level: Option<&Level>, sum: &mut i128| {
            level.map_or(Default::default(), |l| {
                *sum += l.size;
                [p.size(*sum).to_string(), p.size(l.size).to_string(), fixed(p.price(l.price), decimals)]
            })
        };
        let [sum, size, price]: [String; 3] = cells(p.bids.get(n), &mut bids);
        text += &format!("{sum:>14} {size:>14} {price:>14} | ");
        let [sum, size, price]: [String; 3] = cells(p.asks.get(n), &mut asks);
        text += format!("{price:<14} {size:<14} {sum:<14}").trim_end();
        text.push('\n');
    }
    text + &format!("{} bids and {} asks in the book\n", p.levels[0], p.levels[1])
}

/// Spread, mid and imbalance in words.
pub fn summary(p: &Picture) -> String {
    let Some(spread) = p.spread() else { return "no spread: a side is empty".to_owned() };
    let mut text = format!("spread {}", p.price(spread));
    if let Some(ticks) = p.spread_ticks() {
        text +=
            &format!(" = {} tick{}", (ticks * 10.0).round() / 10.0, if (ticks - 1.0).abs() < 1e-9 { "" } else { "s" });
    }
    if let Some(bp) = p.spread_bp() {
        text += &format!(" ({bp:.2} bp)");
    }
    if let Some(mid) = p.mid() {
        text += &format!(", mid {mid}");
    }
    if let Some(imbalance) = p.imbalance() {
        text += &format!(", imbalance({IMBALANCE_LEVELS}) {imbalance:+.2}");
    }
    text
}

/// One line with everything in it; prices and sizes are decimal strings, times ns.
pub fn json(p: &Picture, depth: usize) -> String {
    let levels = |side: &[Level]| -> Vec<Value> {
        side.iter().take(depth).map(|l| json!([p.price(l.price).to_string(), p.size(l.size).to_string()])).collect()
    };
    let line = json!({
        "type": "latest",
        "venue": p.venue.name(),
        "symbol": p.symbol,
        "venue_symbol": p.venue_symbol,
        "state": p.state.name(),
        "reason": p.reason.name(),
        "since": p.since.0,
        "live": p.is_live(),
        "simulated": p.simulated,
        "epoch": p.epoch,
        "seq": p.sequence,
        "ts_event": p.ts_event.0,
        "ts_recv": p.ts_recv.0,
        "now": p.now.0,
        "age_ms": p.age().map(|age| age.as_millis() as u64),
        "spread": p.spread().map(|spread| p.price(spread).to_string()),
        "spread_ticks": p.spread_ticks(),
        "mid": p.mid().map(|mid| mid.to_string()),
        "imbalance": p.imbalance(),
        "bid_levels": p.levels[0],
        "ask_levels": p.levels[1],
        "bids": levels(&p.bids),
        "asks": levels(&p.asks),
    });
    format!("{line}\n")
}
