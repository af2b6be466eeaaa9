//! Kraken spot.

mod spec;

pub use spec::SPEC;

use crate::{MachineError, Settings, VenueMachine};

/// The machine, with the venue's own documented choices as key and value texts.
pub fn machine(_settings: &Settings, _choices: &[(String, String)]) -> Result<Box<dyn VenueMachine>, MachineError> {
    Err(MachineError::NoAdapter(SPEC.venue))
}
