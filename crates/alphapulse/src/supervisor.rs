//! `alphapulse up`: every role as a child process of this one, restarted when it dies, stopped loudly when it keeps
//! dying. A fault in one venue stays in its process.

use crate::{
    config::Config,
    metrics, roles,
    run_dir::{self, RoleFile},
    signals, user,
};
use anyhow::{Context, bail};
use clap::Args;
use model::Venue;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use telemetry::{Counter, Gauge, Registry};

/// Without --live, everything runs against the built-in emulators and every record says it is simulated.
#[derive(Args)]
pub struct UpArgs {
    /// Connect to the venues' public feeds instead of the emulators.
    #[arg(long)]
    live: bool,
}

/// The first restart comes after this, so that a child is back within two seconds; it doubles with each quick death.
const RESTART_BASE: Duration = Duration::from_millis(200);
const RESTART_CAP: Duration = Duration::from_secs(10);
/// So many deaths within the window, and the role is given up: something is wrong that a restart does not mend.
const DEATHS_MAX: usize = 6;
const DEATHS_WINDOW: Duration = Duration::from_secs(60);
/// Time for a child to end in order before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the gateway may take to listen before the link is printed anyway.
const GATEWAY_WAIT: Duration = Duration::from_secs(3);
/// Who tries the demo wants to query what it recorded soon.
const DEMO_PART_S: u32 = 10;

/// One supervised role.
struct Role {
    name: String,
    args: Vec<String>,
    state: State,
    deaths: VecDeque<Instant>,
    /// How often it died, and whether it runs, for the metrics.
    died: Counter,
    running: Gauge,
}

enum State {
    Running(Child),
    Waiting { until: Instant },
    GivenUp,
}

/// Runs the subcommand.
pub fn up(mut config: Config, args: &UpArgs) -> anyhow::Result<ExitCode> {
    let mut venues = enabled(&config)?;
    if args.live {
        venues = with_keys(&config, venues)?;
    }
    if venues.is_empty() && config.bridge.is_empty() {
        bail!(
            "no venue is enabled; set venues.NAME.enabled = true for at least one, or bridge one from another machine"
        );
    }
    refuse_two_writers(&config, &venues)?;
    if !args.live {
        point_at_emulators(&mut config, &venues)?;
        config.parquet.part_s = config.parquet.part_s.min(DEMO_PART_S);
    }
    let file = write_config(&config)?;
    let mut names: Vec<(String, Vec<String>)> = vec![];
    if !args.live {
        names
            .extend(venues.iter().map(|v| (format!("emulator-{v}"), vec!["emulator".to_owned(), v.name().to_owned()])));
    }
    let origin = if args.live { roles::LIVE } else { roles::SIMULATED };
    names.extend(venues.iter().map(|v| {
        let feed = ["feed", v.name(), "--origin", origin].map(str::to_owned);
        (format!("feed-{v}"), feed.to_vec())
    }));
    names.extend(config.bridge.keys().map(|name| (format!("bridge-{name}"), vec!["bridge".to_owned(), name.clone()])));
    if config.recorder.enabled {
        names.push(("recorder".to_owned(), vec!["recorder".to_owned()]));
    }
    names.push(("relay".to_owned(), vec!["relay".to_owned()]));
    names.push(("gateway".to_owned(), vec!["gateway".to_owned()]));

    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    signals::on_end(move || asked.store(true, Ordering::Release))?;
    if let Some(other) = run_dir::roles(&config.paths.state).iter().find(|r| r.role == "up" && run_dir::alive(r.pid)) {
        bail!(
            "alphapulse is already up as process {}; stop it first, or use another paths.state and paths.rings",
            other.pid
        );
    }
    let registry = Registry::new();
    let role = RoleFile {
        role: "up".to_owned(),
        pid: std::process::id(),
        started: telemetry::clock::wall_ns(),
        metrics: Some(metrics::serve(&config, "up", registry.clone())?),
        listen: None,
    };
    let _announced = run_dir::announce(&config.paths.state, &role)?;
    let store = user::store(&config)?;
    if config.gateway.is_loopback() {
        user::first_run(&store)?;
    }
    let mut roles: Vec<Role> = vec![];
    for (name, args) in names {
        let state = State::Running(start(&file, &name, &args)?);
        let labels = [("role", name.as_str())];
        let died = registry.counter("role_deaths_total", "Times a role's process ended unasked.", &labels);
        let running = registry.gauge("role_running", "1 while a role's process runs.", &labels);
        running.set(1);
        roles.push(Role { name, args, state, deaths: VecDeque::new(), died, running });
    }
    welcome(&config, args.live);
    welcome_in(&config, &store);
    drop(store);
    let code = watch(&file, &mut roles, &stop);
    shut_down(&mut roles);
    Ok(code)
}

