//! Keeps secrets out of captures: what we send is cleaned field by field before it leaves the feed's thread, and the
//! keys themselves are blotted out of every entry before it is written, wherever they stand.

use venues::{Credentials, Outgoing};

/// What stands for a secret.
const BLOT: &str = "***";
/// Keys shorter than this are looked for in nothing: they are words that mean other things too.
const SHORTEST: usize = 4;
/// In what came in, keys are looked for from this length on: a venue that repeats them to us is odd, and blotting a
/// word it says by itself would change what a replay is told.
const SHORTEST_INCOMING: usize = 12;
/// Parts of names, in small letters, whose values are secrets.
const NAMES: [&str; 9] =
    ["key", "secret", "passphrase", "password", "signature", "token", "jwt", "authorization", "credential"];

/// The keys to blot out, and where.
#[derive(Clone, Default)]
pub(crate) struct Keys(Vec<Vec<u8>>);

impl Keys {
    pub fn new(credentials: Option<&Credentials>) -> Keys {
        let Some(Credentials { key, secret, passphrase }) = credentials else { return Keys::default() };
        let all = [Some(key), Some(secret), passphrase.as_ref()].into_iter().flatten();
        let mut keys: Vec<Vec<u8>> = all.filter(|k| k.len() >= SHORTEST).map(|k| k.clone().into_bytes()).collect();
        // A key that holds another one goes first, whole.
        keys.sort_by_key(|key| std::cmp::Reverse(key.len()));
        Keys(keys)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Overwrites every occurrence by as many stars, so that lengths and JSON stay what they are.
    pub fn blot(&self, bytes: &mut [u8], incoming: bool) {
        let shortest = if incoming { SHORTEST_INCOMING } else { SHORTEST };
        for key in self.0.iter().filter(|key| key.len() >= shortest) {
            let finder = memchr::memmem::Finder::new(key);
            let mut from = 0;
            while let Some(at) = finder.find(&bytes[from..]) {
                bytes[from + at..from + at + key.len()].fill(b'*');
                from += at + key.len();
            }
        }
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|part| name.contains(part))
}

/// A frame we send, cleaned. One that carries a credential keeps its JSON but for the values of telling names; in any
/// other encoding nothing of it is kept but its length.
pub(crate) fn frame(frame: &Outgoing) -> Vec<u8> {
    if !frame.secret {
        return frame.payload.clone();
    }
    let parsed = (!frame.binary).then(|| serde_json::from_slice::<serde_json::Value>(&frame.payload).ok()).flatten();
    match parsed {
        Some(mut value) => {
            clean(&mut value);
            value.to_string().into_bytes()
        }
        None => format!("redacted: {} bytes", frame.payload.len()).into_bytes(),
    }
}

fn clean(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                if is_secret(name) {
                    *value = BLOT.into();
                } else {
                    clean(value);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(clean),
        _ => {}
    }
}

/// An address, cleaned: no user, no password, no value of a telling parameter.
pub(crate) fn url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(s, r)| (s, r));
    let (place, query) = rest.split_once('?').map_or((rest, None), |(p, q)| (p, Some(q)));
    let authority = place.find('/').unwrap_or(place.len());
    let place = match place[..authority].rfind('@') {
        Some(at) => format!("{BLOT}{}", &place[at..]),
        None => place.to_owned(),
    };
    let mut clean = if scheme.is_empty() { place } else { format!("{scheme}://{place}") };
    if let Some(query) = query {
        let parts = query.split('&').map(|part| match part.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={BLOT}"),
            _ => part.to_owned(),
        });
        clean.push('?');
        clean.push_str(&parts.collect::<Vec<_>>().join("&"));
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_with_credentials_keep_their_shape_only() {
        let login = Outgoing::text(r#"{"action":"auth","key":"K","secret":"S","list":[{"signature":"x","n":1}]}"#);
        assert_eq!(frame(&login), login.payload, "nobody said that it is secret");
        let clean = String::from_utf8(frame(&login.secret())).expect("text");
        let read: serde_json::Value = serde_json::from_str(&clean).expect("JSON");
        let expected = serde_json::json!({
            "action": "auth", "key": "***", "secret": "***", "list": [{"signature": "***", "n": 1}]
        });
        assert_eq!(read, expected);
        assert_eq!(frame(&Outgoing::binary(vec![1, 2, 3]).secret()), b"redacted: 3 bytes");
        assert_eq!(frame(&Outgoing::text("secret words").secret()), b"redacted: 12 bytes");
    }

    #[test]
    fn addresses_lose_what_is_secret_in_them() {
        for (url, expected) in [
            ("wss://a:b@host:1/p?x=1&api_key=2&listenKey=3", "wss://***@host:1/p?x=1&api_key=***&listenKey=***"),
            ("https://host/p", "https://host/p"),
            ("https://host/p@q?r=a@b", "https://host/p@q?r=a@b"),
            ("/api/v3/depth?symbol=BTCUSDT&limit=1000", "/api/v3/depth?symbol=BTCUSDT&limit=1000"),
        ] {
            assert_eq!(super::url(url), expected);
        }
    }

    #[test]
    fn keys_are_blotted_out_wherever_they_stand() {
        let credentials = |key: &str, secret: &str, passphrase: &str| Credentials {
            key: key.to_owned(),
            secret: secret.to_owned(),
            passphrase: Some(passphrase.to_owned()),
        };
        let keys = Keys::new(Some(&credentials("CANARYKEY0123", "CANARYKEY0123-more", "short")));
        let blot = |text: &str, incoming| {
            let mut bytes = text.as_bytes().to_vec();
            keys.blot(&mut bytes, incoming);
            String::from_utf8(bytes).expect("text")
        };
        assert_eq!(blot("a CANARYKEY0123CANARYKEY0123 b", false), format!("a {} b", "*".repeat(26)));
        assert_eq!(blot("CANARYKEY0123-more", true), "*".repeat(18));
        assert_eq!(blot("short CANARYKEY012", false), "***** CANARYKEY012");
        assert_eq!(blot("short", true), "short");
        assert!(Keys::new(Some(&credentials("a", "b", ""))).is_empty());
        assert!(Keys::new(None).is_empty());
    }
}
