//! Where Advanced Trade's documents are silent or contradicted, the reading is a choice with a default, set by name in
//! the configuration and listed in this folder's README.

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
        }
    };
}

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
    /// Whether trade ids of a product follow one another without holes.
    TradeIds {
        /// They do: a jump is a gap with exact ids.
        #[default] Contiguous = "contiguous",
        /// They only rise: nothing follows from a jump.
        Rising = "rising",
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

choice! {
    /// Whether missed trades are fetched by REST.
    Backfill {
        /// They are, and told late.
        #[default] On = "on",
        /// They are not: what was missed stays a gap.
        Off = "off",
    }
}

/// All choices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// `market_trades_side`
    pub side: TradesSide,
    /// `trade_ids`
    pub trade_ids: TradeIds,
    /// `sequence_num`
    pub sequence: SequenceScope,
    /// `products`
    pub products: Products,
    /// `backfill`
    pub backfill: Backfill,
}

const KEYS: [&str; 5] = ["market_trades_side", "trade_ids", "sequence_num", "products", "backfill"];

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
            "market_trades_side" => put(&mut self.side, TradesSide::from_name(value), TradesSide::NAMES),
            "trade_ids" => put(&mut self.trade_ids, TradeIds::from_name(value), TradeIds::NAMES),
            "sequence_num" => put(&mut self.sequence, SequenceScope::from_name(value), SequenceScope::NAMES),
            "products" => put(&mut self.products, Products::from_name(value), Products::NAMES),
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
        assert_eq!(read("market_trades_side", "taker").map(|c| c.side), Ok(TradesSide::Taker));
        assert_eq!(read("trade_ids", "rising").map(|c| c.trade_ids), Ok(TradeIds::Rising));
        assert_eq!(read("sequence_num", "ignore").map(|c| c.sequence), Ok(SequenceScope::Ignore));
        assert_eq!(read("products", "named").map(|c| c.products), Ok(Products::Named));
        assert_eq!(read("backfill", "off").map(|c| c.backfill), Ok(Backfill::Off));
        let wrong_value = "coinbase: market_trades_side cannot be both; it can be maker or taker";
        assert_eq!(read("market_trades_side", "both"), Err(wrong_value.to_owned()));
        let wrong_key = read("side", "maker").expect_err("no such key");
        assert!(KEYS.iter().all(|key| wrong_key.contains(key)), "{wrong_key}");
    }
}
