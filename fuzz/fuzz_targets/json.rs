//! Any bytes as JSON: accepted exactly when serde_json accepts them, except for numbers beyond a float and depth.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scan::{DEPTH_MAX, Json};

fuzz_target!(|text: &[u8]| {
    let mut json = Json::new(text);
    let outcome = json.skip_value().and_then(|()| json.end());
    if let Err(error) = outcome {
        assert!(error.offset <= text.len());
    }
    let theirs = serde_json::from_slice::<serde_json::Value>(text);
    let too_large = matches!(&theirs, Err(error) if error.to_string().starts_with("number out of range"));
    let brackets = text.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if !too_large && brackets <= DEPTH_MAX as usize {
        assert_eq!(outcome.is_ok(), theirs.is_ok(), "ours {outcome:?}, theirs {theirs:?}");
    }
});
