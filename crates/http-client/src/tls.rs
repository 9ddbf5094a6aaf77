//! The one place that chooses the TLS implementation.

/// Makes ring's provider the one that TLS uses in this process. Safe to repeat; every [`crate::Upstream`] calls
/// it, and programs and tests that open TLS connections by other means (a broker's, for one) do so themselves.
pub fn install_crypto_provider() {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
