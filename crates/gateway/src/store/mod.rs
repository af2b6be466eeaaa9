//! Users, sessions, keys, tokens, links, workspaces and the audit log: one SQLite database, one connection.
//! A change and its entry in the audit log are one transaction, the entry first: what cannot be written down is not done.
//!
//! The gateway and the command line may have it open at once. What one changes, the other notices by
//! [`Store::look`], so that a key revoked on the command line ends streams within a heartbeat. Times are handed in.

mod audit;
mod credentials;
mod users;
mod workspace;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::watch;

pub use audit::{AuditEntry, AuditProblem, AuditState};
#[cfg(test)]
use credentials::LINK_SECONDS;
pub use credentials::{KeyInfo, SessionInfo, TokenInfo};
pub(crate) use credentials::{SESSION_IDLE_S, SESSION_MAX_S, session_id};
pub use users::User;
pub use workspace::{Document, Kind};

use crate::password::PasswordError;
use crate::secret::{Root, RootError};
use crate::token::Signer;

/// How long one process waits for another's transaction, of milliseconds, before it gives up.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// Layout of the tables; a database of another one is refused.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE user(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, password TEXT,
    disabled INTEGER NOT NULL DEFAULT 0, created_s INTEGER NOT NULL) STRICT;
CREATE TABLE session(hash BLOB PRIMARY KEY, user INTEGER NOT NULL REFERENCES user, created_s INTEGER NOT NULL,
    seen_s INTEGER NOT NULL, address TEXT NOT NULL) STRICT;
CREATE TABLE api_key(id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, user INTEGER NOT NULL REFERENCES user,
    label TEXT NOT NULL, scopes TEXT NOT NULL, created_s INTEGER NOT NULL, expires_s INTEGER, revoked_s INTEGER) STRICT;
CREATE TABLE token(id TEXT PRIMARY KEY, user INTEGER NOT NULL REFERENCES user, scopes TEXT NOT NULL,
    created_s INTEGER NOT NULL, expires_s INTEGER NOT NULL, revoked_s INTEGER) STRICT;
CREATE TABLE link(hash BLOB PRIMARY KEY, user INTEGER NOT NULL REFERENCES user, expires_s INTEGER NOT NULL) STRICT;
CREATE TABLE workspace(user INTEGER NOT NULL REFERENCES user, kind TEXT NOT NULL, name TEXT NOT NULL,
    value TEXT NOT NULL, updated_s INTEGER NOT NULL, PRIMARY KEY(user, kind, name)) STRICT;
