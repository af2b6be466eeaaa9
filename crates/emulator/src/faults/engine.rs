//! The frame faults that wait for their frames, and what they do to those that come.
//! topic, frame -> [`FrameFaults::pass`] -> the frames to send instead, and a line in the [`Ledger`].
//!
//! One of these stands where frames enter the log, for all readers; each connection has one of its own for the faults
//! planned for it alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::UnixNanos;

use super::ledger::{Ledger, Spot};
use super::{Fault, Planned, Trigger, mutate};
use crate::market::{Log, Topic, TopicId};

/// A fault that waits for frames or acts on them.
#[derive(Debug)]
struct Waiting {
    id: u64,
    planned: Planned,
    /// Frames that fitted so far.
    seen: u64,
    /// Hits still to come.
    left: u32,
    /// When it ends by itself.
    until: UnixNanos,
    rng: fastrand::Rng,
    /// Frames held back, to be sent in another order.
    held: Vec<(TopicId, Vec<u8>)>,
    /// The last frame of each topic, to be sent again and again.
    last: BTreeMap<TopicId, Vec<u8>>,
}

/// The frame faults of one place.
#[derive(Debug)]
pub(crate) struct FrameFaults {
    waiting: Vec<Waiting>,
    ledger: Arc<Ledger>,
    /// The connection this is for, where it is for one.
    connection: Option<u64>,
}

/// What one fault makes of one frame.
enum Act {
    /// It does not fit; another may.
    Pass,
    /// The frame was changed, or will be followed by another.
    Changed,
    /// The frame is not sent. With `true` it has used up its number.
    Withheld(bool),
}

impl FrameFaults {
    pub(crate) fn new(ledger: Arc<Ledger>, connection: Option<u64>) -> Self {
        Self { waiting: Vec::new(), ledger, connection }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes in a fault that acts on frames.
    pub(crate) fn add(&mut self, id: u64, planned: Planned, now: UnixNanos) {
        let left = match (&planned.fault, planned.trigger) {
            (Fault::Lose(_, count) | Fault::Hide(_, count), _) => *count,
            (Fault::Reorder(_, window), _) => *window,
            (fault, _) if fault.lasts().is_some() => u32::MAX,
            _ => planned.count,
        };
        let until = match (planned.fault.lasts(), planned.trigger) {
            (Some(wait), Trigger::Next) => now.after(wait),
            _ => UnixNanos(u64::MAX),
        };
        let rng = fastrand::Rng::with_seed(planned.seed);
        let (held, last) = (Vec::new(), BTreeMap::new());
        self.waiting.push(Waiting { id, planned, seen: 0, left, until, rng, held, last });
    }

    /// Ends what has lasted its time.
    pub(crate) fn expire(&mut self, now: UnixNanos) {
        let ledger = &self.ledger;
        self.waiting.retain(|waiting| {
            let over = waiting.until <= now;
            if over {
                ledger.finish(waiting.id);
            }
            !over
        });
    }

    /// Lets the waiting faults act on the frames that entered the log at `cursor` or after.
    pub(crate) fn act(&mut self, cursor: u64, now: UnixNanos, topics: &[Topic], log: &mut Log) {
        self.expire(now);
        if self.waiting.is_empty() || log.head() == cursor {
            return;
        }
        for (topic_id, frame) in log.split_off(cursor) {
            self.pass(topic_id, topics, frame, now, |topic, frame| log.push(topic, frame));
        }
    }

    /// Hands on what becomes of a frame. An empty frame keeps the place of a lost one: where a venue counts its frames,
    /// that leaves a hole.
    pub(crate) fn pass(
        &mut self,
        topic: TopicId,
        topics: &[Topic],
        mut frame: Vec<u8>,
        now: UnixNanos,
        mut send: impl FnMut(TopicId, &[u8]),
    ) {
        if frame.is_empty() {
            return send(topic, b"");
        }
        let mut behind: Vec<(TopicId, Vec<u8>)> = Vec::new();
        let mut over = Vec::new();
        let mut taken = false;
        let about = &topics[topic as usize];
        for (index, waiting) in self.waiting.iter_mut().enumerate() {
            // A frame that another fault took is one of the stream's all the same.
            let fits = waiting.planned.fault.target().fits(about) && waiting.is_set_off(now);
            if !fits || taken {
                continue;
            }
            let ids = mutate::ids(&frame, about.kind);
            let act = waiting.act(topic, &mut frame, &mut behind);
            if matches!(act, Act::Pass) {
                waiting.seen -= u64::from(waiting.planned.trigger == Trigger::Next);
                continue;
            }
            let spot = Spot {
                stream: Some(about.kind),
                symbol: Some(&about.symbol),
                connection: self.connection,
                frame: waiting.seen,
                ids: &ids,
            };
            self.ledger.hit(waiting.id, waiting.planned.fault.name(), now, &spot);
            waiting.left = waiting.left.saturating_sub(1);
            if waiting.left == 0 {
                over.push(index);
            }
            if let Act::Withheld(counts) = act {
                taken = true;
                if counts {
                    send(topic, b"");
                }
            }
        }
        if !taken {
            send(topic, &frame);
        }
        behind.iter().for_each(|(topic, frame)| send(*topic, frame));
        for index in over.into_iter().rev() {
            self.ledger.finish(self.waiting.remove(index).id);
        }
    }
}

impl Waiting {
    /// Counts a frame that fits, and says whether it is one of those that are hit.
    fn is_set_off(&mut self, now: UnixNanos) -> bool {
        self.seen += 1;
        match self.planned.trigger {
            Trigger::Next => true,
            Trigger::Frame(number) => {
                if self.seen == number
                    && let Some(wait) = self.planned.fault.lasts()
                {
                    self.until = now.after(wait);
                }
                self.seen >= number
            }
            Trigger::PerMillion(rate) => self.rng.u32(..1_000_000) < rate,
        }
    }

