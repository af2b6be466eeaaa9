//! The chaos proxy over loopback sockets: each action does to the bytes what its line in the journal says, and the same
//! seed does the same.

use emulator::chaos::{Address, Handle, Options, Proxy, Script};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A journal that can be read while it is written.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<u8>>>);

impl Write for Journal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Journal {
    /// The deeds without their times, one direction behind the other, in order.
    fn deeds(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().expect("a lock").clone()).expect("text");
        let mut deeds: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        deeds.iter_mut().for_each(|deed| {
            deed.as_object_mut().expect("an object").remove("at_ms");
        });
        deeds.sort_by_key(|deed| (deed["connection"].as_u64(), deed["direction"].to_string()));
        deeds
    }

    fn of(&self, direction: &str, action: &str) -> Vec<Value> {
        let all = self.deeds().into_iter();
        all.filter(|deed| deed["direction"] == direction && deed["action"] == action).collect()
    }

    fn wait_for_ends(&self, ends: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.deeds().iter().filter(|deed| deed["action"] == "end").count() < ends {
            assert!(Instant::now() < deadline, "the connection never ended: {:?}", self.deeds());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What one side read, and what ended it if not the other side's word.
type Received = (Vec<u8>, Option<io::ErrorKind>);

/// A server that sends so many bytes to the first who connects, and returns what that one sent.
fn server(down: usize) -> (Address, JoinHandle<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = Address::Tcp(listener.local_addr().expect("an address").to_string());
    let thread = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        // A broken way may end either half.
        let _ = socket.write_all(&pattern(down)).and_then(|()| socket.shutdown(std::net::Shutdown::Write));
        read_all(&mut socket)
    });
    (address, thread)
}

fn read_all(socket: &mut impl Read) -> Received {
    let (mut all, mut piece) = (vec![], [0; 4096]);
    loop {
        match socket.read(&mut piece) {
            Ok(0) => return (all, None),
            Ok(n) => all.extend_from_slice(&piece[..n]),
            Err(error) => return (all, Some(error.kind())),
        }
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n * 7 % 251) as u8).collect()
}

struct Outcome {
    /// What came out at the server and at the client, and how it ended there.
    up: Received,
    down: Received,
    journal: Journal,
}

/// One connection that carries so many bytes each way.
fn run(script: &str, seed: u64, up: usize, down: usize) -> Outcome {
    let (to, server) = server(down);
    let journal = Journal::default();
    let proxy = start(script, seed, to, &journal);
    let mut client = connect(&proxy);
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut sender = client.try_clone().expect("a clone");
    let sending = thread::spawn(move || {
        let _ = sender.write_all(&pattern(up)).and_then(|()| sender.shutdown(std::net::Shutdown::Write));
    });
    let down = read_all(&mut client);
    sending.join().expect("sent");
    drop(client);
    let up = server.join().expect("served");
    journal.wait_for_ends(2);
    proxy.stop();
    Outcome { up, down, journal }
}

fn start(script: &str, seed: u64, to: Address, journal: &Journal) -> Handle {
    let script = Script::parse(script).expect("a script");
    let listen = Address::Tcp("127.0.0.1:0".to_owned());
    Proxy::start(Options { listen, to, script, seed, journal: Box::new(journal.clone()) }).expect("a proxy")
}

fn connect(proxy: &Handle) -> TcpStream {
    let Address::Tcp(address) = proxy.address() else { panic!("a port") };
    TcpStream::connect(address).expect("connected")
}

#[test]
fn without_a_script_everything_passes() {
    let o = run("", 1, 300_000, 500_000);
    assert_eq!((o.up, o.down), ((pattern(300_000), None), (pattern(500_000), None)));
    for (direction, bytes) in [("up", 300_000), ("down", 500_000)] {
        let end = &o.journal.of(direction, "end")[0];
        assert_eq!(
            (end["read"].as_u64(), end["passed"].as_u64(), &end["why"]),
            (Some(bytes), Some(bytes), &"eof".into())
        );
    }
}

#[test]
fn single_bytes_and_late_ones_arrive_whole() {
    let script = "[[rule]]\naction=\"split\"\nbytes=1\n[[rule]]\naction=\"delay\"\nms=5\njitter_ms=20\n\
                  [[rule]]\naction=\"bandwidth\"\nbytes_per_s=200000\ndirection=\"down\"";
    let o = run(script, 1, 5_000, 10_000);
    assert_eq!((o.up, o.down), ((pattern(5_000), None), (pattern(10_000), None)));
    for (direction, bytes) in [("up", 5_000), ("down", 10_000)] {
        for action in ["split", "delay"] {
            let hit = &o.journal.of(direction, action)[0];
            assert_eq!((hit["from"].as_u64(), hit["to"].as_u64()), (Some(0), Some(bytes)), "{action} {direction}");
        }
    }
    assert!(o.journal.of("up", "bandwidth").is_empty());
}

