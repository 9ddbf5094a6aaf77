//! Graph's errors: status, then the innermost known `code` of the body, without regard to case. The one place that reads
//! them. Vendor: <https://learn.microsoft.com/graph/errors>.

use std::time::Duration;

use http_client::Answer;
use serde_json::Value;
use shared::fault::{Fault, FaultKind};

/// Objects within `innerError` that are looked into.
const DEPTH_MAX: usize = 8;
/// How long to wait where a throttled mailbox does not say.
const THROTTLED_SECONDS: u64 = 10;

const EXPIRED: [&str; 3] = ["syncstatenotfound", "syncstateinvalid", "resyncrequired"];
const GONE: [&str; 3] = ["erroritemnotfound", "resourcenotfound", "itemnotfound"];
const NO_MAILBOX: [&str; 3] =
    ["mailboxnotenabledforrestapi", "errornonexistentmailbox", "mailboxnothostedinexchangeonline"];
const THROTTLED: [&str; 4] =
    ["applicationthrottled", "toomanyrequests", "errorserverbusy", "errortoomanyobjectsopened"];
const DUPLICATE_TRANSACTION: &str = "errorduplicatetransactionid";
const CROSSING: &str = "erroroccurrencecrossingboundary";
const FORBIDDEN: &str = "erroraccessdenied";
const BAD_ZONE: &str = "timezonenotsupportedexception";

/// The code in lower case; the innermost one that is known here, else the outermost. Empty where there is none.
pub(crate) fn code(answer: &Answer) -> String {
    let Ok(body) = serde_json::from_slice::<Value>(answer.body()) else { return String::new() };
    let mut found = String::new();
    let mut at = body.get("error");
    for _ in 0..DEPTH_MAX {
        let Some(error) = at else { break };
        if let Some(code) = error.get("code").and_then(Value::as_str) {
            let code = code.to_lowercase();
            if found.is_empty() || is_known(&code) {
                found = code;
            }
        }
        at = error.get("innerError").or_else(|| error.get("innererror"));
    }
    found.chars().take(100).collect()
}

fn is_known(code: &str) -> bool {
    let single = [DUPLICATE_TRANSACTION, CROSSING, FORBIDDEN, BAD_ZONE];
    EXPIRED.contains(&code)
        || GONE.contains(&code)
        || NO_MAILBOX.contains(&code)
        || THROTTLED.contains(&code)
        || single.contains(&code)
}

/// Whether a delta token, or the link of a page, is of no use any more: 410, and 4xx that say the same.
pub(crate) fn is_expired(answer: &Answer) -> bool {
    let status = answer.status();
    status == 410 || ((400..500).contains(&status) && EXPIRED.contains(&code(answer).as_str()))
}

/// Whether the answer says that the object does not exist. A 404 of a proxy, or of a mailbox that is not there, does not.
pub(crate) fn is_gone(answer: &Answer) -> bool {
    answer.status() == 404 && GONE.contains(&code(answer).as_str())
}

/// Whether an event was made with this transaction before, and another one than what was sent.
pub(crate) fn is_duplicate_transaction(answer: &Answer) -> bool {
    answer.status() == 409 && code(answer) == DUPLICATE_TRANSACTION
}

