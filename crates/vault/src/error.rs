//! What the refusal of a token endpoint means. Pure; the tables of the vendors stand here and nowhere else.

use std::fmt;

use oauth2::ErrorResponse;
use serde::{Deserialize, Serialize};

/// Longest word of an answer that is repeated in a text.
const WORD_CHARS_MAX: usize = 64;
/// Longest demand for more authentication that is carried on.
pub(crate) const CLAIMS_BYTES_MAX: usize = 4 * 1024;
/// Most numbers of an answer that are repeated.
const CODES_MAX: usize = 5;

/// Microsoft: "a loop was detected", the same token was asked for too often.
const LOOP_DETECTED: u32 = 50_196;
/// Microsoft: failures that pass, whatever word they come with. Taking one for the end of a grant would be worse than
/// asking once more.
const PASSING: [u32; 3] = [50_033, 50_087, 90_033];

/// The body of a refusal.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    error: String,
    /// Microsoft's numbers.
    #[serde(default)]
    error_codes: Vec<u32>,
    /// Microsoft's finer word.
    #[serde(default)]
    suberror: Option<String>,
    /// Google's finer word.
    #[serde(default)]
    error_subtype: Option<String>,
    /// What the next authorisation must prove.
    #[serde(default)]
    claims: Option<String>,
    /// By which Microsoft's support finds the request.
    #[serde(default)]
    trace_id: Option<String>,
}

impl ErrorResponse for Refusal {}

impl Refusal {
    /// Whether the application as such is refused, and so all that it asks for whoever it is about.
    pub(crate) fn is_of_the_client(&self) -> bool {
        matches!(self.error.as_str(), "invalid_client" | "deleted_client" | "disabled_client")
    }
}

/// Shows words and numbers only: no descriptions, which hold addresses and names.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&word(&self.error))?;
        for finer in [&self.suberror, &self.error_subtype].into_iter().flatten() {
            write!(f, ", {}", word(finer))?;
        }
        for code in self.error_codes.iter().take(CODES_MAX) {
            write!(f, ", AADSTS{code}")?;
        }
        if let Some(trace) = &self.trace_id {
            write!(f, ", trace {}", word(trace))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refusal({self})")
    }
}

/// A word of somebody else's as it may stand in our texts.
pub(crate) fn word(text: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let word: String = text.chars().filter(allowed).take(WORD_CHARS_MAX).collect();
    if word.is_empty() { "(no word)".to_owned() } else { word }
}

/// Why an account must be connected again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Revoked or expired, and the provider does not say which.
    Ended,
    /// Not used for too long.
    Unused,
    /// Sessions were revoked, or a password was reset.
    Revoked,
    /// Consent is missing, or was withdrawn.
    Consent,
    /// More authentication is wanted, such as a second factor.
    Interaction,
    /// A rule of the organisation ended it, or forbids it.
    Policy,
    /// The user is disabled, or gone.
    UserDisabled,
    /// An answer with the next refresh token was lost, and the one before is dead.
    AnswerLost,
    /// There never was a refresh token.
    NoRefreshToken,
}

impl Reason {
    /// For the person who must act.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ended => "the grant was revoked or has expired",
            Self::Unused => "the grant was not used for too long",
            Self::Revoked => "the grant was revoked: sessions were ended or the password was reset",
            Self::Consent => "consent is missing or was withdrawn",
            Self::Interaction => {
                "the provider wants the user to sign in once more, such as with a second factor"
            }
            Self::Policy => {
                "a rule of the organisation ended the grant: ask its administrator before connecting again"
            }
            Self::UserDisabled => "the user is disabled or gone at the provider: ask its administrator",
            Self::AnswerLost => {
                "the answer with the next refresh token was lost, and the one before works no longer"
            }
            Self::NoRefreshToken => "the provider gave no refresh token",
        }
    }
}

