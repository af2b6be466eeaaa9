//! The levels far from the touch: pages of ordered levels under one ordered directory. A change moves part of one page
//! and nothing else, so a level costs the same in a side of fifty as in one of thirty thousand.
//!
//! Invariants: keys rise through the directory and within each page; a page in the directory is not empty; two
//! neighbours together hold more than half a page, so memory is bounded by the number of levels. Knows nothing of
//! prices: a side turns its prices into keys of which the best is the largest.

use crate::Effect;

/// Levels of a page: 1 KiB, of which a change moves a quarter on average.
const PAGE: usize = 64;
/// Two neighbours with so few levels together become one page.
const MERGED: usize = PAGE / 2;

#[derive(Clone, Debug)]
struct Page {
    keys: [i64; PAGE],
    sizes: [i64; PAGE],
}

impl Page {
    const EMPTY: Page = Page { keys: [0; PAGE], sizes: [0; PAGE] };

    #[inline]
    fn insert(&mut self, at: usize, len: usize, key: i64, size: i64) {
        self.keys.copy_within(at..len, at + 1);
        self.sizes.copy_within(at..len, at + 1);
        (self.keys[at], self.sizes[at]) = (key, size);
    }

    #[inline]
    fn remove(&mut self, at: usize, len: usize) {
        self.keys.copy_within(at + 1..len, at);
        self.sizes.copy_within(at + 1..len, at);
    }
}

/// A page's place in the order.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The smallest key of the page.
    first: i64,
    page: u32,
    len: u32,
}

/// Levels by key, ascending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages {
    entries: Vec<Entry>,
    pool: Vec<Page>,
    /// Pages of the pool that no entry names.
    free: Vec<u32>,
    len: usize,
}

impl Pages {
    /// None, with room for `levels` that come in order.
    pub(crate) fn with_capacity(levels: usize) -> Pages {
        let mut pages = Pages::default();
        pages.reserve(levels);
        pages
    }

