//! Removes segments that are old or too many, but none that a sink still needs unless told to, and then loudly.

use crate::format::{index_name, segment_name};
use crate::recover::{open_segment, segments};
use crate::{Access, Cursor, JournalError, Writer, crash, failed};
use model::UnixNanos;

/// What retention did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Segments that were removed, oldest first.
    pub removed: Vec<u64>,
    /// Segments that are due but were kept for a sink, and the name of that sink.
    pub held: Option<(u64, String)>,
    /// Sinks that had not read what was removed.
    pub robbed: Vec<String>,
    /// Segments that are left.
    pub segments: u64,
    /// Bytes they have.
    pub bytes: u64,
}

struct Segment {
    number: u64,
    bytes: u64,
    /// When the next one was begun: nothing in this one is younger.
    ended: Option<UnixNanos>,
}

impl Writer {
    /// Removes what is due by bytes and age. The segment that is written is never removed, nor one that a cursor still
    /// needs, unless the options force it.
    pub fn retain(&mut self, now: UnixNanos) -> Result<Retained, JournalError> {
        let disk = self.disk().clone();
        let all = measure(&*disk)?;
        let cursors = Cursor::list_on(&*disk)?;
        let slowest = cursors.iter().filter(|c| c.journal == self.journal()).min_by_key(|cursor| cursor.place);
        let mut result = Retained { segments: all.len() as u64, ..Retained::default() };
        result.bytes = all.iter().map(|segment| segment.bytes).sum();
        let current = self.synced_segment();
        for segment in all {
            let over = self.options().retain_bytes.is_some_and(|most| result.bytes > most);
            let old = match (self.options().retain_age, segment.ended) {
                (Some(age), Some(ended)) => now.since(ended) > age,
                _ => false,
            };
            if segment.number >= current || !(over || old) {
                break;
            }
            if let Some(needed) = slowest.filter(|cursor| cursor.place.segment <= segment.number) {
                if !self.options().retain_force {
                    let name = &needed.name;
                    tracing::warn!(sink = %name, "segments are due for removal but {name} has not read them; they stay");
                    result.held = Some((current - segment.number, needed.name.clone()));
                    break;
                }
                for robbed in cursors.iter().filter(|cursor| cursor.place.segment <= segment.number) {
                    if !result.robbed.contains(&robbed.name) {
                        result.robbed.push(robbed.name.clone());
                    }
                }
            }
            remove(&*disk, segment.number)?;
            result.removed.push(segment.number);
            result.segments -= 1;
            result.bytes -= segment.bytes;
        }
        if !result.robbed.is_empty() {
            let (sinks, removed) = (result.robbed.join(", "), result.removed.len());
            tracing::error!(
                "{removed} segments were removed although {sinks} had not read them: they will miss records"
            );
        }
        Ok(result)
    }
}

fn measure(disk: &dyn crate::Disk) -> Result<Vec<Segment>, JournalError> {
    let mut all: Vec<Segment> = vec![];
    for number in segments(disk)? {
        let (window, header) = open_segment(disk, number, Access::Read)?;
        let bytes = window.file().length().map_err(failed(disk, "measure", &segment_name(number)))?;
        if let (Some(before), Some(header)) = (all.last_mut(), header) {
            before.ended = Some(header.created);
        }
        all.push(Segment { number, bytes, ended: None });
    }
    Ok(all)
}

/// The index first: an index without its segment would be litter, a segment without its index is only slower to seek.
fn remove(disk: &dyn crate::Disk, number: u64) -> Result<(), JournalError> {
    crash::point("journal.before_remove");
    let _ = disk.remove(&index_name(number));
    let name = segment_name(number);
    disk.remove(&name).map_err(failed(disk, "remove", &name))?;
    crash::point("journal.after_remove");
    Ok(())
}
