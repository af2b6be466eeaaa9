//! Bars from trades in memory, beside the least loop that could give a minute's figures.
//!
//! The least loop knows that trades come in order and that sums fit 64 bits, keeps no taker's side, no places of first
//! and last trade, and can amend nothing.

use crate::random::Random;
use crate::{BenchError, Effort, Goal, Options, Pairs, Report, Row, agree, clock};
use book::bars::{Bar, Bars, Columns, Interval, Rule, Trade, bars_of, bars_of_columns};
use model::{Notional, Price, Qty, Side, UnixNanos};
use std::hint::black_box;

const TRADES: usize = 1_000_000;
const MINUTE_NS: u64 = 60_000_000_000;

/// Seeded trades of a market that walks, some ten a second, at 2 decimals of price and 5 of size.
pub fn trades(count: usize) -> Vec<Trade> {
    let mut random = Random::new(11);
    let (mut time, mut price) = (1_755_460_800_000_000_000u64, 11_673_661i64);
    let mut next = |id: usize| {
        time += random.exponential(1e8) as u64;
        price = (price + random.below(21) as i64 - 10).max(1_000_000);
        let taker = if random.below(2) == 0 { Side::Buy } else { Side::Sell };
        let size = 1 + random.exponential(20_000.0) as i64;
        Trade { time: UnixNanos(time), id: id as u64, price: Price(price), size: Qty(size), taker: Some(taker) }
    };
    (0..count).map(&mut next).collect()
}

/// Minute bars of the trades as text, one a line: start in ns, open, high, low, close, volume, notional, trades, taker-buy
/// volume.
pub fn minute_lines(trades: &[Trade]) -> String {
    let bars = bars_of(Rule::Time(Interval::MINUTE), trades).expect("a minute divides a day");
    let line = |b: &Bar| {
        let prices = [b.open, b.high, b.low, b.close].map(|p| p.0.to_string()).join(",");
        format!("{},{prices},{},{},{},{}\n", b.start, b.volume, b.notional.0, b.trades, b.buy_volume)
    };
    bars.iter().map(line).collect()
}

/// Ns a trade of processor time for bars of trades that are all there.
pub fn history_ns(trades: &[Trade], rule: Rule, keep: usize) -> f64 {
    let mut bars = Bars::new(rule, keep).expect("the rules here have limits above 0");
    let start = clock::cpu_ns();
    bars.push_all(trades, |bar| {
        black_box(bar);
    });
    black_box(bars.finish());
    (clock::cpu_ns() - start) as f64 / trades.len() as f64
}

/// Trades as columns that are their own.
#[derive(Clone, Debug, Default)]
pub struct Table {
    times: Vec<UnixNanos>,
    ids: Vec<u64>,
    prices: Vec<Price>,
    sizes: Vec<Qty>,
    takers: Vec<Option<Side>>,
}

impl Table {
    /// Of these trades.
    pub fn of(trades: &[Trade]) -> Table {
        let mut table = Table::default();
        for trade in trades {
            table.times.push(trade.time);
            table.ids.push(trade.id);
            table.prices.push(trade.price);
            table.sizes.push(trade.size);
            table.takers.push(trade.taker);
        }
        table
    }

    /// As bars are made of them.
    pub fn columns(&self) -> Columns<'_> {
        let Table { times, ids, prices, sizes, takers } = self;
        Columns::new(times, ids, prices, sizes, takers).expect("each trade has one of each")
    }
}

/// Ns a trade of processor time for bars of trades that are all there, in columns.
pub fn columns_ns(columns: &Columns<'_>, rule: Rule) -> f64 {
    let mut bars = Bars::new(rule, 0).expect("the rules here have limits above 0");
    let start = clock::cpu_ns();
    bars.push_columns(columns, |bar| {
        black_box(bar);
    });
    black_box(bars.finish());
    (clock::cpu_ns() - start) as f64 / columns.len() as f64
}

