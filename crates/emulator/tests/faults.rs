//! Faults by script, by socket and by connection, as a client and the journal see them.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{Client, connect, get, next, next_text, say};
use emulator::{
    EmulatedVenue, Extent, Fault, Handle, JournalOptions, Options, Planned, Rate, Server, Target, Trigger, parse_script,
};
use model::StreamKind;
use serde_json::Value;

fn options(venue: EmulatedVenue) -> Options {
    Options { rate: Rate::FramesPerSecond(2000), ..Options::new(venue) }
}

/// A client of Binance's trades of one symbol.
fn trades(server: &Handle) -> Client {
    connect(server.addr(), "/ws/btcusdt@trade")
}

fn id(client: &mut Client) -> u64 {
    next(client)["t"].as_u64().expect("a trade")
}

/// The ids of the next trades.
fn ids(client: &mut Client, count: usize) -> Vec<u64> {
    (0..count).map(|_| id(client)).collect()
}

fn over(server: &Handle, id: u64) -> Vec<Extent> {
    for _ in 0..3000 {
        let extents: Vec<Extent> = server.extents().into_iter().filter(|extent| extent.id == id).collect();
        if !extents.is_empty() && extents.iter().all(|extent| extent.over) {
            return extents;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("fault {id} never ended: {:?}", server.extents());
}

#[test]
fn a_script_s_faults_happen_at_their_frames_and_the_journal_has_their_extents() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "
        [[fault]]
        do = \"lose\"
        stream = \"trade\"
        symbol = \"BTCUSDT\"
        at = 5
        count = 3
        [[fault]]
        do = \"duplicate\"
        stream = \"trade\"
        symbol = \"BTCUSDT\"
        at = 10
    ";
    let server = Server::start(Options {
        script: parse_script(script).expect("a script"),
        journal: JournalOptions::Folder(folder.path().to_owned()),
        ..options(EmulatedVenue::Binance)
    })
    .expect("a server");
    let told = ids(&mut trades(&server), 12);
    let first = told[0];
    let expected: Vec<u64> = [0, 1, 2, 3, 7, 8, 9, 9, 10, 11].iter().map(|n| first + n).collect();
    // The lost frames are counted: the tenth is the seventh that came.
    assert_eq!(told[..10], expected, "{told:?}");
    server.stop();
    let lines = fs::read_to_string(folder.path().join("faults.jsonl")).expect("a journal");
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let lost = &lines[0];
    assert_eq!((lost["fault"].as_str(), lost["stream"].as_str()), (Some("lose"), Some("trade")));
    assert_eq!(
        (lost["first_frame"].as_u64(), lost["last_frame"].as_u64(), lost["count"].as_u64()),
        (Some(5), Some(7), Some(3))
    );
    assert_eq!(lost["ids"], serde_json::json!([[first + 4, first + 6]]));
}

#[test]
fn a_fault_of_one_connection_is_not_seen_by_another() {
    let server = Server::start(options(EmulatedVenue::Binance)).expect("a server");
    let (mut one, mut two) = (trades(&server), trades(&server));
    ids(&mut one, 2);
    ids(&mut two, 2);
    let mut numbers: Vec<u64> = server.stats().connections.iter().map(|c| c.number).collect();
    numbers.sort_unstable();
    let lose = Fault::Lose(Target::of(StreamKind::Trade, "BTCUSDT"), 4);
    let plan = Planned { connection: Some(numbers[0]), ..lose.into() };
    let extents = over(&server, server.plan(plan).expect("it can be"));
    assert_eq!((extents[0].connection, extents[0].count), (Some(numbers[0]), 4));
    let lost = extents[0].ids[0];
    let until = |client: &mut Client| -> Vec<u64> {
        std::iter::repeat_with(|| id(client)).take_while(|id| *id <= lost.1 + 1).collect()
    };
    let both = [until(&mut one), until(&mut two)];
    assert!(both[0].iter().all(|id| *id < lost.0 || *id > lost.1), "{lost:?} came: {:?}", both[0]);
    assert!((lost.0..=lost.1).all(|id| both[1].contains(&id)), "{lost:?} did not come: {:?}", both[1]);
}

#[test]
fn a_connection_breaks_at_its_frame() {
    let server = Server::start(options(EmulatedVenue::Binance)).expect("a server");
    let plan = Planned { trigger: Trigger::Frame(7), ..Fault::Drop.into() };
    let fault = server.plan(plan).expect("it can be");
    let mut client = trades(&server);
    ids(&mut client, 7);
    assert!(client.read().is_err(), "nothing follows");
    let extents = over(&server, fault);
    assert_eq!((extents.len(), extents[0].first_frame), (1, 7));
    // It has happened: the next connection goes on.
    ids(&mut trades(&server), 20);
}

#[test]
fn ids_begin_at_1_when_the_venue_begins_anew() {
    let server = Server::start(options(EmulatedVenue::Binance)).expect("a server");
    let mut client = trades(&server);
    assert!(ids(&mut client, 3)[0] > 1_000_000);
    server.inject(Fault::Restart);
    while client.read().is_ok() {}
    let first = id(&mut trades(&server));
    assert!((1..100).contains(&first), "{first}");
}

#[test]
fn a_message_in_fragments_and_one_byte_at_a_time_is_the_same() {
    let server = Server::start(Options::new(EmulatedVenue::Kraken)).expect("a server");
    let mut client = connect(server.addr(), "/v2");
    say(&mut client, r#"{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}"#);
    let wait = Duration::from_secs(20);
    let frame = |client: &mut Client| loop {
        let text = next_text(client);
        if text.contains("\"type\":\"update\"") && text.contains("\"trade\"") {
            return text;
        }
    };
    // What is planned for all is for the connections that are there.
    frame(&mut client);
    for fault in [Fault::Fragment { bytes: 3, wait }, Fault::Trickle(wait)] {
        over(&server, server.plan(fault.into()).expect("it can be"));
        for _ in 0..5 {
            let text = frame(&mut client);
            assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
        }
    }
}

#[test]
fn each_venue_refuses_in_its_own_words() {
    let wait = Duration::from_secs(60);
    for (venue, status, path, part) in [
        (EmulatedVenue::Binance, 429, "/api/v3/time", "-1003"),
        (EmulatedVenue::Binance, 418, "/api/v3/time", "IP banned until"),
        (EmulatedVenue::Kraken, 429, "/0/public/Time", "EAPI:Rate limit exceeded"),
        (EmulatedVenue::Coinbase, 429, "/products", "Public rate limit exceeded"),
        (EmulatedVenue::Coinbase, 429, "/api/v3/brokerage/time", "rate_limit_exceeded"),
        (EmulatedVenue::Alpaca, 429, "/v2/assets", "too many requests"),
    ] {
        let server = Server::start(options(venue)).expect("a server");
        server.inject(Fault::Refuse { status, wait });
        let (told, head, body) = get(server.addr(), path);
        assert_eq!(told, status, "{venue:?}");
        assert!(body.contains(part), "{venue:?}: {body}");
        assert!(head.to_lowercase().contains("retry-after: 60") || head.to_lowercase().contains("retry-after: 61"));
        assert_eq!(server.extents()[0].count, 1);
    }
}

#[test]
fn a_venue_says_what_it_cannot_do() {
    let server = Server::start(options(EmulatedVenue::Coinbase)).expect("a server");
    let wait = Duration::from_secs(1);
    for (fault, part) in [
        (Fault::Checksum(Target::ALL), "no checksum"),
        (Fault::Refuse { status: 418, wait }, "only Binance"),
        (Fault::Lose(Target::of(StreamKind::Trade, "BTCUSD"), 1), "no symbol \"BTCUSD\"; there are BTC-USD"),
        (Fault::Certificate { certificate: "a".into(), key: "b".into() }, "no TLS"),
    ] {
        let error = server.plan(fault.into()).expect_err("it cannot be").to_string();
        assert!(error.contains(part) && error.contains("coinbase"), "{error}");
    }
    let script = parse_script("[[fault]]\ndo = \"checksum\"").expect("a script");
    assert!(Server::start(Options { script, ..options(EmulatedVenue::Binance) }).is_err());
}

#[test]
fn the_control_socket_answers_each_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    let start = || Server::start(Options { control: Some(path.clone()), ..options(EmulatedVenue::Binance) });
    let server = start().expect("a server");
    assert!(start().is_err(), "a socket that somebody serves is left alone");
    let mut client = trades(&server);
    ids(&mut client, 2);
    let socket = UnixStream::connect(&path).expect("it listens");
    let mut answers = BufReader::new(socket.try_clone().expect("a socket"));
    let mut ask = |command: &str| -> Value {
        writeln!(&socket, "{command}").expect("sent");
        let mut line = String::new();
        answers.read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).expect("JSON")
    };
    let bad = ask("do = \"loose\"");
    assert!(bad["ok"] == false && bad["error"].as_str().is_some_and(|e| e.contains("did you mean \"lose\"?")), "{bad}");
    assert_eq!(ask("do = \"checksum\"")["ok"], false);
    let good = ask(r#"{"do": "lose", "stream": "trade", "symbol": "BTCUSDT", "count": 2}"#);
    assert_eq!(good["ok"], true);
    let fault = good["ids"][0].as_u64().expect("an id");
    let lost = over(&server, fault)[0].ids.clone();
    assert_eq!(ask("extents")["extents"][0]["ids"], serde_json::json!(lost));
    assert_eq!(ask("do = \"drop\", after_s = 0.05")["ok"], true);
    while client.read().is_ok() {}
    server.stop();
    assert!(!path.exists(), "it is taken away");
}
