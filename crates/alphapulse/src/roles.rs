//! The roles, wired from their parts: each subcommand is one process.

use crate::{
    config::{self, Config, EmulatorConfig, RelayTcp},
    metrics,
    run_dir::{self, Announced, RoleFile},
    signals, user, venue_name,
};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use emulator::{BookPace, EmulatedVenue, Rate, Times};
use feed::{
    Feed, FeedOptions, Stop, Waiting,
    backoff::{BackoffConfig, FirstRetry},
    transport::TlsOptions,
};
use model::Venue;
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::RecvTimeoutError,
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use telemetry::{Registry, clock};
use venues::SessionSettings;
use wire::Origin;

/// The build, as told in session records.
pub const BUILD: &str = concat!("alphapulse ", env!("CARGO_PKG_VERSION"));

/// An emulator answers a command at once; a stopped one never.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A feed holds one venue's connection and writes its ring.
#[derive(Args)]
pub struct FeedArgs {
    /// The venue.
    #[arg(value_parser = venue_name)]
    venue: Venue,
    /// Where the data comes from, as told in the records.
    #[arg(long, value_enum, default_value_t = OriginArg::Live)]
    origin: OriginArg,
}

/// The names of the origins on the command line.
pub const LIVE: &str = "live";
/// See [`LIVE`].
pub const SIMULATED: &str = "simulated";

/// Where the data comes from.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OriginArg {
    /// The venue itself.
    Live,
    /// An emulator.
    Simulated,
}

/// An emulator serves one venue's protocol over a generated or a recorded session.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct EmulatorArgs {
    /// Speak to a running one instead.
    #[command(subcommand)]
    pub command: Option<EmulatorCommand>,
    /// The venue to stand in for.
    #[arg(value_parser = venue_name, required = true)]
    pub venue: Option<Venue>,
    /// Let go wrong what this script says (TOML, see docs/emulator.md); the configuration's when not given.
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Take faults on this Unix socket; the configuration's when not given.
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
    /// Serve this recorded session (a .jsonl file, plain or gzip, with its .recv.tsv) instead of a generated one.
    #[arg(long, value_name = "FILE")]
    pub recorded: Option<PathBuf>,
    /// Serve at most so many frames a second; the configuration's rate when not given, 0 for as fast as possible.
    #[arg(long)]
    pub rate: Option<u32>,
    /// Multiply the recorded timing.
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// Start over at the end of a recorded session.
    #[arg(long = "loop")]
    pub looped: bool,
    /// Serve nothing: print how spreads, waiting times, sizes and depth of a generated session compare with these
    /// recorded ones (files or folders, each a session; none: the generated one alone).
    #[arg(long, value_name = "CAPTURE", num_args = 0.., conflicts_with = "recorded")]
    pub report: Option<Vec<PathBuf>>,
    /// Seconds of the generated session that a report looks at.
    #[arg(long, default_value_t = 300, requires = "report")]
    pub seconds: u64,
    /// Shift a recorded session's times to now.
    #[arg(long)]
    pub shift_to_now: bool,
}

/// What can be done with an emulator that runs already.
#[derive(Subcommand)]
pub enum EmulatorCommand {
    /// Send faults to a running emulator's control socket and print its answers, one JSON object a line.
    Fault {
        /// The socket, as given by --control.
        socket: PathBuf,
        /// Faults such as 'do = "lose", stream = "trade", count = 3' (TOML or JSON), or extents.
        #[arg(required = true)]
        commands: Vec<String>,
    },
}

/// Announces the role and starts its metrics.
pub fn begin(config: &Config, role: &str, registry: &Registry, listen: Option<String>) -> anyhow::Result<Announced> {
    signals::die_with_parent();
    let address = metrics::serve(config, role, registry.clone())?;
    let file = RoleFile {
        role: role.to_owned(),
        pid: std::process::id(),
        started: clock::wall_ns(),
        metrics: Some(address),
        listen,
    };
    run_dir::announce(&config.paths.state, &file)
}

