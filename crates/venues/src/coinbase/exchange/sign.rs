//! Proves who subscribes: HMAC-SHA256 over the time and a fixed request, with a secret that is kept in base64.

use crate::Credentials;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde::Serialize;
use sha2::Sha256;

/// What is signed behind the time: the venue takes any subscription for this request.
const REQUEST: &str = "GET/users/self/verify";

/// Signs with one account's key.
pub struct Signer {
    key: String,
    passphrase: String,
    secret: Vec<u8>,
}

/// The members a signed message has.
#[derive(Debug, Serialize)]
pub struct Signed<'a> {
    signature: String,
    key: &'a str,
    passphrase: &'a str,
    timestamp: String,
}

impl Signer {
    /// A signer, or why the credentials cannot sign. Says nothing of their content.
    pub fn new(credentials: &Credentials) -> Result<Signer, &'static str> {
        let secret = STANDARD.decode(&credentials.secret).map_err(|_| "a secret in base64, as the venue shows it")?;
        let passphrase = credentials.passphrase.clone().ok_or("a key, a secret and a passphrase")?;
        Ok(Signer { key: credentials.key.clone(), passphrase, secret })
    }

    /// What proves who we are at this second of Unix time.
    pub fn sign(&self, unix_s: u64) -> Signed<'_> {
        let timestamp = unix_s.to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("a key of any length will do");
        mac.update(timestamp.as_bytes());
        mac.update(REQUEST.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        Signed { signature, key: &self.key, passphrase: &self.passphrase, timestamp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(secret: &str, passphrase: Option<&str>) -> Credentials {
        Credentials { key: "k".to_owned(), secret: secret.to_owned(), passphrase: passphrase.map(str::to_owned) }
    }

    #[test]
    fn a_known_signature() {
        let signer =
            Signer::new(&credentials("YWxwaGFwdWxzZS10ZXN0LXNlY3JldA==", Some("p"))).expect("sound credentials");
        let signed = signer.sign(1_700_000_000);
        assert_eq!(signed.signature, "YfAT1S7tYUAqBSL+7TbzDKW4FQjICi6/TFbwrK81Z6I=");
        assert_eq!((signed.key, signed.passphrase, signed.timestamp.as_str()), ("k", "p", "1700000000"));
    }

    #[test]
    fn what_cannot_sign_is_refused() {
        assert!(Signer::new(&credentials("not base64!", Some("p"))).is_err());
        assert!(Signer::new(&credentials("YQ==", None)).is_err());
    }
}
