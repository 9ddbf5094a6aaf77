//! Google's errors: status, then the reason in the body. The one place that reads them.

use std::time::Duration;

use http_client::{Answer, codes};
use serde::Deserialize;
use shared::fault::{Fault, FaultKind, cut};

use crate::throttle::Throttle;

/// Longest word of a reason and longest message taken from an answer, in characters.
const REASON_CHARS_MAX: usize = 60;
const MESSAGE_CHARS_MAX: usize = 200;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireError {
    error: WireDetails,
}

/// Both styles: `errors` is Calendar's, `details` that of newer APIs, which gateways answer with as well.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireDetails {
    errors: Vec<WireReason>,
    details: Vec<WireReason>,
    message: String,
    status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireReason {
    reason: String,
    location: String,
}

fn read(answer: &Answer) -> WireDetails {
    serde_json::from_slice::<WireError>(answer.body()).map(|wire| wire.error).unwrap_or_default()
}

/// The word for why, where the answer has one.
pub(crate) fn reason(answer: &Answer) -> Option<String> {
    let wire = read(answer);
    let found = wire.errors.iter().chain(&wire.details).map(|one| &one.reason).find(|word| !word.is_empty());
    let word = found.or(Some(&wire.status).filter(|word| !word.is_empty()))?;
    Some(cut(word, REASON_CHARS_MAX))
}

/// Whether the answer says that the event, the calendar or the channel is not there. A 404 of a proxy does not say so.
pub(crate) fn is_gone(answer: &Answer) -> bool {
    match (answer.status(), reason(answer).as_deref()) {
        (404, Some("notFound" | "NOT_FOUND")) | (410, Some("deleted" | "resourceDeleted")) => true,
        (_, _) => false,
    }
}

/// Whether the answer to a list says that its token is no longer good: read all again, and compare.
pub(crate) fn is_expired(answer: &Answer) -> bool {
    let is_token = |wire: WireDetails| {
        wire.errors
            .iter()
            .any(|one| one.reason == "invalid" && ["syncToken", "pageToken"].contains(&one.location.as_str()))
    };
    match answer.status() {
        // `fullSyncRequired`, `updatedMinTooLongAgo`, or without reason.
        410 => true,
        // A token that nobody gave, of a store that was mixed up: it never gets better.
        400 => is_token(read(answer)),
        _ => false,
    }
}

/// Passes a success on, and turns everything else into its fault.
pub(crate) fn success(answer: &Answer) -> Result<&Answer, Fault> {
    if answer.is_success() { Ok(answer) } else { Err(fault(answer)) }
}

/// The fault of an answer that asks for fewer requests; its account waits so long.
pub(crate) fn throttled(answer: &Answer, throttle: Throttle, after: Duration) -> Fault {
    let seconds = after.as_secs_f64().ceil();
    let text = match throttle {
        Throttle::Rate => format!(
            "Google asks for fewer requests ({} to {}); the account waits {seconds} s.",
            or_status(answer),
            answer.operation()
        ),
        Throttle::Quota => format!(
            "Google's limit for this calendar or this day is reached ({} to {}); the account waits {seconds} s. Where \
             this goes on, look at the quotas of the application in Google's console.",
            or_status(answer),
            answer.operation()
        ),
    };
    answer.fault(FaultKind::Throttled { after }, codes::THROTTLED, text)
}

/// The fault that an answer without success means.
pub(crate) fn fault(answer: &Answer) -> Fault {
    if let Some(fault) = answer.common_fault() {
        return fault;
    }
    let (operation, why) = (answer.operation(), or_status(answer));
    let permanent = |code: &'static str, text: String| answer.fault(FaultKind::Permanent, code, text);
    match (answer.status(), reason(answer).as_deref()) {
        (401, _) => {
            let text = "Google refuses the account's access token, and a new one as well. If this goes on, the user \
                        has to connect the account again.";
            answer.fault(FaultKind::Unauthorized, "unauthorized", text)
        }
        (403, Some("forbiddenForNonOrganizer")) => permanent(
            "not_organizer",
            format!("Google forbids {operation}: only the event's organiser may change it."),
        ),
        (403, Some("insufficientPermissions" | "ACCESS_TOKEN_SCOPE_INSUFFICIENT")) => permanent(
            "scope_missing",
            format!(
                "Google forbids {operation}: the user has not granted all that was asked for. Connect the account \
                 again, and leave every box ticked."
            ),
        ),
        (403, Some("accessNotConfigured" | "SERVICE_DISABLED")) => permanent(
            "api_not_enabled",
            format!(
                "Google forbids {operation}: the Calendar API is not enabled for the application. Enable it in \
                 Google's console."
            ),
        ),
        (403, _) => permanent(
            "forbidden",
            format!("Google forbids {operation}: {why}. Check what the account may do with this calendar."),
        ),
        (404, _) if is_gone(answer) => permanent(
            "not_found",
            format!(
                "What {operation} is about is not there at Google, or the account may not see it any more."
            ),
        ),
        (404, _) => {
            let text = format!(
                "{operation} was answered with status 404, not by Google Calendar; check the address in the settings."
            );
            answer.fault(FaultKind::Retryable { after: None }, "not_google", text)
        }
        (409, Some("duplicate")) => permanent(
            "duplicate",
            format!("Google refuses {operation}: there is an event with this id already."),
        ),
        (410, _) if is_gone(answer) => {
            permanent("deleted", format!("The event of {operation} was deleted at Google."))
        }
        (412, _) => {
            let text = format!("The event of {operation} was changed at Google since it was read.");
            answer.fault(FaultKind::Conflict, "modified", text)
        }
        (_, _) => permanent("request_refused", format!("Google refuses {operation}: {why}.")),
    }
}

