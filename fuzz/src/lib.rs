//! What the venues' fuzz targets share: hostile frames and answers through a whole session.

use model::{UnixNanos, Venue};
use venues::{Input, Outbox, Reply, RequestId, Session, SessionSettings, Settings};

/// What a session may hold after one input of the fuzzer's size: more would be an unbounded allocation.
const WORDS_MAX: usize = 1 << 20;

/// Steps every line: a line that begins with '!' answers the oldest request, any other is a frame.
fn told(venue: Venue, choices: &[(String, String)], data: &[u8]) -> Vec<u64> {
    let machine = venues::machine(venue, &Settings::default(), choices).expect("defaults are in order");
    let mut session = Session::new(machine, SessionSettings::default());
    let mut out = Outbox::new();
    let mut all = vec![];
    let mut asked: Vec<RequestId> = vec![];
    session.step(Input::Connected, UnixNanos(1), &mut out);
    for (i, line) in data.split(|b| *b == b'\n').enumerate() {
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
pub fn venue(venue: Venue, data: &[u8]) {
    venue_with(venue, &[], data);
}

/// The same with some of the venue's choices made.
pub fn venue_with(venue: Venue, choices: &[(&str, &str)], data: &[u8]) {
    let choices: Vec<_> = choices.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    if data.len() <= 1 << 14 {
        assert_eq!(told(venue, &choices, data), told(venue, &choices, data), "the same inputs told other records");
    }
}
