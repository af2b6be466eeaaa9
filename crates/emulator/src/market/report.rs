//! How like the real thing a generated session is: spreads, waiting times, trade sizes and depth beside recorded ones.
//! frames of a market -> the venue's machine -> records -> [`Samples`] -> a table of quantiles.
//!
//! Recorded and generated frames take the same way: served by a [`Market`], decoded by this project's own machines, books
//! rebuilt from records. Floats are good enough here; nothing of this comes back into a market.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use book::Book;
use model::{InstrumentId, Price, Qty, Side, UnixNanos, Venue};
use venues::{Outbox, Reply, Settings, VenueMachine};
use wire::Record;

use super::{Log, Market};
use crate::binance;
use crate::options::EmulatedVenue;

/// Decimals that prices and sizes of all instruments are brought to.
const SCALE: u8 = 8;
/// Spreads, depth and moves are looked at this often, ns of the session's time.
const LOOK_NS: u64 = 100_000_000;
/// What is closer together than this came with one read of the socket: one moment, ns.
const MOMENT_NS: u64 = 1_000_000;
/// Levels a REST book is answered with.
const REST_LEVELS: usize = 1_000;
/// Distances from the middle within which sizes are added up, hundredths of a basis point.
const WITHIN: [i64; 3] = [100, 500, 1_000];
/// Levels whose distance from the touch is told.
const RANKS: [usize; 3] = [5, 10, 25];
/// Quantiles told, percent.
const QUANTILES: [usize; 4] = [10, 50, 90, 99];
/// Fewer samples than this say nothing.
const SAMPLES_MIN: usize = 20;

/// What was seen of one instrument.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    by_name: BTreeMap<&'static str, Vec<f64>>,
    book: Book,
    is_live: bool,
    tick: i64,
    last_trade: Option<u64>,
    last_change: Option<u64>,
    looked: u64,
    middle: Option<f64>,
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}

impl Samples {
    fn add(&mut self, name: &'static str, value: f64) {
        self.by_name.entry(name).or_default().push(value);
    }

    fn on_trade(&mut self, price: i64, size: i64, at: u64) {
        self.tick = gcd(self.tick, price);
        self.add("trade size, quote currency", value(price, size));
        // Trades of one taker share a moment: what waits is the next taker.
        if let Some(last) = self.last_trade.replace(at).filter(|last| last + MOMENT_NS < at) {
            self.add("between trades, of the mean", (at - last) as f64);
        }
    }

    fn on_level(&mut self, side: Side, price: i64, size: i64, at: u64) {
        self.tick = gcd(self.tick, price);
        self.book.set(side, Price(price), Qty(size));
        if let Some(last) = self.last_change.replace(at).filter(|last| last + MOMENT_NS < at) {
            self.add("between book changes, of the mean", (at - last) as f64);
        }
    }

    fn look(&mut self, at: u64) {
        if !self.is_live || at < self.looked + LOOK_NS || self.book.is_crossed() {
            return;
        }
        let (Some(bid), Some(ask)) = (self.book.best(Side::Buy), self.book.best(Side::Sell)) else { return };
        self.looked = at;
        let middle = (bid.price.0 + ask.price.0) as f64 / 2.0;
        let spread = (ask.price.0 - bid.price.0) as f64;
        self.add("spread, ticks", spread / self.tick.max(1) as f64);
        self.add("spread, bp", spread / middle * 1e4);
        self.add(
            "size at the touch, quote currency",
            (value(bid.price.0, bid.size.0) + value(ask.price.0, ask.size.0)) / 2.0,
        );
        if let Some(before) = self.middle.replace(middle) {
            self.add("move in 100 ms, bp", (middle / before - 1.0).abs() * 1e4);
        }
        for side in [Side::Buy, Side::Sell] {
            let (mut sums, mut beyond) = ([0.0; WITHIN.len()], false);
            let best = if side == Side::Buy { bid.price.0 } else { ask.price.0 } as f64;
            let mut distances = Vec::new();
            for (rank, level) in self.book.levels(side).enumerate() {
                let away = (level.price.0 as f64 / middle - 1.0).abs() * 1e6;
                for (sum, within) in sums.iter_mut().zip(WITHIN) {
                    if away <= within as f64 {
                        *sum += value(level.price.0, level.size.0);
                    }
                }
                if let Some(name) = RANKS.iter().position(|wanted| *wanted == rank + 1) {
                    distances.push((RANK_NAMES[name], (level.price.0 as f64 / best - 1.0).abs() * 1e4));
                }
                if away > WITHIN[WITHIN.len() - 1] as f64 && rank >= RANKS[RANKS.len() - 1] {
                    beyond = true;
                    break;
                }
            }
            distances.into_iter().for_each(|(name, value)| self.add(name, value));
            // A book that is cut before the distance says nothing of what is within it.
            if beyond {
                WITHIN_NAMES.iter().zip(sums).for_each(|(name, sum)| self.add(name, sum));
            }
        }
    }

