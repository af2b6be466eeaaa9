//! alphapulse
fn main() {}
