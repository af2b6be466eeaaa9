//! A venue machine brought to the point where data flows: definitions known, book bridged.

use crate::frames::{Shape, binance_definitions, binance_snapshot, kraken_definitions};
use model::{StreamKind, UnixNanos, Venue};
use venues::{Outbox, Reply, Settings, VenueMachine, machine};

/// When frames are said to be received, ns since the Unix epoch.
pub const NOW: UnixNanos = UnixNanos(1_755_460_801_000_000_000);

/// The venue a shape is of.
pub fn venue_of(shape: Shape) -> Venue {
    match shape {
        Shape::BinanceTrade | Shape::BinanceDepth | Shape::BinanceQuote => Venue::Binance,
        Shape::KrakenTrade | Shape::KrakenBook | Shape::KrakenQuote => Venue::Kraken,
        Shape::CoinbaseMatch | Shape::CoinbaseAdvancedTrade => Venue::Coinbase,
        Shape::AlpacaTrade => Venue::Alpaca,
    }
}

/// The settings of a feed of one symbol with every stream.
pub fn settings(venue: Venue) -> Settings {
    let symbol = if venue == Venue::Kraken { "BTC/USD" } else { "BTCUSDT" };
    Settings {
        symbols: vec![symbol.to_owned()],
        streams: vec![StreamKind::Trade, StreamKind::Book, StreamKind::Quote],
        book_depth: if venue == Venue::Kraken { 10 } else { 1000 },
        ..Settings::default()
    }
}

/// What the venue answers to a GET of `path`.
pub fn answer(path: &str) -> String {
    if path.contains("/depth") { binance_snapshot() } else { binance_definitions() }
}

/// A machine that has its definitions and, where the shape needs it, a live book. The first of `frames` is consumed;
/// the rest is to be measured. The outbox comes back empty.
///
/// # Panics
/// When the machine refuses the frames, which a benchmark cannot go on from.
pub fn ready(shape: Shape, frames: &[impl AsRef<[u8]>]) -> (Box<dyn VenueMachine>, Outbox) {
    ready_for(shape, frames, &[StreamKind::Trade, StreamKind::Book, StreamKind::Quote])
}

/// The same with the streams that are wanted.
///
/// # Panics
/// As [`ready`].
pub fn ready_for(shape: Shape, frames: &[impl AsRef<[u8]>], streams: &[StreamKind]) -> (Box<dyn VenueMachine>, Outbox) {
    let venue = venue_of(shape);
    let settings = Settings { streams: streams.to_vec(), ..settings(venue) };
    let mut machine = machine(venue, &settings, &[]).expect("the venue has an adapter that offers these streams");
    let mut out = Outbox::new();
    machine.on_connected(NOW, &mut out);
    if venue == Venue::Kraken {
        machine.on_frame(kraken_definitions().as_bytes(), NOW, &mut out).expect("definitions are well formed");
    }
    serve(&mut *machine, &mut out);
    machine.on_frame(frames[0].as_ref(), NOW, &mut out).expect("the first frame is well formed");
    serve(&mut *machine, &mut out);
    out.clear();
    (machine, out)
}

/// Answers every request until there is none.
fn serve(machine: &mut dyn VenueMachine, out: &mut Outbox) {
    while !out.requests.is_empty() {
        for request in std::mem::take(&mut out.requests) {
            let body = answer(&request.path);
            let reply = Reply::Http { status: 200, body: body.as_bytes(), retry_after: None };
            machine.on_response(request.id, reply, NOW, out);
        }
        machine.on_timer(NOW, out);
    }
}
