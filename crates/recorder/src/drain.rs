//! Empties the rings into the spill, so that a slow disk never lets them lap us while there is room in memory.
//! rings -> [`relay::Client`] -> [`Drain::run`] -> [`Spill`].
//!
//! Invariants: of each venue every record from the start on goes into the spill once and in order, or an overrun record
//! names it. While the spill is full nothing is read; what the rings overwrite meanwhile is told exactly, and reading
//! goes on at the oldest record they still hold. Knows nothing of the journal.

use crate::spill::{Chunk, RunKind, Spill};
use crate::stats::Shared;
use model::Venue;
use relay::{Client, ClientError, ClientOptions, Delivery, Position, Slow, Source, Start, Subscription};
use std::{path::PathBuf, sync::Arc, time::Duration};
use wire::Record;

/// Longest sleep: how soon a request to end is noticed.
const WAIT: Duration = Duration::from_millis(100);
/// One round of draining ends here, so that the journal gets what there is while the rings are full of more.
const ROUND_BYTES_MAX: usize = 1 << 20;
/// Errors of the rings in a row, each followed by a new start behind the trouble, before the drain gives up.
const RING_ERRORS_MAX: u32 = 100;

/// Where to read and how often.
#[derive(Clone, Debug)]
pub(crate) struct DrainOptions {
    pub(crate) rings: PathBuf,
    /// Rests after each round, so that a round is worth its wake-up and a commit of the journal its sync.
    pub(crate) window: Duration,
    pub(crate) client: ClientOptions,
}

/// The thread's state.
pub(crate) struct Drain {
    options: DrainOptions,
    client: Client,
    spill: Arc<Spill>,
    shared: Arc<Shared>,
    order: Order,
}

/// Per venue, the record that comes next.
#[derive(Default)]
struct Order {
    next: Vec<Position>,
}

impl Drain {
    /// Stands behind `positions`, the last records the journal names; venues it does not know are read from the oldest
    /// record held.
    pub(crate) fn open(
        options: DrainOptions,
        last: &[Position],
        spill: Arc<Spill>,
        shared: Arc<Shared>,
    ) -> Result<Drain, ClientError> {
        let next = last.iter().map(|at| Position { sequence: at.sequence + 1, ..*at }).collect::<Vec<_>>();
        let client = subscribe(&options, next.clone())?;
        client.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(Drain { options, client, spill, shared, order: Order { next } })
    }

    /// Drains until asked to end, and then what is left.
    pub(crate) fn run(mut self) -> Result<(), ClientError> {
        let mut chunk = Chunk::default();
        let mut errors = 0;
        let outcome = loop {
            // Read before the round: what was published before the request is drained.
            let ending = self.shared.is_ending();
            if self.shared.is_hopeless() {
                break Ok(());
            }
            if !self.spill.wait_for_room(WAIT) {
                continue;
            }
            let drained = match self.round(&mut chunk) {
                Ok(drained) => {
                    errors = 0;
                    drained
                }
                Err(ClientError::Ring(error)) if errors < RING_ERRORS_MAX => {
                    errors += 1;
                    tracing::warn!(%error, "a ring cannot be read here; going on behind the trouble");
                    0
                }
                Err(error) => break Err(error),
            };
            if !chunk.is_empty() {
                self.shared.drained(&chunk);
                chunk = self.spill.push(chunk);
            }
            if ending && drained == 0 {
                break Ok(());
            }
            if drained == 0 {
                self.client.wait(WAIT);
            }
            if !self.options.window.is_zero() && !ending {
                std::thread::sleep(self.options.window);
            }
        };
        self.spill.close();
        outcome
    }

    /// Takes what is there, up to a bound. Returns how many records that was.
    fn round(&mut self, chunk: &mut Chunk) -> Result<usize, ClientError> {
        let mut drained = 0;
        loop {
            let (order, shared) = (&mut self.order, &self.shared);
            let polled = self.client.poll(|delivery, words| order.take(delivery, words, chunk, shared));
            let polled = match polled {
                // Told already; what the rings hold beyond it is still to be had.
                Err(ClientError::TooSlow { venue }) => {
                    tracing::warn!(%venue, "the ring overwrote records before they were read; going on at its oldest");
                    self.client = subscribe(&self.options, self.client.positions())?;
                    1
                }
                other => other?,
            };
            drained += polled;
            if polled == 0 || chunk.bytes() >= ROUND_BYTES_MAX {
                return Ok(drained);
            }
        }
    }
}

fn subscribe(options: &DrainOptions, next: Vec<Position>) -> Result<Client, ClientError> {
    let subscription = Subscription {
        from: Start::Sequence(next),
        // A reader that skips would leave out what the ring still holds.
        slow: Slow::Disconnect,
        // Without a filter of any kind, so that a hole is a loss.
        heartbeats: true,
        ..Subscription::default()
    };
    Client::open(Source::Rings(options.rings.clone()), subscription, options.client)
}

impl Order {
    #[inline]
    fn take(&mut self, delivery: Delivery, words: &[u64], chunk: &mut Chunk, shared: &Shared) {
        let Delivery { venue, envelope, published_ns, catch_up } = delivery;
        let name = (envelope.epoch, envelope.sequence);
        if catch_up {
            // It lies before the start and is in the journal, or was lost with the records an overrun names.
            return;
        }
        if envelope.sequence == 0 {
            self.note_overrun(venue, words, shared);
            return chunk.push(RunKind::Overrun, venue, name, published_ns, words);
        }
        let next = self.next_of(venue);
        if name < (next.epoch, next.sequence) {
            // A ring made anew from an older state tells what the journal has.
            shared.repeated();
            return;
        }
        (next.epoch, next.sequence) = (envelope.epoch, envelope.sequence + 1);
        chunk.push(RunKind::Live, venue, name, published_ns, words);
    }

    #[inline]
    fn next_of(&mut self, venue: Venue) -> &mut Position {
        let at = self.next.iter().position(|next| next.venue == venue).unwrap_or_else(|| {
            self.next.push(Position { venue, epoch: 0, sequence: 0 });
            self.next.len() - 1
        });
        &mut self.next[at]
    }

    fn note_overrun(&mut self, venue: Venue, words: &[u64], shared: &Shared) {
        let Ok(Record::Overrun(overrun)) = Record::read(words) else { return };
        tracing::warn!(
            %venue, epoch = overrun.epoch, first = overrun.first, last = overrun.last, cause = overrun.cause().name(),
            "records will be missing in the journal; it names them"
        );
        shared.overrun(overrun.count);
        let next = self.next_of(venue);
        let behind = (overrun.epoch, overrun.last + 1);
        if overrun.last != 0 && (next.epoch, next.sequence) < behind {
            (next.epoch, next.sequence) = behind;
        }
    }
}
