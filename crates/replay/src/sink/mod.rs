//! Where a replay goes: rings of its own, files, a function.

mod files;
mod rings;

pub use files::{Batches, Lines};
pub use rings::{MARKER, Rings, RingsOptions, is_replay_folder};

use crate::{ReplayError, Told};
use model::{UnixNanos, Venue};

/// A beginning: of the replay, and behind each seek. What was told before does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// Counted from 1.
    pub number: u64,
    /// Where on the clock of the recording it begins; zero: at the beginning of the sources.
    pub time: UnixNanos,
    /// The venues that will be told of, in the order of their codes.
    pub venues: Vec<Venue>,
    /// The wall clock.
    pub wall: UnixNanos,
}

/// Takes in a replay.
pub trait Sink: Send {
    /// A take begins.
    fn begin(&mut self, take: &Take) -> Result<(), ReplayError>;
    /// A record.
    fn tell(&mut self, told: &Told<'_>) -> Result<(), ReplayError>;
    /// The event is whole, or what a joiner needs is: `time` is the recording's, `wall` the machine's.
    fn event(&mut self, time: UnixNanos, wall: UnixNanos) -> Result<(), ReplayError>;
    /// It is over.
    fn end(&mut self) -> Result<(), ReplayError> {
        Ok(())
    }
}

/// A function as a sink.
pub struct Call<F>(pub F);

impl<F: FnMut(&Told<'_>) -> Result<(), ReplayError> + Send> Sink for Call<F> {
    fn begin(&mut self, _take: &Take) -> Result<(), ReplayError> {
        Ok(())
    }

    fn tell(&mut self, told: &Told<'_>) -> Result<(), ReplayError> {
        (self.0)(told)
    }

    fn event(&mut self, _time: UnixNanos, _wall: UnixNanos) -> Result<(), ReplayError> {
        Ok(())
    }
}
