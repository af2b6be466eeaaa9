//! What an emulator sent, out of its journal: every connection's frames with their times, and the REST answers.

use super::{
    frames::{self, Event, Protocol},
    told::Place,
};
use anyhow::{Context, bail};
use serde::Deserialize;
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    rc::Rc,
};

/// One connection of a journal.
pub struct Connection {
    number: u64,
    frames: PathBuf,
    /// Whether it was the consumer's own feed's.
    pub is_own: bool,
}

/// Where and when something was sent.
pub struct Sent {
    /// The frame or answer.
    pub place: Place,
    /// When the frame was handed to the socket, ns since the Unix epoch; `None` for an answer.
    pub at: Option<u64>,
    /// The connection's number; 0 for an answer.
    pub connection: u64,
    /// Whether it went to the consumer's own feed.
    pub is_own: bool,
}

/// Takes in what was sent.
pub trait Visitor {
    /// Something was sent.
    fn sent(&mut self, sent: &Sent, symbol: &str, event: Event);
    /// A connection's frames are over.
    fn end_of_connection(&mut self, is_own: bool);
}

/// What a journal holds beside events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Frames read.
    pub frames: u64,
    /// Frames that are no JSON: a fault's doing.
    pub unreadable: u64,
    /// Connections.
    pub connections: u64,
}

/// The connections of a journal by number. Those whose address contains one of the texts are not the consumer's own.
pub fn connections(folder: &Path, others: &[String]) -> anyhow::Result<Vec<Connection>> {
    let entries = fs::read_dir(folder).with_context(|| format!("the journal {} cannot be read", folder.display()))?;
    let addresses = addresses(folder)?;
    let mut all: Vec<Connection> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_suffix(".jsonl")?.parse().ok()?;
            let address = addresses.get(&number).map_or("", String::as_str);
            let is_own = !others.iter().any(|part| address.contains(part.as_str()));
            Some(Connection { number, frames: entry.path(), is_own })
        })
        .collect();
    if all.is_empty() {
        bail!(
            "{} is no emulator's journal: it holds no frames of a connection (000001.jsonl); a journal is written to \
             the folder that emulator.VENUE.journal names",
            folder.display()
        );
    }
    if let Some(part) = others.iter().find(|part| !addresses.values().any(|a| a.contains(part.as_str()))) {
        bail!("no connection in {} has {part:?} in its address", folder.display());
    }
    all.sort_by_key(|connection| connection.number);
    Ok(all)
}

/// What each connection asked for when it was opened.
fn addresses(folder: &Path) -> anyhow::Result<HashMap<u64, String>> {
    #[derive(Deserialize)]
    struct Row {
        connection: u64,
        url: Option<String>,
    }
    let path = folder.join("connections.jsonl");
    let mut addresses = HashMap::new();
    // Journals of earlier versions have none.
    let Ok(file) = File::open(&path) else { return Ok(addresses) };
    for (at, line) in BufReader::new(file).lines().enumerate() {
        let row: Row = serde_json::from_str(&line?).with_context(|| format!("{}:{}", path.display(), at + 1))?;
        if let Some(url) = row.url {
            addresses.insert(row.connection, url);
        }
    }
    Ok(addresses)
}

/// Whose protocol the frames speak.
pub fn protocol(connections: &[Connection]) -> anyhow::Result<Protocol> {
    for connection in connections {
        let file = open(&connection.frames)?;
        for line in file.lines() {
            if let Ok(Some(protocol)) = frames::events(&line?, &mut |_, _| ()) {
                return Ok(protocol);
            }
        }
    }
    bail!("no frame of the journal is a venue's")
}

/// Hands over everything that was sent: frames by connection, then the answers.
pub fn walk(folder: &Path, connections: &[Connection], visitor: &mut dyn Visitor) -> anyhow::Result<Counted> {
    let mut counted = Counted { connections: connections.len() as u64, ..Counted::default() };
    for connection in connections {
        connection.walk(&mut counted, visitor)?;
        visitor.end_of_connection(connection.is_own);
    }
    answers(folder, visitor)?;
    Ok(counted)
}

impl Connection {
    fn walk(&self, counted: &mut Counted, visitor: &mut dyn Visitor) -> anyhow::Result<()> {
        let mut frames = open(&self.frames)?;
        let mut times = open(&self.frames.with_extension("recv.tsv"))?;
        let (mut text, mut row) = (String::new(), String::new());
        times.read_line(&mut row)?;
        let file: Rc<str> = self.frames.display().to_string().into();
        let mut sent = Sent { place: Place { file, line: 0 }, at: None, connection: self.number, is_own: self.is_own };
        loop {
            text.clear();
            row.clear();
            sent.place.line += 1;
            if frames.read_line(&mut text).with_context(|| sent.place.to_string())? == 0 {
                return Ok(());
            }
            times.read_line(&mut row)?;
            let time = row.trim_end().split_once('\t').and_then(|(_, at)| at.parse().ok());
            if !text.ends_with('\n') || time.is_none() {
                // An emulator that was killed leaves half a line.
                return Ok(());
            }
            sent.at = time;
            counted.frames += 1;
            let read = frames::events(text.trim_end(), &mut |symbol, event| visitor.sent(&sent, symbol, event));
            counted.unreadable += u64::from(read.is_err());
        }
    }
}

fn answers(folder: &Path, visitor: &mut dyn Visitor) -> anyhow::Result<()> {
    let path = folder.join("rest.http.jsonl");
    if !path.exists() {
        return Ok(());
    }
    let mut sent = Sent {
        place: Place { file: path.display().to_string().into(), line: 0 },
        at: None,
        connection: 0,
        is_own: false,
    };
    for line in open(&path)?.lines() {
        sent.place.line += 1;
        // The last may be torn; no other can be.
        let _ = frames::answer(&line?, &mut |symbol, event| visitor.sent(&sent, symbol, event));
    }
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(BufReader::with_capacity(1 << 20, file))
}
