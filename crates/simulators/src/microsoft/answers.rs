//! Answers in the vendor's shape.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::wire::{Answer, Request};

/// What the service says against a request.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) headers: Vec<(&'static str, String)>,
    /// Whether the request is one that the description does not have.
    pub(super) is_outside: bool,
}

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Stop {
    /// The service refuses it.
    Refused(Refusal),
    /// The state could not be saved.
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new(), is_outside: false }
    }

    /// A request that the vendor's description does not have.
    pub(super) fn outside(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { is_outside: true, ..Self::new(status, code, message) }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "ErrorPropertyValidationFailure", message)
    }

    /// What the real service has and this one has not, so that no test takes it for a real answer.
    pub(super) fn not_simulated(what: &str) -> Self {
        Self::new(501, "notSimulated", format!("{what} is not simulated"))
    }

    pub(super) fn answer(&self, now: Timestamp, request: &Request) -> Answer {
        let id = request_id(request);
        let body = json!({ "error": {
            "code": self.code, "message": self.message,
            "innerError": {
                "date": now.strftime("%Y-%m-%dT%H:%M:%S").to_string(), "request-id": id,
                "client-request-id": request.header("client-request-id").unwrap_or(&id),
            },
        }});
        let mut answer = Answer::json(self.status, &body);
        for (name, value) in &self.headers {
            answer = answer.with(name, value);
        }
        answer
    }
}

pub(super) fn request_id(request: &Request) -> String {
    request.header("client-request-id").map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// A successful answer.
pub(super) fn ok(status: u16, body: &Value) -> Answer {
    let kind =
        "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";
    Answer::status(status).with("Content-Type", kind).body(body.to_string())
}
