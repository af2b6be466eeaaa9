//! What the routes tell of the markets and keep of a user.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod market;

use gateway::{Role, Scopes, Secret};
use market::{Market, PASSWORD, ask, bearer, body, by};
use model::{BookState, InstrumentId, Venue};
use ring::Directory;
use ring::table::{OWN_WORDS, TableOptions, TableWriter};
use serde_json::{Value, json};
use wire::{TableHead, TableLevel, TableRow, TableSource};

/// Writes a book of two bids and an ask, as a feed does.
fn book(directory: &Directory) -> TableWriter {
    let mut writer =
        TableWriter::open(directory, "kraken", TableOptions { rows: 4, lines: TableRow::LINES as u32 }).unwrap();
    writer.beat(telemetry::clock::wall_ns());
    let id = InstrumentId::of(Venue::Kraken, "BTC/USD");
    let row = writer.claim(TableHead::key(Venue::Kraken, id)).unwrap();
    let mut lines = [[0; 8]; TableRow::LINES];
    let whole = TableRow::view_mut(&mut lines);
    let mut head = TableHead::empty(Venue::Kraken, id);
    (head.state, head.source, head.price_scale, head.size_scale) =
        (BookState::Live.code(), TableSource::Book as u8, 1, 8);
    (head.bid_price, head.bid_size, head.ask_price, head.ask_size) = (641_234, 50_000_000, 641_235, 7);
    (head.bids, head.asks, head.epoch, head.sequence, head.simulated) = (2, 1, 7, 42, 1);
    (whole.head, whole.symbol) = (head, TableRow::padded("BTC-USD").unwrap());
    whole.venue_symbol = TableRow::padded("BTC/USD").unwrap();
    whole.bid_levels[0] = TableLevel { price: 641_234, size: 50_000_000 };
    whole.bid_levels[1] = TableLevel { price: 641_230, size: 1 };
    whole.ask_levels[0] = TableLevel { price: 641_235, size: 7 };
    writer.update(row, |pen| pen.put(OWN_WORDS, &lines.as_flattened()[OWN_WORDS..]));
    writer
}

#[test]
fn books_are_told_as_they_are_now() {
    let market = Market::open(1024);
    let directory = Directory::open(&market.folder.path().join("rings")).unwrap();
    assert_eq!(market.get("/v1/books/kraken/BTC-USD").0, 404, "its feed has not run");
    let writer = book(&directory);
    for symbol in ["BTC-USD", "btc-usd", "BTC%2FUSD"] {
        writer.beat(telemetry::clock::wall_ns());
        let (status, told) = market.get(&format!("/v1/books/kraken/{symbol}"));
        assert_eq!(status, 200, "{told}");
        let told = body(&told);
        assert_eq!(
            (&told["symbol"], &told["state"], &told["source"]),
            (&json!("BTC-USD"), &json!("live"), &json!("book"))
        );
        assert_eq!(told["bids"], json!([["64123.4", "0.5"], ["64123", "0.00000001"]]));
        assert_eq!(told["asks"], json!([["64123.5", "0.00000007"]]));
        assert_eq!((&told["epoch"], &told["seq"], &told["simulated"]), (&json!(7), &json!(42), &json!(true)));
    }
    writer.beat(telemetry::clock::wall_ns());
    assert_eq!(body(&market.get("/v1/books/kraken/BTC-USD?depth=1").1)["bids"], json!([["64123.4", "0.5"]]));
    writer.beat(telemetry::clock::wall_ns());
    let tops = body(&market.get("/v1/tops?venue=kraken").1);
    assert_eq!((&tops[0]["bid"], &tops[0]["ask_size"]), (&json!("64123.4"), &json!("0.00000007")), "{tops}");
    for (path, status) in [
        ("/v1/books/kraken/DOGE-USD", 404),
        ("/v1/books/krakn/BTC-USD", 404),
        ("/v1/books/binance/BTC-USDT", 404),
        ("/v1/books/kraken/BTC-USD?depth=all", 400),
        ("/v1/books/kraken/BTC-USD?levels=1", 400),
    ] {
        writer.beat(telemetry::clock::wall_ns());
        assert_eq!(market.get(path).0, status, "{path}");
    }
    drop(writer);
    assert_eq!(
        market.get("/v1/books/kraken/BTC-USD").0,
        503,
        "nobody writes it any more: it is not told as if it were now"
    );
}

#[test]
fn recent_trades_come_from_the_ring() {
    let mut market = Market::open(1024);
    let first = market.kraken.trades("BTC/USD", 1, 30);
    market.kraken.trades("ETH/USD", 100, 3);
    market.get_until("/v1/instruments", |answer| answer.contains("ETH/USD"));
    let ask = |query: &str| body(&market.get(&format!("/v1/trades/kraken/BTC-USD{query}")).1);
    let ids = |told: &Value| -> Vec<String> {
        told["trades"].as_array().unwrap().iter().map(|trade| trade["trade_id"].as_str().unwrap().to_owned()).collect()
    };
    // The records of the test carry a time of long ago, so none is recent.
    assert_eq!(ask("?seconds=60")["trades"], json!([]));
    let told = ask_all(&market);
    assert_eq!(ids(&told), (1..31).map(|id: u32| id.to_string()).collect::<Vec<_>>());
    assert_eq!((told["complete"].clone(), told["trades"][29]["seq"].clone()), (json!(true), json!(first)));
    assert_eq!(market.get("/v1/trades/kraken/DOGE-USD").0, 404);
    assert_eq!(market.get("/v1/trades/kraken/BTC-USD?limit=-1").0, 400);
}

