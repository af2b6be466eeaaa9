//! `alphapulse decode`: a venue's raw frames in, JSON records out, through the very machine the feed runs.

use crate::venue_name;
use anyhow::Context;
use clap::Args;
use flate2::read::MultiGzDecoder;
use model::{Decimal, Reason, StreamKind, UnixNanos, Venue};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};
use venues::{Input, Outbox, Reply, Request, RequestId, Session, SessionSettings, Settings};
use wire::{Envelope, json};

/// Frames are one a line (a `.json` file is one frame). Receive times are read from `NAME.recv.tsv` beside the file
/// where there is one.
#[derive(Args)]
pub struct DecodeArgs {
    /// The venue that sent the frames.
    #[arg(long, value_parser = venue_name)]
    venue: Venue,
    /// The frames; `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// REST exchanges or bodies recorded beside the frames; answers what the venue machine asks for. May be repeated.
    #[arg(long, value_name = "FILE")]
    rest: Vec<PathBuf>,
    /// Only these symbols; whatever arrives, when not given.
    #[arg(long, value_delimiter = ',')]
    symbols: Vec<String>,
    /// Levels a side the books were subscribed with, where the frames do not say.
    #[arg(long, default_value_t = 1000)]
    book_depth: u32,
    /// One of the venue's documented choices. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    choice: Vec<String>,
    /// The epoch in the records.
    #[arg(long, default_value_t = 1)]
    epoch: u64,
    /// Print what was counted, as one JSON object on standard error.
    #[arg(long)]
    counts: bool,
}

/// Runs the subcommand.
pub fn run(args: &DecodeArgs) -> anyhow::Result<ExitCode> {
    let frames = Frames::open(&args.file)?;
    let mut answers = Answers::default();
    for path in &args.rest {
        answers.load(path)?;
    }
    let settings = Settings {
        symbols: args.symbols.clone(),
        streams: vec![StreamKind::Trade, StreamKind::Book, StreamKind::Quote, StreamKind::Bar],
        book_depth: args.book_depth,
        ..Settings::default()
    };
    let choices = args
        .choice
        .iter()
        .map(|c| c.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).context("--choice is written key=value"))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let machine = venues::machine(args.venue, &settings, &choices)?;
    let mut decoder = Decoder {
        session: Session::new(machine, SessionSettings::default()),
        out: Outbox::new(),
        encoder: json::Encoder::new(),
        epoch: args.epoch,
        sequence: 0,
        answers,
        lines: BufWriter::with_capacity(1 << 18, io::stdout().lock()),
        bad: 0,
    };
    decoder.all(frames)?;
    decoder.lines.flush()?;
    if args.counts {
        let counts = decoder.session.machine().counts();
        let object: serde_json::Map<_, _> = counts.iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        eprintln!("{}", serde_json::Value::Object(object));
    }
    if decoder.bad > 0 {
        eprintln!(
            "alphapulse: {} of {} frames could not be read",
            decoder.bad,
            decoder.session.machine().counts().frames
        );
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

struct Decoder<W: Write> {
    session: Session,
    out: Outbox,
    encoder: json::Encoder,
    epoch: u64,
    sequence: u64,
    answers: Answers,
    lines: W,
    bad: u64,
}

impl<W: Write> Decoder<W> {
    fn all(&mut self, mut frames: Frames) -> anyhow::Result<()> {
        let start = frames.first_time();
        self.step(Input::Connected, start, 0)?;
        while let Some((number, now)) = frames.advance()? {
            self.answer(Some(now), number)?;
            if frames.line.is_empty() {
                continue;
            }
            let line = std::mem::take(&mut frames.line);
            self.step(Input::Frame(&line), now, number)?;
            frames.line = line;
        }
        self.answer(None, 0)?;
        Ok(())
    }

    /// Answers what the machine asked for, if it was answered by then when it was recorded.
    fn answer(&mut self, now: Option<UnixNanos>, number: u64) -> anyhow::Result<()> {
        while let Some(answer) = self.answers.due(now) {
            let at = now.unwrap_or(answer.at);
            let reply = match &answer.body {
                Some((status, body)) => Reply::Http { status: *status, body, retry_after: None },
                None => Reply::Failed("no answer was recorded"),
            };
            self.step(Input::Response(answer.id, reply), at, number)?;
        }
        Ok(())
    }

    fn step(&mut self, input: Input<'_>, now: UnixNanos, number: u64) -> anyhow::Result<()> {
        if let Some(bad) = self.session.step(input, now, &mut self.out) {
            self.bad += 1;
            eprintln!("line {number}: {}", bad.error);
        }
        for words in self.out.records.iter() {
            self.sequence += 1;
            let at = Envelope { epoch: self.epoch, sequence: self.sequence };
            if let Some(line) = self.encoder.push(at, words).with_context(|| format!("line {number}"))? {
                serde_json::to_writer(&mut self.lines, &line).map_err(io::Error::from)?;
                self.lines.write_all(b"\n")?;
            }
        }
        if let Some((reason, why)) = self.out.reconnect.take() {
            // There is no connection to give up; what was asked for is said, and the frames go on.
            let reason: Reason = reason;
            eprintln!("line {number}: the feed would reconnect here ({reason}): {why}");
        }
        for request in self.out.requests.drain(..) {
            self.answers.ask(request);
        }
        self.out.clear();
        Ok(())
    }
}

fn receive_time(text: &str) -> anyhow::Result<UnixNanos> {
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
struct Frames {
    source: Box<dyn BufRead>,
    times: Option<Box<dyn BufRead>>,
    whole: bool,
    name: String,
    number: u64,
    line: Vec<u8>,
    pending: Option<UnixNanos>,
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
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
fn times_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(".gz").unwrap_or(name);
    let stem = stem.strip_suffix(".jsonl").unwrap_or(stem);
    let candidates = [format!("{stem}.recv.tsv"), format!("{stem}.recv.tsv.gz")];
    candidates.iter().map(|c| path.with_file_name(c)).find(|p| p.exists())
}

impl Frames {
    fn open(path: &Path) -> anyhow::Result<Frames> {
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

    fn first_time(&self) -> UnixNanos {
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
    fn advance(&mut self) -> anyhow::Result<Option<(u64, UnixNanos)>> {
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
struct Answers {
    recorded: VecDeque<Recorded>,
    asked: VecDeque<Request>,
}

impl Answers {
    fn load(&mut self, path: &Path) -> anyhow::Result<()> {
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
