//! What lets a user in: sessions, API keys, tokens and single-use links. Each is found by the hash of its secret, and none
//! outlives the user.

use rusqlite::{OptionalExtension, Transaction, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::users::{ACCOUNT, Account, account};
use super::{By, Store, StoreError, seconds};
use crate::access::{Credential, Principal, Scope, Scopes};
use crate::secret::{Secret, hash, hex, random_hex, random_text};
use crate::token::{Grant, TOKEN_MINUTES_MAX};

/// A session nobody has used for this long is over.
pub(crate) const SESSION_IDLE_S: u64 = 30 * 60;
/// No session is longer.
pub(crate) const SESSION_MAX_S: u64 = 12 * 3600;
/// How long a link waits to be opened.
pub(crate) const LINK_SECONDS: u64 = 10 * 60;
/// Keys a user may have that were not revoked.
const KEYS_MAX: usize = 64;
/// Sessions a user may have; the oldest makes room.
const SESSIONS_MAX: usize = 16;
/// Tokens a user may have that have not expired.
const TOKENS_MAX: usize = 64;
/// The longest life of a key that has an end.
const KEY_DAYS_MAX: u32 = 3650;
/// The longest label.
const LABEL_CHARS_MAX: usize = 64;

/// An API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyInfo {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// What its owner calls it.
    pub label: String,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// When it was made, Unix seconds.
    pub created_s: u64,
    /// When it ends, Unix seconds; `null`: it does not.
    pub expires_s: Option<u64>,
    /// When it was revoked, Unix seconds.
    pub revoked_s: Option<u64>,
}

/// A session, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SessionInfo {
    /// Its id.
    pub id: String,
    /// From where it was opened.
    pub address: String,
    /// When it was opened, Unix seconds.
    pub created_s: u64,
    /// When it was last used, Unix seconds, to the minute.
    pub seen_s: u64,
}

/// A token, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TokenInfo {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// When it was made, Unix seconds.
    pub created_s: u64,
    /// When it ends, Unix seconds.
    pub expires_s: u64,
    /// When it was revoked, Unix seconds.
    pub revoked_s: Option<u64>,
}

impl Store {
    /// Opens a session; returns its secret and when it ends.
    pub(crate) fn open_session(&self, by: &By, user: &str, how: &str) -> Result<(Secret, u64), StoreError> {
        let now_s = by.now_s();
        let secret = Secret::new(format!("s_{}", random_text()));
        self.act(by, how, user, |transaction| {
            let user = account(transaction, user)?;
            self::insert_session(transaction, by, user.id, &secret)
        })?;
        Ok((secret, now_s + SESSION_MAX_S))
    }

    /// Whose session it is, when it is one that lives.
    pub(crate) fn session(&self, secret_hash: &[u8; 32], now_s: u64) -> Result<Option<(Principal, u64)>, StoreError> {
        let connection = self.connection();
        let mut found = connection.prepare_cached(&format!(
            "{}, session WHERE session.user = user.id AND session.hash = ?1",
            ACCOUNT.replace(" FROM", ", session.created_s, session.seen_s FROM")
        ))?;
        let row = found
            .query_row([secret_hash], |row| Ok((Account::read(row)?, row.get::<_, u64>(6)?, row.get::<_, u64>(7)?)))
            .optional()?;
        let Some((account, created_s, seen_s)) = row else { return Ok(None) };
        let expires_s = created_s + SESSION_MAX_S;
        if account.user.disabled || now_s >= expires_s || now_s >= seen_s + SESSION_IDLE_S || now_s < created_s {
            return Ok(None);
        }
        let scopes = Scopes::of_role(account.user.role);
        Ok(Some((principal(account, scopes, Credential::Session(*secret_hash), expires_s), seen_s)))
    }

    /// The session is in use.
    pub(crate) fn touch_session(&self, secret_hash: &[u8; 32], now_s: u64) -> Result<(), StoreError> {
        let mut touched = self.connection();
        let transaction = touched.transaction()?;
        transaction.execute(
            "UPDATE session SET seen_s = max(seen_s, ?2) WHERE hash = ?1",
            params![secret_hash, seconds(now_s)],
        )?;
        Ok(transaction.commit()?)
    }

    /// Ends one of a user's sessions.
    pub(crate) fn end_session(&self, by: &By, user: i64, id: &str) -> Result<(), StoreError> {
        self.act(by, "session.end", id, |transaction| {
            let mut all = transaction.prepare("SELECT hash FROM session WHERE user = ?1")?;
            let hashes = all.query_map([user], |row| row.get::<_, [u8; 32]>(0))?.collect::<Result<Vec<_>, _>>()?;
            let found = hashes.into_iter().find(|hash| session_id(hash) == id);
            let hash = found.ok_or_else(|| absent("session", id))?;
            transaction.execute("DELETE FROM session WHERE hash = ?1", [hash])?;
            Ok(())
        })
    }

