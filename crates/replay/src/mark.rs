//! What keeps a replay from being taken for live: every session record it tells says so.

use model::UnixNanos;
use wire::{Envelope, Origin, Record, RecordBuf, RecordType};

/// A replay's site begins with this; what follows is the site that was recorded.
pub const SITE_PREFIX: &str = "replay:";

/// The most bytes of a site's name in a record.
const SITE_BYTES_MAX: usize = 64;

/// The name under which what a site told is replayed.
pub fn replay_site(site: &str) -> String {
    if site.starts_with(SITE_PREFIX) {
        return site.to_owned();
    }
    let room = SITE_BYTES_MAX - SITE_PREFIX.len();
    let end = (0..=room.min(site.len())).rev().find(|at| site.is_char_boundary(*at)).unwrap_or(0);
    format!("{SITE_PREFIX}{}", &site[..end])
}

/// Whether this is the name of a replay.
pub fn is_replay(site: &str) -> bool {
    site.starts_with(SITE_PREFIX)
}

/// A session start as a replay tells it: the site is a replay's and the data simulated, all else is as it was. `None`
/// for every other record, which is told as it is.
#[inline]
pub fn marked(words: &[u64]) -> Option<RecordBuf> {
    let kind = words.first().map_or(0, |head| *head as u8);
    if kind == RecordType::SessionStart as u8 { mark(words) } else { None }
}

#[cold]
fn mark(words: &[u64]) -> Option<RecordBuf> {
    let Ok(Record::SessionStart(view)) = Record::read(words) else { return None };
    let pid = u32::try_from(view.head.pid).unwrap_or(u32::MAX);
    let start = Start { epoch: view.head.epoch, pid, site: view.site, build: view.build };
    Some(session_start(view.head.header.venue()?, &start, UnixNanos(view.head.ts_recv)))
}

/// What a session start says.
pub(crate) struct Start<'a> {
    pub epoch: u64,
    pub pid: u32,
    pub site: &'a str,
    pub build: &'a str,
}

/// A session start of a replay.
pub(crate) fn session_start(venue: model::Venue, start: &Start<'_>, received: UnixNanos) -> RecordBuf {
    let mut buf = RecordBuf::default();
    let site = replay_site(start.site);
    buf.push_session_start(venue, start.epoch, start.pid, Origin::Simulated, &site, start.build, received)
        .expect("the site is cut to what fits and the build was read from a record or is ours");
    buf
}

/// A record of a transport, not of a feed.
pub(crate) const fn nobody(epoch: u64) -> Envelope {
    Envelope { epoch, sequence: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Venue;

    #[test]
    fn a_session_start_says_that_it_is_replayed_and_nothing_else_changes() {
        let mut buf = RecordBuf::default();
        let received = UnixNanos(5);
        buf.push_session_start(Venue::Kraken, 7, 9, Origin::Live, "desk-1", "0.1", received).expect("it fits");
        let told = marked(buf.words()).expect("a session start");
        let Ok(Record::SessionStart(view)) = Record::read(told.words()) else { panic!("a session start") };
        assert_eq!((view.site, view.build, view.head.simulated), ("replay:desk-1", "0.1", 1));
        assert_eq!((view.head.epoch, view.head.pid, view.head.ts_recv), (7, 9, 5));
        assert_eq!(marked(told.words()).expect("one").words(), told.words(), "marked twice is marked once");
        let heartbeat = wire::HeartbeatRecord::new(Venue::Kraken, 2, received);
        assert!(marked(heartbeat.as_words()).is_none());
        let long = replay_site(&"ä".repeat(64));
        assert!(is_replay(&long) && long.len() <= SITE_BYTES_MAX && long.ends_with('ä'));
    }
}
