//! The decoder's promises: right messages whatever the reads, a name for every breach, memory that follows the bytes.

use super::*;
use crate::websocket::Encoder;

/// A message that owns its bytes, to compare streams of them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>),
}

fn owned(message: Message<'_>) -> Owned {
    match message {
        Message::Text(bytes) => Owned::Text(bytes.to_vec()),
        Message::Binary(bytes) => Owned::Binary(bytes.to_vec()),
        Message::Ping(bytes) => Owned::Ping(bytes.to_vec()),
        Message::Pong(bytes) => Owned::Pong(bytes.to_vec()),
        Message::Close { code, reason } => Owned::Close(code, reason.to_vec()),
    }
}

fn small(role: Role) -> DecoderConfig {
    DecoderConfig { buffer_bytes: 64, ..DecoderConfig::new(role) }
}

/// Feeds `pieces` one read at a time and takes all messages after each.
fn decode<'p>(
    config: DecoderConfig,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> (Vec<Owned>, Result<(), ProtocolError>) {
    let mut decoder = Decoder::new(config);
    let mut messages = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            decoder.fill(&mut piece).expect("a slice never fails");
            loop {
                match decoder.next_message() {
                    Ok(Some(message)) => messages.push(owned(message)),
                    Ok(None) => break,
                    Err(error) => return (messages, Err(error)),
                }
            }
        }
    }
    (messages, Ok(()))
}

/// One frame by hand, with any header one likes.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(len as u8),
        len => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(len).expect("short test frames").to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

fn conversation(encoder: &mut Encoder) -> (Vec<u8>, Vec<Owned>) {
    let mut bytes = Vec::new();
    let medium: Vec<u8> = (0..300_u32).map(|i| b'a' + (i % 26) as u8).collect();
    let large = vec![b'z'; 70_000];
    encoder.text("first", &mut bytes);
    encoder.text("", &mut bytes);
    encoder.binary(&medium, &mut bytes);
    encoder.ping(b"are you there", &mut bytes);
    encoder.text_fragmented(&medium, 120, &mut bytes);
    encoder.pong(b"", &mut bytes);
    encoder.text_bytes(&large, &mut bytes);
    encoder.text("last", &mut bytes);
    encoder.close(1001, "bye", &mut bytes);
    let messages = vec![
        Owned::Text(b"first".to_vec()),
        Owned::Text(vec![]),
        Owned::Binary(medium.clone()),
        Owned::Ping(b"are you there".to_vec()),
        Owned::Text(medium),
        Owned::Pong(vec![]),
        Owned::Text(large),
        Owned::Text(b"last".to_vec()),
        Owned::Close(Some(1001), b"bye".to_vec()),
    ];
    (bytes, messages)
}

#[test]
fn any_piece_size_gives_the_same_messages_in_both_roles() {
    for (role, mut encoder) in
        [(Role::Client, Encoder::server()), (Role::Server, Encoder::client(fastrand::Rng::with_seed(1)))]
    {
        let (bytes, expected) = conversation(&mut encoder);
        for size in [1, 2, 3, 5, 7, 13, 64, 100, 1000, 65_536, bytes.len()] {
            let (messages, end) = decode(small(role), bytes.chunks(size));
            assert_eq!(end, Ok(()));
            assert_eq!(messages, expected, "{role:?}, pieces of {size}");
        }
    }
}

#[test]
fn any_split_point_gives_the_same_messages() {
    for (role, mut encoder) in
        [(Role::Client, Encoder::server()), (Role::Server, Encoder::client(fastrand::Rng::with_seed(2)))]
    {
        let mut bytes = Vec::new();
        let payload = [b'q'; 140];
        encoder.text("one", &mut bytes);
        encoder.ping(b"p", &mut bytes);
        encoder.text_fragmented(&payload, 50, &mut bytes);
        encoder.binary(&payload, &mut bytes);
        encoder.close(1000, "", &mut bytes);
        let whole = decode(small(role), [bytes.as_slice()]);
        assert_eq!(whole.0.len(), 5);
        for first in 0..=bytes.len() {
            for second in [first, (first + 1).min(bytes.len()), (first + 17).min(bytes.len())] {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(decode(small(role), pieces), whole, "{role:?}, split at {first} and {second}");
            }
        }
    }
}

#[test]
fn control_frames_between_fragments_come_first() {
    let mut bytes = raw(0x01, b"he");
    bytes.extend(raw(0x89, b"ping"));
    bytes.extend(raw(0x00, b"l"));
    bytes.extend(raw(0x8A, b""));
    bytes.extend(raw(0x80, b"lo"));
    bytes.extend(raw(0x81, b"next"));
    let (messages, end) = decode(small(Role::Client), bytes.chunks(1));
    assert_eq!(end, Ok(()));
    let expected = [
        Owned::Ping(b"ping".to_vec()),
        Owned::Pong(vec![]),
        Owned::Text(b"hello".to_vec()),
        Owned::Text(b"next".to_vec()),
    ];
    assert_eq!(messages, expected);
}