    fn act(&mut self, topic: TopicId, frame: &mut Vec<u8>, behind: &mut Vec<(TopicId, Vec<u8>)>) -> Act {
        let changed = match &self.planned.fault {
            Fault::Lose(..) => return Act::Withheld(true),
            // What was never sent is not counted by the venue.
            Fault::Mute(..) | Fault::Hide(..) => return Act::Withheld(false),
            Fault::Corrupt(_) => mutate::corrupt(frame),
            Fault::Checksum(_) => mutate::checksum(frame),
            Fault::Number(_, field, value) => mutate::replace(frame, *field, value, false),
            Fault::Type(_, field, value) => mutate::replace(frame, *field, value, true),
            Fault::Skew(_, by_ms, _) => mutate::skew(frame, *by_ms),
            Fault::Cross(_) => mutate::cross(frame),
            Fault::Duplicate(_) => {
                behind.push((topic, frame.clone()));
                true
            }
            Fault::Malform(_) => {
                behind.push((topic, frame[..frame.len() / 2].to_vec()));
                true
            }
            Fault::Truncate(_) => {
                frame.truncate(frame.len() / 2);
                true
            }
            Fault::Freeze(..) => {
                *frame = self.last.entry(topic).or_insert_with(|| std::mem::take(frame)).clone();
                true
            }
            Fault::Reorder(..) => {
                self.held.push((topic, std::mem::take(frame)));
                if self.left <= 1 {
                    let first = self.held[0].1.clone();
                    self.rng.shuffle(&mut self.held);
                    // A shuffle may leave everything where it was.
                    if self.held[0].1 == first {
                        self.held.rotate_left(1);
                    }
                    behind.append(&mut self.held);
                }
                return Act::Withheld(false);
            }
            _ => false,
        };
        if changed { Act::Changed } else { Act::Pass }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Field, Target};
    use super::*;
    use model::StreamKind;
    use std::time::Duration;

    fn topic(kind: StreamKind) -> Topic {
        Topic { name: "t".into(), symbol: "S".into(), kind }
    }

    fn after(fault: Fault, frames: &[&str]) -> String {
        let (sent, _) = planned(fault.into(), frames);
        sent
    }

    fn planned(planned: Planned, frames: &[&str]) -> (String, Arc<Ledger>) {
        let ledger = Arc::new(Ledger::new(None));
        let (mut faults, mut log) = (FrameFaults::new(Arc::clone(&ledger), None), Log::default());
        faults.add(ledger.enter(), planned, UnixNanos(0));
        frames.iter().for_each(|frame| log.push(0, frame.as_bytes()));
        faults.act(0, UnixNanos(5), &[topic(StreamKind::Book)], &mut log);
        let frames = log.from(0).expect("nothing was released").filter(|(_, frame)| !frame.is_empty());
        (frames.map(|(_, frame)| String::from_utf8_lossy(frame).into_owned()).collect::<Vec<_>>().join(" "), ledger)
    }

    #[test]
    fn a_plan_says_which_frame_is_hit_and_the_ledger_says_which_were() {
        let lose = || Planned { trigger: Trigger::Frame(3), ..Fault::Lose(Target::ALL, 2).into() };
        let (sent, ledger) = planned(lose(), &["a", "b", "c", "d", "e"]);
        let extent = ledger.extents().remove(0);
        assert_eq!((&sent[..], extent.first_frame, extent.last_frame, extent.count), ("a b e", 3, 4, 2));
        assert!(extent.over);
        let twice = || Planned {
            trigger: Trigger::PerMillion(500_000),
            count: u32::MAX,
            seed: 9,
            ..Fault::Duplicate(Target::ALL).into()
        };
        let frames: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        let (first, ledger) = planned(twice(), &frames);
        assert_eq!(first, planned(twice(), &frames).0, "a seed is a seed");
        assert!((400..600).contains(&ledger.hits()), "{}", ledger.hits());
        let (sent, _) = planned(Fault::Reorder(Target::ALL, 3).into(), &["a", "b", "c", "d"]);
        assert!(sent.ends_with("d") && sent.len() == 7 && sent != "a b c d", "{sent}");
        let frozen = after(Fault::Freeze(Target::ALL, Duration::from_nanos(9)), &["a", "b", "c"]);
        assert_eq!(frozen, "a a a");
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
        assert_eq!(after(Fault::Hide(all(), 1), &["a", "b"]), "b");
        assert_eq!(after(Fault::Truncate(all()), &["{abc}x", "b"]), "{ab b");
        let number = Fault::Number(all(), Field::Size, "1e400".to_owned());
        assert_eq!(after(number, &["x", r#"{"qty":0.5}"#]), r#"x {"qty":1e400}"#);
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
