//! The comparison of the stream's trades with REST: what the stream hid is named and told late, once; what it did not
//! hide is no news; and whether comparisons are made is known.

use super::run::*;
use super::*;
use venues::Recall;

/// A machine that compares every ten seconds, with its first trades told: 1 at 20 s and 2 at 23 s.
fn listening() -> Run {
    let choices = [("statuses", "off"), ("audit_s", "10")];
    let mut run = Run::new(&settings(&["AAPL"]), &choices);
    run.log_in();
    run.grant(1);
    run.frame(&trade(1, "V", "20"));
    run.wait(3 * SECOND);
    run.frame(&trade(2, "V", "23"));
    run
}

fn path(start: &str, end: &str) -> String {
    let minute = "2023-11-14T22:13:";
    format!("/v2/stocks/trades?symbols=AAPL&start={minute}{start}Z&end={minute}{end}Z&limit=10000&sort=asc&feed=iex")
}

#[test]
fn what_the_stream_hid_is_named_and_told_late_once() {
    let mut run = listening();
    run.wait(6 * SECOND);
    assert!(run.asked.is_empty());
    run.wait(SECOND);
    // From two seconds behind the first trade, before which more may have been on its way, to five seconds ago.
    let request = run.asked.pop().unwrap();
    assert_eq!(request.path, path("22.000000000", "25.000000000"));
    run.wait(SECOND);
    run.answer_to(request.id, 200, &body(&[(2, "23"), (90, "21.9")], "\"QQ==\""));
    assert_eq!((run.gaps().len(), run.asked.len()), (0, 0), "90 is from before the time that is compared");
    run.wait(3 * SECOND);
    assert!(run.asked.last().unwrap().path.ends_with("&page_token=QQ%3D%3D"));
    run.answer(200, &body(&[(70, "24.5"), (60, "25")], "null"));
    let named: Vec<_> = run.gaps().iter().map(|g| (g.cause.clone(), g.first.clone(), g.missing, g.ts_from)).collect();
    let gap = |id: &str, ms| ("sequence".to_owned(), Some(id.to_owned()), Some(1), at(ms).0);
    assert_eq!(named, [gap("70", 24_500), gap("60", 25_000)]);
    let told = [("1", false), ("2", false), ("70", true), ("60", true)].map(|(id, late)| (id.to_owned(), late));
    assert_eq!(run.trades(), told);
    // The stream brings one after all: it is no news. The next comparison reaches back, and finds nothing new.
    run.frame(&trade(60, "V", "25"));
    run.asked.clear();
    run.wait(10 * SECOND);
    assert_eq!(run.asked.last().unwrap().path, path("22.000000000", "39.000000000"));
    run.answer(200, &body(&[(2, "23"), (70, "24.5"), (60, "25")], "null"));
    let c = run.machine.counts();
    assert_eq!((c.audits, c.trades_hidden, c.trades_backfilled, c.gaps), (2, 2, 2, 2));
    assert_eq!((c.trades_unconfirmed, c.trades_repeated, run.trades().len()), (0, 1, 4));
}

#[test]
fn what_rest_never_had_is_counted() {
    let mut run = listening();
    for _ in 0..4 {
        run.asked.clear();
        run.wait(10 * SECOND);
        run.answer(200, &body(&[], "null"));
    }
    let c = run.machine.counts();
    assert_eq!((c.audits, c.trades_unconfirmed, c.trades_hidden), (4, 1, 0), "2; 1 is from before what is compared");
}

