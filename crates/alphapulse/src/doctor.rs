//! `alphapulse doctor`: what this machine has and lacks, with what to do about each lack.

use crate::config::Config;
use std::{fs, net::TcpListener, path::Path, process::ExitCode};

/// What a check found.
enum Finding {
    Good(String),
    /// Works, but not as well as it could.
    Advice(String),
    Bad(String),
}

/// Runs the subcommand.
pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let mut bad = 0;
    for (name, finding) in [
        ("configuration", Finding::Good(format!("in order, {} venues", config.venues.len()))),
        ("cores", cores(config)),
        ("shared memory", shared_memory(config)),
        ("state folder", writable(&config.paths.state)),
        ("relay socket", socket(&config.relay_socket())),
        ("gateway port", port(&config.gateway.listen)),
        ("clock", clock()),
        ("certificates", certificates(config)),
    ] {
        let (mark, text) = match finding {
            Finding::Good(text) => ("ok  ", text),
            Finding::Advice(text) => ("note", text),
            Finding::Bad(text) => {
                bad += 1;
                ("BAD ", text)
            }
        };
        println!("{mark} {name:<14} {text}");
    }
    Ok(ExitCode::from(u8::from(bad > 0)))
}

fn cores(config: &Config) -> Finding {
    let mut pinned: Vec<(usize, &str)> =
        config.venues.iter().filter(|(_, v)| v.enabled).filter_map(|(name, v)| Some((v.cpu?, &name[..]))).collect();
    pinned.sort_unstable();
    if let Some(two) = pinned.windows(2).find(|two| two[0].0 == two[1].0) {
        let (cpu, one, other) = (two[0].0, two[0].1, two[1].1);
        return Finding::Advice(format!("{one} and {other} are both kept on processor {cpu} and will share it"));
    }
    let kept: Vec<String> = pinned.iter().map(|(cpu, name)| format!("{name} on {cpu}")).collect();
    let kept = if kept.is_empty() { String::new() } else { format!("; kept: {}", kept.join(", ")) };
    match std::thread::available_parallelism().map(std::num::NonZero::get) {
        Ok(1) => Finding::Advice("1 core: feeds and consumers will share it".to_owned()),
        Ok(n) => Finding::Good(format!("{n} cores{kept}")),
        Err(e) => Finding::Advice(format!("their number cannot be learned: {e}")),
    }
}

fn shared_memory(config: &Config) -> Finding {
    let folder = &config.paths.rings;
    let parent = folder.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let stat = match rustix::fs::statvfs(parent) {
        Ok(stat) => stat,
        Err(e) => return Finding::Bad(format!("{} cannot be looked at: {e}", parent.display())),
    };
    let free = stat.f_bavail * stat.f_frsize;
    let needed = (config.ring.slots * 64 + 4096) * config.venues.values().filter(|v| v.enabled).count() as u64;
    let text = format!("{} has {} MiB free, the rings need {} MiB", parent.display(), free >> 20, (needed >> 20) + 1);
    if free < needed {
        return Finding::Bad(format!("{text}; lower ring.slots or make it larger (mount -o remount,size=…)"));
    }
    if !fs::read_to_string("/proc/mounts").is_ok_and(|mounts| on_tmpfs(&mounts, folder)) {
        return Finding::Advice(format!("{text}; it is no memory file system, so the disk may be written"));
    }
    Finding::Good(text)
}

fn on_tmpfs(mounts: &str, folder: &Path) -> bool {
    let mount = |line: &str| {
        let mut parts = line.split(' ').skip(1);
        let (point, kind) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        folder.starts_with(&point).then_some((point.len(), kind))
    };
    mounts.lines().filter_map(mount).max().is_some_and(|(_, kind)| kind == "tmpfs" || kind == "ramfs")
}

fn writable(folder: &Path) -> Finding {
    let probe = folder.join(".doctor");
    let tried = fs::create_dir_all(folder).and_then(|()| fs::write(&probe, b"")).and_then(|()| fs::remove_file(&probe));
    match tried {
        Ok(()) => Finding::Good(folder.display().to_string()),
        Err(e) => {
            Finding::Bad(format!("{} cannot be written: {e}; set paths.state to a folder of yours", folder.display()))
        }
    }
}

fn socket(path: &Path) -> Finding {
    match path.as_os_str().len() {
        n if n > relay::SOCKET_PATH_MAX => Finding::Bad(format!(
            "{} has {n} bytes, a socket path may have {}; set relay.socket to a shorter one",
            path.display(),
            relay::SOCKET_PATH_MAX
        )),
        _ => Finding::Good(path.display().to_string()),
    }
}

fn port(address: &str) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::Good(format!("{address} is free")),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
            Finding::Advice(format!("{address} is taken, by a running gateway or by another program"))
        }
        Err(e) => Finding::Bad(format!("{address} cannot be listened on: {e}; set gateway.listen")),
    }
}

fn clock() -> Finding {
    let source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    match source.as_deref().map(str::trim) {
        Ok("tsc" | "kvm-clock" | "arch_sys_counter" | "hyperv_clocksource_tsc_page") => {
            Finding::Good("read without a system call".to_owned())
        }
        Ok(other) => Finding::Advice(format!("clock source {other} may cost a system call for each reading")),
        Err(_) => Finding::Advice("the clock source cannot be learned".to_owned()),
    }
}

fn certificates(config: &Config) -> Finding {
    let options = feed::transport::TlsOptions { extra_roots: config.tls.extra_roots.clone() };
    match feed::transport::TlsClient::new(&options) {
        Ok(_) => Finding::Good(format!("the public roots and {} files of yours", options.extra_roots.len())),
        Err(e) => Finding::Bad(e.to_string()),
    }
}
