//! Records to bars: one [`Market`] an instrument, each with its bars, what its trades tell beside them, and what is
//! missing of them. The same for a live stream and for recordings: nothing here knows which it is.
//! records -> [`Maker::push`] -> [`Event`]s.

use super::missed::Missed;
use anyhow::{Context, bail};
use book::bars::{Bar, Bars, Interval, Marks, Rule, Trade};
use book::flow::{Cvd, LargeRule, LargeTrades, RealisedVolatility, VolumeProfile};
use model::{Decimal, InstrumentId, Notional, Price, Qty, StreamKind, UnixNanos, Venue};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use wire::{CorrectionKind, CorrectionRecord, Flags, Header, InstrumentView, Record};

/// Closed bars, with their trades, that late and corrected trades can amend: two minutes of the shortest.
const BARS_KEPT: usize = 128;
/// Trades that a correction, which names the trade alone, can be traced to.
const TRADES_KEPT: usize = 100_000;
/// After its end a time bar waits so long for its last trades, if none of the next bar comes before.
const GRACE: Duration = Duration::from_secs(1);
/// Place of the receive time in every record.
const RECEIVED: usize = 2;

/// When a bar is full, in the units people write.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// A stretch of time.
    Every(Interval),
    /// So many trades.
    Ticks(u64),
    /// So much volume, in units of the base.
    Volume(Decimal),
    /// So much volume, in units of the quote currency.
    Notional(Decimal),
    /// So much more volume taken by one side than by the other.
    Imbalance(Decimal),
}

impl Wanted {
    fn rule(self, (price_scale, size_scale): (u8, u8)) -> anyhow::Result<Rule> {
        Ok(match self {
            Wanted::Every(interval) => Rule::Time(interval),
            Wanted::Ticks(count) => Rule::Ticks(count),
            Wanted::Volume(volume) => Rule::Volume(Qty(volume.at_scale(size_scale)?)),
            Wanted::Imbalance(volume) => Rule::Imbalance(Qty(volume.at_scale(size_scale)?)),
            Wanted::Notional(sum) => {
                let short = u32::from(
                    (price_scale + size_scale)
                        .checked_sub(sum.scale)
                        .context("more digits than prices and sizes have together")?,
                );
                let sum = 10i128.checked_pow(short).and_then(|factor| sum.mantissa.checked_mul(factor));
                Rule::Notional(Notional(sum.context("a notional that no bar can reach")?))
            }
        })
    }
}

/// What is looked for beside the bars.
#[derive(Clone, Copy, Debug)]
pub struct FlowWanted {
    /// Width of the volume profile's buckets, in quote currency; 100 ticks when not given.
    pub bucket: Option<Decimal>,
    /// A trade larger than so many thousandths of the last [`FlowWanted::window`] is large.
    pub large_per_mille: u16,
    /// Trades that a large one is measured by.
    pub window: usize,
}

/// What an instrument's trades tell beside its bars, since it was joined.
pub struct Flow {
    pub cvd: Cvd,
    pub profile: VolumeProfile,
    pub large: u64,
    pub volatility: RealisedVolatility,
    finder: LargeTrades,
}

/// One instrument.
pub struct Market {
    pub venue: Venue,
    id: InstrumentId,
    pub symbol: String,
    pub price_scale: u8,
    pub size_scale: u8,
    pub flow: Option<Flow>,
    bars: Bars,
    missed: Missed,
    /// Trades by their ids, the oldest first.
    trades: VecDeque<Trade>,
    /// How often bars were told again because of what is missing: beside the bars' own revisions.
    retold: BTreeMap<UnixNanos, u32>,
    heard: UnixNanos,
}

