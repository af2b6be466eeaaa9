//! Where Alpaca's documents are silent or disagree, the reading is a choice with a default, set by name in the
//! configuration and listed in this folder's README.

use crate::choices::{Seconds, Switch, choice, choices};

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
    /// How a sign of life is had of a silent session.
    Probe {
        /// An empty subscription, which the venue answers with all subscriptions.
        #[default] Subscribe = "subscribe",
        /// It is not asked for: silence alone decides.
        Off = "off",
    }
}

/// Seconds between two comparisons of the stream's trades with REST. Three requests a minute, of two hundred, while a
/// window's trades fit one answer; what is hidden is told within half a minute. At most ten minutes: what a comparison
/// needs to remember grows with it.
pub type AuditEvery = Seconds<20, 600>;

choices! {
    /// All choices. `backfill`: whether trades missed by a reconnect or restart are fetched by REST. `statuses`: whether
    /// trading statuses and price bands of shares are subscribed to; a feed that has none refuses, and that is told.
    Choices {
        "feed" => feed: Feed,
        "encoding" => encoding: Encoding,
        "quote_sizes" => quote_sizes: QuoteSizes,
        "crossed" => crossed: Crossed,
        "backfill" => backfill: Switch,
        "statuses" => statuses: Switch,
        "probe" => probe: Probe,
        "audit_s" => audit_every: AuditEvery,
    }
}

impl Feed {
    /// Its name in the endpoint's path.
    pub fn path(self) -> &'static str {
        match self {
            Feed::Iex => "iex",
            Feed::Sip => "sip",
            Feed::DelayedSip => "delayed_sip",
            Feed::Test => "test",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Venue;

    #[test]
    fn every_key_sets_its_choice() {
        let given = [
            ("feed", "delayed_sip"),
            ("encoding", "json"),
            ("quote_sizes", "round_lots"),
            ("crossed", "tolerate"),
            ("backfill", "off"),
            ("statuses", "off"),
            ("probe", "off"),
            ("audit_s", "1"),
        ];
        let given = given.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let expected = Choices {
            feed: Feed::DelayedSip,
            encoding: Encoding::Json,
            quote_sizes: QuoteSizes::RoundLots,
            crossed: Crossed::Tolerate,
            backfill: Switch::Off,
            statuses: Switch::Off,
            probe: Probe::Off,
            audit_every: Seconds(1),
        };
        assert_eq!(Choices::read(Venue::Alpaca, &given), Ok(expected));
    }
}
