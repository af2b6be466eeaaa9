//! Coinbase Exchange's public feed. What is proven and what is not: see the README one folder up.

mod books;
mod exact;
mod fast;
mod flat;
mod history;
mod machine;
mod map;
mod market;
mod messages;
mod orders;
mod products;
mod sign;
mod spec;
mod subscribe;

pub(super) use machine::Exchange;
pub use spec::SPEC;

use super::choices::Choices;
use crate::{MachineError, Settings, VenueMachine};

/// The machine of this protocol.
pub fn machine(settings: &Settings, choices: &[(String, String)]) -> Result<Box<dyn VenueMachine>, MachineError> {
    Ok(Box::new(configured(settings, choices)?))
}

/// The same by its own type.
pub(super) fn configured(settings: &Settings, choices: &[(String, String)]) -> Result<Exchange, MachineError> {
    Exchange::new(settings, Choices::read(SPEC.venue, choices)?)
}
