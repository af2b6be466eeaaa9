//! `alphapulse verify`: whether a consumer gets every record in order, or is told exactly what it missed (`stream`),
//! whether what an emulator sent is what was received (`loss`), and whether recorded books can be proved (`books`).

pub mod books;
pub mod loss;

use crate::{config::Config, venue_name};
use clap::{Args, Subcommand};
use model::Venue;
use relay::{Client, ClientOptions, Delivery, Slow, Source, Start, Subscription};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use wire::{OverrunRecord, Record, RecordType};

/// What is verified.
#[derive(Subcommand)]
pub enum VerifyCommand {
    /// Read the live stream and check that sequences follow one another without a hole that is not told.
    Stream(StreamArgs),
    /// Replay recorded frames through the books and say what proves them and what disagrees.
    Books(books::BooksArgs),
    /// Compare what an emulator sent, by its journal, with what a consumer received.
    Loss(loss::LossArgs),
}

/// Exit status 0 when every record came in order or was named in an overrun, 1 otherwise.
#[derive(Args)]
pub struct StreamArgs {
    /// Only these venues.
    #[arg(long = "venue", value_delimiter = ',', value_parser = venue_name)]
    venues: Vec<Venue>,
    /// Read from the relay instead of from the rings.
    #[arg(long)]
    relay: bool,
    /// End after so many seconds.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 10.0)]
    seconds: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize, Default)]
struct Summary {
    seconds: f64,
    records: u64,
    catch_up: u64,
    overruns: u64,
    missed: u64,
    missed_unknown: u64,
    unnamed: u64,
    repeated: u64,
    epochs: u64,
    by_type: BTreeMap<String, u64>,
    gaps_told: u64,
}

/// Runs the subcommand.
pub fn run(config: &Config, command: &VerifyCommand) -> anyhow::Result<ExitCode> {
    match command {
        VerifyCommand::Stream(args) => stream(config, args),
        VerifyCommand::Books(args) => books::run(args),
        VerifyCommand::Loss(args) => loss::run(args),
    }
}

fn stream(config: &Config, args: &StreamArgs) -> anyhow::Result<ExitCode> {
    let source =
        if args.relay { Source::Unix(config.relay_socket()) } else { Source::Rings(config.paths.rings.clone()) };
    let subscription = Subscription {
        venues: args.venues.clone(),
        from: Start::Now,
        slow: Slow::Skip,
        heartbeats: true,
        ..Subscription::default()
    };
    let mut client = Client::open(source, subscription, ClientOptions::default())?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    crate::signals::on_end(move || asked.store(true, Ordering::Release))?;
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(args.seconds.max(0.0));
    let mut check = Check::default();
    while Instant::now() < until && !stop.load(Ordering::Acquire) {
        if client.poll(|delivery, words| check.take(delivery, words))? == 0 {
            client.wait(Duration::from_millis(100));
        }
    }
    let mut summary = check.summary;
    summary.seconds = start.elapsed().as_secs_f64();
    for (kind, count) in check.by_type.iter().enumerate().filter(|(_, n)| **n > 0) {
        let name = RecordType::from_code(kind as u8).map_or_else(|| format!("type {kind}"), |t| format!("{t:?}"));
        summary.by_type.insert(name, *count);
    }
    let good = summary.unnamed == 0 && summary.repeated == 0 && summary.missed_unknown == 0;
    if args.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        println!(
            "{} records in {:.1} s: {} missed and named in {} overruns, {} missing without a word, {} repeated",
            summary.records, summary.seconds, summary.missed, summary.overruns, summary.unnamed, summary.repeated
        );
    }
    Ok(ExitCode::from(u8::from(!good)))
}

struct Check {
    /// The epoch and sequence expected next of each venue.
    expected: BTreeMap<Venue, (u64, u64)>,
    by_type: [u64; 256],
    summary: Summary,
}

impl Default for Check {
    fn default() -> Check {
        Check { expected: BTreeMap::new(), by_type: [0; 256], summary: Summary::default() }
    }
}

impl Check {
    fn take(&mut self, delivery: Delivery, words: &[u64]) {
        let kind = words.first().map_or(0, |head| *head as u8);
        if kind == RecordType::Overrun as u8
            && let Ok(Record::Overrun(overrun)) = Record::read(words)
        {
            return self.overrun(delivery.venue, overrun);
        }
        self.by_type[usize::from(kind)] += 1;
        if delivery.catch_up {
            self.summary.catch_up += 1;
            return;
        }
        self.summary.records += 1;
        self.summary.gaps_told += u64::from(kind == RecordType::Gap as u8);
        let (epoch, sequence) = (delivery.envelope.epoch, delivery.envelope.sequence);
        let next = (epoch, sequence + 1);
        match self.expected.insert(delivery.venue, next) {
            Some((e, expected)) if e == epoch => {
                self.summary.unnamed += sequence.saturating_sub(expected);
                self.summary.repeated += u64::from(sequence < expected);
            }
            // A new run begins at its first record; what the old one told after our last record is told or named.
            Some((e, _)) if e < epoch => {
                self.summary.epochs += 1;
                self.summary.unnamed += sequence - 1;
            }
            Some(_) => self.summary.repeated += 1,
            None => {}
        }
    }

    fn overrun(&mut self, venue: Venue, overrun: &OverrunRecord) {
        self.summary.overruns += 1;
        if overrun.last == 0 {
            self.summary.missed_unknown += 1;
            return;
        }
        self.summary.missed += overrun.count;
        let next = (overrun.epoch, overrun.last + 1);
        match self.expected.insert(venue, next) {
            Some((e, expected)) if e == overrun.epoch => {
                self.summary.unnamed += overrun.first.saturating_sub(expected);
                self.summary.repeated += u64::from(overrun.first < expected);
            }
            Some((e, _)) if e < overrun.epoch => self.summary.unnamed += overrun.first - 1,
            _ => {}
        }
    }
}