    fn finish(&mut self) {
        for (name, values) in &mut self.by_name {
            if name.ends_with("of the mean") {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                values.iter_mut().for_each(|value| *value /= mean);
            }
            values.sort_by(f64::total_cmp);
        }
    }

    fn quantiles(&self, name: &str) -> Option<[f64; QUANTILES.len()]> {
        let values = self.by_name.get(name).filter(|values| values.len() >= SAMPLES_MIN)?;
        Some(QUANTILES.map(|percent| values[(values.len() - 1) * percent / 100]))
    }
}

const WITHIN_NAMES: [&str; WITHIN.len()] =
    ["size within 1 bp, quote currency", "size within 5 bp, quote currency", "size within 10 bp, quote currency"];
const RANK_NAMES: [&str; RANKS.len()] =
    ["level 5 behind the touch, bp", "level 10 behind the touch, bp", "level 25 behind the touch, bp"];
/// The rows of a table.
const ROWS: [&str; 13] = [
    "spread, ticks",
    "spread, bp",
    "move in 100 ms, bp",
    "between trades, of the mean",
    "between book changes, of the mean",
    "trade size, quote currency",
    "size at the touch, quote currency",
    RANK_NAMES[0],
    RANK_NAMES[1],
    RANK_NAMES[2],
    WITHIN_NAMES[0],
    WITHIN_NAMES[1],
    WITHIN_NAMES[2],
];

fn value(price: i64, size: i64) -> f64 {
    price as f64 * size as f64 / 1e16
}

/// Which of a venue's protocols a stream belongs to, as the machine's choice.
fn choices(topic: &str) -> Vec<(String, String)> {
    let api = match topic.split(':').next() {
        Some(api @ ("advanced" | "exchange")) => api,
        _ => return Vec::new(),
    };
    vec![("api".to_owned(), api.to_owned())]
}

struct Observer {
    venue: Venue,
    machines: BTreeMap<Vec<(String, String)>, Box<dyn VenueMachine>>,
    out: Outbox,
    seen: BTreeMap<InstrumentId, Samples>,
}

impl Observer {
    fn new(venue: Venue) -> Self {
        Self { venue, machines: BTreeMap::new(), out: Outbox::new(), seen: BTreeMap::new() }
    }

    fn on_frame(&mut self, topic: &str, frame: &[u8], now: UnixNanos, market: &mut dyn Market) {
        let Self { venue, machines, out, seen } = self;
        let machine = machines.entry(choices(topic)).or_insert_with_key(|choices| {
            let mut machine =
                venues::machine(*venue, &Settings::default(), choices).expect("the choices are the venue's");
            machine.on_connected(now, out);
            out.clear();
            machine
        });
        let whole = match venue {
            Venue::Binance => [b"{\"stream\":\"", topic.as_bytes(), b"\",\"data\":", frame, b"}"].concat(),
            _ => frame.to_vec(),
        };
        // What a recording holds that is no data is set aside, as in a feed.
        let _ = machine.on_frame(&whole, now, out);
        for request in std::mem::take(&mut out.requests) {
            let symbol = request.path.split_once("symbol=").and_then(|(_, rest)| rest.split('&').next()).unwrap_or("");
            let at = market.pairs().iter().position(|pair| pair.symbol == symbol);
            let pair = at.map(|at| market.pairs()[at].clone());
            let book = at.filter(|_| request.path.contains("/depth")).and_then(|at| market.book(at, REST_LEVELS));
            if let Some((pair, book)) = pair.zip(book) {
                let body = binance::depth(&pair, &book);
                let reply = Reply::Http { status: 200, body: body.as_bytes(), retry_after: None };
                machine.on_response(request.id, reply, now, out);
            }
        }
        for record in out.records.records().flatten() {
            see(&record, now.0, &**machine, seen);
        }
        out.clear();
        seen.values_mut().for_each(|samples| samples.look(now.0));
    }

