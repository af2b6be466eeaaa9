//! What we say to the venue: one channel a message.

use super::machine::Advanced;
use super::map::BAR_SECONDS;
use super::spec::SPEC;
use crate::{Known, MachineError, Outbox, Outgoing, Settings};
use model::{StreamKind, UnixNanos};

/// Products in one message. The venue names no limit; its own clients send dozens.
const PRODUCTS_PER_MESSAGE: usize = 100;

/// Checks what can be asked for. When whatever arrives is taken in, nothing is asked for.
pub fn check(settings: &Settings) -> Result<(), MachineError> {
    let wants_bars = settings.streams.contains(&StreamKind::Bar) && !settings.symbols.is_empty();
    if wants_bars && settings.bar_interval_s != BAR_SECONDS {
        return Err(MachineError::Setting {
            venue: SPEC.venue,
            key: "bar_interval_s",
            value: settings.bar_interval_s.to_string(),
            allowed: format!(
                "{BAR_SECONDS}, the only interval of the candles channel; or leave bars out of the streams"
            ),
        });
    }
    Ok(())
}

/// A message; without products where the channel has none.
fn message(kind: &str, channel: &str, products: &[&str]) -> String {
    let kind = format!(r#""type":"{kind}""#);
    let list = serde_json::to_string(products).expect("a list of strings is JSON");
    let products = if products.is_empty() { String::new() } else { format!(r#","product_ids":{list}"#) };
    format!(r#"{{{kind}{products},"channel":"{channel}"}}"#)
}

impl Advanced {
    /// Sends a message for a channel of these instruments.
    pub(super) fn send(&mut self, kind: &str, channel: &str, instruments: &[Known], out: &mut Outbox) {
        for batch in instruments.chunks(PRODUCTS_PER_MESSAGE) {
            let names: Vec<&str> = batch.iter().map(|k| self.markets[*k as usize].data_name.as_str()).collect();
            out.frames.push(Outgoing::text(message(kind, channel, &names)));
        }
    }

    /// Heartbeats keep the connection open and must be asked for within seconds, so they come first and by themselves.
    pub(super) fn subscribe_heartbeats(&self, out: &mut Outbox) {
        out.frames.push(Outgoing::text(message("subscribe", "heartbeats", &[])));
    }

    /// Subscribes to everything that is defined and was not asked for on this connection.
    pub(super) fn subscribe(&mut self, now: UnixNanos, out: &mut Outbox) {
        if !self.is_open() || self.learns() {
            return;
        }
        let new: Vec<Known> =
            (0..self.markets.len() as Known).filter(|k| !self.markets[*k as usize].subscribed).collect();
        if new.is_empty() {
            return;
        }
        for k in &new {
            self.markets[*k as usize].subscribed = true;
        }
        for stream in self.settings.streams.clone() {
            let channel = match stream {
                StreamKind::Trade => "market_trades",
                StreamKind::Book => {
                    self.ask_books(&new, now, out);
                    continue;
                }
                StreamKind::Quote => "ticker",
                StreamKind::Bar => "candles",
                _ => continue,
            };
            self.send("subscribe", channel, &new, out);
            for k in &new {
                self.watch.start(*k, stream, now);
            }
        }
        self.send("subscribe", "status", &new, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_one_channel() {
        let some = message("subscribe", "level2", &["BTC-USD", "ETH-USD"]);
        assert_eq!(some, r#"{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channel":"level2"}"#);
        assert_eq!(message("subscribe", "heartbeats", &[]), r#"{"type":"subscribe","channel":"heartbeats"}"#);
    }

    #[test]
    fn bars_have_one_interval() {
        let with = |symbols: &[&str], bar_interval_s| Settings {
            symbols: symbols.iter().map(|s| (*s).to_owned()).collect(),
            bar_interval_s,
            ..Settings::default()
        };
        assert_eq!(check(&with(&["BTC-USD"], 300)), Ok(()));
        assert_eq!(check(&with(&[], 60)), Ok(()), "nothing is asked for when a capture is read");
        let refused = check(&with(&["BTC-USD"], 60)).expect_err("no such interval").to_string();
        assert!(refused.starts_with("coinbase: bar_interval_s cannot be 60; it can be 300"), "{refused}");
        let without = Settings { streams: vec![StreamKind::Trade], ..with(&["BTC-USD"], 60) };
        assert_eq!(check(&without), Ok(()));
    }
}
