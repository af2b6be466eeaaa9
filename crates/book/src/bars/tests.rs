//! Bars against the plain way: put all trades in order, group them, add them up.

use super::*;
use model::{Notional, Price, Qty, Side, UnixNanos};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

fn trade(at_ms: u64, id: u64, price: i64, size: i64, taker: Option<Side>) -> Trade {
    Trade { time: UnixNanos(at_ms * 1_000_000), id, price: Price(price), size: Qty(size), taker }
}

fn buy(at_ms: u64, id: u64, price: i64, size: i64) -> Trade {
    trade(at_ms, id, price, size, Some(Side::Buy))
}

fn timed(seconds: u64) -> Rule {
    Rule::Time(Interval::new(Duration::from_secs(seconds)).expect("it divides a day"))
}

/// What a bar says apart from how it came about.
fn told(bar: &Bar) -> Bar {
    Bar { marks: Marks::NONE, revision: 0, ..*bar }
}

/// The bar of some trades, by the definition of each figure.
fn by_hand(trades: &[Trade], start: UnixNanos, end: UnixNanos) -> Bar {
    let mut ordered = trades.to_vec();
    ordered.sort_by_key(Trade::key);
    let (first, last) = (ordered[0], ordered[ordered.len() - 1]);
    let sizes =
        |side: Option<Side>| -> i128 { trades.iter().filter(|t| t.taker == side).map(|t| i128::from(t.size.0)).sum() };
    let notional = |side: &[Option<Side>]| -> Notional {
        let of = trades.iter().filter(|t| side.contains(&t.taker));
        Notional(of.map(|t| i128::from(t.price.0) * i128::from(t.size.0)).sum())
    };
    let (buyers, sellers) = (Some(Side::Buy), Some(Side::Sell));
    Bar {
        start,
        end,
        open: first.price,
        high: trades.iter().map(|t| t.price).max().expect("a trade"),
        low: trades.iter().map(|t| t.price).min().expect("a trade"),
        close: last.price,
        volume: sizes(buyers) + sizes(sellers) + sizes(None),
        notional: notional(&[buyers, sellers, None]),
        buy_volume: sizes(buyers),
        sell_volume: sizes(sellers),
        buy_notional: notional(&[buyers]),
        trades: trades.len() as u64,
        first: first.key(),
        last: last.key(),
        revision: 0,
        marks: Marks::NONE,
    }
}

fn timed_by_hand(seconds: u64, trades: &[Trade]) -> Vec<Bar> {
    let mut groups: BTreeMap<u64, Vec<Trade>> = BTreeMap::new();
    for trade in trades {
        groups.entry(trade.time.0 / (seconds * SECOND)).or_default().push(*trade);
    }
    let span = |n: u64| (UnixNanos(n * seconds * SECOND), UnixNanos((n + 1) * seconds * SECOND));
    groups.iter().map(|(n, group)| by_hand(group, span(*n).0, span(*n).1)).collect()
}

fn any_trade() -> impl Strategy<Value = Trade> {
    let taker = prop_oneof![Just(None), Just(Some(Side::Buy)), Just(Some(Side::Sell))];
    (0u64..200_000, 0u64..4, 90i64..110, 1i64..50, taker).prop_map(|(at, id, p, s, side)| trade(at, id, p, s, side))
}

/// Trades by time with here and there one out of place.
fn stream() -> impl Strategy<Value = Vec<Trade>> {
    (prop::collection::vec(any_trade(), 1..150), prop::collection::vec((0usize..150, 0usize..150), 0..8)).prop_map(
        |(mut trades, swaps)| {
            trades.sort_by_key(|t| t.time);
            let count = trades.len();
            swaps.iter().for_each(|(a, b)| trades.swap(a % count, b % count));
            trades
        },
    )
}

