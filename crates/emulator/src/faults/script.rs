//! Reads faults as users write them: a TOML script of `[[fault]]` tables, or one command on one line.
//!
//! What cannot be understood is refused with one sentence that names line, key and, where one is near, the known name.

use std::path::PathBuf;
use std::time::Duration;

use model::StreamKind;
use toml::de::{DeTable, DeValue};

use super::{Fault, Field, Place, Planned, ScriptedFault, Target, Trigger};

/// Seconds that make sense; longer than a day is a mistake.
const SECONDS_MAX: f64 = 86_400.0;
/// How often one table may repeat.
const TIMES_MAX: u64 = 100_000;

/// A script or command that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fault script line {line}: {problem}")]
pub struct ScriptError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

const FAULTS: [&str; 24] = [
    "drop",
    "mute",
    "lose",
    "hide",
    "corrupt",
    "checksum",
    "duplicate",
    "reorder",
    "malform",
    "truncate",
    "number",
    "type",
    "skew",
    "cross",
    "freeze",
    "half_open",
    "trickle",
    "fragment",
    "giant",
    "say",
    "refuse",
    "restart",
    "old_snapshot",
    "certificate",
];
const KINDS: [&str; 6] = ["trade", "book", "quote", "bar", "order", "instrument"];
/// Keys of every fault.
const COMMON: [&str; 6] = ["do", "after_s", "times", "every_s", "seed", "connection"];
/// Keys of faults that act on frames, or may wait for one.
const FRAME: [&str; 5] = ["stream", "symbol", "at", "per_million", "count"];

/// Keys that only some faults have.
fn own_keys(fault: &str) -> &'static [&'static str] {
    match fault {
        "mute" | "freeze" | "half_open" | "trickle" => &["seconds"],
        "number" | "type" => &["field", "value"],
        "skew" => &["seconds", "by_ms"],
        "fragment" => &["seconds", "bytes"],
        "giant" => &["mib"],
        "say" => &["text"],
        "refuse" => &["seconds", "status"],
        "old_snapshot" => &["count"],
        "certificate" => &["certificate", "key"],
        _ => &[],
    }
}

/// A place in the text and what is wrong there.
struct Wrong(usize, String);

/// Reads a script: `[[fault]]` tables, and a `seed` for all of them.
///
/// # Errors
/// Text that is no TOML, an unknown key or fault, a value that cannot be.
pub fn parse_script(text: &str) -> Result<Vec<ScriptedFault>, ScriptError> {
    script(text).map_err(|Wrong(at, problem)| ScriptError { line: line_of(text, at), problem })
}

/// Reads one fault from a line: TOML's `do = "lose", count = 3`, with or without braces, or JSON.
///
/// # Errors
/// As [`parse_script`].
pub fn parse_command(line: &str) -> Result<Vec<ScriptedFault>, ScriptError> {
    let line = line.trim();
    let wrong = |problem: String| ScriptError { line: 1, problem };
    let json: Option<serde_json::Value> = line.starts_with('{').then(|| serde_json::from_str(line).ok()).flatten();
    let inner = match json {
        Some(json) => {
            let text = toml::to_string(&json).map_err(|error| wrong(format!("no fault: {error}")))?;
            return parse_script(&format!("[[fault]]\n{text}")).map_err(|error| wrong(error.problem));
        }
        None => line.strip_prefix('{').and_then(|line| line.strip_suffix('}')).unwrap_or(line),
    };
    parse_script(&format!("fault = [{{ {inner} }}]"))
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
}

