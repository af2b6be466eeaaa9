//! tungstenite: frames of a server read from memory to messages, beside our codec over the same bytes.
//!
//! Both read through [`Read`] in pieces of 256 KiB and look at every payload's first and last byte. tungstenite is the
//! library the rest of the program uses where speed does not matter; it copies each payload into a message of its own.

use crate::Failure;
use benches::{Pairs, Report, Row, clock};
use feed::websocket::{Decoder, DecoderConfig, Encoder, Message, Role};
use std::hint::black_box;
use std::io::{self, Cursor, Read, Write};
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};

const FRAMES: usize = 100_000;

/// Bytes to read; what is written is dropped, for nothing must be answered.
struct Wire<'a>(Cursor<&'a [u8]>);

impl Read for Wire<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.read(room)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn look(payload: &[u8]) -> usize {
    black_box(payload[0]);
    black_box(payload[payload.len() - 1]);
    payload.len()
}

fn ours(bytes: &[u8]) -> usize {
    let mut decoder = Decoder::new(DecoderConfig::new(Role::Client));
    let (mut wire, mut seen) = (Wire(Cursor::new(bytes)), 0);
    while decoder.fill(&mut wire).expect("there is room once all messages are taken") > 0 {
        while let Some(message) = decoder.next_message().expect("our own encoder's frames") {
            let Message::Text(payload) = message else { continue };
            seen += look(payload);
        }
    }
    seen
}

fn theirs(bytes: &[u8]) -> usize {
    let config = WebSocketConfig::default().read_buffer_size(256 << 10);
    let mut socket = tungstenite::WebSocket::from_raw_socket(Wire(Cursor::new(bytes)), TheirRole::Client, Some(config));
    let mut seen = 0;
    for _ in 0..FRAMES {
        let tungstenite::Message::Text(text) = socket.read().expect("our own encoder's frames") else { continue };
        seen += look(text.as_bytes());
    }
    seen
}

pub fn measure(pairs: usize, report: &mut Report) -> Result<(), Failure> {
    for size in [60, 200, 2000] {
        let (mut encoder, mut bytes) = (Encoder::server(), vec![]);
        let payload = "x".repeat(size);
        for _ in 0..FRAMES {
            encoder.text(&payload, &mut bytes);
        }
        if ours(&bytes) != theirs(&bytes) {
            return Err(format!("frames of {size} bytes: the two sides read differently").into());
        }
        let per_frame = |pass: &dyn Fn() -> usize| {
            let start = clock::cpu_ns();
            black_box(pass());
            (clock::cpu_ns() - start) as f64 / FRAMES as f64
        };
        let measured = Pairs::measure(pairs, || Ok(per_frame(&|| theirs(&bytes))), || Ok(per_frame(&|| ours(&bytes))))?;
        report.row(Row::speed(format!("WebSocket frame of {size} bytes"), "tungstenite 0.28", &measured, "ns"));
    }
    Ok(())
}
