//! The connections: which there are, how each is opened, read and lost.

use super::{
    Feed, FeedError, FeedOptions, Waiting,
    link::{Link, Open, State},
    quarantine,
};
use crate::{
    backoff::Backoff,
    budget::Budget,
    transport::{Dial, DialRequest, Endpoint},
    websocket::{Decoder, DecoderConfig, DeflateOffer, Encoder, Message, Role},
};
use model::{Reason, UnixNanos};
use std::{collections::VecDeque, io, time::Duration};
use venues::{Input, LineShape, Outgoing, SessionLine};

/// Bytes read in one go; a burst of a busy venue fits.
const READ_BYTES: usize = 256 << 10;
/// Reads in one turn before timers and answers get their chance.
const READS_MAX: usize = 16;
/// Time for lookup, TCP, TLS and upgrade together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Empty reads between two looks at timers and answers when spinning.
const SPINS: u32 = 256;
/// Between the first attempts of two connections: venues count attempts in short windows too.
const STAGGER: Duration = Duration::from_millis(250);

/// Why a connection ends.
pub(super) struct Lost(pub Reason, pub String);

/// The links of a venue and the session's lines, in the same order: for each endpoint one, two for a pair, and one more
/// where connections are renewed.
pub(super) fn plan(
    options: &FeedOptions,
    renews: bool,
    now: UnixNanos,
) -> Result<(Vec<Link>, Vec<SessionLine>), FeedError> {
    let wanted = if options.pair { 2 } else { 1 };
    let places = wanted + usize::from(renews);
    let (mut links, mut lines) = (vec![], vec![]);
    for place in 0..places {
        let made = venues::lines(options.venue, &options.settings, &options.choices)?;
        for (group, line) in (0u32..).zip(made) {
            let base = if place == 1 && options.pair && !options.ws_url_b.is_empty() {
                &options.ws_url_b
            } else {
                &options.ws_url
            };
            let url = format!("{base}{}", line.path);
            let name = line_name(line.name, place, places);
            let owned = |list: Vec<(&'static str, String)>| list.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            links.push(Link {
                name: name.clone(),
                group,
                endpoint: Endpoint::parse(&url)?,
                url,
                headers: owned(line.headers),
                rest_headers: owned(line.rest_headers),
                state: if place < wanted {
                    State::Down { until: now.after(STAGGER * links.len() as u32) }
                } else {
                    State::Idle
                },
                backoff: Backoff::new(options.backoff),
                opened: UnixNanos::ZERO,
                replaces: None,
                ready: true,
            });
            lines.push(SessionLine { shape: LineShape { name, group }, machine: line.machine });
        }
    }
    Ok((links, lines))
}

/// A line's name: the endpoint's, with a letter where several lines carry the same.
fn line_name(endpoint: &str, place: usize, places: usize) -> String {
    let letter = char::from(b'a' + place as u8);
    match (endpoint, places) {
        (endpoint, 1) => endpoint.to_owned(),
        ("", _) => letter.to_string(),
        (endpoint, _) => format!("{endpoint}-{letter}"),
    }
}

impl Feed {
    pub(super) fn serve_link(&mut self, index: usize) -> Result<(), FeedError> {
        let link = &mut self.links[index];
        match &link.state {
            State::Idle => return Ok(()),
            State::Open(_) if !std::mem::replace(&mut link.ready, true) => return Ok(()),
            _ => {}
        }
        match std::mem::replace(&mut link.state, State::Idle) {
            State::Idle => Ok(()),
            State::Down { until } => self.serve_down(index, until),
            State::Dialing(dial) => self.serve_dial(index, dial),
            State::Open(mut open) => {
                let read = self.read(index, &mut open)?;
                self.links[index].state = State::Open(open);
                match read {
                    Ok(()) => self.collect(index),
                    Err(lost) => self.lose(index, lost, None),
                }
            }
        }
    }

    fn serve_down(&mut self, index: usize, until: UnixNanos) -> Result<(), FeedError> {
        let now = self.now();
        if now < until {
            self.links[index].state = State::Down { until };
            return Ok(());
        }
        if let Err(wait) = self.connections.admit(Duration::from_nanos(now.0)) {
            let text =
                format!("the venue's connection budget is spent; the next try is in {:.1} s", wait.as_secs_f64());
            tracing::warn!(venue = %self.options.venue, line = self.links[index].name, "{text}");
            self.step(index, Input::Disconnected(Reason::Budget, &text), now)?;
            self.links[index].state = State::Down { until: now.after(wait) };
            return Ok(());
        }
        let to = self.links[index].url.clone();
        self.step(index, Input::Connecting(&to), now)?;
        let request = DialRequest {
            endpoint: self.links[index].endpoint.clone(),
            headers: self.links[index].headers.clone(),
            deflate: self.options.deflate.unwrap_or(self.spec.deflate).then(DeflateOffer::default),
            timeout: DIAL_TIMEOUT,
            seed: self.rng.u64(..),
        };
        let dial = Dial::start(request, self.tls.clone(), self.stop.waker.clone())
            .map_err(|source| FeedError::System { what: "a thread to connect with", source })?;
        self.links[index].state = State::Dialing(dial);
        Ok(())
    }