fn script(text: &str) -> Result<Vec<ScriptedFault>, Wrong> {
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Wrong(at, format!("this is no TOML: {}", error.message().replace('\n', ", ")))
    })?;
    let (mut seed, mut faults) = (1, Vec::new());
    let mut tables = Vec::new();
    for (key, value) in root.get_ref() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("seed", DeValue::Integer(number)) => {
                seed = u64::from_str_radix(number.as_str(), number.radix())
                    .map_err(|_| Wrong(key.span().start, "seed is a number from 0".to_owned()))?;
            }
            ("fault", DeValue::Array(list)) => tables.extend(list.iter()),
            (name @ ("seed" | "fault"), _) => {
                let right = if name == "seed" { "is a number" } else { "tables are written [[fault]]" };
                return Err(Wrong(key.span().start, format!("{name} {right}")));
            }
            (name, _) => return Err(Wrong(key.span().start, unknown("key", name, &["seed", "fault"]))),
        }
    }
    for (index, table) in tables.into_iter().enumerate() {
        let DeValue::Table(values) = table.get_ref() else {
            return Err(Wrong(table.span().start, "a fault is a table".to_owned()));
        };
        let table = Table { at: table.span().start, values };
        faults.extend(table.fault(seed.wrapping_add(index as u64))?);
    }
    faults.sort_by_key(|fault: &ScriptedFault| fault.after);
    Ok(faults)
}

struct Table<'a> {
    at: usize,
    values: &'a DeTable<'a>,
}

