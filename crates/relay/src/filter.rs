//! Decides record by record what a subscriber gets; one filter per subscriber and ring.
//!
//! Symbols become instrument ids as definitions are met. An id whose definition is nowhere in the ring is passed over:
//! feeds define an instrument before they tell anything of it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::subscription::Subscription;
use wire::{Record, RecordType};

/// Instrument ids are hashes already: one multiplication spreads them over the table.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    fn write_u64(&mut self, key: u64) {
        self.0 = (self.0 ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// A map by instrument id.
pub(crate) type IdMap<T> = HashMap<u32, T, BuildHasherDefault<IdHasher>>;

/// What instruments are called, as far as it was read.
pub(crate) trait Definitions {
    /// Counts definitions of instruments not known before.
    fn defined(&self) -> u64;
    /// Canonical and venue's symbol of an instrument.
    fn symbols_of(&self, instrument: u32) -> Option<(&str, &str)>;
    /// Reads on, where there is more that could tell of an instrument not known yet.
    fn look_further(&mut self);
}

#[derive(Clone, Copy)]
enum Verdict {
    Wanted,
    Unwanted,
    /// No definition was known when the index had this many.
    Undefined(u64),
}

/// What one subscriber gets of one ring.
pub(crate) struct Filter {
    /// Bit per record type's code, for the codes it has room for.
    types: u32,
    /// Codes beyond those: types this build does not know pass when no choice was made.
    unknown_types: bool,
    /// Upper case, sorted; empty for all.
    symbols: Vec<String>,
    verdicts: IdMap<Verdict>,
}

impl Filter {
    pub(crate) fn new(subscription: &Subscription) -> Filter {
        let wanted = RecordType::ALL.iter().filter(|kind| subscription.wants_type(**kind));
        let mut symbols: Vec<String> = subscription.symbols.iter().map(|symbol| symbol.to_ascii_uppercase()).collect();
        symbols.sort_unstable();
        symbols.dedup();
        let known = RecordType::ALL.iter().fold(0, |types, kind| types | 1u32 << *kind as u32);
        let unknown_types = subscription.types.is_empty();
        Filter {
            types: wanted.fold(if unknown_types { !known } else { 0 }, |types, kind| types | 1 << *kind as u32),
            unknown_types,
            symbols,
            verdicts: IdMap::default(),
        }
    }

    #[inline]
    pub(crate) fn wants_type(&self, code: u8) -> bool {
        if u32::from(code) < u32::BITS { self.types >> code & 1 != 0 } else { self.unknown_types }
    }

    pub(crate) fn wants_symbol(&self, symbol: &str, venue_symbol: &str) -> bool {
        let named = |symbol: &str| self.symbols.binary_search(&symbol.to_ascii_uppercase()).is_ok();
        self.symbols.is_empty() || named(symbol) || named(venue_symbol)
    }

    /// Whether the record is for this subscriber.
    #[inline]
    pub(crate) fn passes(&mut self, words: &[u64], definitions: &mut impl Definitions) -> bool {
        let (kind, instrument) = kind_and_instrument(words);
        if !self.wants_type(kind) {
            return false;
        }
        self.symbols.is_empty() || instrument == 0 || self.wants_instrument(kind, instrument, words, definitions)
    }

    fn wants_instrument(
        &mut self,
        kind: u8,
        instrument: u32,
        words: &[u64],
        definitions: &mut impl Definitions,
    ) -> bool {
        if kind == RecordType::Instrument as u8
            && let Ok(Record::Instrument(view)) = Record::read(words)
        {
            let wanted = self.wants_symbol(view.symbol, view.venue_symbol);
            self.verdicts.insert(instrument, if wanted { Verdict::Wanted } else { Verdict::Unwanted });
            return wanted;
        }
        match self.verdicts.get(&instrument) {
            Some(Verdict::Wanted) => true,
            Some(Verdict::Unwanted) => false,
            Some(Verdict::Undefined(at)) if *at == definitions.defined() => false,
            _ => self.look_up(instrument, definitions),
        }
    }

    #[cold]
    fn look_up(&mut self, instrument: u32, definitions: &mut impl Definitions) -> bool {
        if definitions.symbols_of(instrument).is_none() {
            definitions.look_further();
        }
        let verdict = match definitions.symbols_of(instrument) {
            None => Verdict::Undefined(definitions.defined()),
            Some((symbol, venue_symbol)) if self.wants_symbol(symbol, venue_symbol) => Verdict::Wanted,
            Some(_) => Verdict::Unwanted,
        };
        self.verdicts.insert(instrument, verdict);
        matches!(verdict, Verdict::Wanted)
    }
}

/// The first and last four bytes of a record's header.
#[inline(always)]
pub(crate) fn kind_and_instrument(words: &[u64]) -> (u8, u32) {
    let head = words.first().copied().unwrap_or(0);
    (head as u8, (head >> 32) as u32)
}
