//! The HTTP client for our own listeners and the simulators' control API; upstreams are reached through the
//! connectors only.

use std::time::Duration;

use reqwest::redirect::Policy;

/// A client that waits for an answer at most for `timeout`.
///
/// # Errors
/// When TLS cannot be set up.
#[expect(clippy::disallowed_methods, reason = "asks our own programs, not an upstream")]
pub fn client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    http_client::install_crypto_provider();
    reqwest::Client::builder().timeout(timeout).redirect(Policy::none()).no_proxy().build()
}
