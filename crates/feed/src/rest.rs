//! REST requests beside the hot path: one worker thread, one request at a time, answers by channel and a ring of the
//! loop's [`Waker`].
//!
//! Requests queue within a bound; venues limit the rate anyway, so a full queue means a machine that asks without
//! listening. Status codes are answers, not errors: the venue machine decides what a 429 means. Redirects are not
//! followed: a venue's API does not move under way, and credentials must not follow it. Trust is the same
//! [`TlsClient`] as the sockets'.

mod connector;

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ureq::Agent;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};

use crate::transport::{BadUrl, ConnectError, Endpoint, TlsClient, Waker};
use connector::TlsConnector;

/// Requests that may wait for the worker. A venue machine asks for one snapshot per symbol at a time; the largest
/// subscription has 1,024 streams.
pub const QUEUE_MAX: usize = 1024;

/// Limits of a [`RestClient`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestConfig {
    /// Time for one request, from lookup to the last byte of the body.
    pub timeout: Duration,
    /// Largest body taken, bytes, after decompression.
    pub body_bytes_max: u64,
}

impl Default for RestConfig {
    /// 10 s; 64 MiB (the largest instrument lists have 20).
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), body_bytes_max: 64 << 20 }
    }
}

/// Method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Create, without a body.
    Post,
    /// Renew, without a body.
    Put,
    /// Remove.
    Delete,
}

impl Method {
    /// As it stands in the request line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The caller's own number, given back with the answer.
    pub id: u64,
    /// Method.
    pub method: Method,
    /// Absolute URL, `http` or `https`.
    pub url: String,
    /// Headers beside `Host`, `User-Agent` and `Accept-Encoding`.
    pub headers: Vec<(String, String)>,
}

/// One answer.
#[derive(Debug)]
pub struct Completion {
    /// The request's number.
    pub id: u64,
    /// What came back.
    pub result: Result<Response, RestError>,
}

/// A complete response of whatever status but a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body, decompressed.
    pub body: Vec<u8>,
}

impl Response {
    /// First value of a header by its lower-case name, such as `x-mbx-used-weight-1m`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// How long the venue asked us to stay away: `Retry-After` in seconds form.
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
    }
}

/// No response.
#[derive(Debug, thiserror::Error)]
#[error("{} {url}: {failure}", method.name())]
pub struct RestError {
    /// Method of the request.
    pub method: Method,
    /// URL without its query.
    pub url: String,
    /// What went wrong.
    pub failure: RestFailure,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum RestFailure {
    /// Not within the time for one request.
    #[error("no complete response within {timeout:?} ({phase})")]
    Timeout {
        /// Time allowed.
        timeout: Duration,
        /// What it was waiting for.
        phase: String,
    },
    /// TLS or the connection failed in a way that has a name.
    #[error(transparent)]
    Connect(ConnectError),
    /// The body is larger than we take.
    #[error("body exceeds {max} bytes; raise body_bytes_max if the venue is right")]
    BodyTooLong {
        /// The limit, bytes.
        max: u64,
    },
    /// A redirect, which is not followed.
    #[error("status {status} redirects to {location:?}, which is not followed; configure the final address")]
    Redirect {
        /// HTTP status code.
        status: u16,
        /// Where to.
        location: String,
    },
    /// The host has no address.
    #[error("host not found; check the host name and the DNS server")]
    HostNotFound,
    /// The socket failed.
    #[error("{0}")]
    Io(io::Error),
    /// Anything else that HTTP can do wrong.
    #[error("{0}")]
    Http(String),
}

/// A request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// [`QUEUE_MAX`] requests wait already.
    #[error("{QUEUE_MAX} REST requests wait already; ask for less or wait for answers")]
    Full,
    /// The URL is not one for REST.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// The worker is gone, which only a panic in it can cause.
    #[error("the REST worker is gone; restart the feed")]
    WorkerGone,
}

