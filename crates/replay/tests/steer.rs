//! A replay steered while it runs, on a simulated clock: pace, pause, seek, steps, speed; and the same over a socket.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use book::bars::{Interval, Rule};
use common::*;
use model::{UnixNanos, Venue};
use relay::Books;
use replay::{
    BarChoice, Choice, Clock, Command, Control, Handle, Order, Replay, ReplayError, RunOptions, Runner, Sink, Source,
    Speed, State, Status, Take, Told, find,
};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

type Answers = Vec<Receiver<Result<Status, String>>>;

/// A clock that moves when it sleeps, and gives orders at their times.
struct Simulated {
    now: Arc<Mutex<Duration>>,
    handle: Handle,
    script: VecDeque<(Duration, Command)>,
    answers: Answers,
}

impl Clock for Simulated {
    fn now(&mut self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn wall(&mut self) -> UnixNanos {
        UnixNanos(1)
    }

    fn sleep(&mut self, orders: &Receiver<Order>, most: Option<Duration>) -> Option<Order> {
        let mut now = self.now.lock().unwrap();
        let end = most.map(|most| *now + most);
        let due = self.script.front().map(|(at, _)| (*at).max(*now));
        if let Some(due) = due.filter(|due| end.is_none_or(|end| *due <= end)) {
            *now = due;
            let (_, command) = self.script.pop_front().unwrap();
            self.answers.push(self.handle.give(command).unwrap());
            return orders.try_recv().ok();
        }
        *now = end?;
        None
    }
}

/// What was told, with when on the replay's clock.
struct Timed {
    now: Arc<Mutex<Duration>>,
    told: Arc<Mutex<Vec<(Duration, Heard)>>>,
    takes: Arc<Mutex<Vec<Take>>>,
}

impl Sink for Timed {
    fn begin(&mut self, take: &Take) -> Result<(), ReplayError> {
        self.takes.lock().unwrap().push(take.clone());
        Ok(())
    }

    fn tell(&mut self, told: &Told<'_>) -> Result<(), ReplayError> {
        self.told.lock().unwrap().push((*self.now.lock().unwrap(), hear(told)));
        Ok(())
    }

    fn event(&mut self, _time: UnixNanos, _wall: UnixNanos) -> Result<(), ReplayError> {
        Ok(())
    }
}

struct Outcome {
    told: Vec<(Duration, Heard)>,
    takes: Vec<Take>,
    answers: Vec<Result<Status, String>>,
    summary: replay::Summary,
}

/// Runs a script of orders, each at its time on the replay's clock.
fn run(sources: Vec<Box<dyn Source>>, speed: Speed, paused: bool, script: Vec<(Duration, Command)>) -> Outcome {
    let (now, told, takes) = (Arc::<Mutex<Duration>>::default(), Arc::default(), Arc::<Mutex<Vec<Take>>>::default());
    let sink = Timed { now: now.clone(), told: Arc::clone(&told), takes: takes.clone() };
    let replay = Replay::open(sources, Choice::default()).unwrap();
    let linger = !script.is_empty();
    let (runner, handle) = Runner::new(replay, vec![Box::new(sink)], RunOptions { speed, paused, linger });
    let mut clock = Simulated { now, handle, script: script.into(), answers: vec![] };
    let summary = runner.run(&mut clock).unwrap();
    let answers = clock.answers.iter().map(|answer| answer.try_recv().unwrap()).collect();
    let told: Vec<(Duration, Heard)> = told.lock().unwrap().clone();
    Outcome { told, takes: takes.lock().unwrap().clone(), answers, summary }
}

/// A journal of one venue: events 10 ms apart for 60 s, everything repeated every 400 ms.
fn market(folder: &Path) -> Vec<Row> {
    let mut market = Market::begin(Venue::Kraken, 9, 3, BEGIN);
    market.run(BEGIN, 6000, ms(10), ms(400));
    journal(folder, &[(Venue::Kraken, market.rows.clone())]);
    market.rows
}

#[test]
fn events_are_told_at_their_distances_times_the_speed() {
    let folder = tempfile::tempdir().unwrap();
    market(folder.path());
    for (times, scale) in [(1.0, 1.0), (20.0, 0.05), (0.5, 2.0)] {
        let out = run(find(folder.path(), &[]).unwrap(), Speed::Times(times), false, vec![]);
        let first = out.told[0].1.time;
        for (when, heard) in &out.told {
            let due = heard.time.since(first).mul_f64(scale);
            assert!(when.abs_diff(due) <= Duration::from_nanos(10), "×{times}: {when:?} for {due:?}");
        }
        assert!(out.summary.late.max() <= 10 && out.summary.spacing.max() <= 20, "{:?}", out.summary.spacing.max());
        assert!(out.summary.events > 5000);
    }
}

#[test]
fn a_pause_holds_the_stream_and_another_speed_goes_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let rows = market(folder.path());
    let script = vec![
        (ms(1000), Command::Pause),
        (ms(5000), Command::Resume),
        (ms(6000), Command::Speed(Speed::Times(10.0))),
        (ms(7000), Command::Speed(Speed::Max)),
    ];
    let out = run(find(folder.path(), &[]).unwrap(), Speed::Times(1.0), false, script);
    let told: Vec<Row> = out.told.iter().map(|(_, heard)| heard.row.clone()).collect();
    assert_eq!(told, as_replayed(&rows), "nothing is lost and nothing told twice");
    assert!(out.told.iter().all(|(when, _)| *when <= ms(1000) || *when >= ms(5000)), "told while paused");
    // 1 s, then 1 s, then 1 s ten times as fast: 12 s of the recording, the rest at once.
    let at_once = out.told.iter().find(|(when, _)| *when >= ms(7000)).unwrap();
    let place = at_once.1.time.since(BEGIN);
    assert!(place >= ms(12_000) && place <= ms(12_020), "{place:?}");
    let states: Vec<State> = out.answers.iter().map(|answer| answer.as_ref().unwrap().state).collect();
    assert_eq!(states, [State::Paused, State::Playing, State::Playing, State::Playing]);
}

