//! The picture for those who have no terminal: plain text, or one line of JSON.

use super::fill::Fill;
use super::picture::{IMBALANCE_LEVELS, Level, Part, Picture, clock_time, fixed, short};
use model::BookState;
use serde_json::{Value, json};
use wire::TableSource;

/// A picture of some twenty lines.
pub fn plain(p: &Picture, depth: usize) -> String {
    let mut text =
        format!("{} {} ({}){}\n", p.place, p.symbol, p.venue_symbol, if p.simulated { " SIMULATED" } else { "" });
    text += &format!("state {} ({}) since {} UTC", p.state, p.reason, clock_time(p.since));
    if let Some(age) = p.age() {
        text += &format!(", age {}", short(age));
    }
    if let Some((epoch, sequence)) = p.record {
        text += &format!(", epoch {epoch} sequence {sequence}");
    }
    text.push('\n');
    if !p.is_live() {
        text += "NOT LIVE: what follows is what was known last\n";
    }
    text += &format!("{}\n\n", summary(p));
    if !p.parts.is_empty() {
        return text + &merged(p, depth);
    }
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
    text + &extent(p) + "\n"
}

/// A consolidated book: who is part of it, then asks above bids, with who has how much.
fn merged(p: &Picture, depth: usize) -> String {
    let mut text: String = p.parts.iter().map(|one| format!("{}\n", part(p, one))).collect();
    let decimals = p.price_decimals();
    let line = |name: &str, level: &Level| {
        let (price, size) = (fixed(p.price(level.price), decimals), p.size(level.size).to_string());
        format!("{name} {price:>14} {size:>14}  {}\n", who(p, level))
    };
    text.push('\n');
    let asks: Vec<String> = p.asks.iter().take(depth).map(|level| line("ask", level)).collect();
    text.extend(asks.into_iter().rev());
    text.extend(p.bids.iter().take(depth).map(|level| line("bid", level)));
    text + &extent(p) + "\n"
}

/// Who has how much of a level.
pub fn who(p: &Picture, level: &Level) -> String {
    let shares: Vec<_> = level.who.iter().map(|(venue, size)| format!("{venue} {}", p.size(*size))).collect();
    shares.join(", ")
}

/// A venue's part in a consolidated book, and why it is none where it is none.
pub fn part(p: &Picture, one: &Part) -> String {
    let name = format!("{} {}", one.venue, one.symbol);
    if let Some(trouble) = &one.trouble {
        return format!("{name}: LEFT OUT, {trouble}");
    }
    let left_out = if one.state == BookState::Live { "" } else { "LEFT OUT, " };
    let age = short(p.now.since(one.ts_recv));
    let (epoch, sequence) = one.record;
    let since = clock_time(one.since);
    format!(
        "{name}: {left_out}{} ({}) since {since} UTC, age {age}, epoch {epoch} sequence {sequence}",
        one.state, one.reason
    )
}

/// How much of it there is.
pub fn extent(p: &Picture) -> String {
    match p.source {
        TableSource::Nothing => "nothing told yet".to_owned(),
        TableSource::Book => format!("{} bids and {} asks in the book", p.levels[0], p.levels[1]),
        TableSource::Quote => "the venue's best bid and offer: it has no book of this".to_owned(),
    }
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
pub fn json(p: &Picture, depth: usize, fill: Option<&Fill>) -> String {
    let levels = |side: &[Level]| -> Vec<Value> {
        let level = |l: &Level| {
            let mut cells = vec![json!(p.price(l.price).to_string()), json!(p.size(l.size).to_string())];
            if !l.who.is_empty() {
                let who = l.who.iter().map(|(venue, size)| (venue.name().to_owned(), json!(p.size(*size).to_string())));
                cells.push(Value::Object(who.collect()));
            }
            Value::Array(cells)
        };
        side.iter().take(depth).map(level).collect()
    };
    let part = |part: &Part| {
        json!({
            "venue": part.venue.name(), "symbol": part.symbol, "state": part.state.name(), "reason": part.reason.name(),
            "since": part.since.0, "ts_recv": part.ts_recv.0,
            "epoch": part.record.0, "seq": part.record.1, "trouble": part.trouble,
        })
    };
    let parts: Option<Vec<Value>> = (!p.parts.is_empty()).then(|| p.parts.iter().map(part).collect());
    let line = json!({
        "type": "latest",
        "venue": p.place,
        "symbol": p.symbol,
        "venue_symbol": p.venue_symbol,
        "state": p.state.name(),
        "reason": p.reason.name(),
        "since": p.since.0,
        "live": p.is_live(),
        "simulated": p.simulated,
        "epoch": p.record.map(|(epoch, _)| epoch),
        "seq": p.record.map(|(_, sequence)| sequence),
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
        "members": parts,
        "fill": fill.map(Fill::json),
    });
    format!("{line}\n")
}
