//! A recorder in small, for tests of history: the rings go into a journal, what the ring no longer had as overruns.

use super::*;
use journal::{Helper, Item, Level, Options, Reader};
use relay::Start;
use std::collections::BTreeMap;

pub fn journal_options() -> Options {
    Options {
        segment_bytes: 1 << 20,
        reserve_bytes: 8 << 10,
        checkpoint_bytes: 256 << 10,
        batch_bytes: 32 << 10,
        helper: Helper::Inline,
        ..Options::default()
    }
}

pub struct Recorder {
    client: Client,
    pub writer: journal::Writer,
    now: u64,
}

impl Recorder {
    pub fn start(rings: &Path, folder: &Path) -> Recorder {
        let now = UnixNanos(1_700_000_000_000_000_000);
        let (writer, _) = journal::Writer::open(folder, journal_options(), "here", now).expect("journal");
        let wants = Subscription { from: Start::Oldest, heartbeats: true, ..Subscription::default() };
        Recorder { client: over_rings(rings, wants), writer, now: now.0 }
    }

    /// Everything that the rings hold is written. How many records that was.
    pub fn drain(&mut self) -> usize {
        let mut total = 0;
        loop {
            let mut batch: Vec<(Venue, u64, u64, u64, Vec<u64>)> = Vec::new();
            let polled = self.client.poll(|delivery, words| {
                if !delivery.catch_up {
                    let (venue, envelope) = (delivery.venue, delivery.envelope);
                    batch.push((venue, envelope.epoch, envelope.sequence, delivery.published_ns, words.to_vec()));
                }
            });
            if polled.expect("poll") == 0 {
                break;
            }
            total += batch.len();
            for run in batch.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1) && a.2 != 0 && b.2 != 0) {
                let (venue, epoch, sequence, published, words) = &run[0];
                let published = UnixNanos(*published);
                if *sequence == 0 {
                    let Ok(Record::Overrun(lost)) = Record::read(words) else { panic!("an overrun has no sequence") };
                    self.writer.append_overrun(lost, published).expect("append");
                    continue;
                }
                let records = run.iter().map(|record| (record.2, &record.4[..]));
                self.writer.append(*venue, *epoch, published, records).expect("append");
            }
            self.now += 1_000_000;
            self.writer.write(UnixNanos(self.now)).expect("write");
        }
        total
    }
}

/// What a journal says of one venue: each record's checksum by its name, and what is told as lost.
#[derive(Default)]
pub struct Truth {
    pub records: BTreeMap<(u64, u64), u32>,
    pub lost: Vec<(u64, u64, u64)>,
}

pub fn checksum(words: &[u64]) -> u32 {
    words.iter().fold(0x811c_9dc5, |sum, word| (sum ^ (word ^ word >> 32) as u32).wrapping_mul(0x0100_0193))
}

pub fn truth(folder: &Path, venue: Venue) -> Truth {
    let mut truth = Truth::default();
    let mut reader = Reader::open(folder, journal::From::Oldest, Level::Written).expect("journal");
    loop {
        match reader.next().expect("next") {
            Item::End => return truth,
            Item::Missing(missing) => panic!("{missing}"),
            Item::Batch(batch) if batch.header.venue() == Some(venue) => batch
                .records(|envelope, words| match Record::read(words) {
                    Ok(Record::Overrun(lost)) => truth.lost.push((lost.epoch, lost.first, lost.last)),
                    _ => drop(truth.records.insert((envelope.epoch, envelope.sequence), checksum(words))),
                })
                .expect("whole"),
            Item::Batch(_) => {}
        }
    }
}
