//! Venue servers: a venue's own protocol over real sockets, in front of a generated or recorded market.
//! [`Options`] -> [`Server::start`] -> [`Handle`]; market -> frames -> hub -> one thread per connection -> journal.
//!
//! One folder per venue knows its words; everything else is shared. A generated session is a pure function of its seed
//! and needs no data; a recorded one serves captured frames byte for byte. All of it is simulated and says so in the
//! `Server` header of every HTTP answer. Knows nothing of feeds, records or the ring.
#![forbid(unsafe_code)]

mod alpaca;
mod binance;
pub mod chaos;
mod clock;
mod coinbase;
mod connection;
mod error;
mod faults;
mod frames;
mod http;
mod hub;
mod identity;
mod journal;
mod kraken;
mod market;
mod options;
mod outgoing;
mod requests;
mod server;
mod stats;
mod sums;
mod text;

pub use alpaca::msgpack_of;
pub use error::{CaptureError, FaultError, StartError};
pub use faults::{
    Extent, Fault, Field, Planned, ScriptError, ScriptedFault, Target, Trigger, parse_command, parse_script,
};
pub use frames::GeneratedFrames;
pub use identity::{LocalIdentity, TLS_NAMES};
pub use market::many::{INSTRUMENTS_MAX, LEVELS_MAX, LEVELS_SUM_MAX, TRADES_KEPT_MAX};
pub use market::reference::{Change, InstrumentChange};
pub use market::simulation::SimulatedPair;
pub use market::{Hours, Pair, PairStatus};
/// Spreads, waiting times, trade sizes and depth of `seconds` of a generated session as a table of quantiles, beside those
/// of recorded sessions; each path is one, a file or a folder.
///
/// # Errors
/// A session that cannot be, or a capture that cannot be read.
pub fn report(
    venue: EmulatedVenue,
    session: &GeneratedSession,
    rate: Rate,
    seconds: u64,
    captures: &[std::path::PathBuf],
) -> Result<String, StartError> {
    market::report::report(venue, session, rate, seconds, captures)
}

pub use options::{
    Account, BookPace, EmulatedVenue, GeneratedSession, JournalOptions, Limits, Options, Rate, RecordedSession,
    Session, Times, TlsIdentity,
};
pub use server::{Handle, Server};
pub use stats::{ConnectionStats, Stats};
