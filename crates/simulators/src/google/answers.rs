//! Errors in Google's words: the old style of Calendar and the short one of the token endpoint.

use serde_json::json;

use crate::wire::Answer;

/// Why a request is refused.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) domain: &'static str,
    pub(super) reason: String,
    pub(super) message: String,
    /// Kind and name of the part of the request that is at fault.
    pub(super) location: Option<(&'static str, String)>,
}

impl Refusal {
    pub(super) fn new(status: u16, reason: &str, message: impl Into<String>) -> Self {
        Self { status, domain: "global", reason: reason.to_owned(), message: message.into(), location: None }
    }

    pub(super) fn domain(mut self, domain: &'static str) -> Self {
        self.domain = domain;
        self
    }

    pub(super) fn at(mut self, kind: &'static str, name: impl Into<String>) -> Self {
        self.location = Some((kind, name.into()));
        self
    }

    pub(super) fn answer(&self) -> Answer {
        let mut error = json!({ "domain": self.domain, "reason": self.reason, "message": self.message });
        if let Some((kind, name)) = &self.location {
            error["locationType"] = json!(kind);
            error["location"] = json!(name);
        }
        let body = json!({ "error": { "errors": [error], "code": self.status, "message": self.message } });
        let answer = Answer::json(self.status, &body);
        match self.status {
            401 => answer.with("WWW-Authenticate", "Bearer realm=\"https://accounts.google.com/\""),
            _ => answer,
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        refusal.answer()
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "invalid", message)
}

pub(super) fn required(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "required", message)
}

pub(super) fn bad_request(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "badRequest", message)
}

pub(super) fn time_range_empty(parameter: &str) -> Refusal {
    Refusal::new(400, "timeRangeEmpty", "The specified time range is empty.")
        .domain("calendar")
        .at("parameter", parameter)
}

pub(super) fn auth_error() -> Refusal {
    Refusal::new(401, "authError", "Invalid Credentials").at("header", "Authorization")
}

pub(super) fn insufficient_permissions() -> Refusal {
    Refusal::new(
        403,
        "insufficientPermissions",
        "Insufficient Permission: Request had insufficient authentication scopes.",
    )
}

pub(super) fn forbidden() -> Refusal {
    Refusal::new(403, "forbidden", "Forbidden")
}

pub(super) fn forbidden_for_non_organizer() -> Refusal {
    let message = "Shared properties can only be changed by the organizer of the event.";
    Refusal::new(403, "forbiddenForNonOrganizer", message).domain("calendar")
}

pub(super) fn not_found() -> Refusal {
    Refusal::new(404, "notFound", "Not Found")
}

pub(super) fn duplicate() -> Refusal {
    Refusal::new(409, "duplicate", "The requested identifier already exists.")
}

pub(super) fn deleted() -> Refusal {
    Refusal::new(410, "deleted", "Resource has been deleted")
}

pub(super) fn full_sync_required() -> Refusal {
    Refusal::new(410, "fullSyncRequired", "Sync token is no longer valid, a full sync is required.")
        .domain("calendar")
        .at("parameter", "syncToken")
}

pub(super) fn updated_min_too_long_ago() -> Refusal {
    let message = "The requested minimum modification time lies too far in the past.";
    Refusal::new(410, "updatedMinTooLongAgo", message).domain("calendar").at("parameter", "updatedMin")
}

pub(super) fn condition_not_met() -> Refusal {
    Refusal::new(412, "conditionNotMet", "Precondition Failed").at("header", "If-Match")
}

/// An error of the token endpoint.
pub(super) fn oauth(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(status, &json!({ "error": error, "error_description": description }))
        .with("Cache-Control", "no-cache, no-store")
}

/// An error that a test asked for: the message follows from the reason.
pub(super) fn forced(status: u16, reason: &str) -> Refusal {
    let (domain, message) = match reason {
        "rateLimitExceeded" => ("usageLimits", "Rate Limit Exceeded"),
        "userRateLimitExceeded" => ("usageLimits", "User Rate Limit Exceeded"),
        "quotaExceeded" => ("usageLimits", "Calendar usage limits exceeded."),
        "dailyLimitExceeded" => ("usageLimits", "Daily Limit Exceeded"),
        "accessNotConfigured" => {
            ("usageLimits", "Access Not Configured. The API is not enabled for your project.")
        }
        "authError" => return auth_error(),
        "notFound" => return not_found(),
        "fullSyncRequired" => return full_sync_required(),
        "conditionNotMet" => return condition_not_met(),
        "backendError" => ("global", "Backend Error"),
        _ => ("global", "The request failed."),
    };
    Refusal::new(status, reason, message).domain(domain)
}
