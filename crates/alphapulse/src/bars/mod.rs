//! `alphapulse bars`: bars of an instrument's trades and what they tell beside, over the live stream and over recordings.
//! records (a [`Client`]'s, or a venue machine's over recorded frames) -> [`Maker`] -> lines.

mod lines;
mod maker;
mod missed;
#[cfg(test)]
mod tests;

use crate::{
    config::Config,
    recorded::{Reading, Recording},
    tap, venue_name,
};
use anyhow::{Context, bail};
use book::bars::Interval;
use clap::Args;
use maker::{Event, FlowWanted, Maker, Wanted};
use model::{Decimal, UnixNanos, Venue};
use relay::{Client, ClientOptions, Slow, Source, Start, Subscription};
use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use telemetry::clock;

/// Each bar is a line when it is closed, and again with a higher revision when a late or corrected trade amends it. Marks
/// say what is not ordinary: late, corrected, cancelled, fragment (late trades of a bar no longer kept), partial (begun
/// before the stream was joined), missed (trades of its time are missing), open (the recording ends in it). Exit status
/// 1 when trades were missing at the end, or frames of a recording could not be read.
#[derive(Args)]
pub struct BarsArgs {
    /// The symbol, canonical (BTC-USD) or in the venue's spelling.
    symbol: String,
    /// Recorded frames, or a feed's raw captures (files, or a venue's folder of them); without one the live stream.
    files: Vec<PathBuf>,
    /// The venue; of the live stream all that have the symbol when not given.
    #[arg(long, value_parser = venue_name)]
    venue: Option<Venue>,
    #[command(flatten)]
    rule: RuleArgs,
    /// Tell cumulative volume delta and volatility of the closes beside each bar, large trades as they come, and at the
    /// end the volume profile.
    #[arg(long)]
    flow: bool,
    /// Width of the profile's buckets, in quote currency; 100 ticks when not given.
    #[arg(long, value_name = "PRICE", value_parser = positive, requires = "flow")]
    bucket: Option<Decimal>,
    /// A trade larger than so many thousandths of those before it is large.
    #[arg(long, value_name = "PER_MILLE", default_value_t = 990, value_parser = clap::value_parser!(u16).range(1..=1000))]
    large: u16,
    /// How many trades before it a large one is measured by.
    #[arg(long, value_name = "TRADES", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// End after so many lines of bars.
    #[arg(long, value_name = "BARS")]
    once: Option<u64>,
    /// Where in the live stream to start: now, oldest, or a time in ns since the Unix epoch.
    #[arg(long, default_value = "now")]
    from: String,
    /// Read from the relay instead of from the rings.
    #[arg(long)]
    relay: bool,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: Reading,
}

/// When a bar is full: one of these, minutes when none is given.
#[derive(Args)]
#[group(multiple = false)]
struct RuleArgs {
    /// Bars of time: 1s to 1d, whole seconds that divide a day.
    #[arg(long, value_name = "TIME", value_parser = interval)]
    every: Option<Interval>,
    /// Bars of so many trades.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    ticks: Option<u64>,
    /// Bars of so much volume, in units of the base.
    #[arg(long, value_name = "SIZE", value_parser = positive)]
    volume: Option<Decimal>,
    /// Bars of so much volume, in units of the quote currency.
    #[arg(long, value_name = "SUM", value_parser = positive)]
    notional: Option<Decimal>,
    /// Bars that are full when one side has taken so much more than the other.
    #[arg(long, value_name = "SIZE", value_parser = positive)]
    imbalance: Option<Decimal>,
}

impl RuleArgs {
    fn wanted(&self) -> Wanted {
        let others = [
            self.ticks.map(Wanted::Ticks),
            self.volume.map(Wanted::Volume),
            self.notional.map(Wanted::Notional),
            self.imbalance.map(Wanted::Imbalance),
        ];
        let time = Wanted::Every(self.every.unwrap_or(Interval::MINUTE));
        others.into_iter().flatten().next().unwrap_or(time)
    }
}

/// Longest sleep: how soon a request to end is noticed.
const WAIT: Duration = Duration::from_millis(200);

/// Runs the subcommand over recordings, which needs no configuration.
pub fn recorded(args: &BarsArgs) -> anyhow::Result<ExitCode> {
    let mut out = Lines::new(args);
    let (mut bad, mut misses) = (0u64, false);
    for path in &args.files {
        let recording = Recording::find(path, args.venue).with_context(|| path.display().to_string())?;
        let mut maker: Option<Maker> = None;
        let played = recording.play(
            &args.reading,
            None,
            &[],
            &mut |step| {
                if out.is_done() {
                    return Ok(());
                }
                if let Some(unreadable) = step.bad {
                    bad += 1;
                    eprintln!("{}: line {}: {}", path.display(), step.line, unreadable.error);
                }
                let maker = maker.get_or_insert_with(|| args.maker(step.now));
                step.out.records.iter().try_for_each(|words| out.push(maker, words))
            },
            &mut |_| {},
        );
        played.with_context(|| path.display().to_string())?;
        let Some(mut maker) = maker.filter(|maker| maker.markets().next().is_some()) else {
            bail!("{} has no {}", path.display(), args.symbol);
        };
        if !out.is_done() {
            out.finish(&mut maker)?;
        }
        misses |= maker.misses();
    }
    out.flush()?;
    Ok(ExitCode::from(u8::from(bad > 0 || misses)))
}

