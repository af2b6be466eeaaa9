//! What is to go wrong, as TOML: rules that say an action, which bytes or moments it hits, and of which connections.

use std::time::Duration;

use toml::de::{DeInteger, DeTable, DeValue};

use super::Direction;

/// A script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// The seed, unless another is given.
    pub seed: Option<u64>,
    /// All rules that fit act, in their order.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// `None`: both.
    pub direction: Option<Direction>,
    /// Counted from 1 in the order of acceptance; `None`: every one.
    pub connection: Option<u64>,
    /// What happens.
    pub effect: Effect,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Bytes arrive later.
    Delay {
        /// All by this.
        fixed: Duration,
        /// And by up to this, by chance for each KiB; order is kept.
        jitter: Duration,
        /// Which bytes.
        extent: Extent,
    },
    /// Bytes pass no faster.
    Bandwidth {
        /// Bytes a second.
        bytes_per_s: u64,
        /// Which bytes.
        extent: Extent,
    },
    /// Bytes are written in pieces, each by itself.
    Split {
        /// How large.
        pieces: Pieces,
        /// Which bytes.
        extent: Extent,
    },
    /// Bytes vanish while the connection stays.
    HalfOpen {
        /// Which bytes.
        extent: Extent,
    },
    /// One bit of a byte is flipped, which one by chance. By bytes only: the first byte is 0.
    Corrupt(When),
    /// Nothing passes for a time.
    Stall {
        /// For so long.
        wait: Duration,
        /// When it begins.
        when: When,
    },
    /// Both sides are told that the other broke off (RST over TCP).
    Reset(When),
    /// Both sides are closed in order.
    Close(When),
}

/// How large pieces are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// So many bytes each.
    Of(u64),
    /// From one byte to so many, by chance.
    UpTo(u64),
}

/// Bytes of a direction, by their offset and by the time since the connection began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first byte.
    pub from_byte: u64,
    /// The byte behind the last.
    pub to_byte: u64,
    /// Not before.
    pub from: Duration,
    /// Not at this time or later.
    pub to: Duration,
}

impl Extent {
    /// Every byte.
    pub const ALL: Extent = Extent { from_byte: 0, to_byte: u64::MAX, from: Duration::ZERO, to: Duration::MAX };

    /// Whether a byte at a time is meant.
    pub fn contains(&self, byte: u64, at: Duration) -> bool {
        (self.from_byte..self.to_byte).contains(&byte) && (self.from..self.to).contains(&at)
    }
}

/// When something happens: once so many bytes have passed, or at a time since the connection began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Once, behind so many bytes.
    AtByte(u64),
    /// Behind every so many.
    EveryBytes(u64),
    /// By chance, behind so many on average.
    MeanBytes(u64),
    /// Once, at a time.
    At(Duration),
    /// Again and again.
    Every(Duration),
    /// By chance, after so long on average.
    Mean(Duration),
}

/// A script that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chaos script line {line}: {problem}")]
pub struct ScriptError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

const ACTIONS: [&str; 8] = ["delay", "bandwidth", "split", "half_open", "corrupt", "stall", "reset", "close"];
const EXTENTS: [&str; 4] = ["from_byte", "to_byte", "from_s", "to_s"];
const BYTES: [&str; 3] = ["at_byte", "every_bytes", "mean_bytes"];
const TIMES: [&str; 3] = ["at_s", "every_s", "mean_s"];
const COMMON: [&str; 3] = ["action", "direction", "connection"];

impl Script {
    /// Reads a script.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let error = |at: usize, problem: String| ScriptError { line: line_of(at), problem };
        let table = DeTable::parse(text).map_err(|e| {
            let at = e.span().map_or(0, |span| span.start);
            error(at, e.message().lines().next().unwrap_or_default().to_owned())
        })?;
        let mut script = Script::default();
        for (key, value) in table.get_ref() {
            let at = key.span().start;
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("seed", value) => {
                    script.seed = Some(integer(value).ok_or_else(|| error(at, "seed is no whole number".to_owned()))?);
                }
                ("rule", DeValue::Array(rules)) => {
                    for rule in rules.iter() {
                        let start = rule.span().start;
                        let DeValue::Table(fields) = rule.get_ref() else {
                            return Err(error(start, "a rule is a table: write [[rule]]".to_owned()));
                        };
                        let rule = Fields { fields, start }.rule();
                        script.rules.push(rule.map_err(|(at, problem)| error(at, problem))?);
                    }
                }
                ("rule", _) => return Err(error(at, "rule is a list of tables: write [[rule]]".to_owned())),
                (other, _) => return Err(error(at, unknown("key", other, &["seed", "rule"]))),
            }
        }
        Ok(script)
    }
}

/// One rule as it was written.
struct Fields<'a, 'i> {
    fields: &'a DeTable<'i>,
    start: usize,
}

/// Where it is wrong and how.
type Wrong = (usize, String);

impl Fields<'_, '_> {
    fn find(&self, name: &str) -> Option<(usize, &DeValue<'_>)> {
        let found = self.fields.iter().find(|(key, _)| key.get_ref().as_ref() == name);
        found.map(|(key, value)| (key.span().start, value.get_ref()))
    }

