//! The inputs of a session, byte for byte and in order, so that a replay tells the very same records.
//!
//! A file begins with the 8 bytes `APINPUT1`. Each input follows as a 16-byte head (time in ns since the Unix epoch
//! u64; length of the body u32; kind u8; three zero bytes), then the body. All numbers little-endian. A file that ends
//! inside an input was cut by a crash: what stands before it is whole.
//!
//! A session of several lines begins with an entry of kind 13, which names them (of each: group u32, name); an entry
//! of kind 12 says which line (u32) the inputs behind it are of. Files without either are of one line.

use model::{InstrumentId, Reason, UnixNanos};
use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use venues::trades::Missing;
use venues::{Input, LineShape, Memory, Reply, RequestId};
use wire::Origin;

const MAGIC: &[u8; 8] = b"APINPUT1";
/// The largest body a reader believes; larger ones mean a damaged file.
const BODY_MAX: u32 = 256 << 20;
/// The inputs that follow are of this line.
const LINE: u8 = 12;
/// The session's lines.
const SHAPE: u8 = 13;
/// Kind of an entry that remembers an instrument with holes no gap has named: the instrument, how many, their ends,
/// then what an entry without such has.
const UNTOLD: u8 = 14;
/// The same of an instrument of which nothing is known before a time, which stands behind the instrument.
const TOLD_FROM: u8 = 15;
/// A consumer asked for an instrument's book.
const SNAPSHOT: u8 = 16;
/// More lines than any session has.
const LINES_MAX: usize = 1024;

/// A capture cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file system refuses.
    #[error("capture {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a capture, or a damaged one.
    #[error("capture {path}, byte {offset}: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Writes inputs as they are stepped.
pub struct CaptureWriter {
    file: BufWriter<File>,
    path: PathBuf,
    body: Vec<u8>,
    line: usize,
}

impl CaptureWriter {
    /// Creates the file of a session of these lines; an existing one is not overwritten.
    pub fn create(path: &Path, shape: &[LineShape]) -> Result<CaptureWriter, CaptureError> {
        let failed = |source| CaptureError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = File::create_new(path).map_err(failed)?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(MAGIC).map_err(failed)?;
        let mut writer = CaptureWriter { file, path: path.to_owned(), body: vec![], line: 0 };
        if shape.len() > 1 {
            for line in shape {
                writer.body.extend_from_slice(&line.group.to_le_bytes());
                writer.body.extend_from_slice(&(line.name.len() as u32).to_le_bytes());
                writer.body.extend_from_slice(line.name.as_bytes());
            }
            writer.entry(SHAPE, UnixNanos::ZERO)?;
        }
        Ok(writer)
    }

    /// Appends one input of a line.
    pub fn write(&mut self, line: usize, input: &Input<'_>, now: UnixNanos) -> Result<(), CaptureError> {
        if line != self.line {
            self.line = line;
            self.body.clear();
            self.body.extend_from_slice(&(line as u32).to_le_bytes());
            self.entry(LINE, now)?;
        }
        self.body.clear();
        let kind = encode(input, &mut self.body);
        self.entry(kind, now)
    }

    fn entry(&mut self, kind: u8, now: UnixNanos) -> Result<(), CaptureError> {
        let mut head = [0u8; 16];
        head[..8].copy_from_slice(&now.0.to_le_bytes());
        head[8..12].copy_from_slice(&(self.body.len() as u32).to_le_bytes());
        head[12] = kind;
        let failed = |source| CaptureError::Io { path: self.path.clone(), source };
        self.file.write_all(&head).map_err(failed)?;
        self.file.write_all(&self.body).map_err(failed)
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) -> Result<(), CaptureError> {
        self.file.flush().map_err(|source| CaptureError::Io { path: self.path.clone(), source })
    }
}