#[test]
fn every_breach_has_its_name() {
    let long = |first: u8, marker: u8, length: &[u8]| [&[first, marker], length].concat();
    let cases: Vec<(&str, Vec<u8>, ProtocolError)> = vec![
        ("rsv1", raw(0xC1, b"x"), ProtocolError::ReservedBits { bits: 4 }),
        ("rsv3", raw(0x91, b"x"), ProtocolError::ReservedBits { bits: 1 }),
        ("opcode 3", raw(0x83, b""), ProtocolError::UnknownOpcode { opcode: 3 }),
        ("opcode 15", raw(0x8F, b""), ProtocolError::UnknownOpcode { opcode: 15 }),
        ("masked", vec![0x81, 0x81], ProtocolError::MaskedByServer),
        ("fragmented ping", raw(0x09, b""), ProtocolError::FragmentedControl { opcode: 9 }),
        ("long ping", raw(0x89, &[0; 126]), ProtocolError::ControlTooLong { opcode: 9 }),
        ("16-bit length of 125", long(0x82, 126, &[0, 125]), ProtocolError::LengthNotMinimal { declared: 125 }),
        (
            "64-bit length of 65535",
            long(0x82, 127, &65_535_u64.to_be_bytes()),
            ProtocolError::LengthNotMinimal { declared: 65_535 },
        ),
        ("top bit", long(0x82, 127, &u64::MAX.to_be_bytes()), ProtocolError::LengthNotMinimal { declared: u64::MAX }),
        ("continuation", raw(0x80, b"x"), ProtocolError::UnexpectedContinuation),
        ("interleaved", [raw(0x01, b"x"), raw(0x82, b"y")].concat(), ProtocolError::InterleavedData { opcode: 2 }),
        ("close of one byte", raw(0x88, &[3]), ProtocolError::CloseTruncated),
        ("close 1005", raw(0x88, &1005_u16.to_be_bytes()), ProtocolError::CloseCode { code: 1005 }),
        ("close 999", raw(0x88, &999_u16.to_be_bytes()), ProtocolError::CloseCode { code: 999 }),
        ("close 2999", raw(0x88, &2999_u16.to_be_bytes()), ProtocolError::CloseCode { code: 2999 }),
        ("close 5000", raw(0x88, &5000_u16.to_be_bytes()), ProtocolError::CloseCode { code: 5000 }),
    ];
    for (name, bytes, expected) in cases {
        let good = raw(0x81, b"before");
        let (messages, end) = decode(small(Role::Client), [good.as_slice(), bytes.as_slice()]);
        assert_eq!(messages, [Owned::Text(b"before".to_vec())], "{name}");
        assert_eq!(end, Err(expected), "{name}");
        let (_, bytewise) = decode(small(Role::Client), bytes.chunks(1));
        assert_eq!(bytewise, Err(expected), "{name}, byte by byte");
    }
    assert_eq!(decode(small(Role::Server), [raw(0x81, b"x").as_slice()]).1, Err(ProtocolError::UnmaskedByClient));
}

#[test]
fn good_close_codes_pass_and_end_the_stream() {
    for code in [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999_u16] {
        let bytes = [raw(0x88, &code.to_be_bytes()), raw(0x81, b"ignored"), vec![0xFF; 40]].concat();
        let (messages, end) = decode(small(Role::Client), bytes.chunks(9));
        assert_eq!((messages, end), (vec![Owned::Close(Some(code), vec![])], Ok(())));
    }
    assert_eq!(decode(small(Role::Client), [raw(0x88, b"").as_slice()]).0, [Owned::Close(None, vec![])]);
}

#[test]
fn an_error_repeats_and_reset_forgives() {
    let mut decoder = Decoder::new(small(Role::Client));
    decoder.push(&raw(0xC1, b"x"));
    let first = decoder.next_message().expect_err("a reserved bit");
    decoder.push(&raw(0x81, b"fine"));
    assert_eq!(decoder.next_message(), Err(first));
    decoder.reset();
    decoder.push(&raw(0x81, b"fine"));
    assert_eq!(decoder.next_message(), Ok(Some(Message::Text(b"fine"))));
}

#[test]
fn a_declared_gibibyte_is_refused_before_any_memory_is_taken() {
    let mut decoder = Decoder::new(DecoderConfig::new(Role::Client));
    let before = decoder.memory_bytes();
    decoder.push(&[&[0x82, 127][..], &(1_u64 << 30).to_be_bytes()].concat());
    let expected = ProtocolError::TooLong { bytes: 1 << 30, max: 64 << 20 };
    assert_eq!(decoder.next_message(), Err(expected));
    assert_eq!(expected.close_code(), 1009);
    assert_eq!(decoder.memory_bytes(), before);
}

#[test]
fn a_declared_length_within_the_limit_takes_memory_only_as_bytes_arrive() {
    let mut decoder = Decoder::new(DecoderConfig { buffer_bytes: 4096, ..DecoderConfig::new(Role::Client) });
    decoder.push(&[&[0x82, 127][..], &(60_u64 << 20).to_be_bytes()].concat());
    assert_eq!(decoder.next_message(), Ok(None));
    let mut arrived = 0;
    for _ in 0..100 {
        arrived += decoder.fill(&mut [0_u8; 1000].as_slice()).expect("a slice never fails");
        assert_eq!(decoder.next_message(), Ok(None));
    }
    assert!(decoder.memory_bytes() <= 4 * arrived, "{} for {arrived}", decoder.memory_bytes());
}

