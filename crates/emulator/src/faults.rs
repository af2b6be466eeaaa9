//! Faults on demand: what a test or a demo wants to go wrong, when, and what it does to the frames.
//!
//! Frame faults act where frames enter the log, so every reader of a stream sees the same fault; connection faults act
//! on sockets. A script is the same with times. Nothing here is random: a fault hits the next frame that fits.

use std::time::Duration;

use model::StreamKind;

use crate::market::{Log, Topic};

/// Which streams a frame fault means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind; `None` means all.
    pub kind: Option<StreamKind>,
    /// The venue's symbol; `None` means all.
    pub symbol: Option<String>,
}

impl Target {
    /// Every stream.
    pub const ALL: Target = Target { kind: None, symbol: None };

    /// One kind of stream of one symbol.
    pub fn of(kind: StreamKind, symbol: &str) -> Self {
        Self { kind: Some(kind), symbol: Some(symbol.to_owned()) }
    }

    fn fits(&self, topic: &Topic) -> bool {
        if topic.kind == StreamKind::Connection {
            // Heartbeats that come from the market are no more hit than those of a protocol.
            return false;
        }
        self.kind.is_none_or(|kind| kind == topic.kind) && self.symbol.as_ref().is_none_or(|s| *s == topic.symbol)
    }
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every connection breaks, without a close frame.
    Drop,
    /// Streams fall silent for a time; pings and heartbeats go on.
    Mute(Target, Duration),
    /// The next frames are lost.
    Lose(Target, u32),
    /// One digit of a size in the next frame that has one is changed: a wrong checksum at Kraken (as soon as the level is
    /// among the best ten), a wrong level at Binance.
    Corrupt(Target),
    /// The next frame is sent twice.
    Duplicate(Target),
    /// The next frame is followed by its first half, which is no JSON.
    Malform(Target),
    /// New connections and requests are answered with this HTTP status and `Retry-After` for a time.
    Refuse {
        /// 429 or 503.
        status: u16,
        /// For so long.
        wait: Duration,
    },
}

/// A fault and when it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedFault {
    /// After the start of the server.
    pub after: Duration,
    /// What goes wrong.
    pub fault: Fault,
}

/// A line of a script that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "fault script line {line}: {problem}; a line reads `SECONDS drop`, `SECONDS mute|lose|corrupt|duplicate|malform \
     KIND SYMBOL [SECONDS or COUNT]` with `*` for all, or `SECONDS refuse STATUS SECONDS`"
)]
pub struct ScriptError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads a script: one fault a line, `#` starts a comment.
pub fn parse_script(text: &str) -> Result<Vec<ScriptedFault>, ScriptError> {
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        faults.push(parse_line(&words).map_err(|problem| ScriptError { line: index + 1, problem })?);
    }
    faults.sort_by_key(|fault| fault.after);
    Ok(faults)
}

fn parse_line(words: &[&str]) -> Result<ScriptedFault, String> {
    let [after, name, rest @ ..] = words else { return Err("a time and a fault are needed".to_owned()) };
    let fault = match (*name, rest) {
        ("drop", []) => Fault::Drop,
        ("refuse", [status, wait]) => match status.parse() {
            Ok(status @ (429 | 503)) => Fault::Refuse { status, wait: seconds(wait)? },
            _ => return Err(format!("{status:?} is no status to refuse with, 429 and 503 are")),
        },
        ("mute", [kind, symbol, wait]) => Fault::Mute(target(kind, symbol)?, seconds(wait)?),
        ("lose", [kind, symbol, count]) => {
            let count = count.parse().map_err(|_| format!("{count:?} is no count of frames"))?;
            Fault::Lose(target(kind, symbol)?, count)
        }
        ("corrupt", [kind, symbol]) => Fault::Corrupt(target(kind, symbol)?),
        ("duplicate", [kind, symbol]) => Fault::Duplicate(target(kind, symbol)?),
        ("malform", [kind, symbol]) => Fault::Malform(target(kind, symbol)?),
        _ => return Err(format!("{:?} is no fault", words[1..].join(" "))),
    };
    Ok(ScriptedFault { after: seconds(after)?, fault })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let read = scan::fixed(text.as_bytes(), 9).ok().filter(|(ns, len)| *ns >= 0 && *len == text.len());
    read.map(|(ns, _)| Duration::from_nanos(ns.unsigned_abs())).ok_or_else(|| format!("{text:?} is no time in seconds"))
}

