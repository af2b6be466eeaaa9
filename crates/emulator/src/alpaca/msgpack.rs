//! The venue's other encoding: its JSON messages as msgpack, and clients' msgpack messages as JSON.
//!
//! Keys keep their order, so `T` stays first. Prices are 64-bit floats whatever they look like, other numbers are
//! integers where they are; a `t` that holds a time becomes a Timestamp extension.

use scan::{Json, Kind};
use serde_json::{Map, Value};

/// Keys whose numbers are prices.
const PRICES: [&str; 12] = ["p", "bp", "ap", "o", "h", "l", "c", "vw", "op", "cp", "u", "d"];
/// The key of times.
const TIME: &str = "t";
/// A client's message is a map with lists in it.
const DEPTH_MAX: u32 = 8;

/// The msgpack of one of Alpaca's JSON frames, as a client that asked for it is sent; `None` when it is no JSON.
pub fn msgpack_of(json: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    push(json, &mut out).map(|()| out)
}

/// Appends the msgpack of a JSON text.
pub(crate) fn push(json: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut json = Json::new(json);
    value(&mut json, "", out)?;
    json.end().ok()
}

fn value(json: &mut Json<'_>, key: &str, out: &mut Vec<u8>) -> Option<()> {
    match json.kind().ok()? {
        Kind::Object => {
            let head = out.len();
            out.push(0);
            let mut count = 0;
            json.object().ok()?;
            while let Some(name) = json.key().ok()? {
                let name = name.raw();
                push_text(name, out);
                value(json, name, out)?;
                count += 1;
            }
            put_head(head, count, [0x80, 0xDE, 0xDF], out);
        }
        Kind::Array => {
            let head = out.len();
            out.push(0);
            let mut count = 0;
            json.array().ok()?;
            while json.element().ok()? {
                value(json, "", out)?;
                count += 1;
            }
            put_head(head, count, [0x90, 0xDC, 0xDD], out);
        }
        Kind::String => {
            let text = json.string().ok()?.raw();
            match scan::rfc3339_nanos(text.as_bytes()) {
                Ok((ns, len)) if key == TIME && len == text.len() => push_time(ns, out),
                _ => push_text(text, out),
            }
        }
        Kind::Number => {
            let text = json.number_text().ok()?;
            match text.parse::<i64>() {
                Ok(whole) if !PRICES.contains(&key) => push_integer(whole, out),
                _ => {
                    out.push(0xCB);
                    out.extend_from_slice(&text.parse::<f64>().ok()?.to_be_bytes());
                }
            }
        }
        Kind::Bool => out.push(if json.bool().ok()? { 0xC3 } else { 0xC2 }),
        Kind::Null => {
            json.skip_value().ok()?;
            out.push(0xC0);
        }
    }
    Some(())
}

/// Puts the head of a map or list where one byte was kept for it: short, 16 bits or 32 bits.
fn put_head(at: usize, count: usize, [short, medium, long]: [u8; 3], out: &mut Vec<u8>) {
    match (u8::try_from(count), u16::try_from(count)) {
        (Ok(count), _) if count < 16 => out[at] = short | count,
        (_, Ok(count)) => {
            out[at] = medium;
            out.splice(at + 1..at + 1, count.to_be_bytes());
        }
        _ => {
            out[at] = long;
            out.splice(at + 1..at + 1, (count as u32).to_be_bytes());
        }
    }
}

