//! HTTP and WebSocket doors for browsers, scripts and people, closed by default: what may be asked of AlphaPulse without
//! touching the hot path.
//! rings, tables, a relay -> [`Server`] -> `/v1/…` (REST, `/openapi.json`), `/v1/stream` (WebSocket), `/metrics`, `/`.
//!
//! Every route is added to one table with the policy that says whom it lets in ([`route_table`]); there is no other way to
//! add one. Users, sessions, keys, tokens and the audit log are in one database ([`Store`]). It listens on loopback, and
//! elsewhere only with TLS and a user. Loopback is no boundary: any web page can make a browser open connections to it, so
//! every request must name this server in `Host` and, if it has an `Origin`, come from a page of this server.
//! Knows nothing of venues' protocols.
//!
//! `docs/gateway.md` lists the routes, `docs/security.md` says what is defended against and how, `docs/stream.md` draws what
//! is said on the stream. A client that reads too slowly is never waited for: its place in the ring is overwritten, and an
//! `overrun` line says exactly what it missed.
#![forbid(unsafe_code)]

mod access;
mod api;
mod attempts;
mod doors;
mod error;
mod guard;
mod known;
mod limits;
mod listener;
mod lobby;
mod metrics;
mod openapi;
mod password;
mod protocol;
mod reader;
mod routes;
mod secret;
mod server;
mod store;
mod stream;
mod tls;
mod token;

pub use access::{Policy, ROLES, Role, SCOPES, Scope, Scopes, UnknownName};
pub use api::{RoleHealth, login_path, openapi, route_table};
pub use limits::{BODY_BYTES_MAX, CONNECTIONS_MAX, IDLE_MAX, REQUEST_BYTES_MAX, STREAMS_MAX};
pub use password::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, PasswordError, random_password};
pub use routes::RouteInfo;
pub use secret::{RootError, Secret};
pub use server::{GatewayError, GatewayOptions, Handle, Server};
pub use store::{
    AuditEntry, AuditProblem, AuditState, By, Document, KeyInfo, Kind, SessionInfo, Store, StoreError, TokenInfo, User,
};
pub use tls::{TlsError, TlsFiles};
pub use token::{TOKEN_MINUTES_DEFAULT, TOKEN_MINUTES_MAX};
