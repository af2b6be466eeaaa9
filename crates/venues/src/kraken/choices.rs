//! Where Kraken's documents are silent or disagree, the reading is a choice with a default, set by name in the
//! configuration and listed in this folder's README.

use crate::choices::{IdRule, Switch, choice, choices};

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

choices! {
    /// All choices. With no `api` chosen, v2 is spoken and captured frames are read by what they are.
    Choices {
        "api" => api: Option<Api>,
        "ticker_trigger" => ticker_trigger: TickerTrigger,
        "trade_snapshot" => trade_snapshot: TradeSnapshot,
        "trade_ids" => trade_ids: IdRule,
        "checksum" => checksum: ChecksumRule,
        "req_id" => req_id: RequestId,
        "heartbeat" => heartbeat: Heartbeat,
        "backfill" => backfill: Switch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Venue;

    #[test]
    fn every_key_sets_its_choice() {
        let given = [
            ("api", "v1"),
            ("ticker_trigger", "trades"),
            ("trade_snapshot", "never"),
            ("trade_ids", "rising"),
            ("checksum", "ignore"),
            ("req_id", "params"),
            ("heartbeat", "subscribe"),
            ("backfill", "off"),
        ];
        let given = given.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let expected = Choices {
            api: Some(Api::V1),
            ticker_trigger: TickerTrigger::Trades,
            trade_snapshot: TradeSnapshot::Never,
            trade_ids: IdRule::Rising,
            checksum: ChecksumRule::Ignore,
            req_id: RequestId::Params,
            heartbeat: Heartbeat::Subscribe,
            backfill: Switch::Off,
        };
        assert_eq!(Choices::read(Venue::Kraken, &given), Ok(expected));
    }
}
