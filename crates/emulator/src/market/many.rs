//! Makes up further pairs for sessions of many instruments: names that can be spoken, prices of every size.
//!
//! A venue's own few pairs come first and unchanged, so that a session of many begins like one of few.

use model::Price;

use super::simulation::SimulatedPair;
use crate::error::StartError;
use crate::options::GeneratedSession;

/// Pairs of a session at most: more than any venue's connection takes.
pub const INSTRUMENTS_MAX: usize = 2_000;
/// Levels a side at most: several times the deepest book seen from a venue.
pub const LEVELS_MAX: usize = 100_000;
/// Levels a side of all pairs together: some hundred megabytes of orders at a venue that tells each.
pub const LEVELS_SUM_MAX: usize = 1_000_000;
/// Fewer trades than this are less than a page of some venue.
const TRADES_KEPT_MIN: usize = 1_000;
/// More trades of each instrument cannot be kept.
pub const TRADES_KEPT_MAX: usize = 1_000_000;
/// Fewer levels a side are too few to trade against.
const LEVELS_MIN: usize = 20;

const CONSONANTS: &[u8; 12] = b"BDFGKLMNPRTV";
const VOWELS: &[u8; 5] = b"AEIOU";

/// Whether a session's numbers can be served.
pub(crate) fn check(session: &GeneratedSession) -> Result<(), StartError> {
    let (instruments, levels) = (session.instruments, session.levels);
    let refuse = |name, problem| Err(StartError::Option { name, problem });
    if levels < LEVELS_MIN {
        let problem = format!("{levels} levels a side are too few to trade against; give {LEVELS_MIN} or more");
        return refuse("levels", problem);
    }
    if levels > LEVELS_MAX {
        return refuse("levels", format!("{levels} levels a side are too many; give at most {LEVELS_MAX}"));
    }
    if instruments > INSTRUMENTS_MAX {
        return refuse("instruments", format!("{instruments} are too many; give at most {INSTRUMENTS_MAX}"));
    }
    if instruments.saturating_mul(levels) > LEVELS_SUM_MAX {
        let problem = format!(
            "{instruments} books of {levels} levels a side are too much; at most {LEVELS_SUM_MAX} levels a side in all"
        );
        return refuse("levels", problem);
    }
    if !(TRADES_KEPT_MIN..=TRADES_KEPT_MAX).contains(&session.trades_kept) {
        let problem = format!(
            "{} cannot be; give {TRADES_KEPT_MIN} to {TRADES_KEPT_MAX} of each instrument",
            session.trades_kept
        );
        return refuse("trades_kept", problem);
    }
    Ok(())
}

/// The venue's own pairs and as many like the last of them as bring the pairs of two assets to `count`.
pub(crate) fn pairs(mut own: Vec<SimulatedPair>, count: usize) -> Vec<SimulatedPair> {
    // A stock is traded under its own name.
    let has = own.iter().filter(|spec| spec.pair.symbol != spec.pair.base).count();
    let Some(last) = own.last().cloned() else { return own };
    own.extend((has..count).map(|n| like(&last, n)));
    own
}

fn like(model: &SimulatedPair, n: usize) -> SimulatedPair {
    let base = name(n);
    let mut spec = model.clone();
    spec.pair.symbol = model.pair.symbol.replacen(&model.pair.base, &base, 1);
    spec.pair.base = base;
    // Never below the model's price: its books must find room above zero.
    spec.start_price = Price(model.start_price.0 * (1 + 7 * (n as i64 % 9)));
    spec
}

/// Five letters, different for each number below 43,200: `DEBAL`.
fn name(n: usize) -> String {
    // Neighbours should not look alike; 8,641 shares no factor with 43,200.
    let mut rest = (n * 8_641) % (12 * 5 * 12 * 5 * 12);
    let mut letter = |of: &[u8]| {
        let letter = of[rest % of.len()];
        rest /= of.len();
        char::from(letter)
    };
    [letter(CONSONANTS), letter(VOWELS), letter(CONSONANTS), letter(VOWELS), letter(CONSONANTS)].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_another() {
        let names: BTreeSet<_> = (0..INSTRUMENTS_MAX).map(name).collect();
        assert_eq!(names.len(), INSTRUMENTS_MAX);
    }

    #[test]
    fn own_pairs_stay_and_stocks_do_not_count() {
        let own = crate::alpaca::default_pairs();
        let many = pairs(own.clone(), 50);
        assert_eq!(many[..own.len()], own[..]);
        assert_eq!(many.iter().filter(|spec| spec.pair.symbol.ends_with("/USD")).count(), 50);
        assert_eq!(pairs(own.clone(), 0), own);
    }
}
