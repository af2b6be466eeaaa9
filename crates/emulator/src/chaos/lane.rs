//! One direction of one connection: what is to be done with the bytes that wait, by their offset and the time.
//! (bytes waiting, time) -> [`Lane::step`] -> [`Step`]; bytes that pass go through [`Lane::pass`].
//!
//! Opens no socket and reads no clock. What happens at an offset does not hang on how many bytes wait at a time.

use std::time::Duration;

use fastrand::Rng;

use super::{Deed, Effect, Extent, Pieces, Script, When};

/// Bytes of a connection by their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the side that connected to the other.
    Up,
    /// Back.
    Down,
}

impl Direction {
    /// `up` or `down`.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
        }
    }
}

/// How a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a reset.
    Reset,
    /// In order.
    Close,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Pass so many bytes on in one piece, through [`Lane::pass`].
    Pass(usize),
    /// Throw so many away, by [`Lane::swallow`].
    Swallow(usize),
    /// Nothing before this time; `None`: until more bytes come.
    Wait(Option<Duration>),
    /// The connection ends.
    End(End),
}

/// Jitter is drawn for each of these.
const JITTER_BLOCK: u64 = 1 << 10;
/// A narrow way lets this much of a second's bytes pass at once.
const BURSTS_PER_S: u64 = 100;

/// Something that happens at points of the way.
struct Point {
    effect: Effect,
    random: Rng,
    byte: Option<u64>,
    time: Option<Duration>,
}

/// Something that lasts.
struct Span {
    effect: Effect,
    extent: Extent,
    random: Rng,
    /// Of a split: the next cut. Of a narrow way: when it is free again.
    cut: u64,
    free: Duration,
    /// The bytes it hit that are not reported yet.
    hit: Option<(u64, u64)>,
    salt: u64,
}

/// One direction of one connection.
pub struct Lane {
    points: Vec<Point>,
    spans: Vec<Span>,
    offset: u64,
    stalled: Duration,
    /// When the last byte taken in is due.
    due: Duration,
    deeds: Vec<Deed>,
}

impl Lane {
    /// The lane of a connection (counted from 1) under a script.
    pub fn new(script: &Script, seed: u64, connection: u64, direction: Direction) -> Lane {
        let mut lane = Lane {
            points: vec![],
            spans: vec![],
            offset: 0,
            stalled: Duration::ZERO,
            due: Duration::ZERO,
            deeds: vec![],
        };
        for (n, rule) in script.rules.iter().enumerate() {
            let fits = rule.direction.is_none_or(|d| d == direction) && rule.connection.is_none_or(|c| c == connection);
            if fits {
                let way = u64::from(direction == Direction::Down);
                lane.add(&rule.effect, mix(mix(mix(mix(seed) ^ connection) ^ way) ^ n as u64));
            }
        }
        lane
    }

    fn add(&mut self, effect: &Effect, salt: u64) {
        let random = Rng::with_seed(salt);
        let (when, extent) = match effect {
            Effect::Delay { extent, .. }
            | Effect::Bandwidth { extent, .. }
            | Effect::Split { extent, .. }
            | Effect::HalfOpen { extent } => (None, *extent),
            Effect::Corrupt(when) | Effect::Reset(when) | Effect::Close(when) | Effect::Stall { when, .. } => {
                (Some(*when), Extent::ALL)
            }
        };
        if let Some(when) = when {
            let mut point = Point { effect: effect.clone(), random, byte: None, time: None };
            point.first(when, matches!(effect, Effect::Corrupt(_)));
            return self.points.push(point);
        }
        let (cut, free) = (extent.from_byte, Duration::ZERO);
        self.spans.push(Span { effect: effect.clone(), extent, random, cut, free, hit: None, salt });
    }

    /// Bytes passed on and thrown away so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What was done since the last call.
    pub fn deeds(&mut self) -> Vec<Deed> {
        std::mem::take(&mut self.deeds)
    }

    /// What lasted until now, at the end.
    pub fn finish(&mut self) -> Vec<Deed> {
        for span in &mut self.spans {
            self.deeds.extend(span.report());
        }
        self.deeds()
    }