/// The last trades by number alone.
fn ask_all(market: &Market) -> Value {
    body(&market.get("/v1/trades/kraken/btc-usd?limit=30&all=true").1)
}

#[test]
fn venues_and_the_system_say_how_they_are() {
    let market = Market::open(1024);
    market.get_until("/v1/venues", |answer| answer.contains("binance") && answer.contains("kraken"));
    let venues = body(&market.get("/v1/venues").1);
    let kraken = venues.as_array().unwrap().iter().find(|venue| venue["venue"] == "kraken").unwrap().clone();
    assert_eq!((&kraken["simulated"], &kraken["epoch"], &kraken["site"]), (&json!(true), &json!(7), &json!("here")));
    assert_eq!(market.get("/v1/venues/kraken/status").0, 200);
    assert_eq!(market.get("/v1/venues/krakn/status").0, 404);
    let system = body(&market.get("/v1/system").1);
    assert_eq!((&system["healthy"], &system["trouble"]), (&json!(true), &json!(null)));
    let rings: Vec<_> = system["rings"].as_array().unwrap().iter().map(|ring| ring["venue"].clone()).collect();
    assert_eq!(rings, [json!("binance"), json!("kraken")]);
    let metrics = body(&market.get("/v1/metrics").1);
    assert!(metrics.as_array().unwrap().iter().any(|metric| metric["name"] == "ws_clients"), "{metrics}");
    assert_eq!(body(&market.get("/v1/config").1), json!({"site": "test", "api_secret": "…"}));
    let one = body(&market.get("/v1/instruments?venue=kraken&symbol=eth/usd").1);
    assert_eq!((one.as_array().unwrap().len(), &one[0]["symbol"]), (1, &json!("ETH-USD")));
}

#[test]
fn what_users_arrange_is_theirs_alone() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    market.store.add_user(&by(), "bob", Role::Viewer, &Secret::new(PASSWORD)).unwrap();
    let (_, bob) = market.store.create_key(&by(), "bob", "", Scopes::of_role(Role::Viewer), None).unwrap();
    let host = format!("Host: {address}");
    let as_user = |key: &str, first: &str, text: &str| {
        let key = format!("Authorization: {}", bearer(key));
        ask(address, &[first, &host, &key, "Content-Type: application/json"], text)
    };
    let list = json!([{"venue": "kraken", "symbol": "BTC-USD"}]);
    assert_eq!(as_user(bob.reveal(), "PUT /v1/watchlists/main", &list.to_string()).0, 200);
    assert_eq!(body(&as_user(bob.reveal(), "GET /v1/watchlists/main", "").1)["value"], list);
    assert_eq!(as_user(&market.key, "GET /v1/watchlists/main", "").0, 404, "not another user's");
    assert_eq!(as_user(&market.key, "DELETE /v1/watchlists/main", "").0, 404);
    for bad in [
        r#"[{"venue":"krakn","symbol":"X"}]"#,
        r#"[{"venue":"kraken"}]"#,
        "{}",
        "[1]",
        "",
        r#"[{"venue":"kraken","symbol":""}]"#,
    ] {
        assert_eq!(as_user(bob.reveal(), "PUT /v1/watchlists/main", bad).0, 400, "{bad}");
    }
    assert_eq!(as_user(bob.reveal(), "DELETE /v1/watchlists/main", "").0, 200);
    assert_eq!(as_user(bob.reveal(), "GET /v1/watchlists/main", "").0, 404);
    assert_eq!(as_user(bob.reveal(), "PUT /v1/preferences", r#"{"theme":"dark"}"#).0, 200);
    assert_eq!(body(&as_user(bob.reveal(), "GET /v1/preferences", "").1), json!({"theme": "dark"}));
    assert_eq!(body(&as_user(&market.key, "GET /v1/preferences", "").1), json!({}));
    for i in 0..64 {
        assert_eq!(as_user(bob.reveal(), &format!("PUT /v1/layouts/l{i}"), "{}").0, 200);
    }
    assert_eq!(as_user(bob.reveal(), "PUT /v1/layouts/one-more", "{}").0, 409);
    assert_eq!(body(&as_user(bob.reveal(), "GET /v1/layouts", "").1).as_array().unwrap().len(), 64);
}

#[test]
fn nobody_gives_a_key_more_than_they_came_with() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    let host = format!("Host: {address}");
    let account: Scopes = "account,read".parse().unwrap();
    let (_, key) = market.store.create_key(&by(), "ann", "", account, None).unwrap();
    let key = format!("Authorization: {}", bearer(key.reveal()));
    let post = |path: &str, text: &str| {
        ask(address, &[&format!("POST {path}"), &host, &key, "Content-Type: application/json"], text)
    };
    for path in ["/v1/keys", "/v1/tokens"] {
        assert_eq!(post(path, r#"{"scopes":["read","admin"]}"#).0, 403, "{path}");
        assert_eq!(post(path, r#"{"scopes":[]}"#).0, 403, "{path}");
        let (status, made) = post(path, r#"{"scopes":["read"]}"#);
        assert_eq!(status, 200, "{made}");
        let made = format!("Authorization: {}", bearer(body(&made)["secret"].as_str().unwrap()));
        assert_eq!(ask(address, &["GET /v1/me", &host, &made], "").0, 200);
        assert_eq!(ask(address, &["GET /v1/keys", &host, &made], "").0, 403, "it may read and no more");
    }
    assert_eq!(post("/v1/tokens", r#"{"scopes":["read"],"minutes":61}"#).0, 400);
    assert_eq!(post("/v1/keys", r#"{"scopes":["read"],"days":0}"#).0, 400);
}
