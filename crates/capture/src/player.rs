//! Steps captured inputs through their session made anew: the records are those the feed told, to the byte.

use crate::{
    CaptureError,
    format::{EntryHead, Kind},
    inputs::{self, Lost},
    names,
    reader::{Damage, Found, Reader, is_input, run_of},
    run::Run,
};
use model::UnixNanos;
use std::path::{Path, PathBuf};
use venues::{Input, Memory, Outbox, Quarantined, Session, Settings};
use wire::Envelope;

/// Plays captures.
pub struct Player {
    reader: Reader,
    run: Option<Run>,
    session: Option<Session>,
    out: Outbox,
    memory: Memory,
    epoch: u64,
    sequence: u64,
    exact: bool,
    settings: Option<Box<dyn FnMut(Settings) -> Settings + Send>>,
}

/// What a player comes to.
pub enum Played<'a> {
    /// A run begins. Not `whole`: its beginning is not among the files, so its session cannot be made, and its inputs
    /// are passed over.
    Run {
        /// How it was set up.
        run: &'a Run,
        /// Whether it is played.
        whole: bool,
    },
    /// An input was stepped.
    Step(Step<'a>),
    /// Entries are missing here: from here to the next run, records may differ from those the feed told.
    Lost(Lost),
    /// So are these bytes.
    Damaged(Damage),
}

/// An input and what it told.
pub struct Step<'a> {
    /// When, as the feed was told it.
    pub time: UnixNanos,
    /// The session's line.
    pub line: usize,
    /// The input.
    pub input: Input<'a>,
    /// Why a frame could not be read.
    pub bad: Option<Quarantined>,
    /// The run's epoch.
    pub epoch: u64,
    /// The sequence of the first record told.
    pub sequence: u64,
    /// What is told and wanted.
    pub out: &'a Outbox,
    /// The session after it.
    pub session: &'a Session,
}

impl<'a> Step<'a> {
    /// The records told, by name.
    pub fn records(&self) -> impl Iterator<Item = (Envelope, &'a [u64])> + use<'a> {
        let epoch = self.epoch;
        (self.sequence..)
            .zip(self.out.records.iter())
            .map(move |(sequence, words)| (Envelope { epoch, sequence }, words))
    }
}

impl Player {
    /// Plays what a reader reads, from its first run that is whole.
    pub fn new(reader: Reader) -> Player {
        Player {
            reader,
            run: None,
            session: None,
            out: Outbox::new(),
            memory: Memory::default(),
            epoch: 0,
            sequence: 0,
            exact: true,
            settings: None,
        }
    }

    /// Plays a file, or all files of a venue's folder.
    pub fn open(path: &Path) -> Result<Player, CaptureError> {
        Reader::open(path).map(Player::new)
    }

    /// Changes what the machines are told, for sessions made from here on. Records may then differ from those the feed
    /// told.
    pub fn with_settings(mut self, change: impl FnMut(Settings) -> Settings + Send + 'static) -> Player {
        self.settings = Some(Box::new(change));
        self
    }

    /// The run being played.
    pub fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// The session being stepped.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Whether nothing was missing so far: what is told is what the feed told.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// The next thing that happened; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "it lends what it returns, and an iterator cannot")]
    pub fn next(&mut self) -> Result<Option<Played<'_>>, CaptureError> {
        let head = loop {
            match self.reader.advance()? {
                None => return Ok(None),
                Some(Found::Damaged(damage)) => {
                    self.exact = false;
                    return Ok(Some(Played::Damaged(damage)));
                }
                Some(Found::Entry(head, _)) if head.kind == Kind::Run => {
                    if self.begin()? {
                        let run = self.run.as_ref().expect("it was just read");
                        return Ok(Some(Played::Run { run, whole: self.session.is_some() }));
                    }
                }
                Some(Found::Entry(head, offset)) if head.kind == Kind::Lost => {
                    self.exact = false;
                    let lost = Lost::read(self.reader.body());
                    return lost.map(|l| Some(Played::Lost(l))).ok_or_else(|| self.damaged(offset));
                }
                Some(Found::Entry(head, offset)) if is_input(&head) && self.session.is_some() => break (head, offset),
                Some(Found::Entry(..)) => {}
            }
        };
        self.step(head).map(Some)
    }

    fn step(&mut self, (head, offset): (EntryHead, u64)) -> Result<Played<'_>, CaptureError> {
        let damaged = self.damaged(offset);
        let session = self.session.as_mut().expect("inputs are stepped while there is a session");
        let line = usize::from(head.connection);
        let lines = self.run.as_ref().map_or(0, |run| run.lines.len());
        let input = inputs::decode(head.kind, self.reader.body(), &mut self.memory).filter(|_| line < lines);
        let Some(input) = input else { return Err(damaged) };
        if let Input::Start { epoch, .. } = input {
            self.epoch = epoch;
        }
        self.out.clear();
        let sequence = session.next_sequence();
        let bad = session.step_line(line, input, head.time, &mut self.out);
        self.sequence = session.next_sequence();
        let (epoch, time) = (self.epoch, head.time);
        Ok(Played::Step(Step { time, line, input, bad, epoch, sequence, out: &self.out, session }))
    }

    /// Reads how a run is set up; `false` when it is the next file of the one being played.
    fn begin(&mut self) -> Result<bool, CaptureError> {
        let path = self.reader.path().unwrap_or(Path::new("")).to_owned();
        let problem = "how its run was set up cannot be read";
        let run: Run = serde_json::from_slice(self.reader.body()).map_err(|_| CaptureError::Damaged {
            path: path.clone(),
            offset: 0,
            problem,
        })?;
        if let Some(before) = &mut self.run
            && before.epoch == run.epoch
            && before.venue == run.venue
            && run.piece > 0
            && before.piece + 1 == run.piece
        {
            before.piece = run.piece;
            return Ok(false);
        }
        self.session = match (run.piece, &mut self.settings) {
            (0, None) => Some(run.make_session(&path)?),
            (0, Some(change)) => Some(run.make_session_with(&change(run.settings.settings()), &path)?),
            _ => None,
        };
        self.exact = run.piece == 0;
        (self.epoch, self.sequence) = (run.epoch, 0);
        self.run = Some(run);
        Ok(true)
    }

    fn damaged(&self, offset: u64) -> CaptureError {
        let path = self.reader.path().unwrap_or(Path::new("")).to_owned();
        CaptureError::Damaged { path, offset, problem: "an entry cannot be understood by this build" }
    }
}

/// The files of a venue's folder that must be played for an interval: from the file a run begins with, so that its
/// session is what it was, up to the interval's end.
pub fn files_for(folder: &Path, from: UnixNanos, until: UnixNanos) -> Result<Vec<PathBuf>, CaptureError> {
    let mut chosen: Vec<PathBuf> = vec![];
    for path in names::files(folder)? {
        let place = names::place(&path).expect("only files with a place are told");
        if place.begins() >= until {
            break;
        }
        let begins = run_of(&path)?.is_none_or(|run| run.piece == 0);
        // Runs that were over before the interval are left out.
        if begins && place.begins().0 + names::HOUR_NS <= from.0 {
            chosen.clear();
        }
        chosen.push(path);
    }
    if chosen.is_empty() {
        return Err(CaptureError::Empty { path: folder.to_owned() });
    }
    Ok(chosen)
}