    fn serve_dial(&mut self, index: usize, mut dial: Dial) -> Result<(), FeedError> {
        match dial.poll() {
            None => {
                self.links[index].state = State::Dialing(dial);
                Ok(())
            }
            Some(Err(e)) => {
                let reason = if e.retry_after().is_some() { Reason::Refused } else { Reason::Connection };
                self.lose(index, Lost(reason, e.to_string()), e.retry_after())
            }
            Some(Ok(dialed)) => {
                let config = DecoderConfig {
                    buffer_bytes: READ_BYTES,
                    max_message_bytes: self.spec.frame_max,
                    deflate: dialed.upgraded.deflate,
                    ..DecoderConfig::new(Role::Client)
                };
                let mut decoder = Decoder::new(config);
                decoder.push(&dialed.upgraded.leftover);
                let limit = self.spec.messages;
                let open = Open {
                    stream: dialed.stream,
                    decoder,
                    encoder: Encoder::client(self.rng.fork()),
                    waiting: VecDeque::new(),
                    messages: Budget::new(limit.count, limit.per),
                    fresh: true,
                    data_before: self.session.market_data(index),
                };
                let now = self.now();
                self.metrics.connects.add(1);
                self.last_frame = now;
                let link = &mut self.links[index];
                (link.opened, link.ready) = (now, true);
                tracing::info!(venue = %self.options.venue, line = link.name, url = link.url, "connected");
                link.state = State::Open(Box::new(open));
                self.show_connected();
                self.step(index, Input::Connected, now)?;
                self.collect(index)?;
                self.take_leftover(index)
            }
        }
    }

    /// Takes what came together with the upgrade's answer: the socket will not announce it, and a venue that speaks
    /// first and then waits for us would wait in vain.
    fn take_leftover(&mut self, index: usize) -> Result<(), FeedError> {
        match std::mem::replace(&mut self.links[index].state, State::Idle) {
            State::Open(mut open) => {
                let taken = self.take_frames(index, &mut open)?;
                self.links[index].state = State::Open(open);
                match taken {
                    Ok(()) => self.collect(index),
                    Err(lost) => self.lose(index, lost, None),
                }
            }
            // The machine wants another connection already.
            other => {
                self.links[index].state = other;
                Ok(())
            }
        }
    }

    /// Tells the loss and plans the next attempt, unless another link has taken this one's place.
    pub(super) fn lose(
        &mut self,
        index: usize,
        Lost(reason, why): Lost,
        retry_after: Option<Duration>,
    ) -> Result<(), FeedError> {
        let now = self.now();
        let replaced = self.is_replaced(index);
        let link = &mut self.links[index];
        link.note_end(self.session.market_data(index), now);
        // Whatever the line wanted of this connection is of no more use, but for how long it stays away.
        self.out.reconnect = None;
        let asked = self.out.not_before.take().map_or(Duration::ZERO, |time| time.since(now));
        let wait = link.backoff.next(&mut self.rng).max(retry_after.unwrap_or(Duration::ZERO)).max(asked);
        let text = match replaced {
            true => format!("{why}; it was being renewed"),
            false => format!("{why}; the next try is in {:.1} s", wait.as_secs_f64()),
        };
        tracing::warn!(venue = %self.options.venue, line = link.name, "{text}");
        if let State::Open(open) = &mut link.state {
            open.stream.shutdown();
        }
        link.state = if replaced { State::Idle } else { State::Down { until: now.after(wait) } };
        self.metrics.disconnects.add(1);
        self.show_connected();
        self.step(index, Input::Disconnected(reason, &text), now)?;
        self.out.frames.clear();
        self.requests.retain(|(line, _)| *line != index);
        Ok(())
    }

    pub(super) fn show_connected(&self) {
        self.metrics.connected.set(self.links.iter().filter(|link| link.open().is_some()).count() as i64);
    }

    /// Takes what a line's steps want: its frames and requests are queued, its wish for another connection is granted.
    pub(super) fn collect(&mut self, index: usize) -> Result<(), FeedError> {
        if let Some((reason, why)) = self.out.reconnect.take() {
            self.out.frames.clear();
            self.out.requests.clear();
            return self.lose(index, Lost(reason, why), None);
        }
        self.requests.extend(self.out.requests.drain(..).map(|request| (index, request)));
        if let State::Open(open) = &mut self.links[index].state {
            open.waiting.extend(self.out.frames.drain(..));
        }
        // Frames for a connection that is gone have no receiver.
        self.out.frames.clear();
        Ok(())
    }

