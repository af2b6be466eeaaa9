//! Faults of connections and servers: half-open, slow, in pieces, giant, refused, of another certificate.

use super::common::role::Role;
use super::plant::*;
use super::table::{Row, at_least, exactly};
use super::*;
use emulator::{Fault, Planned};
use feed::backoff::BackoffConfig;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use venues::StaleAfter;

/// The statuses of the connection in this state.
fn connection<'a>(told: &'a [Value], state: &str) -> Vec<&'a Value> {
    told.iter().filter(|l| l["type"] == "status" && l["scope"] == "connection" && l["state"] == state).collect()
}

fn holes_of_all(plant: &Plant, told: &[Value]) -> u64 {
    plant.setup.symbols.iter().map(|symbol| holes(told, symbol)).sum()
}

/// Ends the run when what was missed has been fetched, or when that has been waited for long enough.
fn end_fetched(plant: &mut Plant) -> Vec<Value> {
    let deadline = Instant::now() + common::PATIENCE;
    while holes_of_all(plant, &plant.told()) > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    plant.end()
}

fn twice_of_all(plant: &Plant, told: &[Value]) -> u64 {
    plant.setup.symbols.iter().map(|symbol| trades(told, symbol).twice).sum()
}

/// The socket stays and nothing comes: the feed gives the connection up by itself.
fn half_open(setup: Setup) {
    let setup = Setup { stale: StaleAfter { connection_s: 1, ..StaleAfter::default() }, ..setup };
    let mut plant = Plant::start(setup);
    plant.suffer(Fault::HalfOpen(Duration::from_secs(8)));
    plant.flow(plant.setup.books(), 40);
    let told = end_fetched(&mut plant);
    let down = connection(&told, "down");
    let timeouts = down.iter().filter(|l| l["reason"] == "timeout").count() as u64;
    Row {
        fault: "F15",
        what: "a half-open connection",
        venue: plant.setup.name,
        injected: "1 connection without a byte, 1 s without a frame is too long".to_owned(),
        reported: format!("down {} (timeout), another connection", count(timeouts, "time")),
        missed: u64::from(timeouts == 0) + holes_of_all(&plant, &told),
        // Alpaca takes no second connection while it thinks that the first is there.
        spurious: timeouts.saturating_sub(1) + twice_of_all(&plant, &told),
    }
    .check_counted(&plant, &[at_least("reconnects_total", timeouts)]);
}

/// However the bytes are cut, what they say is the same.
fn in_pieces(fault: &'static str, what: &'static str, injected: &str, setup: Setup, planned: Fault) {
    let mut plant = Plant::start(setup);
    plant.suffer(planned);
    plant.trades(80);
    let told = plant.end();
    let [symbol, other] = plant.setup.symbols;
    let none = ["malformed_total", "checksums_failed_total", "resyncs_total", "reconnects_total", "gaps_total"];
    let figures = none.map(|name| exactly(name, 0));
    Row {
        fault,
        what,
        venue: plant.setup.name,
        injected: injected.to_owned(),
        reported: "every record as ever".to_owned(),
        missed: holes_of_all(&plant, &told),
        spurious: trouble(&told, symbol) + trouble(&told, other) + twice_of_all(&plant, &told),
    }
    .check_counted(&plant, &figures);
}

fn trickle(setup: Setup) {
    in_pieces("F16", "one byte at a time", "1 s of single bytes", setup, Fault::Trickle(Duration::from_secs(1)));
}

fn fragments(setup: Setup) {
    let fault = Fault::Fragment { bytes: 7, wait: Duration::from_secs(1) };
    in_pieces("F06", "messages in fragments", "1 s of frames of 7 bytes", setup, fault);
}

/// What a feed may take beside the largest message a venue may send: its ring as it fills, books, one more read.
const SLACK_KIB: u64 = 8 << 10;

