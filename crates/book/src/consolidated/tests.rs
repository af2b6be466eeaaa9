//! The consolidated book against the plain one, and by hand.

use super::*;
use model::{BookState, Decimal, InstrumentId, InstrumentStatus};
use proptest::prelude::*;

const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

fn instrument(venue: Venue, quote: &str, price_scale: u8, size_scale: u8) -> Instrument {
    Instrument::pair(venue, &format!("BTC{quote}"), ("BTC", quote), (price_scale, size_scale))
}

fn fee(basis_points: &str) -> Fee {
    Fee::basis_points(basis_points.parse().expect("a decimal")).expect("a fee")
}

/// Two live members: kraken with one decimal, coinbase with two.
fn two() -> (Consolidated, MemberId, MemberId) {
    let mut book = Consolidated::new("BTC", "USD", &Groups::default());
    let kraken = book.join(&instrument(Venue::Kraken, "USD", 1, 2), fee("26"), UnixNanos(1)).expect("joins");
    let coinbase = book.join(&instrument(Venue::Coinbase, "USD", 2, 3), fee("60"), UnixNanos(1)).expect("joins");
    for member in [kraken, coinbase] {
        book.stand(member, BookState::Live, Reason::Ok, UnixNanos(2));
    }
    (book, kraken, coinbase)
}

#[test]
fn prices_of_different_scales_meet_exactly() {
    let (mut book, kraken, coinbase) = two();
    book.set(kraken, Side::Buy, Price(1000), Qty(50), UnixNanos(10));
    book.set(coinbase, Side::Buy, Price(10000), Qty(250), UnixNanos(20));
    book.set(coinbase, Side::Sell, Price(10001), Qty(7), UnixNanos(20));
    let settled = book.settle(UnixNanos(20));
    assert!(settled.bid && settled.ask && !settled.began);
    let bid = book.best(Side::Buy).expect("a bid");
    assert_eq!((book.price(bid.price).to_string(), book.size(bid.size).to_string()), ("100".into(), "0.75".into()));
    assert_eq!(bid.members.iter().collect::<Vec<_>>(), [kraken, coinbase]);
    let who: Vec<_> = book.shares_at(Side::Buy, bid.price).map(|s| (s.member, s.level.size, s.told)).collect();
    assert_eq!(who, [(kraken, Qty(50), UnixNanos(10)), (coinbase, Qty(250), UnixNanos(20))]);
    assert_eq!((book.spread(), book.mid()), (Some(WidePrice(1)), Ratio::new(20001, 2)));
    assert_eq!(book.shares_at(Side::Sell, WidePrice(10001)).count(), 1, "kraken has no such price");
    assert_eq!(book.wide_size("0.75".parse().expect("a decimal")), Some(WideQty(750)));
    assert_eq!(book.wide_size(Decimal::new(1, 4)), None);
}

#[test]
fn a_venue_that_is_not_live_is_excluded_visibly() {
    let (mut book, kraken, coinbase) = two();
    book.set(kraken, Side::Buy, Price(1010), Qty(5), UnixNanos(10));
    book.set(coinbase, Side::Buy, Price(10000), Qty(2), UnixNanos(20));
    book.settle(UnixNanos(20));
    book.stand(kraken, BookState::Suspect, Reason::Checksum, UnixNanos(30));
    assert!(book.settle(UnixNanos(30)).bid);
    assert_eq!(book.best(Side::Buy).map(|t| t.price), Some(WidePrice(10000)));
    assert_eq!(book.levels(Side::Buy).count(), 1);
    assert_eq!(book.shares_at(Side::Buy, WidePrice(10100)).count(), 0);
    assert_eq!(book.plan(Side::Sell, WideQty(100)).expect("a plan").filled, WideQty(2));
    let excluded: Vec<_> = book.excluded().map(|(id, m)| (id, m.venue(), m.standing())).collect();
    let standing = Standing { state: BookState::Suspect, reason: Reason::Checksum, since: UnixNanos(30) };
    assert_eq!(excluded, [(kraken, Venue::Kraken, standing)]);
    // A second reason is told, and the state is as old as it was.
    book.stand(kraken, BookState::Suspect, Reason::Connection, UnixNanos(40));
    assert_eq!(book.member(kraken).standing().since, UnixNanos(30));
    book.stand(kraken, BookState::Live, Reason::Ok, UnixNanos(50));
    assert!(book.settle(UnixNanos(50)).bid);
    assert_eq!(book.best(Side::Buy).map(|t| t.price), Some(WidePrice(10100)));
    assert_eq!(book.excluded().count(), 0);
}

