//! What admins manage: users, other people's keys, the audit log.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::account::{DONE, Done, Id};
use crate::access::{Role, Scope, needs};
use crate::error::ApiError;
use crate::routes::{Ask, Context, Nothing, Routes, blocking};
use crate::secret::Secret;
use crate::store::{AuditEntry, AuditProblem, AuditState, KeyInfo, User};

/// Entries of the audit log in one answer.
const ENTRIES_MAX: usize = 1000;
const ENTRIES_DEFAULT: usize = 100;

pub(super) fn add(routes: &mut Routes) {
    let admin = needs(Role::Admin, Scope::Admin);
    routes.json(Method::GET, "/v1/users", admin, "All users", users);
    routes.json(Method::POST, "/v1/users", admin, "Add a user", add_user);
    routes.json(Method::PUT, "/v1/users/{name}/role", admin, "Change a role; holds at once", set_role);
    routes.json(
        Method::PUT,
        "/v1/users/{name}/password",
        admin,
        "Set a password; ends the user's sessions",
        set_password,
    );
    routes.json(Method::PUT, "/v1/users/{name}/disabled", admin, "Shut a user out, or let them in again", set_disabled);
    routes.json(Method::GET, "/v1/admin/keys", admin, "All users' API keys", keys);
    routes.json(Method::DELETE, "/v1/admin/keys/{id}", admin, "Revoke anyone's key", revoke_key);
    routes.json(Method::GET, "/v1/audit", admin, "The audit log, the newest first", audit);
    routes.json(Method::GET, "/v1/audit/state", admin, "Whether the audit log is whole", audit_state);
}

/// Which user.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Name {
    /// The user's name.
    name: String,
}

async fn users(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<Vec<User>, ApiError> {
    context.store(|store| store.users()).await
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UserBody {
    /// The name: a-z, 0-9, '.', '_' and '-'.
    name: String,
    /// What they are to be.
    role: Role,
    /// At least 12 characters.
    password: String,
}

async fn add_user(context: Context, ask: Ask<Nothing, Nothing, UserBody>) -> Result<Done, ApiError> {
    let UserBody { name, role, password } = ask.body;
    let _turn = context.shared.hashing.acquire().await.map_err(|error| ApiError::internal(&error))?;
    let (by, password) = (context.by(), Secret::new(password));
    context.store(move |store| store.add_user(&by, &name, role, &password)).await?;
    Ok(DONE)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RoleBody {
    /// What they are to be.
    role: Role,
}

async fn set_role(context: Context, ask: Ask<Name, Nothing, RoleBody>) -> Result<Done, ApiError> {
    let by = context.by();
    context.store(move |store| store.set_role(&by, &ask.path.name, ask.body.role)).await?;
    Ok(DONE)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewPasswordBody {
    /// At least 12 characters.
    password: String,
}

async fn set_password(context: Context, ask: Ask<Name, Nothing, NewPasswordBody>) -> Result<Done, ApiError> {
    let _turn = context.shared.hashing.acquire().await.map_err(|error| ApiError::internal(&error))?;
    let (by, password) = (context.by(), Secret::new(ask.body.password));
    context.store(move |store| store.set_password(&by, &ask.path.name, &password)).await?;
    Ok(DONE)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DisabledBody {
    /// Whether they are to be shut out.
    disabled: bool,
}

async fn set_disabled(context: Context, ask: Ask<Name, Nothing, DisabledBody>) -> Result<Done, ApiError> {
    let by = context.by();
    context.store(move |store| store.set_disabled(&by, &ask.path.name, ask.body.disabled)).await?;
    Ok(DONE)
}

async fn keys(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<Vec<KeyInfo>, ApiError> {
    context.store(|store| store.keys(None)).await
}

async fn revoke_key(context: Context, ask: Ask<Id, Nothing, Nothing>) -> Result<Done, ApiError> {
    let by = context.by();
    context.store(move |store| store.revoke_key(&by, &ask.path.id, None)).await?;
    Ok(DONE)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// Only entries before this one.
    before: Option<u64>,
    /// How many, at most 1000; left out: 100.
    limit: Option<usize>,
}

async fn audit(context: Context, ask: Ask<Nothing, AuditQuery, Nothing>) -> Result<Vec<AuditEntry>, ApiError> {
    let AuditQuery { before, limit } = ask.query;
    let limit = limit.unwrap_or(ENTRIES_DEFAULT).min(ENTRIES_MAX);
    context.store(move |store| store.audit_entries(before, limit)).await
}

async fn audit_state(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<AuditState, ApiError> {
    let store = context.shared.store.clone();
    blocking(move || store.audit_verify()).await?.map_err(|problem| match problem {
        AuditProblem::Store(error) => error.into(),
        broken => {
            let hint = "keep the database as it is and find out who wrote to it";
            ApiError::new(StatusCode::CONFLICT, "audit_broken", broken.to_string(), hint)
        }
    })
}
