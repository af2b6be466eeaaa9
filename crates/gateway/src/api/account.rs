//! Logging in and out, and what users manage of their own: password, sessions, keys, tokens.

use axum::http::{HeaderValue, Method};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::{Credential, Role, Scope, Scopes, needs, open};
use crate::doors::cookie_name;
use crate::error::ApiError;
use crate::password;
use crate::routes::{Ask, Context, Nothing, Reply, Routes, blocking};
use crate::secret::{Secret, csrf};
use crate::store::{By, KeyInfo, SESSION_MAX_S, SessionInfo, TokenInfo};
use crate::token::TOKEN_MINUTES_DEFAULT;

pub(super) fn add(routes: &mut Routes) {
    let own = needs(Role::Viewer, Scope::Account);
    let known = needs(Role::Viewer, Scope::Read);
    routes.session(Method::POST, "/v1/login", open("this is how one gets in"), "Begin a session", login);
    routes.session(Method::POST, "/v1/logout", known, "End the session that asks", logout);
    routes.json(Method::GET, "/v1/me", known, "Who asks, and the csrf value of the session", me);
    routes.json(Method::PUT, "/v1/me/password", own, "Change the own password; ends all sessions", change_password);
    routes.json(Method::GET, "/v1/sessions", own, "The own sessions", sessions);
    routes.json(Method::DELETE, "/v1/sessions/{id}", own, "End one of them", end_session);
    routes.json(Method::GET, "/v1/keys", own, "The own API keys", keys);
    routes.json(Method::POST, "/v1/keys", own, "Make a key; its secret is told once", create_key);
    routes.json(Method::DELETE, "/v1/keys/{id}", own, "Revoke a key", revoke_key);
    routes.json(Method::GET, "/v1/tokens", own, "The own tokens that have not expired", tokens);
    routes.json(Method::POST, "/v1/tokens", own, "Make a short-lived token", create_token);
    routes.json(Method::DELETE, "/v1/tokens/{id}", own, "Revoke a token", revoke_token);
}

/// What something is called.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Id {
    /// Its id.
    pub(super) id: String,
}

/// An act that has nothing to tell.
#[derive(Serialize, JsonSchema)]
pub(super) struct Done {
    /// Always true: what could not be done is an error.
    done: bool,
}

/// It is done.
pub(super) const DONE: Done = Done { done: true };

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LoginBody {
    /// The user's name.
    user: String,
    /// The password.
    password: String,
}

/// Who is in, and until when.
#[derive(Serialize, JsonSchema)]
struct Me {
    /// The user's name.
    user: String,
    /// What the user is.
    role: Role,
    /// What the credential is for.
    scopes: Vec<Scope>,
    /// `session`, `key` or `token`.
    by: String,
    /// When the credential ends at the latest, Unix seconds; `null`: it does not.
    expires_s: Option<u64>,
    /// Of a session: what the header `x-csrf-token` of changes must say.
    csrf: Option<String>,
}

/// The cookie that is the session; an empty one ends it.
pub(super) fn session_cookie(secure: bool, secret: &str) -> HeaderValue {
    let seconds = if secret.is_empty() { 0 } else { SESSION_MAX_S };
    let tls = if secure { "; Secure" } else { "" };
    let name = cookie_name(secure);
    let text = format!("{name}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{tls}");
    HeaderValue::from_str(&text).expect("names and secrets are plain characters")
}

async fn login(context: Context, ask: Ask<Nothing, Nothing, LoginBody>) -> Result<Reply<Me>, ApiError> {
    let LoginBody { user, password } = ask.body;
    check_password(&context, &user, Secret::new(password), "login").await?;
    let by = By { actor: user.clone(), ..context.by() };
    let name = user.clone();
    let (secret, expires_s) = context.store(move |store| store.open_session(&by, &name, "login")).await?;
    let account = context.store(move |store| store.account(&user)).await?;
    let account = account.ok_or_else(|| ApiError::unauthenticated("the user is gone"))?;
    let role = account.user.role;
    let me = Me {
        user: account.user.name,
        role,
        scopes: Scopes::of_role(role).list(),
        by: "session".to_owned(),
        expires_s: Some(expires_s),
        csrf: Some(csrf(secret.reveal())),
    };
    Ok(Reply { body: me, cookie: Some(session_cookie(context.shared.secure, secret.reveal())) })
}

/// Whether this is the user's password; asked slowly enough that nobody can try many.
async fn check_password(context: &Context, user: &str, password: Secret, action: &'static str) -> Result<(), ApiError> {
    let shared = &context.shared;
    let address = context.peer.ip().to_string();
    shared
        .attempts
        .take(user, &address, shared.instant())
        .map_err(|wait| ApiError::too_many("too many logins were tried for this account or from this address", wait))?;
    let _turn = shared.hashing.acquire().await.map_err(|error| ApiError::internal(&error))?;
    let name = user.to_owned();
    let account = context.store(move |store| store.account(&name)).await?;
    let account = account.filter(|account| !account.user.disabled);
    let right =
        blocking(move || password::verify(&password, account.as_ref().and_then(|account| account.password.as_deref())));
    if right.await? {
        shared.attempts.right(user);
        return Ok(());
    }
    let (by, target) = (By { actor: String::new(), ..context.by() }, user.to_owned());
    context.store(move |store| store.refused(&by, action, &target)).await?;
    Err(ApiError::unauthenticated("the user or the password is wrong"))
}