/// Runs one venue's feed until it is asked to end.
pub fn feed(config: &Config, args: &FeedArgs) -> anyhow::Result<ExitCode> {
    let registry = Registry::new();
    let options = feed_options(config, args)?;
    let stop = Stop::new().context("an event descriptor cannot be had")?;
    let asked = stop.clone();
    signals::on_end(move || asked.stop())?;
    let _announced = begin(config, &format!("feed-{}", args.venue), &registry, None)?;
    let mut feed = Feed::open(options, stop, &registry)?;
    tracing::info!(venue = %args.venue, epoch = feed.epoch(), "feed begins");
    feed.run()?;
    tracing::info!(venue = %args.venue, "feed ended in order");
    Ok(ExitCode::SUCCESS)
}

fn feed_options(config: &Config, args: &FeedArgs) -> anyhow::Result<FeedOptions> {
    let venue = args.venue;
    let section = config.venue(venue)?;
    let spec = venues::spec(venue, &section.choices())?;
    let mut settings = section.settings(venue)?;
    let (ws_url, rest_url) = match args.origin {
        OriginArg::Live => live_urls(config, venue, spec)?,
        OriginArg::Simulated => {
            // Real keys are none of an emulator's business.
            settings.credentials = Some(config::emulator_keys());
            simulated_urls(config, venue)?
        }
    };
    let mut extra_roots = config.tls.extra_roots.clone();
    if args.origin == OriginArg::Simulated
        && let Some(section) = config.emulator.get(venue.name())
        && let Some(identity) = own_identity(config, section)?
    {
        extra_roots.push(identity.authority);
    }
    let capture = config
        .capture
        .enabled
        .then(|| capture::Options { keep: config.capture.keep(), ..capture::Options::new(config.capture_folder()) });
    Ok(FeedOptions {
        venue,
        ws_url,
        ws_url_b: section.ws_url_b.clone(),
        pair: section.pair,
        renew: (section.renew_s > 0).then(|| Duration::from_secs(section.renew_s.into())),
        cpu: section.cpu,
        rest_url: rest_url.trim_end_matches('/').to_owned(),
        settings,
        choices: section.choices(),
        session: SessionSettings {
            refresh: Duration::from_secs(section.refresh_s.max(1).into()),
            ..SessionSettings::default()
        },
        deflate: section.deflate,
        site: config.site.clone(),
        build: BUILD.to_owned(),
        origin: match args.origin {
            OriginArg::Live => Origin::Live,
            OriginArg::Simulated => Origin::Simulated,
        },
        ring_dir: config.paths.rings.clone(),
        ring_slots: config.ring.slots,
        state_dir: config.paths.state.clone(),
        capture,
        tls: TlsOptions { extra_roots },
        backoff: BackoffConfig {
            base: Duration::from_millis(config.reconnect.base_ms),
            cap: Duration::from_millis(config.reconnect.cap_ms),
            first: FirstRetry::AtOnce,
        },
        waiting: if section.spin { Waiting::Spin } else { Waiting::Block },
        seed: seed(),
    })
}

/// The endpoints of a live feed. A configured emulator is none: it would be told real keys, and its data called real.
fn live_urls(config: &Config, venue: Venue, spec: &venues::Spec) -> anyhow::Result<(String, String)> {
    let section = config.venue(venue)?;
    let or = |url: &str, default: &str| if url.is_empty() { default.to_owned() } else { url.to_owned() };
    let urls = (or(&section.ws_url, spec.ws_url), or(&section.rest_url, spec.rest_url));
    for url in [&urls.0, &urls.1, &section.ws_url_b] {
        if let Some((name, _)) = config.emulator.iter().find(|(_, e)| config::authority(url) == e.listen) {
            bail!(
                "{url} is the address of emulator.{name}; use --origin simulated, or set venues.{venue}.ws_url and rest_url to the venue's"
            );
        }
    }
    Ok(urls)
}

/// The endpoints of a simulated feed: those configured, or the emulator's. A venue's own is none: it would be told the
/// emulator's keys, and its data called simulated.
fn simulated_urls(config: &Config, venue: Venue) -> anyhow::Result<(String, String)> {
    let section = config.venue(venue)?;
    let (mut ws_url, mut rest_url) = (section.ws_url.clone(), section.rest_url.clone());
    if ws_url.is_empty() || rest_url.is_empty() {
        let emulator = config.emulator.get(venue.name()).with_context(|| {
            format!("a simulated feed needs venues.{venue}.ws_url and rest_url, or an emulator: [emulator.{venue}]")
        })?;
        let (ws, rest) = emulator_urls(venue, &section.choices(), emulator)?;
        ws_url = if ws_url.is_empty() { ws } else { ws_url };
        rest_url = if rest_url.is_empty() { rest } else { rest_url };
    }
    let own = venues::spec(venue, &section.choices())?;
    for (url, own) in [(&ws_url, own.ws_url), (&section.ws_url_b, own.ws_url), (&rest_url, own.rest_url)] {
        if config::authority(url) == config::authority(own) {
            bail!("{url} is the venue's own; a simulated feed speaks to an emulator");
        }
    }
    Ok((ws_url, rest_url))
}

