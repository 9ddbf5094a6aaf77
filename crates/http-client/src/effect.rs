//! Did a failed write take effect? The question before every second try of a create.

use shared::fault::Fault;

/// The codes of faults that arise in this crate.
pub mod codes {
    /// No connection came about: nothing was sent.
    pub const CONNECT_FAILED: &str = "connect_failed";
    /// The request was sent, but no whole answer came: a write may have taken effect.
    pub const ANSWER_LOST: &str = "answer_lost";
    /// An answer with a good status that is no readable JSON: a write may have taken effect.
    pub const ANSWER_UNREADABLE: &str = "answer_unreadable";
    /// An answer longer than the bound: a write may have taken effect.
    pub const ANSWER_TOO_LARGE: &str = "answer_too_large";
    /// Nothing was sent: the upstream's circuit breaker is open.
    pub const BREAKER_OPEN: &str = "breaker_open";
    /// Nothing was sent: the account is paused.
    pub const ACCOUNT_PAUSED: &str = "account_paused";
    /// Nothing was sent: the account's own limits leave no room in time.
    pub const LIMITER_FULL: &str = "limiter_full";
    /// Nothing was sent: the request itself cannot be put on the wire.
    pub const REQUEST_INVALID: &str = "request_invalid";
    /// 429.
    pub const THROTTLED: &str = "throttled";
    /// 500, 502, 503, 504 and their kin.
    pub const UPSTREAM_FAILED: &str = "upstream_failed";
    /// 3xx: the base address points somewhere else.
    pub const REDIRECTED: &str = "redirected";
}

/// Whether a write that ended with `fault` may have taken effect nevertheless.
///
/// `false` only where that is certain: nothing was sent, or the upstream refused it with a 3xx or 4xx. A 5xx,
/// a time-out, a cut or unreadable answer leave it open, so a create must be searched for before it is repeated.
pub fn may_have_taken_effect(fault: &Fault) -> bool {
    let never_sent = [
        codes::CONNECT_FAILED,
        codes::BREAKER_OPEN,
        codes::ACCOUNT_PAUSED,
        codes::LIMITER_FULL,
        codes::REQUEST_INVALID,
    ];
    if never_sent.contains(&fault.code) {
        return false;
    }
    match fault.answer.as_ref().and_then(|answer| answer.status) {
        // A 408 is the upstream's (or its proxy's) own time-out.
        Some(status) => !(300..500).contains(&status) || status == 408,
        None => matches!(fault.code, codes::ANSWER_LOST | codes::ANSWER_TOO_LARGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Answer;
    use shared::fault::FaultKind;

    #[test]
    fn without_an_answer_the_code_decides() {
        let check = |code, expected| {
            assert_eq!(may_have_taken_effect(&Fault::retryable(code, "a test")), expected, "{code}");
        };
        check(codes::ANSWER_LOST, true);
        check(codes::ANSWER_TOO_LARGE, true);
        for code in [
            codes::CONNECT_FAILED,
            codes::BREAKER_OPEN,
            codes::ACCOUNT_PAUSED,
            codes::LIMITER_FULL,
            codes::REQUEST_INVALID,
            "lease_lost",
        ] {
            check(code, false);
        }
    }

    #[test]
    fn with_an_answer_only_a_refusal_is_certain() {
        for (status, expected) in [
            (200, true),
            (302, false),
            (400, false),
            (401, false),
            (408, true),
            (429, false),
            (500, true),
            (504, true),
        ] {
            let answer = Answer::recorded("test", "POST things", status, &[], "");
            let fault = answer.fault(FaultKind::Permanent, "a_code", "a test");
            assert_eq!(may_have_taken_effect(&fault), expected, "{status}");
        }
    }
}
