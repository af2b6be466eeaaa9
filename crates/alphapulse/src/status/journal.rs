//! The journal in `alphapulse status`: whether it records, what is durable, how far the stores have come.

use super::RingStatus;
use crate::{config::Config, run_dir};
use journal::{Cursor, Level, State, Watermark};
use serde::Serialize;
use std::path::PathBuf;

/// The journal as its watermark tells it.
#[derive(Serialize)]
pub(super) struct JournalStatus {
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

/// Looks at the journal; `None` where there is none.
pub(super) fn gather(config: &Config, rings: &[RingStatus], now: u64) -> Option<JournalStatus> {
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

impl JournalStatus {
    /// Whether it records, or was closed in order.
    pub(super) fn is_healthy(&self) -> bool {
        self.problem.is_none() && ["ok", "closed"].contains(&&self.state[..])
    }

    pub(super) fn print(&self) {
        if let Some(problem) = &self.problem {
            println!("journal            PROBLEM {problem}");
            return;
        }
        let reason = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        let age = self.age_ms.map_or_else(String::new, |age| format!(", last word {age} ms ago"));
        println!("journal            {}{reason}{age}, {}", self.state, self.folder.display());
        for venue in &self.venues {
            let behind =
                venue.behind.map_or_else(String::new, |records| format!(", {records} records behind the ring"));
            println!("  durable {:<10} epoch {} sequence {}{behind}", venue.venue, venue.epoch, venue.sequence);
        }
        for sink in &self.sinks {
            let SinkStatus { sink, behind_segments, age_ms } = sink;
            println!("  store   {sink:<10} last step {age_ms} ms ago, {behind_segments} segments to read");
        }
    }
}