/// Runs the relay until it is asked to end.
pub fn relay(config: &Config) -> anyhow::Result<ExitCode> {
    let registry = Registry::new();
    let socket = config.relay_socket();
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    let mut options = relay::ServerOptions::new(config.paths.rings.clone(), socket.clone());
    options.site = config.site.clone();
    options.journal = config.recorder.enabled.then(|| config.journal_folder());
    options.tcp = relay_tcp(&config.relay.tcp).context("relay.tcp")?;
    options.journal = Some(config.journal_folder());
    let server = relay::Server::bind(options)?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    signals::on_end(move || asked.store(true, Ordering::Release))?;
    let _announced = begin(config, "relay", &registry, Some(socket.display().to_string()))?;
    show_relay(&registry, server.stats())?;
    let tcp = server.tcp_address().map(|address| address.to_string());
    tracing::info!(socket = %socket.display(), tcp, "relay begins");
    server.run(&stop);
    tracing::info!("relay ended in order");
    Ok(ExitCode::SUCCESS)
}

fn relay_tcp(section: &RelayTcp) -> anyhow::Result<Option<relay::TcpOptions>> {
    if section.listen.is_empty() {
        return Ok(None);
    }
    let mut tcp = relay::TcpOptions::new(section.listen.parse().context("listen")?);
    if !section.certificate.as_os_str().is_empty() {
        tcp.identity = Some(relay::Identity { certificate: section.certificate.clone(), key: section.key.clone() });
    }
    tcp.token = token(&section.token_file)?;
    tcp.dead_after = Duration::from_secs(section.dead_after_s.into());
    Ok(Some(tcp))
}

/// The token in a file, if one is named.
pub fn token(file: &Path) -> anyhow::Result<Option<relay::Token>> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    Ok(Some(relay::Token::read(file)?))
}

/// How often a role's numbers are shown.
pub const SHOW_EVERY: Duration = Duration::from_millis(500);

/// Copies the relay's numbers into the metrics, one set of labels a client.
fn show_relay(registry: &Registry, stats: relay::StatsHandle) -> anyhow::Result<()> {
    let registry = registry.clone();
    let total = |name, help| registry.counter(name, help, &[]);
    let accepted = total("relay_accepted_total", "Connections accepted.");
    let refused = total("relay_refused_total", "Connections refused.");
    let bytes = total("relay_bytes_total", "Bytes handed to sockets.");
    let sent = total("relay_batches_total", "Batches handed to sockets.");
    let clients = registry.gauge("relay_clients", "Clients subscribed now.", &[]);
    let show = move || {
        let mut shown: Vec<String> = vec![];
        loop {
            let now = stats.get();
            accepted.set(now.accepted);
            refused.set(now.refused);
            bytes.set(now.bytes_sent);
            sent.set(now.batches_sent);
            clients.set(now.clients.len() as i64);
            let names: Vec<String> = now.clients.iter().map(relay::ClientStats::name).collect();
            for gone in shown.iter().filter(|name| !names.contains(name)) {
                registry.forget("client", gone);
            }
            for (client, name) in now.clients.iter().zip(&names) {
                let labels = [("client", name.as_str())];
                registry
                    .gauge("consumer_lag_slots", "Ring slots a client is behind.", &labels)
                    .set(client.lag_slots as i64);
                registry.counter("consumer_records_total", "Records told to a client.", &labels).set(client.delivered);
                registry
                    .counter("consumer_missed_total", "Records named in a client's overruns.", &labels)
                    .set(client.missed);
            }
            shown = names;
            std::thread::sleep(SHOW_EVERY);
        }
    };
    std::thread::Builder::new()
        .name("relay-metrics".to_owned())
        .spawn(show)
        .context("a thread for metrics cannot be had")?;
    Ok(())
}

