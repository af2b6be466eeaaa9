//! `alphapulse tap`: the live stream in the terminal, one JSON record a line.

use crate::{config::Config, venue_name};
use anyhow::{Context, bail};
use clap::Args;
use model::Venue;
use relay::{Client, ClientOptions, Delivery, Slow, Snapshots, Source, Start, Subscription};
use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use wire::{Record, json};

/// Reads the rings directly, or with --relay through the relay's socket. Definitions and books are told first, so
/// that a late joiner knows what it sees.
#[derive(Args)]
pub struct TapArgs {
    /// Only these venues.
    #[arg(long = "venue", value_delimiter = ',', value_parser = venue_name)]
    venues: Vec<Venue>,
    /// Only these symbols, canonical (BTC-USD) or in the venue's spelling.
    #[arg(long = "symbol", value_delimiter = ',')]
    symbols: Vec<String>,
    /// Only these types of market data: trade, book, quote, bar, correction. States, gaps and overruns always come.
    #[arg(long = "type", value_delimiter = ',')]
    types: Vec<String>,
    /// Where to start: now, oldest, or a time in ns since the Unix epoch.
    #[arg(long, default_value = "now")]
    from: String,
    /// Have the feeds tell every book anew, so that what is shown begins from a snapshot of now.
    #[arg(long)]
    fresh: bool,
    /// Read from the relay instead of from the rings.
    #[arg(long)]
    relay: bool,
    /// Show heartbeats too.
    #[arg(long)]
    heartbeats: bool,
    /// End after so many lines.
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// End after so many seconds.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<f64>,
}

/// Longest sleep: how soon the end of the allowed time is noticed.
const WAIT: Duration = Duration::from_millis(200);

/// Runs the subcommand.
pub fn run(config: &Config, args: &TapArgs) -> anyhow::Result<ExitCode> {
    let source =
        if args.relay { Source::Unix(config.relay_socket()) } else { Source::Rings(config.paths.rings.clone()) };
    if !args.relay && !config.paths.rings.exists() {
        bail!("there are no rings in {}; start them with: alphapulse up", config.paths.rings.display());
    }
    let subscription = Subscription {
        venues: args.venues.clone(),
        symbols: args.symbols.clone(),
        types: args.types.clone(),
        from: start(&args.from)?,
        snapshots: if args.fresh { Snapshots::Fresh } else { Snapshots::Held },
        slow: Slow::Skip,
        heartbeats: args.heartbeats,
    };
    let client = Client::open(source, subscription, ClientOptions::default())?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    crate::signals::on_end(move || asked.store(true, Ordering::Release))?;
    Tap {
        client,
        encoder: json::Encoder::new(),
        out: BufWriter::with_capacity(1 << 16, io::stdout().lock()),
        told: 0,
        count: args.count.unwrap_or(u64::MAX),
        until: args.seconds.map(|s| Instant::now() + Duration::from_secs_f64(s.max(0.0))),
        stop,
    }
    .run()
}

fn start(from: &str) -> anyhow::Result<Start> {
    match from {
        "now" => Ok(Start::Now),
        "oldest" => Ok(Start::Oldest),
        ns => ns
            .parse()
            .map(Start::Time)
            .with_context(|| format!("--from {ns}: write now, oldest, or a time in ns since the Unix epoch")),
    }
}

struct Tap<W: Write> {
    client: Client,
    encoder: json::Encoder,
    out: W,
    told: u64,
    count: u64,
    until: Option<Instant>,
    stop: Arc<AtomicBool>,
}

impl<W: Write> Tap<W> {
    fn run(&mut self) -> anyhow::Result<ExitCode> {
        while self.told < self.count
            && !self.stop.load(Ordering::Acquire)
            && self.until.is_none_or(|until| Instant::now() < until)
        {
            if self.poll()? == 0 {
                self.out.flush()?;
                self.client.wait(WAIT);
            }
        }
        self.out.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    fn poll(&mut self) -> anyhow::Result<usize> {
        let Tap { client, encoder, out, told, count, .. } = self;
        let mut failed: Option<anyhow::Error> = None;
        let polled = client.poll(|delivery, words| {
            if failed.is_none()
                && *told < *count
                && let Err(e) = tell(encoder, out, told, delivery, words)
            {
                failed = Some(e);
            }
        })?;
        failed.map_or(Ok(polled), Err)
    }
}

fn tell(
    encoder: &mut json::Encoder,
    out: &mut impl Write,
    told: &mut u64,
    delivery: Delivery,
    words: &[u64],
) -> anyhow::Result<()> {
    if matches!(Record::read(words), Ok(Record::Overrun(_))) {
        encoder.forget_events();
    }
    match encoder.push(delivery.envelope, words) {
        Ok(Some(line)) => {
            serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
            *told += 1;
        }
        Ok(None) => {}
        // Told, not hidden, and the rest goes on.
        Err(e) => eprintln!(
            "alphapulse: {} epoch {} sequence {}: {e}",
            delivery.venue, delivery.envelope.epoch, delivery.envelope.sequence
        ),
    }
    Ok(())
}
