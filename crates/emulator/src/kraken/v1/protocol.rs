//! One v1 connection: status first, one ack a pair before its snapshot, heartbeats in silence.

use std::time::Duration;

use feed::websocket::handshake::RequestHead;
use model::UnixNanos;
use serde_json::{Value, json};

use super::super::{DEPTHS, INTERVALS_MIN, wsname};
use super::frames::channel_id;
use super::topic_name;
use crate::connection::{Close, Desk, Heard, Protocol as ConnectionProtocol};
use crate::options::Limits;

pub(crate) struct Protocol {
    number: u64,
    heartbeat: Duration,
    idle: Duration,
    last_heard: UnixNanos,
    last_text: UnixNanos,
    subscriptions: usize,
}

impl Protocol {
    /// The protocol spoken at a path, if one is.
    pub(crate) fn at(
        head: &RequestHead,
        number: u64,
        limits: &Limits,
        now: UnixNanos,
    ) -> Option<Box<dyn ConnectionProtocol>> {
        head.path.trim_end_matches('/').is_empty().then(|| {
            let (heartbeat, idle) = (limits.heartbeat, limits.idle);
            let protocol = Protocol { number, heartbeat, idle, last_heard: now, last_text: now, subscriptions: 0 };
            Box::new(protocol) as Box<dyn ConnectionProtocol>
        })
    }

    fn change(&mut self, subscribes: bool, request: &Value, desk: &mut Desk<'_>) {
        let wanted = &request["subscription"];
        let pairs = request["pair"].as_array().filter(|pairs| !pairs.is_empty());
        let Some(pairs) = pairs else {
            return desk.say(&failure("Pair field must be an array", request, None));
        };
        for pair in pairs {
            let asked = pair.as_str().unwrap_or_default();
            let found = desk.market().pairs().iter().find(|known| wsname(known) == asked || known.symbol == asked);
            let Some(found) = found.cloned() else {
                desk.say(&failure(&format!("Currency pair not supported {asked}"), request, Some(asked)));
                continue;
            };
            match channel(wanted) {
                Ok((channel, echo)) => self.change_one(subscribes, &channel, &echo, &found, request, desk),
                Err(text) => desk.say(&failure(text, request, Some(asked))),
            }
        }
    }

    fn change_one(
        &mut self,
        subscribes: bool,
        channel: &str,
        echo: &Value,
        pair: &crate::market::Pair,
        request: &Value,
        desk: &mut Desk<'_>,
    ) {
        let name = wsname(pair);
        let Some(topic) = desk.market().topic(&topic_name(channel, &pair.symbol)) else {
            let text = format!("The recorded session has no {channel}");
            return desk.say(&failure(&text, request, Some(&name)));
        };
        if subscribes == desk.is_subscribed(topic) {
            let text = if subscribes { "Already subscribed" } else { "Subscription Not Found" };
            return desk.say(&failure(text, request, Some(&name)));
        }
        let snapshot = if subscribes { desk.subscribe(topic) } else { None };
        match subscribes {
            true => self.subscriptions += 1,
            false => {
                desk.unsubscribe(topic);
                self.subscriptions -= 1;
            }
        }
        let mut ack = json!({
            "channelID": channel_id(channel, &pair.symbol), "channelName": channel, "event": "subscriptionStatus",
            "pair": name, "status": if subscribes { "subscribed" } else { "unsubscribed" }, "subscription": echo,
        });
        if let Some(id) = request.get("reqid") {
            ack["reqid"] = id.clone();
        }
        desk.say(&ack.to_string());
        if let Some(snapshot) = snapshot {
            desk.snapshot(topic, &snapshot);
        }
    }
}

/// The channel's whole name and what the ack echoes of the subscription, or the text of its failure.
fn channel(wanted: &Value) -> Result<(String, Value), &'static str> {
    let number = |name: &str, default: u64| wanted[name].as_u64().or(wanted[name].is_null().then_some(default));
    match wanted["name"].as_str().unwrap_or_default() {
        "book" => {
            let depth = number("depth", 10).filter(|depth| DEPTHS.iter().any(|d| *d as u64 == *depth));
            let depth = depth.ok_or("Subscription depth not supported")?;
            Ok((format!("book-{depth}"), json!({"depth": depth, "name": "book"})))
        }
        "ohlc" => {
            let minutes = number("interval", 1).filter(|minutes| INTERVALS_MIN.contains(minutes));
            let minutes = minutes.ok_or("Subscription ohlc interval not supported")?;
            Ok((format!("ohlc-{minutes}"), json!({"interval": minutes, "name": "ohlc"})))
        }
        name @ ("trade" | "ticker" | "spread") => Ok((name.to_owned(), json!({"name": name}))),
        _ => Err("Subscription name invalid"),
    }
}

fn failure(text: &str, request: &Value, pair: Option<&str>) -> String {
    let mut answer = json!({"errorMessage": text, "event": "subscriptionStatus", "status": "error"});
    if let Some(pair) = pair {
        answer["pair"] = Value::from(pair);
    }
    if let Some(wanted) = request.get("subscription") {
        answer["subscription"] = wanted.clone();
    }
    if let Some(id) = request.get("reqid") {
        answer["reqid"] = id.clone();
    }
    answer.to_string()
}

impl ConnectionProtocol for Protocol {
    fn open(&mut self, desk: &mut Desk<'_>) {
        let id = (1_u64 << 63) + self.number;
        desk.say(&format!(
            "{{\"connectionID\":{id},\"event\":\"systemStatus\",\"status\":\"online\",\"version\":\"1.9.6\"}}"
        ));
    }

    fn heard(&mut self, _: Heard, now: UnixNanos) -> Option<Close> {
        self.last_heard = now;
        None
    }

    fn text(&mut self, text: &[u8], desk: &mut Desk<'_>) {
        let request: Value = serde_json::from_slice(text).unwrap_or(Value::Null);
        match request["event"].as_str() {
            Some("ping") => {
                let id = request.get("reqid").map(|id| format!(",\"reqid\":{id}")).unwrap_or_default();
                desk.say(&format!("{{\"event\":\"pong\"{id}}}"));
            }
            Some(event @ ("subscribe" | "unsubscribe")) => self.change(event == "subscribe", &request, desk),
            _ => desk.say("{\"errorMessage\":\"Malformed request\",\"event\":\"error\"}"),
        }
    }

    fn turn(&mut self, desk: &mut Desk<'_>) -> Option<Close> {
        self.last_text = desk.out.last_text;
        if self.subscriptions > 0 && desk.now.since(self.last_text) >= self.heartbeat {
            desk.say("{\"event\":\"heartbeat\"}");
            self.last_text = desk.now;
        }
        let idle = self.subscriptions == 0 && desk.now.since(self.last_heard) >= self.idle;
        idle.then_some(Close { code: 1000, reason: "idle" })
    }

    fn next_timer(&self) -> UnixNanos {
        match self.subscriptions {
            0 => self.last_heard.after(self.idle),
            _ => self.last_text.after(self.heartbeat),
        }
    }
}
