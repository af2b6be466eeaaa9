//! What a proxy did, as JSON lines: which bytes of which connection and direction, exactly.

use super::Direction;

/// One thing done to one direction of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A bit of a byte was flipped.
    Corrupt {
        /// Its offset in the direction, from 0.
        byte: u64,
        /// Which bit, 0 the least.
        bit: u8,
    },
    /// Nothing passed for a time, behind so many bytes.
    Stall {
        /// How many had passed.
        byte: u64,
        /// For how long.
        ms: u64,
    },
    /// Both sides were reset.
    Reset {
        /// How many bytes had passed.
        byte: u64,
    },
    /// Both sides were closed.
    Close {
        /// How many bytes had passed.
        byte: u64,
    },
    /// These bytes vanished.
    HalfOpen {
        /// The first.
        from: u64,
        /// The one behind the last.
        to: u64,
    },
    /// These bytes were delayed, held up or cut into pieces.
    Hindered {
        /// `delay`, `bandwidth` or `split`.
        action: &'static str,
        /// The first.
        from: u64,
        /// The one behind the last.
        to: u64,
    },
    /// The direction is over.
    End {
        /// Bytes that came in.
        read: u64,
        /// Bytes that were passed on.
        passed: u64,
        /// Why: `eof`, `reset`, `close`, `broken`, `stopped`, or `ended` by the other direction.
        why: &'static str,
    },
}

impl Deed {
    /// The line, without its end. `at_ms` since the proxy began.
    pub fn line(&self, at_ms: u64, connection: u64, direction: Direction) -> String {
        let rest = match self {
            Deed::Corrupt { byte, bit } => format!("\"action\":\"corrupt\",\"byte\":{byte},\"bit\":{bit}"),
            Deed::Stall { byte, ms } => format!("\"action\":\"stall\",\"byte\":{byte},\"ms\":{ms}"),
            Deed::Reset { byte } => format!("\"action\":\"reset\",\"byte\":{byte}"),
            Deed::Close { byte } => format!("\"action\":\"close\",\"byte\":{byte}"),
            Deed::HalfOpen { from, to } => format!("\"action\":\"half_open\",\"from\":{from},\"to\":{to}"),
            Deed::Hindered { action, from, to } => format!("\"action\":\"{action}\",\"from\":{from},\"to\":{to}"),
            Deed::End { read, passed, why } => {
                format!("\"action\":\"end\",\"read\":{read},\"passed\":{passed},\"why\":\"{why}\"")
            }
        };
        let direction = direction.name();
        format!("{{\"at_ms\":{at_ms},\"connection\":{connection},\"direction\":\"{direction}\",{rest}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json() {
        let line = Deed::Corrupt { byte: 9, bit: 7 }.line(5, 2, Direction::Down);
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let expected =
            serde_json::json!({"at_ms":5,"connection":2,"direction":"down","action":"corrupt","byte":9,"bit":7});
        assert_eq!(value, expected);
    }
}
