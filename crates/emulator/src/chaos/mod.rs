//! A proxy between any two processes that talk over TCP or Unix sockets and makes the way between them as bad as a
//! script says: slow, narrow, in pieces, damaged, half-open, stalled, broken.
//! [`Script`] + seed -> [`Lane`] (what to do with which bytes, decided by offsets and times alone) -> [`Proxy`] (threads
//! and sockets) -> deeds, one JSON line each, with the exact bytes they hit.
//!
//! One lane a direction and connection. Everything a lane draws by chance comes from the seed, the connection's number,
//! the direction and the rule, never from how the bytes happen to be read: the same bytes suffer the same.

mod deeds;
mod lane;
mod proxy;
mod script;

pub use deeds::Deed;
pub use lane::{Direction, End, Lane, Step};
pub use proxy::{Address, AddressError, ChaosError, Handle, Options, Proxy};
pub use script::{Effect, Extent, Pieces, Rule, Script, ScriptError, When};
