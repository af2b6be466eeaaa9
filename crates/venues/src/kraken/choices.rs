//! Where Kraken's documents are silent or disagree, the reading is a choice with a default, set by name in the
//! configuration and listed in this folder's README.

use super::spec::SPEC;
use crate::MachineError;

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }
        impl $name {
            const NAMES: &'static [&'static str] = &[$($text),+];
            fn from_name(name: &str) -> Option<$name> {
                match name { $($text => Some($name::$variant),)+ _ => None }
            }
            #[cfg(test)]
            fn name(self) -> &'static str { match self { $($name::$variant => $text),+ } }
        }
    };
}

choice! {
    /// The protocol that is spoken.
    Api {
        /// WebSocket v2.
        #[default] V2 = "v2",
        /// The older WebSocket v1, whose trades have no ids.
        V1 = "v1",
    }
}

choice! {
    /// What makes the venue send a ticker.
    TickerTrigger {
        /// The best bid or offer changed.
        #[default] Bbo = "bbo",
        /// A trade happened.
        Trades = "trades",
    }
}

choice! {
    /// When the last 50 trades are asked for with a subscription.
    TradeSnapshot {
        /// When trades may have been missed: after a reconnect or restart that knows the last id.
        #[default] Missed = "missed",
        /// With every subscription.
        Always = "always",
        /// Never: what was missed is a gap.
        Never = "never",
    }
}

choice! {
    /// Whether trade ids of an instrument follow one another without holes.
    TradeIds {
        /// They do: a jump is a gap with exact ids.
        #[default] Contiguous = "contiguous",
        /// They only rise: nothing follows from a jump.
        Rising = "rising",
    }
}

choice! {
    /// What is done with the venue's checksum of a book.
    ChecksumRule {
        /// Compared after every message; a difference makes the book suspect and brings a new snapshot.
        #[default] Verify = "verify",
        /// Not compared. A lost message then stays unnoticed.
        Ignore = "ignore",
    }
}

choice! {
    /// Where a request's `req_id` stands: the documents' tables say one thing, their examples the other.
    RequestId {
        /// Beside `method`, as in all examples.
        #[default] Top = "top",
        /// Inside `params`, as in the tables.
        Params = "params",
    }
}

choice! {
    /// How heartbeats are had: one page says by themselves, another shows a subscription.
    Heartbeat {
        /// They come with any subscription.
        #[default] Automatic = "automatic",
        /// They are subscribed to.
        Subscribe = "subscribe",
    }
}

choice! {
    /// Whether trades missed between two of the stream are fetched by REST.
    Backfill {
        /// They are, and told late.
        #[default] On = "on",
        /// They stay a gap.
        Off = "off",
    }
}

/// All choices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// `api`; not set, v2 is spoken and captured frames are read by what they are.
    pub api: Option<Api>,
    /// `ticker_trigger`
    pub ticker_trigger: TickerTrigger,
    /// `trade_snapshot`
    pub trade_snapshot: TradeSnapshot,
    /// `trade_ids`
    pub trade_ids: TradeIds,
    /// `checksum`
    pub checksum: ChecksumRule,
    /// `req_id`
    pub req_id: RequestId,
    /// `heartbeat`
    pub heartbeat: Heartbeat,
    /// `backfill`
    pub backfill: Backfill,
}

const KEYS: [&str; 8] =
    ["api", "ticker_trigger", "trade_snapshot", "trade_ids", "checksum", "req_id", "heartbeat", "backfill"];

impl Choices {
    /// Reads choices from key and value texts; unknown ones are refused, naming the known.
    pub fn read(pairs: &[(String, String)]) -> Result<Choices, MachineError> {
        let mut choices = Choices::default();
        for (key, value) in pairs {
            choices.set(key, value)?;
        }
        Ok(choices)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), MachineError> {
        let set = match key {
            "api" => put(&mut self.api, Api::from_name(value).map(Some), Api::NAMES),
            "ticker_trigger" => put(&mut self.ticker_trigger, TickerTrigger::from_name(value), TickerTrigger::NAMES),
            "trade_snapshot" => put(&mut self.trade_snapshot, TradeSnapshot::from_name(value), TradeSnapshot::NAMES),
            "trade_ids" => put(&mut self.trade_ids, TradeIds::from_name(value), TradeIds::NAMES),
            "checksum" => put(&mut self.checksum, ChecksumRule::from_name(value), ChecksumRule::NAMES),
            "req_id" => put(&mut self.req_id, RequestId::from_name(value), RequestId::NAMES),
            "heartbeat" => put(&mut self.heartbeat, Heartbeat::from_name(value), Heartbeat::NAMES),
            "backfill" => put(&mut self.backfill, Backfill::from_name(value), Backfill::NAMES),
            _ => return Err(refused("a choice", key, KEYS.join(", "))),
        };
        let known = KEYS.into_iter().find(|k| *k == key).expect("matched above");
        set.map_err(|allowed| refused(known, value, allowed))
    }
}

fn put<T>(choice: &mut T, value: Option<T>, allowed: &[&str]) -> Result<(), String> {
    *choice = value.ok_or_else(|| allowed.join(" or "))?;
    Ok(())
}

fn refused(key: &'static str, value: &str, allowed: String) -> MachineError {
    MachineError::Setting { venue: SPEC.venue, key, value: value.to_owned(), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Result<Choices, String> {
        Choices::read(&[(key.to_owned(), value.to_owned())]).map_err(|e| e.to_string())
    }

    #[test]
    fn every_key_is_read_and_every_other_refused_by_name() {
        assert_eq!(Choices::read(&[]), Ok(Choices::default()));
        assert_eq!(read("api", "v1").map(|c| c.api.map(Api::name)), Ok(Some("v1")));
        assert_eq!(read("ticker_trigger", "trades").map(|c| c.ticker_trigger.name()), Ok("trades"));
        assert_eq!(read("trade_snapshot", "never").map(|c| c.trade_snapshot.name()), Ok("never"));
        assert_eq!(read("trade_ids", "rising").map(|c| c.trade_ids.name()), Ok("rising"));
        assert_eq!(read("checksum", "ignore").map(|c| c.checksum.name()), Ok("ignore"));
        assert_eq!(read("req_id", "params").map(|c| c.req_id.name()), Ok("params"));
        assert_eq!(read("heartbeat", "subscribe").map(|c| c.heartbeat.name()), Ok("subscribe"));
        assert_eq!(read("backfill", "off").map(|c| c.backfill.name()), Ok("off"));
        let wrong_value = "kraken: checksum cannot be no; it can be verify or ignore";
        assert_eq!(read("checksum", "no"), Err(wrong_value.to_owned()));
        let wrong_key = read("checksums", "verify").expect_err("no such key");
        assert!(KEYS.iter().all(|key| wrong_key.contains(key)), "{wrong_key}");
    }
}