/// What a refusal means for the grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The grant is over.
    Reconnect { reason: Reason, claims: Option<String> },
    /// The application's registration or settings are wrong: all its grants stay.
    Operator,
    /// Tried again later.
    Retry,
    /// Left alone for minutes.
    Pause,
}

/// Decides by the word; by numbers only where the word says too little, or where they ask for a pause.
pub(crate) fn meaning(refusal: &Refusal) -> Meaning {
    let has = |code: u32| refusal.error_codes.contains(&code);
    if has(LOOP_DETECTED) {
        return Meaning::Pause;
    }
    if PASSING.into_iter().any(has) {
        return Meaning::Retry;
    }
    let reconnect = |reason| {
        let claims = refusal.claims.clone().filter(|claims| claims.len() <= CLAIMS_BYTES_MAX);
        Meaning::Reconnect { reason, claims }
    };
    match refusal.error.as_str() {
        "invalid_grant" => reconnect(reason(refusal)),
        "interaction_required" | "login_required" => reconnect(Reason::Interaction),
        "consent_required" | "access_denied" => reconnect(Reason::Consent),
        "admin_policy_enforced" => reconnect(Reason::Policy),
        "invalid_client"
        | "unauthorized_client"
        | "invalid_scope"
        | "invalid_resource"
        | "invalid_target"
        | "invalid_request"
        | "unsupported_grant_type"
        | "unsupported_response_type"
        | "redirect_uri_mismatch"
        | "deleted_client"
        | "disabled_client"
        | "org_internal" => Meaning::Operator,
        // Those that say so (temporarily_unavailable, server_error, rate_limit_exceeded), and those that nobody knows:
        // a grant is not given up for a word.
        _ => Meaning::Retry,
    }
}

fn reason(refusal: &Refusal) -> Reason {
    let finer = refusal.suberror.as_deref().or(refusal.error_subtype.as_deref());
    match finer {
        Some("consent_required") => return Reason::Consent,
        Some("invalid_rapt") => return Reason::Policy,
        _ => {}
    }
    let known = refusal.error_codes.iter().find_map(|code| match code {
        65_001 | 65_004 => Some(Reason::Consent),
        700_082 => Some(Reason::Unused),
        50_173 => Some(Reason::Revoked),
        50_057 | 50_034 => Some(Reason::UserDisabled),
        53_003 | 53_000 | 70_043 => Some(Reason::Policy),
        50_076 | 50_079 | 50_074 | 50_078 | 50_158 => Some(Reason::Interaction),
        _ => None,
    });
    known.unwrap_or(Reason::Ended)
}