/// The bars told and the open one, of trades in columns.
fn of_columns(rule: Rule, keep: usize, trades: &[Trade]) -> (Vec<Bar>, Option<Bar>) {
    fn column<T>(trades: &[Trade], of: impl Fn(&Trade) -> T) -> Vec<T> {
        trades.iter().map(of).collect()
    }
    let (times, ids) = (column(trades, |t| t.time), column(trades, |t| t.id));
    let (prices, sizes) = (column(trades, |t| t.price), column(trades, |t| t.size));
    let takers = column(trades, |t| t.taker);
    let columns = Columns::new(&times, &ids, &prices, &sizes, &takers).expect("of one length");
    let (mut bars, mut tells) = (Bars::new(rule, keep).expect("a rule"), vec![]);
    bars.push_columns(&columns, |bar| tells.push(bar));
    (tells, bars.open().copied())
}

/// The same of trades one by one, and of a list of them.
fn of_trades(rule: Rule, keep: usize, trades: &[Trade]) -> [(Vec<Bar>, Option<Bar>); 2] {
    let mut one = Bars::new(rule, keep).expect("a rule");
    let tells = trades.iter().filter_map(|t| one.push(*t)).collect();
    let (mut all, mut told) = (Bars::new(rule, keep).expect("a rule"), vec![]);
    all.push_all(trades, |bar| told.push(bar));
    [(tells, one.open().copied()), (told, all.open().copied())]
}

/// Long runs at one time and apart, numbers of any width, and here and there one out of place.
fn any_history() -> impl Strategy<Value = Vec<Trade>> {
    let number = |bits: std::ops::Range<u32>| (any::<u64>(), bits).prop_map(|(n, bits)| (n >> (64 - bits)) as i64);
    let size = prop_oneof![30 => number(1..24), 4 => number(24..52), 1 => number(52..64), 1 => Just(-5i64)];
    let far = prop_oneof![40 => number(1..12), 4 => number(12..40), 1 => number(40..64)];
    let taker = prop_oneof![9 => Just(Some(Side::Buy)), 9 => Just(Some(Side::Sell)), 1 => Just(None)];
    let step = prop_oneof![40 => 0u64..3, 4 => 0u64..2_000, 1 => Just(u64::MAX)];
    let each = (step, 0u64..3, far, size, taker);
    (prop::collection::vec(each, 1..900), prop_oneof![Just(0i64), Just(-3_000), Just(1 << 45)]).prop_map(
        |(each, base)| {
            let mut at_ms = 0u64;
            let mut turned = |(step, id, far, size, taker)| {
                // All ones: three seconds back.
                at_ms = if step == u64::MAX { at_ms.saturating_sub(3_000) } else { at_ms + step };
                trade(at_ms, id + at_ms, base.wrapping_add(far), size, taker)
            };
            each.into_iter().map(&mut turned).collect()
        },
    )
}

/// The last word on each bar.
fn latest(bars: &Bars, tells: &[Bar]) -> Vec<Bar> {
    let mut latest: BTreeMap<UnixNanos, Bar> = BTreeMap::new();
    for bar in tells.iter().chain(bars.open()) {
        if let Some(before) = latest.insert(bar.start, *bar) {
            assert!(bar.revision > before.revision, "each tell of a bar has a higher revision");
        }
    }
    latest.values().filter(|bar| bar.trades > 0).map(told).collect()
}

