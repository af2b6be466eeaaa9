//! The states a stream or a book can be in, and why: the words of status and gap records.

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $code),+ }
        impl $name {
            /// Every value, in the order of their codes.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// The code in a record.
            pub const fn code(self) -> u8 { self as u8 }
            /// The value with this code.
            pub const fn from_code(code: u8) -> Option<$name> {
                match code { $($code => Some($name::$variant),)+ _ => None }
            }
            /// The name used in the JSON form, in metrics and in messages.
            pub const fn name(self) -> &'static str { match self { $($name::$variant => $text),+ } }
            /// The value with this name.
            pub fn from_name(name: &str) -> Option<$name> {
                match name { $($text => Some($name::$variant),)+ _ => None }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.name()) }
        }
    };
}

coded! {
    /// What a status record speaks of.
    Scope {
        /// The connection to the venue as a whole.
        Connection = 1 "connection",
        /// One stream of one instrument.
        Stream = 2 "stream",
        /// The book of one instrument.
        Book = 3 "book",
        /// The instrument's trading status at the venue.
        Instrument = 4 "instrument",
        /// The venue's own system status.
        Venue = 5 "venue",
    }
}

coded! {
    /// A kind of stream, as subscribed to and as named in gaps.
    StreamKind {
        /// Trades (or aggregated trades).
        Trade = 1 "trade",
        /// Book changes and snapshots.
        Book = 2 "book",
        /// Best bid and offer.
        Quote = 3 "quote",
        /// Bars made by the venue.
        Bar = 4 "bar",
        /// Instrument definitions.
        Instrument = 5 "instrument",
        /// The connection itself.
        Connection = 6 "connection",
        /// The orders of a book, one by one.
        Order = 7 "order",
    }
}

coded! {
    /// The state of a connection or stream.
    StreamState {
        /// Being connected or subscribed.
        Connecting = 1 "connecting",
        /// Data flows.
        Live = 2 "live",
        /// Silent for longer than its rhythm allows.
        Stale = 3 "stale",
        /// Being brought back after a fault.
        Resyncing = 4 "resyncing",
        /// Stopped by the venue.
        Halted = 5 "halted",
        /// Not connected; the reason says why and the text when the next try is.
        Down = 6 "down",
    }
}

coded! {
    /// The state of a book.
    BookState {
        /// Nothing known yet.
        Cold = 1 "cold",
        /// Waiting for a snapshot that bridges.
        Syncing = 2 "syncing",
        /// Proven as far as the venue allows.
        Live = 3 "live",
        /// A proof failed or data is missing: not to be traded on.
        Suspect = 4 "suspect",
        /// The venue halted the instrument.
        Halted = 5 "halted",
    }
}

coded! {
    /// Why a state changed.
    Reason {
        /// First start.
        Start = 1 "start",
        /// Everything in order.
        Ok = 2 "ok",
        /// The connection was lost or could not be made.
        Connection = 3 "connection",
        /// The venue's ids do not follow one another.
        Sequence = 4 "sequence",
        /// The venue's checksum differs from ours.
        Checksum = 5 "checksum",
        /// Best bid at or above best ask after a whole message.
        Crossed = 6 "crossed",
        /// Silence.
        Timeout = 7 "timeout",
        /// A frame could not be read.
        Malformed = 8 "malformed",
        /// The venue refused a subscription or request.
        Refused = 9 "refused",
        /// The venue said so.
        Venue = 10 "venue",
        /// A snapshot was asked for.
        Snapshot = 11 "snapshot",
        /// This side is shutting down.
        Shutdown = 12 "shutdown",
        /// A rate or connection budget makes us wait.
        Budget = 13 "budget",
        /// The instrument's scale, tick, lot or status changed.
        Definition = 14 "definition",
        /// Another source of the venue's own (its ticker, a fresh snapshot) says otherwise, and has for too long.
        Disagreement = 15 "disagreement",
    }
}

coded! {
    /// Why data is missing.
    GapCause {
        /// The venue's ids jumped.
        Sequence = 1 "sequence",
        /// The venue's checksum differs from ours.
        Checksum = 2 "checksum",
        /// The connection was down.
        Reconnect = 3 "reconnect",
        /// This process was not running.
        Restart = 4 "restart",
        /// A frame could not be read and was set aside.
        Malformed = 5 "malformed",
        /// The stream fell silent.
        Stale = 6 "stale",
        /// Our own buffer for unbridged changes was full.
        Overflow = 7 "overflow",
        /// Best bid at or above best ask after a whole message: whatever made it so was not all that happened.
        Crossed = 8 "crossed",
        /// Another source of the venue's own says otherwise: whatever made it so was not all that happened.
        Disagreement = 9 "disagreement",
    }
}
