//! What a consumer sees is what the emulator's journal says it sent: every trade, every book update, every quote, in
//! order and to the last digit, through the rings and through the relay.

mod common;

use common::{
    Site, Tap, Up,
    journal::{journal, tapped},
};
use serde_json::Value;
use std::collections::BTreeMap;

#[test]
fn what_is_told_is_what_was_sent() {
    let site = Site::new("");
    let up = Up::start(&site, &[]);
    for ring in ["kraken.ring", "binance.ring", "../"] {
        common::wait_for(ring, || site.rings.path().join(ring).exists().then_some(()));
    }
    common::wait_for("the relay", || site.state.path().join("relay.sock").exists().then_some(()));
    let taps = [("rings", vec!["--from", "oldest"]), ("relay", vec!["--from", "oldest", "--relay"])];
    let running: Vec<_> = taps.iter().map(|(name, args)| (*name, Tap::start(&site, args))).collect();
    let mut seen: Vec<(&str, Vec<Value>)> = vec![];
    for (name, tap) in &running {
        let (mut lines, mut trades) = (vec![], BTreeMap::from([("kraken", 0), ("binance", 0)]));
        tap.find(&format!("a hundred trades of each venue ({name})"), |l| {
            if l["type"] == "trade" {
                *trades.entry(if l["venue"] == "kraken" { "kraken" } else { "binance" }).or_default() += 1;
            }
            lines.push(l.clone());
            trades.values().all(|n| *n >= 100)
        });
        lines.extend(tap.drain());
        seen.push((name, lines));
    }
    drop(running);
    assert_eq!(up.stop(), Some(0));
    for venue in ["kraken", "binance"] {
        let sent = journal(&site.state.path().join(format!("journal-{venue}")).join("000001.jsonl"), venue);
        for (name, lines) in &seen {
            let told = tapped(lines, venue);
            for kind in ["trade", "book", "quote"] {
                let books = told.iter().filter(|((k, _), _)| k == kind).collect::<Vec<_>>();
                assert_eq!(books.len(), 3, "{venue} {kind} of three symbols ({name})");
                for ((_, symbol), list) in books {
                    let all = &sent[&(kind.to_owned(), symbol.clone())];
                    // Binance's updates from before the snapshot are dropped by rule: the run begins behind them.
                    let start = if kind == "book" {
                        all.iter()
                            .position(|l| *l == list[0])
                            .unwrap_or_else(|| panic!("{venue} {symbol}: {}", list[0]))
                    } else {
                        0
                    };
                    let same = &all[start..(start + list.len()).min(all.len())];
                    assert_eq!(same, &list[..], "{venue} {kind} {symbol} ({name})");
                    println!("{name}: {venue} {kind} {symbol}: {} as sent", list.len());
                }
            }
        }
    }
}
