//! Recorded frames and answers through a session: what `decode` prints and `verify books` judges.
//! frames, one a line, plain or gzip; receive times and REST exchanges beside them -> steps of a [`Session`].

use anyhow::Context;
use flate2::read::MultiGzDecoder;
use model::{Decimal, Reason, UnixNanos};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};
use venues::{Input, Outbox, Quarantined, Reply, Request, RequestId, Session};

/// A session that takes in a recording instead of a socket.
pub struct Playback {
    /// The session, as the feed runs it.
    pub session: Session,
    /// The answers that were recorded.
    pub answers: Answers,
    out: Outbox,
}

/// What one line of a recording came to.
pub struct Step<'a> {
    /// The line, counted from 1; 0 before the first and after the last.
    pub line: u64,
    /// When it was received; zero where nobody noted it.
    pub now: UnixNanos,
    /// What was stepped.
    pub input: Input<'a>,
    /// Why the frame could not be read, if it could not.
    pub bad: Option<&'a Quarantined>,
    /// What was told.
    pub out: &'a Outbox,
    /// The session after it.
    pub session: &'a Session,
}

impl Playback {
    /// Nothing was played yet.
    pub fn new(session: Session, answers: Answers) -> Playback {
        Playback { session, answers, out: Outbox::new() }
    }

    /// Plays a whole recording and shows each step to `f`.
    pub fn all(
        &mut self,
        frames: &mut Frames,
        f: &mut dyn FnMut(Step<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.step(Input::Connected, frames.first_time(), 0, f)?;
        while let Some((number, now)) = frames.advance()? {
            self.answer(Some(now), number, f)?;
            if !frames.line.is_empty() {
                self.step(Input::Frame(&frames.line), now, number, f)?;
            }
        }
        self.answer(None, 0, f)
    }

    /// Answers what the machine asked for, if it was answered by then when it was recorded.
    fn answer(
        &mut self,
        now: Option<UnixNanos>,
        number: u64,
        f: &mut dyn FnMut(Step<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        while let Some(answer) = self.answers.due(now) {
            let at = now.unwrap_or(answer.at);
            let reply = match &answer.body {
                Some((status, body)) => Reply::Http { status: *status, body, retry_after: None },
                None => Reply::Failed("no answer was recorded"),
            };
            self.step(Input::Response(answer.id, reply), at, number, f)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        input: Input<'_>,
        now: UnixNanos,
        line: u64,
        f: &mut dyn FnMut(Step<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let bad = self.session.step(input, now, &mut self.out);
        f(Step { line, now, input, bad: bad.as_ref(), out: &self.out, session: &self.session })?;
        if let Some((reason, why)) = self.out.reconnect.take() {
            // There is no connection to give up; what was asked for is said, and the frames go on.
            let reason: Reason = reason;
            eprintln!("line {line}: the feed would reconnect here ({reason}): {why}");
        }
        for request in self.out.requests.drain(..) {
            self.answers.ask(request);
        }
        self.out.clear();
        Ok(())
    }
}

/// Choices written `key=value`.
pub fn choices(given: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let split = |c: &String| c.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    given.iter().map(|c| split(c).context("--choice is written key=value")).collect()
}

/// A time in ns, in decimal seconds or as RFC 3339 in UTC.
pub fn receive_time(text: &str) -> anyhow::Result<UnixNanos> {
    if text.contains('T') {
        let utc = text.strip_suffix("+00:00").map_or_else(|| text.to_owned(), |time| format!("{time}Z"));
        let (ns, length) = scan::rfc3339_nanos(utc.as_bytes())?;
        anyhow::ensure!(length == utc.len(), "something follows the time");
        return Ok(UnixNanos(ns));
    }
    let decimal: Decimal = text.parse()?;
    let ns = if text.contains('.') { decimal.at_scale(9)? } else { decimal.at_scale(0)? };
    Ok(UnixNanos(u64::try_from(ns)?))
}

/// Lines of a file, plain or gzip, with their receive times.
pub struct Frames {
    source: Box<dyn BufRead>,
    times: Option<Box<dyn BufRead>>,
    whole: bool,
    name: String,
    number: u64,
    /// The line read last.
    pub line: Vec<u8>,
    pending: Option<UnixNanos>,
}

/// Opens a file, `-` for standard input, and unpacks it when it is gzip.
pub fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    let file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?)
    };
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let gzip =
        reader.fill_buf().with_context(|| format!("{} cannot be read", path.display()))?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzip { Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(reader))) } else { Box::new(reader) })
}

/// `NAME.recv.tsv` (or its gzip) beside `NAME.jsonl` (or its gzip).
pub fn times_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(".gz").unwrap_or(name);
    let stem = stem.strip_suffix(".jsonl").unwrap_or(stem);
    let candidates = [format!("{stem}.recv.tsv"), format!("{stem}.recv.tsv.gz")];
    candidates.iter().map(|c| path.with_file_name(c)).find(|p| p.exists())
}

/// REST exchanges beside `NAME.jsonl` (or its gzip): `NAME.rest….jsonl` and `NAME.depth_snapshot….jsonl`.
pub fn answers_beside(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let name = path.file_name().and_then(|name| name.to_str()).context("its name is no text")?;
    let stem = name.strip_suffix(".gz").unwrap_or(name);
    let stem = stem.strip_suffix(".jsonl").unwrap_or(stem);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = vec![];
    for entry in std::fs::read_dir(folder)?.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|n| n.strip_prefix(stem)?.strip_prefix('.')) else { continue };
        let kind = rest.starts_with("rest") || rest.starts_with("depth_snapshot");
        if kind && rest.trim_end_matches(".gz").ends_with(".jsonl") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

