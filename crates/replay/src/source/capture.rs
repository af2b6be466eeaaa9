//! A raw capture as a source: every frame goes through its session again.

use super::{LOOKBACK, PAGE_WORDS, Source};
use crate::{Page, ReplayError, mark::nobody};
use capture::{Played, Player, Reader};
use model::{UnixNanos, Venue};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use wire::{Envelope, OverrunCause, OverrunRecord};

/// Plays a venue's captures.
pub struct CaptureSource {
    /// A file, or a venue's folder.
    place: PathBuf,
    venue: Venue,
    site: String,
    lookback: Duration,
    player: Player,
    /// What is told before this moment is stepped and not put on a page.
    begin: UnixNanos,
    /// The last record's name.
    last: Envelope,
    headless: bool,
    whole: bool,
}

impl CaptureSource {
    /// The captures in a path: it itself when it is a file or a venue's folder, else the venues' folders in it.
    pub fn places(path: &Path) -> Result<Vec<PathBuf>, ReplayError> {
        if path.is_file() {
            return Ok(if capture::is_capture(path) { vec![path.to_owned()] } else { vec![] });
        }
        if !path.is_dir() {
            return Err(ReplayError::Nothing { path: path.to_owned() });
        }
        if !capture::files(path)?.is_empty() {
            return Ok(vec![path.to_owned()]);
        }
        let has_files = |folder: &PathBuf| folder.is_dir() && capture::files(folder).is_ok_and(|f| !f.is_empty());
        Ok(Venue::ALL.into_iter().map(|venue| path.join(venue.name())).filter(has_files).collect())
    }

    /// Opens a capture file or a venue's folder, at its beginning.
    pub fn open(place: &Path) -> Result<CaptureSource, ReplayError> {
        let first = if place.is_dir() { capture::files(place)?.into_iter().next() } else { Some(place.to_owned()) };
        let nothing = || ReplayError::Nothing { path: place.to_owned() };
        let run = capture::run_of(&first.ok_or_else(nothing)?)?.ok_or_else(nothing)?;
        let venue = run.venue().ok_or_else(nothing)?;
        let refresh = Duration::from_nanos(run.settings.refresh_ns);
        Ok(CaptureSource {
            player: Player::open(place)?,
            place: place.to_owned(),
            venue,
            site: run.site,
            // Twice what it takes to repeat everything.
            lookback: LOOKBACK.max(refresh.saturating_mul(2)),
            begin: UnixNanos::ZERO,
            last: Envelope::default(),
            headless: false,
            whole: false,
        })
    }

    /// Inputs are missing here: what a session tells behind them is not what was told, and nobody knows how much.
    fn tell_hole(&mut self, page: &mut Page) {
        let (epoch, first) = (self.last.epoch, self.last.sequence + 1);
        let lost = OverrunRecord::new(Some(self.venue), epoch, first, None, OverrunCause::Expired, page.time());
        page.push(nobody(epoch), lost.as_words());
    }
}

impl Source for CaptureSource {
    fn venue(&self) -> Venue {
        self.venue
    }

    fn site(&self) -> String {
        self.site.clone()
    }

    fn name(&self) -> String {
        format!("capture {}", self.place.display())
    }

    fn read(&mut self, page: &mut Page) -> Result<bool, ReplayError> {
        let before = page.len();
        while page.len() - before < PAGE_WORDS {
            let hole = match self.player.next()? {
                None => {
                    if self.headless && !self.whole {
                        return Err(ReplayError::Headless { path: self.place.clone() });
                    }
                    return Ok(page.len() > before);
                }
                Some(Played::Run { run, whole }) => {
                    self.headless |= !whole;
                    self.whole |= whole;
                    self.site.clone_from(&run.site);
                    if !whole {
                        tracing::warn!(venue = %self.venue, epoch = run.epoch, "a run whose beginning is not captured is passed over");
                    }
                    false
                }
                Some(Played::Step(step)) => {
                    self.last = Envelope { epoch: step.epoch, sequence: step.session.next_sequence() - 1 };
                    if step.time >= self.begin {
                        step.records().for_each(|(at, words)| page.push(at, words));
                    }
                    false
                }
                Some(Played::Lost(lost)) => lost.last >= self.begin,
                // A run that was killed ends so.
                Some(Played::Damaged(damage)) => !damage.cut,
            };
            if hole {
                self.tell_hole(page);
            }
        }
        Ok(true)
    }

    fn seek(&mut self, begin: UnixNanos) -> Result<(), ReplayError> {
        let reader = if self.place.is_dir() {
            Reader::of_files(capture::files_for(&self.place, begin, UnixNanos(u64::MAX))?)?
        } else {
            Reader::open(&self.place)?
        };
        self.player = Player::new(reader);
        (self.begin, self.last) = (begin, Envelope::default());
        (self.headless, self.whole) = (false, false);
        Ok(())
    }

    fn lookback(&self) -> Duration {
        self.lookback
    }
}
