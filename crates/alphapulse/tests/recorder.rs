//! The recorder as a user meets it: the demo leaves files behind that any tool reads, a small disk fills up and is
//! enlarged, a folder is read-only for a while; `status` says how it is.

mod common;
#[path = "common/recorded.rs"]
mod recorded;

use common::{Site, Up, free_ports, journal::journal as sent_by, role::Role, wait_for};
use journal::Level;
use model::Venue;
use recorded::{Faults, Witness, acknowledged, compare, files_below, read_journal};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

/// An interpreter with pyarrow, or a word about its absence.
fn python(test: &str) -> Option<String> {
    let python = std::env::var("ALPHAPULSE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let able = Command::new(&python).args(["-c", "import pyarrow, duckdb"]).output();
    if able.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("SKIPPED {test}: {python} has no pyarrow and duckdb");
    None
}

#[test]
fn the_demo_leaves_files_that_sum_up_to_what_was_sent() {
    let Some(python) = python("the_demo_leaves_files_that_sum_up_to_what_was_sent") else { return };
    let site = Site::new("[parquet]\npart_s = 1\n[journal]\nsegment_mib = 4\nretain_mib = 0\n");
    let up = Up::start(&site, &[]);
    let folder = site.state.path().join("parquet");
    wait_for("parts of every venue", || {
        let parts = |table: &str, venue: &str| !files_below(&folder.join(table).join(venue), "parquet").is_empty();
        ["kraken", "binance"].iter().all(|venue| parts("trade", venue) && parts("book", venue)).then_some(())
    });
    wait_for("a status that knows the journal", || {
        let output = site.output(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        let journal = &status["journal"];
        let store = journal["sinks"].as_array()?.iter().any(|sink| sink["sink"] == "parquet");
        (journal["state"] == "ok" && journal["venues"].as_array()?.len() == 2 && store).then_some(())
    });
    assert_eq!(up.stop(), Some(0));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorder/sums.py");
    let output = Command::new(python).arg(script).arg(&folder).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: BTreeMap<String, BTreeMap<String, Vec<String>>> =
        serde_json::from_slice(&output.stdout).expect("JSON of the sums");
    for venue in ["kraken", "binance"] {
        let sent = sums_of_trades(&site.state.path().join(format!("journal-{venue}")), venue);
        assert!(!sent.is_empty());
        assert_eq!(found[venue], sent, "{venue}");
    }
    let (journal, _) = read_journal(&site.state.path().join("journal"));
    assert_eq!(journal.overruns.len(), 0, "{:?}", journal.overruns);
}

/// Per symbol: trades that were sent on a socket, the sum of their sizes, and of price times size.
fn sums_of_trades(folder: &Path, venue: &str) -> BTreeMap<String, Vec<String>> {
    let mut sums: BTreeMap<String, (u64, i128, i128)> = BTreeMap::new();
    let parsed = |text: &str| text.parse::<model::Decimal>().expect("a number");
    // Eighteen digits behind the point hold every product of the emulator's prices and sizes.
    let at_18 = |mantissa: i128, scale: u8| mantissa * 10i128.pow(u32::from(18 - scale));
    for file in files_below(folder, "jsonl") {
        let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        if !name.starts_with('0') {
            continue;
        }
        for ((kind, symbol), lines) in sent_by(&file, venue) {
            for line in lines.iter().filter(|_| kind == "trade") {
                let [price, size] = [2, 3].map(|at| parsed(line.split(' ').nth(at).expect("four words")));
                let sum = sums.entry(symbol.clone()).or_default();
                sum.0 += 1;
                sum.1 += at_18(size.mantissa, size.scale);
                sum.2 += at_18(price.mantissa * size.mantissa, price.scale + size.scale);
            }
        }
    }
    let text = |sum: &(u64, i128, i128)| vec![sum.0.to_string(), sum.1.to_string(), sum.2.to_string()];
    sums.iter().map(|(symbol, sum)| (symbol.clone(), text(sum))).collect()
}

/// A small file system in memory, where this user may make one.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(test: &str, at: &Path, options: &str) -> Option<Tmpfs> {
        fs::create_dir_all(at).expect("a folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Tmpfs(at.to_owned()));
        }
        eprintln!("SKIPPED {test}: a tmpfs cannot be mounted here (needs root)");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.0).status().expect("mount runs");
        assert!(status.success(), "remount {options}");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: whoever still has a file there is killed by the same test.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// An emulator, its feed and a relay, with a recorder still to be started.
struct Plant {
    site: Site,
    set: Vec<String>,
    roles: Vec<Role>,
}

impl Plant {
    fn start(site: Site) -> Plant {
        let port = free_ports(1)[0];
        let set = vec![
            format!("emulator.kraken.listen=\"127.0.0.1:{port}\""),
            "emulator.kraken.frames_per_second=2500".to_owned(),
            format!("venues.kraken.ws_url=\"ws://127.0.0.1:{port}/v2\""),
            format!("venues.kraken.rest_url=\"http://127.0.0.1:{port}\""),
            "ring.slots=1048576".to_owned(),
            "journal.segment_mib=1".to_owned(),
            "journal.retain_mib=0".to_owned(),
            "recorder.spill_mib=1".to_owned(),
            "parquet.enabled=false".to_owned(),
        ];
        let emulator = Role::start(&site, &["emulator", "kraken"], &set);
        wait_for("the emulator", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        let feed = Role::start(&site, &["feed", "kraken", "--origin", "simulated"], &set);
        wait_for("a ring", || site.rings.path().join("kraken.ring").exists().then_some(()));
        Plant { site, set, roles: vec![feed, emulator] }
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.site.output(&["status", "--json"]).stdout).expect("JSON")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.site.state.path().join("roles.log")).unwrap_or_default()
    }

    fn newest(&self) -> u64 {
        let rings = self.status()["rings"].clone();
        rings[0]["next_sequence"].as_u64().expect("a sequence") - 1
    }

    fn durable(&self) -> u64 {
        let all = acknowledged(&self.site.state.path().join("journal"), Level::Synced);
        all.iter().find(|(venue, _)| *venue == Venue::Kraken).map_or(0, |(_, name)| name.1)
    }

    /// Ends all in order and holds the journal against the rings.
    fn check(mut self, witness: Witness) {
        self.roles[0].stop();
        let newest = self.newest();
        wait_for("everything to be durable", || (self.durable() >= newest).then_some(()));
        self.roles.iter_mut().skip(1).rev().for_each(Role::stop);
        let ring = witness.end();
        let (journal, _) = read_journal(&self.site.state.path().join("journal"));
        let faults = compare(&journal, &ring, &BTreeMap::new());
        assert_eq!(faults, Faults::default());
        assert_eq!(journal.overruns.len(), 0, "the rings held everything");
        assert_eq!(journal.count(), ring.count());
    }
}

