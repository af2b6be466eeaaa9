//! Every kind of fault there is leaves its extent: in memory as in the journal, on the stream, connection or server it
//! hit, with exactly as many hits as were asked for.

mod common;

use std::fs;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::get;
use emulator::{
    EmulatedVenue, Extent, Fault, Field, Handle, JournalOptions, LocalIdentity, Options, Planned, Rate, Server, Target,
};
use model::StreamKind;
use serde_json::Value;

const SYMBOL: &str = "BTC/USD";

/// Reads trades and books for as long as it is left to, whatever becomes of its connections.
fn reader(server: &Handle, done: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let (address, done) = (server.addr(), Arc::clone(done));
    thread::spawn(move || {
        while !done.load(Ordering::Acquire) {
            // Who comes while connections break may be one of them.
            let Ok(socket) = TcpStream::connect(address) else { continue };
            let Ok((mut client, _)) = tungstenite::client(format!("ws://{address}/v2"), socket) else { continue };
            for channel in ["trade", "book"] {
                let params = serde_json::json!({"channel": channel, "symbol": [SYMBOL]});
                let request = serde_json::json!({"method": "subscribe", "params": params}).to_string();
                // A connection that is gone is noticed below.
                let _ = client.send(tungstenite::Message::from(request));
            }
            while !done.load(Ordering::Acquire) && client.read().is_ok() {}
        }
    })
}

