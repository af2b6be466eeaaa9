//! Where Advanced Trade's documents are silent or contradicted, the reading is a choice with a default, set by name in
//! the configuration and listed in this folder's README.

use crate::choices::{IdRule, Switch, choice, choices};

choice! {
    /// Whose side `market_trades` names.
    TradesSide {
        /// The maker's, as the venue's page says.
        #[default] Maker = "maker",
        /// The taker's, as several clients read it.
        Taker = "taker",
    }
}

choice! {
    /// What `sequence_num` counts.
    SequenceScope {
        /// Every frame of the connection: a hole makes every book suspect.
        #[default] Connection = "connection",
        /// Nothing one may rely on: holes are passed over. A lost update then stays unseen.
        Ignore = "ignore",
    }
}

choice! {
    /// Which products the list is asked for.
    Products {
        /// All: the request that was recorded.
        #[default] All = "all",
        /// Only those configured, by `product_ids`.
        Named = "named",
    }
}

choices! {
    /// All choices.
    Choices {
        "market_trades_side" => side: TradesSide,
        "trade_ids" => trade_ids: IdRule,
        "sequence_num" => sequence: SequenceScope,
        "products" => products: Products,
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
            ("market_trades_side", "taker"),
            ("trade_ids", "rising"),
            ("sequence_num", "ignore"),
            ("products", "named"),
            ("backfill", "off"),
        ];
        let given = given.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let expected = Choices {
            side: TradesSide::Taker,
            trade_ids: IdRule::Rising,
            sequence: SequenceScope::Ignore,
            products: Products::Named,
            backfill: Switch::Off,
        };
        assert_eq!(Choices::read(Venue::Coinbase, &given), Ok(expected));
    }
}
