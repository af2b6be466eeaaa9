//! The one step by which a sink moves on: files written aside get their names, and the place in the journal moves behind
//! their rows, together or not at all.
//! finished files + [`State`] -> [`Ledger::commit`]; at a start [`Ledger::open`] ends what a crash interrupted.
//!
//! The step is the rename of one small file that names everything that follows from it. Before it nothing has
//! happened; after it the rest is done again at the next start until it is done. Names in `.sink` are nobody else's.

use super::SinkError;
use super::file::Finished;
use journal::Place;
use model::{Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, Venue};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};
use wire::Envelope;

/// The folder of what is not a whole file yet, and of the ledger.
pub(crate) const ASIDE: &str = ".sink";
const LEDGER: &str = "ledger.json";
const LEDGER_NEW: &str = "ledger.json.new";
/// Files in the making.
const TEMPORARY: &str = "part";

/// Where a sink stands: everything it must know to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The journal the place is in.
    pub(crate) journal: u64,
    /// Segment and offset of the next batch; `None` before the first.
    pub(crate) place: Option<(u64, u64)>,
    /// The last record of each venue that is in a file or needs none.
    pub(crate) last: BTreeMap<String, (u64, u64)>,
    /// The definitions as of the place.
    pub(crate) instruments: Vec<Definition>,
}

/// What rows need of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Definition {
    venue: String,
    id: u32,
    symbol: String,
    price_scale: u8,
    size_scale: u8,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Entry {
    state: State,
    files: Vec<Finished>,
}

/// The ledger of one folder of files.
pub(crate) struct Ledger {
    root: PathBuf,
}

impl State {
    pub(crate) fn at(&self) -> Option<Place> {
        self.place.map(|(segment, offset)| Place { segment, offset })
    }

    pub(crate) fn last_of(&self, venue: Venue) -> Envelope {
        let (epoch, sequence) = self.last.get(venue.name()).copied().unwrap_or_default();
        Envelope { epoch, sequence }
    }
}

impl Definition {
    pub(crate) fn of(instrument: &Instrument) -> Definition {
        Definition {
            venue: instrument.venue.name().to_owned(),
            id: instrument.id.0,
            symbol: instrument.symbol.clone(),
            price_scale: instrument.price_scale,
            size_scale: instrument.size_scale,
        }
    }

    /// As far as rows need it; `None` when this build does not know the venue.
    pub(crate) fn to_instrument(&self) -> Option<Instrument> {
        Some(Instrument {
            id: InstrumentId(self.id),
            venue: self.venue.parse().ok()?,
            symbol: self.symbol.clone(),
            venue_symbol: String::new(),
            base: String::new(),
            quote: String::new(),
            version: 0,
            kind: InstrumentKind::Spot,
            status: InstrumentStatus::Unknown,
            price_scale: self.price_scale,
            size_scale: self.size_scale,
            tick: Price(0),
            lot: Qty(0),
            min_size: Qty(0),
            min_notional: None,
        })
    }
}

impl Ledger {
    /// Ends an interrupted step, removes what was never part of one, and says where the sink stands.
    pub(crate) fn open(root: &Path) -> Result<(Ledger, State), SinkError> {
        let ledger = Ledger { root: root.to_owned() };
        let aside = root.join(ASIDE);
        fs::create_dir_all(&aside).map_err(SinkError::io("create", &aside))?;
        sync_folders(root, [PathBuf::from(ASIDE)])?;
        let entry = ledger.read()?;
        ledger.give_names(&entry.files)?;
        ledger.clean(&aside)?;
        Ok((ledger, entry.state))
    }

    fn read(&self) -> Result<Entry, SinkError> {
        let path = self.root.join(ASIDE).join(LEDGER);
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| SinkError::Ledger { path, what: error.to_string() })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Entry::default()),
            Err(error) => Err(SinkError::io("read", &path)(error)),
        }
    }

    fn clean(&self, aside: &Path) -> Result<(), SinkError> {
        let entries = fs::read_dir(aside).map_err(SinkError::io("list", aside))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(TEMPORARY) || name == LEDGER_NEW {
                let path = entry.path();
                fs::remove_file(&path).map_err(SinkError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// The name of a file in the making. The place its rows begin at is in it, so that no name comes twice: what the
    /// ledger names is never what a later step left behind.
    pub(crate) fn temporary(begin: &str, number: usize) -> PathBuf {
        Path::new(ASIDE).join(format!("{TEMPORARY}-{begin}-{number}"))
    }

    /// Moves on: `files` get their names and the sink stands at `state`.
    pub(crate) fn commit(&self, state: State, files: Vec<Finished>) -> Result<(), SinkError> {
        let aside = self.root.join(ASIDE);
        let (new, path) = (aside.join(LEDGER_NEW), aside.join(LEDGER));
        let entry = Entry { state, files };
        let bytes = serde_json::to_vec(&entry).expect("numbers and texts always become JSON");
        journal::crash::point("recorder.before_ledger");
        let mut file = File::create(&new).map_err(SinkError::io("create", &new))?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(SinkError::io("write", &new))?;
        journal::crash::point("recorder.before_ledger_rename");
        fs::rename(&new, &path).map_err(SinkError::io("rename", &new))?;
        journal::crash::point("recorder.after_ledger_rename");
        sync_folder(&aside)?;
        journal::crash::point("recorder.before_names");
        self.give_names(&entry.files)
    }

    /// Files that wait get their names. Done before, it finds nothing to do.
    fn give_names(&self, files: &[Finished]) -> Result<(), SinkError> {
        let mut folders = BTreeSet::new();
        for file in files {
            let (from, to) = (self.root.join(&file.temporary), self.root.join(&file.path));
            let folder = file.path.parent().map(Path::to_owned).unwrap_or_default();
            fs::create_dir_all(self.root.join(&folder)).map_err(SinkError::io("create", &to))?;
            if to.exists() {
                continue;
            }
            match fs::rename(&from, &to) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    // Removed by hand since; the rows are in the journal as long as it holds them.
                    tracing::warn!(file = %to.display(), %error, "a Parquet file that the ledger names is not there");
                }
                Err(error) => return Err(SinkError::io("rename", &from)(error)),
            }
            journal::crash::point("recorder.after_name");
            folders.insert(folder);
        }
        sync_folders(&self.root, folders)
    }
}

/// Makes the names in these folders durable, and the folders themselves.
fn sync_folders(root: &Path, folders: impl IntoIterator<Item = PathBuf>) -> Result<(), SinkError> {
    let all: BTreeSet<PathBuf> =
        folders.into_iter().flat_map(|folder| folder.ancestors().map(Path::to_owned).collect::<Vec<_>>()).collect();
    // The deepest first: a folder's name is of use once its content is.
    all.iter().rev().try_for_each(|folder| sync_folder(&root.join(folder)))
}

fn sync_folder(path: &Path) -> Result<(), SinkError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(SinkError::io("sync", path))
}
