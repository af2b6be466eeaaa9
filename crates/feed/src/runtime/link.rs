//! One connection's place: what it is for, and the socket while there is one.

use crate::{
    backoff::{Backoff, Carried},
    budget::Budget,
    transport::{Dial, Endpoint, Stream},
    websocket::{Decoder, Encoder},
};
use model::UnixNanos;
use std::{collections::VecDeque, io, time::Duration};
use venues::Outgoing;

/// A line of the session, with its connection.
pub(super) struct Link {
    /// What it is called in logs; empty when it is alone.
    pub name: String,
    /// Links of one group carry the same instruments.
    pub group: u32,
    pub url: String,
    pub endpoint: Endpoint,
    /// Headers of the opening request.
    pub headers: Vec<(String, String)>,
    /// Headers of its REST requests.
    pub rest_headers: Vec<(String, String)>,
    pub state: State,
    pub backoff: Backoff,
    /// When the connection was opened.
    pub opened: UnixNanos,
    /// It is to take the place of this link, which is closed when it can.
    pub replaces: Option<usize>,
    /// The socket may have something to read.
    pub ready: bool,
}

/// The connection's state.
pub(super) enum State {
    /// Not wanted.
    Idle,
    /// Not connected; the next attempt is due then.
    Down { until: UnixNanos },
    /// An attempt is under way.
    Dialing(Dial),
    /// Connected.
    Open(Box<Open>),
}

pub(super) struct Open {
    pub stream: Stream,
    pub decoder: Decoder,
    pub encoder: Encoder,
    /// Frames of the machine that wait for the message budget.
    pub waiting: VecDeque<Outgoing>,
    pub messages: Budget,
    /// Nothing valid came yet on this connection.
    pub fresh: bool,
    /// What the line's machine had taken of market data before.
    pub data_before: u64,
}

impl Link {
    pub(super) fn open(&self) -> Option<&Open> {
        match &self.state {
            State::Open(open) => Some(open),
            _ => None,
        }
    }

    /// The connection, if there is one, ends now, and `data` is what the line's machine took of market data by now.
    pub(super) fn note_end(&mut self, data: u64, now: UnixNanos) {
        if let State::Open(open) = &self.state {
            let carried = if data > open.data_before { Carried::Data } else { Carried::Nothing };
            self.backoff.ended(now.since(self.opened), carried);
        }
    }

    /// Closes the connection in order; `false` when there is none.
    pub(super) fn say_goodbye(&mut self, why: &str) -> bool {
        let State::Open(open) = &mut self.state else { return false };
        let mut bytes = vec![];
        open.encoder.close(1000, why, &mut bytes);
        // The venue may be gone already; we leave either way.
        let _ = open.stream.send(&bytes);
        open.stream.shutdown();
        true
    }
}

impl Open {
    /// Sends what the message budget allows, and what the socket would not take before; `sent` is told of each frame.
    pub(super) fn send_waiting(&mut self, now: Duration, sent: &mut dyn FnMut(&Outgoing)) -> io::Result<()> {
        let mut bytes = vec![];
        while let Some(frame) = self.waiting.front() {
            if self.messages.admit(now).is_err() {
                break;
            }
            if frame.binary {
                self.encoder.binary(&frame.payload, &mut bytes);
            } else {
                self.encoder.text_bytes(&frame.payload, &mut bytes);
            }
            sent(frame);
            self.waiting.pop_front();
        }
        if !bytes.is_empty() {
            self.stream.send(&bytes)?;
        }
        self.stream.flush()
    }
}
