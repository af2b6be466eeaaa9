//! A venue that turns us away is left alone for as long as its machine says, and neither a mere welcome nor a short life
//! makes a failed attempt forgotten.

use feed::{
    Feed, FeedOptions, Stop, Waiting,
    backoff::{BackoffConfig, FirstRetry},
    transport::TlsOptions,
};
use model::{Reason, StreamKind, Venue};
use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use telemetry::Registry;
use tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use venues::{Credentials, SessionSettings, Settings};
use wire::{Envelope, Origin, json};

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

const WELCOME: &str = r#"[{"T":"success","msg":"connected"}]"#;

const ONLINE: &str = r#"{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2","connection_id":1}]}"#;

/// What a venue does with whoever connects.
#[derive(Clone, Copy)]
enum Manner {
    /// Welcomes, hears the login, says this (or nothing) and hangs up.
    Login(Option<&'static str>),
    /// Says that it is online and goes away.
    GoesAway,
}

/// A venue of these manners; how often it was connected to.
fn venue(manner: Manner) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    // It ends with the test's process.
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            serve(socket, manner);
            count.fetch_add(1, Ordering::AcqRel);
        }
    });
    (address, served)
}

fn serve(socket: TcpStream, manner: Manner) {
    let Ok(mut socket) = tungstenite::accept(socket) else { return };
    let Manner::Login(answer) = manner else {
        // The feed may be gone first: it has been connected all the same.
        let _ = socket.send(Message::text(ONLINE));
        let _ = socket.close(Some(CloseFrame { code: CloseCode::Away, reason: "".into() }));
        let _ = socket.flush();
        return;
    };
    let said = socket.send(Message::text(WELCOME)).and_then(|()| socket.read());
    if let (Ok(_), Some(answer)) = (said, answer) {
        // A feed that has gone already has heard enough.
        let _ = socket.send(Message::text(answer));
    }
    let _ = socket.close(None);
    let _ = socket.flush();
}

fn options(manner: Manner, address: std::net::SocketAddr, folder: &Path, backoff: BackoffConfig) -> FeedOptions {
    let (venue, symbol, choices) = match manner {
        Manner::Login(_) => (Venue::Alpaca, "AAPL", vec![("encoding".to_owned(), "json".to_owned())]),
        Manner::GoesAway => (Venue::Kraken, "BTC-USD", vec![]),
    };
    let keys = Credentials { key: "key".to_owned(), secret: "secret".to_owned(), passphrase: None };
    FeedOptions {
        venue,
        ws_url: format!("ws://{address}"),
        ws_url_b: String::new(),
        pair: false,
        renew: None,
        cpu: None,
        deflate: Some(false),
        rest_url: format!("http://{address}"),
        settings: Settings {
            symbols: vec![symbol.to_owned()],
            streams: vec![StreamKind::Trade],
            credentials: Some(keys),
            ..Settings::default()
        },
        choices,
        session: SessionSettings::default(),
        site: "test".to_owned(),
        build: "test".to_owned(),
        origin: Origin::Simulated,
        ring_dir: folder.join("rings"),
        ring_slots: 1 << 12,
        state_dir: folder.join("state"),
        capture: None,
        tls: TlsOptions::default(),
        backoff,
        waiting: Waiting::Block,
        seed: 1,
    }
}

/// The words of every refusal and every loss of the connection that the ring tells.
fn words(folder: &Path, venue: Venue) -> Vec<String> {
    let directory = ring::Directory::open(&folder.join("rings")).expect("the rings");
    let mut reader = ring::Reader::open(&directory, venue.name()).expect("the ring");
    let (mut encoder, mut told) = (json::Encoder::new(), vec![]);
    loop {
        let poll = reader.poll(4096, |entry, record| {
            let at = Envelope { epoch: entry.epoch, sequence: entry.sequence };
            if let Some(json::Line::Status(status)) =
                encoder.push(at, record).expect("a record whose instrument was defined before it")
                && (status.reason == Reason::Refused.name() || status.text.contains("the next try is in"))
            {
                told.push(status.text);
            }
        });
        match poll.expect("a sound ring") {
            ring::Poll::Records(_) => {}
            _ => return told,
        }
    }
}

/// Runs a feed until its ring tells what is looked for; what was told and how often it connected.
fn run(manner: Manner, backoff: BackoffConfig, found: impl Fn(&[String]) -> bool) -> (Vec<String>, usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let (address, served) = venue(manner);
    let (stop, registry) = (Stop::new().expect("an eventfd"), Registry::new());
    let options = options(manner, address, folder.path(), backoff);
    let venue = options.venue;
    let mut feed = Feed::open(options, stop.clone(), &registry).expect("a feed");
    let feed = thread::spawn(move || feed.run().expect("it ends in order"));
    let begin = Instant::now();
    let told = loop {
        let told = words(folder.path(), venue);
        if found(&told) {
            break told;
        }
        assert!(begin.elapsed() < PATIENCE, "{told:?}");
        thread::sleep(Duration::from_millis(10));
    };
    stop.stop();
    feed.join().expect("the feed does not panic");
    (told, served.load(Ordering::Acquire))
}

#[test]
fn wrong_keys_keep_the_feed_away_for_five_minutes() {
    let backoff = BackoffConfig { base: Duration::ZERO, cap: Duration::ZERO, first: FirstRetry::AtOnce };
    let refusal = r#"[{"T":"error","code":402,"msg":"auth failed"}]"#;
    let lost = |told: &[String]| told.iter().any(|text| text.contains("the next try is in"));
    let (told, served) = run(Manner::Login(Some(refusal)), backoff, lost);
    assert_eq!(told[0], "402 auth failed; the next login is in 300 s");
    assert!(told[1].ends_with("402 auth failed; the next try is in 300.0 s"), "{told:?}");
    assert!(served <= 1, "one connection, not {served}");
}

/// The first retry is made at once; were so short a life enough, every retry would be the first.
fn is_tried_again_once(manner: Manner) {
    let hour = Duration::from_secs(3600);
    let backoff = BackoffConfig { base: hour, cap: hour, first: FirstRetry::AtOnce };
    let lost = |told: &[String]| told.iter().filter(|text| text.contains("the next try is in")).count() >= 2;
    let (told, served) = run(manner, backoff, lost);
    assert!(told[0].ends_with("the next try is in 0.0 s"), "{told:?}");
    assert!(!told[1].ends_with("the next try is in 0.0 s"), "{told:?}");
    assert!(served <= 2, "two connections, not {served}");
}

#[test]
fn a_welcome_is_no_success() {
    is_tried_again_once(Manner::Login(None));
}

#[test]
fn a_venue_that_says_it_is_online_and_goes_away_is_not_hammered() {
    is_tried_again_once(Manner::GoesAway);
}
