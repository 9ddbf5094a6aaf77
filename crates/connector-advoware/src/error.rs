//! Advoware's errors. A relay stands in front of the firm's own server and answers with HTML of its own, so an
//! error body is never read, only kept as an excerpt.

use http_client::Answer;
use shared::fault::{Fault, FaultKind};

/// Passes a success on, and turns everything else into its fault.
pub(crate) fn success(answer: &Answer) -> Result<&Answer, Fault> {
    if answer.is_success() { Ok(answer) } else { Err(fault(answer)) }
}

/// Whether the answer says that the party does not exist. The relay's own pages are HTML and do not say so.
pub(crate) fn is_gone(answer: &Answer) -> bool {
    answer.status() == 404 && !answer.is_html()
}

/// The fault that an answer without success means.
pub(crate) fn fault(answer: &Answer) -> Fault {
    if let Some(fault) = answer.common_fault() {
        return fault;
    }
    let operation = answer.operation();
    let status = answer.status();
    let permanent = |code: &'static str, text: String| answer.fault(FaultKind::Permanent, code, text);
    match status {
        400 => permanent(
            "invalid_data",
            format!(
                "Advoware refuses the data of {operation} as invalid (status 400); its answer says which."
            ),
        ),
        401 => {
            let text = format!(
                "Advoware refuses the token at {operation}, also a new one. Check that the AppID is enabled for the \
                 firm, and the employee's rights."
            );
            answer.fault(FaultKind::Unauthorized, "unauthorized", text)
        }
        403 => permanent(
            "forbidden",
            format!("Advoware does not permit {operation} (status 403). Check the employee's rights."),
        ),
        404 if answer.is_html() => {
            let text = format!(
                "The relay, not Advoware, answered {operation} with a page (404); tried again later."
            );
            answer.fault(FaultKind::Retryable { after: None }, "not_advoware", text)
        }
        404 => permanent("gone", format!("Advoware does not find what {operation} asks for (status 404).")),
        _ => permanent("request_refused", format!("Advoware refuses {operation} with status {status}.")),
    }
}

/// Whether the base address may have moved: its server does not answer, or a relay answers in its place.
pub(crate) fn address_fails(answer: &Result<Answer, Fault>) -> bool {
    match answer {
        Ok(answer) => matches!(answer.status(), 502..=504),
        Err(fault) => fault.code == http_client::codes::CONNECT_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, kind: &str, body: &'static str) -> Answer {
        Answer::recorded(crate::SYSTEM, "PUT Beteiligte/{betNr}", status, &[("Content-Type", kind)], body)
    }

    fn check(status: u16, kind: &str, expected: (&str, &str)) {
        let fault = fault(&answer(status, kind, "<html>The server sleeps</html>"));
        assert_eq!((fault.kind.name(), fault.code), expected, "{status} {kind}");
        assert_eq!(fault.answer.unwrap().excerpt, "<html>The server sleeps</html>");
    }

    #[test]
    fn the_vendors_table() {
        check(400, "application/json", ("permanent", "invalid_data"));
        check(401, "application/json", ("unauthorized", "unauthorized"));
        check(403, "application/json", ("permanent", "forbidden"));
        check(404, "application/json", ("permanent", "gone"));
        check(404, "text/html", ("retryable", "not_advoware"));
        check(409, "application/json", ("permanent", "request_refused"));
        check(429, "application/json", ("throttled", "throttled"));
        for status in [500, 502, 503, 504] {
            check(status, "text/html", ("retryable", "upstream_failed"));
            check(status, "application/json", ("retryable", "upstream_failed"));
        }
    }

    #[test]
    fn an_address_fails_when_nobody_or_only_the_relay_answers() {
        for status in [502, 503, 504] {
            assert!(address_fails(&Ok(answer(status, "text/html", ""))), "{status}");
        }
        for status in [200, 400, 401, 404, 500] {
            assert!(!address_fails(&Ok(answer(status, "application/json", ""))), "{status}");
        }
        assert!(address_fails(&Err(Fault::retryable("connect_failed", "x"))));
        assert!(!address_fails(&Err(Fault::retryable("answer_lost", "x"))));
    }
}
