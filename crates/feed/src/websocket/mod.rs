//! WebSocket (RFC 6455) without I/O of its own: bytes in, messages out, for both ends of a connection.
//!
//! bytes -> [`Decoder`] -> [`Message`] in place; message -> [`Encoder`] -> bytes; and the HTTP upgrade in
//! [`handshake`]. The feed speaks the client's role, the emulator the server's.
//!
//! The one extension is message compression ([`Deflate`], RFC 7692), where both ends agreed to it; any other reserved
//! bit is a protocol error. Knows nothing of sockets, TLS, clocks or venues.

mod decoder;
mod deflate;
mod encoder;
pub mod handshake;
mod mask;

pub use decoder::{Decoder, DecoderConfig, TextCheck};
pub use deflate::{Deflate, DeflateOffer, Deflater};
pub use encoder::Encoder;

/// Which end of the connection we are. Clients mask what they send, servers must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We opened the connection: we send masked frames and accept only unmasked ones.
    Client,
    /// We accepted the connection: we send unmasked frames and accept only masked ones.
    Server,
}

/// One complete message, borrowed from the decoder's buffer until the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text; UTF-8 is checked only when the decoder is told to.
    Text(&'a [u8]),
    /// Binary data.
    Binary(&'a [u8]),
    /// Answer it with a pong that carries the same bytes.
    Ping(&'a [u8]),
    /// Answer to our ping, or an unsolicited sign of life. Not data.
    Pong(&'a [u8]),
    /// The peer ends the connection; nothing that follows is read.
    Close {
        /// Status code, when the peer gave one.
        code: Option<u16>,
        /// Reason as sent; meant for humans, not checked for UTF-8.
        reason: &'a [u8],
    },
}

/// Close code: the purpose of the connection is fulfilled.
pub const CLOSE_NORMAL: u16 = 1000;
/// Close code: the endpoint goes away (server shutdown, client exit).
pub const CLOSE_GOING_AWAY: u16 = 1001;
/// Close code: the peer broke the protocol.
pub const CLOSE_PROTOCOL_ERROR: u16 = 1002;
/// Close code: a message is larger than the receiver takes.
pub const CLOSE_TOO_BIG: u16 = 1009;

/// Most payload bytes a ping, pong or close may carry (RFC 6455 §5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// The peer broke the protocol; the connection cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A reserved bit is set where no agreed extension gives it a meaning.
    #[error("reserved bits {bits:#05b} set in a frame header, but no agreed extension uses them there")]
    ReservedBits {
        /// RSV1, RSV2, RSV3 as a three-bit number.
        bits: u8,
    },
    /// An opcode that RFC 6455 does not define.
    #[error("unknown opcode {opcode:#x}")]
    UnknownOpcode {
        /// The four bits sent.
        opcode: u8,
    },
    /// A server must not mask.
    #[error("the server sent a masked frame")]
    MaskedByServer,
    /// A client must mask.
    #[error("the client sent an unmasked frame")]
    UnmaskedByClient,
    /// Ping, pong and close must come in one frame.
    #[error("control frame with opcode {opcode:#x} is fragmented")]
    FragmentedControl {
        /// Opcode of the control frame.
        opcode: u8,
    },
    /// Ping, pong and close carry at most [`CONTROL_PAYLOAD_BYTES_MAX`] bytes.
    #[error("control frame with opcode {opcode:#x} carries more than 125 bytes")]
    ControlTooLong {
        /// Opcode of the control frame.
        opcode: u8,
    },
    /// The length was written longer than needed, or with its top bit set.
    #[error("payload length {declared} is not in its shortest form")]
    LengthNotMinimal {
        /// Length as declared, in bytes.
        declared: u64,
    },
    /// The message is, or would become, larger than we take.
    #[error(
        "message of at least {bytes} bytes exceeds the limit of {max}; raise max_message_bytes if the venue is right"
    )]
    TooLong {
        /// Bytes declared so far for this message.
        bytes: u64,
        /// The configured limit, bytes.
        max: u64,
    },
    /// A continuation without a message to continue.
    #[error("continuation frame without a message to continue")]
    UnexpectedContinuation,
    /// A new data message before the fragmented one ended.
    #[error("new data frame with opcode {opcode:#x} inside a fragmented message")]
    InterleavedData {
        /// Opcode of the second message.
        opcode: u8,
    },
    /// A close payload of one byte cannot hold a code.
    #[error("close frame carries one byte, a code needs two")]
    CloseTruncated,
    /// A close code that must not appear on the wire.
    #[error("close code {code} is not valid on the wire")]
    CloseCode {
        /// The code sent.
        code: u16,
    },
    /// A compressed message that is no deflate stream, refers to what was never sent, or ends within a block.
    #[error(
        "compressed message cannot be inflated after {after} bytes; set the venue's deflate to false to do without"
    )]
    Inflate {
        /// Bytes that could be inflated.
        after: usize,
    },
    /// Text that is not UTF-8, when checking was asked for.
    #[error("text message is not UTF-8 after {valid_bytes} bytes")]
    NotUtf8 {
        /// Length of the valid prefix, bytes.
        valid_bytes: usize,
    },
}

impl ProtocolError {
    /// The code to close the connection with.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::TooLong { .. } => CLOSE_TOO_BIG,
            Self::NotUtf8 { .. } | Self::Inflate { .. } => 1007,
            _ => CLOSE_PROTOCOL_ERROR,
        }
    }
}

/// First reserved bit of a frame: with compression agreed, it marks a compressed message.
const RSV1: u8 = 0x40;

/// Opcodes of RFC 6455 §5.2.
mod opcode {
    pub const CONTINUATION: u8 = 0x0;
    pub const TEXT: u8 = 0x1;
    pub const BINARY: u8 = 0x2;
    pub const CLOSE: u8 = 0x8;
    pub const PING: u8 = 0x9;
    pub const PONG: u8 = 0xA;
}

/// Codes an endpoint may put into a close frame: those registered for the wire, and 3000-4999 for applications.
fn close_code_valid(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
