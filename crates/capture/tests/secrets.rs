//! No key reaches a file, on whatever way it comes: sent, in an address, in a header, in words, or sent back to us.

mod common;

use capture::{Item, Kind, Options, Reader, Requested};
use common::{TWO, tap};
use model::{Reason, UnixNanos};
use std::{fs, time::Duration};
use venues::{Credentials, Input, Outgoing, Reply, RequestId};

const KEY: &str = "CANARY-KEY-8c1f";
const SECRET: &str = "Q0FOQVJZLVNFQ1JFVC0wMTIzNDU2Nzg5";
const PASSPHRASE: &str = "canary words";

#[test]
fn keys_are_in_no_file_whatever_way_they_come() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { keeps_house: false, ..Options::new(folder.path()) };
    let credentials =
        Credentials { key: KEY.to_owned(), secret: SECRET.to_owned(), passphrase: Some(PASSPHRASE.to_owned()) };
    let mut tap = tap(&options, 7, Some(&credentials));
    let at = UnixNanos(TWO);
    let said = format!("user {KEY} with {SECRET} and {PASSPHRASE}");
    let login = format!(r#"{{"action":"auth","key":"{KEY}","secret":"{SECRET}","signature":"SIGNED"}}"#);
    tap.input(0, &Input::Connecting(&format!("wss://me:{SECRET}@host/v2?token={KEY}&x=1")), at);
    tap.sent(0, &Outgoing::text(&login[..]).secret(), at);
    // Nobody marked these: a mistake of a venue's machine must not leak either.
    tap.sent(0, &Outgoing::text(&login[..]), at);
    tap.sent(0, &Outgoing::binary(said.clone().into_bytes()).secret(), at);
    tap.sent(0, &Outgoing::binary(said.clone().into_bytes()), at);
    let headers = [("APCA-API-KEY-ID".to_owned(), KEY.to_owned()), ("X".to_owned(), SECRET.to_owned())];
    tap.requested(0, (RequestId(3), "GET", &format!("https://host/{KEY}/bars?signature=S&n=1")), &headers, at);
    tap.input(0, &Input::Frame(said.as_bytes()), at);
    let reply = Reply::Http { status: 401, body: said.as_bytes(), retry_after: None };
    tap.input(0, &Input::Response(RequestId(3), reply), at);
    tap.input(0, &Input::Response(RequestId(4), Reply::Failed(&said)), at);
    tap.input(0, &Input::Disconnected(Reason::Refused, &said), at);
    assert_eq!(tap.close(Duration::from_secs(60)).entries, 10);
    let path = folder.path().join("kraken/20250113_02.wslog");
    let bytes = fs::read(&path).expect("the file");
    for secret in [KEY, SECRET, PASSPHRASE] {
        let found = bytes.windows(secret.len()).position(|w| w == secret.as_bytes());
        assert_eq!(found, None, "{secret}");
    }
    let mut reader = Reader::open(&path).expect("a capture");
    let mut sent = vec![];
    while let Some(Item::Entry(entry)) = reader.next().expect("readable") {
        match entry.head.kind {
            Kind::Request => {
                let request = Requested::read(entry.body).expect("a request");
                assert_eq!(request.url, format!("https://host/{}/bars?signature=***&n=1", "*".repeat(KEY.len())));
                assert_eq!(request.headers, ["APCA-API-KEY-ID", "X"]);
            }
            Kind::Frame if !entry.is_input() => sent.push(String::from_utf8_lossy(entry.body).into_owned()),
            Kind::Frame => assert_eq!(entry.body.len(), said.len(), "what came in keeps its length"),
            Kind::Connecting => assert_eq!(entry.body, b"wss://***@host/v2?token=***&x=1"),
            _ => {}
        }
    }
    assert_eq!(sent[0], r#"{"action":"auth","key":"***","secret":"***","signature":"***"}"#);
    assert!(sent[2].starts_with("redacted: "), "{sent:?}");
    assert_eq!(sent[3].len(), said.len());
}
