//! `alphapulse verify loss`: whether what an emulator sent is what a consumer received, or was said to be missing.
//! journal + tap's lines (or rings) -> one line, exit status 0, 1 or 2.

mod content;
mod frames;
mod ids;
mod ledger;
mod report;
mod sent;
mod symbols;
mod told;

use crate::venue_name;
use anyhow::bail;
use clap::Args;
use frames::{Event, Protocol};
use ledger::Ledger;
use model::Venue;
use report::{Report, Stream};
use sent::{Sent, Visitor};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    process::ExitCode,
};

/// Exit status 0 when everything sent was told once, in order and as sent, or was said to be missing; 1 otherwise; 2
/// when it cannot be said. See docs/verify.md for what each figure means.
#[derive(Args)]
pub struct LossArgs {
    /// The journal of the venue's emulator: the folder that emulator.VENUE.journal names.
    #[arg(long, value_name = "FOLDER")]
    sent: PathBuf,
    /// What was received: lines of `alphapulse tap` in files, `-` for standard input, a .ring file or a directory of
    /// rings.
    #[arg(long, value_name = "WHAT", num_args = 1.., required = true)]
    received: Vec<PathBuf>,
    /// The venue, where the protocol alone does not say (binance_us).
    #[arg(long, value_parser = venue_name)]
    venue: Option<Venue>,
    /// Only these symbols; without it those the consumer heard of.
    #[arg(long = "symbol", value_delimiter = ',')]
    symbols: Vec<String>,
    /// Connections with this in their address were not the consumer's: what they were sent was sent, but a gap may name
    /// it. May be repeated.
    #[arg(long, value_name = "TEXT")]
    others: Vec<String>,
    /// What was sent before the first and after the last received counts too.
    #[arg(long)]
    whole: bool,
    /// What was sent within so many seconds of the consumer's end need not have arrived.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    grace: f64,
    /// Details of each kind on standard error.
    #[arg(long, value_name = "N", default_value_t = 10)]
    details: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(args: &LossArgs) -> anyhow::Result<ExitCode> {
    let venue = match args.venue {
        Some(venue) => venue,
        None => venue_of(sent::protocol(&sent::connections(&args.sent, &[])?)?),
    };
    let mut ledger = Ledger::new(args.details);
    ledger.whole = args.whole;
    ledger.grace = (args.grace.max(0.0) * 1e9) as u64;
    // Alpaca's ids come from many exchanges and have no order.
    ledger.ids_rise = venue != Venue::Alpaca;
    ledger.report.venue = venue.name().to_owned();
    hear(&mut ledger, args, venue)?;
    for symbol in &args.symbols {
        let number = ledger.symbols.number(symbol);
        ledger.wanted.push(number);
    }
    // Only now: a pipe ends when the consumer does, and connections may have come until then.
    let connections = sent::connections(&args.sent, &args.others)?;
    let counted = sent::walk(&args.sent, &connections, &mut ledger)?;
    ledger.judge();
    let mut report = ledger.report;
    (report.frames, report.unreadable) = (counted.frames, counted.unreadable);
    report.connections = counted.connections;
    place_details(&mut report, args, &connections)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.line());
    }
    for detail in &report.details {
        let kind = serde_json::to_value(detail.kind)?;
        let kind = kind.as_str().unwrap_or_default().replace('_', " ");
        eprintln!("{kind}: {} {}", detail.what, detail.place);
    }
    Ok(ExitCode::from(u8::from(!report.is_good())))
}

fn venue_of(protocol: Protocol) -> Venue {
    match protocol {
        Protocol::Kraken => Venue::Kraken,
        Protocol::Binance => Venue::Binance,
        Protocol::Coinbase => Venue::Coinbase,
        Protocol::Alpaca => Venue::Alpaca,
    }
}

fn hear(ledger: &mut Ledger, args: &LossArgs, venue: Venue) -> anyhow::Result<()> {
    let mut others: BTreeMap<String, u64> = BTreeMap::new();
    let mut lines = 0;
    for what in &args.received {
        told::read(what, &mut |place, line| {
            let of = line.venue.as_deref().unwrap_or(venue.name());
            if of == venue.name() {
                lines += 1;
                ledger.hear(place, line);
            } else if let Some(count) = others.get_mut(of) {
                *count += 1;
            } else {
                others.insert(of.to_owned(), 1);
            }
        })?;
    }
    ledger.report.lines = lines;
    if lines == 0 {
        let names: Vec<_> = args.received.iter().map(|w| w.display().to_string()).collect();
        let told: Vec<_> = others.keys().map(String::as_str).collect();
        let told = if told.is_empty() { "of nothing".to_owned() } else { format!("of {} only", told.join(", ")) };
        bail!("{} was sent, and {} tells {told}", venue.name(), names.join(", "));
    }
    Ok(())
}

/// Finds the frames of what is wrong: a second reading, which nobody pays for while all is well.
fn place_details(report: &mut Report, args: &LossArgs, connections: &[sent::Connection]) -> anyhow::Result<()> {
    struct Search {
        symbols: symbols::Symbols,
        wanted: HashMap<(usize, Stream, u64), usize>,
        places: Vec<(usize, String)>,
    }
    impl Visitor for Search {
        fn sent(&mut self, sent: &Sent, symbol: &str, event: Event) {
            let (stream, id) = match event {
                Event::Trade { id: Some(id), .. } => (Stream::Trade, id),
                Event::Order { sequence } => (Stream::Order, sequence),
                _ => return,
            };
            let number = self.symbols.number(symbol);
            if let Some(at) = self.wanted.remove(&(number, stream, id)) {
                self.places.push((at, sent.place.to_string()));
            }
        }
        fn end_of_connection(&mut self, _: bool) {}
    }
    let mut search = Search { symbols: symbols::Symbols::default(), wanted: HashMap::new(), places: vec![] };
    for (at, stream, name, id) in report.unplaced() {
        let number = search.symbols.number(name);
        search.wanted.insert((number, stream, id), at);
    }
    if search.wanted.is_empty() {
        return Ok(());
    }
    sent::walk(&args.sent, connections, &mut search)?;
    for (at, place) in search.places {
        report.details[at].place = place;
    }
    Ok(())
}
