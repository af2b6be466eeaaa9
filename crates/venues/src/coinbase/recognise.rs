//! Captured frames do not say which protocol they are of; the first frame that can only be of one decides.
//!
//! Exchange writes `"type"` in every frame, Advanced Trade `"channel"` with `"events"`. Both write a bare
//! `{"type":"error"}`, which therefore decides nothing.

use super::{Api, of};
use crate::{
    Counts, FrameError, InstrumentSet, MachineError, Memory, Outbox, Reply, RequestId, Settings, VenueMachine,
};
use model::{InstrumentId, UnixNanos, Venue};
use scan::Json;

/// The machine of the protocol that is configured until a frame shows the other.
pub struct Recognising {
    machine: Box<dyn VenueMachine>,
    api: Api,
    decided: bool,
    settings: Settings,
    memories: Vec<(InstrumentId, Memory)>,
    connected: Option<UnixNanos>,
}

impl Recognising {
    /// Begins with the configured protocol, to which the choices belong.
    pub fn new(api: Api, settings: &Settings, choices: &[(String, String)]) -> Result<Recognising, MachineError> {
        let machine = of(api, settings, choices)?;
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
        let Ok(mut machine) = of(api, &self.settings, &[]) else { return };
        for (instrument, memory) in &self.memories {
            machine.remember(*instrument, memory.clone());
        }
        if let Some(at) = self.connected {
            machine.on_connected(at, out);
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
        self.machine.venue()
    }

    fn remember(&mut self, instrument: InstrumentId, memory: Memory) {
        self.memories.push((instrument, memory.clone()));
        self.machine.remember(instrument, memory);
    }

    fn on_connected(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.connected = Some(now);
        self.machine.on_connected(now, out);
    }

    #[inline]
    fn on_frame(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        if !self.decided {
            self.decide(frame, out);
        }
        self.machine.on_frame(frame, received, out)
    }

    fn on_response(&mut self, request: RequestId, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        self.machine.on_response(request, reply, now, out);
    }

    fn on_timer(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.machine.on_timer(now, out);
    }

    fn on_disconnected(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.connected = None;
        self.machine.on_disconnected(now, out);
    }

    fn next_timer(&self) -> Option<UnixNanos> {
        self.machine.next_timer()
    }

    fn refresh(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Outbox) {
        self.machine.refresh(instrument, now, out);
    }

    fn instruments(&self) -> &InstrumentSet {
        self.machine.instruments()
    }

    fn counts(&self) -> &Counts {
        self.machine.counts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
