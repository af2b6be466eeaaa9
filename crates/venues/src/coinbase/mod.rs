//! Coinbase, which speaks two protocols over one matching engine: Exchange and Advanced Trade. What is proven and what
//! is not: see this folder's README.

pub mod advanced;
mod channels;
mod choices;
pub mod exchange;
mod recognise;

pub use channels::CHANNELS;
pub use choices::{Api, Choices};

use crate::{MachineError, Settings, Spec, VenueMachine};

/// Endpoints and limits of the protocol that is chosen.
pub fn spec(choices: &[(String, String)]) -> Result<&'static Spec, MachineError> {
    Ok(match choices::split(choices)?.0 {
        Api::Exchange => &exchange::SPEC,
        Api::Advanced => &advanced::SPEC,
    })
}

/// The machine, with the venue's own documented choices as key and value texts. Without symbols, as when captures are
/// decoded, the first frame tells which protocol it is.
pub fn machine(settings: &Settings, choices: &[(String, String)]) -> Result<Box<dyn VenueMachine>, MachineError> {
    let (api, choices) = choices::split(choices)?;
    if settings.symbols.is_empty() {
        return Ok(Box::new(recognise::Recognising::new(api, settings, &choices)?));
    }
    of(api, settings, &choices)
}

/// The machine of one protocol.
fn of(api: Api, settings: &Settings, choices: &[(String, String)]) -> Result<Box<dyn VenueMachine>, MachineError> {
    match api {
        Api::Exchange => exchange::machine(settings, choices),
        Api::Advanced => advanced::machine(settings, choices),
    }
}
