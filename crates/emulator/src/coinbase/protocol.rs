//! One connection before it is known which of the two protocols it speaks, and the deadline for saying so.
//!
//! The venue tells them apart by host. Here both live on one port, and the first subscription decides: Exchange names
//! `channels`, Advanced Trade one `channel`. What Coinbase does not document is a choice: the texts of errors, that a
//! message with an error changes nothing, and code 1008 for a client that subscribes to nothing.

use std::time::Duration;

use feed::websocket::handshake::RequestHead;
use model::UnixNanos;
use serde_json::{Value, json};

use super::{advanced, exchange};
use crate::connection::{Close, Desk, Heard, Protocol as ConnectionProtocol};
use crate::options::{Account, Limits};
use crate::outgoing::Dress;

enum Spoken {
    Nothing,
    Exchange(exchange::Session),
    Advanced(advanced::Session),
}

pub(crate) struct Protocol {
    account: Account,
    spoken: Spoken,
    /// Until when the first subscription must be here.
    deadline: Option<UnixNanos>,
    /// Advanced Trade closes a connection to which nothing was sent for so long.
    idle: Duration,
    last_text: UnixNanos,
}

impl Protocol {
    /// The protocol spoken at a path, if one is: the venue's hosts serve `/` alone.
    pub(crate) fn at(
        head: &RequestHead,
        account: &Account,
        limits: &Limits,
        now: UnixNanos,
    ) -> Option<Box<dyn ConnectionProtocol>> {
        head.path.trim_end_matches('/').is_empty().then(|| {
            Box::new(Protocol {
                account: account.clone(),
                spoken: Spoken::Nothing,
                deadline: Some(now.after(limits.subscribe_within)),
                idle: limits.idle,
                last_text: now,
            }) as Box<dyn ConnectionProtocol>
        })
    }
}

/// A refusal, as both protocols write it.
pub(super) fn error(message: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => json!({"type": "error", "message": message, "reason": reason}).to_string(),
        None => json!({"type": "error", "message": message}).to_string(),
    }
}

impl ConnectionProtocol for Protocol {
    fn open(&mut self, _: &mut Desk<'_>) {}

    fn heard(&mut self, _: Heard, _: UnixNanos) -> Option<Close> {
        None
    }

    fn text(&mut self, text: &[u8], desk: &mut Desk<'_>) {
        let Ok(request) = serde_json::from_slice::<Value>(text) else {
            return desk.say(&error("Malformed JSON", None));
        };
        if matches!(self.spoken, Spoken::Nothing) {
            if request.get("channels").is_some() {
                self.spoken = Spoken::Exchange(exchange::Session::new(self.account.clone()));
            } else if request.get("channel").is_some() {
                desk.out.dress = Dress::Counted { next: 0 };
                self.spoken = Spoken::Advanced(advanced::Session::default());
            }
        }
        let subscribed = match &mut self.spoken {
            Spoken::Nothing => return desk.say(&error("channel required", None)),
            Spoken::Exchange(session) => session.request(&request, desk),
            Spoken::Advanced(session) => session.request(&request, desk),
        };
        if subscribed {
            self.deadline = None;
        }
    }

    fn turn(&mut self, desk: &mut Desk<'_>) -> Option<Close> {
        self.last_text = desk.out.last_text;
        if self.deadline.is_some_and(|deadline| desk.now >= deadline) {
            return Some(Close { code: 1008, reason: "no subscription in time" });
        }
        let idle = matches!(self.spoken, Spoken::Advanced(_)) && desk.now.since(self.last_text) >= self.idle;
        idle.then_some(Close { code: 1000, reason: "idle" })
    }

    fn next_timer(&self) -> UnixNanos {
        self.deadline.unwrap_or_else(|| self.last_text.after(self.idle))
    }
}
