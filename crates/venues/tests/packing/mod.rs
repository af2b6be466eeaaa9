//! JSON as MessagePack, written for the tests alone: what a server of the venue would send for the same message.
#![allow(dead_code, reason = "each test uses its part")]

use serde_json::Value;

/// How times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    /// As the venue does: extension -1, in 4 or 8 bytes.
    Extension,
    /// The same in 12 bytes.
    Wide,
    /// As text.
    Text,
}

fn head(out: &mut Vec<u8>, len: usize, small: (u8, usize), tags: [u8; 2]) {
    if len < small.1 {
        out.push(small.0 | len as u8);
    } else if let Ok(len) = u16::try_from(len) {
        out.push(tags[0]);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(tags[1]);
        out.extend_from_slice(&(len as u32).to_be_bytes());
    }
}

/// A text.
pub fn text(text: &str, out: &mut Vec<u8>) {
    head(out, text.len(), (0xa0, 32), [0xda, 0xdb]);
    out.extend_from_slice(text.as_bytes());
}

/// A time in ns.
pub fn stamp(nanos: u64, stamps: Stamps, out: &mut Vec<u8>) {
    let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    match (stamps, nanos, u32::try_from(seconds)) {
        (Stamps::Wide, ..) => {
            out.extend_from_slice(&[0xc7, 12, 0xff]);
            out.extend_from_slice(&(nanos as u32).to_be_bytes());
            out.extend_from_slice(&(seconds as i64).to_be_bytes());
        }
        (_, 0, Ok(seconds)) => {
            out.extend_from_slice(&[0xd6, 0xff]);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[0xd7, 0xff]);
            out.extend_from_slice(&(nanos << 34 | seconds).to_be_bytes());
        }
    }
}

/// A whole number in the fewest bytes.
pub fn whole(value: u64, out: &mut Vec<u8>) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// A float.
pub fn float(value: f64, out: &mut Vec<u8>) {
    out.push(0xcb);
    out.extend_from_slice(&value.to_be_bytes());
}

fn put(value: &Value, key: &str, stamps: Stamps, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(yes) => out.push(0xc2 + u8::from(*yes)),
        Value::Number(n) => match n.as_u64() {
            Some(n) => whole(n, out),
            None => float(n.as_f64().expect("a number"), out),
        },
        Value::String(s) if key == "t" && stamps != Stamps::Text => {
            stamp(scan::rfc3339_nanos(s.as_bytes()).expect("a time").0, stamps, out);
        }
        Value::String(s) => text(s, out),
        Value::Array(items) => {
            head(out, items.len(), (0x90, 16), [0xdc, 0xdd]);
            items.iter().for_each(|item| put(item, "", stamps, out));
        }
        Value::Object(members) => {
            head(out, members.len(), (0x80, 16), [0xde, 0xdf]);
            // The type comes first, as the venue's own client insists.
            let order = members.iter().filter(|(k, _)| *k == "T").chain(members.iter().filter(|(k, _)| *k != "T"));
            for (key, value) in order {
                text(key, out);
                put(value, key, stamps, out);
            }
        }
    }
}

/// A message, the type first, the other keys in the order of the alphabet.
pub fn pack(value: &Value, stamps: Stamps) -> Vec<u8> {
    let mut out = vec![];
    put(value, "", stamps, &mut out);
    out
}
