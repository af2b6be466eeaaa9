//! The instruments a machine knows, found by the venue's symbol in a few ns, and told on the stream when they change.

use crate::{Outbox, arbiter::IdHasher};
use model::{Instrument, InstrumentId, SymbolError, UnixNanos, Venue, canonical_symbol};
use scan::SymbolTable;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

/// Index of an instrument within its [`InstrumentSet`]: small, dense, stable while the process lives.
pub type Known = u32;

/// Bytes of the longest name that a definition holds.
const NAME_MAX: usize = 64;

/// Whether a definition holds a name, as the venue writes it and in capitals.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let len = name.len().max(name.to_uppercase().len());
    if len == 0 || len > NAME_MAX {
        return Err(format!("has {len} bytes; 1 to {NAME_MAX} can be told"));
    }
    Ok(())
}

/// The same of a pair's currencies, apart and together.
pub(crate) fn check_pair(base: &str, quote: &str) -> Result<(), String> {
    check_name(base)?;
    check_name(quote)?;
    check_name(&canonical_symbol(base, quote)).map_err(|problem| format!("makes a symbol that {problem}"))
}

/// What a definition was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defined {
    /// The instrument was not known.
    New(Known),
    /// It was known otherwise; this is a new version.
    Changed(Known),
    /// Nothing new.
    Same(Known),
}

impl Defined {
    /// The instrument's index, whatever the definition was.
    pub fn index(self) -> Known {
        match self {
            Defined::New(i) | Defined::Changed(i) | Defined::Same(i) => i,
        }
    }
}

/// The instruments of one venue.
pub struct InstrumentSet {
    venue: Venue,
    list: Vec<Instrument>,
    by_symbol: SymbolTable<Known>,
    by_id: HashMap<InstrumentId, Known, BuildHasherDefault<IdHasher>>,
}

impl InstrumentSet {
    /// No instruments.
    pub fn new(venue: Venue) -> InstrumentSet {
        InstrumentSet { venue, list: vec![], by_symbol: SymbolTable::new(), by_id: HashMap::default() }
    }

    /// Takes in a definition (its `version` is ours to count) and tells it when it is new or changed.
    pub fn define(
        &mut self,
        mut definition: Instrument,
        ts_event: UnixNanos,
        now: UnixNanos,
        out: &mut Outbox,
    ) -> Result<Defined, SymbolError> {
        let defined = match self.find(definition.venue_symbol.as_bytes()) {
            Some(index) => {
                let known = &mut self.list[index as usize];
                definition.version = known.version;
                if *known == definition {
                    return Ok(Defined::Same(index));
                }
                definition.version += 1;
                *known = definition;
                Defined::Changed(index)
            }
            None => {
                if let Some(other) = self.list.iter().find(|i| i.id == definition.id) {
                    return Err(SymbolError {
                        venue: self.venue,
                        first: other.venue_symbol.clone(),
                        second: definition.venue_symbol,
                        id: definition.id,
                    });
                }
                definition.version = 1;
                let index = self.list.len() as Known;
                self.by_symbol.insert(definition.venue_symbol.as_bytes(), index);
                self.by_id.insert(definition.id, index);
                self.list.push(definition);
                Defined::New(index)
            }
        };
        self.tell(defined.index(), ts_event, now, out);
        Ok(defined)
    }

    /// Tells a definition (again).
    pub fn tell(&self, index: Known, ts_event: UnixNanos, now: UnixNanos, out: &mut Outbox) {
        out.records
            .push_instrument(&self.list[index as usize], ts_event, now)
            .expect("symbols are checked to fit before they are defined");
    }

    /// Finds an instrument by another spelling of its symbol too.
    pub fn also_known_as(&mut self, venue_symbol: &[u8], index: Known) {
        self.by_symbol.insert(venue_symbol, index);
    }

    /// The index of a venue symbol.
    #[inline]
    pub fn find(&self, venue_symbol: &[u8]) -> Option<Known> {
        self.by_symbol.get(venue_symbol)
    }

    /// The index of an id.
    #[inline]
    pub fn index_of(&self, id: InstrumentId) -> Option<Known> {
        self.by_id.get(&id).copied()
    }

    /// The definition at an index.
    #[inline]
    pub fn get(&self, index: Known) -> &Instrument {
        &self.list[index as usize]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = &Instrument> {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each name fits, and the symbol made of both does not.
    #[test]
    fn a_pair_whose_symbol_no_record_holds_is_refused() {
        let (base, quote) = ("B".repeat(40), "Q".repeat(40));
        assert!(check_name(&base).and(check_name(&quote)).is_ok());
        assert!(check_pair(&base, &quote).is_err());
        assert!(check_pair("BTC", "USD").is_ok());
        assert!(check_name(&"ŉ".repeat(32)).is_err(), "longer in capitals");
    }
}
