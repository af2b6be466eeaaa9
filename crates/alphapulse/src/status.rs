//! `alphapulse status`: what runs, and how far behind it is, read from the rings themselves.

use crate::{config::Config, run_dir};
use clap::Args;
use journal::{Cursor, Level, State, Watermark};
use serde::Serialize;
use std::{path::PathBuf, process::ExitCode};
use telemetry::clock;

/// Exit status 0 when everything that was started runs, 1 when something does not.
#[derive(Args)]
pub struct StatusArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Status {
    roles: Vec<RoleStatus>,
    rings: Vec<RingStatus>,
    journal: Option<JournalStatus>,
}

/// The journal as its watermark tells it.
#[derive(Serialize)]
struct JournalStatus {
    folder: PathBuf,
    /// `ok`, `full`, `stalled`, `poisoned`, `closed`; `dead` when its writer died.
    state: String,
    reason: String,
    writer_pid: Option<u32>,
    /// Age of the last word of its writer.
    age_ms: Option<u64>,
    venues: Vec<DurableStatus>,
    sinks: Vec<SinkStatus>,
    problem: Option<String>,
}

/// The newest durable record of a venue.
#[derive(Serialize)]
struct DurableStatus {
    venue: String,
    epoch: u64,
    sequence: u64,
    /// Records of the ring that are not durable yet, where the run is the same.
    behind: Option<u64>,
}

/// How far a store has come.
#[derive(Serialize)]
struct SinkStatus {
    sink: String,
    /// Segments of the journal that are durable and not in the store, the newest one with them.
    behind_segments: u64,
    /// Age of its last step.
    age_ms: u64,
}

#[derive(Serialize)]
struct RoleStatus {
    role: String,
    pid: u32,
    alive: bool,
    up_s: u64,
    metrics: Option<String>,
    listen: Option<String>,
}

#[derive(Serialize)]
struct RingStatus {
    venue: String,
    writer_pid: Option<u64>,
    writer_alive: bool,
    bridged: bool,
    epoch: Option<u64>,
    next_sequence: Option<u64>,
    age_ms: Option<u64>,
    slots: u64,
    problem: Option<String>,
}

/// Runs the subcommand.
pub fn run(config: &Config, args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let status = gather(config);
    let healthy = status.roles.iter().all(|r| r.alive)
        && status.rings.iter().all(|r| r.problem.is_none())
        && status.journal.as_ref().is_none_or(JournalStatus::is_healthy);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print(&status);
    }
    Ok(ExitCode::from(u8::from(!healthy || status.roles.is_empty())))
}

fn gather(config: &Config) -> Status {
    let now = clock::wall_ns();
    let roles = run_dir::roles(&config.paths.state).into_iter().map(|r| RoleStatus {
        alive: run_dir::alive(r.pid),
        up_s: now.saturating_sub(r.started) / 1_000_000_000,
        metrics: r.metrics.map(|a| format!("http://{a}/metrics")),
        role: r.role,
        pid: r.pid,
        listen: r.listen,
    });
    let rings = rings(config, now);
    let journal = journal(config, &rings, now);
    Status { roles: roles.collect(), rings, journal }
}

impl JournalStatus {
    fn is_healthy(&self) -> bool {
        self.problem.is_none() && ["ok", "closed"].contains(&&self.state[..])
    }
}

fn journal(config: &Config, rings: &[RingStatus], now: u64) -> Option<JournalStatus> {
    let folder = config.journal_folder();
    if !folder.exists() {
        return None;
    }
    let mut status = JournalStatus {
        folder: folder.clone(),
        state: "absent".to_owned(),
        reason: String::new(),
        writer_pid: None,
        age_ms: None,
        venues: vec![],
        sinks: vec![],
        problem: None,
    };
    let age_ms = |at: model::UnixNanos| now.saturating_sub(at.0) / 1_000_000;
    match (Watermark::read(&folder), Cursor::list(&folder)) {
        (Ok(Some(mark)), Ok(cursors)) => {
            let dead = mark.state != State::Closed && !run_dir::alive(mark.pid);
            status.state = if dead { "dead".to_owned() } else { mark.state.name().to_owned() };
            status.reason.clone_from(&mark.reason);
            status.writer_pid = Some(mark.pid);
            status.age_ms = Some(age_ms(mark.time));
            status.venues = durable(&mark, rings);
            let ours = cursors.into_iter().filter(|cursor| cursor.journal == mark.journal);
            status.sinks = ours
                .map(|cursor| SinkStatus {
                    behind_segments: (mark.synced.segment + 1).saturating_sub(cursor.place.segment),
                    age_ms: age_ms(cursor.time),
                    sink: cursor.name,
                })
                .collect();
        }
        (Ok(None), Ok(_)) => {}
        (Err(error), _) | (_, Err(error)) => status.problem = Some(error.to_string()),
    }
    Some(status)
}

