//! EspoCRM's errors: status, then `X-Status-Reason`, then the body. The one place that reads them.

use std::time::Duration;

use http_client::Answer;
use serde_json::Value;
use shared::fault::{Fault, FaultKind};
use shared::settlement::UNAUTHORIZED_PAUSE;

use crate::SYSTEM;

/// How long EspoCRM's lock-out lasts after more than 10 refused log-ins
/// (`Espo\Core\Authentication\Hook\Hooks\FailedAttemptsLimit`).
pub(crate) const LOCK_OUT: Duration = Duration::from_secs(60);

/// The code of a write that was refused because another user has the log-in name.
pub const USER_NAME_TAKEN: &str = "user_name_taken";

const NEEDS_ADMINISTRATOR: &str = "Writing users and teams needs an administrator's log-in: no API user may do it, \
                                   whatever its role. Check whose log-in is in the settings, and the limit of users.";

/// Whether this writes users or teams, which API users never may.
fn is_directory_write(operation: &str) -> bool {
    let (method, path) = operation.split_once(' ').unwrap_or_default();
    method != "GET" && ["User", "Team"].contains(&path.split('/').next().unwrap_or_default())
}

/// The answer's `X-Status-Reason`; empty when there is none.
pub(crate) fn reason(answer: &Answer) -> &str {
    answer.header("x-status-reason").unwrap_or_default().trim()
}

/// Whether the answer says that the record does not exist. A 404 of a web server, a proxy, or for an unknown
/// entity type does not say so.
pub(crate) fn is_gone(answer: &Answer) -> bool {
    let reason = reason(answer);
    answer.status() == 404
        && reason.starts_with("Record ")
        && (reason.ends_with(" does not exist.") || reason.ends_with(" not found."))
}

/// Whether the whole account must wait, and why.
pub(crate) fn account_pause(answer: &Answer) -> Option<(Duration, &'static str)> {
    match answer.status() {
        401 => Some((
            UNAUTHORIZED_PAUSE,
            "EspoCRM refuses the log-in; check the key or password, and that the user is active",
        )),
        403 if is_lock_out(answer) => {
            Some((LOCK_OUT, "EspoCRM has locked this address out after refused log-ins"))
        }
        _ => None,
    }
}

/// A lock-out has no reason and is HTML; every other 403 comes as JSON.
fn is_lock_out(answer: &Answer) -> bool {
    answer.status() == 403 && answer.is_html() && answer.header("x-status-reason").is_none()
}

/// Passes a success on, and turns everything else into its fault.
pub(crate) fn success(answer: &Answer) -> Result<&Answer, Fault> {
    if answer.is_success() { Ok(answer) } else { Err(fault(answer)) }
}

/// The fault that an answer without success means.
pub(crate) fn fault(answer: &Answer) -> Fault {
    if let Some(fault) = answer.common_fault() {
        return fault;
    }
    let operation = answer.operation();
    let reason = reason(answer);
    let permanent = |code: &'static str, text: String| answer.fault(FaultKind::Permanent, code, text);
    match answer.status() {
        401 => {
            let text = "EspoCRM refuses the log-in: the API user's key, or the administrator's name and password. Check \
                        it, and that the user is active and of the type that signs in this way.";
            answer.fault(FaultKind::Unauthorized, "unauthorized", text)
        }
        403 if is_lock_out(answer) => {
            let text = "EspoCRM has locked this address out after more than 10 refused log-ins within 60 s; \
                        the account waits.";
            answer.fault(FaultKind::Paused { after: LOCK_OUT }, "locked_out", text)
        }
        400 => validation(answer).unwrap_or_else(|| {
            permanent("request_refused", format!("EspoCRM refuses {operation}: {}", or_status(reason, 400)))
        }),
        403 => {
            let advice = if is_directory_write(operation) { NEEDS_ADMINISTRATOR } else { advice(reason) };
            permanent(
                "forbidden",
                format!("EspoCRM forbids {operation}: {} {advice}", or_status(reason, 403)),
            )
        }
        404 if is_gone(answer) => {
            permanent("record_gone", format!("The record of {operation} does not exist in EspoCRM."))
        }
        404 if reason.starts_with("Controller ") => permanent(
            "entity_type_unknown",
            format!("EspoCRM has no such entity type: {reason} Check its name in the settings."),
        ),
        404 if !answer.is_html() => permanent(
            "route_unknown",
            format!(
                "EspoCRM does not know {operation}: {}. Check its version and address.",
                or_status(reason, 404)
            ),
        ),
        404 => {
            let text = format!(
                "{operation} was answered with an HTML page (404), not by EspoCRM; check the address in the settings."
            );
            answer.fault(FaultKind::Retryable { after: None }, "not_espocrm", text)
        }
        409 if reason == "modified" => {
            let text = format!("The record of {operation} was changed in EspoCRM since it was read.");
            answer.fault(FaultKind::Conflict, "modified", text)
        }
        409 if reason == "userNameExists" => permanent(
            USER_NAME_TAKEN,
            format!("EspoCRM refuses {operation}: another user has this log-in name."),
        ),
        409 => permanent(
            "refused_as_duplicate",
            format!("EspoCRM refuses {operation}: {}", or_status(reason, 409)),
        ),
        status => permanent(
            "request_refused",
            format!("EspoCRM refuses {operation}: {}", or_status(reason, status)),
        ),
    }
}

