//! What users arrange for themselves: watchlists, layouts, preferences.

use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::account::{DONE, Done};
use crate::access::{Role, Scope, needs};
use crate::error::ApiError;
use crate::routes::{Ask, Context, Nothing, Routes};
use crate::store::{Document, Kind};

/// Instruments of a watchlist.
const ENTRIES_MAX: usize = 500;
/// The longest symbol.
const SYMBOL_BYTES_MAX: usize = 64;
/// The one name of preferences.
const PREFERENCES: &str = "preferences";

pub(super) fn add(routes: &mut Routes) {
    let own = needs(Role::Viewer, Scope::Workspace);
    routes.json(Method::GET, "/v1/watchlists", own, "The own watchlists", watchlists);
    routes.json(Method::GET, "/v1/watchlists/{name}", own, "One of them", watchlist);
    routes.json(Method::PUT, "/v1/watchlists/{name}", own, "Write one, new or in place of the old", put_watchlist);
    routes.json(Method::DELETE, "/v1/watchlists/{name}", own, "Remove one", remove_watchlist);
    routes.json(Method::GET, "/v1/layouts", own, "The own layouts", layouts);
    routes.json(Method::GET, "/v1/layouts/{name}", own, "One of them", layout);
    routes.json(Method::PUT, "/v1/layouts/{name}", own, "Write one, new or in place of the old", put_layout);
    routes.json(Method::DELETE, "/v1/layouts/{name}", own, "Remove one", remove_layout);
    routes.json(Method::GET, "/v1/preferences", own, "The own preferences", preferences);
    routes.json(Method::PUT, "/v1/preferences", own, "Write them", put_preferences);
}

/// Which one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Name {
    /// Its name: a-z, 0-9, '.', '_' and '-'.
    name: String,
}

/// An instrument somebody watches.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Watched {
    /// The venue.
    venue: String,
    /// The symbol.
    symbol: String,
}

/// What a page knows how to read.
type Free = Map<String, Value>;

fn typed<T: serde::de::DeserializeOwned>(document: Document) -> Result<Document<T>, ApiError> {
    let Document { name, value, updated_s } = document;
    let value = serde_json::from_value(value).map_err(|error| ApiError::internal(&error))?;
    Ok(Document { name, value, updated_s })
}

async fn all<T: serde::de::DeserializeOwned>(context: Context, kind: Kind) -> Result<Vec<Document<T>>, ApiError> {
    let user = context.who().user;
    context.store(move |store| store.documents(user, kind)).await?.into_iter().map(typed).collect()
}

async fn one<T: serde::de::DeserializeOwned>(
    context: Context,
    kind: Kind,
    name: String,
) -> Result<Document<T>, ApiError> {
    let (user, asked) = (context.who().user, name.clone());
    let found = context.store(move |store| store.document(user, kind, &asked)).await?;
    let what = kind.name();
    let short: String = name.chars().take(SYMBOL_BYTES_MAX).collect();
    typed(found.ok_or_else(|| ApiError::not_found(format!("there is no {what} {short:?}")))?)
}

async fn put<T: Serialize + serde::de::DeserializeOwned>(
    context: Context,
    kind: Kind,
    name: String,
    value: T,
) -> Result<Document<T>, ApiError> {
    let (user, now_s) = (context.who().user, context.now_s());
    let value = serde_json::to_value(value).map_err(|error| ApiError::internal(&error))?;
    typed(context.store(move |store| store.put_document(user, kind, &name, value, now_s)).await?)
}

async fn remove(context: Context, kind: Kind, name: String) -> Result<Done, ApiError> {
    let user = context.who().user;
    context.store(move |store| store.remove_document(user, kind, &name)).await?;
    Ok(DONE)
}

async fn watchlists(
    context: Context,
    _: Ask<Nothing, Nothing, Nothing>,
) -> Result<Vec<Document<Vec<Watched>>>, ApiError> {
    all(context, Kind::Watchlist).await
}

async fn watchlist(context: Context, ask: Ask<Name, Nothing, Nothing>) -> Result<Document<Vec<Watched>>, ApiError> {
    one(context, Kind::Watchlist, ask.path.name).await
}

async fn put_watchlist(
    context: Context,
    ask: Ask<Name, Nothing, Vec<Watched>>,
) -> Result<Document<Vec<Watched>>, ApiError> {
    if ask.body.len() > ENTRIES_MAX {
        return Err(ApiError::bad_request(format!("a watchlist has at most {ENTRIES_MAX} instruments")));
    }
    for Watched { venue, symbol } in &ask.body {
        if venue.parse::<model::Venue>().is_err() {
            return Err(ApiError::bad_request(format!("no venue is called {venue:.20?}")));
        }
        if symbol.is_empty() || symbol.len() > SYMBOL_BYTES_MAX {
            return Err(ApiError::bad_request(format!("a symbol has 1 to {SYMBOL_BYTES_MAX} bytes")));
        }
    }
    put(context, Kind::Watchlist, ask.path.name, ask.body).await
}

async fn remove_watchlist(context: Context, ask: Ask<Name, Nothing, Nothing>) -> Result<Done, ApiError> {
    remove(context, Kind::Watchlist, ask.path.name).await
}

async fn layouts(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<Vec<Document<Free>>, ApiError> {
    all(context, Kind::Layout).await
}

async fn layout(context: Context, ask: Ask<Name, Nothing, Nothing>) -> Result<Document<Free>, ApiError> {
    one(context, Kind::Layout, ask.path.name).await
}

async fn put_layout(context: Context, ask: Ask<Name, Nothing, Free>) -> Result<Document<Free>, ApiError> {
    put(context, Kind::Layout, ask.path.name, ask.body).await
}

async fn remove_layout(context: Context, ask: Ask<Name, Nothing, Nothing>) -> Result<Done, ApiError> {
    remove(context, Kind::Layout, ask.path.name).await
}

async fn preferences(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<Free, ApiError> {
    let user = context.who().user;
    let found = context.store(move |store| store.document(user, Kind::Preferences, PREFERENCES)).await?;
    found.map_or_else(|| Ok(Free::new()), |document| typed(document).map(|document| document.value))
}

async fn put_preferences(context: Context, ask: Ask<Nothing, Nothing, Free>) -> Result<Free, ApiError> {
    Ok(put(context, Kind::Preferences, PREFERENCES.to_owned(), ask.body).await?.value)
}
