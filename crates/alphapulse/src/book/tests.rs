//! Pictures of made-up books, drawn into a terminal that is not there.

use super::picture::{Level, Part, Picture};
use super::screen::{Shown, draw};
use super::text;
use model::{BookState, Reason, UnixNanos, Venue};
use ratatui::{Terminal, backend::TestBackend, style::Color};
use wire::TableSource;

const SECOND: u64 = 1_000_000_000;
const NOW: UnixNanos = UnixNanos(1_700_000_000 * SECOND);

fn picture() -> Picture {
    let level = |price: i128, size: i128| Level { price, size, who: vec![] };
    Picture {
        place: "kraken",
        symbol: "BTC-USD".to_owned(),
        venue_symbol: "BTC/USD".to_owned(),
        state: BookState::Live,
        reason: Reason::Ok,
        since: UnixNanos(NOW.0 - 75 * SECOND),
        source: TableSource::Book,
        simulated: true,
        record: Some((7, 1042)),
        ts_event: NOW,
        ts_recv: UnixNanos(NOW.0 - 12_000_000),
        now: NOW,
        price_scale: 2,
        size_scale: 8,
        tick: 10,
        bids: (0..30).map(|n| level(6_412_340 - 10 * n, 50_000_000 + 1_000_000 * n)).collect(),
        asks: (0..30).map(|n| level(6_412_350 + 10 * n, 125_000_000)).collect(),
        levels: [1000, 900],
        parts: vec![],
    }
}

/// The lines of a terminal of this size, and the background beside the middle of the last level.
fn screen(shown: &Shown, width: u16, height: u16) -> (Vec<String>, Color) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a made-up terminal");
    terminal.draw(|frame| draw(frame, shown)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    ((0..height).map(line).collect(), buffer[((width / 2).saturating_sub(2), height.saturating_sub(2))].bg)
}

#[test]
fn a_live_book_fits_eighty_by_twenty_four() {
    let (lines, bar) = screen(&Shown { picture: Some(picture()), trouble: None }, 80, 24);
    assert_eq!(lines[0], "BTC-USD kraken (BTC/USD)   LIVE  ok since 22:12:05 UTC  SIMULATED");
    assert_eq!(lines[1], "age 12 ms    in this state for 1 min 15 s");
    assert_eq!(lines[2], "spread 0.1 = 1 tick (0.02 bp), mid 64123.45, imbalance(10) -0.39");
    assert_eq!(lines[4], "       0.50         0.50        64123.4  64123.5        1.25         1.25");
    assert_eq!(lines[22], "      11.21         0.68        64121.6  64125.3        1.25         23.75");
    assert_eq!(lines[23], "q: quit    1000 bids and 900 asks in the book    epoch 7 sequence 1042");
    assert_eq!(bar, Color::Indexed(22), "the bar begins at the touch");
    assert!(lines.iter().all(|line| line.chars().count() <= 80));
}

#[test]
fn a_book_that_is_not_live_says_so_and_loses_its_colours() {
    let suspect = Picture { state: BookState::Suspect, reason: Reason::Checksum, ..picture() };
    let (lines, bar) = screen(&Shown { picture: Some(suspect.clone()), trouble: None }, 80, 24);
    assert!(lines[0].contains(" SUSPECT  checksum since"), "{}", lines[0]);
    assert!(lines[1].contains("NOT LIVE"), "{}", lines[1]);
    assert_eq!(bar, Color::Indexed(236));
    assert!(text::plain(&suspect, 5).contains("state suspect (checksum)"));
    assert!(text::plain(&suspect, 5).contains("NOT LIVE"));
}

#[test]
fn when_nobody_writes_the_book_the_last_picture_stands_under_the_reason() {
    let trouble = Some("table kraken: its writer, process 7, is gone; start it again".to_owned());
    let (lines, bar) = screen(&Shown { picture: Some(picture()), trouble: trouble.clone() }, 80, 24);
    assert!(lines[0].contains(" GONE ") && !lines[0].contains("LIVE"), "{}", lines[0]);
    assert_eq!(lines[1], *trouble.as_ref().expect("it"));
    assert!(lines[4].contains("64123.4"));
    assert_eq!(bar, Color::Indexed(236));
    let (lines, _) = screen(&Shown { picture: None, trouble }, 80, 24);
    assert!(lines[0].contains("is gone"));
}

