//! The parsers on what venues really sent, where the recordings are at hand: books, trades and quotes as they mix.

use crate::fixed_order::Arena;
use crate::parse::READ;
use crate::{BenchError, Options, Pairs, Report, Row, agree, clock, typed};
use model::Venue;
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use venues::{Outbox, Reply, Settings, VenueMachine, machine};
use wire::Record;

use crate::venue::NOW;

/// A recorded stream and the book it begins from.
pub(crate) struct Capture {
    pub name: &'static str,
    pub venue: Venue,
    pub stream: &'static str,
    pub snapshot: Option<&'static str>,
}

pub(crate) const CAPTURES: [Capture; 2] = [
    Capture {
        name: "Binance, recorded trades, quotes and depth",
        venue: Venue::Binance,
        stream: "venues/binance/spot_ws/btcusdt_20240808.jsonl.gz",
        snapshot: Some("venues/binance/spot_ws/btcusdt_20240808.depth_snapshot.jsonl"),
    },
    Capture {
        name: "Kraken v2, recorded book of 25, checksum each message",
        venue: Venue::Kraken,
        stream: "venues/kraken/ws_v2/book_btcusd_d25_20260802.jsonl",
        snapshot: None,
    },
];

/// How many of each were told, and the sum of their texts' values at 8 decimals.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub trades: u64,
    pub quotes: u64,
    pub levels: u64,
    pub value: i64,
}

pub(crate) fn measure(options: &Options, passes: usize, report: &mut Report) -> Result<(), BenchError> {
    for capture in &CAPTURES {
        let Some(folder) = options.data.as_deref().filter(|folder| folder.join(capture.stream).is_file()) else {
            report.note(format!("Left out, not at hand: {} (`{}`).", capture.name, capture.stream));
            continue;
        };
        let text = read(&folder.join(capture.stream))?;
        let frames: Vec<&str> = text.lines().collect();
        let book = capture.snapshot.map(|path| read(&folder.join(path))).transpose()?.unwrap_or_default();
        let arena = Arena::of(&frames);
        let (ours, _) = through_machine(capture.venue, &arena, &book, true);
        let reference = through_serde(capture.venue, &arena);
        agree(capture.name, &(ours.trades, ours.quotes), &(reference.trades, reference.quotes))?;
        let pairs = Pairs::measure(
            options.pairs,
            || {
                let start = clock::cpu_ns();
                for _ in 0..passes {
                    black_box(through_serde(capture.venue, &arena));
                }
                Ok((clock::cpu_ns() - start) as f64 / (passes * frames.len()) as f64)
            },
            || {
                let spent: u64 = (0..passes).map(|_| through_machine(capture.venue, &arena, &book, false).1).sum();
                Ok(spent as f64 / (passes * frames.len()) as f64)
            },
        )?;
        report.row(Row::speed(capture.name, "typed serde_json, no book", &pairs, "ns"));
    }
    Ok(())
}

pub(crate) fn read(path: &Path) -> Result<String, BenchError> {
    let failed = |source| BenchError::System { what: "read a recording", source };
    let mut file = File::open(path).map_err(failed)?;
    let mut text = String::new();
    if path.extension().is_some_and(|ending| ending == "gz") {
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).map_err(failed)?;
    } else {
        file.read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}

fn through_machine(venue: Venue, arena: &Arena, book: &str, sum: bool) -> (Sums, u64) {
    let mut machine = machine(venue, &Settings::default(), &[]).expect("the venue has an adapter");
    let mut out = Outbox::new();
    machine.on_connected(NOW, &mut out);
    let (mut sums, mut spent) = (Sums::default(), 0);
    let mut start = clock::cpu_ns();
    for (index, frame) in arena.iter().enumerate() {
        // What a recording holds that is no data (a cut line) is set aside, as in a feed.
        let _ = machine.on_frame(frame, NOW, &mut out);
        if !out.requests.is_empty() {
            spent += clock::cpu_ns() - start;
            answer(&mut *machine, &mut out, book);
            start = clock::cpu_ns();
        }
        if sum {
            sums.add(&*machine, &out);
            out.records.clear();
        } else if index % READ == 0 {
            black_box(out.records.words());
            out.records.clear();
        }
    }
    (sums, spent + (clock::cpu_ns() - start))
}

fn answer(machine: &mut dyn VenueMachine, out: &mut Outbox, book: &str) {
    for request in std::mem::take(&mut out.requests) {
        let reply = Reply::Http { status: 200, body: book.trim().as_bytes(), retry_after: None };
        machine.on_response(request.id, reply, NOW, out);
    }
}

impl Sums {
    fn add(&mut self, machine: &dyn VenueMachine, out: &Outbox) {
        for record in out.records.records() {
            match record {
                Ok(Record::Trade(t)) => {
                    let scale = machine.instruments().get(0).price_scale;
                    self.trades += 1;
                    self.value = self.value.wrapping_add(t.price * 10i64.pow(8 - u32::from(scale)));
                }
                Ok(Record::Quote(_)) => self.quotes += 1,
                Ok(Record::BookChange(_)) => self.levels += 1,
                _ => {}
            }
        }
    }
}

fn through_serde(venue: Venue, arena: &Arena) -> Sums {
    let mut sums = Sums::default();
    for frame in arena.iter() {
        let read = match venue {
            Venue::Kraken => typed::kraken_recorded(frame, &mut sums),
            _ => typed::binance_recorded(frame, &mut sums),
        };
        black_box(read);
    }
    sums
}
