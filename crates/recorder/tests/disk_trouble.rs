//! What a disk does to the recorder, and what it never does to anybody else: full, stalled, read-only, failing. In every
//! case what was acknowledged stays, recording goes on when it can, and what is lost is named exactly.

mod common;

use common::{Feed, Site, Troubled, account, start, wait_durable, wait_for};
use model::Venue;
use recorder::{DiskState, Recorder};
use relay::{Client, ClientOptions, Source, Start, Subscription};
use std::sync::atomic::Ordering::SeqCst;

const VENUE: Venue = Venue::Kraken;
const SLOTS: u64 = 1 << 12;

/// A live reader beside the recorder.
struct Live {
    client: Client,
    next: u64,
}

impl Live {
    fn open(site: &Site) -> Live {
        let subscription = Subscription { from: Start::Oldest, ..Subscription::default() };
        let source = Source::Rings(site.rings.path().to_owned());
        Live { client: Client::open(source, subscription, ClientOptions::default()).expect("a client"), next: 1 }
    }

    /// Reads all there is: every record, once, in order.
    fn follow(&mut self, last: u64) {
        while self.next <= last {
            let next = &mut self.next;
            let polled = self.client.poll(|delivery, _| {
                assert_eq!(delivery.envelope.sequence, *next, "the live reader noticed");
                *next += 1;
            });
            polled.expect("the rings can be read");
        }
    }
}

fn state(recorder: &Recorder, wanted: DiskState) {
    wait_for(wanted.name(), || (recorder.stats().disk == wanted).then_some(()));
}

/// Feeds as fast as the rings are drained until memory is full, and then more than the ring holds.
fn overwhelm(feed: &mut Feed, live: &mut Live, recorder: &Recorder) {
    while !recorder.stats().spill_full {
        let before = recorder.stats().records;
        live.follow(feed.trades(200));
        wait_for("the drain", || {
            let stats = recorder.stats();
            (stats.spill_full || stats.records >= before + 200).then_some(())
        });
    }
    for _ in 0..12 {
        live.follow(feed.trades(SLOTS / 4));
    }
}

/// The journal names every record of the run, in order: told, lost, told again.
fn check_exact(site: &Site, acknowledged: u64, last: u64) {
    let told = account(site, VENUE);
    let mut expected = 1;
    for (epoch, first, last, what) in &told {
        assert_eq!((*epoch, *first), (7, expected), "{told:?}");
        assert!(*what == "told" || *first > acknowledged, "acknowledged and lost: {told:?}");
        expected = last + 1;
    }
    assert_eq!(expected, last + 1, "{told:?}");
    assert_eq!(told.last().map(|range| range.3), Some("told"), "{told:?}");
    let lost: Vec<_> = told.iter().filter(|range| range.3 == "lost").collect();
    assert!(!lost.is_empty(), "more came than there was room for: {told:?}");
}

#[test]
fn a_full_disk_costs_an_exact_gap_and_recording_goes_on_with_room() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, SLOTS);
    feed.define();
    let (disk, trouble) = Troubled::new(&site);
    let recorder = start(site.options_on(disk));
    let mut live = Live::open(&site);
    let acknowledged = feed.trades(500);
    wait_durable(&recorder, VENUE, 7, acknowledged);
    trouble.full.store(true, SeqCst);
    // Segments made ahead of need are used up first.
    while recorder.stats().disk != DiskState::Full {
        let last = feed.trades(500);
        live.follow(last);
        wait_for("room or none", || {
            let stats = recorder.stats();
            (stats.disk == DiskState::Full || common::is_durable(&stats, VENUE, 7, last)).then_some(())
        });
    }
    let durable = recorder.stats().durable[0].2;
    overwhelm(&mut feed, &mut live, &recorder);
    trouble.full.store(false, SeqCst);
    state(&recorder, DiskState::Good);
    wait_for("the spill to drain", || (!recorder.stats().spill_full).then_some(()));
    let last = feed.trades(100);
    live.follow(last);
    wait_durable(&recorder, VENUE, 7, last);
    recorder.stop().expect("an orderly end");
    check_exact(&site, durable, last);
}

