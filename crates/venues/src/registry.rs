//! Which venues there are: the one place where a new one joins.

use crate::{Limit, Settings, VenueMachine, alpaca, binance, coinbase, kraken};
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
    /// After this time the venue cuts a connection; `None` where it lets it be.
    pub connection_life: Option<Duration>,
    /// The largest frame the venue is known to send, times a margin; larger ones are refused before allocation.
    pub frame_max: usize,
    /// Whether the venue is known to compress its messages (permessage-deflate) when offered; a feed may be told
    /// otherwise.
    pub deflate: bool,
}

/// Why a machine cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
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
    /// The venue needs an account and there is none.
    #[error("{venue}: {variables} are not set")]
    NoCredentials {
        /// The venue.
        venue: Venue,
        /// The environment variables the keys are read from.
        variables: &'static str,
    },
}

/// One connection a venue needs, with the machine that speaks on it.
pub struct Line {
    /// What it is called within the venue; empty where a venue has one connection.
    pub name: &'static str,
    /// Put behind the configured WebSocket URL; empty where the URL is whole.
    pub path: String,
    /// Headers of the WebSocket's opening request.
    pub headers: Vec<(&'static str, String)>,
    /// Headers of every REST request.
    pub rest_headers: Vec<(&'static str, String)>,
    /// Speaks on this connection.
    pub machine: Box<dyn VenueMachine>,
}

/// The connections a venue needs for these settings: one for most, one for each endpoint where a venue has several.
/// Instruments of different lines are different instruments.
pub fn lines(venue: Venue, settings: &Settings, choices: &[(String, String)]) -> Result<Vec<Line>, MachineError> {
    if venue == Venue::Alpaca {
        return alpaca::lines(settings, choices);
    }
    let machine = machine(venue, settings, choices)?;
    Ok(vec![Line { name: "", path: String::new(), headers: vec![], rest_headers: vec![], machine }])
}

/// Whether a venue lets several connections carry the same instruments, as a pair and a renewal need.
pub fn allows_pairs(venue: Venue) -> bool {
    // "You may have one connection per endpoint": the second is refused.
    venue != Venue::Alpaca
}

/// Endpoints and limits of a venue, which may depend on its choices.
pub fn spec(venue: Venue, choices: &[(String, String)]) -> Result<&'static Spec, MachineError> {
    match venue {
        Venue::Coinbase => coinbase::spec(choices),
        Venue::Kraken => kraken::spec(choices),
        Venue::Binance => Ok(&binance::SPEC),
        Venue::BinanceUs => Ok(&binance::US_SPEC),
        Venue::Alpaca => Ok(&alpaca::SPEC),
    }
}

/// The machine of a venue. `choices` are the venue's own documented choices, as key and value texts.
pub fn machine(
    venue: Venue,
    settings: &Settings,
    choices: &[(String, String)],
) -> Result<Box<dyn VenueMachine>, MachineError> {
    match venue {
        Venue::Coinbase => coinbase::machine(settings, choices),
        Venue::Kraken => kraken::machine(settings, choices),
        Venue::Binance => binance::machine(&binance::SPEC, settings, choices),
        Venue::BinanceUs => binance::machine(&binance::US_SPEC, settings, choices),
        Venue::Alpaca => alpaca::machine(settings, choices),
    }
}
