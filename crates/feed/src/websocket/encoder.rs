//! Appends frames to a byte vector. The caller owns the vector and reuses it, so nothing here allocates on its own.

use super::{CONTROL_PAYLOAD_BYTES_MAX, Deflater, RSV1, Role, close_code_valid, mask, opcode};

/// Writes frames for one role. A client draws a fresh mask key per frame from its seeded generator.
#[derive(Debug, Clone)]
pub struct Encoder {
    keys: Option<fastrand::Rng>,
}

impl Encoder {
    /// Encoder of the side that opened the connection; masks with keys from `rng`.
    ///
    /// The keys defend proxies, not us: a seeded generator is enough and keeps runs repeatable.
    pub fn client(rng: fastrand::Rng) -> Self {
        Self { keys: Some(rng) }
    }

    /// Encoder of the side that accepted the connection; never masks.
    pub fn server() -> Self {
        Self { keys: None }
    }

    /// The role it was made for.
    pub fn role(&self) -> Role {
        if self.keys.is_some() { Role::Client } else { Role::Server }
    }

    /// Appends one text message. The type makes sure that it is UTF-8.
    pub fn text(&mut self, payload: &str, out: &mut Vec<u8>) {
        self.frame(opcode::TEXT, true, payload.as_bytes(), out);
    }

    /// Appends one text message from bytes that the caller knows to be UTF-8, such as a recorded frame.
    pub fn text_bytes(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.frame(opcode::TEXT, true, payload, out);
    }

    /// Appends one text message in compressed form; only where the handshake agreed to compression.
    pub fn text_deflated(&mut self, payload: &[u8], deflater: &mut Deflater, out: &mut Vec<u8>) {
        self.frame(opcode::TEXT | RSV1, true, deflater.deflate(payload), out);
    }

    /// Appends one binary message in compressed form; only where the handshake agreed to compression.
    pub fn binary_deflated(&mut self, payload: &[u8], deflater: &mut Deflater, out: &mut Vec<u8>) {
        self.frame(opcode::BINARY | RSV1, true, deflater.deflate(payload), out);
    }

    /// Appends one binary message.
    pub fn binary(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.frame(opcode::BINARY, true, payload, out);
    }

    /// Appends one text message cut into frames of at most `fragment_bytes`, as some servers send large snapshots.
    ///
    /// # Panics
    /// When `fragment_bytes` is 0.
    pub fn text_fragmented(&mut self, payload: &[u8], fragment_bytes: usize, out: &mut Vec<u8>) {
        assert!(fragment_bytes > 0, "a fragment carries at least one byte");
        let last = payload.len().div_ceil(fragment_bytes).saturating_sub(1);
        if payload.is_empty() {
            return self.text_bytes(payload, out);
        }
        for (index, fragment) in payload.chunks(fragment_bytes).enumerate() {
            let kind = if index == 0 { opcode::TEXT } else { opcode::CONTINUATION };
            self.frame(kind, index == last, fragment, out);
        }
    }

    /// Appends a ping.
    ///
    /// # Panics
    /// When `payload` is longer than [`CONTROL_PAYLOAD_BYTES_MAX`].
    pub fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.control(opcode::PING, payload, out);
    }

    /// Appends a pong; as an answer it carries the ping's own payload.
    ///
    /// # Panics
    /// When `payload` is longer than [`CONTROL_PAYLOAD_BYTES_MAX`].
    pub fn pong(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.control(opcode::PONG, payload, out);
    }

    /// Appends a close with a code and a reason, which is cut to what a control frame can hold.
    ///
    /// # Panics
    /// When `code` is one that must not appear on the wire.
    pub fn close(&mut self, code: u16, reason: &str, out: &mut Vec<u8>) {
        assert!(close_code_valid(code), "close code {code} must not be sent");
        let kept = reason.floor_char_boundary(CONTROL_PAYLOAD_BYTES_MAX - 2);
        let mut payload = [0_u8; CONTROL_PAYLOAD_BYTES_MAX];
        payload[..2].copy_from_slice(&code.to_be_bytes());
        payload[2..2 + kept].copy_from_slice(&reason.as_bytes()[..kept]);
        self.control(opcode::CLOSE, &payload[..2 + kept], out);
    }

    fn control(&mut self, kind: u8, payload: &[u8], out: &mut Vec<u8>) {
        assert!(payload.len() <= CONTROL_PAYLOAD_BYTES_MAX, "a control frame carries at most 125 bytes");
        self.frame(kind, true, payload, out);
    }

    fn frame(&mut self, kind: u8, last: bool, payload: &[u8], out: &mut Vec<u8>) {
        let masked: u8 = if self.keys.is_some() { 0x80 } else { 0 };
        out.push(kind | if last { 0x80 } else { 0 });
        match payload.len() {
            len @ 0..=125 => out.push(masked | len as u8),
            len @ 126..=0xFFFF => {
                out.push(masked | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(masked | 127);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        let Some(keys) = &mut self.keys else {
            return out.extend_from_slice(payload);
        };
        let key = keys.u32(..).to_ne_bytes();
        out.extend_from_slice(&key);
        let start = out.len();
        out.extend_from_slice(payload);
        mask::apply(&mut out[start..], key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        for (len, header) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 0xFF, 0xFF]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            Encoder::server().binary(&vec![b'x'; len], &mut out);
            assert_eq!(&out[..header.len()], header, "length {len}");
            assert_eq!(out.len(), header.len() + len);
        }
    }

    #[test]
    fn a_client_masks_with_a_new_key_per_frame_and_the_same_seed_repeats() {
        let encode = |seed| {
            let mut out = Vec::new();
            let mut encoder = Encoder::client(fastrand::Rng::with_seed(seed));
            encoder.text("hello", &mut out);
            encoder.text("hello", &mut out);
            out
        };
        let bytes = encode(7);
        assert_eq!(bytes, encode(7));
        assert_ne!(bytes, encode(8));
        assert_eq!(bytes[..2], [0x81, 0x85]);
        assert_ne!(bytes[2..11], bytes[13..22], "two frames share a mask key");
    }

    #[test]
    fn a_long_close_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        Encoder::server().close(1008, &"é".repeat(100), &mut out);
        assert_eq!(out[..4], [0x88, 124, 0x03, 0xF0]);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }
}
