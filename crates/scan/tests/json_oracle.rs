//! The pull parser against serde_json: the same texts accepted, the same values read.
//!
//! Two differences are by design and kept out of the comparison: serde_json refuses numbers that no float can hold
//! (`1e999`) although RFC 8259 allows them, and nests 127 levels where we stop at 64.

use proptest::prelude::*;
use scan::{DEPTH_MAX, Json, JsonError, Kind};
use serde_json::Value;

/// Reads the next value into serde's type. A key that appears twice keeps its last value, as in serde_json.
fn read(json: &mut Json<'_>) -> Result<Value, JsonError> {
    let mut scratch = [0; 4096];
    Ok(match json.kind()? {
        Kind::Object => {
            json.object()?;
            let mut map = serde_json::Map::new();
            while let Some(key) = json.key()? {
                let name = key.unescape(&mut scratch).expect("test documents are short").to_owned();
                assert!(key.is(&name));
                map.insert(name, read(json)?);
            }
            Value::Object(map)
        }
        Kind::Array => {
            json.array()?;
            let mut values = Vec::new();
            while json.element()? {
                values.push(read(json)?);
            }
            Value::Array(values)
        }
        Kind::String => json.string()?.unescape(&mut scratch).expect("test documents are short").into(),
        Kind::Number => Value::Number(json.number_text()?.parse().expect("a number to us is one to serde_json")),
        Kind::Bool => json.bool()?.into(),
        Kind::Null => {
            json.null()?;
            Value::Null
        }
    })
}

fn read_all(text: &[u8]) -> Result<Value, JsonError> {
    let mut json = Json::new(text);
    let value = read(&mut json)?;
    json.end()?;
    Ok(value)
}

fn skip_all(text: &[u8]) -> Result<(), JsonError> {
    let mut json = Json::new(text);
    json.skip_value()?;
    json.end()
}

/// What serde_json says, or `None` where the two differ by design.
fn oracle(text: &[u8]) -> Option<Result<Value, serde_json::Error>> {
    let answer = serde_json::from_slice::<Value>(text);
    let too_large = matches!(&answer, Err(error) if error.to_string().starts_with("number out of range"));
    let brackets = text.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    (!too_large && brackets <= DEPTH_MAX as usize).then_some(answer)
}

fn agree(text: &[u8]) -> Result<(), TestCaseError> {
    let skipped = skip_all(text);
    if let Some(expected) = oracle(text) {
        let shown = String::from_utf8_lossy(text);
        prop_assert_eq!(skipped.is_ok(), expected.is_ok(), "{}: ours {:?}, theirs {:?}", shown, skipped, expected);
        let found = read_all(text);
        prop_assert_eq!(found.clone().err(), skipped.err(), "{}", shown);
        prop_assert_eq!(found.ok(), expected.ok(), "{}", shown);
    }
    if let Err(error) = skipped {
        prop_assert!(error.offset <= text.len());
    }
    Ok(())
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        "[0-9]{1,6}\\.[0-9]{8}".prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "[a-z\"\\\\/\\n\\x01é😀]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-zA-Z\"\\\\é]{0,8}", inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Bytes that matter to JSON more often than others.
fn telling_byte() -> impl Strategy<Value = u8> {
    prop_oneof![3 => prop::sample::select(b"{}[]:,\"\\ntfu0123456789.-+eE \n\t\x00\x1f\x7f\x80\xc3\xff".to_vec()), 1 => any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn written_documents_are_read_back(value in document()) {
        agree(value.to_string().as_bytes())?;
        agree(&serde_json::to_vec_pretty(&value).expect("a value can be written"))?;
        prop_assert_eq!(read_all(value.to_string().as_bytes()).ok(), serde_json::from_str(&value.to_string()).ok());
    }

    #[test]
    fn changed_documents_are_judged_alike(
        value in document(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), telling_byte(), 0..4), 1..4),
    ) {
        let mut text = value.to_string().into_bytes();
        for (at, byte, change) in changes {
            let at = at.index(text.len() + 1);
            match change {
                0 => text.insert(at, byte),
                1 => text.truncate(at),
                _ if at == text.len() => text.push(byte),
                2 => text[at] = byte,
                _ => drop(text.remove(at)),
            }
        }
        agree(&text)?;
    }

    #[test]
    fn escapes_are_judged_alike(
        parts in prop::collection::vec(prop_oneof![
            "\\\\u[dD][89a-fA-F][0-9a-f]{2}", "\\\\u[0-9a-fA-F]{3,4}", "\\\\[\"\\\\/bfnrtxu]", "[a-zé]{1,3}",
        ], 0..6),
    ) {
        agree(format!("{{\"{0}\":\"{0}\"}}", parts.concat()).as_bytes())?;
    }

    #[test]
    fn json_like_bytes_are_judged_alike(text in prop::collection::vec(telling_byte(), 0..24)) {
        agree(&text)?;
    }

    #[test]
    fn asking_anything_of_any_bytes_never_panics(
        text in prop::collection::vec(telling_byte(), 0..60), asks in prop::collection::vec(0..18, 0..40), offset: usize,
    ) {
        let mut json = Json::at(&text, offset.min(70));
        for ask in asks {
            match ask {
                0 => drop(json.object()),
                1 => drop(json.array()),
                2 => drop(json.key()),
                3 => drop(json.element()),
                4 => drop(json.string()),
                5 => drop(json.str_plain()),
                6 => drop(json.number_text()),
                7 => drop(json.number_or_string().map(|text| (text.exact(), text.i64(), text.u64(), text.fixed(8)))),
                8 => drop(json.fixed(8)),
                9 => drop(json.u64()),
                10 => drop(json.i64()),
                11 => drop(json.bool()),
                12 => drop(json.null_if()),
                13 => drop(json.skip_value()),
                14 => drop(json.raw_value()),
                15 => drop(json.close()),
                16 => drop(json.kind()),
                _ => drop(json.end()),
            }
            prop_assert!(json.offset() <= text.len());
            prop_assert!(json.depth() <= DEPTH_MAX);
        }
    }
}
