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
                pair.book().levels(side).for_each(|level| drop(book.set(side, level.price, level.size)));
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
        // 27, 23 and 20 of 70.
        assert!((10_900..12_200).contains(&kinds[EventKind::Trade as usize]), "{kinds:?}");
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
