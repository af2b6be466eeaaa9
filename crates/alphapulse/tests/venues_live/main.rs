//! Every venue's machine against its emulator, over loopback sockets: what the ring tells is what the emulator's journal
//! says it sent. Trades once, each number exact; books after every change and at every snapshot; and what goes wrong is
//! fetched or told.

#[path = "../common/mod.rs"]
mod common;

mod checks;
mod plant;
mod sent;

use emulator::{Account, EmulatedVenue, Fault, Target};
use model::{StreamKind, Venue};
use plant::{Plant, Setup};
use sent::{Protocol, Sent, answers};
use serde_json::Value;

/// Trades that make a run.
const TRADES: u64 = 120;

fn coinbase() -> Setup {
    Setup::new(Venue::Coinbase, EmulatedVenue::Coinbase, &["BTC-USD", "ETH-USD"])
}

fn advanced() -> Setup {
    coinbase().with("api", "advanced")
}

fn shares() -> Setup {
    Setup::new(Venue::Alpaca, EmulatedVenue::Alpaca, &["AAPL", "SPY"])
}

fn coins() -> Setup {
    Setup::new(Venue::Alpaca, EmulatedVenue::Alpaca, &["BTC-USD", "ETH-USD"])
}

fn kraken_v1() -> Setup {
    Setup::new(Venue::Kraken, EmulatedVenue::Kraken, &["BTC-USD", "ETH-USD"]).with("api", "v1")
}

fn binance_us() -> Setup {
    Setup::new(Venue::BinanceUs, EmulatedVenue::Binance, &["BTC-USDT", "ETH-USDT"])
}

fn has_books(setup: &Setup) -> bool {
    setup.symbols != shares().symbols
}

/// Runs until there is enough to compare.
fn run(setup: &Setup) -> Plant {
    let plant = Plant::start(setup.clone());
    wait_for_books(&plant, setup, 1);
    plant.wait_for("trades_total", TRADES);
    plant
}

fn wait_for_books(plant: &Plant, setup: &Setup, times: u64) {
    if has_books(setup) {
        let books = setup.symbols.len() as u64 * times;
        common::wait_for("books", || (plant.figure("book_snapshots_total") >= books).then_some(()));
    }
}

/// No frame was set aside or of a type nobody knows.
fn check_figures(plant: &Plant) {
    for name in ["malformed_total", "unknown_types_total", "unknown_fields_total", "refusals_total"] {
        assert_eq!(plant.figure(name), 0, "{name}");
    }
    assert!(plant.figure("frames_total") > 0);
}

/// Everything that was sent is told, and nothing else.
fn what_is_told_is_what_was_sent(setup: Setup, protocol: Protocol) -> Vec<Value> {
    let mut plant = run(&setup);
    let told = plant.end();
    check_figures(&plant);
    checks::untroubled(&told);
    let sent = Sent::read(&plant.journal(), protocol);
    for symbol in &setup.symbols {
        let trades = match protocol {
            Protocol::KrakenV1 => checks::trades_without_ids(&told, &sent, symbol),
            _ => {
                let ids = checks::trades(&told, &sent, symbol);
                checks::contiguous(symbol, &ids);
                ids.len()
            }
        };
        let quotes = checks::quotes(&told, &sent, symbol);
        let books = match (protocol, has_books(&setup)) {
            (_, false) => (0, 0),
            (Protocol::Binance, _) => (checks::changes(&told, &sent, symbol), 1),
            _ => checks::book(&told, &sent, symbol),
        };
        println!("{symbol}: {trades} trades, {quotes} quotes, {} changes and {} snapshots as sent", books.0, books.1);
        assert!(trades >= 10 && quotes >= 10, "too few to prove anything");
        assert!(!has_books(&setup) || (books.0 >= 10 && books.1 >= 1), "too few to prove anything");
    }
    told
}

#[test]
fn coinbase_exchange_in_batches() {
    what_is_told_is_what_was_sent(coinbase(), Protocol::CoinbaseExchange);
}

#[test]
fn coinbase_exchange_signed() {
    what_is_told_is_what_was_sent(coinbase().with("level2", "level2"), Protocol::CoinbaseExchange);
}

#[test]
fn coinbase_advanced() {
    what_is_told_is_what_was_sent(advanced(), Protocol::CoinbaseAdvanced);
}

