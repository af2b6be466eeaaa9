//! What Alpaca's machine says to the venue, and when: login, subscriptions, refusals, waits, fetches, comparisons; and
//! what becomes of the messages that only shares have.
#![allow(clippy::unwrap_used)]

#[path = "../packing/mod.rs"]
mod packing;

mod audit;
mod run;

use model::{GapCause, InstrumentId, Reason, StreamKind, UnixNanos, Venue};
use packing::{Stamps, pack};
use run::*;
use serde_json::json;
use std::time::Duration;
use venues::trades::Missing;
use venues::{Memory, Outbox, Reply, Settings};
use wire::json::Line;

#[test]
fn the_login_comes_first_and_is_a_secret() {
    let machine = venues::machine(Venue::Alpaca, &settings(&["AAPL"]), &[]).unwrap();
    let (mut machine, mut out) = (machine, Outbox::new());
    machine.on_connected(UnixNanos(1), &mut out);
    assert!(out.frames.is_empty(), "the venue speaks first");
    machine
        .on_frame(&pack(&json!([{"T":"success","msg":"connected"}]), Stamps::Extension), UnixNanos(2), &mut out)
        .unwrap();
    let auth = out.frames.pop().unwrap();
    assert!(auth.binary && auth.secret);
    assert!(!format!("{auth:?}").contains("the-"), "{auth:?}");
    let expected = [&[0x83][..], b"\xa6action\xa4auth", b"\xa3key\xa7the-key", b"\xa6secret\xaathe-secret"].concat();
    assert_eq!(auth.payload, expected);
    machine
        .on_frame(&pack(&json!([{"T":"success","msg":"authenticated"}]), Stamps::Extension), UnixNanos(3), &mut out)
        .unwrap();
    let subscribe = out.frames.pop().unwrap();
    assert!(subscribe.binary && !subscribe.secret);
    assert_eq!(subscribe.payload, [&[0x82][..], b"\xa6action\xa9subscribe", b"\xa6trades\x91\xa4AAPL"].concat());
}

#[test]
fn each_line_has_its_own_path_and_symbols() {
    let wanted = settings(&["AAPL", "BTC-USD", "eth/usd", "BRK.B"]);
    let lines = venues::lines(Venue::Alpaca, &wanted, &pairs(&[("feed", "sip")])).unwrap();
    let paths: Vec<_> = lines.iter().map(|l| (l.name, l.path.as_str())).collect();
    assert_eq!(paths, [("stocks", "/v2/sip"), ("crypto", "/v1beta3/crypto/us")]);
    for line in &lines {
        assert_eq!(line.headers, [("Content-Type", "application/msgpack".to_owned())]);
        let keys = [("APCA-API-KEY-ID", "the-key".to_owned()), ("APCA-API-SECRET-KEY", "the-secret".to_owned())];
        assert_eq!(line.rest_headers, keys);
    }
    let json = venues::lines(Venue::Alpaca, &wanted, &pairs(&[("encoding", "json")])).unwrap();
    assert!(json.iter().all(|l| l.headers.is_empty()));
    let mut asked = vec![];
    for line in json {
        let mut run = Run::with(line.machine);
        run.log_in();
        asked.push(run.sent[1]["trades"].clone());
    }
    assert_eq!(asked, [json!(["AAPL", "BRK.B"]), json!(["BTC/USD", "ETH/USD"])]);
}