    /// Sends frames within the venue's budget.
    pub(super) fn send_frames(&mut self) -> Result<(), FeedError> {
        let now = self.now();
        for index in 0..self.links.len() {
            let State::Open(open) = &mut self.links[index].state else { continue };
            let capture = &mut self.capture;
            let mut sent = |frame: &Outgoing| {
                if let Some(capture) = capture {
                    capture.sent(index, frame, now);
                }
            };
            if let Err(e) = open.send_waiting(Duration::from_nanos(now.0), &mut sent) {
                self.lose(index, Lost(Reason::Connection, format!("the connection broke: {e}")), None)?;
            }
        }
        Ok(())
    }

    /// Reads what is there, steps every frame, publishes after each read.
    fn read(&mut self, index: usize, open: &mut Open) -> Result<Result<(), Lost>, FeedError> {
        let mut spins = 0;
        for _ in 0..READS_MAX {
            match open.decoder.fill(&mut open.stream) {
                Ok(0) => return Ok(Err(Lost(Reason::Connection, "the venue closed the connection".to_owned()))),
                Ok(n) => {
                    self.metrics.bytes.add(n as u64);
                    self.metrics.reads.add(1);
                    if let Err(lost) = self.take_frames(index, open)? {
                        return Ok(Err(lost));
                    }
                    if self.out.reconnect.is_some() {
                        return Ok(Ok(()));
                    }
                    // A read that did not fill the room has emptied the socket: the next would only say so.
                    if n < READ_BYTES / 2 && !open.stream.has_unread() && self.options.waiting == Waiting::Block {
                        return Ok(Ok(()));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.options.waiting == Waiting::Block || spins == SPINS {
                        return Ok(Ok(()));
                    }
                    spins += 1;
                    std::hint::spin_loop();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Ok(Err(Lost(Reason::Connection, format!("the connection broke: {e}")))),
            }
        }
        Ok(Ok(()))
    }

    fn take_frames(&mut self, index: usize, open: &mut Open) -> Result<Result<(), Lost>, FeedError> {
        let received = self.now();
        let books = self.session.book_updates();
        loop {
            match open.decoder.next_message() {
                Ok(None) => break,
                Ok(Some(Message::Text(frame) | Message::Binary(frame))) => {
                    if let Some(capture) = &mut self.capture {
                        capture.input(index, &Input::Frame(frame), received);
                    }
                    match self.session.step_line(index, Input::Frame(frame), received, &mut self.out) {
                        None => open.fresh = false,
                        Some(bad) => quarantine(&mut self.quarantine, self.options.venue, frame, &bad, received),
                    }
                    if self.out.reconnect.is_some() {
                        break;
                    }
                }
                Ok(Some(Message::Ping(payload))) => {
                    let mut bytes = Vec::with_capacity(payload.len() + 14);
                    open.encoder.pong(payload, &mut bytes);
                    // A pong must not wait, but it counts: what we say next waits the longer for it.
                    let _ = open.messages.admit(Duration::from_nanos(received.0));
                    if let Err(e) = open.stream.send(&bytes) {
                        return Ok(Err(Lost(Reason::Connection, format!("the connection broke: {e}"))));
                    }
                }
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close { code, reason })) => {
                    let why = String::from_utf8_lossy(reason);
                    let code = code.map_or_else(|| "no code".to_owned(), |c| c.to_string());
                    self.commit(received);
                    let text = format!(
                        "the venue closed the connection ({code}{}{why})",
                        if why.is_empty() { "" } else { ": " }
                    );
                    return Ok(Err(Lost(Reason::Venue, text)));
                }
                Err(e) => {
                    self.commit(received);
                    return Ok(Err(Lost(Reason::Malformed, format!("the venue broke the WebSocket protocol: {e}"))));
                }
            }
        }
        self.last_frame = received;
        self.sample(received);
        let told = !self.out.records.is_empty();
        self.commit(received);
        if told && self.session.book_updates() != books {
            self.metrics.book.record(self.clock.now().saturating_sub(received.0));
        }
        if self.session.wants_timer() {
            self.step(index, Input::Timer, received)?;
            self.commit(received);
        }
        Ok(Ok(()))
    }

    /// The venue's latency, from the first record of a read that carries the venue's time.
    #[inline]
    fn sample(&mut self, received: UnixNanos) {
        if let Some(event) = self.out.records.iter().next().map(|words| words[1])
            && event != 0
            && received.0 > event
        {
            self.metrics.venue.record(received.0 - event);
        }
    }
}
