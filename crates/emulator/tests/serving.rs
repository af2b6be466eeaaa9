//! What holds for every venue: TLS, journals, recorded sessions, bounds, and errors that name the thing.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use common::{PATIENCE, connect, data, get, next, next_text, say};
use emulator::{EmulatedVenue, JournalOptions, Options, Rate, RecordedSession, Server, Session, Times, TlsIdentity};
use feed::websocket::handshake::ClientHandshake;
use feed::websocket::{Decoder, DecoderConfig, DeflateOffer, Role};
use tungstenite::Message;

#[test]
fn tls_serves_the_same_streams() {
    let folder = tempfile::tempdir().expect("a folder");
    let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let tls = TlsIdentity { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    fs::write(&tls.certificate, identity.cert.pem()).expect("a file");
    fs::write(&tls.key, identity.signing_key.serialize_pem()).expect("a file");
    let server = Server::start(Options {
        tls: Some(tls),
        rate: Rate::FramesPerSecond(2000),
        ..Options::new(EmulatedVenue::Binance)
    });
    let server = server.expect("a server");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(identity.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let socket = TcpStream::connect(server.addr()).expect("the emulator listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let stream = rustls::StreamOwned::new(connection, socket);
    let (mut client, _) = tungstenite::client("wss://localhost/ws/btcusdt@trade", stream).expect("an upgrade");
    for _ in 0..500 {
        assert_eq!(next(&mut client)["e"], "trade");
    }
}

#[test]
fn the_journal_is_what_was_received() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = JournalOptions::Folder(folder.path().join("journal"));
    let options = Options { journal, rate: Rate::FramesPerSecond(3000), ..Options::new(EmulatedVenue::Kraken) };
    let server = Server::start(options).expect("a server");
    let mut client = connect(server.addr(), "/v2");
    say(&mut client, r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD","ETH/USD"],"depth":25}}"#);
    let received: Vec<String> = (0..800).map(|_| next_text(&mut client)).collect();
    get(server.addr(), "/0/public/Time");
    server.stop();
    let read = |name: &str| fs::read_to_string(folder.path().join("journal").join(name)).expect("a journal file");
    let (frames, times) = (read("000001.jsonl"), read("000001.recv.tsv"));
    let lines: Vec<&str> = frames.lines().collect();
    assert!(lines[..received.len()] == received, "the journal is not what was received");
    assert_eq!(times.lines().count(), lines.len() + 1);
    let rest: serde_json::Value = serde_json::from_str(read("rest.http.jsonl").trim()).expect("JSON");
    assert_eq!((&rest["url"], &rest["status"]), (&"/0/public/Time".into(), &200.into()));
    // A journal is a capture: it can be served again, to the byte.
    let paths = vec![folder.path().join("journal").join("000001.jsonl")];
    let again = recorded(EmulatedVenue::Kraken, paths, Times::Recorded, Some(1));
    let mut client = connect(again.addr(), "/v2");
    next(&mut client);
    say(&mut client, r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD","ETH/USD"],"depth":25}}"#);
    let served: Vec<String> =
        all_text(&mut client).into_iter().filter(|text| text.starts_with("{\"channel\":\"book\"")).collect();
    let captured: Vec<&str> = lines.iter().copied().filter(|text| text.starts_with("{\"channel\":\"book\"")).collect();
    assert_eq!(served.len(), captured.len());
    assert!(served == captured, "served bytes differ from the capture's");
}

fn recorded(
    venue: EmulatedVenue,
    paths: Vec<std::path::PathBuf>,
    times: Times,
    passes: Option<u64>,
) -> emulator::Handle {
    let session = Session::Recorded(RecordedSession { paths, times, passes });
    Server::start(Options { session, rate: Rate::FlatOut, ..Options::new(venue) }).expect("a server")
}

/// Every text frame until the server ends the session.
fn all_text(client: &mut common::Client) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        match client.read().expect("frames in time") {
            Message::Text(text) => texts.push(text.to_string()),
            Message::Close(frame) => {
                assert_eq!(frame.expect("a reason").reason.as_str(), "session over");
                return texts;
            }
            _ => {}
        }
    }
}

fn lines(path: &Path) -> Vec<String> {
    let mut text = String::new();
    let file = fs::File::open(path).expect("the capture");
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    } else {
        fs::File::read_to_string(&mut { file }, &mut text).expect("text");
    }
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_recorded_kraken_book_is_served_to_the_byte_and_moved_times_keep_its_checksums() {
    let Some(path) = data("venues/kraken/ws_v2/book_btcusd_d25_20260802.jsonl") else { return };
    let subscribe = r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":25}}"#;
    let captured: Vec<String> =
        lines(&path).into_iter().filter(|line| line.starts_with("{\"channel\":\"book\"")).collect();
    assert_eq!(captured.len(), 2052);
    let server = recorded(EmulatedVenue::Kraken, vec![path.clone()], Times::Recorded, None);
    let mut client = connect(server.addr(), "/v2");
    say(&mut client, subscribe);
    let served =
        all_text(&mut client).into_iter().filter(|text| text.starts_with("{\"channel\":\"book\"")).collect::<Vec<_>>();
    assert_eq!(served.len(), captured.len());
    assert!(served == captured, "served bytes differ from the capture's");
    let server = recorded(EmulatedVenue::Kraken, vec![path], Times::Now, None);
    let mut client = connect(server.addr(), "/v2");
    say(&mut client, subscribe);
    let (mut book, mut checked) = (common::TextBook::new(25), 0);
    for text in all_text(&mut client).iter().filter(|text| text.starts_with("{\"channel\":\"book\"")) {
        let frame: serde_json::Value = serde_json::from_str(text).expect("JSON");
        assert!(!text.contains("2026-08-02T03:"), "a recorded time was left: {text}");
        book.apply(text);
        assert_eq!(frame["data"][0]["checksum"], book.crc());
        checked += 1;
    }
    assert_eq!(checked, 2052);
}

#[test]
fn a_recorded_binance_session_is_served_to_the_byte_and_a_second_pass_has_larger_ids() {
    let Some(path) = data("venues/binance/spot_ws/four_symbols_20211012.jsonl") else { return };
    let captured = lines(&path);
    let server = recorded(EmulatedVenue::Binance, vec![path], Times::Recorded, None);
    let streams: std::collections::BTreeSet<String> = captured
        .iter()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["stream"]
                .as_str()
                .expect("a name")
                .to_owned()
        })
        .collect();
    let list = streams.into_iter().collect::<Vec<_>>().join("/");
    let mut first_pass = Vec::new();
    for pass in 0..2_u64 {
        let mut client = connect(server.addr(), &format!("/stream?streams={list}"));
        let served = all_text(&mut client);
        if pass == 0 {
            assert_eq!(served.len(), captured.len());
            assert!(served == captured, "served bytes differ from the capture's");
            first_pass = served;
            continue;
        }
        let ids = |frames: &[String]| -> Vec<u64> {
            let of =
                |text: &String| serde_json::from_str::<serde_json::Value>(text).expect("JSON")["data"]["u"].as_u64();
            frames.iter().filter_map(of).collect()
        };
        let (before, now) = (ids(&first_pass), ids(&served));
        assert_eq!(before.len(), now.len());
        let shift = now[0] - before[0];
        assert!(shift > 0 && before.iter().zip(&now).all(|(before, now)| before + shift == *now));
    }
}