/// By how much the largest memory of a feed in a process of its own grows over a giant message, in KiB.
fn memory_of_giant(setup: &Setup, mib: u32) -> u64 {
    let mut options = emulator::Options::new(setup.emulated);
    options.rate = emulator::Rate::FramesPerSecond(600);
    options.deflate = setup.deflate;
    let emulator = emulator::Server::start(options).expect("an emulator");
    let (venue, site) = (setup.venue.name(), common::Site::new(""));
    let feed = Role::start(&site, &["feed", venue, "--origin", "simulated"], &setup.set(&emulator));
    let frames = |more: u64| {
        let goal = emulator.stats().frames + more;
        let what = format!("{goal} frames of {}", setup.name);
        common::wait_for(&what, || (emulator.stats().frames >= goal).then_some(()));
    };
    frames(500);
    let before = feed.memory_peak_kib();
    let id = emulator.inject(Fault::Giant { mib });
    common::wait_for("the giant", || emulator.extents().iter().any(|e| e.id == id && e.over).then_some(()));
    // One that is cut off is sent nothing: so many come over another connection.
    frames(500);
    feed.memory_peak_kib() - before
}

/// A message larger than anything the venue sends: not one byte of room is made for it.
fn giant(setup: Setup, mib: u32, what: &'static str) {
    let (grown, most) = (memory_of_giant(&setup, mib), setup.frame_max() / 1024 + SLACK_KIB);
    println!("{}: {grown} KiB more over {mib} MiB, {most} at most", setup.name);
    let mut plant = Plant::start(setup);
    let id = plant.plan(Fault::Giant { mib });
    plant.over(id);
    plant.flow(plant.setup.books(), 30);
    let told = end_fetched(&mut plant);
    let down = connection(&told, "down");
    let named = down.iter().filter(|l| text(l, "text").contains("bytes")).count() as u64;
    Row {
        fault: "F06",
        what,
        venue: plant.setup.name,
        injected: format!("1 message of {mib} MiB"),
        reported: format!(
            "down {} with its size, another connection; memory at its peak at most {} MiB higher",
            count(named, "time"),
            most / 1024
        ),
        missed: u64::from(named == 0) + u64::from(grown > most) + holes_of_all(&plant, &told),
        spurious: down.len() as u64 - named.min(1) + twice_of_all(&plant, &told),
    }
    .check_counted(&plant, &[exactly("reconnects_total", down.len() as u64)]);
}

#[test]
fn f15_half_open() {
    each(every(), half_open);
}

#[test]
fn f16_trickle() {
    each(every(), trickle);
}

#[test]
fn f06_fragments() {
    each(every(), fragments);
}

#[test]
fn f06_giant() {
    each(every(), |setup| giant(setup, 256, "a giant message"));
}

#[test]
fn f13_refused() {
    each(every(), |setup| refused(setup, 429));
}

/// A little on the wire, much in memory.
#[test]
fn f06_bomb() {
    each(vec![coinbase(), alpaca(), alpaca_stocks()], |setup| {
        giant(Setup { deflate: true, ..setup }, 200, "a message that grows when it is unpacked");
    });
}

/// The venue refuses whoever comes: the feed stays away as long as it is told to, and comes back.
fn refused(setup: Setup, status: u16) {
    let mut plant = Plant::start(setup);
    let id = plant.plan(Fault::Refuse { status, wait: Duration::from_millis(1900) });
    plant.emulator.inject(Fault::Drop);
    plant.over(id);
    plant.flow(plant.setup.books(), 30);
    let extents = plant.over(id);
    let told = end_fetched(&mut plant);
    let refused = connection(&told, "down").iter().filter(|l| l["reason"] == "refused").count() as u64;
    // The first is told to come back after 2 s, when it is over. Requests of REST are answered the same.
    let attempts: u64 = extents.iter().map(|e| e.count).sum();
    Row {
        fault: "F13",
        what: if status == 418 { "banned" } else { "refused" },
        venue: plant.setup.name,
        injected: format!("status {status} for 1.9 s after a break"),
        reported: format!("{} refused, the next when the venue allows it", count(refused, "attempt")),
        missed: u64::from(refused == 0) + holes_of_all(&plant, &told),
        spurious: attempts.saturating_sub(refused.max(1)) + twice_of_all(&plant, &told),
    }
    .check_counted(&plant, &[at_least("reconnects_total", 1 + refused)]);
}

#[test]
fn f13_banned_binance() {
    refused(binance(), 418);
}

/// Most connections an emulator is let drop at once: a feed that hammers it would make them all.
const HAMMERED_MAX: u64 = 400;

