//! A replay as a file: JSON lines, or the wire's batches. The bytes hang on the input alone, not on pace or pauses.

use super::{Sink, Take};
use crate::{ReplayError, Told};
use model::{UnixNanos, Venue};
use std::io::{self, Write};
use std::path::Path;
use wire::batch::{BODY_MAX, BatchBuilder, CATCH_UP, OUT_OF_BAND};
use wire::{Record, RecordType, json};

/// A batch is ended before its body passes this, however large the event.
const BATCH_BYTES: usize = BODY_MAX / 4;

fn failed(source: io::Error) -> ReplayError {
    ReplayError::io("write", Path::new("what is replayed"))(source)
}

/// JSON lines, as `tap` prints them. What has no JSON form (a record of an instrument that was never defined) is counted
/// and left out.
pub struct Lines<W: Write> {
    out: W,
    encoder: json::Encoder,
    left_out: u64,
    prompt: bool,
}

impl<W: Write> Lines<W> {
    /// Writes lines to `out`.
    pub fn new(out: W) -> Lines<W> {
        Lines { out, encoder: json::Encoder::new(), left_out: 0, prompt: false }
    }

    /// Whoever reads along sees each event at once.
    pub fn prompt(self, prompt: bool) -> Lines<W> {
        Lines { prompt, ..self }
    }
}

impl<W: Write + Send> Sink for Lines<W> {
    fn begin(&mut self, _take: &Take) -> Result<(), ReplayError> {
        self.encoder = json::Encoder::new();
        Ok(())
    }

    fn tell(&mut self, told: &Told<'_>) -> Result<(), ReplayError> {
        if told.words.first().is_some_and(|head| *head as u8 == RecordType::Overrun as u8)
            && let Ok(Record::Overrun(_)) = Record::read(told.words)
        {
            self.encoder.forget_events();
        }
        match self.encoder.push(told.at, told.words) {
            Ok(Some(line)) => {
                serde_json::to_writer(&mut self.out, &line).map_err(|e| failed(e.into()))?;
                self.out.write_all(b"\n").map_err(failed)
            }
            Ok(None) => Ok(()),
            Err(error) => {
                if self.left_out == 0 {
                    tracing::warn!(venue = %told.venue, %error, "a record has no JSON form; it and others like it are left out");
                }
                self.left_out += 1;
                Ok(())
            }
        }
    }

    fn event(&mut self, _time: UnixNanos, _wall: UnixNanos) -> Result<(), ReplayError> {
        if self.prompt { self.out.flush().map_err(failed) } else { Ok(()) }
    }

    fn end(&mut self) -> Result<(), ReplayError> {
        if self.left_out > 0 {
            tracing::warn!(records = self.left_out, "records without a JSON form were left out");
        }
        self.out.flush().map_err(failed)
    }
}

/// The run of records a batch is of.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Run {
    venue: Venue,
    epoch: u64,
    flags: u8,
}

/// The wire's batches, one behind the other, at least one for each event, published at the event's time. What a filter
/// left out is told as looked at.
pub struct Batches<W: Write> {
    out: W,
    builder: BatchBuilder,
    run: Option<Run>,
    first: u64,
    last: u64,
    /// Per venue's code: epoch and the sequence looked at last.
    looked: [(u64, u64); 64],
    time: UnixNanos,
    bytes: Vec<u8>,
    prompt: bool,
}

impl<W: Write> Batches<W> {
    /// Writes batches to `out`.
    pub fn new(out: W) -> Batches<W> {
        Batches {
            out,
            builder: BatchBuilder::new(),
            run: None,
            first: 0,
            last: 0,
            looked: [(0, 0); 64],
            time: UnixNanos::ZERO,
            bytes: vec![],
            prompt: false,
        }
    }

    /// Whoever reads along sees each event at once.
    pub fn prompt(self, prompt: bool) -> Batches<W> {
        Batches { prompt, ..self }
    }

    fn finish(&mut self) -> Result<(), ReplayError> {
        let Some(run) = self.run.take() else { return Ok(()) };
        let mut scanned = (self.first, self.last);
        if run.flags == 0 {
            let (epoch, looked) = &mut self.looked[usize::from(run.venue.code()) % 64];
            if *epoch == run.epoch && *looked != 0 && *looked < self.first {
                scanned.0 = *looked + 1;
            }
            (*epoch, *looked) = (run.epoch, self.last);
        }
        self.bytes.clear();
        self.builder.finish(Some(run.venue), run.epoch, scanned, self.time.0, run.flags, &mut self.bytes);
        self.out.write_all(&self.bytes).map_err(failed)
    }
}

impl<W: Write + Send> Sink for Batches<W> {
    fn begin(&mut self, _take: &Take) -> Result<(), ReplayError> {
        self.looked = [(0, 0); 64];
        Ok(())
    }

    fn tell(&mut self, told: &Told<'_>) -> Result<(), ReplayError> {
        let out_of_band = told.at.sequence == 0 && !told.catch_up;
        let flags = if told.catch_up { CATCH_UP } else { 0 } | if out_of_band { OUT_OF_BAND } else { 0 };
        let run = Run { venue: told.venue, epoch: told.at.epoch, flags };
        // The sequences of a batch rise; what is told for a joiner comes in any order.
        let falls = self.run.is_some() && told.at.sequence < self.last;
        let full = self.builder.body_bytes() + size_of_val(told.words) > BATCH_BYTES;
        if self.run != Some(run) || falls || full || out_of_band {
            self.finish()?;
        }
        self.time = told.time;
        let sequence = match Record::read(told.words) {
            Ok(Record::Overrun(lost)) if out_of_band => lost.first,
            _ => told.at.sequence,
        };
        if self.run.replace(run).is_none() {
            self.first = sequence;
        }
        self.last = sequence;
        self.builder.push(sequence, told.words);
        Ok(())
    }

    fn event(&mut self, _time: UnixNanos, _wall: UnixNanos) -> Result<(), ReplayError> {
        self.finish()?;
        if self.prompt { self.out.flush().map_err(failed) } else { Ok(()) }
    }

    fn end(&mut self) -> Result<(), ReplayError> {
        self.finish()?;
        self.out.flush().map_err(failed)
    }
}