#[test]
fn alpaca_shares_packed() {
    let told = what_is_told_is_what_was_sent(shares(), Protocol::Alpaca);
    assert!(told.iter().any(|l| l["type"] == "trade" && l["exchange"].is_string() && l["tape"].is_string()));
}

#[test]
fn alpaca_shares_as_json() {
    what_is_told_is_what_was_sent(shares().with("encoding", "json"), Protocol::Alpaca);
}

#[test]
fn alpaca_consolidated_with_repairs() {
    let setup = shares().with("feed", "sip");
    let mut plant = run(&setup);
    // One trade in fifty is corrected, one in seventy is cancelled.
    common::wait_for("corrections and cancels", || {
        let told = plant.told();
        let has = |kind: &str| told.iter().any(|l| l["type"] == "correction" && l["kind"] == kind);
        (has("correct") && has("cancel")).then_some(())
    });
    let told = plant.end();
    check_figures(&plant);
    let sent = Sent::read(&plant.journal(), Protocol::Alpaca);
    for symbol in &setup.symbols {
        let line = |l: &&Value| {
            format!("{} {}", l["kind"].as_str().expect("a kind"), l["trade_id"].as_str().expect("an id"))
        };
        let told: Vec<String> =
            told.iter().filter(|l| l["type"] == "correction" && l["symbol"] == *symbol).map(|l| line(&l)).collect();
        let sent = sent.corrections.get(*symbol).cloned().unwrap_or_default();
        assert_eq!(told, sent[..told.len()], "{symbol}");
    }
}

#[test]
fn alpaca_coins_packed() {
    what_is_told_is_what_was_sent(coins(), Protocol::Alpaca);
}

#[test]
fn alpaca_coins_as_json() {
    what_is_told_is_what_was_sent(coins().with("encoding", "json"), Protocol::Alpaca);
}

#[test]
fn alpaca_both_lines_of_one_feed() {
    let setup = Setup::new(Venue::Alpaca, EmulatedVenue::Alpaca, &["AAPL", "BTC-USD"]);
    let mut plant = Plant::start(setup.clone());
    plant.wait_for("trades_total", TRADES);
    let told = plant.end();
    check_figures(&plant);
    checks::untroubled(&told);
    let sent = Sent::read(&plant.journal(), Protocol::Alpaca);
    for symbol in &setup.symbols {
        checks::contiguous(symbol, &checks::trades(&told, &sent, symbol));
    }
    assert!(checks::book(&told, &sent, "BTC-USD").0 > 10);
}

#[test]
fn kraken_v1_arrays() {
    what_is_told_is_what_was_sent(kraken_v1().with("ticker_trigger", "bbo"), Protocol::KrakenV1);
}

#[test]
fn binance_us_by_configuration() {
    what_is_told_is_what_was_sent(binance_us(), Protocol::Binance);
}

#[test]
fn coinbase_orders_add_up_to_the_book() {
    let mut setup = coinbase().with("level2", "full");
    setup.streams.push(StreamKind::Order);
    let mut plant = run(&setup);
    let told = plant.end();
    check_figures(&plant);
    checks::untroubled(&told);
    check_orders(&plant, &setup, &told);
}

fn check_orders(plant: &Plant, setup: &Setup, told: &[Value]) {
    let sent = Sent::read(&plant.journal(), Protocol::CoinbaseExchange);
    let books = answers(&plant.journal(), "level=3");
    for symbol in &setup.symbols {
        let ids = checks::trades(told, &sent, symbol);
        checks::contiguous(symbol, &ids);
        let orders = checks::orders(told, &sent, symbol, &books);
        println!("{symbol}: {} trades, {orders} steps of orders", ids.len());
        assert!(orders > 100, "too few to prove anything");
    }
}

/// A gap of a stream was told.
fn has_gap(told: &[Value], stream: &str, symbol: &str) -> bool {
    told.iter().any(|l| l["type"] == "gap" && l["stream"] == stream && l["symbol"] == symbol)
}

fn was_late(told: &[Value]) -> bool {
    told.iter().any(|l| l["type"] == "trade" && l["late"] == true)
}

/// Loses two frames of a stream and waits until there is more to compare.
fn lose(plant: &Plant, kind: StreamKind, symbol: &str) {
    let before = plant.emulator.stats().faults;
    plant.inject(Fault::Lose(Target::of(kind, symbol), 2));
    common::wait_for("the fault", || (plant.emulator.stats().faults >= before + 2).then_some(()));
    plant.wait_for("trades_total", 30);
}

