//! The two JSON lines that open a relay connection: what the client wants, what the relay says to it.

use crate::subscription::{Position, Subscription};
use crate::token::Token;
use serde::{Deserialize, Serialize};

/// The version of the handshake and of what follows it.
pub const PROTOCOL_VERSION: u32 = 1;
/// The most bytes of a client's line, its newline included: a subscription of 4096 long symbols fits.
pub const HELLO_BYTES_MAX: usize = 320 * 1024;
/// The most bytes of the relay's line.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The client's line.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// The secret a relay on TCP asks for; left out on its Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
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
    /// The machine, as its records name it (with venue, epoch and sequence this names a record for ever).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub site: String,
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

/// What a client's line must bring beside a subscription.
#[derive(Clone, Copy)]
pub(crate) enum Secret<'a> {
    /// Nothing; the operating system says who is there.
    None,
    /// Nothing, and it does no harm.
    Optional,
    /// This.
    Token(&'a Token),
}

/// Why a client's line is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: String,
    /// Whether it was for the secret.
    pub(crate) of_secret: bool,
}

/// Reads a client's line, without its newline. The secret comes first: to whom it is not known nothing else is said.
pub(crate) fn read_hello(line: &[u8], secret: Secret<'_>) -> Result<Subscription, Refused> {
    if let Secret::Token(token) = secret {
        /// The rest is read once the secret was right.
        #[derive(Deserialize)]
        struct Given {
            token: Option<String>,
        }
        let given = serde_json::from_slice(line).ok().and_then(|given: Given| given.token);
        let reason = match &given {
            Some(given) if token.is(given) => None,
            Some(_) => Some("the token is wrong: give the one in this relay's token file"),
            None => Some("the token is missing: give the one in this relay's token file as \"token\""),
        };
        if let Some(reason) = reason {
            return Err(Refused { reason: reason.to_owned(), of_secret: true });
        }
    }
    let refused = |reason| Refused { reason, of_secret: false };
    let hello = parse_hello(line).map_err(refused)?;
    if hello.token.is_some() && matches!(secret, Secret::None) {
        return Err(refused("a token is asked for on TCP only: leave it out".to_owned()));
    }
    Ok(hello.subscribe)
}

fn parse_hello(line: &[u8]) -> Result<Hello, String> {
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
    Ok(hello)
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = if self.token.is_some() { "Some(…)" } else { "None" };
        f.debug_struct("Hello")
            .field("version", &self.version)
            .field("token", &format_args!("{token}"))
            .field("subscribe", &self.subscribe)
            .finish()
    }
}