CREATE TABLE audit(seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, actor TEXT NOT NULL, address TEXT NOT NULL,
    action TEXT NOT NULL, target TEXT NOT NULL, outcome TEXT NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE audit_head(id INTEGER PRIMARY KEY CHECK(id = 1), seq INTEGER NOT NULL, hash BLOB NOT NULL,
    mac BLOB NOT NULL) STRICT;
";

/// Why something cannot be stored, or is not done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be had.
    #[error("cannot use the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may enter it.
    #[error("{} may be entered by others (mode {mode:o}); chmod 700 it", path.display())]
    Shared {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The keys cannot be had.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The database is another program's, or a newer one's.
    #[error("{} has tables of version {found}, and this program knows {VERSION}; use the program that made it", path.display())]
    Version {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// SQLite refuses.
    #[error("the database of users: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// What was found makes no sense.
    #[error("the database of users holds {0} that makes no sense; restore it from a backup")]
    Damaged(&'static str),
    /// Nothing has this name.
    #[error("there is no {what} {name:?}")]
    Absent {
        /// Of what kind.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The name is taken.
    #[error("there is a user {0:?} already")]
    Taken(String),
    /// Not a name.
    #[error(
        "{0:?} is no name: it has 1 to 64 characters of a-z, 0-9, '.', '_' and '-' and begins with a letter or digit"
    )]
    Name(String),
    /// The password is too short or too long.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Nobody could manage users any more.
    #[error("{0:?} is the last admin who can log in; make another one first")]
    LastAdmin(String),
    /// The user's role does not carry the scope.
    #[error("the scopes {asked} go beyond those you may give: {most}")]
    Scopes {
        /// What was asked for.
        asked: String,
        /// What may be had.
        most: String,
    },
    /// Not a life that a credential may have.
    #[error("a {what} lives {least} to {most} {unit}")]
    Life {
        /// The credential.
        what: &'static str,
        /// The shortest.
        least: u32,
        /// The longest.
        most: u32,
        /// Of what.
        unit: &'static str,
    },
    /// There are as many as there may be.
    #[error("there are {most} {what}, which is all there may be; remove one")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many.
        most: usize,
    },
}

/// Who changes something, from where, and when.
#[derive(Clone, Debug)]
pub struct By {
    /// A user's name, or what acts without one.
    pub actor: String,
    /// An address, or where else it comes from.
    pub address: String,
    /// Wall clock, ns since the Unix epoch.
    pub now_ns: u64,
}

impl By {
    /// Somebody with access to the files, on the command line.
    pub fn command_line(now_ns: u64) -> By {
        By { actor: "command line".to_owned(), address: "local".to_owned(), now_ns }
    }

    pub(crate) fn now_s(&self) -> u64 {
        self.now_ns / 1_000_000_000
    }
}

/// The database.
pub struct Store {
    connection: Mutex<Connection>,
    audit_key: [u8; 32],
    signer: Signer,
    /// Counts what may have ended a credential.
    changes: watch::Sender<u64>,
    /// SQLite's count of the changes of others.
    others: Mutex<i64>,
}

impl Store {
    /// Opens it in this folder, which is made when there is none; nobody but its owner may enter it.
    pub fn open(folder: &Path) -> Result<Store, StoreError> {
        let failed = |source| StoreError::Folder { path: folder.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let mode = fs::metadata(folder).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(StoreError::Shared { path: folder.to_owned(), mode });
        }
        let root = Root::open(&folder.join("keys"))?;
        let path = folder.join("users.db");
        let mut connection = Connection::open(&path)?;
        connection.busy_timeout(BUSY_MAX)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
        )?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
            0 => {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
            }
            VERSION => {}
            found => return Err(StoreError::Version { path, found }),
        }
        transaction.commit()?;
        Ok(Store {
            connection: Mutex::new(connection),
            audit_key: root.derive("audit"),
            signer: Signer::new(&root),
            changes: watch::Sender::new(0),
            others: Mutex::new(0),
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in the middle of a transaction rolls it back; the connection is whole.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what is done, does it, and keeps both or neither.
    fn act<T>(
        &self,
        by: &By,
        action: &str,
        target: &str,
        effect: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.append(&transaction, by, action, target, "done")?;
        let done = effect(&transaction)?;
        transaction.commit()?;
        drop(connection);
        self.changed();
        Ok(done)
    }

    /// Writes down what was not done.
    pub(crate) fn refused(&self, by: &By, action: &str, target: &str) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.append(&transaction, by, action, target, "refused")?;
        Ok(transaction.commit()?)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Changes when a credential may have ended.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Notices what other processes changed.
    pub(crate) fn look(&self) -> Result<(), StoreError> {
        let now: i64 = self.connection().pragma_query_value(None, "data_version", |row| row.get(0))?;
        let before = std::mem::replace(&mut *self.others.lock().unwrap_or_else(PoisonError::into_inner), now);
        if before != now {
            self.changed();
        }
        Ok(())
    }

    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }
}

/// Whether the database refused because the row is there already.
fn is_taken(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(failure, _) if failure.code == ErrorCode::ConstraintViolation)
}

/// Seconds as the database keeps them.
fn seconds(s: u64) -> i64 {
    i64::try_from(s).unwrap_or(i64::MAX)
}

/// A name of a user, watchlist or layout.
pub(crate) fn check_name(name: &str) -> Result<(), StoreError> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() <= NAME_BYTES_MAX && name.bytes().all(known) {
        Ok(())
    } else {
        Err(StoreError::Name(name.chars().take(NAME_BYTES_MAX).collect()))
    }
}

/// The longest name.
pub(crate) const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests;