/// The venue accepts, sends the first of its data and hangs up, again and again: the feed tries again at once one time, and
/// then waits longer and longer. With waits of up to an hour nothing comes after the second.
fn hung_up_on(setup: Setup) {
    let hour = Duration::from_secs(3600);
    let mut plant = Plant::start(Setup { backoff: BackoffConfig { base: hour, cap: hour, ..setup.backoff }, ..setup });
    let first_new = plant.emulator.stats().accepted + 1;
    let before = plant.emulator.stats().connections.len();
    for connection in (first_new..).take(HAMMERED_MAX as usize) {
        plant.plan(Planned { connection: Some(connection), ..from_frame(1, Fault::Drop) });
    }
    plant.emulator.inject(Fault::Drop);
    let waits = plant.until("the second wait", |told| {
        let down = connection(told, "down");
        let waits: Vec<String> = down
            .iter()
            .filter_map(|l| text(l, "text").rsplit_once("the next try is in ").map(|(_, wait)| wait.to_owned()))
            .collect();
        (waits.len() >= 2).then_some(waits)
    });
    let made = plant.emulator.stats().connections.len() - before;
    plant.end();
    println!("{}: {made} more connections, waits {waits:?}", plant.setup.name);
    Row {
        fault: "F13",
        what: "hung up on with the first data",
        venue: plant.setup.name,
        injected: "a break, and every later connection cut at its first data".to_owned(),
        reported: "tried again once at once, then after a growing wait".to_owned(),
        missed: u64::from(waits[0] != "0.0 s") + u64::from(waits[1] == "0.0 s"),
        spurious: (made as u64).saturating_sub(1),
    }
    .check_counted(&plant, &[exactly("connects_total", 2)]);
}

#[test]
fn f13_hung_up_on() {
    each(every(), hung_up_on);
}

/// A certificate for the loopback address and its key, as PEM files.
fn certificate(folder: &Path, name: &str) -> [PathBuf; 2] {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    fs::write(&cert, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    [cert, key]
}

/// One venue shows a certificate of somebody else, or cannot be found at all; another venue does not notice.
fn cut_off(what: &'static str, setup: Setup, part: &str, fault: impl FnOnce(&Plant, &Path)) {
    let folder = tempfile::tempdir().expect("a folder");
    let [cert, key] = certificate(folder.path(), "good");
    let secure = |setup: Setup| Setup { tls: Some([cert.clone(), key.clone(), cert.clone()]), ..setup };
    let mut other = Plant::start(secure(kraken()));
    let is_there = setup.host.is_none();
    let mut plant = if is_there { Plant::start(secure(setup)) } else { Plant::launch(secure(setup)) };
    fault(&plant, folder.path());
    let down = plant.until("the reason", |told| {
        let down = connection(told, "down");
        let named = down.iter().filter(|l| text(l, "text").to_lowercase().contains(part));
        named.clone().nth(1).map(|_| named.count())
    });
    assert!(down > 1, "it is tried again");
    other.trades(30);
    let (told, theirs) = (plant.end(), other.end());
    let is_trade = |l: &Value| l["type"] == "trade" && l["symbol"] == plant.symbol();
    assert!(!is_there || told.iter().any(is_trade), "{}: it was there before", plant.setup.name);
    let [one, two] = other.setup.symbols;
    Row {
        fault: "F14",
        what,
        venue: plant.setup.name,
        injected: "1 venue cut off, kraken beside it".to_owned(),
        reported: "down with the reason, tried again; kraken untouched".to_owned(),
        missed: 0,
        spurious: trouble(&theirs, one)
            + trouble(&theirs, two)
            + connection(&theirs, "down").len() as u64
            + holes_of_all(&other, &theirs),
    }
    .check_counted(&plant, &[at_least("reconnects_total", down as u64)]);
}

fn other_certificate(setup: Setup) {
    cut_off("another certificate", setup, "certificate", |plant, folder| {
        let [certificate, key] = certificate(folder, "bad");
        plant.suffer(Fault::Certificate { certificate, key });
        plant.emulator.inject(Fault::Drop);
    });
}

#[test]
fn f14_certificate() {
    each(every(), other_certificate);
}

#[test]
fn f14_no_such_host() {
    each(every(), |setup| {
        let setup = Setup { host: Some("no-such-host.invalid:443"), ..setup };
        cut_off("a name nobody knows", setup, "no-such-host", |_, _| {});
    });
}
