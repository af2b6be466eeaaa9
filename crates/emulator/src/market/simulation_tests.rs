//! What holds after every event of every market.

use book::PlainBook;

use super::super::flow::SIDE_LEVELS_MIN;
use super::super::orders::{OrderEvent, levels};
use super::*;

const OPENS: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

fn setup(seed: u64, levels: usize) -> Setup {
    Setup {
        venue: "kraken",
        seed,
        levels,
        intervals_s: &[60],
        first_id: 1000,
        trades_kept: 1_000,
        tells_orders: true,
        frames_per_s: 100,
        lively: false,
        opens: OPENS,
        changes: Vec::new(),
        changes_every: None,
    }
}

fn market(seed: u64, levels: usize) -> Simulation {
    Simulation::new(&setup(seed, levels), crate::coinbase::default_pairs())
}

fn step(market: &mut Simulation) {
    let time = UnixNanos(OPENS.0 + market.next_ns());
    market.step(time, time);
}

#[test]
fn every_event_leaves_books_that_can_be() {
    for seed in 0..4 {
        let mut market = market(seed, 60);
        let mut plain: Vec<PlainBook> = Vec::new();
        for pair in market.pairs() {
            let mut book = PlainBook::new();
            for side in [Side::Buy, Side::Sell] {
                assert!(pair.book().depth(side) >= 60);
                for level in pair.book().levels(side) {
                    book.set(side, level.price, level.size);
                }
            }
            plain.push(book);
        }
        let mut kinds = [0; 3];
        for index in 0..30_000 {
            step(&mut market);
            let event = market.event();
            let pair = &market.pairs()[event.pair];
            assert!(!pair.book().is_crossed(), "seed {seed} index {index}");
            assert!(!event.changes.is_empty(), "seed {seed} index {index}: nothing happened");
            kinds[event.kind as usize] += 1;
            for change in &event.changes {
                assert_ne!(change.before, change.after, "seed {seed} index {index}: nothing changed");
                assert!(change.after.0 >= 0 && change.price.0 > 0);
                plain[event.pair].set(change.side, change.price, change.after);
            }
            for side in [Side::Buy, Side::Sell] {
                let depth = pair.book().depth(side);
                assert!((SIDE_LEVELS_MIN..=60 * 2).contains(&depth), "seed {seed} index {index}: {depth} levels");
                assert_eq!(plain[event.pair].levels(side), pair.book().levels(side).collect::<Vec<_>>());
            }
        }
        // 28, 23 and 19 of 70.
        assert!((11_400..12_600).contains(&kinds[EventKind::Trade as usize]), "{kinds:?}");
        assert!((9_200..10_500).contains(&kinds[EventKind::Touch as usize]), "{kinds:?}");
    }
}

#[test]
fn orders_levels_and_trades_tell_the_same() {
    for seed in 0..3 {
        let mut market = market(seed, 60);
        let mut last: Vec<u64> = market.pairs().iter().map(|pair| pair.orders().expect("told").sequence()).collect();
        let mut ids: Vec<u64> = market.pairs().iter().map(PairState::next_trade_id).collect();
        let (mut changed, mut sweeps, mut whole) = (0, 0, 0);
        for index in 0..20_000 {
            step(&mut market);
            let event = market.event();
            let mut traded = event.trades.iter();
            for (sequence, order) in &event.orders {
                last[event.pair] += 1;
                assert_eq!(*sequence, last[event.pair], "seed {seed} index {index}");
                match order {
                    OrderEvent::Match(matched) => assert_eq!(Some(&matched.trade), traded.next()),
                    OrderEvent::Change { .. } => changed += 1,
                    OrderEvent::Done { filled: true, .. } => whole += 1,
                    _ => {}
                }
            }
            assert_eq!(traded.next(), None, "seed {seed} index {index}: a trade is no match");
            for trade in &event.trades {
                assert_eq!((trade.id, trade.time), (ids[event.pair], event.time));
                ids[event.pair] += 1;
                assert!(trade.size.0 > 0 && trade.taker == event.trades[0].taker);
            }
            sweeps += u64::from(event.trades.iter().any(|trade| trade.price != event.trades[0].price));
            let pair = &market.pairs()[event.pair];
            let orders = pair.orders().expect("told");
            for side in [Side::Buy, Side::Sell] {
                let added: Vec<Level> = levels(orders.side(side)).iter().map(|(level, _)| *level).collect();
                assert_eq!(added, pair.book().levels(side).collect::<Vec<_>>(), "seed {seed} index {index}");
            }
        }
        assert!(changed > 100 && sweeps > 100 && whole > 1_000, "{changed} {sweeps} {whole}");
    }
}

