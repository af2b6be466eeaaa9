//! Bars from trades: open, high, low, close, volume, notional and who took, exact to the last digit.
//! [`Trade`]s in -> [`Bars`] by a [`Rule`] -> [`Bar`]s, one pass, the same code on a live stream and over history.
//!
//! A trade that comes after its bar was closed, and one that is corrected or cancelled, amends that bar: it is told
//! again with a higher revision and a mark that says why. Bars add up: two of them are one of the longer time.

mod bar;
mod builder;
mod columns;
mod rule;
#[cfg(test)]
mod tests;

pub use bar::{Bar, Marks, Trade, TradeKey};
pub use builder::{BarError, Bars, bars_of, bars_of_columns};
pub use columns::{Columns, ColumnsError};
pub use rule::{Interval, Rule, RuleError};
