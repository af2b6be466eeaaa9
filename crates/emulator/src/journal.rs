//! The ground truth of a run: every frame and REST answer that was sent, in the form captures have.
//!
//! Per WebSocket connection `NNNNNN.jsonl` (one frame a line, exactly as sent) and `NNNNNN.recv.tsv` (line, time of
//! sending in ns since the epoch); for all of them `connections.jsonl` (when each was opened, with which path and query,
//! and closed); for all REST answers `rest.http.jsonl`; what faults did in `faults.jsonl`. So a journal can be decoded,
//! compared and served again. Frames are written when they are handed to the socket: what a broken connection did not
//! deliver is here all the same. A later run in the same folder adds to it under new numbers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use model::UnixNanos;

use crate::text::{push_rfc3339, push_u64};

/// Buffer of a connection's frame file, bytes: a write at high rates carries about this.
const BUFFER_BYTES: usize = 256 << 10;

/// A run's folder.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    /// Connections that earlier runs wrote here: ours are numbered behind them, so that a restart loses nothing.
    earlier: u64,
    rest: Arc<Mutex<BufWriter<File>>>,
    faults: Arc<Mutex<File>>,
    connections: Arc<Mutex<File>>,
}

/// One connection's files.
#[derive(Debug)]
pub(crate) struct ConnectionJournal {
    frames: BufWriter<File>,
    times: BufWriter<File>,
    lines: u64,
    row: Vec<u8>,
}

impl Journal {
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let append = |name| OpenOptions::new().create(true).append(true).open(folder.join(name));
        let rest = BufWriter::new(append("rest.http.jsonl")?);
        let faults = append("faults.jsonl")?;
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".jsonl")?.parse::<u64>().ok();
        let earlier = fs::read_dir(folder)?.flatten().filter_map(number).max().unwrap_or(0);
        let connections = Arc::new(Mutex::new(append("connections.jsonl")?));
        let (rest, faults) = (Arc::new(Mutex::new(rest)), Arc::new(Mutex::new(faults)));
        Ok(Self { folder: folder.to_owned(), earlier, rest, faults, connections })
    }

    pub(crate) fn connection(&self, number: u64) -> io::Result<ConnectionJournal> {
        let number = self.earlier + number;
        let create = |suffix| File::create_new(self.folder.join(format!("{number:06}.{suffix}")));
        let frames = BufWriter::with_capacity(BUFFER_BYTES, create("jsonl")?);
        let mut times = BufWriter::with_capacity(BUFFER_BYTES, create("recv.tsv")?);
        times.write_all(b"line\trecv_ns_unix\n")?;
        Ok(ConnectionJournal { frames, times, lines: 0, row: Vec::new() })
    }

    /// A WebSocket connection begins.
    pub(crate) fn opened(&self, number: u64, at: UnixNanos, url: &str) -> io::Result<()> {
        self.connection_row(&serde_json::json!({"connection": self.earlier + number, "opened_ns": at.0, "url": url}))
    }

    /// It ends.
    pub(crate) fn closed(&self, number: u64, at: UnixNanos) -> io::Result<()> {
        self.connection_row(&serde_json::json!({"connection": self.earlier + number, "closed_ns": at.0}))
    }

    fn connection_row(&self, row: &serde_json::Value) -> io::Result<()> {
        writeln!(self.connections.lock().expect("no holder of this lock panics"), "{row}")
    }

    /// One REST exchange, in the shape of `*.http.jsonl` captures.
    pub(crate) fn rest(&self, method: &str, url: &str, status: u16, at: UnixNanos, body: &str) -> io::Result<()> {
        let mut time = Vec::new();
        push_rfc3339(at, 6, &mut time);
        let at = String::from_utf8_lossy(&time);
        let exchange = serde_json::json!({"method": method, "url": url, "status": status, "at": at, "request": null, "body": body});
        let mut file = self.rest.lock().expect("no holder of this lock panics");
        writeln!(file, "{exchange}")?;
        file.flush()
    }

    /// What a fault did, when it is over.
    pub(crate) fn fault(&self, extent: &serde_json::Value) -> io::Result<()> {
        writeln!(self.faults.lock().expect("no holder of this lock panics"), "{extent}")
    }

    /// The number that a connection has in the journal.
    pub(crate) fn number(&self, connection: u64) -> u64 {
        self.earlier + connection
    }
}

impl ConnectionJournal {
    pub(crate) fn frame(&mut self, frame: &[u8], sent: UnixNanos) -> io::Result<()> {
        self.frames.write_all(frame)?;
        self.frames.write_all(b"\n")?;
        self.lines += 1;
        self.row.clear();
        push_u64(self.lines, &mut self.row);
        self.row.push(b'\t');
        push_u64(sent.0, &mut self.row);
        self.row.push(b'\n');
        self.times.write_all(&self.row)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.frames.flush()?;
        self.times.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_run_adds_to_the_journal_and_overwrites_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = || {
            let mut names: Vec<_> = fs::read_dir(folder.path())
                .expect("readable")
                .flatten()
                .filter_map(|e| e.file_name().into_string().ok())
                .filter(|n| n.ends_with(".jsonl") && n.starts_with('0'))
                .collect();
            names.sort();
            names
        };
        for run in 0..2 {
            let journal = Journal::create(folder.path()).expect("a journal");
            for connection in 1..=2 {
                journal.connection(connection).expect("files of its own");
            }
            assert_eq!(names().len(), 2 * (run + 1));
        }
        assert_eq!(names(), ["000001.jsonl", "000002.jsonl", "000003.jsonl", "000004.jsonl"]);
    }
}