/// A field that failed validation. EspoCRM names the first one only and writes nothing.
fn validation(answer: &Answer) -> Option<Fault> {
    let body: Value = serde_json::from_slice(answer.body()).ok()?;
    let data = body.pointer("/messageTranslation/data")?;
    let field = data.get("field")?.as_str()?;
    let kind = data.get("type")?.as_str()?;
    let meaning = match kind {
        "required" => "it must not be empty",
        "maxLength" => "it is too long",
        "valid" => "the value is not allowed there (no option of an enum, no date, no number)",
        "min" | "max" | "rangeInternal" => "the number is out of range",
        "pattern" => "it holds characters that EspoCRM refuses (<, >, =)",
        "emailAddress" => "it is no e-mail address",
        "notInternal" => "EspoCRM refuses internal addresses (webhookAllowedAddressList)",
        _ => "EspoCRM's validation failed",
    };
    let text = format!(
        "EspoCRM refuses the field {field} at {}: {meaning} (validation {kind}).",
        answer.operation()
    );
    Some(answer.fault(FaultKind::Permanent, "validation_failed", text))
}

fn or_status(reason: &str, status: u16) -> String {
    if reason.is_empty() { format!("status {status} without a reason") } else { reason.to_owned() }
}

/// What the CRM's administrator can do about a 403.
fn advice(reason: &str) -> &'static str {
    match reason {
        "Not permitted to post to anybody except self." => {
            "Give the API user's role the message permission 'all'."
        }
        r if r.ends_with(" access.") => "Give the API user's role that right on the entity type.",
        r if r.starts_with("Entity type is ") || r.starts_with("Field does not ") => {
            "Check the webhook's event, and that the API user may read the entity type."
        }
        _ => "Check the API user's role.",
    }
}

