//! Senders that take their time, and more of them than there are places for.

use super::faults::engine_with;
use super::*;

const SENDERS: usize = 200;
const SIGNED: &str = "Key: x\r\n";
/// What each of them sends in the end, a byte at a time.
const BODY: &[u8] = b"[\"s\"]";

/// A sender whose body is waited for: it was asked to go on.
async fn dripping(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = BODY.len();
    let head = format!(
        "POST /webhooks/parties HTTP/1.1\r\nHost: x\r\n{SIGNED}Expect: 100-continue\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut told = [0; 25];
    stream.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n", "{}", String::from_utf8_lossy(&told));
    stream
}

#[tokio::test]
async fn two_hundred_that_drip_their_bodies_keep_no_honest_sender_out() {
    let bench = Bench::new();
    let engine = engine_with(&bench, |engine| engine.settings.webhook_concurrency_max = SENDERS);
    let running = start(engine, Arc::new(Scripted::new(1))).await;
    bench.until_swept().await;
    bench.published().await;
    let mut slow = Vec::new();
    for _ in 0..SENDERS {
        slow.push(dripping(running.address).await);
    }
    for (at, byte) in BODY.iter().enumerate() {
        let honest = format!("[\"honest-{at}\"]");
        assert_eq!(running.post("/webhooks/parties", SIGNED, honest.as_bytes()).await, 200);
        for stream in &mut slow {
            stream.write_all(&[*byte]).await.unwrap();
        }
    }
    for mut stream in slow {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "who was slow is taken as well: {answer}");
    }
    let mut ids: Vec<String> = bench.published().await.iter().map(|it| it.key.id().to_owned()).collect();
    ids.dedup();
    let expected = (0..BODY.len()).map(|at| format!("honest-{at}")).chain(["s".to_owned()]);
    assert_eq!(ids, expected.collect::<Vec<_>>());
    running.end().await;
}

#[tokio::test]
async fn more_whole_webhooks_at_once_than_there_are_places_for_are_answered_503() {
    let bench = Bench::new();
    let flow = Arc::new(Scripted { learning: Learning::Hangs, ..Scripted::new(1) });
    let running = start(bench.engine("p1", YEARLY), flow).await;
    let mut held = Vec::new();
    // What is not signed has the flow look for news, which here never come: it keeps its place meanwhile.
    let unsigned = "POST /webhooks/parties HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]";
    for _ in 0..8 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(unsigned.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while running.post("/webhooks/parties", SIGNED, b"[]").await != 503 {
        assert!(tokio::time::Instant::now() < deadline, "all of them have places");
    }
    drop(held);
    running.end().await;
}

/// However many there are: what their bodies hold together is bounded.
#[tokio::test]
async fn large_bodies_that_stop_short_are_bounded_together() {
    let bench = Bench::new();
    let engine = engine_with(&bench, |engine| {
        engine.settings.webhook_concurrency_max = 2;
        engine.settings.webhook_body_bytes_max = 10_000;
    });
    let running = start(engine, Arc::new(Scripted::new(1))).await;
    let mut stuck = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head =
            format!("POST /webhooks/parties HTTP/1.1\r\nHost: x\r\n{SIGNED}Content-Length: 9000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[b' '; 8_900]).await.unwrap();
        stuck.push(stream);
    }
    // 200 bytes are left of 20,000, or nothing where the third has begun: either way this one does not fit.
    let large = [b' '; 9_000];
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while running.post("/webhooks/parties", SIGNED, &large).await != 503 {
        assert!(tokio::time::Instant::now() < deadline, "there is no bound");
    }
    drop(stuck);
    while running.post("/webhooks/parties", SIGNED, b"[]").await != 200 {
        assert!(tokio::time::Instant::now() < deadline, "room is not given back");
    }
    running.end().await;
}
