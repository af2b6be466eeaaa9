//! Numbers of a line brought to the scales that were told: exactly, or not at all.

use model::{Instrument, Price, Qty};
use wire::{NONE, RecordType};

fn factor(from: u8, to: u8) -> i64 {
    10i64.pow(u32::from(to.saturating_sub(from)))
}

/// By what prices and sizes grow from one pair of scales to another.
pub(super) fn factors(from: (u8, u8), to: (u8, u8)) -> (i64, i64) {
    (factor(from.0, to.0), factor(from.1, to.1))
}

/// What is to be told when `news` comes after `told`, if anything: never narrower, and a step that does not fit the
/// wider scale is not told rather than told wrong.
pub(super) fn merged(told: &Instrument, news: Instrument) -> Option<Instrument> {
    let scales = (told.price_scale.max(news.price_scale), told.size_scale.max(news.size_scale));
    let (price, size) = factors((news.price_scale, news.size_scale), scales);
    let merged = Instrument {
        version: told.version,
        price_scale: scales.0,
        size_scale: scales.1,
        tick: Price(news.tick.0.checked_mul(price).unwrap_or(0)),
        lot: Qty(news.lot.0.checked_mul(size).unwrap_or(0)),
        min_size: Qty(news.min_size.0.checked_mul(size).unwrap_or(0)),
        ..news
    };
    (merged != *told).then(|| Instrument { version: told.version + 1, ..merged })
}

/// The words of a record that hold prices and those that hold sizes. Notionals and averages of bars have scales of
/// their own.
fn fields(kind: RecordType) -> (&'static [usize], &'static [usize]) {
    match kind {
        RecordType::Trade | RecordType::LongTrade | RecordType::BookChange | RecordType::Order => (&[3], &[4]),
        RecordType::Quote => (&[3, 5], &[4, 6]),
        RecordType::Bar => (&[5, 6, 7, 8], &[9, 10]),
        RecordType::Correction => (&[5], &[6]),
        RecordType::PriceBand => (&[3, 4], &[]),
        _ => (&[], &[]),
    }
}

/// The record with its prices and sizes multiplied; `None` when one does not fit 64 bits.
pub(super) fn rescaled<'a>(words: &[u64], (price, size): (i64, i64), room: &'a mut Vec<u64>) -> Option<&'a [u64]> {
    room.clear();
    room.extend_from_slice(words);
    let (prices, sizes) = RecordType::from_code(words[0] as u8).map_or((&[][..], &[][..]), fields);
    for (places, by) in [(prices, price), (sizes, size)] {
        for &at in places {
            let value = room[at] as i64;
            if value != NONE {
                room[at] = value.checked_mul(by).filter(|v| *v != NONE)? as u64;
            }
        }
    }
    Some(room)
}
