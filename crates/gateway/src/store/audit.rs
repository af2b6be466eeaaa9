//! The audit log: who did what, when and from where, each entry chained to the one before it.
//!
//! An entry's hash is an HMAC over the entry and the hash before it, under a key that is not in the database; the newest
//! sequence and hash are kept apart under the same key. So an entry that is changed, removed (the newest too), put in or
//! moved breaks the chain at a place that can be named.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::{By, Store, StoreError};
use crate::secret::{hex, mac, same};

/// The longest text of an entry; what clients name is cut to it.
const TEXT_BYTES_MAX: usize = 200;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditEntry {
    /// Its place, from 1.
    pub seq: u64,
    /// When, ns since the Unix epoch.
    pub at_ns: u64,
    /// Who.
    pub actor: String,
    /// From where.
    pub address: String,
    /// What.
    pub action: String,
    /// To what.
    pub target: String,
    /// `done` or `refused`.
    pub outcome: String,
}

/// A log that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditState {
    /// How many entries it has.
    pub entries: u64,
    /// The newest entry's hash, hexadecimal: kept elsewhere, it proves later that nothing before it was changed.
    pub head: String,
}

/// Why the log is not whole: the first entry that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum AuditProblem {
    /// Its hash does not fit.
    #[error("entry {0} of the audit log was changed, moved or put in")]
    Changed(u64),
    /// It is not there.
    #[error("entry {0} of the audit log was removed")]
    Removed(u64),
    /// The newest entry is not known any more.
    #[error("the head of the audit log was changed or removed; entry {0} is the last that is there")]
    Head(u64),
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Hash = [u8; 32];

impl AuditEntry {
    fn read(row: &Row<'_>) -> rusqlite::Result<(AuditEntry, Vec<u8>)> {
        let entry = AuditEntry {
            seq: row.get(0)?,
            at_ns: row.get(1)?,
            actor: row.get(2)?,
            address: row.get(3)?,
            action: row.get(4)?,
            target: row.get(5)?,
            outcome: row.get(6)?,
        };
        Ok((entry, row.get(7)?))
    }

    fn hash(&self, key: &Hash, before: &[u8]) -> Hash {
        let told = serde_json::to_vec(self).expect("an entry is plain JSON");
        mac(key, &[b"entry", before, &told])
    }
}

fn head_mac(key: &Hash, seq: u64, hash: &[u8]) -> Hash {
    mac(key, &[b"head", &seq.to_le_bytes(), hash])
}

const COLUMNS: &str = "SELECT seq, at_ns, actor, address, action, target, outcome, hash FROM audit";

impl Store {
    /// Adds an entry within the transaction of what it tells.
    pub(super) fn append(
        &self,
        transaction: &Transaction<'_>,
        by: &By,
        action: &str,
        target: &str,
        outcome: &str,
    ) -> Result<(), StoreError> {
        let head = transaction
            .query_row("SELECT seq, hash FROM audit_head", [], |row| {
                Ok((row.get::<_, u64>(0)?, row.get::<_, Vec<u8>>(1)?))
            })
            .optional()?;
        let (last, before) = head.unwrap_or((0, vec![]));
        let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(TEXT_BYTES_MAX / 4).collect::<String>();
        let entry = AuditEntry {
            seq: last + 1,
            at_ns: by.now_ns,
            actor: cut(&by.actor),
            address: cut(&by.address),
            action: action.to_owned(),
            target: cut(target),
            outcome: outcome.to_owned(),
        };
        let hash = entry.hash(&self.audit_key, &before);
        transaction.execute(
            "INSERT INTO audit VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                entry.seq,
                entry.at_ns,
                entry.actor,
                entry.address,
                entry.action,
                entry.target,
                entry.outcome,
                hash
            ],
        )?;
        transaction.execute(
            "INSERT OR REPLACE INTO audit_head VALUES(1, ?1, ?2, ?3)",
            params![entry.seq, hash, head_mac(&self.audit_key, entry.seq, &hash)],
        )?;
        Ok(())
    }

    /// The newest entries before this one, newest first.
    pub fn audit_entries(&self, before: Option<u64>, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let connection = self.connection();
        let mut found = connection.prepare_cached(&format!("{COLUMNS} WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2"))?;
        let before = before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX);
        let rows = found.query_map(params![before, limit], |row| AuditEntry::read(row).map(|(entry, _)| entry))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Proves that the log is as it was written, or names the first entry that is not.
    pub fn audit_verify(&self) -> Result<AuditState, AuditProblem> {
        let mut connection = self.connection();
        // One view of both tables, though another process may write meanwhile.
        let view = connection.transaction().map_err(StoreError::from)?;
        let mut all = view.prepare(&format!("{COLUMNS} ORDER BY seq")).map_err(StoreError::from)?;
        let mut rows = all.query([]).map_err(StoreError::from)?;
        let (mut last, mut before) = (0, vec![]);
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            // A value that is none of ours, such as a negative number, was changed too.
            let Ok((entry, hash)) = AuditEntry::read(row) else { return Err(AuditProblem::Changed(last + 1)) };
            if entry.seq != last + 1 {
                let gone = entry.seq > last + 1;
                return Err(if gone { AuditProblem::Removed(last + 1) } else { AuditProblem::Changed(entry.seq) });
            }
            if !same(&entry.hash(&self.audit_key, &before), &hash) {
                return Err(AuditProblem::Changed(entry.seq));
            }
            (last, before) = (entry.seq, hash);
        }
        let head = view
            .query_row("SELECT seq, hash, mac FROM audit_head", [], |row| {
                Ok((row.get::<_, u64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?))
            })
            .optional()
            .map_err(|_| AuditProblem::Head(last))?;
        match head {
            None if last == 0 => Ok(AuditState { entries: 0, head: String::new() }),
            Some((seq, hash, mac)) if same(&mac, &head_mac(&self.audit_key, seq, &hash)) => match seq {
                seq if seq > last => Err(AuditProblem::Removed(last + 1)),
                seq if seq < last => Err(AuditProblem::Changed(seq + 1)),
                _ if !same(&hash, &before) => Err(AuditProblem::Changed(last)),
                _ => Ok(AuditState { entries: last, head: hex(&before) }),
            },
            _ => Err(AuditProblem::Head(last)),
        }
    }
}
