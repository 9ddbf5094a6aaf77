//! An upstream that answers each request after 5 ms.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

const LATENCY: Duration = Duration::from_millis(5);

/// A server of this process; it ends with the value.
pub struct Stub {
    address: String,
    serving: AbortHandle,
}

impl Stub {
    /// Starts it.
    pub async fn start() -> Self {
        let answer = async || tokio::time::sleep(LATENCY).await;
        let routes = Router::new().route("/", get(answer).put(answer));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, serving: serving.abort_handle() }
    }

    /// Where it answers.
    pub fn address(&self) -> String {
        self.address.clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