proptest! {
    #[test]
    fn time_bars_are_the_groups_of_all_trades(trades in stream(), seconds in prop_oneof![Just(1u64), Just(10), Just(60)]) {
        let expected = timed_by_hand(seconds, &trades);
        let all: Vec<Bar> = bars_of(timed(seconds), &trades).expect("a rule").iter().map(told).collect();
        prop_assert_eq!(&all, &expected);
        let mut live = Bars::new(timed(seconds), 1000).expect("a rule");
        let tells: Vec<Bar> = trades.iter().filter_map(|t| live.push(*t)).collect();
        prop_assert_eq!(&latest(&live, &tells), &expected);
    }

    #[test]
    fn a_history_is_the_same_in_columns_in_a_list_and_one_by_one(
        trades in any_history(),
        seconds in prop_oneof![Just(1u64), Just(60)],
        keep in prop_oneof![Just(0usize), Just(3)],
    ) {
        let [one, list] = of_trades(timed(seconds), keep, &trades);
        prop_assert_eq!(&list, &one);
        prop_assert_eq!(of_columns(timed(seconds), keep, &trades), one);
    }

    #[test]
    fn short_bars_add_up_to_long_ones_in_any_grouping(trades in stream(), cut in 0usize..100) {
        let short = bars_of(timed(1), &trades).expect("a rule");
        for long in bars_of(timed(60), &trades).expect("a rule") {
            let parts: Vec<Bar> = short.iter().filter(|b| long.start <= b.start && b.start < long.end).copied().collect();
            let sum = |parts: &[Bar]| parts.iter().copied().reduce(|a, b| a.merge(&b));
            let (left, right) = parts.split_at(cut % parts.len());
            let both = match (sum(left), sum(right)) {
                (Some(a), Some(b)) => a.merge(&b),
                (a, b) => a.or(b).expect("a long bar has parts"),
            };
            prop_assert_eq!(sum(&parts), Some(both));
            let widened = Bar { start: long.start, end: long.end, ..both };
            prop_assert_eq!(told(&widened), told(&long));
        }
    }

    #[test]
    fn what_is_taken_back_was_never_there(
        trades in stream(),
        taken in prop::collection::vec((0usize..150, prop::option::of((0i64..200, 1i64..9, 0u64..30_000))), 0..12),
    ) {
        // Ids that name one trade each, as a venue with corrections has them.
        let mut history: Vec<Trade> = trades.iter().zip(1..).map(|(t, id)| Trade { id, ..*t }).collect();
        let mut live = Bars::new(timed(10), 1000).expect("a rule");
        let mut tells: Vec<Bar> = history.iter().filter_map(|t| live.push(*t)).collect();
        for (at, correction) in taken {
            if history.is_empty() {
                break;
            }
            let at = at % history.len();
            let key = history[at].key();
            match correction {
                None => {
                    history.remove(at);
                    tells.extend(live.cancel(key).expect("it is kept"));
                }
                Some((price, size, later)) => {
                    let time = UnixNanos(key.time.0 + later * 1_000_000);
                    let to = Trade { time, price: Price(price), size: Qty(size), ..history[at] };
                    history[at] = to;
                    tells.extend(live.correct(key, to).expect("it is kept").into_iter().flatten());
                }
            }
        }
        prop_assert_eq!(latest(&live, &tells), timed_by_hand(10, &history));
    }

    #[test]
    fn counted_bars_close_with_the_trade_that_fills_them(trades in stream(), limit in 1i64..300, which in 0u8..4) {
        let rule = match which {
            0 => Rule::Ticks(limit as u64),
            1 => Rule::Volume(Qty(limit)),
            2 => Rule::Notional(Notional(i128::from(limit) * 100)),
            _ => Rule::Imbalance(Qty(limit)),
        };
        let mut expected: Vec<Bar> = vec![];
        let mut group: Vec<Trade> = vec![];
        for trade in &trades {
            group.push(*trade);
            let (start, end) = (group.iter().map(|t| t.time).min(), group.iter().map(|t| t.time).max());
            let bar = by_hand(&group, start.expect("a trade"), end.expect("a trade"));
            let full = match rule {
                Rule::Ticks(limit) => bar.trades == limit,
                Rule::Volume(limit) => bar.volume >= limit.0.into(),
                Rule::Notional(limit) => bar.notional >= limit,
                _ => (bar.buy_volume - bar.sell_volume).abs() >= limit.into(),
            };
            if full {
                expected.push(bar);
                group.clear();
            }
        }
        let mut bars = Bars::new(rule, 3).expect("a rule");
        let closed: Vec<Bar> = trades.iter().filter_map(|t| bars.push(*t)).map(|bar| told(&bar)).collect();
        prop_assert_eq!(closed, expected);
        prop_assert_eq!(bars.open().map_or(0, |bar| bar.trades), group.len() as u64);
    }
}

