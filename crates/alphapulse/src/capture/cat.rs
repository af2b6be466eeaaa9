//! `alphapulse capture cat`: entries for people and scripts, or frames as they were.

use super::{Interval, Where};
use capture::{Answer, Direction, Entry, Item, Kind, Lost, Reader, Requested};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

/// A line an entry: time, connection, direction, kind, then what it holds; bytes that are no text are told in hex.
#[derive(Args)]
pub struct CatArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    interval: Interval,
    /// Only this line of the session, counted from 0.
    #[arg(long)]
    connection: Option<u16>,
    /// Only what went this way.
    #[arg(long, value_enum)]
    direction: Option<Way>,
    /// Only entries of this kind, such as frame, answer or request. May be repeated.
    #[arg(long, value_parser = kind)]
    kind: Vec<Kind>,
    /// Print one JSON object a line.
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Print what came in and nothing else: each frame byte for byte, one a line. An imported recording comes out as it
    /// was.
    #[arg(long)]
    raw: bool,
}

/// Directions on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// From the venue.
    In,
    /// To the venue.
    Out,
    /// Our own doing.
    Own,
}

fn kind(text: &str) -> Result<Kind, String> {
    let names: Vec<&str> = Kind::ALL.iter().map(|k| k.name()).collect();
    let found = Kind::ALL.iter().find(|k| k.name() == text).copied();
    found.ok_or_else(|| format!("there is no kind {text:?}; there are {}", names.join(", ")))
}

/// Runs the subcommand.
pub fn run(args: &CatArgs, folder: impl FnOnce() -> anyhow::Result<PathBuf>) -> anyhow::Result<ExitCode> {
    let place = args.place.place(folder)?;
    let (from, until) = args.interval.bounds();
    let mut reader = Reader::open(&place)?.within(from, until)?;
    let mut out = BufWriter::with_capacity(1 << 18, io::stdout().lock());
    let (mut sound, mut raw) = (true, Raw::default());
    while let Some(item) = reader.next()? {
        match item {
            Item::Damaged(damage) => {
                sound = false;
                let what = if damage.cut { "are no whole entry: a writer was killed here" } else { "are damaged" };
                eprintln!("{}: its bytes {} to {} {what}", damage.path.display(), damage.from, damage.to);
            }
            Item::Entry(entry) if !args.wants(&entry) => {}
            Item::Entry(entry) if args.raw => raw.print(&entry, &mut out)?,
            Item::Entry(entry) if args.json => writeln!(out, "{}", object(&entry))?,
            Item::Entry(entry) => print(&entry, &mut out)?,
        }
    }
    if args.raw {
        raw.end(&mut out)?;
    }
    out.flush()?;
    Ok(ExitCode::from(u8::from(!sound)))
}

impl CatArgs {
    fn wants(&self, entry: &Entry<'_>) -> bool {
        let way = match entry.head.direction {
            Direction::In => Way::In,
            Direction::Out => Way::Out,
            Direction::Own => Way::Own,
        };
        self.connection.is_none_or(|c| c == entry.head.connection)
            && self.direction.is_none_or(|wanted| wanted == way)
            && (self.kind.is_empty() || self.kind.contains(&entry.head.kind))
    }
}

/// Prints bodies as the lines they were.
#[derive(Default)]
struct Raw {
    /// A line was printed whose end is not.
    open: bool,
}

impl Raw {
    fn print(&mut self, entry: &Entry<'_>, out: &mut impl Write) -> anyhow::Result<()> {
        match (entry.head.kind, entry.head.direction) {
            (Kind::Frame, Direction::In) | (Kind::Line, _) => {
                if std::mem::replace(&mut self.open, true) {
                    out.write_all(b"\n")?;
                }
                out.write_all(entry.body)?;
            }
            // It says how the last line ended.
            (Kind::Imported, _) if std::mem::take(&mut self.open) => {
                let about: Value = serde_json::from_slice(entry.body)?;
                if about["final_newline"] != false {
                    out.write_all(b"\n")?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&self, out: &mut impl Write) -> io::Result<()> {
        if self.open { out.write_all(b"\n") } else { Ok(()) }
    }
}

fn print(entry: &Entry<'_>, out: &mut impl Write) -> io::Result<()> {
    let head = &entry.head;
    let (time, direction, kind) = (capture::utc(head.time), head.direction.name(), head.kind.name());
    write!(out, "{time} {:>2} {direction:<3} {kind:<12} ", head.connection)?;
    match told(entry) {
        Told::Words(words) => writeln!(out, "{words}"),
        Told::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => writeln!(out, "{text}"),
            Err(_) => writeln!(out, "{}", hex(bytes)),
        },
    }
}

/// What an entry holds, for people.
enum Told<'a> {
    Words(String),
    Bytes(&'a [u8]),
}

fn told<'a>(entry: &Entry<'a>) -> Told<'a> {
    let body = entry.body;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let words = match entry.head.kind {
        Kind::Answer => Answer::read(body).map(|a| format!("{} status {} {}", a.id.0, a.status, text(a.body))),
        Kind::Request => Requested::read(body).map(|r| format!("{} {} {}", r.id.0, r.method, r.url)),
        Kind::Lost => Lost::read(body).map(|l| format!("{} entries, {} bytes", l.entries, l.bytes)),
        Kind::Failed => {
            body.split_first_chunk::<8>().map(|(id, why)| format!("{} {}", u64::from_le_bytes(*id), text(why)))
        }
        Kind::Disconnected => body.get(1..).map(text),
        Kind::Start | Kind::Remember | Kind::Clock | Kind::End => Some(format!("{} bytes", body.len())),
        _ => None,
    };
    words.map_or(Told::Bytes(body), Told::Words)
}

fn object(entry: &Entry<'_>) -> Value {
    let head = &entry.head;
    let mut object = json!({
        "time": head.time.0, "monotonic": head.monotonic, "number": head.number, "offset": entry.offset,
        "connection": head.connection, "direction": head.direction.name(), "kind": head.kind.name(),
    });
    let mut bytes = entry.body;
    match head.kind {
        Kind::Answer => {
            if let Some(answer) = Answer::read(entry.body) {
                object["request"] = answer.id.0.into();
                object["status"] = answer.status.into();
                bytes = answer.body;
            }
        }
        Kind::Request => {
            if let Some(r) = Requested::read(entry.body) {
                object["request"] = r.id.0.into();
                (object["method"], object["url"], object["headers"]) =
                    (r.method.into(), r.url.into(), r.headers.into());
                return object;
            }
        }
        Kind::Lost => {
            if let Some(l) = Lost::read(entry.body) {
                object["lost"] = json!({"entries": l.entries, "bytes": l.bytes, "first": l.first.0, "last": l.last.0});
                return object;
            }
        }
        _ => {}
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => object["text"] = text.into(),
        Err(_) => object["hex"] = hex(bytes).into(),
    }
    object
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
