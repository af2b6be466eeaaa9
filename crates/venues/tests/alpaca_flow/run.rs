//! A machine with nobody at the other end: what it is told, and what it says and asks for.

use model::{Reason, StreamKind, UnixNanos, Venue};
use serde_json::{Value, json};
use std::time::Duration;
use venues::{Credentials, Outbox, Recall, Reply, Request, RequestId, Settings, VenueMachine};
use wire::Envelope;
use wire::json::{Encoder, GapLine, Line};

pub const SECOND: Duration = Duration::from_secs(1);
pub const WELCOME: &str = r#"[{"T":"success","msg":"connected"}]"#;
pub const AUTHENTICATED: &str = r#"[{"T":"success","msg":"authenticated"}]"#;

pub struct Run {
    pub machine: Box<dyn VenueMachine>,
    pub out: Outbox,
    pub encoder: Encoder,
    pub now: UnixNanos,
    pub lines: Vec<Line>,
    pub sent: Vec<Value>,
    pub asked: Vec<Request>,
    pub reconnect: Option<(Reason, String)>,
    pub not_before: Option<UnixNanos>,
    /// What a feed that starts now would remember.
    pub recall: Recall,
}

pub fn settings(symbols: &[&str]) -> Settings {
    let keys = Credentials { key: "the-key".to_owned(), secret: "the-secret".to_owned(), passphrase: None };
    let mut settings = Settings {
        symbols: symbols.iter().map(|s| (*s).to_owned()).collect(),
        streams: vec![StreamKind::Trade],
        credentials: Some(keys),
        ..Settings::default()
    };
    settings.stale_after.connection_s = 0;
    settings
}

pub fn pairs(choices: &[(&str, &str)]) -> Vec<(String, String)> {
    choices.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

impl Run {
    pub fn new(settings: &Settings, choices: &[(&str, &str)]) -> Run {
        let choices = pairs(&[&[("encoding", "json"), ("probe", "off"), ("audit_s", "0")], choices].concat());
        Run::with(venues::machine(Venue::Alpaca, settings, &choices).unwrap())
    }

    pub fn with(machine: Box<dyn VenueMachine>) -> Run {
        Run {
            machine,
            out: Outbox::new(),
            encoder: Encoder::new(),
            now: UnixNanos(1_700_000_000_000_000_000),
            lines: vec![],
            sent: vec![],
            asked: vec![],
            reconnect: None,
            not_before: None,
            recall: Recall::default(),
        }
    }

    pub fn drain(&mut self) {
        for words in &self.out.records {
            self.recall.push(words);
            self.lines.extend(self.encoder.push(Envelope::default(), words).unwrap());
        }
        self.sent.extend(self.out.frames.iter().map(|f| serde_json::from_slice::<Value>(&f.payload).unwrap()));
        self.asked.append(&mut self.out.requests);
        self.reconnect = self.out.reconnect.take().or(self.reconnect.take());
        self.not_before = self.out.not_before.take().or(self.not_before.take());
        self.out.clear();
    }

    pub fn connect(&mut self) {
        self.machine.on_connected(self.now, &mut self.out);
        self.drain();
    }

    pub fn frame(&mut self, frame: &str) {
        self.machine.on_frame(frame.as_bytes(), self.now, &mut self.out).unwrap();
        self.drain();
    }

    pub fn log_in(&mut self) {
        self.connect();
        self.frame(WELCOME);
        self.frame(AUTHENTICATED);
    }

    /// Answers every request with all that it asks for, until none is made.
    pub fn grant(&mut self, from: usize) {
        let mut at = from;
        while at < self.sent.len() {
            let mut echo = json!({"T": "subscription"});
            for (channel, symbols) in self.sent[at].as_object().unwrap().iter().filter(|(_, v)| v.is_array()) {
                echo[channel] = symbols.clone();
            }
            self.frame(&json!([echo]).to_string());
            at += 1;
        }
    }

    pub fn cut(&mut self) {
        self.machine.on_disconnected(self.now, &mut self.out);
        self.drain();
    }

    /// Time passes; timers run.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(due) = self.machine.next_timer().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.machine.on_timer(self.now, &mut self.out);
            self.drain();
        }
        self.now = end;
    }

    pub fn answer(&mut self, status: u16, body: &str) {
        self.answer_to(self.last_id(), status, body);
    }

    /// What was asked for last.
    pub fn last_id(&self) -> RequestId {
        self.asked.last().unwrap().id
    }

    pub fn answer_to(&mut self, id: RequestId, status: u16, body: &str) {
        let reply = Reply::Http { status, body: body.as_bytes(), retry_after: None };
        self.machine.on_response(id, reply, self.now, &mut self.out);
        self.drain();
    }

    pub fn refusals(&self) -> Vec<&str> {
        let refused = self.lines.iter().filter_map(|l| match l {
            Line::Status(s) if s.reason == "refused" => Some(s.text.as_str()),
            _ => None,
        });
        refused.collect()
    }

    pub fn gaps(&self) -> Vec<&GapLine> {
        self.lines.iter().filter_map(|l| if let Line::Gap(g) = l { Some(g) } else { None }).collect()
    }

    /// Ids of the trades told, and whether they came late.
    pub fn trades(&self) -> Vec<(String, bool)> {
        let pick = |l: &Line| if let Line::Trade(t) = l { Some((t.trade_id.clone().unwrap(), t.late)) } else { None };
        self.lines.iter().filter_map(pick).collect()
    }
}

pub fn error(code: u32, text: &str) -> String {
    json!([{"T": "error", "code": code, "msg": text}]).to_string()
}

pub fn trade(id: u64, exchange: &str, time: &str) -> String {
    format!(
        r#"[{{"T":"t","S":"AAPL","i":{id},"x":"{exchange}","p":126.55,"s":1,"c":["@"],"z":"C","t":"2023-11-14T22:13:{time}Z"}}]"#
    )
}

pub fn row(id: u64, time: &str) -> String {
    format!(r#"{{"t":"2023-11-14T22:13:{time}Z","x":"V","p":1,"s":1,"c":["@"],"i":{id},"z":"C"}}"#)
}

pub fn body(rows: &[(u64, &str)], token: &str) -> String {
    let rows: Vec<String> = rows.iter().map(|(id, time)| row(*id, time)).collect();
    format!(r#"{{"trades":{{"AAPL":[{}]}},"next_page_token":{token}}}"#, rows.join(","))
}

/// A time of these tests, in milliseconds of their minute.
pub fn at(ms: u64) -> UnixNanos {
    UnixNanos(1_700_000_000_000_000_000 - 20_000_000_000 + ms * 1_000_000)
}
