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

pub use spec::SPEC;

use super::choices::Choices;
use crate::{MachineError, Settings, VenueMachine};

/// The machine of this protocol.
pub fn machine(settings: &Settings, choices: &[(String, String)]) -> Result<Box<dyn VenueMachine>, MachineError> {
    Ok(Box::new(machine::Exchange::new(settings, Choices::read(choices)?)?))
}
