//! What runs where: one small file per role in the state folder, for `status` and for tests. Never a lock: the rings
//! and sockets have their own.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A running role.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoleFile {
    /// The role, such as `feed-kraken`.
    pub role: String,
    /// Its process.
    pub pid: u32,
    /// When it began, ns since the Unix epoch.
    pub started: u64,
    /// Where it serves metrics.
    pub metrics: Option<SocketAddr>,
    /// Where it serves its users, if by an address or path.
    pub listen: Option<String>,
}

fn folder(state: &Path) -> PathBuf {
    state.join("run")
}

/// Announces a role; the guard takes the announcement back.
pub fn announce(state: &Path, file: &RoleFile) -> anyhow::Result<Announced> {
    let folder = folder(state);
    fs::create_dir_all(&folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    let path = folder.join(format!("{}.json", file.role));
    let temporary = path.with_extension("new");
    fs::write(&temporary, serde_json::to_vec_pretty(file)?)
        .and_then(|()| fs::rename(&temporary, &path))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(Announced { path, pid: file.pid })
}

/// Takes an announcement back when dropped, unless another process has announced the role since.
pub struct Announced {
    path: PathBuf,
    pid: u32,
}

impl Drop for Announced {
    fn drop(&mut self) {
        if read(&self.path).is_some_and(|f| f.pid == self.pid) {
            // Gone already is as good.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn read(path: &Path) -> Option<RoleFile> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// All announced roles, by name.
pub fn roles(state: &Path) -> Vec<RoleFile> {
    let Ok(entries) = fs::read_dir(folder(state)) else { return vec![] };
    let json = |p: &PathBuf| p.extension().is_some_and(|e| e == "json");
    let mut roles: Vec<_> = entries.flatten().map(|e| e.path()).filter(json).filter_map(|p| read(&p)).collect();
    roles.sort_by(|a, b| a.role.cmp(&b.role));
    roles
}

/// Whether a process with this id lives.
pub fn alive(pid: u32) -> bool {
    i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}