#[test]
fn what_cannot_be_is_refused_before_connecting() {
    let lines = |settings: &Settings, choices: &[(&str, &str)]| {
        venues::lines(Venue::Alpaca, settings, &pairs(choices)).map(|l| l.len()).map_err(|e| e.to_string())
    };
    let nobody = Settings { credentials: None, ..settings(&["AAPL"]) };
    assert_eq!(lines(&nobody, &[]), Err("alpaca: ALPACA_API_KEY and ALPACA_API_SECRET are not set".to_owned()));
    assert_eq!(lines(&settings(&["FAKEPACA"]), &[("feed", "test")]), Ok(1));
    assert!(lines(&settings(&["FAKEPACA"]), &[]).unwrap_err().contains("feed = test"));
    assert!(lines(&settings(&["AAPL"]), &[("feed", "test")]).unwrap_err().contains("FAKEPACA"));
    assert!(lines(&settings(&["AAPL"]), &[("feed", "otc")]).unwrap_err().contains("delayed_sip"));
    let hourly = Settings { bar_interval_s: 3600, streams: vec![StreamKind::Bar], ..settings(&["AAPL"]) };
    assert!(lines(&hourly, &[]).unwrap_err().contains("60 or 86400"));
    let mixed = venues::machine(Venue::Alpaca, &settings(&["AAPL", "BTC-USD"]), &[]).err().unwrap().to_string();
    assert!(mixed.contains("one connection has one kind"), "{mixed}");
}

#[test]
fn shares_are_asked_for_one_channel_after_another() {
    let mut wanted = settings(&["AAPL"]);
    wanted.streams = vec![StreamKind::Book, StreamKind::Bar, StreamKind::Quote, StreamKind::Trade];
    let mut run = Run::new(&wanted, &[]);
    run.log_in();
    assert_eq!(run.sent.len(), 2, "the next waits for the answer: {:?}", run.sent);
    run.grant(1);
    let channels: Vec<String> =
        run.sent[1..].iter().map(|s| s.as_object().unwrap().keys().find(|k| *k != "action").unwrap().clone()).collect();
    assert_eq!(channels, ["trades", "bars", "updatedBars", "quotes", "statuses", "lulds"]);
    assert_eq!(run.refusals(), Vec::<&str>::new());
    let daily = Settings { bar_interval_s: 86_400, streams: vec![StreamKind::Bar], ..settings(&["AAPL"]) };
    let mut run = Run::new(&daily, &[("statuses", "off")]);
    run.log_in();
    assert_eq!(run.sent[1], json!({"action": "subscribe", "dailyBars": ["AAPL"]}));
}

