//! iceoryx2: one 48-byte record a sample between two threads on two cores, beside one record a publication of ours.
//!
//! Both are lossless: its publisher retries until delivered, ours waits for the reader's progress.

use crate::Failure;
use benches::machine::pin;
use benches::{Goal, Pairs, Report, Row, clock, deliver_ns};
use iceoryx2::prelude::*;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const RECORDS: u64 = 300_000;

#[derive(Debug, Clone, Copy, Default, ZeroCopySend)]
#[repr(C)]
struct Sample {
    words: [u64; 6],
}

pub fn measure(pairs: usize, report: &mut Report) -> Result<(), Failure> {
    let round = AtomicU64::new(0);
    let theirs = |batch| move |round: u64| if batch == 1 { one_by_one(round) } else { sliced(round, batch) };
    for (batch, records, goal) in [(1, 2_000_000, Some(10.0)), (64, 4_000_000, None)] {
        let pairs = Pairs::measure(
            pairs,
            || Ok(theirs(batch)(round.fetch_add(1, Ordering::Relaxed)).expect("iceoryx2 delivers")),
            || deliver_ns(1, batch as u64, records),
        )?;
        let row = Row::speed(
            format!("deliver a record, 1 reader, batch {batch}"),
            format!("iceoryx2 0.10.0, {batch} a sample"),
            &pairs,
            "ns",
        );
        report.row(goal.map_or(row.clone(), |goal| row.goal(Goal::AtLeast(goal))));
    }
    Ok(())
}

fn name(kind: &str, round: u64) -> Result<ServiceName, Failure> {
    Ok(ServiceName::new(&format!("alphapulse/bench/{kind}/{}/{round}", std::process::id()))?)
}

fn one_by_one(round: u64) -> Result<f64, Failure> {
    let name = name("one", round)?;
    let open = || {
        let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
        let service = node
            .service_builder(&name)
            .publish_subscribe::<Sample>()
            .subscriber_max_buffer_size(1024)
            .enable_safe_overflow(false)
            .history_size(0)
            .open_or_create()
            .expect("a service");
        (node, service)
    };
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            pin(1);
            let (_node, service) = open();
            let subscriber = service.subscriber_builder().create().expect("a subscriber");
            ready.wait();
            let mut sum = 0;
            let mut count = 0;
            while count < RECORDS {
                if let Some(sample) = subscriber.receive().expect("a live service") {
                    sum ^= sample.words.iter().fold(0, |sum, word| sum ^ word);
                    count += 1;
                }
            }
            sum
        });
        let writing = scope.spawn(|| {
            pin(0);
            let (_node, service) = open();
            let strategy = BackpressureStrategy::RetryUntilDelivered;
            let publisher = service.publisher_builder().backpressure_strategy(strategy).create().expect("a publisher");
            ready.wait();
            std::thread::sleep(Duration::from_millis(20));
            let start = clock::ticks();
            for index in 0..RECORDS {
                let sample = publisher.loan_uninit().expect("a free sample");
                sample.write_payload(Sample { words: [index; 6] }).send().expect("a live subscriber");
            }
            start
        });
        let start = writing.join().expect("the publisher does not panic");
        std::hint::black_box(reading.join().expect("the subscriber does not panic"));
        Ok(clock::ns(clock::ticks() - start) / RECORDS as f64)
    })
}

fn sliced(round: u64, batch: usize) -> Result<f64, Failure> {
    let records = RECORDS as usize * 10 / batch * batch;
    let name = name("slice", round)?;
    let open = || {
        let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
        let service = node
            .service_builder(&name)
            .publish_subscribe::<[Sample]>()
            .subscriber_max_buffer_size(256)
            .enable_safe_overflow(false)
            .history_size(0)
            .open_or_create()
            .expect("a service");
        (node, service)
    };
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            pin(1);
            let (_node, service) = open();
            let subscriber = service.subscriber_builder().create().expect("a subscriber");
            ready.wait();
            let (mut sum, mut count) = (0, 0);
            while count < records {
                if let Some(sample) = subscriber.receive().expect("a live service") {
                    for record in sample.payload() {
                        sum ^= record.words.iter().fold(0, |sum, word| sum ^ word);
                    }
                    count += sample.payload().len();
                }
            }
            sum
        });
        let writing = scope.spawn(|| {
            pin(0);
            let (_node, service) = open();
            let publisher = service
                .publisher_builder()
                .initial_max_slice_len(batch)
                .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
                .create()
                .expect("a publisher");
            ready.wait();
            std::thread::sleep(Duration::from_millis(20));
            let start = clock::ticks();
            for index in 0..(records / batch) as u64 {
                let sample = publisher.loan_slice_uninit(batch).expect("free samples");
                sample.write_from_fn(|_| Sample { words: [index; 6] }).send().expect("a live subscriber");
            }
            start
        });
        let start = writing.join().expect("the publisher does not panic");
        std::hint::black_box(reading.join().expect("the subscriber does not panic"));
        Ok(clock::ns(clock::ticks() - start) / records as f64)
    })
}