fn enabled(config: &Config) -> anyhow::Result<Vec<Venue>> {
    let named = config.venues.iter().filter(|(_, v)| v.enabled).map(|(name, _)| name.parse::<Venue>());
    named.collect::<Result<_, _>>().context("[venues]")
}

/// A ring has one writer: a venue is either fed here or repeated from one other machine.
fn refuse_two_writers(config: &Config, fed: &[Venue]) -> anyhow::Result<()> {
    let mut writers: Vec<(Venue, String)> = fed.iter().map(|venue| (*venue, format!("venues.{venue}"))).collect();
    for (name, bridge) in &config.bridge {
        for venue in bridge.venues()? {
            if let Some((_, other)) = writers.iter().find(|(taken, _)| *taken == venue) {
                bail!(
                    "bridge.{name} repeats {venue}, which {other} writes already; take it out of bridge.{name}.venues, \
                     or set venues.{venue}.enabled = false"
                );
            }
            writers.push((venue, format!("bridge.{name}")));
        }
    }
    Ok(())
}

/// The venues that can be spoken to; one that wants keys we do not have is left out, and that is said.
fn with_keys(config: &Config, venues: Vec<Venue>) -> anyhow::Result<Vec<Venue>> {
    let mut usable = vec![];
    for venue in venues {
        match config.missing_keys(venue)? {
            Some(variables) => println!("{}", disabled(venue, variables)),
            None => usable.push(venue),
        }
    }
    Ok(usable)
}

/// How a venue without its keys is told.
pub fn disabled(venue: Venue, variables: &str) -> String {
    format!("{venue}: disabled, no credentials; set {variables}")
}

/// The demo: every venue's endpoint is its emulator. There is no third state between this and `--live`.
fn point_at_emulators(config: &mut Config, venues: &[Venue]) -> anyhow::Result<()> {
    for venue in venues {
        let Some(emulator) = config.emulator.get(venue.name()) else {
            bail!("the demo has no emulator for {venue}; add [emulator.{venue}] or disable the venue");
        };
        let section = config.venues.get_mut(venue.name()).context("an enabled venue has a section")?;
        let (ws, rest) = roles::emulator_urls(*venue, &section.choices(), emulator)?;
        (section.ws_url, section.rest_url) = (ws, rest);
        section.ws_url_b.clear();
    }
    Ok(())
}

/// The configuration in force, for the children.
fn write_config(config: &Config) -> anyhow::Result<PathBuf> {
    let folder = config.paths.state.join("run");
    fs::create_dir_all(&folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    let path = folder.join("config.toml");
    fs::write(&path, toml::to_string_pretty(config)?)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(path)
}

fn start(file: &Path, name: &str, args: &[String]) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new(program);
    // An account's keys go to nobody but the feed that speaks to a venue.
    if !args.iter().any(|arg| arg == roles::LIVE) {
        crate::config::key_variables().for_each(|name| {
            command.env_remove(name);
        });
    }
    command
        .arg("--config")
        .arg(file)
        .args(args)
        .env(signals::CHILD_ENV, std::process::id().to_string())
        .spawn()
        .with_context(|| format!("{name} cannot be started"))
}

fn welcome(config: &Config, live: bool) {
    let mode = if live { "LIVE: the venues' public feeds" } else { "SIMULATED: the built-in emulators" };
    println!("AlphaPulse is up. {mode}.");
    println!("  the stream in this terminal    alphapulse tap");
    println!("  what runs, ages and lags       alphapulse status");
    println!("  JSON over WebSocket            ws://{}/v1/stream", config.gateway.listen);
    println!("  records on a Unix socket       {}", config.relay_socket().display());
    println!("  rings in shared memory         {}", config.paths.rings.display());
    println!("  a key for your scripts         alphapulse key create");
    if config.recorder.enabled {
        println!("  the journal of everything      {}", config.journal_folder().display());
    }
    if config.recorder.enabled && config.parquet.enabled {
        println!("  Parquet files for any tool     {}", config.parquet_folder().display());
    }
    println!("Ctrl-C ends everything in order.");
}

