//! Where Alpaca's documents are silent or disagree, the reading is a choice with a default, set by name in the
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
            /// The name it is set by.
            pub fn name(self) -> &'static str { match self { $($name::$variant => $text),+ } }
        }
    };
}

choice! {
    /// Which feed of shares is used.
    Feed {
        /// The exchange IEX alone; free.
        #[default] Iex = "iex",
        /// The consolidated tape; paid.
        Sip = "sip",
        /// The consolidated tape, 15 minutes late.
        DelayedSip = "delayed_sip",
        /// The venue's test stream, with the one symbol FAKEPACA, day and night.
        Test = "test",
    }
}

choice! {
    /// How frames are written.
    Encoding {
        /// Binary, as the venue's own clients have it.
        #[default] Msgpack = "msgpack",
        /// Text.
        Json = "json",
    }
}

choice! {
    /// What the sizes of a share's quote count.
    QuoteSizes {
        /// Shares, as frames of 2026 show.
        #[default] Shares = "shares",
        /// Round lots of 100 shares, as the documents said and older frames show.
        RoundLots = "round_lots",
    }
}

choice! {
    /// What follows when a crypto book is crossed after a whole message.
    Crossed {
        /// A lost change is assumed: the book is suspect and subscribed to again.
        #[default] Resync = "resync",
        /// It is counted and told as it is.
        Tolerate = "tolerate",
    }
}

choice! {
    /// Whether trades missed by a reconnect or restart are fetched by REST.
    Backfill {
        /// They are, flagged late.
        #[default] On = "on",
        /// They are not: what was missed is a gap.
        Off = "off",
    }
}

choice! {
    /// Whether trading statuses and price bands of shares are subscribed to.
    Statuses {
        /// They are; a feed that has none refuses, and that is told.
        #[default] On = "on",
        /// They are not.
        Off = "off",
    }
}

choice! {
    /// How a sign of life is had of a silent session.
    Probe {
        /// An empty subscription, which the venue answers with all subscriptions.
        #[default] Subscribe = "subscribe",
        /// It is not asked for: silence alone decides.
        Off = "off",
    }
}

/// All choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// `feed`
    pub feed: Feed,
    /// `encoding`
    pub encoding: Encoding,
    /// `quote_sizes`
    pub quote_sizes: QuoteSizes,
    /// `crossed`
    pub crossed: Crossed,
    /// `backfill`
    pub backfill: Backfill,
    /// `statuses`
    pub statuses: Statuses,
    /// `probe`
    pub probe: Probe,
    /// `audit_s`: seconds between two comparisons of the stream's trades with REST; 0: none.
    pub audit_s: u32,
}

/// Three requests a minute, of two hundred, while a window's trades fit one answer; what is hidden is told within half a
/// minute.
const AUDIT_S: u32 = 20;

/// The longest time between two comparisons: what a comparison needs to remember grows with it.
const AUDIT_S_MAX: u32 = 600;

impl Default for Choices {
    fn default() -> Choices {
        Choices {
            feed: Feed::default(),
            encoding: Encoding::default(),
            quote_sizes: QuoteSizes::default(),
            crossed: Crossed::default(),
            backfill: Backfill::default(),
            statuses: Statuses::default(),
            probe: Probe::default(),
            audit_s: AUDIT_S,
        }
    }
}

const KEYS: [&str; 8] = ["feed", "encoding", "quote_sizes", "crossed", "backfill", "statuses", "probe", "audit_s"];

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
            "feed" => put(&mut self.feed, Feed::from_name(value), Feed::NAMES),
            "encoding" => put(&mut self.encoding, Encoding::from_name(value), Encoding::NAMES),
            "quote_sizes" => put(&mut self.quote_sizes, QuoteSizes::from_name(value), QuoteSizes::NAMES),
            "crossed" => put(&mut self.crossed, Crossed::from_name(value), Crossed::NAMES),
            "backfill" => put(&mut self.backfill, Backfill::from_name(value), Backfill::NAMES),
            "statuses" => put(&mut self.statuses, Statuses::from_name(value), Statuses::NAMES),
            "probe" => put(&mut self.probe, Probe::from_name(value), Probe::NAMES),
            "audit_s" => put_seconds(&mut self.audit_s, value),
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

fn put_seconds(choice: &mut u32, value: &str) -> Result<(), String> {
    let seconds = value.parse().ok().filter(|seconds| *seconds <= AUDIT_S_MAX);
    *choice = seconds.ok_or_else(|| format!("a whole number of seconds, at most {AUDIT_S_MAX}, or 0 for none"))?;
    Ok(())
}

/// A setting the venue does not offer.
pub fn refused(key: &'static str, value: &str, allowed: String) -> MachineError {
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
        assert_eq!(read("feed", "delayed_sip").map(|c| c.feed.name()), Ok("delayed_sip"));
        assert_eq!(read("encoding", "json").map(|c| c.encoding.name()), Ok("json"));
        assert_eq!(read("quote_sizes", "round_lots").map(|c| c.quote_sizes.name()), Ok("round_lots"));
        assert_eq!(read("crossed", "tolerate").map(|c| c.crossed.name()), Ok("tolerate"));
        assert_eq!(read("backfill", "off").map(|c| c.backfill.name()), Ok("off"));
        assert_eq!(read("statuses", "off").map(|c| c.statuses.name()), Ok("off"));
        assert_eq!(read("audit_s", "1").map(|c| c.audit_s), Ok(1));
        let wrong_time =
            "alpaca: audit_s cannot be 20s; it can be a whole number of seconds, at most 600, or 0 for none";
        assert_eq!(read("audit_s", "20s"), Err(wrong_time.to_owned()));
        assert_eq!(read("probe", "off").map(|c| c.probe.name()), Ok("off"));
        let wrong_value = "alpaca: feed cannot be otc; it can be iex or sip or delayed_sip or test";
        assert_eq!(read("feed", "otc"), Err(wrong_value.to_owned()));
        let wrong_key = read("feeds", "iex").expect_err("no such key");
        assert!(KEYS.iter().all(|key| wrong_key.contains(key)), "{wrong_key}");
    }
}
