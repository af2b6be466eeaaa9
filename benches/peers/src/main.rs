//! Our stages beside the projects a trader would use instead, interleaved in one run, results asserted equal first.
//!
//! `make bench-peers`, or `cargo run --release --manifest-path benches/peers/Cargo.toml -- [--markdown] [--pairs N]
//! [barter] [dbn] [iceoryx2] [tungstenite]`.

mod barter;
mod binary;
mod shared;
mod websocket;

use benches::Report;

/// A measured half cannot go on from any failure, so they all end the run with their words.
pub type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let (mut pairs, mut markdown, mut names) = (9, false, vec![]);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--markdown" => markdown = true,
            "--pairs" => pairs = arguments.next().ok_or("--pairs needs a number")?.parse()?,
            "barter" | "dbn" | "iceoryx2" | "tungstenite" => names.push(argument),
            other => {
                return Err(
                    format!("no peer is called {other:?}; there are barter, dbn, iceoryx2 and tungstenite").into()
                );
            }
        }
    }
    let wants = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
    let mut report = Report::new("peers");
    if wants("barter") {
        barter::measure(pairs, &mut report)?;
    }
    if wants("dbn") {
        binary::measure(pairs, &mut report)?;
    }
    if wants("iceoryx2") {
        shared::measure(pairs, &mut report)?;
    }
    if wants("tungstenite") {
        websocket::measure(pairs, &mut report)?;
    }
    if markdown {
        println!("{}", report.markdown())
    } else {
        println!("{report}")
    }
    Ok(())
}
