//! `alphapulse chaos`: a bad way between two processes.

use anyhow::{Context, bail};
use clap::Args;
use emulator::chaos::{Address, Options, Proxy, Script};
use std::{io, path::PathBuf, process::ExitCode, sync::mpsc, time::Duration};

/// Passes everything on between whoever connects and the address given, and does to it what the script says. Prints one
/// JSON line for each thing it does, with the bytes it hit. See docs/emulator.md for the scripts.
#[derive(Args)]
pub struct ChaosArgs {
    /// Where to listen: 127.0.0.1:7500, or the path of a Unix socket.
    #[arg(long, value_name = "ADDRESS")]
    listen: String,
    /// Where to connect to: host:port, or the path of a Unix socket.
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// What goes wrong (TOML); nothing without it.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// What chance is drawn from; goes over the script's own.
    #[arg(long)]
    seed: Option<u64>,
    /// End after so many seconds.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<f64>,
}

/// Runs the subcommand.
pub fn run(args: &ChaosArgs) -> anyhow::Result<ExitCode> {
    let script = match &args.script {
        None => Script::default(),
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
            Script::parse(&text).with_context(|| format!("{} cannot be followed", file.display()))?
        }
    };
    let seed = args.seed.or(script.seed).unwrap_or(1);
    let listen: Address = args.listen.parse().context("--listen cannot be used")?;
    let to: Address = args.to.parse().context("--to cannot be used")?;
    if listen == to {
        bail!("{listen} cannot be both ends of the way");
    }
    let (asked, end) = mpsc::channel();
    crate::signals::on_end(move || {
        // The receiver lives until it is told.
        let _ = asked.send(());
    })?;
    let proxy = Proxy::start(Options { listen, to, script, seed, journal: Box::new(io::stdout()) })?;
    eprintln!("alphapulse: chaos between {} and {}, seed {seed}", proxy.address(), args.to);
    match args.seconds {
        Some(seconds) => {
            let time = Duration::try_from_secs_f64(seconds).context("--for is a time in seconds")?;
            // Either way it ends.
            let _ = end.recv_timeout(time);
        }
        None => end.recv().context("the signal thread ended")?,
    }
    proxy.stop();
    Ok(ExitCode::SUCCESS)
}
