//! Bad input gets one clear sentence that names the thing and what to do, and a non-zero exit.

mod common;

use common::{Site, program};
use std::{fs, io::Write, net::TcpListener, os::unix::net::UnixListener, process::Stdio};

fn refused(site: &Site, args: &[&str], parts: &[&str]) {
    let out = site.output(args);
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success(), "{args:?} went well: {words}");
    for part in parts {
        assert!(words.contains(part), "{args:?}: {part:?} is not in: {words}");
    }
    assert!(!words.contains("panicked"), "{words}");
}

#[test]
fn a_wrong_key_in_the_file_names_the_line_and_the_nearest_key() {
    let site = Site::new("[venues.kraken]\nsymbls = [\"BTC-USD\"]");
    refused(&site, &["up"], &["symbls", "line", "did you mean `symbols`?", "alphapulse.toml"]);
}

#[test]
fn a_missing_file_an_unknown_venue_and_an_unknown_stream_are_named() {
    let site = Site::new("");
    refused(&site, &["feed", "krakn"], &["krakn", "kraken"]);
    refused(&site, &["--set", "venues.kraken.streams=[\"trdes\"]", "config", "check"], &["trdes", "trade"]);
    refused(&site, &["decode", "--venue", "kraken", "no-such-file.jsonl"], &["no-such-file.jsonl"]);
    let out = program().args(["--config", "no-such.toml", "config", "check"]).output().expect("the program runs");
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("no-such.toml"));
}

#[test]
fn a_busy_port_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let site = Site::new("");
    refused(&site, &["--set", &format!("gateway.listen=\"{address}\""), "gateway"], &[&address]);
    refused(&site, &["--set", &format!("emulator.kraken.listen=\"{address}\""), "emulator", "kraken"], &[&address]);
}

#[test]
fn the_gateway_does_not_listen_where_others_could_reach_it() {
    let site = Site::new("");
    refused(&site, &["--set", "gateway.listen=\"0.0.0.0:0\"", "gateway"], &["0.0.0.0:0", "127.0.0.1"]);
}

#[test]
fn a_missing_certificate_is_named() {
    let site = Site::new("[tls]\nextra_roots = [\"/no/such/root.pem\"]");
    refused(&site, &["feed", "kraken"], &["/no/such/root.pem"]);
}

#[test]
fn a_socket_path_that_is_too_long_or_taken_is_named() {
    let site = Site::new("");
    let long = format!("relay.socket=\"{}/{}\"", site.state.path().display(), "x".repeat(120));
    refused(&site, &["--set", &long, "relay"], &["107"]);
    let path = site.state.path().join("taken.sock");
    let _listener = UnixListener::bind(&path).expect("a socket");
    let set = format!("relay.socket={path:?}");
    refused(&site, &["--set", &set, "relay"], &["taken.sock", "listens"]);
}