/// Whether a body asks to be left alone for minutes, whatever its status says.
pub(crate) fn detects_a_loop(body: &[u8]) -> bool {
    serde_json::from_slice::<Refusal>(body).is_ok_and(|refusal| meaning(&refusal) == Meaning::Pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str) -> Refusal {
        serde_json::from_str(body).unwrap()
    }

    fn refusal(error: &str, codes: &[u32]) -> Refusal {
        Refusal { error: error.into(), error_codes: codes.to_vec(), ..Refusal::default() }
    }

    fn check(error: &str, codes: &[u32], expected: &Meaning) {
        assert_eq!(&meaning(&refusal(error, codes)), expected, "{error} {codes:?}");
    }

    fn reconnect(reason: Reason) -> Meaning {
        Meaning::Reconnect { reason, claims: None }
    }

    #[test]
    fn microsofts_table() {
        for (code, reason) in [
            (70_008, Reason::Ended),
            (700_082, Reason::Unused),
            (50_173, Reason::Revoked),
            (70_000, Reason::Ended),
            (50_089, Reason::Ended),
            (700_084, Reason::Ended),
            (70_043, Reason::Policy),
            (50_057, Reason::UserDisabled),
            (50_034, Reason::UserDisabled),
            (53_003, Reason::Policy),
            (65_001, Reason::Consent),
            (54_005, Reason::Ended),
            (501_481, Reason::Ended),
        ] {
            check("invalid_grant", &[code], &reconnect(reason));
        }
        for code in [50_076, 50_079, 50_074, 50_078, 50_158, 53_000] {
            check("interaction_required", &[code], &reconnect(Reason::Interaction));
        }
        check("consent_required", &[65_001], &reconnect(Reason::Consent));
        check("login_required", &[65_004], &reconnect(Reason::Interaction));
        for code in [7_000_215, 7_000_222, 70_002, 700_027] {
            check("invalid_client", &[code], &Meaning::Operator);
        }
        check("unauthorized_client", &[700_016], &Meaning::Operator);
        for (error, code) in
            [("invalid_scope", 70_011), ("invalid_resource", 500_011), ("invalid_request", 28_002)]
        {
            check(error, &[code], &Meaning::Operator);
        }
        check("temporarily_unavailable", &[90_033], &Meaning::Retry);
        check("server_error", &[], &Meaning::Retry);
        for error in ["invalid_grant", "invalid_request", "anything"] {
            check(error, &[50_196], &Meaning::Pause);
            check(error, &[50_033], &Meaning::Retry);
        }
    }

    #[test]
    fn googles_table() {
        check("invalid_grant", &[], &reconnect(Reason::Ended));
        check("admin_policy_enforced", &[], &reconnect(Reason::Policy));
        for error in ["invalid_client", "unauthorized_client", "redirect_uri_mismatch", "deleted_client"] {
            check(error, &[], &Meaning::Operator);
        }
        check("rate_limit_exceeded", &[], &Meaning::Retry);
        let rapt = read(r#"{"error": "invalid_grant", "error_subtype": "invalid_rapt"}"#);
        assert_eq!(meaning(&rapt), reconnect(Reason::Policy));
    }

    #[test]
    fn a_word_that_nobody_knows_ends_no_grant() {
        check("quota_of_the_moon", &[], &Meaning::Retry);
        check("", &[], &Meaning::Retry);
    }

    #[test]
    fn the_vendors_own_examples_are_read() {
        let withdrawn = read(
            r#"{"error":"invalid_grant","error_description":"AADSTS65001: The user jo@contoso.example has not consented.\r\n",
                "error_codes":[65001],"timestamp":"2026-01-09 02:02:12Z","trace_id":"0000aaaa-11bb-cccc-dd22-eeeeee333333",
                "correlation_id":"aaaa0000-bb11-2222-33cc-444444dddddd","suberror":"consent_required"}"#,
        );
        assert_eq!(meaning(&withdrawn), reconnect(Reason::Consent));
        let printed = withdrawn.to_string();
        assert_eq!(
            printed,
            "invalid_grant, consent_required, AADSTS65001, trace 0000aaaa-11bb-cccc-dd22-eeeeee333333"
        );
        let factor = read(
            r#"{"error":"interaction_required","error_codes":[50076],"suberror":"basic_action",
                "claims":"{\"access_token\":{\"capolids\":{\"essential\":true}}}"}"#,
        );
        let claims = Some(r#"{"access_token":{"capolids":{"essential":true}}}"#.to_owned());
        assert_eq!(meaning(&factor), Meaning::Reconnect { reason: Reason::Interaction, claims });
    }

    #[test]
    fn a_demand_without_end_is_not_carried_on() {
        let long =
            Refusal { claims: Some("x".repeat(CLAIMS_BYTES_MAX + 1)), ..refusal("invalid_grant", &[]) };
        assert_eq!(meaning(&long), reconnect(Reason::Ended));
    }

    proptest! {
        #[test]
        fn nothing_of_an_answer_but_short_words_is_printed(error in "\\PC{0,300}", finer in "\\PC{0,300}") {
            let refusal = Refusal { suberror: Some(finer), ..refusal(&error, &[1, 2]) };
            let printed = format!("{refusal} {refusal:?}");
            prop_assert!(printed.len() < 600);
            prop_assert!(!printed.contains(['<', '>', '@', '"', '&']));
        }

        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = detects_a_loop(&body);
        }
    }
}