#[test]
fn a_stream_that_hides_everything_is_noticed() {
    let mut run = Run::new(&settings(&["AAPL"]), &[("statuses", "off"), ("audit_s", "30")]);
    run.log_in();
    run.grant(1);
    run.wait(61 * SECOND);
    assert!(run.asked.is_empty(), "clocks may differ");
    run.wait(30 * SECOND);
    // A minute behind the subscription, five seconds ago.
    let minute = "2023-11-14T22:14:";
    let window = format!("&start={minute}20.000000000Z&end={minute}45.000000000Z&");
    assert!(run.asked.last().unwrap().path.contains(&window), "{:?}", run.asked);
    let row = r#"{"t":"2023-11-14T22:14:30Z","x":"V","p":1,"s":1,"c":["@"],"i":5,"z":"C"}"#;
    run.answer(200, &format!(r#"{{"trades":{{"AAPL":[{row}]}},"next_page_token":null}}"#));
    assert_eq!((run.trades(), run.gaps().len()), (vec![("5".to_owned(), true)], 1));
}

#[test]
fn that_nothing_is_compared_is_told_once() {
    let mut run = listening();
    run.wait(10 * SECOND);
    for n in 1..=3 {
        assert_eq!(run.asked.len(), n);
        run.answer(403, r#"{"message":"subscription does not permit querying recent SIP data"}"#);
        run.wait(299 * SECOND);
        assert_eq!(run.asked.len(), n, "a plan does not change by itself");
        run.wait(SECOND);
    }
    let text = "trades are not compared with REST, what the stream hides is not seen: HTTP 403 {\"message\":\"subscription does not permit";
    assert!(run.refusals().len() == 1 && run.refusals()[0].starts_with(text), "{:?}", run.refusals());
    assert_eq!(run.machine.counts().audits_failed, 3);
    // It is allowed after all: nothing of the time between is passed over.
    run.answer(200, &body(&[(2, "23"), (3, "24")], "null"));
    assert_eq!((run.machine.counts().audits, run.machine.counts().trades_hidden), (1, 1));
    // Trouble that passes is told when it lasts.
    for n in 1..=3 {
        assert_eq!(run.refusals().len(), 1);
        run.wait(70 * SECOND);
        run.answer(if n == 1 { 429 } else { 502 }, "");
    }
    assert!(run.refusals().len() == 2 && run.refusals()[1].ends_with("HTTP 502"), "{:?}", run.refusals());
}

#[test]
fn a_cut_is_no_hiding_and_what_was_hidden_before_it_is_found_behind_it() {
    let mut run = listening();
    run.cut();
    run.wait(5 * SECOND);
    let from = run.sent.len();
    run.log_in();
    run.grant(from + 1);
    run.frame(&trade(5, "V", "29"));
    run.wait(SECOND);
    // What was missed by the cut, without one that the store did not have yet.
    run.answer(200, &body(&[(2, "23"), (3, "24"), (5, "29")], "null"));
    assert_eq!((run.gaps().len(), run.machine.counts().trades_backfilled), (1, 1));
    run.asked.clear();
    run.wait(15 * SECOND);
    run.answer(200, &body(&[(2, "23"), (8, "22.5"), (3, "24"), (4, "25"), (5, "29")], "null"));
    let ids: Vec<_> = run.gaps().iter().map(|g| g.first.clone()).collect();
    assert_eq!(ids, [None, Some("8".to_owned()), Some("4".to_owned())]);
    assert_eq!(run.trades().len(), 6, "each once: {:?}", run.trades());
}

#[test]
fn a_run_that_ends_between_the_name_and_the_trade_is_made_good() {
    let mut run = listening();
    run.wait(10 * SECOND);
    let id = run.last_id();
    let reply = body(&[(2, "23"), (9, "24"), (10, "25")], "null");
    let reply = Reply::Http { status: 200, body: reply.as_bytes(), retry_after: None };
    run.machine.on_response(id, reply, run.now, &mut run.out);
    // The last record did not get out.
    let words: Vec<&[u64]> = run.out.records.into_iter().collect();
    let mut recall = std::mem::take(&mut run.recall);
    words[..words.len() - 1].iter().for_each(|words| recall.push(words));
    let memories = Recall::finish(recall);
    let missing = Missing { first: 10, last: 10, since: at(25_000), until: at(25_000) };
    assert_eq!(memories[0].1.missing, [missing], "9 was told");

    let mut next = Run::new(&settings(&["AAPL"]), &[("statuses", "off")]);
    for (id, memory) in memories {
        next.machine.remember(id, memory);
    }
    next.now = run.now.after(10 * SECOND);
    next.log_in();
    next.grant(1);
    next.frame(&trade(20, "V", "44"));
    next.wait(2 * SECOND);
    let all = body(&[(2, "23"), (9, "24"), (10, "25"), (20, "44")], "null");
    while let Some(request) = next.asked.pop() {
        next.answer_to(request.id, 200, &all);
    }
    assert_eq!(next.trades(), [("20".to_owned(), false), ("10".to_owned(), true)]);
}

#[test]
fn a_corrected_trade_has_its_new_id_in_rest() {
    let mut run = listening();
    run.frame(r#"[{"T":"c","S":"AAPL","x":"V","oi":2,"op":126.55,"os":1,"oc":["@"],"ci":77,"cp":126.5,"cs":2,"cc":["@"],"t":"2023-11-14T22:13:23Z","z":"C"}]"#);
    run.wait(10 * SECOND);
    run.answer(200, &body(&[(2, "23"), (77, "23")], "null"));
    assert_eq!((run.gaps().len(), run.machine.counts().audits), (0, 1));
}

#[test]
fn nothing_is_compared_where_that_is_not_wanted() {
    for choices in [[("audit_s", "0"), ("backfill", "on")], [("audit_s", "20"), ("backfill", "off")]] {
        let mut run = Run::new(&settings(&["AAPL"]), &[&choices[..], &[("statuses", "off")]].concat());
        run.log_in();
        run.grant(1);
        run.frame(&trade(1, "V", "20"));
        run.wait(600 * SECOND);
        assert!(run.asked.is_empty(), "{choices:?}");
    }
}