fn encode(input: &Input<'_>, body: &mut Vec<u8>) -> u8 {
    let text = |body: &mut Vec<u8>, t: &str| {
        body.extend_from_slice(&(t.len() as u32).to_le_bytes());
        body.extend_from_slice(t.as_bytes());
    };
    match *input {
        Input::Start { epoch, pid, origin, site, build } => {
            body.extend_from_slice(&epoch.to_le_bytes());
            body.extend_from_slice(&pid.to_le_bytes());
            body.push(u8::from(origin == Origin::Simulated));
            text(body, site);
            text(body, build);
            1
        }
        Input::Remember(instrument, memory) => {
            body.extend_from_slice(&instrument.0.to_le_bytes());
            let begins = memory.told_from != UnixNanos::ZERO;
            if memory.untold.is_empty() && !begins {
                encode_memory(memory, body);
                return 2;
            }
            if begins {
                body.extend_from_slice(&memory.told_from.0.to_le_bytes());
            }
            body.extend_from_slice(&(memory.untold.len() as u32).to_le_bytes());
            let ends = memory.untold.iter().flat_map(|(first, last)| [*first, *last]);
            ends.for_each(|id| body.extend_from_slice(&id.to_le_bytes()));
            encode_memory(memory, body);
            if begins { TOLD_FROM } else { UNTOLD }
        }
        Input::Connecting(to) => {
            body.extend_from_slice(to.as_bytes());
            3
        }
        Input::Connected => 4,
        Input::Frame(frame) => {
            body.extend_from_slice(frame);
            5
        }
        Input::Response(id, reply) => {
            body.extend_from_slice(&id.0.to_le_bytes());
            match reply {
                Reply::Http { status, body: answer, retry_after } => {
                    body.extend_from_slice(&status.to_le_bytes());
                    let retry_ms = retry_after.map_or(u64::MAX, |d| d.as_millis() as u64);
                    body.extend_from_slice(&retry_ms.to_le_bytes());
                    body.extend_from_slice(answer);
                    6
                }
                Reply::Failed(why) => {
                    body.extend_from_slice(why.as_bytes());
                    7
                }
            }
        }
        Input::Timer => 8,
        Input::Snapshot(instrument) => {
            body.extend_from_slice(&instrument.0.to_le_bytes());
            SNAPSHOT
        }
        Input::Disconnected(reason, why) => {
            body.push(reason.code());
            body.extend_from_slice(why.as_bytes());
            9
        }
        Input::Clock(wall) => {
            body.extend_from_slice(&wall.0.to_le_bytes());
            10
        }
        Input::End(reason) => {
            body.push(reason.code());
            11
        }
    }
}

fn encode_memory(memory: &Memory, body: &mut Vec<u8>) {
    let Memory { trade_id, last_seen, trade_time, missing, recent, .. } = memory;
    body.push(u8::from(trade_id.is_some()));
    body.extend_from_slice(&trade_id.unwrap_or(0).to_le_bytes());
    body.extend_from_slice(&last_seen.0.to_le_bytes());
    body.extend_from_slice(&trade_time.0.to_le_bytes());
    body.extend_from_slice(&(missing.len() as u32).to_le_bytes());
    let ranges = missing.iter().flat_map(|m| [m.first, m.last, m.since.0, m.until.0]);
    for number in ranges.chain(recent.iter().flat_map(|(time, key)| [time.0, *key])) {
        body.extend_from_slice(&number.to_le_bytes());
    }
}

/// Reads inputs back.
pub struct CaptureReader {
    file: BufReader<File>,
    path: PathBuf,
    body: Vec<u8>,
    /// What the last input remembers, which it lends from here.
    memory: Memory,
    offset: u64,
    shape: Vec<LineShape>,
    line: usize,
    /// Time and kind of the entry whose body was read to learn the shape.
    waiting: Option<(UnixNanos, u8)>,
}

impl CaptureReader {
    /// Opens a capture.
    pub fn open(path: &Path) -> Result<CaptureReader, CaptureError> {
        let failed = |source| CaptureError::Io { path: path.to_owned(), source };
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
        let mut magic = [0u8; 8];
        file.read_exact(&mut magic).map_err(failed)?;
        if &magic != MAGIC {
            let problem = "is not a capture of inputs: it does not begin with APINPUT1";
            return Err(CaptureError::Damaged { path: path.to_owned(), offset: 0, problem });
        }
        let one = vec![LineShape { name: String::new(), group: 0 }];
        let path = path.to_owned();
        let mut reader = CaptureReader {
            file,
            path,
            body: vec![],
            memory: Memory::default(),
            offset: 8,
            shape: one,
            line: 0,
            waiting: None,
        };
        match reader.entry()? {
            Some((_, SHAPE)) => {
                let damaged = reader.damaged("its list of lines cannot be understood");
                reader.shape = shape(&reader.body).ok_or(damaged)?;
            }
            first => reader.waiting = first,
        }
        Ok(reader)
    }

    /// The lines of the captured session.
    pub fn shape(&self) -> &[LineShape] {
        &self.shape
    }

