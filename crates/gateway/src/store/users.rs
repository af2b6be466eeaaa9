//! Users: names, roles, passwords.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::{By, Store, StoreError, check_name, is_taken, seconds};
use crate::access::Role;
use crate::password::{self, random_password};
use crate::secret::Secret;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct User {
    /// The name.
    pub name: String,
    /// What they are.
    pub role: Role,
    /// Whether they may not come in any more.
    pub disabled: bool,
    /// Whether they can log in with a password.
    pub has_password: bool,
    /// When they were added, Unix seconds.
    pub created_s: u64,
}

/// A user with what only the doors need.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) id: i64,
    pub(crate) user: User,
    pub(crate) password: Option<String>,
}

pub(super) const ACCOUNT: &str =
    "SELECT user.id, user.name, user.role, user.disabled, user.password, user.created_s FROM user";

impl Account {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Account> {
        let role: String = row.get(2)?;
        let password: Option<String> = row.get(4)?;
        let user = User {
            name: row.get(1)?,
            // A role that is none gives nothing: the user is the least there is, and shut out.
            role: role.parse().unwrap_or(Role::Viewer),
            disabled: row.get::<_, bool>(3)? || role.parse::<Role>().is_err(),
            has_password: password.is_some(),
            created_s: row.get(5)?,
        };
        Ok(Account { id: row.get(0)?, user, password })
    }
}

/// Whoever is to be logged in at the first start.
const FIRST: &str = "admin";

impl Store {
    /// Makes the first admin with a random password when there is no user at all.
    pub fn first_run(&self, by: &By) -> Result<Option<(String, Secret)>, StoreError> {
        if !self.users()?.is_empty() {
            return Ok(None);
        }
        let password = random_password();
        match self.add_user(by, FIRST, Role::Admin, &password) {
            Ok(()) => Ok(Some((FIRST.to_owned(), password))),
            // Another process was faster, and told its own.
            Err(StoreError::Taken(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds a user.
    pub fn add_user(&self, by: &By, name: &str, role: Role, password: &Secret) -> Result<(), StoreError> {
        check_name(name)?;
        let hash = password::hash(password)?;
        self.act(by, "user.add", &format!("{name} as {role}"), |transaction| {
            let added = transaction.execute(
                "INSERT INTO user(name, role, password, created_s) VALUES(?1, ?2, ?3, ?4)",
                params![name, role.name(), hash, seconds(by.now_s())],
            );
            match added {
                Err(error) if is_taken(&error) => Err(StoreError::Taken(name.to_owned())),
                other => Ok(other.map(drop)?),
            }
        })
    }

    /// Changes a password and ends the user's sessions.
    pub fn set_password(&self, by: &By, name: &str, password: &Secret) -> Result<(), StoreError> {
        let hash = password::hash(password)?;
        self.act(by, "user.password", name, |transaction| {
            let user = account(transaction, name)?;
            transaction.execute("UPDATE user SET password = ?2 WHERE id = ?1", params![user.id, hash])?;
            transaction.execute("DELETE FROM session WHERE user = ?1", [user.id])?;
            Ok(())
        })
    }

    /// Changes a role; it holds at once for all the user's credentials.
    pub fn set_role(&self, by: &By, name: &str, role: Role) -> Result<(), StoreError> {
        self.act(by, "user.role", &format!("{name} to {role}"), |transaction| {
            let user = account(transaction, name)?;
            transaction.execute("UPDATE user SET role = ?2 WHERE id = ?1", params![user.id, role.name()])?;
            keep_an_admin(transaction, &user)
        })
    }

    /// Shuts a user out, with all credentials, or lets them in again.
    pub fn set_disabled(&self, by: &By, name: &str, disabled: bool) -> Result<(), StoreError> {
        let action = if disabled { "user.disable" } else { "user.enable" };
        self.act(by, action, name, |transaction| {
            let user = account(transaction, name)?;
            transaction.execute("UPDATE user SET disabled = ?2 WHERE id = ?1", params![user.id, disabled])?;
            transaction.execute("DELETE FROM session WHERE user = ?1", [user.id])?;
            transaction.execute("DELETE FROM link WHERE user = ?1", [user.id])?;
            keep_an_admin(transaction, &user)
        })
    }

    /// All users, by name.
    pub fn users(&self) -> Result<Vec<User>, StoreError> {
        let connection = self.connection();
        let mut all = connection.prepare_cached(&format!("{ACCOUNT} ORDER BY name"))?;
        let rows = all.query_map([], |row| Ok(Account::read(row)?.user))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether somebody can log in with a password.
    pub fn anyone_can_log_in(&self) -> Result<bool, StoreError> {
        Ok(self.users()?.iter().any(|user| user.has_password && !user.disabled))
    }

    /// The user of this name.
    pub(crate) fn account(&self, name: &str) -> Result<Option<Account>, StoreError> {
        let connection = self.connection();
        let mut found = connection.prepare_cached(&format!("{ACCOUNT} WHERE name = ?1"))?;
        Ok(found.query_row([name], Account::read).optional()?)
    }
}

pub(super) fn account(transaction: &Transaction<'_>, name: &str) -> Result<Account, StoreError> {
    let found = transaction.query_row(&format!("{ACCOUNT} WHERE name = ?1"), [name], Account::read).optional()?;
    let name: String = name.chars().take(super::NAME_BYTES_MAX).collect();
    found.ok_or(StoreError::Absent { what: "user", name })
}

/// After the change somebody can still manage users.
fn keep_an_admin(transaction: &Transaction<'_>, changed: &Account) -> Result<(), StoreError> {
    let left: i64 = transaction.query_row(
        "SELECT count(*) FROM user WHERE role = ?1 AND disabled = 0 AND password IS NOT NULL",
        [Role::Admin.name()],
        |row| row.get(0),
    )?;
    let was_one = changed.user.role == Role::Admin && !changed.user.disabled && changed.user.has_password;
    if left == 0 && was_one { Err(StoreError::LastAdmin(changed.user.name.clone())) } else { Ok(()) }
}
