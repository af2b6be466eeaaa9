//! One book at one moment, in the numbers people look at; what is drawn, printed and asserted.

use model::{BookState, Decimal, Reason, UnixNanos, Venue};
use std::time::Duration;
use wire::{TableHead, TableRow, TableSource};

/// Levels a side that imbalance looks at.
pub const IMBALANCE_LEVELS: usize = 10;

/// A level, at the picture's scales.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    pub price: i128,
    pub size: i128,
    /// Who has how much of it, in a consolidated book.
    pub who: Vec<(Venue, i128)>,
}

/// A venue's part in a consolidated book.
#[derive(Clone, Debug)]
pub struct Part {
    pub venue: Venue,
    pub symbol: String,
    pub state: BookState,
    pub reason: Reason,
    pub since: UnixNanos,
    /// Its own last record: epoch and sequence; zero while there is none.
    pub record: (u64, u64),
    /// When its last change was received.
    pub ts_recv: UnixNanos,
    /// Why there is nothing of it.
    pub trouble: Option<String>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The venue, or `consolidated`.
    pub place: &'static str,
    pub symbol: String,
    pub venue_symbol: String,
    pub state: BookState,
    pub reason: Reason,
    pub since: UnixNanos,
    pub source: TableSource,
    pub simulated: bool,
    /// Epoch and sequence of the last record it reflects; `None` of a consolidated book, whose parts have their own.
    pub record: Option<(u64, u64)>,
    pub ts_event: UnixNanos,
    pub ts_recv: UnixNanos,
    /// When it was looked at.
    pub now: UnixNanos,
    pub price_scale: u8,
    pub size_scale: u8,
    /// 0 when not told.
    pub tick: i128,
    /// Best first.
    pub bids: Vec<Level>,
    /// Best first.
    pub asks: Vec<Level>,
    /// Levels of the whole book, bids and asks.
    pub levels: [u32; 2],
    /// Whose books a consolidated one is made of; only live ones count.
    pub parts: Vec<Part>,
}

impl Picture {
    /// A row of the table as it is at `now`.
    pub fn of(row: &TableRow, venue: Venue, now: UnixNanos) -> Picture {
        let TableHead { epoch, sequence, tick, .. } = row.head;
        let levels = |levels: &[wire::TableLevel]| -> Vec<Level> {
            levels.iter().map(|l| Level { price: l.price.into(), size: l.size.into(), who: vec![] }).collect()
        };
        let touch = |touch: Option<(model::Price, model::Qty)>| -> Vec<Level> {
            touch.into_iter().map(|(p, q)| Level { price: p.0.into(), size: q.0.into(), who: vec![] }).collect()
        };
        // Where the venue has no book its best bid and offer are all there is.
        let (bids, asks) = match row.head.source() {
            TableSource::Quote => (touch(row.head.bid()), touch(row.head.ask())),
            _ => (levels(row.bids()), levels(row.asks())),
        };
        Picture {
            place: venue.name(),
            symbol: row.symbol().to_owned(),
            venue_symbol: row.venue_symbol().to_owned(),
            state: row.head.state(),
            reason: row.head.reason(),
            since: row.head.since(),
            source: row.head.source(),
            simulated: row.head.simulated != 0,
            record: Some((epoch, sequence)),
            ts_event: UnixNanos(row.head.ts_event),
            ts_recv: UnixNanos(row.head.ts_recv),
            now,
            price_scale: row.head.price_scale,
            size_scale: row.head.size_scale,
            tick: tick.into(),
            levels: [row.head.bids, row.head.asks],
            bids,
            asks,
            parts: vec![],
        }
    }

    /// Who has no part in a consolidated book, and why; `None` when all have.
    pub fn left_out(&self) -> Option<String> {
        let out = self.parts.iter().filter(|part| part.state != BookState::Live);
        let why = |part: &Part| {
            let why = if part.trouble.is_some() { "gone" } else { part.reason.name() };
            format!("{} ({why})", part.venue)
        };
        let out: Vec<String> = out.map(why).collect();
        (!out.is_empty()).then(|| out.join(", "))
    }

    pub fn is_live(&self) -> bool {
        self.state == BookState::Live
    }

    /// Since the last change was received; `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        (self.ts_recv != UnixNanos::ZERO).then(|| self.now.since(self.ts_recv))
    }

    /// Best ask less best bid.
    pub fn spread(&self) -> Option<i128> {
        Some(self.asks.first()?.price - self.bids.first()?.price)
    }

    /// The spread in ticks, where the venue tells its tick.
    pub fn spread_ticks(&self) -> Option<f64> {
        let spread = self.spread()?;
        (self.tick > 0).then(|| spread as f64 / self.tick as f64)
    }

    /// The spread in basis points of the mid.
    pub fn spread_bp(&self) -> Option<f64> {
        let twice_mid = self.asks.first()?.price + self.bids.first()?.price;
        (twice_mid > 0).then_some(self.spread()? as f64 * 20_000.0 / twice_mid as f64)
    }

    /// Half way between best bid and best ask, exactly.
    pub fn mid(&self) -> Option<Decimal> {
        let twice = self.asks.first()?.price + self.bids.first()?.price;
        Some(Decimal::new(twice * 5, self.price_scale + 1).normalised())
    }

    /// (bids - asks) / (bids + asks) of the sizes of the best [`IMBALANCE_LEVELS`] a side.
    pub fn imbalance(&self) -> Option<f64> {
        let [bids, asks] = [&self.bids, &self.asks].map(|side| total(side, IMBALANCE_LEVELS));
        (bids + asks > 0).then(|| (bids - asks) as f64 / (bids + asks) as f64)
    }

    pub fn price(&self, mantissa: i128) -> Decimal {
        Decimal::new(mantissa, self.price_scale)
    }

    pub fn size(&self, mantissa: i128) -> Decimal {
        Decimal::new(mantissa, self.size_scale)
    }

    /// Decimals that prices of this instrument need.
    pub fn price_decimals(&self) -> u8 {
        let shown = self.bids.iter().chain(&self.asks).map(|l| self.price(l.price).decimals()).max().unwrap_or(0);
        if self.tick > 0 { self.price(self.tick).decimals().max(shown) } else { shown }
    }
}

/// The sizes of the best `count` levels together.
pub fn total(side: &[Level], count: usize) -> i128 {
    side.iter().take(count).map(|level| level.size).sum()
}

/// A decimal with exactly so many decimals, cut where it has more.
pub fn fixed(value: Decimal, decimals: u8) -> String {
    let text = value.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    if decimals == 0 {
        return whole.to_owned();
    }
    let width = usize::from(decimals);
    format!("{whole}.{fraction:0<width$.width$}")
}

/// A duration in the one or two units that matter.
pub fn short(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

/// The time of day, UTC.
pub fn clock_time(time: UnixNanos) -> String {
    let s = time.0 / 1_000_000_000 % 86_400;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}
