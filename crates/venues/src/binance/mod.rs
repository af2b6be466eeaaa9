//! Binance spot, and Binance.US by configuration: public market data over combined or raw streams, books bridged to a fetched snapshot.
//! README.md says what is read, what is proven by which capture, and what is left open.

mod any_order;
mod books;
mod channels;
mod choices;
mod compare;
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

pub use channels::{CHANNELS, US_CHANNELS};
pub use spec::{SPEC, US_SPEC};

use crate::{MachineError, Settings, Spec, VenueMachine};

/// The machine of the venue that `spec` describes, with its own documented choices as key and value texts.
pub fn machine(
    spec: &Spec,
    settings: &Settings,
    choices: &[(String, String)],
) -> Result<Box<dyn VenueMachine>, MachineError> {
    Ok(Box::new(machine::Machine::new(spec, settings, choices)?))
}
