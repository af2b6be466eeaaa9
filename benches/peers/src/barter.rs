//! barter-data: a text frame through its serde models and transformers to normalised market events; its order book.
//!
//! Its trades carry floats and its depth events a decimal library's numbers; ours are exact integers in a 48-byte record,
//! with the sequence checked and, for depth, the book kept. It knows Kraken's first protocol only, so Kraken's pair
//! compares a v1 frame of theirs with a v2 frame of ours that tells the same trade.

use crate::Failure;
use barter_data::{
    books::{Level, OrderBook},
    event::MarketEvent,
    exchange::{
        binance::{
            spot::{BinanceSpot, l2::BinanceSpotOrderBooksL2Transformer},
            trade::BinanceTrade,
        },
        coinbase::{Coinbase, trade::CoinbaseTrade},
        kraken::{Kraken, trade::KrakenTrades},
    },
    subscription::{
        Map,
        book::OrderBookEvent,
        trade::{PublicTrade, PublicTrades},
    },
    transformer::{ExchangeTransformer, stateless::StatelessTransformer},
};
use barter_instrument::{Side, exchange::ExchangeId};
use barter_integration::{
    Transformer,
    protocol::websocket::{WsMessage, process_text},
    subscription::SubscriptionId,
};
use benches::books::{drawn, ours_ns, touches};
use benches::frames::{BINANCE_FIRST_ID, Shape, frames};
use benches::venue::{NOW, ready};
use benches::{Arena, Goal, Pairs, Report, Row, Spread, clock, learning_ns, machine_ns};
use model::{Price, Qty, Venue};
use rust_decimal::Decimal;
use std::hint::black_box;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use wire::Record;

const FRAMES: usize = 20_000;
const PASSES: usize = 3;
const CHANGES: usize = 100_000;

type Trades<E, I> = StatelessTransformer<E, u32, PublicTrades, I>;
type Depth = BinanceSpotOrderBooksL2Transformer<u32>;
type Snapshot = MarketEvent<u32, OrderBookEvent>;
type Send = UnboundedSender<WsMessage>;

pub fn measure(pairs: usize, report: &mut Report) -> Result<(), Failure> {
    let (send, _receive) = unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;

    let trades = frames(Shape::BinanceTrade, FRAMES);
    let binance = runtime.block_on(trades_of::<BinanceSpot, BinanceTrade>("@trade|BTCUSDT", &send))?;
    same_trades(&told(Shape::BinanceTrade, &trades, 2, 5), &events(&mut binance.clone(), &trades)?)?;
    let measured = pair(pairs, Shape::BinanceTrade, &trades, &trades, || binance.clone())?;
    report.row(Row::speed("Binance trade", "barter-data 0.13.0", &measured, "ns").goal(Goal::AtLeast(10.0)));

    let ours = frames(Shape::KrakenTrade, FRAMES);
    let theirs = first_protocol(&ours)?;
    let kraken = runtime.block_on(trades_of::<Kraken, KrakenTrades>("trade|XBT/USD", &send))?;
    let measured = pair(pairs, Shape::KrakenTrade, &ours, &theirs, || kraken.clone())?;
    report.row(Row::speed("Kraken v2 trade", "barter-data 0.13.0, v1 frame", &measured, "ns"));

    let matches = frames(Shape::CoinbaseMatch, FRAMES);
    let coinbase = runtime.block_on(trades_of::<Coinbase, CoinbaseTrade>("matches|BTC-USD", &send))?;
    let messages: Vec<WsMessage> = matches.iter().map(|frame| text(frame)).collect();
    let arena = Arena::of(&matches);
    let measured = Pairs::measure(
        pairs,
        || Ok(theirs_ns(&messages, || coinbase.clone())),
        || Ok(learning_ns(Venue::Coinbase, &arena, PASSES).expect("every frame is a trade")),
    )?;
    report.row(Row::speed("Coinbase match", "barter-data 0.13.0", &measured, "ns").goal(Goal::AtLeast(10.0)));

    let depth = frames(Shape::BinanceDepth, FRAMES);
    let snapshot = [snapshot()];
    let open = || {
        let made = <Depth as ExchangeTransformer<BinanceSpot, u32, _>>::init(
            map("@depth@100ms|BTCUSDT"),
            &snapshot,
            send.clone(),
        );
        futures::executor::block_on(made).expect("the snapshot is of the one subscription")
    };
    let measured = pair(pairs, Shape::BinanceDepth, &depth, &depth, open)?;
    let row = Row::speed("Binance depth of 19 levels, book kept", "barter-data 0.13.0, no book", &measured, "ns");
    report.row(row.goal(Goal::AtLeast(6.0)));
    let per = |s: Spread| Spread { median: s.median / 19.0, min: s.min / 19.0, max: s.max / 19.0 };
    report.row(Row::figure("of it a level", per(measured.ours()), "ns").goal(Goal::AtMost(35.0)));

    let measured = Pairs::measure(
        pairs,
        || Ok(with_book(&depth, open())),
        || Ok(machine_ns(Shape::BinanceDepth, &depth, &Arena::of(&depth[1..]), PASSES)),
    )?;
    let row =
        Row::speed("Binance depth of 19 levels, book kept", "barter-data 0.13.0 and its OrderBook", &measured, "ns");
    report.row(row.goal(Goal::AtLeast(10.0)));
    books(pairs, report)
}

