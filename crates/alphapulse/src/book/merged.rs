//! All venues' books of a pair as one, out of their tables: only live ones count, the others are listed with why.
//!
//! A table shows the best 50 levels of a side: where one venue's end although its book goes on, the consolidated book
//! ends too, since what that venue has beyond is not known here.

use super::fill::Fill;
use super::picture::{Level, Part, Picture};
use super::source::{One, venues};
use ::book::consolidated::{Consolidated, Fee, Groups, MemberId, WidePrice, WideQty};
use anyhow::Context;
use model::{
    BookState, Decimal, Instrument, InstrumentKind, InstrumentStatus, Price, Qty, Reason, Side, UnixNanos, Venue,
};
use relay::table::{BookTable, Listed};
use ring::Directory;
use ring::table::TableError;
use wire::{TABLE_DEPTH, TableHead, TableLevel, TableSource};

/// A pair's books, and the one that is made of them.
pub struct Many {
    members: Vec<Member>,
    book: Consolidated,
    /// As they were when it was last looked at.
    ends: Vec<End>,
}

struct Member {
    one: One,
    id: MemberId,
    symbol: String,
    simulated: bool,
}

/// Where a venue's table ends although its book goes on.
struct End {
    member: MemberId,
    side: Side,
    price: Price,
    scale: u8,
}

impl Many {
    /// Everything in the tables that is the pair `symbol`, with the quote currencies of `same` taken for the same and each venue's `fee`;
    /// `None` when there is none.
    pub fn open(
        directory: &Directory,
        symbol: &str,
        same: &Groups,
        fee: impl Fn(Venue) -> anyhow::Result<Fee>,
        now: UnixNanos,
    ) -> anyhow::Result<Option<Many>> {
        let (base, quote) = pair(symbol);
        let mut many = Many { members: vec![], book: Consolidated::new(base, quote, same), ends: vec![] };
        for venue in venues(directory)? {
            let listed = BookTable::open(directory, venue).and_then(|mut table| table.list(now));
            // Whose feed has ended has no book.
            for listed in listed.unwrap_or_default() {
                let (base, quote) = pair(&listed.symbol);
                if !listed.symbol.is_empty() && same.symbol(base, quote) == many.book.symbol() {
                    many.join(directory, listed, (venue, fee(venue)?), now)?;
                }
            }
        }
        Ok((!many.members.is_empty()).then_some(many))
    }

    fn join(
        &mut self,
        directory: &Directory,
        listed: Listed,
        (venue, fee): (Venue, Fee),
        now: UnixNanos,
    ) -> anyhow::Result<()> {
        let mut table = BookTable::open(directory, venue)?;
        let head = *table.top(listed.row, now)?;
        let instrument = instrument(venue, &listed, &head);
        let id = self.book.join(&instrument, fee, now)?;
        let one = One { table, row: listed.row };
        self.members.push(Member { one, id, symbol: listed.symbol, simulated: head.simulated != 0 });
        Ok(())
    }

    /// All books as they are now, as one. Fails when nobody writes any of them.
    pub fn look(&mut self, now: UnixNanos) -> Result<Picture, TableError> {
        let mut parts = vec![];
        let mut ends = vec![];
        let mut failed = None;
        for member in &mut self.members {
            let (part, error) = member.read(&mut self.book, &mut ends, now);
            parts.push(part);
            failed = failed.or(error);
        }
        self.book.settle(now);
        let live = parts.iter().filter(|part| part.state == BookState::Live).count();
        if let Some(error) = failed.filter(|_| parts.iter().all(|part| part.trouble.is_some())) {
            return Err(error);
        }
        self.ends = ends;
        Ok(self.picture(parts, live, now))
    }

    /// What a taker of a size pays or gets in the book that was last looked at.
    pub fn fill(&self, taker: Side, size: Decimal) -> anyhow::Result<Fill> {
        let scale = self.book.size_scale();
        let wanted = size.at_scale(scale).with_context(|| format!("--fill {size}"))?;
        let plan = self.book.plan(taker, WideQty(wanted.into()))?;
        let ended = self.ends.iter().filter(|end| end.side == taker.opposite()).map(|end| end.member);
        Ok(Fill::of(&plan, &self.book, size, &ended.collect::<Vec<_>>()))
    }

