//! Pages for people: what is here, the way in, and the interface's document.

use axum::extract::{FromRequestParts, Path, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::fmt::Write;
use std::sync::OnceLock;

use super::account::session_cookie;
use crate::access::{Role, Scope, needs, open};
use crate::error::ApiError;
use crate::known::Known;
use crate::openapi::{escape, page};
use crate::routes::{Context, Routes};
use crate::secret::Secret;
use crate::store::By;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}\n\
strong.simulated{background:#b00020;color:#fff;padding:.1rem .5rem}\n\
pre{overflow:auto;background:#f4f4f4;padding:.5rem}\nlabel{display:block;margin:.5rem 0}\n";
const LOGIN_SCRIPT: &str = r#""use strict";
document.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const answer = await fetch("/v1/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ user: form.get("user"), password: form.get("password") }),
  });
  if (answer.ok) { location.assign("/"); return; }
  document.querySelector("output").textContent = (await answer.json()).message;
});
"#;

/// Where on the server a code of [`Store::create_link`](crate::Store::create_link) logs in.
pub fn login_path(code: &Secret) -> String {
    format!("/login/link/{}", code.reveal())
}

pub(super) fn add(routes: &mut Routes) {
    let anyone = open("it says whether the data is simulated and how to log in, and more to those who did");
    routes.page("/", anyone, "What is here", HTML, home);
    let form = open("this is how one gets in");
    routes.page("/login", form, "The form to log in with", HTML, login);
    routes.page("/login.js", form, "Its script", "text/javascript", login_script);
    routes.page("/login/link/{code}", form, "Log in by a single-use link", HTML, login_link);
    routes.page("/style.css", open("how pages look"), "How pages look", "text/css", style);
}

pub(super) fn add_documents(routes: &mut Routes) {
    let read = needs(Role::Viewer, Scope::Read);
    routes.page("/openapi.json", read, "This interface as OpenAPI 3.1", "application/json", document);
    routes.page("/docs", read, "The same as a page", HTML, documents);
}

fn typed(kind: &'static str, body: impl Into<axum::body::Body>) -> Response {
    ([(header::CONTENT_TYPE, kind)], body.into()).into_response()
}

async fn style(_: Context, _: Request) -> Result<Response, ApiError> {
    Ok(typed("text/css", STYLE))
}

async fn login_script(_: Context, _: Request) -> Result<Response, ApiError> {
    Ok(typed("text/javascript", LOGIN_SCRIPT))
}

async fn login(_: Context, _: Request) -> Result<Response, ApiError> {
    let page = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>AlphaPulse: log in</title>\n\
                <link rel=\"stylesheet\" href=\"/style.css\"><script src=\"/login.js\" defer></script>\n<h1>Log in</h1>\n\
                <form method=\"post\"><label>User <input name=\"user\" autocomplete=\"username\" required></label>\n\
                <label>Password <input name=\"password\" type=\"password\" autocomplete=\"current-password\" required>\
                </label>\n<button>Log in</button> <output></output></form>\n</html>\n";
    Ok(typed(HTML, page))
}

async fn login_link(context: Context, request: Request) -> Result<Response, ApiError> {
    // A HEAD looks without opening; only a GET may use the code up.
    if request.method() != axum::http::Method::GET {
        return Err(ApiError::of_status(StatusCode::METHOD_NOT_ALLOWED));
    }
    let (mut parts, _) = request.into_parts();
    let Path(code) = Path::<String>::from_request_parts(&mut parts, &())
        .await
        .map_err(|error| ApiError::bad_request(error.body_text()))?;
    let (shared, address) = (&context.shared, context.peer.ip().to_string());
    shared
        .attempts
        .take("", &address, shared.instant())
        .map_err(|wait| ApiError::too_many("too many links were tried from this address", wait))?;
    let by = context.by();
    let refused = By { actor: String::new(), ..by.clone() };
    let opened = context.store(move |store| store.open_link(&by, &code)).await?;
    shared.attempts.right("");
    let Some((secret, _)) = opened else {
        context.store(move |store| store.refused(&refused, "login.link", "")).await?;
        let mut error = ApiError::unauthenticated("this link was used already, is too old, or never was one");
        error.hint = "make another with: alphapulse user link NAME";
        return Err(error);
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
    response.headers_mut().insert(header::SET_COOKIE, session_cookie(shared.secure, secret.reveal()));
    Ok(response)
}

async fn home(context: Context, _: Request) -> Result<Response, ApiError> {
    let who = context.caller.as_ref().map(|caller| caller.principal.name.clone());
    let known = context.shared.board.look();
    Ok(typed(HTML, render(&known, who.as_deref())))
}

async fn document(_: Context, _: Request) -> Result<Response, ApiError> {
    static TEXT: OnceLock<String> = OnceLock::new();
    Ok(typed("application/json", TEXT.get_or_init(|| super::openapi().to_string()).as_str()))
}

async fn documents(_: Context, _: Request) -> Result<Response, ApiError> {
    static TEXT: OnceLock<String> = OnceLock::new();
    Ok(typed(HTML, TEXT.get_or_init(|| page(&super::openapi())).as_str()))
}

/// What strangers see: whether it is simulated. Who is known sees what is here.
fn render(known: &Known, who: Option<&str>) -> String {
    let simulated = known.simulated();
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>AlphaPulse</title>\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n<h1>AlphaPulse</h1>\n",
    );
    if !simulated.is_empty() {
        let venues = if who.is_some() { simulated.join(", ") } else { "some venues".to_owned() };
        let _ = writeln!(
            out,
            "<p><strong class=\"simulated\">SIMULATED</strong> The data of {} comes from an emulator.</p>",
            escape(&venues)
        );
    }
    let Some(who) = who else {
        out.push_str("<p><a href=\"/login\">Log in</a>, or open the link that the start printed.</p>\n</html>\n");
        return out;
    };
    let _ = writeln!(out, "<p>You are {}.</p>", escape(who));
    if known.trouble.is_some() {
        out.push_str("<p>The source cannot be read.</p>\n");
    }
    let _ = writeln!(out, "<p>{} instruments are defined.</p>\n<ul>", known.instruments.len());
    for run in known.sessions.values() {
        let origin = if run.simulated { "SIMULATED" } else { "live" };
        let (venue, site, build) = (escape(&run.venue), escape(&run.site), escape(&run.build));
        let _ = writeln!(out, "<li>{venue}: {origin}, epoch {}, site {site}, build {build}</li>", run.epoch);
    }
    out.push_str(
        "</ul>\n<p><a href=\"/docs\">The interface</a>: everything here, for programs. At /v1/stream is a WebSocket; send it\n\
         <code>{\"op\":\"subscribe\",\"id\":1,\"types\":[\"trade\"],\"from\":\"now\"}</code></p>\n</html>\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::json::SessionStartLine;

    #[test]
    fn the_page_says_simulated_when_a_run_does_and_more_to_those_who_are_in() {
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
        let page = render(&known, Some("ann"));
        assert!(!page.contains("SIMULATED"), "{page}");
        assert!(page.contains("kraken: live, epoch 7, site &lt;here&gt;"), "{page}");
        known.sessions.insert("binance".to_owned(), run("binance", true));
        let page = render(&known, Some("ann"));
        assert!(page.contains("SIMULATED</strong> The data of binance comes"), "{page}");
        let page = render(&known, None);
        assert!(page.contains("SIMULATED") && !page.contains("kraken") && !page.contains("here"), "{page}");
    }
}
