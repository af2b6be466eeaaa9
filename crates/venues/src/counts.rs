//! What a machine has seen and done, as plain numbers: the source of metrics and of the decoder's summary.

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident),+ $(,)?) => {
        /// Counters of one machine since it was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts { $($(#[$doc])* pub $field: u64),+ }
        impl Counts {
            /// Every counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field)),+].into_iter()
            }
            /// Adds another machine's counts.
            pub fn add(&mut self, other: &Counts) {
                $(self.$field += other.$field;)+
            }
        }
    };
}

counts! {
    /// Frames handed in.
    frames,
    /// Trades told.
    trades,
    /// Book snapshots taken in.
    book_snapshots,
    /// Book update messages applied.
    book_updates,
    /// Book levels told.
    book_levels,
    /// Quotes told.
    quotes,
    /// Orders told.
    orders,
    /// Bars told.
    bars,
    /// Instrument definitions told (new or changed).
    instruments,
    /// Status messages of the venue.
    venue_status,
    /// Heartbeats and pongs of the venue.
    heartbeats,
    /// Acknowledgements of subscriptions.
    acks,
    /// Errors the venue answered.
    refusals,
    /// Messages of a type we do not know.
    unknown_types,
    /// Messages of a known type that is not subscribed to or not used.
    unused_types,
    /// Fields we do not know, passed over.
    unknown_fields,
    /// Messages for instruments that were not asked for.
    unknown_symbols,
    /// Repeated trades dropped.
    trades_repeated,
    /// Missed trades told late, fetched by REST.
    trades_backfilled,
    /// Missed trades that the venue does not serve (any more), or that were given up.
    trades_lost,
    /// Requests for missed trades that failed.
    backfills_failed,
    /// Comparisons of a stream's trades with REST that were finished.
    audits,
    /// Such comparisons that could not be made or went wrong on the way.
    audits_failed,
    /// Trades that REST has and the stream hid, told late by a comparison.
    trades_hidden,
    /// Trades of the stream that REST never had while it was compared.
    trades_unconfirmed,
    /// Trades forgotten before they were compared.
    trades_unaudited,
    /// Book updates older than the book, dropped.
    book_updates_old,
    /// Book updates kept until a snapshot bridges them.
    book_updates_buffered,
    /// Frames set aside as malformed.
    malformed,
    /// Frames that took the exact path instead of the fast one.
    slow_path,
    /// Venue checksums that agreed.
    checksums_ok,
    /// Venue checksums that differed.
    checksums_failed,
    /// Book updates, or frames where the venue counts those, whose ids follow the one before.
    sequences_ok,
    /// Sequences lower than one before, where they may only rise.
    sequences_back,
    /// Frames whose number on the connection was had before.
    frames_old,
    /// Gaps told.
    gaps,
    /// Books brought back after a failed proof.
    resyncs,
    /// Snapshots fetched that could not be bridged.
    snapshots_unbridged,
    /// Streams found silent for too long.
    stale,
    /// Deletes of levels that were not there.
    absent_deletes,
    /// Whole events after which a book was crossed.
    crossed,
    /// Corrections and cancels of earlier trades told.
    corrections,
    /// Quotes of the venue's ticker that agreed with the live book as they came.
    tickers_agreed,
    /// Books called suspect because the venue's ticker said otherwise for too long.
    tickers_apart,
    /// Books called suspect for a silence longer than their rhythm allows.
    rhythms_broken,
    /// Fresh snapshots whose levels were the live book's.
    snapshots_agreed,
    /// Books called suspect because a fresh snapshot had other levels.
    snapshots_apart,
    /// Quotes that were not the top of the live book beside them.
    quotes_off_book,
}

impl Counts {
    /// Messages of market data taken: trades, book snapshots and updates, quotes, orders and bars. Definitions, states and
    /// heartbeats are none.
    pub fn market_data(&self) -> u64 {
        self.trades + self.book_snapshots + self.book_updates + self.quotes + self.orders + self.bars
    }
}