#[test]
fn a_crossed_market_is_an_interval_with_a_size() {
    let (mut book, kraken, coinbase) = two();
    for (price, size) in [(1000, 100), (1002, 100)] {
        book.set(kraken, Side::Sell, Price(price), Qty(size), UnixNanos(10));
    }
    book.set(coinbase, Side::Buy, Price(9990), Qty(10), UnixNanos(10));
    assert_eq!(book.settle(UnixNanos(10)), Settled { bid: true, ask: true, ..Settled::default() });
    // Locked, then crossed: the one ends and the other begins.
    book.set(coinbase, Side::Buy, Price(10000), Qty(300), UnixNanos(20));
    assert!(book.settle(UnixNanos(20)).began);
    assert_eq!(book.crossing().map(|c| (c.meeting, c.size)), Some((Meeting::Locked, WideQty(300))));
    book.set(coinbase, Side::Buy, Price(10030), Qty(1500), UnixNanos(30));
    let settled = book.settle(UnixNanos(30));
    assert!(settled.ended && settled.began);
    assert_eq!(book.last_crossing().map(|c| c.duration(UnixNanos(99)).as_nanos()), Some(10));
    let open = *book.crossing().expect("crossed");
    assert_eq!((open.meeting, open.size, open.edge_max), (Meeting::Crossed, WideQty(1500), WidePrice(30)));
    // Behind the touch, but of what could trade.
    book.set(kraken, Side::Sell, Price(1002), Qty(10), UnixNanos(40));
    assert_eq!(book.settle(UnixNanos(40)), Settled::default());
    assert_eq!(book.crossing().map(|c| (c.size, c.size_max)), Some((WideQty(1100), WideQty(1500))));
    // Excluding one of the two ends it.
    book.stand(kraken, BookState::Syncing, Reason::Connection, UnixNanos(50));
    assert!(book.settle(UnixNanos(50)).ended);
    let last = *book.last_crossing().expect("ended");
    assert_eq!((last.began, last.ended), (UnixNanos(30), Some(UnixNanos(50))));
    assert!(last.bids.contains(coinbase) && last.asks.contains(kraken));
    assert_eq!(book.crossing(), None);
}

#[test]
fn a_size_is_taken_where_it_is_cheapest_after_the_fee() {
    let (mut book, kraken, coinbase) = two();
    // 100.10 at coinbase is 100.7006 with its fee, 100.4 at kraken 100.66104.
    book.set(coinbase, Side::Sell, Price(10010), Qty(1_000), UnixNanos(1));
    book.set(kraken, Side::Sell, Price(1004), Qty(100), UnixNanos(1));
    book.set(kraken, Side::Sell, Price(1010), Qty(100), UnixNanos(1));
    book.settle(UnixNanos(1));
    let plan = book.plan(Side::Buy, WideQty(1_500)).expect("a plan");
    let legs: Vec<_> = plan.legs().map(|(id, leg)| (id, leg.filled, leg.limit, leg.levels)).collect();
    assert_eq!(legs, [(kraken, WideQty(1_000), Some(Price(1004)), 1), (coinbase, WideQty(500), Some(Price(10010)), 1)]);
    assert_eq!(plan.notional, 10040 * 1000 + 10010 * 500);
    assert_eq!(plan.fees, 10040 * 1000 * 2600 + 10010 * 500 * 6000);
    assert_eq!((plan.filled, plan.remaining), (WideQty(1_500), WideQty(0)));
    assert_eq!(plan.average(), Ratio::new(plan.notional * 1_000_000 + plan.fees, 1_500));
    // Kraken cannot give 0.005 of its hundredths: coinbase does.
    let odd = book.plan(Side::Buy, WideQty(15)).expect("a plan");
    let legs: Vec<_> = odd.legs().map(|(id, leg)| (id, leg.filled)).collect();
    assert_eq!(legs, [(kraken, WideQty(10)), (coinbase, WideQty(5))]);
    let short = book.plan(Side::Buy, WideQty(5_000)).expect("a plan");
    assert_eq!((short.filled, short.remaining), (WideQty(3_000), WideQty(2_000)));
    assert_eq!(book.plan(Side::Sell, WideQty(1)).expect("a plan").average(), None);
    assert_eq!(book.plan(Side::Buy, WideQty(-1)), Err(PlanError::Size { size: -1 }));
    assert!(matches!(huge().plan(Side::Buy, WideQty(i128::MAX)), Err(PlanError::TooLarge { .. })));
}

