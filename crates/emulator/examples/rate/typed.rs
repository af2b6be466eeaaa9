//! The frames of a load run as typed structs: what a program would hand to serde_json. Numbers stay text, so that it
//! writes the very same bytes and is spared the formatting.

use emulator::EmulatedVenue;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Serialize)]
#[serde(untagged)]
pub enum Frame<'a> {
    Kraken(Kraken<'a>),
    Trade(Trade<'a>),
    Depth(Depth<'a>),
    BookTicker(BookTicker<'a>),
}

#[derive(Serialize)]
pub struct Kraken<'a> {
    channel: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    data: Rows<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum Rows<'a> {
    Books(Vec<KrakenBook<'a>>),
    Trades(Vec<KrakenTrade<'a>>),
    Tickers(Vec<KrakenTicker<'a>>),
}

#[derive(Serialize, Deserialize)]
pub struct KrakenBook<'a> {
    symbol: &'a str,
    #[serde(borrow)]
    bids: Vec<KrakenLevel<'a>>,
    #[serde(borrow)]
    asks: Vec<KrakenLevel<'a>>,
    checksum: u32,
    timestamp: &'a str,
}

#[derive(Serialize, Deserialize)]
pub struct KrakenLevel<'a> {
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
pub struct KrakenTrade<'a> {
    symbol: &'a str,
    side: &'a str,
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
    ord_type: &'a str,
    trade_id: u64,
    timestamp: &'a str,
}

#[derive(Serialize, Deserialize)]
pub struct KrakenTicker<'a> {
    symbol: &'a str,
    #[serde(borrow)]
    bid: &'a RawValue,
    #[serde(borrow)]
    bid_qty: &'a RawValue,
    #[serde(borrow)]
    ask: &'a RawValue,
    #[serde(borrow)]
    ask_qty: &'a RawValue,
    #[serde(borrow)]
    last: &'a RawValue,
    #[serde(borrow)]
    volume: &'a RawValue,
    #[serde(borrow)]
    vwap: &'a RawValue,
    #[serde(borrow)]
    low: &'a RawValue,
    #[serde(borrow)]
    high: &'a RawValue,
    #[serde(borrow)]
    change: &'a RawValue,
    #[serde(borrow)]
    change_pct: &'a RawValue,
    timestamp: &'a str,
}

#[derive(Serialize, Deserialize)]
pub struct Trade<'a> {
    e: &'a str,
    #[serde(rename = "E")]
    sent: u64,
    s: &'a str,
    t: u64,
    p: &'a str,
    q: &'a str,
    #[serde(rename = "T")]
    time: u64,
    m: bool,
    #[serde(rename = "M")]
    ignore: bool,
}

#[derive(Serialize, Deserialize)]
pub struct Depth<'a> {
    e: &'a str,
    #[serde(rename = "E")]
    sent: u64,
    s: &'a str,
    #[serde(rename = "U")]
    first: u64,
    u: u64,
    #[serde(borrow)]
    b: Vec<[&'a str; 2]>,
    #[serde(borrow)]
    a: Vec<[&'a str; 2]>,
}

#[derive(Serialize, Deserialize)]
pub struct BookTicker<'a> {
    u: u64,
    s: &'a str,
    b: &'a str,
    #[serde(rename = "B")]
    bid_size: &'a str,
    a: &'a str,
    #[serde(rename = "A")]
    ask_size: &'a str,
}

/// Reads a frame, which is no part of what is timed.
pub fn read(venue: EmulatedVenue, frame: &[u8]) -> serde_json::Result<Frame<'_>> {
    #[derive(Deserialize)]
    struct Head<'a> {
        channel: &'a str,
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    // Raw text cannot be had through an untagged enum: the kind of frame is asked first.
    if venue == EmulatedVenue::Kraken {
        let Head { channel, kind, data } = serde_json::from_slice(frame)?;
        let data = match channel {
            "book" => Rows::Books(serde_json::from_str(data.get())?),
            "trade" => Rows::Trades(serde_json::from_str(data.get())?),
            _ => Rows::Tickers(serde_json::from_str(data.get())?),
        };
        return Ok(Frame::Kraken(Kraken { channel, kind, data }));
    }
    match frame {
        [b'{', b'"', b'e', b'"', b':', b'"', b't', ..] => serde_json::from_slice(frame).map(Frame::Trade),
        [b'{', b'"', b'e', ..] => serde_json::from_slice(frame).map(Frame::Depth),
        _ => serde_json::from_slice(frame).map(Frame::BookTicker),
    }
}
