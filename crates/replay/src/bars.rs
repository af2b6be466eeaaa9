//! Steps by bar: what is told is added up to bars, and a step ends where enough of them are closed.

use crate::Told;
use book::bars::{Bar, Bars, Marks, Rule, Trade};
use model::{Price, Qty, Side, UnixNanos, Venue};
use serde::Serialize;
use std::collections::BTreeMap;
use wire::json::{Instruments, decimal};
use wire::{Header, Record, RecordType};

/// Which bars are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarChoice {
    /// When a bar is full.
    pub rule: Rule,
    /// Only of this venue.
    pub venue: Option<Venue>,
    /// Only of this canonical symbol.
    pub symbol: Option<String>,
}

/// A bar that was closed. Prices and sizes are decimals as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClosedBar {
    /// Where.
    pub venue: String,
    /// Canonical symbol.
    pub symbol: String,
    /// A time bar's begin, else the first trade's time, ns.
    pub start: u64,
    /// A time bar's end, else the last trade's time, ns.
    pub end: u64,
    /// First price.
    pub open: String,
    /// Highest price.
    pub high: String,
    /// Lowest price.
    pub low: String,
    /// Last price.
    pub close: String,
    /// Units traded.
    pub volume: String,
    /// Trades.
    pub trades: u64,
    /// Its first trades were told before bars were asked for, so they are missing.
    pub partial: bool,
}

/// Adds up trades as they are told.
pub(crate) struct BarCounter {
    pub choice: BarChoice,
    /// From when on trades are added up.
    joined: UnixNanos,
    bars: BTreeMap<(Venue, u32), Bars>,
}

impl BarCounter {
    pub fn new(choice: BarChoice, joined: UnixNanos) -> Result<BarCounter, book::bars::RuleError> {
        Bars::new(choice.rule, 0)?;
        Ok(BarCounter { choice, joined, bars: BTreeMap::new() })
    }

    /// Bars that are over before anything of `time` is told.
    pub fn before(&mut self, time: UnixNanos, instruments: &Instruments) -> Vec<ClosedBar> {
        let closed = self.bars.iter_mut().filter_map(|(key, bars)| Some((*key, bars.close_before(time)?)));
        let closed: Vec<_> = closed.collect();
        closed.iter().filter_map(|((venue, id), bar)| shown(*venue, *id, bar, instruments)).collect()
    }

    /// Takes in a record; the bar that it closed.
    pub fn note(&mut self, told: &Told<'_>, instruments: &Instruments) -> Option<ClosedBar> {
        let trade = trade_of(told)?;
        let header = Header::read(told.words).ok()?;
        let instrument = instruments.of(header)?;
        let BarChoice { rule, venue, symbol } = &self.choice;
        let wanted = venue.is_none_or(|venue| venue == told.venue)
            && symbol.as_ref().is_none_or(|symbol| symbol.eq_ignore_ascii_case(&instrument.symbol));
        if !wanted {
            return None;
        }
        let key = (told.venue, header.instrument().0);
        let bars = self.bars.entry(key).or_insert_with(|| {
            Bars::new(*rule, 0).expect("the rule was checked when the counter was made").joined_at(self.joined)
        });
        let bar = bars.push(trade)?;
        // A trade that came too late for its time bar closes none.
        let late = matches!(rule, Rule::Time(_)) && bar.marks.contains(Marks::LATE);
        if late { None } else { shown(key.0, key.1, &bar, instruments) }
    }
}

fn trade_of(told: &Told<'_>) -> Option<Trade> {
    let kind = told.words.first().map_or(0, |head| *head as u8);
    if kind != RecordType::Trade as u8 && kind != RecordType::LongTrade as u8 {
        return None;
    }
    let (event, id, price, size, taker): (u64, u64, i64, i64, Option<Side>) = match Record::read(told.words).ok()? {
        Record::Trade(r) => (r.ts_event, r.id().unwrap_or(0), r.price, r.size, r.header.flags().side()),
        Record::LongTrade(v) => {
            (v.head.ts_event, v.id.parse().unwrap_or(0), v.head.price, v.head.size, v.head.header.flags().side())
        }
        _ => return None,
    };
    let time = if event == 0 { told.time } else { UnixNanos(event) };
    Some(Trade { time, id, price: Price(price), size: Qty(size), taker })
}

fn shown(venue: Venue, id: u32, bar: &Bar, instruments: &Instruments) -> Option<ClosedBar> {
    let instrument = instruments.iter().find(|i| i.venue == venue && i.id.0 == id)?;
    let price = |price: Price| decimal(price.0, instrument.price_scale);
    let volume = model::Decimal::new(bar.volume, instrument.size_scale).to_string();
    Some(ClosedBar {
        venue: venue.name().to_owned(),
        symbol: instrument.symbol.clone(),
        start: bar.start.0,
        end: bar.end.0,
        open: price(bar.open),
        high: price(bar.high),
        low: price(bar.low),
        close: price(bar.close),
        volume,
        trades: bar.trades,
        partial: bar.marks.contains(Marks::PARTIAL),
    })
}
