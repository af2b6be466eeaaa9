//! Two machines, stood in for by two network namespaces: emulators, feeds and relay on one, bridge and consumers on
//! the other. The link between them is cut and restored, and the consumers get every record once, in order.
//!
//! Needs root and `ip`; without them the test is skipped by name. Everything it makes is removed at its end.

mod common;

use common::*;
use relay::{Client, ClientOptions, Source, Start, Subscription};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use wire::{Record, RecordType};

const THERE: &str = "10.213.0.1";
const HERE: &str = "10.213.0.2";
const PORT: u16 = 7443;
/// Longer than the silence after which the bridge takes the link for cut.
const CUT_FOR: Duration = Duration::from_secs(5);
const CUTS: usize = 3;

fn ip(args: &[&str]) -> Result<(), String> {
    let ran = Command::new("ip").args(args).output().map_err(|e| format!("ip cannot be run: {e}"))?;
    let said = || format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&ran.stderr).trim());
    if ran.status.success() { Ok(()) } else { Err(said()) }
}

/// Two namespaces with one link between them, removed when dropped.
struct Link {
    names: [String; 2],
    ends: [String; 2],
}

impl Link {
    fn make() -> Result<Link, String> {
        let id = std::process::id();
        let link = Link {
            names: ["a", "b"].map(|end| format!("alphapulse-test-{id}-{end}")),
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

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        kill(self.0.id(), "-TERM");
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        // After an orderly end both calls find nothing left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A CA, a certificate for the address, and a token, for both sides.
fn secrets(folder: &Path) {
    let mut authority = rcgen::CertificateParams::new(Vec::<String>::new()).expect("no names");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let root = authority.self_signed(&authority_key).expect("a root");
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec![THERE.to_owned()];
    let server = rcgen::CertificateParams::new(names).expect("names").signed_by(&key, &issuer).expect("signed");
    let token = "only-for-this-test-only-for-this-test".to_owned();
    for (name, text) in
        [("ca.pem", root.pem()), ("cert.pem", server.pem()), ("key.pem", key.serialize_pem()), ("token", token)]
    {
        fs::write(folder.join(name), text).expect("written");
    }
    fs::set_permissions(folder.join("token"), fs::Permissions::from_mode(0o600)).expect("a mode");
}

type Name = (String, u64, u64);

/// Everything a reader of a site's rings is owed, by name.
struct Reader {
    client: Client,
    records: BTreeMap<Name, Vec<u64>>,
    last: BTreeMap<String, (u64, u64)>,
    overruns: usize,
}

impl Reader {
    fn open(site: &Site) -> Reader {
        let subscription = Subscription { from: Start::Oldest, heartbeats: true, ..Subscription::default() };
        let source = Source::Rings(site.rings.path().to_owned());
        let client = Client::open(source, subscription, ClientOptions::default()).expect("a reader");
        Reader { client, records: BTreeMap::new(), last: BTreeMap::new(), overruns: 0 }
    }

    fn read(&mut self) {
        let Reader { client, records, last, overruns } = self;
        let mut told = 1;
        while told > 0 {
            told = client
                .poll(|delivery, words| {
                    if matches!(Record::read(words), Ok(Record::Overrun(_))) {
                        *overruns += 1;
                    } else if !delivery.catch_up {
                        let venue = delivery.venue.name().to_owned();
                        let at = (delivery.envelope.epoch, delivery.envelope.sequence);
                        let before = last.insert(venue.clone(), at);
                        assert!(before.is_none_or(|before| before < at), "{venue}: {at:?} came after {before:?}");
                        records.insert((venue, at.0, at.1), words.to_vec());
                    }
                })
                .expect("rings can be read");
        }
    }

    /// Reads until it is as far as another.
    fn reach(&mut self, other: &Reader) {
        wait_for("the records of the other machine", || {
            self.read();
            other.last.iter().all(|(venue, at)| self.last.get(venue).is_some_and(|mine| mine >= at)).then_some(())
        });
    }
}

#[test]
fn a_cut_link_between_two_machines_loses_nothing_that_is_held() {
    let link = match Link::make() {
        Ok(link) => link,
        Err(why) => return eprintln!("SKIPPED two machines: needs root and network namespaces: {why}"),
    };
    let keys = tempfile::tempdir().expect("a folder");
    secrets(keys.path());
    let file = |name: &str| keys.path().join(name);
    let there = Site::new(&format!(
        "[relay.tcp]\nlisten = \"{THERE}:{PORT}\"\ncertificate = {:?}\nkey = {:?}\ntoken_file = {:?}\n",
        file("cert.pem"),
        file("key.pem"),
        file("token")
    ));
    let here = Site::new(&format!(
        "[venues.kraken]\nenabled = false\nsymbols = [\"BTC-USD\"]\n\
         [venues.binance]\nenabled = false\nsymbols = [\"BTC-USDT\"]\n\
         [bridge.there]\naddress = \"{THERE}:{PORT}\"\nca = {:?}\ntoken_file = {:?}\n\
         venues = [\"kraken\", \"binance\"]\nsilence_s = 2\n",
        file("ca.pem"),
        file("token")
    ));
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
    assert_eq!((original.overruns, repeated.overruns), (0, 0), "the rings were long enough");
    let mut trades = 0;
    for (name, words) in &original.records {
        assert_eq!(repeated.records.get(name), Some(words), "{name:?}");
        trades += u64::from(words[0] as u8 == RecordType::Trade as u8);
    }
    assert!(trades > 0, "nothing but control records was told");
    eprintln!(
        "two machines, {CUTS} cuts of {} s: {} records, {trades} of them trades, every one once and in order",
        CUT_FOR.as_secs(),
        original.records.len()
    );
}
