//! An answer, as data, and the faults that follow from its status whoever the vendor is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use shared::fault::{Fault, FaultKind, UpstreamAnswer};

use crate::Redactor;
use crate::breaker::PROBE_WAIT;
use crate::effect::codes;

/// How long an account waits after a 429 that does not say how long.
pub const THROTTLE_DEFAULT: Duration = Duration::from_secs(10);

/// An answer of an upstream, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(crate) system: &'static str,
    pub(crate) operation: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) retry_after: Option<Duration>,
    /// Whether a failure counts against the message: it does while the circuit breaker is closed.
    pub(crate) counts: bool,
    pub(crate) redactor: Arc<Redactor>,
}

impl Answer {
    /// An answer that did not come through an [`crate::Upstream`]: a recorded one, for tests. Header names are
    /// lower-case.
    pub fn recorded(
        system: &'static str,
        operation: &str,
        status: u16,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Self {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.to_lowercase(), (*v).to_owned())).collect();
        Self {
            system,
            operation: operation.to_owned(),
            status,
            headers,
            body: body.into(),
            retry_after: None,
            counts: true,
            redactor: Arc::new(Redactor::new(Vec::new())),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether the answer says that it is HTML.
    pub fn is_html(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("html"))
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Method and path template of the request.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// A retryable fault `answer_unreadable` when it is HTML, empty, cut, or of another shape: an error page with
    /// a good status is never taken for data. The text holds nothing of the body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        if self.is_html() {
            return Err(self.unreadable("HTML instead of JSON"));
        }
        if self.body.is_empty() {
            return Err(self.unreadable("an empty body instead of JSON"));
        }
        // serde's own message may quote the value it stumbled over.
        serde_json::from_slice(&self.body).map_err(|e| {
            self.unreadable(&format!(
                "{} bytes of JSON with an unexpected {} at line {}, column {}",
                self.body.len(),
                if e.is_eof() { "end" } else { "content" },
                e.line(),
                e.column()
            ))
        })
    }

    /// The fault for a good status with a body that is not what it should be; `what` says what came instead.
    pub fn unreadable(&self, what: &str) -> Fault {
        let text = format!(
            "{} answered {} with status {} and {what}; tried again later.",
            self.system, self.operation, self.status
        );
        self.fault(self.failure(None), codes::ANSWER_UNREADABLE, text)
    }

    /// A fault that came from this answer. Answers with an error status, and HTML, leave a redacted excerpt in
    /// it; others do not, since they hold personal data.
    pub fn fault(&self, kind: FaultKind, code: &'static str, text: impl AsRef<str>) -> Fault {
        let shown = !self.is_success() || self.is_html();
        Fault::new(kind, code, text).with_answer(UpstreamAnswer {
            system: self.system.to_owned(),
            operation: self.operation.clone(),
            status: Some(self.status),
            excerpt: if shown { self.redactor.excerpt(&self.body) } else { String::new() },
        })
    }

    /// The fault that follows from the status alone, whoever the vendor is: 3xx, 408, 429 and 5xx. `None` for a
    /// success and for all other 4xx, which the vendor's own table explains.
    pub fn common_fault(&self) -> Option<Fault> {
        let Self { system, operation, status, .. } = self;
        match status {
            429 => {
                let after = self.retry_after.unwrap_or(THROTTLE_DEFAULT);
                let text = format!(
                    "{system} asks for fewer requests (429 to {operation}); its account waits {} s.",
                    after.as_secs_f64().ceil()
                );
                Some(self.fault(FaultKind::Throttled { after }, codes::THROTTLED, text))
            }
            408 | 500..=599 => {
                let text = format!("{system} failed with status {status} at {operation}; tried again later.");
                Some(self.fault(self.failure(self.retry_after), codes::UPSTREAM_FAILED, text))
            }
            300..=399 => {
                let text = format!(
                    "{system} answered {operation} with a redirect (status {status}), which is not followed; \
                     check the address in the settings (https, path)."
                );
                Some(self.fault(self.failure(None), codes::REDIRECTED, text))
            }
            _ => None,
        }
    }

    fn failure(&self, after: Option<Duration>) -> FaultKind {
        failure_kind(self.counts, after)
    }
}

/// The kind of a failure that is the upstream's: it costs an attempt only while the breaker is closed.
pub(crate) fn failure_kind(counts: bool, after: Option<Duration>) -> FaultKind {
    if counts {
        FaultKind::Retryable { after }
    } else {
        FaultKind::Paused { after: after.unwrap_or(PROBE_WAIT) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn answer(status: u16, kind: &str, body: &'static str) -> Answer {
        Answer::recorded("espocrm", "GET CBeteiligte/{id}", status, &[("Content-Type", kind)], body)
    }

    #[test]
    fn statuses_that_mean_the_same_everywhere() {
        let kind = |status| answer(status, "text/html", "").common_fault().map(|f| (f.kind.name(), f.code));
        assert_eq!(kind(429), Some(("throttled", "throttled")));
        for status in [408, 500, 502, 503, 504, 520] {
            assert_eq!(kind(status), Some(("retryable", "upstream_failed")), "{status}");
        }
        assert_eq!(kind(302), Some(("retryable", "redirected")));
        for status in [200, 201, 400, 401, 403, 404, 409] {
            assert_eq!(kind(status), None, "{status}");
        }
    }

    #[test]
    fn failures_behind_an_open_breaker_cost_nothing() {
        let answer = Answer { counts: false, ..answer(502, "text/html", "<h1>asleep</h1>") };
        let fault = answer.common_fault().unwrap();
        assert_eq!(fault.kind, FaultKind::Paused { after: PROBE_WAIT });
        assert_eq!(fault.answer.unwrap().excerpt, "<h1>asleep</h1>");
    }

    #[test]
    fn a_wish_to_wait_is_kept() {
        let wish = Duration::from_secs(7);
        let throttled = Answer { retry_after: Some(wish), ..answer(429, "", "") };
        assert_eq!(throttled.common_fault().unwrap().kind, FaultKind::Throttled { after: wish });
        let failed = Answer { retry_after: Some(wish), ..answer(503, "", "") };
        assert_eq!(failed.common_fault().unwrap().kind, FaultKind::Retryable { after: Some(wish) });
    }

    #[test]
    fn pages_cut_bodies_and_nothing_are_no_data() {
        for (kind, body) in [
            ("text/html; charset=utf-8", "{}"),
            ("application/json", ""),
            ("application/json", r#"{"total":1,"list":[{"lastName":"Muster"#),
            ("application/json", "<html>"),
        ] {
            let fault = answer(200, kind, body).json::<Value>().unwrap_err();
            assert_eq!((fault.kind.name(), fault.code), ("retryable", "answer_unreadable"), "{body}");
            assert!(!format!("{fault:?}").contains("Muster"), "{fault:?}");
        }
        let fault = answer(200, "application/json", r#""Mustermann""#).json::<u32>().unwrap_err();
        assert!(!format!("{fault:?}").contains("Muster"), "{fault:?}");
        assert!(answer(200, "application/json", "{}").json::<Value>().is_ok());
    }
}
