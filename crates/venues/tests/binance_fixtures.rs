//! Short frames of our own making and the records they must give, under `fixtures/binance/<case>/`:
//! `frames.jsonl` in, `rest.http.jsonl` answers its requests in order, `settings.json` where symbols are configured,
//! `expected.jsonl` out. `UPDATE_GOLDEN=1` writes what is told; the difference is for a person to read.

use model::{UnixNanos, Venue};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use venues::{Input, Outbox, Reply, Session, SessionSettings, Settings};
use wire::Envelope;
use wire::json::Encoder;

const START: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

struct Case {
    session: Session,
    out: Outbox,
    encoder: Encoder,
    now: UnixNanos,
    sequence: u64,
    rest: Vec<Value>,
    told: String,
}

fn text(path: &Path) -> Option<String> {
    path.exists().then(|| std::fs::read_to_string(path).expect("readable"))
}

fn json_lines(path: &Path) -> Vec<Value> {
    let text = text(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

impl Case {
    fn new(folder: &Path) -> Case {
        let mut settings = Settings::default();
        let mut choices = vec![];
        for given in json_lines(&folder.join("settings.json")) {
            let symbols = given["symbols"].as_array().expect("symbols");
            settings.symbols = symbols.iter().map(|s| s.as_str().expect("a symbol").to_owned()).collect();
            settings.book_depth = given["book_depth"].as_u64().expect("a depth") as u32;
            let given = given["choices"].as_object().expect("choices");
            choices = given.iter().map(|(k, v)| (k.clone(), v.as_str().expect("a text").to_owned())).collect();
        }
        let machine = venues::machine(Venue::Binance, &settings, &choices).expect("offered settings");
        Case {
            session: Session::new(machine, SessionSettings::default()),
            out: Outbox::new(),
            encoder: Encoder::new(),
            now: START,
            sequence: 0,
            rest: json_lines(&folder.join("rest.http.jsonl")),
            told: String::new(),
        }
    }

    fn step(&mut self, input: Input<'_>) {
        if let Some(bad) = self.session.step(input, self.now, &mut self.out) {
            self.told += &format!("frame {} set aside: {}\n", bad.frame, bad.error);
        }
        for words in &self.out.records {
            self.sequence += 1;
            let at = Envelope { epoch: 1, sequence: self.sequence };
            if let Some(line) = self.encoder.push(at, words).expect("a record") {
                self.told += &serde_json::to_string(&line).expect("a line has a JSON form");
                self.told.push('\n');
            }
        }
        for frame in self.out.frames.drain(..) {
            self.told += &format!("sent {}\n", frame.as_text().expect("text"));
        }
        let requests = std::mem::take(&mut self.out.requests);
        self.out.clear();
        for request in requests {
            self.told += &format!("asked {} (weight {})\n", request.path, request.weight);
            let found = self.rest.iter().position(|r| r["url"].as_str().is_some_and(|u| u.ends_with(&request.path)));
            match found.map(|index| self.rest.remove(index)) {
                Some(answer) => {
                    let body = answer["body"].as_str().expect("a body").as_bytes();
                    let status = answer["status"].as_u64().expect("a status") as u16;
                    self.step(Input::Response(request.id, Reply::Http { status, body, retry_after: None }));
                }
                None => self.step(Input::Response(request.id, Reply::Failed("no answer is recorded"))),
            }
        }
    }
}

#[track_caller]
fn check(name: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/binance").join(name);
    let mut case = Case::new(&folder);
    case.step(Input::Connected);
    for frame in text(&folder.join("frames.jsonl")).expect("frames").lines() {
        case.now = case.now.after(Duration::from_millis(100));
        case.step(Input::Frame(frame.as_bytes()));
    }
    assert!(case.rest.is_empty(), "answers nobody asked for: {:?}", case.rest);
    let golden = folder.join("expected.jsonl");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &case.told).expect("writable");
    }
    let expected = text(&golden).unwrap_or_default();
    let differs = expected.lines().zip(case.told.lines()).find(|(theirs, ours)| theirs != ours);
    assert_eq!(differs, None, "{name}");
    assert_eq!(expected.lines().count(), case.told.lines().count(), "{name}");
}

#[test]
fn bridge_and_gap() {
    check("bridge_and_gap");
}

#[test]
fn without_snapshot() {
    check("without_snapshot");
}

#[test]
fn all_streams() {
    check("all_streams");
}

#[test]
fn live_subscription() {
    check("live_subscription");
}
