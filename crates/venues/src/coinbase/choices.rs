//! Where Coinbase offers two ways, or its documents are silent, the reading is a choice with a default, set by name in
//! the configuration and listed in this folder's README. The choices of Advanced Trade are in its own folder.

use crate::MachineError;
use crate::choices::{IdRule, Switch, choice, choices, read};
use model::Venue;

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
    /// Whether a heartbeat's `last_trade_id` tells of trades that never came.
    TradeTail {
        /// A trade named by one heartbeat and not told before the next one is missing.
        #[default] Heartbeat = "heartbeat",
        /// Only the next trade shows what is missing.
        Ignore = "ignore",
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

choices! {
    /// All choices of the Exchange protocol, and which protocol it is.
    Choices {
        "api" => api: Api,
        "level2" => level2: Level2,
        "trade_ids" => trade_ids: IdRule,
        "trade_tail" => trade_tail: TradeTail,
        "backfill" => backfill: Switch,
        "crossed" => crossed: Crossed,
    }
}

/// The protocol that is asked for, and the other choices as they came.
pub fn split(pairs: &[(String, String)]) -> Result<(Api, Vec<(String, String)>), MachineError> {
    let mut api = Api::default();
    for (_, value) in pairs.iter().filter(|(key, _)| key == "api") {
        api = read(Venue::Coinbase, "api", value)?;
    }
    Ok((api, pairs.iter().filter(|(key, _)| key != "api").cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair((key, value): (&str, &str)) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn every_key_sets_its_choice() {
        let given = [
            ("api", "advanced"),
            ("level2", "full"),
            ("trade_ids", "rising"),
            ("trade_tail", "ignore"),
            ("backfill", "off"),
            ("crossed", "count"),
        ];
        let expected = Choices {
            api: Api::Advanced,
            level2: Level2::Full,
            trade_ids: IdRule::Rising,
            trade_tail: TradeTail::Ignore,
            backfill: Switch::Off,
            crossed: Crossed::Count,
        };
        assert_eq!(Choices::read(Venue::Coinbase, &given.map(pair)), Ok(expected));
    }

    #[test]
    fn the_protocol_is_split_off() {
        let (api, rest) = split(&[("api", "advanced"), ("jwt", "never")].map(pair)).expect("a protocol");
        assert_eq!((api, rest), (Api::Advanced, vec![pair(("jwt", "never"))]));
        let wrong = split(&[pair(("api", "pro"))]).map_err(|e| e.to_string());
        assert_eq!(wrong, Err("coinbase: api cannot be pro; it can be exchange or advanced".to_owned()));
    }
}
