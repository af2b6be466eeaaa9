//! Our codec and handshake against an independent implementation, in both roles, over a real socket.

use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use feed::websocket::handshake::{ClientHandshake, RequestHead, accept};
use feed::websocket::{Decoder, DecoderConfig, Encoder, Message, Role, TextCheck};
use std::io::{Read, Write};
use tungstenite::Message as Theirs;

const MESSAGES: usize = 300;

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

/// What both sides send, by number: all lengths around the borders of the header forms.
fn payload(number: usize) -> String {
    let len = [0, 1, 7, 124, 125, 126, 127, 1000, 65_535, 65_536, 65_537][number % 11];
    (0..len).map(|i| char::from(b'a' + ((i + number) % 26) as u8)).collect()
}

/// Echoes everything until the peer closes, and answers pings, as a connection's owner would.
fn echo(mut socket: TcpStream, mut decoder: Decoder, mut encoder: Encoder) {
    let mut out = Vec::new();
    loop {
        while let Some(message) = decoder.next_message().expect("a peer that keeps the protocol") {
            match message {
                Message::Text(bytes) => encoder.text_bytes(bytes, &mut out),
                Message::Binary(bytes) => encoder.binary(bytes, &mut out),
                Message::Ping(bytes) => encoder.pong(bytes, &mut out),
                Message::Pong(_) => {}
                Message::Close { code, .. } => {
                    encoder.close(code.unwrap_or(1000), "", &mut out);
                    socket.write_all(&out).expect("the peer reads");
                    return;
                }
            }
        }
        socket.write_all(&out).expect("the peer reads");
        out.clear();
        assert!(decoder.fill(&mut socket).expect("the peer writes") > 0, "the peer left without a close");
    }
}

fn decoder(role: Role) -> Decoder {
    Decoder::new(DecoderConfig { buffer_bytes: 4096, text: TextCheck::Utf8, ..DecoderConfig::new(role) })
}

#[test]
fn our_server_serves_their_client() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        socket.set_nodelay(true).expect("a socket");
        let mut bytes = Vec::new();
        let head = loop {
            let mut piece = [0; 64];
            let read = socket.read(&mut piece).expect("a request");
            bytes.extend_from_slice(&piece[..read]);
            if let Some(head) = RequestHead::parse(&bytes).expect("a good request") {
                break head;
            }
        };
        assert_eq!((head.path.as_str(), head.query.as_deref()), ("/ws", Some("x=1")));
        let mut out = Vec::new();
        accept(head.upgrade_key().expect("an upgrade"), &[], &mut out).expect("no headers");
        socket.write_all(&out).expect("the client reads");
        let mut decoder = decoder(Role::Server);
        decoder.push(&bytes[head.head_bytes..]);
        echo(socket, decoder, Encoder::server());
    });
    let socket = TcpStream::connect(&address).expect("our server");
    socket.set_nodelay(true).expect("a socket");
    let (mut client, response) = tungstenite::client(format!("ws://{address}/ws?x=1"), socket).expect("an upgrade");
    assert_eq!(response.status(), 101);
    for number in 0..MESSAGES {
        client.send(Theirs::text(payload(number))).expect("sent");
        client.send(Theirs::Ping(vec![number as u8; number % 126].into())).expect("sent");
        client.send(Theirs::binary(payload(number).into_bytes())).expect("sent");
        assert_eq!(client.read().expect("an echo"), Theirs::text(payload(number)));
        assert_eq!(client.read().expect("a pong"), Theirs::Pong(vec![number as u8; number % 126].into()));
        assert_eq!(client.read().expect("an echo"), Theirs::binary(payload(number).into_bytes()));
    }
    client.close(None).expect("sent");
    while client.read().is_ok() {}
    server.join().expect("the server");
}

#[test]
fn our_client_uses_their_server() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a client");
        socket.set_nodelay(true).expect("a socket");
        let mut server = tungstenite::accept(socket).expect("an upgrade");
        loop {
            match server.read() {
                Ok(message @ (Theirs::Text(_) | Theirs::Binary(_))) => server.send(message).expect("sent"),
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => return,
                Err(error) => panic!("their server: {error}"),
            }
        }
    });
    let mut socket = TcpStream::connect(&address).expect("their server");
    socket.set_nodelay(true).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut rng = fastrand::Rng::with_seed(11);
    let handshake = ClientHandshake::new(&address, "/", &[], None, &mut rng).expect("good headers");
    socket.write_all(handshake.request()).expect("the server reads");
    let upgraded = handshake.read_response(&mut socket).expect("an upgrade");
    let (mut decoder, mut encoder) = (decoder(Role::Client), Encoder::client(rng));
    decoder.push(&upgraded.leftover);
    for number in 0..MESSAGES {
        let (text, mut out) = (payload(number), Vec::new());
        match number % 3 {
            0 => encoder.text(&text, &mut out),
            1 => encoder.text_fragmented(text.as_bytes(), 1 + number, &mut out),
            _ => encoder.binary(text.as_bytes(), &mut out),
        }
        encoder.ping(b"alive", &mut out);
        socket.write_all(&out).expect("the server reads");
        let (mut echoed, mut ponged) = (false, false);
        while !(echoed && ponged) {
            match decoder.next_message().expect("a server that keeps the protocol") {
                Some(Message::Text(bytes) | Message::Binary(bytes)) => {
                    assert_eq!(bytes, text.as_bytes(), "message {number}");
                    echoed = true;
                }
                Some(Message::Pong(bytes)) => {
                    assert_eq!(bytes, b"alive");
                    ponged = true;
                }
                Some(other) => panic!("unexpected {other:?}"),
                None => assert!(decoder.fill(&mut socket).expect("bytes") > 0, "the server left"),
            }
        }
    }
    let mut out = Vec::new();
    encoder.close(1000, "done", &mut out);
    socket.write_all(&out).expect("the server reads");
    loop {
        match decoder.next_message().expect("a good close") {
            Some(Message::Close { code, .. }) => break assert_eq!(code, Some(1000)),
            Some(_) => {}
            None => assert!(decoder.fill(&mut socket).expect("bytes") > 0, "no close came back"),
        }
    }
    drop(socket);
    server.join().expect("the server");
}
