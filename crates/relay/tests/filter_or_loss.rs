//! A filtered client can tell what was filtered from what was lost, by the ranges its batches say were looked at.

mod common;

use common::*;
use model::Venue;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use wire::batch::{BatchHeader, CATCH_UP, HEADER_BYTES, OUT_OF_BAND, SEQUENCES_LISTED};

/// The socket as another language would read it.
struct Raw {
    stream: BufReader<UnixStream>,
    answer: String,
}

impl Raw {
    fn subscribe(socket: &std::path::Path, subscription: &str) -> Raw {
        let mut stream = UnixStream::connect(socket).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
        stream.write_all(format!("{{\"version\":1,\"subscribe\":{subscription}}}\n").as_bytes()).expect("write");
        let mut stream = BufReader::new(stream);
        let mut answer = String::new();
        stream.read_line(&mut answer).expect("answer");
        assert!(answer.starts_with(r#"{"ok":true"#), "{answer}");
        Raw { stream, answer }
    }

    fn batch(&mut self) -> (BatchHeader, Vec<(u64, Vec<u64>)>) {
        let mut head = [0; HEADER_BYTES];
        self.stream.read_exact(&mut head).expect("header");
        let header = BatchHeader::read(&head).expect("valid").expect("whole");
        let mut body = vec![0; header.length as usize];
        self.stream.read_exact(&mut body).expect("body");
        let words: Vec<u64> =
            body.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes"))).collect();
        let mut records = Vec::new();
        header.open(&words, |envelope, words| records.push((envelope.sequence, words.to_vec()))).expect("sound");
        (header, records)
    }
}

#[test]
fn scanned_ranges_follow_one_another_without_a_hole() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 13, &["BTC", "ETH", "SOL"]);
    feed.publish();
    let _relay = Running::start(rings.path(), &socket);
    let mut raw = Raw::subscribe(&socket, r#"{"symbols":["SOL-USD"],"types":["trade"]}"#);
    let mut next = feed.last() + 1;
    assert!(raw.answer.contains(&format!(r#""sequence":{next}"#)), "{}", raw.answer);
    feed.run(2_000);
    let sol = feed.instruments[2].id;
    let (mut told, mut listed) = (0, 0);
    // To the end: with nothing more to tell, an empty batch says how far was looked.
    while next <= feed.last() {
        let (header, records) = raw.batch();
        if header.flags & (CATCH_UP | OUT_OF_BAND) != 0 {
            assert_eq!(header.flags & OUT_OF_BAND, 0, "nothing was lost");
            continue;
        }
        assert_eq!((header.epoch, header.scan_first), (7, next));
        next = header.scan_last + 1;
        told += records.len();
        listed += usize::from(header.flags & SEQUENCES_LISTED != 0);
        for (sequence, words) in records {
            assert!((header.scan_first..=header.scan_last).contains(&sequence));
            assert_eq!(wire::Header::read(&words).expect("header").instrument(), sol);
        }
    }
    assert!((50..2_000).contains(&told), "{told}");
    assert!(listed > 0, "a filter leaves holes, so sequences are listed");
    // And idle, once a second, the next sequence.
    let (header, records) = raw.batch();
    assert_eq!((header.scan_first, header.scan_last, records.len()), (next, next - 1, 0));
}

#[test]
fn a_missing_batch_is_noticed_by_the_client() {
    let folder = folder();
    let real = folder.path().join("relay.sock");
    let lossy = folder.path().join("lossy.sock");
    let mut feed = Feed::open(folder.path(), Venue::Kraken, 7, 1 << 13, &["BTC"]);
    feed.publish();
    let relay = Running::start(folder.path(), &real);
    let joined = feed.last();
    // A hop that swallows the third batch with records.
    let listener = std::os::unix::net::UnixListener::bind(&lossy).expect("bind");
    let hop = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("accept");
        let mut hello = String::new();
        BufReader::new(client.try_clone().expect("clone")).read_line(&mut hello).expect("hello");
        let mut upstream = UnixStream::connect(&real).expect("connect");
        upstream.write_all(hello.as_bytes()).expect("write");
        let mut upstream = BufReader::new(upstream);
        let mut answer = String::new();
        upstream.read_line(&mut answer).expect("answer");
        client.write_all(answer.as_bytes()).expect("write");
        let mut live = 0;
        loop {
            let mut head = [0; HEADER_BYTES];
            if upstream.read_exact(&mut head).is_err() {
                return None;
            }
            let header = BatchHeader::read(&head).expect("valid").expect("whole");
            let mut body = vec![0; header.length as usize];
            upstream.read_exact(&mut body).expect("body");
            live += usize::from(header.flags & (CATCH_UP | OUT_OF_BAND) == 0 && header.count > 0);
            if live == 3 {
                // Tell the test, by the thread's result, once the client is gone.
                let swallowed = (header.scan_first, header.scan_last);
                std::io::copy(&mut upstream, &mut client).ok();
                return Some(swallowed);
            }
            client.write_all(&head).and_then(|()| client.write_all(&body)).expect("pass on");
        }
    });
    let mut client = over_socket(&lossy, relay::Subscription::default());
    let mut all = Vec::new();
    for round in 1..=6 {
        feed.run(10);
        if round != 3 {
            // A batch a round: the next is written when this one was seen. The third is not, nor is it waited for.
            collect_until(&mut client, &mut all, |all| reached(all, 7, feed.last()));
        } else {
            wait_for(|| {
                relay.stats.get().clients.first().is_some_and(|client| client.delivered >= feed.last() - joined)
            });
        }
    }
    collect_until(&mut client, &mut all, |all| reached(all, 7, feed.last()));
    let ranges = account(&all, Venue::Kraken);
    drop(client);
    drop(relay);
    let swallowed = hop.join().expect("hop").expect("a batch was swallowed");
    let lost: Vec<_> = ranges.iter().filter(|range| range.3 == "lost").collect();
    assert_eq!(lost, [&(7, swallowed.0, swallowed.1, "lost")]);
    assert!(ranges.windows(2).all(|pair| pair[1].1 == pair[0].2 + 1));
}
