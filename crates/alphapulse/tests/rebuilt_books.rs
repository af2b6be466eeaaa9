//! A consumer that starts anywhere holds the books the feed holds: recorded sessions of every venue go through the venue's
//! machine, readers begin at random records of what it tells, and each of their books is compared with the machine's own,
//! level for level, as deep as the snapshot they began from reached. `ALPHAPULSE_READERS=20` has that many times as many.

mod common;

use common::data;
use flate2::read::MultiGzDecoder;
use model::{BookState, InstrumentId, Price, Qty, Side, UnixNanos, Venue};
use relay::Books;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use venues::{Outbox, Reply, Settings, VenueMachine};
use wire::{Header, Record};

const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

/// One recorded session.
struct Capture {
    venue: Venue,
    frames: &'static str,
    /// Answer to every request for a book, where the venue has to be asked.
    book: Option<&'static str>,
    /// Frames between two moments at which all books are compared.
    every: usize,
    /// One frame in so many is followed by a repeated snapshot of one book.
    repeats: usize,
    readers: usize,
}

const CAPTURES: [Capture; 5] = [
    Capture {
        venue: Venue::Kraken,
        frames: "kraken/ws_v2/book_btcusd_d25_20260802.jsonl",
        book: None,
        every: 7,
        repeats: 40,
        readers: 30,
    },
    Capture {
        venue: Venue::Kraken,
        frames: "kraken/ws_v1/book1000_20210405.jsonl.gz",
        book: None,
        every: 997,
        repeats: 100,
        readers: 10,
    },
    Capture {
        venue: Venue::Binance,
        frames: "binance/spot_ws/btcusdt_20240808.jsonl.gz",
        book: Some("binance/spot_ws/btcusdt_20240808.depth_snapshot.jsonl"),
        every: 2_999,
        repeats: 2_000,
        readers: 8,
    },
    Capture {
        venue: Venue::Coinbase,
        frames: "coinbase/exchange_ws/level2_ticker_matches_20210417.jsonl",
        book: None,
        every: 297,
        repeats: 60,
        readers: 15,
    },
    Capture {
        venue: Venue::Coinbase,
        frames: "coinbase/advanced_ws/all_channels_20260809.jsonl.gz",
        book: None,
        every: 499,
        repeats: 100,
        readers: 3,
    },
];

fn text(path: &Path) -> String {
    let mut text = String::new();
    let mut file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    if path.extension().is_some_and(|ending| ending == "gz") {
        MultiGzDecoder::new(file).read_to_string(&mut text).expect("gzip of text");
    } else {
        file.read_to_string(&mut text).expect("text");
    }
    text
}

/// Xorshift, seeded.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit.max(1)
    }
}

type Sides = [Vec<(Price, Qty)>; 2];

/// What a machine's books hold, of those that are live.
fn truth(machine: &mut dyn VenueMachine, now: UnixNanos) -> BTreeMap<InstrumentId, Sides> {
    let ids: Vec<InstrumentId> = machine.instruments().iter().map(|i| i.id).collect();
    let (mut books, mut out) = (BTreeMap::new(), Outbox::new());
    for id in ids {
        out.clear();
        machine.refresh(id, now, &mut out);
        let mut sides: Option<Sides> = None;
        for record in out.records.records() {
            match record.expect("a sound record") {
                Record::SnapshotBegin(_) => sides = Some(Default::default()),
                Record::BookChange(change) => {
                    let side = change.header.flags().side().expect("a level has a side");
                    let sides = sides.as_mut().expect("levels follow the beginning");
                    sides[usize::from(side == Side::Sell)].push((Price(change.price), Qty(change.size)));
                }
                _ => {}
            }
        }
        books.extend(sides.map(|sides| (id, sides)));
    }
    books
}

/// What a session told, and what its books were after so many of the records.
#[derive(Default)]
struct Told {
    records: Vec<Vec<u64>>,
    truths: Vec<(usize, BTreeMap<InstrumentId, Sides>)>,
}

