//! What a refused or failed request is answered: a code for programs, words for people, what to do, and a number that finds
//! the request in the log.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::Lacking;
use crate::store::StoreError;

/// An error as it is sent.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ErrorBody {
    /// One of a fixed set of words, such as `unauthenticated` or `not_found`.
    pub(crate) code: String,
    /// What happened.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: String,
    /// Names the request in the gateway's log and in the header `x-trace`.
    pub(crate) trace: String,
}

/// Why a request is not answered as asked.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: &'static str,
    retry_after: Option<Duration>,
    /// Of a failure of ours: for the log only.
    pub(crate) cause: Option<String>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: &'static str,
    ) -> ApiError {
        ApiError { status, code, message: message.into(), hint, retry_after: None, cause: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message, "/docs says what this route takes")
    }

    pub(crate) fn unauthenticated(message: impl Into<String>) -> ApiError {
        let hint = "log in, or send a key or token as: Authorization: Bearer …; make a key with: alphapulse key create";
        ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", message, hint)
    }

    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>, hint: &'static str) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, code, message, hint)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message, "/docs lists what there is")
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> ApiError {
        let hint = "ask again once alphapulse status shows that its feed runs";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message, hint)
    }

    pub(crate) fn too_many(message: impl Into<String>, wait: Duration) -> ApiError {
        let hint = "wait as long as the header Retry-After says, in seconds";
        let mut error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message, hint);
        error.retry_after = Some(wait);
        error
    }

    /// Our own fault: the words are for the log only.
    pub(crate) fn internal(why: &dyn std::fmt::Display) -> ApiError {
        let hint = "look for the trace in the gateway's log";
        let error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the gateway failed at this", hint);
        ApiError { cause: Some(why.to_string()), ..error }
    }

    /// Of an answer that came without one of ours.
    pub(crate) fn of_status(status: StatusCode) -> ApiError {
        let (code, hint) = match status {
            StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "the header Allow names the methods there are"),
            StatusCode::UPGRADE_REQUIRED => ("upgrade_required", "open this as a WebSocket"),
            _ => ("refused", "/docs says what this route takes"),
        };
        let words = status.canonical_reason().unwrap_or("refused").to_lowercase();
        ApiError::new(status, code, words, hint)
    }

    pub(crate) fn body(&self, trace: &str) -> ErrorBody {
        ErrorBody {
            code: self.code.to_owned(),
            message: self.message.clone(),
            hint: self.hint.to_owned(),
            trace: trace.to_owned(),
        }
    }

    /// The headers that go with it.
    pub(crate) fn dress(&self, response: &mut Response) {
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
    }
}

impl From<Lacking> for ApiError {
    fn from(lacking: Lacking) -> ApiError {
        ApiError::forbidden("forbidden", lacking.to_string(), "ask an admin for the role, or make a key with the scope")
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        let words = error.to_string();
        match error {
            StoreError::Absent { .. } => ApiError::not_found(words),
            StoreError::Taken(_) | StoreError::LastAdmin(_) | StoreError::Full { .. } => {
                ApiError::new(StatusCode::CONFLICT, "conflict", words, "change what stands in the way first")
            }
            StoreError::Name(_) | StoreError::Password(_) | StoreError::Life { .. } => ApiError::bad_request(words),
            StoreError::Scopes { .. } => ApiError::forbidden("forbidden", words, "ask for fewer scopes"),
            StoreError::Folder { .. }
            | StoreError::Shared { .. }
            | StoreError::Root(_)
            | StoreError::Version { .. }
            | StoreError::Sqlite(_)
            | StoreError::Damaged(_) => ApiError::internal(&words),
        }
    }
}

/// The words follow in the outermost layer, which knows the trace.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
