//! What we say to the venue.

use super::books::SNAPSHOT_WAIT;
use super::machine::Exchange;
use super::orders::FIRST_STEP_WAIT;
use super::sign::Signed;
use crate::coinbase::choices::Level2;
use crate::{Known, MachineError, Outbox, Outgoing, Settings};
use model::{StreamKind, UnixNanos, Venue};
use serde::Serialize;

/// Products in one message. The venue names no limit; messages stay within a few KiB so that one refused product takes
/// few others with it.
const PRODUCTS_PER_MESSAGE: usize = 50;

/// A subscription or the end of one.
#[derive(Serialize)]
struct Request<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    product_ids: Vec<&'a str>,
    channels: [&'static str; 1],
    #[serde(flatten)]
    signed: Option<Signed<'a>>,
}

/// The channels that take a signature, and all of a book's.
pub fn book_channel(choice: Level2) -> &'static str {
    match choice {
        Level2::Batch => "level2_batch",
        Level2::Direct => "level2",
        Level2::Full => "full",
    }
}

/// The stream a channel is for, as far as a text names one.
pub fn stream_named(word: &str) -> Option<StreamKind> {
    match word {
        "matches" => Some(StreamKind::Trade),
        "level2" | "level2_batch" | "full" => Some(StreamKind::Book),
        "ticker" => Some(StreamKind::Quote),
        "heartbeat" => Some(StreamKind::Connection),
        "status" => Some(StreamKind::Instrument),
        _ => None,
    }
}

/// Settings of the venue that cannot be had.
pub fn refused(key: &'static str, value: &str, allowed: &str) -> MachineError {
    MachineError::Setting { venue: Venue::Coinbase, key, value: value.to_owned(), allowed: allowed.to_owned() }
}

/// Whether the book's channel must be signed with these settings.
pub fn needs_signature(choice: Level2, settings: &Settings) -> bool {
    let books = [StreamKind::Book, StreamKind::Order].iter().any(|s| settings.streams.contains(s));
    choice != Level2::Batch && books && !settings.symbols.is_empty()
}

impl Exchange {
    /// Subscribes to everything that is defined and was not asked for on this connection.
    pub(super) fn subscribe(&mut self, now: UnixNanos, out: &mut Outbox) {
        if !self.is_open() || self.learns() {
            return;
        }
        let new: Vec<Known> =
            (0..self.markets.len() as Known).filter(|k| !self.markets[*k as usize].subscribed).collect();
        for batch in new.chunks(PRODUCTS_PER_MESSAGE) {
            self.send("subscribe", "heartbeat", batch, now, out);
            if self.takes(StreamKind::Trade) {
                if !self.is_full() {
                    self.send("subscribe", "matches", batch, now, out);
                }
                self.watch_all(StreamKind::Trade, batch, now);
            }
            if self.takes(StreamKind::Quote) {
                self.send("subscribe", "ticker", batch, now, out);
                self.watch_all(StreamKind::Quote, batch, now);
            }
            if self.takes(StreamKind::Book) || self.is_full() {
                let wait = if self.is_full() { FIRST_STEP_WAIT } else { SNAPSHOT_WAIT };
                for k in batch {
                    self.wait_for_book(*k, wait, now, out);
                }
                self.find_next_retry();
                self.send("subscribe", book_channel(self.choices.level2), batch, now, out);
                self.watch_all(StreamKind::Book, batch, now);
            }
        }
        for k in new {
            self.markets[k as usize].subscribed = true;
        }
    }

    fn watch_all(&mut self, stream: StreamKind, batch: &[Known], now: UnixNanos) {
        for k in batch {
            self.watch.start(*k, stream, now);
        }
    }

    /// Sends one request for some products of a channel.
    pub(super) fn send(
        &mut self,
        kind: &'static str,
        channel: &'static str,
        batch: &[Known],
        now: UnixNanos,
        out: &mut Outbox,
    ) {
        let private = matches!(channel, "level2" | "full") && kind == "subscribe";
        let signed = self.signer.as_ref().filter(|_| private).map(|signer| signer.sign(now.0 / 1_000_000_000));
        let secret = signed.is_some();
        let product_ids = batch.iter().map(|k| self.instruments.get(*k).venue_symbol.as_str()).collect();
        let request = Request { kind, product_ids, channels: [channel], signed };
        let frame = Outgoing::text(serde_json::to_string(&request).expect("a few texts are JSON"));
        out.frames.push(if secret { frame.secret() } else { frame });
    }
}
