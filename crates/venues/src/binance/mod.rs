//! Binance spot: public market data over combined or raw streams, books bridged to a fetched snapshot.
//! README.md says what is read, what is proven by which capture, and what is left open.

mod any_order;
mod books;
mod channels;
mod choices;
mod definitions;
mod exact;
mod machine;
mod map;
mod messages;
mod missed;
mod spec;
mod subscribe;
mod symbols;
#[cfg(test)]
mod tests;

pub use channels::CHANNELS;
pub use spec::SPEC;

use crate::{MachineError, Settings, VenueMachine};

/// The machine, with the venue's own documented choices as key and value texts.
pub fn machine(settings: &Settings, choices: &[(String, String)]) -> Result<Box<dyn VenueMachine>, MachineError> {
    Ok(Box::new(machine::Machine::new(settings, choices)?))
}
