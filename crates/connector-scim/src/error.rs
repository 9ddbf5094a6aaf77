//! Errors: status, then `scimType` where there is one. The one place that reads them. RFC 7644, section 3.12.

use http_client::Answer;
use serde_json::{Map, Value};
use shared::fault::{Fault, FaultKind, cut};

use crate::resource::get;

/// Longest word of a type and longest detail taken from an answer, in characters.
const TYPE_CHARS_MAX: usize = 30;
const DETAIL_CHARS_MAX: usize = 200;

/// The error's object. Many services send none.
fn read(answer: &Answer) -> Option<Map<String, Value>> {
    serde_json::from_slice::<Map<String, Value>>(answer.body()).ok()
}

fn word(wire: Option<&Map<String, Value>>, name: &str, chars_max: usize) -> Option<String> {
    get(wire?, name)?.as_str().filter(|text| !text.is_empty()).map(|text| cut(text, chars_max))
}

/// `scimType`, where the answer has one.
pub(crate) fn scim_type(answer: &Answer) -> Option<String> {
    word(read(answer).as_ref(), "scimType", TYPE_CHARS_MAX)
}

/// How an answer says that something is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absence {
    /// It does not say so.
    No,
    /// The service says so.
    Told,
    /// There is a 404, perhaps of a proxy, or of another address than the service's.
    Unclear,
}

/// Whether the answer says that the resource is not there.
pub(crate) fn absence(answer: &Answer) -> Absence {
    match answer.status() {
        404 | 410 if !answer.is_html() && read(answer).is_some() => Absence::Told,
        404 | 410 => Absence::Unclear,
        _ => Absence::No,
    }
}

/// Whether the request was too large, or asked for too much.
pub(crate) fn is_too_much(answer: &Answer) -> bool {
    answer.status() == 413 || (answer.status() == 400 && scim_type(answer).as_deref() == Some("tooMany"))
}

/// Whether a removal met nothing to remove.
pub(crate) fn is_no_target(answer: &Answer) -> bool {
    answer.status() == 400 && scim_type(answer).as_deref() == Some("noTarget")
}

/// Whether the answer to a PATCH says that the service has none.
pub(crate) fn lacks_patch(answer: &Answer) -> bool {
    matches!(answer.status(), 405 | 501)
}

/// Whether the answer to a bulk request says that the service has none, or none for this account.
pub(crate) fn lacks_bulk(answer: &Answer) -> bool {
    matches!(answer.status(), 403 | 404 | 405 | 501)
}

/// Whether the answer to a list says that the service does not understand its filter. Ours is never ill-formed.
pub(crate) fn lacks_filter(answer: &Answer) -> bool {
    answer.status() == 501
        || (answer.status() == 400 && scim_type(answer).as_deref() == Some("invalidFilter"))
}

/// Whether the answer to a list says that the service does not sort. Nothing else in a list without filter can be wrong.
pub(crate) fn lacks_sort(answer: &Answer) -> bool {
    matches!(answer.status(), 400 | 501) && !is_too_much(answer)
}

/// Whether the service does not take the media type.
pub(crate) fn refuses_media_type(answer: &Answer) -> bool {
    matches!(answer.status(), 406 | 415)
}

/// Passes a success on, and turns everything else into its fault.
pub(crate) fn success(answer: &Answer) -> Result<&Answer, Fault> {
    match answer.is_success() {
        true if answer.is_html() => Err(answer.unreadable("HTML")),
        true => Ok(answer),
        false => Err(fault(answer)),
    }
}

