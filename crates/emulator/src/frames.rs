//! A generated session's frames without sockets: for benches, fuzz seeds and tests of decoders.

use model::UnixNanos;

use crate::market::{Log, Market, Pace};
use crate::options::{EmulatedVenue, GeneratedSession, Rate};
use crate::server::{generated, pace};

/// What a market without a clock takes for the time at which it opens.
const OPENS: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

/// The frames that a generated session would send, made on this thread.
pub struct GeneratedFrames {
    market: Box<dyn Market>,
    readers: Vec<u32>,
    log: Log,
}

impl GeneratedFrames {
    /// All pairs of the session, in the streams whose names `wanted` accepts: `btcusdt@trade`, `book:BTC/USD:10`.
    /// Ids count on from `first_id`. Times are those handed to [`GeneratedFrames::advance`].
    pub fn new(
        venue: EmulatedVenue,
        session: &GeneratedSession,
        rate: Rate,
        first_id: u64,
        wanted: impl Fn(&str) -> bool,
    ) -> Self {
        let pace: Pace = pace(rate);
        let market = generated(venue, session, pace, first_id, OPENS);
        let readers = market.topics().iter().map(|topic| u32::from(wanted(&topic.name))).collect();
        Self { market, readers, log: Log::default() }
    }

    /// Hands over what is due by `now`, as `(stream, frame)`; at [`Rate::FlatOut`] about 256 KiB of it.
    pub fn advance(&mut self, now: UnixNanos, mut each: impl FnMut(&str, &[u8])) {
        self.market.advance(now, &self.readers, &mut self.log);
        let head = self.log.head();
        let first = head - self.log.len() as u64;
        let frames = self.log.from(first).expect("nothing of this log was released but what was read");
        frames.for_each(|(topic, frame)| each(&self.market.topics()[topic as usize].name, frame));
        self.log.release(head);
    }

    /// The snapshot that a subscriber of a stream would be sent first, where the venue sends one.
    pub fn snapshot(&mut self, stream: &str, now: UnixNanos) -> Option<Vec<u8>> {
        let topic = self.market.topic(stream)?;
        self.market.join(topic, now, &self.readers, &mut self.log).snapshot
    }
}

impl std::fmt::Debug for GeneratedFrames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeneratedFrames").field("streams", &self.readers.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(venue: EmulatedVenue, seed: u64, step_ns: u64) -> Vec<u8> {
        let session = GeneratedSession { seed, levels: 60, ..GeneratedSession::default() };
        let mut frames = GeneratedFrames::new(venue, &session, Rate::FramesPerSecond(5000), 1_000_000, |_| true);
        let mut out = Vec::new();
        let start = 1_700_000_000_000_000_000;
        frames.advance(UnixNanos(start), |_, _| {});
        let mut now = start;
        while now < start + 1_500_000_000 {
            now += step_ns;
            frames.advance(UnixNanos(now), |stream, frame| {
                out.extend_from_slice(stream.as_bytes());
                out.extend_from_slice(frame);
            });
        }
        out
    }

    #[test]
    fn frames_depend_on_the_seed_and_not_on_when_they_are_fetched() {
        for venue in [EmulatedVenue::Kraken, EmulatedVenue::Binance, EmulatedVenue::Coinbase, EmulatedVenue::Alpaca] {
            let often = bytes(venue, 5, 500_000);
            assert!(often.len() > 500_000);
            assert!(often == bytes(venue, 5, 125_000_000), "{venue:?}: frames differ with the moment of fetching");
            assert!(often != bytes(venue, 6, 500_000), "{venue:?}: another seed gives the same frames");
        }
    }

    #[test]
    fn rates_from_one_frame_a_second_to_300000_are_kept() {
        // Where news comes more often than orders, takers go further: there are more trades than the rate counts on.
        for (rate, seconds, off_percent) in [(1_u32, 2_000, 40), (100, 100, 10), (10_000, 5, 10), (300_000, 1, 10)] {
            let session = GeneratedSession { book_pace: crate::BookPace::Batched, ..GeneratedSession::default() };
            let load =
                |name: &str| ["@trade", "@bookTicker", "@depth@100ms"].iter().any(|stream| name.ends_with(stream));
            let pace = Rate::FramesPerSecond(rate);
            let mut frames = GeneratedFrames::new(EmulatedVenue::Binance, &session, pace, 1, load);
            let (mut count, start) = (0_u64, 1_700_000_000_000_000_000);
            for step in 0..=seconds * 2 {
                frames.advance(UnixNanos(start + step * 500_000_000), |_, _| count += 1);
            }
            let expected = u64::from(rate) * seconds;
            assert!(
                count.abs_diff(expected) < expected * off_percent / 100,
                "{rate} a second: {count} frames in {seconds} s"
            );
        }
    }

    #[test]
    fn the_load_mix_is_as_stated() {
        let session = GeneratedSession { book_pace: crate::BookPace::Batched, ..GeneratedSession::default() };
        let kind = |name: &str| -> Option<usize> {
            let trade = name.starts_with("trade:") || name.ends_with("@trade");
            let quote = name.ends_with(":bbo") || name.ends_with("@bookTicker");
            let book = name.starts_with("book:") && name.ends_with(":10") || name.ends_with("@depth@100ms");
            [trade, quote, book].iter().position(|is| *is)
        };
        for venue in [EmulatedVenue::Binance, EmulatedVenue::Kraken] {
            let wanted = |name: &str| kind(name).is_some();
            let mut frames = GeneratedFrames::new(venue, &session, Rate::FlatOut, 1, wanted);
            let mut counts = [0_u64; 3];
            for turn in 0..200 {
                frames.advance(UnixNanos(1_700_000_000_000_000_000 + turn), |name, _| {
                    counts[kind(name).expect("a wanted stream")] += 1;
                });
            }
            let total: u64 = counts.iter().sum();
            let share = |count: u64| count * 100 / total;
            assert!((29..=33).contains(&share(counts[0])), "{venue:?}: {counts:?}");
            assert!((49..=55).contains(&share(counts[1])), "{venue:?}: {counts:?}");
            assert!((14..=20).contains(&share(counts[2])), "{venue:?}: {counts:?}");
        }
    }
}
