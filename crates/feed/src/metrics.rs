//! The feed's metrics: set from the machine's counters between reads, never inside the hot path.

use model::BookState;
use std::sync::Arc;
use telemetry::{Counter, Gauge, Histogram, Registry};
use venues::{Counts, Session};
use wire::RecordType;

/// A feed's metrics, all labelled with the venue.
pub struct FeedMetrics {
    counters: Vec<(&'static str, Counter)>,
    /// Records published.
    pub records: Counter,
    /// Bytes read from the socket.
    pub bytes: Counter,
    /// Reads that brought something.
    pub reads: Counter,
    /// Connections opened.
    pub connects: Counter,
    /// Connections lost or not made.
    pub disconnects: Counter,
    /// Connections that are up.
    pub connected: Gauge,
    /// Age of the newest frame in ms.
    pub frame_age_ms: Gauge,
    /// Age of the newest record of each kind of stream in ms, with the record type's code.
    pub stream_age_ms: Vec<(RecordType, Gauge)>,
    /// Books in each state.
    books: Vec<(BookState, Gauge)>,
    /// Frames set aside.
    pub quarantined: Counter,
    /// What the capture did.
    capture: CaptureMetrics,
    /// From the bytes' receive time to the publication of what they told.
    pub publish: Arc<Histogram>,
    /// The same for reads that changed a book.
    pub book: Arc<Histogram>,
    /// From the venue's event time to our receive time, where the clocks agree well enough for it to be positive.
    pub venue: Arc<Histogram>,
}

/// What is shown of a capture.
struct CaptureMetrics {
    entries: Counter,
    bytes: Counter,
    written: Counter,
    lost: Counter,
    lost_bytes: Counter,
    deleted: Counter,
    waiting: Gauge,
    troubled: Gauge,
}

impl CaptureMetrics {
    fn new(registry: &Registry, l: &[(&str, &str)]) -> CaptureMetrics {
        CaptureMetrics {
            entries: registry.counter("capture_entries_total", "Entries captured.", l),
            bytes: registry.counter("capture_bytes_total", "Bytes captured.", l),
            written: registry.counter("capture_written_bytes_total", "Bytes of captures written to files.", l),
            lost: registry.counter("capture_lost_entries_total", "Entries not captured: the disk took too little.", l),
            lost_bytes: registry.counter("capture_lost_bytes_total", "Their bytes.", l),
            deleted: registry.counter("capture_files_deleted_total", "Captures deleted to keep the budget.", l),
            waiting: registry.gauge("capture_waiting_bytes", "Bytes of the capture that wait for the disk.", l),
            troubled: registry.gauge("capture_troubled", "1 while the capture's disk refuses or stalls.", l),
        }
    }
}

/// The streams whose age is shown.
const STREAMS: [RecordType; 4] = [RecordType::Trade, RecordType::BookChange, RecordType::Quote, RecordType::Bar];

/// The metric each counter of a machine is shown as.
const SHOWN: [(&str, &str, &str); 35] = [
    ("frames", "frames_total", "Frames received."),
    ("trades", "trades_total", "Trades told."),
    ("book_updates", "book_updates_total", "Book update messages applied."),
    ("book_snapshots", "book_snapshots_total", "Book snapshots taken in."),
    ("book_levels", "book_levels_total", "Book levels told."),
    ("quotes", "quotes_total", "Quotes told."),
    ("bars", "bars_total", "Bars told."),
    ("instruments", "instruments_total", "Instrument definitions told, new or changed."),
    ("gaps", "gaps_total", "Gaps told."),
    ("resyncs", "resyncs_total", "Books brought back after a failed proof."),
    ("malformed", "malformed_total", "Frames set aside as malformed."),
    ("slow_path", "slow_path_total", "Frames that took the exact path instead of the fast one."),
    ("unknown_types", "unknown_types_total", "Messages of a type this build does not know."),
    ("unknown_fields", "unknown_fields_total", "Fields this build does not know."),
    ("trades_repeated", "trades_repeated_total", "Repeated trades dropped."),
    ("trades_backfilled", "trades_backfilled_total", "Missed trades told late."),
    ("trades_lost", "trades_lost_total", "Missed trades that the venue does not serve."),
    ("audits", "audits_total", "Comparisons of the stream's trades with REST that were finished."),
    ("audits_failed", "audits_failed_total", "Comparisons with REST that could not be made."),
    ("trades_hidden", "trades_hidden_total", "Trades REST has and the stream hid, told late."),
    ("trades_unconfirmed", "trades_unconfirmed_total", "Trades of the stream that REST never had."),
    ("trades_unaudited", "trades_unaudited_total", "Trades forgotten before they were compared with REST."),
    ("book_updates_old", "book_updates_old_total", "Book updates older than the book, dropped."),
    ("frames_old", "frames_old_total", "Frames whose number on the connection was had before."),
    ("crossed", "crossed_total", "Whole events after which a book was crossed."),
    ("checksums_ok", "checksums_ok_total", "Venue checksums that agreed."),
    ("checksums_failed", "checksums_failed_total", "Venue checksums that differed."),
    ("refusals", "refusals_total", "Errors the venue answered."),
    ("stale", "stale_total", "Streams found silent for too long."),
    ("sequences_ok", "sequences_ok_total", "Book updates or frames whose ids follow the one before."),
    ("tickers_agreed", "tickers_agreed_total", "Quotes of the venue's ticker that agreed with the live book."),
    ("tickers_apart", "tickers_apart_total", "Books called suspect because the ticker said otherwise for too long."),
    ("rhythms_broken", "rhythms_broken_total", "Books called suspect for a silence against their rhythm."),
    ("snapshots_agreed", "snapshots_agreed_total", "Fresh snapshots whose levels were the live book's."),
    ("snapshots_apart", "snapshots_apart_total", "Books called suspect because a fresh snapshot had other levels."),
];

impl FeedMetrics {
    /// Registers the metrics of one venue's feed.
    pub fn new(registry: &Registry, venue: &str) -> FeedMetrics {
        let l = [("venue", venue)];
        FeedMetrics {
            counters: SHOWN.iter().map(|(field, name, help)| (*field, registry.counter(name, help, &l))).collect(),
            records: registry.counter("records_total", "Records published.", &l),
            bytes: registry.counter("bytes_total", "Bytes read from the socket.", &l),
            reads: registry.counter("reads_total", "Reads of the socket that brought something.", &l),
            connects: registry.counter("connects_total", "Connections opened.", &l),
            disconnects: registry.counter("reconnects_total", "Connections lost or not made.", &l),
            connected: registry.gauge("connected", "Connections to the venue that are up.", &l),
            frame_age_ms: registry.gauge("frame_age_ms", "Age of the newest frame in milliseconds.", &l),
            stream_age_ms: STREAMS
                .iter()
                .map(|kind| {
                    let labels = [("venue", venue), ("stream", kind.name())];
                    (
                        *kind,
                        registry.gauge(
                            "stream_age_ms",
                            "Age of the newest record of a stream in milliseconds.",
                            &labels,
                        ),
                    )
                })
                .collect(),
            books: BookState::ALL
                .iter()
                .map(|state| {
                    let labels = [("venue", venue), ("state", state.name())];
                    (*state, registry.gauge("books", "Books in a state, on the first line of each endpoint.", &labels))
                })
                .collect(),
            quarantined: registry.counter("quarantined_total", "Frames kept aside with the reason.", &l),
            capture: CaptureMetrics::new(registry, &l),
            publish: registry.histogram("publish_latency_us", "Socket read to ring, all reads.", &l),
            book: registry.histogram("orderbook_latency_us", "Socket read to ring, reads that changed a book.", &l),
            venue: registry.histogram("venue_latency_us", "Venue's event time to our receive time, sampled.", &l),
        }
    }

    /// Shows what the capture did.
    pub fn show_capture(&self, stats: capture::Stats) {
        let c = &self.capture;
        for (counter, value) in [
            (&c.entries, stats.entries),
            (&c.bytes, stats.bytes),
            (&c.written, stats.written),
            (&c.lost, stats.lost),
            (&c.lost_bytes, stats.lost_bytes),
            (&c.deleted, stats.deleted),
        ] {
            counter.set(value);
        }
        c.waiting.set(i64::try_from(stats.waiting).unwrap_or(i64::MAX));
        c.troubled.set(i64::from(stats.troubled));
    }

    /// Shows the counters as they stand.
    pub fn show(&self, session: &Session) {
        let counts: Counts = session.counts();
        for (name, value) in counts.iter() {
            if let Some((_, counter)) = self.counters.iter().find(|(field, _)| *field == name) {
                counter.set(value);
            }
        }
        let states = session.book_states();
        for (state, gauge) in &self.books {
            gauge.set(i64::try_from(states[usize::from(state.code()) - 1]).unwrap_or(i64::MAX));
        }
        self.records.set(session.next_sequence() - 1);
        self.quarantined.set(session.malformed());
    }
}