/// The fault that an answer without success means.
pub(crate) fn fault(answer: &Answer) -> Fault {
    let (operation, why) = (answer.operation(), why(answer));
    let permanent = |code: &'static str, text: String| answer.fault(FaultKind::Permanent, code, text);
    match answer.status() {
        // Before all other 5xx: it never gets better.
        501 => permanent("not_supported", format!("The SCIM service does not support {operation}: {why}.")),
        401 => {
            let text =
                "The SCIM service refuses the token. Put a valid one into the settings; nothing is lost.";
            answer.fault(FaultKind::Unauthorized, "unauthorized", text)
        }
        403 => {
            let text = format!(
                "The SCIM service forbids {operation}: {why}. Give the token's account the right to read and write \
                 users and groups; nothing is lost."
            );
            answer.fault(FaultKind::Unauthorized, "forbidden", text)
        }
        404 | 410 if absence(answer) == Absence::Told => {
            permanent("not_found", format!("What {operation} is about is not at the SCIM service: {why}."))
        }
        404 | 410 => {
            let text = format!(
                "{operation} was answered with status {}, not by a SCIM service; check the address in the settings.",
                answer.status()
            );
            answer.fault(FaultKind::Retryable { after: None }, "not_scim", text)
        }
        409 => permanent(
            "taken",
            format!("The SCIM service refuses {operation}: {why}. Another one has this name."),
        ),
        412 => {
            let text =
                format!("The resource of {operation} was changed at the SCIM service since it was read.");
            answer.fault(FaultKind::Conflict, "modified", text)
        }
        413 => permanent(
            "request_too_large",
            format!(
                "The SCIM service takes no {operation} of this size: {why}. Lower the sizes in the settings."
            ),
        ),
        406 | 415 => permanent(
            "media_type_refused",
            format!("The SCIM service takes neither application/scim+json nor application/json: {why}."),
        ),
        _ => match answer.common_fault() {
            Some(fault) => fault,
            None => permanent("request_refused", format!("The SCIM service refuses {operation}: {why}.")),
        },
    }
}

/// The fault of a collection that is not there: many products have users only.
pub(crate) fn endpoint_missing(answer: &Answer) -> Fault {
    let text = format!(
        "The SCIM service has no {}. Check its address in the settings, and whether it has groups at all.",
        answer.operation()
    );
    answer.fault(FaultKind::Permanent, "endpoint_missing", text)
}

