//! The two JSON lines that open a relay connection: what the client wants, what the relay says to it.

use crate::subscription::{Position, Subscription};
use serde::{Deserialize, Serialize};

/// The version of the handshake and of what follows it.
pub const PROTOCOL_VERSION: u32 = 1;
/// The most bytes of a client's line, its newline included: a subscription of 4096 long symbols fits.
pub const HELLO_BYTES_MAX: usize = 320 * 1024;
/// The most bytes of the relay's line.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The client's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// What it wants.
    pub subscribe: Subscription,
}

/// The relay's line. `ok` says which of the other fields matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether batches follow. If not, the connection is closed.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// [`PROTOCOL_VERSION`] of the relay.
    pub version: u32,
    /// The relay's build.
    pub build: String,
    /// The rings of the venues asked for, and the first record that will come of each (definitions, states and books
    /// of before excepted).
    #[serde(default)]
    pub rings: Vec<RingAnswer>,
    /// Symbols asked for that no venue asked for has defined yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_symbols: Vec<String>,
    /// What was asked for and cannot be had as asked, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One ring in the relay's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingAnswer {
    /// Where it starts.
    pub start: Position,
    /// Instruments defined.
    pub instruments: usize,
}

/// The build that answers.
pub(crate) fn build() -> String {
    format!("relay {}", env!("CARGO_PKG_VERSION"))
}

impl Answer {
    /// A refusal.
    pub(crate) fn refusal(reason: String) -> Answer {
        Answer { error: Some(reason), version: PROTOCOL_VERSION, build: build(), ..Answer::default() }
    }

    /// The line, with its newline.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("strings and numbers always become JSON");
        line.push(b'\n');
        line
    }
}

/// Reads a client's line, without its newline.
pub(crate) fn read_hello(line: &[u8]) -> Result<Subscription, String> {
    /// The version is judged before fields that another version may have.
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let describe = |error: serde_json::Error| {
        format!("the first line is not a subscription: {error}; expected {{\"version\":1,\"subscribe\":{{…}}}}")
    };
    let Version { version } = serde_json::from_slice(line).map_err(describe)?;
    if version != PROTOCOL_VERSION {
        return Err(format!("protocol version {version} asked for, this relay speaks {PROTOCOL_VERSION}"));
    }
    let hello: Hello = serde_json::from_slice(line).map_err(describe)?;
    hello.subscribe.check().map_err(|error| error.to_string())?;
    Ok(hello.subscribe)
}
