//! Requests to the programs under test.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::RequestBuilder;
use sha2::Sha256;

use crate::fleet::Webhook;
use crate::{HarnessError, Result};

/// Longer than a program may take to say 503.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body, as text.
    pub body: String,
}

/// The client.
#[derive(Debug, Clone)]
pub struct Http(reqwest::Client);

impl Http {
    /// A client.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    #[expect(clippy::disallowed_methods, reason = "the harness looks at the product from outside")]
    pub fn new() -> Result<Self> {
        // Fails only when a provider is installed already, which is as good.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        // Each request has a connection of its own: one that a refusal closed is no use to the next.
        let client = reqwest::Client::builder().timeout(TIMEOUT).pool_max_idle_per_host(0).build();
        client.map(Self).map_err(|error| HarnessError::new(format!("no HTTP client: {error}")))
    }

    /// GET.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn get(&self, url: &str) -> Result<Answer> {
        send(self.0.get(url)).await
    }

    /// POST.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn post(&self, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer> {
        let request = self.0.post(url).body(body);
        send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// Sends a body as a webhook of EspoCRM does.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn deliver(&self, webhook: &Webhook, body: impl Into<Vec<u8>>) -> Result<Answer> {
        let body = body.into();
        let signature = signature(webhook, &body);
        let headers = [("Signature", signature.as_str()), ("Content-Type", "application/json")];
        self.post(&webhook.url, &headers, body).await
    }
}

/// What EspoCRM signs a webhook's body with: `base64(id ":" hex(HMAC-SHA256(secret, body)))`.
pub fn signature(webhook: &Webhook, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let signer =
        Hmac::<Sha256>::new_from_slice(webhook.secret.as_bytes()).expect("HMAC takes keys of any length");
    let digest = signer.chain_update(body).finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    STANDARD.encode(format!("{}:{hex}", webhook.id))
}

async fn send(request: RequestBuilder) -> Result<Answer> {
    let failed = |error: reqwest::Error| HarnessError::new(format!("no answer: {error}"));
    let answer = request.send().await.map_err(failed)?;
    let status = answer.status().as_u16();
    Ok(Answer { status, body: answer.text().await.map_err(failed)? })
}
