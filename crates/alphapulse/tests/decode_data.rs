//! `alphapulse decode` over every recorded channel of every venue: the counts of the data's own README
//! files, all checksums, all bridges, and no reject that is not on the committed list.

mod common;

use common::{data, program};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path, process::Output};

fn decode(venue: &str, file: &Path, rest: &[&Path]) -> Output {
    let mut c = program();
    c.args(["decode", "--venue", venue, "--counts"]).arg(file);
    for r in rest {
        c.arg("--rest").arg(r);
    }
    c.output().expect("the program runs")
}

fn counts(out: &Output) -> BTreeMap<String, u64> {
    let words = String::from_utf8_lossy(&out.stderr);
    let line = words.lines().rfind(|l| l.starts_with('{')).unwrap_or_else(|| panic!("no counts in: {words}"));
    let object: BTreeMap<String, Value> = serde_json::from_str(line).expect("JSON");
    object.into_iter().map(|(k, v)| (k, v.as_u64().expect("a number"))).collect()
}

fn expect(file: &Path, out: &Output, wanted: &[(&str, u64)]) {
    assert!(out.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&out.stderr));
    let counts = counts(out);
    for (name, value) in wanted {
        assert_eq!(counts.get(*name), Some(value), "{}: {name} in {counts:?}", file.display());
    }
    println!("{}: {wanted:?}", file.file_name().expect("a file").to_string_lossy());
}

