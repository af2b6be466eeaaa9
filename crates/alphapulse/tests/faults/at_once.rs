//! A book that is wrong says so at the very message that shows it, not some messages later. What came in is captured and
//! stepped through a session anew, message by message: the message at fault is found by what stands in it, and what the
//! feed told is held against what that step tells.

use super::books::until_mended;
use super::plant::*;
use super::*;
use capture::Played;
use emulator::{Fault, Field};
use model::StreamKind::{self, Book, Order};
use venues::Input;
use wire::json;

/// A size that no market makes: where it stands, a level is wrong.
const WRONG: &str = "7.77177717";

/// The first and last id of a message of a symbol, where it has some.
type Ids = fn(&Value, &str) -> Option<(u64, u64)>;

/// Looks at what came in until it has come to the message that shows the fault.
enum Finder {
    /// The first with the wrong size.
    Size,
    /// The first whose ids do not follow the ones before on its connection.
    Break { ids: Ids, symbol: String, last: Option<u64> },
}

impl Finder {
    fn finds(&mut self, input: &Input<'_>) -> bool {
        match (self, input) {
            (Finder::Size, Input::Frame(frame)) => String::from_utf8_lossy(frame).contains(WRONG),
            (Finder::Break { last, .. }, Input::Connected) => {
                *last = None;
                false
            }
            (Finder::Break { ids, symbol, last }, Input::Frame(frame)) => {
                let parsed: Value = serde_json::from_slice(frame).expect("JSON");
                let Some((first, end)) = ids(&parsed, symbol) else { return false };
                let jumps = last.is_some_and(|last| first > last + 1);
                *last = (*last).max(Some(end));
                jumps
            }
            _ => false,
        }
    }
}

/// Update ids of Binance's changes of a book.
fn binance_ids(frame: &Value, symbol: &str) -> Option<(u64, u64)> {
    let change = frame.get("data").unwrap_or(frame);
    let fits = change["e"] == "depthUpdate" && change["s"] == symbol;
    fits.then(|| Some((change["U"].as_u64()?, change["u"].as_u64()?)))?
}

/// Sequences of Coinbase's orders, of a product; the ticker has some of them only.
fn full_ids(frame: &Value, symbol: &str) -> Option<(u64, u64)> {
    let fits = ["received", "open", "done", "match", "change"].contains(&text(frame, "type"));
    let sequence = frame["sequence"].as_u64().filter(|_| fits && frame["product_id"] == symbol)?;
    Some((sequence, sequence))
}

/// Numbers of Advanced Trade's messages, of a connection.
fn advanced_ids(frame: &Value, _: &str) -> Option<(u64, u64)> {
    let number = frame["sequence_num"].as_u64()?;
    Some((number, number))
}

/// What was told of the first symbol's book: before the message at fault, by it, and behind.
fn told_around(plant: &Plant, told: &[Value], mut finder: Finder) -> [Vec<Value>; 3] {
    let mut capture = plant.capture();
    let (mut encoder, mut lines, mut step) = (json::Encoder::new(), vec![], None);
    while let Some(played) = capture.next().expect("a whole capture") {
        let stepped = match played {
            Played::Step(stepped) => stepped,
            Played::Run { whole: true, .. } => continue,
            _ => panic!("{}: the capture has holes", plant.setup.name),
        };
        let begin = lines.len();
        let found = step.is_none() && finder.finds(&stepped.input);
        for (at, words) in stepped.records() {
            let line = encoder.push(at, words).expect("a defined instrument");
            lines.extend(line.map(|l| serde_json::to_value(l).expect("JSON")));
        }
        if found {
            step = Some((begin, lines.len()));
        }
    }
    let (begin, end) = step.unwrap_or_else(|| panic!("{}: the fault never came in", plant.setup.name));
    assert!(end <= told.len(), "{}: it ended before it told of the fault", plant.setup.name);
    assert!(lines[..told.len()] == *told, "{}: the steps tell something else than the feed did", plant.setup.name);
    let of_book = |lines: &[Value]| {
        let about = |l: &&Value| {
            let status = l["type"] == "status" && l["scope"] == "book";
            let gap = l["type"] == "gap" && (l["stream"] == "book" || l["stream"] == "order");
            l["symbol"] == plant.symbol() && (status || gap || l["type"] == "book" || l["type"] == "quote")
        };
        lines.iter().filter(about).cloned().collect()
    };
    [of_book(&told[..begin]), of_book(&told[begin..end]), of_book(&told[end..])]
}

/// Whether a line lets its reader take the book for right. A venue's own ticker is none of the book's, and so are its
/// quotes: only those made of the book say that it is not to be trusted.
fn vouches(line: &Value) -> bool {
    line["type"] == "book" && line["trusted"] == true
}

fn is_state(line: &Value, state: &str) -> bool {
    line["type"] == "status" && line["state"] == state
}

fn suspect_at_once(
    setup: Setup,
    fault: fn(emulator::Target) -> Fault,
    kind: StreamKind,
    reason: &str,
    ids: Option<Ids>,
) {
    let mut plant = Plant::start(Setup { captured: true, ..setup });
    plant.suffer(fault(first(&plant, kind)));
    until_mended(&plant, 1);
    let told = plant.end();
    let finder = match ids {
        None => Finder::Size,
        Some(ids) => Finder::Break { ids, symbol: plant.spelled(), last: None },
    };
    let [before, at, behind] = told_around(&plant, &told, finder);
    let name = plant.setup.name;
    let states: Vec<&Value> = before.iter().filter(|l| l["type"] == "status").collect();
    assert!(states.last().is_some_and(|l| is_state(l, "live")), "{name}: it was live before");
    assert!(before.iter().filter(|l| vouches(l)).count() > 1, "{name}: and vouched for");
    let words: Vec<&Value> = at.iter().filter(|l| l["type"] != "quote").collect();
    assert!(
        words.iter().any(|l| is_state(l, "suspect") && l["reason"] == reason),
        "{name}: suspect at once: {words:?}"
    );
    assert!(!words.iter().any(|l| vouches(l)), "{name}: nothing of a wrong message is vouched for: {words:?}");
    let live = behind.iter().position(|l| is_state(l, "live")).expect("it is whole again");
    let changes: Vec<&Value> = behind[..live].iter().filter(|l| vouches(l) && l["kind"] != "snapshot").collect();
    assert!(changes.is_empty(), "{name}: no change is vouched for before the book is live: {changes:?}");
}

/// A flipped level is found by the checksum of the very message that carries it.
#[test]
fn a_wrong_level_is_suspect_at_that_update() {
    // The checksum is over the best ten: with more, a wrong level may never come among them.
    let ten = |setup: Setup| Setup { depth: 10, ..setup };
    each(vec![ten(kraken()), ten(kraken_v1())], |setup| {
        let wrong = |target| Fault::Number(target, Field::Size, WRONG.to_owned());
        suspect_at_once(setup, wrong, Book, "checksum", None);
    });
}

/// A lost change is found by the very next that has a number.
#[test]
fn a_lost_change_is_suspect_at_the_next_update() {
    let cases: Vec<(Setup, StreamKind, Ids)> =
        vec![(binance(), Book, binance_ids), (full(), Order, full_ids), (advanced(), Book, advanced_ids)];
    each(cases, |(setup, kind, ids)| {
        suspect_at_once(setup, |target| Fault::Lose(target, 1), kind, "sequence", Some(ids));
    });
}
