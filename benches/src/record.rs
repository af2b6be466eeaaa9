//! A trade's fields into a 48-byte record and back out with every check, beside `memcpy` of the same bytes.

use crate::random::Random;
use crate::{BenchError, Options, Pairs, Report, Row, agree, clock};
use model::{InstrumentId, Price, Qty, Side, SideSource, UnixNanos, Venue};
use std::hint::black_box;
use wire::{Flags, Record, RecordBuf, TradeRecord};

/// 4096 records are 192 KiB: source and target stay in the second-level cache, so work is measured and not memory.
const RECORDS: usize = 4096;
const REPEATS: usize = 2000;

/// A trade as a venue machine holds it before it becomes a record.
#[derive(Clone, Copy)]
struct Trade {
    side: Side,
    price: Price,
    size: Qty,
    id: u64,
    event: UnixNanos,
    received: UnixNanos,
}

fn trades() -> Vec<Trade> {
    let mut random = Random::new(7);
    let (mut time, mut price) = (1_755_460_800_000_000_000, 11_673_661_000_000);
    (0..RECORDS as u64)
        .map(|index| {
            time += random.draw() % 2_000_000;
            price += (random.draw() % 5) as i64 * 1_000_000 - 2_000_000;
            Trade {
                side: if random.draw() & 1 == 0 { Side::Buy } else { Side::Sell },
                price: Price(price),
                size: Qty((random.draw() % 100_000_000) as i64 + 1),
                id: 5_210_000_000 + index,
                event: UnixNanos(time),
                received: UnixNanos(time + 500_000),
            }
        })
        .collect()
}

fn encode(trades: &[Trade], buffer: &mut RecordBuf) {
    buffer.clear();
    for t in trades {
        buffer.push_trade(&TradeRecord::new(
            Venue::Binance,
            InstrumentId(0x1234_5678),
            Some(t.side),
            SideSource::InvertedMaker,
            Flags::LAST,
            t.event,
            t.received,
            t.price,
            t.size,
            Some(t.id),
        ));
    }
}

/// A sum over every field, so that nothing of the record can be left unread.
fn decode(words: &[u64]) -> u64 {
    let mut sum = 0u64;
    let mut rest = words;
    while let Ok(record) = Record::read(rest) {
        if let Record::Trade(t) = record {
            let side = t.header.flags().side().map_or(0, |side| side as u64);
            let id = u64::from(t.header.instrument);
            for field in [side, id, t.ts_event, t.ts_recv, t.price as u64, t.size as u64, t.trade_id] {
                sum = sum.wrapping_add(field);
            }
        }
        rest = &rest[usize::from(TradeRecord::WORDS)..];
    }
    sum
}

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let trades = trades();
    let repeats = options.effort.of(REPEATS);
    let units = (RECORDS * repeats) as f64;
    let mut buffer = RecordBuf::with_capacity(RECORDS * 6);
    encode(&trades, &mut buffer);
    let words = buffer.words().to_vec();
    let expected = trades.iter().fold(0u64, |sum, t| {
        let fields = [t.side as u64, 0x1234_5678, t.event.0, t.received.0, t.price.0 as u64, t.size.0 as u64, t.id];
        fields.into_iter().fold(sum, u64::wrapping_add)
    });
    agree("decoded fields", &decode(&words), &expected)?;

    let mut copy = vec![0u64; words.len()];
    let mut memcpy = || {
        let start = clock::cpu_ns();
        for _ in 0..repeats {
            black_box(&mut copy[..]).copy_from_slice(black_box(&words));
        }
        Ok((clock::cpu_ns() - start) as f64 / units)
    };
    let encoding = Pairs::measure(options.pairs, &mut memcpy, || {
        let start = clock::cpu_ns();
        for _ in 0..repeats {
            encode(black_box(&trades), &mut buffer);
            black_box(buffer.words());
        }
        Ok((clock::cpu_ns() - start) as f64 / units)
    })?;
    report.row(Row::cost("encode: fields to record", "memcpy of the records", &encoding, "ns"));
    let decoding = Pairs::measure(options.pairs, &mut memcpy, || {
        let start = clock::cpu_ns();
        for _ in 0..repeats {
            black_box(decode(black_box(&words)));
        }
        Ok((clock::cpu_ns() - start) as f64 / units)
    })?;
    report.row(Row::cost("decode: checked, every field read", "memcpy of the records", &decoding, "ns"));
    report.note("The goals of this stage, ≥ 1× and ≥ 3× dbn, are measured by `benches/peers`, which links it.");
    Ok(())
}
