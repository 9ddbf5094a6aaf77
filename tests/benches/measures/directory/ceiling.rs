//! What the target lets in from a bare client: it makes users over connections that stay open, one after the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use simulators::ScimOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::table::rate;

/// As many as the worker has under way at most.
const CONNECTIONS: usize = 32;
/// Whoever was refused waits for so long, to leave the processor to others.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// Requests that were done in a second. `label` makes users of its own; none of them is ours.
pub async fn measure(target: SocketAddr, label: &str, time: Duration) -> f64 {
    let begun = Instant::now();
    let share = async |connection: usize| {
        let mut stream = TcpStream::connect(target).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut done = 0;
        while begun.elapsed() < time {
            match post(&mut stream, &format!("bare-{label}-{connection}-{done}")).await {
                429 => tokio::time::sleep(REFUSED_PAUSE).await,
                status => {
                    assert_eq!(status, 201, "the target answered otherwise");
                    done += 1;
                }
            }
        }
        done
    };
    let done = join_all((0..CONNECTIONS).map(share)).await;
    rate(done.iter().sum(), begun.elapsed())
}

async fn post(stream: &mut TcpStream, name: &str) -> u16 {
    let schema = "urn:ietf:params:scim:schemas:core:2.0:User";
    let body =
        json!({ "schemas": [schema], "userName": name, "displayName": name, "active": true }).to_string();
    let head = format!(
        "POST /scim/v2/Users HTTP/1.1\r\nhost: scim\r\nauthorization: Bearer {}\r\n\
         content-type: application/scim+json\r\ncontent-length: {}\r\n\r\n",
        ScimOptions::default().token,
        body.len(),
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.unwrap();
    answer(stream).await
}

/// The status, once the whole answer is read.
async fn answer(stream: &mut TcpStream) -> u16 {
    let mut answer = Vec::with_capacity(2_048);
    loop {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
            return head[9..12].parse().unwrap();
        }
    }
}