#[test]
fn prices_follow_their_worth_and_come_back() {
    for seed in [9, 10] {
        let mut market = market(seed, 100);
        for index in 0..100_000_u64 {
            step(&mut market);
            let event = market.event();
            let pair = &market.pairs()[event.pair];
            if index > 1_000 && index.is_multiple_of(97) {
                let worth = pair.fair.clone().at(event.time).0;
                let middle = i64::midpoint(pair.best(Side::Buy).price.0, pair.best(Side::Sell).price.0);
                let off = (worth - middle).abs() * 10_000 / worth;
                assert!(off < 40, "seed {seed} index {index}: {} is {off} bp off", pair.spec.pair.symbol);
            }
        }
        for pair in market.pairs() {
            let (start, last) = (pair.spec.start_price.0, pair.day.last.0);
            assert!((start - last).abs() < start / 10, "{} went from {start} to {last}", pair.spec.pair.symbol);
        }
    }
}

#[test]
fn bars_add_up_to_the_trades() {
    let mut market = market(3, 60);
    (0..20_000).for_each(|_| step(&mut market));
    for (at, pair) in market.pairs().iter().enumerate() {
        let volume: i128 = market.bars(at, 60).map(|bar| bar.volume).sum();
        let trades: u64 = market.bars(at, 60).map(|bar| bar.trades).sum();
        assert_eq!((volume, trades), (pair.day.volume, pair.next_trade_id() - 1001));
    }
}

#[test]
fn an_instrument_s_events_are_its_own() {
    let all = crate::coinbase::default_pairs();
    let mut many = Simulation::new(&setup(7, 60), all.clone());
    let mut alone = Simulation::new(&Setup { frames_per_s: 33, ..setup(7, 60) }, vec![all[1].clone()]);
    let mut of_many = Vec::new();
    while of_many.len() < 2_000 {
        many.step(OPENS, OPENS);
        if many.event().pair == 1 {
            of_many.push((many.event().changes.clone(), many.event().trades.clone()));
        }
    }
    for (number, expected) in of_many.into_iter().enumerate() {
        alone.step(OPENS, OPENS);
        let event = alone.event();
        assert_eq!((event.changes.clone(), event.trades.clone()), expected, "event {number}");
    }
}

#[test]
fn books_that_stood_still_while_the_worth_moved_find_back() {
    let mut market = market(5, 250);
    let later = |hours: u64| UnixNanos(OPENS.0 + hours * 3_600_000_000_000);
    for hours in [1, 9, 30] {
        for _ in 0..6_000 {
            market.step(later(hours), later(hours));
        }
        for pair in &mut market.pairs {
            let worth = pair.fair.at(later(hours)).0;
            let (bid, ask) = (pair.best(Side::Buy).price.0, pair.best(Side::Sell).price.0);
            let off = (i64::midpoint(bid, ask) - worth).abs() * 10_000 / worth;
            assert!(off < 3, "{} after {hours} hours: {bid} {ask} for {worth}", pair.spec.pair.symbol);
        }
    }
}

/// Best bid and ask of a market's first pair, brought to eight decimals.
fn touch(market: &Simulation) -> [i64; 2] {
    let pair = &market.pairs()[0];
    let unit = 10_i64.pow(8 - u32::from(pair.spec.pair.price_scale));
    [Side::Buy, Side::Sell].map(|side| pair.best(side).price.0 * unit)
}

