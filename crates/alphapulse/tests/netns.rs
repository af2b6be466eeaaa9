//! Two machines, stood in for by two network namespaces: emulators, feeds and relay on one, bridge and consumers on
//! the other. The link between them is cut and restored, and the consumers get every record once, in order.
//!
//! Needs root and `ip`; without them the test is skipped by name. Everything it makes is removed at its end.

mod common;

use common::{two::*, *};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

const THERE: &str = "10.213.0.1";
const HERE: &str = "10.213.0.2";
const PORT: u16 = 7443;
/// Longer than the silence after which the bridge takes the link for cut.
const CUT_FOR: Duration = Duration::from_secs(5);
const CUTS: usize = 3;
/// Of the namespaces' names; the test's process id and the end follow.
const PREFIX: &str = "alphapulse-test-";

fn ip(args: &[&str]) -> Result<(), String> {
    let ran = Command::new("ip").args(args).output().map_err(|e| format!("ip cannot be run: {e}"))?;
    let said = || format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&ran.stderr).trim());
    if ran.status.success() { Ok(()) } else { Err(said()) }
}

/// What a test that was killed could not remove.
fn remove_left_behind() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let id = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if id.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            // Another test may have been faster.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

/// Two namespaces with one link between them, removed when dropped.
struct Link {
    names: [String; 2],
    ends: [String; 2],
}

impl Link {
    fn make() -> Result<Link, String> {
        remove_left_behind();
        let id = std::process::id();
        let link = Link {
            names: ["a", "b"].map(|end| format!("{PREFIX}{id}-{end}")),
            ends: ["a", "b"].map(|end| format!("ap{id}{end}")),
        };
        for name in &link.names {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        let [[a, b], [end_a, end_b]] = [link.names.each_ref(), link.ends.each_ref()];
        ip(&["-n", a, "link", "add", end_a, "type", "veth", "peer", "name", end_b, "netns", b])?;
        for ((name, end), address) in [a, b].into_iter().zip([end_a, end_b]).zip([THERE, HERE]) {
            ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", end])?;
            ip(&["-n", name, "link", "set", end, "up"])?;
        }
        Ok(link)
    }

    fn set(&self, state: &str) {
        ip(&["-n", &self.names[0], "link", "set", &self.ends[0], state]).expect("the link obeys");
    }

    fn run(&self, at: usize, site: &Site, args: &[&str], out: Stdio) -> Running {
        let log = fs::File::create(site.state.path().join(format!("{}.log", args[0]))).expect("a log");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.names[at].as_str(), env!("CARGO_BIN_EXE_alphapulse"), "--config"]);
        command.arg(&site.config).args(args).stdin(Stdio::null()).stdout(out).stderr(log);
        Running(command.spawn().expect("the program starts"))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for name in &self.names {
            // What was never made cannot be removed.
            let _ = ip(&["netns", "del", name]);
        }
    }
}

#[test]
fn a_cut_link_between_two_machines_loses_nothing_that_is_held() {
    let link = match Link::make() {
        Ok(link) => link,
        Err(why) => return eprintln!("SKIPPED two machines: needs root and network namespaces: {why}"),
    };
    let keys = tempfile::tempdir().expect("a folder");
    secrets(keys.path(), THERE);
    let there = Site::new(&relay_section(THERE, PORT, keys.path()));
    let here = Site::new(&bridge_section(THERE, PORT, keys.path()));
    let _there = link.run(0, &there, &["up"], Stdio::null());
    let _here = link.run(1, &here, &["up"], Stdio::null());
    for (site, venue) in [(&there, "kraken"), (&there, "binance"), (&here, "kraken"), (&here, "binance")] {
        let ring = site.rings.path().join(format!("{venue}.ring"));
        wait_for(&format!("the ring {}", ring.display()), || ring.exists().then_some(()));
    }
    let (mut original, mut repeated) = (Reader::open(&there), Reader::open(&here));
    let seconds = (CUT_FOR * (CUTS as u32 + 1)).as_secs().to_string();
    wait_for("the relay here", || here.pid("relay"));
    let verify = ["verify", "stream", "--relay", "--json", "--for", &seconds];
    let mut verified = link.run(1, &here, &verify, Stdio::piped());
    for _ in 0..CUTS {
        original.read();
        repeated.reach(&original);
        link.set("down");
        // What was on its way when the link went down has come by now.
        thread::sleep(CUT_FOR / 2);
        repeated.read();
        let (before, known) = (repeated.last.clone(), original.records.len());
        thread::sleep(CUT_FOR / 2);
        original.read();
        repeated.read();
        assert_eq!(repeated.last, before, "records came through a cut link");
        assert!(original.records.len() > known, "nothing happened on the other machine meanwhile");
        link.set("up");
    }
    original.read();
    repeated.reach(&original);
    let status = wait_for("the end of verify", || verified.0.try_wait().expect("waiting"));
    let mut told = String::new();
    std::io::Read::read_to_string(verified.0.stdout.as_mut().expect("piped"), &mut told).expect("read");
    assert!(status.success(), "verify here disagrees: {told}");
    let trades = repeated.agrees_with(&original);
    eprintln!(
        "two machines, {CUTS} cuts of {} s: {} records, {trades} of them trades, every one once and in order",
        CUT_FOR.as_secs(),
        original.records.len()
    );
}
