//! Every route there is, with its policy.

mod account;
mod admin;
mod market;
mod pages;
mod system;
mod workspace;

use crate::routes::{RouteInfo, Routes};

pub(crate) use market::{Tables, trades_at_once};
pub use pages::login_path;
pub use system::RoleHealth;
pub(crate) use system::{RolesFn, redacted};

/// The table.
pub(crate) fn routes() -> Routes {
    let mut routes = Routes::new();
    pages::add(&mut routes);
    account::add(&mut routes);
    admin::add(&mut routes);
    market::add(&mut routes);
    system::add(&mut routes);
    workspace::add(&mut routes);
    pages::add_documents(&mut routes);
    routes
}

/// All routes, pages and sockets with their policies.
pub fn route_table() -> Vec<RouteInfo> {
    routes().table()
}

/// The OpenAPI 3.1 document of all routes.
pub fn openapi() -> serde_json::Value {
    routes().openapi()
}
