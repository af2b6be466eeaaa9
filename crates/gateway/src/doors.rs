//! Who a request comes from: the credential in its headers, looked up once and remembered until anything changes.
//!
//! A request carries one credential: a key or token as `Authorization: Bearer`, or a browser's session cookie. What is
//! wrong is refused even where something right stands beside it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, header};
use tokio::sync::watch;

use crate::access::{Credential, Principal};
use crate::guard::only;
use crate::secret::{Secret, hash};
use crate::store::{SESSION_IDLE_S, Store, StoreError};

/// Credentials remembered; beyond them all are looked up anew.
const REMEMBERED_MAX: usize = 4096;
/// A session in use is written down as such this often, in seconds.
const TOUCH_EVERY_S: u64 = 60;
/// Longer than any credential written here.
const CREDENTIAL_BYTES_MAX: usize = 1024;

/// Why nobody is let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the request carries two credentials, or one that cannot be read")]
    Form,
    #[error("{0}")]
    Wrong(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A caller, with the session's secret where it came by one.
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) session: Option<Secret>,
}

struct Remembered {
    principal: Principal,
    /// Of a session: when it was last used and when that was written down, Unix seconds.
    seen_s: u64,
    touched_s: u64,
}

/// Remembered since this count of changes.
#[derive(Default)]
struct Memory {
    changes: u64,
    known: HashMap<[u8; 32], Remembered>,
}

/// Looks credentials up.
pub(crate) struct Doors {
    store: Arc<Store>,
    changes: watch::Receiver<u64>,
    memory: Mutex<Memory>,
    cookie: &'static str,
}

/// The session cookie's name. A browser accepts the first only over TLS, for exactly this host.
pub(crate) const fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-alphapulse" } else { "alphapulse" }
}

impl Doors {
    pub(crate) fn new(store: Arc<Store>, secure: bool) -> Doors {
        let changes = store.changes();
        Doors { store, changes, memory: Mutex::default(), cookie: cookie_name(secure) }
    }

    /// Who these headers come from; `None` when they carry no credential.
    pub(crate) async fn identify(&self, headers: &HeaderMap, now_s: u64) -> Result<Option<Caller>, Refused> {
        let bearer = match only(headers, header::AUTHORIZATION.as_str()) {
            Ok(None) => None,
            Ok(Some(value)) => Some(bearer(value).ok_or(Refused::Form)?),
            Err(()) => return Err(Refused::Form),
        };
        let cookie = cookie(headers, self.cookie)?;
        let (secret, is_session) = match (bearer, cookie) {
            (None, None) => return Ok(None),
            (Some(secret), _) => (secret, false),
            (None, Some(secret)) => (secret, true),
        };
        if secret.len() > CREDENTIAL_BYTES_MAX {
            return Err(Refused::Form);
        }
        let secret = Secret::new(secret);
        let principal = match self.recall(&secret.hash(), now_s) {
            Some(principal) => principal,
            None => self.look_up(secret.clone(), is_session, now_s).await?,
        };
        if matches!(principal.credential, Credential::Session(_)) != is_session {
            return Err(Refused::Form);
        }
        Ok(Some(Caller { principal, session: is_session.then_some(secret) }))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = *self.changes.borrow();
        if memory.changes != changes {
            *memory = Memory { changes, known: HashMap::new() };
        }
        memory
    }