    fn picture(&self, parts: Vec<Part>, live: usize, now: UnixNanos) -> Picture {
        let [bids, asks] = [Side::Buy, Side::Sell].map(|side| self.levels(side));
        // A venue's state is its own; the whole is worth what those are worth that count.
        let state = if live > 0 { BookState::Live } else { BookState::Suspect };
        let since = parts.iter().map(|part| part.since).max().unwrap_or_default();
        let newest = parts.iter().filter(|part| part.state == BookState::Live).map(|part| part.ts_recv).max();
        Picture {
            place: "consolidated",
            symbol: self.book.symbol().to_owned(),
            venue_symbol: format!("{live} of {} venues", parts.len()),
            state,
            reason: if live > 0 { Reason::Ok } else { Reason::Venue },
            since,
            source: TableSource::Book,
            simulated: self.members.iter().any(|member| member.simulated),
            record: None,
            ts_event: UnixNanos::ZERO,
            ts_recv: newest.unwrap_or_default(),
            now,
            price_scale: self.book.price_scale(),
            size_scale: self.book.size_scale(),
            tick: 0,
            levels: [bids.len() as u32, asks.len() as u32],
            bids,
            asks,
            parts,
        }
    }

    fn levels(&self, side: Side) -> Vec<Level> {
        let wide = |end: &End| i128::from(end.price.0) * 10i128.pow(u32::from(self.book.price_scale() - end.scale));
        let ends: Vec<i128> = self.ends.iter().filter(|end| end.side == side).map(wide).collect();
        let known =
            |price: WidePrice| ends.iter().all(|end| if side == Side::Buy { price.0 >= *end } else { price.0 <= *end });
        let levels = self.book.levels(side).take_while(|level| known(level.price)).take(TABLE_DEPTH);
        let who = |price| {
            let shares = self.book.shares_at(side, price);
            shares.map(|share| (self.book.member(share.member).venue(), share.size.0)).collect()
        };
        levels.map(|level| Level { price: level.price.0, size: level.size.0, who: who(level.price) }).collect()
    }
}

impl Member {
    /// Brings the venue's present book into the consolidated one; what may be said of it, and why it cannot be read.
    fn read(&mut self, book: &mut Consolidated, ends: &mut Vec<End>, now: UnixNanos) -> (Part, Option<TableError>) {
        let venue = self.one.table.venue();
        let mut part = Part {
            venue,
            symbol: self.symbol.clone(),
            state: BookState::Cold,
            reason: Reason::Shutdown,
            since: now,
            record: (0, 0),
            ts_recv: UnixNanos::ZERO,
            trouble: None,
        };
        let row = match self.one.table.book(self.one.row, now) {
            Ok(row) => row,
            Err(error) => {
                book.clear(self.id);
                book.stand(self.id, BookState::Cold, Reason::Shutdown, now);
                part.since = book.member(self.id).standing().since;
                part.trouble = Some(error.to_string());
                return (part, Some(error));
            }
        };
        let head = &row.head;
        (part.state, part.reason, part.since) = (head.state(), head.reason(), head.since());
        (part.record, part.ts_recv) = ((head.epoch, head.sequence), UnixNanos(head.ts_recv));
        book.clear(self.id);
        book.stand(self.id, part.state, part.reason, part.since);
        let member = book.member(self.id);
        let scales = (head.price_scale, head.size_scale);
        if (member.price_scale(), member.size_scale()) != scales && !book.rescale(self.id, scales.0, scales.1) {
            (part.state, part.trouble) = (BookState::Cold, Some("its scales have become narrower".to_owned()));
            book.stand(self.id, BookState::Cold, Reason::Definition, now);
            return (part, None);
        }
        for (side, levels, whole) in [(Side::Buy, row.bids(), head.bids), (Side::Sell, row.asks(), head.asks)] {
            let loaded: Vec<_> = levels.iter().map(|l: &TableLevel| (Price(l.price), Qty(l.size))).collect();
            book.load(self.id, side, &loaded, part.ts_recv);
            if head.is_live()
                && whole as usize > levels.len()
                && let Some(last) = levels.last()
            {
                ends.push(End { member: self.id, side, price: Price(last.price), scale: scales.0 });
            }
        }
        (part, None)
    }
}

/// Base and quote of a canonical symbol; a share is quoted in dollars.
fn pair(symbol: &str) -> (&str, &str) {
    symbol.split_once('-').unwrap_or((symbol, "USD"))
}

/// As much of a definition as a row tells.
fn instrument(venue: Venue, listed: &Listed, head: &TableHead) -> Instrument {
    let (base, quote) = pair(&listed.symbol);
    Instrument {
        id: listed.instrument,
        venue,
        symbol: listed.symbol.clone(),
        venue_symbol: listed.venue_symbol.clone(),
        base: base.to_owned(),
        quote: quote.to_owned(),
        version: 1,
        kind: if listed.symbol.contains('-') { InstrumentKind::Spot } else { InstrumentKind::Equity },
        status: InstrumentStatus::Unknown,
        price_scale: head.price_scale,
        size_scale: head.size_scale,
        tick: Price(head.tick),
        lot: Qty(0),
        min_size: Qty(0),
        min_notional: None,
    }
}