#[test]
fn a_late_trade_tells_its_bar_again() {
    let mut bars = Bars::new(timed(1), 2).expect("a rule");
    assert_eq!(bars.push(buy(100, 1, 10, 1)), None);
    let closed = bars.push(buy(1_100, 3, 12, 1)).expect("the first second is over");
    assert_eq!((closed.close, closed.volume, closed.revision, closed.marks), (Price(10), 1, 0, Marks::NONE));
    let amended = bars.push(buy(200, 2, 15, 4)).expect("the first second is told again");
    assert_eq!((amended.close, amended.high, amended.volume, amended.trades), (Price(15), Price(15), 5, 2));
    assert_eq!((amended.revision, amended.marks), (1, Marks::LATE));
    assert_eq!(amended.vwap(), crate::Ratio::new(70, 5));
    assert_eq!(bars.kept().count(), 1);
}

#[test]
fn a_trade_too_late_for_what_is_kept_is_a_fragment() {
    let mut bars = Bars::new(timed(1), 1).expect("a rule");
    for second in 0..4 {
        bars.push(buy(second * 1_000, second, 10, 1));
    }
    let fragment = bars.push(buy(500, 9, 11, 1)).expect("a fragment of the first second");
    assert_eq!((fragment.start, fragment.trades), (UnixNanos(0), 1));
    assert!(fragment.marks.contains(Marks::LATE | Marks::FRAGMENT));
    let key = TradeKey { time: UnixNanos(500_000_000), id: 9 };
    assert_eq!(bars.cancel(key), Err(BarError::NotKept { key, kept: 1 }));
}

#[test]
fn a_correction_says_so_and_restores_the_extremes() {
    let mut bars = Bars::new(timed(1), 2).expect("a rule");
    for t in [buy(0, 1, 10, 1), buy(10, 2, 99, 1), buy(20, 3, 11, 1), buy(1_000, 4, 12, 1)] {
        bars.push(t);
    }
    let [amended, none] = bars.correct(buy(10, 2, 99, 1).key(), buy(10, 2, 9, 2)).expect("it is kept");
    let amended = amended.expect("the first second is told again");
    assert_eq!((amended.high, amended.low, amended.volume, none), (Price(11), Price(9), 4, None));
    assert_eq!((amended.revision, amended.marks), (1, Marks::CORRECTED));
    let cancelled = bars.cancel(buy(20, 3, 11, 1).key()).expect("it is kept").expect("told again");
    assert_eq!((cancelled.close, cancelled.trades, cancelled.revision), (Price(9), 2, 2));
    assert!(cancelled.marks.contains(Marks::CORRECTED | Marks::CANCELLED));
    // The open bar changes in silence.
    assert_eq!(bars.cancel(buy(1_000, 4, 12, 1).key()), Ok(None));
    assert_eq!(bars.open(), None);
}