/// Runs the gateway until it is asked to end.
pub fn gateway(config: &Config) -> anyhow::Result<ExitCode> {
    let registry = Registry::new();
    let store = Arc::new(user::store(config)?);
    // Where others can come, somebody makes the first user by hand and knows the password.
    if config.gateway.is_loopback() {
        user::first_run(&store)?;
    }
    let state = config.paths.state.clone();
    let health = move || {
        let health = |file: RoleFile| gateway::RoleHealth {
            alive: run_dir::alive(file.pid),
            role: file.role,
            pid: file.pid,
            started_ns: file.started,
        };
        run_dir::roles(&state).into_iter().map(health).collect()
    };
    let options = gateway::GatewayOptions {
        listen: config.gateway.listen.clone(),
        tls: config.gateway.tls(),
        names: config.gateway.names.clone(),
        source: relay::Source::Rings(config.paths.rings.clone()),
        registry: registry.clone(),
        store,
        configuration: serde_json::to_value(config).context("the configuration as JSON")?,
        roles: Arc::new(health),
    };
    let scheme = if options.tls.is_some() { "wss" } else { "ws" };
    let handle = gateway::Server::start(options)?;
    let address = handle.addr();
    let _announced = begin(config, "gateway", &registry, Some(format!("{scheme}://{address}/v1/stream")))?;
    tracing::info!(%address, "gateway begins");
    wait_for_end(|| {})?;
    handle.stop();
    tracing::info!("gateway ended in order");
    Ok(ExitCode::SUCCESS)
}

/// Blocks until the process is asked to end; `each` is called now and then.
fn wait_for_end(mut each: impl FnMut()) -> anyhow::Result<()> {
    let (asked, end) = std::sync::mpsc::channel();
    signals::on_end(move || {
        // The receiver lives until it is told.
        let _ = asked.send(());
    })?;
    loop {
        match end.recv_timeout(SHOW_EVERY) {
            Ok(()) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => each(),
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the signal thread ended"),
        }
    }
}

