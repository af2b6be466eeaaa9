//! `alphapulse book`: an instrument's book as it is now, out of the feed's table of latest values. No stream is followed,
//! so it shows the present at once and costs the feed nothing.
//! [`source`] (or [`merged`], of all venues) -> [`Picture`](picture::Picture) -> [`screen`] (a terminal), [`text`] (one plain picture, one JSON line).

mod fill;
mod merged;
mod picture;
mod screen;
mod source;
#[cfg(test)]
mod tests;
mod text;

use crate::{config::Config, venue_name};
use anyhow::{Context, bail};
use clap::Args;
use model::{BookState, Decimal, Side, UnixNanos, Venue};
use source::Source;
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use telemetry::clock;

/// Reads the venue's table of latest values; keys: q or Ctrl-C ends it. With --once or --json the exit status is 0 for a
/// book that is live (and has all of --fill), 1 for one that is not, 2 when there is none to show.
#[derive(Args)]
pub struct BookArgs {
    /// The symbol, canonical (BTC-USD) or in the venue's spelling.
    symbol: String,
    /// The venue; may be left out when only one has the symbol.
    #[arg(long, value_parser = venue_name)]
    venue: Option<Venue>,
    /// All venues' books as one, with who has how much at each level.
    #[arg(long, conflicts_with = "venue")]
    consolidated: bool,
    /// Quote currencies that are taken for the same, such as USD+USDT, in place of the configuration's; may be repeated.
    #[arg(long = "group", value_name = "GROUP", requires = "consolidated")]
    groups: Vec<String>,
    /// What taking this size costs, with the fees of the configuration: who gives how much. Without --json as with --once.
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "consolidated")]
    fill: Option<Decimal>,
    /// The taker's side of --fill: buy or sell.
    #[arg(long, value_parser = side, default_value = "buy", requires = "fill")]
    side: Side,
    /// Print one picture as plain text and end.
    #[arg(long)]
    once: bool,
    /// Print one picture as a line of JSON and end.
    #[arg(long, conflicts_with = "once")]
    json: bool,
    /// Levels a side that are printed, at most 50.
    #[arg(long, default_value_t = 10, value_name = "LEVELS", value_parser = clap::value_parser!(u8).range(1..=50))]
    depth: u8,
    /// Pictures a second in the terminal.
    #[arg(long, default_value_t = 10, value_name = "RATE", value_parser = clap::value_parser!(u8).range(1..=60))]
    rate: u8,
}

/// Runs the subcommand.
pub fn run(config: &Config, args: &BookArgs) -> anyhow::Result<ExitCode> {
    let mut source = Source::open(config, args, now())?;
    if args.once || args.json || args.fill.is_some() {
        return print(&mut source, args);
    }
    if !io::stdout().is_terminal() {
        bail!("this is no terminal; --once prints one picture of the book, --json a line of JSON");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    crate::signals::on_end(move || asked.store(true, Ordering::Release))?;
    let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
    let shown = screen::show(&mut terminal, &mut source, args.rate, &stop);
    // The screen is given back before a word is said on it.
    ratatui::restore();
    shown.map(|()| ExitCode::SUCCESS)
}

fn print(source: &mut Source, args: &BookArgs) -> anyhow::Result<ExitCode> {
    let picture = source.look(now())?;
    let depth = usize::from(args.depth);
    let fill = match (&*source, args.fill) {
        (Source::Consolidated(many), Some(size)) => Some(many.fill(args.side, size)?),
        _ => None,
    };
    let text = if args.json {
        text::json(&picture, depth, fill.as_ref())
    } else {
        text::plain(&picture, depth) + &fill.as_ref().map_or(String::new(), |fill| format!("\n{}", fill.plain()))
    };
    io::stdout().write_all(text.as_bytes())?;
    let is_good = picture.state == BookState::Live && fill.is_none_or(|fill| fill.is_whole());
    Ok(ExitCode::from(u8::from(!is_good)))
}

/// A size above zero.
fn size(text: &str) -> Result<Decimal, String> {
    let size: Decimal = text.parse().map_err(|e| format!("{e}"))?;
    if size.mantissa <= 0 {
        return Err("a size is above zero".to_owned());
    }
    Ok(size.normalised())
}

fn side(text: &str) -> Result<Side, String> {
    match text {
        "buy" => Ok(Side::Buy),
        "sell" => Ok(Side::Sell),
        _ => Err("it is buy or sell".to_owned()),
    }
}

fn now() -> UnixNanos {
    UnixNanos(clock::wall_ns())
}