async fn logout(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<Reply<Done>, ApiError> {
    let Credential::Session(secret_hash) = context.who().credential else {
        return Err(ApiError::bad_request("a key or token has no session to end; revoke it instead"));
    };
    let (by, user) = (context.by(), context.who().user);
    let id = crate::store::session_id(&secret_hash);
    context.store(move |store| store.end_session(&by, user, &id)).await?;
    Ok(Reply { body: DONE, cookie: Some(session_cookie(context.shared.secure, "")) })
}

async fn me(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<Me, ApiError> {
    let who = context.who();
    let by = match &who.credential {
        Credential::Session(_) => "session",
        Credential::Key(_) => "key",
        Credential::Token(_) => "token",
    };
    let session = context.caller.as_ref().and_then(|caller| caller.session.as_ref());
    Ok(Me {
        user: who.name.clone(),
        role: who.role,
        scopes: who.scopes.list(),
        by: by.to_owned(),
        expires_s: Some(who.expires_s).filter(|end| *end != u64::MAX),
        csrf: session.map(|secret| csrf(secret.reveal())),
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    /// The password so far.
    current: String,
    /// The new one: at least 12 characters.
    new: String,
}

async fn change_password(context: Context, ask: Ask<Nothing, Nothing, PasswordBody>) -> Result<Done, ApiError> {
    let name = context.who().name.clone();
    check_password(&context, &name, Secret::new(ask.body.current), "user.password").await?;
    let _turn = context.shared.hashing.acquire().await.map_err(|error| ApiError::internal(&error))?;
    let (by, new) = (context.by(), Secret::new(ask.body.new));
    context.store(move |store| store.set_password(&by, &name, &new)).await?;
    Ok(DONE)
}

async fn sessions(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<Vec<SessionInfo>, ApiError> {
    let (user, now_s) = (context.who().user, context.now_s());
    context.store(move |store| store.sessions(user, now_s)).await
}

async fn end_session(context: Context, ask: Ask<Id, Nothing, Nothing>) -> Result<Done, ApiError> {
    let (by, user) = (context.by(), context.who().user);
    context.store(move |store| store.end_session(&by, user, &ask.path.id)).await?;
    Ok(DONE)
}

async fn keys(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<Vec<KeyInfo>, ApiError> {
    let name = context.who().name.clone();
    context.store(move |store| store.keys(Some(&name))).await
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    /// What its owner calls it.
    #[serde(default)]
    label: String,
    /// What it is for.
    scopes: Vec<Scope>,
    /// Days until it ends, at most 3650; left out: it does not.
    #[serde(default)]
    days: Option<u32>,
}

/// A new key.
#[derive(Serialize, JsonSchema)]
struct NewKey {
    /// What it is.
    key: KeyInfo,
    /// The key itself: `Authorization: Bearer …`. It is told this once.
    secret: String,
}

/// Nobody makes a credential that may do more than the one they come with.
fn within(context: &Context, scopes: &[Scope]) -> Result<Scopes, ApiError> {
    let asked: Scopes = scopes.iter().copied().collect();
    if asked.within(context.who().scopes) {
        return Ok(asked);
    }
    let words = format!("the scopes {asked} go beyond those you come with: {}", context.who().scopes);
    Err(ApiError::forbidden("forbidden", words, "ask for fewer scopes"))
}

async fn create_key(context: Context, ask: Ask<Nothing, Nothing, KeyBody>) -> Result<NewKey, ApiError> {
    let KeyBody { label, scopes, days } = ask.body;
    let scopes = within(&context, &scopes)?;
    let (by, name) = (context.by(), context.who().name.clone());
    let (key, secret) = context.store(move |store| store.create_key(&by, &name, &label, scopes, days)).await?;
    Ok(NewKey { key, secret: secret.reveal().to_owned() })
}

async fn revoke_key(context: Context, ask: Ask<Id, Nothing, Nothing>) -> Result<Done, ApiError> {
    let (by, name) = (context.by(), context.who().name.clone());
    context.store(move |store| store.revoke_key(&by, &ask.path.id, Some(&name))).await?;
    Ok(DONE)
}

async fn tokens(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<Vec<TokenInfo>, ApiError> {
    let (user, now_s) = (context.who().user, context.now_s());
    context.store(move |store| store.tokens(user, now_s)).await
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    /// What it is for.
    scopes: Vec<Scope>,
    /// Minutes until it ends, at most 60; left out: 10.
    #[serde(default)]
    minutes: Option<u32>,
}

/// A new token.
#[derive(Serialize, JsonSchema)]
struct NewToken {
    /// What it is.
    token: TokenInfo,
    /// The token itself: `Authorization: Bearer …`. It is told this once.
    secret: String,
}

async fn create_token(context: Context, ask: Ask<Nothing, Nothing, TokenBody>) -> Result<NewToken, ApiError> {
    let scopes = within(&context, &ask.body.scopes)?;
    let minutes = ask.body.minutes.unwrap_or(TOKEN_MINUTES_DEFAULT);
    let (by, name) = (context.by(), context.who().name.clone());
    let (token, secret) = context.store(move |store| store.create_token(&by, &name, scopes, minutes)).await?;
    Ok(NewToken { token, secret: secret.reveal().to_owned() })
}

async fn revoke_token(context: Context, ask: Ask<Id, Nothing, Nothing>) -> Result<Done, ApiError> {
    let (by, user) = (context.by(), context.who().user);
    context.store(move |store| store.revoke_token(&by, user, &ask.path.id)).await?;
    Ok(DONE)
}
