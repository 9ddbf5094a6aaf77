//! What an account is set up with: its limits and its address.

use std::time::Duration;

use url::Url;

use crate::breaker::BreakerPolicy;

/// The limits of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest time until a connection stands, TLS included.
    pub connect_time_max: Duration,
    /// Longest time from sending a request to having read its answer.
    pub deadline: Duration,
    /// Longest accepted answer.
    pub answer_bytes_max: usize,
    /// Requests a second; as many may go out at once after a pause.
    pub requests_per_second_max: u32,
    /// Requests on their way at the same time.
    pub concurrency_max: u32,
    /// Longest time a request waits for these limits before it is handed back.
    pub wait_max: Duration,
    /// When requests are held back because the upstream fails.
    pub breaker: BreakerPolicy,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_time_max: Duration::from_secs(5),
            deadline: Duration::from_secs(20),
            answer_bytes_max: 16 * 1024 * 1024,
            requests_per_second_max: 20,
            concurrency_max: 8,
            wait_max: Duration::from_secs(30),
            breaker: BreakerPolicy::default(),
        }
    }
}

/// Why an upstream cannot be set up. The texts are for the person who writes the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The base address is unusable.
    #[error("the address {0}")]
    Address(String),
    /// A credential is unusable.
    #[error("{0}")]
    Credential(String),
    /// No TLS, no certificates.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// Checks a base address (`http` or `https`, with a host, without user name, query and fragment) and gives it a
/// final `/`.
///
/// # Errors
/// [`SetupError::Address`], which says what is wrong with it, without repeating it.
pub fn base_url(url: &Url) -> Result<Url, SetupError> {
    let wrong = |what: &str| Err(SetupError::Address(what.to_owned()));
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return wrong("must begin with https:// (or http://) and a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("must hold no user name or password; they belong into the settings for secrets");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("must end before any '?' or '#'");
    }
    let mut url = url.clone();
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: Result<&str, &str>) {
        match (base_url(&Url::parse(url).unwrap()), expected) {
            (Ok(base), Ok(expected)) => assert_eq!(base.as_str(), expected),
            (Err(error), Err(says)) => {
                let text = error.to_string();
                assert!(text.contains(says) && !text.contains("hush"), "{text}");
            }
            (outcome, _) => panic!("{url}: {outcome:?}"),
        }
    }

    #[test]
    fn addresses_end_with_a_slash_and_hold_no_secrets() {
        check("https://crm.example.test", Ok("https://crm.example.test/"));
        check("http://crm.example.test:8080/crm", Ok("http://crm.example.test:8080/crm/"));
        check("https://crm.example.test/crm/", Ok("https://crm.example.test/crm/"));
        check("ftp://crm.example.test/", Err("https://"));
        check("mailto:crm@example.test", Err("https://"));
        check("https://user:hush@crm.example.test/", Err("user name"));
        check("https://crm.example.test/?key=hush", Err("'?'"));
    }
}
