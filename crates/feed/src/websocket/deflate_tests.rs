//! Compression against the RFC's own bytes, against flate2's encoder, and against what a hostile peer would send.

use flate2::Compress;
use proptest::prelude::*;

use super::*;
use crate::websocket::{Decoder, DecoderConfig, Encoder, Message, ProtocolError, Role, TextCheck};

const ALONE: Deflate = Deflate {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

fn terms(takeover: bool) -> Deflate {
    if takeover { Deflate::default() } else { ALONE }
}

fn decoder(takeover: bool, max: usize) -> Decoder {
    Decoder::new(DecoderConfig {
        buffer_bytes: 64,
        max_message_bytes: max,
        deflate: Some(terms(takeover)),
        ..DecoderConfig::new(Role::Client)
    })
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(len as u8),
        len => {
            frame.push(127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
            if len <= 0xFFFF {
                frame.truncate(1);
                frame.push(126);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// The texts of a byte stream, or what is wrong with it, read in pieces.
fn texts(decoder: &mut Decoder, bytes: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, ProtocolError> {
    let mut texts = vec![];
    for mut piece in bytes.chunks(piece) {
        while !piece.is_empty() {
            decoder.fill(&mut piece).expect("a slice never fails");
            while let Some(message) = decoder.next_message()? {
                match message {
                    Message::Text(text) | Message::Binary(text) => texts.push(text.to_vec()),
                    Message::Ping(payload) => texts.push([b"ping ", payload].concat()),
                    other => panic!("nobody sent {other:?}"),
                }
            }
        }
    }
    Ok(texts)
}

/// RFC 7692 §7.2.3, byte for byte.
#[test]
fn the_examples_of_the_rfc() {
    let hello = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let again = [0xF2, 0x00, 0x11, 0x00, 0x00];
    let stored = [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00];
    let last_block = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00];
    let two_blocks = [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00];
    for takeover in [true, false] {
        for payload in [&hello[..], &stored, &last_block, &two_blocks] {
            let bytes = [frame(0xC1, payload), frame(0x81, b"plain"), frame(0xC1, payload)].concat();
            let read = texts(&mut decoder(takeover, 100), &bytes, 3).expect("the RFC's own bytes");
            assert_eq!(read, [&b"Hello"[..], b"plain", b"Hello"], "{payload:x?}, takeover {takeover}");
        }
        // In two frames, a ping between them.
        let bytes = [frame(0x41, &hello[..3]), frame(0x89, b"?"), frame(0x80, &hello[3..])].concat();
        assert_eq!(texts(&mut decoder(takeover, 100), &bytes, 1).expect("good"), [&b"ping ?"[..], b"Hello"]);
        // An empty message, alone and as the end of a fragmented one.
        assert_eq!(texts(&mut decoder(takeover, 100), &frame(0xC1, &[0]), 9).expect("good"), [b""]);
        let bytes = [frame(0x41, &hello), frame(0x00, &[]), frame(0x80, &[])].concat();
        assert_eq!(texts(&mut decoder(takeover, 100), &bytes, 9).expect("good"), [b"Hello"]);
    }
    let bytes = [frame(0xC1, &hello), frame(0xC1, &again)].concat();
    assert_eq!(texts(&mut decoder(true, 100), &bytes, 9).expect("the second refers to the first"), [b"Hello"; 2]);
    let alone = texts(&mut decoder(false, 100), &bytes, 9).expect_err("nothing to refer to");
    assert!(matches!(alone, ProtocolError::Inflate { .. }), "{alone}");
    let mut deflater = Deflater::server(&Deflate::default()).expect("a window of 15 bits");
    assert_eq!(deflater.deflate(b""), [0]);
}

#[test]
fn every_breach_has_its_name() {
    let hello = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let reserved = |bits| ProtocolError::ReservedBits { bits };
    for (bytes, error) in [
        (frame(0xA1, &hello), reserved(0b010)),
        (frame(0x91, &hello), reserved(0b001)),
        (frame(0xE1, &hello), reserved(0b110)),
        // The bit belongs to the first frame of data alone.
        (frame(0xC9, &hello), reserved(0b100)),
        (frame(0xC8, &[]), reserved(0b100)),
        ([frame(0x41, &hello[..2]), frame(0xC0, &hello[2..])].concat(), reserved(0b100)),
        // A block of the reserved kind, and a stored block whose length contradicts itself.
        (frame(0xC1, &[0x06]), ProtocolError::Inflate { after: 0 }),
        (frame(0xC1, &[0x00, 0x05, 0x00, 0x05, 0x00]), ProtocolError::Inflate { after: 0 }),
        ([frame(0x41, &hello[..2]), frame(0xC1, &hello[2..])].concat(), ProtocolError::InterleavedData { opcode: 1 }),
    ] {
        let found = texts(&mut decoder(false, 1000), &bytes, 5).expect_err("a breach");
        assert_eq!(found, error, "{bytes:x?}");
    }
    assert_eq!(ProtocolError::Inflate { after: 0 }.close_code(), 1007);
    // Without terms the bit is what it always was.
    let mut plain = Decoder::new(DecoderConfig::new(Role::Client));
    assert_eq!(texts(&mut plain, &frame(0xC1, &hello), 5).expect_err("not agreed"), reserved(0b100));
}

#[test]
fn a_message_that_stands_alone_and_is_cut_is_found_out() {
    let text: Vec<u8> = (0..500_u32).flat_map(|n| format!("{{\"p\":{}}},", n * n).into_bytes()).collect();
    let mut deflater = Deflater::server(&ALONE).expect("15 bits");
    let whole = deflater.deflate(&text).to_vec();
    for cut in 1..whole.len() {
        let bytes = frame(0xC1, &whole[..cut]);
        let read = texts(&mut decoder(false, 1 << 20), &bytes, 4096);
        assert!(matches!(read, Err(ProtocolError::Inflate { .. })), "cut at {cut} of {}", whole.len());
    }
}

#[test]
fn a_bomb_stops_at_the_limit_and_takes_no_more_memory() {
    const MAX: usize = 100_000;
    let mut compress = Compress::new(Compression::best(), false);
    let mut bomb = Vec::with_capacity(1 << 20);
    compress.compress_vec(&vec![b'0'; 64 << 20], &mut bomb, FlushCompress::Sync).expect("flate2");
    assert!(bomb.len() < MAX, "the bomb itself is small: {}", bomb.len());
    let mut decoder = decoder(true, MAX);
    let error = texts(&mut decoder, &frame(0xC1, &bomb), 4096).expect_err("too long");
    assert_eq!(error, ProtocolError::TooLong { bytes: MAX as u64 + 1, max: MAX as u64 });
    assert!(decoder.memory_bytes() <= 3 * MAX + 64, "{}", decoder.memory_bytes());
    // One byte less is the largest message taken.
    let mut deflater = Deflater::server(&Deflate::default()).expect("15 bits");
    let bytes = frame(0xC1, deflater.deflate(&vec![b'0'; MAX]));
    decoder.reset();
    assert_eq!(texts(&mut decoder, &bytes, 4096).expect("the largest one")[0].len(), MAX);
    // Fragments that inflate to nothing add up too.
    let empty = [0, 0, 0, 0xFF, 0xFF].repeat(50);
    let mut endless = frame(0x41, &empty);
    for _ in 0..MAX / empty.len() {
        endless.extend(frame(0x00, &empty));
    }
    decoder.reset();
    assert!(matches!(texts(&mut decoder, &endless, 4096), Err(ProtocolError::TooLong { .. })));
}

#[test]
fn inflated_text_is_checked_when_asked() {
    let mut deflater = Deflater::server(&Deflate::default()).expect("15 bits");
    let bytes = frame(0xC1, deflater.deflate(b"ok \xFF"));
    let config = DecoderConfig { text: TextCheck::Utf8, ..DecoderConfig::new(Role::Client) };
    let mut strict = Decoder::new(DecoderConfig { deflate: Some(Deflate::default()), ..config });
    assert_eq!(texts(&mut strict, &bytes, 9), Err(ProtocolError::NotUtf8 { valid_bytes: 3 }));
}

/// One message of a made-up conversation: its text, whether it is compressed, and into how many frames it is cut.
fn message() -> impl Strategy<Value = (Vec<u8>, bool, usize)> {
    let text = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..600),
        (any::<u32>(), 1..400_usize)
            .prop_map(|(seed, n)| format!("{{\"price\":\"{seed}.25\"}},").repeat(n).into_bytes()),
        Just(vec![]),
    ];
    (text, any::<bool>(), 1..5_usize)
}

/// The frames of one message, compressed by flate2's encoder rather than by ours.
fn frames((text, compressed, cuts): &(Vec<u8>, bool, usize), compress: &mut Compress, takeover: bool) -> Vec<u8> {
    let mut payload = Vec::with_capacity(text.len() * 2 + 100);
    if *compressed && !text.is_empty() {
        if !takeover {
            compress.reset();
        }
        compress.compress_vec(text, &mut payload, FlushCompress::Sync).expect("room for all");
        payload.truncate(payload.len() - 4);
    } else if *compressed {
        payload.push(0);
    } else {
        payload.extend(text);
    }
    let piece = payload.len().div_ceil(*cuts).max(1);
    let pieces: Vec<&[u8]> = if payload.is_empty() { vec![&[]] } else { payload.chunks(piece).collect() };
    let count = pieces.len();
    let first = |i| match i {
        0 if *compressed => 0x42,
        0 => 0x02,
        _ => 0x00,
    };
    pieces.iter().enumerate().flat_map(|(i, p)| frame(first(i) | if i + 1 == count { 0x80 } else { 0 }, p)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_flate2_compresses_is_read(
        messages in proptest::collection::vec(message(), 1..8), takeover: bool, bits in 9..16_u8, piece in 1..300_usize,
    ) {
        let mut compress = Compress::new_with_window_bits(Compression::default(), false, bits);
        let bytes: Vec<u8> = messages.iter().flat_map(|m| frames(m, &mut compress, takeover)).collect();
        let read = texts(&mut decoder(takeover, 1 << 20), &bytes, piece).expect("good frames");
        prop_assert_eq!(read, messages.into_iter().map(|m| m.0).collect::<Vec<_>>());
    }

    #[test]
    fn what_our_own_deflater_says_is_read(
        messages in proptest::collection::vec(message(), 1..8), takeover: bool, bits in 9..16_u8,
    ) {
        let terms = Deflate { server_max_window_bits: bits, ..terms(takeover) };
        let mut deflater = Deflater::server(&terms).expect("more than 8 bits");
        let (mut encoder, mut bytes) = (Encoder::server(), vec![]);
        for (text, compressed, _) in &messages {
            match compressed {
                true => encoder.binary_deflated(text, &mut deflater, &mut bytes),
                false => encoder.binary(text, &mut bytes),
            }
        }
        let config = DecoderConfig { deflate: Some(terms), ..DecoderConfig::new(Role::Client) };
        let read = texts(&mut Decoder::new(config), &bytes, 4096).expect("good frames");
        prop_assert_eq!(read, messages.into_iter().map(|m| m.0).collect::<Vec<_>>());
    }

    #[test]
    fn hostile_streams_neither_panic_nor_grow_memory(
        messages in proptest::collection::vec(message(), 1..5), takeover: bool,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..5), piece in 1..200_usize,
    ) {
        const MAX: usize = 3000;
        let mut compress = Compress::new(Compression::default(), false);
        let mut bytes: Vec<u8> = messages.iter().flat_map(|m| frames(m, &mut compress, takeover)).collect();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let mut decoder = decoder(takeover, MAX);
        for mut part in bytes.chunks(piece) {
            while !part.is_empty() && decoder.fill(&mut part).is_ok() {
                while let Ok(Some(_)) = decoder.next_message() {}
            }
        }
        prop_assert!(decoder.memory_bytes() <= 3 * MAX + 100, "{}", decoder.memory_bytes());
    }
}