/// A price and a size at the ends of what there is.
fn huge() -> Consolidated {
    let mut book = Consolidated::new("BTC", "USD", &Groups::default());
    let one = book.join(&instrument(Venue::Kraken, "USD", 0, 18), Fee::ZERO, UnixNanos(1)).expect("joins");
    book.join(&instrument(Venue::Coinbase, "USD", 18, 0), Fee::ZERO, UnixNanos(1)).expect("joins");
    book.stand(one, BookState::Live, Reason::Ok, UnixNanos(1));
    book.set(one, Side::Sell, Price(i64::MAX), Qty(i64::MAX), UnixNanos(1));
    book.settle(UnixNanos(1));
    assert_eq!(book.best(Side::Sell).map(|t| t.price.0), Some(i128::from(i64::MAX) * 10i128.pow(18)));
    book
}

#[test]
fn who_does_not_belong_is_refused_by_name() {
    let (mut book, ..) = two();
    let refused = |book: &mut Consolidated, i: &Instrument| {
        book.join(i, Fee::ZERO, UnixNanos(3)).expect_err("refused").to_string()
    };
    let usdt = instrument(Venue::Binance, "USDT", 2, 5);
    assert_eq!(
        refused(&mut book, &usdt),
        "binance BTC-USDT is BTC-USDT, not BTC-USD: put their quote currencies together in a group if they are the same"
    );
    assert!(refused(&mut book, &instrument(Venue::Kraken, "USD", 1, 8)).contains("has joined BTC-USD before"));
    let share = Instrument { kind: InstrumentKind::Equity, ..instrument(Venue::Alpaca, "USD", 2, 0) };
    assert!(refused(&mut book, &share).contains("is equity, the others in this book are spot"));
    assert!(refused(&mut book, &instrument(Venue::Alpaca, "USD", 19, 0)).contains("19 decimals"));
    let groups: Groups = "USD+USDT".parse().expect("a group");
    let mut together = Consolidated::new("BTC", "USDT", &groups);
    assert_eq!(together.symbol(), "BTC-USD");
    assert!(together.join(&usdt, Fee::ZERO, UnixNanos(1)).is_ok());
    for n in 1..MEMBERS_MAX {
        let other = Instrument { id: InstrumentId(n as u32), ..usdt.clone() };
        assert!(together.join(&other, Fee::ZERO, UnixNanos(1)).is_ok());
    }
    let last = Instrument { id: InstrumentId(99), ..usdt };
    assert!(refused(&mut together, &last).contains("would be one too many"));
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize, Side, i64, i64),
    Load(usize, Side, Vec<(i64, i64)>),
    Stand(usize, bool),
    Truncate(usize, usize),
    Rescale(usize),
    Clear(usize),
    Settle,
}

const MEMBERS: usize = 4;
/// Price and size scales of the members, and fees in basis points.
const SCALES: [(u8, u8); MEMBERS] = [(1, 3), (2, 2), (0, 3), (2, 0)];
const FEES: [&str; MEMBERS] = ["26", "4.5", "0", "-1.25"];

fn step() -> impl Strategy<Value = Step> {
    let side = || prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    // Around 100 at a scale of 0: bids and asks meet often.
    let price = || 95i64..106;
    let size = || prop_oneof![Just(0i64), 1i64..9, 1i64..9];
    prop_oneof![
        40 => (0..MEMBERS, side(), price(), size()).prop_map(|(m, s, p, q)| Step::Set(m, s, p, q)),
        4 => (0..MEMBERS, side(), prop::collection::vec((price(), size()), 0..80)).prop_map(|(m, s, l)| Step::Load(m, s, l)),
        4 => (0..MEMBERS, any::<bool>()).prop_map(|(m, live)| Step::Stand(m, live)),
        2 => (0..MEMBERS, 0usize..6).prop_map(|(m, n)| Step::Truncate(m, n)),
        1 => (0..MEMBERS).prop_map(Step::Rescale),
        1 => (0..MEMBERS).prop_map(Step::Clear),
        20 => Just(Step::Settle),
    ]
}

struct Both {
    fast: Consolidated,
    plain: PlainConsolidated,
    ids: Vec<MemberId>,
    scales: Vec<(u8, u8)>,
    now: UnixNanos,
}

impl Both {
    fn new() -> Both {
        let mut both = Both {
            fast: Consolidated::new("BTC", "USD", &Groups::default()),
            plain: PlainConsolidated::default(),
            ids: vec![],
            scales: SCALES.to_vec(),
            now: UnixNanos(100),
        };
        for n in 0..MEMBERS {
            let i = instrument(Venue::ALL[n], "USD", SCALES[n].0, SCALES[n].1);
            both.ids.push(both.fast.join(&i, fee(FEES[n]), both.now).expect("joins"));
            both.plain.join(SCALES[n], fee(FEES[n]));
        }
        both
    }

