//! Where Coinbase offers two ways, or its documents are silent, the reading is a choice with a default, set by name in
//! the configuration and listed in this folder's README. The choices of Advanced Trade are in its own folder.

use crate::MachineError;
use model::Venue;

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
    /// Which of the venue's two protocols is spoken.
    Api {
        /// Coinbase Exchange.
        #[default] Exchange = "exchange",
        /// Advanced Trade.
        Advanced = "advanced",
    }
}

choice! {
    /// The channel a book is kept from.
    Level2 {
        /// Changes in batches of 50 ms, without credentials.
        #[default] Batch = "level2_batch",
        /// Every change at once; needs credentials.
        Direct = "level2",
        /// Every order, proven by sequence; needs credentials.
        Full = "full",
    }
}

choice! {
    /// Whether trade ids of a product follow one another without holes.
    TradeIds {
        /// They do: a jump is a gap with exact ids.
        #[default] Contiguous = "contiguous",
        /// They only rise: nothing follows from a jump.
        Rising = "rising",
    }
}

choice! {
    /// Whether a heartbeat's `last_trade_id` tells of trades that never came.
    TradeTail {
        /// A trade named by one heartbeat and not told before the next one is missing.
        #[default] Heartbeat = "heartbeat",
        /// Only the next trade shows what is missing.
        Ignore = "ignore",
    }
}

choice! {
    /// Whether missed trades are fetched by REST.
    Backfill {
        /// They are, and told late.
        #[default] On = "on",
        /// They stay the gap that was told.
        Off = "off",
    }
}

choice! {
    /// What a level 2 book does that is crossed after a whole message: the channel has no other proof.
    Crossed {
        /// It is suspect and asked for again.
        #[default] Resync = "resync",
        /// It is counted; an auction may cross a book.
        Count = "count",
    }
}

/// All choices of the Exchange protocol, and which protocol it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// `api`
    pub api: Api,
    /// `level2`
    pub level2: Level2,
    /// `trade_ids`
    pub trade_ids: TradeIds,
    /// `trade_tail`
    pub trade_tail: TradeTail,
    /// `backfill`
    pub backfill: Backfill,
    /// `crossed`
    pub crossed: Crossed,
}

const KEYS: [&str; 6] = ["api", "level2", "trade_ids", "trade_tail", "backfill", "crossed"];

/// The protocol that is asked for, and the other choices as they came.
pub fn split(pairs: &[(String, String)]) -> Result<(Api, Vec<(String, String)>), MachineError> {
    let mut api = Api::default();
    for (_, value) in pairs.iter().filter(|(key, _)| key == "api") {
        put(&mut api, Api::from_name(value), Api::NAMES).map_err(|allowed| refused("api", value, allowed))?;
    }
    Ok((api, pairs.iter().filter(|(key, _)| key != "api").cloned().collect()))
}

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
            "api" => put(&mut self.api, Api::from_name(value), Api::NAMES),
            "level2" => put(&mut self.level2, Level2::from_name(value), Level2::NAMES),
            "trade_ids" => put(&mut self.trade_ids, TradeIds::from_name(value), TradeIds::NAMES),
            "trade_tail" => put(&mut self.trade_tail, TradeTail::from_name(value), TradeTail::NAMES),
            "backfill" => put(&mut self.backfill, Backfill::from_name(value), Backfill::NAMES),
            "crossed" => put(&mut self.crossed, Crossed::from_name(value), Crossed::NAMES),
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
    MachineError::Setting { venue: Venue::Coinbase, key, value: value.to_owned(), allowed }
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
        assert_eq!(read("api", "advanced").map(|c| c.api.name()), Ok("advanced"));
        assert_eq!(read("level2", "level2").map(|c| c.level2.name()), Ok("level2"));
        assert_eq!(read("level2", "full").map(|c| c.level2.name()), Ok("full"));
        assert_eq!(read("trade_ids", "rising").map(|c| c.trade_ids.name()), Ok("rising"));
        assert_eq!(read("trade_tail", "ignore").map(|c| c.trade_tail.name()), Ok("ignore"));
        assert_eq!(read("backfill", "off").map(|c| c.backfill.name()), Ok("off"));
        assert_eq!(read("crossed", "count").map(|c| c.crossed.name()), Ok("count"));
        let wrong_value = "coinbase: level2 cannot be level3; it can be level2_batch or level2 or full";
        assert_eq!(read("level2", "level3"), Err(wrong_value.to_owned()));
        let wrong_key = read("level", "full").expect_err("no such key");
        assert!(KEYS.iter().all(|key| wrong_key.contains(key)), "{wrong_key}");
    }

    #[test]
    fn the_protocol_is_split_off() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let (api, rest) = split(&[pair("api", "advanced"), pair("jwt", "never")]).expect("a protocol");
        assert_eq!((api, rest), (Api::Advanced, vec![pair("jwt", "never")]));
        let wrong = split(&[pair("api", "pro")]).map_err(|e| e.to_string());
        assert_eq!(wrong, Err("coinbase: api cannot be pro; it can be exchange or advanced".to_owned()));
    }
}
