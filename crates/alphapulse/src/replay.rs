//! `alphapulse replay`: captures, journals and recorded frames told again, in the order of time, at any speed.

use crate::{capture::import, config::Config, roles, venue_name};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use model::{UnixNanos, Venue};
use replay::{
    Batches, CaptureSource, Choice, Control, Lines, Replay, Rings, RingsOptions, RunOptions, Runner, Sink, Source,
    Speed, Summary, SystemClock,
};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Raw frames go through their session again, records are told as they were kept. Whatever reads a replay is told so:
/// its sessions are of the site replay:SITE, its rings lie in a folder of their own.
#[derive(Args)]
pub struct ReplayArgs {
    /// What to replay, merged in the order of time: a journal's folder, captures (a file, a venue's folder or the folder
    /// of all), Parquet files (their folder), recorded frames (.jsonl, plain or gzip). The configuration's journal when
    /// not given.
    sources: Vec<PathBuf>,
    /// From this time on: RFC 3339 in UTC, or ns since 1970. What a joiner needs there is told first.
    #[arg(long, value_parser = replay::moment, value_name = "TIME")]
    from: Option<UnixNanos>,
    /// Before this time.
    #[arg(long, value_parser = replay::moment, value_name = "TIME")]
    until: Option<UnixNanos>,
    /// Only these venues. Of recorded frames that do not say whose they are, the venue.
    #[arg(long = "venue", value_delimiter = ',', value_parser = venue_name)]
    venues: Vec<Venue>,
    /// Only these symbols, canonical (BTC-USD) or in the venue's spelling.
    #[arg(long = "symbol", value_delimiter = ',')]
    symbols: Vec<String>,
    /// 1 for the pace it was recorded at, N for N times as fast, max for at once, step for one order at a time.
    #[arg(long, default_value = "max", value_parser = pace)]
    speed: Start,
    /// Where to.
    #[arg(long, value_enum, default_value_t = Target::Lines)]
    to: Target,
    /// The file of lines or batches; standard output when not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What the rings' folder is called, beside the folder of the live rings.
    #[arg(long, default_value = "replay", value_parser = folder_name)]
    name: String,
    /// Take orders on this Unix socket, one JSON object a line, such as {"do":"pause"}; wait for them at the end.
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// Begin paused.
    #[arg(long, requires = "control")]
    paused: bool,
    /// Say on standard error, as JSON, what was told and how well the pace was kept.
    #[arg(long)]
    report: bool,
}

/// How a replay begins.
#[derive(Clone, Copy, Debug)]
struct Start {
    speed: Speed,
    stepped: bool,
}

/// Where a replay goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// JSON lines, as tap prints them.
    Lines,
    /// The wire's batches, as on the relay's socket and in the journal.
    Batches,
    /// Rings in a folder of their own: read them with tap --replay NAME.
    Rings,
    /// A venue's emulator, which serves the recorded frames.
    Emulator,
    /// Nowhere: to measure.
    None,
}

fn pace(text: &str) -> Result<Start, String> {
    if text == "step" {
        return Ok(Start { speed: Speed::Times(1.0), stepped: true });
    }
    text.parse().map(|speed| Start { speed, stepped: false }).map_err(|e: replay::NoSpeed| format!("{e}, or step"))
}

fn folder_name(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} cannot name a folder of rings; write letters, digits, _ and -"))
}

/// The folder of all replays' rings: beside that of the live ones, never in it.
pub fn rings_folder(config: &Config) -> PathBuf {
    let mut path = config.paths.rings.as_os_str().to_owned();
    path.push(".replay");
    PathBuf::from(path)
}

/// The folder of a replay's rings, for who asks for a replay; says on standard error that it is one.
pub fn rings_of(config: &Config, name: &str) -> anyhow::Result<PathBuf> {
    let folder = rings_folder(config).join(name);
    let Some((_, about, _)) = shown(&folder) else {
        bail!("there is no replay {name:?} in {}; start it with: alphapulse replay --to rings", folder.display());
    };
    eprintln!("REPLAY of {about}: nothing of this is live");
    Ok(folder)
}

/// The replays whose rings are there: name, what is replayed, and whether somebody writes them.
pub fn replays(config: &Config) -> Vec<(String, String, bool)> {
    let Ok(entries) = std::fs::read_dir(rings_folder(config)) else { return vec![] };
    let mut found: Vec<_> = entries.flatten().filter_map(|entry| shown(&entry.path())).collect();
    found.sort();
    found
}

fn shown(folder: &Path) -> Option<(String, String, bool)> {
    let about = std::fs::read_to_string(folder.join(replay::MARKER)).ok()?;
    let name = folder.file_name()?.to_str()?.to_owned();
    let directory = ring::Directory::open(folder).ok()?;
    let writes = |name: &String| {
        let pid = ring::Reader::open(&directory, name).ok().and_then(|reader| reader.writer_pid());
        pid.and_then(|pid| u32::try_from(pid).ok()).is_some_and(crate::run_dir::alive)
    };
    let runs = directory.rings().ok()?.iter().any(writes);
    Some((name, about.trim().to_owned(), runs))
}