#[test]
fn damaged_bytes_are_the_ones_told() {
    let o = run("[[rule]]\naction=\"corrupt\"\nmean_bytes=1000\ndirection=\"down\"", 5, 1000, 100_000);
    assert_eq!(o.up.0, pattern(1000));
    let mut expected = pattern(100_000);
    let told = o.journal.of("down", "corrupt");
    for deed in &told {
        expected[deed["byte"].as_u64().expect("a byte") as usize] ^= 1 << deed["bit"].as_u64().expect("a bit");
    }
    assert_eq!(o.down.0, expected);
    assert!((50..200).contains(&told.len()), "about 100 were to be damaged: {}", told.len());
}

#[test]
fn a_reset_and_a_close_come_behind_the_bytes_told() {
    let o = run("[[rule]]\naction=\"reset\"\nat_byte=12345\ndirection=\"down\"", 1, 0, 50_000);
    assert_eq!(o.down, (pattern(12_345), Some(io::ErrorKind::ConnectionReset)));
    assert_eq!(o.journal.of("down", "reset")[0]["byte"], 12_345);
    let o = run("[[rule]]\naction=\"close\"\nat_byte=777\ndirection=\"down\"", 1, 0, 50_000);
    assert_eq!(o.down.0, pattern(777));
    assert_eq!(o.journal.of("down", "close")[0]["byte"], 777);
}

#[test]
fn a_half_open_way_swallows_what_it_says() {
    let o = run("[[rule]]\naction=\"half_open\"\ndirection=\"down\"\nfrom_byte=100\nto_byte=40000", 1, 10, 50_000);
    let whole = pattern(50_000);
    assert_eq!(o.down.0, [&whole[..100], &whole[40_000..]].concat());
    let hit = &o.journal.of("down", "half_open")[0];
    assert_eq!((hit["from"].as_u64(), hit["to"].as_u64()), (Some(100), Some(40_000)));
    let end = &o.journal.of("down", "end")[0];
    assert_eq!((end["read"].as_u64(), end["passed"].as_u64()), (Some(50_000), Some(10_100)));
}

#[test]
fn a_stalled_way_goes_on() {
    let o = run("[[rule]]\naction=\"stall\"\nfor_s=0.1\nevery_bytes=20000\ndirection=\"down\"", 1, 10, 50_000);
    assert_eq!(o.down.0, pattern(50_000));
    let at: Vec<_> = o.journal.of("down", "stall").iter().map(|deed| deed["byte"].as_u64()).collect();
    assert_eq!(at, [Some(20_000), Some(40_000)]);
}

#[test]
fn the_same_seed_does_the_same() {
    let script = "[[rule]]\naction=\"corrupt\"\nmean_bytes=500\n[[rule]]\naction=\"split\"\nup_to_bytes=300\n\
                  [[rule]]\naction=\"stall\"\nfor_s=0.005\nmean_bytes=9000\n\
                  [[rule]]\naction=\"reset\"\nmean_bytes=60000\ndirection=\"down\"";
    // Where a direction ends because the other was reset is a matter of time; what was done to the bytes is not.
    let done = |o: &Outcome| {
        let deeds = o.journal.deeds().into_iter().filter(|deed| deed["direction"] == "down" && deed["action"] != "end");
        deeds.collect::<Vec<_>>()
    };
    let (a, b, c) = (run(script, 3, 0, 200_000), run(script, 3, 0, 200_000), run(script, 4, 0, 200_000));
    assert_eq!((&a.down.0, done(&a)), (&b.down.0, done(&b)));
    assert!(done(&a).iter().any(|deed| deed["action"] == "reset") && a.down.0 != pattern(200_000));
    assert_ne!(done(&a), done(&c));
}

#[test]
fn unix_sockets_are_carried_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let (listen, to) = (folder.path().join("here"), folder.path().join("there"));
    let listener = UnixListener::bind(&to).expect("a socket");
    let echo = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        let (bytes, _) = read_all(&mut socket);
        socket.write_all(&bytes).expect("sent back");
    });
    let journal = Journal::default();
    let script = Script::parse("[[rule]]\naction=\"split\"\nbytes=3").expect("a script");
    let options = Options {
        listen: Address::Unix(listen.clone()),
        to: Address::Unix(to),
        script,
        seed: 1,
        journal: Box::new(journal.clone()),
    };
    let proxy = Proxy::start(options).expect("a proxy");
    let mut client = UnixStream::connect(&listen).expect("connected");
    client.write_all(&pattern(1000)).expect("sent");
    client.shutdown(std::net::Shutdown::Write).expect("half closed");
    assert_eq!(read_all(&mut client), (pattern(1000), None));
    echo.join().expect("echoed");
    proxy.stop();
    assert!(!listen.exists(), "the socket is removed");
}

#[test]
fn a_side_that_is_not_there_is_a_closed_connection() {
    let journal = Journal::default();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let proxy = start("", 1, Address::Tcp(free.to_string()), &journal);
    let mut client = connect(&proxy);
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert!(read_all(&mut client).0.is_empty());
    journal.wait_for_ends(1);
    assert_eq!(journal.of("up", "end")[0]["why"], "broken");
}
