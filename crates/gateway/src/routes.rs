//! The route table: the one place where a route, page or socket comes to be, and none comes to be without a policy.
//!
//! Nothing else in this crate names axum's router (a test reads the sources for it), and what is served is a [`Guarded`],
//! which only this file can make. The types of a handler are its documentation: what it takes and gives is what
//! `/openapi.json` says.

use std::any::TypeId;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::access::{Policy, Principal};
use crate::doors::{Caller, Refused};
use crate::error::ApiError;
use crate::guard::{check_csrf, is_unsafe};
use crate::limits::{BODY_BYTES_MAX, BODY_WAIT};
use crate::openapi::{Documents, Operation};
use crate::secret::random_hex;
use crate::server::Shared;
use crate::store::{By, Store, StoreError};

/// Pages load what is theirs and nothing else, run no script that stands in them, and are framed by nobody.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A part that a request does not have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// What a handler is asked: names in the path, the query, and the body.
pub(crate) struct Ask<P, Q, B> {
    pub(crate) path: P,
    pub(crate) query: Q,
    pub(crate) body: B,
}

/// What is known of a request beside what it asks.
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) caller: Option<Caller>,
    pub(crate) peer: SocketAddr,
}

impl Context {
    /// Who calls.
    pub(crate) fn who(&self) -> &Principal {
        &self.caller.as_ref().expect("the route's policy let nobody in without a credential").principal
    }

    /// Who acts, for the audit log.
    pub(crate) fn by(&self) -> By {
        let actor = self.caller.as_ref().map_or_else(String::new, |caller| caller.principal.name.clone());
        By { actor, address: self.peer.ip().to_string(), now_ns: self.shared.now_ns() }
    }

    pub(crate) fn now_s(&self) -> u64 {
        self.shared.now_ns() / 1_000_000_000
    }

    /// Asks the database, on a thread where waiting for a disk harms nobody.
    pub(crate) async fn store<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let store = self.shared.store.clone();
        blocking(move || ask(&store)).await?.map_err(ApiError::from)
    }
}

/// Runs what may wait on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(&error))
}

/// An answer as JSON, and a cookie with it where a session begins or ends.
pub(crate) struct Reply<R> {
    pub(crate) body: R,
    pub(crate) cookie: Option<HeaderValue>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response, ApiError>> + Send>>;
type Handler = Arc<dyn Fn(Context, Request) -> Answer + Send + Sync>;

/// A route as the table tells of it.
#[derive(Debug, Clone)]
pub struct RouteInfo {
    /// The method.
    pub method: &'static str,
    /// The path, names in braces.
    pub path: &'static str,
    /// Whom it lets in.
    pub policy: Policy,
    /// What it is for.
    pub about: &'static str,
    /// Whether it becomes a socket.
    pub socket: bool,
}

struct Route {
    info: RouteInfo,
    handler: Handler,
}

/// The table while it is being filled.
pub(crate) struct Routes {
    routes: Vec<Route>,
    documents: Documents,
}

/// All routes behind their policies. Only [`Routes::guarded`] makes one.
#[derive(Clone)]
pub(crate) struct Guarded(Router);

/// Where a connection comes from.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Names a request in the log.
#[derive(Clone)]
struct Trace(String);

impl Routes {
    pub(crate) fn new() -> Routes {
        Routes { routes: Vec::new(), documents: Documents::new() }
    }

    /// A route that takes and gives JSON.
    pub(crate) fn json<P, Q, B, R, F, W>(
        &mut self,
        method: Method,
        path: &'static str,
        policy: Policy,
        about: &'static str,
        handler: F,
    ) where
        P: DeserializeOwned + JsonSchema + Send + 'static,
        Q: DeserializeOwned + JsonSchema + Send + 'static,
        B: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + JsonSchema + 'static,
        W: Future<Output = Result<R, ApiError>> + Send + 'static,
        F: Fn(Context, Ask<P, Q, B>) -> W + Send + Sync + 'static,
    {
        self.session(method, path, policy, about, move |context, ask| {
            let answer = handler(context, ask);
            async move { answer.await.map(|body| Reply { body, cookie: None }) }
        });
    }

