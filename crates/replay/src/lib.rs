//! Replay: what was recorded, told again in the order of time at any speed, into rings, files or a function.
//!
//! captures, journals -> [`Source`]s, one a venue -> [`Replay`], the merge -> [`Runner`], the pace -> [`Sink`]s; and
//! [`Handle`] or a socket ([`Control`]) steer it: pause, resume, seek, step, speed. Raw frames go through their session
//! again; records are told as they were kept. See docs/replay.md.
//!
//! Invariants: the same input gives the same stream, whatever the pace; the first a sink hears of a venue is that it is
//! replayed; a seek can be joined. Reads no clock but the one it is given.

#![forbid(unsafe_code)]

mod bars;
mod control;
mod desk;
mod engine;
mod error;
mod export;
mod mark;
mod pace;
mod page;
mod run;
mod sink;
mod source;

pub use bars::{BarChoice, ClosedBar};
pub use capture::{NoSpeed, Speed};
pub use control::{Control, answer, moment};
pub use engine::{Choice, Replay, Tell, Told};
pub use error::ReplayError;
pub use export::export_frames;
pub use mark::{SITE_PREFIX, is_replay, marked, replay_site};
pub use pace::{Due, Pace};
pub use page::Page;
pub use run::{
    Clock, Command, Handle, Order, OrderError, Over, RunOptions, Runner, State, Status, Summary, SystemClock,
};
pub use sink::{Batches, Call, Lines, MARKER, Rings, RingsOptions, Sink, Take, is_replay_folder};
pub use source::{CaptureSource, JournalSource, LOOKBACK, Source, find};

/// The build, as told in session records that a replay makes itself.
pub const BUILD: &str = concat!("alphapulse ", env!("CARGO_PKG_VERSION"));
