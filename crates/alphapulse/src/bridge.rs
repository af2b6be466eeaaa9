//! `alphapulse bridge NAME`: repeats the rings of another machine here, over TLS, until it is asked to end.

use crate::{
    config::{BridgeConfig, Config},
    roles::{self, SHOW_EVERY, begin},
    signals,
};
use anyhow::Context;
use clap::Args;
use relay::{Bridge, BridgeOptions, BridgeStats, ClientOptions, Source, TcpSource, Trust};
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use telemetry::Registry;

/// A bridge repeats another machine's rings here under the names the records have there; whoever reads them cannot
/// tell them from a feed's. It refuses a venue whose ring a feed of this machine writes or wrote.
#[derive(Args)]
pub struct BridgeArgs {
    /// The section [bridge.NAME] of the configuration.
    name: String,
}

/// Longest sleep: how soon a request to end is noticed.
const WAIT: Duration = Duration::from_millis(100);
/// Between two tries to reach a machine that was never there yet, at least and at most.
const ABSENT_WAIT_MIN: Duration = Duration::from_millis(250);
const ABSENT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Runs the subcommand.
pub fn run(config: &Config, args: &BridgeArgs) -> anyhow::Result<ExitCode> {
    let name = &args.name;
    let section = config.bridge.get(name).with_context(|| {
        format!(
            "there is no section [bridge.{name}] in the configuration; add one with address, ca, token_file, venues"
        )
    })?;
    let registry = Registry::new();
    let options = options(config, section).with_context(|| format!("bridge.{name}"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    signals::on_end(move || asked.store(true, Ordering::Release))?;
    let _announced = begin(config, &format!("bridge-{name}"), &registry, None)?;
    let shown = Shown { registry, bridge: name.clone() };
    let Some(mut bridge) = open(&options, &section.address, &stop)? else { return Ok(ExitCode::SUCCESS) };
    tracing::info!(bridge = name, address = section.address, site = bridge.site(), "bridge begins");
    let mut show_at = Instant::now();
    while !stop.load(Ordering::Acquire) {
        bridge.step(WAIT)?;
        if Instant::now() >= show_at {
            show_at = Instant::now() + SHOW_EVERY;
            shown.show(&bridge.stats());
        }
    }
    tracing::info!(bridge = name, "bridge ended in order");
    Ok(ExitCode::SUCCESS)
}

fn options(config: &Config, section: &BridgeConfig) -> anyhow::Result<BridgeOptions> {
    let trust = if section.ca.as_os_str().is_empty() {
        Trust::Loopback
    } else {
        let server_name = (!section.server_name.is_empty()).then(|| section.server_name.clone());
        Trust::Roots { file: section.ca.clone(), server_name }
    };
    let token = roles::token(&section.token_file)?;
    Ok(BridgeOptions {
        source: Source::Tcp(TcpSource { address: section.address.clone(), trust, token }),
        venues: section.venues()?,
        rings: config.paths.rings.clone(),
        slots: config.ring.slots,
        client: ClientOptions { silence: Duration::from_secs(section.silence_s.into()), ..ClientOptions::default() },
    })
}

/// Tries until the other machine is there; `None` when asked to end before.
fn open(options: &BridgeOptions, address: &str, stop: &AtomicBool) -> anyhow::Result<Option<Bridge>> {
    let mut wait = ABSENT_WAIT_MIN;
    while !stop.load(Ordering::Acquire) {
        match Bridge::open(options.clone()) {
            Ok(bridge) => return Ok(Some(bridge)),
            Err(error) if error.is_absence() => {
                tracing::warn!(address, "{error}; trying again in {:.1} s", wait.as_secs_f64());
                let until = Instant::now() + wait;
                while Instant::now() < until && !stop.load(Ordering::Acquire) {
                    thread::sleep(WAIT.min(wait));
                }
                wait = (wait * 2).min(ABSENT_WAIT_MAX);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// The bridge's metrics.
struct Shown {
    registry: Registry,
    bridge: String,
}

impl Shown {
    fn show(&self, stats: &BridgeStats) {
        let labels = [("bridge", self.bridge.as_str())];
        let gauge = |name, help| self.registry.gauge(name, help, &labels);
        gauge("bridge_connected", "1 while the other machine is connected.").set(i64::from(stats.connected));
        let connections = self.registry.counter("bridge_connections_total", "Connections that came about.", &labels);
        connections.set(stats.connections);
        for venue in &stats.venues {
            let labels = [("bridge", self.bridge.as_str()), ("venue", venue.venue.name())];
            let total = |name, help| self.registry.counter(name, help, &labels);
            total("bridge_records_total", "Records repeated.").set(venue.records);
            total("bridge_lost_total", "Records of the other machine that will never come.").set(venue.lost);
            total("bridge_overruns_total", "Losses told, those of unknown extent with them.").set(venue.overruns);
            let lag = "Age of the newest record when it was repeated, from publication to publication, by two clocks.";
            self.registry.gauge("bridge_lag_ns", lag, &labels).set(i64::try_from(venue.lag_ns).unwrap_or(i64::MAX));
        }
    }
}