fn target(kind: &str, symbol: &str) -> Result<Target, String> {
    let kind = match kind {
        "*" => None,
        "trade" => Some(StreamKind::Trade),
        "book" => Some(StreamKind::Book),
        "quote" => Some(StreamKind::Quote),
        "bar" => Some(StreamKind::Bar),
        "order" => Some(StreamKind::Order),
        "instrument" => Some(StreamKind::Instrument),
        _ => {
            return Err(format!("{kind:?} is no kind of stream; trade, book, quote, bar, order, instrument and * are"));
        }
    };
    Ok(Target { kind, symbol: (symbol != "*").then(|| symbol.to_owned()) })
}

/// A fault that acts on frames.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pending {
    MuteUntil(u64),
    Lose(u32),
    Corrupt,
    Duplicate,
    Malform,
}

/// The frame faults that wait for their frames.
#[derive(Debug, Default)]
pub(crate) struct FrameFaults {
    waiting: Vec<(Target, Pending)>,
    /// Frames changed, added or withheld so far.
    pub(crate) hits: u64,
}

impl FrameFaults {
    /// Takes a fault in; connection faults are not for frames and come back.
    pub(crate) fn add(&mut self, fault: Fault, now_ns: u64) -> Option<Fault> {
        let (target, pending) = match fault {
            Fault::Mute(target, wait) => {
                let ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
                (target, Pending::MuteUntil(now_ns.saturating_add(ns)))
            }
            Fault::Lose(target, count) => (target, Pending::Lose(count)),
            Fault::Corrupt(target) => (target, Pending::Corrupt),
            Fault::Duplicate(target) => (target, Pending::Duplicate),
            Fault::Malform(target) => (target, Pending::Malform),
            other => return Some(other),
        };
        self.waiting.push((target, pending));
        None
    }

    /// Lets the waiting faults act on the frames that entered the log at `cursor` or after.
    pub(crate) fn act(&mut self, cursor: u64, now_ns: u64, topics: &[Topic], log: &mut Log) {
        self.waiting.retain(|(_, pending)| !matches!(pending, Pending::MuteUntil(end) if *end <= now_ns));
        if self.waiting.is_empty() || log.head() == cursor {
            return;
        }
        for (topic_id, mut frame) in log.split_off(cursor) {
            let topic = &topics[topic_id as usize];
            let mut copies: Vec<Vec<u8>> = Vec::new();
            let mut kept = true;
            let mut hits = 0;
            self.waiting.retain_mut(|(target, pending)| {
                if !kept || !target.fits(topic) {
                    return true;
                }
                let stays = match pending {
                    Pending::MuteUntil(_) => {
                        kept = false;
                        true
                    }
                    Pending::Lose(left) => {
                        kept = false;
                        *left = left.saturating_sub(1);
                        *left > 0
                    }
                    Pending::Corrupt if !corrupt(&mut frame) => return true,
                    Pending::Corrupt => false,
                    Pending::Duplicate => {
                        copies.push(frame.clone());
                        false
                    }
                    Pending::Malform => {
                        copies.push(frame[..frame.len() / 2].to_vec());
                        false
                    }
                };
                hits += 1;
                stays
            });
            self.hits += hits;
            if !kept {
                // An empty frame keeps the place: where a venue counts its frames, a lost one leaves a hole.
                frame.clear();
            }
            log.push(topic_id, &frame);
            copies.iter().filter(|_| kept).for_each(|copy| log.push(topic_id, copy));
        }
    }
}

/// What stands before a size, in the order in which frames are searched: a venue's book, its trades, its quotes.
/// Books of Binance and Coinbase Exchange have none: there a size is the last text of its list.
const SIZE_MARKS: [&[u8]; 8] = [
    b"\"qty\":",
    b"\"new_quantity\":\"",
    b"\"size\":\"",
    b"\"remaining_size\":\"",
    b"\"best_bid_size\":\"",
    b"\"best_bid_quantity\":\"",
    b"\"s\":",
    b"\"bs\":",
];