/// The worker's handle. Dropping it interrupts the request under way and joins the thread.
#[derive(Debug)]
pub struct RestClient {
    requests: Option<mpsc::SyncSender<Job>>,
    answers: mpsc::Receiver<Completion>,
    agent: Agent,
    stopping: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Job {
    request: Request,
    endpoint: Endpoint,
}

impl RestClient {
    /// Starts the worker; `waker` rings whenever [`poll`](Self::poll) has an answer.
    pub fn new(tls: &TlsClient, config: RestConfig, waker: Arc<Waker>) -> io::Result<Self> {
        let agent = agent(tls, config);
        let (requests, queue) = mpsc::sync_channel::<Job>(QUEUE_MAX);
        let (answer, answers) = mpsc::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let (worker_agent, worker_stopping) = (agent.clone(), Arc::clone(&stopping));
        let worker = thread::Builder::new().name("rest".to_owned()).spawn(move || {
            for job in queue {
                if worker_stopping.load(Ordering::Relaxed) {
                    return;
                }
                let result = run(&worker_agent, &job, config);
                // The receiver lives as long as the client, and the client joins this thread before it goes.
                let _ = answer.send(Completion { id: job.request.id, result });
                waker.wake();
            }
        })?;
        Ok(Self { requests: Some(requests), answers, agent, stopping, worker: Some(worker) })
    }

    /// Queues a request. Never blocks.
    pub fn submit(&self, request: Request) -> Result<(), SubmitError> {
        let endpoint = Endpoint::parse(&request.url)?;
        if endpoint.scheme().is_websocket() {
            return Err(BadUrl { url: endpoint.to_string(), reason: "REST needs http or https" }.into());
        }
        let requests = self.requests.as_ref().expect("the sender is taken only by drop");
        requests.try_send(Job { request, endpoint }).map_err(|error| match error {
            TrySendError::Full(_) => SubmitError::Full,
            TrySendError::Disconnected(_) => SubmitError::WorkerGone,
        })
    }

    /// The next answer, in the order of submission; `None` when there is none yet.
    pub fn poll(&self) -> Option<Completion> {
        self.answers.try_recv().ok()
    }
}

impl Drop for RestClient {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.requests = None;
        // Ends the request under way; lookup and TCP connect, which it cannot end, are bounded by the timeout.
        self.agent.clone().shutdown();
        if let Some(worker) = self.worker.take() {
            // A panic in the worker was reported by the panic hook; panicking in drop would hide it.
            let _ = worker.join();
        }
    }
}

fn agent(tls: &TlsClient, config: RestConfig) -> Agent {
    let settings = Agent::config_builder()
        .timeout_global(Some(config.timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("alphapulse/", env!("CARGO_PKG_VERSION")))
        .build();
    let connector = ().chain(TcpConnector::default()).chain(TlsConnector::new(tls.config()));
    Agent::with_parts(settings, connector, DefaultResolver::default())
}

fn run(agent: &Agent, job: &Job, config: RestConfig) -> Result<Response, RestError> {
    exchange(agent, &job.request, config).map_err(|failure| RestError {
        method: job.request.method,
        url: job.endpoint.to_string(),
        failure,
    })
}

fn exchange(agent: &Agent, request: &Request, config: RestConfig) -> Result<Response, RestFailure> {
    let failure = |error| failure(error, config);
    let mut builder = ureq::http::Request::builder().method(request.method.name()).uri(&request.url);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let request = builder.body(()).map_err(|error| RestFailure::Http(error.to_string()))?;
    let response = agent.run(request).map_err(failure)?;
    let (parts, body) = response.into_parts();
    let headers = headers(&parts.headers);
    let status = parts.status.as_u16();
    if parts.status.is_redirection() {
        let location = headers.into_iter().find(|(name, _)| name == "location").map(|(_, value)| value);
        return Err(RestFailure::Redirect { status, location: location.unwrap_or_default() });
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells "exactly the limit" from "more".
    let limit = config.body_bytes_max.saturating_add(1);
    body.into_reader().take(limit).read_to_end(&mut bytes).map_err(|error| failure(error.into()))?;
    if bytes.len() as u64 > config.body_bytes_max {
        return Err(RestFailure::BodyTooLong { max: config.body_bytes_max });
    }
    Ok(Response { status, headers, body: bytes })
}

/// `HeaderMap` names are in lower case already.
fn headers(map: &ureq::http::HeaderMap) -> Vec<(String, String)> {
    map.iter().map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect()
}

fn failure(error: ureq::Error, config: RestConfig) -> RestFailure {
    match error {
        ureq::Error::Timeout(phase) => RestFailure::Timeout { timeout: config.timeout, phase: phase.to_string() },
        ureq::Error::HostNotFound => RestFailure::HostNotFound,
        ureq::Error::Io(error) => RestFailure::Io(error),
        ureq::Error::Other(error) => match error.downcast::<ConnectError>() {
            Ok(error) => RestFailure::Connect(*error),
            Err(error) => RestFailure::Http(error.to_string()),
        },
        other => RestFailure::Http(other.to_string()),
    }
}
