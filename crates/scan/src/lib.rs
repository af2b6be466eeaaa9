//! Turns venue text into exact integers at the speed of the bytes: decimals, integers, RFC 3339 times, JSON.
//! frame -> [`Cursor`] (the order a venue always sends) -> values; any surprise -> [`Json`] (any order, any legal
//! spelling) -> the same values, or an error with the byte offset.
//!
//! Two readers because one cannot be both: the cursor is a few compares per field and gives up with `None`; the pull
//! parser accepts exactly RFC 8259 and says why it refuses. Neither rounds, uses a float, allocates on success or
//! panics on any bytes. Knows nothing of venues, markets, sockets or clocks.

mod cursor;
mod decimal;
mod format;
mod integer;
mod json;
mod lanes;
mod number;
mod shape;
mod symbols;
mod text;
mod timestamp;
mod wide;

pub use cursor::Cursor;
pub use decimal::{DECIMAL_SCALE_MAX, Decimal, SCALE_MAX, decimals, exact, fixed};
pub use format::{FORMAT_LEN, format_digits, format_fixed, push_digits, push_fixed};
pub use integer::{i64_at, u64_at};
pub use json::{DEPTH_MAX, Json, JsonError, Kind, ReadError};
pub use number::NumberError;
pub use shape::Shape;
pub use symbols::SymbolTable;
pub use text::{NAME_LEN_MAX, NameBuffer, Text};
pub use timestamp::{DayCache, TimestampError, rfc3339_nanos};
pub use wide::{Work, widened};
