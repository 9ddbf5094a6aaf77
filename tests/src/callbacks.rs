//! Callbacks of the simulated WeCom in any number, as a file import there sends them.

use std::net::SocketAddr;
use std::time::Duration;

use connector_wecom::callback::{Format, Receiver};
use futures_util::future::try_join_all;
use secrecy::SecretString;
use simulators::WecomOptions;
use simulators::wecom::WecomCallback;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::{HarnessError, Result};

/// Where the product takes them.
pub const PATH: &str = "/webhooks/directory";

/// Makes requests with callbacks.
pub struct Callbacks {
    receiver: Receiver,
    corp: String,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// From when it was due.
    pub time: Duration,
}

impl Callbacks {
    /// Those of the simulated company, with the token and key of its own callbacks.
    ///
    /// # Errors
    /// When the key is none.
    pub fn new() -> Result<Self> {
        let callback = WecomCallback::new("");
        let corp = WecomOptions::default().corp_id;
        let (token, key) =
            (SecretString::from(callback.token), SecretString::from(callback.encoding_aes_key));
        let receiver = Receiver::new(&token, &key, &corp);
        let receiver = receiver.map_err(|error| HarnessError::new(format!("no callbacks: {error}")))?;
        Ok(Self { receiver, corp })
    }

    /// A request as it goes over the wire: a member came, another one for each number.
    pub fn request(&self, number: usize) -> Vec<u8> {
        let corp = &self.corp;
        let message = format!(
            "<xml><ToUserName><![CDATA[{corp}]]></ToUserName><FromUserName><![CDATA[sys]]></FromUserName>\
             <CreateTime>1790000000</CreateTime><MsgType><![CDATA[event]]></MsgType>\
             <Event><![CDATA[change_contact]]></Event><ChangeType><![CDATA[create_user]]></ChangeType>\
             <UserID><![CDATA[burst{number}]]></UserID></xml>"
        );
        let random = fastrand::u128(..).to_be_bytes();
        let sealed = self.receiver.seal(message.as_bytes(), random, "1790000000", &number.to_string());
        let body = sealed.body(corp, None, Format::Xml);
        let head = format!(
            "POST {PATH}?{} HTTP/1.1\r\nhost: wecom\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n",
            sealed.query(),
            body.len()
        );
        [head.into_bytes(), body.into_bytes()].concat()
    }
}

/// Sends all of them over so many connections, each at its time or as soon as its connection is free.
///
/// # Errors
/// When a connection is refused, or ends before an answer.
pub async fn send(
    address: SocketAddr,
    requests: &[Vec<u8>],
    connections: usize,
    per_second: Option<u32>,
) -> Result<Vec<Answered>> {
    let pause = per_second.and_then(|rate| Duration::from_secs(1).checked_div(rate));
    let begun = Instant::now();
    let share = async |first: usize| {
        let failed =
            |error: std::io::Error| HarnessError::new(format!("no connection to {address}: {error}"));
        let mut stream = TcpStream::connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let mut answers = Vec::new();
        for (number, request) in requests.iter().enumerate().skip(first).step_by(connections) {
            // The time counts from when it was due: a sender does not wait for the one before.
            let due = pause.map_or_else(Instant::now, |pause| {
                begun + pause.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX))
            });
            sleep_until(due).await;
            let status = exchange(&mut stream, request).await?;
            answers.push(Answered { status, time: due.elapsed() });
        }
        Ok::<_, HarnessError>(answers)
    };
    Ok(try_join_all((0..connections).map(share)).await?.concat())
}

/// The status, once the whole answer is read.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<u16> {
    let failed = |error: std::io::Error| HarnessError::new(format!("no answer: {error}"));
    stream.write_all(request).await.map_err(failed)?;
    let mut answer = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut answer).await.map_err(failed)? == 0 {
            let text = String::from_utf8_lossy(&answer);
            return Err(HarnessError::new(format!("the connection ended after {text:?}")));
        }
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        if body.len() >= length {
            let status = head.get(9..12).and_then(|status| status.parse().ok());
            return status.ok_or_else(|| HarnessError::new(format!("no status: {head}")));
        }
    }
}
