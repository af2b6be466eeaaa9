//! The pull parser in any order and spelling, and where it says no.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use scan::{Cursor, DEPTH_MAX, Json, JsonError, Kind, NumberError, ReadError};

const TRADE: &[u8] = br#"{"e":"trade","E":1785641751660,"s":"BTCUSDT","t":5023111111,"p":"61837.63000000","q":"0.00100000","T":1785641751659,"m":true,"M":true}"#;

#[derive(Debug, Default, PartialEq)]
struct Trade {
    event_ms: u64,
    symbol: String,
    id: u64,
    price: i64,
    quantity: i64,
    trade_ms: u64,
    buyer_is_maker: bool,
}

fn pull(frame: &[u8]) -> Result<Trade, ReadError> {
    let mut json = Json::new(frame);
    let mut trade = Trade::default();
    let mut name = [0; 64];
    json.object()?;
    while let Some(key) = json.key()? {
        match key.name(&mut name) {
            b"E" => trade.event_ms = json.u64()?,
            b"s" => trade.symbol = json.string()?.unescape(&mut [0; 32]).unwrap().to_owned(),
            b"t" => trade.id = json.u64()?,
            b"p" => trade.price = json.fixed(8)?,
            b"q" => trade.quantity = json.fixed(8)?,
            b"T" => trade.trade_ms = json.u64()?,
            b"m" => trade.buyer_is_maker = json.bool()?,
            _ => {}
        }
    }
    json.end()?;
    Ok(trade)
}

fn fixed_order(frame: &[u8]) -> Option<Trade> {
    let mut cursor = Cursor::new(frame);
    cursor.literal(b"{\"e\":\"trade\",\"E\":")?;
    let event_ms = cursor.u64()?;
    cursor.literal(b",\"s\":\"")?;
    let symbol = String::from_utf8(cursor.until_quote()?.to_vec()).ok()?;
    cursor.literal(b"\",\"t\":")?;
    let id = cursor.u64()?;
    cursor.literal(b",\"p\":\"")?;
    let price = cursor.fixed(8)?;
    cursor.literal(b"\",\"q\":")?;
    let quantity = cursor.fixed_quoted(8)?;
    cursor.literal(b",\"T\":")?;
    let trade_ms = cursor.u64()?;
    cursor.literal(b",\"m\":")?;
    let buyer_is_maker = cursor.bool()?;
    cursor.literal(b",\"M\":true}")?;
    cursor.end()?;
    Some(Trade { event_ms, symbol, id, price, quantity, trade_ms, buyer_is_maker })
}

#[test]
fn both_readers_give_the_same_trade() {
    let expected = Trade {
        event_ms: 1_785_641_751_660,
        symbol: "BTCUSDT".into(),
        id: 5_023_111_111,
        price: 6_183_763_000_000,
        quantity: 100_000,
        trade_ms: 1_785_641_751_659,
        buyer_is_maker: true,
    };
    assert_eq!(fixed_order(TRADE).as_ref(), Some(&expected));
    assert_eq!(pull(TRADE), Ok(expected));
}

#[test]
fn every_truncation_and_every_changed_byte_is_a_surprise_or_the_same_to_both() {
    for len in 0..TRADE.len() {
        assert_eq!(fixed_order(&TRADE[..len]), None, "cut at {len}");
        assert!(pull(&TRADE[..len]).is_err(), "cut at {len}");
    }
    for at in 0..TRADE.len() {
        for byte in 0..=255 {
            let mut frame = TRADE.to_vec();
            frame[at] = byte;
            if let Some(trade) = fixed_order(&frame) {
                assert_eq!(pull(&frame), Ok(trade), "{}", String::from_utf8_lossy(&frame));
            }
        }
    }
}

#[test]
fn another_order_spelling_and_white_space_read_the_same() {
    let frame = br#" { "M" : true , "\u0073":"BTC\u0055SDT", "q":1E-3,"T":1785641751659.0 , "extra":[{"p":"1"},[],{}],
        "p":"\u00361837.63","t":"5023111111","m":true,"E":1785641751660,"p":61837.630000000000000000000,"e":"trade"} "#;
    assert_eq!(fixed_order(frame), None);
    assert_eq!(pull(frame), pull(TRADE));
}

