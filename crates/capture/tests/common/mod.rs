//! A tap over made-up frames, for the tests that look at what becomes of them.
#![allow(dead_code, reason = "every test file is a crate of its own and uses its part")]

use capture::{About, Anchor, Direction, Item, Kind, Lost, Options, Reader, RunSettings, Tap};
use model::{UnixNanos, Venue};
use std::path::{Path, PathBuf};
use venues::{Credentials, Input, LineShape, SessionSettings, Settings};
use wire::Origin;

/// 2025-01-13 02:00 in UTC.
pub const TWO: u64 = 1_736_733_600_000_000_000;
/// A second and an hour, ns.
pub const S: u64 = 1_000_000_000;
pub const HOUR: u64 = 3600 * S;

pub fn tap(options: &Options, epoch: u64, credentials: Option<&Credentials>) -> Tap {
    let shape = [LineShape { name: String::new(), group: 0 }];
    let about = About {
        venue: Venue::Kraken,
        epoch,
        site: "test",
        build: "test",
        origin: Origin::Simulated,
        shape: &shape,
        settings: RunSettings::new(&Settings::default(), &[], SessionSettings::default()),
        credentials,
    };
    Tap::open(options, &about, Anchor { wall: UnixNanos(TWO), monotonic: 5 * S }).expect("a thread")
}

/// A frame that says its number, of some length.
pub fn frame(number: u64) -> Vec<u8> {
    let mut frame = number.to_le_bytes().to_vec();
    frame.resize(8 + (number * 7919 % 300) as usize, b'x');
    frame
}

pub fn push(tap: &mut Tap, number: u64, time: u64) {
    tap.input(0, &Input::Frame(&frame(number)), UnixNanos(time));
}

/// What was read back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// The numbers of the frames, each proved whole.
    pub numbers: Vec<u64>,
    /// Losses, and how many frames stood before each.
    pub lost: Vec<(usize, Lost)>,
    /// Damage: from, to, whether the file ends with it.
    pub damage: Vec<(u64, u64, bool)>,
    /// Entries of other kinds.
    pub others: usize,
}

pub fn read(path: &Path) -> Read {
    read_from(Reader::open(path).expect("a capture"))
}

pub fn read_from(mut reader: Reader) -> Read {
    let mut all = Read::default();
    while let Some(item) = reader.next().expect("readable") {
        match item {
            Item::Damaged(d) => all.damage.push((d.from, d.to, d.cut)),
            Item::Entry(entry) => match (entry.head.kind, entry.head.direction) {
                (Kind::Frame, Direction::In) => {
                    let number = u64::from_le_bytes(*entry.body.first_chunk().expect("a number"));
                    assert_eq!(entry.body, frame(number), "the frame is whole");
                    assert_eq!(entry.head.monotonic, entry.head.time.0 - TWO + 5 * S);
                    all.numbers.push(number);
                }
                (Kind::Lost, _) => all.lost.push((all.numbers.len(), Lost::read(entry.body).expect("a loss"))),
                _ => all.others += 1,
            },
        }
    }
    all
}

/// The names of the capture files in a folder, in order.
pub fn names(folder: &Path) -> Vec<String> {
    let name = |p: &PathBuf| p.file_name().expect("a name").to_string_lossy().into_owned();
    capture::files(folder).expect("a folder").iter().map(name).collect()
}