/// Two machines that are given the same: one tells snapshots of `depth` levels now and then, the other all it holds.
fn run(capture: &Capture, folder: &Path, depth: u32, random: &mut Random) -> Told {
    let book = capture.book.map(|name| text(&folder.join(name)));
    let machine = |depth| {
        let settings = Settings { snapshot_depth: depth, ..Settings::default() };
        venues::machine(capture.venue, &settings, &[]).expect("the venue has a machine")
    };
    let (mut teller, mut whole, mut out) = (machine(depth), machine(u32::MAX), Outbox::new());
    let (mut told, mut aside) = (Told::default(), Outbox::new());
    let mut now = UnixNanos(1_800_000_000_000_000_000);
    teller.on_connected(now, &mut out);
    whole.on_connected(now, &mut aside);
    let frames = text(&folder.join(capture.frames));
    let mut refresh = 0;
    for (n, frame) in frames.lines().enumerate() {
        now.0 += 1_000_000;
        // What a recording holds that is no frame (a cut line) is set aside, as in a feed.
        let _ = teller.on_frame(frame.as_bytes(), now, &mut out);
        let _ = whole.on_frame(frame.as_bytes(), now, &mut aside);
        for request in std::mem::take(&mut out.requests) {
            let reply = match &book {
                Some(body) if request.path.contains("depth") => {
                    Reply::Http { status: 200, body: body.trim_end().as_bytes(), retry_after: None }
                }
                _ => Reply::Failed("not recorded"),
            };
            teller.on_response(request.id, reply, now, &mut out);
            whole.on_response(request.id, reply, now, &mut aside);
        }
        aside.clear();
        // One instrument after the other, as a session does it.
        let known = teller.instruments().len();
        if known > 0 && random.below(capture.repeats) == 0 {
            refresh = (refresh + 1) % known;
            let id = teller.instruments().get(refresh as u32).id;
            teller.refresh(id, now, &mut out);
        }
        told.records.extend(out.records.iter().map(<[u64]>::to_vec));
        out.records.clear();
        out.frames.clear();
        if n % capture.every == capture.every - 1 {
            told.truths.push((told.records.len(), truth(&mut *whole, now)));
        }
    }
    told.truths.push((told.records.len(), truth(&mut *whole, now)));
    told
}

#[derive(Debug, Default)]
struct Compared {
    readers: usize,
    books: usize,
    levels: usize,
    /// Books that were known up to a price only.
    bounded: usize,
    agreed: u64,
}

/// A reader that begins at a record, compared at every moment from there on at which its books are live.
fn follow(told: &Told, from: usize, compared: &mut Compared) {
    let mut books = Books::new();
    let mut at = from;
    for (until, truth) in told.truths.iter().filter(|(until, _)| *until >= from) {
        for words in &told.records[at..*until] {
            books.push(words).expect("a sound record");
        }
        at = *until;
        for (venue, id, rebuilt) in books.iter() {
            let standing = rebuilt.follower.standing();
            if standing.state != BookState::Live {
                continue;
            }
            let sides = truth.get(&id).unwrap_or_else(|| panic!("{venue} {id} is live here and not there"));
            for side in SIDES {
                let bound = rebuilt.follower.bound(side);
                let known = |l: &&(Price, Qty)| match bound {
                    Some(bound) => {
                        if side == Side::Buy {
                            l.0 >= bound
                        } else {
                            l.0 <= bound
                        }
                    }
                    None => true,
                };
                let live = sides[usize::from(side == Side::Sell)].iter().filter(known).copied();
                let held = rebuilt.book.levels(side).map(|l| (l.price, l.size));
                assert!(held.eq(live), "{venue} {id} {side}: begun at {from}, compared at {until}, known to {bound:?}");
                compared.levels += rebuilt.book.depth(side);
                compared.bounded += usize::from(bound.is_some());
            }
            compared.books += 1;
        }
    }
    for (_, id, rebuilt) in books.iter() {
        assert_eq!(rebuilt.follower.counts().disagreed, 0, "{id}");
        assert_eq!(rebuilt.follower.counts().broken, 0, "{id}");
        compared.agreed += rebuilt.follower.counts().agreed;
    }
    compared.readers += 1;
}

#[test]
fn whoever_starts_anywhere_holds_the_books_the_feed_holds() {
    let Some(data) = data("whoever_starts_anywhere_holds_the_books_the_feed_holds") else { return };
    let folder = data.join("venues");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let times = std::env::var("ALPHAPULSE_READERS").map_or(1, |n| n.parse().expect("ALPHAPULSE_READERS is a number"));
    for capture in &CAPTURES {
        for depth in [u32::MAX, 12] {
            let told = run(capture, &folder, depth, &mut random);
            assert!(told.records.iter().any(|words| Header::read(words).is_ok()), "{} tells nothing", capture.frames);
            let mut compared = Compared::default();
            follow(&told, 0, &mut compared);
            for _ in 1..capture.readers * times {
                follow(&told, random.below(told.records.len()), &mut compared);
            }
            println!("{}, snapshots of {depth}: {compared:?}", capture.frames);
            assert!(compared.books >= capture.readers, "{}: {compared:?}", capture.frames);
            assert!(compared.agreed > 0, "{}: {compared:?}", capture.frames);
            // Begun from a snapshot that was cut: by us, or as the venue's own answer is.
            let cut = depth < u32::MAX || capture.book.is_some();
            assert_eq!(compared.bounded > 0, cut, "{}: {compared:?}", capture.frames);
        }
    }
}
