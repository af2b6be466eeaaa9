//! From a symbol's bytes to a small value, such as the index of its instrument, for every message.
//!
//! Symbols of up to 16 bytes, which is nearly all, are two words and a length: compared without a loop, kept inline in
//! an open-addressing table at most half full. Longer ones go to an ordinary map.

use std::collections::HashMap;

/// Symbols up to this long are looked up without a loop.
const SHORT_MAX: usize = 16;
/// Slots of the first table; a power of two, as all sizes are.
const SLOTS_MIN: usize = 16;

/// Map from symbols to `T`. Only inserting allocates.
#[derive(Clone, Debug)]
pub struct SymbolTable<T> {
    slots: Vec<Option<(ShortKey, T)>>,
    short_count: usize,
    long: HashMap<Box<[u8]>, T>,
}

impl<T: Copy> Default for SymbolTable<T> {
    fn default() -> Self {
        Self { slots: vec![None; SLOTS_MIN], short_count: 0, long: HashMap::new() }
    }
}

impl<T: Copy> SymbolTable<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        self.short_count + self.long.len()
    }

    /// Whether no symbol is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was inserted last under `symbol`.
    #[inline(always)]
    pub fn get(&self, symbol: &[u8]) -> Option<T> {
        match ShortKey::of(symbol) {
            Some(key) => self.slots[self.find(key)].map(|(_, value)| value),
            None => self.long.get(symbol).copied(),
        }
    }

    /// Files `value` under `symbol` and gives what it replaces.
    pub fn insert(&mut self, symbol: &[u8], value: T) -> Option<T> {
        let Some(key) = ShortKey::of(symbol) else {
            return self.long.insert(symbol.into(), value);
        };
        if (self.short_count + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let index = self.find(key);
        let before = self.slots[index].replace((key, value));
        self.short_count += usize::from(before.is_none());
        before.map(|(_, value)| value)
    }

    /// The slot that holds `key`, or the free one where it would go. Ends because half of the slots are free.
    #[inline(always)]
    fn find(&self, key: ShortKey) -> usize {
        let mask = self.slots.len() - 1;
        let mut index = key.hash() & mask;
        while let Some((held, _)) = &self.slots[index] {
            if *held == key {
                break;
            }
            index = (index + 1) & mask;
        }
        index
    }

    fn grow(&mut self) {
        let doubled = vec![None; self.slots.len() * 2];
        for entry in std::mem::replace(&mut self.slots, doubled).into_iter().flatten() {
            let index = self.find(entry.0);
            self.slots[index] = Some(entry);
        }
    }
}

/// All bytes of a short symbol. Two symbols of the same length have the same words only when they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ShortKey {
    head: u64,
    tail: u64,
    len: u8,
}

impl ShortKey {
    #[inline(always)]
    fn of(symbol: &[u8]) -> Option<Self> {
        let len = symbol.len();
        if len > SHORT_MAX {
            return None;
        }
        let (head, tail) = if len >= 4 {
            // Four loads that overlap as the length needs and together touch every byte; no branch on the length.
            let inner = (len >> 3) << 2;
            (word(symbol, 0) << 32 | word(symbol, inner), word(symbol, len - 4) << 32 | word(symbol, len - 4 - inner))
        } else {
            (symbol.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), 0)
        };
        Some(Self { head, tail, len: len as u8 })
    }

    /// The middle of a 128-bit product depends on every bit of both words.
    #[inline(always)]
    fn hash(self) -> usize {
        let head = u128::from(self.head ^ 0x9e37_79b9_7f4a_7c15);
        let tail = u128::from(self.tail ^ 0xd1b5_4a32_d192_ed03);
        let product = head * tail;
        ((product >> 64) as u64 ^ product as u64) as usize
    }
}

#[inline(always)]
fn word(symbol: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&symbol[at..at + 4]);
    u32::from_le_bytes(bytes).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_table_is_a_map(inserts in prop::collection::vec(("[A-C/]{0,20}", 0u32..1_000), 0..300)) {
            let mut table = SymbolTable::new();
            let mut map = BTreeMap::new();
            for (symbol, value) in &inserts {
                prop_assert_eq!(table.get(symbol.as_bytes()), map.get(symbol).copied());
                prop_assert_eq!(table.insert(symbol.as_bytes(), *value), map.insert(symbol.clone(), *value));
                prop_assert_eq!(table.get(symbol.as_bytes()), Some(*value));
            }
            prop_assert_eq!(table.len(), map.len());
            prop_assert_eq!(table.is_empty(), map.is_empty());
            for (symbol, value) in &map {
                prop_assert_eq!(table.get(symbol.as_bytes()), Some(*value));
            }
        }

        #[test]
        fn one_changed_byte_is_another_symbol(
            symbol in prop::collection::vec(any::<u8>(), 1..18), at: prop::sample::Index, change in 1u8..,
        ) {
            let mut table = SymbolTable::new();
            table.insert(&symbol, 1u32);
            let mut other = symbol.clone();
            other[at.index(symbol.len())] ^= change;
            prop_assert_eq!(table.get(&other), None);
            prop_assert_eq!(table.get(&symbol[1..]), None);
            prop_assert_eq!(table.get(&symbol), Some(1));
        }
    }
}
