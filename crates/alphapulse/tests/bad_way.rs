//! A bad way changes nothing but the time: what comes in single bytes is what comes whole, and a consumer on another
//! machine whose connection is reset again and again gets every record once and in order.

mod common;

use common::{Site, Up, free_ports, two::Reader, wait_for};
use emulator::chaos::{Address, Handle, Options, Proxy, Script};
use relay::{Client, ClientOptions, Reconnect, Source, Start, Subscription, TcpSource, Trust};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io,
    net::TcpStream,
    process::{Child, Stdio},
    time::Duration,
};
use wire::RecordType;

fn proxy(to: &str, script: &str) -> Handle {
    let options = Options {
        listen: Address::Tcp("127.0.0.1:0".to_owned()),
        to: Address::Tcp(to.to_owned()),
        script: Script::parse(script).expect("a script"),
        seed: 1,
        journal: Box::new(io::sink()),
    };
    Proxy::start(options).expect("a proxy")
}

struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn role(site: &Site, args: &[&str], set: &[String]) -> Role {
    let mut command = site.command();
    for pair in set {
        command.args(["--set", pair]);
    }
    let command = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Role(command.spawn().expect("the program starts"))
}

/// Market data of a site's rings by type and symbol, without what differs between two feeds: when and as what number
/// it was received.
fn told(site: &Site) -> BTreeMap<(String, String), Vec<String>> {
    let output = site.output(&["tap", "--from", "oldest", "--venue", "kraken", "--for", "2"]);
    let text = String::from_utf8(output.stdout).expect("text");
    let mut told: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let mut l: Value = serde_json::from_str(line).expect("JSON");
        let key = |name: &str| l[name].as_str().unwrap_or_default().to_owned();
        let (kind, symbol) = (key("type"), key("symbol"));
        if !matches!(kind.as_str(), "trade" | "book" | "quote") || l["snapshot"] == true || l["kind"] == "snapshot" {
            continue;
        }
        let fields = l.as_object_mut().expect("an object");
        ["ts_recv", "epoch", "seq", "seq_first"].iter().for_each(|name| {
            fields.remove(*name);
        });
        told.entry((kind, symbol)).or_default().push(l.to_string());
    }
    told
}

#[test]
fn what_comes_in_single_bytes_is_what_comes_whole() {
    let sites = [Site::new(""), Site::new("")];
    let listen = format!("127.0.0.1:{}", free_ports(1)[0]);
    let emulator = [format!("emulator.kraken.listen={listen:?}"), "emulator.kraken.frames_per_second=100".to_owned()];
    let _emulator = role(&sites[0], &["emulator", "kraken"], &emulator);
    wait_for("the emulator", || TcpStream::connect(&listen).ok());
    let way = proxy(&listen, "[[rule]]\naction=\"split\"\nbytes=1");
    let feed = |site: &Site, address: &str| {
        let set = [
            format!("venues.kraken.ws_url=\"ws://{address}/v2\""),
            format!("venues.kraken.rest_url=\"http://{address}\""),
            "venues.kraken.book_depth=10".to_owned(),
        ];
        role(site, &["feed", "kraken", "--origin", "simulated"], &set)
    };
    let mut feeds = vec![feed(&sites[0], &listen), feed(&sites[1], &way.address().to_string())];
    for site in &sites {
        wait_for("a ring", || site.rings.path().join("kraken.ring").exists().then_some(()));
        let mut reader = Reader::open(site);
        wait_for("data of all kinds", || {
            reader.read();
            let of = |kind: RecordType| reader.records.values().filter(|words| words[0] as u8 == kind as u8).count();
            (of(RecordType::Trade) > 250 && of(RecordType::Quote) > 250).then_some(())
        });
    }
    for feed in &mut feeds {
        common::kill(feed.0.id(), "-TERM");
        wait_for("the end of a feed", || feed.0.try_wait().expect("waiting"));
    }
    let [whole, split] = [told(&sites[0]), told(&sites[1])];
    assert_eq!(whole.keys().collect::<Vec<_>>(), split.keys().collect::<Vec<_>>());
    for (key, a) in &whole {
        // One began and ended before the other: what both saw must be the same.
        let b = &split[key];
        let start = (a.iter().position(|l| *l == b[0]), b.iter().position(|l| *l == a[0]));
        let (a, b) = match start {
            (Some(at), _) => (&a[at..], &b[..]),
            (None, Some(at)) => (&a[..], &b[at..]),
            (None, None) => panic!("{key:?} have nothing in common: {} and {}", a[0], b[0]),
        };
        let common = a.len().min(b.len());
        assert!(common > 20, "too few {key:?} to prove anything: {common}");
        assert_eq!(a[..common], b[..common], "{key:?}");
        println!("{key:?}: {common} are the same");
    }
}

#[test]
fn a_consumer_behind_resets_gets_every_record_once() {
    let port = free_ports(1)[0];
    let address = format!("127.0.0.1:{port}");
    let site = Site::new(&format!("[relay.tcp]\nlisten = {address:?}\n"));
    let up = Up::start(&site, &[]);
    for venue in ["kraken", "binance"] {
        wait_for("rings", || site.rings.path().join(format!("{venue}.ring")).exists().then_some(()));
    }
    wait_for("the relay", || TcpStream::connect(&address).ok());
    let way = proxy(
        &address,
        "[[rule]]\naction=\"reset\"\nmean_bytes=30000\ndirection=\"down\"\n\
         [[rule]]\naction=\"split\"\nup_to_bytes=700\n[[rule]]\naction=\"delay\"\njitter_ms=3",
    );
    let source = TcpSource { address: way.address().to_string(), trust: Trust::Loopback, token: None };
    let subscription = Subscription { from: Start::Oldest, heartbeats: true, ..Subscription::default() };
    let reconnect = Reconnect::Backoff { first: Duration::from_millis(1), max: Duration::from_millis(20) };
    let options = ClientOptions { reconnect, ..ClientOptions::default() };
    let client = Client::open(Source::Tcp(source), subscription, options).expect("a client");
    let (mut far, mut near) = (Reader::of(client), Reader::open(&site));
    wait_for("resets", || {
        far.read();
        near.read();
        (way.accepted() > 20).then_some(())
    });
    near.read();
    far.reach(&near);
    let trades = far.agrees_with(&near);
    println!(
        "{} connections: {} records, {trades} of them trades, once and in order",
        way.accepted(),
        near.records.len()
    );
    assert_eq!(up.stop(), Some(0));
}

#[test]
fn a_script_that_cannot_be_followed_is_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("bad.toml");
    std::fs::write(&script, "[[rule]]\naction = \"dely\"\nms = 5\n").expect("written");
    let output = common::program()
        .args(["chaos", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--script"])
        .arg(&script)
        .output()
        .expect("the program runs");
    let words = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), words.lines().count()), (Some(2), 1), "{words}");
    for part in ["bad.toml", "line 2", "\"dely\"", "did you mean delay?"] {
        assert!(words.contains(part), "{part} in {words}");
    }
}

#[test]
fn an_address_that_is_none_is_refused_before_anything_listens() {
    for (listen, to, at_fault) in [("127.0.0.1:0", "nope", "--to"), ("7500", "127.0.0.1:1", "--listen")] {
        let output = common::program().args(["chaos", "--listen", listen, "--to", to]).output().expect("it runs");
        let words = String::from_utf8(output.stderr).expect("text");
        assert_eq!((output.status.code(), words.lines().count()), (Some(2), 1), "{words}");
        for part in [at_fault, "is no address", "host:port", "with a slash"] {
            assert!(words.contains(part), "{part} in {words}");
        }
    }
}
