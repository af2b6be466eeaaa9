//! What was kept, as rows to compare with: a ring, the journal, a file of JSON lines.

use anyhow::Context;
use capture::{Reference, ReferenceError, Row};
use journal::{From, Item, Level, Reader};
use model::Venue;
use serde_json::Value;
use std::{
    collections::{VecDeque, btree_map},
    io::BufRead,
    path::Path,
};
use wire::{Envelope, batch::OUT_OF_BAND};

/// What a ring holds.
pub struct RingRows(pub btree_map::IntoIter<Envelope, Vec<u64>>);

impl Reference for RingRows {
    fn next(&mut self) -> Result<Option<(Envelope, Row)>, ReferenceError> {
        Ok(self.0.next().map(|(at, words)| (at, Row::Record(words))))
    }
}

/// What a journal holds of one venue. What it lacks and says so is passed over: it was never kept.
pub struct JournalRows {
    reader: Reader,
    venue: Venue,
    batch: VecDeque<(Envelope, Vec<u64>)>,
}

impl JournalRows {
    /// The rows of a journal, from its oldest on.
    pub fn open(folder: &Path, venue: Venue) -> anyhow::Result<JournalRows> {
        let reader = Reader::open(folder, From::Oldest, Level::Written)?;
        Ok(JournalRows { reader, venue, batch: VecDeque::new() })
    }
}

impl Reference for JournalRows {
    fn next(&mut self) -> Result<Option<(Envelope, Row)>, ReferenceError> {
        loop {
            if let Some((at, words)) = self.batch.pop_front() {
                return Ok(Some((at, Row::Record(words))));
            }
            match self.reader.next().map_err(|e| ReferenceError(e.into()))? {
                Item::Batch(batch) => {
                    if batch.header.venue() == Some(self.venue) && batch.header.flags & OUT_OF_BAND == 0 {
                        let rows = &mut self.batch;
                        let told = batch.records(|at, words| rows.push_back((at, words.to_vec())));
                        told.map_err(|e| ReferenceError(e.into()))?;
                    }
                }
                Item::Missing(missing) => eprintln!("the journal lacks records: {missing}"),
                Item::End => return Ok(None),
            }
        }
    }
}

/// Records as JSON lines; those of other venues are passed over.
pub struct LineRows {
    lines: Box<dyn BufRead>,
    venue: Venue,
    text: String,
    number: u64,
}

impl LineRows {
    /// The rows of `lines` that are of one venue.
    pub fn new(lines: Box<dyn BufRead>, venue: Venue) -> LineRows {
        LineRows { lines, venue, text: String::new(), number: 0 }
    }

    fn row(&mut self) -> anyhow::Result<Option<(Envelope, Row)>> {
        loop {
            self.text.clear();
            self.number += 1;
            if self.lines.read_line(&mut self.text)? == 0 {
                return Ok(None);
            }
            let line: Value = serde_json::from_str(&self.text).with_context(|| format!("line {}", self.number))?;
            if line["venue"] != self.venue.name() {
                continue;
            }
            let number =
                |name: &str| line[name].as_u64().with_context(|| format!("line {} has no {name}", self.number));
            let at = Envelope { epoch: number("epoch")?, sequence: number("seq")? };
            return Ok(Some((at, Row::Line(line))));
        }
    }
}

impl Reference for LineRows {
    fn next(&mut self) -> Result<Option<(Envelope, Row)>, ReferenceError> {
        self.row().map_err(|e| ReferenceError(e.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_rows_of_their_venue() {
        let text = "{\"venue\":\"kraken\",\"epoch\":1,\"seq\":2}\n{\"venue\":\"binance\",\"epoch\":9,\"seq\":9}\n{\"venue\":\"kraken\",\"epoch\":1}\n";
        let mut rows = LineRows::new(Box::new(std::io::Cursor::new(text)), Venue::Kraken);
        let row = rows.next().expect("a row").expect("one");
        assert_eq!(row.0, Envelope { epoch: 1, sequence: 2 });
        let error = rows.next().expect_err("no sequence").to_string();
        assert!(error.contains("line 3 has no seq"), "{error}");
    }
}