/// What is told.
pub enum Event<'a> {
    /// A bar was closed, or told before and is now another.
    Bar {
        market: &'a Market,
        bar: Bar,
        /// Trades of its time are missing.
        missed: bool,
        /// How often it was told before.
        revision: u32,
        /// The history ended in it.
        open: bool,
    },
    /// A trade is large beside those before it.
    Large { market: &'a Market, trade: Trade },
    /// Trades between two times are missing.
    Lost { market: &'a Market, from: UnixNanos, to: UnixNanos, ids: Option<(u64, u64)>, cause: &'static str },
    /// A correction of a trade that no bar here has.
    Unplaced { market: &'a Market, trade_id: u64 },
}

/// See the module.
pub struct Maker {
    wanted: Wanted,
    flow: Option<FlowWanted>,
    /// Symbol asked for, in upper case.
    symbol: String,
    joined: UnixNanos,
    markets: BTreeMap<(Venue, InstrumentId), Market>,
    /// When each venue was last heard.
    heard: BTreeMap<Venue, UnixNanos>,
}

impl Maker {
    /// Bars of a symbol, canonical or a venue's; of a stream that is joined at this moment.
    pub fn new(symbol: &str, wanted: Wanted, flow: Option<FlowWanted>, joined: UnixNanos) -> Maker {
        let (markets, heard) = (BTreeMap::new(), BTreeMap::new());
        Maker { wanted, flow, symbol: symbol.to_uppercase(), joined, markets, heard }
    }

    /// The instruments met.
    pub fn markets(&self) -> impl Iterator<Item = &Market> {
        self.markets.values()
    }

    /// Whether trades are missing that never came.
    pub fn misses(&self) -> bool {
        self.markets.values().any(|market| !market.missed.is_empty())
    }

    /// Takes in one record.
    pub fn push(&mut self, words: &[u64], f: &mut dyn FnMut(Event<'_>)) -> anyhow::Result<()> {
        let record = Record::read(words)?;
        let header = Header::read(words)?;
        let received = UnixNanos(words[RECEIVED]);
        let Some(venue) = header.venue() else { return self.lose_all(&record, received, f) };
        let before = self.heard.insert(venue, received).unwrap_or(self.joined);
        match &record {
            Record::Instrument(view) => self.define(venue, view, f)?,
            Record::Overrun(overrun) => {
                let cause = overrun.cause().name();
                self.each(venue, |market| market.lose(before, received, None, cause, f));
            }
            Record::Gap(gap) if matches!(gap.stream(), StreamKind::Trade | StreamKind::Connection) => {
                let id = header.instrument();
                let from = if gap.ts_from == 0 { self.joined } else { UnixNanos(gap.ts_from) };
                let (to, cause) = (UnixNanos(gap.ts_to), gap.cause().name());
                // Ids are an instrument's own; what a connection lost nobody can number.
                let ids = gap.range().filter(|_| gap.stream() == StreamKind::Trade);
                let concerns = |market: &&mut Market| id == InstrumentId::NONE || market.id == id;
                for market in self.markets.values_mut().filter(|m| m.venue == venue).filter(concerns) {
                    market.lose(from, to, ids, cause, f);
                }
            }
            _ => {
                if let Some(market) = self.markets.get_mut(&(venue, header.instrument())) {
                    market.take(&record, header, received, f);
                }
            }
        }
        self.each(venue, |market| market.close(received, f));
        Ok(())
    }

    fn each(&mut self, venue: Venue, mut done: impl FnMut(&mut Market)) {
        self.markets.values_mut().filter(|market| market.venue == venue).for_each(&mut done);
    }

    /// A record of no venue: only a loss concerns anybody.
    fn lose_all(
        &mut self,
        record: &Record<'_>,
        received: UnixNanos,
        f: &mut dyn FnMut(Event<'_>),
    ) -> anyhow::Result<()> {
        if let Record::Overrun(overrun) = record {
            for market in self.markets.values_mut() {
                let before = self.heard.get(&market.venue).copied().unwrap_or(self.joined);
                market.lose(before, received, None, overrun.cause().name(), f);
            }
        }
        Ok(())
    }

    fn define(&mut self, venue: Venue, view: &InstrumentView<'_>, f: &mut dyn FnMut(Event<'_>)) -> anyhow::Result<()> {
        if ![view.symbol, view.venue_symbol].iter().any(|s| s.eq_ignore_ascii_case(&self.symbol)) {
            return Ok(());
        }
        let key = (venue, view.head.header.instrument());
        let scales = (view.head.price_scale, view.head.size_scale);
        if let Some(market) = self.markets.get_mut(&key) {
            if (market.price_scale, market.size_scale) == scales {
                return Ok(());
            }
            // Bars are sums of mantissas of one scale: those open end here, and new ones begin.
            market.finish(f);
        }
        let market = self.market(key, view, scales).with_context(|| format!("{venue} {}", view.symbol))?;
        self.markets.insert(key, market);
        Ok(())
    }

    fn market(
        &self,
        key: (Venue, InstrumentId),
        view: &InstrumentView<'_>,
        scales: (u8, u8),
    ) -> anyhow::Result<Market> {
        let flow = match self.flow {
            None => None,
            Some(wanted) => {
                let width = match wanted.bucket {
                    Some(bucket) => Price(bucket.at_scale(scales.0)?),
                    None => Price(view.head.tick.max(1).saturating_mul(100)),
                };
                let Some(profile) = VolumeProfile::new(width) else { bail!("a bucket is wider than 0") };
                let rule = LargeRule::Quantile { per_mille: wanted.large_per_mille };
                let finder = LargeTrades::new(rule, wanted.window);
                let (cvd, volatility) = (Cvd::default(), RealisedVolatility::default());
                Some(Flow { cvd, profile, large: 0, volatility, finder })
            }
        };
        // A definition told again after a change of scale begins in the middle of the stream.
        let joined = self.heard.get(&key.0).copied().filter(|_| self.markets.contains_key(&key)).unwrap_or(self.joined);
        Ok(Market {
            venue: key.0,
            id: key.1,
            symbol: view.symbol.to_owned(),
            price_scale: scales.0,
            size_scale: scales.1,
            flow,
            bars: Bars::new(self.wanted.rule(scales)?, BARS_KEPT)?.joined_at(joined),
            missed: Missed::default(),
            trades: VecDeque::new(),
            retold: BTreeMap::new(),
            heard: UnixNanos::ZERO,
        })
    }

    /// The history is over: bars still open are told as they stand.
    pub fn finish(&mut self, f: &mut dyn FnMut(Event<'_>)) {
        self.markets.values_mut().for_each(|market| market.finish(f));
    }
}

impl Market {
    fn take(&mut self, record: &Record<'_>, header: &Header, received: UnixNanos, f: &mut dyn FnMut(Event<'_>)) {
        self.heard = received;
        let flags = header.flags();
        match record {
            Record::Trade(t) => {
                let (time, id) = (UnixNanos(t.ts_event), t.id().unwrap_or(0));
                let trade = Trade { time, id, price: Price(t.price), size: Qty(t.size), taker: flags.side() };
                self.trade(trade, flags, f);
            }
            Record::LongTrade(t) => {
                let (time, id) = (UnixNanos(t.head.ts_event), t.id.parse().unwrap_or(0));
                let (price, size) = (Price(t.head.price), Qty(t.head.size));
                self.trade(Trade { time, id, price, size, taker: flags.side() }, flags, f);
            }
            Record::Correction(correction) => self.correct(correction, f),
            Record::Backfill(fetched) if fetched.stream() == StreamKind::Trade => {
                let (from, to) = (UnixNanos(fetched.ts_from), UnixNanos(fetched.ts_to));
                if self.missed.fetched(from, to) {
                    self.tell_again(from, to, f);
                }
            }
            _ => {}
        }
    }

    fn trade(&mut self, trade: Trade, flags: Flags, f: &mut dyn FnMut(Event<'_>)) {
        let mut large = false;
        if let Some(flow) = &mut self.flow {
            flow.cvd.push(&trade);
            flow.profile.push(&trade);
            large = flow.finder.push(&trade);
            flow.large += u64::from(large);
        }
        self.trades.push_back(trade);
        if self.trades.len() > TRADES_KEPT {
            self.trades.pop_front();
        }
        if let Some(bar) = self.bars.push(trade) {
            self.tell(bar, false, f);
        }
        if large {
            f(Event::Large { market: self, trade });
        }
        if flags.contains(Flags::LATE)
            && let Some((from, to)) = self.missed.found(trade.id)
        {
            self.tell_again(from, to, f);
        }
    }

    fn correct(&mut self, correction: &CorrectionRecord, f: &mut dyn FnMut(Event<'_>)) {
        let meant = self.trades.iter().rposition(|trade| trade.id == correction.trade_id && trade.id != 0);
        let Some(original) = meant.and_then(|at| self.trades.remove(at)) else {
            return f(Event::Unplaced { market: self, trade_id: correction.trade_id });
        };
        if let Some(flow) = &mut self.flow {
            flow.cvd.cancel(&original);
            flow.profile.cancel(&original);
        }
        let amended = match correction.kind() {
            CorrectionKind::Cancel => self.bars.cancel(original.key()).map(|bar| [bar, None]),
            CorrectionKind::Correct => {
                let (price, size) = (Price(correction.price), Qty(correction.size));
                let trade = Trade { id: correction.new_trade_id, price, size, ..original };
                if let Some(flow) = &mut self.flow {
                    flow.cvd.push(&trade);
                    flow.profile.push(&trade);
                }
                self.trades.push_back(trade);
                self.bars.correct(original.key(), trade)
            }
        };
        match amended {
            Ok(bars) => bars.into_iter().flatten().for_each(|bar| self.tell(bar, false, f)),
            Err(_) => f(Event::Unplaced { market: self, trade_id: correction.trade_id }),
        }
    }

    /// Trades between two times are missing: bars told already are told again.
    fn lose(
        &mut self,
        from: UnixNanos,
        to: UnixNanos,
        ids: Option<(u64, u64)>,
        cause: &'static str,
        f: &mut dyn FnMut(Event<'_>),
    ) {
        self.missed.lose(from, to, ids);
        f(Event::Lost { market: self, from, to, ids, cause });
        self.tell_again(from, to, f);
    }

    /// Closed bars that touch this stretch of time are told as they are now.
    fn tell_again(&mut self, from: UnixNanos, to: UnixNanos, f: &mut dyn FnMut(Event<'_>)) {
        let touched: Vec<Bar> =
            self.bars.kept().filter(|bar| bar.start <= to && from <= last_moment(bar)).copied().collect();
        for bar in touched {
            *self.retold.entry(bar.start).or_default() += 1;
            self.tell(bar, false, f);
        }
    }

    fn tell(&mut self, bar: Bar, open: bool, f: &mut dyn FnMut(Event<'_>)) {
        let revision = bar.revision + self.retold.get(&bar.start).copied().unwrap_or(0);
        let missed = self.missed.touches(bar.start, last_moment(&bar));
        if revision == 0
            && !bar.marks.contains(Marks::FRAGMENT)
            && let Some(flow) = &mut self.flow
        {
            flow.volatility.push(bar.close);
        }
        f(Event::Bar { market: self, bar, missed, revision, open });
        if let Some(oldest) = self.bars.kept().next().map(|bar| bar.start) {
            self.retold = self.retold.split_off(&oldest);
        }
    }

    /// Time goes on without a trade.
    fn close(&mut self, now: UnixNanos, f: &mut dyn FnMut(Event<'_>)) {
        let past = UnixNanos(now.0.saturating_sub(GRACE.as_nanos() as u64));
        if let Some(bar) = self.bars.close_before(past) {
            self.tell(bar, false, f);
        }
    }

    fn finish(&mut self, f: &mut dyn FnMut(Event<'_>)) {
        if let Some(bar) = self.bars.finish() {
            self.tell(bar, true, f);
        }
    }

    pub fn price(&self, mantissa: i128) -> Decimal {
        Decimal::new(mantissa, self.price_scale)
    }

    pub fn size(&self, mantissa: i128) -> Decimal {
        Decimal::new(mantissa, self.size_scale)
    }

    pub fn notional(&self, notional: Notional) -> Decimal {
        Decimal::new(notional.0, self.price_scale + self.size_scale)
    }
}

/// The end of a time bar is the first moment that is no longer in it, that of any other its last trade.
fn last_moment(bar: &Bar) -> UnixNanos {
    if bar.end > bar.last.time { UnixNanos(bar.end.0 - 1) } else { bar.end }
}