/// The fault for a write whose attributes the server did not keep.
pub(crate) fn dropped(answer: &Answer, attributes: &[&str]) -> Fault {
    let text = format!(
        "{SYSTEM} accepted {} but did not keep: {}. These fields are missing there, read-only for the API user, \
         or changed by a formula.",
        answer.operation(),
        attributes.join(", ")
    );
    answer.fault(FaultKind::Permanent, "attributes_dropped", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn check(fixture: &str, kind: &str, code: &str, text: &str) {
        let fault = fault(&fixtures::load(fixture).answer("GET CBeteiligte/{id}"));
        assert_eq!((fault.kind.name(), fault.code), (kind, code), "{fixture}");
        assert!(fault.text.contains(text), "{fixture}: {}", fault.text);
        assert!(fault.answer.is_some(), "{fixture}");
    }

    #[test]
    fn every_recorded_error_has_its_fault() {
        check("040-401-no-credentials", "unauthorized", "unauthorized", "key");
        check("041-401-wrong-key", "unauthorized", "unauthorized", "key");
        check("042-403-no-role", "permanent", "forbidden", "No read access.");
        check("043-404-unknown-entity-type", "permanent", "entity_type_unknown", "CNope");
        check("044-404-unknown-id", "permanent", "record_gone", "does not exist");
        check("045-403-before-404", "permanent", "forbidden", "role that right");
        check("046-404-unknown-route", "permanent", "route_unknown", "version and address");
        check("047-403-entity-manager-as-api-user", "permanent", "forbidden", "status 403");
        check("048-403-too-many-failed-logins", "paused", "locked_out", "locked");
        check("100-400-required-field", "permanent", "validation_failed", "lastName");
        check("107-400-max-length", "permanent", "validation_failed", "too long");
        check("108-400-enum", "permanent", "validation_failed", "not allowed");
        check("109-400-int-not-numeric", "permanent", "validation_failed", "betnr");
        check("113-400-date", "permanent", "validation_failed", "dateOfBirth");
        check("115-500-malformed-json", "retryable", "upstream_failed", "500");
        check("119b-400-pattern-angle-brackets", "permanent", "validation_failed", "characters");
        check("123-put-version-stale-other-field", "conflict", "modified", "changed");
        check("124-put-version-stale-same-field", "conflict", "modified", "changed");
        check("130-409-duplicate", "permanent", "refused_as_duplicate", "duplicate");
        check("142-delete-again-404", "permanent", "record_gone", "does not exist");
        check("145-405-put-collection", "permanent", "request_refused", "status 405");
        check("150-403-maxsize-over-limit", "permanent", "forbidden", "200");
        check("161-where-unknown-type", "permanent", "request_refused", "'foo'");
        check("162-where-unknown-attribute", "permanent", "request_refused", "noAttr");
        check("164-orderby-unknown", "permanent", "request_refused", "'foo'");
        check("200-webhook-403-no-scope", "permanent", "forbidden", "No create access.");
        check("207-webhook-unknown-entity", "permanent", "forbidden", "event");
        check("305-note-no-message-permission", "permanent", "forbidden", "message permission");
    }

    #[test]
    fn a_page_of_a_web_server_is_not_a_missing_record() {
        let answer =
            Answer::recorded(SYSTEM, "GET X/{id}", 404, &[("Content-Type", "text/html")], "<h1>404</h1>");
        assert!(!is_gone(&answer));
        assert_eq!(fault(&answer).kind.name(), "retryable");
        for fixture in ["043-404-unknown-entity-type", "046-404-unknown-route"] {
            assert!(!is_gone(&fixtures::load(fixture).answer("")), "{fixture}");
        }
        for fixture in
            ["044-404-unknown-id", "141-get-deleted-404", "142-delete-again-404", "143-put-deleted-404"]
        {
            assert!(is_gone(&fixtures::load(fixture).answer("")), "{fixture}");
        }
    }

    #[test]
    fn refused_keys_and_lock_outs_pause_the_account() {
        let pause =
            |fixture| account_pause(&fixtures::load(fixture).answer("")).map(|(pause, _)| pause.as_secs());
        assert_eq!(pause("041-401-wrong-key"), Some(60));
        assert_eq!(pause("048-403-too-many-failed-logins"), Some(60));
        for fixture in
            ["042-403-no-role", "047-403-entity-manager-as-api-user", "102-read", "044-404-unknown-id"]
        {
            assert_eq!(pause(fixture), None, "{fixture}");
        }
    }

    #[test]
    fn only_administrators_write_users_and_teams() {
        let told = |name: &str, operation: &str| {
            let fault = fault(&fixtures::load(name).answer(operation));
            (fault.code, fault.text.contains("needs an administrator's log-in"))
        };
        assert_eq!(told("423-user-create-as-api-user", "POST User"), ("forbidden", true));
        assert_eq!(told("042-403-no-role", "PUT Team/{id}"), ("forbidden", true));
        assert_eq!(told("042-403-no-role", "GET User"), ("forbidden", false));
        assert_eq!(told("042-403-no-role", "POST UserThing"), ("forbidden", false));
        assert_eq!(told("032-create-api-user-duplicate", "POST User").0, USER_NAME_TAKEN);
    }

    #[test]
    fn gateways_and_throttling_are_as_everywhere() {
        let at = |status| {
            let answer =
                Answer::recorded(SYSTEM, "GET X", status, &[("Content-Type", "text/html")], "<html>");
            fault(&answer).kind.name()
        };
        assert_eq!(
            (at(429), at(500), at(502), at(503), at(504)),
            ("throttled", "retryable", "retryable", "retryable", "retryable")
        );
    }
}
