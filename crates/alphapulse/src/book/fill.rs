//! What a size costs across the venues, each with its fee: who gives how much of it, up to which price.
//! a plan of the consolidated book -> [`Fill`] -> plain text, or a part of the line of JSON.

use ::book::{
    Ratio,
    consolidated::{Consolidated, Leg, MemberId, Plan},
};
use model::{Decimal, SCALE_MAX, Side, Venue};
use serde_json::{Value, json};

/// Decimals that fees have more than what they are charged on.
const FEE_DECIMALS: u8 = 6;

/// The cheapest way to take a size, as far as the tables show.
#[derive(Clone, Debug)]
pub struct Fill {
    pub taker: Side,
    /// How much was asked for.
    pub wanted: Decimal,
    /// How much there is of it.
    pub filled: Decimal,
    /// What a buyer pays or a seller gets, fees included.
    pub total: Decimal,
    /// All fees; below zero where venues pay.
    pub fees: Decimal,
    /// The mean price, fees included; `None` when nothing is filled.
    pub average: Option<Decimal>,
    pub legs: Vec<FillLeg>,
    /// Venues whose tables end where all they show is taken, although their books go on: there may be a cheaper way.
    pub ended: Vec<Venue>,
}

/// What one venue gives.
#[derive(Clone, Debug)]
pub struct FillLeg {
    pub venue: Venue,
    pub symbol: String,
    pub size: Decimal,
    /// The limit an order there needs.
    pub limit: Option<Decimal>,
    /// In basis points.
    pub rate: Decimal,
    pub fee: Decimal,
    /// How many levels are taken from.
    pub levels: usize,
}

impl Fill {
    /// A plan in decimals; `ended` are the members whose tables end although their books go on.
    pub fn of(plan: &Plan, book: &Consolidated, wanted: Decimal, ended: &[MemberId]) -> Fill {
        let money = book.price_scale() + book.size_scale() + FEE_DECIMALS;
        let taken = |(id, leg): (MemberId, &Leg)| {
            let rows = book.member(id).book().depth(plan.taker.opposite());
            (ended.contains(&id) && leg.levels == rows).then(|| book.member(id).venue())
        };
        Fill {
            taker: plan.taker,
            wanted,
            filled: Decimal::new(plan.filled.0, book.size_scale()).normalised(),
            total: whole(plan.total(), money),
            fees: whole(plan.fees, money),
            average: plan.average().map(|average| rounded(average, book.price_scale() + FEE_DECIMALS)),
            legs: plan.legs().map(|(id, leg)| FillLeg::of(book, id, leg, money)).collect(),
            ended: plan.legs().filter_map(taken).collect(),
        }
    }

    /// Whether there is all that was asked for.
    pub fn is_whole(&self) -> bool {
        self.filled == self.wanted
    }

    /// A few lines of text.
    pub fn plain(&self) -> String {
        let verb = if self.taker == Side::Buy { "pays" } else { "gets" };
        let mut text = format!("to {} {}: a taker {verb} {}, fees {}", self.taker, self.wanted, self.total, self.fees);
        if let Some(average) = self.average {
            text += &format!(", {average} each");
        }
        text.push('\n');
        for leg in &self.legs {
            let limit = leg.limit.map_or(String::new(), |limit| format!(" at {limit} or better"));
            text += &format!(
                "  {} {}: {}{limit}, {} level{}, fee {} ({} bp)\n",
                leg.venue,
                leg.symbol,
                leg.size,
                leg.levels,
                if leg.levels == 1 { "" } else { "s" },
                leg.fee,
                leg.rate
            );
        }
        if !self.is_whole() {
            text += &format!("NOT ALL OF IT: {} is all there is\n", self.filled);
        }
        for venue in &self.ended {
            text += &format!(
                "all that the table of {venue} shows is taken, its book goes on: there may be a cheaper way\n"
            );
        }
        text
    }

    /// Sizes, prices and costs as decimal strings.
    pub fn json(&self) -> Value {
        let leg = |leg: &FillLeg| {
            json!({
                "venue": leg.venue.name(), "symbol": leg.symbol, "size": leg.size.to_string(),
                "limit": leg.limit.map(|limit| limit.to_string()), "levels": leg.levels,
                "fee_bp": leg.rate.to_string(), "fee": leg.fee.to_string(),
            })
        };
        json!({
            "side": self.taker.to_string(),
            "size": self.wanted.to_string(),
            "filled": self.filled.to_string(),
            "total": self.total.to_string(),
            "fees": self.fees.to_string(),
            "average": self.average.map(|average| average.to_string()),
            "legs": self.legs.iter().map(leg).collect::<Vec<_>>(),
            "tables_ended": self.ended.iter().map(|venue| venue.name()).collect::<Vec<_>>(),
        })
    }
}

