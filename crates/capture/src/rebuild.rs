//! Derives the records of an interval again from what was captured and compares them, row by row, with what was kept.
//!
//! A row's name is (epoch, sequence); both sides tell rows in the order of their names. What is compared against is a
//! [`Reference`]: the journal, a ring, a file of JSON lines.

use crate::{CaptureError, player::Played, player::Player};
use model::UnixNanos;
use serde_json::Value;
use std::cmp::Ordering;
use wire::{Envelope, Header, RecordType, json};

/// A row of a reference.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// A record as it was told.
    Record(Vec<u64>),
    /// Its JSON form; a record that has none (a level of a book event that is told by its last one) has no row.
    Line(Value),
}

/// Rows to compare with, of one venue, in the order of their names.
pub trait Reference {
    /// The next row; `None` at the end.
    fn next(&mut self) -> Result<Option<(Envelope, Row)>, ReferenceError>;
}

/// A reference cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the reference: {0}")]
pub struct ReferenceError(pub Box<dyn std::error::Error + Send + Sync>);

/// Rebuilding failed.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The capture.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// What it is compared with.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A record has no JSON form.
    #[error("epoch {epoch} sequence {sequence}: {source}")]
    Json {
        /// The row's epoch.
        epoch: u64,
        /// The row's sequence.
        sequence: u64,
        /// Why.
        source: json::JsonError,
    },
}

/// A row that is not the same on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Its name.
    pub at: Envelope,
    /// What is rebuilt of it; `None`: nothing has this name.
    pub rebuilt: Option<Value>,
    /// What was kept of it.
    pub kept: Option<Value>,
}

impl Difference {
    /// The fields that differ: name, kept, rebuilt.
    pub fn fields(&self) -> Vec<(String, Value, Value)> {
        let (Some(Value::Object(rebuilt)), Some(Value::Object(kept))) = (&self.rebuilt, &self.kept) else {
            return vec![];
        };
        let names = kept.keys().chain(rebuilt.keys().filter(|k| !kept.contains_key(*k)));
        let field = |of: &serde_json::Map<String, Value>, name: &String| of.get(name).cloned().unwrap_or(Value::Null);
        names
            .map(|name| (name.clone(), field(kept, name), field(rebuilt, name)))
            .filter(|(_, kept, rebuilt)| kept != rebuilt)
            .collect()
    }
}

/// What rebuilding came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Rows rebuilt in the interval.
    pub rows: u64,
    /// Those that are what was kept.
    pub equal: u64,
    /// Those that are something else.
    pub changed: u64,
    /// Those that were kept under no name.
    pub added: u64,
    /// Rows that were kept and are not rebuilt.
    pub missing: u64,
    /// Rows that the reference does not reach back to.
    pub beyond: u64,
    /// Places where entries are missing in the capture: differences behind them are no decoder's.
    pub holes: u64,
    /// Runs whose beginning is not captured, so that they cannot be rebuilt.
    pub headless: u64,
}

impl Rebuilt {
    /// Whether all that could be compared is equal, and there was something.
    pub fn agrees(&self) -> bool {
        self.equal > 0 && self.changed + self.added + self.missing == 0
    }
}

/// A rebuilt row that waits for its comparison.
struct Made {
    at: Envelope,
    words: Vec<u64>,
    line: Option<json::Line>,
}

/// Rebuilds the records received in an interval and compares them. Each difference is handed to `told`.
pub fn rebuild(
    player: &mut Player,
    (from, until): (UnixNanos, UnixNanos),
    reference: &mut dyn Reference,
    mut told: impl FnMut(Difference),
) -> Result<Rebuilt, RebuildError> {
    let next = reference.next()?;
    let lines = matches!(next, Some((_, Row::Line(_))));
    let (result, kept) = (Rebuilt::default(), json::Encoder::new());
    let mut compare = Compare { reference, next, result, lines, kept };
    let mut encoder = json::Encoder::new();
    let mut last: Option<Envelope> = None;
    while let Some(played) = player.next()? {
        let step = match played {
            Played::Step(step) => step,
            Played::Run { whole, .. } => {
                compare.result.headless += u64::from(!whole);
                continue;
            }
            Played::Lost(_) | Played::Damaged(_) => {
                compare.result.holes += 1;
                continue;
            }
        };
        if step.time >= until {
            break;
        }
        for (at, words) in step.records() {
            let failed = |source| RebuildError::Json { epoch: at.epoch, sequence: at.sequence, source };
            let line = encoder.push(at, words).map_err(failed)?;
            compare.learn(at, words);
            if step.time >= from {
                compare.row(Made { at, words: words.to_vec(), line }, last, &mut told)?;
                last = Some(at);
            }
        }
    }
    compare.end(last, &mut told)?;
    Ok(compare.result)
}

