//! The recorder: reads the rings into the journal first, then into stores, each with its own durable cursor.
//! rings -> drain -> [`Spill`] -> commit -> journal -> [`parquet`] -> files any tool can query.
//!
//! Invariants: a slow disk fills the spill and then costs records that the journal names exactly; it never costs a
//! reader of the rings anything. What the journal acknowledged is never told again and never lost; a restart goes on
//! behind it. A store that fails falls behind and catches up by itself. Knows nothing of venues' protocols.

#![forbid(unsafe_code)]

mod commit;
mod drain;
pub mod parquet;
mod recorder;
mod spill;
mod stats;

pub use parquet::{CURSOR as PARQUET_CURSOR, ParquetOptions, SinkError, SinkStats};
pub use recorder::{Recorder, RecorderError, RecorderOptions};
pub use spill::{Chunk, Run, RunKind, Spill};
pub use stats::{DiskState, STALLED_AFTER, Stats};

/// Every point of the recorder's own code at which a test can have the process killed; see [`journal::crash`].
pub const CRASH_POINTS: [&str; 9] = [
    "recorder.before_part_sync",
    "recorder.before_ledger",
    "recorder.before_ledger_rename",
    "recorder.after_ledger_rename",
    "recorder.before_names",
    "recorder.after_name",
    "recorder.before_cursor",
    "recorder.after_cursor",
    "recorder.before_verify",
];