/// The extents of a fault when all of them are over.
fn over(server: &Handle, id: u64, name: &str) -> Vec<Extent> {
    for _ in 0..3_000 {
        let extents: Vec<Extent> = server.extents().into_iter().filter(|extent| extent.id == id).collect();
        if !extents.is_empty() && extents.iter().all(|extent| extent.over) {
            return extents;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{name} never ended: {:?}", server.extents());
}

/// Between two connections there is none to hit: waits for one behind the last that broke.
fn wait_for_connection(server: &Handle, broken: u64) {
    let is_there = |server: &Handle| {
        let connections = server.stats().connections;
        connections.iter().any(|connection| connection.open && connection.number > broken && connection.frames > 10)
    };
    while !is_there(server) {
        thread::sleep(Duration::from_millis(5));
    }
}

/// How often a fault hits.
#[derive(Clone, Copy, Debug)]
enum Hits {
    Exactly(u64),
    /// For a time, as often as something came.
    Some,
}

/// The faults of frames, each with how often it hits when it is planned for three.
fn of_frames() -> Vec<(Fault, Hits)> {
    let (book, trade) = (Target::of(StreamKind::Book, SYMBOL), Target::of(StreamKind::Trade, SYMBOL));
    let (wait, three) = (Duration::from_millis(300), Hits::Exactly(3));
    vec![
        (Fault::Lose(trade.clone(), 3), three),
        (Fault::Hide(trade.clone(), 3), three),
        (Fault::Reorder(trade.clone(), 3), three),
        (Fault::Duplicate(trade.clone()), three),
        (Fault::Corrupt(book.clone()), three),
        (Fault::Checksum(book.clone()), three),
        (Fault::Malform(trade.clone()), three),
        (Fault::Truncate(trade.clone()), three),
        (Fault::Number(trade.clone(), Field::Price, "9".repeat(25)), three),
        (Fault::Type(trade.clone(), Field::Size, "true".to_owned()), three),
        (Fault::Cross(book.clone()), three),
        (Fault::Skew(trade.clone(), 60_000, wait), Hits::Some),
        (Fault::Mute(trade.clone(), wait), Hits::Some),
        (Fault::Freeze(book, wait), Hits::Some),
    ]
}

fn of_sockets() -> Vec<Fault> {
    let wait = Duration::from_millis(200);
    vec![
        Fault::Say("{\"channel\":\"status\"}".to_owned()),
        Fault::Giant { mib: 1 },
        Fault::Fragment { bytes: 9, wait },
        Fault::Trickle(wait),
        Fault::HalfOpen(wait),
        Fault::Drop,
        Fault::Restart,
    ]
}

fn check(fault: &Fault, extents: &[Extent], hits: Hits) {
    let name = fault.name();
    let count: u64 = extents.iter().map(|extent| extent.count).sum();
    match hits {
        Hits::Exactly(wanted) => assert_eq!(count, wanted, "{name}: {extents:?}"),
        Hits::Some => assert!(count > 0, "{name}: {extents:?}"),
    }
    for extent in extents {
        assert_eq!(extent.fault, name);
        assert!(extent.begin <= extent.end && extent.first_frame <= extent.last_frame, "{extent:?}");
    }
}

#[test]
fn every_fault_leaves_its_extent() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(Options {
        rate: Rate::FramesPerSecond(1_000),
        journal: JournalOptions::Folder(folder.path().to_owned()),
        ..Options::new(EmulatedVenue::Kraken)
    })
    .expect("a server");
    let done = Arc::new(AtomicBool::new(false));
    let reader = reader(&server, &done);
    for (fault, hits) in of_frames() {
        let id = server.plan(Planned { count: 3, ..fault.clone().into() }).expect("it can be");
        let extents = over(&server, id, fault.name());
        check(&fault, &extents, hits);
        assert!(extents.iter().all(|extent| extent.stream.is_some() && extent.symbol.as_deref() == Some(SYMBOL)));
        assert!(extents.iter().all(|extent| extent.first_frame > 0), "{extents:?}");
    }
    let mut broken = 0;
    for fault in of_sockets() {
        wait_for_connection(&server, broken);
        let id = server.plan(fault.clone().into()).expect("it can be");
        let extents = over(&server, id, fault.name());
        check(&fault, &extents, Hits::Exactly(1));
        let hit = extents[0].connection.expect("a connection");
        if matches!(fault, Fault::HalfOpen(_) | Fault::Drop | Fault::Restart) {
            broken = hit;
        }
    }
    wait_for_connection(&server, broken);
    let path = "/0/public/Depth?pair=XBTUSD&count=5";
    let first = get(server.addr(), path).2;
    while get(server.addr(), path).2 == first {}
    let old = Fault::OldSnapshot(2);
    let id = server.plan(old.clone().into()).expect("it can be");
    let served: Vec<String> = (0..3).map(|_| get(server.addr(), path).2).collect();
    assert!(served[..2] == [first.clone(), first.clone()] && served[2] != first, "{served:?}");
    check(&old, &over(&server, id, old.name()), Hits::Exactly(2));
    let refuse = Fault::Refuse { status: 503, wait: Duration::from_millis(300) };
    let id = server.plan(refuse.clone().into()).expect("it can be");
    assert_eq!((0..4).map(|_| get(server.addr(), path).0).collect::<Vec<_>>(), [503; 4]);
    check(&refuse, &over(&server, id, refuse.name()), Hits::Exactly(4));
    done.store(true, Ordering::Release);
    server.inject(Fault::Drop);
    reader.join().expect("the reader ends");
    let told: Vec<(u64, u64)> = server.extents().iter().map(|extent| (extent.id, extent.count)).collect();
    server.stop();
    let lines = fs::read_to_string(folder.path().join("faults.jsonl")).expect("a journal");
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mut written: Vec<(u64, u64)> =
        lines.map(|line| (line["id"].as_u64().expect("an id"), line["count"].as_u64().expect("a count"))).collect();
    written.sort_unstable();
    let mut told = told;
    told.sort_unstable();
    assert_eq!(written, told);
}

#[test]
fn another_certificate_is_an_extent_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let identity = LocalIdentity::at(&folder.path().join("tls")).expect("an identity");
    let (certificate, key) = (identity.server.certificate.clone(), identity.server.key.clone());
    let options = Options { tls: Some(identity.server), ..Options::new(EmulatedVenue::Kraken) };
    let server = Server::start(options).expect("a server");
    let fault = Fault::Certificate { certificate, key };
    let id = server.plan(fault.clone().into()).expect("it can be");
    check(&fault, &over(&server, id, fault.name()), Hits::Exactly(1));
}
