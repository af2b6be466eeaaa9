//! One role of the program as a process of its own.

use super::{Site, kill, wait_for};
use std::{
    fs,
    process::{Child, ExitStatus, Stdio},
};

/// A role of the program, killed at the end of the test if not before.
pub struct Role(Child);

impl Role {
    /// Starts it with these settings over the site's own.
    pub fn start(site: &Site, args: &[&str], set: &[String]) -> Role {
        Role::start_with(site, args, set, &[])
    }

    /// The same with these variables in its environment.
    pub fn start_with(site: &Site, args: &[&str], set: &[String], variables: &[(&str, &str)]) -> Role {
        let log = fs::File::options().create(true).append(true).open(site.state.path().join("roles.log"));
        let mut command = site.command();
        command.envs(variables.iter().copied());
        for pair in set {
            command.args(["--set", pair]);
        }
        let command = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a log"));
        Role(command.spawn().expect("the program starts"))
    }

    /// The most memory it ever had, in KiB.
    pub fn memory_peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no peak in {status}"))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("waiting")
    }

    /// Asks for its end and does not wait.
    pub fn ask_to_end(&self) {
        kill(self.0.id(), "-TERM");
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.0.kill().expect("it lives until it is killed");
        self.0.wait().expect("it is dead");
    }

    /// Asks for its end and waits for it.
    pub fn stop(&mut self) {
        kill(self.0.id(), "-TERM");
        wait_for("the end of a role", || self.0.try_wait().expect("waiting"));
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // After an orderly end both calls find nothing left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
