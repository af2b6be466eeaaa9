//! Keeps `docs/protocol.md` true: its tables are compared with the code.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use model::{
    BookState, GapCause, InstrumentId, InstrumentKind, InstrumentStatus, Reason, Scope, StreamKind, StreamState, Venue,
};
use std::fs;
use wire::{CorrectionKind, Flags, OrderAction, OverrunCause, RecordType, batch};

fn document() -> String {
    fs::read_to_string(repository("docs/protocol.md")).unwrap()
}

/// The section under `heading`, up to the next heading.
fn section<'a>(doc: &'a str, heading: &str) -> &'a str {
    let start = doc.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let body = &doc[start + heading.len() + 2..];
    &body[..body.find("\n#").unwrap_or(body.len())]
}

/// The rows of the table whose head begins with these columns.
fn table<'a>(text: &'a str, columns: &str) -> Vec<Vec<&'a str>> {
    let rows: Vec<_> = text
        .lines()
        .skip_while(|line| !line.starts_with(&format!("| {columns}")))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    assert!(!rows.is_empty(), "no table {columns:?}");
    rows
}

fn check_fields(doc: &str, heading: &str, fields: &[Field]) {
    let told: Vec<_> =
        table(section(doc, heading), "offset | bytes | type | field").iter().map(|row| row[..4].join(" ")).collect();
    let true_ones: Vec<_> = fields.iter().map(|f| format!("{} {} {} {}", f.offset, f.bytes, f.ty, f.name)).collect();
    assert_eq!(told, true_ones, "the table under {heading:?}");
}

#[test]
fn every_field_stands_where_the_document_draws_it() {
    let doc = document();
    check_fields(&doc, "## Header", &header_fields());
    check_fields(&doc, "## In a batch", &batch_fields());
    check_fields(&doc, "## In a table", &table_fields());
    for kind in RecordType::ALL {
        check_fields(&doc, &format!("### {kind:?}"), &fields_of(kind));
    }
}

#[test]
fn the_table_of_types_is_true() {
    let doc = document();
    let told: Vec<_> =
        table(section(&doc, "## Types"), "type | code | bytes").iter().map(|row| row.join(" | ")).collect();
    let row = |kind: RecordType| {
        let name = format!("{kind:?}");
        let texts = if has_texts(kind) { " + texts" } else { "" };
        let flags: Vec<_> = flags_of(kind).iter().map(|(name, _)| *name).collect();
        let flags = if flags.is_empty() { "–".to_owned() } else { flags.join(" ") };
        let (code, bytes) = (kind as u8, head_bytes(kind));
        format!("[{name}](#{}) | {code} | {bytes}{texts} | {} | {flags}", name.to_lowercase(), kind.name())
    };
    assert_eq!(told, RecordType::ALL.map(row));
}

#[test]
fn the_tables_of_flags_and_venues_are_true() {
    let doc = document();
    let header = section(&doc, "## Header");
    let bits: Vec<_> = table(header, "flag | bits").iter().map(|row| (row[0].to_owned(), row[1].to_owned())).collect();
    let named = [
        ("LAST", Flags::LAST),
        ("SNAPSHOT", Flags::SNAPSHOT),
        ("LATE", Flags::LATE),
        ("RECV_SUSPECT", Flags::RECV_SUSPECT),
        ("NO_ID", Flags::NO_ID),
        ("NOT_TRUSTED", Flags::NOT_TRUSTED),
    ];
    let mut expected = vec![("side".to_owned(), "0–1".to_owned()), ("source".to_owned(), "2–3".to_owned())];
    expected.extend(named.map(|(name, flag)| (name.to_owned(), flag.0.trailing_zeros().to_string())));
    assert_eq!(bits, expected);

    let venues: Vec<_> = table(header, "venue | code").iter().map(|row| row.join(" ")).collect();
    assert_eq!(venues, Venue::ALL.map(|v| format!("{} {}", v.name(), v.code())));

    let batch_flags: Vec<_> =
        table(section(&doc, "## In a batch"), "flag | value").iter().map(|row| row[..2].join(" ")).collect();
    let named = [
        ("SEQUENCES_LISTED", batch::SEQUENCES_LISTED),
        ("OUT_OF_BAND", batch::OUT_OF_BAND),
        ("CATCH_UP", batch::CATCH_UP),
        ("FINAL", batch::FINAL),
    ];
    assert_eq!(batch_flags, named.map(|(name, flag)| format!("{name} {flag}")));

    for row in table(header, "venue | venue symbol") {
        assert_eq!(InstrumentId::of(row[0].parse().unwrap(), row[1]).to_string(), row[2]);
    }
}

#[test]
fn the_lists_of_codes_are_true() {
    let doc = document();
    let told = section(&doc, "## Codes");
    macro_rules! check {
        ($($name:ident)+) => {$(
            let values: Vec<_> = $name::ALL.iter().map(|v| format!("{} `{}`", *v as u8, v.name())).collect();
            let line = format!("- {}: {}\n", stringify!($name), values.join(", "));
            assert!(told.contains(&line), "the document should say: {line}");
        )+};
    }
    check!(Scope StreamKind StreamState BookState Reason GapCause InstrumentKind InstrumentStatus CorrectionKind
        OverrunCause OrderAction);
    for kind in ["BookAction", "SnapshotReason", "BarState"] {
        assert!(told.contains(&format!("- {kind}: ")));
    }
}
