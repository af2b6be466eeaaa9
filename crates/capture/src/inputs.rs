//! The inputs of a session as bodies of entries, and back: what a replay steps is what the feed stepped, to the byte.

use crate::format::Kind;
use model::{InstrumentId, Reason, UnixNanos};
use std::time::Duration;
use venues::trades::Missing;
use venues::{Input, Memory, Reply, RequestId};
use wire::Origin;

/// Appends an input's body and says what kind of entry it is.
#[inline]
pub(crate) fn encode(input: &Input<'_>, body: &mut Vec<u8>) -> Kind {
    // Nearly all inputs are frames: they go first, the rest is out of line.
    match input {
        Input::Frame(frame) => {
            body.extend_from_slice(frame);
            Kind::Frame
        }
        Input::Timer => Kind::Timer,
        other => encode_rare(other, body),
    }
}

fn encode_rare(input: &Input<'_>, body: &mut Vec<u8>) -> Kind {
    match *input {
        Input::Start { epoch, pid, origin, site, build } => {
            body.extend_from_slice(&epoch.to_le_bytes());
            body.extend_from_slice(&pid.to_le_bytes());
            body.push(u8::from(origin == Origin::Simulated));
            push_text(body, site);
            push_text(body, build);
            Kind::Start
        }
        Input::Remember(instrument, memory) => {
            body.extend_from_slice(&instrument.0.to_le_bytes());
            encode_memory(memory, body);
            Kind::Remember
        }
        Input::Connecting(to) => {
            body.extend_from_slice(to.as_bytes());
            Kind::Connecting
        }
        Input::Connected => Kind::Connected,
        Input::Frame(frame) => {
            body.extend_from_slice(frame);
            Kind::Frame
        }
        Input::Response(id, reply) => {
            body.extend_from_slice(&id.0.to_le_bytes());
            match reply {
                Reply::Http { status, body: answer, retry_after } => {
                    body.extend_from_slice(&status.to_le_bytes());
                    // The feed knows whole seconds only, so nothing is lost in milliseconds.
                    let retry_ms = retry_after.map_or(u64::MAX, |d| d.as_millis() as u64);
                    body.extend_from_slice(&retry_ms.to_le_bytes());
                    body.extend_from_slice(answer);
                    Kind::Answer
                }
                Reply::Failed(why) => {
                    body.extend_from_slice(why.as_bytes());
                    Kind::Failed
                }
            }
        }
        Input::Timer => Kind::Timer,
        Input::Snapshot(instrument) => {
            body.extend_from_slice(&instrument.0.to_le_bytes());
            Kind::Snapshot
        }
        Input::Disconnected(reason, why) => {
            body.push(reason.code());
            body.extend_from_slice(why.as_bytes());
            Kind::Disconnected
        }
        Input::Clock(wall) => {
            body.extend_from_slice(&wall.0.to_le_bytes());
            Kind::Clock
        }
        Input::End(reason) => {
            body.push(reason.code());
            Kind::End
        }
    }
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(&(text.len() as u32).to_le_bytes());
    body.extend_from_slice(text.as_bytes());
}

fn encode_memory(memory: &Memory, body: &mut Vec<u8>) {
    let Memory { trade_id, last_seen, trade_time, missing, untold, recent, told_from } = memory;
    let mut number = |n: u64| body.extend_from_slice(&n.to_le_bytes());
    number(u64::from(trade_id.is_some()));
    number(trade_id.unwrap_or(0));
    for time in [last_seen, trade_time, told_from] {
        number(time.0);
    }
    number(missing.len() as u64);
    missing.iter().flat_map(|m| [m.first, m.last, m.since.0, m.until.0]).for_each(&mut number);
    number(untold.len() as u64);
    untold.iter().flat_map(|(first, last)| [*first, *last]).for_each(&mut number);
    recent.iter().flat_map(|(time, key)| [time.0, *key]).for_each(&mut number);
}

/// Takes numbers and texts off the front of a body.
pub(crate) struct Body<'a>(pub &'a [u8]);

impl<'a> Body<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    pub fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    pub fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }
    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[b]| b)
    }
    pub fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(head).ok()
    }
    fn rest(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }
}

