//! Starts and stops the server: one thread with one runtime for all sockets, one thread per stream beside it.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use relay::Source;
use serde_json::Value;
use telemetry::{Registry, clock};
use tokio::sync::{Semaphore, watch};

use crate::api::{RolesFn, Tables, redacted, routes, trades_at_once};
use crate::attempts::Attempts;
use crate::doors::Doors;
use crate::guard::Names;
use crate::known::{Board, Watcher};
use crate::limits::{LOOK_EVERY, Seats};
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::password::HASHES_MAX;
use crate::store::{Store, StoreError};
use crate::tls::{self, TlsError, TlsFiles};

/// How long a stop may take; who has not taken their lines and the close by then is cut off.
const STOP_MAX: Duration = Duration::from_secs(4);

/// What a gateway needs.
pub struct GatewayOptions {
    /// Where to listen: an address and a port, `127.0.0.1:8080`; port 0 takes a free one.
    pub listen: String,
    /// Beyond loopback there must be TLS.
    pub tls: Option<TlsFiles>,
    /// Other names by which clients call this server, with the port where it is not the scheme's own:
    /// `plant.example.org:7400`.
    pub names: Vec<String>,
    /// Where records come from.
    pub source: Source,
    /// Where it counts, and what `/metrics` shows.
    pub registry: Registry,
    /// Users, sessions and keys.
    pub store: Arc<Store>,
    /// What `/v1/config` shows, after what looks like a secret was taken out.
    pub configuration: Value,
    /// Tells which roles run.
    pub roles: RolesFn,
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
    /// An address that others can reach, without TLS.
    #[error(
        "gateway: {listen} can be reached from outside, and without TLS passwords could be read on the way; set \
         gateway.certificate and gateway.key, or listen on 127.0.0.1, [::1] or localhost"
    )]
    NoTls {
        /// What was asked for.
        listen: String,
    },
    /// An address that others can reach, and nobody who could log in.
    #[error(
        "gateway: {listen} can be reached from outside, and no user has a password; make one first with: alphapulse user \
         add NAME --role admin"
    )]
    NoUser {
        /// What was asked for.
        listen: String,
    },
    /// An address that others can reach, and no name by which they call it.
    #[error(
        "gateway: {listen} can be reached from outside, and gateway.names is empty; set the names that clients use"
    )]
    NoNames {
        /// What was asked for.
        listen: String,
    },
    /// Certificate or key.
    #[error("gateway: {0}")]
    Tls(#[from] TlsError),
    /// The database of users.
    #[error("gateway: {0}")]
    Store(#[from] StoreError),
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
    pub(crate) tables: Tables,
    pub(crate) seats: Arc<Seats>,
    pub(crate) store: Arc<Store>,
    pub(crate) doors: Doors,
    pub(crate) names: Names,
    /// Whether TLS is spoken.
    pub(crate) secure: bool,
    pub(crate) attempts: Attempts,
    /// A permit for each password that is being hashed.
    pub(crate) hashing: Semaphore,
    /// A permit for each look through the rings.
    pub(crate) looks: Semaphore,
    pub(crate) configuration: Value,
    pub(crate) roles: RolesFn,
    pub(crate) started_ns: u64,
    /// True once the server stops; each stream holds a receiver until it is over.
    pub(crate) stopping: watch::Sender<bool>,
    clients: AtomicU64,
}

impl Shared {
    /// A number for a client, from 1.
    pub(crate) fn next_client(&self) -> u64 {
        self.clients.fetch_add(1, Relaxed) + 1
    }

    /// Wall clock, ns since the Unix epoch: the gateway is a shell, and asks the clock here and nowhere else.
    pub(crate) fn now_ns(&self) -> u64 {
        clock::wall_ns()
    }

    /// For what waits.
    pub(crate) fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// The gateway's server.
pub struct Server;

impl Server {
    /// Listens and serves on threads of its own. The source need not be there yet.
    pub fn start(options: GatewayOptions) -> Result<Handle, GatewayError> {
        let GatewayOptions { listen, tls, names, source, registry, store, configuration, roles } = options;
        let address = parse(&listen)?;
        check_reach(&listen, address, tls.is_some(), &names, &store)?;
        let tls = tls.as_ref().map(tls::config).transpose()?;
        let failed = |what| move |source| GatewayError::Start { what, source };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed("its runtime"))?;
        let bind = |source| GatewayError::Bind { address, source };
        let secure = tls.is_some();
        let listener = {
            let _inside = runtime.enter();
            Listener::bind(address, tls, &registry).map_err(bind)?
        };
        let address = listener.local_addr().map_err(bind)?;
        let board = Board::default();
        let watcher = Watcher::start(source.clone(), board.clone()).map_err(failed("its watcher"))?;
        let metrics = Metrics::new(registry);
        let (stopping, _) = watch::channel(false);
        let shared = Arc::new(Shared {
            tables: Tables::new(&source),
            source,
            board,
            seats: Seats::new(metrics.clients.clone()),
            metrics,
            doors: Doors::new(store.clone(), secure),
            store,
            names: Names::new(address.ip().is_loopback(), address.port(), secure, &names),
            secure,
            attempts: Attempts::default(),
            hashing: Semaphore::new(HASHES_MAX),
            looks: trades_at_once(),
            configuration: redacted(configuration),
            roles,
            started_ns: clock::wall_ns(),
            stopping,
            clients: AtomicU64::new(0),
        });
        let stop = shared.clone();
        let thread = std::thread::Builder::new()
            .name("gateway".to_owned())
            .spawn(move || runtime.block_on(serve(listener, shared)))
            .map_err(failed("its thread"))?;
        Ok(Handle { address, shared: stop, thread: Some(thread), watcher: Some(watcher) })
    }
}

fn parse(listen: &str) -> Result<SocketAddr, GatewayError> {
    let address = match listen.strip_prefix("localhost:") {
        Some(port) => port.parse().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).ok(),
        None => listen.parse().ok(),
    };
    address.ok_or_else(|| GatewayError::Address { listen: listen.to_owned() })
}