impl Frames {
    /// Opens a file and finds the receive times beside it.
    pub fn open(path: &Path) -> anyhow::Result<Frames> {
        let times = match times_beside(path) {
            Some(beside) => {
                let mut times = open(&beside)?;
                let mut heading = String::new();
                times.read_line(&mut heading)?;
                Some(times)
            }
            None => None,
        };
        let mut frames = Frames {
            source: open(path)?,
            times,
            whole: path.extension().is_some_and(|e| e == "json"),
            name: path.display().to_string(),
            number: 0,
            line: vec![],
            pending: None,
        };
        frames.pending = frames.read_time()?;
        Ok(frames)
    }

    /// When the first line was received.
    pub fn first_time(&self) -> UnixNanos {
        self.pending.unwrap_or(UnixNanos::ZERO)
    }

    /// The receive time of the next line: the second column, in ns, in decimal seconds or as RFC 3339 in UTC.
    fn read_time(&mut self) -> anyhow::Result<Option<UnixNanos>> {
        let Some(times) = &mut self.times else { return Ok(None) };
        let mut row = String::new();
        times.read_line(&mut row)?;
        let Some(text) = row.split('\t').nth(1).map(str::trim) else { return Ok(None) };
        receive_time(text).map(Some).map_err(|e| anyhow::anyhow!("receive time {text:?} beside {}: {e}", self.name))
    }

    /// Reads the next line; its number and receive time, or `None` at the end.
    pub fn advance(&mut self) -> anyhow::Result<Option<(u64, UnixNanos)>> {
        self.line.clear();
        let read = if self.whole {
            self.source.read_to_end(&mut self.line)
        } else {
            self.source.read_until(b'\n', &mut self.line)
        };
        let read = read.with_context(|| {
            format!("{}: line {} cannot be read; the file seems to be cut off", self.name, self.number + 1)
        })?;
        if read == 0 {
            return Ok(None);
        }
        while self.line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            self.line.pop();
        }
        self.number += 1;
        let now = self.pending.take().unwrap_or(UnixNanos::ZERO);
        self.pending = self.read_time()?;
        Ok(Some((self.number, now)))
    }
}

/// A recorded answer.
struct Recorded {
    /// What it answers: the path and query, or nothing for a bare body.
    target: Option<String>,
    at: UnixNanos,
    status: u16,
    body: Vec<u8>,
}

/// An answer to hand to the machine.
struct Answer {
    id: RequestId,
    at: UnixNanos,
    body: Option<(u16, Vec<u8>)>,
}

/// The recorded answers and the questions that wait for them.
#[derive(Default)]
pub struct Answers {
    recorded: VecDeque<Recorded>,
    asked: VecDeque<Request>,
}

impl Answers {
    /// Takes in exchanges or bodies, one a line.
    pub fn load(&mut self, path: &Path) -> anyhow::Result<()> {
        let mut lines = Frames::open(path)?;
        while let Some((number, at)) = lines.advance()? {
            if lines.line.is_empty() {
                continue;
            }
            let named = || format!("{}: line {number}", path.display());
            let value: serde_json::Value = serde_json::from_slice(&lines.line).with_context(named)?;
            let Some(body) = value.get("body").and_then(|b| b.as_str()) else {
                self.recorded.push_back(Recorded { target: None, at, status: 200, body: lines.line.clone() });
                continue;
            };
            let url = value.get("url").and_then(|u| u.as_str()).with_context(named)?;
            let target = url.splitn(4, '/').nth(3).map(|t| format!("/{t}"));
            let status = value.get("status").and_then(serde_json::Value::as_u64).unwrap_or(200) as u16;
            let at =
                value.get("at").and_then(|a| a.as_str()).and_then(|text| scan::rfc3339_nanos(text.as_bytes()).ok());
            let at = at.map_or(UnixNanos::ZERO, |(ns, _)| UnixNanos(ns));
            self.recorded.push_back(Recorded { target, at, status, body: body.as_bytes().to_vec() });
        }
        Ok(())
    }

    fn ask(&mut self, request: Request) {
        self.asked.push_back(request);
    }

    /// The next answer that was there by `now`; at the end of the frames (`None`) every question is answered.
    fn due(&mut self, now: Option<UnixNanos>) -> Option<Answer> {
        for i in 0..self.asked.len() {
            let found = self.recorded.iter().position(|r| answers(r, &self.asked[i]));
            let Some(found) = found else {
                let request = self.asked.remove(i)?;
                return Some(Answer { id: request.id, at: UnixNanos::ZERO, body: None });
            };
            if now.is_some_and(|now| now != UnixNanos::ZERO && now < self.recorded[found].at) {
                continue;
            }
            let request = self.asked.remove(i)?;
            let recorded = self.recorded.remove(found)?;
            return Some(Answer { id: request.id, at: recorded.at, body: Some((recorded.status, recorded.body)) });
        }
        None
    }
}

/// Whether a recorded answer is one to this request: the same last part of the path and the same symbol.
fn answers(recorded: &Recorded, request: &Request) -> bool {
    let Some(target) = &recorded.target else { return request.path.contains("/depth") };
    let call = |path: &str| path.split('?').next().and_then(|p| p.rsplit('/').next()).map(str::to_owned);
    let symbol = |path: &str| {
        let query = path.split_once('?').map(|(_, q)| q).unwrap_or_default();
        query.split('&').find_map(|pair| pair.strip_prefix("symbol=")).map(str::to_owned)
    };
    call(target) == call(&request.path) && symbol(target) == symbol(&request.path)
}
