//! XOR of a payload with the four-byte masking key, the only per-byte work a client's frame asks for.

/// Applies `key` to `payload`, whose first byte is byte 0 of the frame's payload. Its own inverse.
pub fn apply(payload: &mut [u8], key: [u8; 4]) {
    let half = u32::from_ne_bytes(key);
    let word = u64::from(half) << 32 | u64::from(half);
    let mut words = payload.chunks_exact_mut(8);
    for chunk in &mut words {
        let bytes: [u8; 8] = chunk.as_ref().try_into().expect("chunks_exact_mut(8) gives eight bytes");
        chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ word).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::apply;

    #[test]
    fn equals_the_bytewise_definition_at_every_length() {
        let key = [0x12, 0x34, 0xAB, 0xFF];
        for len in 0..67 {
            let plain: Vec<u8> = (0..len).map(|i| (i * 7 + 3) as u8).collect();
            let expected: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
            let mut masked = plain.clone();
            apply(&mut masked, key);
            assert_eq!(masked, expected, "length {len}");
            apply(&mut masked, key);
            assert_eq!(masked, plain, "length {len}");
        }
    }
}