    /// A price at a scale of 0, here or there a little off it, in the member's own mantissas.
    fn price(&self, member: usize, price: i64) -> Price {
        Price(
            price * 10i64.pow(self.scales[member].0.into()) + self.now.0 as i64 % 2 * i64::from(self.scales[member].0),
        )
    }

    fn run(&mut self, step: &Step) {
        self.now.0 += 3;
        let now = self.now;
        match step {
            Step::Set(m, side, price, size) => {
                let price = self.price(*m, *price);
                self.fast.set(self.ids[*m], *side, price, Qty(*size), now);
                self.plain.set(self.ids[*m], *side, price, Qty(*size), now);
            }
            Step::Load(m, side, levels) => {
                let levels: Vec<_> = levels.iter().map(|(p, q)| (self.price(*m, *p), Qty(*q))).collect();
                self.fast.load(self.ids[*m], *side, &levels, now);
                self.plain.load(self.ids[*m], *side, &levels, now);
            }
            Step::Stand(m, live) => {
                let state = if *live { BookState::Live } else { BookState::Suspect };
                self.fast.stand(self.ids[*m], state, Reason::Ok, now);
                self.plain.stand(self.ids[*m], *live);
            }
            Step::Truncate(m, depth) => {
                self.fast.truncate(self.ids[*m], *depth);
                self.plain.truncate(self.ids[*m], *depth);
            }
            Step::Rescale(m) if self.scales[*m].0 < 6 => {
                self.scales[*m] = (self.scales[*m].0 + 1, self.scales[*m].1 + 1);
                assert!(self.fast.rescale(self.ids[*m], self.scales[*m].0, self.scales[*m].1));
                self.plain.rescale(self.ids[*m], self.scales[*m]);
            }
            Step::Rescale(_) => {}
            Step::Clear(m) => {
                self.fast.clear(self.ids[*m]);
                self.plain.clear(self.ids[*m]);
            }
            Step::Settle => self.settle(),
        }
    }

    fn settle(&mut self) {
        let before = SIDES.map(|side| self.fast.best(side));
        let (open, last) = (self.fast.crossing().copied(), self.fast.last_crossing().copied());
        let settled = self.fast.settle(self.now);
        self.plain.settle(self.now);
        assert_eq!([settled.bid, settled.ask], [0, 1].map(|n| before[n] != self.fast.best(SIDES[n])));
        assert_eq!(self.fast.crossing().copied(), self.plain.crossing());
        assert_eq!(self.fast.last_crossing().copied(), self.plain.last_crossing());
        assert_eq!(settled.ended, self.fast.last_crossing().copied() != last);
        let began = self.fast.crossing().filter(|now| open.is_none_or(|open| open.began != now.began));
        assert_eq!(settled.began, began.is_some());
        self.compare();
    }

    fn compare(&self) {
        assert_eq!((self.fast.price_scale(), self.fast.size_scale()), self.plain.scales());
        for side in SIDES {
            let shares: Vec<_> = self.fast.shares(side).map(|s| (s.member, s.price, s.size, s.told)).collect();
            assert_eq!(shares, self.plain.shares(side));
            let levels: Vec<_> = self.fast.levels(side).map(|l| (l.price, l.size, l.members)).collect();
            assert_eq!(levels, self.plain.levels(side));
            assert_eq!(self.fast.best(side).map(|t| (t.price, t.size, t.members)), levels.first().copied());
            for (price, _, members) in &levels {
                let at: Vec<_> =
                    self.fast.shares_at(side, *price).map(|s| (s.member, s.price, s.size, s.told)).collect();
                let expected: Vec<_> = shares.iter().filter(|s| s.1 == *price).copied().collect();
                assert_eq!((at.len(), &at), (members.len(), &expected));
            }
            let all: i128 = levels.iter().map(|l| l.1.0).sum();
            for size in [0, 1, 7, all / 3, all, all + 5] {
                let plan = self.fast.plan(side.opposite(), WideQty(size)).expect("it fits");
                let legs: Vec<_> = plan.legs().map(|(id, l)| (id, l.filled, l.notional, l.fee)).collect();
                assert_eq!(legs, self.plain.plan(side.opposite(), WideQty(size)));
                assert_eq!(plan.filled.0 + plan.remaining.0, size);
                assert_eq!(plan.notional, legs.iter().map(|l| l.2).sum::<i128>());
                assert_eq!(plan.fees, legs.iter().map(|l| l.3).sum::<i128>());
            }
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_the_plain_one(steps in prop::collection::vec(step(), 0..150)) {
        let mut both = Both::new();
        for step in &steps {
            both.run(step);
        }
        both.settle();
    }
}
