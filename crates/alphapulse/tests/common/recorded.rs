//! What a journal holds, what the rings carried, and how they are compared.
#![allow(dead_code, reason = "every test file is a crate of its own and uses its part")]

use journal::{From, Item, Level, Reader, Watermark};
use model::Venue;
use relay::{Client, ClientOptions, Source, Start, Subscription};
use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use wire::{
    Envelope, Record, RecordType,
    batch::OUT_OF_BAND,
    json::{Encoder, Line},
};

/// A record's name.
pub type Name = (u64, u64);

/// The records of each venue in their order: name and content.
#[derive(Default, Clone)]
pub struct Story {
    pub records: BTreeMap<Venue, Vec<(Name, u64)>>,
    /// Overruns told: epoch, first, last.
    pub overruns: BTreeMap<Venue, Vec<(u64, u64, u64)>>,
    /// Names of trades, quotes and book records.
    pub rows: BTreeMap<(Venue, &'static str), Vec<Name>>,
}

impl Story {
    pub fn last(&self, venue: Venue) -> Name {
        self.records.get(&venue).and_then(|all| all.last()).map_or((0, 0), |(name, _)| *name)
    }

    pub fn count(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }

    fn take(&mut self, venue: Venue, at: Envelope, words: &[u64]) {
        let mut hasher = DefaultHasher::new();
        words.hash(&mut hasher);
        self.records.entry(venue).or_default().push(((at.epoch, at.sequence), hasher.finish()));
        let table = match RecordType::from_code(words[0] as u8) {
            Some(RecordType::Trade | RecordType::LongTrade) => "trade",
            Some(RecordType::Quote) => "quote",
            Some(RecordType::BookChange | RecordType::SnapshotBegin | RecordType::SnapshotEnd) => "book",
            _ => return,
        };
        self.rows.entry((venue, table)).or_default().push((at.epoch, at.sequence));
    }

    fn overrun(&mut self, venue: Venue, words: &[u64]) {
        let Ok(Record::Overrun(lost)) = Record::read(words) else { panic!("no overrun: {words:?}") };
        self.overruns.entry(venue).or_default().push((lost.epoch, lost.first, lost.last));
    }
}

/// A reader of the rings beside the recorder: what it should have recorded.
pub struct Witness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Story>,
}

impl Witness {
    pub fn start(rings: &Path) -> Witness {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let subscription = Subscription { from: Start::Oldest, heartbeats: true, ..Subscription::default() };
        let mut client = Client::open(Source::Rings(rings.to_owned()), subscription, ClientOptions::default())
            .expect("the rings can be read");
        let thread = thread::spawn(move || {
            let mut story = Story::default();
            loop {
                let ending = asked.load(Ordering::Acquire);
                let polled = client.poll(|delivery, words| match (delivery.catch_up, delivery.envelope.sequence) {
                    (true, _) => {}
                    (false, 0) => story.overrun(delivery.venue, words),
                    _ => story.take(delivery.venue, delivery.envelope, words),
                });
                if polled.expect("the rings can be read") == 0 {
                    if ending {
                        return story;
                    }
                    client.wait(Duration::from_millis(5));
                }
            }
        });
        Witness { stop, thread }
    }

    /// Everything the rings carried, to their ends.
    pub fn end(self) -> Story {
        self.stop.store(true, Ordering::Release);
        let story = self.thread.join().expect("the witness lives");
        assert!(story.overruns.is_empty(), "the witness fell behind: {:?}", story.overruns);
        story
    }
}

/// The whole journal, and as lines of JSON what `verify loss` reads.
pub fn read_journal(folder: &Path) -> (Story, BTreeMap<Venue, Vec<String>>) {
    let mut reader = Reader::open(folder, From::Oldest, Level::Synced).expect("the journal opens");
    let (mut story, mut lines) = (Story::default(), BTreeMap::new());
    let mut encoder = Encoder::new();
    loop {
        match reader.next().expect("the journal can be read") {
            Item::End => return (story, lines),
            Item::Batch(batch) => {
                let header = batch.header;
                // What happened to the journal itself has no venue and no records.
                let Some(venue) = header.venue() else { continue };
                let opened = header.open(batch.body, |at, words| {
                    if header.flags & OUT_OF_BAND != 0 {
                        return story.overrun(venue, words);
                    }
                    story.take(venue, at, words);
                    let line = encoder.push(at, words).expect("a record has a line");
                    lines.entry(venue).or_insert_with(Vec::new).extend(line.as_ref().map(text));
                });
                opened.expect("a whole batch");
            }
            Item::Missing(missing) => panic!("the journal is not whole: {missing}"),
        }
    }
}

fn text(line: &Line) -> String {
    serde_json::to_string(line).expect("a line")
}

/// What the watermark acknowledges for each venue at a level.
pub fn acknowledged(folder: &Path, level: Level) -> Vec<(Venue, Name)> {
    let Ok(Some(mark)) = Watermark::read(folder) else { return vec![] };
    mark.positions(level).iter().map(|(venue, at)| (venue, (at.epoch, at.sequence))).collect()
}

/// What is wrong with a journal, beside what it should hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Acknowledged, and not there.
    pub lost: usize,
    /// There twice.
    pub twice: usize,
    /// Behind a later one.
    pub reordered: usize,
    /// With another content than in the ring.
    pub changed: usize,
    /// In the ring, neither there nor named as missed.
    pub unnamed: usize,
    /// Named as missed and there all the same.
    pub contradicted: usize,
}

/// Holds the journal against the rings and against what was acknowledged on the way.
pub fn compare(journal: &Story, ring: &Story, acknowledged: &BTreeMap<Venue, Vec<Name>>) -> Faults {
    let mut faults = Faults::default();
    for (venue, truth) in &ring.records {
        let told = journal.records.get(venue).cloned().unwrap_or_default();
        faults.reordered += told.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
        let held: BTreeMap<Name, u64> = told.iter().copied().collect();
        faults.twice += told.len() - held.len();
        let overruns = journal.overruns.get(venue).cloned().unwrap_or_default();
        let named = |name: &Name| overruns.iter().any(|o| o.0 == name.0 && (o.1..=o.2).contains(&name.1));
        let truth: BTreeMap<Name, u64> = truth.iter().copied().collect();
        for (name, content) in &truth {
            match held.get(name) {
                Some(there) => {
                    faults.changed += usize::from(there != content);
                    faults.contradicted += usize::from(named(name));
                }
                None => faults.unnamed += usize::from(!named(name)),
            }
        }
        // Everything up to a name is acknowledged with it.
        if let Some(newest) = acknowledged.get(venue).and_then(|names| names.iter().max()) {
            faults.lost += truth.range(..=*newest).filter(|(name, _)| !held.contains_key(name) && !named(name)).count();
        }
        let absent = |name: &&Name| !held.contains_key(name) && !named(name);
        faults.lost += acknowledged.get(venue).into_iter().flatten().filter(absent).count();
    }
    faults
}

/// The files of a folder and those below it with this extension.
pub fn files_below(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}
