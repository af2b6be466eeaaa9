//! The routes: what is here, whether it is well, what is traded, what is counted, and the door to the stream.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::guard::guard;
use crate::known::Known;
use crate::limits::{REQUEST_BYTES_MAX, STREAMS_MAX};
use crate::server::Shared;
use crate::stream;

/// Pages load nothing and are what they say they are.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// All routes of the server on this port.
pub(crate) fn routes(shared: Arc<Shared>, port: u16) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(health))
        .route("/v1/instruments", get(instruments))
        .route("/v1/stream", get(open_stream))
        .route("/metrics", get(metrics))
        .with_state(shared)
        .layer(from_fn_with_state(port, guard))
}

fn typed(content_type: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}

async fn page(State(shared): State<Arc<Shared>>) -> Response {
    typed("text/html; charset=utf-8", render_page(&shared.board.look()))
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let trouble = shared.board.look().trouble.clone();
    match trouble {
        None => typed("text/plain; charset=utf-8", "ok\n".to_owned()),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response(),
    }
}

async fn instruments(State(shared): State<Arc<Shared>>) -> Response {
    let known = shared.board.look();
    let list: Vec<_> = known.instruments.values().collect();
    typed("application/json", serde_json::to_string(&list).expect("definitions are plain JSON"))
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    typed("text/plain; version=0.0.4; charset=utf-8", shared.metrics.registry.render())
}

async fn open_stream(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    let Some(seat) = shared.seats.take() else {
        let full = format!("{STREAMS_MAX} streams are open, which is all there may be; close one\n");
        return (StatusCode::SERVICE_UNAVAILABLE, full).into_response();
    };
    let stopping = shared.stopping.subscribe();
    let client = shared.next_client();
    upgrade.max_message_size(REQUEST_BYTES_MAX).max_frame_size(REQUEST_BYTES_MAX).on_upgrade(
        move |socket: WebSocket| async move {
            stream::serve(socket, &shared, client, stopping).await;
            drop(seat);
        },
    )
}

fn render_page(known: &Known) -> String {
    let simulated = known.simulated();
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>AlphaPulse</title>\n\
         <style>body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}\
         strong.simulated{background:#b00020;color:#fff;padding:.1rem .5rem}</style>\n<h1>AlphaPulse</h1>\n",
    );
    if !simulated.is_empty() {
        let venues = simulated.join(", ");
        let _ = writeln!(
            out,
            "<p><strong class=\"simulated\">SIMULATED</strong> The data of {} comes from an emulator.</p>",
            escape(&venues)
        );
    }
    if let Some(trouble) = &known.trouble {
        let _ = writeln!(out, "<p>The source cannot be read: {}</p>", escape(trouble));
    }
    let _ = writeln!(out, "<p>{} instruments are defined.</p>\n<ul>", known.instruments.len());
    for run in known.sessions.values() {
        let origin = if run.simulated { "SIMULATED" } else { "live" };
        let (venue, site, build) = (escape(&run.venue), escape(&run.site), escape(&run.build));
        let _ = writeln!(out, "<li>{venue}: {origin}, epoch {}, site {site}, build {build}</li>", run.epoch);
    }
    out.push_str(
        "</ul>\n<p>Here are <a href=\"/v1/instruments\">/v1/instruments</a>, <a href=\"/metrics\">/metrics</a>, \
         <a href=\"/healthz\">/healthz</a>, and at /v1/stream a WebSocket. Send it\n\
         <code>{\"op\":\"subscribe\",\"id\":1,\"types\":[\"trade\"],\"from\":\"now\"}</code></p>\n</html>\n",
    );
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::json::SessionStartLine;

    #[test]
    fn the_page_says_simulated_when_a_run_does() {
        let run = |venue: &str, simulated| SessionStartLine {
            venue: venue.to_owned(),
            site: "<here>".to_owned(),
            build: "0.1.0".to_owned(),
            simulated,
            pid: 1,
            version: 1,
            ts_recv: 1,
            epoch: 7,
            seq: 1,
        };
        let mut known = Known::default();
        known.sessions.insert("kraken".to_owned(), run("kraken", false));
        let page = render_page(&known);
        assert!(!page.contains("SIMULATED"), "{page}");
        assert!(page.contains("kraken: live, epoch 7, site &lt;here&gt;"), "{page}");
        known.sessions.insert("binance".to_owned(), run("binance", true));
        let page = render_page(&known);
        assert!(page.contains("SIMULATED</strong> The data of binance comes"), "{page}");
    }
}
