//! Sends requests over connections that stay open, as fast as they are answered, with as little work as possible:
//! it shares the machine with what it measures.

use std::net::SocketAddr;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::table::{milliseconds, quantile, rate};

/// Requests at once: below what a producer handles at once by default.
pub const CONNECTIONS: usize = 48;

/// What came of it.
pub struct Load {
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Load {
    /// From the times of all requests, which took from `begun` until now.
    pub fn new(begun: Instant, times: &[std::time::Duration]) -> Self {
        let per_second = rate(times.len(), begun.elapsed());
        let mut sorted = milliseconds(times);
        sorted.sort_by(f64::total_cmp);
        Self { per_second, p50_ms: quantile(&sorted, 0.5), p99_ms: quantile(&sorted, 0.99) }
    }
}

/// Sends all requests and expects 200 without a body for each.
pub async fn send(address: SocketAddr, requests: &[Vec<u8>]) -> Load {
    let begun = Instant::now();
    let share = async |first: usize| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut times = Vec::new();
        for request in requests.iter().skip(first).step_by(CONNECTIONS) {
            let begun = Instant::now();
            stream.write_all(request).await.unwrap();
            expect_success(&mut stream).await;
            times.push(begun.elapsed());
        }
        times
    };
    let times = join_all((0..CONNECTIONS).map(share)).await.concat();
    Load::new(begun, &times)
}

async fn expect_success(stream: &mut TcpStream) {
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut head).await.unwrap() > 0, "closed: {}", String::from_utf8_lossy(&head));
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
}