/// Where others can come, they must not be able to listen in, and somebody must be able to log in.
fn check_reach(
    listen: &str,
    address: SocketAddr,
    secure: bool,
    names: &[String],
    store: &Store,
) -> Result<(), GatewayError> {
    let listen = listen.to_owned();
    if address.ip().is_loopback() {
        return Ok(());
    }
    if !secure {
        return Err(GatewayError::NoTls { listen });
    }
    if !store.anyone_can_log_in()? {
        return Err(GatewayError::NoUser { listen });
    }
    if names.is_empty() {
        return Err(GatewayError::NoNames { listen });
    }
    Ok(())
}

/// Returns when the server is to stop.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could ask us to go on.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn serve(listener: Listener, shared: Arc<Shared>) {
    let mut stop = shared.stopping.subscribe();
    let mut end = shared.stopping.subscribe();
    let stopping = shared.stopping.clone();
    let guarded = routes().guarded(shared.clone());
    let looking = look_for_changes(shared);
    let serving = async move {
        tokio::select! {
            never = listener.serve(guarded, stopping.clone()) => match never {},
            never = looking => match never {},
            () = stopped(&mut stop) => {}
        }
        drop(stop);
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

/// Notices what the command line changes.
async fn look_for_changes(shared: Arc<Shared>) -> Infallible {
    let store = shared.store.clone();
    drop(shared);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let store = store.clone();
        let looked = tokio::task::spawn_blocking(move || store.look()).await;
        if let Ok(Err(error)) = looked {
            tracing::warn!(%error, "the database of users cannot be looked at");
        }
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
    fn addresses_are_read() {
        for listen in ["127.0.0.1:0", "127.0.0.2:80", "[::1]:8080", "localhost:8080"] {
            assert!(parse(listen).is_ok_and(|address| address.ip().is_loopback()), "{listen}");
        }
        for listen in ["", "8080", "localhost", "localhost:http", "example.com:80"] {
            let error = parse(listen).expect_err(listen);
            assert!(matches!(error, GatewayError::Address { .. }), "{error}");
        }
    }

    #[test]
    fn beyond_loopback_there_must_be_tls_a_user_and_a_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("gateway")).expect("a store");
        let check = |listen: &str, secure, names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            check_reach(listen, parse(listen).expect("an address"), secure, &names, &store)
        };
        assert!(check("127.0.0.1:80", false, &[]).is_ok());
        for listen in ["0.0.0.0:8080", "192.168.1.5:8080", "[::]:8080", "[::ffff:127.0.0.1]:80"] {
            let error = check(listen, false, &["a"]).expect_err(listen);
            assert!(matches!(error, GatewayError::NoTls { .. }) && error.to_string().contains(listen), "{error}");
            assert!(matches!(check(listen, true, &["a"]), Err(GatewayError::NoUser { .. })));
        }
        let by = crate::store::By::command_line(1);
        store.first_run(&by).expect("made");
        assert!(matches!(check("0.0.0.0:8080", true, &[]), Err(GatewayError::NoNames { .. })));
        assert!(check("0.0.0.0:8080", true, &["plant.example.org:8080"]).is_ok());
    }
}
