//! One WebSocket v2 connection: status first, one ack per symbol before its snapshot, heartbeats in silence.
//!
//! What Kraken does not document is a choice here: the text of a failed ack, its top-level `symbol`, and that an
//! identical second subscription fails.

use std::time::Duration;

use feed::websocket::handshake::RequestHead;
use model::UnixNanos;
use serde_json::Value;

use super::{DEPTHS, INTERVALS_MIN};
use crate::connection::{Close, Desk, Heard, Protocol as ConnectionProtocol};
use crate::market::TopicId;
use crate::options::Limits;
use crate::text::push_rfc3339;

const PATH: &str = "/v2";

pub(crate) struct Protocol {
    number: u64,
    heartbeat: Duration,
    idle: Duration,
    /// Heartbeats begin with the first subscription.
    beats: bool,
    last_heard: UnixNanos,
    last_text: UnixNanos,
    subscriptions: usize,
}

/// A subscription as one ack tells it.
struct Wanted {
    /// The topic's name in the market.
    topic: String,
    /// The fields of `result` behind the channel.
    result: String,
    symbol: Option<String>,
    snapshot: bool,
}

impl Protocol {
    /// The protocol spoken at a path, if one is.
    pub(crate) fn at(
        head: &RequestHead,
        number: u64,
        limits: &Limits,
        now: UnixNanos,
    ) -> Option<Box<dyn ConnectionProtocol>> {
        (head.path.trim_end_matches('/') == PATH).then(|| {
            let (heartbeat, idle) = (limits.heartbeat, limits.idle);
            let protocol =
                Protocol { number, heartbeat, idle, beats: false, last_heard: now, last_text: now, subscriptions: 0 };
            Box::new(protocol) as Box<dyn ConnectionProtocol>
        })
    }

    fn change(&mut self, method: &str, params: &Value, id: &str, desk: &mut Desk<'_>) {
        let channel = params["channel"].as_str().unwrap_or_default();
        match channel {
            "heartbeat" => {
                // One page of the documentation shows an explicit subscription; the beats are the same.
                self.beats = true;
                return desk.say(&success(method, "\"channel\":\"heartbeat\"", id, desk.now));
            }
            "instrument" => {
                let snapshot = params["snapshot"].as_bool().unwrap_or(true);
                let result = format!(",\"snapshot\":{snapshot}");
                let wanted = Wanted { topic: "instrument".to_owned(), result, symbol: None, snapshot };
                return self.change_one(method, channel, &wanted, id, desk);
            }
            "trade" | "book" | "ticker" | "ohlc" => {}
            other => {
                let text = if other.is_empty() {
                    "Channel field not specified".to_owned()
                } else {
                    "Unsupported channel".to_owned()
                };
                return desk.say(&failure(method, &text, None, id, desk.now));
            }
        }
        let Some(symbols) = params["symbol"].as_array().filter(|symbols| !symbols.is_empty()) else {
            return desk.say(&failure(method, "Symbol(s) not found", None, id, desk.now));
        };
        for symbol in symbols {
            let symbol = symbol.as_str().unwrap_or_default();
            if !desk.market().pairs().iter().any(|pair| pair.symbol == symbol) {
                let text = format!("Currency pair not supported {symbol}");
                desk.say(&failure(method, &text, Some(symbol), id, desk.now));
                continue;
            }
            match wanted(channel, symbol, params) {
                Ok(wanted) => self.change_one(method, channel, &wanted, id, desk),
                Err(text) => desk.say(&failure(method, &text, Some(symbol), id, desk.now)),
            }
        }
    }

    fn change_one(&mut self, method: &str, channel: &str, wanted: &Wanted, id: &str, desk: &mut Desk<'_>) {
        let symbol = wanted.symbol.as_deref();
        let Some(topic) = desk.market().topic(&wanted.topic) else {
            let text = format!("The recorded session has no {}", wanted.topic);
            return desk.say(&failure(method, &text, symbol, id, desk.now));
        };
        let symbol_field = symbol.map(|s| format!(",\"symbol\":{}", Value::from(s))).unwrap_or_default();
        let result = format!("\"channel\":\"{channel}\"{}{symbol_field}", wanted.result);
        match method {
            "subscribe" if desk.is_subscribed(topic) => {
                desk.say(&failure(method, "Already subscribed", symbol, id, desk.now));
            }
            "subscribe" => self.subscribe(topic, &success(method, &result, id, desk.now), wanted.snapshot, desk),
            _ if desk.unsubscribe(topic) => {
                self.subscriptions -= 1;
                desk.say(&success(method, &result, id, desk.now));
            }
            _ => desk.say(&failure(method, "Subscription Not Found", symbol, id, desk.now)),
        }
    }

    fn subscribe(&mut self, topic: TopicId, ack: &str, wants_snapshot: bool, desk: &mut Desk<'_>) {
        let snapshot = desk.subscribe(topic);
        self.subscriptions += 1;
        self.beats = true;
        desk.say(ack);
        if let Some(snapshot) = snapshot.filter(|_| wants_snapshot) {
            desk.snapshot(topic, &snapshot);
        }
    }
}

