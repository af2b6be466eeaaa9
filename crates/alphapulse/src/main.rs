//! `alphapulse`: one binary, one subcommand a role, and the tools a trader or a script needs beside them.
#![forbid(unsafe_code)]

mod bars;
mod bench;
mod book;
mod bridge;
mod capture;
mod chaos;
mod config;
mod decode;
mod doctor;
mod metrics;
mod recorded;
mod recorder;
mod replay;
mod roles;
mod run_dir;
mod signals;
mod status;
mod supervisor;
mod tap;
mod user;
mod verify;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use model::Venue;
use std::{path::PathBuf, process::ExitCode};

/// A self-hosted market-data plant: feeds, rings, relay and tools.
#[derive(Parser)]
#[command(name = "alphapulse", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Clone)]
struct Global {
    /// Configuration file (TOML). Environment variables ALPHAPULSE_SECTION__KEY go over it, --set over both.
    #[arg(long, short, global = true, env = "ALPHAPULSE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one configuration key, such as ring.slots=65536. May be repeated.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything: the demo against built-in emulators, or with --live the venues' public feeds.
    Up(supervisor::UpArgs),
    /// Show what runs, with epochs, lags and ages.
    Status(status::StatusArgs),
    /// Check that this machine can run AlphaPulse, and say what to do where it cannot.
    Doctor,
    /// Run one venue's feed.
    Feed(roles::FeedArgs),
    /// Run the relay: fan-out of the rings to sockets, and to other machines where relay.tcp says so.
    Relay,
    /// Repeat another machine's rings here, as its section [bridge.NAME] says.
    Bridge(bridge::BridgeArgs),
    /// Run the recorder: everything the rings carry into the journal, and from there into Parquet files.
    Recorder,
    /// Run the gateway: REST and JSON over WebSocket.
    Gateway,
    /// Manage the gateway's users.
    User {
        #[command(subcommand)]
        command: user::UserCommand,
    },
    /// Manage API keys, which scripts log in with.
    Key {
        #[command(subcommand)]
        command: user::KeyCommand,
    },
    /// Make a token for a script that runs for minutes, and print it.
    Token(user::TokenArgs),
    /// Prove or print the log of who changed what.
    Audit {
        #[command(subcommand)]
        command: user::AuditCommand,
    },
    /// Run one venue's emulator. Everything it serves is simulated.
    Emulator(roles::EmulatorArgs),
    /// Put a bad way between two processes: slow, narrow, in pieces, damaged, half-open, stalled, broken.
    Chaos(chaos::ChaosArgs),
    /// Show an instrument's book as it is now, live in the terminal.
    Book(book::BookArgs),
    /// Add an instrument's trades up to bars, and tell what they say beside: live, or over recordings.
    Bars(Box<bars::BarsArgs>),
    /// Print the live stream, one JSON record a line.
    Tap(tap::TapArgs),
    /// Turn a venue's raw frames (one a line, gzip understood) into JSON records, one a line.
    Decode(decode::DecodeArgs),
    /// Raw captures of what venues sent: list, print, check, replay, rebuild and compare, import.
    Capture {
        #[command(subcommand)]
        command: capture::CaptureCommand,
    },
    /// Tell what was recorded again, in the order of time and at any speed: as lines, batches or rings, or by an emulator.
    Replay(replay::ReplayArgs),
    /// Verify what is told: exit status 0 only when nothing disagrees.
    Verify {
        #[command(subcommand)]
        command: verify::VerifyCommand,
    },
    /// Measure a part beside its reference, interleaved in one run: parse, book, bars, record, ring, table, relay, e2e, steady, capture.
    Bench(bench::BenchArgs),
    /// Show or check the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Read it and say whether it is in order.
    Check,
    /// Print what is in force, as TOML.
    Show,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            // A reader that went away (a closed pipe) is no failure worth words.
            if is_broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            eprintln!("alphapulse: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<std::io::Error>()).any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // Decoding and replaying need no configuration, and a broken one must not stand in their way.
    match &cli.command {
        Command::Decode(args) => return decode::run(args),
        Command::Capture { command } => {
            return capture::run(command, || {
                config::load(cli.global.config.as_deref(), std::env::vars(), &cli.global.set)
            });
        }
        Command::Replay(args) => {
            return replay::run(args, || config::load(cli.global.config.as_deref(), std::env::vars(), &cli.global.set));
        }
        Command::Bench(args) => return bench::run(args),
        Command::Chaos(args) => return chaos::run(args),
        Command::Bars(args) if args.is_recorded() => return bars::recorded(args),
        Command::Verify { command: verify::VerifyCommand::Books(args) } => return verify::books::run(args),
        Command::Verify { command: verify::VerifyCommand::Loss(args) } => return verify::loss::run(args),
        _ => {}
    }
    let config = config::load(cli.global.config.as_deref(), std::env::vars(), &cli.global.set)
        .context("the configuration is not usable")?;
    let format = match config.log.format {
        config::LogFormat::Human => telemetry::log::Format::Human,
        config::LogFormat::Json => telemetry::log::Format::Json,
    };
    telemetry::log::init(format, &config.log.level)?;
    match cli.command {
        Command::Up(args) => supervisor::up(config, &args),
        Command::Status(args) => status::run(&config, &args),
        Command::Doctor => doctor::run(&config),
        Command::Feed(args) => roles::feed(&config, &args),
        Command::Relay => roles::relay(&config),
        Command::Bridge(args) => bridge::run(&config, &args),
        Command::Recorder => recorder::run(&config),
        Command::Gateway => roles::gateway(&config),
        Command::User { command } => user::user(&config, &command),
        Command::Key { command } => user::key(&config, &command),
        Command::Token(args) => user::token(&config, &args),
        Command::Audit { command } => user::audit(&config, &command),
        Command::Emulator(args) => roles::emulator(&config, &args),
        Command::Book(args) => book::run(&config, &args),
        Command::Bars(args) => bars::live(&config, &args),
        Command::Tap(args) => tap::run(&config, &args),
        Command::Verify { command } => verify::run(&config, &command),
        Command::Config { command: ConfigCommand::Check } => check_config(&config),
        Command::Config { command: ConfigCommand::Show } => {
            print!("{}", toml::to_string_pretty(&config).context("the configuration as TOML")?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Decode(_) | Command::Capture { .. } | Command::Replay(_) | Command::Bench(_) | Command::Chaos(_) => {
            unreachable!("handled before the configuration is read")
        }
    }
}

/// Tells each venue of a configuration that is in order, and which of them a live start would leave out.
fn check_config(config: &config::Config) -> anyhow::Result<ExitCode> {
    for (name, section) in config.venues.iter().filter(|(_, section)| section.enabled) {
        let venue: Venue = name.parse()?;
        match config.missing_keys(venue)? {
            Some(variables) => println!("with --live: {}", supervisor::disabled(venue, variables)),
            None => println!("{venue}: {}", section.symbols.join(", ")),
        }
    }
    println!("the configuration is in order");
    Ok(ExitCode::SUCCESS)
}

/// A venue by the name it has everywhere.
fn venue_name(text: &str) -> Result<Venue, String> {
    text.parse::<Venue>().map_err(|e| e.to_string())
}
