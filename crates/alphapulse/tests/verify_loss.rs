//! `alphapulse verify loss` finds what is wrong, each kind by itself, in journals and lines made for it: a check that
//! finds nothing proves nothing unless it finds what is there.

mod common;

use common::program;
use serde_json::{Value, json};
use std::{fs, path::Path, process::Stdio};

/// Frames and lines of one market at Kraken: trades 1 to 100 and as many book changes, one each 100 ms.
struct Market {
    folder: tempfile::TempDir,
    /// Frames of each connection with their times, and its address.
    connections: Vec<(&'static str, Vec<(u64, String)>)>,
    answers: Vec<Value>,
    told: Vec<Value>,
}

const START: u64 = 1_800_000_000_000_000_000;
const EVENTS: u64 = 100;
const EACH: u64 = 100_000_000;

fn at(n: u64) -> u64 {
    START + n * EACH
}

fn stamp(n: u64) -> String {
    format!("2027-01-15T08:00:{:02}.{:06}Z", n / 10, n % 10 * 100_000)
}

fn trade_frame(n: u64) -> String {
    format!(
        r#"{{"channel":"trade","type":"update","data":[{{"symbol":"BTC/USD","side":"buy","price":{}.50,"qty":0.10,"ord_type":"limit","trade_id":{n},"timestamp":"{}"}}]}}"#,
        60_000 + n,
        stamp(n)
    )
}

fn book_frame(n: u64) -> String {
    format!(
        r#"{{"channel":"book","type":"update","data":[{{"symbol":"BTC/USD","bids":[{{"price":{}.0,"qty":1.50}}],"asks":[],"checksum":1,"timestamp":"{}"}}]}}"#,
        50_000 + n,
        stamp(n)
    )
}

fn trade_line(n: u64) -> Value {
    json!({"type":"trade","venue":"kraken","symbol":"BTC-USD","price":format!("{}.5", 60_000 + n),"size":"0.1","side":"buy",
        "side_source":"explicit_taker","trade_id":n.to_string(),"last":true,"ts_event":at(n),"ts_recv":at(n) + 5,
        "epoch":7,"seq":2 * n})
}

fn book_line(n: u64) -> Value {
    json!({"type":"book","kind":"update","venue":"kraken","symbol":"BTC-USD","bids":[[(50_000 + n).to_string(),"1.5"]],
        "asks":[],"trusted":true,"ts_event":at(n),"ts_recv":at(n) + 6,"epoch":7,"seq":2 * n + 1})
}

fn gap_line(stream: &str, first: Option<u64>, last: Option<u64>, seq: u64) -> Value {
    json!({"type":"gap","venue":"kraken","symbol":"BTC-USD","stream":stream,"first":first.map(|n| n.to_string()),
        "last":last.map(|n| n.to_string()),"missing":null,"cause":"sequence","ts_from":0,"ts_to":0,"ts_recv":at(seq / 2),
        "epoch":7,"seq":seq})
}

impl Market {
    fn new() -> Market {
        let frames = (1..=EVENTS).flat_map(|n| [(at(n), trade_frame(n)), (at(n) + 1, book_frame(n))]).collect();
        let told = (1..=EVENTS).flat_map(|n| [trade_line(n), book_line(n)]).collect();
        let folder = tempfile::tempdir().expect("a folder");
        Market { folder, connections: vec![("/v2", frames)], answers: vec![], told }
    }

    /// Leaves lines out.
    fn untold(mut self, kind: &str, ns: std::ops::RangeInclusive<u64>) -> Market {
        let seqs: Vec<u64> = ns.map(|n| 2 * n + u64::from(kind == "book")).collect();
        self.told.retain(|l| l["type"] != kind || !seqs.contains(&l["seq"].as_u64().expect("a sequence")));
        self
    }

    /// Puts a line behind those of an event.
    fn tell(mut self, behind: u64, line: Value) -> Market {
        let found = self.told.iter().rposition(|l| l["seq"].as_u64().is_some_and(|seq| seq <= 2 * behind + 1));
        self.told.insert(found.expect("a line") + 1, line);
        self
    }

    fn write(&self) {
        let folder = self.folder.path();
        let mut opened = String::new();
        for (n, (url, frames)) in self.connections.iter().enumerate() {
            let name = |suffix: &str| folder.join(format!("{:06}.{suffix}", n + 1));
            let text: String = frames.iter().map(|(_, frame)| format!("{frame}\n")).collect();
            let rows: String =
                frames.iter().enumerate().map(|(at, (time, _))| format!("{}\t{time}\n", at + 1)).collect();
            fs::write(name("jsonl"), text).expect("written");
            fs::write(name("recv.tsv"), format!("line\trecv_ns_unix\n{rows}")).expect("written");
            opened += &format!("{}\n", json!({"connection": n + 1, "opened_ns": START, "url": url}));
        }
        let lines = |all: &[Value]| all.iter().map(|v| format!("{v}\n")).collect::<String>();
        fs::write(folder.join("connections.jsonl"), opened).expect("written");
        fs::write(folder.join("rest.http.jsonl"), lines(&self.answers)).expect("written");
        fs::write(folder.join("told"), lines(&self.told)).expect("written");
    }