    /// The next input with its line and its time; `None` at the end, where a cut last input does not count.
    pub fn next_input(&mut self) -> Result<Option<(usize, Input<'_>, UnixNanos)>, CaptureError> {
        let (now, kind) = loop {
            let entry = match self.waiting.take() {
                Some(entry) => Some(entry),
                None => self.entry()?,
            };
            let Some((now, kind)) = entry else { return Ok(None) };
            if kind != LINE {
                break (now, kind);
            }
            let line = Body(&self.body).u32().map(|line| line as usize).filter(|line| *line < self.shape.len());
            self.line = line.ok_or_else(|| self.damaged("an input is of a line that the capture does not name"))?;
        };
        let damaged = self.damaged("an input cannot be understood");
        decode(kind, &self.body, &mut self.memory).map(|input| Some((self.line, input, now))).ok_or(damaged)
    }

    /// Reads the next entry's body and says when it was and what it is.
    fn entry(&mut self) -> Result<Option<(UnixNanos, u8)>, CaptureError> {
        let mut head = [0u8; 16];
        if !self.fill(&mut head)? {
            return Ok(None);
        }
        let now = UnixNanos(u64::from_le_bytes(head[..8].try_into().expect("8 bytes")));
        let length = u32::from_le_bytes(head[8..12].try_into().expect("4 bytes"));
        if length > BODY_MAX {
            return Err(self.damaged("an input claims more than 256 MiB"));
        }
        let mut body = std::mem::take(&mut self.body);
        body.resize(length as usize, 0);
        let whole = self.fill(&mut body)?;
        self.body = body;
        self.offset += 16 + u64::from(length);
        Ok(whole.then_some((now, head[12])))
    }

    fn damaged(&self, problem: &'static str) -> CaptureError {
        CaptureError::Damaged { path: self.path.clone(), offset: self.offset, problem }
    }

    /// Fills `target`; `false` when the file ends before.
    fn fill(&mut self, target: &mut [u8]) -> Result<bool, CaptureError> {
        match self.file.read_exact(target) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(source) => Err(CaptureError::Io { path: self.path.clone(), source }),
        }
    }
}

/// Takes numbers and texts off the front of a body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[b]| b)
    }
    fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(head).ok()
    }
    fn rest(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }
}

/// Captures from before missing trades were fetched end behind the time of the last record.
fn decode_memory(mut b: Body<'_>) -> Option<Memory> {
    let known = b.u8()? == 1;
    let (trade_id, last_seen) = (Some(b.u64()?).filter(|_| known), UnixNanos(b.u64()?));
    let mut memory = Memory { trade_id, last_seen, ..Memory::default() };
    if b.0.is_empty() {
        return Some(memory);
    }
    memory.trade_time = UnixNanos(b.u64()?);
    for _ in 0..b.u32()? {
        let (first, last) = (b.u64()?, b.u64()?);
        memory.missing.push(Missing { first, last, since: UnixNanos(b.u64()?), until: UnixNanos(b.u64()?) });
    }
    while !b.0.is_empty() {
        memory.recent.push((UnixNanos(b.u64()?), b.u64()?));
    }
    Some(memory)
}

/// The lines a capture names.
fn shape(body: &[u8]) -> Option<Vec<LineShape>> {
    let mut b = Body(body);
    let mut lines = vec![];
    while !b.0.is_empty() && lines.len() < LINES_MAX {
        lines.push(LineShape { group: b.u32()?, name: b.text()?.to_owned() });
    }
    (lines.len() > 1 && b.0.is_empty()).then_some(lines)
}

