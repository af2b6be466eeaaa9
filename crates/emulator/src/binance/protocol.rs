//! One stream connection: raw or combined, subscriptions by path and by message, pings, and the venue's limits.
//!
//! What Binance does not document is a choice here: a subscription to a stream that does not exist is answered like
//! any other and stays silent.

use std::collections::VecDeque;
use std::time::Duration;

use feed::websocket::handshake::RequestHead;
use model::UnixNanos;
use serde_json::{Value, json};

use super::MICROS_MARK;
use crate::connection::{Close, Desk, Heard, Protocol as ConnectionProtocol};
use crate::http::percent_decoded;
use crate::options::Limits;
use crate::outgoing::Dress;

/// Most streams of a connection.
const STREAMS_MAX: usize = 1024;

pub(crate) struct Protocol {
    limits: Limits,
    combined: bool,
    micros: bool,
    /// Streams in the order they were subscribed to, with those that do not exist.
    streams: Vec<String>,
    /// Streams named in the path.
    from_path: Vec<String>,
    opened: UnixNanos,
    next_ping: UnixNanos,
    /// When the oldest unanswered ping was sent.
    waiting_since: Option<UnixNanos>,
    /// When messages of the last second came.
    heard: VecDeque<UnixNanos>,
}

impl Protocol {
    /// The protocol spoken at a path, if one is: `/ws`, `/ws/…` and `/stream`.
    pub(crate) fn at(head: &RequestHead, limits: &Limits, now: UnixNanos) -> Option<Box<dyn ConnectionProtocol>> {
        let path = percent_decoded(&head.path);
        let combined = path.trim_end_matches('/') == "/stream";
        let raw = path == "/ws" || path.starts_with("/ws/");
        if !combined && !raw {
            return None;
        }
        let list = match combined {
            true => head.query_value("streams").map(percent_decoded).unwrap_or_default(),
            false => path.trim_start_matches("/ws").to_owned(),
        };
        // Clients number their connections (`/ws/3`): only a name with an @ is a stream.
        let from_path = list.split('/').filter(|name| name.contains('@')).map(str::to_owned).collect();
        let micros = head.query_value("timeUnit").is_some_and(|unit| unit.eq_ignore_ascii_case("microsecond"));
        Some(Box::new(Protocol {
            limits: limits.clone(),
            combined,
            micros,
            streams: Vec::new(),
            from_path,
            opened: now,
            next_ping: now.after(limits.ping_every),
            waiting_since: None,
            heard: VecDeque::new(),
        }))
    }

    fn topic_name(&self, stream: &str) -> String {
        format!("{stream}{}", if self.micros { MICROS_MARK } else { "" })
    }

    fn subscribe(&mut self, stream: &str, desk: &mut Desk<'_>) {
        if self.streams.iter().any(|known| known == stream) {
            return;
        }
        self.streams.push(stream.to_owned());
        let Some(topic) = desk.market().topic(&self.topic_name(stream)) else {
            return tracing::warn!(stream, "no such Binance stream in the emulator; it stays silent");
        };
        desk.out.wrappers[topic as usize] = format!("{{\"stream\":{},\"data\":", Value::from(stream)).into_bytes();
        let snapshot = desk.subscribe(topic);
        if let Some(snapshot) = snapshot {
            desk.snapshot(topic, &snapshot);
        }
    }

    fn unsubscribe(&mut self, stream: &str, desk: &mut Desk<'_>) {
        self.streams.retain(|known| known != stream);
        if let Some(topic) = desk.market().topic(&self.topic_name(stream)) {
            desk.unsubscribe(topic);
        }
    }

