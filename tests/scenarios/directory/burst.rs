//! A burst of callbacks, as a file import in WeCom sends it: each is durable once it is answered 200, and what is too much is
//! asked to come again.

use std::net::SocketAddr;
use std::time::Duration;

use connector_wecom::callback::{Format, Receiver};
use futures_util::future::join_all;
use secrecy::SecretString;
use simulators::wecom::WecomCallback;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::installation::{Installation, Setup};
use super::place::Place;

const CALLBACKS: usize = 10_000;
const PER_SECOND: usize = 1_000;
const CONNECTIONS: usize = 200;

fn request(receiver: &Receiver, corp: &str, n: usize) -> Vec<u8> {
    let message = format!(
        "<xml><ToUserName><![CDATA[{corp}]]></ToUserName><FromUserName><![CDATA[sys]]></FromUserName>\
         <CreateTime>1790000000</CreateTime><MsgType><![CDATA[event]]></MsgType>\
         <Event><![CDATA[change_contact]]></Event><ChangeType><![CDATA[create_user]]></ChangeType>\
         <UserID><![CDATA[burst{n}]]></UserID></xml>"
    );
    let random = fastrand::u128(..).to_be_bytes();
    let sealed = receiver.seal(message.as_bytes(), random, "1790000000", &n.to_string());
    let body = sealed.body(corp, None, Format::Xml);
    let query = sealed.query();
    let head = format!(
        "POST /webhooks/directory?{query} HTTP/1.1\r\nhost: wecom\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

/// The status, once the whole answer is read.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> u16 {
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::with_capacity(512);
    loop {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
            return head[9..12].parse().unwrap();
        }
    }
}

/// Sends all of them over so many connections, each at its time; answers status and time of each.
async fn send(
    address: SocketAddr,
    requests: &[Vec<u8>],
    connections: usize,
    per_second: Option<usize>,
) -> Vec<(u16, Duration)> {
    let begun = Instant::now();
    let share = async |first: usize| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut answers = Vec::new();
        for n in (first..requests.len()).step_by(connections) {
            // The time counts from when it was due: a sender does not wait for the one before.
            let due = per_second.map_or_else(Instant::now, |rate| {
                begun + Duration::from_secs_f64(n as f64 / rate as f64)
            });
            sleep_until(due).await;
            answers.push((exchange(&mut stream, &requests[n]).await, due.elapsed()));
        }
        answers
    };
    join_all((0..connections).map(share)).await.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callbacks_in_ten_seconds_are_all_kept() {
    let installation = Installation::start(Place::simulated().await, Setup { workers: 0, ..Setup::default() }).await;
    let callback = WecomCallback::new("");
    let corp = simulators::WecomOptions::default().corp_id;
    let (token, key) = (SecretString::from(callback.token), SecretString::from(callback.encoding_aes_key));
    let receiver = Receiver::new(&token, &key, &corp).unwrap();
    let address = installation.callback_url.replace("http://", "").replace("/webhooks/directory", "");
    let address: SocketAddr = address.parse().unwrap();
    let requests: Vec<Vec<u8>> = (0..CALLBACKS).map(|n| request(&receiver, &corp, n)).collect();
    let answers = send(address, &requests, CONNECTIONS, Some(PER_SECOND)).await;
    let accepted = answers.iter().filter(|(status, _)| *status == 200).count();
    let mut times: Vec<Duration> = answers.iter().map(|(_, time)| *time).collect();
    times.sort();
    println!("{accepted} of {CALLBACKS} at {PER_SECOND}/s: p50 {:?}, p99 {:?}", times[CALLBACKS / 2], times[CALLBACKS * 99 / 100]);
    assert_eq!(accepted, CALLBACKS, "answered otherwise: {:?}", answers.iter().find(|(status, _)| *status != 200));
    assert_eq!(installation.waiting().await, CALLBACKS as u64, "each is a message");
    // More at once than the producer takes: nobody waits, and who is refused knows it.
    let flood: Vec<Vec<u8>> = (0..3_000).map(|n| request(&receiver, &corp, CALLBACKS + n)).collect();
    let answers = send(address, &flood, 3 * CONNECTIONS, None).await;
    let accepted = answers.iter().filter(|(status, _)| *status == 200).count();
    assert!(answers.iter().all(|(status, _)| [200, 503].contains(status)), "only 200 and 503");
    assert_eq!(installation.waiting().await, (CALLBACKS + accepted) as u64, "what was accepted is there");
    println!("{accepted} of {} at once were accepted", flood.len());
    installation.end().await;
}