/// Ns a trade of processor time for bars of trades that come one by one, of which `keep` can be amended.
pub fn bars_ns(trades: &[Trade], rule: Rule, keep: usize) -> f64 {
    let mut bars = Bars::new(rule, keep).expect("the rules here have limits above 0");
    let start = clock::cpu_ns();
    for trade in trades {
        if let Some(bar) = bars.push(*trade) {
            black_box(bar);
        }
    }
    black_box(bars.finish());
    (clock::cpu_ns() - start) as f64 / trades.len() as f64
}

/// Open, high, low, close, volume, notional, trades.
type Least = [i64; 7];

fn least(trades: &[Trade], mut each: impl FnMut(Least)) {
    let (mut end, mut bar) = (0, [0; 7]);
    for trade in trades {
        let (price, size) = (trade.price.0, trade.size.0);
        if trade.time.0 >= end {
            if end > 0 {
                each(bar);
            }
            end = (trade.time.0 / MINUTE_NS + 1) * MINUTE_NS;
            bar = [price, price, price, price, 0, 0, 0];
        }
        bar[1] = bar[1].max(price);
        bar[2] = bar[2].min(price);
        bar[3] = price;
        bar[4] += size;
        bar[5] += price * size;
        bar[6] += 1;
    }
    each(bar);
}

fn least_ns(trades: &[Trade]) -> f64 {
    let start = clock::cpu_ns();
    least(trades, |bar| {
        black_box(bar);
    });
    (clock::cpu_ns() - start) as f64 / trades.len() as f64
}

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let count = if options.effort == Effort::Long { 10 * TRADES } else { options.effort.of(TRADES) };
    let trades = trades(count);
    let minutes = Rule::Time(Interval::MINUTE);
    let mut bare: Vec<Vec<i128>> = vec![];
    least(&trades, |bar| bare.push(bar.map(i128::from).to_vec()));
    let ours = bars_of(minutes, &trades).expect("a minute divides a day");
    let figures = |b: &Bar| {
        let prices = [b.open, b.high, b.low, b.close].map(|p| i128::from(p.0));
        [&prices[..], &[b.volume, b.notional.0, b.trades.into()]].concat()
    };
    let table = Table::of(&trades);
    let of_columns = bars_of_columns(minutes, &table.columns()).expect("a minute divides a day");
    agree("minute bars of columns", &of_columns, &ours)?;
    agree("minute bars", &ours.iter().map(figures).collect::<Vec<_>>(), &bare)?;

    let mut row = |name: &str, ours: &dyn Fn() -> f64, goal: bool| {
        let pairs = Pairs::measure(options.pairs, || Ok(least_ns(&trades)), || Ok(ours()))?;
        report.row(Row::cost(name, "bare loop", &pairs, "ns"));
        if goal {
            // 30 million trades a second.
            report.row(Row::figure(format!("{name}: a trade"), pairs.ours(), "ns").goal(Goal::AtMost(33.3)));
        }
        Ok::<_, BenchError>(())
    };
    let seconds = Rule::Time(Interval::SECOND);
    row("bars of a minute, history in columns", &|| columns_ns(&table.columns(), minutes), true)?;
    row("bars of a second, history in columns", &|| columns_ns(&table.columns(), seconds), true)?;
    row("bars of a minute, history", &|| history_ns(&trades, minutes, 0), true)?;
    row("bars of a second, history", &|| history_ns(&trades, seconds, 0), true)?;
    row("bars of a minute, one by one", &|| bars_ns(&trades, minutes, 0), true)?;
    row("bars of a minute, one by one, 3 kept to be amended", &|| bars_ns(&trades, minutes, 3), true)?;
    row("bars of 100 trades", &|| bars_ns(&trades, Rule::Ticks(100), 0), false)?;
    row("bars of a volume", &|| bars_ns(&trades, Rule::Volume(Qty(2_000_000)), 0), false)?;
    row("bars of a notional", &|| bars_ns(&trades, Rule::Notional(Notional(23_000_000_000_000)), 0), false)?;
    row("bars of an imbalance", &|| bars_ns(&trades, Rule::Imbalance(Qty(500_000)), 0), false)
}