/// Their book beside ours, one level an event, best bid and best ask after each.
fn books(pairs: usize, report: &mut Report) -> Result<(), Failure> {
    for (depth, mean) in [(50, 25.0), (1000, 25.0), (1000, 250.0), (5000, 250.0)] {
        let work = drawn(depth, mean, CHANGES);
        let level =
            |l: &(Price, Qty)| Level { price: Decimal::new(l.0.0, 8).normalize(), amount: Decimal::new(l.1.0, 8) };
        let side = |levels: &[(Price, Qty)]| levels.iter().map(level).collect::<Vec<_>>();
        let start = || OrderBook::new(0, None, side(&work.bids), side(&work.asks));
        let event = |change: &(model::Side, Price, Qty)| {
            let levels = vec![level(&(change.1, change.2))];
            let (bids, asks) = if change.0 == model::Side::Buy { (levels, vec![]) } else { (vec![], levels) };
            OrderBookEvent::Update(OrderBook::new(1, None, bids, asks))
        };
        let events: Vec<OrderBookEvent> = work.changes.iter().map(event).collect();
        let mut book = start();
        for (event, ours) in events.iter().zip(touches(&work)) {
            book.update(event);
            let theirs = [book.bids().best(), book.asks().best()].map(|l| l.copied());
            if theirs != ours.map(|l| l.as_ref().map(level)) {
                return Err(format!("the touch differs: theirs {theirs:?}, ours {ours:?}").into());
            }
        }
        let theirs = || {
            let mut book = start();
            let start = clock::cpu_ns();
            for event in &events {
                book.update(event);
                black_box((book.bids().best(), book.asks().best()));
            }
            Ok((clock::cpu_ns() - start) as f64 / events.len() as f64)
        };
        let measured = Pairs::measure(pairs, theirs, || Ok(ours_ns(&work, 1)))?;
        let row = Row::speed(format!("book: {}", work.name), "barter-data 0.13.0 OrderBook", &measured, "ns");
        report.row(if depth == 1000 { row.goal(Goal::AtLeast(15.0)) } else { row });
    }
    Ok(())
}

fn map(id: &str) -> Map<u32> {
    [(SubscriptionId::from(id), 7u32)].into_iter().collect()
}

async fn trades_of<E, I>(subscription: &str, send: &Send) -> Result<Trades<E, I>, Failure>
where
    Trades<E, I>: ExchangeTransformer<E, u32, PublicTrades>,
{
    Ok(<Trades<E, I> as ExchangeTransformer<E, u32, PublicTrades>>::init(map(subscription), &[], send.clone()).await?)
}

/// The book before the first change, 1000 levels a side as ours.
fn snapshot() -> Snapshot {
    let side = |sign: i64| {
        let level = move |n: i64| Level { price: Decimal::new(11_673_661 + sign * n, 2), amount: Decimal::new(15, 1) };
        (1..=1000i64).map(level).collect::<Vec<_>>()
    };
    MarketEvent {
        time_exchange: chrono::Utc::now(),
        time_received: chrono::Utc::now(),
        exchange: ExchangeId::BinanceSpot,
        instrument: 7,
        kind: OrderBookEvent::Snapshot(OrderBook::new(BINANCE_FIRST_ID - 1, None, side(-1), side(1))),
    }
}

fn text(frame: &str) -> barter_integration::protocol::websocket::WsMessage {
    WsMessage::text(frame.to_owned())
}

fn pair<T>(
    pairs: usize,
    shape: Shape,
    ours: &[String],
    theirs: &[String],
    mut open: impl FnMut() -> T,
) -> Result<Pairs, Failure>
where
    T: Transformer,
    T::Input: for<'de> serde::Deserialize<'de>,
{
    let messages: Vec<WsMessage> = theirs.iter().map(|frame| text(frame)).collect();
    let arena = Arena::of(&ours[1..]);
    let ours = || Ok(machine_ns(shape, ours, &arena, PASSES));
    Ok(Pairs::measure(pairs, || Ok(theirs_ns(&messages, &mut open)), ours)?)
}

