//! The bytes and lines that must never change by accident: `fixtures/wire/`, and the examples in `docs/protocol.md`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p wire` rewrites them all.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use std::{collections::BTreeSet, fs};
use wire::{Header, RecordBuf, Records, WIRE_VERSION, batch::BatchBuilder, batch::BatchHeader, json};

/// The value of a field, as a number where it is one.
fn value(f: &Field, record: &[u8]) -> Option<String> {
    let bytes = &record[f.offset..f.offset + f.bytes];
    let mut wide = [0u8; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let unsigned = u64::from_le_bytes(wide);
    match f.ty {
        "u8" | "u32" | "u64" => Some(unsigned.to_string()),
        "u16" => Some(format!("{unsigned:#06x}")),
        "i64" if unsigned as i64 == wire::NONE => Some("none".to_owned()),
        "i64" => Some((unsigned as i64).to_string()),
        _ => None,
    }
}

/// What the word of a record at `at` (in bytes) holds.
fn comment(fields: &[Field], record: &[u8], at: usize) -> String {
    let inside = fields.iter().filter(|f| f.offset < at + 8 && f.offset + f.bytes > at);
    let named: Vec<_> = inside
        .map(|f| match value(f, record) {
            Some(value) => format!("{} {value}", f.name),
            None if f.offset == at && f.bytes == 16 => format!("{}, low half", f.name),
            None if f.bytes == 16 => format!("{}, high half", f.name),
            None => f.name.to_owned(),
        })
        .collect();
    if named.is_empty() {
        return format!("text {:?}", String::from_utf8_lossy(&record[at..at + 8]).trim_end_matches('\0'));
    }
    named.join(", ")
}

fn hex_lines(fields: &[Field], record: &[u8]) -> String {
    let line = |at: usize| {
        let hex: Vec<_> = record[at..at + 8].iter().map(|b| format!("{b:02x}")).collect();
        format!("{}  # {:3} {}\n", hex.join(" "), at, comment(fields, record, at))
    };
    (0..record.len()).step_by(8).map(line).collect()
}

fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

fn record_hex(words: &[u64]) -> String {
    let kind = Header::read(words).unwrap().record_type().unwrap();
    let mut fields = header_fields();
    fields.extend(fields_of(kind).into_iter().skip(1));
    format!("# {kind:?}\n{}", hex_lines(&fields, &bytes_of(words)))
}

fn case_hex(records: &RecordBuf) -> String {
    records.iter().map(record_hex).collect::<Vec<_>>().join("\n")
}

fn parse_hex(text: &str) -> Vec<u8> {
    let data = text.lines().map(|line| line.split('#').next().unwrap());
    data.flat_map(str::split_whitespace).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn words_of(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().unwrap())).collect()
}

fn json_text(records: &RecordBuf) -> String {
    lines_of(records, FIRST).iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
}

#[test]
fn bytes_and_lines_are_what_is_committed_and_read_back() {
    for case in cases() {
        check_golden(&format!("fixtures/wire/{}.hex", case.name), &case_hex(&case.records));
        check_golden(&format!("fixtures/wire/{}.json", case.name), &json_text(&case.records));
    }

    // The same files, read as another program would.
    for case in cases() {
        let read = |ending: &str| fs::read_to_string(repository(&format!("fixtures/wire/{}.{ending}", case.name)));
        let (hex, json) = (read("hex").unwrap(), read("json").unwrap());
        let mut records = RecordBuf::default();
        Records::new(&words_of(&parse_hex(&hex))).for_each(|words| records.push_words(words).unwrap());
        assert_eq!(json_text(&records), json, "{}", case.name);

        let (mut decoder, mut back) = (decoder(), RecordBuf::default());
        for line in json.lines() {
            let span = decoder.push_text(line, &mut back).unwrap();
            assert_eq!(span.records, records.len());
            let out_of_band = span.first == 0;
            let first = span.envelopes().unwrap().next().unwrap();
            assert_eq!(first, wire::Envelope { epoch: EPOCH, sequence: if out_of_band { 0 } else { FIRST } });
        }
        assert_eq!(case_hex(&back), case_hex(&records), "{}", case.name);
    }
}

#[test]
fn every_record_type_has_an_example() {
    let seen: BTreeSet<_> = cases()
        .iter()
        .flat_map(|c| c.records.iter().map(|r| Header::read(r).unwrap().kind).collect::<Vec<_>>())
        .collect();
    assert_eq!(seen, wire::RecordType::ALL.iter().map(|t| *t as u8).collect());
}

#[test]
fn a_batch_is_what_is_committed() {
    let mut builder = BatchBuilder::new();
    let heartbeat = |sequence: u64| wire::HeartbeatRecord::new(model::Venue::Kraken, sequence + 1, RECV);
    builder.push(1042, heartbeat(1042).as_words());
    builder.push(1045, heartbeat(1045).as_words());
    let mut bytes = vec![];
    builder.finish(Some(model::Venue::Kraken), EPOCH, (1000, 1050), RECV.0 + 1, 0, &mut bytes);
    let (head, body) = bytes.split_at(wire::batch::HEADER_BYTES);
    let text = format!(
        "# BatchHeader\n{}\n# sequences, as distances from the first\n{}\n{}\n{}",
        hex_lines(&batch_fields(), head),
        hex_lines(&[], &body[..8]).replace("text \"\\0\\0\\0\\0\\u{3}\"", "0, 3"),
        record_hex(heartbeat(1042).as_words()),
        record_hex(heartbeat(1045).as_words()),
    );
    assert_eq!(parse_hex(&text), bytes);
    assert_eq!(BatchHeader::read(&bytes).unwrap().unwrap().version, WIRE_VERSION);
    check_golden("fixtures/wire/batch.hex", &text);
}

/// The fenced block behind `<!-- golden: name -->` in the document.
fn replace_block(doc: &str, name: &str, fence: &str, text: &str) -> String {
    let mark = format!("<!-- golden: {name} -->\n```{fence}\n");
    let start = doc.find(&mark).unwrap_or_else(|| panic!("docs/protocol.md has no block {mark:?}")) + mark.len();
    let end = start + doc[start..].find("```").unwrap();
    format!("{}{text}{}", &doc[..start], &doc[end..])
}

#[test]
fn the_document_shows_true_bytes_and_lines() {
    let mut doc = fs::read_to_string(repository("docs/protocol.md")).unwrap();
    for case in cases().iter().filter(|c| c.name != "connection_status") {
        doc = replace_block(&doc, &format!("{}.json", case.name), "json", &json_text(&case.records));
    }
    doc = replace_block(&doc, "trade.hex", "text", &record_hex(trade().as_words()));
    check_golden("docs/protocol.md", &doc);
}

#[test]
fn the_schema_is_what_is_committed() {
    let text = serde_json::to_string_pretty(&json::schema()).unwrap() + "\n";
    check_golden("docs/schema/records.schema.json", &text);
}