#[test]
fn a_key_that_appears_twice_is_handed_out_twice() {
    let mut json = Json::new(br#"{"a":1,"a":2}"#);
    let mut seen = Vec::new();
    json.object().unwrap();
    while let Some(key) = json.key().unwrap() {
        assert!(key.is("a"));
        seen.push(json.u64().unwrap());
    }
    assert_eq!(seen, [1, 2]);
}

#[test]
fn strings_are_unescaped_on_request() {
    let mut json = Json::new(r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é""#.as_bytes());
    let text = json.string().unwrap();
    json.end().unwrap();
    let expected = "a\"\\/\u{8}\u{c}\n\r\té😀é";
    assert_eq!(text.unescape(&mut [0; 32]), Some(expected));
    assert!(text.is(expected));
    assert!(!text.is("a"));
    assert_eq!(text.plain(), None);
    assert_eq!(text.unescape(&mut [0; 3]), None);
    assert_eq!(Json::new(br#""a\u0062""#).str_plain().map_err(|error| error.offset), Err(0));
    assert_eq!(Json::new(r#" "é" "#.as_bytes()).str_plain(), Ok("é"));
}

#[test]
fn values_can_be_kept_as_written_and_read_later() {
    let frame = br#"{"a": [1, {"b":"}"}] ,"c":-0.5e1}"#;
    let mut json = Json::new(frame);
    json.object().unwrap();
    json.key().unwrap();
    let offset = json.offset();
    assert_eq!(json.raw_value().unwrap(), br#"[1, {"b":"}"}]"#);
    assert!(json.key().unwrap().unwrap().is("c"));
    assert_eq!(json.kind(), Ok(Kind::Number));
    assert_eq!(json.number_text(), Ok("-0.5e1"));
    assert_eq!(json.key().unwrap().map(|key| key.raw()), None);
    json.end().unwrap();

    let mut again = Json::at(frame, offset);
    again.array().unwrap();
    assert_eq!((again.element(), again.u64(), again.element()), (Ok(true), Ok(1), Ok(true)));
    again.object().unwrap();
    assert_eq!(again.depth(), 2);
    again.close().unwrap();
    assert_eq!(again.element(), Ok(false));
    assert_eq!(again.depth(), 0);
}

#[track_caller]
fn refused(text: &[u8], offset: usize, expected: &'static str) {
    let mut json = Json::new(text);
    let outcome = json.skip_value().and_then(|()| json.end());
    assert_eq!(outcome, Err(JsonError { offset, expected }), "{}", String::from_utf8_lossy(text));
}

#[test]
fn errors_name_the_place_and_what_was_expected() {
    refused(b"", 0, "a value");
    refused(b"{\"a\":1,}", 7, "a key");
    refused(b"{\"a\" 1}", 5, "a colon");
    refused(b"{\"a\":}", 5, "a value");
    refused(b"[1 2]", 3, "a comma or the closing bracket");
    refused(b"[1}", 2, "a comma or the closing bracket");
    refused(b"[1,]", 3, "a value");
    refused(b"[01]", 2, "a digit");
    refused(b"[1.]", 3, "a digit");
    refused(b"[-]", 2, "a digit");
    refused(b"nul", 0, "null");
    refused(b"tru", 0, "true or false");
    refused(b"\"ab", 3, "a closing quote");
    refused(b"\"a\nb\"", 2, "no control character in a string");
    refused(b"\"\\x\"", 1, "a valid escape");
    refused(b"\"\\ud800\"", 1, "a valid escape");
    refused(b"\"\\ude00\"", 1, "a valid escape");
    refused(b"\"a\xff\"", 2, "valid UTF-8");
    refused(b"1 1", 2, "the end");
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: u32| ["[".repeat(levels as usize), "]".repeat(levels as usize)].concat().into_bytes();
    let deepest = nested(DEPTH_MAX);
    let mut json = Json::new(&deepest);
    json.skip_value().unwrap();
    json.end().unwrap();
    refused(&nested(DEPTH_MAX + 1), DEPTH_MAX as usize, "at most 64 levels");
}

#[test]
fn asking_for_the_wrong_thing_is_an_error() {
    let mut json = Json::new(b"[\"x\"]");
    assert_eq!(json.key().map(|_| ()), Err(JsonError { offset: 0, expected: "an open object" }));
    assert_eq!(json.object(), Err(JsonError { offset: 0, expected: "an object" }));
    assert_eq!(json.close(), Err(JsonError { offset: 0, expected: "an open object or array" }));
    json.array().unwrap();
    assert_eq!(json.key().map(|_| ()), Err(JsonError { offset: 1, expected: "an open object" }));
    assert_eq!(json.end(), Err(JsonError { offset: 1, expected: "the rest of the value to be read" }));
    assert_eq!(json.element(), Ok(true));
    assert_eq!(json.fixed(2), Err(ReadError::Number { offset: 2, source: NumberError::NotANumber { offset: 0 } }),);
}

#[test]
fn numbers_that_do_not_fit_say_why() {
    fn number<T>(source: NumberError) -> Result<T, ReadError> {
        Err(ReadError::Number { offset: 1, source })
    }
    assert_eq!(Json::new(b" 0.125").fixed(2), number(NumberError::TooPrecise { decimals: 3 }));
    assert_eq!(Json::new(b"\"1e19\"").fixed(0), number(NumberError::Overflow));
    assert_eq!(Json::new(b" -1").u64(), number(NumberError::Overflow));
    assert_eq!(Json::new(b" 1.5").u64(), number(NumberError::TooPrecise { decimals: 1 }));
    assert_eq!(Json::new(b" 18446744073709551615").u64(), Ok(u64::MAX));
    assert_eq!(Json::new(b"\"-12\"").i64(), Ok(-12));
    assert_eq!(Json::new(b"\"12 \"").fixed(0), number(NumberError::NotANumber { offset: 2 }));
    assert_eq!(Json::new(b"[]").fixed(0), Err(ReadError::Json(JsonError { offset: 0, expected: "a number" })));
}

#[test]
fn optional_values() {
    let mut json = Json::new(b"[null,1]");
    json.array().unwrap();
    assert_eq!((json.element(), json.null_if()), (Ok(true), Ok(true)));
    assert_eq!((json.element(), json.null_if(), json.i64()), (Ok(true), Ok(false), Ok(1)));
}
