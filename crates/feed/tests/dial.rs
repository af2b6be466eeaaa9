//! Opening a WebSocket from outside: plain, TLS with every kind of wrong certificate, and servers that refuse, hang
//! up, drip or say nothing. Both ends of the TLS are ours; rustls itself is the judge.

mod certificates;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use certificates::Authority;
use feed::transport::{
    ConnectError, Dial, DialError, DialRequest, Dialed, Endpoint, Interest, Stream, TlsClient, TlsError, TlsOptions,
    TlsServer, Waker, connect, readable, wait, watch,
};
use feed::websocket::handshake::{HandshakeError, RequestHead, accept, refuse};
use feed::websocket::{Decoder, DecoderConfig, Encoder, Message, Role};

const PATIENCE: Duration = Duration::from_secs(20);

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = listener.local_addr().expect("bound").port();
    (listener, port)
}

fn trusting(extra_roots: Vec<PathBuf>) -> TlsClient {
    TlsClient::new(&TlsOptions { extra_roots }).expect("good roots")
}

fn dial_within(url: &str, tls: TlsClient, timeout: Duration) -> Result<Dialed, DialError> {
    let waker = Arc::new(Waker::new().expect("an eventfd"));
    let endpoint = Endpoint::parse(url).expect("a good URL");
    let request = DialRequest { endpoint, headers: vec![], deflate: None, timeout, seed: 1 };
    let mut dial = Dial::start(request, tls, Arc::clone(&waker)).expect("a thread");
    wait(&mut [watch(&*waker, Interest::Read)], Some(PATIENCE)).expect("poll");
    waker.clear();
    dial.poll().expect("the waker rings when the answer is there")
}

fn dial(url: &str, tls: TlsClient) -> Result<Dialed, DialError> {
    dial_within(url, tls, PATIENCE)
}

/// Waits for the socket unless bytes are at hand already.
fn ready(stream: &Stream) {
    if !stream.has_unread() {
        let mut fds = [watch(stream, stream.interest())];
        assert_eq!(wait(&mut fds, Some(PATIENCE)).expect("poll"), 1, "nothing came");
    }
}

fn read_some(stream: &mut Stream, decoder: &mut Decoder) -> usize {
    loop {
        ready(stream);
        stream.flush().expect("the peer reads");
        match decoder.fill(stream) {
            Ok(read) => return read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("reading: {error}"),
        }
    }
}

/// Serves one connection: upgrade, echo until the peer closes. The head's target goes out as the first message.
fn serve_one(listener: TcpListener, tls: Option<TlsServer>) -> JoinHandle<()> {
    thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a client");
        let mut stream = Stream::accept(socket, tls.as_ref()).expect("a socket");
        let (mut encoder, mut out) = (Encoder::server(), Vec::new());
        let mut bytes = Vec::new();
        let head = loop {
            ready(&stream);
            let mut piece = [0; 4096];
            match stream.read(&mut piece) {
                Ok(0) => return,
                Ok(read) => bytes.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            if let Some(head) = RequestHead::parse(&bytes).expect("a good request") {
                break head;
            }
        };
        accept(head.upgrade_key().expect("an upgrade"), &[], &mut out).expect("no headers");
        encoder.text(&format!("welcome to {}", head.path), &mut out);
        stream.send(&out).expect("sent");
        let mut decoder = Decoder::new(DecoderConfig::new(Role::Server));
        decoder.push(&bytes[head.head_bytes..]);
        loop {
            out.clear();
            while let Some(message) = decoder.next_message().expect("a good client") {
                match message {
                    Message::Text(bytes) => encoder.text_bytes(bytes, &mut out),
                    Message::Close { .. } => return stream.shutdown(),
                    other => panic!("unexpected {other:?}"),
                }
            }
            stream.send(&out).expect("sent");
            assert!(read_some(&mut stream, &mut decoder) > 0, "the client left without a close");
        }
    })
}

/// Talks to [`serve_one`]: large and small messages, then a clean end.
fn converse(dialed: Dialed) {
    let Dialed { mut stream, upgraded } = dialed;
    let mut decoder = Decoder::new(DecoderConfig::new(Role::Client));
    decoder.push(&upgraded.leftover);
    let mut encoder = Encoder::client(fastrand::Rng::with_seed(2));
    let mut expected = vec![b"welcome to /ws".to_vec()];
    let mut out = Vec::new();
    for len in [1, 200, 20_000, 1_000_000, 3] {
        let text = vec![b'a' + (len % 26) as u8; len];
        encoder.text_bytes(&text, &mut out);
        expected.push(text);
    }
    stream.send(&out).expect("sent");
    let mut seen = 0;
    while seen < expected.len() {
        while let Some(message) = decoder.next_message().expect("a good server") {
            assert_eq!(message, Message::Text(&expected[seen]), "message {seen}");
            seen += 1;
        }
        if seen < expected.len() {
            assert!(read_some(&mut stream, &mut decoder) > 0, "the server left after {seen} messages");
        }
    }
    out.clear();
    encoder.close(1000, "", &mut out);
    stream.send(&out).expect("sent");
    assert_eq!(read_some(&mut stream, &mut decoder), 0, "a clean end of the stream");
}

