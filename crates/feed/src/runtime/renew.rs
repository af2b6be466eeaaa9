//! A connection is replaced before the venue cuts it: the new one is opened beside the old, and the old is closed when
//! the new carries everything. The session's arbiter makes one stream of both meanwhile.

use super::{
    Feed, FeedError, FeedOptions,
    link::{Link, State},
};
use model::{Reason, UnixNanos};
use std::time::Duration;
use venues::{Input, Spec};

/// How long a new connection may take to carry everything before the old one is closed all the same: longer than the
/// slowest venue needs for its snapshots.
const PATIENCE: Duration = Duration::from_secs(60);

/// The share of a connection's life that is left when it is replaced: an hour of a day.
const MARGIN: u32 = 24;

/// When connections are replaced, if at all.
pub(super) fn after(options: &FeedOptions, spec: &Spec) -> Option<Duration> {
    options.renew.or(spec.connection_life.map(|life| life - life / MARGIN))
}

impl Feed {
    /// Begins and ends replacements, one in each group at a time.
    pub(super) fn renew(&mut self, now: UnixNanos) -> Result<(), FeedError> {
        let Some(after) = self.renew_after else { return Ok(()) };
        for index in 0..self.links.len() {
            let link = &self.links[index];
            if link.open().is_none() {
                continue;
            }
            match link.replaces {
                Some(old) if self.session.is_ready(index) || now >= link.opened.after(PATIENCE) => {
                    self.retire(old, index, now)?;
                }
                None if now >= link.opened.after(after) => self.begin_renewal(index, now),
                _ => {}
            }
        }
        Ok(())
    }

    fn begin_renewal(&mut self, old: usize, now: UnixNanos) {
        let group = self.links[old].group;
        let same = |link: &Link| link.group == group;
        if self.links.iter().any(|link| same(link) && link.replaces.is_some()) {
            return;
        }
        let idle = |link: &Link| same(link) && matches!(link.state, State::Idle);
        let Some(new) = self.links.iter().position(idle) else { return };
        let (url, endpoint) = (self.links[old].url.clone(), self.links[old].endpoint.clone());
        tracing::info!(venue = %self.options.venue, old = self.links[old].name, new = self.links[new].name, "a connection is renewed");
        let link = &mut self.links[new];
        (link.url, link.endpoint, link.replaces) = (url, endpoint, Some(old));
        link.state = State::Down { until: now };
    }

    /// The new connection carries everything: the old one is closed.
    fn retire(&mut self, old: usize, new: usize, now: UnixNanos) -> Result<(), FeedError> {
        self.links[new].replaces = None;
        tracing::info!(venue = %self.options.venue, old = self.links[old].name, new = self.links[new].name, "renewed");
        self.links[old].note_end(self.session.market_data(old), now);
        if self.links[old].say_goodbye("renewed") {
            let text = format!("renewed by line {}", self.links[new].name);
            self.step(old, Input::Disconnected(Reason::Ok, &text), now)?;
            self.out.frames.clear();
        }
        self.links[old].state = State::Idle;
        self.show_connected();
        self.requests.retain(|(line, _)| *line != old);
        Ok(())
    }

    /// A link was lost. Whether another one was about to take its place, and does now.
    pub(super) fn is_replaced(&mut self, lost: usize) -> bool {
        match self.links.iter_mut().find(|link| link.replaces == Some(lost)) {
            Some(link) => {
                link.replaces = None;
                true
            }
            None => false,
        }
    }
}
