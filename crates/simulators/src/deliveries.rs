//! Sends what a simulated system has to say by itself (webhooks).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::host::{Core, Shared};
use crate::upstream::{Delivery, Upstream};
use crate::wire::Handshake;

/// EspoCRM's webhookConnectTimeout and webhookTimeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Requests sent in one round at most; the rest waits for the next round.
const REQUESTS_PER_ROUND_MAX: usize = 1_000;

/// Works the queue off every `interval` until the simulator stops.
pub(crate) async fn run<U: Upstream>(shared: Arc<Shared<U>>, interval: Duration) {
    loop {
        tokio::select! {
            () = shared.stopped() => return,
            () = tokio::time::sleep(interval) => {}
        }
        deliver_due(&shared).await;
    }
}

/// One round: what is due now, as many at a time as the system sends. Answers the number of requests sent.
pub(crate) async fn deliver_due<U: Upstream>(shared: &Shared<U>) -> usize {
    let _alone = shared.delivering.lock().await;
    {
        let mut core = shared.core();
        let Core { upstream, store } = &mut *core;
        if let Err(error) = upstream.prepare_deliveries(store, shared.now()) {
            tracing::error!(%error, "the webhook queue could not be saved");
            return 0;
        }
    }
    let mut on_their_way = FuturesUnordered::new();
    let (mut requests, mut goes_on) = (0, true);
    loop {
        while goes_on && requests < REQUESTS_PER_ROUND_MAX {
            let next = {
                let mut core = shared.core();
                let Core { upstream, store } = &mut *core;
                if on_their_way.len() >= upstream.deliveries_at_once() {
                    break;
                }
                upstream.next_delivery(store, shared.now())
            };
            match next {
                Ok(Some(delivery)) => {
                    requests += 1;
                    on_their_way.push(async {
                        let status = send(&shared.client, &delivery).await;
                        (delivery, status)
                    });
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "the webhook queue could not be saved");
                    goes_on = false;
                }
            }
        }
        let Some((delivery, status)) = on_their_way.next().await else { return requests };
        let mut core = shared.core();
        let Core { upstream, store } = &mut *core;
        if let Err(error) = upstream.settle_delivery(store, shared.now(), &delivery, status) {
            tracing::error!(%error, "the webhook queue could not be saved");
            goes_on = false;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a simulator shares no code with the product, not even its HTTP client"
)]
fn client() -> reqwest::Result<reqwest::Client> {
    // Fails only when a provider is installed already, which is as good.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// The client that all of a simulator's own requests share.
fn client_of(shared: &OnceLock<reqwest::Client>) -> Option<&reqwest::Client> {
    match shared.get() {
        Some(client) => Some(client),
        None => match client() {
            Ok(client) => Some(shared.get_or_init(|| client)),
            Err(error) => {
                tracing::error!(%error, "no HTTP client for webhooks");
                None
            }
        },
    }
}

/// Asks an address to prove that it listens.
pub(crate) async fn shake_hands(shared: &OnceLock<reqwest::Client>, url: &str) -> Handshake {
    let mut handshake =
        Handshake { url: url.to_owned(), status: 0, content_type: String::new(), body: String::new() };
    let Some(client) = client_of(shared) else { return handshake };
    let request = client.post(url).header("Content-Type", "text/plain; charset=utf-8").body("");
    match request.send().await {
        Ok(answer) => {
            handshake.status = answer.status().as_u16();
            let kind = answer.headers().get("Content-Type").and_then(|kind| kind.to_str().ok());
            handshake.content_type = kind.unwrap_or_default().to_owned();
            handshake.body = answer.text().await.unwrap_or_default().chars().take(1_000).collect();
        }
        Err(error) if error.is_timeout() => handshake.status = 408,
        Err(_) => {}
    }
    handshake
}

async fn send(shared: &OnceLock<reqwest::Client>, delivery: &Delivery) -> u16 {
    let Some(client) = client_of(shared) else { return 0 };
    let mut request = client.post(&delivery.url);
    if !delivery.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        request = request.header("Content-Type", "application/json");
    }
    for (name, value) in &delivery.headers {
        request = request.header(*name, value);
    }
    match request.body(delivery.body.clone()).send().await {
        Ok(answer) => answer.status().as_u16(),
        Err(error) if error.is_timeout() => 408,
        Err(_) => 0,
    }
}