    fn run(&self, args: &[&str]) -> (i32, Value, String) {
        self.write();
        verify(self.folder.path(), args)
    }

    /// The figures of trades and books, having failed or not.
    fn figures(&self, args: &[&str]) -> (i32, Value, Value) {
        let (code, report, words) = self.run(args);
        println!("{words}");
        (code, report["streams"]["trade"].clone(), report["streams"]["book"].clone())
    }
}

fn verify(folder: &Path, args: &[&str]) -> (i32, Value, String) {
    let mut command = program();
    command.args(["verify", "loss", "--json", "--sent"]).arg(folder).arg("--received").arg(folder.join("told"));
    let output = command.args(args).stdin(Stdio::null()).output().expect("the program runs");
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().expect("a status"), report, String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn all_is_well_when_it_is() {
    let market = Market::new();
    let (code, trades, books) = market.figures(&[]);
    assert_eq!((code, &trades["sent"], &trades["delivered"]), (0, &json!(100), &json!(100)));
    assert_eq!((&books["sent"], &books["delivered"]), (&json!(100), &json!(100)));
    let output = program()
        .args(["verify", "loss", "--sent"])
        .arg(market.folder.path())
        .arg("--received")
        .arg(market.folder.path().join("told"))
        .output()
        .expect("the program runs");
    let line = String::from_utf8(output.stdout).expect("text");
    assert_eq!(
        line,
        "kraken: trades 100 sent, 100 delivered, 0 named in gaps, 0 late, 0 lost, 0 duplicated, 0 reordered; book changes \
         100 sent, 100 delivered, 0 lost, 0 duplicated, 0 reordered\n"
    );
}

#[test]
fn a_trade_that_is_nowhere_is_lost_and_its_frame_is_named() {
    let (code, report, words) = Market::new().untold("trade", 40..=42).run(&[]);
    assert_eq!((code, &report["streams"]["trade"]["lost"]), (1, &json!(3)));
    assert!(words.contains("lost: BTC-USD 41") && words.contains("000001.jsonl:81"), "{words}");
}

#[test]
fn a_gap_names_what_is_missing_and_late_trades_come_back() {
    let named = || Market::new().untold("trade", 40..=42).tell(39, gap_line("trade", Some(40), Some(42), 80));
    // The connection that carried them went on, so that they were not missed but dropped.
    let (code, trades, _) = named().figures(&[]);
    assert_eq!((code, &trades["named"], &trades["lost"], &trades["named_live"]), (1, &json!(3), &json!(0), &json!(3)));
    // Only others were sent them: the gap is as it should be.
    let mut market = named();
    let others = market.connections[0].1.clone();
    market.connections[0].1.retain(|(_, f)| !(40..=42).any(|n| f.contains(&format!("\"trade_id\":{n},"))));
    market.connections.push(("/v2?witness", others));
    let (code, trades, _) = market.figures(&["--others", "witness"]);
    assert_eq!((code, &trades["named"], &trades["down"], &trades["delivered"]), (0, &json!(3), &json!(3), &json!(97)));
    // What was fetched later is delivered, late.
    for n in 40..=42 {
        let mut line = trade_line(n);
        (line["late"], line["seq"]) = (json!(true), json!(1000 + n));
        market.told.push(line);
    }
    let (code, trades, _) = market.figures(&["--others", "witness"]);
    assert_eq!((code, &trades["named"], &trades["late"], &trades["delivered"]), (0, &json!(0), &json!(3), &json!(100)));
    // A gap that calls missing what was told is wrong.
    let (code, trades, _) = Market::new().tell(50, gap_line("trade", Some(40), Some(41), 102)).figures(&[]);
    assert_eq!((code, &trades["misnamed"]), (1, &json!(2)));
}

#[test]
fn a_gap_without_ids_covers_what_lies_in_it_and_no_more() {
    let market = Market::new().untold("trade", 40..=42).untold("trade", 60..=60);
    let (code, trades, _) = market.tell(39, gap_line("trade", None, None, 80)).figures(&[]);
    assert_eq!((code, &trades["unnamed_gaps"], &trades["lost"]), (1, &json!(3), &json!(1)));
}

#[test]
fn twice_behind_or_otherwise_is_found() {
    let mut again = trade_line(30);
    again["seq"] = json!(62);
    let (code, trades, _) = Market::new().untold("trade", 31..=31).tell(30, again).figures(&[]);
    assert_eq!((code, &trades["duplicated"], &trades["lost"]), (1, &json!(1), &json!(1)));

    let mut market = Market::new();
    let (a, b) = (trade_line(30), trade_line(31));
    for l in market.told.iter_mut().filter(|l| l["type"] == "trade") {
        match l["trade_id"].as_str() {
            Some("30") => *l = with_seq(&b, 60),
            Some("31") => *l = with_seq(&a, 62),
            _ => {}
        }
    }
    let (code, trades, _) = market.figures(&[]);
    assert_eq!((code, &trades["reordered"], &trades["lost"]), (1, &json!(1), &json!(0)));

    for (key, value) in [("price", "60050.51"), ("size", "1"), ("side", "sell")] {
        let mut market = Market::new();
        market.told.iter_mut().filter(|l| l["trade_id"] == "50").for_each(|l| l[key] = json!(value));
        let (code, report, words) = market.run(&[]);
        assert_eq!((code, &report["streams"]["trade"]["different"]), (1, &json!(1)), "{key}");
        assert!(words.contains("different: BTC-USD 50") && words.contains("000001.jsonl:99"), "{words}");
    }

    let mut invented = trade_line(101);
    invented["seq"] = json!(1000);
    let (code, trades, _) = Market::new().tell(100, invented).figures(&[]);
    assert_eq!((code, &trades["never_sent"]), (1, &json!(1)));
}

#[test]
fn a_record_that_comes_again_is_found() {
    let mut market = Market::new();
    let again = market.told[100].clone();
    market.told.insert(101, again);
    let (code, report, _) = market.run(&[]);
    assert_eq!((code, &report["streams"]["record"]["reordered"]), (1, &json!(1)));
}

#[test]
fn a_book_change_is_owed_unless_the_book_began_anew() {
    let (code, report, words) = Market::new().untold("book", 40..=42).run(&[]);
    assert_eq!((code, &report["streams"]["book"]["lost"]), (1, &json!(3)));
    assert!(words.contains("lost: BTC-USD") && words.contains("000001.jsonl:80"), "{words}");
    let resync = json!({"type":"status","venue":"kraken","symbol":"BTC-USD","scope":"book","stream":"book","state":"syncing",
        "reason":"checksum","ts_event":0,"ts_recv":at(39),"epoch":7,"seq":80});
    let (code, _, books) = Market::new().untold("book", 40..=42).tell(39, resync).figures(&[]);
    assert_eq!((code, &books["lost"], &books["unnamed_gaps"]), (0, &json!(0), &json!(3)));
    let mut market = Market::new();
    market.told.iter_mut().filter(|l| l["seq"] == 101).for_each(|l| l["bids"] = json!([["50050", "1.6"]]));
    let (code, _, books) = market.figures(&[]);
    assert_eq!((code, &books["lost"], &books["never_sent"]), (1, &json!(1), &json!(1)));
}

#[test]
fn the_ends_are_owed_when_the_consumer_listened() {
    // Trades stop while books go on: 50 to 95 were sent well before the end.
    let (code, trades, _) = Market::new().untold("trade", 50..=100).figures(&["--grace", "0.45"]);
    assert_eq!((code, &trades["lost"], &trades["not_judged"]), (1, &json!(46), &json!(5)));
    let ended = || Market::new().untold("trade", 50..=100).untold("book", 50..=100);
    let (code, trades, books) = ended().figures(&["--grace", "0"]);
    assert_eq!((code, &trades["not_judged"], &books["not_judged"]), (0, &json!(51), &json!(51)));
    let (code, trades, books) = ended().figures(&["--whole"]);
    assert_eq!((code, &trades["lost"], &books["lost"]), (1, &json!(51), &json!(51)));
}

#[test]
fn answers_count_as_sent() {
    let mut market = Market::new().untold("trade", 40..=40);
    market.connections[0].1.retain(|(_, f)| !f.contains("\"trade_id\":40,"));
    let mut line = trade_line(40);
    (line["late"], line["seq"]) = (json!(true), json!(1000));
    market.told.push(line);
    let (code, trades, _) = market.figures(&[]);
    assert_eq!((code, &trades["never_sent"]), (1, &json!(1)));
    let body = json!({"error":[],"result":{"XXBTZUSD":[["60040.50","0.10",1.5,"b","l","",40]],"last":"1"}}).to_string();
    market.answers.push(
        json!({"method":"GET","url":"/0/public/Trades?pair=XBTUSD","status":200,"at":"","request":null,"body":body}),
    );
    let (code, trades, _) = market.figures(&[]);
    assert_eq!((code, &trades["late"], &trades["delivered"]), (0, &json!(1), &json!(100)));
}

#[test]
fn what_cannot_be_compared_is_said_in_a_sentence() {
    let mut market = Market::new();
    market.told.iter_mut().for_each(|l| l["venue"] = json!("binance"));
    let (code, _, words) = market.run(&[]);
    assert!(code == 2 && words.contains("tells of binance only"), "{words}");

    let empty = tempfile::tempdir().expect("a folder");
    fs::write(empty.path().join("told"), "").expect("written");
    let (code, _, words) = verify(empty.path(), &[]);
    assert!(code == 2 && words.contains("is no emulator's journal"), "{words}");

    let market = Market::new();
    let (code, _, words) = market.run(&["--others", "nobody"]);
    assert!(code == 2 && words.contains("\"nobody\""), "{words}");
    fs::write(market.folder.path().join("told"), "{\"type\":\"trade\"\nnext\n").expect("written");
    let (code, _, words) = verify(market.folder.path(), &[]);
    assert!(code == 2 && words.contains("told:1 is no line of alphapulse tap"), "{words}");
}

fn with_seq(line: &Value, seq: u64) -> Value {
    let mut line = line.clone();
    line["seq"] = json!(seq);
    line
}
