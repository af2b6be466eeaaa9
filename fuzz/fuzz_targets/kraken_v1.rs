//! Hostile frames and answers for Kraken's machine in its older protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let choices = [("api".to_owned(), "v1".to_owned())];
    let make = || venues::machine(model::Venue::Kraken, &venues::Settings::default(), &choices);
    fuzz::machine(|| make().expect("the choice is offered"), data);
});
