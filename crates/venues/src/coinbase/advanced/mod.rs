//! Coinbase Advanced Trade, public market data over its WebSocket. What is proven and what is not: this folder's README.

mod answers;
mod any_order;
mod choices;
mod exact;
mod fast;
mod machine;
mod map;
mod market;
mod messages;
mod missed;
mod products;
mod resync;
mod spec;
mod subscribe;

pub use choices::Choices;
pub(super) use machine::Advanced;
pub use spec::SPEC;

use crate::{MachineError, Settings, VenueMachine};

/// The machine, with the venue's own documented choices as key and value texts.
pub fn machine(settings: &Settings, choices: &[(String, String)]) -> Result<Box<dyn VenueMachine>, MachineError> {
    Ok(Box::new(configured(settings, choices)?))
}

/// The same by its own type.
pub(super) fn configured(settings: &Settings, choices: &[(String, String)]) -> Result<Advanced, MachineError> {
    Advanced::new(settings, Choices::read(SPEC.venue, choices)?)
}
