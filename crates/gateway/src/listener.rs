//! The socket that is listened on: who is accepted, TLS, and one task a connection.
//!
//! HTTP/1.1 by hyper itself rather than by axum's server, as only so a client that sends its headers slowly, or sends too
//! many, is cut off.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use telemetry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::limits::{HEADER_BYTES_MAX, HEADERS_MAX, HEADERS_WAIT};
use crate::lobby::{Lobby, Ticket};
use crate::routes::{Guarded, Peer};
use crate::server::stopped;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// What the kernel keeps for a client that does not read; what is beyond it stays in the ring.
const SEND_BUFFER_BYTES: u32 = 256 * 1024;
/// The wait after a failure to accept, such as too many open files.
const ACCEPT_WAIT: Duration = Duration::from_millis(50);

/// Listens.
pub(crate) struct Listener {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    lobby: Arc<Lobby>,
}

impl Listener {
    /// Listens; inside a runtime only.
    pub(crate) fn bind(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        registry: &Registry,
    ) -> io::Result<Listener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Listener { listener, tls: tls.map(TlsAcceptor::from), lobby: Lobby::new(registry) })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts for as long as it is polled.
    pub(crate) async fn serve(self, guarded: Guarded, stopping: watch::Sender<bool>) -> Infallible {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // The connection is gone already, or the system is out of something that others will give back.
                    tracing::debug!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_WAIT).await;
                    continue;
                }
            };
            let Some(ticket) = self.lobby.enter(peer.ip()) else { continue };
            // Lines are flushed in batches: there is nothing left for the kernel to gather. Failing costs latency only.
            let _ = stream.set_nodelay(true);
            let (guarded, tls, stop) = (guarded.clone(), self.tls.clone(), stopping.subscribe());
            tokio::spawn(async move {
                tokio::select! {
                    () = ticket.cut() => {}
                    () = connection(stream, tls, guarded, Peer(peer), &ticket, stop) => {}
                }
            });
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    guarded: Guarded,
    peer: Peer,
    ticket: &Arc<Ticket>,
    stop: watch::Receiver<bool>,
) {
    let Some(tls) = tls else { return http(stream, guarded, peer, ticket, stop).await };
    // Who takes longer for the handshake than for headers wants something else.
    if let Ok(Ok(stream)) = tokio::time::timeout(HEADERS_WAIT, tls.accept(stream)).await {
        http(stream, guarded, peer, ticket, stop).await;
    }
}

async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    guarded: Guarded,
    peer: Peer,
    ticket: &Arc<Ticket>,
    mut stop: watch::Receiver<bool>,
) {
    let routes = TowerToHyperService::new(guarded.service());
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let busy = ticket.busy();
        let answered = routes.call(request);
        async move {
            let answer = answered.await;
            drop(busy);
            answer
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WAIT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    let serving = builder.serve_connection(TokioIo::new(stream), answer).with_upgrades();
    tokio::pin!(serving);
    // A client that breaks off, or was cut, is none of ours any more: errors have nobody to be told to.
    tokio::select! {
        _ = serving.as_mut() => return,
        () = stopped(&mut stop) => {}
    }
    serving.as_mut().graceful_shutdown();
    drop(stop);
    let _ = serving.await;
}