#[test]
fn a_recorded_exchange_session_is_served_to_the_byte() {
    let Some(path) = data("venues/coinbase/exchange_ws/level2_ticker_matches_20210417.jsonl") else { return };
    let captured: Vec<String> =
        lines(&path).into_iter().filter(|line| !line.contains("\"type\":\"subscriptions\"")).collect();
    assert_eq!(captured.len(), 5994);
    let server = recorded(EmulatedVenue::Coinbase, vec![path], Times::Recorded, None);
    let mut client = connect(server.addr(), "/");
    let products = ["BAND-GBP", "NMR-EUR", "NU-GBP", "SKL-BTC", "SKL-USD", "YFI-BTC"];
    let channels = ["level2_batch", "ticker", "matches"];
    let subscribe = serde_json::json!({"type": "subscribe", "product_ids": products, "channels": channels});
    say(&mut client, &subscribe.to_string());
    assert_eq!(next(&mut client)["type"], "subscriptions");
    let served = all_text(&mut client);
    assert_eq!(served.len(), captured.len());
    assert!(served == captured, "served bytes differ from the capture's");
}

#[test]
fn a_recorded_advanced_book_is_served_whole_under_the_connection_s_own_numbers() {
    let Some(path) = data("venues/coinbase/advanced_ws/all_channels_20260809.jsonl.gz") else { return };
    let number = |text: &str| -> (u64, String) {
        let mark = "\"sequence_num\":";
        let from = text.find(mark).expect("a number") + mark.len();
        let len = text[from..].find(',').expect("an end");
        (text[from..from + len].parse().expect("digits"), format!("{}{}", &text[..from], &text[from + len..]))
    };
    let captured: Vec<String> = lines(&path)
        .iter()
        .filter(|line| line.starts_with("{\"channel\":\"l2_data\""))
        .map(|line| number(line).1)
        .collect();
    assert_eq!(captured.len(), 465);
    let server = recorded(EmulatedVenue::Coinbase, vec![path], Times::Recorded, None);
    let mut client = connect(server.addr(), "/");
    say(&mut client, r#"{"type":"subscribe","channel":"level2","product_ids":["BTC-USD","ETH-USD"]}"#);
    let served = all_text(&mut client);
    let numbers: Vec<u64> = served.iter().map(|text| number(text).0).collect();
    assert_eq!(numbers, (0..served.len() as u64).collect::<Vec<_>>());
    let books: Vec<String> =
        served.iter().filter(|text| text.contains("\"l2_data\"")).map(|text| number(text).1).collect();
    assert_eq!(books.len(), captured.len());
    assert!(books == captured, "served frames differ from the capture's");
}

#[test]
fn a_recorded_session_of_kraken_v1_is_served_to_the_byte() {
    let Some(path) = data("venues/kraken/ws_v1/book1000_20210405.jsonl.gz") else { return };
    let captured: Vec<String> = lines(&path).into_iter().filter(|line| line.starts_with('[')).collect();
    assert_eq!(captured.len(), 14_506);
    let server = recorded(EmulatedVenue::Kraken, vec![path.clone()], Times::Recorded, None);
    let pairs = [
        "ALGO/XBT",
        "LSK/USD",
        "USDC/GBP",
        "FIL/XBT",
        "WAVES/ETH",
        "ICX/USD",
        "AUD/USD",
        "KAVA/USD",
        "DASH/EUR",
        "XBT/USD",
    ];
    let book = serde_json::json!({"name": "book", "depth": 1000});
    let subscribe = serde_json::json!({"event": "subscribe", "pair": pairs, "subscription": book}).to_string();
    let mut client = connect(server.addr(), "/");
    say(&mut client, &subscribe);
    let arrays = |client: &mut common::Client| -> Vec<String> {
        all_text(client).into_iter().filter(|text| text.starts_with('[')).collect()
    };
    let served = arrays(&mut client);
    assert_eq!(served.len(), captured.len());
    assert!(served == captured, "served bytes differ from the capture's");
    let server = recorded(EmulatedVenue::Kraken, vec![path], Times::Now, None);
    let mut client = connect(server.addr(), "/");
    say(&mut client, &subscribe);
    let moved = arrays(&mut client);
    assert_eq!(moved.len(), captured.len());
    assert!(moved.iter().all(|text| !text.contains("\"1617666")), "a recorded time was left");
}

#[test]
fn a_recorded_book_can_be_joined_late_by_rest() {
    let Some(path) = data("venues/binance/spot_ws/ethusdt_20240808.jsonl.gz") else { return };
    let paths = vec![path];
    let session = Session::Recorded(RecordedSession { paths, times: Times::Now, passes: None });
    let options = Options { session, rate: Rate::FramesPerSecond(20_000), ..Options::new(EmulatedVenue::Binance) };
    let server = Server::start(options).expect("a server");
    let mut client = connect(server.addr(), "/ws/ethusdt@depth@100ms");
    let mut end = 0;
    for _ in 0..500 {
        let frame = next(&mut client);
        assert!(end == 0 || frame["U"].as_u64() == Some(end + 1));
        end = frame["u"].as_u64().expect("u");
    }
    let (_, _, body) = get(server.addr(), "/api/v3/depth?symbol=ETHUSDT&limit=1000");
    let snapshot: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let last = snapshot["lastUpdateId"].as_u64().expect("an id");
    assert!(last >= end, "the snapshot at {last} is older than what was read, {end}");
    let bridges = (0..2000).any(|_| {
        let frame = next(&mut client);
        let (first, end) = (frame["U"].as_u64().expect("U"), frame["u"].as_u64().expect("u"));
        first <= last + 1 && last < end
    });
    assert!(bridges, "no event follows the snapshot");
}

#[test]
fn starts_that_cannot_be_say_why() {
    let taken = Server::start(Options::new(EmulatedVenue::Kraken)).expect("a server");
    let missing = |name: &str| Path::new("no-such-folder").join(name);
    let recorded =
        |path| Session::Recorded(RecordedSession { paths: vec![path], times: Times::Recorded, passes: None });
    let base = || Options::new(EmulatedVenue::Kraken);
    let tls = Some(TlsIdentity { certificate: missing("cert.pem"), key: missing("key.pem") });
    let empty = tempfile::tempdir().expect("a folder");
    fs::write(empty.path().join("a.jsonl"), "{\"channel\":\"heartbeat\"}\n").expect("a file");
    let broken = tempfile::tempdir().expect("a folder");
    fs::write(broken.path().join("a.jsonl"), "{\"channel\":\"heart\n").expect("a file");
    for (options, needles) in [
        (Options { listen: taken.addr(), ..base() }, vec!["cannot listen", "free the port"]),
        (Options { tls, ..base() }, vec!["no-such-folder", "cert.pem"]),
        (Options { session: recorded(missing("x.jsonl")), ..base() }, vec!["no-such-folder", "capture"]),
        (Options { session: recorded(empty.path().to_owned()), ..base() }, vec!["no frames of kraken"]),
        (Options { session: recorded(broken.path().to_owned()), ..base() }, vec!["a.jsonl line 1"]),
        (Options { rate: Rate::FramesPerSecond(0), ..base() }, vec!["option rate"]),
        (
            Options { session: recorded(empty.path().to_owned()), ..Options::new(EmulatedVenue::Alpaca) },
            vec!["no captures of alpaca", "generated session"],
        ),
        (Options { journal: JournalOptions::Folder("/proc/no".into()), ..base() }, vec!["journal", "/proc/no"]),
    ] {
        let error = Server::start(options).expect_err("it cannot start").to_string();
        assert!(needles.iter().all(|needle| error.contains(needle)), "{error}");
    }
}

#[test]
fn connections_are_bounded_and_unknown_paths_refused() {
    let mut options = Options::new(EmulatedVenue::Kraken);
    options.limits.connections = 1;
    let server = Server::start(options).expect("a server");
    let mut held = connect(server.addr(), "/v2");
    next(&mut held);
    let (status, head, _) = get(server.addr(), "/0/public/Time");
    assert!(status == 503 && head.contains("Retry-After"), "{head}");
    assert_eq!(server.stats().refused, 1);
    drop(held);
    let other = Server::start(Options::new(EmulatedVenue::Kraken)).expect("a server");
    let socket = TcpStream::connect(other.addr()).expect("the emulator listens");
    let refused = tungstenite::client(format!("ws://{}/v3", other.addr()), socket);
    assert!(refused.is_err());
}

#[test]
fn counts_and_checksum_tell_what_was_sent() {
    let options = Options { rate: Rate::FramesPerSecond(5000), ..Options::new(EmulatedVenue::Binance) };
    let server = Server::start(options).expect("a server");
    let mut client = connect(server.addr(), "/ws/btcusdt@trade");
    let mut crc = crc32fast::Hasher::new();
    let (mut frames, mut bytes) = (0, 0);
    let mut take = |text: &str| {
        crc.update(text.as_bytes());
        frames += 1;
        bytes += text.len() as u64;
    };
    (0..1000).for_each(|_| take(&next_text(&mut client)));
    client.close(None).expect("a close");
    while let Ok(message) = client.read() {
        if let Message::Text(text) = message {
            take(text.as_str());
        }
    }
    let sent = loop {
        let stats = server.stats().connections[0];
        if !stats.open {
            break stats;
        }
        std::thread::yield_now();
    };
    assert_eq!((sent.frames, sent.bytes, sent.crc32), (frames, bytes, crc.finalize()));
    assert_eq!(sent.frames_of(model::StreamKind::Trade), frames);
}

/// Trades of one server as a client that offers compression reads them: texts, whether it was agreed to, bytes on the
/// wire. A client that does not offer it is served as ever.
fn read_trades(deflate: bool, offer: Option<DeflateOffer>) -> (Vec<Vec<u8>>, bool, usize) {
    let options = Options { deflate, rate: Rate::FramesPerSecond(5000), ..Options::new(EmulatedVenue::Binance) };
    let server = Server::start(options).expect("a server");
    let mut socket = TcpStream::connect(server.addr()).expect("the emulator listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut rng = fastrand::Rng::with_seed(7);
    let handshake = ClientHandshake::new("emulator", "/ws/btcusdt@trade", &[], offer, &mut rng).expect("a request");
    socket.write_all(handshake.request()).expect("a request");
    let upgraded = handshake.read_response(&mut socket).expect("an upgrade");
    let config = DecoderConfig { deflate: upgraded.deflate, ..DecoderConfig::new(Role::Client) };
    let mut decoder = Decoder::new(config);
    decoder.push(&upgraded.leftover);
    let (mut texts, mut wire) = (vec![], upgraded.leftover.len());
    while texts.len() < 2000 {
        match decoder.next_message().expect("good frames") {
            Some(feed::websocket::Message::Text(text)) => texts.push(text.to_vec()),
            Some(_) => {}
            None => wire += decoder.fill(&mut socket).expect("frames"),
        }
    }
    (texts, upgraded.deflate.is_some(), wire)
}

#[test]
fn messages_are_compressed_for_clients_that_offer_it() {
    let alone = DeflateOffer { server_no_context_takeover: true, server_max_window_bits: Some(9) };
    for (deflate, offer, agreed) in [
        (true, Some(DeflateOffer::default()), true),
        (true, Some(alone), true),
        (true, None, false),
        (false, Some(DeflateOffer::default()), false),
    ] {
        let (texts, found, wire) = read_trades(deflate, offer);
        assert_eq!(found, agreed);
        let bytes: usize = texts.iter().map(Vec::len).sum();
        if agreed {
            assert!(wire < bytes, "{wire} bytes on the wire for {bytes} of text");
        } else {
            assert!(wire > bytes, "{wire} bytes on the wire for {bytes} of text");
        }
        for text in &texts {
            let trade: serde_json::Value = serde_json::from_slice(text).expect("whole messages");
            assert_eq!(trade["e"], "trade");
        }
    }
}
