//! Any bytes as a number: the fast paths, the exact path and the formatter agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scan::{FORMAT_LEN, NumberError, SCALE_MAX};

fuzz_target!(|input: (u8, &[u8])| {
    let (scale, text) = (input.0 % (SCALE_MAX + 1), input.1);
    let padded = [text, &[0; 64]].concat();
    let read = scan::fixed(text, scale);
    assert_eq!(read, scan::fixed(&padded, scale));
    assert_eq!(scan::u64_at(text), scan::u64_at(&padded));
    assert_eq!(scan::i64_at(text), scan::i64_at(&padded));

    if let Ok((decimal, len)) = scan::exact(text) {
        assert_eq!(decimal.at_scale(scale), read.map(|(mantissa, _)| mantissa));
        assert!(read.is_err() || read.is_ok_and(|(_, read)| read == len));
    }
    match read {
        Ok((mantissa, len)) => {
            let mut out = [0; FORMAT_LEN];
            let written = scan::format_fixed(mantissa, scale, &mut out);
            assert_eq!(scan::fixed(written.as_bytes(), scale), Ok((mantissa, written.len())));
            assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&text[..len]).is_ok());
        }
        Err(NumberError::NotANumber { offset }) => assert!(offset <= text.len()),
        Err(_) => {}
    }
});
