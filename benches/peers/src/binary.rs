//! dbn: its 48-byte trade message through its encoder and decoders in memory, beside ours through the same steps.
//!
//! Both sides start from a value in fields and end with bytes in a buffer that has room; decoding ends with every
//! record's price read. Its decoder checks the header's length; ours checks length, type and codes.

use crate::Failure;
use benches::random::Random;
use benches::{Goal, Pairs, Report, Row, clock};
use dbn::{
    FlagSet, MetadataBuilder, RecordHeader, SType, Schema, TradeMsg,
    decode::{DbnDecoder, DecodeRecord, DecodeRecordRef},
    encode::{DbnEncoder, EncodeRecord},
    rtype,
};
use model::{InstrumentId, Price, Qty, Side, SideSource, UnixNanos, Venue};
use std::hint::black_box;
use std::io::Cursor;
use wire::{Flags, Record, RecordBuf, TradeRecord};

const RECORDS: usize = 500_000;

#[derive(Clone, Copy)]
struct Fields {
    instrument: u32,
    time: u64,
    price: i64,
    size: u32,
    buy: bool,
    id: u64,
}

fn fields() -> Vec<Fields> {
    let mut random = Random::new(11);
    let (mut time, mut price) = (1_755_460_800_000_000_000, 116_736_610_000_000);
    (0..RECORDS as u64)
        .map(|id| {
            time += random.below(2_000_000);
            price += random.below(5) as i64 * 10_000_000 - 20_000_000;
            let (size, buy) = (random.below(1000) as u32 + 1, random.below(2) == 0);
            Fields { instrument: (id % 20) as u32, time, price, size, buy, id }
        })
        .collect()
}

fn theirs(f: &Fields) -> TradeMsg {
    let mut message = TradeMsg::default();
    message.hd = RecordHeader::new::<TradeMsg>(rtype::MBP_0, 1, f.instrument, f.time);
    message.price = f.price;
    message.size = f.size;
    message.action = b'T' as _;
    message.side = if f.buy { b'B' } else { b'A' } as _;
    message.flags = FlagSet::default();
    message.ts_recv = (f.time + 500_000).into();
    message.sequence = f.id as u32;
    message
}

fn ours(f: &Fields) -> TradeRecord {
    TradeRecord::new(
        Venue::Binance,
        InstrumentId(f.instrument),
        Some(if f.buy { Side::Buy } else { Side::Sell }),
        SideSource::ExplicitTaker,
        Flags::EMPTY,
        UnixNanos(f.time),
        UnixNanos(f.time + 500_000),
        Price(f.price),
        Qty(f.size.into()),
        Some(f.id),
    )
}

fn per_record(mut pass: impl FnMut()) -> f64 {
    let start = clock::cpu_ns();
    pass();
    (clock::cpu_ns() - start) as f64 / RECORDS as f64
}

pub fn measure(pairs: usize, report: &mut Report) -> Result<(), Failure> {
    let fields = fields();
    let messages: Vec<TradeMsg> = fields.iter().map(theirs).collect();
    let records: Vec<TradeRecord> = fields.iter().map(ours).collect();
    let metadata = MetadataBuilder::new()
        .dataset("X".to_owned())
        .schema(Some(Schema::Trades))
        .start(0)
        .stype_in(Some(SType::InstrumentId))
        .stype_out(SType::InstrumentId)
        .build();
    let mut bytes: Vec<u8> = Vec::with_capacity(RECORDS * size_of::<TradeMsg>() + 4096);
    let mut buffer = RecordBuf::with_capacity(RECORDS * 6);

    let encode_theirs = |bytes: &mut Vec<u8>| -> Result<f64, Failure> {
        bytes.clear();
        let start = clock::cpu_ns();
        let mut encoder = DbnEncoder::new(bytes, &metadata)?;
        for message in &messages {
            encoder.encode_record(message)?;
        }
        drop(encoder);
        Ok((clock::cpu_ns() - start) as f64 / RECORDS as f64)
    };
    encode_theirs(&mut bytes)?;
    let encoding = Pairs::measure(
        pairs,
        || Ok(encode_theirs(&mut bytes).expect("memory takes every record")),
        || {
            Ok(per_record(|| {
                buffer.clear();
                for record in &records {
                    buffer.push_trade(record);
                }
                black_box(buffer.words());
            }))
        },
    )?;
    let row = Row::speed("encode a 48-byte trade", "dbn 0.73.0 encode_record", &encoding, "ns");
    report.row(row.goal(Goal::AtLeast(1.0)));
    let building = Pairs::measure(
        pairs,
        || Ok(encode_theirs(&mut bytes).expect("memory takes every record")),
        || {
            Ok(per_record(|| {
                buffer.clear();
                for f in &fields {
                    buffer.push_trade(&ours(f));
                }
                black_box(buffer.words());
            }))
        },
    )?;
    report.row(Row::speed("the same, built from its fields on the way", "dbn 0.73.0 encode_record", &building, "ns"));

    let expected = fields.iter().fold(0, |sum, f| sum ^ f.price);
    let decode_ours = || {
        let (mut sum, mut count, mut rest) = (0, 0, buffer.words());
        while let Ok(record) = Record::read(rest) {
            if let Record::Trade(trade) = record {
                sum ^= trade.price;
                count += 1;
            }
            rest = &rest[6..];
        }
        (sum, count)
    };
    if decode_ours() != (expected, RECORDS) || by_value(&bytes)? != (expected, RECORDS) {
        return Err("the decoders do not tell the same trades".into());
    }
    for (name, decode) in
        [("decode_record", by_value as fn(&[u8]) -> Result<(i64, usize), Failure>), ("decode_record_ref", by_reference)]
    {
        let decoding = Pairs::measure(
            pairs,
            || Ok(per_record(|| drop(black_box(decode(&bytes))))),
            || {
                Ok(per_record(|| {
                    black_box(decode_ours());
                }))
            },
        )?;
        let row = Row::speed("decode a 48-byte trade, checked", format!("dbn 0.73.0 {name}"), &decoding, "ns");
        report.row(row.goal(Goal::AtLeast(3.0)));
    }
    Ok(())
}

fn by_value(bytes: &[u8]) -> Result<(i64, usize), Failure> {
    let mut decoder = DbnDecoder::new(Cursor::new(bytes))?;
    let (mut sum, mut count) = (0, 0);
    while let Some(message) = decoder.decode_record::<TradeMsg>()? {
        sum ^= message.price;
        count += 1;
    }
    Ok((sum, count))
}

fn by_reference(bytes: &[u8]) -> Result<(i64, usize), Failure> {
    let mut decoder = DbnDecoder::new(Cursor::new(bytes))?;
    let (mut sum, mut count) = (0, 0);
    while let Some(message) = decoder.decode_record_ref()? {
        sum ^= message.get::<TradeMsg>().ok_or("not a trade")?.price;
        count += 1;
    }
    Ok((sum, count))
}
