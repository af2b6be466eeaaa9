//! One file's two images: the bytes that processes see, and the bytes on the medium.
//!
//! Between two syncs every sector that was written keeps its older contents too, because a disk may have written any
//! of them when the power fails: [`Image::cut`] picks one per sector.

use std::collections::BTreeMap;
use std::ops::Range;

/// The smallest piece a disk writes whole.
pub(crate) const SECTOR: usize = 512;

/// How many older contents of an unsynced sector are remembered.
const OLDER: usize = 3;

/// The piece that reaches the medium whole or not at all when the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 512 bytes, as disks promise.
    Sector,
    /// 4096 bytes, as the page cache writes.
    Page,
}

impl Unit {
    fn sectors(self) -> u64 {
        match self {
            Unit::Sector => 1,
            Unit::Page => 8,
        }
    }
}

/// The two images of a file.
#[derive(Debug, Default)]
pub(crate) struct Image {
    seen: Vec<u8>,
    medium: Vec<u8>,
    /// Sectors written since the last sync, each with its older contents since then; the newest is in `seen`.
    dirty: BTreeMap<u64, Vec<Box<[u8]>>>,
}

impl Image {
    /// Bytes in the file, as seen.
    pub(crate) fn len(&self) -> u64 {
        self.seen.len() as u64
    }

    /// The bytes of a range as seen, cut at the end of the file.
    pub(crate) fn read(&self, offset: u64, length: usize) -> &[u8] {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.seen.len());
        &self.seen[start..start.saturating_add(length).min(self.seen.len())]
    }

    /// What a power cut that loses everything would leave.
    pub(crate) fn medium(&self) -> &[u8] {
        &self.medium
    }

    /// Whether anything waits for a sync.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.seen.len() != self.medium.len()
    }

    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        self.mark(offset..end);
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[offset..end].copy_from_slice(data);
    }

    pub(crate) fn set_len(&mut self, length: usize) {
        // What is cut off reads as zeros when the file grows again, and a sync must carry those to the medium.
        if length < self.seen.len() {
            self.mark(length..self.seen.len());
        }
        self.seen.resize(length, 0);
    }

    /// Everything seen is on the medium.
    pub(crate) fn sync(&mut self) {
        self.medium.resize(self.seen.len(), 0);
        for &sector in self.dirty.keys() {
            let range = within(sector, self.seen.len());
            self.medium[range.clone()].copy_from_slice(&self.seen[range]);
        }
        self.dirty.clear();
    }

    /// A sync failed: what waited for it is taken for written and never will be. Reads still show it.
    pub(crate) fn forget_dirty(&mut self) {
        self.dirty.clear();
    }

    /// Reads the file anew from the medium, except for what still waits for a sync.
    pub(crate) fn evict(&mut self) {
        let shared = self.seen.len().min(self.medium.len());
        let mut at = 0;
        while at < self.seen.len() {
            let range = within((at / SECTOR) as u64, self.seen.len());
            at = range.end;
            if self.dirty.contains_key(&((range.start / SECTOR) as u64)) {
                continue;
            }
            let known = range.start.min(shared)..range.end.min(shared);
            self.seen[known.clone()].copy_from_slice(&self.medium[known.clone()]);
            self.seen[range.start.max(known.end)..range.end].fill(0);
        }
    }

    /// Turns one bit of the medium over. Reads show it at once unless the sector waits for a sync. False beyond the end.
    pub(crate) fn flip(&mut self, bit: u64) -> bool {
        let Some(at) = usize::try_from(bit / 8).ok().filter(|&at| at < self.medium.len()) else { return false };
        let mask = 1 << (bit % 8);
        self.medium[at] ^= mask;
        if at < self.seen.len() && !self.dirty.contains_key(&((at / SECTOR) as u64)) {
            self.seen[at] ^= mask;
        }
        true
    }

    /// The power fails: what is seen from now on is the medium, with everything unsynced lost.
    pub(crate) fn cut(&mut self) {
        self.dirty.clear();
        self.seen.clone_from(&self.medium);
    }

    /// The power fails while the disk was writing: of each unsynced unit, with a chance of `keep` percent, one of the
    /// contents since the last sync is on the medium, in no order; the length is the old or the new one.
    pub(crate) fn cut_torn(&mut self, unit: Unit, keep: u8, random: &mut fastrand::Rng) {
        if self.seen.len() != self.medium.len() && random.u8(0..100) < keep {
            self.medium.resize(self.seen.len(), 0);
        }
        let mut group = None;
        let mut kept = false;
        let mut version = 0;
        for (&sector, older) in &self.dirty {
            if group != Some(sector / unit.sectors()) {
                group = Some(sector / unit.sectors());
                kept = random.u8(0..100) < keep;
                // The newest is as likely as all older ones together.
                version = if random.bool() { OLDER } else { random.usize(0..OLDER) };
            }
            if !kept {
                continue;
            }
            let range = within(sector, self.medium.len());
            let newest = &self.seen[within(sector, self.seen.len())];
            let content = older.get(version).map_or(newest, |old| old);
            let shared = content.len().min(range.len());
            self.medium[range.start..range.start + shared].copy_from_slice(&content[..shared]);
        }
        self.cut();
    }

    /// Remembers what the sectors of a range hold, before they change.
    fn mark(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        for sector in range.start / SECTOR..range.end.div_ceil(SECTOR) {
            let sector = sector as u64;
            let Some(older) = self.dirty.get_mut(&sector) else {
                self.dirty.insert(sector, Vec::new());
                continue;
            };
            if older.len() == OLDER {
                older.remove(0);
            }
            older.push(self.seen[within(sector, self.seen.len())].into());
        }
    }
}

