//! The roles, wired from their parts: each subcommand is one process.

use crate::{
    config::Config,
    metrics,
    run_dir::{self, Announced, RoleFile},
    signals, venue_name,
};
use anyhow::Context;
use clap::Args;
use feed::{
    Feed, FeedOptions, Stop, Waiting,
    backoff::{BackoffConfig, FirstRetry},
    transport::TlsOptions,
};
use model::Venue;
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use telemetry::{Registry, clock};
use venues::SessionSettings;
use wire::Origin;

/// The build, as told in session records.
pub const BUILD: &str = concat!("alphapulse ", env!("CARGO_PKG_VERSION"));

/// A feed holds one venue's connection and writes its ring.
#[derive(Args)]
pub struct FeedArgs {
    /// The venue.
    #[arg(value_parser = venue_name)]
    venue: Venue,
    /// Where the data comes from, as told in the records.
    #[arg(long, value_enum, default_value_t = OriginArg::Live)]
    origin: OriginArg,
}

/// Where the data comes from.
#[derive(Clone, Copy, clap::ValueEnum)]
enum OriginArg {
    /// The venue itself.
    Live,
    /// An emulator.
    Simulated,
}

/// An emulator serves one venue's protocol over a generated or a recorded session.
#[derive(Args)]
pub struct EmulatorArgs {
    /// The venue to stand in for.
    #[arg(value_parser = venue_name)]
    pub venue: Venue,
    /// Serve this recorded session (a .jsonl file, plain or gzip, with its .recv.tsv) instead of a generated one.
    #[arg(long, value_name = "FILE")]
    pub recorded: Option<PathBuf>,
    /// Serve at most so many frames a second; the configuration's rate when not given, 0 for as fast as possible.
    #[arg(long)]
    pub rate: Option<u32>,
    /// Multiply the recorded timing.
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// Start over at the end of a recorded session.
    #[arg(long = "loop")]
    pub looped: bool,
    /// Shift a recorded session's times to now.
    #[arg(long)]
    pub shift_to_now: bool,
}

/// Announces the role and starts its metrics.
pub fn begin(config: &Config, role: &str, registry: &Registry, listen: Option<String>) -> anyhow::Result<Announced> {
    signals::die_with_parent();
    let address = metrics::serve(config, role, registry.clone())?;
    let file = RoleFile {
        role: role.to_owned(),
        pid: std::process::id(),
        started: clock::wall_ns(),
        metrics: Some(address),
        listen,
    };
    run_dir::announce(&config.paths.state, &file)
}

/// Runs one venue's feed until it is asked to end.
pub fn feed(config: &Config, args: &FeedArgs) -> anyhow::Result<ExitCode> {
    let registry = Registry::new();
    let options = feed_options(config, args)?;
    let stop = Stop::new().context("an event descriptor cannot be had")?;
    let asked = stop.clone();
    signals::on_end(move || asked.stop())?;
    let _announced = begin(config, &format!("feed-{}", args.venue), &registry, None)?;
    let mut feed = Feed::open(options, stop, &registry)?;
    tracing::info!(venue = %args.venue, epoch = feed.epoch(), "feed begins");
    feed.run()?;
    tracing::info!(venue = %args.venue, "feed ended in order");
    Ok(ExitCode::SUCCESS)
}

fn feed_options(config: &Config, args: &FeedArgs) -> anyhow::Result<FeedOptions> {
    let venue = args.venue;
    let section = config.venue(venue)?;
    let spec = venues::spec(venue)?;
    let or = |url: &str, default: &str| if url.is_empty() { default.to_owned() } else { url.to_owned() };
    let capture = (!section.capture.as_os_str().is_empty())
        .then(|| section.capture.join(format!("{venue}_{}.inputs", clock::wall_ns() / 1_000_000)));
    Ok(FeedOptions {
        venue,
        ws_url: or(&section.ws_url, spec.ws_url),
        rest_url: or(&section.rest_url, spec.rest_url).trim_end_matches('/').to_owned(),
        settings: section.settings(venue)?,
        choices: section.choices(),
        session: SessionSettings {
            refresh: Duration::from_secs(section.refresh_s.max(1).into()),
            ..SessionSettings::default()
        },
        site: config.site.clone(),
        build: BUILD.to_owned(),
        origin: match args.origin {
            OriginArg::Live => Origin::Live,
            OriginArg::Simulated => Origin::Simulated,
        },
        ring_dir: config.paths.rings.clone(),
        ring_slots: config.ring.slots,
        state_dir: config.paths.state.clone(),
        capture,
        tls: TlsOptions { extra_roots: config.tls.extra_roots.clone() },
        backoff: BackoffConfig {
            base: Duration::from_millis(config.reconnect.base_ms),
            cap: Duration::from_millis(config.reconnect.cap_ms),
            first: FirstRetry::AtOnce,
        },
        waiting: if section.spin { Waiting::Spin } else { Waiting::Block },
        seed: seed(),
    })
}

/// Jitter must differ between machines and starts; nothing else hangs on it.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
}