fn decode_memory(mut b: Body<'_>) -> Option<Memory> {
    let known = b.u64()? == 1;
    let trade_id = Some(b.u64()?).filter(|_| known);
    let mut time = || b.u64().map(UnixNanos);
    let (last_seen, trade_time, told_from) = (time()?, time()?, time()?);
    let (mut missing, mut untold, mut recent) = (vec![], vec![], vec![]);
    for _ in 0..b.u64()? {
        let (first, last) = (b.u64()?, b.u64()?);
        missing.push(Missing { first, last, since: UnixNanos(b.u64()?), until: UnixNanos(b.u64()?) });
    }
    for _ in 0..b.u64()? {
        untold.push((b.u64()?, b.u64()?));
    }
    while !b.0.is_empty() {
        recent.push((UnixNanos(b.u64()?), b.u64()?));
    }
    Some(Memory { trade_id, last_seen, trade_time, missing, untold, recent, told_from })
}

/// The input an entry's body holds; `None` where it cannot be understood. What is remembered is lent from `memory`.
#[inline]
pub(crate) fn decode<'a>(kind: Kind, body: &'a [u8], memory: &'a mut Memory) -> Option<Input<'a>> {
    match kind {
        Kind::Frame => Some(Input::Frame(body)),
        Kind::Timer => Some(Input::Timer),
        _ => decode_rare(kind, body, memory),
    }
}

fn decode_rare<'a>(kind: Kind, body: &'a [u8], memory: &'a mut Memory) -> Option<Input<'a>> {
    let mut b = Body(body);
    Some(match kind {
        Kind::Start => {
            let (epoch, pid) = (b.u64()?, b.u32()?);
            let origin = if b.u8()? == 1 { Origin::Simulated } else { Origin::Live };
            Input::Start { epoch, pid, origin, site: b.text()?, build: b.text()? }
        }
        Kind::Remember => {
            let instrument = InstrumentId(b.u32()?);
            *memory = decode_memory(b)?;
            Input::Remember(instrument, memory)
        }
        Kind::Connecting => Input::Connecting(b.rest()?),
        Kind::Connected => Input::Connected,
        Kind::Frame => Input::Frame(body),
        Kind::Answer => {
            let answer = Answer::read(body)?;
            let Answer { id, status, retry_after, body } = answer;
            Input::Response(id, Reply::Http { status, body, retry_after })
        }
        Kind::Failed => {
            let id = RequestId(b.u64()?);
            Input::Response(id, Reply::Failed(b.rest()?))
        }
        Kind::Timer => Input::Timer,
        Kind::Snapshot => Input::Snapshot(InstrumentId(b.u32()?)),
        Kind::Disconnected => {
            let reason = Reason::from_code(b.u8()?)?;
            Input::Disconnected(reason, b.rest()?)
        }
        Kind::Clock => Input::Clock(UnixNanos(b.u64()?)),
        Kind::End => Input::End(Reason::from_code(b.u8()?)?),
        _ => return None,
    })
}

/// An answer to a REST request, as an entry of kind [`Kind::Answer`] holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The request's number.
    pub id: RequestId,
    /// HTTP status.
    pub status: u16,
    /// What a `Retry-After` header asked for.
    pub retry_after: Option<Duration>,
    /// The body as sent, decompressed.
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads the body of an entry.
    pub fn read(body: &'a [u8]) -> Option<Answer<'a>> {
        let mut b = Body(body);
        let (id, status, retry_ms) = (RequestId(b.u64()?), b.u16()?, b.u64()?);
        let retry_after = (retry_ms != u64::MAX).then(|| Duration::from_millis(retry_ms));
        Some(Answer { id, status, retry_after, body: b.0 })
    }
}

/// A REST request, as an entry of kind [`Kind::Request`] holds it: without the values of its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested<'a> {
    /// Its number; the answer has the same.
    pub id: RequestId,
    /// `GET` and the like.
    pub method: &'a str,
    /// Where to, with secrets blotted out.
    pub url: &'a str,
    /// The names of the headers that were sent beside the usual ones.
    pub headers: Vec<&'a str>,
}

impl<'a> Requested<'a> {
    pub(crate) fn push(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.id.0.to_le_bytes());
        push_text(body, self.method);
        push_text(body, self.url);
        self.headers.iter().for_each(|name| push_text(body, name));
    }

    /// Reads the body of an entry.
    pub fn read(body: &'a [u8]) -> Option<Requested<'a>> {
        let mut b = Body(body);
        let (id, method, url) = (RequestId(b.u64()?), b.text()?, b.text()?);
        let mut headers = vec![];
        while !b.0.is_empty() {
            headers.push(b.text()?);
        }
        Some(Requested { id, method, url, headers })
    }
}

