//! Captured frames do not say which protocol they are of; the first frame that can only be of one decides.
//!
//! Exchange writes `"type"` in every frame, Advanced Trade `"channel"` with `"events"`. Both write a bare
//! `{"type":"error"}`, which therefore decides nothing.

use super::{Api, advanced, exchange};
use crate::{
    Counts, FrameError, InstrumentSet, MachineError, Memory, Outbox, Reply, RequestId, Settings, Trust, VenueMachine,
};
use book::Book;
use model::{InstrumentId, UnixNanos, Venue};
use scan::Json;

/// One of the two machines, known by its type: a frame reaches it without a second table of functions.
enum Machine {
    Exchange(Box<exchange::Exchange>),
    Advanced(Box<advanced::Advanced>),
}

impl Machine {
    fn new(api: Api, settings: &Settings, choices: &[(String, String)]) -> Result<Machine, MachineError> {
        Ok(match api {
            Api::Exchange => Machine::Exchange(Box::new(exchange::configured(settings, choices)?)),
            Api::Advanced => Machine::Advanced(Box::new(advanced::configured(settings, choices)?)),
        })
    }

    fn get(&self) -> &dyn VenueMachine {
        match self {
            Machine::Exchange(machine) => &**machine,
            Machine::Advanced(machine) => &**machine,
        }
    }

    fn get_mut(&mut self) -> &mut dyn VenueMachine {
        match self {
            Machine::Exchange(machine) => &mut **machine,
            Machine::Advanced(machine) => &mut **machine,
        }
    }
}

/// The machine of the protocol that is configured until a frame shows the other.
pub struct Recognising {
    machine: Machine,
    api: Api,
    decided: bool,
    settings: Settings,
    memories: Vec<(InstrumentId, Memory)>,
    connected: Option<UnixNanos>,
}

impl Recognising {
    /// Begins with the configured protocol, to which the choices belong.
    pub fn new(api: Api, settings: &Settings, choices: &[(String, String)]) -> Result<Recognising, MachineError> {
        let machine = Machine::new(api, settings, choices)?;
        let settings = settings.clone();
        Ok(Recognising { machine, api, decided: false, settings, memories: vec![], connected: None })
    }

    /// Takes the other machine when the frame is of the other protocol.
    #[cold]
    fn decide(&mut self, frame: &[u8], out: &mut Outbox) {
        let Some(api) = protocol(frame) else { return };
        self.decided = true;
        if api == self.api {
            return;
        }
        // Without symbols nothing of the settings can be refused; were it so, the frames are refused one by one.
        let Ok(mut machine) = Machine::new(api, &self.settings, &[]) else { return };
        for (instrument, memory) in &self.memories {
            machine.get_mut().remember(*instrument, memory.clone());
        }
        if let Some(at) = self.connected {
            machine.get_mut().on_connected(at, out);
        }
        (self.machine, self.api) = (machine, api);
    }
}

/// The protocol a frame is of, where only one can be.
fn protocol(frame: &[u8]) -> Option<Api> {
    let mut json = Json::new(frame);
    let (mut channel, mut events, mut kind) = (false, false, false);
    json.object().ok()?;
    while let Some(key) = json.key().ok()? {
        channel |= key.is("channel");
        events |= key.is("events");
        if key.is("type") {
            kind = !json.string().ok()?.is("error");
        }
    }
    json.end().ok()?;
    match (channel && events, kind) {
        (true, _) => Some(Api::Advanced),
        (false, true) => Some(Api::Exchange),
        (false, false) => None,
    }
}

impl VenueMachine for Recognising {
    fn venue(&self) -> Venue {
        self.machine.get().venue()
    }

    fn remember(&mut self, instrument: InstrumentId, memory: Memory) {
        self.memories.push((instrument, memory.clone()));
        self.machine.get_mut().remember(instrument, memory);
    }

    fn on_connected(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.connected = Some(now);
        self.machine.get_mut().on_connected(now, out);
    }