struct Compare<'a> {
    reference: &'a mut dyn Reference,
    next: Option<(Envelope, Row)>,
    result: Rebuilt,
    /// Whether the reference tells lines.
    lines: bool,
    /// Shows kept records as lines.
    kept: json::Encoder,
}

impl Compare<'_> {
    /// Definitions that the reference may not reach back to are known from what is rebuilt.
    fn learn(&mut self, at: Envelope, words: &[u64]) {
        let is_definition = Header::read(words).is_ok_and(|h| h.kind == RecordType::Instrument as u8);
        if is_definition {
            // It was encoded a moment ago.
            let _ = self.kept.push(at, words);
        }
    }

    fn row(
        &mut self,
        made: Made,
        last: Option<Envelope>,
        told: &mut impl FnMut(Difference),
    ) -> Result<(), RebuildError> {
        self.result.rows += 1;
        loop {
            let Some((at, _)) = &self.next else {
                // Nothing is kept from here on.
                return Ok(self.alone(made, last.is_some() && self.result.equal + self.result.changed > 0, told));
            };
            match at.cmp(&made.at) {
                Ordering::Less => {
                    // Rows from before the interval are nobody's business.
                    if last.is_some() {
                        self.missing(told)?;
                    } else {
                        self.skip()?;
                    }
                }
                Ordering::Equal => return self.both(made, told),
                Ordering::Greater => {
                    let reached = self.result.equal + self.result.changed + self.result.missing > 0;
                    return Ok(self.alone(made, reached, told));
                }
            }
        }
    }

    /// A rebuilt row that nothing was kept of. Before the first row of the reference that is no difference, nor is it
    /// for a row without a line where lines were kept.
    fn alone(&mut self, made: Made, reached: bool, told: &mut impl FnMut(Difference)) {
        if !reached {
            self.result.beyond += 1;
        } else if made.line.is_none() && self.lines {
            self.result.equal += 1;
        } else {
            self.result.added += 1;
            told(Difference { at: made.at, rebuilt: Some(shown(&made.words, value(made.line))), kept: None });
        }
    }

    fn both(&mut self, made: Made, told: &mut impl FnMut(Difference)) -> Result<(), RebuildError> {
        let Some((at, row)) = self.next.take() else { return Ok(()) };
        self.next = self.reference.next()?;
        let equal = match &row {
            Row::Record(words) => *words == made.words,
            Row::Line(line) => Some(line) == value(made.line.clone()).as_ref(),
        };
        if equal {
            self.result.equal += 1;
            return Ok(());
        }
        self.result.changed += 1;
        let kept = self.show(at, row);
        told(Difference { at: made.at, rebuilt: Some(shown(&made.words, value(made.line))), kept: Some(kept) });
        Ok(())
    }

    fn missing(&mut self, told: &mut impl FnMut(Difference)) -> Result<(), RebuildError> {
        let Some((at, row)) = self.next.take() else { return Ok(()) };
        self.next = self.reference.next()?;
        self.result.missing += 1;
        let kept = self.show(at, row);
        told(Difference { at, rebuilt: None, kept: Some(kept) });
        Ok(())
    }

    fn skip(&mut self) -> Result<(), RebuildError> {
        self.next = self.reference.next()?;
        Ok(())
    }

    /// Rows that were kept of the last epoch's interval and never rebuilt: only those between rebuilt ones are known to
    /// be of it, so what follows the last one is not looked at.
    fn end(&mut self, last: Option<Envelope>, told: &mut impl FnMut(Difference)) -> Result<(), RebuildError> {
        while let (Some((at, _)), Some(last)) = (&self.next, last) {
            if *at > last {
                break;
            }
            self.missing(told)?;
        }
        Ok(())
    }

    fn show(&mut self, at: Envelope, row: Row) -> Value {
        match row {
            Row::Line(line) => line,
            Row::Record(words) => {
                let line = self.kept.push(at, &words).ok().flatten();
                shown(&words, value(line))
            }
        }
    }
}

fn value(line: Option<json::Line>) -> Option<Value> {
    line.map(|line| serde_json::to_value(line).expect("a line is plain JSON"))
}

/// A record for people: its line, or its words where it has none.
fn shown(words: &[u64], line: Option<Value>) -> Value {
    line.unwrap_or_else(|| {
        let words: Vec<String> = words.iter().map(|w| format!("{w:016x}")).collect();
        serde_json::json!({ "words": words })
    })
}
