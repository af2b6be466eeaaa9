//! What the source has defined so far: instruments and runs, kept by a thread that looks now and then.
//!
//! It looks rather than waits: being woken for every record to find the few definitions among them would cost the feed
//! a system call each. If it is lapped meanwhile, the source tells it the definitions anew.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use relay::{Client, ClientError, ClientOptions, Source, Subscription};
use wire::json::{Encoder, InstrumentLine, Line, SessionStartLine, StatusLine};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Polls in one look: a bound, should the feed write as fast as we read.
const POLLS_MAX: usize = 4096;

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// By venue and symbol.
    pub(crate) instruments: BTreeMap<(String, String), InstrumentLine>,
    /// The newest run of each venue.
    pub(crate) sessions: BTreeMap<String, SessionStartLine>,
    /// The newest state of everything that has one, by venue, scope, symbol and stream.
    states: BTreeMap<(String, String, Option<String>, Option<String>), StatusLine>,
    /// Why the source cannot be read, while it cannot.
    pub(crate) trouble: Option<String>,
}

impl Known {
    /// Venues whose data comes from an emulator.
    pub(crate) fn simulated(&self) -> Vec<&str> {
        self.sessions.values().filter(|run| run.simulated).map(|run| run.venue.as_str()).collect()
    }

    /// The states of one venue.
    pub(crate) fn states_of(&self, venue: &str) -> impl Iterator<Item = &StatusLine> {
        self.states.values().filter(move |line| line.venue == venue)
    }

    /// Whether a venue has defined this symbol, canonical or in its own spelling.
    pub(crate) fn knows(&self, venue: &str, symbol: &str) -> bool {
        self.instruments.values().any(|line| {
            line.venue == venue
                && [&line.symbol, &line.venue_symbol].into_iter().any(|known| known.eq_ignore_ascii_case(symbol))
        })
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Instrument(line) => {
                self.instruments.insert((line.venue.clone(), line.symbol.clone()), line);
            }
            Line::Status(line) => {
                let key = (line.venue.clone(), line.scope.clone(), line.symbol.clone(), line.stream.clone());
                self.states.insert(key, line);
            }
            Line::SessionStart(line) => {
                // What an earlier run told is over; a run's start told again to a late joiner ends nothing.
                if self.sessions.get(&line.venue).is_none_or(|run| run.epoch != line.epoch) {
                    self.states.retain(|_, state| state.venue != line.venue || state.epoch == line.epoch);
                }
                self.sessions.insert(line.venue.clone(), line);
            }
            _ => {}
        }
    }
}

/// What is known, shared.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Known>>);

impl Board {
    pub(crate) fn look(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that keeps the board. Dropping it ends the thread.
pub(crate) struct Watcher {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts the thread, which looks at once.
    pub(crate) fn start(source: Source, board: Board) -> io::Result<Watcher> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("definitions".to_owned()).spawn(move || {
            let mut watch = Watch { source, board, client: None, encoder: Encoder::new() };
            loop {
                let trouble = watch.step();
                watch.board.look().trouble = trouble;
                if stopped.recv_timeout(LOOK_EVERY) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Watcher { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It panicked; the panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

struct Watch {
    source: Source,
    board: Board,
    client: Option<Client>,
    encoder: Encoder,
}

impl Watch {
    /// Reads what there is; returns what is wrong, if anything is.
    fn step(&mut self) -> Option<String> {
        match self.read() {
            Err(error) => Some(error.to_string()),
            Ok(()) if self.client.as_ref().is_some_and(Client::is_connected) => None,
            Ok(()) => Some("the relay went away; the gateway connects again when it is back".to_owned()),
        }
    }

    fn read(&mut self) -> Result<(), ClientError> {
        let client = match &mut self.client {
            Some(client) => client,
            None => {
                // Naming a type that always comes asks for no market data.
                let subscription = Subscription { types: vec!["instrument".to_owned()], ..Subscription::default() };
                self.client.insert(Client::open(self.source.clone(), subscription, ClientOptions::default())?)
            }
        };
        let (encoder, board) = (&mut self.encoder, &self.board);
        for _ in 0..POLLS_MAX {
            let polled = client.poll(|delivery, words| {
                // What has no JSON form is no definition; the streams tell of it.
                if let Ok(Some(line)) = encoder.push(delivery.envelope, words) {
                    board.look().take(line);
                }
            });
            match polled {
                Ok(told) if told == 0 && client.lag().unwrap_or(0) == 0 => break,
                Ok(_) => {}
                Err(error @ ClientError::Ring(_)) => return Err(error),
                Err(error) => {
                    self.client = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
