//! The account: address, credentials, and the sending of a request.

use std::sync::Arc;

use http_client::{Answer, Fleet, Limits, Request, SetupError, Upstream};
use shared::clock::Clock;
use shared::fault::Fault;
use shared::meter::Meter;
use shared::ports::state::State;
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
    /// Where the processes of a fleet share these limits; without it they hold for this process.
    pub fleet: Option<Arc<dyn State>>,
}

/// A user's account at an EspoCRM. Cheap to clone; clones share limits, breaker and pauses.
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
        let Settings { url, credentials, limits, fleet } = settings;
        let mut base = http_client::base_url(&url)?;
        let path = format!("{}api/v1/", base.path());
        base.set_path(&path);
        let identity: Vec<&str> = [Some(base.as_str()), credentials.person()].into_iter().flatten().collect();
        let fleet = fleet.map(|state| Fleet::new(state, SYSTEM, &identity));
        let upstream = Upstream::new(SYSTEM, limits, credentials.secrets(), meter, clock, fleet)?;
        Ok(Self { upstream, base, credentials })
    }

    /// Gives back what this process holds of the fleet's limits; see [`Upstream::leave`].
    pub async fn leave(&self) {
        self.upstream.leave().await;
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use axum::extract::Request as Incoming;
    use axum::http::StatusCode;
    use secrecy::SecretString;
    use shared::clock::SystemClock;
    use shared::fault::FaultKind;
    use shared::meter::NoMeter;

    use super::*;
    use crate::{EntityType, EspoId};

    /// A CRM that answers everything with this status and content type, and remembers what it was asked.
    async fn start(status: u16, kind: &'static str) -> (EspoCrm, Arc<Mutex<Vec<String>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let remember = Arc::clone(&seen);
        let router = Router::new().fallback(move |request: Incoming| {
            let key = request.headers().get("x-api-key").map(|key| format!("{key:?}")).unwrap_or_default();
            remember.lock().unwrap().push(format!("{} {} {key}", request.method(), request.uri()));
            async move { (StatusCode::from_u16(status).unwrap(), [("content-type", kind)], "") }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/crm", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let credentials = Credentials::ApiKey(SecretString::from("the-key"));
        let settings = Settings { url, credentials, limits: Limits::default(), fleet: None };
        (EspoCrm::new(settings, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap(), seen)
    }

    async fn get(crm: &EspoCrm) -> Fault {
        let id = EspoId::new("6b00526cc80a09e94").unwrap();
        crm.get(&EntityType::new("CBeteiligte").unwrap(), &id).await.unwrap_err()
    }

    async fn check_paused(status: u16, kind: &'static str, expected: &str) {
        let (crm, seen) = start(status, kind).await;
        assert_eq!(get(&crm).await.kind.name(), expected);
        for _ in 0..20 {
            let fault = get(&crm).await;
            assert!(matches!(fault.kind, FaultKind::Paused { .. }), "{fault:?}");
        }
        let seen = seen.lock().unwrap();
        assert_eq!(*seen, ["GET /crm/api/v1/CBeteiligte/6b00526cc80a09e94 \"the-key\""]);
    }

    #[tokio::test]
    async fn a_refused_key_is_not_tried_again_and_again() {
        check_paused(401, "text/html; charset=UTF-8", "unauthorized").await;
    }

    #[tokio::test]
    async fn a_lock_out_is_waited_for() {
        check_paused(403, "text/html; charset=UTF-8", "paused").await;
    }

    #[tokio::test]
    async fn a_missing_right_pauses_nobody() {
        let (crm, seen) = start(403, "application/json").await;
        for _ in 0..3 {
            assert_eq!(get(&crm).await.code, "forbidden");
        }
        assert_eq!(seen.lock().unwrap().len(), 3);
    }
}