    /// Samples by the venue's own symbol, sorted.
    fn finish(mut self) -> BTreeMap<String, Samples> {
        let machines = std::mem::take(&mut self.machines);
        let symbol = |id: InstrumentId| {
            let mut known = machines.values().map(|machine| machine.instruments());
            known.find_map(|set| set.index_of(id).map(|index| set.get(index).venue_symbol.clone()))
        };
        let named = self.seen.into_iter().filter_map(|(id, samples)| Some((symbol(id)?, samples)));
        let mut named: BTreeMap<String, Samples> = named.collect();
        named.values_mut().for_each(Samples::finish);
        named
    }
}

fn see(record: &Record<'_>, now: u64, machine: &dyn VenueMachine, seen: &mut BTreeMap<InstrumentId, Samples>) {
    let header = match record {
        Record::Trade(trade) => trade.header,
        Record::BookChange(change) => change.header,
        Record::SnapshotBegin(begin) => begin.header,
        Record::SnapshotEnd(end) => end.header,
        _ => return,
    };
    let id = header.instrument();
    let Some(index) = machine.instruments().index_of(id) else { return };
    let instrument = machine.instruments().get(index);
    let at_scale = |mantissa: i64, scale: u8| mantissa * 10_i64.pow(SCALE.saturating_sub(scale).into());
    let samples = seen.entry(id).or_default();
    match record {
        Record::Trade(trade) => {
            let (price, size) =
                (at_scale(trade.price, instrument.price_scale), at_scale(trade.size, instrument.size_scale));
            samples.on_trade(price, size, now);
        }
        Record::BookChange(change) => {
            let (price, size) =
                (at_scale(change.price, instrument.price_scale), at_scale(change.size, instrument.size_scale));
            if let Some(side) = change.header.flags().side() {
                samples.on_level(side, price, size, now);
            }
        }
        Record::SnapshotBegin(_) => {
            samples.book.clear();
            samples.is_live = false;
        }
        _ => samples.is_live = true,
    }
}

/// The streams that a report reads.
fn is_wanted(venue: EmulatedVenue, topic: &str) -> bool {
    match venue {
        EmulatedVenue::Binance => {
            !topic.contains('#') && ["@trade", "@depth@100ms"].iter().any(|end| topic.ends_with(end))
                || topic.ends_with("@aggTrade")
        }
        EmulatedVenue::Kraken => topic.starts_with("trade:") || topic.starts_with("book:"),
        EmulatedVenue::Coinbase => !topic.contains(":full:") && !topic.contains("ticker"),
        EmulatedVenue::Alpaca => topic.starts_with("crypto:trades:") || topic.starts_with("crypto:orderbooks:"),
    }
}

/// The streams of a generated session that are read: one kind of book, and trades once.
fn is_wanted_generated(venue: EmulatedVenue, topic: &str) -> bool {
    is_wanted(venue, topic)
        && match venue {
            EmulatedVenue::Binance => !topic.ends_with("@aggTrade"),
            EmulatedVenue::Kraken => topic.starts_with("trade:") || topic.ends_with(":1000"),
            EmulatedVenue::Coinbase => {
                topic.starts_with("exchange:matches:") || topic.starts_with("exchange:level2_batch:")
            }
            EmulatedVenue::Alpaca => true,
        }
}

fn protocol(venue: EmulatedVenue) -> Venue {
    match venue {
        EmulatedVenue::Kraken => Venue::Kraken,
        EmulatedVenue::Binance => Venue::Binance,
        EmulatedVenue::Coinbase => Venue::Coinbase,
        EmulatedVenue::Alpaca => Venue::Alpaca,
    }
}

