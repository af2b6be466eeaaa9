//! Hostile frames and answers for Coinbase Exchange's machines: one that learns what arrives (and would change to Advanced
//! Trade), one that keeps books of levels, one that makes them of orders.
#![no_main]

use model::{StreamKind, Venue};
use venues::{Credentials, Settings};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::venue(Venue::Coinbase, data);
    let credentials = Credentials { key: "k".to_owned(), secret: "YQ==".to_owned(), passphrase: Some("p".to_owned()) };
    let configured = Settings {
        symbols: vec!["BTC-USD".to_owned(), "AAA-BBB".to_owned()],
        credentials: Some(credentials),
        ..Settings::default()
    };
    let streams = vec![StreamKind::Trade, StreamKind::Book, StreamKind::Order];
    let orders = Settings { streams, ..configured.clone() };
    for (settings, level2) in [(configured, "level2_batch"), (orders, "full")] {
        let choices = [("level2".to_owned(), level2.to_owned())];
        fuzz::machine(|| venues::machine(Venue::Coinbase, &settings, &choices).expect("settings are in order"), data);
    }
});