/// Ns a frame of processor time through their transformer.
fn theirs_ns<T>(messages: &[WsMessage], mut open: impl FnMut() -> T) -> f64
where
    T: Transformer,
    T::Input: for<'de> serde::Deserialize<'de>,
{
    let mut spent = 0;
    for _ in 0..PASSES {
        let mut transformer = open();
        let start = clock::cpu_ns();
        for message in messages {
            let WsMessage::Text(message) = message else { continue };
            let input = process_text::<T::Input>(message.clone()).expect("text").expect("a known frame");
            for event in transformer.transform(input) {
                assert!(black_box(event).is_ok(), "every frame gives events");
            }
        }
        spent += clock::cpu_ns() - start;
    }
    spent as f64 / (PASSES * messages.len()) as f64
}

/// Ns a frame with their book kept beside it.
fn with_book(frames: &[String], mut transformer: Depth) -> f64 {
    let OrderBookEvent::Snapshot(mut book) = snapshot().kind else { return 0.0 };
    let messages: Vec<WsMessage> = frames.iter().map(|frame| text(frame)).collect();
    let start = clock::cpu_ns();
    for message in &messages {
        let WsMessage::Text(message) = message else { continue };
        let input = process_text(message.clone()).expect("text").expect("a known frame");
        for event in transformer.transform(input) {
            book.update(&event.expect("the changes follow one another").kind);
            black_box(book.bids().best());
        }
    }
    (clock::cpu_ns() - start) as f64 / messages.len() as f64
}

fn events<T>(transformer: &mut T, frames: &[String]) -> Result<Vec<PublicTrade>, Failure>
where
    T: Transformer<Output = MarketEvent<u32, PublicTrade>>,
    T::Input: for<'de> serde::Deserialize<'de>,
    T::Error: std::fmt::Debug,
{
    let mut trades = vec![];
    for frame in frames {
        let WsMessage::Text(message) = text(frame) else { continue };
        let input = process_text::<T::Input>(message).ok_or("not a text frame")?.map_err(|e| format!("{e:?}"))?;
        for event in transformer.transform(input) {
            trades.push(event.map_err(|e| format!("{e:?}"))?.kind);
        }
    }
    Ok(trades)
}

/// Our trades as theirs: an exact integer below 2^53 over a power of ten is the float nearest to the text.
fn told(shape: Shape, frames: &[String], price_scale: i32, size_scale: i32) -> Vec<PublicTrade> {
    let (mut machine, mut out) = ready(shape, frames);
    let mut trades = vec![];
    for frame in &frames[1..] {
        out.records.clear();
        machine.on_frame(frame.as_bytes(), NOW, &mut out).expect("generated frames are well formed");
        for record in out.records.records() {
            let Ok(Record::Trade(t)) = record else { continue };
            trades.push(PublicTrade {
                id: t.trade_id.to_string(),
                price: t.price as f64 / 10f64.powi(price_scale),
                amount: t.size as f64 / 10f64.powi(size_scale),
                side: if t.header.flags().side() == Some(model::Side::Buy) { Side::Buy } else { Side::Sell },
            });
        }
    }
    trades
}

fn same_trades(ours: &[PublicTrade], theirs: &[PublicTrade]) -> Result<(), Failure> {
    if ours == &theirs[1..] {
        return Ok(());
    }
    let first = ours.iter().zip(&theirs[1..]).find(|(a, b)| a != b);
    Err(format!("ours and barter-data's trades differ: {first:?}").into())
}

/// The same trades as Kraken's first protocol tells them.
fn first_protocol(frames: &[String]) -> Result<Vec<String>, Failure> {
    let field = |frame: &str, name: &str| -> Result<String, Failure> {
        let (_, rest) = frame.split_once(&format!("\"{name}\":")).ok_or("a field is missing")?;
        Ok(rest.trim_start_matches('"').split(['"', ',']).next().unwrap_or_default().to_owned())
    };
    frames
        .iter()
        .enumerate()
        .map(|(index, frame)| {
            let (price, size, side) = (field(frame, "price")?, field(frame, "qty")?, field(frame, "side")?);
            let seconds = 1_755_460_800 + index / 100;
            Ok(format!(
                r#"[337,[["{price}0000","{size}","{seconds}.123456","{}","l",""]],"trade","XBT/USD"]"#,
                &side[..1]
            ))
        })
        .collect()
}
