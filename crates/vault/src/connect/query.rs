//! What comes with a request of a browser, read within bounds. Pure.

use std::collections::BTreeMap;

use super::ConnectError;

/// Longest query.
const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Most parameters.
const PARAMETERS_MAX: usize = 30;
/// Longest cookie header that is looked at.
const COOKIES_BYTES_MAX: usize = 16 * 1024;
/// Longest `state`, cookie or signature.
const TOKEN_CHARS_MAX: usize = 128;
/// Longest code.
const CODE_BYTES_MAX: usize = 6 * 1024;

/// A query whose parameters are there once at most.
#[derive(Debug)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, ConnectError> {
        if text.len() > QUERY_BYTES_MAX {
            return Err(ConnectError::Malformed("it is too long"));
        }
        let mut parameters = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            if parameters.len() >= PARAMETERS_MAX {
                return Err(ConnectError::Malformed("it has too many parts"));
            }
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(ConnectError::Malformed("a part of it is there twice"));
            }
        }
        Ok(Self(parameters))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// What a provider sends a browser back with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Callback {
    pub(crate) state: String,
    pub(crate) outcome: Outcome,
}

/// How the sign-in ended at the provider.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Code(String),
    Refused(String),
}

/// Reads a provider's callback.
pub(crate) fn callback(text: &str) -> Result<Callback, ConnectError> {
    let query = Query::parse(text)?;
    let state = query.get("state").filter(|state| is_token(state));
    let state = state.ok_or(ConnectError::Malformed("its state"))?.to_owned();
    let outcome = match (query.get("error"), query.get("code")) {
        (Some(error), _) => Outcome::Refused(error.to_owned()),
        (None, Some(code))
            if (1..=CODE_BYTES_MAX).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Outcome::Code(code.to_owned())
        }
        (None, _) => return Err(ConnectError::Malformed("its code")),
    };
    Ok(Callback { state, outcome })
}

/// What the word of a refusal means to the person.
pub(crate) fn refusal(word: &str) -> ConnectError {
    match word {
        "access_denied" => ConnectError::Declined,
        "consent_required" | "admin_policy_enforced" | "interaction_required" | "login_required" => {
            ConnectError::ConsentNeeded
        }
        "temporarily_unavailable" | "server_error" => ConnectError::ProviderFailed(format!(
            "the provider's sign-in page says {}",
            crate::error::word(word)
        )),
        other => ConnectError::Operator(format!(
            "the provider's sign-in page refuses the request ({}): check client_id, redirect address and scopes at \
             the provider",
            crate::error::word(other)
        )),
    }
}

/// The value of a cookie in a `Cookie` header.
pub(crate) fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let header = header.get(..COOKIES_BYTES_MAX.min(header.len()))?;
    let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value).filter(|value| is_token(value))
}

/// Whether it may be one of the words that this crate draws: base64url or hexadecimal.
pub(crate) fn is_token(text: &str) -> bool {
    (1..=TOKEN_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> &'static str {
        callback(text).unwrap_err().code()
    }

    #[test]
    fn callbacks_of_either_vendor_are_read() {
        let code = |code: &str| Callback { state: "12345".into(), outcome: Outcome::Code(code.into()) };
        let microsoft =
            "code=OAAABAAAAiL9Kn2Z27UubvWFPbm0gLWQJVzCTE9UkP3pSx1aXxUjq&state=12345&session_state=x-y";
        assert_eq!(
            callback(microsoft).unwrap(),
            code("OAAABAAAAiL9Kn2Z27UubvWFPbm0gLWQJVzCTE9UkP3pSx1aXxUjq")
        );
        let google =
            "state=12345&iss=https%3A%2F%2Faccounts.google.com&code=4%2F0AfJohXn&scope=email%20openid";
        assert_eq!(callback(google).unwrap(), code("4/0AfJohXn"));
        let denied = "error=access_denied&error_description=AADSTS65004&state=12345";
        let outcome = Outcome::Refused("access_denied".into());
        assert_eq!(callback(denied).unwrap(), Callback { state: "12345".into(), outcome });
    }

    #[test]
    fn what_is_no_callback_is_refused() {
        for text in [
            "",
            "code=x",
            "state=12345",
            "state=12345&code=",
            "state=a%20b&code=x",
            "state=12345&state=12345&code=x",
            "state=12345&code=x&code=y",
            "state=12345&code=a%0Ab",
            "state=%3Cscript%3E&code=x",
        ] {
            assert_eq!(refused(text), "malformed", "{text}");
        }
        assert_eq!(refused(&format!("state=1&code={}", "x".repeat(QUERY_BYTES_MAX))), "malformed");
        assert_eq!(refused(&format!("state={}&code=x", "x".repeat(TOKEN_CHARS_MAX + 1))), "malformed");
        let many: String = (0..=PARAMETERS_MAX).map(|n| format!("a{n}=1&")).collect();
        assert_eq!(refused(&format!("{many}state=1&code=x")), "malformed");
    }

    #[test]
    fn refusals_at_the_provider_say_who_must_act() {
        for (word, code, status) in [
            ("access_denied", "declined", 403),
            ("consent_required", "consent_needed", 403),
            ("login_required", "consent_needed", 403),
            ("server_error", "provider_failed", 502),
            ("temporarily_unavailable", "provider_failed", 502),
            ("invalid_scope", "misconfigured", 500),
            ("redirect_uri_mismatch", "misconfigured", 500),
            ("<script>alert(1)</script>", "misconfigured", 500),
        ] {
            let error = refusal(word);
            assert_eq!((error.code(), error.status()), (code, status), "{word}");
            let said = format!("{error} {:?}", error.detail());
            assert!(!said.contains('<'), "{said}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let header = "a=1; syncfleet-connect-google=abc; __Host-x=2";
        assert_eq!(cookie(header, "syncfleet-connect-google"), Some("abc"));
        assert_eq!(cookie(header, "syncfleet-connect"), None);
        assert_eq!(cookie("x=", "x"), None);
    }

    proptest! {
        #[test]
        fn no_query_and_no_cookie_makes_it_panic(text in "\\PC{0,300}") {
            let _ = (callback(&text), cookie(&text, "x"));
        }
    }
}
