//! The records of fixed layout. Every field is 8 bytes unless drawn otherwise in `docs/protocol.md`.
//!
//! Prices are in units of `10^-price_scale` quote currency per unit, sizes in units of `10^-size_scale`, both scales
//! from the instrument's record; times are ns since the Unix epoch, UTC.

use crate::{Header, RecordError};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// "No value" in an `i64` field that may be absent.
pub const NONE: i64 = i64::MIN;

/// Views `words` as a record of fixed layout; the length must be exactly the layout's.
#[inline]
pub(crate) fn view<R: FromBytes + Immutable + KnownLayout>(words: &[u64]) -> Result<&R, RecordError> {
    R::ref_from_bytes(words.as_bytes())
        .map_err(|_| RecordError::Size { kind: words.first().map_or(0, |w| *w as u8), words: words.len() })
}

/// The two side bits have a fourth value that means nothing.
#[inline]
pub(crate) fn check_flags(header: &Header) -> Result<(), RecordError> {
    if header.flags().0 & 3 == 3 {
        return Err(RecordError::Code { kind: header.kind, field: "side", code: 3 });
    }
    Ok(())
}

macro_rules! layout {
    ($record:ident, $bytes:literal, $kind:ident, $($field:ident @ $offset:literal),+ $(,)?) => {
        assert_layout!($record, $bytes, align 8, header @ 0, ts_event @ 8, ts_recv @ 16, $($field @ $offset),+);
        impl $record {
            /// The record's type.
            pub const TYPE: $crate::RecordType = $crate::RecordType::$kind;
            /// Its length in 8-byte words.
            pub const WORDS: u8 = $bytes / 8;
            /// The record as words.
            #[inline]
            pub fn as_words(&self) -> &[u64] { $crate::buf::words_of(self) }
        }
    };
}

mod book;
mod market;
mod service;

pub use book::{
    BookAction, BookChangeRecord, OrderAction, OrderRecord, SnapshotBeginRecord, SnapshotEndRecord, SnapshotReason,
};
pub use market::{BarRecord, BarState, CorrectionKind, CorrectionRecord, PriceBandRecord, QuoteRecord, TradeRecord};
pub use service::{BackfillRecord, ClockRecord, GapRecord, HeartbeatRecord, OverrunCause, OverrunRecord};