    #[inline]
    fn on_frame(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        if !self.decided {
            self.decide(frame, out);
        }
        match &mut self.machine {
            Machine::Exchange(machine) => machine.on_frame(frame, received, out),
            Machine::Advanced(machine) => machine.on_frame(frame, received, out),
        }
    }

    fn on_response(&mut self, request: RequestId, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        self.machine.get_mut().on_response(request, reply, now, out);
    }

    fn on_timer(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.machine.get_mut().on_timer(now, out);
    }

    fn on_disconnected(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.connected = None;
        self.machine.get_mut().on_disconnected(now, out);
    }

    fn next_timer(&self) -> Option<UnixNanos> {
        self.machine.get().next_timer()
    }

    fn refresh(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Outbox) {
        self.machine.get_mut().refresh(instrument, now, out);
    }

    fn snapshot(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Outbox) {
        self.machine.get_mut().snapshot(instrument, now, out);
    }

    fn last_trade(&self, instrument: InstrumentId) -> Option<u64> {
        self.machine.get().last_trade(instrument)
    }

    fn catch_up(&mut self, instrument: InstrumentId, last_trade: u64) {
        Memory::catch_up(&mut self.memories, instrument, last_trade);
        self.machine.get_mut().catch_up(instrument, last_trade);
    }

    fn trade_ids_are_contiguous(&self) -> bool {
        self.machine.get().trade_ids_are_contiguous()
    }

    fn book(&self, instrument: InstrumentId) -> Option<(&Book, &Trust)> {
        self.machine.get().book(instrument)
    }

    fn instruments(&self) -> &InstrumentSet {
        self.machine.get().instruments()
    }

    fn counts(&self) -> &Counts {
        self.machine.get().counts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_connection_told_reaches_the_machine_that_is_taken() {
        let id = InstrumentId::of(Venue::Coinbase, "BTC-USD");
        let mut machine = Recognising::new(Api::Exchange, &Settings::default(), &[]).expect("the defaults");
        let mut out = Outbox::new();
        machine.catch_up(id, 7);
        let trade = |n: u64| {
            format!(
                r#"{{"channel":"market_trades","timestamp":"2026-08-09T21:05:48Z","sequence_num":{n},"events":[{{"type":"update","trades":[{{"product_id":"BTC-USD","trade_id":"{n}","price":"1.5","size":"2","time":"2026-08-09T21:05:48Z","side":"BUY"}}]}}]}}"#
            )
        };
        for n in [7, 8] {
            machine.on_frame(trade(n).as_bytes(), UnixNanos(n), &mut out).expect("a sound frame");
        }
        assert_eq!((machine.api, machine.last_trade(id)), (Api::Advanced, Some(8)));
        assert_eq!((machine.counts().trades, machine.counts().trades_repeated), (1, 1));
        assert!(machine.trade_ids_are_contiguous());
        let book = r#"{"channel":"l2_data","timestamp":"2026-08-09T21:05:48Z","sequence_num":9,"events":[{"type":"snapshot","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"2026-08-09T21:05:48Z","price_level":"1.4","new_quantity":"1"}]}]}"#;
        machine.on_frame(book.as_bytes(), UnixNanos(9), &mut out).expect("a sound frame");
        out.clear();
        machine.snapshot(id, UnixNanos(10), &mut out);
        assert_eq!(out.records.len(), 3, "its beginning, the level and its end");
    }

    #[test]
    fn frames_name_their_protocol() {
        for (frame, api) in [
            (r#"{"type":"heartbeat","sequence":1}"#, Some(Api::Exchange)),
            (r#"{"channel":"heartbeats","sequence_num":1,"events":[]}"#, Some(Api::Advanced)),
            (r#"{"events":[{"type":"update"}],"channel":"l2_data"}"#, Some(Api::Advanced)),
            (r#"{"type":"error","message":"channel required"}"#, None),
            (r#"{"channel":"l2_data"}"#, None),
            (r#"{"type":"match""#, None),
            ("", None),
        ] {
            assert_eq!(protocol(frame.as_bytes()), api, "{frame}");
        }
    }
}