impl Table<'_> {
    fn fault(&self, seed: u64) -> Result<Vec<ScriptedFault>, Wrong> {
        let name = self.need("do", "which fault it is", |text| Some(text.to_owned()), Table::text)?;
        if !FAULTS.contains(&&*name) {
            return Err(Wrong(self.place("do"), unknown("fault", &name, &FAULTS)));
        }
        let known: Vec<&str> = COMMON.iter().chain(&FRAME).chain(own_keys(&name)).copied().collect();
        for key in self.values.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                let what = format!("key of {name}");
                return Err(Wrong(key.span().start, unknown(&what, key.get_ref(), &known)));
            }
        }
        let fault = self.what(&name)?;
        let planned = Planned {
            trigger: self.trigger(&fault)?,
            connection: self.number("connection")?,
            count: self.count()?,
            seed: self.number("seed")?.unwrap_or(seed),
            fault,
        };
        self.check_place(&planned)?;
        let after = self.seconds("after_s")?.unwrap_or_default();
        let times = self.number("times")?.unwrap_or(1);
        if !(1..=TIMES_MAX).contains(&times) {
            return Err(Wrong(self.place("times"), format!("times = {times} cannot be; 1 to {TIMES_MAX} can")));
        }
        let every = self.seconds("every_s")?;
        if (times > 1) != every.is_some() {
            return Err(Wrong(self.at, "times and every_s go together; give both or none".to_owned()));
        }
        let every = every.unwrap_or_default();
        let one = |n: u64| ScriptedFault {
            after: after + every.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX)),
            planned: Planned { seed: planned.seed.wrapping_add(n << 32), ..planned.clone() },
        };
        Ok((0..times).map(one).collect())
    }

    /// The fault itself.
    fn what(&self, name: &str) -> Result<Fault, Wrong> {
        let target = || self.target();
        let wait = || self.need("seconds", "for how long", Some, Table::seconds);
        let count = || self.count();
        Ok(match name {
            "drop" => Fault::Drop,
            "mute" => Fault::Mute(target()?, wait()?),
            "lose" => Fault::Lose(target()?, count()?),
            "hide" => Fault::Hide(target()?, count()?),
            "corrupt" => Fault::Corrupt(target()?),
            "checksum" => Fault::Checksum(target()?),
            "duplicate" => Fault::Duplicate(target()?),
            "reorder" => match count()? {
                window @ 2..=10_000 => Fault::Reorder(target()?, window),
                _ => return Err(Wrong(self.place("count"), "reorder needs a count of 2 to 10000 frames".to_owned())),
            },
            "malform" => Fault::Malform(target()?),
            "truncate" => Fault::Truncate(target()?),
            "number" => Fault::Number(target()?, self.field()?, self.value()?),
            "type" => Fault::Type(target()?, self.field()?, self.value()?),
            "skew" => {
                Fault::Skew(target()?, self.need("by_ms", "by how many milliseconds", Some, Table::signed)?, wait()?)
            }
            "cross" => Fault::Cross(target()?),
            "freeze" => Fault::Freeze(target()?, wait()?),
            "half_open" => Fault::HalfOpen(wait()?),
            "trickle" => Fault::Trickle(wait()?),
            "fragment" => Fault::Fragment { bytes: self.within("bytes", 1, 1 << 20)?, wait: wait()? },
            "giant" => Fault::Giant { mib: self.within("mib", 1, 1024)? },
            "say" => Fault::Say(self.need("text", "what is said", |t| Some(t.to_owned()), Table::text)?),
            "refuse" => Fault::Refuse { status: self.status()?, wait: wait()? },
            "restart" => Fault::Restart,
            "old_snapshot" => Fault::OldSnapshot(count()?),
            _ => {
                let path = |key| self.need(key, "a PEM file", |text| Some(PathBuf::from(text)), Table::text);
                let (certificate, key) = (path("certificate")?, path("key")?);
                for (name, path) in [("certificate", &certificate), ("key", &key)] {
                    if !path.is_file() {
                        return Err(Wrong(self.place(name), format!("{name} = {path:?} is no file")));
                    }
                }
                Fault::Certificate { certificate, key }
            }
        })
    }

    fn trigger(&self, fault: &Fault) -> Result<Trigger, Wrong> {
        match (self.number("at")?, self.number("per_million")?) {
            (None, None) => Ok(Trigger::Next),
            (Some(0), None) => Err(Wrong(self.place("at"), "at = 0 cannot be; frames are counted from 1".to_owned())),
            (Some(at), None) => Ok(Trigger::Frame(at)),
            (None, Some(_)) if fault.place() != Place::Frames || matches!(fault, Fault::Reorder(..)) => {
                Err(Wrong(self.place("per_million"), format!("{} has no rate; use at or after_s", fault.name())))
            }
            (None, Some(rate @ 1..=1_000_000)) => Ok(Trigger::PerMillion(rate as u32)),
            (None, Some(rate)) => {
                let problem = format!("per_million = {rate} is no rate; 1 to 1000000 are");
                Err(Wrong(self.place("per_million"), problem))
            }
            (Some(_), Some(_)) => {
                Err(Wrong(self.at, "at and per_million exclude one another; keep one of them".to_owned()))
            }
        }
    }

    fn check_place(&self, planned: &Planned) -> Result<(), Wrong> {
        let name = planned.fault.name();
        match planned.fault.place() {
            Place::Frames => Ok(()),
            Place::Sockets => match (planned.trigger, self.has("symbol") || self.has("stream") || self.has("count")) {
                (_, false) => Ok(()),
                _ => Err(Wrong(self.at, format!("{name} acts on connections; it has no stream, symbol or count"))),
            },
            Place::Server => match FRAME.iter().chain(&["connection"]).find(|key| self.has(key) && **key != "count") {
                None => Ok(()),
                Some(key) => Err(Wrong(self.place(key), format!("{name} acts on the server; it has no {key}"))),
            },
        }
    }

    fn target(&self) -> Result<Target, Wrong> {
        let kind = match self.text("stream")? {
            None | Some("*") => None,
            Some(name) if KINDS.contains(&name) => StreamKind::from_name(name),
            Some(name) => return Err(Wrong(self.place("stream"), unknown("stream", name, &KINDS))),
        };
        let symbol = self.text("symbol")?.filter(|symbol| *symbol != "*").map(str::to_owned);
        Ok(Target { kind, symbol })
    }

    fn field(&self) -> Result<Field, Wrong> {
        match self.text("field")? {
            None | Some("size") => Ok(Field::Size),
            Some("price") => Ok(Field::Price),
            Some(name) => Err(Wrong(self.place("field"), unknown("field", name, &["price", "size"]))),
        }
    }

    fn value(&self) -> Result<String, Wrong> {
        self.need("value", "what is put in its place", |text| Some(text.to_owned()), Table::text)
    }

    fn status(&self) -> Result<u16, Wrong> {
        match self.number("status")? {
            Some(status @ (418 | 429 | 503)) => Ok(status as u16),
            Some(status) => Err(Wrong(
                self.place("status"),
                format!("status = {status} is none to refuse with; 418, 429 and 503 are"),
            )),
            None => Err(Wrong(self.at, "refuse needs a status: 418, 429 or 503".to_owned())),
        }
    }

    /// Frames hit; without a count one, but as many as there are where chance decides.
    fn count(&self) -> Result<u32, Wrong> {
        match self.number("count")? {
            None if self.has("per_million") => Ok(u32::MAX),
            None => Ok(1),
            Some(count) if count > 0 && count <= u64::from(u32::MAX) => Ok(count as u32),
            Some(count) => Err(Wrong(self.place("count"), format!("count = {count} cannot be; give 1 or more"))),
        }
    }

    fn within(&self, key: &'static str, least: u64, most: u64) -> Result<u32, Wrong> {
        match self.number(key)? {
            Some(number) if (least..=most).contains(&number) => Ok(number as u32),
            Some(number) => Err(Wrong(self.place(key), format!("{key} = {number} cannot be; {least} to {most} can"))),
            None => Err(Wrong(self.at, format!("{key} is missing: {least} to {most}"))),
        }
    }

    fn need<'s, T, U>(
        &'s self,
        key: &'static str,
        what: &str,
        take: impl Fn(T) -> Option<U>,
        read: impl Fn(&'s Self, &'static str) -> Result<Option<T>, Wrong>,
    ) -> Result<U, Wrong> {
        let missing = || Wrong(self.at, format!("{key} is missing: {what}"));
        read(self, key)?.and_then(take).ok_or_else(missing)
    }

    fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Where a key stands, or its table.
    fn place(&self, key: &str) -> usize {
        self.values.get_key_value(key).map_or(self.at, |(key, _)| key.span().start)
    }

    fn text(&self, key: &'static str) -> Result<Option<&str>, Wrong> {
        match self.values.get(key).map(|value| value.get_ref()) {
            None => Ok(None),
            Some(DeValue::String(text)) => Ok(Some(text)),
            Some(_) => Err(Wrong(self.place(key), format!("{key} is a text in quotes"))),
        }
    }

    fn signed(&self, key: &'static str) -> Result<Option<i64>, Wrong> {
        match self.values.get(key).map(|value| value.get_ref()) {
            None => Ok(None),
            Some(DeValue::Integer(number)) => i64::from_str_radix(number.as_str(), number.radix())
                .map(Some)
                .map_err(|_| Wrong(self.place(key), format!("{key} = {} is too large", number.as_str()))),
            Some(_) => Err(Wrong(self.place(key), format!("{key} is a whole number"))),
        }
    }

    fn number(&self, key: &'static str) -> Result<Option<u64>, Wrong> {
        let Some(number) = self.signed(key)? else { return Ok(None) };
        let negative = |_| Wrong(self.place(key), format!("{key} = {number} cannot be; it is at least 0"));
        u64::try_from(number).map(Some).map_err(negative)
    }

    fn seconds(&self, key: &'static str) -> Result<Option<Duration>, Wrong> {
        let text = match self.values.get(key).map(|value| value.get_ref()) {
            None => return Ok(None),
            Some(DeValue::Integer(number)) => number.as_str(),
            Some(DeValue::Float(number)) => number.as_str(),
            Some(_) => return Err(Wrong(self.place(key), format!("{key} is a number of seconds"))),
        };
        match text.parse::<f64>() {
            Ok(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
            _ => Err(Wrong(self.place(key), format!("{key} = {text} is no time; 0 to 86400 seconds are"))),
        }
    }
}