#[test]
fn kraken_books_verify_at_every_message() {
    let Some(data) = data("kraken_books_verify_at_every_message") else { return };
    let folder = data.join("venues/kraken/ws_v2");
    for (name, updates, heartbeats) in
        [("book_btcusd_d25_20260802.jsonl", 2051, 50), ("book_xrpusd_d25_20260802.jsonl", 1146, 43)]
    {
        let file = folder.join(name);
        let out = decode("kraken", &file, &[]);
        expect(
            &file,
            &out,
            &[
                ("book_updates", updates),
                ("book_snapshots", 1),
                ("heartbeats", heartbeats),
                ("venue_status", 1),
                ("acks", 1),
                ("checksums_ok", updates + 1),
                ("checksums_failed", 0),
                ("malformed", 0),
                ("crossed", 0),
            ],
        );
    }
    let file = folder.join("instrument_snapshot.json");
    let out = decode("kraken", &file, &[]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let whole: Value = serde_json::from_slice(&std::fs::read(&file).expect("readable")).expect("JSON");
    let pairs = whole["data"]["pairs"].as_array().expect("pairs").len();
    let told = String::from_utf8_lossy(&out.stdout).matches(r#""type":"instrument""#).count();
    assert_eq!(told, pairs, "every pair of the snapshot is told");
}

#[test]
fn kraken_v1_captures_are_recognised_and_verify() {
    let Some(data) = data("kraken_v1_captures_are_recognised_and_verify") else { return };
    let folder = data.join("venues/kraken/ws_v1");
    let common = [("heartbeats", 119), ("acks", 10), ("venue_status", 1), ("malformed", 0), ("unknown_types", 0)];
    for (name, own) in [
        (
            "book1000_20210405.jsonl.gz",
            &[("book_updates", 14_496), ("book_snapshots", 10), ("checksums_ok", 14_496), ("crossed", 0)][..],
        ),
        ("trade_20210405.jsonl", &[("trades", 28), ("gaps", 0)]),
        ("ticker_20210405.jsonl", &[("quotes", 22)]),
    ] {
        let file = folder.join(name);
        expect(&file, &decode("kraken", &file, &[]), &[&common[..], own].concat());
    }
}

#[test]
fn coinbase_captures_are_whole_in_both_protocols() {
    let Some(data) = data("coinbase_captures_are_whole_in_both_protocols") else { return };
    let folder = data.join("venues/coinbase");
    let sound = [("malformed", 0), ("unknown_types", 0), ("gaps", 0), ("crossed", 0), ("sequences_back", 0)];
    for (name, own) in [
        (
            "exchange_ws/level2_ticker_matches_20210417.jsonl",
            &[("book_updates", 5830), ("book_snapshots", 6), ("quotes", 79), ("trades", 79), ("acks", 3)][..],
        ),
        ("exchange_ws/matches_btc_eth_ltc_20250822.jsonl", &[("trades", 268)]),
        ("exchange_ws/full_heartbeat_20170625.jsonl", &[("orders", 12), ("heartbeats", 1)]),
        (
            "advanced_ws/all_channels_20260809.jsonl.gz",
            &[("book_updates", 463), ("book_snapshots", 2), ("quotes", 103), ("heartbeats", 15), ("sequences_ok", 634)],
        ),
    ] {
        let file = folder.join(name);
        let out = decode("coinbase", &file, &[]);
        expect(&file, &out, &sound);
        expect(&file, &out, own);
    }
}

#[test]
fn binance_us_bridges_and_chains() {
    let Some(data) = data("binance_us_bridges_and_chains") else { return };
    let folder = data.join("venues/binance_us/spot_ws");
    let file = folder.join("ten_symbols_20210405.jsonl.gz");
    let out = decode("binance_us", &file, &[&folder.join("ten_symbols_20210405.rest_depth.http.jsonl")]);
    let wanted = [("trades", 188), ("book_updates", 3185), ("quotes", 2624), ("book_snapshots", 10)];
    expect(&file, &out, &[&wanted[..], &[("gaps", 0), ("malformed", 0), ("crossed", 0), ("resyncs", 0)]].concat());
    assert!(String::from_utf8_lossy(&out.stdout).lines().all(|l| !l.contains(r#""venue":"binance""#)));
}

#[test]
fn binance_captures_bridge_and_chain() {
    let Some(data) = data("binance_captures_bridge_and_chain") else { return };
    let folder = data.join("venues/binance/spot_ws");
    // File, REST beside it, trades (or aggregated trades), depth messages, quotes, bars, snapshots.
    let cases: [(&str, &str, u64, u64, u64, u64, u64); 4] = [
        ("btcusdt_20240808.jsonl.gz", "btcusdt_20240808.depth_snapshot.jsonl", 9757, 3449, 28040, 0, 1),
        ("ethusdt_20240808.jsonl.gz", "ethusdt_20240808.depth_snapshot.jsonl", 6106, 3432, 24077, 0, 1),
        (
            "dot_btc_eth_usdt_20210404.jsonl.gz",
            "dot_btc_eth_usdt_20210404.rest_depth.http.jsonl",
            1910,
            2656,
            0,
            118,
            3,
        ),
        ("four_symbols_20211012.jsonl", "four_symbols_20211012.rest_depth.http.jsonl", 2, 172, 84, 2, 4),
    ];
    for (name, rest, trades, applied, quotes, bars, snapshots) in cases {
        let file = folder.join(name);
        let out = decode("binance", &file, &[&folder.join(rest)]);
        expect(
            &file,
            &out,
            &[
                ("trades", trades),
                ("book_updates", applied),
                ("quotes", quotes),
                ("bars", bars),
                ("book_snapshots", snapshots),
                ("gaps", 0),
                ("malformed", 0),
                ("crossed", 0),
                ("resyncs", 0),
            ],
        );
    }
}

/// Every example frame decodes or stands on the committed list with the reason.
#[test]
fn example_frames_decode_or_are_listed() {
    let Some(data) = data("example_frames_decode_or_are_listed") else { return };
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/decode/rejects.tsv");
    let mut found = String::from("venue\tfile\tline\treason\n");
    for (venue, file) in [
        ("kraken", "kraken/examples/ws_v2_market_and_acks.jsonl"),
        ("kraken", "kraken/examples/ws_v2_orders_executions.jsonl"),
        ("kraken", "kraken/examples/ws_v1_single_frames.jsonl"),
        ("kraken", "kraken/examples/ws_v1_private_openorders.jsonl"),
        ("binance", "binance/examples/spot_ws_single_frames.jsonl"),
        ("binance", "binance/examples/spot_user_data_stream.jsonl"),
        ("binance", "binance/examples/spot_docs_user_data.jsonl"),
        ("coinbase", "coinbase/examples/exchange_ws_single_frames.jsonl"),
        ("coinbase", "coinbase/examples/advanced_docs_rest_and_ws.jsonl"),
        ("alpaca", "alpaca/examples/ws_copied.jsonl"),
        ("alpaca", "alpaca/examples/ws_docs.jsonl"),
    ] {
        let out = decode(venue, &data.join("venues").join(file), &[]);
        let words = String::from_utf8_lossy(&out.stderr);
        assert!(!words.contains("panicked"), "{file}: {words}");
        for line in words.lines() {
            if let Some((number, reason)) = line.strip_prefix("line ").and_then(|l| l.split_once(": byte ")) {
                found.push_str(&format!("{venue}\t{file}\t{number}\tbyte {reason}\n"));
            }
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(list.parent().expect("a folder")).expect("made");
        std::fs::write(&list, &found).expect("written");
    }
    let listed = std::fs::read_to_string(&list).expect("the committed list of rejects");
    assert_eq!(found, listed, "UPDATE_GOLDEN=1 rewrites {}", list.display());
}
