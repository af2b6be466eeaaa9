//! JSON in any legal spelling: key order, white space, escapes, exponents. Shared by the tests that hold the readings of a
//! protocol to one meaning.

/// JSON as a tree whose numbers are texts.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "each test file uses what its protocol has")]
pub enum Value {
    Number(String),
    /// A number in quotes, which any reader of ours also takes without; not every protocol has them.
    Quoted(String),
    Text(String),
    List(Vec<Value>),
    Object(Vec<(&'static str, Value)>),
}
use Value::{List, Number, Object, Quoted, Text};

/// As the venue writes it.
pub fn plainly(v: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(",");
    match v {
        Number(text) => text.clone(),
        Text(text) | Quoted(text) => format!("\"{text}\""),
        List(items) => format!("[{}]", join(items.iter().map(plainly).collect())),
        Object(members) => {
            format!("{{{}}}", join(members.iter().map(|(k, v)| format!("\"{k}\":{}", plainly(v))).collect()))
        }
    }
}

/// Turns the dice of one spelling.
pub struct Dice(pub u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn space(&mut self) -> &'static str {
        ["", "", " ", "\t", "\r\n  "][self.below(5)]
    }

    fn text(&mut self, text: &str) -> String {
        let escape = |c: char, n: usize| if n == 0 { format!("\\u{:04x}", c as u32) } else { c.to_string() };
        let inner: String = text
            .chars()
            .map(|c| if c == '/' && self.below(2) == 0 { "\\/".to_owned() } else { escape(c, self.below(6)) })
            .collect();
        format!("\"{inner}\"")
    }

    fn number(&mut self, text: &str) -> String {
        if let Some(magnitude) = text.strip_prefix('-') {
            return format!("-{}", self.number(magnitude));
        }
        match (text.split_once('.'), self.below(4)) {
            (Some((whole, fraction)), 0) => {
                let digits = format!("{whole}{fraction}");
                let digits = digits.trim_start_matches('0');
                let digits = if digits.is_empty() { "0" } else { digits };
                format!("{digits}e-{:02}", fraction.len())
            }
            (Some(_), 1) => format!("{text}000000000000000000000"),
            (Some(_), 2) => format!("{}E+2", shifted(text)),
            _ => text.to_owned(),
        }
    }

    pub fn any(&mut self, v: &Value) -> String {
        let (a, b) = (self.space(), self.space());
        let inner = match v {
            Number(text) => self.number(text),
            Quoted(text) => {
                let number = self.number(text);
                match self.below(3) {
                    0 => number,
                    1 => self.text(&number),
                    _ => format!("\"{number}\""),
                }
            }
            Text(text) => self.text(text),
            List(items) => {
                let items: Vec<String> = items.iter().map(|i| self.any(i)).collect();
                format!("[{}{}]", self.space(), items.join(","))
            }
            Object(members) => {
                let mut order: Vec<usize> = (0..members.len()).collect();
                for n in (1..order.len()).rev() {
                    order.swap(n, self.below(n + 1));
                }
                let members: Vec<String> = order
                    .iter()
                    .map(|n| {
                        format!(
                            "{}{}{}:{}",
                            self.space(),
                            self.text(members[*n].0),
                            self.space(),
                            self.any(&members[*n].1)
                        )
                    })
                    .collect();
                format!("{{{}{}}}", members.join(","), self.space())
            }
        };
        format!("{a}{inner}{b}")
    }
}

/// A decimal text divided by 100: two more decimals.
fn shifted(text: &str) -> String {
    let (whole, fraction) = text.split_once('.').unwrap();
    let padded = format!("{whole:0>3}");
    let (front, back) = padded.split_at(padded.len() - 2);
    let front = front.trim_start_matches('0');
    format!("{}.{back}{fraction}", if front.is_empty() { "0" } else { front })
}
