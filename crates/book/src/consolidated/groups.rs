//! Which quote currencies count as the same: none, unless somebody says so.
//! `"USD+USDT+USDC, EUR+EURC"` -> [`Groups`] -> the symbol under which a pair's books are put together.

use model::canonical_symbol;
use std::str::FromStr;

/// The most bytes of a currency's name, as in an instrument's record.
const CURRENCY_BYTES_MAX: usize = 64;

/// Quote currencies that are taken for one another; all others stay apart. The default has no group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// The first of each group names it.
    groups: Vec<Vec<String>>,
}

/// Why currencies cannot be a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Empty, too long, or not letters and digits.
    #[error("{text:?} is no currency: write a group as USD+USDT, several with a comma between them")]
    Currency {
        /// What was given.
        text: String,
    },
    /// Nothing to be put together.
    #[error("{currency} is alone in its group: name at least one other or leave the group out")]
    Alone {
        /// The only one.
        currency: String,
    },
    /// The same one twice.
    #[error("{currency} is in the group of {first} and in that of {second}: name it once")]
    Twice {
        /// The one named twice.
        currency: String,
        /// The first group's name.
        first: String,
        /// The second group's name; the same when it is in one group twice.
        second: String,
    },
}

impl Groups {
    /// Adds a group, whose first currency names it. Refused, and nothing done, when it contradicts what is known.
    pub fn add(&mut self, currencies: &[&str]) -> Result<(), GroupError> {
        let mut group: Vec<String> = Vec::with_capacity(currencies.len());
        for text in currencies {
            let well_formed =
                (1..=CURRENCY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
            if !well_formed {
                return Err(GroupError::Currency { text: (*text).to_owned() });
            }
            let currency = text.to_uppercase();
            let known = self.groups.iter().chain(std::iter::once(&group)).find(|g| g.contains(&currency));
            if let Some(known) = known {
                let second = group.first().unwrap_or(&currency).clone();
                return Err(GroupError::Twice { first: known[0].clone(), second, currency });
            }
            group.push(currency);
        }
        match group.len() {
            0 => Err(GroupError::Currency { text: String::new() }),
            1 => Err(GroupError::Alone { currency: group.swap_remove(0) }),
            _ => {
                self.groups.push(group);
                Ok(())
            }
        }
    }

    /// The name a quote currency goes by: its group's, or its own in upper case.
    pub fn name(&self, quote: &str) -> String {
        let quote = quote.to_uppercase();
        self.groups.iter().find(|group| group.contains(&quote)).map_or(quote, |group| group[0].clone())
    }

    /// The canonical symbol of the consolidated book that a pair belongs to.
    pub fn symbol(&self, base: &str, quote: &str) -> String {
        canonical_symbol(base, &self.name(quote))
    }
}

impl FromStr for Groups {
    type Err = GroupError;

    /// `USD+USDT+USDC, EUR+EURC`; the empty text is no group.
    fn from_str(text: &str) -> Result<Groups, GroupError> {
        let mut groups = Groups::default();
        if text.trim().is_empty() {
            return Ok(groups);
        }
        for group in text.split(',') {
            let currencies: Vec<&str> = group.split('+').map(str::trim).collect();
            groups.add(&currencies)?;
        }
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_apart_unless_said_to_be_together() {
        let apart = Groups::default();
        assert_eq!(apart.symbol("btc", "usdt"), "BTC-USDT");
        let groups: Groups = "usd+USDT + USDC, EUR+EURC".parse().expect("two groups");
        assert_eq!(["USD", "usdt", "USDC", "EURC", "GBP"].map(|q| groups.name(q)), ["USD", "USD", "USD", "EUR", "GBP"]);
        assert_eq!(groups.symbol("ETH", "USDC"), "ETH-USD");
        assert_eq!("".parse(), Ok(Groups::default()));
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        let refused = |text: &str| text.parse::<Groups>().expect_err("refused").to_string();
        assert!(refused("USD+USDT,EUR+USDT").starts_with("USDT is in the group of USD and in that of EUR"));
        assert!(refused("USD+USDT,USDC+USD").starts_with("USD is in the group of USD and in that of USDC"));
        assert!(refused("USD+USDT,USD+USDC").starts_with("USD is in the group of USD and in that of USD"));
        assert!(refused("USD+usd").starts_with("USD is in the group of USD and in that of USD"));
        assert!(refused("USD").starts_with("USD is alone"));
        assert!(refused("USD+").starts_with("\"\" is no currency"));
        assert!(refused("USD+US-DT").starts_with("\"US-DT\" is no currency"));
        assert!(refused("USD+USDT,").starts_with("\"\" is no currency"));
    }
}
