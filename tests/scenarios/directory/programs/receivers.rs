//! Those who get WeCom's callbacks too: they take them down, and answer as they are told.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use connector_wecom::callback::{Query, Receiver};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A callback: query and body as they came.
pub type Came = (String, Vec<u8>);

#[derive(Debug, Default)]
struct Kept {
    taken: Mutex<Vec<Came>>,
    /// How many more are answered 503.
    failures: Mutex<usize>,
    /// What is refused for good: a body.
    refused: Mutex<Option<Vec<u8>>>,
}

/// A receiver at an address of its own.
pub struct Further {
    kept: Arc<Kept>,
    /// Whether it answers; it does so late where it does not yet.
    answers: watch::Sender<bool>,
    pub url: String,
    task: JoinHandle<()>,
}

impl Further {
    /// One that fails so often at first.
    pub async fn failing(times: usize) -> Self {
        let kept = Kept { failures: Mutex::new(times), ..Kept::default() };
        Self::serve(kept, true).await
    }

    /// One that answers nobody until it is told to.
    pub async fn slow() -> Self {
        Self::serve(Kept::default(), false).await
    }

    async fn serve(kept: Kept, at_once: bool) -> Self {
        let kept = Arc::new(kept);
        let (answers, seen) = watch::channel(at_once);
        let shared = Arc::clone(&kept);
        let router = Router::new().fallback(move |request: Request| {
            let (kept, mut answers) = (Arc::clone(&shared), seen.clone());
            async move {
                let query = request.uri().query().unwrap_or_default().to_owned();
                let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap().to_vec();
                // Where the test is over, whoever still waits is told anything.
                let _over = answers.wait_for(|answers| *answers).await;
                kept.take(query, body)
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { kept, answers, url, task }
    }

    /// It answers from now on.
    pub fn answer(&self) {
        self.answers.send(true).unwrap();
    }

    /// It refuses this body for good, or none any more.
    pub fn refuse(&self, body: Option<&[u8]>) {
        *self.kept.refused.lock().unwrap() = body.map(<[u8]>::to_vec);
    }

    /// What it took.
    pub fn taken(&self) -> Vec<Came> {
        self.kept.taken.lock().unwrap().clone()
    }

    /// What it took, each once.
    pub fn different(&self) -> BTreeSet<Came> {
        self.taken().into_iter().collect()
    }

    /// Each that it took is as WeCom sealed it.
    pub fn assert_verified(&self, receiver: &Receiver) {
        for (query, body) in self.taken() {
            let opened = receiver.open(&Query::parse(&query).unwrap(), &body);
            assert!(opened.is_ok(), "{query}: {opened:?}");
        }
    }
}

impl Kept {
    fn take(&self, query: String, body: Vec<u8>) -> StatusCode {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        if self.refused.lock().unwrap().as_ref() == Some(&body) {
            return StatusCode::FORBIDDEN;
        }
        self.taken.lock().unwrap().push((query, body));
        StatusCode::OK
    }
}

impl Drop for Further {
    fn drop(&mut self) {
        self.task.abort();
    }
}
