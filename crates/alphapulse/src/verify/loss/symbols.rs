//! One number per instrument, whatever it is called: by the consumer (`BTC-USD`), by a stream (`BTC/USD`, `BTCUSD`), by
//! an older protocol (`XBT/USD`) or in an answer (`XXBTZUSD`).

use std::collections::HashMap;

/// The instruments seen.
#[derive(Default)]
pub struct Symbols {
    numbers: HashMap<String, usize>,
    /// The first name of each.
    names: Vec<String>,
}

impl Symbols {
    /// The number of a name; a name not heard before is a new instrument unless it is another spelling of an old one.
    pub fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let plain = plain(name);
        let number = self.numbers.get(&plain).copied().unwrap_or(self.names.len());
        if number == self.names.len() {
            self.names.push(name.to_owned());
            self.numbers.insert(plain, number);
        }
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// Takes note of another spelling.
    pub fn alias(&mut self, name: &str, other: &str) {
        let number = self.number(name);
        self.numbers.insert(other.to_owned(), number);
    }

    /// The name of an instrument.
    pub fn name(&self, number: usize) -> &str {
        &self.names[number]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }
}

/// Without marks between the currencies, and with the currencies' common names.
fn plain(name: &str) -> String {
    let bare: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    // Kraken's older names of pairs of its oldest assets: X before a coin, Z before a currency.
    let bare = match (bare.len(), bare.as_bytes()) {
        (8, [b'X', .., b'Z', _, _, _]) => format!("{}{}", &bare[1..4], &bare[5..]),
        _ => bare,
    };
    bare.replace("XBT", "BTC").replace("XDG", "DOGE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_instrument_have_one_number() {
        let mut symbols = Symbols::default();
        let btc = symbols.number("BTC-USD");
        for other in ["BTC/USD", "BTCUSD", "XBT/USD", "XXBTZUSD", "XBTUSD"] {
            assert_eq!(symbols.number(other), btc, "{other}");
        }
        assert_ne!(symbols.number("BTC-USDT"), btc);
        symbols.alias("ETH-USD", "the second");
        assert_eq!((symbols.number("the second"), symbols.len()), (symbols.number("ETH/USD"), 3));
        assert_eq!(symbols.name(btc), "BTC-USD");
    }
}