    /// A user's sessions, the newest first.
    pub(crate) fn sessions(&self, user: i64, now_s: u64) -> Result<Vec<SessionInfo>, StoreError> {
        let connection = self.connection();
        let mut all = connection.prepare_cached(
            "SELECT hash, address, created_s, seen_s FROM session WHERE user = ?1 AND seen_s > ?2 AND created_s > ?3
             ORDER BY created_s DESC, hash",
        )?;
        let oldest = (now_s.saturating_sub(SESSION_IDLE_S), now_s.saturating_sub(SESSION_MAX_S));
        let rows = all.query_map(params![user, seconds(oldest.0), seconds(oldest.1)], |row| {
            let (id, address) = (session_id(&row.get(0)?), row.get(1)?);
            Ok(SessionInfo { id, address, created_s: row.get(2)?, seen_s: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Makes a key; its secret is told once and kept nowhere.
    pub fn create_key(
        &self,
        by: &By,
        user: &str,
        label: &str,
        scopes: Scopes,
        days: Option<u32>,
    ) -> Result<(KeyInfo, Secret), StoreError> {
        if days.is_some_and(|days| days == 0 || days > KEY_DAYS_MAX) {
            return Err(StoreError::Life { what: "key", least: 1, most: KEY_DAYS_MAX, unit: "days" });
        }
        let now_s = by.now_s();
        let id = random_hex::<6>();
        let secret = Secret::new(format!("ap_{id}_{}", random_text()));
        let info = KeyInfo {
            id: id.clone(),
            user: user.to_owned(),
            label: label.chars().filter(|c| !c.is_control()).take(LABEL_CHARS_MAX).collect(),
            scopes: scopes.list(),
            created_s: now_s,
            expires_s: days.map(|days| now_s + u64::from(days) * 86_400),
            revoked_s: None,
        };
        self.act(by, "key.create", &format!("{id} of {user} for {scopes}"), |transaction| {
            let user = account(transaction, user)?;
            within(scopes, Scopes::of_role(user.user.role))?;
            room(
                transaction,
                "SELECT count(*) FROM api_key WHERE user = ?1 AND revoked_s IS NULL",
                user.id,
                "keys",
                KEYS_MAX,
            )?;
            transaction.execute(
                "INSERT INTO api_key VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL)",
                params![
                    id,
                    secret.hash(),
                    user.id,
                    info.label,
                    scopes.to_string(),
                    seconds(now_s),
                    info.expires_s.map(seconds)
                ],
            )?;
            Ok(())
        })?;
        Ok((info, secret))
    }

    /// Keys, of one user or of all, the newest first.
    pub fn keys(&self, user: Option<&str>) -> Result<Vec<KeyInfo>, StoreError> {
        let connection = self.connection();
        let mut all = connection.prepare_cached(
            "SELECT api_key.id, user.name, label, scopes, api_key.created_s, expires_s, revoked_s FROM api_key, user
             WHERE api_key.user = user.id AND (?1 IS NULL OR user.name = ?1) ORDER BY api_key.created_s DESC, api_key.id",
        )?;
        let rows = all.query_map([user], |row| {
            Ok(KeyInfo {
                id: row.get(0)?,
                user: row.get(1)?,
                label: row.get(2)?,
                scopes: row.get::<_, String>(3)?.parse::<Scopes>().unwrap_or_default().list(),
                created_s: row.get(4)?,
                expires_s: row.get(5)?,
                revoked_s: row.get(6)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Ends a key for good; of this user, or of anyone when none is named.
    pub fn revoke_key(&self, by: &By, id: &str, user: Option<&str>) -> Result<(), StoreError> {
        self.act(by, "key.revoke", id, |transaction| {
            let revoked = transaction.execute(
                "UPDATE api_key SET revoked_s = coalesce(revoked_s, ?2) WHERE id = ?1
                 AND (?3 IS NULL OR user = (SELECT id FROM user WHERE name = ?3))",
                params![id, seconds(by.now_s()), user],
            )?;
            if revoked == 0 { Err(absent("key", id)) } else { Ok(()) }
        })
    }

    /// Whose key it is, when it is one that lives.
    pub(crate) fn key(&self, secret_hash: &[u8; 32], now_s: u64) -> Result<Option<Principal>, StoreError> {
        self.find_key("hash", secret_hash, now_s)
    }

    /// The same by the key's id, for one who has shown the secret before.
    pub(crate) fn key_by_id(&self, id: &str, now_s: u64) -> Result<Option<Principal>, StoreError> {
        self.find_key("id", id, now_s)
    }

    fn find_key(&self, column: &str, value: impl rusqlite::ToSql, now_s: u64) -> Result<Option<Principal>, StoreError> {
        let connection = self.connection();
        let mut found = connection.prepare_cached(&format!(
            "{}, api_key WHERE api_key.user = user.id AND api_key.{column} = ?1 AND api_key.revoked_s IS NULL",
            ACCOUNT.replace(" FROM", ", api_key.id, api_key.scopes, api_key.expires_s FROM")
        ))?;
        let row = found
            .query_row([value], |row| {
                Ok((
                    Account::read(row)?,
                    row.get::<_, String>(6)?,
                    row.get::<_, String>(7)?,
                    row.get::<_, Option<u64>>(8)?,
                ))
            })
            .optional()?;
        let Some((account, id, scopes, expires_s)) = row else { return Ok(None) };
        let expires_s = expires_s.unwrap_or(u64::MAX);
        if account.user.disabled || now_s >= expires_s {
            return Ok(None);
        }
        let scopes: Scopes = scopes.parse().map_err(|_| StoreError::Damaged("a key with scopes"))?;
        let scopes = scopes.and(Scopes::of_role(account.user.role));
        Ok(Some(principal(account, scopes, Credential::Key(id), expires_s)))
    }

    /// Makes a token.
    pub fn create_token(
        &self,
        by: &By,
        user: &str,
        scopes: Scopes,
        minutes: u32,
    ) -> Result<(TokenInfo, Secret), StoreError> {
        if minutes == 0 || minutes > TOKEN_MINUTES_MAX {
            return Err(StoreError::Life { what: "token", least: 1, most: TOKEN_MINUTES_MAX, unit: "minutes" });
        }
        let now_s = by.now_s();
        let (id, expires_s) = (random_hex::<12>(), now_s + u64::from(minutes) * 60);
        let owner = self.act(by, "token.create", &format!("{id} of {user} for {scopes}"), |transaction| {
            let user = account(transaction, user)?;
            within(scopes, Scopes::of_role(user.user.role))?;
            transaction.execute("DELETE FROM token WHERE expires_s <= ?1", [seconds(now_s)])?;
            room(transaction, "SELECT count(*) FROM token WHERE user = ?1", user.id, "tokens", TOKENS_MAX)?;
            transaction.execute(
                "INSERT INTO token VALUES(?1, ?2, ?3, ?4, ?5, NULL)",
                params![id, user.id, scopes.to_string(), seconds(now_s), seconds(expires_s)],
            )?;
            Ok(user.id)
        })?;
        let grant = Grant { user: owner, id: id.clone(), scopes, issued_s: now_s, expires_s };
        let info = TokenInfo { id, scopes: scopes.list(), created_s: now_s, expires_s, revoked_s: None };
        Ok((info, self.signer().write(&grant)))
    }

    /// A user's tokens that have not expired, the newest first.
    pub(crate) fn tokens(&self, user: i64, now_s: u64) -> Result<Vec<TokenInfo>, StoreError> {
        let connection = self.connection();
        let mut all = connection.prepare_cached(
            "SELECT id, scopes, created_s, expires_s, revoked_s FROM token WHERE user = ?1 AND expires_s > ?2
             ORDER BY created_s DESC, id",
        )?;
        let rows = all.query_map(params![user, seconds(now_s)], |row| {
            Ok(TokenInfo {
                id: row.get(0)?,
                scopes: row.get::<_, String>(1)?.parse::<Scopes>().unwrap_or_default().list(),
                created_s: row.get(2)?,
                expires_s: row.get(3)?,
                revoked_s: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Ends a user's token before its time.
    pub(crate) fn revoke_token(&self, by: &By, user: i64, id: &str) -> Result<(), StoreError> {
        self.act(by, "token.revoke", id, |transaction| {
            let revoked = transaction.execute(
                "UPDATE token SET revoked_s = coalesce(revoked_s, ?3) WHERE id = ?1 AND user = ?2",
                params![id, user, seconds(by.now_s())],
            )?;
            if revoked == 0 { Err(absent("token", id)) } else { Ok(()) }
        })
    }

    /// Whose token it is, when it is one that was made here and lives.
    pub(crate) fn token(&self, grant: &Grant) -> Result<Option<Principal>, StoreError> {
        self.token_by_id(&grant.id, grant.user, grant.scopes, grant.expires_s)
    }

    /// The same for one who has shown the token before.
    pub(crate) fn token_by_id(
        &self,
        id: &str,
        user: i64,
        scopes: Scopes,
        expires_s: u64,
    ) -> Result<Option<Principal>, StoreError> {
        let connection = self.connection();
        let mut found = connection.prepare_cached(&format!(
            "{ACCOUNT}, token WHERE token.user = user.id AND token.id = ?1 AND user.id = ?2 AND token.revoked_s IS NULL"
        ))?;
        let account = found.query_row(params![id, user], Account::read).optional()?;
        Ok(account.filter(|account| !account.user.disabled).map(|account| {
            let scopes = scopes.and(Scopes::of_role(account.user.role));
            principal(account, scopes, Credential::Token(id.to_owned()), expires_s)
        }))
    }

    /// Makes a code that logs a user in once, within minutes.
    pub fn create_link(&self, by: &By, user: &str) -> Result<Secret, StoreError> {
        let code = Secret::new(random_text());
        self.act(by, "link.create", user, |transaction| {
            let user = account(transaction, user)?;
            if user.user.disabled {
                return Err(absent("enabled user", &user.user.name));
            }
            transaction.execute("DELETE FROM link WHERE expires_s <= ?1", [seconds(by.now_s())])?;
            transaction.execute(
                "INSERT INTO link VALUES(?1, ?2, ?3)",
                params![code.hash(), user.id, seconds(by.now_s() + LINK_SECONDS)],
            )?;
            Ok(())
        })?;
        Ok(code)
    }

    /// Uses a code up and opens a session for it; `None` when it is used, too old or none. Both happen or neither, so that
    /// of two who come at once one is let in.
    pub(crate) fn open_link(&self, by: &By, code: &str) -> Result<Option<(Secret, u64)>, StoreError> {
        let now_s = by.now_s();
        let code_hash = hash(code);
        let known = {
            let connection = self.connection();
            let mut found = connection.prepare_cached(
                "SELECT user.name FROM link, user WHERE link.user = user.id AND link.hash = ?1 AND user.disabled = 0
                 AND link.expires_s > ?2",
            )?;
            found.query_row(params![code_hash, seconds(now_s)], |row| row.get::<_, String>(0)).optional()?
        };
        let Some(name) = known else { return Ok(None) };
        let secret = Secret::new(format!("s_{}", random_text()));
        let by = By { actor: name.clone(), ..by.clone() };
        let opened = self.act(&by, "login.link", &name, |transaction| {
            if transaction.execute("DELETE FROM link WHERE hash = ?1", [code_hash])? == 0 {
                return Err(absent("link", &name));
            }
            let user = account(transaction, &name)?;
            insert_session(transaction, &by, user.id, &secret)
        });
        match opened {
            Ok(()) => Ok(Some((secret, now_s + SESSION_MAX_S))),
            Err(StoreError::Absent { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn principal(account: Account, scopes: Scopes, credential: Credential, expires_s: u64) -> Principal {
    Principal { user: account.id, name: account.user.name, role: account.user.role, scopes, credential, expires_s }
}

/// What a session is called: enough of its hash to tell it from others, and of no use to get in.
pub(crate) fn session_id(secret_hash: &[u8; 32]) -> String {
    hex(&secret_hash[..8])
}

fn insert_session(transaction: &Transaction<'_>, by: &By, user: i64, secret: &Secret) -> Result<(), StoreError> {
    let now_s = by.now_s();
    let over = (now_s.saturating_sub(SESSION_IDLE_S), now_s.saturating_sub(SESSION_MAX_S));
    transaction.execute(
        "DELETE FROM session WHERE seen_s <= ?1 OR created_s <= ?2",
        params![seconds(over.0), seconds(over.1)],
    )?;
    transaction.execute(
        "DELETE FROM session WHERE user = ?1 AND hash NOT IN
         (SELECT hash FROM session WHERE user = ?1 ORDER BY created_s DESC LIMIT ?2)",
        params![user, SESSIONS_MAX - 1],
    )?;
    transaction.execute(
        "INSERT INTO session VALUES(?1, ?2, ?3, ?3, ?4)",
        params![secret.hash(), user, seconds(now_s), by.address],
    )?;
    Ok(())
}

fn within(asked: Scopes, most: Scopes) -> Result<(), StoreError> {
    if asked.within(most) && !asked.is_empty() {
        return Ok(());
    }
    Err(StoreError::Scopes { asked: asked.to_string(), most: most.to_string() })
}

fn room(
    transaction: &Transaction<'_>,
    count: &str,
    user: i64,
    what: &'static str,
    most: usize,
) -> Result<(), StoreError> {
    let there: usize = transaction.query_row(count, [user], |row| row.get(0))?;
    if there < most { Ok(()) } else { Err(StoreError::Full { what, most }) }
}

fn absent(what: &'static str, name: &str) -> StoreError {
    StoreError::Absent { what, name: name.chars().take(super::NAME_BYTES_MAX).collect() }
}