impl FillLeg {
    fn of(book: &Consolidated, id: MemberId, leg: &Leg, money: u8) -> FillLeg {
        let member = book.member(id);
        FillLeg {
            venue: member.venue(),
            symbol: member.symbol().to_owned(),
            size: Decimal::new(leg.filled.0, book.size_scale()).normalised(),
            limit: leg.limit.map(|limit| Decimal::new(limit.0.into(), member.price_scale()).normalised()),
            rate: Decimal::new(member.fee().parts_per_million().into(), 2).normalised(),
            fee: whole(leg.fee, money),
            levels: leg.levels,
        }
    }
}

fn whole(value: i128, scale: u8) -> Decimal {
    rounded(Ratio::new(value, 1).expect("one is positive"), scale)
}

/// With as many decimals as a decimal may have; only what is behind them is rounded.
fn rounded(value: Ratio, scale: u8) -> Decimal {
    let excess = scale.saturating_sub(SCALE_MAX);
    let denominator = value.denominator().saturating_mul(10i128.pow(excess.into()));
    let value = Ratio::new(value.numerator(), denominator).expect("a product of positive numbers");
    Decimal::new(value.round(), scale - excess).normalised()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::book::consolidated::{Fee, Groups, WideQty};
    use model::{BookState, Instrument, Price, Qty, Reason, UnixNanos};

    const NOW: UnixNanos = UnixNanos(1);

    /// A live member that asks these prices and sizes, in hundredths.
    fn join(book: &mut Consolidated, venue: Venue, fee: &str, asks: &[(i64, i64)]) -> MemberId {
        let instrument = Instrument::pair(venue, "BTCUSD", ("BTC", "USD"), (2, 2));
        let fee = Fee::basis_points(fee.parse().expect("a number")).expect("a fee");
        let id = book.join(&instrument, fee, NOW).expect("it fits");
        let asks: Vec<_> = asks.iter().map(|(price, size)| (Price(*price), Qty(*size))).collect();
        book.load(id, Side::Sell, &asks, NOW);
        book.stand(id, BookState::Live, Reason::Ok, NOW);
        id
    }

    #[test]
    fn the_cheapest_way_is_told_with_fees_and_where_tables_end() {
        let mut book = Consolidated::new("BTC", "USD", &Groups::default());
        let binance = join(&mut book, Venue::Binance, "10", &[(10_000, 100), (10_020, 100)]);
        let kraken = join(&mut book, Venue::Kraken, "0", &[(10_005, 100)]);
        book.settle(NOW);
        let fill = |size: i128, ended: &[MemberId]| {
            let plan = book.plan(Side::Buy, WideQty(size)).expect("a plan");
            Fill::of(&plan, &book, Decimal::new(size, 2).normalised(), ended)
        };
        // Kraken's dearer level is the cheaper one with Binance's fee.
        let one = fill(150, &[binance]);
        assert_eq!(
            one.plain(),
            "to buy 1.5: a taker pays 150.1, fees 0.05, 100.06666667 each\n  binance BTC-USD: 0.5 at 100 or better, 1 level, \
             fee 0.05 (10 bp)\n  kraken BTC-USD: 1 at 100.05 or better, 1 level, fee 0 (0 bp)\n"
        );
        assert!(one.is_whole());
        let all = fill(10_000, &[kraken]);
        assert_eq!(
            (all.is_whole(), all.filled.to_string(), &all.ended[..]),
            (false, "3".to_owned(), &[Venue::Kraken][..])
        );
        assert!(all.plain().contains("NOT ALL OF IT: 3 is all there is\nall that the table of kraken shows is taken"));
        let json = all.json();
        assert_eq!((&json["filled"], &json["tables_ended"][0]), (&"3".into(), &"kraken".into()), "{json}");
        assert_eq!((&json["legs"][0]["limit"], &json["legs"][0]["levels"]), (&"100.2".into(), &2.into()), "{json}");
    }

    #[test]
    fn what_no_decimal_can_hold_is_rounded_behind_its_last_place() {
        assert_eq!(whole(1_234_567, 20).to_string(), "0.000000000000012346");
        assert_eq!(whole(150_000_000, 8).to_string(), "1.5");
    }
}
