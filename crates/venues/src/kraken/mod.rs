//! Kraken spot, WebSocket v2 and v1, public market data. What is proven and what is not: see this folder's README.

mod answers;
mod channels;
mod checksum;
mod choices;
mod digits;
mod machine;
mod map;
mod market;
mod messages;
mod missed;
mod pairs;
mod reading;
mod resync;
mod spec;
mod subscribe;
mod v1;
mod v2;

pub use channels::CHANNELS;
pub use choices::Choices;

use crate::{MachineError, Settings, Spec, VenueMachine};

/// Endpoints and limits of the protocol that the choices name.
pub fn spec(choices: &[(String, String)]) -> Result<&'static Spec, MachineError> {
    Ok(match Choices::read(spec::SPEC.venue, choices)?.api.unwrap_or_default() {
        choices::Api::V2 => &spec::SPEC,
        choices::Api::V1 => &spec::V1_SPEC,
    })
}

/// The machine, with the venue's own documented choices as key and value texts.
pub fn machine(settings: &Settings, choices: &[(String, String)]) -> Result<Box<dyn VenueMachine>, MachineError> {
    Ok(Box::new(machine::Kraken::new(settings, Choices::read(spec::SPEC.venue, choices)?)?))
}