/// Runs one venue's emulator until it is asked to end.
pub fn emulator(config: &Config, args: &EmulatorArgs) -> anyhow::Result<ExitCode> {
    if let Some(EmulatorCommand::Fault { socket, commands }) = &args.command {
        return send_faults(socket, commands);
    }
    let name = args.venue.context("name a venue")?;
    let section = config.emulator.get(name.name()).cloned().unwrap_or_default();
    let venue = match name {
        Venue::Kraken => EmulatedVenue::Kraken,
        // One protocol, two venues.
        Venue::Binance | Venue::BinanceUs => EmulatedVenue::Binance,
        Venue::Coinbase => EmulatedVenue::Coinbase,
        Venue::Alpaca => EmulatedVenue::Alpaca,
    };
    let mut options = emulator::Options::new(venue);
    options.listen = section.listen.parse().with_context(|| {
        format!("emulator.{}.listen = {:?} is no address; write it as 127.0.0.1:7411", name, section.listen)
    })?;
    options.rate = match (args.rate, &args.recorded) {
        (Some(0), _) => Rate::FlatOut,
        (Some(rate), _) => Rate::FramesPerSecond(rate),
        (None, Some(_)) => Rate::Thousandths((args.speed.max(0.0) * 1000.0) as u32),
        (None, None) if section.frames_per_second == 0 => Rate::FlatOut,
        (None, None) => Rate::FramesPerSecond(section.frames_per_second),
    };
    let generated = emulator::GeneratedSession {
        seed: section.seed,
        instruments: section.instruments,
        levels: section.levels,
        trades_kept: section.trades_kept,
        lively: section.lively,
        tape: section.tape,
        hours: if section.exchange_hours { emulator::Hours::Exchange } else { emulator::Hours::Always },
        changes_every: (section.changes_every_s > 0).then(|| Duration::from_secs(section.changes_every_s)),
        book_pace: if section.load_mix { BookPace::Batched } else { BookPace::Venue },
        ..emulator::GeneratedSession::default()
    };
    if let Some(captures) = &args.report {
        use std::io::Write;
        let table = emulator::report(venue, &generated, options.rate, args.seconds, captures)?;
        std::io::stdout().write_all(table.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    options.session = match &args.recorded {
        Some(path) => emulator::Session::Recorded(emulator::RecordedSession {
            paths: vec![path.clone()],
            times: if args.shift_to_now { Times::Now } else { Times::Recorded },
            passes: if args.looped { None } else { Some(1) },
        }),
        None => emulator::Session::Generated(generated),
    };
    if !section.journal.as_os_str().is_empty() {
        options.journal = emulator::JournalOptions::Folder(section.journal.clone());
    }
    if let Some(identity) = own_identity(config, &section)? {
        tracing::info!(authority = %identity.authority.display(), "TLS under a CA of one's own; let clients trust it");
        options.tls = Some(identity.server);
    } else if !section.tls_certificate.as_os_str().is_empty() {
        options.tls =
            Some(emulator::TlsIdentity { certificate: section.tls_certificate.clone(), key: section.tls_key.clone() });
    }
    options.deflate = section.deflate;
    options.script = script(args.faults.as_ref().unwrap_or(&section.faults))?;
    options.control =
        Some(args.control.as_ref().unwrap_or(&section.control).clone()).filter(|p| !p.as_os_str().is_empty());
    let registry = Registry::new();
    let handle = emulator::Server::start(options)?;
    let address = handle.addr();
    let _announced = begin(config, &format!("emulator-{name}"), &registry, Some(address.to_string()))?;
    tracing::info!(venue = %name, %address, "emulator begins; everything it serves is simulated");
    let labels = [("venue", name.name())];
    let total = |name, help| registry.counter(name, help, &labels);
    let frames = total("emulator_frames_total", "Frames sent.");
    let bytes = total("emulator_bytes_total", "Bytes of frames sent.");
    let accepted = total("emulator_connections_total", "Connections taken, REST ones included.");
    let requests = total("emulator_requests_total", "REST requests answered.");
    wait_for_end(|| {
        let now = handle.stats();
        frames.set(now.frames);
        bytes.set(now.bytes);
        accepted.set(now.accepted);
        requests.set(now.requests);
    })?;
    handle.stop();
    Ok(ExitCode::SUCCESS)
}

/// The certificate of the emulators' own, where a section asks for it. All of a state folder share one.
fn own_identity(config: &Config, section: &EmulatorConfig) -> anyhow::Result<Option<emulator::LocalIdentity>> {
    let own = section.tls && section.tls_certificate.as_os_str().is_empty();
    Ok(own.then(|| emulator::LocalIdentity::at(&config.paths.state.join("emulator-tls"))).transpose()?)
}

/// Reads a script of faults; an empty path is none.
fn script(path: &Path) -> anyhow::Result<Vec<emulator::ScriptedFault>> {
    if path.as_os_str().is_empty() {
        return Ok(vec![]);
    }
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the script of faults {} cannot be read", path.display()))?;
    emulator::parse_script(&text).with_context(|| path.display().to_string())
}

/// Sends commands to an emulator's control socket, one by one.
fn send_faults(socket: &Path, commands: &[String]) -> anyhow::Result<ExitCode> {
    let no_answer = || format!("no emulator answers at {}; start one with --control", socket.display());
    let stream = UnixStream::connect(socket).with_context(no_answer)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut good = true;
    for command in commands {
        if command.contains('\n') {
            bail!("a command is one line; {command:?} has more");
        }
        writeln!(&stream, "{command}").with_context(no_answer)?;
        let mut answer = String::new();
        answers.read_line(&mut answer).with_context(no_answer)?;
        let read: serde_json::Value = serde_json::from_str(&answer).with_context(no_answer)?;
        match read["error"].as_str() {
            Some(error) => eprintln!("alphapulse: {error}"),
            None => println!("{}", answer.trim_end()),
        }
        good &= read["ok"] == true;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The WebSocket and REST addresses of a venue's emulator: the venue's own paths at the emulator's address.
pub fn emulator_urls(
    venue: Venue,
    choices: &[(String, String)],
    section: &EmulatorConfig,
) -> anyhow::Result<(String, String)> {
    let spec = venues::spec(venue, choices)?;
    let s = if section.tls || !section.tls_certificate.as_os_str().is_empty() { "s" } else { "" };
    let at = |scheme: &str, url: &str| format!("{scheme}{s}://{}{}", section.listen, config::path(url));
    Ok((at("ws", spec.ws_url), at("http", spec.rest_url)))
}

/// Jitter must differ between machines and starts; nothing else hangs on it.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
}
