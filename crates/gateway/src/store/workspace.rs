//! What a user arranges: watchlists, layouts and preferences, as JSON documents by name.

use rusqlite::{OptionalExtension, params};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Store, StoreError, check_name, seconds};

/// Documents of a kind that a user may have.
const DOCUMENTS_MAX: usize = 64;

/// A kind of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Instruments somebody watches.
    Watchlist,
    /// How panes are arranged.
    Layout,
    /// Everything else; one document.
    Preferences,
}

impl Kind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Watchlist => "watchlist",
            Kind::Layout => "layout",
            Kind::Preferences => "preferences",
        }
    }
}

/// A stored document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Document<T = Value> {
    /// Its name.
    pub name: String,
    /// What it says.
    pub value: T,
    /// When it was last written, Unix seconds.
    pub updated_s: u64,
}

impl Store {
    /// A user's documents of a kind, by name.
    pub(crate) fn documents(&self, user: i64, kind: Kind) -> Result<Vec<Document>, StoreError> {
        let connection = self.connection();
        let mut all = connection.prepare_cached(
            "SELECT name, value, updated_s FROM workspace WHERE user = ?1 AND kind = ?2 ORDER BY name",
        )?;
        let rows = all.query_map(params![user, kind.name()], read)?;
        rows.map(|row| document(row?)).collect()
    }

    /// One of them.
    pub(crate) fn document(&self, user: i64, kind: Kind, name: &str) -> Result<Option<Document>, StoreError> {
        let connection = self.connection();
        let mut found = connection.prepare_cached(
            "SELECT name, value, updated_s FROM workspace WHERE user = ?1 AND kind = ?2 AND name = ?3",
        )?;
        found.query_row(params![user, kind.name(), name], read).optional()?.map(document).transpose()
    }

    /// Writes one, new or in place of the old.
    pub(crate) fn put_document(
        &self,
        user: i64,
        kind: Kind,
        name: &str,
        value: Value,
        now_s: u64,
    ) -> Result<Document, StoreError> {
        check_name(name)?;
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        transaction.execute(
            "INSERT OR REPLACE INTO workspace VALUES(?1, ?2, ?3, ?4, ?5)",
            params![user, kind.name(), name, value.to_string(), seconds(now_s)],
        )?;
        let there: usize = transaction.query_row(
            "SELECT count(*) FROM workspace WHERE user = ?1 AND kind = ?2",
            params![user, kind.name()],
            |row| row.get(0),
        )?;
        if there > DOCUMENTS_MAX {
            return Err(StoreError::Full { what: "documents of this kind", most: DOCUMENTS_MAX });
        }
        transaction.commit()?;
        Ok(Document { name: name.to_owned(), value, updated_s: now_s })
    }

    /// Removes one.
    pub(crate) fn remove_document(&self, user: i64, kind: Kind, name: &str) -> Result<(), StoreError> {
        let connection = self.connection();
        let removed = connection.execute(
            "DELETE FROM workspace WHERE user = ?1 AND kind = ?2 AND name = ?3",
            params![user, kind.name(), name],
        )?;
        let name = name.chars().take(super::NAME_BYTES_MAX).collect();
        if removed == 0 { Err(StoreError::Absent { what: kind.name(), name }) } else { Ok(()) }
    }
}

type Raw = (String, String, u64);

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Raw> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn document((name, value, updated_s): Raw) -> Result<Document, StoreError> {
    let value = serde_json::from_str(&value).map_err(|_| StoreError::Damaged("a document"))?;
    Ok(Document { name, value, updated_s })
}