/// Runs the subcommand; the configuration is read only where it is needed.
pub fn run(args: &ReplayArgs, config: impl Fn() -> anyhow::Result<Config>) -> anyhow::Result<ExitCode> {
    let config = || config().context("the configuration is not usable");
    telemetry::log::init(telemetry::log::Format::Human, "warn")?;
    if args.speed.stepped && args.control.is_none() {
        bail!("--speed step waits for orders: say where with --control SOCKET");
    }
    let imported = tempfile::tempdir().context("a temporary folder cannot be made")?;
    let given = if args.sources.is_empty() { vec![config()?.journal_folder()] } else { args.sources.clone() };
    if args.to == Target::Emulator {
        return serve(args, &given, imported.path(), &config()?);
    }
    let mut sources: Vec<Box<dyn Source>> = vec![];
    for (number, path) in given.iter().enumerate() {
        let path = captured(path, &args.venues, &imported.path().join(number.to_string()))?;
        sources.extend(replay::find(&path, &args.venues)?);
    }
    if sources.is_empty() {
        let venues: Vec<&str> = args.venues.iter().map(|venue| venue.name()).collect();
        return Err(replay::ReplayError::NoVenue { venues: venues.join(", ") }.into());
    }
    let (from, until) = args.interval();
    let replay = Replay::open(sources, Choice { from, until, symbols: args.symbols.clone() })?;
    let sinks = args.sinks(&replay, &config)?;
    let paused = args.paused || args.speed.stepped;
    let options = RunOptions { speed: args.speed.speed, paused, linger: args.control.is_some() };
    let (runner, handle) = Runner::new(replay, sinks, options);
    let stop = handle.clone();
    crate::signals::on_end(move || {
        // It is over already.
        let _ = stop.stop();
    })?;
    let control = args.control.as_ref().map(|path| Control::listen(path, handle)).transpose()?;
    let began = std::time::Instant::now();
    let summary = runner.run(&mut SystemClock::start())?;
    drop(control);
    if args.report {
        report(&summary, began.elapsed());
    }
    Ok(ExitCode::SUCCESS)
}

impl ReplayArgs {
    fn interval(&self) -> (UnixNanos, UnixNanos) {
        (self.from.unwrap_or(UnixNanos::ZERO), self.until.unwrap_or(UnixNanos(u64::MAX)))
    }

    fn sinks(
        &self,
        replay: &Replay,
        config: &impl Fn() -> anyhow::Result<Config>,
    ) -> anyhow::Result<Vec<Box<dyn Sink>>> {
        let prompt = self.speed.speed != Speed::Max || self.control.is_some();
        Ok(match self.to {
            Target::Lines => vec![Box::new(Lines::new(self.writer()?).prompt(prompt))],
            Target::Batches => vec![Box::new(Batches::new(self.writer()?).prompt(prompt))],
            Target::Rings => {
                let config = config()?;
                let about = replay.sources().collect::<Vec<_>>().join("; ");
                let folder = rings_folder(&config).join(&self.name);
                eprintln!("REPLAY of {about}: rings in {}", folder.display());
                vec![Box::new(Rings::open(RingsOptions { folder, slots: config.ring.slots, about })?)]
            }
            Target::None | Target::Emulator => vec![],
        })
    }

    fn writer(&self) -> anyhow::Result<BufWriter<Box<dyn Write + Send>>> {
        let out: Box<dyn Write + Send> = match &self.out {
            Some(path) => Box::new(File::create(path).with_context(|| format!("{} cannot be made", path.display()))?),
            None => Box::new(io::stdout()),
        };
        Ok(BufWriter::with_capacity(1 << 18, out))
    }
}

/// Recorded frames as a capture in `folder`; everything else as it is.
fn captured(path: &Path, venues: &[Venue], folder: &Path) -> anyhow::Result<PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    if !path.is_file() || !(plain.ends_with(".jsonl") || plain.ends_with(".json")) {
        return Ok(path.to_owned());
    }
    import::plainly(path, venues.first().copied().filter(|_| venues.len() == 1), folder)
}

/// Serves the frames of one venue by its emulator.
fn serve(args: &ReplayArgs, given: &[PathBuf], folder: &Path, config: &Config) -> anyhow::Result<ExitCode> {
    let [path] = given else { bail!("an emulator serves one recording: name one capture or one file of frames") };
    let places = CaptureSource::places(path)?;
    let (venue, frames) = if places.is_empty() {
        let [venue] = args.venues[..] else { bail!("say with --venue whose frames {} are", path.display()) };
        (venue, path.clone())
    } else {
        let mut of_venue = vec![];
        for place in places {
            let venue = CaptureSource::open(&place)?.venue();
            if args.venues.is_empty() || args.venues.contains(&venue) {
                of_venue.push((venue, place));
            }
        }
        let [(venue, place)] = &of_venue[..] else {
            bail!("an emulator serves one venue: there are captures of {}; say which with --venue", of_venue.len())
        };
        (*venue, replay::export_frames(place, args.interval(), folder)?)
    };
    let (rate, speed) = match args.speed.speed {
        Speed::Max => (Some(0), 1.0),
        Speed::Times(times) => (None, times),
    };
    let emulator = roles::EmulatorArgs {
        command: None,
        venue: Some(venue),
        faults: None,
        control: None,
        recorded: Some(frames),
        rate,
        speed,
        looped: false,
        report: None,
        seconds: 0,
        shift_to_now: false,
    };
    roles::emulator(config, &emulator)
}

fn report(summary: &Summary, took: std::time::Duration) {
    let quantiles = |h: &telemetry::Histogram| serde_json::json!({"count": h.count(), "p50": h.quantile(0.5), "p90": h.quantile(0.9), "p99": h.quantile(0.99), "max": h.max()});
    let told = serde_json::json!({
        "events": summary.events,
        "records": summary.records,
        "seconds": took.as_secs_f64(),
        "late_ns": quantiles(&summary.late),
        "spacing_error_ns": quantiles(&summary.spacing),
    });
    eprintln!("{told}");
}
