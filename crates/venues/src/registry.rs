//! Which venues there are: the one place where a new one joins.

use crate::{Limit, Settings, VenueMachine, binance, kraken};
use model::Venue;
use std::time::Duration;

/// A venue's endpoints and limits: data, no logic.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The venue.
    pub venue: Venue,
    /// WebSocket endpoint, with path.
    pub ws_url: &'static str,
    /// REST base.
    pub rest_url: &'static str,
    /// Connection attempts allowed.
    pub connections: Limit,
    /// Messages we may send on one connection.
    pub messages: Limit,
    /// Request weight allowed.
    pub requests: Limit,
    /// The longest silence of the socket that is normal, pings included.
    pub silence_max: Duration,
    /// The largest frame the venue is known to send, times a margin; larger ones are refused before allocation.
    pub frame_max: usize,
}

/// Why a machine cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// There is no adapter for the venue.
    #[error("there is no adapter for {0}; there are adapters for kraken and binance")]
    NoAdapter(Venue),
    /// A setting the venue does not offer.
    #[error("{venue}: {key} cannot be {value}; it can be {allowed}")]
    Setting {
        /// The venue.
        venue: Venue,
        /// The setting.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        allowed: String,
    },
}

/// Endpoints and limits of a venue.
pub fn spec(venue: Venue) -> Result<&'static Spec, MachineError> {
    match venue {
        Venue::Kraken => Ok(&kraken::SPEC),
        Venue::Binance => Ok(&binance::SPEC),
        other => Err(MachineError::NoAdapter(other)),
    }
}

/// The machine of a venue. `choices` are the venue's own documented choices, as key and value texts.
pub fn machine(
    venue: Venue,
    settings: &Settings,
    choices: &[(String, String)],
) -> Result<Box<dyn VenueMachine>, MachineError> {
    match venue {
        Venue::Kraken => kraken::machine(settings, choices),
        Venue::Binance => binance::machine(settings, choices),
        other => Err(MachineError::NoAdapter(other)),
    }
}