#[test]
fn a_correction_leaves_the_ends_of_counted_bars_where_they_are() {
    let mut bars = Bars::new(Rule::Ticks(2), 2).expect("a rule");
    let told: Vec<Option<Bar>> = (0..5).map(|n| bars.push(buy(n * 10, n, 10 + n as i64, 1))).collect();
    assert_eq!(told.iter().flatten().map(|b| b.trades).collect::<Vec<_>>(), [2, 2]);
    let [amended, none] = bars.correct(buy(10, 1, 11, 1).key(), buy(10, 1, 50, 7)).expect("it is kept");
    let amended = amended.expect("the first bar is told again");
    assert_eq!((amended.high, amended.volume, amended.trades, none), (Price(50), 8, 2, None));
    let cancelled = bars.cancel(buy(20, 2, 12, 1).key()).expect("it is kept").expect("told again");
    assert_eq!((cancelled.trades, cancelled.open, cancelled.start), (1, Price(13), UnixNanos(30_000_000)));
    // The open bar goes on with its own count.
    assert_eq!(bars.push(buy(50, 5, 15, 1)).map(|bar| (bar.trades, bar.open)), Some((2, Price(14))));
    assert_eq!(bars.kept().map(|bar| bar.trades).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_silent_bar_is_closed_by_the_clock_and_amended_after() {
    let mut bars = Bars::new(timed(60), 5).expect("a rule").joined_at(UnixNanos(30 * SECOND));
    bars.push(buy(31_000, 1, 10, 1));
    assert_eq!(bars.close_before(UnixNanos(59 * SECOND)), None);
    let closed = bars.close_before(UnixNanos(60 * SECOND)).expect("the minute is over");
    assert_eq!(closed.marks, Marks::PARTIAL);
    let amended = bars.push(buy(59_000, 2, 12, 1)).expect("told again");
    assert_eq!((amended.close, amended.revision), (Price(12), 1));
    assert_eq!(amended.marks, Marks::PARTIAL | Marks::LATE);
    assert_eq!(bars.push(buy(60_000, 3, 12, 1)), None);
    assert_eq!(bars.finish().map(|bar| bar.marks), Some(Marks::NONE));
}

#[test]
fn a_run_of_any_trades_is_the_same_as_one_by_one() {
    // Longer than a run at once, with unknown takers, steps back and sizes beyond the everyday here and there.
    let each = |n: u64| {
        let taker = [Some(Side::Buy), Some(Side::Sell), Some(Side::Buy), None]
            [if n.is_multiple_of(997) { 3 } else { n as usize % 3 }];
        let at = if n.is_multiple_of(1013) { n.saturating_sub(5) } else { n };
        let size = if n.is_multiple_of(2003) { i64::MAX - 7 } else { 1 + (n * 7919 % 1000) as i64 };
        trade(at, n, 1_000 + (n * 31 % 77) as i64, size, taker)
    };
    let trades: Vec<Trade> = (0..20_000).map(each).collect();
    for rule in [timed(1), timed(3600), Rule::Ticks(100)] {
        for keep in [0, 2] {
            let [one, list] = of_trades(rule, keep, &trades);
            assert_eq!(list, one);
            assert_eq!(of_columns(rule, keep, &trades), one);
        }
    }
}

#[test]
fn the_widest_numbers_that_are_added_many_at_once_are_exact() {
    // 300 of each: sums at the limit of what a block holds, one bit below it, and beyond it.
    for (price_bits, size_bits) in
        [(24, 32), (32, 24), (25, 32), (32, 25), (32, 32), (33, 8), (8, 33), (50, 50), (51, 50)]
    {
        let most = |bits: u32| (1i64 << bits) - 1;
        let each = |n: u64| {
            let price = if n.is_multiple_of(64) { 0 } else { most(price_bits) };
            trade(n, n, price, most(size_bits), [Some(Side::Buy), None][n as usize % 7 / 6])
        };
        let trades: Vec<Trade> = (0..300).map(each).collect();
        let [one, list] = of_trades(timed(60), 0, &trades);
        assert_eq!(one.1.map(|bar| told(&bar)), timed_by_hand(60, &trades).pop());
        assert_eq!(list, one);
        assert_eq!(of_columns(timed(60), 0, &trades), one);
    }
}

#[test]
fn columns_are_of_one_length() {
    let times = [UnixNanos(0); 2];
    let error = Columns::new(&times, &[0; 2], &[Price(1); 3], &[Qty(1); 2], &[None; 2]).expect_err("three prices");
    assert_eq!(error.to_string(), "columns of 2 times, 2 ids, 3 prices, 2 sizes and 2 takers: give as many of each");
}

#[test]
fn sums_that_do_not_fit_say_so() {
    let huge = trade(0, 1, i64::MAX, i64::MAX, None);
    let mut bar = Bar::of(&huge, UnixNanos(0), UnixNanos(1));
    bar.add(&huge);
    assert_eq!(bar.marks, Marks::NONE);
    bar.add(&huge);
    assert_eq!((bar.marks, bar.notional), (Marks::OVERFLOW, Notional(i128::MAX)));
    assert_eq!(bar.volume, 3 * i128::from(i64::MAX));
}