    /// The same where a session begins or ends, so that its cookie goes with the answer.
    pub(crate) fn session<P, Q, B, R, F, W>(
        &mut self,
        method: Method,
        path: &'static str,
        policy: Policy,
        about: &'static str,
        handler: F,
    ) where
        P: DeserializeOwned + JsonSchema + Send + 'static,
        Q: DeserializeOwned + JsonSchema + Send + 'static,
        B: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + JsonSchema + 'static,
        W: Future<Output = Result<Reply<R>, ApiError>> + Send + 'static,
        F: Fn(Context, Ask<P, Q, B>) -> W + Send + Sync + 'static,
    {
        let mut operation = Operation::new(about, policy);
        operation.path_of::<P>(&mut self.documents);
        operation.query_of::<Q>(&mut self.documents);
        if TypeId::of::<B>() != TypeId::of::<Nothing>() {
            operation.body_of::<B>(&mut self.documents);
        }
        operation.json_of::<R>(&mut self.documents);
        let handler = Arc::new(handler);
        let run: Handler = Arc::new(move |context, request| {
            let handler = handler.clone();
            Box::pin(async move {
                let ask = read(request).await?;
                let Reply { body, cookie } = handler(context, ask).await?;
                let body = serde_json::to_string(&body).map_err(|error| ApiError::internal(&error))?;
                let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
                if let Some(cookie) = cookie {
                    response.headers_mut().insert(header::SET_COOKIE, cookie);
                }
                Ok(response)
            })
        });
        self.add(RouteInfo { method: name(&method), path, policy, about, socket: false }, operation, run);
    }

    /// A route that gives something else, of this media type.
    pub(crate) fn page<F, W>(
        &mut self,
        path: &'static str,
        policy: Policy,
        about: &'static str,
        media: &'static str,
        handler: F,
    ) where
        W: Future<Output = Result<Response, ApiError>> + Send + 'static,
        F: Fn(Context, Request) -> W + Send + Sync + 'static,
    {
        let mut operation = Operation::new(about, policy);
        operation.names_in(path);
        operation.media(media);
        let run: Handler = Arc::new(move |context, request| Box::pin(handler(context, request)));
        self.add(RouteInfo { method: "GET", path, policy, about, socket: false }, operation, run);
    }

    /// A route that becomes a WebSocket.
    pub(crate) fn socket<F, W>(&mut self, path: &'static str, policy: Policy, about: &'static str, handler: F)
    where
        W: Future<Output = Result<Response, ApiError>> + Send + 'static,
        F: Fn(Context, Request) -> W + Send + Sync + 'static,
    {
        let mut operation = Operation::new(about, policy);
        operation.socket();
        let run: Handler = Arc::new(move |context, request| Box::pin(handler(context, request)));
        self.add(RouteInfo { method: "GET", path, policy, about, socket: true }, operation, run);
    }

    fn add(&mut self, info: RouteInfo, operation: Operation, handler: Handler) {
        self.documents.add(info.method, info.path, operation);
        self.routes.push(Route { info, handler });
    }

    /// All that was added.
    pub(crate) fn table(&self) -> Vec<RouteInfo> {
        self.routes.iter().map(|route| route.info.clone()).collect()
    }

    /// The document of all that was added.
    pub(crate) fn openapi(&self) -> serde_json::Value {
        self.documents.whole()
    }

    /// The routes, each behind its policy, all behind the guard.
    pub(crate) fn guarded(self, shared: Arc<Shared>) -> Guarded {
        let mut router = Router::new();
        for Route { info, handler } in self.routes {
            let method = Method::from_bytes(info.method.as_bytes()).expect("a method of the table");
            let filter = MethodFilter::try_from(method).expect("a method that routers know");
            let policy = info.policy;
            let enter = move |State(shared): State<Arc<Shared>>, request: Request| {
                let handler = handler.clone();
                async move { enter(shared, policy, &handler, request).await.unwrap_or_else(ApiError::into_response) }
            };
            router = router.route(info.path, on(filter, enter));
        }
        let router = router
            .fallback(|| async { ApiError::not_found("there is nothing here") })
            .with_state(shared.clone())
            .layer(from_fn_with_state(shared, shell));
        Guarded(router)
    }
}

impl Guarded {
    /// What a connection's requests are handed to.
    pub(crate) fn service(self) -> Router {
        self.0
    }
}

fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => unreachable!("the table has no other methods"),
    }
}

/// Asks the policy, then the handler.
async fn enter(shared: Arc<Shared>, policy: Policy, handler: &Handler, request: Request) -> Result<Response, ApiError> {
    let Some(Peer(peer)) = request.extensions().get().copied() else {
        return Err(ApiError::internal(&"a connection without an address"));
    };
    let headers = request.headers();
    let now_s = shared.now_ns() / 1_000_000_000;
    let caller = match (shared.doors.identify(headers, now_s).await, policy) {
        (Ok(caller), _) => caller,
        (Err(Refused::Store(error)), _) => return Err(error.into()),
        // Whom anyone may ask, one with a credential that has ended may ask too.
        (Err(_), Policy::Open { .. }) => None,
        (Err(refused), Policy::Needs { .. }) => return Err(ApiError::unauthenticated(refused.to_string())),
    };
    if let Policy::Needs { .. } = policy {
        let Some(caller) = &caller else { return Err(ApiError::unauthenticated("this needs a credential")) };
        policy.judge(caller.principal.role, caller.principal.scopes)?;
    }
    if is_unsafe(request.method(), headers) {
        let session = caller.as_ref().map(|caller| caller.session.as_ref());
        if matches!(session, None | Some(Some(_))) {
            shared.names.check_page(headers)?;
        }
        // An upgrade cannot carry the header, and its method changes nothing.
        if let (Some(Some(session)), true) = (session, *request.method() != Method::GET) {
            check_csrf(headers, session.reveal())?;
        }
    }
    handler(Context { shared, caller, peer }, request).await
}