#[test]
fn the_answer_is_verified_against_what_was_asked() {
    let mut run = Run::new(&settings(&["AAPL", "NOPE", "MSFT"]), &[("statuses", "off")]);
    run.log_in();
    run.frame(r#"[{"T":"subscription","trades":["AAPL","MSFT"],"quotes":[],"corrections":["AAPL","MSFT"],"cancelErrors":["AAPL","MSFT"]}]"#);
    assert_eq!(run.refusals(), ["NOPE: trades refused: the venue's list has no such symbol"]);
    let defined: Vec<_> = run
        .lines
        .iter()
        .filter_map(|l| if let Line::Instrument(i) = l { Some(i.symbol.as_str()) } else { None })
        .collect();
    assert_eq!(defined, ["AAPL", "MSFT"], "what is refused is not defined");
    assert_eq!(run.reconnect, None);
    let mut run = Run::new(&settings(&["AAPL"]), &[]);
    run.log_in();
    run.grant(1);
    run.frame(r#"[{"T":"t","S":"TSLA","i":1,"x":"V","p":1,"s":1,"c":[],"z":"C","t":"2023-11-14T22:13:20Z"}]"#);
    assert_eq!((run.machine.counts().unknown_symbols, run.trades().len()), (1, 0));
}

#[test]
fn a_symbol_limit_refuses_what_does_not_fit_and_nothing_else() {
    let symbols = ["A", "B", "C", "D", "E"];
    let mut run = Run::new(&settings(&symbols), &[("statuses", "off")]);
    run.log_in();
    let (mut granted, mut at) = (vec![], 1);
    while at < run.sent.len() {
        let asked: Vec<String> = serde_json::from_value(run.sent[at]["trades"].clone()).unwrap();
        if granted.len() + asked.len() <= 3 {
            granted.extend(asked);
            run.frame(&json!([{"T": "subscription", "trades": granted}]).to_string());
        } else {
            run.frame(&error(405, "symbol limit exceeded"));
        }
        at += 1;
    }
    assert_eq!(granted, ["A", "B", "C"]);
    let texts: Vec<&str> = run.refusals();
    assert_eq!(texts, ["D: trades refused: 405 symbol limit exceeded", "E: trades refused: 405 symbol limit exceeded"]);
    assert_eq!((run.reconnect.clone(), run.machine.counts().refusals), (None, 2));
}

#[test]
fn a_channel_the_feed_has_not_is_refused_and_the_rest_goes_on() {
    let mut run = Run::new(&settings(&["AAPL"]), &[]);
    run.log_in();
    run.frame(r#"[{"T":"subscription","trades":["AAPL"]}]"#);
    run.frame(&error(410, "invalid subscribe action for this feed"));
    run.frame(r#"[{"T":"subscription","trades":["AAPL"],"bars":[]}]"#);
    let expected =
        ["AAPL: statuses refused: 410 invalid subscribe action for this feed", "AAPL: lulds refused: not on this feed"];
    assert_eq!(run.refusals(), expected);
    assert_eq!(run.reconnect, None);
    run.frame(&trade(1, "V", "20"));
    assert_eq!(run.trades().len(), 1);
}

#[test]
fn keys_that_are_wrong_are_not_tried_again_for_long() {
    for (code, text) in [(402, "auth failed"), (409, "insufficient subscription"), (411, "insufficient scope")] {
        let mut run = Run::new(&settings(&["AAPL"]), &[]);
        run.connect();
        run.frame(WELCOME);
        run.frame(&error(code, text));
        assert_eq!(run.refusals(), [format!("{code} {text}; the next login is in 300 s")]);
        let end = run.now.after(300 * SECOND);
        assert_eq!(run.reconnect.take(), Some((Reason::Refused, format!("{code} {text}"))));
        assert_eq!(run.not_before.take(), Some(end), "nobody need connect before");
        // Should someone connect all the same: welcomed, but silent.
        for _ in 0..4 {
            run.cut();
            run.wait(5 * SECOND);
            run.connect();
            run.frame(WELCOME);
            run.frame(&error(404, "auth timeout"));
        }
        assert_eq!((run.sent.len(), run.reconnect.clone()), (1, None), "not hammered");
        run.wait(285 * SECOND);
        assert_eq!(run.sent.len(), 2, "one more login, five minutes later");
        assert_eq!(run.sent[1]["action"], "auth");
        run.frame(&error(code, text));
        assert_eq!((run.reconnect.is_some(), run.not_before), (true, Some(run.now.after(300 * SECOND))));
    }
}

#[test]
fn a_session_that_lingers_is_waited_for_longer_each_time() {
    let mut run = Run::new(&settings(&["AAPL"]), &[]);
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        run.connect();
        run.frame(WELCOME);
        assert_eq!(run.sent.pop().unwrap()["action"], "auth");
        run.frame(&error(406, "connection limit exceeded"));
        assert_eq!(
            run.refusals().last().unwrap(),
            &format!("406 connection limit exceeded; the next login is in {wait} s")
        );
        assert_eq!(run.reconnect.take(), Some((Reason::Refused, "406 connection limit exceeded".to_owned())));
        assert_eq!(run.not_before.take(), Some(run.now.after(Duration::from_secs(wait))));
        run.cut();
        run.wait(Duration::from_secs(wait));
    }
    for (code, text) in [(404, "auth timeout"), (407, "slow client"), (500, "internal error"), (599, "new")] {
        let mut run = Run::new(&settings(&["AAPL"]), &[]);
        run.log_in();
        run.grant(1);
        run.frame(&error(code, text));
        assert_eq!(run.reconnect, Some((Reason::Refused, format!("{code} {text}"))));
        assert_eq!(run.not_before, Some(run.now.after(SECOND)));
    }
    let mut run = Run::new(&settings(&["AAPL"]), &[("statuses", "off")]);
    run.log_in();
    run.frame(&error(403, "already authenticated"));
    run.grant(1);
    assert_eq!((run.refusals().len(), run.reconnect), (0, None), "harmless");
}

#[test]
fn a_venue_that_does_not_answer_is_left() {
    let mut run = Run::new(&settings(&["AAPL"]), &[]);
    run.connect();
    run.wait(11 * SECOND);
    assert_eq!(run.reconnect.take().unwrap().1, "no welcome within 10 s");
    run.cut();
    run.connect();
    run.frame(WELCOME);
    run.wait(11 * SECOND);
    assert_eq!(run.reconnect.take().unwrap().1, "no answer to the login within 10 s");
    run.cut();
    run.log_in();
    run.wait(11 * SECOND);
    assert_eq!(run.reconnect.take().unwrap().1, "no answer within 10 s to a request for trades");
}

#[test]
fn a_quiet_venue_is_asked_for_a_sign_of_life() {
    let mut wanted = settings(&["AAPL"]);
    wanted.stale_after.connection_s = 10;
    let mut run = Run::new(&wanted, &[("probe", "subscribe"), ("statuses", "off")]);
    run.log_in();
    run.grant(1);
    let before = run.sent.len();
    for _ in 0..6 {
        run.wait(6 * SECOND);
        assert_eq!(run.sent.pop().unwrap(), json!({"action": "subscribe", "bars": []}));
        run.frame(r#"[{"T":"subscription","trades":["AAPL"]}]"#);
    }
    assert_eq!((run.sent.len(), run.reconnect.clone()), (before, None));
    assert_eq!(run.machine.counts().heartbeats, 6);
    run.wait(11 * SECOND);
    assert_eq!(run.reconnect.unwrap().0, Reason::Timeout);
}

#[test]
fn missed_trades_are_fetched_page_by_page_and_told_once() {
    let mut run = Run::new(&settings(&["AAPL"]), &[("statuses", "off")]);
    run.log_in();
    run.grant(1);
    run.frame(&trade(7, "V", "19.5"));
    run.wait(SECOND);
    run.frame(&trade(7, "P", "20.5"));
    run.cut();
    run.wait(30 * SECOND);
    let from = run.sent.len();
    run.log_in();
    run.grant(from + 1);
    run.frame(&trade(9, "V", "50"));
    run.wait(2 * SECOND);
    let path = "/v2/stocks/trades?symbols=AAPL&start=2023-11-14T22:13:18.500000000Z&end=2023-11-14T22:13:52.000000000Z&limit=10000&sort=asc&feed=iex";
    assert_eq!(run.asked.last().unwrap().path, path);
    run.answer(200, r#"{"trades":{"AAPL":[{"t":"2023-11-14T22:13:19.5Z","x":"V","p":126.55,"s":1,"c":["@"],"i":7,"z":"C"},{"t":"2023-11-14T22:13:40Z","x":"V","p":126.551,"s":2,"c":["@","I"],"i":8,"z":"C"}]},"next_page_token":"QQ=="}"#);
    assert_eq!(run.asked.last().unwrap().path, format!("{path}&page_token=QQ%3D%3D"));
    run.answer(200, r#"{"trades":{"AAPL":[{"t":"2023-11-14T22:13:50Z","x":"V","p":126.55,"s":1,"c":["@"],"i":9,"z":"C"}],"MSFT":null},"next_page_token":null}"#);
    let told = [("7", false), ("7", false), ("9", false), ("8", true)].map(|(id, late)| (id.to_owned(), late));
    assert_eq!(run.trades(), told);
    let c = run.machine.counts();
    assert_eq!((run.gaps().len(), c.trades_repeated, c.trades_backfilled), (1, 2, 1), "the gap is told at once");
    assert_eq!(run.gaps()[0].first, None);
    let gap = run.lines.iter().position(|l| matches!(l, Line::Gap(_))).unwrap();
    let next =
        run.lines.iter().position(|l| matches!(l, Line::Trade(t) if t.trade_id.as_deref() == Some("9"))).unwrap();
    assert!(gap < next);
}

#[test]
fn what_the_venue_does_not_give_is_a_gap_without_ids() {
    for (choice, replies) in
        [("on", vec![(500, "busy"), (429, ""), (403, "subscription does not permit")]), ("off", vec![])]
    {
        let mut run = Run::new(&settings(&["AAPL"]), &[("statuses", "off"), ("backfill", choice)]);
        run.log_in();
        run.grant(1);
        let lost = run.now;
        run.cut();
        run.wait(30 * SECOND);
        let from = run.sent.len();
        run.log_in();
        run.grant(from + 1);
        run.wait(2 * SECOND);
        for (n, (status, body)) in replies.iter().enumerate() {
            assert_eq!(run.asked.len(), n + 1);
            assert_eq!(run.gaps().len(), 1, "told at once");
            run.answer(*status, body);
            run.wait(20 * SECOND);
        }
        let gaps = run.gaps();
        assert_eq!(gaps.len(), 1, "{choice}");
        assert_eq!((gaps[0].stream.as_str(), gaps[0].cause.as_str()), ("trade", GapCause::Reconnect.name()));
        assert_eq!((gaps[0].first.as_deref(), gaps[0].missing, gaps[0].ts_from), (None, None, lost.0));
        if choice == "on" {
            assert!(run.refusals()[0].contains("HTTP 403 subscription does not permit"), "{:?}", run.refusals());
        }
    }
}

/// The ids of trades around the end of the run before that are told by the next.
fn restarted(memory: Memory) -> Vec<String> {
    let mut run = Run::new(&settings(&["AAPL"]), &[("statuses", "off")]);
    let memory = Memory { last_seen: run.now, ..memory };
    run.machine.remember(InstrumentId::of(Venue::Alpaca, "AAPL"), memory);
    run.now = run.now.after(10 * SECOND);
    run.log_in();
    run.grant(1);
    run.frame(&trade(20, "V", "19.2"));
    run.wait(2 * SECOND);
    run.answer(200, &body(&[(50, "18.5"), (20, "19.2"), (60, "19.9"), (10, "25")], "null"));
    run.frame(&trade(20, "V", "19.2"));
    let gaps: Vec<_> = run.gaps().iter().map(|g| (g.cause.clone(), g.first.clone())).collect();
    assert_eq!(gaps, [("restart".to_owned(), None)]);
    run.trades().into_iter().map(|(id, _)| id).collect()
}

#[test]
fn a_restart_goes_on_behind_the_last_trade_told() {
    let recent = |list: &[(u64, u64)]| Memory {
        trade_id: Some(20),
        trade_time: at(19_200),
        recent: list.iter().map(|(ms, id)| (at(*ms), *id)).collect(),
        ..Memory::default()
    };
    assert_eq!(restarted(recent(&[(18_500, 50), (19_200, 20)])), ["60", "10"]);
    // What was reported late before the newest trade is still missing.
    assert_eq!(restarted(recent(&[(19_200, 20)])), ["50", "60", "10"]);
    // Nothing says what was told: what may have been is not told again.
    assert_eq!(restarted(Memory::default()), ["10"]);
}

#[test]
fn a_feed_killed_in_the_middle_of_a_fetch_loses_nothing_and_repeats_nothing() {
    let mut first = Run::new(&settings(&["AAPL"]), &[("statuses", "off")]);
    first.log_in();
    first.grant(1);
    first.frame(&trade(100, "V", "20.0"));
    first.frame(&trade(2, "V", "20.5"));
    first.cut();
    first.wait(10 * SECOND);
    let from = first.sent.len();
    first.log_in();
    first.grant(from + 1);
    first.frame(&trade(9, "V", "31.5"));
    // Reported late by its exchange, but in time for us.
    first.frame(&trade(7, "V", "27"));
    first.wait(2 * SECOND);
    first.answer(200, &body(&[(2, "20.5"), (30, "21"), (4, "22")], "\"more\""));
    let mut told = first.trades();
    assert_eq!(told.len(), 6);
    let memories = std::mem::take(&mut first.recall).finish();
    let missing = Missing { first: 0, last: 0, since: at(22_000), until: at(31_500) };
    assert_eq!(memories.iter().map(|(_, m)| m.missing.clone()).collect::<Vec<_>>(), [vec![missing]]);

    let mut second = Run::new(&settings(&["AAPL"]), &[("statuses", "off")]);
    for (id, memory) in memories {
        second.machine.remember(id, memory);
    }
    second.now = first.now.after(20 * SECOND);
    second.log_in();
    second.grant(1);
    second.frame(&trade(31, "V", "54"));
    second.wait(2 * SECOND);
    assert_eq!(second.asked.len(), 2, "what was being fetched, and the time since");
    let all = [(100, "20.0"), (2, "20.5"), (30, "21"), (4, "22"), (5, "23"), (7, "27"), (6, "31"), (9, "31.5")];
    let all = [&all[..], &[(10, "40"), (31, "54")]].concat();
    while let Some(request) = second.asked.pop() {
        let body = body(&all, "null");
        let reply = Reply::Http { status: 200, body: body.as_bytes(), retry_after: None };
        second.machine.on_response(request.id, reply, second.now, &mut second.out);
        second.drain();
    }
    told.extend(second.trades());
    let mut ids: Vec<u64> = told.iter().map(|(id, _)| id.parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [2, 4, 5, 6, 7, 9, 10, 30, 31, 100], "each once");
    assert_eq!(second.gaps().len(), 1, "a gap is told once, not in every run");
}

#[test]
fn halts_bands_corrections_and_cancels_are_told() {
    let mut run = Run::new(&Settings::default(), &[]);
    run.frame(&trade(52_983_625_699_126, "P", "20"));
    run.frame(r#"[{"T":"s","S":"AAPL","sc":"H","sm":"Trading Halt","rc":"T12","rm":"Information requested","t":"2023-11-14T22:14:00Z","z":"C"}]"#);
    run.frame(r#"[{"T":"s","S":"AAPL","sc":"E","sm":"Short Sale Restriction","rc":"","rm":"","t":"2023-11-14T22:14:01Z","z":"C"}]"#);
    run.frame(r#"[{"T":"l","S":"AAPL","u":130.5,"d":120.25,"i":"B","t":"2023-11-14T22:14:02Z","z":"C"}]"#);
    run.frame(r#"[{"T":"c","S":"AAPL","x":"P","oi":52983625699126,"op":126.55,"os":1,"oc":["@"],"ci":52983625699127,"cp":126.5,"cs":2,"cc":["@"],"t":"2023-11-14T22:14:03Z","z":"C"}]"#);
    run.frame(r#"[{"T":"x","S":"AAPL","i":52983625699127,"x":"P","p":126.5,"s":2,"a":"C","t":"2023-11-14T22:14:04Z","z":"C"}]"#);
    run.frame(r#"[{"T":"i","S":"AAPL","p":126.5,"t":"2023-11-14T22:14:05Z","z":"C"}]"#);
    let told: Vec<String> = run
        .lines
        .iter()
        .map(|l| match l {
            Line::Instrument(i) => format!("instrument v{} {}", i.version, i.status),
            Line::Trade(t) => format!("trade {} {:?}", t.trade_id.as_deref().unwrap(), t.conditions),
            Line::Status(s) => format!("{} {} {}", s.scope, s.state, s.text),
            Line::PriceBand(b) => format!("band {:?} {:?} {:?}", b.lower, b.upper, b.indicator),
            Line::Correction(c) => format!("{} {} {:?} {:?} {:?}", c.kind, c.trade_id, c.new_trade_id, c.price, c.size),
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    let expected = [
        "instrument v1 unknown",
        r#"trade 52983625699126 Some("@")"#,
        "instrument v2 halted",
        "instrument halted H Trading Halt; T12 Information requested",
        "instrument halted E Short Sale Restriction",
        r#"band Some("120.25") Some("130.5") Some("B")"#,
        r#"correct 52983625699126 Some("52983625699127") Some("126.5") Some("2")"#,
        "cancel 52983625699127 None None None",
    ];
    assert_eq!(told, expected);
    assert_eq!((run.machine.counts().unused_types, run.machine.counts().corrections), (1, 2));
}

#[test]
fn sizes_of_quotes_count_what_the_choice_says() {
    let frame = r#"[{"T":"q","S":"AAPL","bx":"V","bp":1.5,"bs":4,"ax":"V","ap":0,"as":0,"c":["R"],"z":"C","t":"2023-11-14T22:14:00Z"},{"T":"q","S":"BTC/USD","bp":1,"bs":4,"ap":2,"as":0.5,"t":"2023-11-14T22:14:00Z"}]"#;
    for (choice, size) in [("shares", "4"), ("round_lots", "400")] {
        let mut run = Run::new(&Settings::default(), &[("quote_sizes", choice)]);
        run.frame(frame);
        let quotes: Vec<_> = run
            .lines
            .iter()
            .filter_map(|l| if let Line::Quote(q) = l { Some((q.bid_size.as_deref(), q.ask.as_deref())) } else { None })
            .collect();
        assert_eq!(
            quotes,
            [(Some(size), None), (Some("4"), Some("2"))],
            "a price of 0 is no quote; coins have no lots"
        );
    }
}

#[test]
fn a_crossed_book_is_suspect_unless_that_is_tolerated() {
    let whole =
        r#"[{"T":"o","S":"BTC/USD","t":"2023-11-14T22:14:00Z","b":[{"p":10,"s":1}],"a":[{"p":11,"s":1}],"r":true}]"#;
    let crossing = r#"[{"T":"o","S":"BTC/USD","t":"2023-11-14T22:14:01Z","b":[{"p":11,"s":1}],"a":[]}]"#;
    let quote = r#"[{"T":"q","S":"BTC/USD","bp":10,"bs":1,"ap":11,"as":2,"t":"2023-11-14T22:14:00Z"}]"#;
    let states = |run: &Run| -> Vec<String> {
        let pick = |l: &Line| if let Line::Status(s) = l { Some(s.state.clone()) } else { None };
        run.lines.iter().filter_map(pick).collect()
    };
    let mut wanted = settings(&["BTC-USD"]);
    wanted.streams = vec![StreamKind::Book];
    let mut run = Run::new(&wanted, &[]);
    run.log_in();
    run.grant(1);
    run.frame(whole);
    run.frame(quote);
    assert_eq!(run.machine.counts().quotes_off_book, 1, "another size at the top");
    run.frame(crossing);
    assert_eq!(states(&run), ["syncing", "live", "suspect"]);
    assert_eq!(run.gaps().len(), 1);
    let asked = [json!({"action": "unsubscribe", "orderbooks": ["BTC/USD"]})];
    assert_eq!(run.sent[2..], asked, "the subscription follows the answer");
    let mut run = Run::new(&wanted, &[("crossed", "tolerate")]);
    run.log_in();
    run.grant(1);
    run.frame(whole);
    run.frame(crossing);
    assert_eq!((states(&run).last().unwrap().as_str(), run.machine.counts().crossed), ("live", 1));
}
