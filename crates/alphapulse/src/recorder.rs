//! `alphapulse recorder`: everything the rings carry goes into the journal, and from there into Parquet files, until it
//! is asked to end.

use crate::{
    config::Config,
    roles::{SHOW_EVERY, begin},
    signals,
};
use anyhow::Context;
use recorder::{DiskState, ParquetOptions, Recorder, RecorderOptions, SinkStats, Stats};
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

/// How soon a request to end, or the end of a thread, is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs the subcommand.
pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let registry = Registry::new();
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    signals::on_end(move || asked.store(true, Ordering::Release))?;
    let folder = config.journal_folder();
    let _announced = begin(config, "recorder", &registry, Some(folder.display().to_string()))?;
    tracing::info!(journal = %folder.display(), "recorder begins");
    let recorder = Recorder::start(options(config), &registry)?;
    let mut watch = Watch { registry, disk: DiskState::Good, spill_full: false, problem: None };
    let mut show_at = Instant::now();
    while !stop.load(Ordering::Acquire) && !recorder.has_ended() {
        if Instant::now() >= show_at {
            show_at = Instant::now() + SHOW_EVERY;
            watch.look(&recorder.stats(), recorder.sink());
        }
        thread::sleep(LOOK_EVERY);
    }
    recorder.stop().context("the recorder cannot go on")?;
    tracing::info!("recorder ended in order");
    Ok(ExitCode::SUCCESS)
}

fn options(config: &Config) -> RecorderOptions {
    let mib = |n: u64| n * (1 << 20);
    let section = &config.journal;
    let parquet = config.parquet.enabled.then(|| ParquetOptions {
        folder: config.parquet_folder(),
        journal: config.journal_folder(),
        site: config.site.clone(),
        part: Duration::from_secs(config.parquet.part_s.into()),
        zstd_level: config.parquet.zstd_level,
    });
    RecorderOptions {
        rings: config.paths.rings.clone(),
        disk: Arc::new(journal::Files::at(&config.journal_folder())),
        site: config.site.clone(),
        window: Duration::from_micros(config.recorder.window_us),
        spill_bytes: config.recorder.spill_mib << 20,
        journal: journal::Options {
            segment_bytes: mib(section.segment_mib),
            retain_bytes: (section.retain_mib > 0).then(|| mib(section.retain_mib)),
            retain_age: (section.retain_hours > 0).then(|| Duration::from_secs(section.retain_hours * 3600)),
            retain_force: section.retain_force,
            ..journal::Options::default()
        },
        parquet,
    }
}

/// Shows the numbers, and says in one sentence each what begins and ends to be wrong.
struct Watch {
    registry: Registry,
    disk: DiskState,
    spill_full: bool,
    problem: Option<String>,
}

impl Watch {
    fn look(&mut self, stats: &Stats, sink: Option<SinkStats>) {
        self.show(stats);
        let before = std::mem::replace(&mut self.disk, stats.disk);
        match (before, stats.disk) {
            (before, now) if before == now => {}
            (_, DiskState::Stalled) => tracing::error!(
                spill_bytes = stats.spill_bytes,
                "the journal's disk has not answered for more than a second; records wait in memory, readers of the \
                 rings do not notice"
            ),
            (DiskState::Stalled, DiskState::Good) => tracing::info!("the journal's disk answers again"),
            _ => {}
        }
        if std::mem::replace(&mut self.spill_full, stats.spill_full) != stats.spill_full {
            if stats.spill_full {
                tracing::error!(
                    spill_bytes = stats.spill_bytes,
                    "the recorder's memory for waiting records is full; the rings are left alone, and what they \
                     overwrite meanwhile will be named in the journal"
                );
            } else {
                tracing::info!("the recorder drains the rings again");
            }
        }
        if let Some(sink) = sink {
            self.show_sink(&sink);
            if self.problem != sink.problem {
                match &sink.problem {
                    Some(problem) => tracing::error!("Parquet files fall behind, to be made up for later: {problem}"),
                    None => tracing::info!("Parquet files are made again"),
                }
                self.problem = sink.problem;
            }
        }
    }

    fn show(&self, stats: &Stats) {
        let total = |name, help, value| self.registry.counter(name, help, &[]).set(value);
        let gauge = |name, help, value: usize| self.registry.gauge(name, help, &[]).set(value as i64);
        total("recorder_records_total", "Records taken from the rings.", stats.records);
        total("recorder_overruns_total", "Overruns of the recorder, named in the journal.", stats.overruns);
        total("recorder_missed_total", "Records those name, where they can be counted.", stats.missed);
        total("recorder_repeated_total", "Records of a ring that the journal had already.", stats.repeated);
        total("recorder_groups_total", "Groups written and synced.", stats.groups);
        gauge("recorder_spill_bytes", "Bytes of records that wait for the journal.", stats.spill_bytes);
        gauge("recorder_spill_full", "1 while the rings are not drained for want of memory.", stats.spill_full.into());
        let quantiles = [(&stats.durable_ns, "recorder_durable_ns"), (&stats.sync_ns, "recorder_group_ns")];
        for ((median, p99), name) in quantiles {
            for (quantile, value) in [("0.5", median), ("0.99", p99)] {
                let help = "From receipt to durable, and of that one write and sync of a group.";
                let labels = [("quantile", quantile)];
                self.registry.gauge(name, help, &labels).set(i64::try_from(*value).unwrap_or(i64::MAX));
            }
        }
        for state in DiskState::ALL {
            let labels = [("state", state.name())];
            let help = "1 for the state the journal's disk is in.";
            self.registry.gauge("recorder_disk", help, &labels).set(i64::from(state == stats.disk));
        }
        for (venue, epoch, sequence) in &stats.durable {
            let labels = [("venue", venue.name())];
            let gauge = |name, help, value: u64| {
                self.registry.gauge(name, help, &labels).set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            gauge("journal_durable_epoch", "Epoch of the last record that survives a power cut.", *epoch);
            gauge("journal_durable_sequence", "Sequence of the last record that survives a power cut.", *sequence);
        }
    }

    fn show_sink(&self, sink: &SinkStats) {
        let labels = [("sink", recorder::PARQUET_CURSOR)];
        let total = |name, help, value| self.registry.counter(name, help, &labels).set(value);
        total("sink_rows_total", "Rows in whole files.", sink.rows);
        total("sink_files_total", "Whole files made.", sink.files);
        total("sink_repeated_total", "Records that an earlier file had already.", sink.repeated);
        total("sink_undefined_total", "Records left out for want of their instrument's definition.", sink.undefined);
        total("sink_damaged_total", "Pieces of the journal that could not be read.", sink.damaged);
        let gauge = |name, help, value| self.registry.gauge(name, help, &labels).set(value);
        let lag = i64::try_from(sink.lag_ns).unwrap_or(i64::MAX);
        gauge("sink_lag_ns", "Age of the oldest record that is in no whole file yet.", lag);
        gauge("sink_failing", "1 while the sink cannot go on.", i64::from(sink.problem.is_some()));
    }
}