/// The books of the records up to a time, as a reader of the live stream had them.
fn books_at(rows: &[Row], until: UnixNanos) -> Books {
    let mut books = Books::new();
    for row in rows.iter().take_while(|row| row.words[2] < until.0) {
        books.push(&row.words).unwrap();
    }
    books
}

/// Whether two readers of a book agree as far as both know.
fn assert_same(live: &Books, replayed: &Books, about: &str) {
    assert!(live.iter().len() > 0);
    for (venue, id, live) in live.iter() {
        let ours = replayed.get(venue, id).unwrap_or_else(|| panic!("{about}: {id} is not told of"));
        assert!(ours.follower.is_whole() && live.follower.is_whole(), "{about}: {id} is not whole");
        assert_eq!(ours.follower.standing().state, live.follower.standing().state, "{about}");
        for side in [model::Side::Buy, model::Side::Sell] {
            let levels = |b: &book::Rebuilt| b.book.levels(side).take(15).collect::<Vec<_>>();
            assert_eq!(levels(ours), levels(live), "{about}: {id} {side}");
        }
    }
}

#[test]
fn what_is_told_behind_a_seek_can_be_joined_there_and_goes_on_as_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let rows = market(folder.path());
    let sources = || find(folder.path(), &[]).unwrap();
    let mut replay = Replay::open(sources(), Choice::default()).unwrap();
    // Forward, back, to the beginning of an event, before everything, near the end.
    for to in [30_000, 12_345, 12_340, 59_000, 1, 45_005, 45_000].map(at) {
        replay.seek(to).unwrap();
        let mut heard = vec![];
        replay
            .opening(&mut |told| {
                heard.push(hear(&told));
                Ok(())
            })
            .unwrap();
        assert!(heard.iter().all(|h| h.catch_up));
        let mut books = Books::new();
        heard.iter().for_each(|h| books.push(&h.row.words).map(|_| ()).unwrap());
        assert_same(&books_at(&rows, to), &books, &format!("at {to}"));
        let session = wire::Record::read(&heard[0].row.words).unwrap();
        assert!(matches!(session, wire::Record::SessionStart(s) if s.site == "replay:desk" && s.head.simulated == 1));
        // What follows is what was recorded from there on.
        let mut after = vec![];
        for _ in 0..200 {
            replay
                .event(&mut |told| {
                    after.push(hear(&told));
                    Ok(())
                })
                .unwrap();
        }
        let expected = as_replayed(&rows);
        let first = rows.iter().position(|row| row.words[2] >= to.0).unwrap();
        let after: Vec<Row> = after.into_iter().map(|h| h.row).collect();
        assert_eq!(after[..], expected[first..first + after.len()]);
        for row in &after {
            books.push(&row.words).unwrap();
        }
        let end = rows[first + after.len() - 1].words[2];
        assert_same(&books_at(&rows, UnixNanos(end + 1)), &books, &format!("behind {to}"));
    }
    let refused = replay.seek(UnixNanos(u64::MAX)).unwrap_err();
    assert!(matches!(refused, ReplayError::OutOfInterval { .. }), "{refused}");
}

