//! What the venue says of itself and of our requests: its state, acknowledgements, refusals.

use super::machine::Kraken;
use super::messages::Answer;
use crate::Outbox;
use model::{Reason, StreamKind, StreamState, UnixNanos};
use wire::Status;

/// Depths heard of in acknowledgements before their instruments, when captures are decoded.
const DEPTHS_KEPT: usize = 4096;

impl Kraken {
    pub(super) fn apply_systems(&mut self, now: UnixNanos, out: &mut Outbox) {
        for s in std::mem::take(&mut self.scratch.systems) {
            self.counts.venue_status += 1;
            let (state, reason) = match s.system.as_str() {
                "online" => (StreamState::Live, Reason::Ok),
                "maintenance" => (StreamState::Halted, Reason::Venue),
                // Data flows on while orders are restricted; the word is in the text.
                _ => (StreamState::Live, Reason::Venue),
            };
            let connection = s.connection.map_or(String::new(), |id| format!(", connection {id}"));
            let text = format!("{}, version {}{connection}", s.system, s.version);
            self.tell(None, Status::Venue(state), (reason, &text), now, out);
        }
    }

    pub(super) fn apply_answer(&mut self, now: UnixNanos, out: &mut Outbox) {
        let answer = std::mem::take(&mut self.scratch.answer);
        match (answer.method.as_str(), answer.success) {
            ("pong", _) => self.counts.heartbeats += 1,
            ("subscribe" | "unsubscribe", Some(true)) => {
                self.counts.acks += 1;
                if let (true, "book", Some(depth)) =
                    (answer.method == "subscribe", answer.channel.as_str(), answer.depth)
                {
                    self.learn_depth(answer.symbol, depth);
                }
            }
            ("subscribe" | "unsubscribe" | "ping", Some(false)) => {
                self.counts.refusals += 1;
                if answer.method == "subscribe" {
                    self.tell_refusal(&answer, now, out);
                }
            }
            (
                "add_order"
                | "amend_order"
                | "edit_order"
                | "cancel_order"
                | "cancel_all"
                | "cancel_all_orders_after"
                | "cancel_after"
                | "batch_add"
                | "batch_cancel",
                _,
            ) => self.counts.unused_types += 1,
            _ => self.counts.unknown_types += 1,
        }
    }

    /// The depth a book is sent with. What a capture was subscribed to stands only in its acknowledgements.
    fn learn_depth(&mut self, symbol: String, depth: u32) {
        if let Some(k) = self.instruments.find(symbol.as_bytes()) {
            self.markets[k as usize].ladder.depth = depth;
        } else if self.learns() && self.depths.len() < DEPTHS_KEPT {
            self.depths.retain(|(known, _)| *known != symbol);
            self.depths.push((symbol, depth));
        }
    }

    /// The venue refused a subscription: told of its instrument where we can tell which it is. The documents do not say
    /// where a refusal names its symbol, so both its field and its text are looked at.
    fn tell_refusal(&mut self, answer: &Answer, now: UnixNanos, out: &mut Outbox) {
        let sent = self.connection.requests.iter().find(|(id, _)| Some(*id) == answer.request);
        let stream = sent.map_or(StreamKind::Connection, |(_, stream)| *stream);
        let mut words = std::iter::once(answer.symbol.as_str()).chain(answer.error.split_whitespace());
        let of = words.find_map(|word| self.instruments.find(word.as_bytes()));
        let text = match (of, answer.symbol.as_str()) {
            (Some(_), _) | (None, "") => answer.error.clone(),
            (None, symbol) => format!("{symbol}: {}", answer.error),
        };
        self.tell(of, Status::Stream(stream, StreamState::Down), (Reason::Refused, &text), now, out);
    }
}
