//! Errors of the protocol: status, `scimType`, a sentence. RFC 7644, section 3.12.

use serde_json::{Value, json};

use crate::wire::Answer;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    scim_type: Option<&'static str>,
    detail: String,
    /// The methods that there are instead.
    allowed: Option<&'static str>,
}

impl Refusal {
    pub(super) fn plain(status: u16, detail: impl Into<String>) -> Self {
        Self { status, scim_type: None, detail: detail.into(), allowed: None }
    }

    pub(super) fn bad(scim_type: &'static str, detail: impl Into<String>) -> Self {
        Self { scim_type: Some(scim_type), ..Self::plain(400, detail) }
    }

    pub(super) fn value(detail: impl Into<String>) -> Self {
        Self::bad("invalidValue", detail)
    }

    pub(super) fn taken() -> Self {
        let detail = "One or more of the attribute values are already in use or are reserved";
        Self { scim_type: Some("uniqueness"), ..Self::plain(409, detail) }
    }

    /// For `Allow`: `GET, POST`.
    pub(super) fn method(allowed: &'static str) -> Self {
        let detail = "The endpoint does not support this method";
        Self { allowed: Some(allowed), ..Self::plain(405, detail) }
    }

    pub(super) fn stale() -> Self {
        Self::plain(412, "Failed to update. Resource has changed on the server")
    }

    pub(super) fn body(&self) -> Value {
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": self.status.to_string(),
        });
        if let Some(scim_type) = self.scim_type {
            body["scimType"] = json!(scim_type);
        }
        body["detail"] = json!(self.detail);
        body
    }

    pub(super) fn answer(&self, bare: bool) -> Answer {
        let answer = if bare { Answer::status(self.status) } else { scim_json(self.status, &self.body()) };
        match self.allowed {
            Some(allowed) => answer.with("Allow", allowed),
            None => answer,
        }
    }

    /// As what is said to a person.
    pub(super) fn said(&self) -> String {
        format!("{} ({})", self.detail, self.status)
    }
}

pub(super) fn scim_json(status: u16, body: &Value) -> Answer {
    Answer::status(status).with("Content-Type", "application/scim+json").body(body.to_string())
}