fn durable(mark: &Watermark, rings: &[RingStatus]) -> Vec<DurableStatus> {
    let synced = mark.positions(Level::Synced);
    let one = |(venue, at): (model::Venue, wire::Envelope)| {
        let ring = rings.iter().find(|ring| ring.venue == venue.name() && ring.epoch == Some(at.epoch));
        let behind = ring.and_then(|ring| ring.next_sequence).map(|next| next.saturating_sub(at.sequence + 1));
        DurableStatus { venue: venue.name().to_owned(), epoch: at.epoch, sequence: at.sequence, behind }
    };
    synced.iter().map(one).collect()
}

fn rings(config: &Config, now: u64) -> Vec<RingStatus> {
    if !config.paths.rings.exists() {
        return vec![];
    }
    let problem = |venue: &str, problem: String| RingStatus {
        venue: venue.to_owned(),
        writer_pid: None,
        writer_alive: false,
        bridged: false,
        epoch: None,
        next_sequence: None,
        age_ms: None,
        slots: 0,
        problem: Some(problem),
    };
    let directory = match ring::Directory::open(&config.paths.rings) {
        Ok(directory) => directory,
        Err(e) => return vec![problem("-", e.to_string())],
    };
    let names = match directory.rings() {
        Ok(names) => names,
        Err(e) => return vec![problem("-", e.to_string())],
    };
    let one = |name: &String| -> Result<RingStatus, ring::RingError> {
        let mut reader = ring::Reader::open(&directory, name)?;
        let epoch = reader.epochs()?.last().map(|e| e.epoch);
        reader.attach(ring::From::Now)?;
        let pid = reader.writer_pid();
        let published = reader.published_at();
        Ok(RingStatus {
            venue: name.clone(),
            writer_pid: pid,
            writer_alive: pid.and_then(|p| u32::try_from(p).ok()).is_some_and(run_dir::alive),
            bridged: reader.origin().is_some(),
            epoch,
            next_sequence: Some(reader.next().sequence),
            age_ms: (published != 0).then(|| now.saturating_sub(published) / 1_000_000),
            slots: reader.capacity(),
            problem: None,
        })
    };
    names.iter().map(|name| one(name).unwrap_or_else(|e| problem(name, e.to_string()))).collect()
}

fn print(status: &Status) {
    if status.roles.is_empty() {
        println!("nothing runs; start with: alphapulse up");
    }
    for r in &status.roles {
        let state = if r.alive { "up" } else { "DEAD" };
        let place = r.listen.as_deref().or(r.metrics.as_deref()).unwrap_or("");
        println!("{:<18} {state:<5} pid {:<8} {:>7} s  {place}", r.role, r.pid, r.up_s);
    }
    for r in &status.rings {
        if let Some(problem) = &r.problem {
            println!("ring {:<13} PROBLEM {problem}", r.venue);
            continue;
        }
        let writer = match (r.writer_alive, r.bridged) {
            (false, _) => "no writer",
            (true, false) => "written",
            (true, true) => "bridged",
        };
        let shown = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        println!(
            "ring {:<13} {writer:<9} epoch {} next {} age {} ms, {} slots",
            r.venue,
            shown(r.epoch),
            shown(r.next_sequence),
            shown(r.age_ms),
            r.slots
        );
    }
    if let Some(journal) = &status.journal {
        print_journal(journal);
    }
}

fn print_journal(journal: &JournalStatus) {
    if let Some(problem) = &journal.problem {
        println!("journal            PROBLEM {problem}");
        return;
    }
    let reason = if journal.reason.is_empty() { String::new() } else { format!(": {}", journal.reason) };
    let age = journal.age_ms.map_or_else(String::new, |age| format!(", last word {age} ms ago"));
    println!("journal            {}{reason}{age}, {}", journal.state, journal.folder.display());
    for venue in &journal.venues {
        let behind = venue.behind.map_or_else(String::new, |records| format!(", {records} records behind the ring"));
        println!("  durable {:<10} epoch {} sequence {}{behind}", venue.venue, venue.epoch, venue.sequence);
    }
    for sink in &journal.sinks {
        let SinkStatus { sink, behind_segments, age_ms } = sink;
        println!("  store   {sink:<10} last step {age_ms} ms ago, {behind_segments} segments to read");
    }
}
