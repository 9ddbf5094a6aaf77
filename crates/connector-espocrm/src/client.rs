//! The account: address, credentials, and the sending of a request.

use std::sync::Arc;

use http_client::{Answer, Limits, Request, SetupError, Upstream};
use shared::clock::Clock;
use shared::fault::Fault;
use shared::meter::Meter;
use url::Url;

use crate::{Credentials, SYSTEM, error};

/// What is needed to speak to a CRM.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The CRM's own address, as in a browser: `https://crm.example.test/`.
    pub url: Url,
    /// The API user.
    pub credentials: Credentials,
    /// The account's limits. EspoCRM locks an address out after more than 10 refused log-ins within 60 s, so
    /// keep `concurrency_max` at 10 or below.
    pub limits: Limits,
}

/// An API user's account at an EspoCRM. Cheap to clone; clones share limits, breaker and pauses.
#[derive(Debug, Clone)]
pub struct EspoCrm {
    upstream: Upstream,
    base: Url,
    credentials: Credentials,
}

impl EspoCrm {
    /// Sets up the account. Sends nothing.
    ///
    /// # Errors
    /// [`SetupError`] when the address or TLS is unusable.
    pub fn new(settings: Settings, meter: Arc<dyn Meter>, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let Settings { url, credentials, limits } = settings;
        let mut base = http_client::base_url(&url)?;
        let path = format!("{}api/v1/", base.path());
        base.set_path(&path);
        let upstream = Upstream::new(SYSTEM, limits, credentials.secrets(), meter, clock)?;
        Ok(Self { upstream, base, credentials })
    }

    /// Signs and sends a request, and pauses the account when the answer says so.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, Fault> {
        let request = self.credentials.sign(request);
        let answer = self.upstream.send(&self.base, request).await?;
        if let Some((pause, why)) = error::account_pause(&answer) {
            self.upstream.pause_refused(pause, why);
        }
        Ok(answer)
    }
}