#[test]
fn a_full_tmpfs_stops_nobody_else_and_recording_goes_on_with_room() {
    let site = Site::new("");
    let test = "a_full_tmpfs_stops_nobody_else_and_recording_goes_on_with_room";
    let Some(disk) = Tmpfs::mount(test, &site.state.path().join("journal"), "size=3500k") else { return };
    let mut plant = Plant::start(site);
    let witness = Witness::start(plant.site.rings.path());
    let recorder = Role::start(&plant.site, &["recorder"], &plant.set);
    plant.roles.push(recorder);
    wait_for("a full disk", || (plant.status()["journal"]["state"] == "full").then_some(()));
    let (durable, newest) = (plant.durable(), plant.newest());
    wait_for("the market to go on", || (plant.newest() > newest + 1000).then_some(()));
    assert_eq!(plant.durable(), durable, "nothing is acknowledged without room");
    let said = plant.log().matches("the journal's disk is full").count();
    assert_eq!(said, 1, "one sentence:\n{}", plant.log());
    disk.remount("size=64m");
    wait_for("recording to go on", || (plant.durable() > newest).then_some(()));
    assert_eq!(plant.status()["journal"]["state"], "ok");
    plant.check(witness);
}

#[test]
fn a_read_only_folder_is_said_once_and_tried_again() {
    let site = Site::new("");
    let test = "a_read_only_folder_is_said_once_and_tried_again";
    let Some(disk) = Tmpfs::mount(test, &site.state.path().join("journal"), "size=64m,ro") else { return };
    let mut plant = Plant::start(site);
    let witness = Witness::start(plant.site.rings.path());
    let recorder = Role::start(&plant.site, &["recorder"], &plant.set);
    plant.roles.push(recorder);
    wait_for("a word about it", || plant.log().contains("the folder cannot be written").then_some(()));
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(plant.log().matches("the folder cannot be written").count(), 1, "{}", plant.log());
    disk.remount("rw");
    wait_for("recording", || (plant.durable() > 0).then_some(()));
    plant.check(witness);
}
