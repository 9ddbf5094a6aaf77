//! Producer and worker in one process, with the private listener beside them.

use std::process::ExitCode;
use std::sync::Arc;

use assembly::Parts;
use assembly::program::EXIT_UNAVAILABLE;
use configuration::Config;
use operations::health::Health;
use operations::http::{Bounds, private_routes, serve};
use telemetry::PrometheusMeter;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::output::fail;

/// A producer and a worker at work.
#[derive(Debug)]
pub struct Fleet {
    producing: CancellationToken,
    working: CancellationToken,
    running: JoinHandle<()>,
}

impl Fleet {
    /// Begins to work on everything that is built; ends with `stop`.
    pub fn start(
        config: &Config,
        parts: &Parts,
        health: &Health,
        webhooks: Option<TcpListener>,
        stop: &CancellationToken,
    ) -> Self {
        let producer = Arc::new(producer::program::engine(config, parts, health.clone()));
        let worker = Arc::new(worker::program::engine(config, parts, health.clone()));
        worker::program::watch(&worker);
        let (producing, working) = (stop.child_token(), stop.child_token());
        let produce = producer::run::run(producer, parts.flows.clone(), webhooks, producing.clone());
        let work = worker::run::run(worker, parts.flows.clone(), working.clone());
        let running = tokio::spawn(async move {
            tokio::join!(produce, work);
        });
        Self { producing, working, running }
    }

    /// Stops the producer: no new messages, while the worker goes on with those that are there.
    pub fn stop_producing(&self) {
        self.producing.cancel();
    }

    /// Waits until it was told to stop and has drained. `false` when it ended by a defect.
    pub async fn ended(self) -> bool {
        self.running.await.is_ok()
    }

    /// Stops it and waits until it has drained. `false` when it ended by a defect.
    pub async fn stop(self) -> bool {
        self.producing.cancel();
        self.working.cancel();
        self.ended().await
    }
}

/// The listener for `/metrics`, `/healthz` and `/readyz`.
#[derive(Debug)]
pub struct PrivateListener {
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl PrivateListener {
    /// Opens the address.
    ///
    /// # Errors
    /// The exit code, after the reason was printed.
    pub async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, ExitCode> {
        TcpListener::bind(address).await.map_err(|error| {
            let way_out = "free the address, or change operations.listen";
            fail(EXIT_UNAVAILABLE, format!("metrics cannot be served at {address} ({error}): {way_out}"))
        })
    }

    /// Serves until [`Self::stop`].
    pub fn serve(listener: TcpListener, meter: Arc<PrometheusMeter>, health: Health) -> Self {
        let stop = CancellationToken::new();
        let routes = private_routes(health, move || meter.render());
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(serve(listener, routes, Bounds::default(), stopped));
        Self { stop, serving }
    }

    /// Takes no more requests, and waits for those under way.
    pub async fn stop(self) {
        self.stop.cancel();
        // Its task has nothing that could panic but the routes, which are contained by the server.
        let _ = self.serving.await;
    }
}
