//! Captured frames as a recorded session, for what serves those: an emulator.
//! capture -> `frames.jsonl`, `frames.recv.tsv`, `frames.http.jsonl` in a folder.
//!
//! Frames are those that came in, byte for byte, one a line; the answers to REST requests stand beside them.

use crate::ReplayError;
use capture::{Answer, Direction, Item, Kind, Reader, Requested};
use model::UnixNanos;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes the frames a venue sent in an interval as a recorded session; the file of the frames.
pub fn export_frames(
    place: &Path,
    (from, until): (UnixNanos, UnixNanos),
    folder: &Path,
) -> Result<PathBuf, ReplayError> {
    let mut export = Export::begin(folder)?;
    let mut reader = Reader::open(place)?.within(from, until)?;
    while let Some(item) = reader.next()? {
        let Item::Entry(entry) = item else { continue };
        match (entry.head.kind, entry.head.direction) {
            (Kind::Frame, Direction::In) => export.frame(entry.body, entry.head.time, place)?,
            (Kind::Request, _) => {
                if let Some(request) = Requested::read(entry.body) {
                    export.asked.insert(request.id.0, (request.method.to_owned(), request.url.to_owned()));
                }
            }
            (Kind::Answer, _) => {
                if let Some(answer) = Answer::read(entry.body) {
                    export.answer(&answer, entry.head.time)?;
                }
            }
            _ => {}
        }
    }
    export.end()
}

struct Export {
    path: PathBuf,
    frames: BufWriter<File>,
    times: BufWriter<File>,
    answers: BufWriter<File>,
    number: u64,
    asked: BTreeMap<u64, (String, String)>,
}

impl Export {
    fn begin(folder: &Path) -> Result<Export, ReplayError> {
        std::fs::create_dir_all(folder).map_err(ReplayError::io("create", folder))?;
        let create = |name: &str| {
            let path = folder.join(name);
            File::create(&path).map(BufWriter::new).map_err(ReplayError::io("create", &path))
        };
        let path = folder.join("frames.jsonl");
        let (frames, mut times, answers) =
            (create("frames.jsonl")?, create("frames.recv.tsv")?, create("frames.http.jsonl")?);
        writeln!(times, "line\trecv_ns_unix").map_err(ReplayError::io("write", &path))?;
        Ok(Export { path, frames, times, answers, number: 0, asked: BTreeMap::new() })
    }

    fn frame(&mut self, frame: &[u8], time: UnixNanos, place: &Path) -> Result<(), ReplayError> {
        let is_line = std::str::from_utf8(frame).is_ok_and(|text| !text.trim_end().contains('\n'));
        if !is_line {
            let problem = "a frame that is no line of text cannot be part of a recorded session";
            return Err(ReplayError::Capture(capture::CaptureError::Damaged {
                path: place.to_owned(),
                offset: 0,
                problem,
            }));
        }
        self.number += 1;
        let written = self
            .frames
            .write_all(frame.trim_ascii_end())
            .and_then(|()| self.frames.write_all(b"\n"))
            .and_then(|()| writeln!(self.times, "{}\t{}", self.number, time.0));
        written.map_err(ReplayError::io("write", &self.path))
    }

    fn answer(&mut self, answer: &Answer<'_>, time: UnixNanos) -> Result<(), ReplayError> {
        // An imported recording keeps answers without their questions.
        let Some((method, url)) = self.asked.remove(&answer.id.0) else { return Ok(()) };
        let body = String::from_utf8_lossy(answer.body);
        let line = serde_json::json!({
            "method": method, "url": url, "status": answer.status, "at": capture::utc(time), "body": body,
        });
        writeln!(self.answers, "{line}").map_err(ReplayError::io("write", &self.path))
    }

    fn end(mut self) -> Result<PathBuf, ReplayError> {
        for file in [&mut self.frames, &mut self.times, &mut self.answers] {
            file.flush().map_err(ReplayError::io("write", &self.path))?;
        }
        Ok(self.path)
    }
}