/// Runs the subcommand over the live stream.
pub fn live(config: &Config, args: &BarsArgs) -> anyhow::Result<ExitCode> {
    let source =
        if args.relay { Source::Unix(config.relay_socket()) } else { Source::Rings(config.paths.rings.clone()) };
    if !args.relay && !config.paths.rings.exists() {
        bail!("there are no rings in {}; start them with: alphapulse up", config.paths.rings.display());
    }
    let from = tap::start(&args.from)?;
    // What the rings still hold begins somewhere in its first bar.
    let joined = if from == Start::Now { UnixNanos(clock::wall_ns()) } else { UnixNanos::ZERO };
    let subscription = Subscription {
        venues: args.venue.into_iter().collect(),
        symbols: vec![args.symbol.clone()],
        types: vec!["trade".to_owned(), "correction".to_owned()],
        from,
        slow: Slow::Skip,
        heartbeats: true,
        ..Subscription::default()
    };
    let mut client = Client::open(source, subscription, ClientOptions::default())?;
    for warning in client.warnings() {
        eprintln!("alphapulse: {warning}");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    crate::signals::on_end(move || asked.store(true, Ordering::Release))?;
    let mut out = Lines::new(args);
    let mut maker = (joined != UnixNanos::ZERO).then(|| args.maker(joined));
    // Definitions told before the first record owed; whoever starts in the past is joined with that record.
    let mut before: Vec<Vec<u64>> = vec![];
    while !out.is_done() && !stop.load(Ordering::Acquire) {
        let mut failed = None;
        let polled = client.poll(|delivery, words| {
            if failed.is_some() || out.is_done() {
                return;
            }
            if maker.is_none() && delivery.catch_up {
                return before.push(words.to_vec());
            }
            let maker = maker.get_or_insert_with(|| args.maker(UnixNanos(words[2])));
            let told = before.drain(..).try_for_each(|words| out.push(maker, &words));
            failed = told.and_then(|()| out.push(maker, words)).err();
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if polled == 0 {
            out.flush()?;
            client.wait(WAIT);
        }
    }
    let misses = maker.as_ref().is_some_and(Maker::misses);
    if let Some(maker) = &maker {
        out.summary(maker)?;
    }
    out.flush()?;
    Ok(ExitCode::from(u8::from(misses)))
}

impl BarsArgs {
    /// Whether recordings are named.
    pub fn is_recorded(&self) -> bool {
        !self.files.is_empty()
    }

    fn maker(&self, joined: UnixNanos) -> Maker {
        let flow = FlowWanted { bucket: self.bucket, large_per_mille: self.large, window: self.window as usize };
        Maker::new(&self.symbol, self.rule.wanted(), self.flow.then_some(flow), joined)
    }
}

/// What is printed.
struct Lines<W: Write> {
    out: W,
    json: bool,
    left: u64,
}

impl Lines<BufWriter<io::StdoutLock<'static>>> {
    fn new(args: &BarsArgs) -> Self {
        let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        Lines { out, json: args.json, left: args.once.unwrap_or(u64::MAX) }
    }
}

impl<W: Write> Lines<W> {
    fn is_done(&self) -> bool {
        self.left == 0
    }

    fn push(&mut self, maker: &mut Maker, words: &[u64]) -> anyhow::Result<()> {
        let mut failed = Ok(());
        maker.push(words, &mut |event| {
            if failed.is_ok() {
                failed = self.tell(&event);
            }
        })?;
        Ok(failed?)
    }

    fn tell(&mut self, event: &Event<'_>) -> io::Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        if matches!(event, Event::Bar { .. }) {
            self.left -= 1;
        }
        if self.json { self.line(&lines::json(event).to_string()) } else { self.line(&lines::plain(event)) }
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        self.out.write_all(line.as_bytes())?;
        self.out.write_all(b"\n")
    }

    /// The last bars, as they stand, and what the trades told beside.
    fn finish(&mut self, maker: &mut Maker) -> anyhow::Result<()> {
        let mut failed = Ok(());
        maker.finish(&mut |event| {
            if failed.is_ok() {
                failed = self.tell(&event);
            }
        });
        failed?;
        self.summary(maker)
    }

    fn summary(&mut self, maker: &Maker) -> anyhow::Result<()> {
        for market in maker.markets() {
            let line = if self.json {
                lines::flow_json(market).map(|line| line.to_string())
            } else {
                lines::flow_plain(market)
            };
            if let Some(line) = line {
                self.line(&line)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A decimal above zero.
fn positive(text: &str) -> Result<Decimal, String> {
    let number: Decimal = text.parse().map_err(|e| format!("{e}"))?;
    if number.mantissa <= 0 {
        return Err("give one above 0".to_owned());
    }
    Ok(number.normalised())
}

/// A length such as 1s, 5m, 4h, 1d.
fn interval(text: &str) -> Result<Interval, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let split = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let seconds = split.and_then(|(count, seconds)| count.parse::<u64>().ok()?.checked_mul(*seconds));
    let seconds = seconds.ok_or_else(|| format!("{text:?} is no length: write 1s, 5m, 4h or 1d"))?;
    Interval::new(Duration::from_secs(seconds)).map_err(|e| e.to_string())
}