#[test]
fn a_capture_is_joined_in_the_middle_like_the_feed_that_made_it() {
    let Some(data) = data("a_capture_is_joined_in_the_middle_like_the_feed_that_made_it") else { return };
    let path = data.join("venues/kraken/ws_v2/book_btcusd_d25_20260802.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let frames: Vec<_> =
        text.lines().take(4000).zip(0..).map(|(line, n)| (at(n * 5), line.as_bytes().to_vec())).collect();
    let folder = tempfile::tempdir().unwrap();
    let rows = capture(folder.path(), Venue::Kraken, 7, &frames);
    let last = frames.last().unwrap().0.since(BEGIN).as_millis() as u64;
    let mut replay = Replay::open(find(folder.path(), &[]).unwrap(), Choice::default()).unwrap();
    for to in [last / 2, last / 3, last - 500].map(at) {
        replay.seek(to).unwrap();
        let mut books = Books::new();
        replay.opening(&mut |told| books.push(told.words).map(|_| ()).map_err(|_| panic!("a record"))).unwrap();
        assert_same(&books_at(&rows, to), &books, &format!("at {to}"));
    }
}

#[test]
fn seeks_and_steps_are_obeyed_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let rows = market(folder.path());
    let minute = |seconds| BarChoice {
        rule: Rule::Time(Interval::new(Duration::from_secs(seconds)).unwrap()),
        venue: Some(Venue::Kraken),
        symbol: Some("C0-USD".to_owned()),
    };
    let script = vec![
        (ms(0), Command::StepEvents(3)),
        (ms(10), Command::StepEvents(1)),
        (ms(20), Command::Seek(at(20_000))),
        (ms(30), Command::StepEvents(1)),
        (ms(40), Command::StepBars(2, minute(5))),
        (ms(50), Command::StepBars(1, minute(5))),
        (ms(60), Command::Seek(UnixNanos(u64::MAX))),
        (ms(70), Command::Seek(at(5_000))),
        (ms(80), Command::StepBars(1, BarChoice { rule: Rule::Ticks(10), venue: None, symbol: None })),
        (ms(90), Command::StepBars(1, BarChoice { rule: Rule::Ticks(0), venue: None, symbol: None })),
        (ms(100), Command::Stop),
    ];
    let out = run(find(folder.path(), &[]).unwrap(), Speed::Times(1.0), true, script);
    let status = |n: usize| out.answers[n].as_ref().unwrap();
    assert_eq!((status(0).events, status(0).state, status(0).time), (3, State::Paused, at(20).0));
    assert_eq!((status(1).events, status(1).time), (4, at(30).0));
    assert_eq!((status(2).time, status(2).take, status(2).state), (at(20_000).0, 2, State::Paused));
    assert!(status(3).time >= at(20_000).0 && status(3).time < at(20_020).0);
    // The second of these bars ends where the third begins.
    let bars = &status(4).bars;
    assert_eq!(bars.len(), 2, "{bars:?}");
    assert!(bars[0].partial || bars[0].start >= at(20_000).0);
    let last = bars.last().unwrap();
    assert!(status(4).time < last.end && status(4).next.unwrap() >= last.end, "it stands at the bar's end: {last:?}");
    assert_eq!(last.end - last.start, 5_000_000_000);
    let third = &status(5).bars[0];
    assert_eq!((third.start, status(5).bars.len(), third.partial), (last.end, 1, false));
    // A bar is what its trades say.
    let trades: Vec<wire::TradeRecord> = rows
        .iter()
        .filter_map(|row| match wire::Record::read(&row.words) {
            Ok(wire::Record::Trade(trade)) => Some(*trade),
            _ => None,
        })
        .filter(|t| t.header.instrument() == Market::begin(Venue::Kraken, 1, 1, BEGIN).id(0))
        .filter(|t| (third.start..third.end).contains(&t.ts_event))
        .collect();
    let price = |t: &wire::TradeRecord| wire::json::decimal(t.price, 2);
    assert_eq!((third.trades, third.volume.clone()), (trades.len() as u64, (3 * trades.len()).to_string()));
    assert_eq!((&third.open, &third.close), (&price(&trades[0]), &price(trades.last().unwrap())));
    assert!(out.answers[6].as_ref().unwrap_err().contains("cannot seek"));
    assert_eq!((status(7).time, status(7).take), (at(5_000).0, 3));
    assert_eq!((status(8).bars.len(), status(8).bars[0].trades), (1, 10));
    assert!(out.answers[9].as_ref().unwrap_err().contains("above 0"));
    assert_eq!(out.takes.iter().map(|take| take.time).collect::<Vec<_>>(), [UnixNanos::ZERO, at(20_000), at(5_000)]);
}

