//! Kraken spot, WebSocket v2, public market data. What is proven and what is not: see this folder's README.

mod answers;
mod any_order;
mod channels;
mod checksum;
mod choices;
mod exact;
mod fast;
mod machine;
mod map;
mod market;
mod messages;
mod missed;
mod pairs;
mod resync;
mod spec;
mod subscribe;

pub use channels::CHANNELS;
pub use choices::Choices;
pub use spec::SPEC;

use crate::{MachineError, Settings, VenueMachine};

/// The machine, with the venue's own documented choices as key and value texts.
pub fn machine(settings: &Settings, choices: &[(String, String)]) -> Result<Box<dyn VenueMachine>, MachineError> {
    Ok(Box::new(machine::Kraken::new(settings, Choices::read(choices)?)?))
}
