//! What a consumer received, line by line: the JSON form of the records, out of files, a pipe or the rings themselves.

use anyhow::{Context, bail};
use model::Venue;
use relay::{Client, ClientOptions, Slow, Source, Start, Subscription};
use serde::Deserialize;
use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};
use wire::json;

/// One line as far as it is compared: a plain reading, not the records' own.
#[derive(Deserialize)]
pub struct Line<'a> {
    /// What it is.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// Of which venue.
    #[serde(borrow)]
    pub venue: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub venue_symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub trade_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub side: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub price: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub size: Option<Cow<'a, str>>,
    #[serde(default)]
    pub late: bool,
    #[serde(default)]
    pub periodic: bool,
    /// Of a book line.
    #[serde(borrow, rename = "kind")]
    pub book_kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub bids: Vec<[Cow<'a, str>; 2]>,
    #[serde(borrow, default)]
    pub asks: Vec<[Cow<'a, str>; 2]>,
    pub venue_seq: Option<u64>,
    /// Of a status.
    #[serde(borrow)]
    pub scope: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub state: Option<Cow<'a, str>>,
    /// Of a gap.
    #[serde(borrow)]
    pub stream: Option<Cow<'a, str>>,
    /// Of a gap a text, of an overrun a number.
    pub first: Option<serde_json::Value>,
    pub last: Option<serde_json::Value>,
    pub missing: Option<u64>,
    #[serde(default)]
    pub ts_event: u64,
    #[serde(default)]
    pub ts_recv: u64,
    /// Of a backfill.
    #[serde(default)]
    pub ts_from: u64,
    #[serde(default)]
    pub ts_to: u64,
    #[serde(default)]
    pub epoch: u64,
    #[serde(default)]
    pub seq: u64,
    pub seq_first: Option<u64>,
}

/// Where a line stands.
#[derive(Clone)]
pub struct Place {
    /// The file, or what stands for it.
    pub file: Rc<str>,
    /// Counted from 1.
    pub line: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Hands over every line of what was received.
pub fn read(what: &Path, tell: &mut dyn FnMut(&Place, &Line<'_>)) -> anyhow::Result<()> {
    let file: Rc<str> = what.display().to_string().into();
    if what.as_os_str() == "-" {
        return lines(io::stdin().lock(), "standard input".into(), tell);
    }
    if what.is_dir() {
        return rings(what, vec![], file, tell);
    }
    if let Some((dir, venue)) = ring_of(what) {
        return rings(dir, vec![venue?], file, tell);
    }
    let open = File::open(what).with_context(|| format!("{} cannot be read", what.display()))?;
    lines(BufReader::with_capacity(1 << 20, open), file, tell)
}

fn lines(mut from: impl BufRead, file: Rc<str>, tell: &mut dyn FnMut(&Place, &Line<'_>)) -> anyhow::Result<()> {
    let mut text = String::new();
    let mut place = Place { file, line: 0 };
    loop {
        text.clear();
        place.line += 1;
        if from.read_line(&mut text).with_context(|| format!("{place}"))? == 0 {
            return Ok(());
        }
        match serde_json::from_str::<Line<'_>>(&text) {
            Ok(line) => tell(&place, &line),
            // A consumer that was killed leaves half a line.
            Err(_) if !text.ends_with('\n') => return Ok(()),
            Err(_) if text.trim().is_empty() => {}
            Err(error) => bail!("{place} is no line of alphapulse tap: {error}"),
        }
    }
}

/// The directory and the venue of a ring file.
fn ring_of(file: &Path) -> Option<(&Path, anyhow::Result<Venue>)> {
    if file.extension()? != "ring" {
        return None;
    }
    let name = file.file_stem()?.to_string_lossy();
    let venue = name.parse().with_context(|| format!("{} is not named for a venue", file.display()));
    Some((file.parent()?, venue))
}

/// Rings that told nothing so often have told all they hold.
const IDLE_POLLS: u32 = 5;
/// How long to wait for more each time.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// What the rings hold now.
fn rings(dir: &Path, venues: Vec<Venue>, file: Rc<str>, tell: &mut dyn FnMut(&Place, &Line<'_>)) -> anyhow::Result<()> {
    let subscription = Subscription { venues, from: Start::Oldest, slow: Slow::Skip, ..Subscription::default() };
    let mut client = Client::open(Source::Rings(PathBuf::from(dir)), subscription, ClientOptions::default())?;
    let mut encoder = json::Encoder::new();
    let mut place = Place { file, line: 0 };
    let mut failed = None;
    let mut idle = 0;
    while failed.is_none() && idle < IDLE_POLLS {
        let polled = client.poll(|delivery, words| {
            let told = encoder.push(delivery.envelope, words).map_err(anyhow::Error::from).and_then(|line| {
                let Some(line) = line else { return Ok(()) };
                place.line += 1;
                let text = serde_json::to_string(&line)?;
                tell(&place, &serde_json::from_str(&text)?);
                Ok(())
            });
            failed = failed.take().or(told.err());
        })?;
        idle = if polled == 0 { idle + 1 } else { 0 };
        if polled == 0 {
            client.wait(IDLE_WAIT);
        }
    }
    failed.map_or(Ok(()), |error| Err(error.context(format!("{place}"))))
}