/// Changes the last digit of the first size that is not zero; `false` when the frame has none.
fn corrupt(frame: &mut [u8]) -> bool {
    let named = SIZE_MARKS.iter().copied().find(|mark| find(frame, mark, 0).is_some());
    let (mark, end): (&[u8], &[u8]) = named.map_or((b"\",\"", b"\"]"), |mark| (mark, b""));
    let mut from = 0;
    while let Some(at) = find(frame, mark, from) {
        let start = at + mark.len();
        let len = frame[start..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
        let is_size = frame[start + len..].starts_with(end);
        let size = &mut frame[start..start + len];
        if is_size
            && size.iter().any(|b| (b'1'..=b'9').contains(b))
            && let Some(digit) = size.iter_mut().rfind(|b| b.is_ascii_digit())
        {
            *digit = if *digit == b'9' { b'8' } else { *digit + 1 };
            return true;
        }
        from = start;
    }
    false
}

fn find(text: &[u8], mark: &[u8], from: usize) -> Option<usize> {
    text.get(from..)?.windows(mark.len()).position(|window| window == mark).map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_back() {
        let script = "5 refuse 429 2.5 # later\n\n1.5 lose book BTC/USD 3\n0 mute * * 1";
        let faults = parse_script(script).expect("a good script");
        let expected = [
            (0, Fault::Mute(Target::ALL, Duration::from_secs(1))),
            (1500, Fault::Lose(Target::of(StreamKind::Book, "BTC/USD"), 3)),
            (5000, Fault::Refuse { status: 429, wait: Duration::from_millis(2500) }),
        ];
        let read: Vec<(u128, Fault)> = faults.into_iter().map(|f| (f.after.as_millis(), f.fault)).collect();
        assert_eq!(read, expected);
        for bad in ["drop", "x drop", "1 explode", "1 lose book X", "1 mute ham X 3", "1 refuse 200 1", "-1 drop"] {
            assert!(parse_script(bad).is_err(), "{bad:?} was taken for a script");
        }
    }

    fn topic(kind: StreamKind) -> Topic {
        Topic { name: "t".into(), symbol: "S".into(), kind }
    }

    fn after(fault: Fault, frames: &[&str]) -> String {
        let (mut faults, mut log) = (FrameFaults::default(), Log::default());
        assert_eq!(faults.add(fault, 0), None);
        frames.iter().for_each(|frame| log.push(0, frame.as_bytes()));
        faults.act(0, 5, &[topic(StreamKind::Book)], &mut log);
        let frames = log.from(0).expect("nothing was released").filter(|(_, frame)| !frame.is_empty());
        frames.map(|(_, frame)| String::from_utf8_lossy(frame).into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_fault_hits_the_next_frame_that_fits() {
        let all = || Target::ALL;
        assert_eq!(after(Fault::Lose(all(), 2), &["a", "b", "c"]), "c");
        assert_eq!(after(Fault::Duplicate(all()), &["a", "b"]), "a a b");
        assert_eq!(after(Fault::Malform(all()), &["{abc}x", "b"]), "{abc}x {ab b");
        assert_eq!(after(Fault::Mute(all(), Duration::from_nanos(9)), &["a", "b"]), "");
        assert_eq!(after(Fault::Mute(all(), Duration::from_nanos(4)), &["a", "b"]), "a b");
        assert_eq!(after(Fault::Lose(Target::of(StreamKind::Trade, "S"), 2), &["a"]), "a");
        let kraken = r#"{"price":1.0,"qty":0.00000000},{"price":1.0,"qty":0.50}"#;
        assert_eq!(after(Fault::Corrupt(all()), &[kraken]), kraken.replace("0.50", "0.51"));
        let binance = r#""u":1,"b":[["1.0","0.0"],["1.0","0.9"]],"a":[]"#;
        assert_eq!(after(Fault::Corrupt(all()), &["none", binance]), format!("none {}", binance.replace("0.9", "0.8")));
        let exchange = r#"{"type":"l2update","product_id":"X-Y","changes":[["buy","1.00","0"],["buy","1.00","0.25"]],"time":"2026"}"#;
        assert_eq!(after(Fault::Corrupt(all()), &[exchange]), exchange.replace("0.25", "0.26"));
        let advanced = r#""updates":[{"side":"bid","price_level":"1","new_quantity":"0"},{"new_quantity":"3.5"}]"#;
        assert_eq!(after(Fault::Corrupt(all()), &[advanced]), advanced.replace("3.5", "3.6"));
        let alpaca = r#"[{"T":"o","S":"A","b":[{"p":1,"s":0.5}]}]"#;
        assert_eq!(after(Fault::Corrupt(all()), &[alpaca]), alpaca.replace("0.5", "0.6"));
    }
}