impl ConnectionProtocol for Protocol {
    fn open(&mut self, desk: &mut Desk<'_>) {
        // Above 2^63, as Kraken's are: readers must not take it for a signed number.
        let id = (1_u64 << 63) + self.number;
        desk.say(&format!(
            "{{\"channel\":\"status\",\"type\":\"update\",\"data\":[{{\"version\":\"2.0.10\",\"system\":\"online\",\
             \"api_version\":\"v2\",\"connection_id\":{id}}}]}}"
        ));
    }

    fn heard(&mut self, _: Heard, now: UnixNanos) -> Option<Close> {
        self.last_heard = now;
        None
    }

    fn text(&mut self, text: &[u8], desk: &mut Desk<'_>) {
        let Ok(Value::Object(request)) = serde_json::from_slice(text) else {
            return desk.say(&failure("", "Invalid JSON", None, "", desk.now));
        };
        let params = request.get("params").cloned().unwrap_or(Value::Null);
        // Tables of the documentation put req_id into params, its examples beside them.
        let id = request.get("req_id").or_else(|| params.get("req_id"));
        let id = id.map(|id| format!("\"req_id\":{id},")).unwrap_or_default();
        match request.get("method").and_then(Value::as_str) {
            Some("ping") => {
                let now = stamp(desk.now);
                desk.say(&format!("{{\"method\":\"pong\",{id}\"time_in\":\"{now}\",\"time_out\":\"{now}\"}}"));
            }
            Some(method @ ("subscribe" | "unsubscribe")) => self.change(method, &params, &id, desk),
            Some(other) => desk.say(&failure(other, "Unsupported event", None, &id, desk.now)),
            None => desk.say(&failure("", "Method not specified", None, &id, desk.now)),
        }
    }

    fn turn(&mut self, desk: &mut Desk<'_>) -> Option<Close> {
        self.last_text = desk.out.last_text;
        if self.beats && desk.now.since(self.last_text) >= self.heartbeat {
            desk.say("{\"channel\":\"heartbeat\"}");
            self.last_text = desk.now;
        }
        let idle = self.subscriptions == 0 && desk.now.since(self.last_heard) >= self.idle;
        idle.then_some(Close { code: 1000, reason: "idle" })
    }

    fn next_timer(&self) -> UnixNanos {
        let idle = if self.subscriptions == 0 { self.last_heard.after(self.idle) } else { UnixNanos(u64::MAX) };
        if self.beats { idle.min(self.last_text.after(self.heartbeat)) } else { idle }
    }
}

/// What a request means for one symbol, or the text of its failure.
fn wanted(channel: &str, symbol: &str, params: &Value) -> Result<Wanted, String> {
    let number = |name: &str, default: u64| params[name].as_u64().or(params[name].is_null().then_some(default));
    let snapshot = params["snapshot"].as_bool().unwrap_or(channel != "trade");
    let (topic, result) = match channel {
        "book" => {
            let depth = number("depth", 10).filter(|depth| DEPTHS.iter().any(|d| *d as u64 == *depth));
            let depth = depth.ok_or("Subscription depth not supported")?;
            (format!("book:{symbol}:{depth}"), format!(",\"depth\":{depth}"))
        }
        "ohlc" => {
            let minutes = number("interval", 1).filter(|minutes| INTERVALS_MIN.contains(minutes));
            let minutes = minutes.ok_or("Subscription ohlc interval not supported")?;
            (format!("ohlc:{symbol}:{minutes}"), format!(",\"interval\":{minutes}"))
        }
        "ticker" => {
            let trigger = params["event_trigger"].as_str().unwrap_or("trades");
            if !["trades", "bbo"].contains(&trigger) {
                return Err("Unsupported event_trigger".to_owned());
            }
            (format!("ticker:{symbol}:{trigger}"), format!(",\"event_trigger\":\"{trigger}\""))
        }
        _ => (format!("trade:{symbol}"), String::new()),
    };
    let result = format!("{result},\"snapshot\":{snapshot}");
    Ok(Wanted { topic, result, symbol: Some(symbol.to_owned()), snapshot })
}

fn stamp(now: UnixNanos) -> String {
    let mut out = Vec::new();
    push_rfc3339(now, 6, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn success(method: &str, result: &str, id: &str, now: UnixNanos) -> String {
    let now = stamp(now);
    format!(
        "{{\"method\":\"{method}\",{id}\"result\":{{{result}}},\"success\":true,\"time_in\":\"{now}\",\
         \"time_out\":\"{now}\"}}"
    )
}

fn failure(method: &str, error: &str, symbol: Option<&str>, id: &str, now: UnixNanos) -> String {
    let now = stamp(now);
    let symbol = symbol.map(|symbol| format!("\"symbol\":{},", Value::from(symbol))).unwrap_or_default();
    format!(
        "{{\"error\":{},\"method\":{},{id}\"success\":false,{symbol}\"time_in\":\"{now}\",\"time_out\":\"{now}\"}}",
        Value::from(error),
        Value::from(method)
    )
}
