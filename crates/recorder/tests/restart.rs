//! A recorder that comes back goes on behind the journal's last record, whatever happened to the rings meanwhile.

mod common;

use common::{Feed, Site, account, start, wait_durable, wait_for};
use model::Venue;

const VENUE: Venue = Venue::Binance;

#[test]
fn a_new_journal_begins_at_the_oldest_record_held() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 10);
    feed.define();
    let last = feed.trades(5000);
    let recorder = start(site.options());
    wait_durable(&recorder, VENUE, 7, last);
    recorder.stop().expect("an orderly end");
    let told = account(&site, VENUE);
    assert_eq!(told.len(), 1, "nothing was owed from before: {told:?}");
    let (epoch, first, end, what) = told[0];
    assert_eq!((epoch, end, what), (7, last, "told"));
    assert!((last - 1023..last - 500).contains(&first), "the ring holds most of 1,024: {told:?}");
}

#[test]
fn it_goes_on_where_it_stopped_over_runs_that_began_meanwhile() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 12);
    let first = feed.trades(100);
    let recorder = start(site.options());
    wait_durable(&recorder, VENUE, 7, first);
    recorder.stop().expect("an orderly end");
    let seven = feed.trades(50);
    drop(feed);
    let mut feed = Feed::open(&site, VENUE, 9, 1 << 12);
    let nine = feed.trades(70);
    drop(feed);
    let mut feed = Feed::open(&site, VENUE, 12, 1 << 12);
    feed.trades(30);
    let recorder = start(site.options());
    let twelve = feed.trades(30);
    wait_durable(&recorder, VENUE, 12, twelve);
    recorder.stop().expect("an orderly end");
    assert_eq!(account(&site, VENUE), [(7, 1, seven, "told"), (9, 1, nine, "told"), (12, 1, twelve, "told")]);
}

#[test]
fn what_the_ring_no_longer_holds_is_named_exactly() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 10);
    let first = feed.trades(100);
    let recorder = start(site.options());
    wait_durable(&recorder, VENUE, 7, first);
    recorder.stop().expect("an orderly end");
    let seven = feed.trades(400);
    drop(feed);
    let mut feed = Feed::open(&site, VENUE, 9, 1 << 10);
    let nine = feed.trades(3000);
    let recorder = start(site.options());
    wait_durable(&recorder, VENUE, 9, nine);
    recorder.stop().expect("an orderly end");
    let told = account(&site, VENUE);
    let [a, b, c, d] = told[..] else { panic!("{told:?}") };
    assert_eq!((a, b), ((7, 1, first, "told"), (7, first + 1, seven, "lost")));
    assert_eq!((c.0, c.1, c.3), (9, 1, "lost"));
    assert_eq!(d, (9, c.2 + 1, nine, "told"));
}

#[test]
fn a_venue_that_appears_later_is_recorded_from_its_first_record() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 12);
    let recorder = start(site.options());
    let last = feed.trades(10);
    wait_durable(&recorder, VENUE, 7, last);
    let mut other = Feed::open(&site, Venue::Kraken, 3, 1 << 12);
    let other_last = other.trades(500);
    wait_durable(&recorder, Venue::Kraken, 3, other_last);
    recorder.stop().expect("an orderly end");
    assert_eq!(account(&site, VENUE), [(7, 1, last, "told")]);
    assert_eq!(account(&site, Venue::Kraken), [(3, 1, other_last, "told")]);
}

#[test]
fn a_ring_made_anew_from_nothing_ends_a_run_nobody_knows_the_end_of() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 12);
    let first = feed.trades(100);
    let recorder = start(site.options());
    wait_durable(&recorder, VENUE, 7, first);
    recorder.stop().expect("an orderly end");
    drop(feed);
    // As after a restart of the machine: shared memory is empty.
    std::fs::remove_file(site.rings.path().join(format!("{VENUE}.ring"))).expect("removed");
    let mut feed = Feed::open(&site, VENUE, 9, 1 << 12);
    let nine = feed.trades(20);
    let recorder = start(site.options());
    wait_durable(&recorder, VENUE, 9, nine);
    wait_for("an overrun", || (recorder.stats().overruns == 1).then_some(()));
    recorder.stop().expect("an orderly end");
    assert_eq!(account(&site, VENUE), [(7, 1, first, "told"), (7, first + 1, 0, "lost"), (9, 1, nine, "told")]);
}
