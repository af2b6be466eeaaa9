//! A symbol that a venue does not know is named in the stream, and the others go on.

mod common;

use common::{Site, Tap, Up, wait_for};

#[test]
fn the_unknown_symbol_is_named_and_the_others_go_on() {
    let extra = "[venues.kraken]\nsymbols = [\"BTC-USD\", \"NOPE-USD\"]\n[venues.binance]\nsymbols = [\"BTC-USDT\", \"NOPE-USDT\"]\n";
    let site = Site::new(extra);
    let _up = Up::start(&site, &[]);
    wait_for("rings", || site.rings.path().join("binance.ring").exists().then_some(()));
    for venue in ["kraken", "binance"] {
        let tap = Tap::start(&site, &["--from", "oldest", "--venue", venue]);
        let line = tap.find("the refusal", |l| {
            l["type"] == "status" && l["reason"] == "refused" && l["text"].as_str().is_some_and(|t| t.contains("NOPE"))
        });
        println!("{venue}: {}", line["text"]);
        tap.find("a trade of the known one", |l| {
            l["type"] == "trade" && l["symbol"].as_str().is_some_and(|s| s.starts_with("BTC-"))
        });
        tap.find("a book of the known one", |l| l["type"] == "book" && l["kind"] == "update");
    }
}