/// Entries that were not written, as an entry of kind [`Kind::Lost`] holds them; it stands where they would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub entries: u64,
    /// Their bytes, heads included.
    pub bytes: u64,
    /// The time of the first.
    pub first: UnixNanos,
    /// The time of the last.
    pub last: UnixNanos,
}

impl Lost {
    pub(crate) fn note(&mut self, bytes: usize, time: UnixNanos) {
        if self.entries == 0 {
            self.first = time;
        }
        self.entries += 1;
        self.bytes += bytes as u64;
        self.last = time;
    }

    pub(crate) fn push(&self, body: &mut Vec<u8>) {
        let numbers = [self.entries, self.bytes, self.first.0, self.last.0];
        numbers.iter().for_each(|n| body.extend_from_slice(&n.to_le_bytes()));
    }

    /// Reads the body of an entry.
    pub fn read(body: &[u8]) -> Option<Lost> {
        let mut b = Body(body);
        let (entries, bytes) = (b.u64()?, b.u64()?);
        Some(Lost { entries, bytes, first: UnixNanos(b.u64()?), last: UnixNanos(b.u64()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_comes_back() {
        let bare = Memory { last_seen: UnixNanos(4), ..Memory::default() };
        let range = Missing { first: 6, last: 7, since: UnixNanos(1), until: UnixNanos(2) };
        let full = Memory {
            trade_id: Some(8),
            last_seen: UnixNanos(3),
            trade_time: UnixNanos(2),
            missing: vec![range],
            recent: vec![(UnixNanos(2), 8), (UnixNanos(1), u64::MAX)],
            untold: vec![],
            told_from: UnixNanos::ZERO,
        };
        let told_from = Memory { told_from: UnixNanos(11), ..full.clone() };
        let untold = Memory { untold: vec![(6, 6), (7, 7)], ..full.clone() };
        let http = |status, body, retry_after| Reply::Http { status, body, retry_after };
        let inputs = [
            Input::Start { epoch: 7, pid: 9, origin: Origin::Simulated, site: "lab", build: "0.1" },
            Input::Remember(InstrumentId(5), &full),
            Input::Remember(InstrumentId(6), &bare),
            Input::Remember(InstrumentId(7), &untold),
            Input::Remember(InstrumentId(8), &told_from),
            Input::Connecting("wss://venue"),
            Input::Connected,
            Input::Frame(b"{\"a\":1}\n\xff"),
            Input::Response(RequestId(3), http(429, b"no", Some(Duration::from_secs(2)))),
            Input::Response(RequestId(4), http(200, b"", None)),
            Input::Response(RequestId(5), Reply::Failed("unreachable")),
            Input::Timer,
            Input::Snapshot(InstrumentId(5)),
            Input::Disconnected(Reason::Timeout, "silent for 5 s"),
            Input::Clock(UnixNanos(99)),
            Input::End(Reason::Shutdown),
        ];
        for input in inputs {
            let (mut body, mut memory) = (vec![], Memory::default());
            let kind = encode(&input, &mut body);
            assert!(kind.is_input());
            assert_eq!(decode(kind, &body, &mut memory), Some(input));
            // A frame is whatever bytes there are, an answer's and a text's end is the body's.
            for cut in 0..body.len() {
                let mut memory = Memory::default();
                let read = decode(kind, &body[..cut], &mut memory);
                assert_ne!(read, Some(input), "{kind:?} cut at {cut}");
            }
        }
        assert_eq!(decode(Kind::Run, b"", &mut Memory::default()), None);
    }

    #[test]
    fn requests_and_losses_come_back() {
        let request = Requested { id: RequestId(3), method: "GET", url: "https://x/y?z=1", headers: vec!["A", "B"] };
        let mut body = vec![];
        request.push(&mut body);
        assert_eq!(Requested::read(&body), Some(request));
        let mut lost = Lost::default();
        lost.note(40, UnixNanos(3));
        lost.note(32, UnixNanos(5));
        let mut body = vec![];
        lost.push(&mut body);
        assert_eq!(Lost::read(&body), Some(Lost { entries: 2, bytes: 72, first: UnixNanos(3), last: UnixNanos(5) }));
        assert_eq!(Lost::read(&body[1..]), None);
    }
}