/// What the next token has to prove, as the 401 says it: <https://learn.microsoft.com/entra/identity-platform/claims-challenge>.
pub(crate) fn claims(answer: &Answer) -> Option<&str> {
    let header = answer.header("www-authenticate")?;
    if !header.contains("insufficient_claims") {
        return None;
    }
    let (_, rest) = header.split_once("claims=\"")?;
    rest.split_once('"').map(|(claims, _)| claims).filter(|claims| !claims.is_empty())
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
    let (status, code, operation) = (answer.status(), code(answer), answer.operation());
    let permanent = |name: &'static str, text: String| answer.fault(FaultKind::Permanent, name, text);
    let said = if code.is_empty() { format!("status {status}") } else { format!("status {status}, {code}") };
    if THROTTLED.contains(&code.as_str()) {
        let after = Duration::from_secs(THROTTLED_SECONDS);
        let text = format!("Microsoft Graph asks for fewer requests ({said} to {operation}).");
        return answer.fault(FaultKind::Throttled { after }, "throttled", text);
    }
    match status {
        _ if is_expired(answer) => permanent(
            "sync_token_expired",
            format!("The link of {operation} has expired ({said}); the calendar has to be read anew."),
        ),
        401 => {
            let text = format!(
                "Microsoft Graph refuses the access token at {operation}, also a new one. The account has to be \
                 connected again, or an administrator's policy forbids the access."
            );
            answer.fault(FaultKind::Unauthorized, "unauthorized", text)
        }
        403 => permanent(
            "forbidden",
            format!(
                "Microsoft Graph forbids {operation} ({said}). Where it says that access to OData is disabled, an \
                 application access policy of the tenant excludes the mailbox; else check the permissions that were \
                 consented to, and whether the user is the event's organiser."
            ),
        ),
        404 if NO_MAILBOX.contains(&code.as_str()) => permanent(
            "no_mailbox",
            format!(
                "The account has no mailbox in Exchange Online ({said} to {operation}). A new licence takes up to 15 \
                 minutes; a mailbox on premises cannot be synchronised."
            ),
        ),
        404 if is_gone(answer) => permanent(
            "gone",
            format!("What {operation} asks for does not exist in the mailbox any more ({said})."),
        ),
        404 => {
            let text = format!(
                "{operation} was answered with a 404 that is not about an event ({said}); check the address in the \
                 settings. Tried again later."
            );
            answer.fault(FaultKind::Retryable { after: None }, "not_found", text)
        }
        409 => permanent(
            "refused_as_duplicate",
            format!("Microsoft Graph has something of the kind already, and refuses {operation} ({said})."),
        ),
        412 => {
            let text = format!("The event of {operation} was changed in Outlook since it was read.");
            answer.fault(FaultKind::Conflict, "modified", text)
        }
        424 => {
            let text = format!("Microsoft Graph did not do {operation}, since something before it failed.");
            answer.fault(FaultKind::Retryable { after: None }, "dependency_failed", text)
        }
        400 if code == CROSSING => permanent(
            "occurrence_crosses_boundary",
            format!(
                "Outlook does not let one of a series pass its neighbour, or be on the same day ({operation}). Move it \
                 to another day, or make a single event of it."
            ),
        ),
        400 if code == BAD_ZONE => permanent(
            "zone_refused",
            format!("Outlook does not know the time zone that the event of {operation} is in ({said})."),
        ),
        _ => permanent(
            "request_refused",
            format!("Microsoft Graph refuses {operation} ({said}); its answer says why."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::recorded;

    fn answer(status: u16, body: &str) -> Answer {
        let head = [("Content-Type", "application/json")];
        Answer::recorded(crate::SYSTEM, "GET me/events/{id}", status, &head, body.to_owned())
    }

    fn check(status: u16, body: &str, expected: (&str, &str)) {
        let fault = fault(&answer(status, body));
        assert_eq!((fault.kind.name(), fault.code), expected, "{status} {body}");
    }

    #[test]
    fn every_recorded_error_has_its_fault() {
        for (status, name, expected) in [
            (401, "error-401-token.json", ("unauthorized", "unauthorized")),
            (403, "error-403-applicationaccesspolicy.json", ("permanent", "forbidden")),
            (404, "error-404-itemnotfound.json", ("permanent", "gone")),
            (404, "error-404-nomailbox.json", ("permanent", "no_mailbox")),
            (409, "error-409-duplicatetransactionid.json", ("permanent", "refused_as_duplicate")),
            (410, "error-410-resyncrequired.json", ("permanent", "sync_token_expired")),
            (410, "error-410-syncstatenotfound.http", ("permanent", "sync_token_expired")),
            (404, "error-syncstatenotfound-2.json", ("permanent", "sync_token_expired")),
            (412, "error-412-conflict.json", ("conflict", "modified")),
            (429, "error-429-generic.http", ("throttled", "throttled")),
            (429, "error-429-mailboxconcurrency.http", ("throttled", "throttled")),
            (504, "error-504.json", ("retryable", "upstream_failed")),
        ] {
            check(status, &recorded(name), expected);
        }
        check(400, r#"{"error":{"code":"RequestBodyRead"}}"#, ("permanent", "request_refused"));
        check(
            400,
            r#"{"error":{"code":"ErrorOccurrenceCrossingBoundary"}}"#,
            ("permanent", "occurrence_crosses_boundary"),
        );
        check(403, r#"{"error":{"code":"ApplicationThrottled"}}"#, ("throttled", "throttled"));
        check(424, "", ("retryable", "dependency_failed"));
    }

    #[test]
    fn a_token_expires_in_many_words() {
        for (status, name) in [
            (410, "error-410-resyncrequired.json"),
            (410, "error-410-syncstatenotfound.http"),
            (400, "error-410-syncstatenotfound.http"),
            (404, "error-syncstatenotfound-2.json"),
        ] {
            assert!(is_expired(&answer(status, &recorded(name))), "{name}");
        }
        assert!(is_expired(&answer(410, "")));
        assert!(is_expired(&answer(
            400,
            r#"{"error":{"code":"x","innererror":{"code":"SyncStateInvalid"}}}"#
        )));
        assert!(!is_expired(&answer(404, &recorded("error-404-itemnotfound.json"))));
        assert!(!is_expired(&answer(500, &recorded("error-410-syncstatenotfound.http"))));
    }

    #[test]
    fn gone_is_only_what_is_said_to_be_gone() {
        assert!(is_gone(&answer(404, &recorded("error-404-itemnotfound.json"))));
        for body in ["", "<html>404</html>", r#"{"error":{"code":"BadRequest"}}"#] {
            assert!(!is_gone(&answer(404, body)), "{body}");
            check(404, body, ("retryable", "not_found"));
        }
        assert!(!is_gone(&answer(404, &recorded("error-404-nomailbox.json"))));
        assert!(!is_gone(&answer(200, &recorded("error-404-itemnotfound.json"))));
    }

    #[test]
    fn claims_are_read_from_a_challenge() {
        let read = |header: &str| {
            let answer = Answer::recorded("x", "GET x", 401, &[("WWW-Authenticate", header)], "");
            claims(&answer).map(str::to_owned)
        };
        let challenge = r#"Bearer realm="", error="insufficient_claims", claims="eyJhIjoxfQ==""#;
        assert_eq!(read(challenge).as_deref(), Some("eyJhIjoxfQ=="));
        for none in ["Bearer realm=\"\"", r#"Bearer claims="x""#, r#"error="insufficient_claims", claims=""#]
        {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