    /// When bytes that came in at a time, the first of them with this offset, may pass. Never before earlier ones.
    pub fn due(&mut self, first: u64, arrived: Duration) -> Duration {
        let mut due = arrived;
        for span in &self.spans {
            if let Effect::Delay { fixed, jitter, .. } = &span.effect
                && span.extent.contains(first, arrived)
            {
                let most = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX);
                let drawn = Rng::with_seed(mix(span.salt ^ (first / JITTER_BLOCK))).u64(0..=most);
                due = due + *fixed + Duration::from_nanos(drawn);
            }
        }
        self.due = self.due.max(due);
        self.due
    }

    /// What to do, with so many bytes waiting.
    pub fn step(&mut self, waiting: usize, now: Duration) -> Step {
        if let Some(end) = self.fire(now) {
            return Step::End(end);
        }
        if now < self.stalled {
            return Step::Wait(self.next_time().map_or(Some(self.stalled), |t| Some(t.min(self.stalled))));
        }
        if waiting == 0 {
            return Step::Wait(self.next_time());
        }
        let mut limit = waiting as u64;
        for point in self.points.iter().filter(|p| !matches!(p.effect, Effect::Corrupt(_))) {
            if let Some(byte) = point.byte.filter(|byte| *byte > self.offset) {
                limit = limit.min(byte - self.offset);
            }
        }
        let mut vanish = false;
        for n in 0..self.spans.len() {
            let offset = self.offset;
            let span = &mut self.spans[n];
            // A piece lies wholly within or without.
            for edge in [span.extent.from_byte, span.extent.to_byte] {
                if edge > offset {
                    limit = limit.min(edge - offset);
                }
            }
            if !span.extent.contains(offset, now) {
                continue;
            }
            match &span.effect {
                Effect::Split { pieces, .. } => {
                    while span.cut <= offset {
                        span.cut += match pieces {
                            Pieces::Of(bytes) => *bytes,
                            Pieces::UpTo(bytes) => span.random.u64(1..=*bytes),
                        };
                    }
                    limit = limit.min(span.cut - offset);
                }
                Effect::Bandwidth { bytes_per_s, .. } => {
                    if now < span.free {
                        let free = span.free;
                        return Step::Wait(self.next_time().map_or(Some(free), |t| Some(t.min(free))));
                    }
                    limit = limit.min((bytes_per_s / BURSTS_PER_S).max(1));
                }
                Effect::HalfOpen { .. } => vanish = true,
                _ => {}
            }
        }
        let bytes = usize::try_from(limit).unwrap_or(waiting);
        if vanish { Step::Swallow(bytes) } else { Step::Pass(bytes) }
    }

    /// What is due now happens.
    fn fire(&mut self, now: Duration) -> Option<End> {
        let offset = self.offset;
        for point in &mut self.points {
            let is_corrupt = matches!(point.effect, Effect::Corrupt(_));
            if is_corrupt || !(point.byte == Some(offset) || point.time.is_some_and(|time| time <= now)) {
                continue;
            }
            match &point.effect {
                Effect::Reset(_) => {
                    self.deeds.push(Deed::Reset { byte: offset });
                    return Some(End::Reset);
                }
                Effect::Close(_) => {
                    self.deeds.push(Deed::Close { byte: offset });
                    return Some(End::Close);
                }
                Effect::Stall { wait, when } => {
                    let (wait, when) = (*wait, *when);
                    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                    self.deeds.push(Deed::Stall { byte: offset, ms });
                    self.stalled = self.stalled.max(now + wait);
                    point.next(when);
                }
                _ => {}
            }
        }
        None
    }

    fn next_time(&self) -> Option<Duration> {
        self.points.iter().filter_map(|point| point.time).min()
    }

    /// These bytes, the next ones, are about to be passed on: damages them as they are to be.
    pub fn pass(&mut self, bytes: &mut [u8], now: Duration) {
        let (from, to) = (self.offset, self.offset + bytes.len() as u64);
        for point in &mut self.points {
            let Effect::Corrupt(when) = point.effect else { continue };
            while let Some(byte) = point.byte.filter(|byte| *byte < to) {
                if byte >= from {
                    let bit = point.random.u8(..8);
                    bytes[(byte - from) as usize] ^= 1 << bit;
                    self.deeds.push(Deed::Corrupt { byte, bit });
                }
                point.next(when);
            }
        }
        for span in &mut self.spans {
            if let Effect::Bandwidth { bytes_per_s, .. } = span.effect
                && span.extent.contains(from, now)
            {
                let ns = u128::from(to - from) * 1_000_000_000 / u128::from(bytes_per_s);
                span.free = span.free.max(now) + Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
            }
        }
        self.advance(to, now);
    }

    /// So many bytes, the next ones, are thrown away.
    pub fn swallow(&mut self, bytes: usize, now: Duration) {
        self.advance(self.offset + bytes as u64, now);
    }

    fn advance(&mut self, to: u64, now: Duration) {
        let from = self.offset;
        for span in &mut self.spans {
            if !span.extent.contains(from, now) {
                self.deeds.extend(span.report());
                continue;
            }
            span.hit = Some((span.hit.map_or(from, |hit| hit.0), to));
        }
        self.offset = to;
    }
}

