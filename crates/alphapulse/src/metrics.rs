//! Serves a process's metrics to Prometheus, on a thread of its own.

use crate::config::Config;
use anyhow::Context;
use axum::{Router, http::header, routing::get};
use std::net::{SocketAddr, TcpListener};
use telemetry::Registry;

/// The distance of the first bridge's port from the base port.
const BRIDGES_FROM: u16 = 31;

/// The distance of a role's port from the base port.
pub fn port_offset(role: &str) -> u16 {
    match role {
        "up" => 0,
        "relay" => 1,
        "gateway" => 2,
        "recorder" => 3,
        "feed-coinbase" => 11,
        "feed-kraken" => 12,
        "feed-binance" => 13,
        "feed-binance_us" => 14,
        "feed-alpaca" => 15,
        "emulator-coinbase" => 21,
        "emulator-kraken" => 22,
        "emulator-binance" => 23,
        "emulator-binance_us" => 24,
        _ => 25,
    }
}

/// Starts serving `GET /metrics` and returns the address.
pub fn serve(config: &Config, role: &str, registry: Registry) -> anyhow::Result<SocketAddr> {
    let base = config.metrics.base_port;
    // Bridges come behind all others, in the order of their names.
    let bridge = config.bridge.keys().position(|name| role.strip_prefix("bridge-") == Some(name.as_str()));
    let offset = bridge.map_or_else(|| port_offset(role), |at| BRIDGES_FROM + at as u16);
    let port = if base == 0 { 0 } else { base + offset };
    let address = format!("{}:{port}", config.metrics.host);
    let listener = TcpListener::bind(&address).with_context(|| {
        format!("metrics of {role} cannot listen on {address}; free the port or set metrics.base_port")
    })?;
    listener.set_nonblocking(true)?;
    let local = listener.local_addr()?;
    let app = Router::new().route(
        "/metrics",
        get(move || {
            let text = registry.render();
            async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text) }
        }),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let served = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => axum::serve(listener, app).await,
                Err(e) => Err(e),
            };
            if let Err(e) = served {
                tracing::error!("metrics are no longer served: {e}");
            }
        });
    })?;
    Ok(local)
}
