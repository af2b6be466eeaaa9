//! Any bytes as a time: a warm cache, a cold one and a longer buffer agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scan::{DayCache, rfc3339_nanos};

fuzz_target!(|text: &[u8]| {
    let read = rfc3339_nanos(text);
    let mut days = DayCache::default();
    for _ in 0..2 {
        assert_eq!(days.rfc3339_nanos(text), read);
        assert_eq!(days.rfc3339_nanos(&[text, &[0; 64]].concat()), read);
    }
    if let Ok((_, len)) = read {
        assert!(len <= text.len());
    }
});