fn push_text(text: &str, out: &mut Vec<u8>) {
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(len), _) if len < 32 => out.push(0xA0 | len),
        (Ok(len), _) => out.extend_from_slice(&[0xD9, len]),
        (_, Ok(len)) => {
            out.push(0xDA);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(0xDB);
            out.extend_from_slice(&(text.len() as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

fn push_integer(value: i64, out: &mut Vec<u8>) {
    match (u8::try_from(value), u16::try_from(value), u32::try_from(value)) {
        (Ok(small), ..) if small < 0x80 => out.push(small),
        (Ok(small), ..) => out.extend_from_slice(&[0xCC, small]),
        (_, Ok(medium), _) => {
            out.push(0xCD);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        (_, _, Ok(large)) => {
            out.push(0xCE);
            out.extend_from_slice(&large.to_be_bytes());
        }
        _ if (-32..0).contains(&value) => out.push(value as u8),
        _ => {
            out.push(if value < 0 { 0xD3 } else { 0xCF });
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// Timestamp extension (-1): 32 bits for whole seconds, 64 with nanoseconds.
fn push_time(ns: u64, out: &mut Vec<u8>) {
    let (seconds, nanos) = (ns / 1_000_000_000, ns % 1_000_000_000);
    match u32::try_from(seconds) {
        Ok(seconds) if nanos == 0 => {
            out.extend_from_slice(&[0xD6, 0xFF]);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[0xD7, 0xFF]);
            out.extend_from_slice(&(nanos << 34 | seconds).to_be_bytes());
        }
    }
}

/// Reads a client's message: maps, lists, texts, integers, booleans and nothing.
pub(crate) fn read(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = read_value(&mut rest, 0)?;
    rest.is_empty().then_some(value)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

fn read_length(rest: &mut &[u8], bytes: usize) -> Option<usize> {
    Some(take(rest, bytes)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

fn read_value(rest: &mut &[u8], depth: u32) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    let head = take(rest, 1)?[0];
    let text = |rest: &mut &[u8], len: usize| {
        let bytes = take(rest, len)?;
        std::str::from_utf8(bytes).ok().map(Value::from)
    };
    let list = |rest: &mut &[u8], count: usize| {
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(read_value(rest, depth + 1)?);
        }
        Some(Value::from(list))
    };
    let map = |rest: &mut &[u8], count: usize| {
        let mut map = Map::new();
        for _ in 0..count {
            let Value::String(key) = read_value(rest, depth + 1)? else { return None };
            map.insert(key, read_value(rest, depth + 1)?);
        }
        Some(Value::Object(map))
    };
    match head {
        0x00..=0x7F => Some(Value::from(head)),
        0x80..=0x8F => map(rest, usize::from(head & 0xF)),
        0x90..=0x9F => list(rest, usize::from(head & 0xF)),
        0xA0..=0xBF => text(rest, usize::from(head & 0x1F)),
        0xC0 => Some(Value::Null),
        0xC2 => Some(Value::from(false)),
        0xC3 => Some(Value::from(true)),
        0xC4 | 0xD9 => read_length(rest, 1).and_then(|len| text(rest, len)),
        0xC5 | 0xDA => read_length(rest, 2).and_then(|len| text(rest, len)),
        0xC6 | 0xDB => read_length(rest, 4).and_then(|len| text(rest, len)),
        0xCC => read_length(rest, 1).map(Value::from),
        0xCD => read_length(rest, 2).map(Value::from),
        0xCE => read_length(rest, 4).map(Value::from),
        0xDC => read_length(rest, 2).and_then(|count| list(rest, count)),
        0xDD => read_length(rest, 4).and_then(|count| list(rest, count)),
        0xDE => read_length(rest, 2).and_then(|count| map(rest, count)),
        0xDF => read_length(rest, 4).and_then(|count| map(rest, count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(json: &str) -> String {
        msgpack_of(json.as_bytes()).expect("JSON").iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn values_are_written_as_the_format_says() {
        for (json, expected) in [
            (r#"[{"T":"t"}]"#, "9181a154a174"),
            (r#"{"p":1}"#, "81a170cb3ff0000000000000"),
            (r#"{"s":1.5,"i":300}"#, "82a173cb3ff8000000000000a169cd012c"),
            (r#"{"i":3447222699101865076}"#, "81a169cf2fd6fec7d9a14474"),
            (r#"{"t":"2020-09-13T12:26:40Z"}"#, "81a174d6ff5f5e1000"),
            (r#"{"t":"2020-09-13T12:26:40.000000001Z"}"#, "81a174d7ff000000045f5e1000"),
            (r#"{"S":"2020-09-13T12:26:40Z"}"#, "81a153b4323032302d30392d31335431323a32363a34305a"),
            ("[true,null,-1,255,70000]", "95c3c0ffccffce00011170"),
        ] {
            assert_eq!(hex(json), expected, "{json}");
        }
        let long: Vec<String> = (0..70_000).map(|_| "1".to_owned()).collect();
        assert!(hex(&format!("[{}]", long[..20].join(","))).starts_with("dc0014"));
        assert!(hex(&format!("[{}]", long.join(","))).starts_with("dd00011170"));
        assert_eq!(msgpack_of(b"{\"a\":"), None);
    }

    #[test]
    fn clients_messages_are_read_and_others_refused() {
        let json = r#"{"action":"subscribe","trades":["AAPL","*"],"n":[1,200,70000],"x":null,"y":true}"#;
        let packed = msgpack_of(json.as_bytes()).expect("JSON");
        assert_eq!(read(&packed), serde_json::from_str(json).ok());
        for broken in [&packed[..packed.len() - 1], &[0x81, 0x01, 0x01], &[0xC1], &[], &[0xDD, 0xFF, 0xFF, 0xFF, 0xFF]]
        {
            assert_eq!(read(broken), None);
        }
        assert_eq!(read(&[0x91; 64]), None, "nested deeper than any message");
    }
}