/// The type and the service's own words, for a person.
fn why(answer: &Answer) -> String {
    let wire = read(answer);
    let detail = word(wire.as_ref(), "detail", DETAIL_CHARS_MAX);
    let detail = detail.map(|text| format!("\"{}\"", text.trim_end_matches('.')));
    let parts: Vec<String> =
        [word(wire.as_ref(), "scimType", TYPE_CHARS_MAX), detail].into_iter().flatten().collect();
    if parts.is_empty() { format!("status {} without a reason", answer.status()) } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{answer, made};

    fn check(name: &str, kind: &str, code: &str, says: &str) {
        let fault = fault(&answer(name));
        assert_eq!((fault.kind.name(), fault.code), (kind, code), "{name}");
        assert!(fault.text.contains(says), "{name}: {}", fault.text);
        assert!(fault.answer.is_some(), "{name}");
    }

    #[test]
    fn every_recorded_error_has_its_fault() {
        check("004-401", "unauthorized", "unauthorized", "token");
        check("022-create-user-duplicate-username", "permanent", "taken", "uniqueness");
        check("023-create-user-username-other-case", "permanent", "taken", "uniqueness");
        check(
            "025-create-user-missing-username",
            "permanent",
            "request_refused",
            "invalidValue, \"Field 'userName'",
        );
        check("026-create-user-bad-json", "permanent", "request_refused", "invalidSyntax");
        check("028-create-user-bad-type", "permanent", "request_refused", "emails");
        check("029-create-user-unknown-attribute", "permanent", "request_refused", "wecomAlias");
        check("032-get-unknown", "permanent", "not_found", "'nope' not found");
        check("037-filter-invalid", "permanent", "request_refused", "invalidFilter");
        check("057-patch-manager-value-string", "permanent", "request_refused", "invalidValue");
        check("059-patch-email-filter-notarget", "permanent", "request_refused", "noTarget");
        check("060-patch-add-email-filter", "permanent", "request_refused", "noTarget");
        check("062-patch-username-taken", "permanent", "taken", "Another");
        check("064-patch-bad-path", "permanent", "request_refused", "invalidPath");
        check("065-patch-readonly-id", "permanent", "request_refused", "mutability");
        check("066-patch-remove-members-value-array", "permanent", "request_refused", "remove");
        check("071-put-if-match-stale", "conflict", "modified", "changed");
        check("073-patch-if-match-stale", "conflict", "modified", "changed");
        check("074-put-unknown", "permanent", "not_found", "not at");
        check("084-bulk-too-many", "permanent", "request_too_large", "maxOperations");
        check("093-delete-again", "permanent", "not_found", "not at");
        check("094-get-deleted", "permanent", "not_found", "not at");
        check("095-method-not-allowed", "permanent", "request_refused", "does not support");
        check("097-media-type-text", "permanent", "media_type_refused", "application/json");
        check("098-me", "permanent", "not_supported", "/Me");
    }

    #[test]
    fn statuses_without_scim_in_them_have_faults_too() {
        for (status, kind, code) in [
            (403, "unauthorized", "forbidden"),
            (404, "retryable", "not_scim"),
            (409, "permanent", "taken"),
            (412, "conflict", "modified"),
            (413, "permanent", "request_too_large"),
            (422, "permanent", "request_refused"),
            (429, "throttled", "throttled"),
            (500, "retryable", "upstream_failed"),
            (501, "permanent", "not_supported"),
            (503, "retryable", "upstream_failed"),
            (302, "retryable", "redirected"),
        ] {
            for (content, body) in
                [("text/html", "<h1>x</h1>"), ("text/plain", "x"), ("application/json", "")]
            {
                let fault = fault(&made(status, content, body));
                assert_eq!((fault.kind.name(), fault.code), (kind, code), "{status} {content}");
            }
        }
    }

    #[test]
    fn only_the_service_says_that_something_is_gone() {
        for name in ["032-get-unknown", "074-put-unknown", "093-delete-again", "094-get-deleted"] {
            assert_eq!(absence(&answer(name)), Absence::Told, "{name}");
        }
        for (kind, body) in [
            ("text/html", "<h1>404</h1>"),
            ("text/plain", "404 page not found"),
            ("", ""),
            ("text/html", "{}"),
        ] {
            assert_eq!(absence(&made(404, kind, body)), Absence::Unclear, "{body}");
        }
        assert_eq!(absence(&answer("095-method-not-allowed")), Absence::No);
    }

    #[test]
    fn what_is_lacking_is_told_from_what_was_refused() {
        let off = |answer: &Answer| {
            [
                lacks_patch(answer),
                lacks_bulk(answer),
                lacks_filter(answer),
                is_too_much(answer),
                is_no_target(answer),
            ]
        };
        assert_eq!(off(&answer("098-me")), [true, true, true, false, false]);
        assert_eq!(off(&answer("095-method-not-allowed")), [true, true, false, false, false]);
        assert_eq!(off(&answer("037-filter-invalid")), [false, false, true, false, false]);
        assert_eq!(off(&answer("084-bulk-too-many")), [false, false, false, true, false]);
        assert_eq!(off(&answer("059-patch-email-filter-notarget")), [false, false, false, false, true]);
        assert_eq!(off(&answer("062-patch-username-taken")), [false; 5]);
        assert_eq!(off(&made(403, "text/plain", "")), [false, true, false, false, false]);
        let many = made(400, "application/json", r#"{"scimType":"tooMany"}"#);
        assert!(is_too_much(&many) && !lacks_sort(&many) && lacks_sort(&made(400, "", "")));
        assert!(refuses_media_type(&answer("097-media-type-text")) && !refuses_media_type(&many));
    }

    #[test]
    fn odd_bodies_are_no_trouble_and_names_are_read_in_any_case() {
        for odd in ["", "[]", "null", "7", r#"{"detail":["x"],"scimType":7}"#] {
            assert_eq!(
                (scim_type(&made(400, "", odd)), fault(&made(400, "", odd)).code),
                (None, "request_refused")
            );
        }
        let other = made(400, "", r#"{"ScimType":"noTarget","Detail":"nothing there."}"#);
        assert!(is_no_target(&other));
        assert!(fault(&other).text.contains("noTarget, \"nothing there\"."), "{}", fault(&other).text);
    }

    #[test]
    fn a_page_with_a_good_status_is_no_success() {
        assert!(success(&made(200, "text/html", "<h1>log in</h1>")).is_err());
        assert!(success(&made(204, "", "")).is_ok());
    }
}