#[test]
fn venues_of_one_seed_move_together_and_cross_now_and_then() {
    let (mut crossed, mut looked, mut episodes) = (0, 0, 0);
    for seed in 0..3 {
        let venue = |venue, specs| Simulation::new(&Setup { venue, frames_per_s: 300, ..setup(seed, 30) }, specs);
        let mut markets =
            [venue("kraken", crate::kraken::default_pairs()), venue("coinbase", crate::coinbase::default_pairs())];
        let (mut last, mut moves, mut was) = ([0.0; 2], Vec::new(), false);
        // Looked at every 100 ms of 200 s.
        for tick in 1..2_000_u64 {
            for market in &mut markets {
                while market.next_ns() < tick * 100_000_000 {
                    step(market);
                }
            }
            let [[bid, ask], [other_bid, other_ask]] = markets.each_ref().map(touch);
            let is = bid > other_ask || other_bid > ask;
            (looked, crossed, episodes) = (looked + 1, crossed + u64::from(is), episodes + u64::from(is && !was));
            was = is;
            if tick.is_multiple_of(50) {
                let middles = [(bid + ask) as f64, (other_bid + other_ask) as f64];
                if tick > 50 {
                    moves.push([middles[0] / last[0] - 1.0, middles[1] / last[1] - 1.0]);
                }
                last = middles;
            }
        }
        let sum = |a: usize, b: usize| moves.iter().map(|m| m[a] * m[b]).sum::<f64>();
        let correlation = sum(0, 1) / (sum(0, 0) * sum(1, 1)).sqrt();
        assert!(correlation > 0.6, "seed {seed}: moves of five seconds correlate by {correlation}");
    }
    let percent = crossed * 100 / looked;
    assert!((1..60).contains(&percent) && episodes > 20, "crossed {percent} % of the time, {episodes} times");
}

#[test]
fn instruments_are_listed_delisted_and_measured_anew() {
    use super::super::reference::Change;
    let second = Duration::from_secs(1);
    let specs = super::super::many::pairs(crate::coinbase::default_pairs(), 8);
    let names: Vec<String> = specs.iter().map(|spec| spec.pair.symbol.clone()).collect();
    let change =
        |after: u32, at: usize, change| InstrumentChange { after: second * after, symbol: names[at].clone(), change };
    let changes = vec![
        change(40, 1, Change::Delisting),
        change(20, 4, Change::Listing),
        change(10, 0, Change::Tick(Price(10))),
        change(30, 2, Change::Lot(Qty(1_000_000))),
    ];
    let mut market = Simulation::new(&Setup { changes, frames_per_s: 2_000, ..setup(1, 30) }, specs.clone());
    assert_eq!((market.pairs().len(), market.listed().len()), (8, 7));
    let mut told = Vec::new();
    while market.next_ns() < 60_000_000_000 {
        let at_ns = market.next_ns();
        step(&mut market);
        let event = market.event();
        let pair = &market.pairs()[event.pair];
        let symbol = &pair.spec.pair.symbol;
        if event.kind == EventKind::Reference {
            told.push((at_ns / 1_000_000_000, symbol.clone()));
            continue;
        }
        assert!(*symbol != names[4] || at_ns >= 20_000_000_000, "an event before its listing");
        assert!(*symbol != names[1] || at_ns <= 40_000_000_000, "an event after its delisting");
        let fresh = event.changes.iter().filter(|change| change.before.0 == 0);
        if *symbol == names[0] && at_ns > 10_000_000_000 {
            fresh.clone().for_each(|change| assert_eq!(change.price.0 % 10, 0, "off the new tick: {change:?}"));
        }
        if *symbol == names[2] && at_ns > 30_000_000_000 {
            fresh.for_each(|change| assert_eq!(change.after.0 % 1_000_000, 0, "off the new lot: {change:?}"));
        }
        assert!(!pair.book().is_crossed());
    }
    let expected = [(10, 0), (20, 4), (30, 2), (40, 1)].map(|(time, at): (u64, usize)| (time, names[at].clone()));
    assert_eq!(told, expected);
    assert_eq!(market.listed().len(), 8);
    assert_eq!(market.pairs()[7].spec.pair.symbol, names[4], "what is listed later comes last");

    let every = Setup { changes_every: Some(second), frames_per_s: 500, ..setup(2, 30) };
    let mut market = Simulation::new(&every, specs);
    let mut kinds = std::collections::BTreeSet::new();
    while market.next_ns() < 60_000_000_000 {
        step(&mut market);
        let event = market.event();
        let pair = &market.pairs()[event.pair];
        if event.kind == EventKind::Reference {
            assert!(event.pair >= 3);
            kinds.insert((pair.spec.pair.status == PairStatus::Delisted, pair.spec.pair.tick, pair.spec.pair.lot));
        } else {
            assert_eq!(pair.spec.pair.status, PairStatus::Trading);
        }
    }
    assert!(kinds.len() >= 5, "{kinds:?}");
}
