//! How the machine is: health, rings, measurements, configuration.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::access::{Role, Scope, needs, open};
use crate::error::ApiError;
use crate::routes::{Ask, Context, Nothing, Routes, blocking};
use crate::server::Shared;

pub(super) fn add(routes: &mut Routes) {
    let health = open("whoever watches the process must see whether it is well, and sees nothing else");
    routes.page("/healthz", health, "200 when the source can be read, else 503", "text/plain; charset=utf-8", healthz);
    let measured = needs(Role::Researcher, Scope::Read);
    routes.page("/metrics", measured, "For Prometheus", "text/plain; charset=utf-8", prometheus);
    routes.json(Method::GET, "/v1/metrics", measured, "What the gateway counts", metrics);
    routes.json(
        Method::GET,
        "/v1/system",
        needs(Role::Viewer, Scope::Read),
        "What runs, and how far behind it is",
        system,
    );
    routes.json(
        Method::GET,
        "/v1/config",
        needs(Role::Trader, Scope::Read),
        "The configuration, without secrets",
        config,
    );
}

async fn healthz(context: Context, _: Request) -> Result<Response, ApiError> {
    if context.shared.board.look().trouble.is_some() {
        return Err(ApiError::unavailable("the source cannot be read"));
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "ok\n").into_response())
}

async fn prometheus(context: Context, _: Request) -> Result<Response, ApiError> {
    let text = context.shared.metrics.registry.render();
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((StatusCode::OK, kind, text).into_response())
}

/// One measurement.
#[derive(Serialize, JsonSchema)]
struct Metric {
    /// Its name.
    name: String,
    /// Its labels, as Prometheus writes them.
    labels: String,
    /// What it shows.
    value: f64,
}

async fn metrics(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<Vec<Metric>, ApiError> {
    let text = context.shared.metrics.registry.render();
    Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(metric).collect())
}

/// One line of Prometheus' text; buckets of histograms are left to it.
fn metric(line: &str) -> Option<Metric> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let value = value.parse().ok()?;
    (!name.ends_with("_bucket")).then(|| Metric { name: name.to_owned(), labels: labels.to_owned(), value })
}

/// A role's process.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RoleHealth {
    /// The role, such as `feed-kraken`.
    pub role: String,
    /// Its process.
    pub pid: u32,
    /// Whether it lives.
    pub alive: bool,
    /// When it began, ns since the Unix epoch.
    pub started_ns: u64,
}

/// Tells which roles run.
pub(crate) type RolesFn = Arc<dyn Fn() -> Vec<RoleHealth> + Send + Sync>;

/// A ring.
#[derive(Serialize, JsonSchema)]
struct RingHealth {
    /// Whose.
    venue: String,
    /// The run of its feed.
    epoch: Option<u64>,
    /// The next record's sequence.
    next_sequence: Option<u64>,
    /// How long ago something was published, in milliseconds.
    age_ms: Option<u64>,
    /// Its size in slots of 64 bytes.
    slots: Option<u64>,
    /// Why it cannot be read, if it cannot.
    problem: Option<String>,
}

/// How everything is.
#[derive(Serialize, JsonSchema)]
struct System {
    /// Whether the source can be read and every role that was started lives.
    healthy: bool,
    /// Why the source cannot be read, while it cannot.
    trouble: Option<String>,
    /// The program's version.
    version: String,
    /// When the gateway began, ns since the Unix epoch.
    started_ns: u64,
    /// Streams that are open.
    streams: u64,
    /// Processes.
    roles: Vec<RoleHealth>,
    /// Rings of this machine.
    rings: Vec<RingHealth>,
}

async fn system(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<System, ApiError> {
    let shared = context.shared.clone();
    blocking(move || {
        let trouble = shared.board.look().trouble.clone().map(|_| "the source cannot be read".to_owned());
        let roles = (shared.roles)();
        System {
            healthy: trouble.is_none() && roles.iter().all(|role| role.alive),
            trouble,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ns: shared.started_ns,
            streams: u64::try_from(shared.metrics.clients.get()).unwrap_or(0),
            roles,
            rings: rings(&shared),
        }
    })
    .await
}

fn rings(shared: &Shared) -> Vec<RingHealth> {
    let Some(directory) = shared.tables.directory() else { return vec![] };
    let now = shared.now_ns();
    let one = |name: &String| -> Result<RingHealth, ring::RingError> {
        let mut reader = ring::Reader::open(directory, name)?;
        let epoch = reader.epochs()?.last().map(|epoch| epoch.epoch);
        reader.attach(ring::From::Now)?;
        let published = reader.published_at();
        Ok(RingHealth {
            venue: name.clone(),
            epoch,
            next_sequence: Some(reader.next().sequence),
            age_ms: (published != 0).then(|| now.saturating_sub(published) / 1_000_000),
            slots: Some(reader.capacity()),
            problem: None,
        })
    };
    let lost = |venue: &str, why: ring::RingError| {
        tracing::debug!(venue, %why, "a ring cannot be read");
        let (venue, problem) = (venue.to_owned(), Some("it cannot be read".to_owned()));
        RingHealth { venue, epoch: None, next_sequence: None, age_ms: None, slots: None, problem }
    };
    match directory.rings() {
        Ok(names) => names.iter().map(|name| one(name).unwrap_or_else(|why| lost(name, why))).collect(),
        Err(why) => vec![lost("-", why)],
    }
}

async fn config(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<Value, ApiError> {
    Ok(context.shared.configuration.clone())
}

/// Words in the names of keys whose values nobody is shown.
const SECRET_WORDS: [&str; 5] = ["secret", "password", "passphrase", "token", "credential"];

/// The same without what could be a secret: values of keys named like one, and what stands before the host of an address.
pub(crate) fn redacted(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| {
                    let secret = SECRET_WORDS.iter().any(|word| name.to_ascii_lowercase().contains(word));
                    // The path of a file with a secret is none.
                    let value = if secret && !name.ends_with("_file") { Value::from("…") } else { redacted(value) };
                    (name, value)
                })
                .collect(),
        ),
        Value::Array(values) => values.into_iter().map(redacted).collect(),
        Value::String(text) => Value::String(without_user(&text)),
        other => other,
    }
}

fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://…{}", &rest[user.len()..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_like_a_secret_is_shown() {
        let shown = redacted(json!({
            "site": "local",
            "relay": {"tcp": {"token_file": "/etc/token", "token": "CANARY"}},
            "list": [{"api_Secret": "CANARY", "url": "https://me:CANARY@example.com/a@b", "port": 1}],
            "plain": "https://example.com/@x",
        }));
        let text = shown.to_string();
        assert!(!text.contains("CANARY"), "{text}");
        assert_eq!(shown["relay"]["tcp"]["token_file"], "/etc/token");
        assert_eq!(shown["list"][0]["url"], "https://…@example.com/a@b");
        assert_eq!((&shown["site"], &shown["plain"]), (&json!("local"), &json!("https://example.com/@x")));
    }

    #[test]
    fn lines_of_prometheus_are_read() {
        let one = metric("ws_lag_slots{client=\"3\"} 17").expect("a metric");
        assert_eq!((one.name.as_str(), one.labels.as_str(), one.value), ("ws_lag_slots", "client=\"3\"", 17.0));
        assert!(metric("hop_us_bucket{le=\"1\"} 1").is_none());
        assert!(metric("nonsense").is_none());
    }
}