impl From<crate::guard::Refusal> for ApiError {
    fn from(refusal: crate::guard::Refusal) -> ApiError {
        use crate::guard::Refusal;
        let (code, hint) = match &refusal {
            Refusal::Host(_) => ("host", "call the server by a name it has; gateway.names adds others"),
            Refusal::Origin(_) | Refusal::CrossSite => {
                ("origin", "ask from a page of this server, or with a key and no Origin")
            }
            Refusal::NoOrigin(_) => ("origin", "scripts use a key: Authorization: Bearer …"),
            Refusal::Csrf => ("csrf", "GET /v1/me tells the value"),
        };
        ApiError::forbidden(code, refusal.to_string(), hint)
    }
}

/// Around every request: where it may come from, its trace, the words of its refusal, the headers of its answer.
async fn shell(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let trace = Trace(random_hex::<8>());
    let mut response = match shared.names.check(request.headers()) {
        Err(refusal) => ApiError::from(refusal).into_response(),
        Ok(()) => next.run(request).await,
    };
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let error = response.extensions_mut().remove().unwrap_or_else(|| ApiError::of_status(status));
        if let Some(cause) = &error.cause {
            tracing::error!(trace = trace.0, cause, "a request failed");
        }
        let body = serde_json::to_string(&error.body(&trace.0)).expect("texts are plain JSON");
        let old = response;
        response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Some(allow) = old.headers().get(header::ALLOW) {
            response.headers_mut().insert(header::ALLOW, allow.clone());
        }
        error.dress(&mut response);
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if shared.secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    if let Ok(value) = HeaderValue::from_str(&trace.0) {
        headers.insert("x-trace", value);
    }
    response
}

/// Reads what a handler is asked; a part that is [`Nothing`] is not looked at.
async fn read<P, Q, B>(request: Request) -> Result<Ask<P, Q, B>, ApiError>
where
    P: DeserializeOwned + Send + 'static,
    Q: DeserializeOwned + Send + 'static,
    B: DeserializeOwned + Send + 'static,
{
    let (mut parts, body) = request.into_parts();
    let path = match nothing() {
        Some(nothing) => nothing,
        None => match Path::from_request_parts(&mut parts, &()).await {
            Ok(Path(path)) => path,
            Err(error) => return Err(ApiError::bad_request(error.body_text())),
        },
    };
    let Query(query) = Query::try_from_uri(&parts.uri).map_err(|error| ApiError::bad_request(error.body_text()))?;
    let body = match nothing() {
        Some(nothing) => nothing,
        None => {
            let media = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
            if !media.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
                let words = "the body must be JSON, with the header Content-Type: application/json";
                return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", words, "send JSON"));
            }
            let bytes = whole(body, &parts.headers).await?;
            serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request(wrong(&error)))?
        }
    };
    Ok(Ask { path, query, body })
}

/// What is wrong with a body, without what stands in it: that may be a password.
fn wrong(error: &serde_json::Error) -> String {
    let words = error.to_string();
    match words.rfind(", expected ") {
        Some(at) if words.starts_with("invalid ") => {
            format!("the body: a value of another type or form{}", &words[at..])
        }
        _ => format!("the body: {words}"),
    }
}

/// The value of a part that is [`Nothing`]; `None` when it is something.
fn nothing<T: DeserializeOwned + 'static>() -> Option<T> {
    (TypeId::of::<T>() == TypeId::of::<Nothing>())
        .then(|| serde_json::from_str("{}").expect("nothing is read from nothing"))
}

async fn whole(body: axum::body::Body, headers: &header::HeaderMap) -> Result<axum::body::Bytes, ApiError> {
    let too_large = || {
        let words = format!("a body may have {BODY_BYTES_MAX} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", words, "send less at once")
    };
    let told = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_WAIT, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(read) => read.map_err(|_| too_large()),
        Err(_) => {
            let words = format!("the body did not come within {} s", BODY_WAIT.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", words, "send it faster, or less"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Every source of this crate beside this one.
    fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.file_name().is_some_and(|name| name != "routes.rs") {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).expect("a text")));
            }
        }
    }

    #[test]
    fn nothing_else_makes_routes() {
        let mut found = vec![];
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert!(found.len() > 10, "the sources are not where this test looks");
        for (path, text) in found {
            for word in ["Router", "MethodRouter", "axum::routing", "axum::serve", "Guarded("] {
                assert!(
                    !text.contains(word),
                    "{path} names {word}: routes are added to the table in routes.rs, by policy"
                );
            }
        }
    }
}