#[test]
fn plain_conversation_by_name_and_address() {
    for host in ["127.0.0.1", "localhost"] {
        let (listener, port) = listener();
        let server = serve_one(listener, None);
        converse(dial(&format!("ws://{host}:{port}/ws?x=1"), trusting(vec![])).expect("an upgrade"));
        server.join().expect("the server");
    }
}

#[test]
fn tls_conversation_with_an_extra_root() {
    let authority = Authority::new();
    for host in ["localhost", "127.0.0.1"] {
        let identity = authority.identity(host, false);
        let tls = TlsServer::from_pem(&identity.certificate, &identity.key).expect("a good identity");
        let (listener, port) = listener();
        let server = serve_one(listener, Some(tls));
        converse(dial(&format!("wss://{host}:{port}/ws"), trusting(vec![authority.root()])).expect("an upgrade"));
        server.join().expect("the server");
    }
}

#[test]
fn wrong_certificates_each_get_their_sentence() {
    let authority = Authority::new();
    let trust = trusting(vec![authority.root()]);
    for (name, expired, tls, needle) in [
        ("example.org", false, trust.clone(), "the server's certificate is for example.org, not"),
        ("localhost", false, trusting(vec![]), "unknown issuer; if you trust it, add its root"),
        ("localhost", true, trust, "not valid at this time"),
    ] {
        let identity = authority.identity(name, expired);
        let server_tls = TlsServer::from_pem(&identity.certificate, &identity.key).expect("a good identity");
        let (listener, port) = listener();
        let server = serve_one(listener, Some(server_tls));
        let error = dial(&format!("wss://localhost:{port}/"), tls).expect_err(needle).to_string();
        assert!(error.starts_with("localhost: ") && error.contains(needle), "{error}");
        server.join().expect("the server");
    }
}

#[test]
fn tls_to_a_plain_server_fails_clearly() {
    let (listener, port) = listener();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("sent");
        // Reads to the end: closing on unread bytes would send a reset instead of the answer.
        socket.shutdown(Shutdown::Write).expect("a socket");
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let error = dial(&format!("wss://localhost:{port}/"), trusting(vec![])).expect_err("no TLS");
    assert!(matches!(error, DialError::Connect(ConnectError::Tls { .. })), "{error}");
    server.join().expect("the server");
}

#[test]
fn certificate_files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let identity = authority.identity("localhost", false);
    let other = authority.identity("other", false);
    let empty = authority.write("empty.pem", "nothing here\n");
    let broken = authority.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let root = |path: &PathBuf| TlsClient::new(&TlsOptions { extra_roots: vec![path.clone()] }).expect_err("bad root");
    let missing = root(&PathBuf::from("no/such.pem"));
    assert!(missing.to_string().starts_with("cannot read no/such.pem: "), "{missing}");
    assert!(root(&empty).to_string().ends_with("empty.pem holds no PEM certificate"));
    assert!(matches!(root(&broken), TlsError::BadCertificate { number: 1, .. }));
    let server = |certificate, key| TlsServer::from_pem(certificate, key).expect_err("bad identity");
    assert!(matches!(server(&identity.certificate, &empty), TlsError::NoKey { .. }));
    assert!(matches!(server(&empty, &identity.key), TlsError::NoCertificate { .. }));
    assert!(matches!(server(&identity.certificate, &other.key), TlsError::Identity { .. }));
}

