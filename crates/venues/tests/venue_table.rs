//! The table of venues in the documentation is made from the code.

use model::Venue;
use std::{env, fs, path::Path};

const HEAD: &str = "\
# Venues

What is taken of each venue, what proves it, and how far that is shown. Made from each venue's `channels.rs` by
`UPDATE_GOLDEN=1 cargo test -p venues --test venue_table`; the details stand in `crates/venues/src/<venue>/README.md`.

- **recorded**: frames the venue sent were decoded, every number compared and every proof it offers checked.
- **emulated**: the venue's single frames or documented examples decode; whole sessions come from the emulator alone.
- **documented**: read from the documents; nothing of the venue itself was at hand.
";

fn table() -> String {
    let mut text = HEAD.to_owned();
    for venue in Venue::ALL {
        let channels = venues::channels(venue);
        text += &format!(
            "\n## {venue}\n\n| channel | becomes | integrity proof | maturity | proven by |\n|---|---|---|---|---|\n"
        );
        for c in channels {
            let name = if c.protocol.is_empty() { c.name.to_owned() } else { format!("{}: {}", c.protocol, c.name) };
            text += &format!("| {name} | {} | {} | {} | {} |\n", c.records, c.proof, c.maturity.name(), c.proven_by);
        }
    }
    text
}

#[test]
fn the_table_of_venues_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/venues.md");
    let table = table();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &table).expect("the documentation can be written");
    }
    let committed = fs::read_to_string(&path).expect("docs/venues.md is there");
    assert!(committed == table, "docs/venues.md is out of date; write it again with UPDATE_GOLDEN=1");
}
