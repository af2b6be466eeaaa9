//! One Advanced Trade connection: one channel a message, snapshots before the acknowledgement, as recorded.

use model::UnixNanos;
use serde_json::{Map, Value, json};

use super::super::Subscriptions;
use super::super::exchange::{join, leave};
use super::super::protocol::error;
use super::{CHANNELS, HEARTBEATS, topic_name};
use crate::connection::Desk;
use crate::text::push_rfc3339_trimmed;

#[derive(Default)]
pub(crate) struct Session {
    subscriptions: Subscriptions,
}

impl Session {
    /// Handles a message; `true` when it subscribed to something.
    pub(crate) fn request(&mut self, request: &Value, desk: &mut Desk<'_>) -> bool {
        let kind = request["type"].as_str().unwrap_or_default();
        let done = match kind {
            "subscribe" | "unsubscribe" => self.change(kind == "subscribe", request, desk),
            _ => Err("type must be subscribe or unsubscribe".to_owned()),
        };
        if let Err(message) = done {
            desk.say(&error(&message, None));
            return false;
        }
        kind == "subscribe"
    }

    fn change(&mut self, subscribes: bool, request: &Value, desk: &mut Desk<'_>) -> Result<(), String> {
        let channel = request["channel"].as_str().filter(|channel| !channel.is_empty()).ok_or("channel required")?;
        if channel == HEARTBEATS {
            let name = topic_name(HEARTBEATS, "");
            match subscribes {
                // Nobody is told anything first: the next beat comes within the second.
                true => drop(join(&name, desk)),
                false => leave(&name, desk),
            }
            self.note(subscribes, HEARTBEATS, HEARTBEATS);
            self.acknowledge(desk);
            return Ok(());
        }
        if !CHANNELS.contains(&channel) {
            return Err(format!("channel {channel} is not supported"));
        }
        let products = products(request, desk)?;
        for product in &products {
            let name = topic_name(channel, product);
            match subscribes {
                true => {
                    if let Some((topic, frame)) = join(&name, desk) {
                        desk.snapshot(topic, &frame);
                    }
                }
                false => leave(&name, desk),
            }
            self.note(subscribes, channel, product);
        }
        self.acknowledge(desk);
        Ok(())
    }

    fn note(&mut self, subscribes: bool, channel: &str, product: &str) {
        match subscribes {
            true => self.subscriptions.add(channel, Some(product)),
            false => self.subscriptions.remove(channel, Some(product)),
        }
    }

    fn acknowledge(&self, desk: &mut Desk<'_>) {
        let list = |(name, products): &(String, Vec<String>)| (name.clone(), json!(products));
        let set: Map<String, Value> = self.subscriptions.0.iter().map(list).collect();
        let mut frame = Vec::new();
        push_envelope("subscriptions", desk.now, &mut frame);
        frame.extend_from_slice(format!("{{\"subscriptions\":{}}}]}}", Value::Object(set)).as_bytes());
        desk.say(&String::from_utf8_lossy(&frame));
    }
}

/// The products a message means, under the names their data carries. All there are when it names none.
fn products(request: &Value, desk: &mut Desk<'_>) -> Result<Vec<String>, String> {
    let known: Vec<String> = desk.market().pairs().iter().map(|pair| pair.symbol.clone()).collect();
    let Some(asked) = request["product_ids"].as_array().filter(|asked| !asked.is_empty()) else {
        return Ok(known);
    };
    let mut products = Vec::new();
    for id in asked {
        let id = id.as_str().ok_or("product_ids must be strings")?;
        // A pair against USDC is another name of the one against USD, and its data is labelled with that.
        let plain = id.strip_suffix("-USDC").map(|base| format!("{base}-USD"));
        let found = known.iter().find(|product| *product == id || plain.as_ref() == Some(product));
        products.push(found.ok_or_else(|| format!("product {id} not found"))?.clone());
    }
    Ok(products)
}

/// Appends the envelope of a frame up to its first event. The number is put in when a connection sends it.
pub(super) fn push_envelope(channel: &str, time: UnixNanos, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"channel\":\"");
    out.extend_from_slice(channel.as_bytes());
    out.extend_from_slice(b"\",\"client_id\":\"\",\"timestamp\":\"");
    push_rfc3339_trimmed(time, 9, out);
    out.extend_from_slice(b"\",\"sequence_num\":0,\"events\":[");
}