#[test]
fn a_stalled_disk_fills_memory_first_and_then_costs_an_exact_gap() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, SLOTS);
    feed.define();
    let (disk, trouble) = Troubled::new(&site);
    let recorder = start(site.options_on(disk));
    let mut live = Live::open(&site);
    let acknowledged = feed.trades(500);
    wait_durable(&recorder, VENUE, 7, acknowledged);
    trouble.stall(true);
    let last = feed.trades(500);
    live.follow(last);
    state(&recorder, DiskState::Stalled);
    let mark = journal::Watermark::read(&site.journal()).expect("readable").expect("a watermark");
    wait_for("the watermark to say so", || {
        let mark = journal::Watermark::read(&site.journal()).expect("readable")?;
        (mark.state == journal::State::Stalled).then_some(())
    });
    assert!(mark.positions(journal::Level::Synced).get(VENUE).is_some_and(|at| at.sequence < last));
    overwhelm(&mut feed, &mut live, &recorder);
    trouble.stall(false);
    state(&recorder, DiskState::Good);
    wait_for("the spill to drain", || (!recorder.stats().spill_full).then_some(()));
    let last = feed.trades(100);
    wait_durable(&recorder, VENUE, 7, last);
    recorder.stop().expect("an orderly end");
    check_exact(&site, acknowledged, last);
}

#[test]
fn a_short_stall_costs_nothing() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, SLOTS);
    feed.define();
    let (disk, trouble) = Troubled::new(&site);
    let recorder = start(site.options_on(disk));
    wait_durable(&recorder, VENUE, 7, 1);
    trouble.stall(true);
    // More than the spill has room for, less than the ring and the spill have together.
    let last = (0..40).fold(0, |_, _| feed.trades(100));
    wait_for("memory to be used up", || recorder.stats().spill_full.then_some(()));
    trouble.stall(false);
    wait_durable(&recorder, VENUE, 7, last);
    recorder.stop().expect("an orderly end");
    assert_eq!(account(&site, VENUE), [(7, 1, last, "told")]);
}

#[test]
fn a_folder_that_may_not_be_written_is_tried_again_until_it_may() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, SLOTS);
    feed.define();
    let (disk, trouble) = Troubled::new(&site);
    trouble.read_only.store(true, SeqCst);
    let recorder = start(site.options_on(disk));
    state(&recorder, DiskState::Refused);
    let last = feed.trades(300);
    assert!(!recorder.has_ended());
    trouble.read_only.store(false, SeqCst);
    wait_durable(&recorder, VENUE, 7, last);
    recorder.stop().expect("an orderly end");
    assert_eq!(account(&site, VENUE), [(7, 1, last, "told")]);
}

#[test]
fn a_failed_sync_ends_the_recorder_and_the_next_one_goes_on_without_a_hole() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, SLOTS);
    feed.define();
    let (disk, trouble) = Troubled::new(&site);
    let recorder = start(site.options_on(disk));
    let acknowledged = feed.trades(300);
    wait_durable(&recorder, VENUE, 7, acknowledged);
    trouble.fail_sync.store(true, SeqCst);
    let after = feed.trades(50);
    wait_for("the end of the recorder", || recorder.has_ended().then_some(()));
    let durable = recorder.stats().durable[0].2;
    assert!(durable < after, "a failed sync acknowledges nothing");
    let mark = journal::Watermark::read(&site.journal()).expect("readable").expect("a watermark");
    assert_eq!(mark.state, journal::State::Poisoned);
    let error = recorder.stop().expect_err("it failed").to_string();
    assert!(error.contains("nothing more is acknowledged"), "{error}");
    let next = start(site.options());
    let last = feed.trades(50);
    wait_durable(&next, VENUE, 7, last);
    next.stop().expect("an orderly end");
    assert_eq!(account(&site, VENUE), [(7, 1, last, "told")]);
}