/// Breaks every connection and waits until all is back.
fn cut(plant: &Plant, setup: &Setup) {
    let (connections, books) = (plant.figure("connects_total"), plant.figure("book_snapshots_total"));
    plant.inject(Fault::Drop);
    common::wait_for("another connection", || (plant.figure("connects_total") > connections).then_some(()));
    if has_books(setup) {
        let goal = books + setup.symbols.len() as u64;
        common::wait_for("books again", || (plant.figure("book_snapshots_total") >= goal).then_some(()));
    }
    plant.wait_for("trades_total", 60);
}

fn was_cut(told: &[Value]) -> bool {
    told.iter().any(|l| l["type"] == "status" && l["scope"] == "connection" && l["state"] == "down")
}

/// Trades lost, book changes lost, the connection lost: trades whole by id, books the venue's, losses told.
fn what_is_lost_is_fetched_or_told(setup: Setup, protocol: Protocol, lost_book_shows: bool) {
    let mut plant = run(&setup);
    let venue_symbol = if protocol == Protocol::Binance { "BTCUSDT" } else { "BTC-USD" };
    lose(&plant, StreamKind::Trade, venue_symbol);
    if lost_book_shows {
        lose(&plant, StreamKind::Book, venue_symbol);
    }
    cut(&plant, &setup);
    let told = plant.end();
    assert_eq!(plant.figure("malformed_total"), 0);
    assert!(was_cut(&told));
    let symbol = setup.symbols[0];
    assert!(has_gap(&told, "trade", symbol) && was_late(&told), "lost trades are told and fetched");
    assert!(!lost_book_shows || has_gap(&told, "book", symbol), "a lost change is told");
    let sent = Sent::read(&plant.journal(), protocol);
    for symbol in &setup.symbols {
        checks::contiguous(symbol, &checks::trades(&told, &sent, symbol));
        let changes = match protocol {
            Protocol::Binance => checks::changes(&told, &sent, symbol),
            _ => checks::book(&told, &sent, symbol).0,
        };
        assert!(changes > 10, "too few to prove anything");
    }
}

#[test]
fn coinbase_exchange_with_losses() {
    what_is_lost_is_fetched_or_told(coinbase(), Protocol::CoinbaseExchange, false);
}

#[test]
fn coinbase_advanced_with_losses() {
    what_is_lost_is_fetched_or_told(advanced(), Protocol::CoinbaseAdvanced, true);
}

#[test]
fn binance_us_with_losses() {
    what_is_lost_is_fetched_or_told(binance_us(), Protocol::Binance, true);
}

#[test]
fn coinbase_orders_with_losses() {
    let mut setup = coinbase().with("level2", "full");
    setup.streams.push(StreamKind::Order);
    let mut plant = run(&setup);
    let books = plant.figure("book_snapshots_total");
    lose(&plant, StreamKind::Order, "BTC-USD");
    common::wait_for("a book again", || (plant.figure("book_snapshots_total") > books).then_some(()));
    let told = plant.end();
    let gap = told.iter().find(|l| l["type"] == "gap" && l["stream"] == "order").expect("a gap of the orders");
    let id = |k: &str| gap[k].as_str().and_then(|t| t.parse::<u64>().ok()).expect("a sequence");
    assert_eq!((gap["symbol"].as_str(), id("last") - id("first") + 1), (Some("BTC-USD"), 2), "{gap}");
    assert!(has_gap(&told, "book", "BTC-USD") && !has_gap(&told, "book", "ETH-USD"));
    check_orders(&plant, &setup, &told);
}

/// Ids of this venue have no order that a loss would break: what a break hid is fetched by time.
fn a_break_of_alpaca_hides_no_trade(setup: Setup) {
    let mut plant = run(&setup);
    let symbol = setup.symbols[0].replace('-', "/");
    let before = plant.emulator.stats().faults;
    plant.inject(Fault::Lose(Target::of(StreamKind::Trade, &symbol), 2));
    common::wait_for("the fault", || (plant.emulator.stats().faults >= before + 2).then_some(()));
    cut(&plant, &setup);
    let told = plant.end();
    assert_eq!(plant.figure("malformed_total"), 0);
    assert!(was_cut(&told) && was_late(&told), "the break is told, and what it hid is fetched");
    let sent = Sent::read(&plant.journal(), Protocol::Alpaca);
    for symbol in &setup.symbols {
        checks::contiguous(symbol, &checks::trades(&told, &sent, symbol));
        if has_books(&setup) {
            assert!(checks::book(&told, &sent, symbol).0 > 10, "too few to prove anything");
        }
    }
}

