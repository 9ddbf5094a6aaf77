//! Serving HTTP with bounds on everything, and the private routes `/metrics`, `/healthz`, `/readyz`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::health::Health;

/// The text format of Prometheus.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long to wait when a connection cannot be accepted (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What bounds a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at the same time; further ones wait to be accepted.
    pub connections_max: usize,
    /// Longest time until the head of a request is there; ends idle connections as well.
    pub head_time_max: Duration,
    /// Longest time of one request, its body included; then 408.
    pub request_time_max: Duration,
    /// Longest time for requests under way after the stop.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 64,
            head_time_max: Duration::from_secs(10),
            request_time_max: Duration::from_secs(10),
            drain: Duration::from_secs(5),
        }
    }
}

/// What the private routes show.
#[derive(Clone)]
struct Seen {
    health: Health,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// The private routes. `metrics` answers all metrics in Prometheus' text format.
pub fn private_routes(health: Health, metrics: impl Fn() -> String + Send + Sync + 'static) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(show_alive))
        .route("/readyz", get(show_readiness))
        .with_state(Seen { health, metrics: Arc::new(metrics) })
}

async fn show_metrics(State(seen): State<Seen>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], (seen.metrics)()).into_response()
}

async fn show_alive() -> Response {
    Json(json!({ "alive": true, "version": shared::VERSION })).into_response()
}

async fn show_readiness(State(seen): State<Seen>) -> Response {
    let readiness = seen.health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// Serves `routes` until `stop` resolves; then takes no more, and ends when the requests under way have ended or
/// the time for draining is over.
pub async fn serve(listener: TcpListener, routes: Router, bounds: Bounds, stop: impl Future<Output = ()>) {
    let time_max = bounds.request_time_max;
    let routes = routes.layer(from_fn(move |request, next| within(time_max, request, next)));
    let service = TowerToHyperService::new(routes);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head_time_max).max_buf_size(HEAD_BYTES_MAX);
    let permits = Arc::new(Semaphore::new(bounds.connections_max.max(1)));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, permit) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &permits) => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "A connection could not be accepted; trying on.");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        while connections.try_join_next().is_some() {}
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service.clone()));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "A connection ended early.");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(bounds.drain, graceful.shutdown()).await.is_err() {
        warn!("Requests under way did not end in time and are cut off.");
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn within(time_max: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(time_max, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response(),
    }
}

#[cfg(test)]
mod tests;