/// Prints the link that logs the newcomer in, once the gateway listens.
fn welcome_in(config: &Config, store: &gateway::Store) {
    let listens = |role: &RoleFile| role.role == "gateway" && run_dir::alive(role.pid);
    let deadline = Instant::now() + GATEWAY_WAIT;
    while !run_dir::roles(&config.paths.state).iter().any(listens) && Instant::now() < deadline {
        thread::sleep(LOOK_EVERY);
    }
    match user::newcomer_link(config, store) {
        Ok(link) => println!("Log in once, within ten minutes:  {link}"),
        Err(e) => println!("No link to log in could be made: {e:#}"),
    }
}

/// Restarts what dies until asked to stop. Ends with a failure when every role was given up.
fn watch(file: &Path, roles: &mut [Role], stop: &AtomicBool) -> ExitCode {
    while !stop.load(Ordering::Acquire) {
        for role in roles.iter_mut() {
            look(file, role);
        }
        if roles.iter().all(|r| matches!(r.state, State::GivenUp)) {
            tracing::error!("every role has been given up; nothing is left to watch");
            return ExitCode::from(1);
        }
        thread::sleep(LOOK_EVERY);
    }
    if roles.iter().any(|r| matches!(r.state, State::GivenUp)) { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn look(file: &Path, role: &mut Role) {
    let now = Instant::now();
    match &mut role.state {
        State::GivenUp => {}
        State::Waiting { until } if now < *until => {}
        State::Waiting { .. } => match start(file, &role.name, &role.args) {
            Ok(child) => {
                tracing::info!(role = role.name, pid = child.id(), "restarted");
                role.running.set(1);
                role.state = State::Running(child);
            }
            Err(e) => died(role, now, &format!("{e:#}")),
        },
        State::Running(child) => match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => died(role, now, &describe(status)),
            Err(e) => died(role, now, &format!("its end cannot be learned: {e}")),
        },
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status.signal() {
        Some(signal) => format!("killed by signal {signal}"),
        None => status.to_string(),
    }
}

/// Plans the restart, or gives the role up.
fn died(role: &mut Role, now: Instant, how: &str) {
    role.died.add(1);
    role.running.set(0);
    role.deaths.push_back(now);
    while role.deaths.front().is_some_and(|first| now.duration_since(*first) > DEATHS_WINDOW) {
        role.deaths.pop_front();
    }
    let deaths = role.deaths.len();
    if deaths >= DEATHS_MAX {
        tracing::error!(
            role = role.name,
            "{how}; it died {deaths} times within {} s and is not started again: mend the cause and start up anew",
            DEATHS_WINDOW.as_secs()
        );
        role.state = State::GivenUp;
        return;
    }
    let wait = RESTART_BASE.saturating_mul(1 << (deaths - 1).min(16)).min(RESTART_CAP);
    tracing::warn!(role = role.name, "{how}; it starts again in {:.1} s", wait.as_secs_f64());
    role.state = State::Waiting { until: now + wait };
}

/// Ends the roles in order: feeds tell the end of their runs while their readers still live, the recorder with them;
/// emulators go last.
fn shut_down(roles: &mut [Role]) {
    for prefix in ["feed-", "bridge-", "recorder", "gateway", "relay", "emulator-"] {
        let mut ending: Vec<&mut Role> = roles.iter_mut().filter(|r| r.name.starts_with(prefix)).collect();
        for role in &ending {
            if let State::Running(child) = &role.state
                && let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
            {
                // Gone already is as good.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        for role in &mut ending {
            if let State::Running(child) = &mut role.state {
                wait_or_kill(&role.name, child, deadline);
            }
        }
    }
}

fn wait_or_kill(name: &str, child: &mut Child, deadline: Instant) {
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return,
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            _ => break,
        }
    }
    tracing::error!(role = name, "did not end within {} s and is killed", STOP_TIMEOUT.as_secs());
    if let Err(e) = child.kill().and_then(|()| child.wait().map(drop)) {
        tracing::error!(role = name, "cannot be killed: {e}");
    }
}