    /// The `result` of a request, or code and text of its error.
    fn request(&mut self, request: &Value, desk: &mut Desk<'_>) -> Result<Value, (i32, String)> {
        let invalid = |text: String| (2, format!("Invalid request: {text}"));
        let id = &request["id"];
        let id_fits = id.is_null() || id.is_i64() || id.is_u64() || id.as_str().is_some_and(|id| id.len() <= 36);
        if !id_fits {
            return Err(invalid("request ID must be an unsigned integer".to_owned()));
        }
        let method = request["method"].as_str().ok_or_else(|| invalid("missing field `method`".to_owned()))?;
        let params = request["params"].as_array();
        match method {
            "SUBSCRIBE" | "UNSUBSCRIBE" => {
                let params = params.ok_or_else(|| invalid("missing field `params`".to_owned()))?;
                let names: Option<Vec<&str>> = params.iter().map(Value::as_str).collect();
                let names = names.ok_or_else(|| invalid("params must be strings".to_owned()))?;
                if method == "SUBSCRIBE" && self.streams.len() + names.len() > STREAMS_MAX {
                    return Err(invalid(format!("at most {STREAMS_MAX} streams on a connection")));
                }
                for name in names {
                    match method {
                        "SUBSCRIBE" => self.subscribe(name, desk),
                        _ => self.unsubscribe(name, desk),
                    }
                }
                Ok(Value::Null)
            }
            "LIST_SUBSCRIPTIONS" => Ok(json!(self.streams)),
            "GET_PROPERTY" => match params.and_then(|params| params.first()).and_then(Value::as_str) {
                Some("combined") => Ok(json!(self.combined)),
                _ => Err((0, "Unknown property".to_owned())),
            },
            "SET_PROPERTY" => match params.map(Vec::as_slice) {
                Some([Value::String(name), Value::Bool(value)]) if name == "combined" => {
                    self.combined = *value;
                    desk.out.dress = dress(*value);
                    Ok(Value::Null)
                }
                Some([Value::String(name), _]) if name == "combined" => {
                    Err((1, "Invalid value type: expected Boolean".to_owned()))
                }
                _ => Err((0, "Unknown property".to_owned())),
            },
            other => Err(invalid(format!(
                "unknown variant `{other}`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, \
                 `SET_PROPERTY`, `GET_PROPERTY`"
            ))),
        }
    }
}

fn dress(combined: bool) -> Dress {
    if combined { Dress::Wrapped } else { Dress::Bare }
}

impl ConnectionProtocol for Protocol {
    fn open(&mut self, desk: &mut Desk<'_>) {
        desk.out.dress = dress(self.combined);
        for stream in std::mem::take(&mut self.from_path) {
            self.subscribe(&stream, desk);
        }
    }

    fn heard(&mut self, what: Heard, now: UnixNanos) -> Option<Close> {
        if what == Heard::Pong {
            self.waiting_since = None;
        }
        while self.heard.front().is_some_and(|first| now.since(*first) >= Duration::from_secs(1)) {
            self.heard.pop_front();
        }
        self.heard.push_back(now);
        let many = self.heard.len() > self.limits.messages_per_s;
        many.then_some(Close { code: 1008, reason: "Too many requests" })
    }

    fn text(&mut self, text: &[u8], desk: &mut Desk<'_>) {
        let request: Value = match serde_json::from_slice(text) {
            Ok(request) => request,
            Err(error) => {
                let answer = json!({"code": 3, "msg": format!("Invalid JSON: {error}")});
                return desk.say(&answer.to_string());
            }
        };
        let id = request["id"].clone();
        let answer = match self.request(&request, desk) {
            Ok(result) => format!("{{\"result\":{result},\"id\":{id}}}"),
            Err((code, msg)) => format!("{{\"code\":{code},\"msg\":{},\"id\":{id}}}", Value::from(msg)),
        };
        desk.say(&answer);
    }

    fn turn(&mut self, desk: &mut Desk<'_>) -> Option<Close> {
        let now = desk.now;
        if now.since(self.opened) >= self.limits.connection_age {
            return Some(Close { code: 1001, reason: "connection reached its age" });
        }
        if self.waiting_since.is_some_and(|since| now.since(since) >= self.limits.pong_within) {
            return Some(Close { code: 1008, reason: "Pong timeout" });
        }
        if now >= self.next_ping {
            desk.ping((now.0 / 1_000_000).to_string().as_bytes());
            self.next_ping = now.after(self.limits.ping_every);
            self.waiting_since.get_or_insert(now);
        }
        None
    }

    fn next_timer(&self) -> UnixNanos {
        let age = self.opened.after(self.limits.connection_age);
        let pong = self.waiting_since.map_or(UnixNanos(u64::MAX), |since| since.after(self.limits.pong_within));
        self.next_ping.min(age).min(pong)
    }
}
