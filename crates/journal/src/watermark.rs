//! The watermark page: what is acknowledged at which level, for any process to read.
//!
//! The writer puts the page down with one write after each write and sync of its own; a reader takes it with one read
//! and tries again when it is torn. The page itself is not synced: after a power cut it proves nothing, which its
//! boot number shows, and readers then look at the segments instead.

use crate::format::{PAGE_BYTES, Page, WatermarkPage};
use crate::{Access, Disk, DiskFile, Files, JournalError, Level, Place, Positions, failed};
use model::UnixNanos;
use std::fmt;
use std::io;
use std::path::Path;

pub(crate) const NAME: &str = "watermark";

/// How the writer is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// It records.
    #[default]
    Ok = 1,
    /// There is no room; it goes on when there is.
    Full = 2,
    /// A write or sync takes longer than it should.
    Stalled = 3,
    /// A write or sync failed; nothing more is acknowledged until a restart.
    Poisoned = 4,
    /// It ended in order: everything is synced.
    Closed = 5,
}

impl State {
    /// Every value, in the order of their codes.
    pub const ALL: [State; 5] = [State::Ok, State::Full, State::Stalled, State::Poisoned, State::Closed];

    fn from_code(code: u32) -> Option<State> {
        State::ALL.into_iter().find(|s| *s as u32 == code)
    }

    /// The name used in messages and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Full => "full",
            State::Stalled => "stalled",
            State::Poisoned => "poisoned",
            State::Closed => "closed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is acknowledged, and how the writer is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Names the journal: when it was begun, ns.
    pub journal: u64,
    /// Counts the pages written; a page with a higher one is newer.
    pub serial: u64,
    /// When the page was written.
    pub time: UnixNanos,
    /// The writer's process.
    pub pid: u32,
    /// How it is doing.
    pub state: State,
    /// Since when.
    pub since: UnixNanos,
    /// Why, where there is something to say.
    pub reason: String,
    /// When the writer opened the journal.
    pub opened: UnixNanos,
    /// Where recovery ended and this writer began.
    pub opened_at: Place,
    /// Up to here everything survives the death of any process.
    pub written: Place,
    /// Up to here everything survives the loss of power.
    pub synced: Place,
    /// The last record of each venue that survives the death of any process.
    pub written_positions: Positions,
    /// The last record of each venue that survives the loss of power.
    pub synced_positions: Positions,
    /// Whether the machine has run without a break since the page was written. If not, only recovery knows the truth.
    pub same_boot: bool,
}

/// Tries at a page that is being rewritten. A write takes a microsecond, so that even a second try is rare.
const READS_MAX: u32 = 1000;

impl Watermark {
    /// Reads the page of a journal's folder; `None` when there is none that is whole.
    pub fn read(folder: &Path) -> Result<Option<Watermark>, JournalError> {
        Watermark::read_on(&Files::at(folder))
    }

    /// As [`Watermark::read`], on any disk.
    pub fn read_on(disk: &dyn Disk) -> Result<Option<Watermark>, JournalError> {
        match disk.open(NAME, Access::Read) {
            Ok(file) => read_page(disk, &*file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(disk, "open", NAME)(e)),
        }
    }

    /// What is acknowledged at a level.
    pub fn place(&self, level: Level) -> Place {
        match level {
            Level::Written => self.written,
            Level::Synced => self.synced,
        }
    }

    /// The last record of each venue at a level.
    pub fn positions(&self, level: Level) -> &Positions {
        match level {
            Level::Written => &self.written_positions,
            Level::Synced => &self.synced_positions,
        }
    }
}

/// Reads the page of an open watermark file.
pub(crate) fn read_page(disk: &dyn Disk, file: &dyn DiskFile) -> Result<Option<Watermark>, JournalError> {
    let mut page: Page = [0; PAGE_BYTES];
    for _ in 0..READS_MAX {
        let length = file.read_at(&mut page, 0).map_err(failed(disk, "read", NAME))?;
        if length < PAGE_BYTES {
            return Ok(None);
        }
        if let Some(found) = WatermarkPage::read(&page)? {
            return Ok(Some(public(found, disk.boot())));
        }
        std::thread::yield_now();
    }
    Ok(None)
}

fn public(page: WatermarkPage, boot: u64) -> Watermark {
    Watermark {
        journal: page.journal,
        serial: page.serial,
        time: page.time,
        pid: page.pid,
        state: State::from_code(page.state).unwrap_or(State::Poisoned),
        since: page.since,
        reason: page.reason,
        opened: page.opened,
        opened_at: page.opened_at,
        written: page.written,
        synced: page.synced,
        written_positions: page.written_positions,
        synced_positions: page.synced_positions,
        same_boot: page.boot == boot,
    }
}

/// The writer's half: the page in memory and the file it goes to.
#[derive(Debug)]
pub(crate) struct Published {
    pub page: WatermarkPage,
    bytes: Box<Page>,
    file: Box<dyn DiskFile>,
}

impl Published {
    /// Opens or makes the file. A file of a journal of another version was refused before.
    pub fn open(disk: &dyn Disk, mut page: WatermarkPage) -> Result<Published, JournalError> {
        let file = match disk.open(NAME, Access::Write) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                disk.open(NAME, Access::Create).map_err(failed(disk, "create", NAME))?
            }
            Err(e) => return Err(failed(disk, "open", NAME)(e)),
        };
        page.serial = read_page(disk, &*file)?.map_or(0, |last| last.serial);
        Ok(Published { page, bytes: Box::new([0; PAGE_BYTES]), file })
    }

    pub fn put(&mut self, now: UnixNanos) -> io::Result<()> {
        self.page.serial += 1;
        self.page.time = now;
        self.page.fill(&mut self.bytes);
        self.file.write_at(&self.bytes[..], 0)
    }

    /// Makes the page's room durable once, so that later writes need none.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}
