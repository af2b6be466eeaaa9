//! Kraken spot, WebSocket v2, public market data. What is proven and what is not: see this folder's README.

mod answers;
mod checksum;
mod choices;
mod machine;
mod map;
mod market;
mod messages;
mod pairs;
mod reading;
mod resync;
mod spec;
mod subscribe;
mod v2;

pub use choices::Choices;
pub use spec::SPEC;

use crate::{MachineError, Settings, VenueMachine};

/// The machine, with the venue's own documented choices as key and value texts.
pub fn machine(settings: &Settings, choices: &[(String, String)]) -> Result<Box<dyn VenueMachine>, MachineError> {
    Ok(Box::new(machine::Kraken::new(settings, Choices::read(choices)?)?))
}
