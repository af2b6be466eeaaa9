//! `alphapulse status`: what runs, and how far behind it is, read from the rings themselves.

mod books;
mod journal;

use crate::{config::Config, run_dir};
use books::VenueBooks;
use clap::Args;
use journal::JournalStatus;
use model::UnixNanos;
use serde::Serialize;
use std::process::ExitCode;
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
    books: Vec<VenueBooks>,
    journal: Option<JournalStatus>,
    replays: Vec<ReplayStatus>,
}

/// Rings of a replay, which lie apart from the live ones.
#[derive(Serialize)]
struct ReplayStatus {
    name: String,
    /// What is replayed.
    of: String,
    /// Whether somebody writes them.
    running: bool,
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
    let journal = journal::gather(config, &rings, now);
    let shown = |(name, of, running)| ReplayStatus { name, of, running };
    let replays = crate::replay::replays(config).into_iter().map(shown).collect();
    Status { roles: roles.collect(), books: books::gather(config, UnixNanos(now)), rings, journal, replays }
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
    for r in &status.replays {
        println!("REPLAY {:<11} {:<9} {}", r.name, if r.running { "running" } else { "over" }, r.of);
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
    for books in &status.books {
        println!("{}", books.line(clock::wall_ns()));
    }
    if let Some(journal) = &status.journal {
        journal.print();
    }
}