    fn recall(&self, secret_hash: &[u8; 32], now_s: u64) -> Option<Principal> {
        let mut memory = self.memory();
        let known = memory.known.get_mut(secret_hash)?;
        let idle =
            matches!(known.principal.credential, Credential::Session(_)) && now_s >= known.seen_s + SESSION_IDLE_S;
        if now_s >= known.principal.expires_s || idle {
            memory.known.remove(secret_hash);
            return None;
        }
        known.seen_s = known.seen_s.max(now_s);
        let touch =
            matches!(known.principal.credential, Credential::Session(_)) && now_s >= known.touched_s + TOUCH_EVERY_S;
        if touch {
            known.touched_s = now_s;
            let (store, secret_hash) = (self.store.clone(), *secret_hash);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = store.touch_session(&secret_hash, now_s) {
                    tracing::warn!(%error, "a session's use cannot be written down; it may end as idle");
                }
            });
        }
        Some(known.principal.clone())
    }

    async fn look_up(&self, secret: Secret, is_session: bool, now_s: u64) -> Result<Principal, Refused> {
        let changes = *self.changes.borrow();
        let (store, secret_hash) = (self.store.clone(), secret.hash());
        let looked = tokio::task::spawn_blocking(move || find(&store, &secret, is_session, now_s)).await;
        let (principal, seen_s) = looked.map_err(|_| Refused::Form)??;
        let mut memory = self.memory();
        // What was read before a change is not remembered after it.
        if memory.changes == changes {
            if memory.known.len() >= REMEMBERED_MAX {
                memory.known.clear();
            }
            memory.known.insert(secret_hash, Remembered { principal: principal.clone(), seen_s, touched_s: seen_s });
        }
        Ok(principal)
    }

    /// Whether a principal who came in may stay, by the same credential and with the same rights.
    pub(crate) async fn stays(&self, caller: &Caller, now_s: u64) -> bool {
        if now_s >= caller.principal.expires_s {
            return false;
        }
        let store = self.store.clone();
        let principal = caller.principal.clone();
        let still = tokio::task::spawn_blocking(move || store.still(&principal, now_s)).await;
        matches!(still, Ok(Ok(true)))
    }
}

/// The secret after `Bearer`.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, secret) = value.split_once(' ')?;
    let usable = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && usable).then_some(secret)
}

/// The cookie of this name; two are one too many.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refused> {
    let mut found = None;
    for value in headers.get_all(header::COOKIE) {
        // Cookies of other servers on this host are none of our business, however they are written.
        let Ok(value) = value.to_str() else { continue };
        for pair in value.split(';') {
            let Some((key, value)) = pair.trim().split_once('=') else { continue };
            if key == name && found.replace(value).is_some() {
                return Err(Refused::Form);
            }
        }
    }
    Ok(found.filter(|secret| !secret.is_empty()))
}

fn find(store: &Store, secret: &Secret, is_session: bool, now_s: u64) -> Result<(Principal, u64), Refused> {
    let text = secret.reveal();
    let wrong = |what: &str| Refused::Wrong(format!("{what} is not known, or has expired or been revoked"));
    if is_session {
        return store.session(&hash(text), now_s)?.ok_or_else(|| wrong("this session"));
    }
    let found = if text.starts_with("ap_") {
        store.key(&hash(text), now_s)?.ok_or_else(|| wrong("this key"))
    } else {
        let grant = store.signer().read(text, now_s).map_err(|error| Refused::Wrong(error.to_string()))?;
        store.token(&grant)?.ok_or_else(|| wrong("this token"))
    };
    Ok((found?, now_s))
}

impl Store {
    /// Whether the credential lives, with the same role and scopes.
    fn still(&self, principal: &Principal, now_s: u64) -> Result<bool, StoreError> {
        let now = match &principal.credential {
            Credential::Session(secret_hash) => {
                // An open socket is use.
                let found = self.session(secret_hash, now_s)?;
                if let Some((_, seen_s)) = &found
                    && now_s >= seen_s + TOUCH_EVERY_S
                {
                    self.touch_session(secret_hash, now_s)?;
                }
                found.map(|(principal, _)| principal)
            }
            Credential::Key(id) => self.key_by_id(id, now_s)?,
            Credential::Token(id) => self.token_by_id(id, principal.user, principal.scopes, principal.expires_s)?,
        };
        Ok(now.as_ref() == Some(principal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn one_cookie_of_ours_is_found_among_others() {
        let found =
            |all: &[(&'static str, &str)]| cookie(&headers(all), "alphapulse").map(|found| found.map(str::to_owned));
        assert_eq!(found(&[("cookie", "a=1; alphapulse=x; b=2")]).expect("one"), Some("x".to_owned()));
        assert_eq!(found(&[("cookie", "xalphapulse=1; alphapulse2=x")]).expect("none"), None);
        assert_eq!(found(&[("cookie", "alphapulse=")]).expect("none"), None);
        assert!(found(&[("cookie", "alphapulse=x; alphapulse=y")]).is_err());
        assert!(found(&[("cookie", "alphapulse=x"), ("cookie", "alphapulse=y")]).is_err());
    }

    #[test]
    fn a_bearer_is_one_word() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer abc"), Some("abc"));
        for value in ["Bearer", "Bearer ", "Basic abc", "Bearer a b", "Bearer  a", "abc", ""] {
            assert_eq!(bearer(value), None, "{value}");
        }
    }
}
