//! Two machines, one repeating the other: what both sides need to trust each other, and readers that compare rings.

use super::{Site, kill, wait_for};
use relay::{Client, ClientOptions, Source, Start, Subscription};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};
use wire::{Record, RecordType};

/// A process, asked to end at the end of the test if it has not ended before.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(None)) {
            // Its number may be another's by now.
            return;
        }
        kill(self.0.id(), "-TERM");
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        // After an orderly end both calls find nothing left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A CA, a certificate for the relay's address, and a token, for both sides.
pub fn secrets(folder: &Path, address: &str) {
    let mut authority = rcgen::CertificateParams::new(Vec::<String>::new()).expect("no names");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let root = authority.self_signed(&authority_key).expect("a root");
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec![address.to_owned()];
    let server = rcgen::CertificateParams::new(names).expect("names").signed_by(&key, &issuer).expect("signed");
    let token = "only-for-this-test-only-for-this-test".to_owned();
    for (name, text) in
        [("ca.pem", root.pem()), ("cert.pem", server.pem()), ("key.pem", key.serialize_pem()), ("token", token)]
    {
        fs::write(folder.join(name), text).expect("written");
    }
    fs::set_permissions(folder.join("token"), fs::Permissions::from_mode(0o600)).expect("a mode");
}

pub type Name = (String, u64, u64);

/// Everything a reader of a site's rings is owed, by name. Fails when a record comes twice or out of order.
pub struct Reader {
    client: Client,
    pub records: BTreeMap<Name, Vec<u64>>,
    pub last: BTreeMap<String, (u64, u64)>,
    pub overruns: usize,
}

impl Reader {
    pub fn open(site: &Site) -> Reader {
        let subscription = Subscription { from: Start::Oldest, heartbeats: true, ..Subscription::default() };
        let source = Source::Rings(site.rings.path().to_owned());
        Reader::of(Client::open(source, subscription, ClientOptions::default()).expect("a reader"))
    }

    pub fn of(client: Client) -> Reader {
        Reader { client, records: BTreeMap::new(), last: BTreeMap::new(), overruns: 0 }
    }

    pub fn read(&mut self) {
        let Reader { client, records, last, overruns } = self;
        let mut told = 1;
        while told > 0 {
            told = client
                .poll(|delivery, words| {
                    if matches!(Record::read(words), Ok(Record::Overrun(_))) {
                        *overruns += 1;
                    } else if !delivery.catch_up {
                        let venue = delivery.venue.name().to_owned();
                        let at = (delivery.envelope.epoch, delivery.envelope.sequence);
                        let before = last.insert(venue.clone(), at);
                        assert!(before.is_none_or(|before| before < at), "{venue}: {at:?} came after {before:?}");
                        records.insert((venue, at.0, at.1), words.to_vec());
                    }
                })
                .expect("rings can be read");
        }
    }

    /// Reads until it is as far as another.
    pub fn reach(&mut self, other: &Reader) {
        wait_for("the records of the other machine", || {
            self.read();
            other.last.iter().all(|(venue, at)| self.last.get(venue).is_some_and(|mine| mine >= at)).then_some(())
        });
    }

    /// Every record of the other is here as it is there, without a word of a loss on either side. Returns how many of
    /// them are trades.
    pub fn agrees_with(&self, other: &Reader) -> usize {
        assert_eq!((self.overruns, other.overruns), (0, 0), "the rings were long enough");
        for (name, words) in &other.records {
            assert_eq!(self.records.get(name), Some(words), "{name:?}");
        }
        let trades = other.records.values().filter(|words| words[0] as u8 == RecordType::Trade as u8).count();
        assert!(trades > 0, "nothing but control records was told");
        trades
    }
}

/// `[relay.tcp]` of the machine that is repeated.
pub fn relay_section(address: &str, port: u16, keys: &Path) -> String {
    let file = |name: &str| keys.join(name);
    format!(
        "[relay.tcp]\nlisten = \"{address}:{port}\"\ncertificate = {:?}\nkey = {:?}\ntoken_file = {:?}\n",
        file("cert.pem"),
        file("key.pem"),
        file("token")
    )
}

/// What makes a site repeat both venues of the machine at the address, and run no feed of its own.
pub fn bridge_section(address: &str, port: u16, keys: &Path) -> String {
    format!(
        "[venues.kraken]\nenabled = false\nsymbols = [\"BTC-USD\"]\n\
         [venues.binance]\nenabled = false\nsymbols = [\"BTC-USDT\"]\n\
         [bridge.there]\naddress = \"{address}:{port}\"\nca = {:?}\ntoken_file = {:?}\n\
         venues = [\"kraken\", \"binance\"]\nsilence_s = 2\n",
        keys.join("ca.pem"),
        keys.join("token")
    )
}
