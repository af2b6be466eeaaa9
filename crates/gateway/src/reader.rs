//! One client's reader: a thread that follows the source and hands lines to the socket's task.
//!
//! The way between them is short and bounded. When it is full the thread stands still, its place in the ring is
//! overwritten, and the source tells exactly what was missed: nobody waits for a slow client, and it costs no memory.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use relay::{Client, ClientError, ClientOptions, Source, Subscription};
use tokio::sync::mpsc;
use wire::Envelope;
use wire::json::{Encoder, Line};

use crate::metrics::{Lag, Metrics};

/// Polls' worth of lines on their way to the socket: one being sent, one ready.
const WAY_MAX: usize = 2;
/// The longest sleep between two looks at whether to stop.
const WAIT_MAX: Duration = Duration::from_millis(250);
/// The wait after trouble that the source goes on behind.
const TROUBLE_WAIT: Duration = Duration::from_millis(250);
/// Different troubles a subscription is told of; more would be noise.
const TROUBLES_TOLD_MAX: usize = 32;

/// What a reader has to say.
#[derive(Debug)]
pub(crate) enum News {
    /// The subscription runs.
    Opened { unknown_symbols: Vec<String>, warnings: Vec<String> },
    /// What one poll found.
    Lines(Vec<String>),
    /// Something is wrong, and the stream goes on.
    Trouble(String),
    /// The subscription ended, or never began.
    Ended(String),
}

/// A running reader. Dropping it ends the thread.
pub(crate) struct Reader {
    news: mpsc::Receiver<News>,
    stop: Arc<AtomicBool>,
}

impl Reader {
    /// Starts the thread.
    pub(crate) fn start(
        source: Source,
        subscription: Subscription,
        metrics: Metrics,
        client: u64,
    ) -> io::Result<Reader> {
        let (way, news) = mpsc::channel(WAY_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let task = Task {
            way,
            stop: stop.clone(),
            lag: metrics.lag(client),
            metrics,
            encoder: Encoder::new(),
            lines: Vec::new(),
            told: HashSet::new(),
        };
        std::thread::Builder::new().name(format!("ws-{client}")).spawn(move || task.run(source, subscription))?;
        Ok(Reader { news, stop })
    }

    /// What comes next; `None` when the thread has ended. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Asks the thread to end; what it has read still comes.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Ends the thread and throws away what is on the way.
    pub(crate) async fn end(mut self) {
        self.stop();
        self.news.close();
        while self.news.recv().await.is_some() {}
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Nobody listens any more.
struct Unheard;

struct Task {
    way: mpsc::Sender<News>,
    stop: Arc<AtomicBool>,
    lag: Lag,
    metrics: Metrics,
    encoder: Encoder,
    lines: Vec<String>,
    told: HashSet<String>,
}

impl Task {
    fn run(mut self, source: Source, subscription: Subscription) {
        // A listener that went away is no trouble: the thread ends either way.
        let _ = match Client::open(source, subscription, ClientOptions::default()) {
            Ok(client) => self.follow(client),
            Err(error) => self.say(News::Ended(error.to_string())),
        };
    }

    fn follow(&mut self, mut client: Client) -> Result<(), Unheard> {
        let unknown_symbols = client.unknown_symbols().to_vec();
        self.say(News::Opened { unknown_symbols, warnings: client.warnings().to_vec() })?;
        while !self.stop.load(Relaxed) {
            let mut failures = Vec::new();
            let polled = client.poll(|delivery, words| failures.extend(self.take(delivery.envelope, words)));
            self.lag.set(client.lag());
            let idle = self.lines.is_empty();
            if !idle {
                let lines = std::mem::take(&mut self.lines);
                self.say(News::Lines(lines))?;
            }
            for failure in failures {
                self.trouble(failure)?;
            }
            match polled {
                Ok(_) if idle => client.wait(WAIT_MAX),
                Ok(_) => {}
                Err(error @ ClientError::Ring(_)) => {
                    self.trouble(error.to_string())?;
                    std::thread::sleep(TROUBLE_WAIT);
                }
                Err(error) => return self.say(News::Ended(error.to_string())),
            }
        }
        Ok(())
    }

    /// Takes in one record; returns why it cannot be told, if it cannot.
    fn take(&mut self, at: Envelope, words: &[u64]) -> Option<String> {
        match self.encoder.push(at, words) {
            Ok(None) => None,
            Ok(Some(line)) => {
                if matches!(line, Line::Overrun(_)) {
                    self.metrics.overruns.add(1);
                }
                self.lines.push(serde_json::to_string(&line).expect("a line is plain JSON"));
                None
            }
            Err(error) => {
                self.metrics.untold.add(1);
                Some(error.to_string()).filter(|message| !self.told.contains(message))
            }
        }
    }

    /// Each trouble is told once.
    fn trouble(&mut self, message: String) -> Result<(), Unheard> {
        if self.told.len() >= TROUBLES_TOLD_MAX || !self.told.insert(message.clone()) {
            return Ok(());
        }
        tracing::warn!(%message, "stream");
        self.say(News::Trouble(message))
    }

    fn say(&self, news: News) -> Result<(), Unheard> {
        self.way.blocking_send(news).map_err(|_| Unheard)
    }
}