/// The reason and Google's own words, for a person.
fn or_status(answer: &Answer) -> String {
    let wire = read(answer);
    match reason(answer) {
        Some(word) if wire.message.is_empty() => word,
        Some(word) => format!("{word}, \"{}\"", cut(wire.message.trim_end_matches('.'), MESSAGE_CHARS_MAX)),
        None => format!("status {} without a reason", answer.status()),
    }
}

/// The fault of a calendar that was there, and is not for this account any more. Nothing in it counts as deleted.
pub(crate) fn calendar_gone(answer: &Answer) -> Fault {
    let text = "The calendar is not there, or is not shared with the account any more. Share it again, or choose \
                another one; its events stay as they are in the CRM.";
    answer.fault(FaultKind::Permanent, "calendar_gone", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SYSTEM, fixtures, throttle};

    fn check(name: &str, kind: &str, code: &str, says: &str) {
        let fault = fault(&fixtures::error(name, &[]));
        assert_eq!((fault.kind.name(), fault.code), (kind, code), "{name}");
        assert!(fault.text.contains(says), "{name}: {}", fault.text);
    }

    #[test]
    fn every_error_of_the_vendor_has_its_fault() {
        check("error-400-timerangeempty", "permanent", "request_refused", "timeRangeEmpty");
        check("error-401", "unauthorized", "unauthorized", "connect");
        check("error-403-forbiddennonorganizer", "permanent", "not_organizer", "organiser");
        check("error-404", "permanent", "not_found", "not there");
        check("error-409-duplicate", "permanent", "duplicate", "already");
        check("error-410-deleted", "permanent", "deleted", "deleted");
        check("error-412-conditionnotmet", "conflict", "modified", "changed");
        check("error-500", "retryable", "upstream_failed", "500");
    }

    #[test]
    fn a_throttled_account_says_why_and_how_long() {
        let answer = fixtures::error("error-403-calendarlimits", &[]);
        let fault = throttled(&answer, Throttle::Quota, Duration::from_secs(3_600));
        assert_eq!(fault.kind, FaultKind::Throttled { after: Duration::from_secs(3_600) });
        assert!(fault.text.contains("quotaExceeded") && fault.text.contains("3600 s"), "{}", fault.text);
        assert!(throttle::throttle(&answer).is_some());
    }

    #[test]
    fn only_google_says_that_something_is_gone_or_expired() {
        for (name, gone, expired) in [
            ("error-404", true, false),
            ("error-410-deleted", true, true),
            ("error-410-fullsyncrequired", false, true),
            ("error-410-updatedmintoolongago", false, true),
            ("error-400-timerangeempty", false, false),
            ("error-403-ratelimit", false, false),
        ] {
            let answer = fixtures::error(name, &[]);
            assert_eq!((is_gone(&answer), is_expired(&answer)), (gone, expired), "{name}");
        }
        let token = r#"{"error":{"errors":[{"reason":"invalid","locationType":"parameter","location":"syncToken"}]}}"#;
        assert!(is_expired(&Answer::recorded(SYSTEM, "GET x", 400, &[], token)));
        let page = Answer::recorded(SYSTEM, "GET x", 404, &[("Content-Type", "text/html")], "<h1>404</h1>");
        assert!(!is_gone(&page));
        assert_eq!(fault(&page).code, "not_google");
    }

    #[test]
    fn both_styles_of_errors_are_read() {
        let new = r#"{"error":{"code":403,"message":"No","status":"PERMISSION_DENIED","details":[
            {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED","domain":"googleapis.com"}]}}"#;
        let answer = Answer::recorded(SYSTEM, "GET x", 403, &[], new);
        assert_eq!(fault(&answer).code, "api_not_enabled");
        for odd in ["", "[]", "null", r#"{"error":"invalid_grant"}"#, r#"{"error":{"errors":7}}"#] {
            let answer = Answer::recorded(SYSTEM, "GET x", 403, &[], odd);
            assert_eq!((reason(&answer), fault(&answer).code), (None, "forbidden"), "{odd}");
        }
    }
}
