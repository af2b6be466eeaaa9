//! What the venues' fuzz targets share: hostile frames and answers through a whole session.

use model::{UnixNanos, Venue};
use venues::{Input, Outbox, Reply, RequestId, Session, SessionSettings, Settings, VenueMachine};

/// What a session may hold after one input of the fuzzer's size: more would be an unbounded allocation.
const WORDS_MAX: usize = 1 << 20;

/// Steps every line: a line that begins with '!' answers the oldest request, any other is a frame. Lines end with `end`.
fn told(machine: Box<dyn VenueMachine>, data: &[u8], end: u8) -> Vec<u64> {
    let mut session = Session::new(machine, SessionSettings::default());
    let mut out = Outbox::new();
    let mut all = vec![];
    let mut asked: Vec<RequestId> = vec![];
    session.step(Input::Connected, UnixNanos(1), &mut out);
    for (i, line) in data.split(|b| *b == end).enumerate() {
        let now = UnixNanos(2 + i as u64);
        asked.extend(out.requests.drain(..).map(|r| r.id));
        match line.split_first() {
            Some((b'!', body)) if !asked.is_empty() => {
                let reply = Reply::Http { status: 200, body, retry_after: None };
                session.step(Input::Response(asked.remove(0), reply), now, &mut out);
            }
            _ => {
                let before = out.records.len();
                let bad = session.step(Input::Frame(line), now, &mut out);
                // A bad frame is told as one gap and nothing else.
                assert!(bad.is_none() || out.records.len() == before + 1);
            }
        }
        all.extend_from_slice(out.records.words());
        out.records.clear();
        out.frames.clear();
        out.reconnect = None;
        assert!(all.len() < WORDS_MAX, "a small input told {} words", all.len());
    }
    all
}

/// No panic, a bad frame tells one gap and nothing else, and the same inputs tell the same records to the byte.
fn check(make: impl Fn() -> Box<dyn VenueMachine>, data: &[u8], end: u8) {
    if data.len() > 1 << 14 {
        return;
    }
    let once = told(make(), data, end);
    // Twice costs twice: every fourth input is enough to find what is not determined by it.
    if data.len() % 4 == 0 {
        assert_eq!(once, told(make(), data, end), "the same inputs told other records");
    }
}

/// A machine that learns its instruments from the frames.
fn learning(venue: Venue) -> Box<dyn VenueMachine> {
    venues::machine(venue, &Settings::default(), &[]).expect("defaults are in order")
}

/// [`check`] of a venue's text frames, one a line.
pub fn venue(venue: Venue, data: &[u8]) {
    check(|| learning(venue), data, b'\n');
}

/// [`check`] of one machine of a venue that has several.
pub fn machine(make: impl Fn() -> Box<dyn VenueMachine>, data: &[u8]) {
    check(make, data, b'\n');
}

/// [`check`] of a venue's MessagePack frames, ended by the byte that no MessagePack value begins with.
pub fn packed(venue: Venue, data: &[u8]) {
    check(|| learning(venue), data, 0xc1);
}