/// Says that there is no such thing, and which one may be meant.
fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|known| (strsim::levenshtein(name, known), *known)).min();
    match nearest {
        Some((d, near)) if d <= name.len().max(3) / 2 => format!("there is no {what} {name:?}; did you mean {near:?}?"),
        _ => format!("there is no {what} {name:?}; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_back() {
        let script = "
            seed = 7
            [[fault]]
            do = \"refuse\"     # later
            after_s = 5
            status = 429
            seconds = 2.5
            [[fault]]
            do = \"lose\"
            stream = \"book\"
            symbol = \"BTC/USD\"
            count = 3
            at = 100
            [[fault]]
            do = \"drop\"
            after_s = 1.5
            times = 2
            every_s = 0.5
            [[fault]]
            do = \"duplicate\"
            per_million = 500
        ";
        let faults = parse_script(script).expect("a good script");
        let plan = |fault: Fault, seed| Planned { seed, ..fault.into() };
        let lose = Fault::Lose(Target::of(StreamKind::Book, "BTC/USD"), 3);
        let expected = [
            (0, Planned { trigger: Trigger::Frame(100), count: 3, ..plan(lose, 8) }),
            (
                0,
                Planned {
                    trigger: Trigger::PerMillion(500),
                    count: u32::MAX,
                    ..plan(Fault::Duplicate(Target::ALL), 10)
                },
            ),
            (1500, plan(Fault::Drop, 9)),
            (2000, plan(Fault::Drop, 9 + (1 << 32))),
            (5000, plan(Fault::Refuse { status: 429, wait: Duration::from_millis(2500) }, 7)),
        ];
        let read: Vec<(u128, Planned)> = faults.into_iter().map(|f| (f.after.as_millis(), f.planned)).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_command_is_toml_or_json_on_one_line() {
        let expected =
            Planned { count: 3, ..Fault::Lose(Target { kind: Some(StreamKind::Trade), symbol: None }, 3).into() };
        for line in [
            "do = \"lose\", stream = \"trade\", count = 3",
            "{ do = \"lose\", stream = \"trade\", count = 3 }",
            "{\"do\": \"lose\", \"stream\": \"trade\", \"count\": 3}",
        ] {
            let read = parse_command(line).expect(line);
            assert_eq!(read.iter().map(|f| &f.planned).collect::<Vec<_>>(), [&expected], "{line}");
        }
    }

    #[test]
    fn what_cannot_be_is_named_with_its_line_and_what_is_near() {
        for (text, line, parts) in [
            ("[[fault]]\ndo = \"loose\"", 2, &["\"loose\"", "did you mean \"lose\"?"][..]),
            ("[[fault]]\ndo = \"lose\"\nsymbl = \"X\"", 3, &["\"symbl\"", "did you mean \"symbol\"?"]),
            ("\n[[fault]]\ndo = \"lose\"\nper_million = 2000000", 4, &["per_million = 2000000", "1 to 1000000"]),
            ("[[fault]]\ndo = \"lose\"\nper_million = 0", 3, &["per_million = 0"]),
            ("[[fault]]\ndo = \"lose\"\nstream = \"trades\"", 3, &["\"trades\"", "\"trade\""]),
            ("[[fault]]\nstream = \"trade\"", 1, &["do is missing"]),
            ("[[fault]]\ndo = \"mute\"", 1, &["seconds is missing"]),
            ("[[fault]]\ndo = \"mute\"\nseconds = -1", 3, &["seconds = -1", "0 to 86400"]),
            ("[[fault]]\ndo = \"lose\"\ncount = 0", 3, &["count = 0"]),
            ("[[fault]]\ndo = \"lose\"\nat = 0", 3, &["at = 0"]),
            ("[[fault]]\ndo = \"refuse\"\nstatus = 200\nseconds = 1", 3, &["status = 200", "429"]),
            ("[[fault]]\ndo = \"restart\"\nstream = \"book\"", 3, &["restart", "stream"]),
            ("[[fault]]\ndo = \"drop\"\ntimes = 3", 1, &["every_s"]),
            ("[[fault]]\ndo = \"certificate\"\ncertificate = \"/no/such.pem\"\nkey = \"k\"", 3, &["/no/such.pem"]),
            ("[[fualt]]\ndo = \"lose\"", 1, &["\"fualt\"", "did you mean \"fault\"?"]),
            ("do lose", 1, &["no TOML"]),
        ] {
            let error = parse_script(text).expect_err(text);
            assert_eq!(error.line, line, "{text:?}: {error}");
            for part in parts {
                assert!(error.problem.contains(part), "{text:?}: {part:?} is not in {error}");
            }
            assert!(!error.to_string().contains('\n'), "one sentence: {error}");
        }
    }
}
