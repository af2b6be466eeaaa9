//! Snapshots on demand over real processes: who joins where the ring holds no snapshot asks for one and has the book the
//! feed has, and a flood of requests costs a bounded number of them.

mod common;

use common::{Site, Up, program, wait_for};
use model::{BookState, Side};
use relay::{Books, Client, ClientOptions, Source, Subscription};
use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};
use wire::{Record, SnapshotReason};

/// A consumer that holds books, up to a record that may be named later.
struct Consumer {
    client: Client,
    books: Books,
    last: (u64, u64),
    until: (u64, u64),
    /// Snapshots told before the first record owed, and of those owed the ones that were asked for.
    caught_up: usize,
    requested: usize,
}

impl Consumer {
    fn open(source: Source) -> Consumer {
        let subscription = Subscription { heartbeats: true, ..Subscription::default() };
        let client = Client::open(source, subscription, ClientOptions::default()).expect("a consumer");
        let (last, until) = ((0, 0), (u64::MAX, u64::MAX));
        Consumer { client, books: Books::new(), last, until, caught_up: 0, requested: 0 }
    }

    fn read(&mut self) {
        let Consumer { client, books, last, until, caught_up, requested } = self;
        let told = client.poll(|delivery, words| {
            let at = (delivery.envelope.epoch, delivery.envelope.sequence);
            if at > *until {
                return;
            }
            if let Ok(Record::SnapshotBegin(begin)) = Record::read(words) {
                *caught_up += usize::from(delivery.catch_up);
                *requested += usize::from(!delivery.catch_up && begin.reason() == SnapshotReason::Requested);
            }
            books.push(words).expect("a sound record");
            if !delivery.catch_up && delivery.envelope.sequence > 0 {
                *last = at;
            }
        });
        if told.expect("it can be read") == 0 {
            client.wait(Duration::from_millis(5));
        }
    }

    fn live(&self) -> usize {
        self.books.iter().filter(|(.., book)| book.follower.standing().state == BookState::Live).count()
    }
}

#[test]
fn a_joiner_whose_ring_holds_no_snapshot_asks_and_has_the_feeds_books() {
    // Two snapshots fill the ring, and there are three books.
    let site = Site::new("[venues.binance]\nenabled = false\n");
    let up = Up::start(&site, &["--set", "ring.slots=4096", "--set", "emulator.kraken.levels=1000"]);
    let (rings, socket) = (site.rings.path().to_owned(), site.state.path().join("relay.sock"));
    wait_for("the feed's socket", || rings.join("kraken.ask").exists().then_some(()));
    wait_for("the relay's socket", || socket.exists().then_some(()));
    let mut from_the_start = Consumer::open(Source::Rings(rings.clone()));
    wait_for("three live books", || {
        from_the_start.read();
        (from_the_start.live() == 3).then_some(())
    });
    let mut asked = 0;
    for source in [Source::Unix(socket.clone()), Source::Rings(rings.clone()), Source::Unix(socket)] {
        let mut joiner = Consumer::open(source);
        wait_for("the joiner's books", || {
            joiner.read();
            from_the_start.read();
            (joiner.live() == 3).then_some(())
        });
        assert!(joiner.caught_up < 3, "the ring held all three");
        asked += joiner.requested;
        // Both up to the same record.
        let until = joiner.last.max(from_the_start.last);
        (joiner.until, from_the_start.until) = (until, until);
        wait_for("the same record", || {
            joiner.read();
            from_the_start.read();
            (joiner.last >= until && from_the_start.last >= until).then_some(())
        });
        for (venue, id, book) in from_the_start.books.iter() {
            let joined = joiner.books.get(venue, id).expect("it knows the instrument");
            for side in [Side::Buy, Side::Sell] {
                assert_eq!(joined.follower.bound(side), None);
                assert!(book.book.levels(side).eq(joined.book.levels(side)), "{venue} {id} {side}");
                assert!(book.book.depth(side) > 900);
            }
            let counts = joined.follower.counts();
            assert_eq!((counts.disagreed, counts.broken), (0, 0), "{venue} {id}");
        }
        from_the_start.until = (u64::MAX, u64::MAX);
        from_the_start = Consumer::open(Source::Rings(rings.clone()));
        wait_for("three live books", || {
            from_the_start.read();
            (from_the_start.live() == 3).then_some(())
        });
    }
    assert!(asked >= 3, "{asked} snapshots were asked for");
    assert_eq!(up.stop(), Some(0));
}

/// One request on the feed's socket, and its answer.
fn ask(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("the feed listens");
    stream.write_all(format!("{line}\n").as_bytes()).expect("it hears");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.trim_end().to_owned()
}

#[test]
fn a_thousand_requests_cost_a_few_snapshots_and_replay_to_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::new(&format!("[venues.kraken]\ncapture = {:?}\n", folder.path()));
    let up = Up::start(&site, &[]);
    let socket = site.rings.path().join("kraken.ask");
    wait_for("the feed's socket", || socket.exists().then_some(()));
    let mut consumer = Consumer::open(Source::Rings(site.rings.path().to_owned()));
    wait_for("three live books", || {
        consumer.read();
        (ask(&socket, "snapshot *") == "ok 3").then_some(())
    });
    assert_eq!(ask(&socket, "snapshot btc-usd ETH/USD"), "ok 2");
    assert_eq!(ask(&socket, "snapshot DOGE-USD"), "error no instrument of kraken is called \"DOGE-USD\"");
    assert!(ask(&socket, "snapshots").starts_with("error the one request is"), "what it does not know it says");
    let begun = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(ask(&socket, "snapshot *"), "ok 3");
    }
    // Those still waiting are told within the pace.
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        consumer.read();
    }
    let most = 3 * (begun.elapsed().as_millis() / 500 + 3) as usize;
    assert!((3..=most).contains(&consumer.requested), "{} of at most {most}", consumer.requested);
    assert_eq!(up.stop(), Some(0));
    let capture = fs::read_dir(folder.path()).expect("captures").flatten().next().expect("a capture").path();
    let out = program()
        .args(["replay", "--venue", "kraken", "--symbols", "BTC-USD,ETH-USD,SOL-USD", "--ring-slots", "65536"])
        .arg(&capture)
        .arg("--compare")
        .arg(site.rings.path())
        .output()
        .expect("the program runs");
    let words = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && words.contains(", 0 different"), "{words}");
}
