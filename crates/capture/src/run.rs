//! How a captured run was set up, so that its session can be made anew from the file alone. The first entry of each
//! file, as JSON: readable by people, and a field more breaks no reader.

use crate::CaptureError;
use model::{StreamKind, Venue};
use serde::{Deserialize, Serialize};
use std::{path::Path, time::Duration};
use venues::{Credentials, LineShape, Session, SessionLine, SessionSettings, Settings, StaleAfter};
use wire::Origin;

/// The set-up of a run. Keys are no part of it: only whether there were some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The venue's name.
    pub venue: String,
    /// The run's epoch; 0 for an imported recording.
    pub epoch: u64,
    /// Which file of the run this is, counted from 0.
    pub piece: u32,
    /// The machine's configured name.
    pub site: String,
    /// The build.
    pub build: String,
    /// Whether the data came from an emulator.
    pub simulated: bool,
    /// The session's lines, in the order of the entries' connections.
    pub lines: Vec<RunLine>,
    /// What the session was told.
    pub settings: RunSettings,
}

/// A line of a run's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLine {
    /// Its name; empty when it is alone.
    pub name: String,
    /// Lines of one group carry the same instruments.
    pub group: u32,
}

/// What decides what a session tells, beside its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSettings {
    /// The symbols that were wanted; empty: whatever arrives.
    pub symbols: Vec<String>,
    /// The streams that were wanted of each.
    pub streams: Vec<String>,
    /// Levels a side subscribed to.
    pub book_depth: u32,
    /// Interval of bars, seconds.
    pub bar_interval_s: u32,
    /// Levels a side of the snapshots for late joiners.
    pub snapshot_depth: u32,
    /// Silences that are not normal, seconds: trade, book, quote, bar, a book's rhythm, the connection.
    pub stale_after_s: [u32; 6],
    /// Whether there were keys.
    pub credentials: bool,
    /// The venue's own choices.
    pub choices: Vec<(String, String)>,
    /// Silence after which a heartbeat is told, ns.
    pub heartbeat_ns: u64,
    /// Each instrument is refreshed at least this often, ns.
    pub refresh_ns: u64,
    /// And within so many records.
    pub refresh_records: u64,
}

impl RunSettings {
    /// The settings of a session.
    pub fn new(settings: &Settings, choices: &[(String, String)], session: SessionSettings) -> RunSettings {
        let StaleAfter { trade_s, book_s, quote_s, bar_s, book_rhythm_s, connection_s } = settings.stale_after;
        let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        RunSettings {
            symbols: settings.symbols.clone(),
            streams: settings.streams.iter().map(|s| s.name().to_owned()).collect(),
            book_depth: settings.book_depth,
            bar_interval_s: settings.bar_interval_s,
            snapshot_depth: settings.snapshot_depth,
            stale_after_s: [trade_s, book_s, quote_s, bar_s, book_rhythm_s, connection_s],
            credentials: settings.credentials.is_some(),
            choices: choices.to_vec(),
            heartbeat_ns: ns(session.heartbeat),
            refresh_ns: ns(session.refresh),
            refresh_records: session.refresh_records,
        }
    }

    /// What the machines are told. Keys that were there are stood in for: nothing that is told hangs on them.
    pub fn settings(&self) -> Settings {
        let [trade_s, book_s, quote_s, bar_s, book_rhythm_s, connection_s] = self.stale_after_s;
        Settings {
            symbols: self.symbols.clone(),
            streams: self.streams.iter().filter_map(|name| StreamKind::from_name(name)).collect(),
            book_depth: self.book_depth,
            bar_interval_s: self.bar_interval_s,
            snapshot_depth: self.snapshot_depth,
            stale_after: StaleAfter { trade_s, book_s, quote_s, bar_s, book_rhythm_s, connection_s },
            credentials: self.credentials.then(stand_in),
        }
    }

    /// How the session paces what it adds.
    pub fn session(&self) -> SessionSettings {
        SessionSettings {
            heartbeat: Duration::from_nanos(self.heartbeat_ns),
            refresh: Duration::from_nanos(self.refresh_ns),
            refresh_records: self.refresh_records,
        }
    }
}

/// Keys of no account. The secret is Base64, as Coinbase wants it.
fn stand_in() -> Credentials {
    Credentials { key: "replay".to_owned(), secret: "cmVwbGF5".to_owned(), passphrase: Some("replay".to_owned()) }
}

impl Run {
    /// The venue; `None` where this build does not know it.
    pub fn venue(&self) -> Option<Venue> {
        self.venue.parse().ok()
    }

    /// Where its data came from.
    pub fn origin(&self) -> Origin {
        if self.simulated { Origin::Simulated } else { Origin::Live }
    }

    /// The session's lines.
    pub fn shape(&self) -> Vec<LineShape> {
        self.lines.iter().map(|l| LineShape { name: l.name.clone(), group: l.group }).collect()
    }

    /// The run's session anew, before its first input. `file` is named in errors.
    pub fn make_session(&self, file: &Path) -> Result<Session, CaptureError> {
        self.make_session_with(&self.settings.settings(), file)
    }

    /// The same with other settings.
    pub fn make_session_with(&self, settings: &Settings, file: &Path) -> Result<Session, CaptureError> {
        let venue = self.venue().ok_or(CaptureError::Damaged {
            path: file.to_owned(),
            offset: 0,
            problem: "its run is of a venue this build does not know",
        })?;
        let failed = |source| CaptureError::Machine { path: file.to_owned(), source };
        let mut lines = vec![];
        for shape in self.shape() {
            let made = venues::lines(venue, settings, &self.settings.choices).map_err(failed)?;
            let count = made.len();
            let line = made.into_iter().nth(shape.group as usize).ok_or(CaptureError::Lines {
                path: file.to_owned(),
                endpoint: shape.group + 1,
                made: count,
            })?;
            lines.push(SessionLine { shape, machine: line.machine });
        }
        if lines.is_empty() {
            let problem = "its run has no line";
            return Err(CaptureError::Damaged { path: file.to_owned(), offset: 0, problem });
        }
        Ok(Session::with_lines(lines, self.settings.session()))
    }
}
