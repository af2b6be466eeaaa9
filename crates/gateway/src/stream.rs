//! One WebSocket client: requests in, answers and lines out. Everything that can wake it is an [`Event`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures_util::SinkExt;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use crate::doors::Caller;
use crate::limits::{Budget, HEARTBEAT, Liveness, Look, SILENCE_MAX};
use crate::protocol::{self, Answer, Op};
use crate::reader::{News, Reader};
use crate::server::{Shared, stopped};

/// How long the other side may take to answer a close.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// The connection is over; there is nobody to tell.
struct Gone;

enum Event {
    Received(Message),
    Lost(axum::Error),
    News(Option<News>),
    Time,
    /// Whom it serves may have lost the right to it.
    Doubt,
    Stop,
}

enum Next {
    Go,
    Close(u16, &'static str),
}

struct Active {
    id: Option<u64>,
    reader: Reader,
}

struct Connection<'a> {
    socket: WebSocket,
    shared: &'a Shared,
    client: u64,
    active: Option<Active>,
    budget: Budget,
    liveness: Liveness,
    caller: Arc<Caller>,
    /// Tells that credentials may have ended.
    changes: watch::Receiver<u64>,
    /// When to ask though nothing was told: credentials also end by time.
    asked: Instant,
}

/// Serves one client until it leaves, may not stay, or `stopping` says so.
pub(crate) async fn serve(
    socket: WebSocket,
    shared: &Shared,
    caller: Arc<Caller>,
    client: u64,
    mut stopping: watch::Receiver<bool>,
) {
    let now = Instant::now();
    let mut changes = shared.store.changes();
    // Between the look at the credential and now anything may have happened.
    changes.mark_changed();
    let (budget, liveness) = (Budget::new(now), Liveness::new(now));
    let mut connection =
        Connection { socket, shared, client, active: None, budget, liveness, caller, changes, asked: now };
    // The other side is gone either way.
    let _ = connection.run(&mut stopping).await;
    if let Some(active) = connection.active.take() {
        active.reader.end().await;
    }
}

