//! A running replay steered over a Unix socket: JSON lines, an order and its answer each.
//!
//! `{"do":"pause"}` -> `{"ok":true,"replay":true,"state":"paused",…}`, or `{"ok":false,"error":"…"}`.

use crate::ReplayError;
use crate::bars::BarChoice;
use crate::run::{Command, Handle, OrderError, Status};
use book::bars::{Interval, Rule};
use capture::Speed;
use model::{UnixNanos, Venue};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A dashboard and a few terminals; each is a thread that sleeps.
const CLIENTS_MAX: usize = 16;
/// The longest order; all of them are far shorter.
const LINE_BYTES_MAX: u64 = 4096;
/// How soon the end of the replay is noticed while nobody connects.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An order as a line.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Status,
    Pause,
    Resume,
    Stop,
    Seek {
        time: Moment,
    },
    Speed {
        speed: Fast,
    },
    StepEvents {
        #[serde(default = "one")]
        count: u64,
    },
    StepBars {
        #[serde(default = "one")]
        count: u64,
        /// Time bars of so many seconds.
        interval_s: Option<u64>,
        /// Or bars of so many trades.
        trades: Option<u64>,
        venue: Option<String>,
        symbol: Option<String>,
    },
}

fn one() -> u64 {
    1
}

/// A time: ns since the Unix epoch, or RFC 3339 in UTC.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Moment {
    Nanos(u64),
    Text(String),
}

/// A speed: a number, or text as on the command line.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Fast {
    Times(f64),
    Text(String),
}

#[derive(Serialize)]
struct Answer {
    ok: bool,
    #[serde(flatten)]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A time as people or programs write it: RFC 3339 in UTC, or ns since the Unix epoch.
pub fn moment(text: &str) -> Result<UnixNanos, String> {
    let wrong = || format!("{text:?} is no time; write 2025-01-13T02:00:00Z, or ns since 1970");
    if let Ok(nanos) = text.parse() {
        return Ok(UnixNanos(nanos));
    }
    match scan::rfc3339_nanos(text.as_bytes()) {
        Ok((nanos, length)) if length == text.len() => Ok(UnixNanos(nanos)),
        _ => Err(wrong()),
    }
}

impl Line {
    fn command(self) -> Result<Command, String> {
        Ok(match self {
            Line::Status => Command::Status,
            Line::Pause => Command::Pause,
            Line::Resume => Command::Resume,
            Line::Stop => Command::Stop,
            Line::Seek { time: Moment::Nanos(nanos) } => Command::Seek(UnixNanos(nanos)),
            Line::Seek { time: Moment::Text(text) } => Command::Seek(moment(&text)?),
            Line::Speed { speed } => Command::Speed(match speed {
                Fast::Times(times) if times.is_finite() && times > 0.0 => Speed::Times(times),
                Fast::Times(times) => return Err(format!("{times} is no speed; write a number above 0, or \"max\"")),
                Fast::Text(text) => text.parse().map_err(|e: capture::NoSpeed| e.to_string())?,
            }),
            Line::StepEvents { count } => Command::StepEvents(count),
            Line::StepBars { count, interval_s, trades, venue, symbol } => {
                let rule = match (interval_s, trades) {
                    (Some(seconds), None) => {
                        Rule::Time(Interval::new(Duration::from_secs(seconds)).map_err(|e| e.to_string())?)
                    }
                    (None, Some(trades)) => Rule::Ticks(trades),
                    (None, None) => Rule::Time(Interval::MINUTE),
                    (Some(_), Some(_)) => return Err("a bar has interval_s or trades, not both".to_owned()),
                };
                let venue = venue.map(|name| name.parse::<Venue>()).transpose().map_err(|e| e.to_string())?;
                Command::StepBars(count, BarChoice { rule, venue, symbol })
            }
        })
    }
}

/// Answers one line.
pub fn answer(handle: &Handle, line: &str) -> String {
    let command = serde_json::from_str::<Line>(line).map_err(|e| format!("no order: {e}")).and_then(Line::command);
    let told = command.and_then(|command| handle.order(command).map_err(|e: OrderError| e.to_string()));
    let answer = match told {
        Ok(status) => Answer { ok: true, status: Some(status), error: None },
        Err(error) => Answer { ok: false, status: None, error: Some(error) },
    };
    serde_json::to_string(&answer).expect("a status is plain JSON")
}

/// Listens for orders until it is dropped.
pub struct Control {
    path: PathBuf,
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Control {
    /// Listens at a path that only this user may open. A socket that nobody listens at any more is replaced.
    pub fn listen(path: &Path, handle: Handle) -> Result<Control, ReplayError> {
        if UnixStream::connect(path).is_err() {
            match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(ReplayError::io("replace", path)(e)),
                _ => {}
            }
        }
        let listener = UnixListener::bind(path).map_err(ReplayError::io("listen at", path))?;
        let set_up =
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).and_then(|()| listener.set_nonblocking(true));
        set_up.map_err(ReplayError::io("prepare", path))?;
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let thread = thread::Builder::new()
            .name("replay-control".to_owned())
            .spawn(move || serve(&listener, &handle, &ended))
            .map_err(ReplayError::io("start a thread for", path))?;
        Ok(Control { path: path.to_owned(), over, thread: Some(thread) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It panicked: there is nothing left to tell it.
            let _ = thread.join();
        }
        // Gone already is as good.
        let _ = fs::remove_file(&self.path);
    }
}

fn serve(listener: &UnixListener, handle: &Handle, over: &AtomicBool) {
    let clients = Arc::new(AtomicUsize::new(0));
    while !over.load(Ordering::Acquire) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(LOOK_EVERY);
            continue;
        };
        if clients.fetch_add(1, Ordering::AcqRel) >= CLIENTS_MAX {
            clients.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let (handle, counted) = (handle.clone(), clients.clone());
        let talk = move || {
            // Whoever hangs up in the middle of a line wants no answer.
            let _ = talk(stream, &handle);
            counted.fetch_sub(1, Ordering::AcqRel);
        };
        if thread::Builder::new().name("replay-client".to_owned()).spawn(talk).is_err() {
            clients.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn talk(stream: UnixStream, handle: &Handle) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
            return Ok(());
        }
        if !line.trim().is_empty() {
            out.write_all((answer(handle, &line) + "\n").as_bytes())?;
        }
    }
}
