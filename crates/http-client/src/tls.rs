//! The one place that chooses the TLS implementation.

use std::sync::OnceLock;

use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt as _;

/// Makes ring's provider the one that TLS uses in this process. Safe to repeat; every [`crate::Upstream`] calls
/// it, and programs and tests that open TLS connections by other means (a broker's, for one) do so themselves.
pub fn install_crypto_provider() {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// How connections are made secure: by the certificates that the machine trusts. They are read once in a process, since
/// each of many accounts has a client of its own, and sessions are resumed by all of them.
///
/// # Errors
/// When the machine's certificates cannot be used.
pub(crate) fn config() -> Result<ClientConfig, rustls::Error> {
    static CONFIG: OnceLock<ClientConfig> = OnceLock::new();
    install_crypto_provider();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let mut config = ClientConfig::with_platform_verifier()?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(CONFIG.get_or_init(|| config).clone())
}