    /// Makes room for so many levels in all that come in order.
    pub(crate) fn reserve(&mut self, levels: usize) {
        let pages = levels.div_ceil(PAGE);
        self.pool.reserve_exact(pages.saturating_sub(self.pool.len()));
        self.entries.reserve_exact(pages.saturating_sub(self.entries.len()));
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Sets a level; a size of 0 or less removes it.
    #[inline]
    pub(crate) fn set(&mut self, key: i64, size: i64) -> Effect {
        if self.entries.is_empty() {
            if size <= 0 {
                return Effect::Absent;
            }
            self.push_best(key, size);
            return Effect::Added;
        }
        let index = self.entry(key);
        let Entry { page, len, .. } = self.entries[index];
        let (page, len) = (&mut self.pool[page as usize], len as usize);
        let at = page.keys[..len].partition_point(|k| *k < key);
        let here = at < len && page.keys[at] == key;
        if size <= 0 {
            if here {
                self.remove(index, at);
                return Effect::Deleted;
            }
            return Effect::Absent;
        }
        if here {
            page.sizes[at] = size;
            return Effect::Changed;
        }
        self.insert(index, at, key, size);
        Effect::Added
    }

    /// The size of a level; 0 where there is none.
    #[inline]
    pub(crate) fn size(&self, key: i64) -> i64 {
        if self.entries.is_empty() {
            return 0;
        }
        let Entry { page, len, .. } = self.entries[self.entry(key)];
        let page = &self.pool[page as usize];
        page.keys[..len as usize].binary_search(&key).map_or(0, |at| page.sizes[at])
    }

    /// The entry whose page has the key, or would. There is at least one.
    #[inline]
    fn entry(&self, key: i64) -> usize {
        self.entries.partition_point(|e| e.first <= key).saturating_sub(1)
    }

    #[inline]
    fn insert(&mut self, mut index: usize, mut at: usize, key: i64, size: i64) {
        if self.entries[index].len as usize == PAGE {
            (index, at) = self.split(index, at);
        }
        let entry = &mut self.entries[index];
        self.pool[entry.page as usize].insert(at, entry.len as usize, key, size);
        entry.len += 1;
        if at == 0 {
            entry.first = key;
        }
        self.len += 1;
    }

    /// Makes room in a full page at `at`: the place that is `at` now. The second half goes to a page of its own, unless
    /// what comes follows all levels: then it begins a new page, so that levels in order fill whole pages.
    fn split(&mut self, index: usize, at: usize) -> (usize, usize) {
        let page = self.take_page();
        let last = index + 1 == self.entries.len();
        let keep = if at == PAGE && last { PAGE } else { PAGE / 2 };
        let from = self.entries[index].page as usize;
        for n in keep..PAGE {
            let (key, size) = (self.pool[from].keys[n], self.pool[from].sizes[n]);
            let to = &mut self.pool[page as usize];
            (to.keys[n - keep], to.sizes[n - keep]) = (key, size);
        }
        self.entries[index].len = keep as u32;
        let first = self.pool[page as usize].keys[0];
        self.entries.insert(index + 1, Entry { first, page, len: (PAGE - keep) as u32 });
        if at > keep || keep == PAGE { (index + 1, at - keep) } else { (index, at) }
    }

    fn take_page(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.pool.push(Page::EMPTY);
            // Freeing a page never asks for room.
            self.free.reserve(self.pool.len() - self.free.len());
            (self.pool.len() - 1) as u32
        })
    }

    #[inline]
    fn remove(&mut self, index: usize, at: usize) {
        let entry = &mut self.entries[index];
        let page = &mut self.pool[entry.page as usize];
        page.remove(at, entry.len as usize);
        entry.len -= 1;
        entry.first = page.keys[0];
        self.len -= 1;
        if entry.len as usize <= MERGED {
            self.tidy(index);
        }
    }

    /// Joins a page that has few levels with a neighbour that has few.
    fn tidy(&mut self, index: usize) {
        let len = |n: usize| self.entries.get(n).map_or(PAGE, |e| e.len as usize);
        if len(index) == 0 {
            self.free.push(self.entries.remove(index).page);
        } else if len(index) + len(index + 1) <= MERGED {
            self.join(index);
        } else if index > 0 && len(index - 1) + len(index) <= MERGED {
            self.join(index - 1);
        }
    }

    /// Moves the levels of the page after `index` to the page of `index`.
    fn join(&mut self, index: usize) {
        let from = self.entries.remove(index + 1);
        let to = &mut self.entries[index];
        for n in 0..from.len as usize {
            let page = &self.pool[from.page as usize];
            let (key, size) = (page.keys[n], page.sizes[n]);
            let page = &mut self.pool[to.page as usize];
            (page.keys[to.len as usize], page.sizes[to.len as usize]) = (key, size);
            to.len += 1;
        }
        self.free.push(from.page);
    }

    /// Adds a level that is better than all others.
    #[inline]
    pub(crate) fn push_best(&mut self, key: i64, size: i64) {
        debug_assert!(self.best().is_none_or(|(best, _)| best < key), "levels are pushed in order");
        match self.entries.last_mut() {
            Some(entry) if (entry.len as usize) < PAGE => {
                let page = &mut self.pool[entry.page as usize];
                (page.keys[entry.len as usize], page.sizes[entry.len as usize]) = (key, size);
                entry.len += 1;
            }
            _ => {
                let page = self.take_page();
                let to = &mut self.pool[page as usize];
                (to.keys[0], to.sizes[0]) = (key, size);
                self.entries.push(Entry { first: key, page, len: 1 });
            }
        }
        self.len += 1;
    }

    /// Key and size of the best level.
    #[inline]
    pub(crate) fn best(&self) -> Option<(i64, i64)> {
        let entry = self.entries.last()?;
        let (page, at) = (&self.pool[entry.page as usize], entry.len as usize - 1);
        Some((page.keys[at], page.sizes[at]))
    }

    /// Removes the best level.
    #[inline]
    pub(crate) fn pop_best(&mut self) {
        if let Some(entry) = self.entries.last_mut() {
            entry.len -= 1;
            self.len -= 1;
            if entry.len as usize <= MERGED {
                self.tidy(self.entries.len() - 1);
            }
        }
    }

    /// Removes the `count` worst levels, or all.
    pub(crate) fn drop_worst(&mut self, count: usize) {
        let (mut left, mut whole) = (count, 0);
        while let Some(entry) = self.entries.get(whole).filter(|e| e.len as usize <= left) {
            left -= entry.len as usize;
            self.free.push(entry.page);
            whole += 1;
        }
        self.entries.drain(..whole);
        self.len -= count.min(self.len);
        if let Some(entry) = self.entries.first_mut().filter(|_| left > 0) {
            let (page, len) = (&mut self.pool[entry.page as usize], entry.len as usize);
            page.keys.copy_within(left..len, 0);
            page.sizes.copy_within(left..len, 0);
            entry.len -= left as u32;
            entry.first = page.keys[0];
            self.tidy(0);
        }
    }

    /// Forgets everything, keeps the room.
    pub(crate) fn clear(&mut self) {
        self.free.extend(self.entries.drain(..).map(|e| e.page));
        self.len = 0;
    }

    /// Rewrites every level; the new keys stand in the same order.
    pub(crate) fn rewrite(&mut self, new: impl Fn(i64, i64) -> (i64, i64)) {
        for entry in &mut self.entries {
            let page = &mut self.pool[entry.page as usize];
            for at in 0..entry.len as usize {
                (page.keys[at], page.sizes[at]) = new(page.keys[at], page.sizes[at]);
            }
            entry.first = page.keys[0];
        }
    }

    /// Keys and sizes, best first.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.entries.iter().rev().flat_map(|entry| {
            let (page, len) = (&self.pool[entry.page as usize], entry.len as usize);
            page.keys[..len].iter().copied().zip(page.sizes[..len].iter().copied()).rev()
        })
    }

    /// Copies the best levels when one page holds as many.
    #[inline(always)]
    pub(crate) fn copy_last<L, const N: usize>(&self, into: &mut [L; N], level: impl Fn((i64, i64)) -> L) -> bool {
        let Some(entry) = self.entries.last() else { return false };
        let (page, len) = (&self.pool[entry.page as usize], entry.len as usize);
        let best = (page.keys[..len].last_chunk::<N>(), page.sizes[..len].last_chunk::<N>());
        let (Some(keys), Some(sizes)) = best else { return false };
        for n in 0..N {
            into[n] = level((keys[N - 1 - n], sizes[N - 1 - n]));
        }
        true
    }

    /// Copies the best levels, as many as there are and have room: how many.
    #[inline]
    pub(crate) fn copy_best<L>(&self, into: &mut [L], level: impl Fn((i64, i64)) -> L) -> usize {
        let mut count = 0;
        for entry in self.entries.iter().rev() {
            let (page, len) = (&self.pool[entry.page as usize], entry.len as usize);
            let from = len.saturating_sub(into.len() - count);
            let (keys, sizes) = (&page.keys[from..len], &page.sizes[from..len]);
            for ((slot, key), size) in into[count..].iter_mut().zip(keys.iter().rev()).zip(sizes.iter().rev()) {
                *slot = level((*key, *size));
            }
            count += len - from;
            if count == into.len() {
                break;
            }
        }
        count
    }

    /// Bytes it has asked for.
    pub(crate) fn bytes(&self) -> usize {
        self.pool.capacity() * size_of::<Page>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn check(pages: &Pages) {
        assert!(pages.entries.iter().all(|e| e.len > 0 && e.first == pages.pool[e.page as usize].keys[0]));
        assert_eq!(pages.entries.iter().map(|e| e.len as usize).sum::<usize>(), pages.len);
        assert_eq!(pages.entries.len() + pages.free.len(), pages.pool.len());
    }

    proptest! {
        #[test]
        fn agrees_with_an_ordered_map(steps in prop::collection::vec((0u8..100, 0i64..900, 0i64..3), 0..1500)) {
            let (mut pages, mut map) = (Pages::default(), BTreeMap::new());
            for (what, key, size) in steps {
                match what {
                    0 => {
                        let count = key as usize % 200;
                        pages.drop_worst(count);
                        for _ in 0..count {
                            map.pop_first();
                        }
                    }
                    1..4 => {
                        pages.pop_best();
                        map.pop_last();
                    }
                    4..30 => {
                        let best = map.last_key_value().map_or(0, |(k, _)| *k + 1 + key % 3);
                        pages.push_best(best, 1 + size);
                        map.insert(best, 1 + size);
                    }
                    30 => {
                        pages.rewrite(|k, s| (k * 2, s + 1));
                        map = map.into_iter().map(|(k, s)| (k * 2, s + 1)).collect();
                    }
                    31 => {
                        pages.clear();
                        map.clear();
                    }
                    _ if size == 0 => {
                        let effect = if map.remove(&key).is_some() { Effect::Deleted } else { Effect::Absent };
                        prop_assert_eq!(pages.set(key, 0), effect);
                    }
                    _ => {
                        let effect = if map.insert(key, size).is_some() { Effect::Changed } else { Effect::Added };
                        prop_assert_eq!(pages.set(key, size), effect);
                    }
                }
                check(&pages);
                prop_assert_eq!(pages.size(key), map.get(&key).copied().unwrap_or(0));
                prop_assert_eq!(pages.best(), map.last_key_value().map(|(k, s)| (*k, *s)));
                if what % 16 == 0 {
                    prop_assert!(pages.iter().eq(map.iter().rev().map(|(k, s)| (*k, *s))));
                }
            }
            prop_assert!(pages.iter().eq(map.iter().rev().map(|(k, s)| (*k, *s))));
        }
    }

    #[test]
    fn memory_is_bounded_by_the_levels_however_they_are_spread() {
        let mut pages = Pages::default();
        for key in 0..10_000 {
            pages.set(key, 1);
        }
        for key in (0..10_000).filter(|key| key % 60 != 0) {
            pages.set(key, 0);
            check(&pages);
        }
        assert_eq!(pages.len(), 167);
        assert!(pages.entries.len() <= 4 * 167 / PAGE + 1, "{} pages", pages.entries.len());
    }
}