#[test]
fn nobody_there_and_no_such_name() {
    let (listener, port) = listener();
    drop(listener);
    let endpoint = |url: &str| Endpoint::parse(url).expect("a good URL");
    let tls = trusting(vec![]);
    let refused = connect(&endpoint(&format!("ws://127.0.0.1:{port}/")), &tls, PATIENCE).expect_err("nobody there");
    assert!(matches!(refused, ConnectError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("is the server running"), "{refused}");
    let lost = connect(&endpoint("ws://no-such-host.invalid/"), &tls, PATIENCE).expect_err("a reserved name");
    assert!(matches!(lost, ConnectError::Name { .. } | ConnectError::NameTimeout { .. }), "{lost}");
    assert!(lost.to_string().starts_with("no-such-host.invalid: "), "{lost}");
}

#[test]
fn a_server_that_accepts_and_says_nothing_runs_into_the_deadline() {
    let (listener, port) = listener();
    for scheme in ["ws", "wss"] {
        let url = format!("{scheme}://localhost:{port}/");
        let error = dial_within(&url, trusting(vec![]), Duration::from_millis(300)).expect_err("silence").to_string();
        assert!(error.contains("did not answer in time"), "{error}");
    }
    drop(listener);
}

/// Answers one connection with fixed bytes.
fn answer(bytes: Vec<u8>) -> (u16, JoinHandle<()>) {
    let (listener, port) = listener();
    let server = thread::spawn(move || {
        let (mut socket, _): (TcpStream, _) = listener.accept().expect("a client");
        let mut request = [0; 4096];
        assert!(socket.read(&mut request).expect("a request") > 0);
        socket.write_all(&bytes).expect("sent");
    });
    (port, server)
}

#[test]
fn a_429_reaches_the_caller_with_its_pause() {
    let mut bytes = Vec::new();
    refuse(429, "Too Many", &[("Retry-After".into(), "120".into())], b"slow down", &mut bytes).expect("headers");
    let (port, server) = answer(bytes);
    let error = dial(&format!("ws://127.0.0.1:{port}/ws?key=SECRET"), trusting(vec![])).expect_err("refused");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(120)));
    assert!(
        matches!(&error, DialError::Handshake { source: HandshakeError::Refused { status: 429, body, .. }, .. } if body == "slow down"),
        "{error}"
    );
    assert!(!error.to_string().contains("SECRET"), "{error}");
    server.join().expect("the server");
}

#[test]
fn a_server_that_hangs_up_during_the_upgrade_is_named() {
    let (port, server) = answer(b"HTTP/1.1 101 Switch".to_vec());
    let error = dial(&format!("ws://127.0.0.1:{port}/"), trusting(vec![])).expect_err("half an answer").to_string();
    assert!(
        error.contains(&format!("ws://127.0.0.1:{port}/: connection closed during the upgrade after 19")),
        "{error}"
    );
    server.join().expect("the server");
}

/// A peer that does not read: writes are kept, then flushed in order; past the bound the stream gives up.
#[test]
fn writes_wait_for_a_slow_reader_and_give_up_on_one_that_never_reads() {
    let authority = Authority::new();
    let identity = authority.identity("localhost", false);
    let server_tls = TlsServer::from_pem(&identity.certificate, &identity.key).expect("a good identity");
    for tls in [None, Some(server_tls)] {
        let (listener, port) = listener();
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let endpoint = Endpoint::parse(&format!("{scheme}://localhost:{port}/")).expect("a good URL");
        let trust = trusting(vec![authority.root()]);
        let client = thread::spawn(move || connect(&endpoint, &trust, PATIENCE).expect("a connection"));
        let (socket, _) = listener.accept().expect("a client");
        let mut server = Stream::accept(socket, tls.as_ref()).expect("a socket");
        if tls.is_some() {
            // Reads run the handshake and have nothing to give; the last one comes after the client's last word.
            loop {
                let finished = client.is_finished();
                let mut fds = [watch(&server, server.interest())];
                wait(&mut fds, Some(Duration::from_millis(10))).expect("poll");
                let read = server.read(&mut [0; 16]);
                assert_eq!(read.expect_err("nothing to read").kind(), ErrorKind::WouldBlock);
                if finished {
                    break;
                }
            }
        }
        let mut client = client.join().expect("the client");
        let piece: Vec<u8> = (0..100_003_u32).map(|i| (i % 251) as u8).collect();
        let mut sent = 0;
        while !server.wants_write() {
            server.send(&piece).expect("within the bound");
            sent += piece.len();
        }
        let (mut received, mut target) = (Vec::new(), vec![0; 1 << 20]);
        while received.len() < sent {
            server.flush().expect("a live peer");
            ready(&client);
            match client.read(&mut target) {
                Ok(read) => received.extend_from_slice(&target[..read]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert!(received.chunks(piece.len()).all(|chunk| chunk == &piece[..chunk.len()]));
        assert!(!server.wants_write());
        let refusal = (0..1000).find_map(|_| server.send(&piece).err()).expect("a bound");
        assert_eq!(refusal.kind(), ErrorKind::StorageFull, "{refusal}");
    }
}

#[test]
fn an_abandoned_dial_rings_nobody_to_death() {
    let (listener, port) = listener();
    let waker = Arc::new(Waker::new().expect("an eventfd"));
    let endpoint = Endpoint::parse(&format!("ws://127.0.0.1:{port}/")).expect("a good URL");
    let request = DialRequest { endpoint, headers: vec![], deflate: None, timeout: PATIENCE, seed: 1 };
    drop(Dial::start(request, trusting(vec![]), Arc::clone(&waker)).expect("a thread"));
    let (socket, _) = listener.accept().expect("the dial goes on by itself");
    drop(socket);
    let mut fds = [watch(&*waker, Interest::Read)];
    wait(&mut fds, Some(PATIENCE)).expect("poll");
    assert!(readable(&fds[0]));
}
