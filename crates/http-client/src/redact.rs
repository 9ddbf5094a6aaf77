//! Excerpts of error answers, without secrets.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use shared::fault::{EXCERPT_CHARS_MAX, cut};

/// How much of a body is looked at for an excerpt, in bytes.
const LOOKED_AT_BYTES_MAX: usize = 16 * 1024;
/// A run of this many token characters with a digit among them is taken for a token.
const TOKEN_CHARS_MIN: usize = 20;
/// Shorter secrets are not searched for: they would blank out ordinary words.
const SECRET_CHARS_MIN: usize = 4;

const MASK: &str = "***";
const TELLING_WORDS: [&str; 8] =
    ["password", "passwort", "token", "secret", "apikey", "api_key", "api-key", "authorization"];

/// Makes excerpts: knows an account's secrets, and what tokens look like.
#[derive(Clone)]
pub struct Redactor {
    secrets: Vec<SecretString>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets: ***)", self.secrets.len())
    }
}

impl Redactor {
    /// A redactor that knows these secrets.
    pub fn new(secrets: Vec<SecretString>) -> Self {
        Self { secrets }
    }

    /// The beginning of a body as one line of at most [`EXCERPT_CHARS_MAX`] characters, with known secrets, values
    /// named like secrets, and whatever looks like a token replaced by `***`.
    pub fn excerpt(&self, body: &[u8]) -> String {
        let looked_at = body.get(..LOOKED_AT_BYTES_MAX).unwrap_or(body);
        let mut text = String::from_utf8_lossy(looked_at).into_owned();
        for secret in &self.secrets {
            let secret = secret.expose_secret();
            if secret.chars().count() >= SECRET_CHARS_MIN {
                text = text.replace(secret, MASK);
            }
        }
        let words: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
        cut(&mask_tokens(&words.join(" ")), EXCERPT_CHARS_MAX)
    }
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '_' | '-' | '.' | '~')
}

/// Goes through the text run by run. A run is masked when it looks like a token, or when it is the value of
/// something named like a secret (`"access_token":"x"`, `password=x`, `Bearer x`).
fn mask_tokens(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_secret_name = false;
    let mut after_scheme = false;
    while !rest.is_empty() {
        let run_end = rest.find(|c| !is_token_char(c)).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(run_end);
        let gap_end = tail.find(is_token_char).unwrap_or(tail.len());
        let (gap, next) = tail.split_at(gap_end);
        let looks_like_token = run.len() >= TOKEN_CHARS_MIN && run.bytes().any(|b| b.is_ascii_digit());
        let is_scheme = run.eq_ignore_ascii_case("bearer") || run.eq_ignore_ascii_case("basic");
        let is_value = !run.is_empty() && !is_scheme && (after_secret_name || after_scheme);
        if looks_like_token || is_value {
            masked.push_str(MASK);
        } else {
            masked.push_str(run);
        }
        masked.push_str(gap);
        let lower = run.to_ascii_lowercase();
        let names_secret = TELLING_WORDS.iter().any(|word| lower.ends_with(word));
        let assigned = gap.contains(':') || gap.contains('=');
        after_secret_name = assigned && (names_secret || (after_secret_name && run.is_empty()));
        after_scheme = is_scheme && !assigned;
        rest = next;
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(body: &str, expected: &str) {
        let redactor = Redactor::new(vec![SecretString::from("pa$$ w0rd"), SecretString::from("")]);
        assert_eq!(redactor.excerpt(body.as_bytes()), expected);
    }

    #[test]
    fn secrets_go_and_the_rest_stays() {
        check("Not existing attribute 'x' in where.", "Not existing attribute 'x' in where.");
        check("login with pa$$ w0rd refused", "login with *** refused");
        check(r#"{"access_token":"abc","expires_in":3600}"#, r#"{"access_token":"***","expires_in":3600}"#);
        check("Authorization: Bearer short", "Authorization: Bearer ***");
        check("X-Api-Key=0123456789abcdef0123456789abcdef!", "X-Api-Key=***!");
        check("password: hunter2 was wrong", "password: *** was wrong");
        check("token expired", "token expired");
        check("<html>\n\n  <h1>502\tBad Gateway</h1>", "<html> <h1>502 Bad Gateway</h1>");
        check("Rechtsschutzversicherungsgesellschaft", "Rechtsschutzversicherungsgesellschaft");
    }

    #[test]
    fn long_bodies_and_broken_characters_are_cut() {
        let excerpt = Redactor::new(vec![]).excerpt(&[0xC3; 100_000]);
        assert_eq!(excerpt.chars().count(), EXCERPT_CHARS_MAX);
    }

    proptest! {
        #[test]
        fn a_known_secret_never_shows(
            secret in "[a-z$%&]{4,30}", before in "[A-Z \"]{0,600}", after in "\\PC{0,60}",
        ) {
            let body = format!("{before}{secret}{after}");
            let excerpt = Redactor::new(vec![SecretString::from(secret.clone())]).excerpt(body.as_bytes());
            prop_assert!(!excerpt.contains(&secret));
            prop_assert!(excerpt.chars().count() <= EXCERPT_CHARS_MAX);
        }

        #[test]
        fn a_token_never_shows(token in "[A-Za-z0-9+/]{19}[0-9]", around in "[ \"'<>:,]{1,5}") {
            let excerpt = Redactor::new(vec![]).excerpt(format!("{around}{token}{around}").as_bytes());
            prop_assert!(!excerpt.contains(&token));
        }
    }
}
