//! Where a venue offers two ways, or its documents are silent or disagree, the reading is a choice: an enum or a bounded
//! number with a default, set by name in the configuration. Each venue lists its own; how they are read stands here.

use crate::MachineError;
use model::Venue;

/// A value that can be chosen by name.
pub(crate) trait Choice: Sized {
    /// Reads the text of a setting; of another text it says what would do.
    fn choose(text: &str) -> Result<Self, String>;
}

/// Not chosen unless named.
impl<T: Choice> Choice for Option<T> {
    fn choose(text: &str) -> Result<Option<T>, String> {
        T::choose(text).map(Some)
    }
}

/// An enum whose variants are chosen by these texts.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }
        impl $crate::choices::Choice for $name {
            fn choose(text: &str) -> Result<$name, String> {
                match text {
                    $($text => Ok($name::$variant),)+
                    _ => Err([$($text),+].join(" or ")),
                }
            }
        }
    };
}

/// All choices of a venue: the fields, each with the key it is set by, which also says what it is.
macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($key:literal => $field:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name { $(#[doc = concat!("`", $key, "`")] pub $field: $type),+ }
        impl $name {
            const KEYS: &'static [&'static str] = &[$($key),+];
            /// Reads choices from key and value texts; what is not given keeps its default, unknown ones are refused,
            /// naming the known.
            pub fn read(venue: model::Venue, given: &[(String, String)]) -> Result<$name, $crate::MachineError> {
                let mut choices = $name::default();
                for (key, value) in given {
                    match key.as_str() {
                        $($key => choices.$field = $crate::choices::read(venue, $key, value)?,)+
                        _ => return Err($crate::choices::refused(venue, "a choice", key, $name::KEYS.join(", "))),
                    }
                }
                Ok(choices)
            }
        }
    };
}

/// A number of seconds between 0, which stands for never, and `MOST`; not set, `DEFAULT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds<const DEFAULT: u32, const MOST: u32>(pub u32);

impl<const DEFAULT: u32, const MOST: u32> Default for Seconds<DEFAULT, MOST> {
    fn default() -> Seconds<DEFAULT, MOST> {
        Seconds(DEFAULT)
    }
}

impl<const DEFAULT: u32, const MOST: u32> Choice for Seconds<DEFAULT, MOST> {
    fn choose(text: &str) -> Result<Seconds<DEFAULT, MOST>, String> {
        let seconds = text.parse().ok().filter(|seconds| *seconds <= MOST);
        seconds.map(Seconds).ok_or_else(|| format!("a whole number of seconds, at most {MOST}, or 0 for never"))
    }
}

choice! {
    /// Whether trade ids of an instrument follow one another without holes.
    IdRule {
        /// They do: a jump is a gap with exact ids.
        #[default] Contiguous = "contiguous",
        /// They only rise: nothing follows from a jump.
        Rising = "rising",
    }
}

choice! {
    /// Whether something is done, such as fetching missed trades by REST.
    Switch {
        /// It is.
        #[default] On = "on",
        /// It is not.
        Off = "off",
    }
}

/// One choice of a venue.
pub(crate) fn read<T: Choice>(venue: Venue, key: &'static str, value: &str) -> Result<T, MachineError> {
    T::choose(value).map_err(|allowed| refused(venue, key, value, allowed))
}

/// A setting the venue does not offer.
pub(crate) fn refused(venue: Venue, key: &'static str, value: &str, allowed: String) -> MachineError {
    MachineError::Setting { venue, key, value: value.to_owned(), allowed }
}

pub(crate) use {choice, choices};

#[cfg(test)]
mod tests {
    use super::*;

    choices! {
        /// Of no venue.
        Few {
            "trade_ids" => ids: IdRule,
            "maybe" => maybe: Option<Switch>,
            "every_s" => every: Seconds<20, 600>,
        }
    }

    fn few(key: &str, value: &str) -> Result<Few, String> {
        Few::read(Venue::Kraken, &[(key.to_owned(), value.to_owned())]).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_not_given_keeps_its_default() {
        let few = Few::read(Venue::Kraken, &[]).expect("nothing given");
        assert_eq!((few.ids, few.maybe, few.every.0), (IdRule::Contiguous, None, 20));
    }

    #[test]
    fn what_is_given_is_read_and_every_other_text_refused_by_name() {
        assert_eq!(few("trade_ids", "rising").map(|c| c.ids), Ok(IdRule::Rising));
        assert_eq!(few("maybe", "off").map(|c| c.maybe), Ok(Some(Switch::Off)));
        assert_eq!(few("every_s", "0").map(|c| c.every), Ok(Seconds(0)));
        let wrong = |key, value| few(key, value).expect_err("nothing one may choose");
        assert_eq!(wrong("trade_ids", "no"), "kraken: trade_ids cannot be no; it can be contiguous or rising");
        assert_eq!(wrong("trade_id", "no"), "kraken: a choice cannot be trade_id; it can be trade_ids, maybe, every_s");
        for seconds in ["601", "-1", "20s", ""] {
            let allowed = "a whole number of seconds, at most 600, or 0 for never";
            assert_eq!(wrong("every_s", seconds), format!("kraken: every_s cannot be {seconds}; it can be {allowed}"));
        }
    }
}