impl Point {
    fn first(&mut self, when: When, from_zero: bool) {
        // The first byte of all may be hit, but nothing ends before it has begun unless it is said so.
        let before = u64::from(from_zero);
        match when {
            When::AtByte(byte) => self.byte = Some(byte),
            When::EveryBytes(bytes) => self.byte = Some(bytes - before),
            When::MeanBytes(bytes) => self.byte = Some(self.draw(bytes) - before),
            When::At(time) | When::Every(time) => self.time = Some(time),
            When::Mean(mean) => self.time = Some(self.draw_time(mean)),
        }
    }

    fn next(&mut self, when: When) {
        match when {
            When::AtByte(_) | When::At(_) => (self.byte, self.time) = (None, None),
            When::EveryBytes(bytes) => self.byte = self.byte.and_then(|byte| byte.checked_add(bytes)),
            When::MeanBytes(bytes) => {
                let drawn = self.draw(bytes);
                self.byte = self.byte.and_then(|byte| byte.checked_add(drawn));
            }
            When::Every(time) => self.time = self.time.map(|before| before + time),
            When::Mean(mean) => {
                let drawn = self.draw_time(mean);
                self.time = self.time.map(|before| before + drawn);
            }
        }
    }

    /// From 1 to twice the mean, all alike.
    fn draw(&mut self, mean: u64) -> u64 {
        self.random.u64(1..=mean.saturating_mul(2).saturating_sub(1).max(1))
    }

