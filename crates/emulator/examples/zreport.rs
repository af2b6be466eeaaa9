//! x
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let venue = match a[1].as_str() { "kraken" => emulator::EmulatedVenue::Kraken, "binance" => emulator::EmulatedVenue::Binance, "coinbase" => emulator::EmulatedVenue::Coinbase, _ => emulator::EmulatedVenue::Alpaca };
    let rate = emulator::Rate::FramesPerSecond(a[2].parse().expect("rate"));
    let paths: Vec<std::path::PathBuf> = a[4..].iter().map(Into::into).collect();
    let levels = 1000;
    let session = emulator::GeneratedSession { levels, ..Default::default() };
    println!("{}", emulator::report(venue, &session, rate, a[3].parse().expect("s"), &paths).expect("ok"));
}