/// The bytes of a sector in a file of that length; empty beyond its end.
fn within(sector: u64, length: usize) -> Range<usize> {
    let start = (sector as usize * SECTOR).min(length);
    start..(start + SECTOR).min(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synced(bytes: &[u8]) -> Image {
        let mut image = Image::default();
        image.write(0, bytes);
        image.sync();
        image
    }

    #[test]
    fn a_cut_takes_what_was_not_synced() {
        let mut image = synced(b"kept");
        image.write(2, b"lost, and longer");
        assert_eq!(image.read(0, 99), b"kelost, and longer");
        image.cut();
        assert_eq!(image.read(0, 99), b"kept");
    }

    #[test]
    fn a_file_that_shrank_and_grew_has_zeros_on_the_medium_too() {
        let mut image = synced(&[7; 2000]);
        image.set_len(100);
        image.set_len(1500);
        image.sync();
        image.cut();
        let mut expected = vec![7; 100];
        expected.resize(1500, 0);
        assert_eq!(image.read(0, 9999), expected);
    }

    #[test]
    fn a_hole_is_zeros() {
        let mut image = Image::default();
        image.write(5000, b"x");
        image.sync();
        image.cut();
        assert_eq!(image.len(), 5001);
        assert!(image.read(0, 5000).iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_the_next_one() {
        let mut image = synced(&[1; 1024]);
        image.write(0, &[2; 512]);
        image.forget_dirty();
        image.write(512, &[3; 512]);
        image.sync();
        assert_eq!(image.read(0, 1), [2], "reads still show it");
        image.evict();
        assert_eq!(image.read(0, 1), [1], "until it is read anew");
        image.cut();
        assert_eq!(image.read(511, 2), [1, 3]);
    }

    #[test]
    fn what_a_failed_sync_forgot_of_a_grown_file_is_zeros() {
        let mut image = Image::default();
        image.write(0, &[9; 700]);
        image.forget_dirty();
        image.sync();
        image.evict();
        assert_eq!(image.read(0, 9999), [0; 700]);
    }

    #[test]
    fn torn_sectors_are_whole_old_or_whole_new() {
        let mut mixed = 0;
        for seed in 0..200 {
            let mut image = synced(&[0; 8 * SECTOR]);
            image.write(0, &[1; 8 * SECTOR]);
            image.write(0, &[2; 8 * SECTOR]);
            image.cut_torn(Unit::Sector, 60, &mut fastrand::Rng::with_seed(seed));
            let firsts: Vec<u8> = image.read(0, 8 * SECTOR).chunks(SECTOR).map(|sector| sector[0]).collect();
            for (sector, first) in image.read(0, 8 * SECTOR).chunks(SECTOR).zip(&firsts) {
                assert!(sector.iter().all(|byte| byte == first), "a sector is never torn itself");
            }
            mixed += usize::from(firsts.iter().any(|first| *first != firsts[0]));
        }
        assert!(mixed > 150, "only {mixed} of 200 cuts tore the write");
    }

    #[test]
    fn a_torn_page_is_whole() {
        for seed in 0..100 {
            let mut image = synced(&[0; 16 * SECTOR]);
            image.write(0, &[1; 16 * SECTOR]);
            image.cut_torn(Unit::Page, 50, &mut fastrand::Rng::with_seed(seed));
            for page in image.read(0, 16 * SECTOR).chunks(4096) {
                assert!(page.iter().all(|byte| *byte == page[0]));
            }
        }
    }

    #[test]
    fn a_torn_cut_repeats_by_its_seed_and_never_touches_what_was_synced() {
        let run = |seed| {
            let mut image = synced(&[5; 10_000]);
            image.write(4000, &[6; 9000]);
            image.cut_torn(Unit::Sector, 50, &mut fastrand::Rng::with_seed(seed));
            image.read(0, 99_999).to_vec()
        };
        for seed in 0..50 {
            let bytes = run(seed);
            assert_eq!(bytes, run(seed));
            assert!(bytes[..4000 / SECTOR * SECTOR].iter().all(|&byte| byte == 5));
            assert!(bytes.len() == 10_000 || bytes.len() == 13_000);
        }
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn a_flipped_bit_is_seen_on_the_medium_and_by_readers() {
        let mut image = synced(&[0; 600]);
        assert!(image.flip(8 * 599 + 7));
        assert!(!image.flip(8 * 600));
        assert_eq!(image.read(599, 1), [0x80]);
        image.cut();
        assert_eq!(image.read(599, 1), [0x80]);
    }
}