#[test]
fn small_and_large_terminals_are_drawn_too() {
    for (width, height) in [(1, 1), (10, 3), (40, 5), (200, 60)] {
        let (lines, _) = screen(&Shown { picture: Some(picture()), trouble: None }, width, height);
        assert_eq!(lines.len(), usize::from(height));
    }
    let (lines, _) = screen(&Shown { picture: Some(picture()), trouble: None }, 200, 60);
    assert_eq!(lines.iter().filter(|line| line.contains("1.25")).count(), 30, "every level there is");
}

#[test]
fn an_empty_side_has_no_spread_and_no_mid() {
    let empty = Picture { asks: vec![], ..picture() };
    assert!(text::plain(&empty, 3).contains("no spread: a side is empty"));
    let line: serde_json::Value = serde_json::from_str(&text::json(&empty, 3, None)).expect("JSON");
    assert_eq!((&line["mid"], &line["imbalance"]), (&serde_json::Value::Null, &1.0.into()));
    assert_eq!(line["bids"][0], serde_json::json!(["64123.4", "0.5"]));
    assert_eq!((line["bids"].as_array().map(Vec::len), &line["live"]), (Some(3), &true.into()));
}

#[test]
fn a_consolidated_book_says_who_has_how_much_and_who_is_left_out() {
    let venues = "1 of 2 venues".to_owned();
    let mut merged = Picture { place: "consolidated", venue_symbol: venues, record: None, ..picture() };
    merged.asks[0].who = vec![(Venue::Kraken, 100_000_000), (Venue::Coinbase, 25_000_000)];
    merged.bids[0].who = vec![(Venue::Coinbase, 50_000_000)];
    let part = |venue, state, trouble: Option<&str>| Part {
        venue,
        symbol: "BTC-USD".to_owned(),
        state,
        reason: Reason::Ok,
        since: NOW,
        record: (7, 1042),
        ts_recv: NOW,
        trouble: trouble.map(str::to_owned),
    };
    merged.parts = vec![
        part(Venue::Kraken, BookState::Live, None),
        part(Venue::Coinbase, BookState::Suspect, None),
        part(Venue::Alpaca, BookState::Cold, Some("its feed is gone")),
    ];
    let (lines, _) = screen(&Shown { picture: Some(merged.clone()), trouble: None }, 80, 24);
    assert!(lines[0].starts_with("BTC-USD consolidated (1 of 2 venues)   LIVE "), "{}", lines[0]);
    assert_eq!(lines[3], "kraken live 0 ms · coinbase SUSPECT left out · alpaca COLD left out");
    assert!(lines[1].ends_with("LEFT OUT: coinbase (ok), alpaca (gone)"), "{}", lines[1]);
    assert!(lines[23].ends_with("kraken 1042 · coinbase 1042 · alpaca 1042"), "{}", lines[23]);
    let at = |price: &str| 4 + lines[4..].iter().position(|line| line.contains(price)).expect("a line with it");
    assert_eq!(at("64123.4"), at("64123.5") + 1, "asks above bids, best beside each other");
    assert!(lines[at("64123.5")].ends_with("kraken 1, coinbase 0.25"), "{}", lines[at("64123.5")]);
    assert!(lines[at("64123.4")].ends_with("coinbase 0.5"), "{}", lines[at("64123.4")]);
    let text = text::plain(&merged, 3);
    assert!(text.contains("alpaca BTC-USD: LEFT OUT, its feed is gone"), "{text}");
    assert!(text.contains("coinbase BTC-USD: LEFT OUT, suspect (ok)"), "{text}");
    let line: serde_json::Value = serde_json::from_str(&text::json(&merged, 3, None)).expect("JSON");
    assert_eq!(line["asks"][0][2], serde_json::json!({"kraken": "1", "coinbase": "0.25"}));
    assert_eq!((&line["members"][1]["state"], &line["members"][1]["seq"]), (&"suspect".into(), &1042.into()));
    assert_eq!(line["seq"], serde_json::Value::Null);
    assert!(!text.contains("epoch 0"), "{text}");
}