    fn draw_time(&mut self, mean: Duration) -> Duration {
        Duration::from_micros(self.draw(u64::try_from(mean.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Span {
    fn report(&mut self) -> Option<Deed> {
        let (from, to) = self.hit.take()?;
        Some(match self.effect {
            Effect::HalfOpen { .. } => Deed::HalfOpen { from, to },
            Effect::Delay { .. } => Deed::Hindered { action: "delay", from, to },
            Effect::Bandwidth { .. } => Deed::Hindered { action: "bandwidth", from, to },
            _ => Deed::Hindered { action: "split", from, to },
        })
    }
}

/// Numbers that lie side by side become ones that have nothing to do with each other (splitmix64).
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    /// Sends bytes that arrive in chunks and returns what came out in which pieces, and what was done.
    fn run(script: &str, seed: u64, total: usize, chunk: usize) -> (Vec<Vec<u8>>, Vec<Deed>, Option<End>) {
        let script = Script::parse(script).expect("a script");
        let mut lane = Lane::new(&script, seed, 1, Direction::Up);
        let (mut pieces, mut deeds, mut at) = (vec![], vec![], 0);
        let mut now = NOW;
        loop {
            let waiting = (total - at).min(chunk - at % chunk);
            match lane.step(waiting, now) {
                Step::Pass(n) => {
                    let mut bytes = vec![0xaa; n];
                    lane.pass(&mut bytes, now);
                    pieces.push(bytes);
                    at += n;
                }
                Step::Swallow(n) => {
                    lane.swallow(n, now);
                    at += n;
                }
                Step::Wait(Some(until)) => now = until,
                Step::Wait(None) => {
                    deeds.extend(lane.finish());
                    return (pieces, deeds, None);
                }
                Step::End(end) => {
                    deeds.extend(lane.finish());
                    return (pieces, deeds, Some(end));
                }
            }
        }
    }

    const ALL: &str = "[[rule]]\naction=\"corrupt\"\nmean_bytes=50\n[[rule]]\naction=\"split\"\nup_to_bytes=9\n\
        [[rule]]\naction=\"stall\"\nfor_s=0.01\nmean_bytes=300\n[[rule]]\naction=\"half_open\"\nfrom_byte=700\nto_byte=750\n\
        [[rule]]\naction=\"reset\"\nmean_bytes=5000";

    #[test]
    fn decisions_hang_on_seed_and_bytes_and_not_on_how_they_came() {
        let flat = |(pieces, deeds, end): (Vec<Vec<u8>>, Vec<Deed>, Option<End>)| (pieces.concat(), deeds, end);
        let whole = flat(run(ALL, 7, 100_000, 100_000));
        assert!(whole.2 == Some(End::Reset) && whole.1.len() > 10, "{:?}", whole.1);
        for chunk in [1, 13, 1000] {
            assert_eq!(flat(run(ALL, 7, 100_000, chunk)), whole, "read {chunk} at a time");
        }
        assert_ne!(flat(run(ALL, 8, 100_000, 1000)).1, whole.1);
    }

    #[test]
    fn pieces_are_as_large_as_was_said() {
        let (pieces, deeds, _) = run("[[rule]]\naction=\"split\"\nbytes=1\nfrom_byte=10\nto_byte=15", 1, 30, 30);
        let sizes: Vec<usize> = pieces.iter().map(Vec::len).collect();
        assert_eq!(sizes, [10, 1, 1, 1, 1, 1, 15]);
        assert_eq!(deeds, [Deed::Hindered { action: "split", from: 10, to: 15 }]);
    }

    #[test]
    fn every_nth_byte_has_one_bit_changed() {
        let (pieces, deeds, _) = run("[[rule]]\naction=\"corrupt\"\nevery_bytes=10", 3, 35, 4);
        let changed: Vec<usize> = pieces
            .concat()
            .iter()
            .enumerate()
            .filter(|(_, b)| (*b ^ 0xaa).count_ones() == 1)
            .map(|(at, _)| at)
            .collect();
        assert_eq!(changed, [9, 19, 29]);
        assert_eq!(deeds.len(), 3);
    }

    #[test]
    fn a_reset_comes_behind_exactly_the_bytes_said() {
        let (pieces, deeds, end) = run("[[rule]]\naction=\"reset\"\nat_byte=17", 1, 100, 10);
        assert_eq!((pieces.concat().len(), end), (17, Some(End::Reset)));
        assert_eq!(deeds, [Deed::Reset { byte: 17 }]);
        let (pieces, _, end) = run("[[rule]]\naction=\"close\"\nat_s=0.5", 1, 100, 10);
        assert_eq!((pieces.len(), end), (0, Some(End::Close)));
    }

    #[test]
    fn a_narrow_way_takes_its_time() {
        let script = Script::parse("[[rule]]\naction=\"bandwidth\"\nbytes_per_s=1000").expect("a script");
        let mut lane = Lane::new(&script, 1, 1, Direction::Down);
        let (mut now, mut left) = (NOW, 500);
        while left > 0 {
            match lane.step(left, now) {
                Step::Pass(n) => {
                    lane.pass(&mut vec![0; n], now);
                    left -= n;
                }
                Step::Wait(Some(until)) => now = until,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(now - NOW, Duration::from_millis(490), "all but the last burst was waited for");
    }

    #[test]
    fn what_is_late_stays_in_order() {
        let script = Script::parse("[[rule]]\naction=\"delay\"\nms=20\njitter_ms=50").expect("a script");
        let mut lane = Lane::new(&script, 1, 1, Direction::Down);
        let mut last = Duration::ZERO;
        for n in 0..100 {
            let arrived = NOW + Duration::from_millis(n);
            let due = lane.due(n * 1024, arrived);
            assert!(due >= last && due >= arrived + Duration::from_millis(20));
            last = due;
        }
        assert!(last <= NOW + Duration::from_millis(99 + 70));
    }
}
