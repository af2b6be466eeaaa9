//! Loom models of the row's lock: a line is two words here, a row two lines: lock and three words.

use super::seqlock::{begin, end, is_torn, store, try_copy};
use crate::layout::{SLOT_WORDS, Slot};
use crate::sync::{AtomicU64, Ordering};
use loom::thread;
use std::sync::Arc;

fn row() -> Arc<Vec<Slot>> {
    let zero = |_| AtomicU64::new(0);
    Arc::new((0..2).map(|_| Slot { words: std::array::from_fn(zero) }).collect())
}

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

/// Looks once; what is whole must be of one write.
fn look(row: &[Slot]) -> Option<(u64, u64)> {
    let mut lines = [[0; SLOT_WORDS]; 2];
    let version = try_copy(row.first_chunk().expect("two lines"), &mut lines)?;
    let words = lines.as_flattened();
    assert!(words[1..].iter().all(|word| *word == words[1]), "torn copy");
    Some((version, words[1]))
}

fn write(row: &[Slot], value: u64) {
    let odd = begin(row);
    store(row, 1, &[value; 3]);
    end(row, odd);
}

#[test]
fn a_copy_is_of_one_write() {
    model(|| {
        let row = row();
        let writer = thread::spawn({
            let row = row.clone();
            move || [1, 2].into_iter().for_each(|value| write(&row, value))
        });
        let seen: Vec<_> = (0..2).filter_map(|_| look(&row)).collect();
        assert!(seen.is_sorted() && seen.iter().all(|(version, value)| version == value));
        writer.join().unwrap();
        assert_eq!(look(&row), Some((2, 2)));
    });
}

/// Killed after any store of a write, and written again by another.
#[test]
fn a_torn_row_is_not_seen_until_it_is_written_again() {
    for stores in 0..3 {
        model(move || {
            let row = row();
            write(&row, 1);
            let writer = thread::spawn({
                let row = row.clone();
                move || {
                    begin(&row);
                    store(&row, 1, &[2; 3][..stores]);
                    assert!(is_torn(&row));
                    write(&row, 3);
                }
            });
            for seen in (0..2).filter_map(|_| look(&row)) {
                assert!([(1, 1), (2, 3)].contains(&seen), "{seen:?}");
            }
            writer.join().unwrap();
            assert_eq!(look(&row), Some((2, 3)));
        });
    }
}

#[test]
#[should_panic(expected = "torn copy")]
fn a_missing_fence_is_caught() {
    model(|| {
        let row = row();
        let writer = thread::spawn({
            let row = row.clone();
            move || {
                // `begin` without its fence.
                row[0].words[0].store(1, Ordering::Relaxed);
                store(&row, 1, &[1; 3]);
                end(&row, 1);
            }
        });
        look(&row);
        writer.join().unwrap();
    });
}