impl Connection<'_> {
    async fn run(&mut self, stopping: &mut watch::Receiver<bool>) -> Result<(), Gone> {
        loop {
            let next = match self.event(stopping).await? {
                Event::Received(message) => {
                    self.liveness.heard(Instant::now());
                    self.received(message).await?
                }
                Event::Lost(error) => lost(&error)?,
                Event::News(news) => self.news(news).await?,
                Event::Time => self.look().await?,
                Event::Doubt => self.ask().await,
                Event::Stop => {
                    self.drain().await?;
                    Next::Close(close_code::AWAY, "the gateway stops")
                }
            };
            if let Next::Close(code, reason) = next {
                return self.close(code, reason).await;
            }
        }
    }

    async fn event(&mut self, stopping: &mut watch::Receiver<bool>) -> Result<Event, Gone> {
        let Connection { socket, active, liveness, changes, asked, .. } = self;
        let news = async {
            match active {
                Some(active) => active.reader.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(message)) => Ok(Event::Received(message)),
                Some(Err(error)) => Ok(Event::Lost(error)),
                None => Err(Gone),
            },
            news = news => Ok(Event::News(news)),
            () = sleep_until(liveness.look_at().into()) => Ok(Event::Time),
            _ = changes.changed() => Ok(Event::Doubt),
            () = sleep_until((*asked + HEARTBEAT).into()) => Ok(Event::Doubt),
            () = stopped(stopping) => Ok(Event::Stop),
        }
    }

    async fn received(&mut self, message: Message) -> Result<Next, Gone> {
        match message {
            Message::Text(text) => self.request(&text).await?,
            Message::Binary(_) => {
                let message = "requests are text messages, and this one is binary".to_owned();
                self.answer(Answer::Error { id: None, message }).await?;
            }
            // Both are answered below us.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
        }
        Ok(Next::Go)
    }

    async fn request(&mut self, text: &str) -> Result<(), Gone> {
        let request = protocol::read(text);
        let id = match &request {
            Ok(request) => request.id,
            Err(bad) => bad.id,
        };
        if let Err(wait) = self.budget.take(Instant::now()) {
            return self.answer(Answer::too_many(id, wait)).await;
        }
        match request.map(|request| request.op) {
            Err(bad) => self.answer(bad.into()).await,
            Ok(Op::Ping) => self.answer(Answer::Pong { id }).await,
            Ok(Op::Unsubscribe) => {
                self.unsubscribe().await;
                self.answer(Answer::Unsubscribed { id }).await
            }
            Ok(Op::Subscribe(subscription)) => {
                self.unsubscribe().await;
                let Shared { source, metrics, .. } = self.shared;
                match Reader::start(source.clone(), subscription, metrics.clone(), self.client) {
                    Ok(reader) => self.active = Some(Active { id, reader }),
                    Err(error) => {
                        let message = format!("cannot start a reader: {error}; try again when fewer are connected");
                        self.answer(Answer::Error { id, message }).await?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Ends the subscription; afterwards no line of it comes.
    async fn unsubscribe(&mut self) {
        if let Some(active) = self.active.take() {
            active.reader.end().await;
        }
    }

    async fn news(&mut self, news: Option<News>) -> Result<Next, Gone> {
        let id = self.active.as_ref().and_then(|active| active.id);
        match news {
            Some(News::Lines(lines)) => self.send_lines(lines).await?,
            Some(News::Opened { unknown_symbols, warnings }) => {
                self.answer(Answer::Subscribed { id, unknown_symbols, warnings }).await?;
            }
            Some(News::Trouble(message)) => self.answer(Answer::Error { id, message }).await?,
            Some(News::Ended(message)) => {
                self.active = None;
                self.answer(Answer::Error { id, message }).await?;
            }
            None => {
                self.active = None;
                let message = "the reader of this subscription ended unasked; subscribe again".to_owned();
                self.answer(Answer::Error { id, message }).await?;
            }
        }
        Ok(Next::Go)
    }

    async fn look(&mut self) -> Result<Next, Gone> {
        match self.liveness.look(Instant::now()) {
            Look::Fine => Ok(Next::Go),
            Look::Ping => self.send([Message::Ping(Default::default())]).await.map(|()| Next::Go),
            Look::Gone => Ok(Next::Close(close_code::POLICY, "nothing was heard, not even a pong")),
        }
    }

    async fn ask(&mut self) -> Next {
        self.asked = Instant::now();
        if self.shared.doors.stays(&self.caller, self.shared.now_ns() / 1_000_000_000).await {
            Next::Go
        } else {
            Next::Close(close_code::POLICY, "the session, key or token has ended")
        }
    }

    /// Tells what the reader has read already.
    async fn drain(&mut self) -> Result<(), Gone> {
        let Some(mut active) = self.active.take() else { return Ok(()) };
        active.reader.stop();
        while let Some(news) = active.reader.next().await {
            if let News::Lines(lines) = news {
                self.send_lines(lines).await?;
            }
        }
        Ok(())
    }

    async fn answer(&mut self, answer: Answer) -> Result<(), Gone> {
        self.send([Message::Text(answer.text().into())]).await
    }

    async fn send_lines(&mut self, lines: Vec<String>) -> Result<(), Gone> {
        let count = lines.len() as u64;
        self.send(lines.into_iter().map(|line| Message::Text(line.into()))).await?;
        self.shared.metrics.lines.add(count);
        Ok(())
    }

    /// Sends messages and flushes once. Messages on their way when the right to them ends are the last. A client that takes nothing for too long is gone.
    async fn send(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), Gone> {
        let socket = &mut self.socket;
        let all = async {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        match timeout(SILENCE_MAX, all).await {
            Ok(sent) => sent.map_err(|_| Gone),
            Err(_) => {
                tracing::info!(client = self.client, "stream dropped: it took nothing for {SILENCE_MAX:?}");
                Err(Gone)
            }
        }
    }

    /// Says goodbye and waits, briefly, for the answer.
    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Gone> {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        let goodbye = async {
            self.socket.send(Message::Close(Some(frame))).await.map_err(|_| Gone)?;
            while let Some(Ok(_)) = self.socket.recv().await {}
            Ok(())
        };
        timeout(CLOSE_WAIT, goodbye).await.unwrap_or(Err(Gone))
    }
}

/// A request that is too long can be answered; a broken connection cannot.
fn lost(error: &axum::Error) -> Result<Next, Gone> {
    let too_long = error.to_string().contains("too long");
    if too_long { Ok(Next::Close(close_code::SIZE, "the request is too long")) } else { Err(Gone) }
}
