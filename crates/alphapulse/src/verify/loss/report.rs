//! What was found, as one line, as JSON, and as the details that lead from a figure to a frame.

use serde::Serialize;
use std::collections::BTreeMap;

/// Streams that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Trades.
    Trade,
    /// Changes of books.
    Book,
    /// Steps of orders.
    Order,
    /// Records of any kind, by their names.
    Record,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Sent, not told, not in a gap.
    Lost,
    /// Told more often than sent.
    Duplicated,
    /// Told behind a later one without being called late.
    Reordered,
    /// Told with other numbers than sent.
    Different,
    /// Told and never sent.
    NeverSent,
    /// Called missing although the connection that carried it went on.
    NamedLive,
    /// Called missing after it was told.
    Misnamed,
}

/// The figures of one stream.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figures {
    /// Distinct events sent to anybody while the consumer listened.
    pub sent: u64,
    /// Of those, told.
    pub delivered: u64,
    /// Of those, told late: fetched after they were missed.
    pub late: u64,
    /// Sent, not told, and named in a gap by id.
    pub named: u64,
    /// Sent, not told, and inside a gap or resync that could not say which.
    pub unnamed_gaps: u64,
    /// Sent, not told, and nowhere said to be missing.
    pub lost: u64,
    /// Told once more than sent.
    pub duplicated: u64,
    /// Told behind a later one without being called late.
    pub reordered: u64,
    /// Told with other numbers than sent.
    pub different: u64,
    /// Told and never sent.
    pub never_sent: u64,
    /// Called missing, never told, although the connection that carried it went on.
    pub named_live: u64,
    /// Called missing after it was told.
    pub misnamed: u64,
    /// Called missing and never sent to anybody.
    pub named_never_sent: u64,
    /// Sent to others only: the consumer's own connections were down.
    pub down: u64,
    /// Sent before the first told or about when the consumer ended.
    pub not_judged: u64,
}

impl Figures {
    fn is_good(&self) -> bool {
        let wrong = [
            self.lost,
            self.duplicated,
            self.reordered,
            self.different,
            self.never_sent,
            self.named_live,
            self.misnamed,
        ];
        wrong.iter().all(|n| *n == 0)
    }
}

/// Something found, and where.
#[derive(Clone, Debug, Serialize)]
pub struct Detail {
    /// What is wrong.
    pub kind: Kind,
    /// Of which stream.
    pub stream: Stream,
    /// The event.
    pub what: String,
    /// File and line, where known.
    pub place: String,
    #[serde(skip)]
    wanted: Option<(String, u64)>,
}

/// Everything that was found.
#[derive(Serialize)]
pub struct Report {
    /// Of which venue.
    pub venue: String,
    /// Figures by stream.
    pub streams: BTreeMap<Stream, Figures>,
    /// Gap lines told.
    pub gaps: u64,
    /// Ids that gaps named, those told late since among them.
    pub named_ever: u64,
    /// Trades that the consumer's own connections carried at their ends and that were not told live: lost on the way.
    pub in_flight: u64,
    /// Records named in overruns.
    pub overruns: u64,
    /// Frames sent over all connections.
    pub frames: u64,
    /// Frames that are no JSON.
    pub unreadable: u64,
    /// Connections.
    pub connections: u64,
    /// Lines the consumer received.
    pub lines: u64,
    /// Instruments that were sent and that the consumer never heard of.
    pub not_asked_for: u64,
    /// The first of each kind.
    pub details: Vec<Detail>,
    #[serde(skip)]
    most: usize,
}

impl Report {
    /// Nothing found; `most` details of a kind are kept.
    pub fn new(most: usize) -> Report {
        Report {
            venue: String::new(),
            streams: BTreeMap::new(),
            gaps: 0,
            named_ever: 0,
            in_flight: 0,
            overruns: 0,
            frames: 0,
            unreadable: 0,
            connections: 0,
            lines: 0,
            not_asked_for: 0,
            details: vec![],
            most,
        }
    }

    /// The figures of a stream.
    pub fn figures(&mut self, stream: Stream) -> &mut Figures {
        self.streams.entry(stream).or_default()
    }

    /// A stream is compared, even if nothing of it was found.
    pub fn compared(&mut self, stream: Stream) {
        self.figures(stream);
    }

    /// Counts something wrong and keeps it.
    pub fn found(&mut self, kind: Kind, stream: Stream, what: &str, place: String) {
        let figures = self.figures(stream);
        match kind {
            Kind::Duplicated => figures.duplicated += 1,
            Kind::Reordered => figures.reordered += 1,
            Kind::Misnamed => figures.misnamed += 1,
            Kind::Lost | Kind::Different | Kind::NeverSent | Kind::NamedLive => {
                unreachable!("counted by the verdict, which says so by `detail`")
            }
        }
        self.detail(kind, stream, what, place);
    }

    /// Keeps something that is counted elsewhere.
    pub fn detail(&mut self, kind: Kind, stream: Stream, what: &str, place: String) {
        if self.details.iter().filter(|d| d.kind == kind && d.stream == stream).count() < self.most {
            self.details.push(Detail { kind, stream, what: what.to_owned(), place, wanted: None });
        }
    }

    /// The same of a numbered event whose frame must be looked for.
    pub fn locate(&mut self, kind: Kind, stream: Stream, name: &str, id: u64) {
        let kept = self.details.len();
        self.detail(kind, stream, &format!("{name} {id}"), String::new());
        if let Some(detail) = self.details.get_mut(kept) {
            detail.wanted = Some((name.to_owned(), id));
        }
    }

    /// The details without a place yet: instrument, stream and id.
    pub fn unplaced(&self) -> impl Iterator<Item = (usize, Stream, &str, u64)> {
        let wanted = self.details.iter().enumerate().filter(|(_, d)| d.place.is_empty());
        wanted.filter_map(|(at, d)| d.wanted.as_ref().map(|(name, id)| (at, d.stream, name.as_str(), *id)))
    }

    /// Whether everything sent was told once, in order and as sent, or was said to be missing.
    pub fn is_good(&self) -> bool {
        self.streams.values().all(Figures::is_good)
    }

    /// The line for people.
    pub fn line(&self) -> String {
        let mut parts = vec![];
        for (stream, f) in &self.streams {
            if *stream == Stream::Record && f.reordered == 0 {
                continue;
            }
            let name = match stream {
                Stream::Trade => "trades",
                Stream::Book => "book changes",
                Stream::Order => "order steps",
                Stream::Record => "records",
            };
            let mut part = format!("{name} {} sent, {} delivered", f.sent, f.delivered);
            if *stream != Stream::Book {
                part += &format!(", {} named in gaps, {} late", f.named, f.late);
            }
            part += &format!(", {} lost, {} duplicated, {} reordered", f.lost, f.duplicated, f.reordered);
            let unnamed = if *stream == Stream::Book { "inside resyncs" } else { "in gaps without ids" };
            for (n, words) in [
                (f.unnamed_gaps, unnamed),
                (f.different, "not as sent"),
                (f.never_sent, "never sent"),
                (f.named_live, "called missing on a live connection"),
                (f.misnamed, "called missing after they were told"),
            ] {
                if n > 0 {
                    part += &format!(", {n} {words}");
                }
            }
            parts.push(part);
        }
        format!("{}: {}", self.venue, parts.join("; "))
    }
}