    fn rule(&self) -> Result<Rule, Wrong> {
        let (at, action) = self
            .text("action")?
            .ok_or_else(|| (self.start, format!("a rule needs an action: {}", ACTIONS.join(", "))))?;
        if !ACTIONS.contains(&action.as_str()) {
            return Err((at, unknown("action", &action, &ACTIONS)));
        }
        self.only(&action)?;
        let direction = match self.text("direction")? {
            None => None,
            Some((_, word)) if word == "both" => None,
            Some((_, word)) if word == "up" => Some(Direction::Up),
            Some((_, word)) if word == "down" => Some(Direction::Down),
            Some((at, word)) => return Err((at, unknown("direction", &word, &["up", "down", "both"]))),
        };
        Ok(Rule { direction, connection: self.count("connection")?, effect: self.effect(&action, at)? })
    }

    /// No field but those of the action.
    fn only(&self, action: &str) -> Result<(), Wrong> {
        let own: &[&[&str]] = match action {
            "delay" => &[&["ms", "jitter_ms"], &EXTENTS],
            "bandwidth" => &[&["bytes_per_s"], &EXTENTS],
            "split" => &[&["bytes", "up_to_bytes"], &EXTENTS],
            "half_open" => &[&EXTENTS],
            "corrupt" => &[&BYTES],
            "stall" => &[&["for_s"], &BYTES, &TIMES],
            _ => &[&BYTES, &TIMES],
        };
        let known: Vec<&str> = COMMON.iter().chain(own.iter().copied().flatten()).copied().collect();
        for (key, _) in self.fields {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                return Err((key.span().start, unknown(&format!("field of {action}"), name, &known)));
            }
        }
        Ok(())
    }

    fn effect(&self, action: &str, at: usize) -> Result<Effect, Wrong> {
        let needs = |field: &str| (at, format!("{action} needs {field}"));
        let millis = |n: Option<u64>| Duration::from_millis(n.unwrap_or(0));
        Ok(match action {
            "delay" => {
                let (ms, jitter_ms) = (self.count("ms")?, self.count("jitter_ms")?);
                if ms.is_none() && jitter_ms.is_none() {
                    return Err(needs("ms or jitter_ms"));
                }
                Effect::Delay { fixed: millis(ms), jitter: millis(jitter_ms), extent: self.extent()? }
            }
            "bandwidth" => Effect::Bandwidth {
                bytes_per_s: self.positive("bytes_per_s")?.ok_or_else(|| needs("bytes_per_s"))?,
                extent: self.extent()?,
            },
            "split" => {
                let pieces = match (self.positive("bytes")?, self.positive("up_to_bytes")?) {
                    (Some(bytes), None) => Pieces::Of(bytes),
                    (None, Some(bytes)) => Pieces::UpTo(bytes),
                    _ => return Err(needs("either bytes or up_to_bytes")),
                };
                Effect::Split { pieces, extent: self.extent()? }
            }
            "half_open" => Effect::HalfOpen { extent: self.extent()? },
            "corrupt" => Effect::Corrupt(self.when(&BYTES, at, action)?),
            "stall" => Effect::Stall {
                wait: self.seconds("for_s")?.ok_or_else(|| needs("for_s"))?,
                when: self.when(&[], at, action)?,
            },
            "reset" => Effect::Reset(self.when(&[], at, action)?),
            _ => Effect::Close(self.when(&[], at, action)?),
        })
    }

    fn extent(&self) -> Result<Extent, Wrong> {
        let extent = Extent {
            from_byte: self.count("from_byte")?.unwrap_or(0),
            to_byte: self.count("to_byte")?.unwrap_or(u64::MAX),
            from: self.seconds("from_s")?.unwrap_or(Duration::ZERO),
            to: self.seconds("to_s")?.unwrap_or(Duration::MAX),
        };
        if extent.from_byte >= extent.to_byte || extent.from >= extent.to {
            return Err((self.start, "the rule hits nothing: it ends before it begins".to_owned()));
        }
        Ok(extent)
    }

    /// Exactly one of the fields that say when.
    fn when(&self, among: &[&str], at: usize, action: &str) -> Result<When, Wrong> {
        let among: Vec<&str> =
            if among.is_empty() { BYTES.iter().chain(&TIMES).copied().collect() } else { among.to_vec() };
        let given: Vec<&str> = among.iter().copied().filter(|name| self.find(name).is_some()).collect();
        let [name] = given[..] else {
            return Err((at, format!("{action} needs one of {}", among.join(", "))));
        };
        let bytes = |positive: Option<u64>| positive.unwrap_or(0);
        let time = |time: Option<Duration>| time.unwrap_or_default();
        Ok(match name {
            "at_byte" => When::AtByte(bytes(self.count(name)?)),
            "every_bytes" => When::EveryBytes(bytes(self.positive(name)?)),
            "mean_bytes" => When::MeanBytes(bytes(self.positive(name)?)),
            "at_s" => When::At(time(self.seconds(name)?)),
            "every_s" => When::Every(time(self.seconds(name)?)),
            _ => When::Mean(time(self.seconds(name)?)),
        })
    }

    fn text(&self, name: &str) -> Result<Option<(usize, String)>, Wrong> {
        match self.find(name) {
            None => Ok(None),
            Some((at, DeValue::String(text))) => Ok(Some((at, text.to_string()))),
            Some((at, _)) => Err((at, format!("{name} is a word in quotes"))),
        }
    }

    fn count(&self, name: &str) -> Result<Option<u64>, Wrong> {
        let Some((at, value)) = self.find(name) else { return Ok(None) };
        integer(value).map(Some).ok_or_else(|| (at, format!("{name} is a whole number, 0 or more")))
    }

    fn positive(&self, name: &str) -> Result<Option<u64>, Wrong> {
        match (self.count(name)?, self.find(name)) {
            (Some(0), Some((at, _))) => Err((at, format!("{name} is at least 1"))),
            (count, _) => Ok(count),
        }
    }

    fn seconds(&self, name: &str) -> Result<Option<Duration>, Wrong> {
        let Some((at, value)) = self.find(name) else { return Ok(None) };
        let text = match value {
            DeValue::Integer(n) => n.as_str().to_owned(),
            DeValue::Float(n) => n.as_str().to_owned(),
            _ => String::new(),
        };
        let read = text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
        // Nothing repeats after no time, and nothing is worth a rule that takes none.
        let least = if name.starts_with("every") || name.starts_with("mean") {
            Duration::from_millis(1)
        } else {
            Duration::ZERO
        };
        match read {
            Some(time) if time >= least => Ok(Some(time)),
            Some(_) => Err((at, format!("{name} is at least 0.001"))),
            None => Err((at, format!("{name} is a time in seconds"))),
        }
    }
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let DeValue::Integer(n) = value else { return None };
    let n: &DeInteger<'_> = n;
    u64::from_str_radix(n.as_str(), n.radix()).ok()
}

fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|k| (strsim::levenshtein(word, k), *k)).min();
    match nearest {
        Some((d, known)) if d <= word.len().max(3) / 2 => format!("{word:?} is no {what}; did you mean {known}?"),
        _ => format!("{word:?} is no {what}; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads() {
        let script = Script::parse(
            "seed = 7\n[[rule]]\naction = \"delay\"\nms = 20\njitter_ms = 5\ndirection = \"down\"\n\n\
             [[rule]]\naction = \"split\"\nbytes = 1\nto_byte = 100\n\n[[rule]]\naction = \"reset\"\nconnection = 2\nat_s = 1.5\n\
             [[rule]]\naction = \"stall\"\nfor_s = 1\nmean_bytes = 5000\n",
        )
        .expect("a good script");
        let (ms, s) = (Duration::from_millis, Duration::from_secs_f64);
        let rule = |effect| Rule { direction: None, connection: None, effect };
        let delay = Effect::Delay { fixed: ms(20), jitter: ms(5), extent: Extent::ALL };
        let split = Effect::Split { pieces: Pieces::Of(1), extent: Extent { to_byte: 100, ..Extent::ALL } };
        let expected = [
            Rule { direction: Some(Direction::Down), ..rule(delay) },
            rule(split),
            Rule { connection: Some(2), ..rule(Effect::Reset(When::At(s(1.5)))) },
            rule(Effect::Stall { wait: s(1.0), when: When::MeanBytes(5000) }),
        ];
        assert_eq!((script.seed, &script.rules[..]), (Some(7), &expected[..]));
        assert_eq!(Script::parse(""), Ok(Script::default()));
    }

    #[test]
    fn a_bad_script_is_one_sentence_with_its_line() {
        for (text, line, part) in [
            ("[[rule]]\naction = \"dely\"", 2, "did you mean delay?"),
            ("seed = 1\n[[rules]]\naction = \"delay\"", 2, "did you mean rule?"),
            ("[[rule]]\naction = \"delay\"\nmilis = 3", 3, "\"milis\" is no field of delay"),
            ("[[rule]]\naction = \"reset\"", 2, "reset needs one of at_byte"),
            ("[[rule]]\naction = \"reset\"\nat_byte = 1\nat_s = 1", 2, "needs one of"),
            ("[[rule]]\naction = \"corrupt\"\nat_s = 1", 3, "is no field of corrupt"),
            ("[[rule]]\nms = 1", 1, "needs an action"),
            ("[[rule]]\naction = \"split\"\nbytes = 0", 3, "bytes is at least 1"),
            ("[[rule]]\naction = \"split\"\nbytes = 1\nfrom_byte = 5\nto_byte = 5", 1, "hits nothing"),
            ("[[rule]]\naction = \"close\"\nat_s = -1", 3, "time in seconds"),
            ("[[rule]]\naction = \"close\"\nat_s = 1\ndirection = \"dwn\"", 4, "did you mean down?"),
            ("[[rule]\naction", 1, ""),
            ("[rule]\naction = \"close\"", 1, "write [[rule]]"),
        ] {
            let error = Script::parse(text).expect_err(text);
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.problem.contains(part) && !error.to_string().contains('\n'), "{text}: {error}");
        }
    }
}
