//! How a journal is kept: sizes, retention, and who does the side work.

use crate::format::PAGE_BYTES;
use crate::{Helper, JournalError};
use std::time::Duration;

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of a segment's file. Applies to segments made from now on.
    pub segment_bytes: u64,
    /// Bytes at the end of each segment that are kept for telling that there is no room for a next one.
    pub reserve_bytes: u64,
    /// A checkpoint is put down after so many bytes: recovery looks at little more than that.
    pub checkpoint_bytes: u64,
    /// A batch's body is cut to at most so many bytes, so that damage costs no more.
    pub batch_bytes: usize,
    /// Bytes that may wait to be written before [`crate::Writer::append`] refuses more.
    pub pending_bytes: usize,
    /// Segments are removed, oldest first, while there are more bytes of them; `None` keeps all.
    pub retain_bytes: Option<u64>,
    /// Segments whose last record is older are removed; `None` keeps all.
    pub retain_age: Option<Duration>,
    /// Segments a cursor still needs are removed too, loudly; otherwise they stay, loudly.
    pub retain_force: bool,
    /// A write or sync that takes longer is called a stall on the watermark.
    pub stall_after: Duration,
    /// Who makes segments, checkpoints and indexes.
    pub helper: Helper,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            reserve_bytes: 64 << 10,
            checkpoint_bytes: 8 << 20,
            batch_bytes: 256 << 10,
            pending_bytes: 16 << 20,
            retain_bytes: None,
            retain_age: None,
            retain_force: false,
            stall_after: Duration::from_secs(1),
            helper: Helper::Thread,
        }
    }
}

/// The longest record is 255 words; a batch holds at least a few.
const BATCH_LEAST: usize = 4096;

impl Options {
    /// For tests and demonstrations: everything small, so that segments turn over at once.
    pub fn small() -> Options {
        Options {
            segment_bytes: 64 << 10,
            reserve_bytes: 4 << 10,
            checkpoint_bytes: 16 << 10,
            batch_bytes: 8 << 10,
            pending_bytes: 256 << 10,
            helper: Helper::Inline,
            ..Options::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), JournalError> {
        let wrong = |text: String| Err(JournalError::Options(text));
        let room = self.segment_bytes.saturating_sub(self.reserve_bytes + PAGE_BYTES as u64);
        if !self.segment_bytes.is_multiple_of(PAGE_BYTES as u64) || !self.reserve_bytes.is_multiple_of(8) {
            return wrong(format!("segment_bytes is a multiple of {PAGE_BYTES} and reserve_bytes of 8"));
        }
        if self.batch_bytes < BATCH_LEAST || self.batch_bytes > wire::batch::BODY_MAX / 2 {
            return wrong(format!(
                "batch_bytes is {} but must be {BATCH_LEAST} to {}",
                self.batch_bytes,
                wire::batch::BODY_MAX / 2
            ));
        }
        if (self.batch_bytes as u64) * 2 > room {
            return wrong(format!(
                "a segment of {} bytes has no room for batches of {}",
                self.segment_bytes, self.batch_bytes
            ));
        }
        if self.reserve_bytes < 1024 || self.checkpoint_bytes == 0 {
            return wrong("reserve_bytes is at least 1024 and checkpoint_bytes more than 0".to_owned());
        }
        Ok(())
    }
}