fn decode<'a>(kind: u8, body: &'a [u8], memory: &'a mut Memory) -> Option<Input<'a>> {
    let mut b = Body(body);
    Some(match kind {
        1 => {
            let (epoch, pid) = (b.u64()?, b.u32()?);
            let origin = if b.u8()? == 1 { Origin::Simulated } else { Origin::Live };
            Input::Start { epoch, pid, origin, site: b.text()?, build: b.text()? }
        }
        2 => {
            let instrument = InstrumentId(b.u32()?);
            *memory = decode_memory(b)?;
            Input::Remember(instrument, memory)
        }
        UNTOLD | TOLD_FROM => {
            let instrument = InstrumentId(b.u32()?);
            let told_from = UnixNanos(if kind == TOLD_FROM { b.u64()? } else { 0 });
            let mut untold = vec![];
            for _ in 0..b.u32()? {
                untold.push((b.u64()?, b.u64()?));
            }
            *memory = Memory { untold, told_from, ..decode_memory(b)? };
            Input::Remember(instrument, memory)
        }
        3 => Input::Connecting(b.rest()?),
        4 => Input::Connected,
        5 => Input::Frame(body),
        6 => {
            let (id, status) = (RequestId(b.u64()?), u16::from_le_bytes(b.take()?));
            let retry_ms = b.u64()?;
            let retry_after = (retry_ms != u64::MAX).then(|| Duration::from_millis(retry_ms));
            Input::Response(id, Reply::Http { status, body: b.0, retry_after })
        }
        7 => {
            let id = RequestId(b.u64()?);
            Input::Response(id, Reply::Failed(b.rest()?))
        }
        8 => Input::Timer,
        SNAPSHOT => Input::Snapshot(InstrumentId(b.u32()?)),
        9 => {
            let reason = Reason::from_code(b.u8()?)?;
            Input::Disconnected(reason, b.rest()?)
        }
        10 => Input::Clock(UnixNanos(b.u64()?)),
        11 => Input::End(Reason::from_code(b.u8()?)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_comes_back_and_a_cut_one_does_not() {
        let bare = Memory { last_seen: UnixNanos(4), ..Memory::default() };
        let range = Missing { first: 6, last: 7, since: UnixNanos(1), until: UnixNanos(2) };
        let full = Memory {
            trade_id: Some(8),
            last_seen: UnixNanos(3),
            trade_time: UnixNanos(2),
            missing: vec![range],
            recent: vec![(UnixNanos(2), 8), (UnixNanos(1), u64::MAX)],
            untold: vec![],
            told_from: UnixNanos::ZERO,
        };
        let told_from = Memory { told_from: UnixNanos(11), ..full.clone() };
        let untold = Memory { untold: vec![(6, 6), (7, 7)], ..full.clone() };
        let inputs = [
            Input::Start { epoch: 7, pid: 9, origin: Origin::Simulated, site: "lab", build: "0.1" },
            Input::Remember(InstrumentId(5), &full),
            Input::Remember(InstrumentId(6), &bare),
            Input::Remember(InstrumentId(7), &untold),
            Input::Remember(InstrumentId(8), &told_from),
            Input::Connecting("wss://venue"),
            Input::Connected,
            Input::Frame(b"{\"a\":1}\n\xff"),
            Input::Response(
                RequestId(3),
                Reply::Http { status: 429, body: b"no", retry_after: Some(Duration::from_secs(2)) },
            ),
            Input::Response(RequestId(4), Reply::Http { status: 200, body: b"", retry_after: None }),
            Input::Response(RequestId(5), Reply::Failed("unreachable")),
            Input::Timer,
            Input::Snapshot(InstrumentId(5)),
            Input::Disconnected(Reason::Timeout, "silent for 5 s"),
            Input::Clock(UnixNanos(99)),
            Input::End(Reason::Shutdown),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.inputs");
        let line = |name: &str| LineShape { name: name.to_owned(), group: 3 };
        for (lines, shape) in
            [(1, vec![LineShape { name: String::new(), group: 0 }]), (3, ["a", "b", "c"].map(line).to_vec())]
        {
            let path = folder.path().join(format!("{lines}.inputs"));
            let mut writer = CaptureWriter::create(&path, &shape).expect("a new file");
            for (i, input) in inputs.iter().enumerate() {
                writer.write(i * i % lines, input, UnixNanos(i as u64)).expect("written");
            }
            writer.flush().expect("flushed");
            let read_all = |path: &Path| {
                let mut reader = CaptureReader::open(path).expect("a capture");
                assert_eq!(reader.shape(), shape);
                let mut n = 0;
                while let Some(read) = reader.next_input().expect("undamaged") {
                    assert_eq!(read, (n * n % lines, inputs[n], UnixNanos(n as u64)));
                    n += 1;
                }
                n
            };
            assert_eq!(read_all(&path), inputs.len());
            let bytes = std::fs::read(&path).expect("the file");
            let cut = folder.path().join("cut.inputs");
            std::fs::write(&cut, &bytes[..bytes.len() - 1]).expect("written");
            assert_eq!(read_all(&cut), inputs.len() - 1);
            assert!(CaptureWriter::create(&path, &shape).is_err(), "an existing capture is not overwritten");
        }
        // A line that the capture does not name.
        let mut writer = CaptureWriter::create(&path, &[]).expect("a new file");
        writer.write(1, &Input::Timer, UnixNanos(1)).expect("written");
        writer.flush().expect("flushed");
        assert!(CaptureReader::open(&path).expect("a capture").next_input().is_err());
    }

    #[test]
    fn a_memory_of_an_older_capture_is_read() {
        let old = [&[1][..], &9u64.to_le_bytes(), &3u64.to_le_bytes()].concat();
        let memory = Memory { trade_id: Some(9), last_seen: UnixNanos(3), ..Memory::default() };
        assert_eq!(decode_memory(Body(&old)), Some(memory));
    }
}