#[test]
fn fragments_cannot_add_up_past_the_limit() {
    let config = DecoderConfig { max_message_bytes: 250, ..small(Role::Client) };
    let mut bytes = raw(0x01, &[b'a'; 100]);
    bytes.extend(raw(0x00, &[b'a'; 100]));
    bytes.extend(raw(0x00, &[b'a'; 51]));
    assert_eq!(decode(config, bytes.chunks(30)).1, Err(ProtocolError::TooLong { bytes: 251, max: 250 }));
    let exact = [raw(0x01, &[b'a'; 100]), raw(0x80, &[b'a'; 150])].concat();
    assert_eq!(decode(config, exact.chunks(30)), (vec![Owned::Text(vec![b'a'; 250])], Ok(())));
}

#[test]
fn text_is_checked_only_when_asked() {
    let bytes = [raw(0x01, b"ok \xC3"), raw(0x80, b"\x28")].concat();
    assert_eq!(decode(small(Role::Client), [bytes.as_slice()]).0, [Owned::Text(b"ok \xC3\x28".to_vec())]);
    let strict = DecoderConfig { text: TextCheck::Utf8, ..small(Role::Client) };
    assert_eq!(decode(strict, [bytes.as_slice()]).1, Err(ProtocolError::NotUtf8 { valid_bytes: 3 }));
    // A character may be cut by a fragment, only the whole message counts.
    let cut = [raw(0x01, b"\xC3"), raw(0x80, b"\xA9")].concat();
    assert_eq!(decode(strict, [cut.as_slice()]), (vec![Owned::Text("é".into())], Ok(())));
    assert_eq!(decode(strict, [raw(0x82, b"\xC3\x28").as_slice()]).1, Ok(()));
}

#[test]
fn untaken_messages_are_never_overwritten() {
    let mut decoder = Decoder::new(small(Role::Client));
    let frames = raw(0x81, b"0123456789").repeat(20);
    let mut source = frames.as_slice();
    let refusal = loop {
        if let Err(error) = decoder.fill(&mut source) {
            break error;
        }
    };
    assert_eq!(refusal.kind(), io::ErrorKind::StorageFull);
    let mut taken = 0;
    while let Some(message) = decoder.next_message().expect("good frames") {
        assert_eq!(message, Message::Text(b"0123456789"));
        taken += 1;
    }
    assert_eq!(taken, 5);
}

#[test]
fn messages_are_handed_out_where_they_were_read() {
    let mut decoder = Decoder::new(DecoderConfig::new(Role::Client));
    let frames = raw(0x81, &[b'x'; 200]).repeat(64);
    decoder.fill(&mut frames.as_slice()).expect("a slice never fails");
    let base = decoder.buffer.as_ptr() as usize;
    for index in 0..64 {
        let Ok(Some(Message::Text(payload))) = decoder.next_message() else { panic!("message {index}") };
        assert_eq!(payload.as_ptr() as usize - base, index * 204 + 4);
    }
}

/// Random bytes, and good streams with a few bytes broken: never a panic, never more memory than allowed, and the same
/// outcome however the bytes are cut.
#[test]
fn hostile_bytes_neither_panic_nor_grow_memory() {
    const MAX: usize = 10_000;
    for seed in 0..3_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let role = if rng.bool() { Role::Client } else { Role::Server };
        let mut encoder = match role {
            Role::Client => Encoder::server(),
            Role::Server => Encoder::client(rng.fork()),
        };
        let mut bytes = Vec::new();
        for _ in 0..rng.usize(0..12) {
            let payload: Vec<u8> = (0..rng.usize(0..700)).map(|_| rng.u8(..)).collect();
            match rng.u8(0..4) {
                0 => encoder.binary(&payload, &mut bytes),
                1 => encoder.text_fragmented(&payload, rng.usize(1..300), &mut bytes),
                2 => encoder.ping(&payload[..payload.len().min(125)], &mut bytes),
                _ => bytes.extend(payload),
            }
        }
        for _ in 0..rng.usize(0..4) {
            if !bytes.is_empty() {
                let at = rng.usize(..bytes.len());
                bytes[at] ^= 1 << rng.u8(0..8);
            }
        }
        let config = DecoderConfig { max_message_bytes: MAX, text: TextCheck::Utf8, ..small(role) };
        let whole = decode(config, [bytes.as_slice()]);
        let size = rng.usize(1..50);
        assert_eq!(decode(config, bytes.chunks(size)), whole, "seed {seed}, pieces of {size}");
        let mut decoder = Decoder::new(config);
        for mut piece in bytes.chunks(size) {
            while !piece.is_empty() && decoder.fill(&mut piece).is_ok() {
                while let Ok(Some(_)) = decoder.next_message() {}
            }
        }
        assert!(decoder.memory_bytes() <= 2 * MAX + HEADER_BYTES_MAX, "seed {seed}: {}", decoder.memory_bytes());
    }
}
