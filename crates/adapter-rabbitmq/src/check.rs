//! What the operator's program asks about the broker.

use std::io;

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use lapin::options::QueueDeclareOptions;
use lapin::tcp::AMQPUriTcpExt as _;
use lapin::types::FieldTable;
use lapin::types::parsing::parse_field_table;
use lapin::uri::AMQPUri;
use shared::flow::{Check, Verdict};
use tokio::time::timeout;

use crate::connection::close;
use crate::sender::Sender;

/// The largest first answer that is read, in bytes.
const GREETING_BYTES_MAX: u32 = 64 * 1024;

/// Looks at the broker: whether it answers, its version, alarms, and whether the dead-letter stream is there.
pub(crate) async fn check(sender: &Sender) -> Vec<Check> {
    let address = &sender.consuming.address;
    let channel = match sender.consuming.channel().await {
        Ok(channel) => channel,
        Err(error) => {
            let remedy = "Start the broker, or correct queue.rabbitmq.url";
            return vec![finding("connection", Verdict::Broken, error.to_string(), remedy)];
        }
    };
    let mut found = vec![finding("connection", Verdict::Well, format!("{address} answers"), "")];
    let greeting = greeting(sender.consuming.uri());
    found.push(match timeout(sender.consuming.answer_timeout, greeting).await {
        Ok(Ok(version)) => judge_version(&version),
        Ok(Err(error)) => finding("version", Verdict::Warning, error.to_string(), "Look at its log"),
        Err(_elapsed) => finding("version", Verdict::Warning, "no answer in time".into(), "Look at its log"),
    });
    let stream = sender.names.dead_letters();
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let declared = channel.queue_declare(stream.as_str().into(), passive, FieldTable::default());
    found.push(match sender.consuming.answer("looking for the dead-letter stream", declared).await {
        Ok(_) => finding("topology", Verdict::Well, format!("{stream} is there"), ""),
        Err(error) => {
            let remedy = "A producer or worker declares it when it starts; needs feature flag stream_queue";
            finding("topology", Verdict::Warning, error.to_string(), remedy)
        }
    });
    close(&channel, sender.consuming.answer_timeout).await;
    found
}

fn finding(subject: &str, verdict: Verdict, seen: String, remedy: &str) -> Check {
    Check { subject: format!("RabbitMQ {subject}"), verdict, seen, remedy: remedy.to_owned() }
}

fn judge_version(version: &str) -> Check {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let (verdict, remedy) = match number {
        (0, _) => (Verdict::Warning, "Not recognised; 3.10 to 4.x are tested"),
        (1..=2, _) | (3, ..10) => (Verdict::Broken, "Upgrade to 3.10 or later: at-least-once dead letters"),
        (3 | 4, _) => (Verdict::Well, ""),
        _ => (Verdict::Warning, "Newer than what was tested (3.10 to 4.x)"),
    };
    finding("version", verdict, version.to_owned(), remedy)
}

/// The version that the broker names in `connection.start`, which comes before any log-in; the client library
/// keeps it to itself.
async fn greeting(uri: &AMQPUri) -> io::Result<String> {
    let runtime = lapin::runtime::default_runtime().map_err(io::Error::other)?;
    let mut stream = uri.connect_async(&runtime).await?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    let mut head = [0; 7];
    stream.read_exact(&mut head).await?;
    let [_, _, _, size @ ..] = head;
    let size = u32::from_be_bytes(size);
    if size > GREETING_BYTES_MAX {
        return Err(io::Error::other("the broker's greeting is too long: is this an AMQP 0-9-1 port?"));
    }
    let mut payload = vec![0; usize::try_from(size).unwrap_or(0)];
    stream.read_exact(&mut payload).await?;
    version_of(&payload).ok_or_else(|| io::Error::other("the broker's greeting names no version"))
}

/// Class, method, two numbers of the protocol's version, then the server's properties.
fn version_of(start: &[u8]) -> Option<String> {
    let (_, properties) = parse_field_table(start.get(6..)?).ok()?;
    let version = properties.inner().get("version")?.as_long_string()?;
    Some(version.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_judged() {
        for (version, expected) in [
            ("3.9.29", Verdict::Broken),
            ("3.10.8", Verdict::Well),
            ("4.0.5", Verdict::Well),
            ("5.0.0", Verdict::Warning),
            ("banana", Verdict::Warning),
        ] {
            assert_eq!(judge_version(version).verdict, expected, "{version}");
        }
    }

    #[test]
    fn a_greeting_without_a_version_is_no_version() {
        assert_eq!(version_of(b""), None);
        assert_eq!(version_of(&[0, 10, 0, 10, 0, 9, 0, 0, 0, 0]), None);
    }
}