#[test]
fn alpaca_shares_with_losses() {
    a_break_of_alpaca_hides_no_trade(shares());
}

#[test]
fn alpaca_coins_with_losses() {
    a_break_of_alpaca_hides_no_trade(coins());
}

#[test]
fn kraken_v1_with_losses() {
    let setup = kraken_v1();
    let mut plant = run(&setup);
    let books = plant.figure("book_snapshots_total");
    // Several, as one change at the touch is often healed by the next before the checksum sees it.
    plant.inject(Fault::Lose(Target::of(StreamKind::Book, "BTC/USD"), 8));
    common::wait_for("a book again", || (plant.figure("book_snapshots_total") > books).then_some(()));
    cut(&plant, &setup);
    let told = plant.end();
    assert_eq!(plant.figure("malformed_total"), 0);
    assert!(plant.figure("checksums_failed_total") > 0 && plant.figure("checksums_ok_total") > 0);
    assert!(was_cut(&told) && has_gap(&told, "book", "BTC-USD"));
    assert!(has_gap(&told, "trade", "BTC-USD") || has_gap(&told, "trade", "ETH-USD"), "no id says what the cut hid");
    let sent = Sent::read(&plant.journal(), Protocol::KrakenV1);
    for symbol in &setup.symbols {
        assert!(checks::book(&told, &sent, symbol).0 > 10, "too few to prove anything");
    }
}

/// Compression changes nothing but the bytes on the wire.
fn compressed_is_the_same(mut setup: Setup, protocol: Protocol) {
    setup.deflate = true;
    let mut plant = run(&setup);
    let told = plant.end();
    check_figures(&plant);
    checks::untroubled(&told);
    let stats = plant.emulator.stats();
    let wire = plant.figure("bytes_total");
    assert!(wire > 0 && wire < stats.bytes * 2 / 3, "{wire} bytes came for {} of frames", stats.bytes);
    let sent = Sent::read(&plant.journal(), protocol);
    for symbol in &setup.symbols {
        checks::contiguous(symbol, &checks::trades(&told, &sent, symbol));
        checks::quotes(&told, &sent, symbol);
        if has_books(&setup) {
            checks::book(&told, &sent, symbol);
        }
    }
}

#[test]
fn coinbase_compressed() {
    compressed_is_the_same(coinbase(), Protocol::CoinbaseExchange);
}

#[test]
fn alpaca_compressed() {
    compressed_is_the_same(shares(), Protocol::Alpaca);
    compressed_is_the_same(coins().with("encoding", "json"), Protocol::Alpaca);
}

/// Waits for a status whose text says this.
fn told_in_words(plant: &Plant, part: &str) -> Value {
    common::wait_for(part, || {
        let told = plant.told();
        told.into_iter().find(|l| l["type"] == "status" && l["text"].as_str().is_some_and(|t| t.contains(part)))
    })
}

#[test]
fn a_plan_without_the_feed_is_said_so() {
    let poor = Account { sip: false, ..Account::default() };
    let plant = Plant::with_account(shares().with("feed", "sip"), poor, Account::default());
    println!("{}", told_in_words(&plant, "409"));
}

#[test]
fn keys_the_venue_does_not_know_are_said_so() {
    let other = || Account { key: "SOMEBODY".to_owned(), ..Account::default() };
    let plant = Plant::with_account(shares(), Account::default(), other());
    let line = told_in_words(&plant, "402");
    println!("{line}");
    assert!(!plant.told().iter().any(|l| l.to_string().contains("SOMEBODY")), "keys are told to nobody");
    let plant = Plant::with_account(coinbase().with("level2", "level2"), Account::default(), other());
    println!("{}", told_in_words(&plant, "refused"));
    // What needs no keys goes on.
    plant.wait_for("trades_total", 10);
}

#[test]
fn a_symbol_nobody_trades_is_said_so_and_the_others_go_on() {
    for (mut setup, wrong) in [(coinbase(), "NOPE-USD"), (advanced(), "NOPE-USD"), (kraken_v1(), "NOPE-USD"), (shares(), "NOPE"), (coins(), "NOPE-USD")] {
        setup.symbols.push(wrong);
        let plant = Plant::start(setup);
        println!("{}", told_in_words(&plant, "NOPE"));
        plant.wait_for("trades_total", 10);
    }
}