#[test]
fn at_the_end_it_waits_for_a_seek_while_somebody_may_ask_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let rows = market(folder.path());
    let script = vec![(ms(1), Command::Status), (ms(2), Command::Seek(at(59_000))), (ms(3), Command::Status)];
    let out = run(find(folder.path(), &[]).unwrap(), Speed::Max, false, script);
    assert_eq!(out.answers[0].as_ref().unwrap().state, State::Ended);
    assert_eq!(out.answers[1].as_ref().unwrap().state, State::Playing);
    assert_eq!(out.answers[2].as_ref().unwrap().state, State::Ended);
    let again = rows.iter().filter(|row| row.words[2] >= at(59_000).0).count();
    assert_eq!(out.summary.records as usize, rows.len() + again);
}

#[test]
fn orders_come_over_a_socket_as_lines() {
    let folder = tempfile::tempdir().unwrap();
    market(&folder.path().join("journal"));
    let replay = Replay::open(find(&folder.path().join("journal"), &[]).unwrap(), Choice::default()).unwrap();
    let options = RunOptions { speed: Speed::Max, paused: true, linger: true };
    let (ears, sink) = listener();
    let (runner, handle) = Runner::new(replay, vec![sink], options);
    let path = folder.path().join("control.sock");
    let control = Control::listen(&path, handle).unwrap();
    let running = std::thread::spawn(move || runner.run(&mut replay::SystemClock::start()));
    let mut stream = UnixStream::connect(&path).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut ask = |order: &str| -> serde_json::Value {
        stream.write_all(format!("{order}\n").as_bytes()).unwrap();
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let status = ask(r#"{"do":"status"}"#);
    assert_eq!((&status["ok"], &status["replay"], &status["state"]), (&true.into(), &true.into(), &"paused".into()));
    assert_eq!(ask(r#"{"do":"step_events","count":2}"#)["events"], 2);
    assert_eq!(ask(r#"{"do":"seek","time":"2023-11-14T22:13:50Z"}"#)["time"], at(30_000).0);
    assert_eq!(ask(r#"{"do":"step_bars","interval_s":5}"#)["bars"][0]["venue"], "kraken");
    assert_eq!(ask(r#"{"do":"speed","speed":"max"}"#)["speed"], "max");
    assert_eq!(ask(r#"{"do":"speed","speed":2.5}"#)["speed"], "2.5");
    for (order, word) in [
        (r#"{"do":"jump"}"#, "unknown variant"),
        (r#"{"do":"speed","speed":-1}"#, "no speed"),
        (r#"{"do":"seek","time":"noon"}"#, "no time"),
        (r#"{"do":"step_bars","interval_s":7}"#, "divide a day"),
        ("nonsense", "no order"),
    ] {
        let refused = ask(order);
        assert_eq!(refused["ok"], false, "{order}");
        assert!(refused["error"].as_str().unwrap().contains(word), "{refused}");
    }
    assert_eq!(ask(r#"{"do":"speed","speed":"max"}"#)["ok"], true);
    assert_eq!(ask(r#"{"do":"resume"}"#)["ok"], true);
    assert_eq!(ask(r#"{"do":"stop"}"#)["ok"], true);
    running.join().unwrap().unwrap();
    assert!(!ears.lock().unwrap().is_empty());
    assert!(ask(r#"{"do":"status"}"#)["error"].as_str().unwrap().contains("over"));
    drop(control);
    assert!(!path.exists());
}

#[test]
fn the_pace_kept_on_this_machine_is_measured_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    market(folder.path());
    let choice = Choice { until: at(1500), ..Choice::default() };
    let replay = Replay::open(find(folder.path(), &[]).unwrap(), choice).unwrap();
    let (ears, sink) = listener();
    let options = RunOptions { speed: Speed::Times(1.0), paused: false, linger: false };
    let (runner, _handle) = Runner::new(replay, vec![sink], options);
    let summary = runner.run(&mut replay::SystemClock::start()).unwrap();
    let ns = |histogram: &telemetry::Histogram, q| histogram.quantile(q);
    println!(
        "×1, {} events 10 ms apart: late p50 {} ns, p99 {} ns; distance from the recorded one p50 {} ns, p99 {} ns",
        summary.events,
        ns(&summary.late, 0.5),
        ns(&summary.late, 0.99),
        ns(&summary.spacing, 0.5),
        ns(&summary.spacing, 0.99)
    );
    assert_eq!(summary.spacing.count() + 1, summary.events, "each distance is measured");
    assert_eq!(summary.records as usize, ears.lock().unwrap().len());
}