#[test]
fn a_script_of_faults_is_named_with_file_line_and_what_is_meant() {
    let site = Site::new("");
    let script = |text: &str| {
        let path = site.state.path().join("script.toml");
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    for (text, parts) in [
        ("[[fault]]\ndo = \"loose\"", &["script.toml", "line 2", "loose", "did you mean \"lose\"?"][..]),
        ("[[fault]]\ndo = \"lose\"\nper_million = 1000001", &["line 3", "per_million = 1000001", "1 to 1000000"]),
        ("[[fault]]\ndo = \"drop\"\nevery = 1", &["line 3", "every", "did you mean \"every_s\"?"]),
        ("[[fault]]\ndo = \"lose\"\nsymbol = \"BTCUSD\"", &["kraken", "BTCUSD", "BTC/USD"]),
    ] {
        refused(&site, &["emulator", "kraken", "--faults", &script(text)], parts);
    }
    refused(&site, &["emulator", "kraken", "--faults", "no-such.toml"], &["no-such.toml"]);
    refused(&site, &["emulator", "kraken", "--recorded", "no-such.jsonl"], &["no-such.jsonl"]);
    refused(&site, &["emulator", "fault", "no-such.sock", "extents"], &["no-such.sock", "--control"]);
}

#[test]
fn a_ring_of_another_version_is_named_and_left_alone() {
    let site = Site::new("");
    let path = site.rings.path().join("kraken.ring");
    let mut ring = vec![0u8; 4096 + 64 * 128];
    ring[..8].copy_from_slice(b"APRING\r\n");
    ring[8..12].copy_from_slice(&77u32.to_le_bytes());
    fs::write(&path, &ring).expect("written");
    refused(&site, &["feed", "kraken"], &["kraken.ring", "77"]);
    assert_eq!(fs::read(&path).expect("still there"), ring);
    let out = site.output(&["tap", "--for", "0.5"]);
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(words.contains("kraken.ring") && words.contains("77"), "{words}");
}

#[test]
fn bad_frames_are_named_by_line_and_the_good_ones_are_told() {
    let frames = concat!(
        "{\"e\":\"trade\",\"E\":1700000000123,\"s\":\"BTCUSDT\",\"t\":1,\"p\":\"1.5\",\"q\":\"2\",\"T\":1700000000121,\"m\":true,\"M\":true}\n",
        "{\"e\":\"trade\",\"E\":1700000000123,\"s\":\"BTCUSDT\",\"t\":2,\"p\":\"x\",\"q\":\"2\",\"T\":1700000000121,\"m\":true,\"M\":true}\n",
        "{\"e\":\"trade\",\"E\":17000\n",
        "{\"e\":\"trade\",\"E\":1700000000124,\"s\":\"BTCUSDT\",\"t\":2,\"p\":\"1.25\",\"q\":\"3\",\"T\":1700000000122,\"m\":false,\"M\":true}\n",
    );
    let mut child = program()
        .args(["decode", "--venue", "binance", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("piped").write_all(frames.as_bytes()).expect("written");
    let out = child.wait_with_output().expect("ends");
    assert_eq!(out.status.code(), Some(1));
    let (told, words) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(told.matches(r#""type":"trade""#).count(), 2, "{told}");
    assert!(told.contains(r#""price":"1.25""#) && told.contains(r#""side":"buy""#), "{told}");
    assert!(words.contains("line 2: byte") && words.contains("line 3: byte"), "{words}");
    assert!(!words.contains("line 1:") && !words.contains("line 4:"), "{words}");
}

#[test]
fn a_truncated_capture_is_told_up_to_where_it_ends() {
    use flate2::{Compression, write::GzEncoder};
    let line = "{\"e\":\"trade\",\"E\":1700000000123,\"s\":\"BTCUSDT\",\"t\":ID,\"p\":\"1.5\",\"q\":\"2\",\"T\":1700000000121,\"m\":true,\"M\":true}\n";
    let text: String =
        (1..=2000).map(|id| line.replace("ID", &format!("{}", id * 7919 % 100_003 + id * 100_003))).collect();
    let mut gz = GzEncoder::new(vec![], Compression::fast());
    gz.write_all(text.as_bytes()).expect("written");
    let bytes = gz.finish().expect("finished");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cut.jsonl.gz");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    let out = program().args(["decode", "--venue", "binance"]).arg(&path).output().expect("the program runs");
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{words}");
    assert!(words.contains("cut.jsonl.gz") && words.contains("cut off"), "{words}");
}

#[test]
fn a_full_shared_memory_is_an_error_and_no_crash() {
    // A private mount namespace gives this test a small memory file system of its own.
    let site = Site::new("");
    let mount = site.state.path().join("small");
    fs::create_dir(&mount).expect("a folder");
    let script = format!(
        "mount -t tmpfs -o size=1m none {mount} && exec {program} --config {config} --set paths.rings={mount:?}/rings feed kraken",
        mount = mount.display(),
        program = env!("CARGO_BIN_EXE_alphapulse"),
        config = site.config.display(),
    );
    let script = script.replace(&format!("{mount:?}/rings"), &format!("'\"{}/rings\"'", mount.display()));
    let out = std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output();
    let Ok(out) = out else {
        eprintln!("SKIPPED a_full_shared_memory_is_an_error_and_no_crash: there is no unshare");
        return;
    };
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    if words.contains("unshare:") || words.contains("mount:") {
        eprintln!("SKIPPED a_full_shared_memory_is_an_error_and_no_crash: no private mount can be made: {words}");
        return;
    }
    assert_eq!(out.status.code(), Some(2), "{words}");
    assert!(words.contains("kraken") && (words.contains("space") || words.contains("full")), "{words}");
}
