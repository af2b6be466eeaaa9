//! One Exchange connection: subscriptions by channel and product, told in full after each change.

use serde_json::{Value, json};

use super::super::Subscriptions;
use super::super::protocol::error;
use super::signature::is_signed;
use super::{CHANNELS, topic_name};
use crate::connection::Desk;
use crate::market::TopicId;
use crate::options::Account;

/// Channels that want a signature.
const SIGNED: [&str; 2] = ["level2", "full"];
/// The channel without products.
const STATUS: &str = "status";

pub(crate) struct Session {
    account: Account,
    subscriptions: Subscriptions,
}

impl Session {
    pub(crate) fn new(account: Account) -> Self {
        Self { account, subscriptions: Subscriptions::default() }
    }

    /// Handles a message; `true` when it subscribed to something.
    pub(crate) fn request(&mut self, request: &Value, desk: &mut Desk<'_>) -> bool {
        let kind = request["type"].as_str().unwrap_or_default();
        let done = match kind {
            "subscribe" => self.subscribe(request, desk),
            "unsubscribe" => self.unsubscribe(request, desk),
            _ => Err("Type has to be either subscribe or unsubscribe".to_owned()),
        };
        if let Err(reason) = done {
            let message = if kind == "unsubscribe" { "Failed to unsubscribe" } else { "Failed to subscribe" };
            desk.say(&error(message, Some(&reason)));
            return false;
        }
        kind == "subscribe" && !self.subscriptions.is_empty()
    }

    fn subscribe(&mut self, request: &Value, desk: &mut Desk<'_>) -> Result<(), String> {
        let wanted = wanted(request)?;
        for (channel, products) in &wanted {
            if SIGNED.contains(&channel.as_str()) && !is_signed(request, &self.account) {
                return Err(format!("{channel} requires authentication"));
            }
            if products.is_empty() && channel != STATUS {
                return Err(format!("product_ids required for {channel}"));
            }
            let market = desk.market();
            let known = |product: &String| market.pairs().iter().any(|pair| pair.symbol == *product);
            if let Some(unknown) = products.iter().find(|product| !known(product)).filter(|_| channel != STATUS) {
                return Err(format!("{unknown} is not a valid product"));
            }
        }
        let mut snapshots = Vec::new();
        for (channel, products) in &wanted {
            if channel == STATUS {
                self.subscriptions.add(STATUS, None);
                snapshots.extend(join(&topic_name(STATUS, ""), desk));
            }
            for product in products.iter().filter(|_| channel != STATUS) {
                self.subscriptions.add(channel, Some(product));
                snapshots.extend(join(&topic_name(channel, product), desk));
            }
        }
        self.acknowledge(desk);
        snapshots.iter().for_each(|(topic, frame)| desk.snapshot(*topic, frame));
        Ok(())
    }

    fn unsubscribe(&mut self, request: &Value, desk: &mut Desk<'_>) -> Result<(), String> {
        for (channel, products) in wanted(request)? {
            let products = if products.is_empty() { self.subscriptions.of(&channel) } else { products };
            if channel == STATUS {
                self.subscriptions.remove(STATUS, None);
                leave(&topic_name(STATUS, ""), desk);
            }
            for product in &products {
                self.subscriptions.remove(&channel, Some(product));
                leave(&topic_name(&channel, product), desk);
            }
        }
        self.acknowledge(desk);
        Ok(())
    }

    fn acknowledge(&self, desk: &mut Desk<'_>) {
        let entry = |(name, products): &(String, Vec<String>)| json!({"name": name, "product_ids": products});
        let channels: Vec<Value> = self.subscriptions.0.iter().map(entry).collect();
        desk.say(&format!("{{\"type\":\"subscriptions\",\"channels\":{}}}", Value::from(channels)));
    }
}

/// The topic of a name. Captures cannot tell the two level 2 channels apart, so that theirs stands for both.
fn topic(name: &str, desk: &mut Desk<'_>) -> Option<TopicId> {
    desk.market().topic(name).or_else(|| desk.market().topic(&name.replace(":level2_batch:", ":level2:")))
}

/// Subscribes to a topic; a session that lacks it is silent.
pub(crate) fn join(name: &str, desk: &mut Desk<'_>) -> Option<(TopicId, Vec<u8>)> {
    let Some(topic) = topic(name, desk) else {
        tracing::warn!(name, "the emulated session has no such stream; it stays silent");
        return None;
    };
    desk.subscribe(topic).map(|frame| (topic, frame))
}

pub(crate) fn leave(name: &str, desk: &mut Desk<'_>) {
    if let Some(topic) = topic(name, desk) {
        desk.unsubscribe(topic);
    }
}

/// The channels of a message with the products of each: their own, or those of the message.
fn wanted(request: &Value) -> Result<Vec<(String, Vec<String>)>, String> {
    let products = |value: &Value| -> Result<Vec<String>, String> {
        let Some(list) = value.as_array() else { return Ok(Vec::new()) };
        let texts: Option<Vec<String>> = list.iter().map(|product| product.as_str().map(str::to_owned)).collect();
        texts.ok_or_else(|| "product_ids must be strings".to_owned())
    };
    let shared = products(&request["product_ids"])?;
    let channels = request["channels"].as_array().filter(|channels| !channels.is_empty());
    let mut wanted = Vec::new();
    for channel in channels.ok_or("channels required")? {
        let (name, own) = match channel {
            Value::String(name) => (name.as_str(), Vec::new()),
            other => (other["name"].as_str().unwrap_or_default(), products(&other["product_ids"])?),
        };
        if name != STATUS && !CHANNELS.contains(&name) {
            return Err(format!("{name} is not a valid channel"));
        }
        wanted.push((name.to_owned(), if own.is_empty() { shared.clone() } else { own }));
    }
    Ok(wanted)
}