/// Runs a market from `begin` for `length_ns` of its own time, or to its end.
pub(crate) fn observe(
    venue: EmulatedVenue,
    market: &mut dyn Market,
    generated: bool,
    begin: UnixNanos,
    length_ns: u64,
) -> BTreeMap<String, Samples> {
    let wanted = |topic: &str| if generated { is_wanted_generated(venue, topic) } else { is_wanted(venue, topic) };
    let topics: Vec<String> = market.topics().iter().map(|topic| topic.name.clone()).collect();
    let readers: Vec<u32> = topics.iter().map(|topic| u32::from(wanted(topic))).collect();
    let (mut observer, mut log) = (Observer::new(protocol(venue)), Log::default());
    let (mut now, nobody) = (begin, vec![0; topics.len()]);
    if generated {
        for (at, topic) in topics.iter().enumerate().filter(|(at, _)| readers[*at] > 0) {
            let snapshot = market.join(at as super::TopicId, now, &nobody, &mut log).snapshot;
            if let Some(frame) = snapshot {
                observer.on_frame(topic, &frame, now, market);
            }
        }
    }
    while now.0 < begin.0 + length_ns && !market.is_over() {
        market.advance(now, &readers, &mut log);
        let head = log.head();
        let frames = log.split_off(head - log.len() as u64);
        for (topic, frame) in frames {
            observer.on_frame(&topics[topic as usize], &frame, now, market);
        }
        let Some(due) = market.next_due() else { break };
        now = due.max(now.after(std::time::Duration::from_nanos(1)));
    }
    observer.finish()
}

/// The table: each recorded instrument beside the generated one of the same base asset, or the first.
pub(crate) fn table(generated: &BTreeMap<String, Samples>, recorded: &BTreeMap<String, Samples>) -> String {
    let mut out = String::new();
    let base = |symbol: &str| symbol.chars().take(3).collect::<String>().replace("XBT", "BTC");
    let line = |out: &mut String, name: &str, ours: Option<[f64; 4]>, theirs: Option<[f64; 4]>| {
        let cells = |of: Option<[f64; 4]>| match of {
            Some(values) => values.map(|value| format!("{:>10}", short(value))).concat(),
            None => format!("{:>40}", "-"),
        };
        let ratio = ours.zip(theirs).filter(|(_, theirs)| theirs[1] > 0.0).map(|(ours, theirs)| ours[1] / theirs[1]);
        let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let _ = writeln!(out, "{name:<36}{}  |{}  {ratio:>7}", cells(ours), cells(theirs));
    };
    let heads = QUANTILES.map(|percent| format!("{:>10}", format!("p{percent}"))).concat();
    let mut pairs: Vec<(&String, Option<&String>)> = Vec::new();
    for symbol in recorded.keys() {
        let like = generated.keys().find(|known| base(known) == base(symbol)).or_else(|| generated.keys().next());
        pairs.extend(like.map(|like| (like, Some(symbol))));
    }
    if pairs.is_empty() {
        pairs.extend(generated.keys().map(|symbol| (symbol, None)));
    }
    for (ours, theirs) in pairs {
        let name = theirs.map_or("nothing recorded", String::as_str);
        let _ = writeln!(
            out,
            "\n{:<36}{:>40}  |{:>40}    ratio",
            "",
            format!("generated {ours}"),
            format!("recorded {name}")
        );
        let _ = writeln!(out, "{:<36}{heads}  |{heads}   of p50", "");
        for row in ROWS {
            let recorded = theirs.and_then(|theirs| recorded[theirs].quantiles(row));
            line(&mut out, row, generated[ours].quantiles(row), recorded);
        }
    }
    out
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100_000.0 => format!("{:.0}k", value / 1_000.0),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.4}"),
        _ => format!("{value:.6}"),
    }
}

/// Runs the generated session and each capture, and writes the table.
pub(crate) fn report(
    venue: EmulatedVenue,
    session: &crate::GeneratedSession,
    rate: crate::Rate,
    seconds: u64,
    captures: &[std::path::PathBuf],
) -> Result<String, crate::StartError> {
    let begin = UnixNanos(1_700_000_000_000_000_000);
    super::many::check(session)?;
    let mut generated = crate::server::generated(venue, session, crate::server::pace(rate), 1_000_000, begin);
    let length_ns = seconds.saturating_mul(1_000_000_000);
    let ours = observe(venue, &mut *generated, true, begin, length_ns);
    let mut theirs = BTreeMap::new();
    for path in captures {
        let recorded =
            crate::RecordedSession { paths: vec![path.clone()], times: crate::Times::Recorded, passes: Some(1) };
        let mut market = crate::server::recorded(venue, &recorded, crate::Rate::Thousandths(1_000))?;
        theirs.extend(observe(venue, &mut *market, false, begin, u64::MAX / 4));
    }
    Ok(table(&ours, &theirs))
}
