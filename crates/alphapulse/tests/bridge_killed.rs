//! A bridge that is killed by the system at any moment, again and again: its ring goes on behind the last record in it,
//! without a repeat and without a hole. Everything in processes of its own, over TLS on loopback.

mod common;

use common::{two::*, *};
use std::{fs, process::Stdio, thread, time::Duration};

const ADDRESS: &str = "127.0.0.1";
const KILLS: usize = 10;
/// Records of the other machine that a reader here must get between two kills.
const BETWEEN: usize = 200;

fn bridge(site: &Site) -> Running {
    let log = fs::File::options().create(true).append(true).open(site.state.path().join("bridge.log"));
    let mut command = site.command();
    command.args(["bridge", "there"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a log"));
    Running(command.spawn().expect("the program starts"))
}

#[test]
fn a_killed_bridge_leaves_neither_hole_nor_repeat() {
    let keys = tempfile::tempdir().expect("a folder");
    secrets(keys.path(), ADDRESS);
    let port = free_ports(1)[0];
    let there = Site::new(&relay_section(ADDRESS, port, keys.path()));
    let here = Site::new(&bridge_section(ADDRESS, port, keys.path()));
    let _there = Up::start(&there, &[]);
    for venue in ["kraken", "binance"] {
        wait_for("rings there", || there.rings.path().join(format!("{venue}.ring")).exists().then_some(()));
    }
    let mut original = Reader::open(&there);
    let mut repeated = Reader::open(&here);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    for kill in 0..KILLS {
        let mut running = bridge(&here);
        let before = repeated.records.len();
        wait_for("records of the other machine", || {
            original.read();
            repeated.read();
            (repeated.records.len() > before + BETWEEN).then_some(())
        });
        thread::sleep(Duration::from_micros(dice.u64(..50_000)));
        running.0.kill().expect("it lives until it is killed");
        let status = running.0.wait().expect("it is dead");
        assert_eq!(status.code(), None, "kill {kill}: it ended by itself");
        // What it published before it died is read, and no more comes.
        repeated.read();
        let (last, known) = (repeated.last.clone(), original.records.len());
        wait_for("more on the other machine", || {
            original.read();
            (original.records.len() > known).then_some(())
        });
        repeated.read();
        assert_eq!(repeated.last, last, "kill {kill}: records came without a bridge");
    }
    let _bridge = bridge(&here);
    original.read();
    repeated.reach(&original);
    let trades = repeated.agrees_with(&original);
    println!("{KILLS} kills: {} records, {trades} of them trades, every one once and in order", original.records.len());
}
