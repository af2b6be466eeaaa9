//! A whole AlphaPulse in folders and ports of its own, for the tests that look at it from outside.
#![allow(dead_code, reason = "every test file is a crate of its own and uses its part")]

pub mod journal;
pub mod role;
pub mod running_feed;
pub mod two;

use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before a test gives up on it: a loaded machine is slow, a broken program is for ever.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn program() -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_alphapulse"));
    // What the tester's shell sets must not leak in.
    let ours = |key: &str| ["ALPHAPULSE_", "ALPACA_", "COINBASE_"].iter().any(|prefix| key.starts_with(prefix));
    for (key, _) in std::env::vars().filter(|(k, _)| ours(k)) {
        c.env_remove(key);
    }
    c
}

/// The recorded data, or `None` with a word about it.
pub fn data(test: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os("ALPHAPULSE_TEST_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    if folder.join("venues").is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED {test}: {} is not there", folder.display());
    None
}

/// A folder for one installation, removed at the end. Rings go to shared memory where there is one.
pub struct Site {
    pub state: tempfile::TempDir,
    pub rings: tempfile::TempDir,
    pub config: PathBuf,
}

/// Ports that were free a moment ago, all different. Below the range from which the system takes ports for
/// connections, so that none of the many on a busy machine takes one before its server does.
pub fn free_ports(n: usize) -> Vec<u16> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let candidates = std::iter::repeat_with(|| {
        let step = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        10_000 + (start.wrapping_add(step) % 20_000) as u16
    });
    candidates.filter(free).take(n).collect()
}

/// The venues of the demo.
pub const VENUES: [&str; 4] = ["alpaca", "binance", "coinbase", "kraken"];

impl Site {
    /// A demo of Kraken and Binance, with extra lines of TOML at the end.
    pub fn new(extra: &str) -> Site {
        let off: String = ["alpaca", "coinbase"]
            .iter()
            .filter(|venue| !extra.contains(&format!("[venues.{venue}]")))
            .map(|venue| format!("[venues.{venue}]\nenabled = false\n"))
            .collect();
        Site::all(&format!("{off}{extra}"))
    }

    /// A demo of all venues, with extra lines of TOML at the end.
    pub fn all(extra: &str) -> Site {
        let state = tempfile::tempdir().expect("a folder");
        let shm = Path::new("/dev/shm");
        let rings = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.expect("a folder");
        let ports = free_ports(1 + VENUES.len());
        let config = state.path().join("alphapulse.toml");
        let emulator = |(venue, port): (&&str, &u16)| {
            let journal = state.path().join(format!("journal-{venue}"));
            format!("[emulator.{venue}]\nlisten = \"127.0.0.1:{port}\"\njournal = {journal:?}\n")
        };
        let text = format!(
            "[paths]\nstate = {:?}\nrings = {:?}\n[ring]\nslots = 65536\n[metrics]\nbase_port = 0\n\
             [journal]\nsegment_mib = 4\nretain_mib = 64\n[gateway]\nlisten = \"127.0.0.1:{}\"\n{}{extra}\n",
            state.path(),
            rings.path(),
            ports[0],
            VENUES.iter().zip(&ports[1..]).map(emulator).collect::<String>(),
        );
        fs::write(&config, text).expect("written");
        Site { state, rings, config }
    }

    pub fn command(&self) -> Command {
        let mut c = program();
        c.arg("--config").arg(&self.config);
        c
    }

    pub fn output(&self, args: &[&str]) -> Output {
        self.command().args(args).stdin(Stdio::null()).output().expect("the program runs")
    }

    /// The announced roles: name and process.
    pub fn roles(&self) -> Vec<(String, u32)> {
        let Ok(entries) = fs::read_dir(self.state.path().join("run")) else { return vec![] };
        let read = |p: PathBuf| -> Option<(String, u32)> {
            let v: Value = serde_json::from_slice(&fs::read(p).ok()?).ok()?;
            Some((v["role"].as_str()?.to_owned(), u32::try_from(v["pid"].as_u64()?).ok()?))
        };
        let mut roles: Vec<_> = entries.flatten().map(|e| e.path()).filter_map(read).collect();
        roles.sort();
        roles
    }

    pub fn pid(&self, role: &str) -> Option<u32> {
        self.roles().into_iter().find(|(r, _)| r == role).map(|(_, pid)| pid)
    }
}

/// A running `alphapulse up`, ended in order at the end of the test.
pub struct Up {
    child: Child,
}

impl Up {
    pub fn start(site: &Site, args: &[&str]) -> Up {
        let log = fs::File::create(site.state.path().join("up.log")).expect("a log");
        let words = fs::File::create(site.state.path().join("up.out")).expect("a file");
        let child = site
            .command()
            .arg("up")
            .args(args)
            .stdin(Stdio::null())
            .stdout(words)
            .stderr(log)
            .spawn()
            .expect("the program starts");
        Up { child }
    }

    /// Asks for the end and returns the exit status.
    pub fn stop(mut self) -> Option<i32> {
        kill(self.child.id(), "-TERM");
        let status = wait_for("the end of up", || self.child.try_wait().expect("waiting"));
        status.code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        kill(self.child.id(), "-TERM");
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        // After an orderly end both calls find nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn kill(pid: u32, signal: &str) {
    // The process may be gone already.
    let _ = Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Looks again until there is an answer.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s for {what}", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
}

/// A running tap whose lines are read one by one.
pub struct Tap {
    child: Child,
    lines: std::sync::mpsc::Receiver<Value>,
}

impl Tap {
    pub fn start(site: &Site, args: &[&str]) -> Tap {
        let mut child = site
            .command()
            .arg("tap")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (sender, lines) = std::sync::mpsc::channel();
        let out = child.stdout.take().expect("piped");
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Tap { child, lines }
    }

    /// The next line that the test looks for.
    pub fn find(&self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { panic!("tap never told {what}") };
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Everything told so far.
    pub fn drain(&self) -> Vec<Value> {
        self.lines.try_iter().collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
