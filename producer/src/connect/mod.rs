//! Connecting accounts in the browser: `GET /connect/<provider>?…` and back to `/connect/<provider>/callback`.

mod page;
mod wake;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use shared::flow::Flow;
use shared::names;
use tokio::sync::Semaphore;
use tracing::{info, warn};
use vault::{ConnectError, Connected, Connecting};

use crate::run::Engine;

/// Requests handled at once; each waits for the store or the provider.
const REQUESTS_MAX: usize = 32;
/// How long a browser waits for what the provider answers. It is stored even if the browser waits no longer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);
/// Longest query that is read; the vault has bounds of its own for what is in it.
const QUERY_BYTES_MAX: usize = 16 * 1024;
/// When a browser may come again.
const RETRY_AFTER_SECONDS: &str = "30";
/// A provider that is not configured, in metrics.
const UNKNOWN: &str = "unknown";

/// What the routes share.
#[derive(Clone)]
struct Desk {
    engine: Arc<Engine>,
    connecting: Connecting,
    flows: Arc<Vec<Arc<dyn Flow>>>,
    permits: Arc<Semaphore>,
}

/// The routes.
pub fn routes(engine: Arc<Engine>, connecting: Connecting, flows: Vec<Arc<dyn Flow>>) -> Router {
    let permits = Arc::new(Semaphore::new(REQUESTS_MAX));
    let desk = Desk { engine, connecting, flows: Arc::new(flows), permits };
    Router::new()
        .route("/connect/{provider}", get(begin))
        .route("/connect/{provider}/callback", get(finish))
        .with_state(desk)
}

/// Somebody opened a link.
async fn begin(
    State(desk): State<Desk>,
    Path(provider): Path<String>,
    method: Method,
    RawQuery(query): RawQuery,
) -> Response {
    // Scanners of mail look whether a link is there: that opens nothing.
    if method == Method::HEAD {
        return page::nothing(StatusCode::OK);
    }
    let Ok(_permit) = desk.permits.try_acquire() else { return desk.crowded(&provider) };
    let query = match bounded(query) {
        Ok(query) => query,
        Err(error) => return desk.refused(&provider, &error),
    };
    match desk.connecting.begin(&provider, &query).await {
        Ok(begun) => {
            desk.count(&provider, "begun");
            page::redirect(begun.location.as_str(), &begun.set_cookie)
        }
        Err(error) => desk.refused(&provider, &error),
    }
}

/// A provider sent a browser back.
async fn finish(
    State(desk): State<Desk>,
    Path(provider): Path<String>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    if method == Method::HEAD {
        return page::nothing(StatusCode::OK);
    }
    let Ok(permit) = desk.permits.clone().try_acquire_owned() else { return desk.crowded(&provider) };
    let query = match bounded(query) {
        Ok(query) => query,
        Err(error) => return desk.refused(&provider, &error),
    };
    // A browser may send several headers of cookies.
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let cookies = cookies.collect::<Vec<_>>().join("; ");
    // A task of its own: a code is good once, so that it is used up and stored whether or not the browser waits.
    let (working, of) = (desk.clone(), provider.clone());
    let redeeming = tokio::spawn(async move {
        let _permit = permit;
        let connected = working.connecting.finish(&of, &query, Some(&cookies)).await?;
        info!(account = %connected.account, "An account was connected in a browser.");
        wake::wake(&working.engine, &working.flows, &connected.account).await;
        Ok::<Connected, ConnectError>(connected)
    });
    match tokio::time::timeout(ANSWER_TIME_MAX, redeeming).await {
        Ok(Ok(Ok(connected))) => {
            desk.count(&provider, "connected");
            page::connected(&desk.label(&provider), &connected)
        }
        Ok(Ok(Err(error))) => desk.refused(&provider, &error),
        Ok(Err(panic)) => {
            warn!("Connecting an account ended by a defect: {panic}");
            desk.count(&provider, "defect");
            page::failed(StatusCode::INTERNAL_SERVER_ERROR, "This failed here. Open the link once more.")
        }
        Err(_slow) => {
            warn!(
                "The provider {provider} takes long to answer; whether the account is connected is seen later."
            );
            desk.count(&provider, "slow");
            page::failed(
                StatusCode::GATEWAY_TIMEOUT,
                "The provider takes long to answer. Open the link once more in a minute: it says so where the account \
                 is connected by then.",
            )
        }
    }
}

/// The vault reads it; this only keeps what is much too long from being copied.
fn bounded(query: Option<String>) -> Result<String, ConnectError> {
    let query = query.unwrap_or_default();
    if query.len() > QUERY_BYTES_MAX { Err(ConnectError::Malformed("it is too long")) } else { Ok(query) }
}

impl Desk {
    /// The name of a configured provider: what else came with the request is no label and in no log.
    fn known(&self, provider: &str) -> &str {
        let mut providers = self.connecting.accounts().providers();
        providers.find(|known| known.name.as_str() == provider).map_or(UNKNOWN, |known| known.name.as_str())
    }

    fn label(&self, provider: &str) -> String {
        let mut providers = self.connecting.accounts().providers();
        let known = providers.find(|known| known.name.as_str() == provider);
        known.map_or_else(String::new, |known| known.label.clone())
    }

    fn count(&self, provider: &str, outcome: &str) {
        self.engine.meter.add(&names::CONNECT_REQUESTS, &[self.known(provider), outcome], 1);
    }

    fn refused(&self, provider: &str, error: &ConnectError) -> Response {
        let (status, code) = (error.status(), error.code());
        self.count(provider, code);
        let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let provider = self.known(provider);
        if status >= 500 {
            warn!(provider, code, status, "No account was connected: {error}{detail}");
        } else {
            info!(provider, code, status, "No account was connected: {error}{detail}");
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let page = page::failed(status, &error.to_string());
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            return ([(header::RETRY_AFTER, RETRY_AFTER_SECONDS)], page).into_response();
        }
        page
    }

    fn crowded(&self, provider: &str) -> Response {
        self.count(provider, "crowded");
        let page = page::failed(StatusCode::SERVICE_UNAVAILABLE, "Too many at once. Try again in a minute.");
        ([(header::RETRY_AFTER, RETRY_AFTER_SECONDS)], page).into_response()
    }
}
