//! A feed that writes real records to a real ring, a disk that misbehaves when told to, and what the scenarios share.
#![allow(dead_code, reason = "every test file is a crate of its own and uses its part")]

use journal::{Access, Disk, DiskFile, Files, From, Item, Level, Options, Reader};
use model::{
    Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, Side, SideSource, UnixNanos, Venue,
};
use recorder::{ParquetOptions, Recorder, RecorderOptions, Stats};
use ring::{Directory, Writer, WriterOptions};
use std::{
    any::Any,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use telemetry::Registry;
use wire::{Flags, Record, RecordBuf, TradeRecord, batch::OUT_OF_BAND};

/// How long anything may take before a test gives up on it: a loaded machine is slow, a broken program is for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again until there is an answer.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s for {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Folders of one test.
pub struct Site {
    pub rings: tempfile::TempDir,
    pub state: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Site {
        let shm = Path::new("/dev/shm");
        let rings = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        Site { rings: rings.expect("a folder"), state: tempfile::tempdir().expect("a folder") }
    }

    pub fn journal(&self) -> PathBuf {
        self.state.path().join("journal")
    }

    pub fn parquet(&self) -> PathBuf {
        self.state.path().join("parquet")
    }

    /// Small and quick, on a disk that does what it should.
    pub fn options(&self) -> RecorderOptions {
        self.options_on(Arc::new(Files::at(&self.journal())))
    }

    pub fn options_on(&self, disk: Arc<dyn Disk>) -> RecorderOptions {
        RecorderOptions {
            rings: self.rings.path().to_owned(),
            disk,
            site: "here".to_owned(),
            window: Duration::from_millis(1),
            spill_bytes: 64 << 10,
            journal: Options { segment_bytes: 1 << 20, ..Options::default() },
            parquet: None,
        }
    }

    pub fn with_parquet(&self) -> RecorderOptions {
        let parquet = ParquetOptions {
            folder: self.parquet(),
            journal: self.journal(),
            site: "here".to_owned(),
            part: Duration::from_millis(200),
            zstd_level: 1,
        };
        RecorderOptions { parquet: Some(parquet), ..self.options() }
    }
}

pub fn start(options: RecorderOptions) -> Recorder {
    Recorder::start(options, &Registry::new()).expect("threads")
}

/// Waits until this record is durable.
pub fn wait_durable(recorder: &Recorder, venue: Venue, epoch: u64, sequence: u64) {
    wait_for("a durable record", || {
        assert!(!recorder.has_ended(), "the recorder has ended");
        is_durable(&recorder.stats(), venue, epoch, sequence).then_some(())
    });
}

pub fn is_durable(stats: &Stats, venue: Venue, epoch: u64, sequence: u64) -> bool {
    stats.durable.iter().any(|(v, e, s)| *v == venue && (*e, *s) >= (epoch, sequence))
}

/// One venue's feed: a ring and one instrument whose trades count up.
pub struct Feed {
    writer: Writer,
    venue: Venue,
    pub epoch: u64,
    sequence: u64,
    trade: u64,
    pub instrument: Instrument,
    buf: RecordBuf,
}

impl Feed {
    pub fn open(site: &Site, venue: Venue, epoch: u64, slots: u64) -> Feed {
        let directory = Directory::open(site.rings.path()).expect("directory");
        let writer = Writer::open(&directory, venue.name(), WriterOptions { slots, epoch }).expect("writer");
        let instrument = Instrument {
            id: InstrumentId::of(venue, "BTC/USD"),
            venue,
            symbol: "BTC-USD".into(),
            venue_symbol: "BTC/USD".into(),
            base: "BTC".into(),
            quote: "USD".into(),
            version: 1,
            kind: InstrumentKind::Spot,
            status: InstrumentStatus::Trading,
            price_scale: 1,
            size_scale: 8,
            tick: Price(1),
            lot: Qty(1),
            min_size: Qty(1),
            min_notional: None,
        };
        Feed { writer, venue, epoch, sequence: 0, trade: epoch * 1_000_000, instrument, buf: RecordBuf::default() }
    }

    /// When the next record is received.
    fn now(&self) -> UnixNanos {
        UnixNanos(1_700_000_000_000_000_000 + self.epoch * 1_000_000_000_000 + self.sequence * 1000)
    }

    pub fn define(&mut self) -> u64 {
        let now = self.now();
        self.buf.push_instrument(&self.instrument, now, now).expect("short texts");
        self.publish()
    }

    /// So many trades; the last one's sequence.
    pub fn trades(&mut self, count: u64) -> u64 {
        for _ in 0..count {
            self.trade += 1;
            let (now, side) = (self.now(), Some(Side::Buy));
            let (id, price) = (self.instrument.id, Price(self.trade as i64));
            let source = SideSource::ExplicitTaker;
            let record =
                TradeRecord::new(self.venue, id, side, source, Flags::LAST, now, now, price, Qty(7), Some(self.trade));
            self.buf.push_trade(&record);
            self.publish();
        }
        self.sequence
    }

    fn publish(&mut self) -> u64 {
        for words in self.buf.iter() {
            self.writer.push(words);
            self.sequence += 1;
        }
        self.writer.publish(self.now().0);
        self.buf.clear();
        self.sequence
    }
}

/// What a journal holds of a venue: ranges of sequences by epoch, `told` or `lost`, in its order. Ranges that follow each
/// other are one.
pub fn account(site: &Site, venue: Venue) -> Vec<(u64, u64, u64, &'static str)> {
    let mut all: Vec<(u64, u64, u64, &'static str)> = vec![];
    let mut add = |epoch: u64, first: u64, last: u64, what: &'static str| match all.last_mut() {
        Some(end) if end.0 == epoch && end.3 == what && end.2 + 1 == first => end.2 = last,
        _ => all.push((epoch, first, last, what)),
    };
    let mut reader = Reader::open(&site.journal(), From::Oldest, Level::Synced).expect("a journal");
    loop {
        match reader.next().expect("readable") {
            Item::End => return all,
            Item::Missing(missing) => panic!("not whole: {missing}"),
            Item::Batch(batch) if batch.header.venue() != Some(venue) => {}
            Item::Batch(batch) => {
                let aside = batch.header.flags & OUT_OF_BAND != 0;
                let each = |at: wire::Envelope, words: &[u64]| match Record::read(words) {
                    Ok(Record::Overrun(lost)) if aside => add(lost.epoch, lost.first, lost.last, "lost"),
                    _ => add(at.epoch, at.sequence, at.sequence, "told"),
                };
                batch.records(each).expect("whole");
            }
        }
    }
}

/// How a disk misbehaves.
#[derive(Debug, Default)]
pub struct Trouble {
    /// No room for anything new.
    pub full: AtomicBool,
    /// Nothing may be written.
    pub read_only: AtomicBool,
    /// The next sync fails.
    pub fail_sync: AtomicBool,
    stalled: Mutex<bool>,
    moved: Condvar,
}

impl Trouble {
    /// Whether syncs wait.
    pub fn stall(&self, stalled: bool) {
        *self.stalled.lock().expect("nobody panicked") = stalled;
        self.moved.notify_all();
    }

    fn wait(&self) {
        let stalled = self.stalled.lock().expect("nobody panicked");
        drop(self.moved.wait_while(stalled, |stalled| *stalled).expect("nobody panicked"));
    }

    fn refuse(&self) -> io::Result<()> {
        if self.read_only.load(SeqCst) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }
}

/// The real folder, with trouble on the way.
#[derive(Debug)]
pub struct Troubled {
    inner: Files,
    pub trouble: Arc<Trouble>,
}

impl Troubled {
    pub fn new(site: &Site) -> (Arc<Troubled>, Arc<Trouble>) {
        let trouble = Arc::new(Trouble::default());
        (Arc::new(Troubled { inner: Files::at(&site.journal()), trouble: trouble.clone() }), trouble)
    }
}

impl Disk for Troubled {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        if access != Access::Read {
            self.trouble.refuse()?;
        }
        let inner = self.inner.open(name, access)?;
        Ok(Box::new(TroubledFile { inner, trouble: self.trouble.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.trouble.refuse()?;
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.trouble.refuse()?;
        self.inner.remove(name)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.inner.list(folder)
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.trouble.refuse()?;
        self.inner.make_folder(folder)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.inner.sync_folder(folder)
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.trouble.refuse()?;
        self.inner.lock(name)
    }

    fn boot(&self) -> u64 {
        self.inner.boot()
    }
}

#[derive(Debug)]
struct TroubledFile {
    inner: Box<dyn DiskFile>,
    trouble: Arc<Trouble>,
}

impl DiskFile for TroubledFile {
    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(bytes, offset)
    }

    /// A full disk has room where there are bytes already, and none beyond.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.trouble.refuse()?;
        if self.trouble.full.load(SeqCst) && offset + bytes.len() as u64 > self.inner.length()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.trouble.wait();
        if self.trouble.fail_sync.swap(false, SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.inner.sync()
    }
}
