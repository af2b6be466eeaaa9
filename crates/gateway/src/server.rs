//! Starts and stops the server: one thread with one runtime for all sockets, one thread per stream beside it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::serve::Listener;
use relay::Source;
use telemetry::Registry;
use tokio::sync::watch;

use crate::http::routes;
use crate::known::{Board, Watcher};
use crate::limits::Seats;
use crate::listener::Limited;
use crate::metrics::Metrics;

/// How long a stop may take; who has not taken their lines and the close by then is cut off.
const STOP_MAX: Duration = Duration::from_secs(4);

/// What a gateway needs.
pub struct GatewayOptions {
    /// Where to listen: an address of loopback and a port, `127.0.0.1:8080`; port 0 takes a free one.
    pub listen: String,
    /// Where records come from.
    pub source: Source,
    /// Where it counts, and what `/metrics` shows.
    pub registry: Registry,
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Not an address.
    #[error("gateway: {listen:?} is no address to listen on; write it as 127.0.0.1:8080")]
    Address {
        /// What was asked for.
        listen: String,
    },
    /// An address that others can reach.
    #[error(
        "gateway: {listen} can be reached from outside, and the gateway does not ask who connects; listen on \
         127.0.0.1, [::1] or localhost"
    )]
    NotLoopback {
        /// What was asked for.
        listen: String,
    },
    /// The address cannot be had.
    #[error("gateway: cannot listen on {address}: {source}; stop what listens there or choose another port")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The operating system refuses a thread or a runtime.
    #[error("gateway: cannot start {what}: {source}")]
    Start {
        /// What.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) source: Source,
    pub(crate) metrics: Metrics,
    pub(crate) board: Board,
    pub(crate) seats: Arc<Seats>,
    /// True once the server stops; each stream holds a receiver until it is over.
    pub(crate) stopping: watch::Sender<bool>,
    clients: AtomicU64,
}

impl Shared {
    /// A number for a client, from 1.
    pub(crate) fn next_client(&self) -> u64 {
        self.clients.fetch_add(1, Relaxed) + 1
    }
}

/// The gateway's server.
pub struct Server;

impl Server {
    /// Listens and serves on threads of its own. The source need not be there yet.
    pub fn start(options: GatewayOptions) -> Result<Handle, GatewayError> {
        let GatewayOptions { listen, source, registry } = options;
        let address = loopback(&listen)?;
        let failed = |what| move |source| GatewayError::Start { what, source };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed("its runtime"))?;
        let bind = |source| GatewayError::Bind { address, source };
        let listener = {
            let _inside = runtime.enter();
            Limited::bind(address).map_err(bind)?
        };
        let address = listener.local_addr().map_err(bind)?;
        let board = Board::default();
        let watcher = Watcher::start(source.clone(), board.clone()).map_err(failed("its watcher"))?;
        let metrics = Metrics::new(registry);
        let seats = Seats::new(metrics.clients.clone());
        let (stopping, _) = watch::channel(false);
        let shared = Arc::new(Shared { source, metrics, board, seats, stopping, clients: AtomicU64::new(0) });
        let stop = shared.clone();
        let thread = std::thread::Builder::new()
            .name("gateway".to_owned())
            .spawn(move || runtime.block_on(serve(listener, shared, address.port())))
            .map_err(failed("its thread"))?;
        Ok(Handle { address, shared: stop, thread: Some(thread), watcher: Some(watcher) })
    }
}

/// The address, if it is loopback's.
fn loopback(listen: &str) -> Result<SocketAddr, GatewayError> {
    let owned = || listen.to_owned();
    let address = match listen.strip_prefix("localhost:") {
        Some(port) => port.parse().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).ok(),
        None => listen.parse().ok(),
    };
    let address: SocketAddr = address.ok_or_else(|| GatewayError::Address { listen: owned() })?;
    if address.ip().is_loopback() { Ok(address) } else { Err(GatewayError::NotLoopback { listen: owned() }) }
}

/// Returns when the server is to stop.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could ask us to go on.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn serve(listener: Limited, shared: Arc<Shared>, port: u16) {
    let mut stop = shared.stopping.subscribe();
    let mut end = shared.stopping.subscribe();
    let stopping = shared.stopping.clone();
    let app = routes(shared, port);
    let graceful = async move { stopped(&mut stop).await };
    let serving = async move {
        // It never fails: accept errors are waited out.
        let _ = axum::serve(listener, app).with_graceful_shutdown(graceful).await;
        stopping.closed().await;
    };
    let too_late = async move {
        stopped(&mut end).await;
        drop(end);
        tokio::time::sleep(STOP_MAX).await;
    };
    tokio::select! {
        () = serving => {}
        () = too_late => tracing::warn!("gateway: some clients took neither their lines nor the close, and were cut off"),
    }
}

/// A running gateway. Dropping it stops it.
pub struct Handle {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    watcher: Option<Watcher>,
}

impl Handle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nobody any more, sends every stream what was read for it and a close 1001, and waits for that, for a
    /// few seconds at most.
    pub fn stop(self) {}
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stopping.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // It panicked; the panic was printed where it happened.
            let _ = thread.join();
        }
        drop(self.watcher.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on() {
        for listen in ["127.0.0.1:0", "127.0.0.2:80", "[::1]:8080", "localhost:8080"] {
            assert!(loopback(listen).is_ok_and(|address| address.ip().is_loopback()), "{listen}");
        }
        for listen in ["0.0.0.0:8080", "192.168.1.5:8080", "[::]:8080", "[::ffff:127.0.0.1]:80"] {
            let error = loopback(listen).expect_err(listen).to_string();
            assert!(error.contains(listen) && error.contains("127.0.0.1"), "{error}");
        }
        for listen in ["", "8080", "localhost", "localhost:http", "example.com:80"] {
            let error = loopback(listen).expect_err(listen);
            assert!(matches!(error, GatewayError::Address { .. }), "{error}");
        }
    }
}
