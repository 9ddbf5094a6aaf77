use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::routing::post;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

async fn start(routes: Router, bounds: Bounds) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(serve(listener, routes, bounds, async move { drop(stopped.await) }));
    Server { address, stop, serving }
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

/// Reads until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

async fn get_path(server: &Server, path: &str) -> String {
    let mut stream = connect(server).await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn the_private_routes_tell_metrics_life_and_readiness() {
    let health = Health::expecting(&["queue"]);
    let routes = private_routes(health.clone(), || "syncfleet_leader 1\n".to_owned());
    let server = start(routes, Bounds::default()).await;

    let metrics = get_path(&server, "/metrics").await;
    assert!(metrics.contains(METRICS_TYPE) && metrics.ends_with("syncfleet_leader 1\n"), "{metrics}");
    let alive = get_path(&server, "/healthz").await;
    assert!(status(&alive) == "200" && alive.contains(shared::VERSION), "{alive}");
    let not_ready = get_path(&server, "/readyz").await;
    assert!(status(&not_ready) == "503" && not_ready.contains("has not reported yet"), "{not_ready}");
    health.set("queue", Ok("connected".into()));
    let ready = get_path(&server, "/readyz").await;
    let body: serde_json::Value = serde_json::from_str(ready.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body, json!({ "ready": true, "parts": { "queue": { "ready": true, "text": "connected" } } }));
    assert_eq!(status(&get_path(&server, "/other").await), "404");

    server.stop.send(()).unwrap();
    server.serving.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "still listening after the stop");
}

#[tokio::test]
async fn idle_and_dripping_connections_are_closed() {
    let bounds = Bounds { head_time_max: Duration::from_millis(50), ..Bounds::default() };
    let server = start(private_routes(Health::default(), String::new), bounds).await;
    for begun in ["", "GET /healthz HTTP/1.1\r\nhost: x\r\nx-drip: "] {
        let mut stream = connect(&server).await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_408() {
    let bounds = Bounds { request_time_max: Duration::from_millis(50), ..Bounds::default() };
    let routes = Router::new().route("/echo", post(|body: String| async move { body }));
    let server = start(routes, bounds).await;
    let mut stream = connect(&server).await;
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nonly a part")
        .await
        .unwrap();
    let answer = rest(&mut stream).await;
    assert_eq!(status(&answer), "408", "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let (entered, go, busy) =
        (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (inside, gate, at_work) = (entered.clone(), go.clone(), busy.clone());
    let slow = move || async move {
        at_work.store(true, Ordering::SeqCst);
        inside.notify_one();
        gate.notified().await;
        at_work.store(false, Ordering::SeqCst);
        "done"
    };
    let fast = move || async move { if busy.load(Ordering::SeqCst) { "beyond the bound" } else { "fast" } };
    let routes = Router::new().route("/slow", get(slow)).route("/fast", get(fast));
    let server = start(routes, Bounds { connections_max: 1, ..Bounds::default() }).await;
    let release = async {
        entered.notified().await;
        let mut second = connect(&server).await;
        second.write_all(b"GET /fast HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        // Time enough for a server without the bound to answer.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        rest(&mut second).await
    };
    let (first, second) = tokio::join!(get_path(&server, "/slow"), release);
    assert!(first.ends_with("done") && second.ends_with("fast"), "{first} {second}");
}

#[tokio::test]
async fn a_stop_lets_requests_under_way_end_but_not_for_ever() {
    for (drain, expected) in [(Duration::from_secs(30), "done"), (Duration::from_millis(50), "")] {
        let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (inside, gate) = (entered.clone(), go.clone());
        let slow = move || async move {
            inside.notify_one();
            gate.notified().await;
            "done"
        };
        let server =
            start(Router::new().route("/slow", get(slow)), Bounds { drain, ..Bounds::default() }).await;
        let mut stream = connect(&server).await;
        stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        entered.notified().await;
        server.stop.send(()).unwrap();
        if expected.is_empty() {
            server.serving.await.unwrap();
        } else {
            go.notify_one();
            server.serving.await.unwrap();
        }
        let answer = rest(&mut stream).await;
        assert!(answer.ends_with(expected) && answer.is_empty() == expected.is_empty(), "{answer}");
    }
}
